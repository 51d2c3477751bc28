//! Sums that were mixed in another room, added to a room's own: how one conference is mixed in several places.

use std::fmt;

use super::Intake;
use crate::rate::SampleRate;
use crate::resample::{MAX_PAST, widen};
use crate::strip::Strip;

/// What the mixer keeps of one other room whose sums are added to a room's: see [`Intake::add_sum`].
pub struct Feed {
    /// Tick in which the last sum was added, at which rate, and its end.
    fed_at: u64,
    rate: SampleRate,
    past: [i32; MAX_PAST],
}

impl Feed {
    /// One that nothing came from yet.
    pub fn new() -> Self {
        Self {
            fed_at: 0,
            rate: SampleRate::Hz8000,
            past: [0; MAX_PAST],
        }
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

impl Intake<'_> {
    /// The exact sum of what was added so far, at the room's rate and before any limiter; `None` while nothing was.
    ///
    /// It is what another room of the same conference [adds](Self::add_sum). Whoever takes it before adding others' sums
    /// keeps those from coming back.
    pub fn sum(&self) -> Option<&[i32]> {
        let len = self.room.rate.frame_len();
        (self.room.contributors > 0).then(|| &self.buffers.sum[MAX_PAST..][..len])
    }

    /// How many took part in that sum.
    pub fn contributors(&self) -> u32 {
        self.room.contributors
    }

    /// Rate of the sum.
    pub fn rate(&self) -> SampleRate {
        self.room.rate
    }

    /// Whether this strip takes part in the sum.
    pub fn has(&self, strip: &Strip) -> bool {
        strip.contributed_at == self.room.serial
    }

    /// Adds the sum of so many `contributors` of another room, 20 ms at `rate`: exactly if that is the room's rate,
    /// else through the filter by which strips of that rate are heard.
    ///
    /// One sum a feed and tick. A frame of another length is a mistake of the caller: it panics in debug builds and
    /// counts as silence otherwise.
    pub fn add_sum(&mut self, feed: &mut Feed, rate: SampleRate, frame: &[i32], contributors: u32) {
        let proper = frame.len() == rate.frame_len();
        debug_assert!(proper, "a sum is one frame of 20 ms");
        if proper {
            self.feed(feed, rate, Some(frame), contributors.max(1));
        }
    }

    /// Nothing came from another room in this tick: only what the filter still holds of the tick before is added. O(1).
    pub fn add_no_sum(&mut self, feed: &mut Feed) {
        if feed.fed_at == self.room.serial.wrapping_sub(1) && feed.rate != self.room.rate {
            self.feed(feed, feed.rate, None, 1);
        }
    }

    fn feed(
        &mut self,
        feed: &mut Feed,
        rate: SampleRate,
        frame: Option<&[i32]>,
        contributors: u32,
    ) {
        let len = self.room.rate.frame_len();
        let serial = self.room.serial;
        let buffers = &mut *self.buffers;
        let sum = &mut buffers.sum[MAX_PAST..][..len];
        if self.room.contributors == 0 {
            sum.fill(0);
        }
        self.room.contributors += contributors;
        let Some(filter) = self.bank.filter(rate, self.room.rate) else {
            add(sum, frame.unwrap_or(&[]));
            return;
        };
        let window = &mut buffers.wide[..filter.taps() + rate.frame_len()];
        let (past, present) = window.split_at_mut(filter.taps());
        if feed.fed_at == serial.wrapping_sub(1) && feed.rate == rate {
            let recent = &feed.past[MAX_PAST - filter.taps()..];
            widen(recent.iter().map(|&sample| sample as f32), past);
        } else {
            past.fill(0.0);
        }
        match frame {
            Some(frame) => {
                widen(frame.iter().map(|&sample| sample as f32), present);
                let kept = MAX_PAST.min(frame.len());
                feed.past[MAX_PAST - kept..].copy_from_slice(&frame[frame.len() - kept..]);
                feed.rate = rate;
                feed.fed_at = serial;
            }
            None => present.fill(0.0),
        }
        let converted = &mut buffers.mixed[..len];
        filter.run(window, &mut buffers.streams, converted);
        add(sum, converted);
    }
}

fn add(sum: &mut [i32], more: &[i32]) {
    for (sum, &more) in sum.iter_mut().zip(more) {
        *sum = sum.wrapping_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Desk, Hearing, Room, StripSettings};

    fn strip(rate: SampleRate) -> Strip {
        let settings = StripSettings {
            gate_dbov: None,
            ..StripSettings::default()
        };
        Strip::new(rate, settings)
    }

    #[test]
    fn a_sum_from_elsewhere_is_heard_exactly_and_is_not_passed_on() {
        let rate = SampleRate::Hz8000;
        let mut desk = Desk::new();
        let mut room = Room::new(rate);
        let (mut alice, mut bob) = (strip(rate), strip(rate));
        let mut feed = Feed::new();
        let others: Vec<i32> = (0..160).map(|n| 70_000 - n * 1000).collect();
        for tick in 0..3 {
            let mut intake = desk.begin(&mut room);
            assert!(intake.sum().is_none());
            intake.add(&mut alice, &[500; 160]);
            intake.add_silence(&mut bob);
            assert!(intake.has(&alice) && !intake.has(&bob));
            let own = intake.sum().expect("alice speaks").to_vec();
            intake.add_sum(&mut feed, rate, &others, 3);
            let all = intake.sum().expect("all speak").to_vec();
            assert!((0..160).all(|n| all[n] == own[n] + others[n]));
            assert_eq!((intake.contributors(), intake.rate()), (4, rate));
            let mut mix = intake.finish();
            // The limiter acts on 70,000 alike for all; where the sum fits 16 bits again it has let go or not, alike.
            assert!(matches!(mix.hear(&mut alice, None), Hearing::Own(_)));
            assert!(
                matches!(mix.hear(&mut bob, None), Hearing::Common(_)),
                "{tick}"
            );
        }
    }

    #[test]
    fn who_is_alone_in_a_room_hears_the_other_room_and_not_itself() {
        let rate = SampleRate::Hz16000;
        let mut desk = Desk::new();
        let mut room = Room::new(rate);
        let mut alice = strip(rate);
        let mut feed = Feed::new();
        for _ in 0..3 {
            let mut intake = desk.begin(&mut room);
            intake.add(&mut alice, &[500; 320]);
            intake.add_sum(&mut feed, rate, &[-7; 320], 1);
            let mut mix = intake.finish();
            assert_eq!(mix.hear(&mut alice, None), Hearing::Own(&[-7; 320]));
        }
        let mut intake = desk.begin(&mut room);
        intake.add(&mut alice, &[500; 320]);
        intake.add_no_sum(&mut feed);
        assert_eq!(intake.contributors(), 1);
        assert_eq!(intake.finish().hear(&mut alice, None), Hearing::Nothing);
    }

    #[test]
    fn a_sum_at_another_rate_is_converted_as_one_stream_to_its_very_end() {
        for (from, to) in [
            (SampleRate::Hz48000, SampleRate::Hz8000),
            (SampleRate::Hz8000, SampleRate::Hz48000),
            (SampleRate::Hz16000, SampleRate::Hz24000),
        ] {
            let mut desk = Desk::new();
            let mut room = Room::new(to);
            let mut feed = Feed::new();
            let mut reference = crate::resample::Resampler::new(from, to);
            let step = std::f32::consts::TAU * 700.0 / from.hz() as f32;
            let mut heard = 0.0_f64;
            for tick in 0..10 {
                let frame: Vec<i32> = (0..from.frame_len())
                    .map(|n| {
                        let at = (tick * from.frame_len() + n) as f32;
                        ((at * step).sin() * 9000.0) as i32
                    })
                    .collect();
                let speaks = tick < 8;
                let narrow: Vec<i16> = frame
                    .iter()
                    .map(|&s| if speaks { s as i16 } else { 0 })
                    .collect();
                let mut expected = vec![0; to.frame_len()];
                reference.process(&narrow, &mut expected);
                let mut intake = desk.begin(&mut room);
                if speaks {
                    intake.add_sum(&mut feed, from, &frame, 1);
                } else {
                    intake.add_no_sum(&mut feed);
                }
                assert_eq!(intake.sum().is_some(), tick < 9, "the tail, then nothing");
                if let Some(sum) = intake.sum() {
                    for (sum, expected) in sum.iter().zip(&expected) {
                        assert!((sum - i32::from(*expected)).abs() <= 1, "tick {tick}");
                        heard += f64::from(*sum).abs();
                    }
                }
                intake.finish();
            }
            assert!(heard > 1e6);
        }
    }
}
