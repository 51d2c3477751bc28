//! The calls that programs make of DAHDI, replayed under the library, on real descriptors and in real time; the tests listen to
//! what comes out. The same calls in virtual time are in `dahdi/tests/replay`.
//!
//! Each test runs a process of its own, itself with the library before it ([`stage`]). The machine stands still at times, so nothing
//! is timed: sounds are looked for in seconds that were whole, of which there has to be one among many.

mod conferences;
mod delay;
mod ear;
mod meetme;
mod phone;
mod processes;
mod pseudo;
mod stage;
mod standstill;
