//! The play-out side of the buffer: one frame a tick, in which packets become audio.

use super::layout::Layout;
use super::queue::Entry;
use super::{Attention, PacketKind, Phase, Playout, Pulled, stretch};
use crate::codec::{Content, Decoder};

/// Delay above the target that is worth a splice, and what is left of it afterwards; below the target, what is not
/// yet worth one. One step of packets (20 ms) fits between them, so that splices do not alternate. ms.
const TOO_MUCH_MS: i64 = 30;
const LEFT_OVER_MS: i64 = 5;
const TOO_LITTLE_MS: i64 = 5;
/// Frames cut by a packet boundary at least this far inside are put right when nobody hears it, ms.
const MISALIGNED_MS: i64 = 8;
/// Pulls between splices, and where the delay is this much too large.
const REST: u8 = 5;
const REST_IN_HASTE: u8 = 2;
const HASTE_MS: i64 = 60;
/// A gap in the timestamps up to this, with no packet missing, is the source's rounding, ms.
const ROUNDING_MS: i64 = 5;
/// Cross-fade between concealment and returning audio, ms.
const MERGE_MS: usize = 5;
const MERGE_MOST: usize = MERGE_MS * 48;
/// Concealment by the codec itself ends after this, ms.
const CODEC_CONCEALS_MS: usize = 100;
/// The largest magnitude of a sample.
const LOUDEST: u16 = 1 << 15;
/// Pulls without a packet after which there is no stream (comfort noise excepted).
const IDLE_PULLS: u16 = 50;

impl Playout {
    /// Gives the next 20 ms: `codec().sample_rate() / 50` samples into the front of `out`, which must be of at least
    /// that length (less is filled if it is shorter, and the rest of the frame is lost).
    ///
    /// On [`Pulled::Silence`] and [`Pulled::Idle`] nothing is written. `decoder` must be of the configured codec.
    /// `now_ns` is the pull's time on the clock of [`Packet::arrival_ns`](super::Packet::arrival_ns): the tick's
    /// deadline, or when it woke up. Several pulls may be made at once to catch up.
    pub fn pull(&mut self, decoder: &mut Decoder, now_ns: u64, out: &mut [i16]) -> Pulled {
        self.pull_with(decoder, now_ns, out, Attention::Full)
    }

    /// The same, sparing the decoder what nobody listens to. Time goes on as ever; what is heard again afterwards begins
    /// with a decoder that was shown the packet before it.
    pub fn pull_with(
        &mut self,
        decoder: &mut Decoder,
        now_ns: u64,
        out: &mut [i16],
        attention: Attention,
    ) -> Pulled {
        self.clock.tick(now_ns);
        if self.phase == Phase::Idle {
            return Pulled::Idle;
        }
        self.quiet_pulls = self.quiet_pulls.saturating_add(1);
        self.rest = self.rest.saturating_sub(1);
        if self.phase == Phase::Waiting {
            self.wait();
        }
        if self.phase == Phase::Idle {
            return Pulled::Idle;
        }
        if self.phase == Phase::Playing {
            self.correct();
        }
        let mut heard = Heard::by(attention);
        if self.phase == Phase::Playing {
            self.decide();
            if let Some(silence) = self.pass_silence(attention) {
                return silence;
            }
            self.play(decoder, &mut heard);
        }
        let missing = self.frame.saturating_sub(self.staging.staged());
        if missing > 0 {
            self.pause(missing, &mut heard);
        }
        self.hand_out(out, &heard)
    }

    /// In a pause: starts the next talk-spurt when it is due.
    fn wait(&mut self) {
        while let Some(&front) = self.queue.front() {
            if front.samples > 0 && front.end() <= self.floor {
                self.drop_front();
                continue;
            }
            if front.kind == PacketKind::Event {
                self.take_event(&front);
                continue;
            }
            let position = front.position.max(self.floor);
            let delay = self.clock.now() - self.delay.base() - position;
            if delay < self.start_delay.unwrap_or(self.delay.target()) {
                return;
            }
            if front.kind == PacketKind::ComfortNoise {
                self.take_noise(&front);
                continue;
            }
            if delay > self.most_delay() {
                self.cut();
                continue;
            }
            if self.seam && position < self.next {
                self.stats.delayed_outages += 1;
            }
            self.start_delay = None;
            self.overflowed = false;
            self.phase = Phase::Playing;
            self.next = position;
            self.noisy = false;
            return;
        }
        if !self.noisy && self.quiet_pulls > IDLE_PULLS {
            self.phase = Phase::Idle;
        }
    }

