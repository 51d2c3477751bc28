//! The playout buffer: packets in, as the network brings them; 20 ms of audio out, as the tick asks for them.
//!
//! It works on the RTP timestamp line, so pauses, changes of the packet duration and wraps of the timestamp are
//! nothing special. It puts packets in order, adapts its delay to the network by stretching time in small splices,
//! conceals what is missing, and makes comfort noise.
//!
//! Guarantees: all memory is allocated by [`Playout::new`]; no packet makes it panic; its memory and its delay are
//! bounded ([`PlayoutConfig::max_delay_ms`]; beyond that it jumps once instead of playing old audio); it reads no
//! clock, and the same calls give the same samples. [`Playout::insert`] and [`Playout::pull`] take time proportional
//! to the packets waiting at worst, and next to nothing in the ordinary case.
//!
//! # Method
//!
//! * *Delay.* The target is the 97 % quantile of the packets' delay relative to the fastest of the last seconds,
//!   with exponential forgetting; spikes that repeat count too. It rises at once and falls by 40 ms a second.
//! * *Following it.* In pauses the next talk-spurt is simply scheduled by the target. In silence samples are dropped
//!   or added. In speech single pitch periods are, where the signal repeats itself. Clock drift is followed the same
//!   way. Between one frame too much and a quarter frame too little nothing is done.
//! * *Missing packets.* A packet known to be lost is concealed in its place. When nothing is there at all the last
//!   sound goes on and fades out; a packet that then comes late is played, and the delay grows by as much, unless
//!   dropping one late packet suffices.

mod conceal;
mod delay;
mod layout;
mod line;
mod noise;
mod pitch;
mod pull;
mod queue;
mod sequence;
mod skipped;
mod staging;
mod stats;
mod stretch;

pub use skipped::Spared;
pub use stats::PlayoutStats;

use std::mem::offset_of;

use crate::cache;
use crate::codec::{Codec, Content};
use conceal::Concealer;
use delay::DelayEstimator;
use layout::Layout;
use line::{MediaLine, PullClock};
use noise::ComfortNoise;
use queue::{Entry, Queue};
use sequence::{SequenceWindow, Step};
use skipped::Skipped;
use staging::Staging;

/// Shortest packets that the number of descriptors allows for, ms.
const SHORTEST_PACKET_MS: u32 = 10;
/// What can wait beyond the largest delay, ms.
const HEADROOM_MS: u32 = 120;
/// A packet this much earlier than the fastest is of a new time line, ms.
const TOO_EARLY_MS: i64 = 300;
/// So is one this much later, if what it would carry was played already, ms.
const TOO_LATE_MS: i64 = 1000;

/// Most intervals that a skip can span: an hour.
const MOST_SKIPPED: u32 = 180_000;
/// Octets of a [`Playout`] that every packet and every pull look at.
const HOT: usize = offset_of!(Playout, delay) + DelayEstimator::FRONT;
/// Octets of a payload that are fetched ahead: 20 ms of G.711.
const LIKELY_PAYLOAD: usize = 160;
/// Before every position.
const LONG_AGO: i64 = i64::MIN / 2;

/// How a [`Playout`] is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// Payload format of the voice packets.
    pub codec: Codec,
    /// Least play-out delay, ms; 20 by default.
    pub min_delay_ms: u32,
    /// Largest play-out delay, ms, at most 2000; 400 by default. Beyond it audio is dropped, not queued.
    pub max_delay_ms: u32,
    /// Delay of the first packet, before anything is known of the network, ms; 40 by default.
    pub initial_delay_ms: u32,
    /// Bytes for waiting payloads; 0, the default, gives room for the largest delay and 120 ms.
    pub memory: usize,
}

