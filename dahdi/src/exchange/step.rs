//! One step of 20 ms: everybody in a conference is heard, mixed, and given what it hears.

use unisono_mixer::{Hearing, SampleRate};

use super::channel::Channel;
use super::lines::Lines;
use super::mode::{Hears, Mode};
use super::{Exchange, STEP};

const SILENCE: [i16; STEP] = [0; STEP];

impl Exchange {
    /// Mixes the step of all conferences that is due at the time `at`, samples.
    pub(super) fn step(&mut self, at: u64, lines: &mut impl Lines) {
        self.stats.steps += 1;
        lines.begin(at);
        let Self {
            slots,
            conferences,
            desk,
            ..
        } = self;
        for conference in &mut conferences.active {
            let mut intake = desk.begin(&mut conference.room);
            for &member in &conference.members {
                let Some(channel) = slots[member].as_deref_mut() else {
                    continue;
                };
                let Mode::Member { talks, .. } = channel.mode else {
                    continue;
                };
                let any = channel
                    .transmit
                    .take(&mut channel.said, &mut channel.counters);
                if any && talks {
                    intake.add(&mut channel.strip, &channel.said);
                } else {
                    intake.add_silence(&mut channel.strip);
                }
            }
            let shared = lines.is_shared(conference.number);
            if shared {
                let mut frame = SILENCE;
                if lines.incoming(conference.number, at, &mut frame) {
                    intake.add(&mut conference.line, &frame);
                } else {
                    intake.add_silence(&mut conference.line);
                }
            }
            let mut mix = intake.finish();
            for &member in &conference.members {
                let Some(channel) = slots[member].as_deref_mut() else {
                    continue;
                };
                let Mode::Member { hears, .. } = channel.mode else {
                    continue;
                };
                channel.heard = match hears {
                    Hears::Nothing => SILENCE,
                    Hears::All => mix
                        .common(SampleRate::Hz8000)
                        .map_or(SILENCE, |heard| frame_of(Hearing::Common(heard))),
                    Hears::Others => frame_of(mix.hear(&mut channel.strip, None)),
                };
                channel.receive.push(&channel.heard);
            }
            if shared {
                let sum = frame_of(mix.hear(&mut conference.line, None));
                lines.outgoing(conference.number, at, &sum);
            }
        }
        self.monitor();
    }

    /// After a standstill: what was written for the steps that were skipped is dropped, but for the last 20 ms.
    pub(super) fn skip(&mut self, steps: u64) {
        self.stats.skipped += steps;
        for channel in self.slots.iter_mut().flatten() {
            if channel.speaks_in_steps() {
                let old = channel.transmit.len().saturating_sub(STEP) as u64;
                let dropped = old.min(steps.saturating_mul(STEP as u64));
                let before = channel.transmit.len();
                channel.transmit.discard(dropped);
                channel.counters.skipped_samples += (before - channel.transmit.len()) as u64;
            }
        }
    }

    /// The part of a step that is in no conference: channels that are monitored, and those that monitor.
    fn monitor(&mut self) {
        if !self.monitoring {
            return;
        }
        for channel in self.slots.iter_mut().flatten() {
            if channel.speaks_in_steps() && !matches!(channel.mode, Mode::Member { .. }) {
                channel
                    .transmit
                    .take(&mut channel.said, &mut channel.counters);
            }
            if !channel.hears_in_steps() {
                channel.heard = SILENCE;
            }
        }
        for slot in 0..self.slots.len() {
            let Some(Mode::Monitor { said, heard }) = self.mode_of(slot) else {
                continue;
            };
            let target = self.slots[slot]
                .as_deref()
                .and_then(|channel| self.slot_of(channel.conference));
            let frame = target
                .and_then(|target| self.slots[target].as_deref())
                .map_or(SILENCE, |target| overheard(target, said, heard));
            if let Some(channel) = self.slots[slot].as_deref_mut() {
                channel.heard = frame;
                channel.receive.push(&frame);
            }
        }
    }

    fn mode_of(&self, slot: usize) -> Option<Mode> {
        self.slots[slot].as_deref().map(|channel| channel.mode)
    }
}

/// A step of what is heard.
fn frame_of(hearing: Hearing<'_>) -> [i16; STEP] {
    match hearing {
        Hearing::Nothing => SILENCE,
        Hearing::Common(heard) | Hearing::Own(heard) => heard.try_into().unwrap_or(SILENCE),
    }
}

/// What a monitor hears of a channel. Both directions together may be too loud: then they are clipped, as DAHDI does.
fn overheard(target: &Channel, said: bool, heard: bool) -> [i16; STEP] {
    match (said, heard) {
        (true, false) => target.said,
        (false, true) => target.heard,
        _ => std::array::from_fn(|n| target.said[n].saturating_add(target.heard[n])),
    }
}
