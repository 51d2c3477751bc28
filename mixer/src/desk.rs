//! One tick of one conference: take everybody in, finish, give everybody what it hears.

mod feed;

use std::fmt;

use crate::limiter::Limiter;
use crate::rate::{MAX_FRAME, SampleRate};
use crate::resample::{Bank, Filter, MAX_PAST, WINDOW, widen};
use crate::room::Room;
use crate::samples::Ramp;
use crate::strip::Strip;
use crate::talk::TalkChange;
use crate::vector;

pub use feed::Feed;

/// The buffers in which ticks are mixed; one serves all rooms of a thread, one after the other.
pub struct Desk {
    bank: &'static Bank,
    buffers: Box<Buffers>,
}

impl Desk {
    /// Allocates what all ticks of all rooms will need. Nothing else here allocates.
    pub fn new() -> Self {
        vector::prepare();
        Self {
            bank: Bank::get(),
            buffers: Box::new(Buffers::new()),
        }
    }

    /// Begins a tick of `room`.
    ///
    /// Then every strip is given once, to [`Intake::add`] or [`Intake::add_silence`], in any order;
    /// then [`Intake::finish`]; then every strip asks once, in any order, for what it hears.
    pub fn begin<'a>(&'a mut self, room: &'a mut Room) -> Intake<'a> {
        room.serial = room.serial.wrapping_add(1);
        room.contributors = 0;
        room.talkers = 0;
        Intake {
            bank: self.bank,
            buffers: &mut self.buffers,
            room,
        }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// The first half of a tick: what everybody says.
pub struct Intake<'a> {
    bank: &'static Bank,
    buffers: &'a mut Buffers,
    room: &'a mut Room,
}

impl<'a> Intake<'a> {
    /// Takes 20 ms of a leg at the strip's rate: measures it, and adds it if the gate is open and the leg may speak.
    ///
    /// The very frame that exceeds the gate's level is heard. A frame of another length is a mistake of
    /// the caller, as is a second one in a tick: both panic in debug builds and count as silence otherwise.
    pub fn add(&mut self, strip: &mut Strip, frame: &[i16]) -> Option<TalkChange> {
        let serial = self.room.serial;
        let proper = frame.len() == strip.rate.frame_len() && strip.contributed_at != serial;
        debug_assert!(proper, "one frame of 20 ms a strip and tick");
        if !proper {
            return self.add_silence(strip);
        }
        let gain = strip.input.target;
        let verdict = strip
            .detector
            .frame(vector::mean_square(frame) * gain * gain, strip.may_speak());
        let ramp = strip.go_input(verdict.open, self.room.rate.frame_len());
        if ramp.from != 0.0 || ramp.to != 0.0 {
            self.contribute(strip, Some(frame), ramp);
        }
        if strip.rate != self.room.rate {
            let kept = MAX_PAST.min(frame.len());
            strip.samples_past[MAX_PAST - kept..].copy_from_slice(&frame[frame.len() - kept..]);
            strip.sampled_at = serial;
        }
        self.room.talkers += u32::from(strip.is_talking());
        verdict.change
    }

    /// Takes 20 ms in which nothing came from a leg, or nothing was decoded. O(1).
    #[inline]
    pub fn add_silence(&mut self, strip: &mut Strip) -> Option<TalkChange> {
        let before = self.room.serial.wrapping_sub(1);
        if strip.contributed_at == before && strip.sampled_at == before {
            self.flush(strip);
        }
        strip.input.now = 0.0;
        let change = strip.detector.silence(strip.may_speak());
        self.room.talkers += u32::from(strip.is_talking());
        change
    }

    /// Takes 20 ms of a leg that [`Strip::is_resting`] which were not decoded, because nobody would have heard them: nothing of
    /// them is mixed, and its level stays as it was measured last. O(1).
    #[inline]
    pub fn add_unheard(&mut self, strip: &mut Strip) -> Option<TalkChange> {
        if !strip.is_resting() {
            return self.add_silence(strip);
        }
        let before = self.room.serial.wrapping_sub(1);
        if strip.contributed_at == before && strip.sampled_at == before {
            self.flush(strip);
        }
        None
    }

    /// Whether it is certain already that a leg, if it is told nothing privately, hears in this tick what all hear, or nothing because
    /// nobody is heard: [`Mix::hear`] need not be asked. To be called when the leg's own frame is in. A leg whose mix becomes the
    /// common one in this very tick is not certain to be told so.
    #[inline]
    pub fn hears_what_all_hear(&self, strip: &Strip) -> bool {
        let serial = self.room.serial;
        let before = serial.wrapping_sub(1);
        strip.contributed_at != serial
            && strip.contributed_at != before
            && strip.own_at != before
            && strip.volume.is_unity()
            && strip.door.is_unity()
    }

