//! Phones at `unisono serve` in one conference with phones in MeetMe.

use std::thread;
use std::time::{Duration, SystemTime};

use unisono_rtp::codec::Codec;

use crate::host::Host;
use crate::peer::{Capture, Sipp};
use crate::sound::Voice;
use crate::stage::Stage;

#[test]
fn a_phone_at_the_server_and_those_in_meetme_hear_each_other() {
    Stage::play("link", |stage| {
        let host = Host::start(stage, &[("100", &["MeetMe(1,dq)"])]);
        let server = stage.server(&format!(
            "[[conference]]\nname = \"600\"\n\n[dahdi]\ndirectory = {:?}\n\n\
         [[dahdi.conference]]\nnumber = 1023\nconference = \"600\"\n",
            host.pbx.outside("dahdi")
        ));
        let capture = Capture::start(stage);
        let anna = host.speaker(stage, "100", Voice::Anna, 20.0);
        let ben = host.speaker(stage, "100", Voice::Ben, 20.0);
        host.wait_for_users("1", 2);
        let calum = Sipp::new(stage, "calum", "speak", server.sip)
            .calling("600", 17.0)
            .speaking(Voice::Calum, Codec::Pcma)
            .start();
        let ports = [anna.audio_port(), ben.audio_port(), calum.audio_port()];
        server.wait_for_participants("600", 1);
        // They find each other within a second; what the playout buffers say until then is not judged.
        let all_there = SystemTime::now() + Duration::from_secs(3);
        thread::sleep(Duration::from_secs(13));
        let first_leaves = SystemTime::now();
        for phone in [calum, anna, ben] {
            phone.succeed();
        }
        let trace = capture.stop();
        for (port, who, others) in [
            (ports[0], "anna (MeetMe)", [Voice::Ben, Voice::Calum]),
            (ports[1], "ben (MeetMe)", [Voice::Anna, Voice::Calum]),
            (ports[2], "calum (unisono)", [Voice::Anna, Voice::Ben]),
        ] {
            trace
                .audio_to_while(port, all_there, first_leaves)
                .assert_heard(who, &others, stage.tolerance());
        }
        host.stop(&[]);
    });
}
