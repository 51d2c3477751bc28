//! Programs that others wrote for DAHDI, unmodified, on our library: its tools, and Asterisk with MeetMe. The tests listen to the audio that
//! their callers received.
//!
//! `tests/install` brings the programs; the library is built when the first test asks for it. One test runs at a time, since all
//! of them listen in real time. Each leaves its evidence (configurations, logs, recordings, captures) in `target/tmp/dahdi/`.

mod announcements;
mod crowd;
mod crowds;
mod host;
mod library;
mod links;
mod machine;
mod meetme;
#[path = "../peer/mod.rs"]
mod peer;
mod roles;
#[path = "../server/mod.rs"]
mod server;
#[path = "../sound/mod.rs"]
mod sound;
#[path = "../stage/mod.rs"]
mod stage;
mod timing;
mod tools;
