//! RTP, RTCP, payload formats and playout for voice, sans-IO.
//!
//! Guarantees: no module but [`net`] makes a system call or reads a clock (time and random numbers are arguments);
//! nothing allocates after construction in the functions that a tick calls; no byte sequence from outside panics.
//!
//! | on the way in | | on the way out | |
//! |---|---|---|---|
//! | [`net`] | datagrams with their arrival times | [`codec`] | payloads of 20 ms |
//! | [`latch`] | is it from this leg's peer? | [`outbound`] | packets of the agreed ptime, sequence, timestamps |
//! | [`packet`] | RTP or RTCP, and its fields | [`packet`] | header bytes |
//! | [`reception`] | loss and jitter, for reports | [`rtcp`] | reports, when they are due |
//! | [`dtmf`], [`playout`], [`codec`] | digits and audio | [`net`] | datagrams |
//!
//! Times are nanoseconds of one monotonic clock (`now_ns`, `arrival_ns`), sample and clock rates are in Hz.
#![warn(missing_docs)]
#![deny(unsafe_code)]

#[allow(unsafe_code)] // One instruction that no safe function offers.
pub mod cache;
pub mod codec;
pub mod dtmf;
pub mod latch;
#[allow(unsafe_code)] // System calls that neither std, socket2 nor nix offers without allocating.
pub mod net;
pub mod outbound;
pub mod packet;
pub mod playout;
pub mod reception;
pub mod rtcp;
