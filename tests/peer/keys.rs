//! A phone's audio with keys pressed in it (RFC 4733), as a capture that sipp plays.

use unisono_rtp::codec::{Codec, Encoder};

use crate::sound::Voice;

/// Payload type of key presses in the scenarios' offers.
const EVENT_TYPE: u8 = 101;
/// What the stream is called.
pub(crate) const SSRC: u32 = 0x756e_6973;
/// Timestamp units of a packet.
const FRAME: u32 = 160;

/// µ-law packets of 20 ms, and key presses in between.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// For each 20 ms: payload type with the marker bit, RTP timestamp, payload.
    packets: Vec<(u8, u32, Vec<u8>)>,
    timestamp: u32,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn silence(mut self, milliseconds: u32) -> Self {
        for _ in 0..milliseconds / 20 {
            self.packets
                .push((0, self.timestamp, vec![0xff; FRAME as usize]));
            self.timestamp += FRAME;
        }
        self
    }

    pub(crate) fn speech(mut self, voice: Voice, seconds: usize) -> Self {
        let mut encoder = Encoder::new(Codec::Pcmu);
        for frame in voice.repeated(8000, seconds).chunks_exact(FRAME as usize) {
            let mut payload = vec![0; FRAME as usize];
            encoder.encode(frame, &mut payload);
            self.packets.push((0, self.timestamp, payload));
            self.timestamp += FRAME;
        }
        self
    }

    /// Each key for 120 ms, then 80 ms of silence; the end is sent three times.
    pub(crate) fn press(mut self, keys: &str) -> Self {
        for key in keys.bytes() {
            let event = match key {
                b'0'..=b'9' => key - b'0',
                b'*' => 10,
                b'#' => 11,
                _ => panic!("no such key"),
            };
            for packet in 1..=8u16 {
                let end = if packet > 5 { 0x80 } else { 0 };
                let marker = if packet == 1 { 0x80 } else { 0 };
                let [high, low] = (packet.min(6) * FRAME as u16).to_be_bytes();
                let payload = vec![event, end | 10, high, low];
                self.packets
                    .push((marker | EVENT_TYPE, self.timestamp, payload));
            }
            self.timestamp += 8 * FRAME;
            self = self.silence(80);
        }
        self
    }

    /// As a capture file. sipp replaces addresses and ports.
    pub(crate) fn pcap(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
            file.extend(word.to_le_bytes());
        }
        for (n, (kind, timestamp, payload)) in (0u16..).zip(&self.packets) {
            let packet = ethernet(n, *kind, *timestamp, payload);
            let milliseconds = 20 * u32::from(n);
            let length = packet.len() as u32;
            for word in [
                milliseconds / 1000,
                milliseconds % 1000 * 1000,
                length,
                length,
            ] {
                file.extend(word.to_le_bytes());
            }
            file.extend(packet);
        }
        file
    }
}

/// An RTP packet in UDP in IPv4 in Ethernet.
fn ethernet(sequence: u16, kind: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let udp_length = (8 + 12 + payload.len()) as u16;
    let mut packet = vec![0; 12];
    packet.extend([8, 0, 0x45, 0]);
    packet.extend((20 + udp_length).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend([0x20, 0, 0x20, 0]);
    packet.extend(udp_length.to_be_bytes());
    packet.extend([0, 0, 0x80, kind]);
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(payload);
    packet
}
