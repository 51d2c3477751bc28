//! What the mixer keeps of one leg.

use std::fmt;
use std::mem::offset_of;

use crate::level;
use crate::limiter::Limiter;
use crate::rate::{MAX_FRAME, SampleRate};
use crate::resample::MAX_PAST;
use crate::samples::Ramp;
use crate::talk::Detector;
use crate::vector;

/// What a participant may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Speak and hear.
    #[default]
    Both,
    /// Hear only.
    ListenOnly,
    /// Speak only, such as an announcer.
    TalkOnly,
}

/// How a leg starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StripSettings {
    /// Frames below this level, in dBov after the input gain, are not mixed once the hang-over has passed. `None`: all that
    /// is not digital silence is mixed. Default -50.
    pub gate_dbov: Option<f32>,
    /// Frames above this level, in dBov after the input gain, count as talking. Default -50.
    pub talk_dbov: f32,
    /// How long a leg stays in the mix, and talking, after its last loud frame, in ms, rounded up to frames. Default 400.
    pub hang_over_ms: u32,
    /// How much loud audio makes a talker, in ms, rounded up to frames. Default 60. It delays the event, not the audio.
    pub talk_start_ms: u32,
    /// See [`Strip::set_input_gain_db`]. Default 0.
    pub input_gain_db: f32,
    /// See [`Strip::set_output_gain_db`]. Default 0.
    pub output_gain_db: f32,
    /// See [`Strip::set_muted`].
    pub muted: bool,
    /// See [`Strip::set_deaf`].
    pub deaf: bool,
    /// See [`Strip::set_role`].
    pub role: Role,
    /// See [`Strip::set_counts_as_talker`]. Default true.
    pub counts_as_talker: bool,
}

impl Default for StripSettings {
    fn default() -> Self {
        Self {
            gate_dbov: Some(-50.0),
            talk_dbov: -50.0,
            hang_over_ms: 400,
            talk_start_ms: 60,
            input_gain_db: 0.0,
            output_gain_db: 0.0,
            muted: false,
            deaf: false,
            role: Role::Both,
            counts_as_talker: true,
        }
    }
}

/// One leg's strip on the desk: about 3 KiB, kept in a box by whoever owns the leg.
///
/// All changes take effect in the next tick, ramped so that they do not click.
// What a silent leg needs in a tick comes first, in two cache lines.
#[repr(C, align(64))]
pub struct Strip {
    /// Tick in which it last took part in the sum, last had samples, last heard a mix of its own.
    pub(crate) contributed_at: u64,
    pub(crate) sampled_at: u64,
    pub(crate) own_at: u64,
    /// Gain from frame to sum, mute included.
    pub(crate) input: Fader,
    /// Gain of all that is heard, and of the conference alone: 0 if deaf.
    pub(crate) volume: Fader,
    pub(crate) door: Fader,
    pub(crate) rate: SampleRate,
    /// Whether it had taken part in the tick before `contributed_at` too.
    pub(crate) contributed_before: bool,
    muted: bool,
    deaf: bool,
    role: Role,
    pub(crate) detector: Detector,
    pub(crate) input_limiter: Limiter,
    pub(crate) own_limiter: Limiter,
    /// The last contribution, at the room's rate, and the end of the one before.
    pub(crate) contribution: [i16; MAX_FRAME],
    pub(crate) contribution_past: [i16; MAX_PAST],
    /// The end of the last frame received, at the strip's rate.
    pub(crate) samples_past: [i16; MAX_PAST],
}

impl Strip {
    /// Octets at the front of a strip that a tick without audio looks at: worth fetching into the cache ahead, where there are many.
    pub const FRONT: usize = offset_of!(Self, input_limiter);

    /// A leg whose audio is at `rate` in both directions.
    pub fn new(rate: SampleRate, settings: StripSettings) -> Self {
        let mut strip = Self {
            contributed_at: 0,
            sampled_at: 0,
            own_at: 0,
            input: Fader::resting_at(0.0),
            volume: Fader::resting_at(1.0),
            door: Fader::resting_at(1.0),
            rate,
            contributed_before: false,
            muted: settings.muted,
            deaf: settings.deaf,
            role: settings.role,
            detector: Detector::new(&settings),
            input_limiter: Limiter::new(),
            own_limiter: Limiter::new(),
            contribution: [0; MAX_FRAME],
            contribution_past: [0; MAX_PAST],
            samples_past: [0; MAX_PAST],
        };
        strip.set_input_gain_db(settings.input_gain_db);
        strip.set_output_gain_db(settings.output_gain_db);
        strip.volume.settle();
        strip.update_door();
        strip.door.settle();
        strip
    }

    /// The rate of its frames, in both directions.
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Changes the rate from the next tick on, such as when a call changes its codec.
    pub fn set_rate(&mut self, rate: SampleRate) {
        if rate != self.rate {
            self.rate = rate;
            self.sampled_at = 0;
        }
    }

