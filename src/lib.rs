//! Conferencing and timing for virtual machines, without a kernel module.
//!
//! This crate is the conference server and its command line. Its rooms: [`engine`] is the media plane on real-time
//! threads, [`conference`] the model of who meets whom, [`sip`] the phones, [`web`] the HTTP interface, and [`control`]
//! wires them. The libraries below it, `unisono-timer`, `unisono-mixer` and `unisono-rtp`, are useful alone.

pub mod bridge;
pub mod caller;
pub mod cli;
pub mod conference;
pub mod config;
pub mod control;
pub mod doctor;
pub mod engine;
pub mod jitter;
pub mod listening;
pub mod load;
pub mod prompts;
pub mod sip;
pub mod web;
