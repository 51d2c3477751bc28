//! Load on a conference server, from outside, and what is said of it.

pub mod report;
