//! Opus at a ptime above 20 ms: the shared 20 ms frames of a mix, merged into one packet per leg (RFC 6716 section 3.2).

use unisono_rtp::codec::opus_pack::merge;
use unisono_rtp::outbound::{MAX_PACKET_PAYLOAD, TICK_MS};

/// Longest frame kept back: libopus makes none longer than this (RFC 6716 section 3.2.1), and in a conference they
/// have a tenth of it.
const MAX_FRAME: usize = 1275;

/// Collects as many frames as make one packet.
#[derive(Debug)]
pub(crate) struct OpusSender {
    /// Absent at 20 ms, where frames go through untouched.
    held: Option<Box<Held>>,
    frames_per_packet: usize,
}

#[derive(Debug)]
struct Held {
    frames: [[u8; MAX_FRAME]; 2],
    lengths: [usize; 2],
    count: usize,
    merged: [u8; MAX_PACKET_PAYLOAD],
}

impl OpusSender {
    /// For packets of `ptime_ms`; 50 ms become 40, as frames are of 20 ms.
    pub(crate) fn new(ptime_ms: u8) -> Self {
        let frames_per_packet = (usize::from(ptime_ms) / TICK_MS as usize).clamp(1, 3);
        let held = (frames_per_packet > 1).then(|| {
            Box::new(Held {
                frames: [[0; MAX_FRAME]; 2],
                lengths: [0; 2],
                count: 0,
                merged: [0; MAX_PACKET_PAYLOAD],
            })
        });
        Self {
            held,
            frames_per_packet,
        }
    }

    /// Takes one frame and hands on what is complete, with its duration in ms. Frames that cannot share a packet,
    /// because the encoder changed its mode between them, go one by one.
    pub(crate) fn push(&mut self, frame: &[u8], mut emit: impl FnMut(&[u8], u32)) {
        let Some(held) = &mut self.held else {
            return emit(frame, TICK_MS);
        };
        if held.count + 1 < self.frames_per_packet && frame.len() <= MAX_FRAME {
            held.frames[held.count][..frame.len()].copy_from_slice(frame);
            held.lengths[held.count] = frame.len();
            held.count += 1;
            return;
        }
        merge_held(held, Some(frame), emit);
    }

    /// Hands on what is held back, as a shorter packet, before a pause.
    pub(crate) fn flush(&mut self, emit: impl FnMut(&[u8], u32)) {
        if let Some(held) = &mut self.held
            && held.count > 0
        {
            merge_held(held, None, emit);
        }
    }

    /// Drops what is held back, and says how many intervals that was: the time line has a gap here.
    pub(crate) fn clear(&mut self) -> u32 {
        let held = self.held.as_mut();
        held.map_or(0, |held| std::mem::take(&mut held.count) as u32)
    }

    /// Audio held back, ms.
    pub(crate) fn held_ms(&self) -> u64 {
        let held = self.held.as_ref();
        held.map_or(0, |held| held.count as u64 * u64::from(TICK_MS))
    }
}

fn merge_held(held: &mut Held, last: Option<&[u8]>, mut emit: impl FnMut(&[u8], u32)) {
    let mut frames: [&[u8]; 3] = [&[]; 3];
    let mut count = std::mem::take(&mut held.count);
    for (n, frame) in frames[..count].iter_mut().enumerate() {
        *frame = &held.frames[n][..held.lengths[n]];
    }
    if let Some(last) = last {
        frames[count] = last;
        count += 1;
    }
    let frames = &frames[..count];
    match merge(frames, &mut held.merged) {
        Ok(length) => emit(&held.merged[..length], TICK_MS * count as u32),
        Err(_) => frames.iter().for_each(|frame| emit(frame, TICK_MS)),
    }
}

#[cfg(test)]
mod tests {
    use unisono_rtp::codec::opus_pack::samples_in;
    use unisono_rtp::codec::{Codec, Encoder, MAX_PAYLOAD};

    use super::*;

    fn durations(ptime_ms: u8, ticks: usize) -> Vec<(u32, Option<usize>)> {
        let mut encoder = Encoder::new(Codec::Opus);
        let mut sender = OpusSender::new(ptime_ms);
        let mut payload = [0; MAX_PAYLOAD];
        let mut sent = Vec::new();
        for tick in 0..ticks {
            let frame: Vec<i16> = (0..960)
                .map(|n| (((tick * 960 + n) as f32 * 0.05).sin() * 8000.0) as i16)
                .collect();
            let length = encoder.encode(&frame, &mut payload);
            sender.push(&payload[..length], |packed, ms| {
                sent.push((ms, samples_in(packed)))
            });
        }
        sent
    }

    #[test]
    fn packets_last_as_long_as_asked_for() {
        for (ptime, expected) in [(20, 20), (40, 40), (50, 40), (60, 60)] {
            let sent = durations(ptime, 60);
            let whole = sent.iter().filter(|(ms, _)| *ms == expected).count();
            assert!(whole * 10 >= sent.len() * 9, "ptime {ptime}: {sent:?}");
            for (ms, samples) in sent {
                assert_eq!(samples, Some(ms as usize * 48), "ptime {ptime}");
            }
        }
    }
}
