//! Cost of reading and writing packets, and of the kernel beside it.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use unisono_rtp::codec::Codec;
use unisono_rtp::latch::{Evidence, Latch, Policy};
use unisono_rtp::net::{
    BATCH, ClockOffset, MediaSocket, Poller, RecvBuf, SendBatch, SendCounters, SocketOptions,
};
use unisono_rtp::outbound::{Format, Origin, Outbound, PacketBuf};
use unisono_rtp::packet::{Header, Kind, RtpPacket};
use unisono_rtp::reception::Reception;
use unisono_rtp::rtcp::{self, NtpTime, ReportBlock, SenderInfo, Writer};

const HEADER: Header = Header {
    payload_type: 0,
    marker: false,
    sequence: 7,
    timestamp: 160,
    ssrc: 0xfeed,
};
const TALKERS: [u32; 3] = [1, 2, 3];

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet");
    let mut datagram = [0x55; 24 + 160];
    HEADER.write(&mut datagram, &TALKERS);
    group.bench_function("parse", |b| {
        b.iter(|| {
            let datagram = black_box(&datagram[..]);
            (Kind::of(datagram), RtpPacket::parse(datagram))
        });
    });
    group.bench_function("write header, no talkers", |b| {
        b.iter(|| black_box(HEADER).write(black_box(&mut datagram), black_box(&[])));
    });
    group.bench_function("write header, three talkers", |b| {
        b.iter(|| black_box(HEADER).write(black_box(&mut datagram), black_box(&TALKERS)));
    });
    for ptime_ms in [10, 20, 30] {
        let format = Format {
            codec: Codec::Pcmu,
            payload_type: 0,
            ptime_ms,
        };
        let mut outbound = Outbound::new(format, Origin::from_random([1; 10]));
        let mut buf = PacketBuf::new();
        group.bench_function(format!("push a tick, ptime {ptime_ms} ms"), |b| {
            b.iter(|| {
                outbound.push(black_box(&[0x55; 160]), &TALKERS, &mut buf, |packet| {
                    black_box(packet);
                });
            });
        });
    }
    let mut reception = Reception::new(8000);
    let mut latch = Latch::new(None, Policy::default(), 0);
    let source = SocketAddr::from(([198, 51, 100, 7], 4000));
    let mut sequence = 0_u16;
    let mut now_ns = 0;
    group.bench_function("latch and statistics", |b| {
        b.iter(|| {
            sequence = sequence.wrapping_add(1);
            now_ns += 20_000_000;
            let evidence = Evidence {
                ssrc: 1,
                sequence,
                known_payload_type: true,
            };
            let verdict = latch.on_packet(black_box(source), evidence, now_ns);
            (
                verdict,
                reception.on_packet(sequence, u32::from(sequence) * 160, now_ns),
            )
        });
    });
    group.finish();
}

fn reports(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rtcp");
    let info = SenderInfo {
        ntp: NtpTime(1 << 40),
        rtp_timestamp: 1,
        packets: 2,
        octets: 3,
    };
    let block = ReportBlock {
        ssrc: 5,
        fraction_lost: 6,
        ..ReportBlock::default()
    };
    let mut out = [0; 256];
    let mut build = || {
        let mut writer = Writer::new(black_box(&mut out));
        writer.sender_report(1, &info, &[block]);
        writer.source_description(1, b"abcdefghijklmnop", "unisono");
        writer.finish()
    };
    let length = build().unwrap_or(0);
    group.bench_function("build", |b| b.iter(&mut build));
    group.bench_function("parse", |b| {
        b.iter(|| rtcp::parse(black_box(&out[..length])).map(Iterator::count));
    });
    group.finish();
}

fn kernel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loopback");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = SocketOptions {
        receive_buffer: Some(1 << 20),
        ..SocketOptions::default()
    };
    let bind = || MediaSocket::bind(any_port, &options);
    let (Ok(sender), Ok(receiver)) = (bind(), bind()) else {
        eprintln!("no sockets here");
        return;
    };
    let mut counters = SendCounters::default();
    let mut buf = RecvBuf::new();
    let packet = [0x55; 172];
    group.bench_function("send and receive one", |b| {
        b.iter(|| {
            sender.send_to(&packet, receiver.local_addr(), &mut counters);
            receiver.recv(&mut buf, ClockOffset::measure())
        });
    });
    let Ok(receivers) = (0..BATCH).map(|_| bind()).collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let Ok(mut poller) = Poller::new(BATCH) else {
        return;
    };
    for (socket, token) in receivers.iter().zip(0..) {
        if poller.register(socket, token).is_err() {
            return;
        }
    }
    let mut batch = SendBatch::new();
    let mut tokens = [0; BATCH];
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("batch to 256 sockets, poll and receive", |b| {
        b.iter(|| {
            for receiver in &receivers {
                let _ = batch.push(&packet, receiver.local_addr());
            }
            batch.flush(&sender, &mut counters);
            let offset = ClockOffset::measure();
            let ready = poller.ready(&mut tokens).unwrap_or(0);
            for token in &tokens[..ready] {
                let _ = receivers[*token as usize].recv(&mut buf, offset);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, packets, reports, kernel);
criterion_main!(benches);
