//! Who talks: a gate that decides what enters the sum, and start and stop of talking.

use crate::level;
use crate::strip::StripSettings;

/// A change of what [`crate::Strip::is_talking`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TalkChange {
    /// The participant has been above the talk level for the start time.
    Started,
    /// The hang-over has passed since the participant was last above the talk level, or it was muted.
    Stopped,
}

/// Gate, talk detection and level of one leg.
#[derive(Debug)]
pub(crate) struct Detector {
    /// Mean square of the last frame.
    level: f32,
    /// The same, smoothed over about 90 ms.
    smoothed: f32,
    /// Frames for which the gate stays open without a loud one.
    gate_hang: u16,
    talk_hang: u16,
    /// Loud frames, less quiet ones, towards the start of talking.
    run: u16,
    talking: bool,
    may_talk: bool,
    hang_over: u16,
    start: u16,
    gate_threshold: f32,
    talk_threshold: f32,
    /// Amplitude a little below that of the lower threshold.
    unheard: f32,
}

impl Detector {
    pub(crate) fn new(settings: &StripSettings) -> Self {
        let gate_threshold = settings
            .gate_dbov
            .map_or(f32::MIN_POSITIVE, level::to_mean_square);
        let talk_threshold = level::to_mean_square(settings.talk_dbov);
        let frames = |ms: u32| u16::try_from(ms.div_ceil(20)).unwrap_or(u16::MAX);
        Self {
            level: 0.0,
            smoothed: 0.0,
            gate_hang: 0,
            talk_hang: 0,
            run: 0,
            talking: false,
            may_talk: settings.counts_as_talker,
            hang_over: frames(settings.hang_over_ms),
            start: frames(settings.talk_start_ms).max(1),
            gate_threshold,
            talk_threshold,
            unheard: 0.99 * gate_threshold.min(talk_threshold).sqrt(),
        }
    }

    /// Judges a frame by its mean square. `heard` is false for a leg that may not speak.
    pub(crate) fn frame(&mut self, mean_square: f32, heard: bool) -> Verdict {
        self.level = mean_square;
        self.smooth();
        if !heard {
            return self.silenced();
        }
        let open = if mean_square >= self.gate_threshold {
            self.gate_hang = self.hang_over;
            true
        } else {
            let open = self.gate_hang > 0;
            self.gate_hang = self.gate_hang.saturating_sub(1);
            open
        };
        let change = if mean_square >= self.talk_threshold {
            self.talk_hang = self.hang_over;
            self.run = self.run.saturating_add(1).min(self.start);
            self.started()
        } else {
            self.stopped()
        };
        Verdict { open, change }
    }

    /// 20 ms of nothing received. `heard` is false for a leg that may not speak.
    #[inline]
    pub(crate) fn silence(&mut self, heard: bool) -> Option<TalkChange> {
        if self.smoothed == 0.0 && self.talk_hang == 0 && self.gate_hang == 0 {
            return None; // Rest: the run has ended before the smoothed level has.
        }
        self.level = 0.0;
        self.smooth();
        if !heard {
            return self.silenced().change;
        }
        self.gate_hang = self.gate_hang.saturating_sub(1);
        self.stopped()
    }

    /// Whether a frame of this mean square would open the gate or count as talking.
    pub(crate) fn would_hear(&self, mean_square: f32) -> bool {
        mean_square >= self.gate_threshold.min(self.talk_threshold)
    }

    pub(crate) fn set_may_talk(&mut self, may_talk: bool) {
        self.may_talk = may_talk;
    }

    pub(crate) fn is_talking(&self) -> bool {
        self.talking
    }

    /// No frame within this amplitude reaches a threshold. 0 if the last frame was louder: who was just loud is listened to.
    #[inline]
    pub(crate) fn unheard_amplitude(&self) -> f32 {
        if self.level > self.unheard * self.unheard {
            0.0
        } else {
            self.unheard
        }
    }

    /// Whether neither gate nor talking is open or held open.
    #[inline]
    pub(crate) fn is_resting(&self) -> bool {
        self.gate_hang == 0 && self.talk_hang == 0 && self.run == 0 && !self.talking
    }

    pub(crate) fn level_dbov(&self) -> f32 {
        level::from_mean_square(self.level)
    }

    pub(crate) fn smoothed_dbov(&self) -> f32 {
        level::from_mean_square(self.smoothed)
    }

    fn silenced(&mut self) -> Verdict {
        self.gate_hang = 0;
        self.talk_hang = 0;
        Verdict {
            open: false,
            change: self.stopped(),
        }
    }

    fn started(&mut self) -> Option<TalkChange> {
        if !self.may_talk {
            return self.talking.then(|| self.end());
        }
        if self.talking || self.run < self.start {
            return None;
        }
        self.talking = true;
        Some(TalkChange::Started)
    }

    fn stopped(&mut self) -> Option<TalkChange> {
        self.run = self.run.saturating_sub(1);
        self.talk_hang = self.talk_hang.saturating_sub(1);
        (self.talking && (self.talk_hang == 0 || !self.may_talk)).then(|| self.end())
    }

    fn end(&mut self) -> TalkChange {
        self.talking = false;
        self.run = 0;
        TalkChange::Stopped
    }

    fn smooth(&mut self) {
        self.smoothed += SMOOTHING * (self.level - self.smoothed);
        if self.smoothed < FORGOTTEN {
            self.smoothed = 0.0;
        }
    }
}

/// What the detector says of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict {
    /// Whether the frame enters the sum.
    pub(crate) open: bool,
    pub(crate) change: Option<TalkChange>,
}

/// Weight of the newest frame in the smoothed level.
const SMOOTHING: f32 = 0.2;
/// Mean square below which the smoothed level is silence: -110 dBov.
const FORGOTTEN: f32 = 0.01;
