//! An allocation-free conference mixer of 20 ms frames.
//!
//! # Guarantees
//!
//! * **Exact.** Sums are 32-bit and order does not matter. A participant hears the sum minus exactly
//!   what it contributed; up to 65,536 full-scale legs fit.
//! * **K + 1 mixes.** With K talkers there are K + 1 distinct mixes, whatever the number of legs: everybody
//!   who contributes nothing is handed the same frame ([`Hearing::Common`]), to be encoded once.
//! * **No clipping.** Each distinct mix passes its own peak [`limiter`]; it is bit-exact while the sum
//!   fits 16 bits and adds no delay.
//! * **Real-time.** Nothing here reads a clock, opens a file, locks, logs or starts a thread. All memory is
//!   taken in [`Desk::new`] and [`Strip::new`]; nothing a tick calls allocates, frees or panics on audio.
//! * **One conference, several rooms.** The exact sum of a room ([`Intake::sum`]) can be added to another's ([`Intake::add_sum`]), so
//!   that a conference is mixed on more than one thread.
//! * **Silence is free.** A leg below its gate is not summed, and [`Intake::add_silence`] costs O(1).
//!
//! # Parts
//!
//! | type | one per | holds |
//! |---|---|---|
//! | [`Desk`] | worker thread | the buffers of the tick being mixed, filter tables |
//! | [`Room`] | conference | rate, history, limiters: about 1 KiB, whatever the number of participants |
//! | [`Strip`] | leg | gains, mute, gate, talk detection, what it contributed: under 3.5 KiB |
//! | [`Feed`] | other room of the conference | what the filter needs of its last sum |
//!
//! ```
//! use unisono_mixer::{Desk, Hearing, Room, SampleRate, Strip, StripSettings};
//!
//! let mut desk = Desk::new();
//! let mut room = Room::new(SampleRate::Hz8000);
//! let mut alice = Strip::new(SampleRate::Hz8000, StripSettings::default());
//! let mut bob = Strip::new(SampleRate::Hz8000, StripSettings::default());
//! let speech = [9_000_i16; 160];
//!
//! let mut intake = desk.begin(&mut room); // one tick:
//! intake.add(&mut alice, &speech);
//! intake.add_silence(&mut bob);
//! let mut mix = intake.finish();
//! assert_eq!(mix.hear(&mut alice, None), Hearing::Nothing); // nobody but herself
//! assert!(matches!(mix.hear(&mut bob, None), Hearing::Common(heard) if heard[159] == 9_000));
//! ```

#![deny(unsafe_code)]

mod desk;
pub mod level;
pub mod limiter;
mod rate;
pub mod resample;
mod room;
mod samples;
mod strip;
mod talk;
pub mod tone;
mod vector;

pub use desk::{Desk, Feed, Hearing, Intake, Mix};
pub use rate::{MAX_FRAME, SampleRate};
pub use room::Room;
pub use strip::{Role, Strip, StripSettings};
pub use talk::TalkChange;