    /// Gain of what the participant says, from -60 to 24 dB; others are clamped, NaN is 0 dB. What then exceeds 16 bits passes a limiter of the leg.
    pub fn set_input_gain_db(&mut self, db: f32) {
        self.input.target = gain(db);
    }

    /// Gain of what the participant hears, from -60 to 24 dB; others are clamped, NaN is 0 dB. Any but 0 dB gives it a mix of its own.
    pub fn set_output_gain_db(&mut self, db: f32) {
        self.volume.target = gain(db);
    }

    /// Whether the participant is heard by nobody. Its level is still measured.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Whether the participant hears nothing but private audio.
    pub fn set_deaf(&mut self, deaf: bool) {
        self.deaf = deaf;
        self.update_door();
    }

    /// What the participant may do; mute and deaf restrict it further.
    pub fn set_role(&mut self, role: Role) {
        self.role = role;
        self.update_door();
    }

    /// Whether it can be a talker: false for music and announcements, which are mixed but raise no events.
    pub fn set_counts_as_talker(&mut self, counts: bool) {
        self.detector.set_may_talk(counts);
    }

    /// Whether it may speak: neither muted nor listening only. While it may not, its audio need not be decoded,
    /// from the second tick after the change on.
    pub fn may_speak(&self) -> bool {
        !self.muted && self.role != Role::ListenOnly
    }

    /// Whether nothing of it is in the mix and nothing of it counts as talking, hang-over included: its level was below the gate
    /// for long, or it may not speak.
    ///
    /// Frames of a resting leg without a sample beyond [`Strip::unheard_peak`], and all frames of one that may not speak,
    /// need not be decoded: see [`crate::Intake::add_unheard`].
    #[inline]
    pub fn is_resting(&self) -> bool {
        self.input.now == 0.0 && self.detector.is_resting()
    }

    /// The greatest magnitude of samples that neither opens the gate nor counts as talking, with the present input gain. 0
    /// without a gate, and for who was louder when last measured, such as somebody muted who spoke.
    #[inline]
    pub fn unheard_peak(&self) -> u16 {
        (self.detector.unheard_amplitude() / self.input.target) as u16
    }

    /// Whether it may hear the conference: neither deaf nor talking only.
    pub fn may_hear(&self) -> bool {
        !self.deaf && self.role != Role::TalkOnly
    }

    /// Whether the participant is talking, by the detector's own smoothing: see [`StripSettings`].
    pub fn is_talking(&self) -> bool {
        self.detector.is_talking()
    }

    /// Whether a frame as loud as this one would open the gate or count as talking. Changes nothing.
    pub fn would_hear(&self, frame: &[i16]) -> bool {
        let gain = self.input.target;
        self.may_speak()
            && self
                .detector
                .would_hear(vector::mean_square(frame) * gain * gain)
    }

    /// Level of the last frame after the input gain, in dBov. -127 without one.
    pub fn level_dbov(&self) -> f32 {
        self.detector.level_dbov()
    }

    /// The same, smoothed over about 90 ms.
    pub fn smoothed_level_dbov(&self) -> f32 {
        self.detector.smoothed_dbov()
    }

    /// Moves the input gain to what it shall be after this frame: 0 unless the gate is open.
    pub(crate) fn go_input(&mut self, open: bool, len: usize) -> Ramp {
        let target = if open { self.input.target } else { 0.0 };
        self.input.go(target, len)
    }

    fn update_door(&mut self) {
        self.door.target = if self.may_hear() { 1.0 } else { 0.0 };
    }
}

impl fmt::Debug for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strip")
            .field("rate", &self.rate)
            .field("muted", &self.muted)
            .field("deaf", &self.deaf)
            .field("role", &self.role)
            .field("talking", &self.is_talking())
            .field("level_dbov", &self.level_dbov())
            .finish_non_exhaustive()
    }
}

/// A gain that goes from where it is to where it should be, in one frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fader {
    pub(crate) now: f32,
    pub(crate) target: f32,
}

impl Fader {
    fn resting_at(gain: f32) -> Self {
        Self {
            now: gain,
            target: gain,
        }
    }

    /// Whether it rests at 0 dB.
    #[inline]
    pub(crate) fn is_unity(self) -> bool {
        self.now == 1.0 && self.target == 1.0
    }

    /// Whether it rests closed.
    pub(crate) fn is_closed(self) -> bool {
        self.now == 0.0 && self.target == 0.0
    }

    /// Arrives at once.
    pub(crate) fn settle(&mut self) {
        self.now = self.target;
    }

    /// Goes to `target` during a frame of `len` samples; from nothing in 2.5 ms, so that the onset of a word is not faded.
    pub(crate) fn go(&mut self, target: f32, len: usize) -> Ramp {
        let from = std::mem::replace(&mut self.now, target);
        Ramp {
            from,
            to: target,
            over: if from == 0.0 { len / 8 } else { len },
        }
    }
}

fn gain(db: f32) -> f32 {
    if db.is_nan() {
        1.0
    } else {
        level::db_to_factor(db.clamp(-60.0, 24.0))
    }
}
