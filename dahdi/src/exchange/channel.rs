//! One pseudo channel: its buffers, its settings, and the clock of a channel that is in no conference.

use std::io::Write;

use unisono_mixer::{SampleRate, Strip, StripSettings};

use super::events::Events;
use super::law::Format;
use super::mode::Mode;
use super::receive::Receive;
use super::spares::{Spares, new_buffers};
use super::stats::{ChannelStats, Counters};
use super::transmit::Transmit;
use super::{Readiness, STEP};
use crate::request::{ConfInfo, Errno, Gains, Params};

/// Samples in a block, and buffers, of a new channel.
const DEFAULT_BLOCK: usize = 1024;
const DEFAULT_BUFFERS: usize = 2;

/// The signalling of a clear channel.
const CLEAR: i32 = 0x80;

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) number: i32,
    /// The conference and mode, as they were set.
    pub(super) conference: i32,
    pub(super) mode_bits: i32,
    pub(super) mode: Mode,
    /// How many channels hear this one by a monitor mode.
    pub(super) monitors: u32,
    pub(super) mute: i32,
    pub(super) policy: i32,
    pub(super) block: usize,
    pub(super) buffers: usize,
    pub(super) format: Format,
    pub(super) events: Events,
    pub(super) receive: Receive,
    pub(super) transmit: Transmit,
    /// What it said and what it heard in the last step.
    pub(super) said: [i16; STEP],
    pub(super) heard: [i16; STEP],
    pub(super) strip: Box<Strip>,
    pub(super) gains: Option<Box<Gains>>,
    pub(super) times: [i32; 11],
    pub(super) counters: Counters,
    /// What its owner was told last.
    pub(super) reported: Readiness,
    /// Up to when a channel without steps has received and sent.
    clock: u64,
}

impl Channel {
    pub(super) fn new(number: i32, now: u64) -> Self {
        Self {
            number,
            conference: 0,
            mode_bits: 0,
            mode: Mode::Normal,
            monitors: 0,
            mute: 0,
            policy: 0,
            block: DEFAULT_BLOCK,
            buffers: DEFAULT_BUFFERS,
            format: Format::default(),
            events: Events::new(),
            receive: Receive::new(DEFAULT_BLOCK, DEFAULT_BUFFERS),
            transmit: Transmit::new(DEFAULT_BLOCK, DEFAULT_BUFFERS, 0),
            said: [0; STEP],
            heard: [0; STEP],
            strip: Box::new(new_strip()),
            gains: None,
            times: [0; 11],
            counters: Counters::default(),
            reported: Readiness::default(),
            clock: now,
        }
    }

    /// Is opened.
    pub(super) fn begin(&mut self, number: i32, now: u64) {
        self.number = number;
        self.clock = now;
    }

    /// Whether what it reads comes in steps of the grid; otherwise it is silence, at exact times.
    pub(super) fn hears_in_steps(&self) -> bool {
        self.mode != Mode::Normal
    }

    /// Whether what it writes is taken in steps of the grid.
    pub(super) fn speaks_in_steps(&self) -> bool {
        self.mode != Mode::Normal || self.monitors > 0
    }

    /// Lets time pass for what does not happen in steps.
    pub(super) fn pass_to(&mut self, now: u64) {
        let samples = now.saturating_sub(self.clock);
        self.clock = self.clock.max(now);
        if !self.hears_in_steps() {
            self.receive.push_silence(samples);
        }
        if !self.speaks_in_steps() {
            self.transmit.discard(samples);
        }
    }

