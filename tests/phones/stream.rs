//! What the server sends, in the eyes of tshark.

use unisono_rtp::codec::Codec;

use crate::peer::{Capture, KEYS_SSRC, Keys, Sipp, Trace};
use crate::sound::Voice;
use crate::stage::Stage;

/// What sipp calls its streams, always.
const OF_SIPP: u32 = 0xca11_0000;

/// A machine that stands still for a moment makes the server skip ticks. That is right, and not what is looked at here.
const ATTEMPTS: usize = 6;

#[test]
fn tshark_sees_fifty_packets_a_second_whole_and_continuous() {
    for attempt in 1..=ATTEMPTS {
        let stage = Stage::new("stream");
        let server = stage.server("");
        let capture = Capture::start(&stage);
        let anna = Sipp::new(&stage, "anna", "speak", server.sip)
            .calling("100", 12.0)
            .speaking(Voice::Anna, Codec::Pcmu)
            .start();
        let ben = Sipp::new(&stage, "ben", "keys-rtp", server.sip)
            .calling("100", 12.0)
            .pressing(&Keys::new().speech(Voice::Ben, 15))
            .with("REST", "@HANG_UP@")
            .start();
        let ports = [anna.audio_port(), ben.audio_port()];
        let calum = Sipp::new(&stage, "calum", "silent", server.sip)
            .calling("100", 12.0)
            .start();
        let listener = calum.audio_port();
        server.wait_for_participants("100", 3);
        for call in [anna, ben, calum] {
            call.succeed();
        }
        let skipped = server.metric("ticks_missed");
        let trace = capture.stop();
        if skipped > 0.0 && attempt < ATTEMPTS {
            println!("{skipped} ticks were skipped: again");
            continue;
        }
        assert_streams(&trace, ports[0], &[KEYS_SSRC]);
        assert_streams(&trace, ports[1], &[OF_SIPP]);
        assert_streams(&trace, listener, &[KEYS_SSRC, OF_SIPP]);
        return;
    }
}

/// One stream goes to this port, without a flaw, and names these sources, all at times.
fn assert_streams(trace: &Trace, port: u16, sources: &[u32]) {
    let streams = trace.streams_to(port);
    let [stream] = streams.as_slice() else {
        panic!("one stream to a phone, not {streams:#?}");
    };
    println!("{stream:?}");
    assert_eq!(stream.lost, 0, "{stream:?}");
    // 12 s, from the answer to the BYE.
    assert!((585..=605).contains(&stream.packets), "{stream:?}");
    assert!((19.8..20.2).contains(&stream.mean_delta), "{stream:?}");
    assert!(stream.max_delta < 100.0, "{stream:?}");
    let packets = trace.packets_to(port);
    assert!(packets[0].marker, "the first packet begins a talk-spurt");
    for pair in packets.windows(2) {
        assert_eq!(pair[0].ssrc, pair[1].ssrc);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert_eq!(step, 160, "timestamps of {pair:?}");
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
