//! A leg's other transport: a pair of wait-free rings of linear frames instead of packets.
//!
//! One end is with the leg on its worker, the other, which [`Engine::open_ring_leg`](super::Engine::open_ring_leg) hands
//! out, with whoever speaks and listens there: another thread with a clock of the same rate, which sends and
//! receives one frame every 20 ms. Neither ever waits for the other.
//!
//! | … | then |
//! |---|---|
//! | a ring is empty when a frame is due | silence, counted in [`FlowFigures::starved`]; two frames are gathered before it goes on |
//! | a ring is full | the newest frame is dropped, counted in [`FlowFigures::overflowed`]; who then reads drops the old ones |
//! | one side stood still, or works in bursts | what is too old is dropped, counted in [`FlowFigures::discarded`]: delay never grows |
//!
//! A frame waits 20 to 40 ms: that is what lets either side be late by 20 ms without a gap. After a stall it is more
//! for at most two seconds, and never more than 140 ms.

mod cushion;

use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};
use unisono_mixer::SampleRate;

use self::cushion::Cushion;
use super::meter::{FlowFigures, FlowMeter, bump};

/// Frames that one ring holds.
pub const RING_FRAMES: usize = 8;

/// One end of a pair of rings. Its methods neither allocate nor wait.
#[derive(Debug)]
pub struct RingEnd {
    rate: SampleRate,
    outgoing: Producer<i16>,
    sent: Arc<FlowMeter>,
    incoming: Consumer<i16>,
    received: Arc<FlowMeter>,
    cushion: Cushion,
}

/// What passed through a pair of rings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingFigures {
    /// From the far end to the leg.
    pub inbound: FlowFigures,
    /// From the leg to the far end.
    pub outbound: FlowFigures,
}

/// The meters of a pair of rings.
#[derive(Debug)]
pub(super) struct RingMeters {
    inbound: Arc<FlowMeter>,
    outbound: Arc<FlowMeter>,
}

/// A pair of rings for frames of 20 ms at `rate`: the leg's end, the far end, and their meters.
pub(super) fn pair(rate: SampleRate) -> (RingEnd, RingEnd, RingMeters) {
    let samples = RING_FRAMES * rate.frame_len();
    let (to_leg, from_far) = RingBuffer::new(samples);
    let (to_far, from_leg) = RingBuffer::new(samples);
    let meters = RingMeters {
        inbound: Arc::default(),
        outbound: Arc::default(),
    };
    let near = RingEnd {
        rate,
        outgoing: to_far,
        sent: Arc::clone(&meters.outbound),
        incoming: from_far,
        received: Arc::clone(&meters.inbound),
        cushion: Cushion::default(),
    };
    let far = RingEnd {
        rate,
        outgoing: to_leg,
        sent: Arc::clone(&meters.inbound),
        incoming: from_leg,
        received: Arc::clone(&meters.outbound),
        cushion: Cushion::default(),
    };
    (near, far, meters)
}

impl RingEnd {
    /// Rate of the frames, both ways.
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Sends 20 ms to the other end; false if its ring was full and the frame was dropped. A frame of another length
    /// is a mistake of the caller: it panics in debug builds and is dropped otherwise.
    pub fn send(&mut self, frame: &[i16]) -> bool {
        debug_assert_eq!(frame.len(), self.rate.frame_len());
        let sent =
            frame.len() == self.rate.frame_len() && self.outgoing.push_entire_slice(frame).is_ok();
        let meter = &self.sent;
        bump(if sent { &meter.sent } else { &meter.overflowed }, 1);
        sent
    }

    /// The next 20 ms from the other end, once each 20 ms; false, with `frame` as it was, when there is nothing to hear.
    /// A frame of another length is a mistake of the caller: it panics in debug builds and hears nothing otherwise.
    pub fn receive(&mut self, frame: &mut [i16]) -> bool {
        let length = self.rate.frame_len();
        debug_assert_eq!(frame.len(), length);
        if frame.len() != length {
            return false;
        }
        let draw = self.cushion.draw(self.incoming.slots() / length);
        self.discard(draw.discard);
        if draw.take && self.incoming.pop_entire_slice(frame).is_ok() {
            bump(&self.received.received, 1);
            return true;
        }
        if draw.starved {
            bump(&self.received.starved, 1);
        }
        false
    }

