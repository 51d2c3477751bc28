//! What the server sends, in the eyes of tshark.

use unisono_rtp::codec::Codec;

use crate::peer::{Capture, KEYS_SSRC, Keys, Sipp, Trace};
use crate::sound::Voice;
use crate::stage::Stage;

/// What sipp calls its streams, always.
const OF_SIPP: u32 = 0xca11_0000;

/// In a packet of 20 ms.
const SAMPLES: u32 = 160;

#[test]
fn tshark_sees_fifty_packets_a_second_whole_and_continuous() {
    Stage::play("stream", |stage| {
        let server = stage.server("");
        let capture = Capture::start(stage);
        let anna = Sipp::new(stage, "anna", "speak", server.sip)
            .calling("100", 12.0)
            .speaking(Voice::Anna, Codec::Pcmu)
            .start();
        let ben = Sipp::new(stage, "ben", "keys-rtp", server.sip)
            .calling("100", 12.0)
            .pressing(&Keys::new().speech(Voice::Ben, 15))
            .with("REST", "@HANG_UP@")
            .start();
        let ports = [anna.audio_port(), ben.audio_port()];
        let calum = Sipp::new(stage, "calum", "silent", server.sip)
            .calling("100", 12.0)
            .start();
        let listener = calum.audio_port();
        server.wait_for_participants("100", 3);
        for call in [anna, ben, calum] {
            call.succeed();
        }
        let skipped = server.metric("intervals_skipped") as u32;
        let trace = capture.stop();
        for (port, sources) in [
            (ports[0], &[KEYS_SSRC][..]),
            (ports[1], &[OF_SIPP]),
            (listener, &[KEYS_SSRC, OF_SIPP]),
        ] {
            assert_stream(&trace, port, sources, skipped);
        }
    });
}

/// One stream goes to this port, without a flaw, and names these sources, all at times. Intervals that the server `skipped`, because the
/// machine stood still, may be missing in it, as it promises: timestamps go on, and a marker comes after each gap.
fn assert_stream(trace: &Trace, port: u16, sources: &[u32], skipped: u32) {
    let streams = trace.streams_to(port);
    let [stream] = streams.as_slice() else {
        panic!("one stream to a phone, not {streams:#?}");
    };
    println!("{stream:?}, {skipped} intervals were skipped");
    assert_eq!(stream.lost, 0, "{stream:?}");
    // 12 s, from the answer to the BYE.
    assert!(
        (585 - skipped.min(585)..=605).contains(&stream.packets),
        "{stream:?}"
    );
    let packets = trace.packets_to(port);
    assert!(packets[0].marker, "the first packet begins a talk-spurt");
    let mut missing = 0;
    for pair in packets.windows(2) {
        assert_eq!(pair[0].ssrc, pair[1].ssrc);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!(
            step == SAMPLES || step % SAMPLES == 0 && pair[1].marker,
            "timestamps of {pair:?}"
        );
        missing += step / SAMPLES - 1;
    }
    assert!(
        missing <= skipped,
        "{missing} intervals are missing, {skipped} were skipped"
    );
    if skipped == 0 {
        assert!((19.8..20.2).contains(&stream.mean_delta), "{stream:?}");
        assert!(stream.max_delta < 100.0, "{stream:?}");
    }
    assert!(packets.iter().all(|packet| packet.payload.len() == 160));
    let mut named: Vec<u32> = packets
        .iter()
        .flat_map(|packet| packet.csrcs.clone())
        .collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, sources, "contributing sources at {port}");
}
