//! One thread's time, turns and commands.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use unisono_rtp::net::{ClockOffset, MAX_DATAGRAM, RecvBuf, SendCounters};
use unisono_timer::{MonoTime, RealtimeRequest, Ticker, TickerError, Watchdog};

use super::{Caller, Command, Findings, Meter, Pause};
use crate::load::cast::SLOTS;
use crate::load::stream::Following;

/// Frames later than this are not sent any more, as from a phone whose sound card ran over.
const TOO_LATE: Duration = Duration::from_millis(200);

/// A thread that works for so long without sleeping is no real-time thread any more.
const RUNAWAY: Duration = Duration::from_secs(2);

/// Marked silences that are remembered in a window; more are held to be gaps.
const PAUSES: usize = 8192;

/// Reading both clocks takes 50 ns. If it took longer than this, the thread stood still between, and they are read again.
const QUICK: Duration = Duration::from_micros(2);
const CLOCK_READINGS: usize = 5;

/// Who the thread is, once it runs.
pub(super) struct Begun {
    pub(super) tid: i32,
    pub(super) refused: Option<String>,
}

/// The thread, until nobody has commands for it any more.
pub(super) fn run(
    ticker: Ticker,
    inbox: &Receiver<Command>,
    meter: Arc<Meter>,
    cpu: Option<usize>,
    priority: Option<u8>,
    ready: &Sender<Begun>,
) -> Result<(), TickerError> {
    let mut request = RealtimeRequest::new();
    if let Some(cpu) = cpu {
        request = request.pin_to(cpu);
    }
    if let Some(priority) = priority {
        request = request.fifo(priority);
    }
    // What is refused is told, and the thread works without.
    let grant = request.apply();
    let _watchdog = Watchdog::watch(RUNAWAY).ok();
    let begun = Begun {
        tid: nix::unistd::gettid().as_raw(),
        refused: grant.reason(),
    };
    // Whoever started it is gone if it does not listen, and then there are no commands either.
    let _ = ready.send(begun);
    Worker::new(meter).run(ticker, inbox)
}

struct Worker {
    meter: Arc<Meter>,
    /// Callers by their place in the packet time.
    slots: [Vec<Caller>; SLOTS as usize],
    packet: [u8; MAX_DATAGRAM],
    received: RecvBuf,
    sent: SendCounters,
    pauses: Vec<Pause>,
}

impl Worker {
    fn new(meter: Arc<Meter>) -> Self {
        Self {
            meter,
            slots: std::array::from_fn(|_| Vec::new()),
            packet: [0; MAX_DATAGRAM],
            received: RecvBuf::new(),
            sent: SendCounters::default(),
            pauses: Vec::with_capacity(PAUSES),
        }
    }

    fn run(mut self, mut ticker: Ticker, inbox: &Receiver<Command>) -> Result<(), TickerError> {
        let schedule = *ticker.schedule();
        let mut slot = ticker.next_number();
        loop {
            let tick = ticker.wait_for(slot)?;
            loop {
                match inbox.try_recv() {
                    Ok(command) => self.obey(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            let late = tick.woke.since(schedule.deadline(slot));
            self.serve(slot, schedule.deadline(slot), late <= TOO_LATE);
            slot = self.next(slot);
        }
    }

    /// The next slot in which there is somebody, or the last one within a packet time.
    fn next(&self, slot: u64) -> u64 {
        (slot + 1..slot + SLOTS)
            .find(|next| !self.slots[(next % SLOTS) as usize].is_empty())
            .unwrap_or(slot + SLOTS)
    }

    fn serve(&mut self, slot: u64, deadline: MonoTime, in_time: bool) {
        let callers = &mut self.slots[(slot % SLOTS) as usize];
        if callers.is_empty() {
            return;
        }
        let frame = slot / SLOTS;
        let meter = &*self.meter;
        if in_time {
            let (mut sent, mut unsent) = (0, 0);
            for caller in callers.iter_mut() {
                if caller.send(frame, &mut self.packet, &mut self.sent) {
                    sent += 1;
                } else {
                    unsent += 1;
                }
                // Seven of eight packets are as late as those around them; reading the clock costs as much as copying one.
                if sent % 8 == 1 {
                    let late = MonoTime::now().since(deadline);
                    meter.lateness.record(late.as_nanos() as u64);
                }
            }
            Meter::add(&meter.sent, sent);
            Meter::add(&meter.unsent, unsent);
        } else {
            Meter::add(&meter.skipped, callers.len() as u64);
        }
        let clock = steady_clock();
        let (mut received, mut other) = (0, 0);
        let pauses = &mut self.pauses;
        for caller in callers.iter_mut() {
            let mut pause = None;
            let turn = caller.receive(&mut self.received, clock, |following| match following {
                Following::Off(nanos) => meter.deviation.record(nanos),
                Following::Pause { from_ns, to_ns } => pause = Some((from_ns, to_ns)),
                Following::Nothing => {}
            });
            if let Some((from_ns, to_ns)) = pause
                && pauses.len() < PAUSES
            {
                pauses.push(caller.pause(from_ns, to_ns));
            }
            received += turn.received;
            other += turn.other;
        }
        Meter::add(&meter.received, received);
        Meter::add(&meter.other, other);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(caller) => self.slots[(caller.slot % SLOTS) as usize].push(*caller),
            Command::Open => {
                let now_ns = MonoTime::now().as_nanos();
                self.pauses.clear();
                let callers = self.slots.iter_mut().flatten();
                callers.for_each(|caller| caller.open(now_ns));
            }
            Command::Close(reply) => {
                let now_ns = MonoTime::now().as_nanos();
                let mut findings = Findings {
                    pauses: self.pauses.clone(),
                    ..Findings::default()
                };
                for caller in self.slots.iter_mut().flatten() {
                    findings.streams.push(caller.figures(now_ns));
                    findings.receive_drops += caller.dropped();
                    findings.recordings.extend(caller.take_recorder());
                }
                // Whoever asked and is gone needs no answer.
                let _ = reply.send(findings);
            }
        }
    }
}

/// How the clocks stand to one another, not read across a moment in which this thread stood still: that would move all arrivals.
fn steady_clock() -> ClockOffset {
    let mut clock = ClockOffset::measure();
    for _ in 0..CLOCK_READINGS {
        let before = MonoTime::now();
        clock = ClockOffset::measure();
        if MonoTime::now().since(before) < QUICK {
            break;
        }
    }
    clock
}

impl Meter {
    /// Packets sent and received so far.
    pub(in crate::load) fn packets(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.received.load(Relaxed))
    }
}
