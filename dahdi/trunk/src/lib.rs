//! What processes with a DAHDI exchange of their own share: conferences, their numbers, and word of one another.
//!
//! In DAHDI conferences are the machine's. Here each process has a [`unisono_dahdi::exchange::Exchange`], and a **trunk** between
//! them carries the sums: each process writes, at each step of 20 ms, what its members of a shared conference say together, and
//! adds what the others wrote for the step before. There is no broker, so none can fail.
//!
//! | part | what |
//! |---|---|
//! | [`Directory`] | where the processes of a machine meet |
//! | [`Trunk`] | this process's end: its segment of memory, whom it sees, which conferences it is in |
//! | [`TrunkLines`] | the tick's part of it: wait-free, no system calls |
//! | [`Numbers`] | which conferences are in use, system-wide |
//! | [`report`], [`survey`], [`Answering`] | what a process says of itself, asking all, and being asked |
//!
//! # Files
//!
//! | name | what | if its process dies |
//! |---|---|---|
//! | `PID.segment` | 1.4 MB of shared memory, locked (`flock`) by its process, which alone writes there | removed by the next that looks |
//! | `PID.status` | a socket that answers with a [`report::ProcessReport`] as JSON | the same |
//! | `numbers` | byte n is locked for reading (`F_OFD_SETLK`) while conference n is in use | the kernel unlocks it |
//!
//! `PID` is `PID-2` and so on where two processes have the same number, in containers. Files get the directory's group, and its
//! permissions: a process that may not write in the directory shares nothing. Processes share nothing either across time namespaces
//! with offsets, as their clocks differ.
//!
//! # What another process can do
//!
//! Nothing that it wrote is trusted: every index is checked, a frame counts only if it is whole, of the conference it is read for, and
//! of the step it is wanted for (a sequence lock). At worst it says noise. A process that stands still is silence. One that cuts off
//! its own segment while others look at it ends them by SIGBUS, as with any shared file: who may write in the directory is
//! trusted not to.
//!
//! # Delay
//!
//! From a talker of one process to a listener of another takes one step (20 ms) more than inside one. If a process's frame comes
//! late, others fall back behind it by one or two steps more, so that nothing is lost, and come forward again in its next pause,
//! or after two seconds by a cross-fade.
//!
//! # Example
//!
//! ```
//! use unisono_dahdi::exchange::{Exchange, Limits};
//! use unisono_dahdi_trunk::{Directory, Trunk};
//!
//! # let place = tempfile::tempdir()?;
//! # let directory = Directory::at(place.path())?;
//! # /*
//! let directory = Directory::from_environment()?;
//! # */
//! let trunk = Trunk::open(&directory, "my-pbx")?;
//! let conference = trunk.numbers().reserve().expect("one of 1023 is free");
//! trunk.open_line(conference)?;
//! trunk.refresh()?; // now and then: who else is there?
//!
//! // The tick:
//! let mut lines = trunk.lines().expect("taken once");
//! let mut exchange = Exchange::new(Limits::default());
//! exchange.advance_with(160, &mut lines);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("shared segments need atomic 64-bit loads that write nothing");

mod answering;
mod directory;
mod error;
mod follower;
mod lines;
mod neighbours;
mod numbers;
pub mod report;
mod segment;
mod survey;
mod trunk;

pub use answering::Answering;
pub use directory::Directory;
pub use error::{Refused, SegmentError, TrunkError};
pub use lines::TrunkLines;
pub use numbers::Numbers;
pub use survey::{SurveyError, Unanswered, survey};
pub use trunk::{Neighbour, Refreshed, Trunk, TrunkStats};