    /// Everything is in: mixes what everybody hears.
    pub fn finish(self) -> Mix<'a> {
        let Intake {
            bank,
            buffers,
            room,
        } = self;
        let len = room.rate.frame_len();
        let index = room.rate.index();
        let contributors_before = room.contributors_before();
        room.entering[index] = room.limiters[index];
        room.limited_at[index] = room.serial;
        if room.contributors > 0 {
            let common = &mut buffers.common[index][..len];
            room.limiters[index].process(&buffers.sum[MAX_PAST..][..len], common);
            buffers.common_at[index] = room.serial;
            room.level = vector::mean_square(common);
        } else {
            room.limiters[index].pass_silence();
            room.level = 0.0;
            if contributors_before > 0 {
                buffers.sum[MAX_PAST..][..len].fill(0);
            }
        }
        if contributors_before > 0 {
            buffers.sum[..MAX_PAST].copy_from_slice(&room.history);
        } else {
            buffers.sum[..MAX_PAST].fill(0);
        }
        if room.contributors > 0 {
            let kept = MAX_PAST.min(len);
            room.history[MAX_PAST - kept..]
                .copy_from_slice(&buffers.sum[MAX_PAST..][len - kept..len]);
        }
        room.history_contributors = room.contributors;
        room.history_at = room.serial;
        Mix {
            bank,
            buffers,
            room,
            contributors_before,
        }
    }

    /// Adds what the resampler still holds of the frame before.
    #[cold]
    fn flush(&mut self, strip: &mut Strip) {
        if strip.rate != self.room.rate {
            let gain = strip.input.now;
            self.contribute(
                strip,
                None,
                Ramp {
                    from: gain,
                    to: gain,
                    over: 0,
                },
            );
        }
    }

    /// Adds a frame, or its absence, to the sum, and keeps in the strip what was added.
    fn contribute(&mut self, strip: &mut Strip, frame: Option<&[i16]>, ramp: Ramp) {
        let serial = self.room.serial;
        let len = self.room.rate.frame_len();
        let filter = self.bank.filter(strip.rate, self.room.rate);
        let buffers = &mut *self.buffers;

        strip.contributed_before = strip.contributed_at == serial.wrapping_sub(1);
        if filter.is_some() {
            let kept = MAX_PAST.min(len);
            strip.contribution_past[MAX_PAST - kept..]
                .copy_from_slice(&strip.contribution[len - kept..len]);
        }
        strip.contributed_at = serial;
        let contribution = &mut strip.contribution[..len];
        let unity = ramp.from == 1.0 && ramp.to == 1.0;
        match (filter, frame) {
            (None, Some(frame)) if unity && strip.input_limiter.gain() == 1.0 => {
                contribution.copy_from_slice(frame);
            }
            (filter, frame) => {
                let scaled = &mut buffers.mixed[..len];
                if let Some(filter) = filter {
                    let past = (strip.sampled_at == serial.wrapping_sub(1))
                        .then_some(&strip.samples_past[MAX_PAST - filter.taps()..]);
                    let window = &mut buffers.wide[..filter.taps() + strip.rate.frame_len()];
                    let (past_window, frame_window) = window.split_at_mut(filter.taps());
                    widen_or_zero(past, past_window);
                    widen_or_zero(frame, frame_window);
                    filter.run(window, &mut buffers.streams, scaled);
                } else {
                    for (scaled, &sample) in scaled.iter_mut().zip(frame.unwrap_or(&[])) {
                        *scaled = i32::from(sample);
                    }
                }
                if !unity {
                    vector::ramp(ramp, scaled);
                }
                strip.input_limiter.process(scaled, contribution);
            }
        }

        let sum = &mut buffers.sum[MAX_PAST..][..len];
        if self.room.contributors == 0 {
            sum.fill(0);
        }
        vector::add(sum, contribution);
        self.room.contributors += 1;
    }
}

impl fmt::Debug for Intake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

/// The second half of a tick: what everybody hears.
pub struct Mix<'a> {
    bank: &'static Bank,
    buffers: &'a mut Buffers,
    room: &'a mut Room,
    /// Contributors of the previous tick, if this one continues it.
    contributors_before: u32,
}