impl PlayoutConfig {
    /// The defaults for a payload format.
    pub const fn new(codec: Codec) -> Self {
        Self {
            codec,
            min_delay_ms: 20,
            max_delay_ms: 400,
            initial_delay_ms: 40,
            memory: 0,
        }
    }
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// Audio in the configured format.
    Voice,
    /// Comfort-noise parameters, RFC 3389.
    ComfortNoise,
    /// A telephone event, RFC 4733: it takes a sequence number, and means that what is missing after it is no loss but
    /// a key being pressed. Its timestamp, which stands still, is ignored.
    Event,
}

/// One received RTP packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, in units of [`Codec::clock_rate`].
    pub timestamp: u32,
    /// RTP marker bit: first packet after a pause.
    pub marker: bool,
    /// Payload without header and padding.
    pub payload: &'a [u8],
    /// What the payload is, told by its payload type.
    pub kind: PacketKind,
    /// When it arrived, on the clock of [`Playout::pull`]; best from the kernel.
    pub arrival_ns: u64,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Inserted {
    /// It waits for its turn.
    Queued,
    /// It came before; dropped.
    Duplicate,
    /// What it carries has been played, concealed and followed by later audio, or skipped; dropped.
    Late,
    /// It waits, and the oldest ones were dropped to make room; play-out jumps once.
    Overflow,
    /// Not of the format, or larger than the whole memory; dropped.
    Malformed,
    /// It starts a new time line (the source restarted, or its timestamps jumped), and waits.
    Resynchronised,
    /// It fits neither sequence nor time line; dropped, but the next in sequence will be believed.
    Unconfirmed,
}

/// What [`Playout::pull`] gave. A mixed frame is called by the first of these that it contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pulled {
    /// Audio from packets.
    Voice,
    /// Audio made up for a missing packet.
    Concealed,
    /// Comfort noise, as the source asked for; it lasts until voice returns or the buffer is reset.
    ComfortNoise,
    /// Silence; `out` was not written. The packet is known to be silent and was not decoded, or the source pauses.
    Silence,
    /// There are packets, but they were not decoded, as [`Attention`] asked; `out` was not written.
    Unheard,
    /// No stream, or none for more than a second; `out` was not written.
    Idle,
}

/// Who listens to what [`Playout::pull_with`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Everything is decoded.
    Full,
    /// Packets of which it can be told that nobody would hear them are not decoded: their encoder found no speech, or no
    /// sample is beyond `peak` ([`Codec::glance`]).
    Above {
        /// Largest magnitude that is not listened to.
        peak: u16,
    },
    /// Nothing is decoded: nobody hears it.
    None,
}

/// A playout buffer for one stream of one source.
#[derive(Debug)]
#[repr(C)] // What every packet and every pull looks at comes first, what only losses need comes last.
pub struct Playout {
    /// Where play-out stands.
    phase: Phase,
    /// Comfort noise governs the pause.
    noisy: bool,
    /// The last packet played was an event: where nothing follows, nothing is missing.
    key_pressed: bool,
    /// The next audio does not continue what was played last: cross-fade.
    seam: bool,
    /// The next decision must cut the delay.
    overflowed: bool,
    /// Pulls until the next splice is allowed, and pulls since the last packet.
    rest: u8,
    quiet_pulls: u16,
    /// Sequence number of the last packet played or dropped at the front.
    played_sequence: Option<u16>,
    /// The sequence number that would confirm a new source.
    confirming: Option<u16>,
    /// Media position after what is staged.
    next: i64,
    /// Audio before this position is never played (any more).
    floor: i64,
    /// Position of the newest packet, and the step in which packets can shift against the pulls.
    newest: i64,
    step: i64,
    /// Samples of change of delay wished for: more than 0 to be removed, less to be inserted.
    wish: i64,
    /// Samples that the codec has concealed in the present loss.
    codec_concealed: usize,
    /// Samples in a millisecond, and in one pull.
    per_ms: usize,
    frame: usize,
    layout: Layout,
    queue: Queue,
    clock: PullClock,
    line: MediaLine,
    sequence: SequenceWindow,
    staging: Staging,
    delay: DelayEstimator,
    concealer: Concealer,
    stats: PlayoutStats,
    config: PlayoutConfig,
    /// Delay that the next talk-spurt starts with, if not the target.
    start_delay: Option<i64>,
    skipped: Skipped,
    /// What is staged already is of packets that were not decoded.
    spared_waits: bool,
    noise: ComfortNoise,
}

