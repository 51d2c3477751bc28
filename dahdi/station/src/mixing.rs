//! The mixing thread: what time does to channels and conferences.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use unisono_dahdi::exchange::{ChannelNumber, STEP};
use unisono_timer::{MonoTime, Watchdog};

use crate::doorbell::{Published, Settler};
use crate::shared::{Desk, NANOS_PER_SAMPLE, Shared, sample_time};
use crate::wait_word;

/// Starts the thread.
pub(crate) fn spawn(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    // No signal of the program's is to be handled by this thread. It inherits what is blocked here.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let spawned = thread::Builder::new()
        .name("unisono-mix".into())
        .stack_size(STACK_BYTES)
        .spawn(move || run(&shared));
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    spawned
}

fn run(shared: &Shared) {
    let _ = shared.grant.set(shared.realtime.apply());
    // Refused, it goes on without: the kernel's own limit on real-time time remains.
    let _watchdog = Watchdog::watch(RUNAWAY);
    let mut changed = Vec::with_capacity(shared.channels());
    while !shared.sleep.is_stopped() {
        let deadline = tick(shared, &mut changed);
        if shared.sleep.until(deadline)
            && let Some(deadline) = deadline
        {
            shared.lateness.record(since(deadline));
        }
    }
}

/// From one sleep to the next. Allocates and frees nothing, and waits for nothing but locks that inherit priority.
fn tick(shared: &Shared, changed: &mut Vec<(ChannelNumber, Published)>) -> Option<u64> {
    changed.clear();
    let Ok((mut desk, waited)) = shared.desk.lock_measured() else {
        // It holds the lock already, which cannot be, as no signal interrupts it. Still, that is not to make it spin.
        shared.sleep.prepare();
        return Some(sample_time().saturating_add(STEP as u64));
    };
    let Desk {
        exchange, outside, ..
    } = &mut *desk;
    for &number in exchange.advance_with(sample_time(), outside) {
        changed.push((number, Published::default()));
    }
    for (number, published) in changed.iter_mut() {
        if let Ok(readiness) = exchange.readiness(*number) {
            *published = shared.bell(*number).publish(readiness);
        }
    }
    let deadline = exchange.next_deadline();
    desk.sleeping_until = deadline.unwrap_or(u64::MAX);
    shared.sleep.prepare();
    drop(desk);
    shared
        .lock_waits
        .record(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
    for &(number, published) in changed.iter() {
        shared.follow(number, published, Settler::Tick);
    }
    if shared.settle_debts() {
        let again = sample_time().saturating_add(STEP as u64);
        return Some(deadline.map_or(again, |deadline| deadline.min(again)));
    }
    deadline
}

/// The mixing thread's sleep, and how it is ended early.
#[derive(Debug, Default)]
pub(crate) struct Sleep {
    asleep: AtomicU32,
    stop: AtomicBool,
}

impl Sleep {
    /// Ends the sleep that is under way, or the next one before it begins. Never waits.
    pub(crate) fn end(&self) {
        if self.asleep.swap(AWAKE, Ordering::SeqCst) == ASLEEP {
            wait_word::wake_all(&self.asleep);
        }
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.end();
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// From now on an [`end`](Self::end) is for the sleep that comes. The desk's lock is held.
    fn prepare(&self) {
        self.asleep.store(ASLEEP, Ordering::SeqCst);
    }

    /// Sleeps until a deadline, samples, for ever without one, or until it is ended. Returns whether the deadline has come.
    fn until(&self, deadline: Option<u64>) -> bool {
        let at = deadline
            .map(|deadline| MonoTime::from_nanos(deadline.saturating_mul(NANOS_PER_SAMPLE)));
        while self.asleep.load(Ordering::SeqCst) == ASLEEP && !self.is_stopped() {
            if at.is_some_and(|at| MonoTime::now() >= at) {
                return true;
            }
            // Whatever ended it, word and clock are looked at.
            let _ = wait_word::wait(&self.asleep, ASLEEP, at);
        }
        false
    }
}

/// Nanoseconds since a sample time.
fn since(sample: u64) -> u64 {
    let now = MonoTime::now().as_nanos();
    now.saturating_sub(sample.saturating_mul(NANOS_PER_SAMPLE))
}

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// Processor time without sleep after which the thread becomes an ordinary one.
const RUNAWAY: Duration = Duration::from_secs(2);
/// Plenty: the thread's deepest calls are those that ask for real-time treatment.
const STACK_BYTES: usize = 256 * 1024;