/// What a leg hears in a tick, at its strip's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing<'m> {
    /// Silence: nobody else contributes, or the leg is deaf.
    Nothing,
    /// Everybody, the same samples for all strips of this rate in this tick.
    Common(&'m [i16]),
    /// For this leg alone: without itself, or with its output gain, or with private audio.
    Own(&'m [i16]),
}

impl Mix<'_> {
    /// What the participant hears: everybody minus itself, exactly, then its output gain, then the limiter.
    ///
    /// `private` is 20 ms at the strip's rate that only this participant hears, deaf or not: a prompt, or
    /// a coach. It passes the output gain too. Of another length it panics in debug builds and is ignored otherwise. To
    /// be called once a tick, as it moves the leg's limiter on.
    ///
    /// A leg that stops contributing keeps an own mix until its limiter and the common one agree, so that the change
    /// cannot be heard.
    #[inline]
    pub fn hear(&mut self, strip: &mut Strip, private: Option<&[i16]>) -> Hearing<'_> {
        let serial = self.room.serial;
        let before = serial.wrapping_sub(1);
        let resampled = strip.rate != self.room.rate;
        let silent =
            strip.contributed_at != serial && !(resampled && strip.contributed_at == before);
        if silent && private.is_none() && strip.volume.is_unity() && strip.door.is_unity() {
            if !self.is_audible(strip.rate) {
                return Hearing::Nothing;
            }
            if strip.own_at != before || self.limiters_agree(strip) {
                return Hearing::Common(self.common_frame(strip.rate));
            }
        }
        self.hear_own(strip, private)
    }

    /// Everybody together at any rate, as a recorder or a listener without a strip hears it; `None` in silence.
    pub fn common(&mut self, rate: SampleRate) -> Option<&[i16]> {
        self.is_audible(rate).then(|| self.common_frame(rate))
    }

    /// Whether this strip took part in the sum of this tick.
    pub fn has(&self, strip: &Strip) -> bool {
        strip.contributed_at == self.room.serial
    }

    /// The room, with its counts and levels of this tick.
    pub fn room(&self) -> &Room {
        self.room
    }

    /// Whether there is a sum at this rate, or the rest of one in the resampler.
    fn is_audible(&self, rate: SampleRate) -> bool {
        self.room.contributors > 0 || (rate != self.room.rate && self.contributors_before > 0)
    }

    fn common_frame(&mut self, rate: SampleRate) -> &[i16] {
        let index = rate.index();
        let len = rate.frame_len();
        if self.buffers.common_at[index] != self.room.serial {
            self.resample_common(rate);
        }
        &self.buffers.common[index][..len]
    }

    fn resample_common(&mut self, rate: SampleRate) {
        let index = rate.index();
        let Some(filter) = self.bank.filter(self.room.rate, rate) else {
            return; // Mixed by finish.
        };
        let entering = self.entering(rate);
        let Buffers {
            sum,
            wide,
            streams,
            mixed,
            common,
            common_at,
            ..
        } = &mut *self.buffers;
        let window = &mut wide[..filter.taps() + self.room.rate.frame_len()];
        widen(
            sum_window(sum, filter).iter().map(|&sample| sample as f32),
            window,
        );
        let mixed = &mut mixed[..rate.frame_len()];
        filter.run(window, streams, mixed);

        self.room.entering[index] = entering;
        self.room.limiters[index] = entering;
        self.room.limiters[index].process(mixed, &mut common[index][..rate.frame_len()]);
        self.room.limited_at[index] = self.room.serial;
        common_at[index] = self.room.serial;
    }

    /// State of the common limiter at a rate before this tick; of the room's own rate if it did not run.
    fn entering(&self, rate: SampleRate) -> Limiter {
        let room = &*self.room;
        let index = rate.index();
        if room.limited_at[index] == room.serial {
            room.entering[index]
        } else if room.limited_at[index] == room.serial.wrapping_sub(1) {
            room.limiters[index]
        } else {
            room.entering[room.rate.index()]
        }
    }

    fn limiters_agree(&self, strip: &Strip) -> bool {
        (strip.own_limiter.gain() - self.entering(strip.rate).gain()).abs() < INAUDIBLE_STEP
    }

    fn hear_own(&mut self, strip: &mut Strip, private: Option<&[i16]>) -> Hearing<'_> {
        let serial = self.room.serial;
        let len = strip.rate.frame_len();
        let private = private.filter(|private| {
            debug_assert_eq!(private.len(), len, "private audio is one frame of 20 ms");
            private.len() == len
        });

        let contributed = strip.contributed_at == serial;
        let contributed_before = if contributed {
            strip.contributed_before
        } else {
            strip.contributed_at == serial.wrapping_sub(1)
        };
        let others = self.room.contributors - u32::from(contributed);
        let others_before = self
            .contributors_before
            .saturating_sub(u32::from(contributed_before));
        let resampled = strip.rate != self.room.rate;
        let audible = (others > 0 || (resampled && others_before > 0)) && !strip.door.is_closed();
        if !audible && private.is_none() {
            strip.volume.settle();
            strip.door.settle();
            return Hearing::Nothing;
        }

        if strip.own_at != serial.wrapping_sub(1) {
            strip.own_limiter = self.entering(strip.rate);
        }
        strip.own_at = serial;

        let Buffers {
            sum,
            wide,
            streams,
            mixed,
            private: scaled,
            own,
            ..
        } = &mut *self.buffers;
        let mixed = &mut mixed[..len];
        if !audible {
            mixed.fill(0);
        } else if let Some(filter) = self.bank.filter(self.room.rate, strip.rate) {
            let window = &mut wide[..filter.taps() + self.room.rate.frame_len()];
            let (past, present) = window.split_at_mut(filter.taps());
            let (sum_past, sum_present) = sum_window(sum, filter).split_at(filter.taps());
            let own_past = match (contributed, contributed_before) {
                (true, true) => Some(&strip.contribution_past[MAX_PAST - filter.taps()..]),
                (false, true) => {
                    Some(&strip.contribution[present.len() - filter.taps()..present.len()])
                }
                (_, false) => None,
            };
            widen_difference(sum_past, own_past, past);
            widen_difference(
                sum_present,
                contributed.then_some(&strip.contribution[..]),
                present,
            );
            filter.run(window, streams, mixed);
        } else if contributed {
            vector::subtract(&sum[MAX_PAST..][..len], &strip.contribution[..len], mixed);
        } else {
            mixed.copy_from_slice(&sum[MAX_PAST..][..len]);
        }

        let (volume, door) = (strip.volume, strip.door);
        let volume_ramp = strip.volume.go(volume.target, len);
        strip.door.settle();
        if audible && !(volume.is_unity() && door.is_unity()) {
            let from = volume.now * door.now;
            let over = if from == 0.0 { len / 8 } else { len };
            let ramp = Ramp {
                from,
                to: volume.target * door.target,
                over,
            };
            vector::ramp(ramp, mixed);
        }
        if let Some(private) = private {
            let scaled = &mut scaled[..len];
            for (scaled, &sample) in scaled.iter_mut().zip(private) {
                *scaled = i32::from(sample);
            }
            if !volume.is_unity() {
                vector::ramp(volume_ramp, scaled);
            }
            for (mixed, &sample) in mixed.iter_mut().zip(&*scaled) {
                *mixed = mixed.saturating_add(sample);
            }
        }
        strip.own_limiter.process(mixed, &mut own[..len]);
        Hearing::Own(&own[..len])
    }
}

