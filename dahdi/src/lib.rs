//! What programs written for DAHDI expect of `/dev/dahdi/*`, in user space.
//!
//! This is the pure core: values whose operations take the time as an argument. It makes no system call, starts no thread and
//! reads no clock, so one process or many can be put around it, and its tests run in virtual time.
//!
//! Time is counted in **samples of 8000 Hz** since any fixed moment (`u64`; 8 are a millisecond).
//!
//! | module | one per | what |
//! |---|---|---|
//! | [`request`] | | the wire: request codes, argument structures, errors |
//! | [`exchange`] | process | pseudo channels and the conferences between them |
//! | [`control`] | process | `/dev/dahdi/ctl` of a machine without cards |
//!
//! Timers need nothing of this: each open of `/dev/dahdi/timer` is a handle of `unisono-timer`, which counts, is pinged and
//! catches up as DAHDI's do.
//!
//! # Guarantees
//!
//! * A program sees what DAHDI shows, except where a module's documentation names a deviation and why nobody misses it.
//! * Nothing panics, whatever codes, bytes and times come in.
//! * [`exchange::Exchange`] allocates in `new`, `open` and `request` only: not in `advance`, `read` and `write`, and with [`exchange::Spares`] in `new` only.
//! * Time that the machine lost makes one step, not a storm of them: see [`exchange`].

#![forbid(unsafe_code)]

pub mod control;
pub mod exchange;
pub mod request;