    /// Before a frame: puts the play-out point right where packets came that it had given up, or where the delay is
    /// beyond its bound.
    fn correct(&mut self) {
        while self
            .queue
            .front()
            .is_some_and(|front| front.samples > 0 && front.end() <= self.floor)
        {
            self.drop_front();
        }
        let torn = std::mem::take(&mut self.overflowed)
            && self
                .queue
                .front()
                .is_some_and(|front| front.position > self.next);
        if torn || self.delay_now() > self.most_delay() + self.frame as i64 {
            self.cut();
            return;
        }
        let Some(&front) = self.queue.front() else {
            return;
        };
        let from = front.position.max(self.floor);
        if front.samples == 0 || from >= self.next {
            return;
        }
        // Concealed as missing, and now it is there. Nothing later has been played.
        let late = self.next - from;
        let goes_on = front.end() > self.next
            || self
                .queue
                .nth(1)
                .is_some_and(|second| second.position <= self.next && second.end() > self.next);
        if goes_on && late <= self.frame as i64 && self.slack().over >= 0 {
            return;
        }
        self.stats.delayed_outages += 1;
        self.staging.discard_staged();
        self.next = from;
        self.seam = true;
        if self.delay_now() > self.most_delay() {
            self.cut();
        }
    }

    /// Jumps to the target delay: everything older is dropped, once.
    fn cut(&mut self) {
        self.overflowed = false;
        self.stats.resyncs += 1;
        self.delay.rebase_to_latest(self.clock.now());
        let point = self.clock.now() - self.delay.base() - self.delay.target();
        self.floor = self.floor.max(point);
        while self
            .queue
            .front()
            .is_some_and(|front| front.samples > 0 && front.end() <= self.floor)
        {
            self.drop_front();
        }
        self.staging.discard_staged();
        self.seam = true;
        match self.queue.front() {
            Some(front) => self.next = front.position.max(self.floor),
            None => self.phase = Phase::Waiting,
        }
    }

    /// Sets the wish to remove or insert samples.
    fn decide(&mut self) {
        self.wish = 0;
        if self.seam || self.is_concealing() {
            return;
        }
        let per_ms = self.per_ms as i64;
        let Slack { over, misaligned } = self.slack();
        self.wish = if over >= TOO_MUCH_MS * per_ms {
            misaligned + (over - LEFT_OVER_MS * per_ms) / self.step * self.step
        } else if over < -TOO_LITTLE_MS * per_ms {
            // Only what crosses the next packet boundary helps.
            misaligned - (1 + (-over - 1) / self.step) * self.step
        } else if misaligned >= MISALIGNED_MS * per_ms {
            misaligned
        } else {
            0
        };
    }

    /// How far the delay is above the target, with regard to how packets lie against the frames.
    fn slack(&self) -> Slack {
        // In 32 bits, which the distance takes, because every pull divides here.
        let misaligned =
            i64::from(((self.newest - self.play_point()) as i32).rem_euclid(self.step as i32));
        let wait = misaligned + self.frame as i64 - self.step;
        Slack {
            over: self.delay_now() - wait - self.delay.target(),
            misaligned,
        }
    }

    /// The shortest way, which most legs of a conference go: silence follows silence, and the next packet is one whole frame
    /// of it. `None`, and nothing changed, where any of that is not so.
    fn pass_silence(&mut self, attention: Attention) -> Option<Pulled> {
        let front = *self.queue.front()?;
        if front.position != self.next
            || usize::from(front.samples) != self.frame
            || front.kind != PacketKind::Voice
            || self.wish != 0
            || self.seam
            || self.is_concealing()
            || self.staging.staged() > 0
            || !self.staging.is_zero()
        {
            return None;
        }
        let spared = is_spared(attention, &front);
        if spared {
            self.skipped.keep(self.queue.payload(&front));
        } else if front.content != Content::Silence {
            return None;
        }
        self.note_played(&front);
        self.key_pressed = false;
        self.next += self.frame as i64;
        self.floor = self.floor.max(self.next);
        self.stats.silent_samples += self.frame as u64;
        self.queue.pop();
        Some(if spared {
            Pulled::Unheard
        } else {
            Pulled::Silence
        })
    }

