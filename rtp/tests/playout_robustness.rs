//! Whatever comes: no panic, bounded delay and memory, no allocation, the same result for the same calls.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use support::voice::speech;
use support::{Jitter, Listener, MS, Network, Source};
use unisono_rtp::codec::{Codec, Decoder};
use unisono_rtp::playout::{Packet, PacketKind, Playout, PlayoutConfig, Pulled};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system's allocator; the counter is a plain thread-local cell
// without destructor, which does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: `pointer` came from `System` with this layout, see `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Debug, Clone)]
enum Call {
    /// Sequence and timestamp relative to the last packet, or anywhere; payload length, kind, arrival.
    Insert {
        sequence: u16,
        timestamp: u32,
        anywhere: bool,
        len: usize,
        noise: bool,
        marker: bool,
        later_ms: u64,
    },
    /// A packet as it should be.
    Next {
        late_ms: u64,
    },
    Pull {
        count: usize,
        out: usize,
    },
    Skip(u32),
    Jump(u64),
    Reset,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (0u16..8, 0u32..700, any::<bool>(), 0usize..1500, prop::bool::weighted(0.2), any::<bool>(), 0u64..80).prop_map(
            |(sequence, timestamp, marker, len, noise, _, later_ms)| Call::Insert {
                sequence, timestamp, anywhere: false, len, noise, marker, later_ms,
            }
        ),
        1 => (any::<u16>(), any::<u32>(), any::<bool>(), 0usize..9000, any::<bool>(), any::<u64>()).prop_map(
            |(sequence, timestamp, marker, len, noise, later_ms)| Call::Insert {
                sequence, timestamp, anywhere: true, len, noise, marker, later_ms,
            }
        ),
        8 => (0u64..200).prop_map(|late_ms| Call::Next { late_ms }),
        8 => (1usize..8, prop_oneof![Just(960usize), 0usize..1000]).prop_map(|(count, out)| Call::Pull { count, out }),
        1 => prop_oneof![0u32..40, any::<u32>()].prop_map(Call::Skip),
        1 => prop_oneof![0u64..5_000_000_000, any::<u64>()].prop_map(Call::Jump),
        1 => Just(Call::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_calls_panics_or_allocates(
        calls in prop::collection::vec(call(), 1..200),
        codec in prop_oneof![
            Just(Codec::Pcmu), Just(Codec::Pcma), Just(Codec::G722), Just(Codec::Opus),
            Just(Codec::L16 { rate: 8000 }), Just(Codec::L16 { rate: 48_000 }), Just(Codec::L16 { rate: 11_025 }),
        ],
        filler in any::<u8>(),
    ) {
        let config = PlayoutConfig::new(codec);
        let mut playout = Playout::new(&config);
        let mut decoder = Decoder::new(codec);
        let payload: Vec<u8> = (0..9000usize).map(|n| (n as u8).wrapping_mul(31).wrapping_add(filler)).collect();
        let mut out = vec![0i16; 1000];
        let (mut sequence, mut timestamp, mut now) = (0u16, 0u32, 1_000_000_000u64);
        let allocations = ALLOCATIONS.with(Cell::get);
        for call in &calls {
            match *call {
                Call::Insert { sequence: s, timestamp: t, anywhere, len, noise, marker, later_ms } => {
                    let packet = Packet {
                        sequence: if anywhere { s } else { sequence.wrapping_sub(3).wrapping_add(s) },
                        timestamp: if anywhere { t } else { timestamp.wrapping_sub(300).wrapping_add(t) },
                        marker,
                        payload: &payload[..len],
                        kind: if !noise { PacketKind::Voice } else if s % 3 == 0 { PacketKind::Event } else { PacketKind::ComfortNoise },
                        arrival_ns: if anywhere { later_ms } else { now + later_ms * MS },
                    };
                    let _ = playout.insert(&packet);
                }
                Call::Next { late_ms } => {
                    sequence = sequence.wrapping_add(1);
                    timestamp = timestamp.wrapping_add(codec.clock_rate() / 50);
                    let packet = Packet {
                        sequence, timestamp, marker: false, payload: &payload[..160],
                        kind: PacketKind::Voice, arrival_ns: now.wrapping_add(late_ms * MS),
                    };
                    let _ = playout.insert(&packet);
                }
                Call::Pull { count, out: len } => {
                    for _ in 0..count {
                        let _ = playout.pull(&mut decoder, now, &mut out[..len]);
                        now = now.wrapping_add(20 * MS);
                    }
                }
                Call::Skip(intervals) => playout.skip(intervals),
                Call::Jump(ns) => now = now.wrapping_add(ns),
                Call::Reset => playout.reset(),
            }
            let _ = playout.stats();
        }
        prop_assert_eq!(ALLOCATIONS.with(Cell::get), allocations);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_network_is_survived_with_a_bounded_delay_and_heard_again_afterwards(
        seed in any::<u64>(),
        jitter in 0.0f64..400.0,
        long_tail in any::<bool>(),
        fail in 0.0f64..0.5,
        heal in 0.05f64..1.0,
        duplicate in 0.0f64..0.3,
        overtaken in 0.0f64..0.3,
        keeps_order in any::<bool>(),
        chunk_ms in prop_oneof![Just(0.0), 60.0f64..600.0],
        ptime in prop_oneof![Just(10usize), Just(20), Just(30), Just(40), Just(60)],
    ) {
        let voice = speech(8000, 20, 1);
        let mut source = Source::new(Codec::Pcmu);
        let wild = source.run(12_000, ptime, |n| voice[n]);
        let calm = source.run(6_000, ptime, |n| voice[n]);
        let mut network = Network {
            jitter: if long_tail { Jitter::Exponential(jitter / 4.0) } else { Jitter::Uniform(jitter) },
            gilbert: Some((fail, heal)), duplicate, overtaken, keeps_order, chunk_ms, ..Network::new(seed)
        };
        let mut arrived = network.carry(wild);
        arrived.extend(Network::new(seed).carry(calm));
        arrived.sort_by_key(|datagram| datagram.at_ns);
        let mut listener = Listener::new(Codec::Pcmu);
        listener.listen(&arrived, 0);
        let worst = *listener.delays.iter().max().unwrap();
        prop_assert!(worst <= 440, "{}", worst);
        let last = &listener.frames[listener.frames.len() - 25..];
        prop_assert!(last.iter().all(|frame| matches!(frame, Pulled::Voice)), "{:?}", last);
        let stats = listener.stats();
        let seen = stats.inserted + stats.late + stats.duplicates + stats.malformed + stats.unconfirmed;
        prop_assert!(seen >= arrived.len() as u64, "every packet is accounted for: {:?}", stats);
        let mut again = Listener::new(Codec::Pcmu);
        again.listen(&arrived, 0);
        prop_assert_eq!(&again.heard, &listener.heard);
    }
}
