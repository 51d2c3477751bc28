//! Phones that others wrote call the server, and the tests listen to what those phones received.
//!
//! The peers are sipp (scenarios in `../peer/sipp/`), baresip (a softphone) and Asterisk (a SIP trunk; Debian's packages in a folder of their own, which
//! `tests/install` makes). Everything is on loopback. One test runs at a time, since all of them listen in real time.
//! Each leaves its evidence (configurations, logs, recordings, captures) in `target/tmp/phones/`.

mod calls;
mod capacity;
mod malformed;
mod meeting;
#[path = "../peer/mod.rs"]
mod peer;
mod pin;
mod prompts;
mod refusals;
#[path = "../server/mod.rs"]
mod server;
#[path = "../sound/mod.rs"]
mod sound;
#[path = "../stage/mod.rs"]
mod stage;
mod stream;