    /// Stages a frame, and stretches it if that is wished for.
    fn play(&mut self, decoder: &mut Decoder, heard: &mut Heard) {
        self.fill(decoder, self.frame, true, heard);
        if self.wish == 0 || self.rest > 0 || self.phase != Phase::Playing || self.is_concealing() {
            return;
        }
        let over = self.slack().over / self.per_ms as i64;
        // What cannot wait may be less alike.
        let changed = if self.wish > 0 {
            if over < TOO_MUCH_MS && !stretch::is_quiet(&self.staging) {
                return;
            }
            self.fill(
                decoder,
                stretch::needed_to_remove(self.per_ms),
                false,
                heard,
            );
            let likeness = (0.9 - (over - TOO_MUCH_MS).max(0) as f32 / 140.0).max(0.4);
            let removed =
                stretch::remove(&mut self.staging, self.per_ms, likeness, self.wish as usize);
            self.stats.accelerated_samples += removed as u64;
            removed
        } else {
            let likeness = (0.9 + (over + TOO_LITTLE_MS).min(0) as f32 / 25.0).max(0.3);
            let inserted = stretch::insert(
                &mut self.staging,
                self.per_ms,
                likeness,
                -self.wish as usize,
            );
            self.stats.expanded_samples += inserted as u64;
            inserted
        };
        if changed > 0 {
            self.stats.stretches += 1;
            self.rest = if over > HASTE_MS { REST_IN_HASTE } else { REST };
        }
    }

    /// Stages until `need` samples wait. With `make_up` missing ones are concealed, and a pause ends the playing;
    /// without, only packets that are there are used.
    fn fill(&mut self, decoder: &mut Decoder, need: usize, make_up: bool, heard: &mut Heard) {
        while self.staging.staged() < need {
            let missing = need - self.staging.staged();
            let made = match self.queue.front().copied() {
                Some(front) if front.samples > 0 && front.end() <= self.next => {
                    self.drop_front();
                    continue;
                }
                Some(front) if front.position <= self.next => {
                    if front.kind == PacketKind::Voice {
                        self.consume(decoder, &front, missing, heard);
                        continue;
                    }
                    if front.kind == PacketKind::Event {
                        self.take_event(&front);
                        continue;
                    }
                    if make_up {
                        self.take_noise(&front);
                    }
                    0
                }
                Some(front) => {
                    let gap = front.position - self.next;
                    if self.follows(&front) && !self.is_concealing() {
                        if gap <= ROUNDING_MS * self.per_ms as i64 {
                            self.next = front.position;
                            continue;
                        }
                        0
                    } else if make_up {
                        self.bridge(decoder, &front, gap as usize, missing, heard)
                    } else {
                        0
                    }
                }
                None if make_up && !self.key_pressed => self.conceal(decoder, missing, heard),
                None => 0,
            };
            if made == 0 {
                if make_up {
                    self.phase = Phase::Waiting;
                }
                return;
            }
        }
    }

    /// Decodes what is needed of the packet at the front.
    fn consume(&mut self, decoder: &mut Decoder, front: &Entry, missing: usize, heard: &mut Heard) {
        self.note_played(front);
        self.key_pressed = false;
        let played = (self.next - front.position) as usize;
        let left = usize::from(front.samples) - played;
        let (skip, count, bytes) = match self.layout {
            Layout::Run { bytes, samples } => {
                // G.722 has two samples a byte: whole bytes only.
                let first = played / samples;
                let last = (played + missing.min(left)).div_ceil(samples);
                (
                    played % samples,
                    (last - first) * samples,
                    first * bytes..last * bytes,
                )
            }
            Layout::Whole => (
                played,
                usize::from(front.samples),
                0..self.queue.payload(front).len(),
            ),
        };
        let spared = is_spared(heard.attention, front);
        if spared {
            // Silence of formats in which it is silence whatever was before is not kept whole.
            let payload = self.queue.payload(front).get(bytes.clone());
            self.skipped.keep(payload.unwrap_or_default());
            heard.spared = true;
        }
        let silent = spared || front.content == Content::Silence;
        if self.codec_concealed > 0 {
            // The decoder itself makes the transition.
            self.codec_concealed = 0;
            self.seam = false;
        }
        if silent && !self.seam && !self.concealer.is_running() {
            self.stage_silence(front, count - skip);
        } else {
            let tail = self.make_tail();
            let spare = self.staging.spare(count);
            let decoded = if silent {
                spare.fill(0);
                spare.len()
            } else {
                let payload = &self.queue.payload(front)[bytes];
                self.skipped.catch_up(decoder, spare);
                decoder
                    .decode(payload, spare)
                    .map_or(0, |decoded| decoded.min(spare.len()))
            };
            if decoded <= skip {
                // Not what it claims to be: as good as lost, and concealed like that.
                self.stats.malformed += 1;
                self.queue.pop();
                self.played_sequence = Some(front.sequence.wrapping_sub(1));
                return;
            }
            if skip > 0 {
                spare.copy_within(skip..decoded, 0);
            }
            let fresh = decoded - skip;
            for (n, sample) in spare[..fresh].iter_mut().enumerate().take(tail.len) {
                *sample = stretch::blend(tail.samples[n], *sample, n, tail.len);
            }
            self.staging.commit(fresh);
            self.next += fresh as i64;
            if silent {
                self.stats.silent_samples += fresh as u64;
            } else {
                self.stats.voice_samples += fresh as u64;
            }
            heard.voice = true;
            self.seam = false;
            self.concealer.stop();
        }
        self.floor = self.floor.max(self.next);
        if self.next >= front.end() || self.layout == Layout::Whole {
            self.queue.pop();
        }
    }

