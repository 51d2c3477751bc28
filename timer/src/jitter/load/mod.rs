//! Work for the machine while it is measured: real, bounded, started and stopped by the tool.
//!
//! All of it runs at ordinary priority, as other programs on a voice server do. Each load says what it
//! got done, so that a table can show that it was there.
//!
//! ```
//! use std::time::Duration;
//! use unisono_timer::jitter::load::{Load, Loads};
//!
//! let loads = Loads::start(&[Load::Memory])?;
//! std::thread::sleep(Duration::from_millis(50)); // measure here
//! for work in loads.work_done() {
//!     println!("{}: {} {}", work.load, work.amount, work.unit);
//! }
//! # Ok::<(), unisono_timer::jitter::load::LoadError>(())
//! ```

mod cpu;
mod disk;
mod memory;
mod network;

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Load {
    /// A thread on each CPU that this process may use, computing without pause.
    Cpu,
    /// A thread that copies back and forth in a buffer of at most 256 MiB, larger than caches: it takes
    /// bandwidth from everybody. A quarter of the memory that is free at most.
    Memory,
    /// A thread that writes a file of 64 MiB, in the directory for temporary files, through to the disk 4 MiB at
    /// a time and reads it back, over and over. The file has no name, so nothing of it is ever left.
    Disk,
    /// Two threads, one sending the other nearly 20,000 datagrams a second, of the size of a G.711 packet, over the
    /// loopback interface: what a conference of 400 phones receives and sends.
    Network,
}

