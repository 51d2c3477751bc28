//! The media of all callers: a few threads, each with many callers, which send on time, and measure what comes back.
//!
//! What a caller's frame costs is one `sendto`, one `recvmsg` and well under a microsecond besides: payloads were encoded before, nothing is
//! decoded, and sockets are read in turn rather than asked for. Each time a caller's turn comes, one datagram is taken; more are only when
//! the one taken is older than a packet time, so no call is made that finds nothing, and no backlog can last.
//!
//! | file | what |
//! |---|---|
//! | `caller.rs` | one caller: what it sends, what it makes of what it receives |
//! | `thread.rs` | the thread: time, turns, commands |

mod caller;
mod thread;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use unisono_rtp::codec::Codec;
use unisono_rtp::net::MediaSocket;
use unisono_timer::{
    LatencyHistogram, MonoTime, Period, PeriodError, Schedule, Ticker, TickerError,
};

use super::cast::SLOTS;
use super::clip::Clip;
use super::stream::{FRAME_NS, StreamFigures};
use super::talk::Gate;
use crate::caller::Recorder;
use caller::Caller;

/// How long a thread may take to answer; it looks every 20 ms, unless the machine stands still.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// What a caller needs to begin.
#[derive(Debug)]
pub(super) struct CallerSetup {
    /// From 0, in the order in which they were added.
    pub(super) number: usize,
    /// RTP, both ways; RTCP of the other side is received here if it is multiplexed, and ignored.
    pub(super) socket: MediaSocket,
    /// Where it sends to.
    pub(super) remote: SocketAddr,
    /// The codec agreed on.
    pub(super) codec: Codec,
    /// Payload type that is sent.
    pub(super) payload_type: u8,
    /// Payload type of what it hears.
    pub(super) receive_payload_type: u8,
    /// What it says when it talks.
    pub(super) clip: Arc<Clip>,
    /// What it sends when it does not.
    pub(super) background: Arc<Clip>,
    /// When it talks.
    pub(super) gate: Gate,
    /// The clip's frame that is said in frame 0.
    pub(super) offset: u64,
    /// Its place in the packet time.
    pub(super) slot: u64,
    /// Random numbers for SSRC, first sequence number and first timestamp.
    pub(super) random: [u8; 10],
    /// So many of the last seconds are kept for listening; 0 keeps nothing.
    pub(super) keep_seconds: u32,
}

/// The grid on which all callers of all threads send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beat(Schedule);

/// What all threads count while they run, for whoever watches.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Packets sent.
    pub(super) sent: AtomicU64,
    /// Packets received that were RTP.
    pub(super) received: AtomicU64,
    /// Datagrams received that were none: RTCP and others.
    pub(super) other: AtomicU64,
    /// How far packets came from when they were due, ns.
    pub(super) deviation: LatencyHistogram,
    /// How long after its time a packet was sent, ns.
    pub(super) lateness: LatencyHistogram,
    /// Packets that the kernel did not take.
    pub(super) unsent: AtomicU64,
    /// Frames too late to be sent.
    pub(super) skipped: AtomicU64,
}

/// What one thread found in a window.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// By caller.
    pub(super) streams: Vec<(usize, StreamFigures)>,
    /// What callers that listen heard, and the codec it is in.
    pub(super) recordings: Vec<(usize, Recorder)>,
    /// Silences that the sender marked.
    pub(super) pauses: Vec<Pause>,
    /// Packets dropped by the kernel because nobody read them in time.
    pub(super) receive_drops: u64,
}

/// A silence that the sender marked as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    /// Who heard it.
    pub(super) caller: usize,
    /// When the packet before came, ns.
    pub(super) from_ns: u64,
    /// When the next one came, ns.
    pub(super) to_ns: u64,
}

