//! A process's segment: shared memory that it alone writes and all others read.

mod layout;
mod map;
mod own;

pub(crate) use layout::{LINES, Tag};
pub(crate) use map::{Mapping, check_extent};
pub(crate) use own::{END, NEW_END, Own, Place, clear, stem};

use unisono_dahdi::exchange::STEP;

/// 20 ms of samples.
pub(crate) type Frame = [i16; STEP];