/// Where play-out stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No packet yet, or none for long.
    Idle,
    /// A pause: the next packet is played when the target delay says so.
    Waiting,
    /// Every pull advances the play-out point.
    Playing,
}

impl Playout {
    /// A buffer for one stream; allocates all that it will ever need.
    pub fn new(config: &PlayoutConfig) -> Self {
        let config = PlayoutConfig {
            max_delay_ms: config.max_delay_ms.clamp(40, 2000),
            min_delay_ms: config
                .min_delay_ms
                .min(config.max_delay_ms.clamp(40, 2000) - 20),
            ..*config
        };
        let shape = Shape::of(&config);
        let per_ms = shape.per_ms;
        Self {
            layout: Layout::of(config.codec),
            per_ms,
            frame: 20 * per_ms,
            queue: Queue::new(shape.bytes, shape.packets),
            staging: Staging::new(shape.history, shape.room),
            clock: PullClock::new(per_ms as i64),
            line: MediaLine::new(shape.scale),
            sequence: SequenceWindow::default(),
            delay: shape.estimator(&config),
            concealer: Concealer::new(per_ms),
            noise: ComfortNoise::new(per_ms),
            skipped: Skipped::new(config.codec),
            spared_waits: false,
            phase: Phase::Idle,
            next: 0,
            floor: LONG_AGO,
            newest: 0,
            step: 20 * per_ms as i64,
            played_sequence: None,
            start_delay: None,
            confirming: None,
            noisy: false,
            key_pressed: false,
            codec_concealed: 0,
            seam: false,
            overflowed: false,
            wish: 0,
            rest: 0,
            quiet_pulls: 0,
            stats: PlayoutStats::default(),
            config,
        }
    }

    /// Payload format of the voice packets.
    pub fn codec(&self) -> Codec {
        self.config.codec
    }

