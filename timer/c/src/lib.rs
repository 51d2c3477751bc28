//! `unisono-timer` for programs in C: see `README.md` for the promise and `include/unisono_timer.h` for the functions.
//!
//! Every function runs in [`status::guarded`], so no panic crosses. What C holds are numbers of
//! [`table`], not addresses.
#![deny(improper_ctypes_definitions)]
#![allow(
    non_camel_case_types,
    unreachable_pub,
    clippy::missing_safety_doc,
    reason = "these are the names of C, and the header says once for all what pointers have to be"
)]

mod frame_timer;
mod realtime;
mod source;
mod stats;
mod status;
mod table;
mod text;
mod ticker;
mod watchdog;

use std::ffi::c_char;

/// The library's version, such as "0.1.0". It lives for ever. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
