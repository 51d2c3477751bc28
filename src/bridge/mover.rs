//! The real-time thread of the links: every 20 ms a frame each way between rings and lines.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use rtsan_standalone::nonblocking;
use unisono_dahdi::exchange::{Lines, STEP};
use unisono_dahdi_trunk::TrunkLines;
use unisono_timer::{
    LatePolicy, MonoTime, Period, RealtimeGrant, RealtimeRequest, Schedule, TickStats, Ticker,
    TickerError, Watchdog,
};

use super::BridgeError;
use crate::engine::{MAX_CATCH_UP, RingEnd};

/// The interval. The grid begins at zero of CLOCK_MONOTONIC, as for all exchanges: tick n is sample time n * [`STEP`].
const INTERVAL: Duration = Duration::from_millis(20);

/// Orders that may be on their way; more of them wait with the other thread.
const ORDERS: usize = 64;

/// It uses so much processor time without sleeping only by a fault of ours, and then loses its real-time priority.
const RUNAWAY: Duration = Duration::from_secs(2);

/// What the thread is told. All in it was allocated, and is freed, elsewhere.
#[derive(Debug)]
enum Order {
    /// Moves frames between this conference and this ring.
    Connect(usize, i32, RingEnd),
    Disconnect(usize),
    /// Goes on with another trunk's lines.
    Lines(Box<TrunkLines>),
    Stop,
}