    /// Bytes held, on the heap and in the struct itself.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.queue.heap() + self.staging.heap() + self.skipped.heap()
    }

    /// Fetches into the cache what [`insert`](Self::insert) and [`pull`](Self::pull) need: some hundred nanoseconds later they find it
    /// there. Where many buffers take turns that is most of what they cost.
    #[inline]
    pub fn fetch(&self) {
        cache::fetch_front(self, HOT);
        cache::fetch(&self.stats);
        cache::fetch(&self.config);
    }

    /// Fetches what a packet needs beyond that. It looks at what [`fetch`](Self::fetch) brought: call it when that is there.
    #[inline]
    pub fn fetch_for_insert(&self) {
        self.queue.fetch_for_push(LIKELY_PAYLOAD);
        self.delay.fetch_for_packet();
    }

    /// Fetches what a pull needs beyond that.
    #[inline]
    pub fn fetch_for_pull(&self) {
        self.queue.fetch_for_pop();
    }

    /// Takes a packet in.
    pub fn insert(&mut self, packet: &Packet<'_>) -> Inserted {
        let samples = match packet.kind {
            PacketKind::Voice => self.layout.samples(packet.payload),
            PacketKind::ComfortNoise => (!packet.payload.is_empty()).then_some(0),
            PacketKind::Event => return self.insert_event(packet),
        };
        let (Some(samples), true) = (samples, packet.payload.len() <= self.queue.capacity()) else {
            self.stats.malformed += 1;
            return Inserted::Malformed;
        };
        let arrival = self.clock.samples(packet.arrival_ns);

        let first = self.played_sequence.is_none() && self.queue.is_empty();
        if first {
            self.begin(packet, arrival);
        }
        let step = if first {
            Step::Next
        } else {
            self.sequence.step(packet.sequence)
        };
        if step == Step::Duplicate {
            self.stats.duplicates += 1;
            return Inserted::Duplicate;
        }
        let mut position = self.line.position(packet.timestamp);
        let resync = if first {
            false
        } else {
            let per_ms = self.per_ms as i64;
            let relative = arrival - position - self.delay.base();
            let plausible = relative >= -TOO_EARLY_MS * per_ms
                && (relative <= TOO_LATE_MS * per_ms || position + i64::from(samples) > self.floor);
            if !self.is_believable(packet, step, plausible) {
                self.confirming = Some(packet.sequence.wrapping_add(1));
                self.stats.unconfirmed += 1;
                return Inserted::Unconfirmed;
            }
            if !plausible {
                position = self.continue_at(packet.timestamp, arrival);
            }
            !plausible || step == Step::Jump
        };
        self.confirming = None;
        self.quiet_pulls = 0;

        let newest = step != Step::Behind;
        if resync {
            self.sequence.restart(packet.sequence);
            self.stats.resyncs += 1;
        } else {
            self.sequence.note(packet.sequence);
            if !newest {
                self.stats.reordered += 1;
            }
        }
        if newest {
            self.line.anchor(packet.timestamp, position);
        }
        match packet.kind {
            PacketKind::Voice => {
                if self.phase == Phase::Idle {
                    // The clocks may have drifted apart meanwhile.
                    self.delay.rebase(arrival - position, arrival);
                }
                self.delay
                    .observe(arrival - position, arrival, i64::from(samples), newest);
                if newest {
                    self.note_newest(position, samples);
                }
                if position + i64::from(samples) <= self.floor {
                    self.stats.late += 1;
                    self.stats.lost = self.stats.lost.saturating_sub(1);
                    return Inserted::Late;
                }
            }
            // Some sources do not advance the timestamp between voice and comfort noise.
            PacketKind::ComfortNoise if newest => position = position.max(self.floor),
            PacketKind::ComfortNoise if position < self.floor => {
                self.stats.late += 1;
                return Inserted::Late;
            }
            PacketKind::ComfortNoise | PacketKind::Event => {}
        }
        self.stats.inserted += 1;
        if self.phase == Phase::Idle {
            self.phase = Phase::Waiting;
        }
        let mut entry = Entry::new(position, samples, packet.sequence, resync, packet.kind);
        let mut payload = packet.payload;
        if packet.kind == PacketKind::Voice {
            entry = entry.seen(self.config.codec.glance(payload));
            if entry.content == Content::Silence && self.layout != Layout::Whole {
                // Nobody will look at it again, so one octet has to do.
                payload = &payload[..1];
            }
        }
        let mut outcome = if resync {
            Inserted::Resynchronised
        } else {
            Inserted::Queued
        };
        while !self.queue.push(entry, payload) {
            // The payload fits into an empty queue, so this ends.
            let Some(dropped) = self.queue.pop() else {
                return Inserted::Malformed;
            };
            self.played_sequence = Some(dropped.sequence);
            self.stats.overflowed += 1;
            self.overflowed = true;
            outcome = Inserted::Overflow;
        }
        outcome
    }

    /// Whether it plays, and what has come does not suffice, without a gap, for the next pull.
    pub fn lacks_frame(&self) -> bool {
        let needed = self.play_point() + self.frame as i64;
        let mut reaches = self.next;
        let mut place = 0;
        while reaches < needed
            && let Some(packet) = self.queue.nth(place)
            && packet.position <= reaches
        {
            reaches = reaches.max(packet.end());
            place += 1;
        }
        self.phase == Phase::Playing && reaches < needed
    }

    /// The tick missed `intervals` of 20 ms that nobody will hear: the play-out point jumps across them once, and
    /// what would have been played there is dropped.
    pub fn skip(&mut self, intervals: u32) {
        if intervals == 0 {
            return;
        }
        // After an hour nothing is left to jump across.
        let intervals = intervals.min(MOST_SKIPPED);
        self.clock.skip(intervals);
        self.stats.skipped_intervals += u64::from(intervals);
        if self.phase == Phase::Idle {
            return;
        }
        self.next = if self.phase == Phase::Playing {
            self.play_point() + i64::from(intervals) * self.frame as i64
        } else {
            self.clock.now() - self.delay.base() - self.delay.target()
        };
        self.floor = self.floor.max(self.next);
        self.staging.discard_staged();
        self.seam = true;
        self.stats.resyncs += 1;
    }

    /// Forgets the stream (another SSRC, another source). What was learned of the network goes too; the counters
    /// stay.
    pub fn reset(&mut self) {
        self.queue.clear();
        self.staging.clear();
        self.skipped.forget();
        self.sequence = SequenceWindow::default();
        self.delay = Shape::of(&self.config).estimator(&self.config);
        self.concealer.stop();
        self.phase = Phase::Idle;
        self.floor = LONG_AGO;
        self.played_sequence = None;
        self.start_delay = None;
        self.confirming = None;
        self.noisy = false;
        self.key_pressed = false;
        self.codec_concealed = 0;
        self.seam = false;
        self.overflowed = false;
        self.wish = 0;
        self.rest = 0;
    }

    /// Changes the payload format and forgets the stream. Allocates nothing: false, and nothing changes, where the
    /// memory was made for less; then a new `Playout` is needed.
    pub fn set_codec(&mut self, codec: Codec) -> bool {
        let config = PlayoutConfig {
            codec,
            ..self.config
        };
        let shape = Shape::of(&config);
        let same = codec == self.config.codec;
        if !same
            && (shape.bytes > self.queue.capacity()
                || !self.skipped.serves(codec)
                || !self.staging.fits(shape.history, shape.room))
        {
            return false;
        }
        self.config = config;
        self.layout = Layout::of(codec);
        self.per_ms = shape.per_ms;
        self.frame = 20 * shape.per_ms;
        self.staging.reshape(shape.history);
        self.clock = PullClock::new(shape.per_ms as i64);
        self.line = MediaLine::new(shape.scale);
        self.concealer = Concealer::new(shape.per_ms);
        self.noise = ComfortNoise::new(shape.per_ms);
        self.reset();
        true
    }

    /// Counters and gauges.
    pub fn stats(&self) -> PlayoutStats {
        let per_ms = self.per_ms as i64;
        let delay = if self.phase == Phase::Playing {
            // The play-out point already stands at the next pull, a frame later.
            self.delay_now() + self.frame as i64
        } else {
            self.delay.target()
        };
        PlayoutStats {
            delay_ms: (delay.max(0) / per_ms) as u32,
            target_ms: (self.delay.target() / per_ms) as u32,
            ..self.stats
        }
    }

    /// What [`Attention`] spared the decoder since this was asked last.
    pub fn take_spared(&mut self) -> Spared {
        self.skipped.take_spared()
    }

    /// Queues an event behind all that waits, for its sequence number.
    fn insert_event(&mut self, packet: &Packet<'_>) -> Inserted {
        match self.sequence.step(packet.sequence) {
            // Voice begins a stream, and says where its sequence goes on.
            _ if self.played_sequence.is_none() && self.queue.is_empty() => {
                return Inserted::Unconfirmed;
            }
            Step::Jump => return Inserted::Unconfirmed,
            Step::Duplicate => {
                self.stats.duplicates += 1;
                return Inserted::Duplicate;
            }
            Step::Next | Step::Ahead | Step::Behind => {}
        }
        self.sequence.note(packet.sequence);
        self.quiet_pulls = 0;
        let position = self.queue.end().unwrap_or(self.next).max(self.floor);
        let entry = Entry::new(position, 0, packet.sequence, false, packet.kind);
        if !self.queue.push(entry, packet.payload) {
            self.stats.malformed += 1;
            return Inserted::Malformed;
        }
        self.stats.inserted += 1;
        if self.phase == Phase::Idle {
            self.phase = Phase::Waiting;
        }
        Inserted::Queued
    }

    /// The first packet of a stream.
    fn begin(&mut self, packet: &Packet<'_>, arrival: i64) {
        self.sequence.restart(packet.sequence.wrapping_sub(1));
        self.line.anchor(packet.timestamp, arrival);
        self.delay.rebase(0, arrival);
        self.floor = LONG_AGO;
        // Play-out starts at a pull, which is half an interval late on average: never later than wished.
        let initial = i64::from(self.config.initial_delay_ms.min(self.config.max_delay_ms)) - 20;
        self.start_delay = Some(initial.max(0) * self.per_ms as i64);
    }

    /// Whether a packet is taken although it fits the sequence or the time line badly.
    fn is_believable(&self, packet: &Packet<'_>, step: Step, plausible: bool) -> bool {
        plausible
            || step == Step::Next
            || (packet.marker && step != Step::Behind)
            || self.phase == Phase::Idle
            || self.confirming == Some(packet.sequence)
    }

    /// Puts a timestamp that jumped where its packet belongs by its arrival, behind all that waits.
    fn continue_at(&mut self, timestamp: u32, arrival: i64) -> i64 {
        let by_arrival = arrival - self.delay.base();
        let end = self.queue.end().unwrap_or(by_arrival);
        if end - by_arrival > i64::from(self.config.max_delay_ms) * self.per_ms as i64 {
            self.queue.clear();
        }
        let position = self.queue.end().unwrap_or(by_arrival).max(by_arrival);
        self.line.anchor(timestamp, position);
        position
    }

    fn note_newest(&mut self, position: i64, samples: u16) {
        self.newest = position;
        let (mut a, mut b) = (self.frame as i64, i64::from(samples));
        if b % a != 0 {
            while b != 0 {
                (a, b) = (b, a % b);
            }
        }
        self.step = a;
    }

    /// Media position of the next sample to be handed out.
    fn play_point(&self) -> i64 {
        self.next - self.staging.staged() as i64
    }

    /// Delay of the next sample above the fastest packet, in samples.
    fn delay_now(&self) -> i64 {
        self.clock.now() - self.delay.base() - self.play_point()
    }
}