    /// Time passed without [`receive`](Self::receive): what came meanwhile is too old, but for the newest 40 ms.
    pub fn skip(&mut self) {
        let waiting = self.incoming.slots() / self.rate.frame_len();
        self.discard(self.cushion.surplus(waiting));
    }

    /// Forgets what is on its way to this end: a new conversation begins.
    pub fn restart(&mut self) {
        self.cushion = Cushion::default();
        self.discard(self.incoming.slots() / self.rate.frame_len());
    }

    fn discard(&mut self, frames: usize) {
        if let Ok(old) = self.incoming.read_chunk(frames * self.rate.frame_len()) {
            old.commit_all();
            bump(&self.received.discarded, frames as u64);
        }
    }
}

impl RingMeters {
    /// The figures as they are now.
    pub(super) fn read(&self) -> RingFigures {
        RingFigures {
            inbound: self.inbound.read(),
            outbound: self.outbound.read(),
        }
    }
}

impl std::ops::Add for RingFigures {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let sum = |a: FlowFigures, b: FlowFigures| FlowFigures {
            sent: a.sent + b.sent,
            overflowed: a.overflowed + b.overflowed,
            received: a.received + b.received,
            starved: a.starved + b.starved,
            discarded: a.discarded + b.discarded,
        };
        Self {
            inbound: sum(self.inbound, other.inbound),
            outbound: sum(self.outbound, other.outbound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz8000;

    fn frame(number: i16) -> [i16; 160] {
        std::array::from_fn(|n| number * 160 + n as i16)
    }

    #[test]
    fn frames_arrive_whole_and_in_order_both_ways() {
        let (mut near, mut far, meters) = pair(RATE);
        let mut heard = [0; 160];
        for n in 0..100 {
            assert!(near.send(&frame(n)));
            assert!(far.send(&frame(-n)));
            let begun = n > 0;
            assert_eq!(far.receive(&mut heard), begun);
            if begun {
                assert_eq!(heard, frame(n - 1));
                assert!(near.receive(&mut heard));
                assert_eq!(heard, frame(1 - n));
            } else {
                assert!(!near.receive(&mut heard));
            }
        }
        let expected = FlowFigures {
            sent: 100,
            received: 99,
            ..FlowFigures::default()
        };
        let figures = meters.read();
        assert_eq!((figures.inbound, figures.outbound), (expected, expected));
    }

    #[test]
    fn a_full_ring_takes_nothing_and_loses_its_old_frames() {
        let (mut near, mut far, meters) = pair(RATE);
        let mut heard = [0; 160];
        for n in 0..20 {
            assert_eq!(far.send(&frame(n)), (n as usize) < RING_FRAMES);
        }
        assert!(!near.receive(&mut heard), "what it holds is too old");
        for n in 20..30 {
            assert!(far.send(&frame(n)));
            if near.receive(&mut heard) {
                assert_eq!(heard, frame(n - 1));
            }
        }
        let figures = meters.read().inbound;
        assert_eq!((figures.overflowed, figures.discarded), (12, 8));
        assert_eq!(figures.received, 9);
    }

    #[test]
    fn a_pause_leaves_the_newest_and_a_new_conversation_nothing() {
        let (mut near, mut far, _) = pair(RATE);
        let mut heard = [0; 160];
        (0..6).for_each(|n| assert!(far.send(&frame(n))));
        near.skip();
        assert!(near.receive(&mut heard));
        assert_eq!(heard, frame(4));
        near.restart();
        assert!(!near.receive(&mut heard));
    }

    #[test]
    fn an_end_whose_other_one_is_gone_hears_nothing_and_waits_for_nobody() {
        let (mut near, far, meters) = pair(RATE);
        drop(far);
        let mut heard = [0; 160];
        for n in 0..20 {
            assert_eq!(near.send(&frame(n)), (n as usize) < RING_FRAMES);
            assert!(!near.receive(&mut heard));
        }
        assert_eq!(meters.read().outbound.overflowed, 12);
    }
}