impl Load {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Disk, Self::Network];

    /// What it is called on a command line: `cpu`, `mem`, `disk`, `net`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "mem",
            Self::Disk => "disk",
            Self::Network => "net",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "million multiplications",
            Self::Memory => "MiB copied",
            Self::Disk => "MiB written and read back",
            Self::Network => "datagrams received",
        }
    }

    /// Jobs count operations and bytes.
    const fn steps_per_unit(self) -> u64 {
        match self {
            Self::Cpu => 1_000_000,
            Self::Memory | Self::Disk => 1 << 20,
            Self::Network => 1,
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Load {
    type Err = LoadError;

    fn from_str(name: &str) -> Result<Self, LoadError> {
        Self::ALL
            .into_iter()
            .find(|load| load.name() == name)
            .ok_or_else(|| LoadError::Unknown {
                name: name.to_owned(),
            })
    }
}

/// Loads at work, until dropped.
#[derive(Debug)]
#[must_use = "the loads stop when this is dropped"]
pub struct Loads {
    stop: Arc<AtomicBool>,
    running: Vec<Running>,
}

/// What a load got done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkDone {
    /// Which load.
    pub load: Load,
    /// How much, in `unit`s.
    pub amount: u64,
    /// Of what.
    pub unit: &'static str,
    /// Why it ended before it was told to, if it did.
    pub error: Option<String>,
}

impl Loads {
    /// Starts each of `loads` once. Not to be called from a real-time thread.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; then none of them runs.
    pub fn start(loads: &[Load]) -> Result<Self, LoadError> {
        let mut all = Self {
            stop: Arc::new(AtomicBool::new(false)),
            running: Vec::new(),
        };
        for load in Load::ALL.into_iter().filter(|load| loads.contains(load)) {
            let work = match load {
                Load::Cpu => cpu::prepare(),
                Load::Memory => memory::prepare()?,
                Load::Disk => disk::prepare()?,
                Load::Network => network::prepare()?,
            };
            // From here on dropping `all` ends what has been started.
            all.set_to_work(load, work)?;
        }
        Ok(all)
    }

    /// A thread for each of a load's jobs.
    fn set_to_work(&mut self, load: Load, jobs: Vec<Job>) -> Result<(), LoadError> {
        let progress = Arc::new(Progress::default());
        self.running.push(Running {
            load,
            progress: Arc::clone(&progress),
            threads: Vec::new(),
        });
        for job in jobs {
            let at_work = AtWork {
                stop: Arc::clone(&self.stop),
                progress: Arc::clone(&progress),
            };
            let thread = thread::Builder::new()
                .name(format!("load-{load}"))
                .spawn(move || at_work.carry_out(job))
                .map_err(LoadError::Thread)?;
            if let Some(running) = self.running.last_mut() {
                running.threads.push(thread);
            }
        }
        Ok(())
    }

    /// What each has got done so far.
    pub fn work_done(&self) -> Vec<WorkDone> {
        let done = self.running.iter().map(|running| {
            let load = running.load;
            let steps = running.progress.steps.load(Ordering::Relaxed);
            WorkDone {
                load,
                amount: steps / load.steps_per_unit(),
                unit: load.unit(),
                error: running.progress.failed.get().cloned(),
            }
        });
        done.collect()
    }

    /// Ends them and tells what they got done. Waits for the step each is at: some milliseconds, and on a slow
    /// disk as long as that takes to write 4 MiB.
    pub fn stop(mut self) -> Vec<WorkDone> {
        self.end();
        self.work_done()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for running in &mut self.running {
            for thread in running.threads.drain(..) {
                // Jobs that panic are caught, and noted as failed.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        self.end();
    }
}

/// Why a load cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No such load.
    #[error("there is no load {name:?}; choose among cpu, mem, disk and net")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Not enough memory for [`Load::Memory`].
    #[error("{available} bytes of memory are free; the mem load needs {needed} or more")]
    Memory {
        /// Bytes available.
        available: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// No file for [`Load::Disk`].
    #[error("cannot make a file in {}: {error}; set TMPDIR to a directory on the disk to be used", .directory.display())]
    File {
        /// Where it would be.
        directory: std::path::PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Not enough space for [`Load::Disk`].
    #[error(
        "{} has {available} bytes free and the disk load needs {needed}; free some or set TMPDIR", .directory.display()
    )]
    Space {
        /// Where the file would be.
        directory: std::path::PathBuf,
        /// Bytes free.
        available: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// No sockets for [`Load::Network`].
    #[error("cannot use UDP on the loopback interface: {0}; bring it up (ip link set lo up)")]
    Network(io::Error),
    /// No thread.
    #[error("cannot start a thread: {0}; raise the limit of tasks (TasksMax=, ulimit -u)")]
    Thread(io::Error),
}

/// What one thread of a load does: it looks at [`AtWork::goes_on`] every few milliseconds.
type Job = Box<dyn FnOnce(&AtWork) -> io::Result<()> + Send>;

/// A load's threads, and what they tell.
#[derive(Debug)]
struct Running {
    load: Load,
    progress: Arc<Progress>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Progress {
    steps: AtomicU64,
    failed: OnceLock<String>,
}

/// What a job sees of the outside.
struct AtWork {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
}

impl AtWork {
    fn carry_out(&self, job: Job) {
        // What is shared with others is counted and set in one step each, so a panic leaves nothing half done.
        let why = match catch_unwind(AssertUnwindSafe(|| job(self))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("it panicked: {}", words_of(&*panic)),
        };
        // The first error tells most.
        let _ = self.progress.failed.set(why);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn did(&self, steps: u64) {
        self.progress.steps.fetch_add(steps, Ordering::Relaxed);
    }
}

/// What a panic said.
fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(job: Job) -> WorkDone {
        let mut loads = Loads {
            stop: Arc::new(AtomicBool::new(false)),
            running: Vec::new(),
        };
        loads.set_to_work(Load::Network, vec![job]).unwrap();
        while loads.running[0]
            .threads
            .iter()
            .any(|thread| !thread.is_finished())
        {
            thread::yield_now();
        }
        // Known while the others go on, not only at the end.
        loads.work_done().remove(0)
    }

    #[test]
    fn a_load_that_fails_or_panics_says_why_and_keeps_what_it_did() {
        let failed = ended(Box::new(|at_work| {
            at_work.did(3);
            Err(io::Error::other("the disk is full"))
        }));
        assert_eq!(
            (failed.amount, failed.error.as_deref()),
            (3, Some("the disk is full"))
        );
        let panicked = ended(Box::new(|_| panic!("no more than {}", 7)));
        assert_eq!(
            panicked.error.as_deref(),
            Some("it panicked: no more than 7")
        );
        assert_eq!(ended(Box::new(|_| Ok(()))).error, None);
    }
}