/// What the thread no longer needs, to be freed by whoever takes it.
#[derive(Debug)]
enum Returned {
    Ring(#[expect(dead_code, reason = "held only to be freed outside the tick")] RingEnd),
    Lines(#[expect(dead_code, reason = "held only to be freed outside the tick")] Box<TrunkLines>),
}

/// Steps of the links, counted.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) moved: AtomicU64,
    pub(super) caught_up: AtomicU64,
    pub(super) skipped: AtomicU64,
}

/// The ordinary thread's hand on the real-time one.
#[derive(Debug)]
pub(super) struct Mover {
    orders: Producer<Order>,
    /// Orders that found the ring full.
    backlog: std::collections::VecDeque<Order>,
    returned: Consumer<Returned>,
    wake: Arc<EventFd>,
    pub(super) grant: RealtimeGrant,
    pub(super) ticks: Arc<TickStats>,
    pub(super) steps: Arc<Steps>,
    thread: Option<JoinHandle<Result<(), TickerError>>>,
}

impl Mover {
    /// Starts the thread, which sleeps until the first link is connected.
    pub(super) fn start(
        links: usize,
        lines: TrunkLines,
        request: RealtimeRequest,
    ) -> Result<Self, BridgeError> {
        let (orders, inbox) = RingBuffer::new(ORDERS);
        let (outbox, returned) = RingBuffer::new(ORDERS);
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Arc::new(EventFd::from_flags(flags).map_err(io::Error::from)?);
        let ticks = Arc::new(TickStats::new());
        let steps = Arc::new(Steps::default());
        let period = Period::from_duration(INTERVAL).expect("an interval is not of zero length");
        let schedule = Schedule::new(MonoTime::from_nanos(0), period);
        let ticker = Ticker::new(schedule)?.with_late_policy(LatePolicy::Count {
            at_most: MAX_CATCH_UP as u32,
        });
        let works = Works {
            ticker,
            orders: inbox,
            returned: outbox,
            wake: Arc::clone(&wake),
            ticks: Arc::clone(&ticks),
            steps: Arc::clone(&steps),
            lines: Box::new(lines),
            patches: Patches::new(links),
        };
        let (report_start, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("unisono-links".into())
            .spawn(move || {
                let grant = request.apply();
                // The watchdog watches for as long as it exists.
                let _watchdog = Watchdog::watch(RUNAWAY).ok();
                let _ = report_start.send(grant);
                works.run()
            })?;
        let grant = started
            .recv()
            .map_err(|_| io::Error::other("it ended at its start"))?;
        Ok(Self {
            orders,
            backlog: std::collections::VecDeque::new(),
            returned,
            wake,
            grant,
            ticks,
            steps,
            thread: Some(thread),
        })
    }

    pub(super) fn connect(&mut self, link: usize, conference: i32, end: RingEnd) {
        self.order(Order::Connect(link, conference, end));
    }

    pub(super) fn disconnect(&mut self, link: usize) {
        self.order(Order::Disconnect(link));
    }

    pub(super) fn change_lines(&mut self, lines: TrunkLines) {
        self.order(Order::Lines(Box::new(lines)));
    }

    /// Lets the thread see who came and who is gone although no link is connected.
    pub(super) fn wake(&self) {
        // It is refused only while a wake-up is under way.
        let _ = self.wake.write(1);
    }

    /// Frees what came back, and sends what found no place. To be called once in a while.
    pub(super) fn tidy(&mut self) {
        while self.returned.pop().is_ok() {}
        let mut sent = false;
        while let Some(order) = self.backlog.pop_front() {
            if let Err(PushError::Full(order)) = self.orders.push(order) {
                self.backlog.push_front(order);
                break;
            }
            sent = true;
        }
        if sent {
            self.wake();
        }
    }

    /// Whether the thread is gone, which only a fault or a seccomp filter can bring about.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn order(&mut self, order: Order) {
        self.backlog.push_back(order);
        self.tidy();
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.order(Order::Stop);
        let Some(thread) = self.thread.take() else {
            return;
        };
        // A second is many times what it needs; one that does not end is left alone.
        for _ in 0..500 {
            if thread.is_finished() {
                let _ = thread.join();
                return;
            }
            self.tidy();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What the real-time thread has.
#[derive(Debug)]
struct Works {
    ticker: Ticker,
    orders: Consumer<Order>,
    returned: Producer<Returned>,
    wake: Arc<EventFd>,
    ticks: Arc<TickStats>,
    steps: Arc<Steps>,
    lines: Box<TrunkLines>,
    patches: Patches,
}

impl Works {
    fn run(mut self) -> Result<(), TickerError> {
        loop {
            // Orders are left where what is to be given back finds no place yet: rather a beat later than a busy loop.
            if self.patches.are_none() && self.orders.is_empty() {
                // Without a step nobody else would let go of those who are gone, and make room for those who come.
                let step = self.ticker.next_number().wrapping_mul(STEP as u64);
                self.lines.begin(step);
                self.ticker.idle_until(&*self.wake)?;
                let _ = self.wake.read();
                if self.take_orders() {
                    return Ok(());
                }
                continue;
            }
            let tick = self.ticker.wait()?;
            self.ticks.record(&tick);
            if self.take_orders() {
                return Ok(());
            }
            if tick.missed > 0 {
                self.patches.skip();
                self.steps.skipped.fetch_add(tick.missed, Relaxed);
            }
            if tick.lateness() >= INTERVAL {
                self.steps.caught_up.fetch_add(1, Relaxed);
            }
            self.steps.moved.fetch_add(1, Relaxed);
            self.patches
                .step(tick.number.wrapping_mul(STEP as u64), &mut *self.lines);
        }
    }

    /// Does what is ordered; true when that is to end.
    #[nonblocking]
    fn take_orders(&mut self) -> bool {
        // What an order leaves behind must find a place.
        while self.returned.slots() > 0 {
            let Ok(order) = self.orders.pop() else {
                break;
            };
            let left = match order {
                Order::Connect(link, conference, end) => {
                    let old = self.patches.connect(link, conference, end);
                    old.map(Returned::Ring)
                }
                Order::Disconnect(link) => self.patches.disconnect(link).map(Returned::Ring),
                Order::Lines(lines) => {
                    Some(Returned::Lines(std::mem::replace(&mut self.lines, lines)))
                }
                Order::Stop => return true,
            };
            if let Some(left) = left
                && let Err(PushError::Full(left)) = self.returned.push(left)
            {
                // There was a place, so this never happens; and if it did, rather a leak than a free here.
                std::mem::forget(left);
            }
        }
        false
    }
}

/// Which ring belongs to which DAHDI conference: the tick, without its clock.
#[derive(Debug)]
pub struct Patches {
    links: Box<[Option<Patch>]>,
    connected: usize,
}

#[derive(Debug)]
struct Patch {
    conference: i32,
    end: RingEnd,
}

impl Patches {
    /// No link of so many is connected.
    pub fn new(links: usize) -> Self {
        Self {
            links: (0..links).map(|_| None).collect(),
            connected: 0,
        }
    }

    /// Whether no link is connected.
    pub fn are_none(&self) -> bool {
        self.connected == 0
    }

    /// Connects a link; gives back the ring that it had, or one for a link that does not exist.
    pub fn connect(&mut self, link: usize, conference: i32, mut end: RingEnd) -> Option<RingEnd> {
        end.restart();
        let Some(place) = self.links.get_mut(link) else {
            return Some(end);
        };
        let old = place.replace(Patch { conference, end });
        self.connected += usize::from(old.is_none());
        old.map(|patch| patch.end)
    }

    /// Disconnects a link; gives back its ring.
    pub fn disconnect(&mut self, link: usize) -> Option<RingEnd> {
        let patch = self.links.get_mut(link)?.take()?;
        self.connected -= 1;
        Some(patch.end)
    }

    /// Steps passed in which nothing was moved.
    pub fn skip(&mut self) {
        for patch in self.links.iter_mut().flatten() {
            patch.end.skip();
        }
    }

    /// Moves a frame each way for the step that is due at sample time `step`.
    #[nonblocking]
    pub fn step(&mut self, step: u64, lines: &mut impl Lines) {
        lines.begin(step);
        for patch in self.links.iter_mut().flatten() {
            let mut frame = [0; STEP];
            // Silence is a frame too, so that the ring keeps its beat.
            if !lines.incoming(patch.conference, step, &mut frame) {
                frame = [0; STEP];
            }
            patch.end.send(&frame);
            if !patch.end.receive(&mut frame) {
                frame = [0; STEP];
            }
            lines.outgoing(patch.conference, step, &frame);
        }
    }
}

// A frame of a link is a step of an exchange.
const _: () = assert!(super::LINK_RATE.frame_len() == STEP);