/// Why media cannot be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GeneratorError {
    /// No timer, or it cannot be waited for.
    #[error(transparent)]
    Timer(#[from] TickerError),
    /// The packet time is no period.
    #[error(transparent)]
    Period(#[from] PeriodError),
    /// No thread: raise the limit.
    #[error("cannot start a generator thread: {0}; raise the limit of threads (ulimit -u)")]
    Thread(#[source] io::Error),
    /// A thread ended before its time, or does not answer.
    #[error("a generator thread has ended early or does not answer")]
    Ended,
}

/// How threads are started.
#[derive(Debug, Clone)]
pub(super) struct Threads {
    /// How many, at least 1.
    pub(super) count: usize,
    /// The CPUs they are pinned to in turn; none leaves it to the kernel.
    pub(super) cpus: Vec<usize>,
    /// SCHED_FIFO priority asked for.
    pub(super) priority: Option<u8>,
}

/// All threads. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Generator {
    beat: Beat,
    meter: Arc<Meter>,
    threads: Vec<Running>,
    /// Why real-time priority was not granted.
    refused: Option<String>,
}

#[derive(Debug)]
struct Running {
    commands: Sender<Command>,
    thread: JoinHandle<Result<(), TickerError>>,
    tid: i32,
}

/// What a thread is told.
enum Command {
    Add(Box<Caller>),
    Open,
    Close(Sender<Findings>),
}

impl Beat {
    /// From now on.
    ///
    /// # Errors
    /// None in practice: the slot is a millisecond.
    fn from_now() -> Result<Self, PeriodError> {
        let period = Period::from_duration(Duration::from_nanos(FRAME_NS / SLOTS))?;
        Ok(Self(Schedule::new(MonoTime::now(), period)))
    }

    /// When a caller in `slot` sends its frame number `frame`, ns.
    pub(super) fn sent_ns(&self, frame: u64, slot: u64) -> u64 {
        self.0.deadline(frame * SLOTS + slot).as_nanos()
    }

    /// The last frame that a caller in `slot` has sent at this moment, or 0.
    pub(super) fn frame_at(&self, moment_ns: u64, slot: u64) -> u64 {
        let number = self.0.number_at(MonoTime::from_nanos(moment_ns));
        number.saturating_sub(slot) / SLOTS
    }
}

impl Generator {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`GeneratorError`].
    pub(super) fn start(threads: &Threads) -> Result<Self, GeneratorError> {
        let beat = Beat::from_now()?;
        let mut generator = Self {
            beat,
            meter: Arc::new(Meter::default()),
            threads: Vec::new(),
            refused: None,
        };
        for number in 0..threads.count.max(1) {
            let cpu = (!threads.cpus.is_empty()).then(|| threads.cpus[number % threads.cpus.len()]);
            generator.start_one(number, cpu, threads.priority)?;
        }
        Ok(generator)
    }

    /// The caller begins to send and to listen.
    ///
    /// # Errors
    /// [`GeneratorError::Ended`].
    pub(super) fn add(&self, setup: CallerSetup) -> Result<(), GeneratorError> {
        let thread = &self.threads[setup.number % self.threads.len()];
        let caller = Box::new(Caller::new(setup));
        thread
            .commands
            .send(Command::Add(caller))
            .map_err(|_| GeneratorError::Ended)
    }

    /// All streams begin to be counted anew.
    ///
    /// # Errors
    /// [`GeneratorError::Ended`].
    pub(super) fn open(&self) -> Result<(), GeneratorError> {
        for thread in &self.threads {
            let sent = thread.commands.send(Command::Open);
            sent.map_err(|_| GeneratorError::Ended)?;
        }
        Ok(())
    }

    /// What came since [`open`](Self::open). Waits for the threads, usually some milliseconds.
    ///
    /// # Errors
    /// [`GeneratorError::Ended`].
    pub(super) fn close(&self) -> Result<Findings, GeneratorError> {
        let (reply, answers) = mpsc::channel();
        for thread in &self.threads {
            let sent = thread.commands.send(Command::Close(reply.clone()));
            sent.map_err(|_| GeneratorError::Ended)?;
        }
        drop(reply);
        let mut all = Findings::default();
        for _ in &self.threads {
            let findings = answers
                .recv_timeout(ANSWER_LIMIT)
                .map_err(|_| GeneratorError::Ended)?;
            all.streams.extend(findings.streams);
            all.recordings.extend(findings.recordings);
            all.pauses.extend(findings.pauses);
            all.receive_drops += findings.receive_drops;
        }
        all.streams.sort_by_key(|(caller, _)| *caller);
        Ok(all)
    }

    /// What is counted while it runs.
    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// When everybody sends.
    pub(super) fn beat(&self) -> Beat {
        self.beat
    }

    /// The kernel's numbers of the threads.
    pub(super) fn tids(&self) -> Vec<i32> {
        self.threads.iter().map(|thread| thread.tid).collect()
    }

    /// Why real-time priority was refused, and what helps; `None` if it was granted or not asked for.
    pub(super) fn realtime_refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Ends the threads and closes the callers' sockets. Waits for them, some milliseconds.
    ///
    /// # Errors
    /// What ended a thread before.
    pub(super) fn finish(self) -> Result<(), GeneratorError> {
        for running in self.threads {
            drop(running.commands);
            match running.thread.join() {
                Ok(ended) => ended?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    }

    fn start_one(
        &mut self,
        number: usize,
        cpu: Option<usize>,
        priority: Option<u8>,
    ) -> Result<(), GeneratorError> {
        let ticker = Ticker::new(self.beat.0)?;
        let (commands, inbox) = mpsc::channel();
        let (ready, begun) = mpsc::channel();
        let meter = self.meter();
        let thread = std::thread::Builder::new()
            .name(format!("unisono-load-{number}"))
            .spawn(move || thread::run(ticker, &inbox, meter, cpu, priority, &ready))
            .map_err(GeneratorError::Thread)?;
        let begun = begun.recv().map_err(|_| GeneratorError::Ended)?;
        self.refused = self.refused.take().or(begun.refused);
        self.threads.push(Running {
            commands,
            thread,
            tid: begun.tid,
        });
        Ok(())
    }
}

impl Meter {
    fn add(counter: &AtomicU64, count: u64) {
        if count > 0 {
            counter.fetch_add(count, Relaxed);
        }
    }
}
