//! The tick's end of a trunk.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use unisono_dahdi::exchange::{Lines, MAX_CONFERENCE, STEP};
use unisono_mixer::limiter::Limiter;

use crate::neighbours::Audience;
use crate::segment::{Frame, Own};

/// The lines of this process's exchange to those of all others, for
/// [`unisono_dahdi::exchange::Exchange::advance_with`].
///
/// Nothing here allocates, frees, waits or makes a system call, and no page of a segment is touched for the first time.
#[derive(Debug)]
pub struct TrunkLines {
    own: Arc<Own>,
    audience: Audience,
    /// Of each conference, for what several processes say together.
    limiters: Box<[Limiter]>,
    counters: Arc<Counters>,
}

/// What the tick counts and others read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) frames: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) cut: AtomicU64,
}

impl TrunkLines {
    pub(crate) fn new(own: Arc<Own>, audience: Audience, counters: Arc<Counters>) -> Self {
        Self {
            own,
            audience,
            limiters: vec![Limiter::new(); MAX_CONFERENCE as usize + 1].into(),
            counters,
        }
    }
}

impl Lines for TrunkLines {
    fn begin(&mut self, _: u64) {
        self.audience.update();
    }

    fn is_shared(&self, conference: i32) -> bool {
        let conference = number(conference);
        self.own.line(conference).is_some()
            && self.audience.iter().any(|heeded| heeded.is_in(conference))
    }

    fn incoming(&mut self, conference: i32, step: u64, into: &mut Frame) -> bool {
        let conference = number(conference);
        let mut sum = [0_i32; STEP];
        let mut frame = [0; STEP];
        let mut any = false;
        for heeded in self.audience.iter_mut() {
            let heard = heeded.hear(conference, step / STEP as u64, &mut frame);
            if heard.any {
                any = true;
                for (sum, &sample) in sum.iter_mut().zip(&frame) {
                    *sum += i32::from(sample);
                }
            }
            let counters = &self.counters;
            for (counter, more) in [
                (&counters.frames, heard.any.into()),
                (&counters.late, heard.late.into()),
                (&counters.lost, heard.lost),
                (&counters.cut, heard.cut.into()),
            ] {
                if more > 0 {
                    counter.fetch_add(more, Relaxed);
                }
            }
        }
        if let Some(limiter) = self.limiters.get_mut(usize::from(conference)) {
            if any {
                limiter.process(&sum, into);
            } else {
                limiter.pass_silence();
            }
        }
        any
    }

    fn outgoing(&mut self, conference: i32, step: u64, sum: &Frame) {
        self.own.write(number(conference), step / STEP as u64, sum);
    }
}

/// A conference's number; 0, which is none's, for what is out of range.
pub(crate) fn number(conference: i32) -> u16 {
    if (1..=MAX_CONFERENCE).contains(&conference) {
        conference as u16
    } else {
        0
    }
}
