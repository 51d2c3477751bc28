//! What a line heard, put together afterwards.
//!
//! While a call runs, packets are only kept: undecoded, with their arrival times. Afterwards they are laid on the line of
//! their RTP timestamps and decoded in order, so nothing is late, nothing is stretched, and what is missing is a gap.

use unisono_rtp::codec::opus_pack::MAX_SAMPLES;
use unisono_rtp::codec::{Codec, Decoder};

/// Packets of one RTP source, the latest of them; memory is taken once, in [`Recorder::new`].
#[derive(Debug)]
pub struct Recorder {
    codec: Codec,
    seconds: u32,
    entries: Box<[Entry]>,
    payloads: Box<[u8]>,
    /// Bytes of `payloads` that each entry has.
    room: usize,
    /// Packets ever kept; the oldest are overwritten.
    kept: usize,
    /// Timestamp and position of the packet before.
    last: Option<(u32, i64)>,
    oversized: u64,
}

/// A packet; its payload lies where its index says.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// On the time line, in units of the RTP clock from the first packet.
    position: i64,
    arrival_ns: u64,
    length: usize,
}

/// A whole recording.
///
/// Sample `n` is taken to be available at `start_ns` plus `n` sample durations: the moment at which it would be played by a
/// listener who plays each packet as it comes, if all came as punctually as the most punctual one.
/// [`lateness_ns`](Self::lateness_ns) says how much later they came in truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Linear samples; 0 where nothing was received.
    pub samples: Vec<i16>,
    /// Sampling rate, Hz.
    pub sample_rate: u32,
    /// When the first sample was available, ns of CLOCK_MONOTONIC.
    pub start_ns: u64,
    /// For each packet, how much later it arrived than its place on the line says, ns.
    pub lateness_ns: Vec<u64>,
    /// Packets that could not be decoded.
    pub undecodable: u64,
}

impl Recorder {
    /// Keeps the last `seconds` of packets of `ptime_ms` (10 to 60; shorter ones up to 20 ms have room too), or nothing if
    /// `seconds` is 0.
    pub fn new(codec: Codec, ptime_ms: u32, seconds: u32) -> Self {
        let ptime_ms = ptime_ms.clamp(10, 60);
        let samples = codec.sample_rate() as usize * ptime_ms.max(20) as usize / 1000;
        // Opus at the rates used for speech stays far below; a packet is 1275 bytes at the very most.
        let room = codec.bytes_for_samples(samples).unwrap_or(1275);
        let count = (seconds * 1000).div_ceil(ptime_ms) as usize;
        Self {
            codec,
            seconds,
            entries: vec![Entry::default(); count].into(),
            payloads: vec![0; count * room].into(),
            room,
            kept: 0,
            last: None,
            oversized: 0,
        }
    }

    /// A packet arrived.
    pub fn keep(&mut self, timestamp: u32, payload: &[u8], arrival_ns: u64) {
        let position = match self.last {
            None => 0,
            Some((before, position)) => position + i64::from(timestamp.wrapping_sub(before) as i32),
        };
        self.last = Some((timestamp, position));
        if payload.len() > self.room {
            self.oversized += 1;
        } else if !self.entries.is_empty() {
            let index = self.kept % self.entries.len();
            let start = index * self.room;
            self.payloads[start..start + payload.len()].copy_from_slice(payload);
            self.entries[index] = Entry {
                position,
                arrival_ns,
                length: payload.len(),
            };
            self.kept += 1;
        }
    }

    /// The source began anew: what was kept of it before cannot be placed beside what comes.
    pub fn clear(&mut self) {
        self.kept = 0;
        self.last = None;
    }

    /// Decodes what was kept. `None` when there is nothing.
    pub fn recording(&self) -> Option<Recording> {
        let sample_rate = self.codec.sample_rate();
        let mut order: Vec<usize> = (0..self.kept.min(self.entries.len())).collect();
        order.sort_by_key(|&index| self.entries[index].position);
        let last = self.entries[*order.last()?].position;
        let longest = i64::from(self.codec.clock_rate()) * i64::from(self.seconds);
        order.retain(|&index| last - self.entries[index].position <= longest);
        order.dedup_by_key(|index| self.entries[*index].position);
        let first = self.entries[*order.first()?].position;
        // RTP clock to samples: 1, or 2 for G.722.
        let scale = i64::from(sample_rate / self.codec.clock_rate());

        let mut decoder = Decoder::new(self.codec);
        let mut frame = vec![0; MAX_SAMPLES.max(sample_rate as usize * 60 / 1000)];
        let mut samples: Vec<i16> = Vec::new();
        let mut offsets = Vec::with_capacity(order.len());
        let mut undecodable = self.oversized;
        for &index in &order {
            let entry = self.entries[index];
            let payload = &self.payloads[index * self.room..][..entry.length];
            let Ok(count) = decoder.decode(payload, &mut frame) else {
                undecodable += 1;
                continue;
            };
            let at = ((entry.position - first) * scale) as usize;
            samples.resize(samples.len().max(at + count), 0);
            samples[at..at + count].copy_from_slice(&frame[..count]);
            offsets.push(entry.arrival_ns as i64 - nanoseconds(at, sample_rate));
        }
        let start = *offsets.iter().min()?;
        Some(Recording {
            samples,
            sample_rate,
            start_ns: start.max(0) as u64,
            lateness_ns: offsets
                .into_iter()
                .map(|offset| (offset - start) as u64)
                .collect(),
            undecodable,
        })
    }
}

