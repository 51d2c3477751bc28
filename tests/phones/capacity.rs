//! Many calls at once, and what the server says it carries.

use crate::peer::Sipp;
use crate::server::Server;
use crate::stage::Stage;

const CALLS: usize = 200;

#[test]
fn without_a_configuration_it_says_what_it_carries_and_takes_two_hundred_calls_at_once() {
    Stage::play("capacity", |stage| {
        let server = Server::start(stage.folder(), None);
        let greeting = server.greeting().replace([',', '\u{202f}', ' ', '\''], "");
        assert!(
            greeting.contains("10000legs") || greeting.to_lowercase().contains("limit"),
            "10,000 legs, or what limits them:\n{}",
            server.greeting()
        );
        let calls = Sipp::new(stage, "callers", "silent", server.sip)
            .calling("100", 8.0)
            .arguments(&["-r", "100", "-l", "200"])
            .start_calls(CALLS);
        server.wait_for_participants("100", CALLS);
        assert_eq!(
            server.get("/v1/conferences/100").json()["participants"],
            CALLS
        );
        calls.succeed();
        server.wait_for_participants("100", 0);
        assert_eq!(server.get("/healthz").json()["participants"], 0);
        let log = server.log();
        assert!(!log.contains("panicked"), "{log}");
        assert_eq!(server.stop().code(), Some(0));
    });
}