    /// When readiness changes without a step.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let block = (!self.hears_in_steps() && self.receive.blocks() == 0)
            .then(|| self.receive.missing() as u64);
        let room = (!self.speaks_in_steps())
            .then(|| self.transmit.until_room().or(self.transmit.until_empty()))
            .flatten();
        let wait = match (block, room) {
            (Some(block), Some(room)) => block.min(room),
            (block, room) => block.or(room)?,
        };
        Some(self.clock.saturating_add(wait))
    }

    pub(super) fn readiness(&self) -> Readiness {
        Readiness {
            readable: self.receive.blocks() > 0,
            writable: self.transmit.has_room(),
            urgent: !self.events.is_empty(),
            drained: self.transmit.is_empty(),
        }
    }

    pub(super) fn read(&mut self, octets: &mut [u8]) -> Result<usize, Errno> {
        let count = octets.len() & MAX_COUNT;
        if count == 0 {
            return Err(Errno::Einval);
        }
        if !self.events.is_empty() {
            return Err(Errno::Elast);
        }
        let block = self.receive.front().ok_or(Errno::Eagain)?;
        let count = self.format.encode(block, &mut octets[..count]);
        self.receive.pop();
        self.counters.reads += 1;
        Ok(count)
    }

    pub(super) fn write(&mut self, octets: &[u8]) -> Result<usize, Errno> {
        let count = octets.len() & MAX_COUNT;
        if count == 0 {
            return Err(Errno::Einval);
        }
        if !self.events.is_empty() {
            return Err(Errno::Elast);
        }
        if !self.transmit.has_room() {
            self.counters.refused_writes += 1;
            return Err(Errno::Eagain);
        }
        let count = count.min(self.transmit.block() * self.format.width());
        self.transmit.write(self.format.decode(&octets[..count]));
        self.counters.writes += 1;
        Ok(count)
    }

    /// New, empty buffers. The old ones are left in `spares`.
    pub(super) fn set_buffers(&mut self, block: usize, buffers: usize, spares: &mut Spares) {
        self.block = block;
        self.buffers = buffers;
        let dropped = self.receive.dropped();
        self.counters.dropped_before = self.counters.dropped_before.saturating_add(dropped);
        let spare = spares.buffers.take();
        let (mut receive, mut transmit) = spare
            .filter(|(receive, _)| receive.is_of(block, buffers))
            .unwrap_or_else(|| new_buffers(block, buffers));
        transmit.set_policy(self.policy);
        std::mem::swap(&mut self.receive, &mut receive);
        std::mem::swap(&mut self.transmit, &mut transmit);
        spares.buffers = Some((receive, transmit));
    }

    /// Goes into or out of a conference, or changes what it does there.
    pub(super) fn set_conference(&mut self, conference: i32, mode_bits: i32) {
        let stepped = self.hears_in_steps();
        if conference != self.conference {
            *self.strip = new_strip();
        }
        self.conference = conference;
        self.mode_bits = mode_bits;
        self.mode = Mode::of(mode_bits);
        if self.hears_in_steps() != stepped {
            self.receive.realign();
        }
    }

    /// The conference as `GETCONF` answers it.
    pub(super) fn conf_info(&self) -> ConfInfo {
        ConfInfo {
            channel: self.number,
            conference: self.conference,
            mode: self.mode_bits,
        }
    }

    pub(super) fn gains(&self, spares: &mut Spares) -> Box<Gains> {
        let spare = spares.gains.take();
        let mut gains = spare.unwrap_or_else(|| Box::new(Gains::identity(0)));
        match &self.gains {
            Some(set) => gains.clone_from(set),
            None => gains.channel = self.number,
        }
        gains
    }

    pub(super) fn params(&self) -> Params {
        let position = self.number - super::FIRST_NUMBER + 1;
        let mut name = [0; 40];
        // It fits: numbers have five digits.
        let _ = write!(&mut name[..], "Pseudo/{position}");
        Params {
            channel: self.number,
            span: 0,
            position,
            signalling: CLEAR,
            capabilities: CLEAR,
            line: [0, -1, -1, 0, 0],
            law: match self.format.law {
                super::law::Law::Mu => 1,
                super::law::Law::A => 2,
            },
            idle_bits: 0,
            name,
            times: self.times,
            alarms: 0,
        }
    }

    pub(super) fn stats(&self) -> ChannelStats {
        let counters = &self.counters;
        ChannelStats {
            reads: counters.reads,
            writes: counters.writes,
            refused_writes: counters.refused_writes,
            backlog: self.transmit.len(),
            standing_backlog: self.transmit.standing(),
            trims: counters.trims,
            trimmed_samples: counters.trimmed_samples,
            underruns: counters.underruns,
            dropped_samples: counters
                .dropped_before
                .saturating_add(self.receive.dropped()),
            skipped_samples: counters.skipped_samples,
        }
    }
}

/// DAHDI looks at the low 16 bits of a length.
const MAX_COUNT: usize = 0xffff;

/// Everybody who may talk is summed: there is no gate but that of digital silence, which stays open for 20 minutes.
pub(super) fn new_strip() -> Strip {
    Strip::new(
        SampleRate::Hz8000,
        StripSettings {
            gate_dbov: None,
            hang_over_ms: u32::MAX,
            counts_as_talker: false,
            ..StripSettings::default()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_documentation_says() {
        let rings = 2 * 2 * DEFAULT_BLOCK * DEFAULT_BUFFERS;
        let all = size_of::<Channel>() + size_of::<Strip>() + rings;
        assert!((12 * 1024..=14 * 1024).contains(&all), "{all}");
    }
}