    /// Stages zeros for up to `count` samples of a silent packet. Here a change of delay is unheard.
    fn stage_silence(&mut self, front: &Entry, count: usize) {
        if self.wish > 0 {
            let removed = self.wish.min(front.end() - self.next);
            self.next += removed;
            self.wish -= removed;
            self.stats.accelerated_samples += removed as u64;
            self.stats.stretches += 1;
        } else if self.wish < 0 {
            let inserted = self
                .staging
                .push_zeros((-self.wish as usize).min(self.frame));
            self.wish += inserted as i64;
            self.stats.expanded_samples += inserted as u64;
            self.stats.stretches += 1;
        }
        let left = (front.end() - self.next) as usize;
        let pushed = self.staging.push_zeros(count.min(left));
        self.next += pushed as i64;
        self.stats.silent_samples += pushed as u64;
    }

    /// Bridges part of the gap before `front`: recovered from its redundancy, else concealed. 0: enough of that.
    fn bridge(
        &mut self,
        decoder: &mut Decoder,
        front: &Entry,
        gap: usize,
        missing: usize,
        heard: &mut Heard,
    ) -> usize {
        let redundant = usize::from(front.samples);
        if self.layout != Layout::Whole || redundant == 0 || front.restart {
            return self.conceal(decoder, missing.min(gap), heard);
        }
        if gap > redundant {
            return self.conceal(decoder, missing.min(gap - redundant), heard);
        }
        let payload = self.queue.payload(front);
        let spare = self.staging.spare(gap);
        if spare.len() < gap || !decoder.recover(payload, spare) {
            return self.conceal(decoder, missing.min(gap), heard);
        }
        self.staging.commit(gap);
        self.next += gap as i64;
        self.stats.recovered_samples += gap as u64;
        self.codec_concealed = 0;
        self.seam = false;
        heard.voice = true;
        gap
    }

    /// Makes up to `count` samples (the codec: rounded up to 2.5 ms) from the past; 0 when all has faded.
    fn conceal(&mut self, decoder: &mut Decoder, count: usize, heard: &mut Heard) -> usize {
        let begins = !self.is_concealing();
        if self.concealer.is_exhausted() || self.codec_concealed >= CODEC_CONCEALS_MS * self.per_ms
        {
            self.concealer.stop();
            self.codec_concealed = 0;
            self.seam = true;
            return 0;
        }
        let audible = !self.staging.is_zero();
        let mut made = 0;
        let knows_the_past = self.layout == Layout::Whole && !self.skipped.is_behind();
        if knows_the_past && !self.concealer.is_running() {
            let rounded = count.next_multiple_of(self.per_ms * 5 / 2);
            let spare = self.staging.spare(rounded);
            if spare.len() == rounded && decoder.conceal(spare) {
                self.staging.commit(rounded);
                self.codec_concealed += rounded;
                made = rounded;
            }
        }
        if made == 0 {
            made = self.concealer.extend(&mut self.staging, count);
        }
        self.next += made as i64;
        self.stats.concealed_samples += made as u64;
        self.stats.concealment_events += u64::from(begins);
        heard.concealed |= audible;
        made
    }

    /// The continuation of what was played last, to fade under audio that does not follow it.
    fn make_tail(&mut self) -> Tail {
        let mut tail = Tail {
            samples: [0; MERGE_MOST],
            len: 0,
        };
        if self.seam || self.concealer.is_running() {
            tail.len = self
                .concealer
                .extend(&mut self.staging, MERGE_MS * self.per_ms);
            let (samples, _) = self.staging.all();
            tail.samples[..tail.len].copy_from_slice(&samples[samples.len() - tail.len..]);
            self.staging.retract(tail.len);
        }
        tail
    }