/// The dimensions that follow from a configuration.
struct Shape {
    per_ms: usize,
    scale: i64,
    bytes: usize,
    packets: usize,
    history: usize,
    room: usize,
}

impl Shape {
    fn of(config: &PlayoutConfig) -> Self {
        let codec = config.codec;
        let per_ms = layout::per_ms(codec.sample_rate());
        let span = (config.max_delay_ms + HEADROOM_MS) as usize;
        let waiting = stretch::needed_to_remove(per_ms) + pitch::longest(per_ms);
        Self {
            per_ms,
            scale: i64::from(codec.sample_rate() / codec.clock_rate().max(1)).max(1),
            bytes: if config.memory == 0 {
                span * layout::bytes_per_ms(codec)
            } else {
                config.memory
            },
            packets: span / SHORTEST_PACKET_MS as usize,
            history: conceal::history(per_ms),
            room: match Layout::of(codec) {
                Layout::Run { .. } => waiting + 10 * per_ms,
                Layout::Whole => waiting + layout::LONGEST_OPUS_MS * per_ms,
            },
        }
    }

    fn estimator(&self, config: &PlayoutConfig) -> DelayEstimator {
        let per_ms = self.per_ms as i64;
        // One frame below the maximum, which is where play-out is cut.
        let most = i64::from(config.max_delay_ms) - 20;
        DelayEstimator::new(
            per_ms,
            i64::from(config.min_delay_ms) * per_ms,
            most * per_ms,
        )
    }
}
