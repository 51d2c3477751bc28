//! Computing without pause on every CPU.

use std::hint::black_box;
use std::io;

use super::{AtWork, Job};
use crate::realtime::{RealtimeRequest, allowed_cpus};

pub(super) fn prepare() -> Vec<Job> {
    let cpus = allowed_cpus();
    if cpus.is_empty() {
        return vec![Box::new(compute)];
    }
    let pinned = cpus.into_iter().map(|cpu| -> Job {
        Box::new(move |at_work| {
            // If that is refused, the kernel spreads them.
            let _ = RealtimeRequest::new().pin_to(cpu).apply();
            compute(at_work)
        })
    });
    pinned.collect()
}

/// A bank of second-order resonators: dependent multiplications, as filters are made of.
fn compute(at_work: &AtWork) -> io::Result<()> {
    let mut states = [[1.0_f64, 0.5]; 4];
    let turns = black_box([1.9_f64, 1.7, 1.3, 0.7]);
    while at_work.goes_on() {
        for _ in 0..ROUNDS {
            for (state, turn) in states.iter_mut().zip(turns) {
                // On the unit circle: it neither dies down nor grows beyond all bounds.
                *state = [turn * state[0] - state[1], state[0]];
            }
        }
        states = black_box(states);
        at_work.did(ROUNDS * states.len() as u64);
    }
    Ok(())
}

/// About a millisecond.
const ROUNDS: u64 = 100_000;