impl Recording {
    /// Without what was available before `from_ns`.
    pub fn since(mut self, from_ns: u64) -> Self {
        let early = from_ns.saturating_sub(self.start_ns);
        let count = u128::from(early) * u128::from(self.sample_rate) / 1_000_000_000;
        let count = (count as usize).min(self.samples.len());
        self.samples.drain(..count);
        self.start_ns += nanoseconds(count, self.sample_rate) as u64;
        self
    }

    /// The sample that is available at `moment_ns`; negative before the recording.
    pub fn index_at(&self, moment_ns: u64) -> i64 {
        let elapsed = i128::from(moment_ns) - i128::from(self.start_ns);
        (elapsed * i128::from(self.sample_rate)).div_euclid(1_000_000_000) as i64
    }
}

fn nanoseconds(samples: usize, sample_rate: u32) -> i64 {
    (samples as u128 * 1_000_000_000 / u128::from(sample_rate)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn l16(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|s| s.to_be_bytes()).collect()
    }

    /// 20 ms of L16 at 8 kHz whose samples all are `value`.
    fn packet(value: i16) -> Vec<u8> {
        l16(&[value; 160])
    }

    fn recorder() -> Recorder {
        Recorder::new(Codec::L16 { rate: 8000 }, 20, 2)
    }

    #[test]
    fn packets_lie_where_their_timestamps_say_whatever_their_order() {
        let mut recorder = recorder();
        let start = u32::MAX - 100; // the timestamps wrap
        for (n, at_ms) in [(0u32, 20), (2, 61), (1, 62), (4, 100)] {
            let timestamp = start.wrapping_add(160 * n);
            recorder.keep(timestamp, &packet(n as i16 + 1), at_ms * MS);
        }
        let recording = recorder.recording().unwrap();
        assert_eq!(recording.samples.len(), 5 * 160);
        for (n, value) in [1, 2, 3, 0, 5].into_iter().enumerate() {
            assert!(
                recording.samples[n * 160..][..160]
                    .iter()
                    .all(|s| *s == value)
            );
        }
        assert_eq!(recording.start_ns, 20 * MS);
        assert_eq!(recording.lateness_ns, [0, 22 * MS, MS, 0]);
    }

    #[test]
    fn a_packet_that_comes_twice_counts_once() {
        let mut recorder = recorder();
        for _ in 0..2 {
            recorder.keep(7, &packet(3), MS);
        }
        let recording = recorder.recording().unwrap();
        assert_eq!(
            (recording.samples.len(), recording.lateness_ns.len()),
            (160, 1)
        );
    }

    #[test]
    fn only_the_last_seconds_are_kept() {
        let mut recorder = recorder();
        for n in 0..250u32 {
            recorder.keep(160 * n, &packet(n as i16), u64::from(n) * 20 * MS);
        }
        let recording = recorder.recording().unwrap();
        assert_eq!(recording.samples.len(), 2 * 8000);
        assert_eq!(recording.samples[0], 150);
        assert_eq!(recording.start_ns, 3000 * MS);
    }

    #[test]
    fn a_leap_of_the_timestamps_takes_no_memory() {
        let mut recorder = recorder();
        recorder.keep(0, &packet(1), MS);
        recorder.keep(1 << 30, &packet(2), 21 * MS);
        let recording = recorder.recording().unwrap();
        assert_eq!(recording.samples, [2; 160]);
    }

    #[test]
    fn the_beginning_can_be_left_out_and_times_stay_true() {
        let mut recorder = recorder();
        for n in 0..10u32 {
            recorder.keep(160 * n, &packet(n as i16), u64::from(n) * 20 * MS);
        }
        let recording = recorder.recording().unwrap().since(50 * MS);
        assert_eq!(recording.start_ns, 50 * MS);
        assert_eq!(recording.samples.len(), 8 * 160 - 80);
        assert_eq!(recording.index_at(60 * MS), 80);
        assert_eq!(recording.index_at(40 * MS), -80);
        assert_eq!(recording.samples[79..81], [2, 3]);
    }

    #[test]
    fn g722_has_two_samples_for_each_unit_of_its_clock() {
        let mut recorder = Recorder::new(Codec::G722, 20, 1);
        recorder.keep(0, &[0xff; 160], 0);
        recorder.keep(320, &[0xff; 160], 40 * MS);
        let recording = recorder.recording().unwrap();
        assert_eq!(
            (recording.samples.len(), recording.sample_rate),
            (960, 16000)
        );
        assert_eq!(recording.lateness_ns, [0, 0]);
    }

    #[test]
    fn what_is_no_audio_is_counted_and_what_is_nothing_is_none() {
        assert_eq!(recorder().recording(), None);
        let mut recorder = recorder();
        recorder.keep(0, &[1; 3], 0);
        assert_eq!(recorder.recording(), None);
        recorder.keep(160, &[0; 5000], 0);
        recorder.keep(320, &packet(9), 0);
        assert_eq!(recorder.recording().unwrap().undecodable, 2);
        assert_eq!(Recorder::new(Codec::Opus, 20, 0).recording(), None);
    }
}
