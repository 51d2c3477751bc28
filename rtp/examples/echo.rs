//! Says back what it is sent: `cargo run -p unisono-rtp --example echo`, then send G.711 µ-law over RTP to the port it
//! names, for example with `ffmpeg -re -f lavfi -i sine -ar 8000 -c:a pcm_mulaw -f rtp rtp://127.0.0.1:4000`.
//!
//! It latches onto the first stream that proves itself; a second sender is refused.

use std::error::Error;
use std::thread::sleep;
use std::time::{Duration, Instant};

use unisono_rtp::codec::{Codec, Decoder, Encoder};
use unisono_rtp::latch::{Evidence, Latch, Policy, Verdict};
use unisono_rtp::net::{ClockOffset, MediaSocket, RecvBuf, SendCounters, SocketOptions};
use unisono_rtp::outbound::{Format, Origin, Outbound, PacketBuf};
use unisono_rtp::packet::{Kind, RtpPacket};
use unisono_rtp::playout::{Packet, PacketKind, Playout, PlayoutConfig, Pulled};

const PCMU: u8 = 0;

fn main() -> Result<(), Box<dyn Error>> {
    let socket = MediaSocket::bind("127.0.0.1:4000".parse()?, &SocketOptions::default())?;
    println!("listening on {}", socket.local_addr());
    let mut received = RecvBuf::new();
    let mut sent = SendCounters::default();

    let format = Format {
        codec: Codec::Pcmu,
        payload_type: PCMU,
        ptime_ms: 20,
    };
    // A program that serves strangers takes these from a secure source (RFC 3550 section 5.1).
    let origin = Origin::from_random([7; 10]);
    let mut outbound = Outbound::new(format, origin);
    let mut latch = Latch::new(None, Policy::default(), ClockOffset::measure().now_ns());
    let mut playout = Playout::new(&PlayoutConfig::new(Codec::Pcmu));
    let (mut decoder, mut encoder) = (Decoder::new(Codec::Pcmu), Encoder::new(Codec::Pcmu));
    let (mut frame, mut payload, mut buf) = ([0; 160], [0; 160], PacketBuf::new());

    let mut deadline = Instant::now();
    loop {
        deadline += Duration::from_millis(20);
        sleep(deadline.saturating_duration_since(Instant::now()));
        let clock = ClockOffset::measure();

        while let Some(datagram) = socket.recv(&mut received, clock)? {
            let bytes = received.datagram(&datagram);
            if Kind::of(bytes) != Kind::Rtp {
                continue;
            }
            let Ok(packet) = RtpPacket::parse(bytes) else {
                continue;
            };
            let evidence = Evidence {
                ssrc: packet.ssrc,
                sequence: packet.sequence,
                known_payload_type: packet.payload_type == PCMU,
            };
            match latch.on_packet(datagram.source, evidence, datagram.arrival_ns) {
                Verdict::AcceptNewSource => println!("echoing {}", datagram.source),
                Verdict::Accept => {}
                Verdict::Learning | Verdict::Refuse => continue,
            }
            // What the buffer makes of the packet is in its statistics.
            let _ = playout.insert(&Packet {
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                marker: packet.marker,
                payload: packet.payload,
                kind: PacketKind::Voice,
                arrival_ns: datagram.arrival_ns,
            });
        }

        match (
            playout.pull(&mut decoder, clock.now_ns(), &mut frame),
            latch.destination(),
        ) {
            (Pulled::Voice | Pulled::Concealed, Some(peer)) => {
                let length = encoder.encode(&frame, &mut payload);
                outbound.push(&payload[..length], &[], &mut buf, |packet| {
                    socket.send_to(packet, peer, &mut sent);
                });
            }
            _ => outbound.skip(1),
        }
    }
}
