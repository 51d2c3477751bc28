//! Whether the playout buffer has what the next pull needs.

use unisono_rtp::codec::{Codec, Decoder};
use unisono_rtp::playout::{Packet, PacketKind, Playout, PlayoutConfig};

const MS: u64 = 1_000_000;

/// A stream of packets of `ptime_ms`, of which any may be left out.
struct Stream {
    playout: Playout,
    decoder: Decoder,
    ptime_ms: u64,
    now_ns: u64,
}

impl Stream {
    fn new(ptime_ms: u64) -> Self {
        Self {
            playout: Playout::new(&PlayoutConfig::new(Codec::Pcmu)),
            decoder: Decoder::new(Codec::Pcmu),
            ptime_ms,
            now_ns: 1000 * MS,
        }
    }

    fn insert(&mut self, number: u64) {
        let _ = self.playout.insert(&Packet {
            sequence: number as u16,
            timestamp: (number * self.ptime_ms * 8) as u32,
            marker: false,
            payload: &vec![0x20; (self.ptime_ms * 8) as usize],
            kind: PacketKind::Voice,
            arrival_ns: 1000 * MS + number * self.ptime_ms * MS,
        });
    }

    fn pull(&mut self) {
        let mut frame = [0; 160];
        let _ = self
            .playout
            .pull(&mut self.decoder, self.now_ns, &mut frame);
        self.now_ns += 20 * MS;
    }

    /// Packets up to `number` come and are played, until all that is there has been.
    fn play_up_to(&mut self, number: u64) {
        for n in 0..=number {
            self.insert(n);
            if ((n + 1) * self.ptime_ms).is_multiple_of(20) {
                self.pull();
            }
        }
        while !self.playout.lacks_frame() {
            self.pull();
        }
    }
}

#[test]
fn before_it_plays_nothing_is_lacking() {
    let mut stream = Stream::new(20);
    assert!(!stream.playout.lacks_frame());
    stream.insert(0);
    assert!(!stream.playout.lacks_frame());
}

#[test]
fn the_next_packet_is_what_is_lacking() {
    let mut stream = Stream::new(20);
    stream.play_up_to(9);
    stream.insert(10);
    assert!(!stream.playout.lacks_frame());
}

#[test]
fn a_packet_behind_a_gap_does_not_do() {
    let mut stream = Stream::new(20);
    stream.play_up_to(9);
    stream.insert(11);
    assert!(stream.playout.lacks_frame());
    stream.insert(10);
    assert!(!stream.playout.lacks_frame());
}

#[test]
fn of_short_packets_a_frame_needs_two() {
    let mut stream = Stream::new(10);
    stream.play_up_to(19);
    stream.insert(20);
    assert!(stream.playout.lacks_frame());
    stream.insert(21);
    assert!(!stream.playout.lacks_frame());
}