impl fmt::Debug for Mix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mix")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

/// Buffers of one tick. What is in them is of the tick whose serial is noted beside.
struct Buffers {
    /// The end of the previous sum, then this one, at the room's rate.
    sum: [i32; WINDOW],
    wide: [f32; WINDOW],
    streams: [f32; WINDOW],
    mixed: [i32; MAX_FRAME],
    private: [i32; MAX_FRAME],
    own: [i16; MAX_FRAME],
    common: [[i16; MAX_FRAME]; 4],
    common_at: [u64; 4],
}

impl Buffers {
    fn new() -> Self {
        Self {
            sum: [0; WINDOW],
            wide: [0.0; WINDOW],
            streams: [0.0; WINDOW],
            mixed: [0; MAX_FRAME],
            private: [0; MAX_FRAME],
            own: [0; MAX_FRAME],
            common: [[0; MAX_FRAME]; 4],
            common_at: [0; 4],
        }
    }
}

/// A step of gain that nobody hears: 60 dB below the signal.
const INAUDIBLE_STEP: f32 = 1e-3;

/// The part of the sum that a filter looks at.
fn sum_window<'a>(sum: &'a [i32; WINDOW], filter: &Filter) -> &'a [i32] {
    &sum[MAX_PAST - filter.taps()..]
}

fn widen_or_zero(samples: Option<&[i16]>, out: &mut [f32]) {
    match samples {
        Some(samples) => widen(samples.iter().map(|&sample| f32::from(sample)), out),
        None => out.fill(0.0),
    }
}

/// `sum - own`, exactly, then widened.
fn widen_difference(sum: &[i32], own: Option<&[i16]>, out: &mut [f32]) {
    match own {
        Some(own) => {
            widen(
                sum.iter()
                    .zip(own)
                    .map(|(&sum, &own)| sum.wrapping_sub(i32::from(own)) as f32),
                out,
            );
        }
        None => widen(sum.iter().map(|&sum| sum as f32), out),
    }
}
