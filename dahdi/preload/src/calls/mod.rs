//! The C library's functions that we stand before.
//!
//! Each asks whether it is about us, which costs two loads for a descriptor and nothing for a path that is found, and hands on
//! to the C library otherwise. They have the ABI that lets a cancelled thread unwind through them, as through the C library's own.

#![allow(
    clippy::missing_safety_doc,
    reason = "as of the C library's functions of the same names"
)]

mod close;
mod duplicate;
mod io;
mod open;
mod status;
mod wait;
