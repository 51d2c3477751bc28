//! Who joins and leaves is announced by name (option i): names are asked for, recorded and played to all, through chan_dahdi.

use std::thread;
use std::time::{Duration, SystemTime};

use crate::host::Host;
use crate::peer::{Capture, Keys, Sipp};
use crate::sound::{Voice, prompt_of_asterisk};
use crate::stage::Stage;

#[test]
fn who_joins_and_leaves_is_announced_by_name() {
    Stage::play("announced", |stage| {
        let host = Host::start(
            stage,
            &[("100", &["MeetMe(1,dq)"]), ("101", &["MeetMe(1,d1i)"])],
        );
        let capture = Capture::start(stage);
        let anna = host.listener(stage, "anna", "100", 40.0);
        let anna_port = anna.audio_port();
        host.wait_for_users("1", 1);
        // Asked for a name, ben says it, ends it, and accepts the recording.
        let asked =
            prompt_of_asterisk("vm-rec-name").seconds() + prompt_of_asterisk("beep").seconds();
        let keys = Keys::new()
            .silence((asked * 1000.0) as u32 + 1000)
            .speech(Voice::Ben, 4)
            .press("#")
            .silence(2500)
            .press("1")
            .silence(20_000);
        let begin = SystemTime::now();
        let ben = Sipp::new(stage, "ben", "keys-rtp", host.sip)
            .calling("101", 25.0)
            .pressing(&keys)
            .with("REST", "@HANG_UP@")
            .start();
        host.wait_for_users("1", 2);
        let joined = SystemTime::now();
        // The name and what is said after it.
        thread::sleep(Duration::from_secs(8));
        let announced = SystemTime::now();
        ben.succeed();
        let left = SystemTime::now();
        anna.succeed();
        let trace = capture.stop();
        assert_eq!(
            trace.audio_to_while(anna_port, begin, joined).voices(),
            [],
            "nothing is heard of ben while he is asked"
        );
        for (event, from, to, words) in [
            ("joining", joined, announced, "conf-hasjoin"),
            ("leaving", left, SystemTime::now(), "conf-hasleft"),
        ] {
            let heard = trace.audio_to_while(anna_port, from, to);
            assert_eq!(heard.voices(), [Voice::Ben], "the name at {event}");
            let said = prompt_of_asterisk(words);
            assert!(heard.says(&said.samples), "{words} at {event}");
        }
        host.stop(&[]);
    });
}
