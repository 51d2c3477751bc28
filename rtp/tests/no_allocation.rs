//! What a tick calls does not allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use unisono_rtp::codec::Codec;
use unisono_rtp::dtmf::{DtmfReceiver, DtmfSender};
use unisono_rtp::latch::{Evidence, Latch, Policy};
use unisono_rtp::net::{
    ClockOffset, MediaSocket, Poller, RecvBuf, SendBatch, SendCounters, SocketOptions,
};
use unisono_rtp::outbound::{CollisionDetector, Format, Origin, Outbound, PacketBuf};
use unisono_rtp::packet::{Kind, RtpPacket};
use unisono_rtp::reception::Reception;
use unisono_rtp::rtcp::{Cname, Config, NtpTime, Sending, Session};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator; a counter without a destructor is no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_in(work: impl FnOnce()) -> u32 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    // The box must not be optimised away.
    assert_eq!(
        allocations_in(|| drop(std::hint::black_box(Box::new(7)))),
        2
    );
}

#[test]
fn ticks_of_a_call_do_not_allocate() {
    let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = MediaSocket::bind(any_port, &SocketOptions::default()).unwrap();
    let own = socket.local_addr();
    let mut poller = Poller::new(16).unwrap();
    poller.register(&socket, 1).unwrap();
    let mut recv_buf = RecvBuf::new();
    let mut batch = SendBatch::new();
    let mut counters = SendCounters::default();
    let mut buf = PacketBuf::new();

    let format = Format {
        codec: Codec::Pcmu,
        payload_type: 0,
        ptime_ms: 30,
    };
    let mut outbound = Outbound::new(format, Origin::from_random([9; 10]));
    let mut latch = Latch::new(Some(own), Policy::default(), 0);
    let mut reception = Reception::new(8000);
    let mut receiver = DtmfReceiver::new(8000);
    let mut collisions = CollisionDetector::new();
    let config = Config {
        cname: Cname::from_random([3; 12]),
        tool: "unisono",
        session_bandwidth: 80_000,
        reduced_minimum: false,
    };
    let mut session = Session::new(config, outbound.ssrc(), 0, 1);
    let (mut received, mut reports, mut digits) = (0, 0, 0);

    let allocations = allocations_in(|| {
        for tick in 0..1000_u64 {
            let now = tick * 20_000_000;
            let offset = ClockOffset::measure();
            if tick % 100 == 50 {
                let start = outbound.next_timestamp();
                let mut key = DtmfSender::new('5', 40, start, 8000, 20).unwrap();
                while let Some(event) = key.next_packet() {
                    outbound.push_event(&event, 101, &mut buf, |packet| {
                        assert!(batch.push(packet, own));
                    });
                }
            }
            outbound.push(&[0xff; 160], &[1, 2, 3], &mut buf, |packet| {
                assert!(batch.push(packet, own))
            });
            batch.flush(&socket, &mut counters);
            let sending = Sending {
                rtp_timestamp: outbound.timestamp_at(now, now),
                totals: outbound.totals(),
            };
            let mut report = [0; 256];
            if let Some(length) = session.poll(
                now,
                NtpTime(now),
                now,
                &sending,
                Some(&mut reception),
                &mut report,
            ) {
                socket.send_to(&report[..length], own, &mut counters);
            }

            let mut tokens = [0; 16];
            poller.ready(&mut tokens).unwrap();
            while let Some(datagram) = socket.recv(&mut recv_buf, offset).unwrap() {
                let bytes = recv_buf.datagram(&datagram);
                if Kind::of(bytes) == Kind::Rtcp {
                    reports += 1;
                    assert!(session.on_rtcp(bytes, now).unwrap().own_ssrc);
                    continue;
                }
                let packet = RtpPacket::parse(bytes).unwrap();
                received += 1;
                collisions.check(&packet, outbound.ssrc(), datagram.source, now);
                let evidence = Evidence {
                    ssrc: packet.ssrc,
                    sequence: packet.sequence,
                    known_payload_type: true,
                };
                let _ = latch.on_packet(datagram.source, evidence, now);
                reception.on_packet(packet.sequence, packet.timestamp, datagram.arrival_ns);
                session.on_rtp(!packet.ssrc, now);
                if packet.payload_type == 101 {
                    receiver.on_packet(packet.payload, packet.timestamp, now);
                }
            }
            digits += usize::from(receiver.poll(now).is_some());
        }
    });
    assert!(
        received > 600 && reports > 2 && digits == 10,
        "{received} {reports} {digits}"
    );
    assert_eq!(allocations, 0);
}