    /// Fills the rest of the frame in a pause.
    fn pause(&mut self, missing: usize, heard: &mut Heard) {
        if self.noisy {
            let spare = self.staging.spare(missing);
            self.noise.fill(spare);
            let made = spare.len();
            self.staging.commit(made);
            self.stats.noise_samples += made as u64;
            heard.noise = true;
            return;
        }
        self.stats.silent_samples += missing as u64;
        // Where all is zero already, nothing need be written.
        if self.staging.staged() > 0 || !self.staging.is_zero() {
            self.staging.push_zeros(missing);
        }
    }

    fn hand_out(&mut self, out: &mut [i16], heard: &Heard) -> Pulled {
        let spared = heard.spared || self.spared_waits;
        if self.staging.staged_is_zero() {
            self.staging.advance(self.frame);
            self.spared_waits = spared && self.staging.staged() > 0;
            return if spared {
                Pulled::Unheard
            } else {
                Pulled::Silence
            };
        }
        let count = out.len().min(self.frame);
        self.staging.take(&mut out[..count]);
        self.staging.advance(self.frame - count);
        self.spared_waits = spared && self.staging.staged() > 0;
        if heard.voice {
            Pulled::Voice
        } else if heard.concealed {
            Pulled::Concealed
        } else if heard.noise {
            Pulled::ComfortNoise
        } else {
            // Left over from the last frame.
            Pulled::Voice
        }
    }

    /// Comfort noise governs from here on.
    fn take_noise(&mut self, front: &Entry) {
        self.note_played(front);
        let with_spectrum = self.config.codec.sample_rate() == self.config.codec.clock_rate();
        self.noise
            .set(self.queue.payload(front), with_spectrum, !self.noisy);
        self.queue.pop();
        self.noisy = true;
        self.seam = false;
        self.codec_concealed = 0;
        self.concealer.stop();
    }

    /// A key is pressed, which is told apart from the audio: what is not there from here on is not missing.
    fn take_event(&mut self, front: &Entry) {
        self.note_played(front);
        self.queue.pop();
        self.key_pressed = true;
    }

    /// Drops the front packet: too late.
    fn drop_front(&mut self) {
        if let Some(dropped) = self.queue.pop() {
            self.note_played(&dropped);
            self.stats.late += 1;
        }
    }

    /// Counts what is missing between the last packet and this one. May be called again for the same packet.
    fn note_played(&mut self, entry: &Entry) {
        if let (Some(last), false) = (self.played_sequence, entry.restart) {
            let ahead = entry.sequence.wrapping_sub(last) as i16;
            if ahead > 1 {
                self.stats.lost += ahead as u64 - 1;
            }
            if ahead < 0 {
                return;
            }
        }
        self.played_sequence = Some(entry.sequence);
    }

    /// Whether no packet is missing before this one.
    fn follows(&self, entry: &Entry) -> bool {
        entry.restart
            || self
                .played_sequence
                .is_none_or(|last| entry.sequence.wrapping_sub(last) as i16 <= 1)
    }

    fn is_concealing(&self) -> bool {
        self.concealer.is_running() || self.codec_concealed > 0
    }

    fn most_delay(&self) -> i64 {
        i64::from(self.config.max_delay_ms) * self.per_ms as i64
    }
}

/// Whether a payload is not decoded, as it is not listened to.
fn is_spared(attention: Attention, packet: &Entry) -> bool {
    match attention {
        Attention::Full => false,
        Attention::Above { peak } => {
            packet.peak <= peak.min(LOUDEST) || packet.content == Content::Inactive
        }
        Attention::None => true,
    }
}

/// What a frame contains, and who listens to it.
#[derive(Debug)]
struct Heard {
    attention: Attention,
    voice: bool,
    concealed: bool,
    noise: bool,
    /// Something was not decoded.
    spared: bool,
}

impl Heard {
    fn by(attention: Attention) -> Self {
        Self {
            attention,
            voice: false,
            concealed: false,
            noise: false,
            spared: false,
        }
    }
}

#[derive(Debug)]
struct Slack {
    /// Delay above the target, less what the packets' lie against the frames takes. Samples.
    over: i64,
    /// Samples from the start of the frame to the next packet boundary.
    misaligned: i64,
}

#[derive(Debug)]
struct Tail {
    samples: [i16; MERGE_MOST],
    len: usize,
}
