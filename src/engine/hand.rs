//! The control plane's hand on one worker: its thread, the ends of its rings, and which of its places are free.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use unisono_rtp::net::{MediaPorts, Poller, Watcher};
use unisono_timer::{
    MonoTime, RealtimeGrant, RealtimeRequest, TickStats, TickerError, Watchdog, WatchdogStatus,
};

use super::command::Command;
use super::event::{Event, Garbage};
use super::meter::WorkerMeter;
use super::overload::Thresholds;
use super::phase::PHASES;
use super::registry::{EngineConfig, EngineError};
use super::shared::SharedPort;
use super::span::seating::stagger;
use super::worker::{Links, TOKENS, Worker};

/// Commands, and events, that may be on their way to or from a worker.
const RING: usize = 4096;

/// A worker that uses so much processor time without sleeping loses its real-time priority, so that a fault of ours
/// cannot freeze the machine.
const RUNAWAY: Duration = Duration::from_secs(2);

/// How often, and at most how many times, a worker that was told to end is looked at.
const SHUTDOWN_STEP: Duration = Duration::from_millis(2);
const SHUTDOWN_STEPS: usize = 1500;

/// The control plane's hand on one worker.
#[derive(Debug)]
pub(super) struct Hand {
    commands: Producer<Command>,
    /// Commands that found the ring full, in order.
    backlog: VecDeque<Command>,
    pub(super) events: Consumer<Event>,
    pub(super) garbage: Consumer<Garbage>,
    wake: Arc<EventFd>,
    idle: Arc<AtomicBool>,
    pub(super) poller: Watcher,
    pub(super) meter: Arc<WorkerMeter>,
    pub(super) thresholds: Arc<Thresholds>,
    pub(super) ticks: Arc<TickStats>,
    pub(super) grant: RealtimeGrant,
    /// Absent where the system refused one.
    pub(super) watchdog: Option<WatchdogStatus>,
    pub(super) thread: Option<JoinHandle<Result<(), TickerError>>>,
    pub(super) free_legs: Vec<u32>,
    pub(super) free_rooms: Vec<u32>,
    /// Legs in each phase.
    pub(super) load: [usize; PHASES],
}

impl Hand {
    pub(super) fn start(
        number: usize,
        config: &EngineConfig,
        notify: &Arc<EventFd>,
        shared: Option<MediaPorts>,
        origin: MonoTime,
    ) -> Result<Self, EngineError> {
        let (commands, worker_commands) = RingBuffer::new(RING);
        let (worker_events, events) = RingBuffer::new(RING);
        // Every leg, conference and command may have left something behind before this side looks.
        let (worker_garbage, garbage) = RingBuffer::new(RING + config.legs + config.rooms);
        let wake = Arc::new(eventfd()?);
        let idle = Arc::new(AtomicBool::new(false));
        let meter = Arc::new(WorkerMeter::default());
        let ticks = Arc::new(TickStats::new());
        let thresholds = Arc::new(Thresholds::default());
        let worker_poller = Poller::new(TOKENS)?;
        let poller = worker_poller.watcher();
        let links = Links {
            commands: worker_commands,
            events: worker_events,
            garbage: worker_garbage,
            wake: Arc::clone(&wake),
            notify: Arc::clone(notify),
            idle: Arc::clone(&idle),
            meter: Arc::clone(&meter),
            ticks: Arc::clone(&ticks),
            shared: shared.map(|ports| SharedPort::new(ports, config.legs)),
            thresholds: Arc::clone(&thresholds),
        };
        let origin = origin + stagger(number, config.workers);
        let worker = Worker::new(links, worker_poller, config.legs, config.rooms, origin)?;
        let request = realtime_request(number, config);
        let (report_start, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("unisono-media-{number}"))
            .spawn(move || {
                let grant = request.apply();
                let watchdog = Watchdog::watch(RUNAWAY).ok();
                let _ = report_start.send((grant, watchdog.as_ref().map(Watchdog::status)));
                worker.run()
            })?;
        let (grant, watchdog) = started
            .recv()
            .map_err(|_| io::Error::other("the worker's thread ended at its start"))?;
        Ok(Self {
            commands,
            backlog: VecDeque::new(),
            events,
            garbage,
            wake,
            idle,
            poller,
            meter,
            thresholds,
            ticks,
            grant,
            watchdog,
            thread: Some(thread),
            free_legs: (0..config.legs as u32).rev().collect(),
            free_rooms: (0..config.rooms as u32).rev().collect(),
            load: [0; PHASES],
        })
    }

    /// Sends a command, now or when the ring has room for it.
    pub(super) fn command(&mut self, command: Command) {
        self.backlog.push_back(command);
        self.flush();
    }

    /// Sends commands that found the ring full.
    pub(super) fn flush(&mut self) {
        let mut pushed = false;
        while let Some(command) = self.backlog.pop_front() {
            if let Err(PushError::Full(command)) = self.commands.push(command) {
                self.backlog.push_front(command);
                break;
            }
            pushed = true;
        }
        if pushed {
            self.rouse();
        }
    }

    /// Whether the worker's thread is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks the worker to end.
    pub(super) fn begin_shutdown(&mut self) {
        self.backlog.clear();
        self.command(Command::Shutdown);
    }

    /// Waits for the worker's end, and takes back what it gave back. One that does not end is left alone.
    pub(super) fn finish_shutdown(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        for _ in 0..SHUTDOWN_STEPS {
            if thread.is_finished() {
                let _ = thread.join();
                return;
            }
            while self.garbage.pop().is_ok() {}
            self.flush();
            std::thread::sleep(SHUTDOWN_STEP);
        }
    }

    /// Wakes the worker if it sleeps without a timer; otherwise it looks by itself at the next tick.
    fn rouse(&self) {
        fence(Ordering::SeqCst);
        if self.idle.load(Ordering::SeqCst) {
            let _ = self.wake.write(1);
        }
    }
}

pub(super) fn eventfd() -> io::Result<EventFd> {
    Ok(EventFd::from_flags(
        EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
    )?)
}

/// What the thread of worker number `worker` asks the system for.
pub(crate) fn realtime_request(worker: usize, config: &EngineConfig) -> RealtimeRequest {
    let mut request = RealtimeRequest::new();
    if let Some(priority) = config.priority {
        request = request
            .fifo(priority)
            .lock_memory()
            .prefault_stack(64 * 1024);
    }
    if !config.cpus.is_empty() {
        request = request.pin_to(config.cpus[worker % config.cpus.len()]);
    }
    request
}
