//! One worker: a real-time thread with a ticker, the sockets of its legs, and a [`MediaPlane`].
//!
//! Between two sleeps it does, in this order: commands, datagrams, the phases that are due, reports to the control
//! plane. Datagrams of those who send in every interval are taken with their phase. It never waits for anybody but its ticker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use nix::sys::eventfd::EventFd;
use rtrb::{Consumer, Producer};
use unisono_rtp::net::{ClockOffset, Poller, RECV_BATCH, RecvBatch, RecvBuf, SendCounters};
use unisono_timer::MonoTime;
use unisono_timer::TickStats;
use unisono_timer::{Period, Schedule};
use unisono_timer::{Ticker, TickerError};

use super::Outlet;
use super::command::Command;
use super::event::{Event, Garbage};
use super::leg::PROMPTS;
use super::meter::{WorkerMeter, bump};
use super::outbox::Outbox;
use super::overload::{Gauge, Moment, Thresholds};
use super::phase::{PHASES, PhaseClock, SLOT};
use super::plane::{Applied, MediaPlane, TickTime};
use super::regulars::Regulars;
use super::shared::SharedPort;
use super::sockets::{Channel, LegSockets, from_token, token};
use super::sources::Found;

/// Sockets that are told of at once.
pub(crate) const TOKENS: usize = 256;

/// Commands applied in one go, so that a flood of them cannot hold up a tick.
const COMMANDS_PER_WAKE: usize = 128;

/// Rounds over the sockets that epoll watches in one go. In each round every socket gives one datagram, so that a flooded one takes
/// no more than this many from a wake-up. A leg that is visited is given as many in a visit.
const RECEIVE_ROUNDS: usize = 8;

/// Datagrams that are taken in a visit only to be refused: strangers are not to crowd out the leg's own peer.
const REFUSED_PER_LEG: usize = RECEIVE_ROUNDS * PHASES;

/// Datagrams taken in one go for each leg on average: after a stall of three intervals there are as many. What is beyond waits
/// for the next time, so that a flood on all ports cannot hold up a tick.
const DATAGRAMS_PER_LEG: usize = 4;

/// Memory that waits for its way back when the ring is full.
const GARBAGE_HELD: usize = 256;

/// What one command can leave behind: all prompts of a leg and a little more.
const GARBAGE_PER_COMMAND: usize = PROMPTS + 8;

/// The worker's ends of the rings, and what it shares with the control plane.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) commands: Consumer<Command>,
    pub(crate) events: Producer<Event>,
    pub(crate) garbage: Producer<Garbage>,
    /// Wakes this worker when it has no work and so no ticks.
    pub(crate) wake: Arc<EventFd>,
    /// Tells the control plane that there is something in the rings.
    pub(crate) notify: Arc<EventFd>,
    /// True while the worker sleeps without a timer.
    pub(crate) idle: Arc<AtomicBool>,
    pub(crate) meter: Arc<WorkerMeter>,
    pub(crate) ticks: Arc<TickStats>,
    /// For the legs without sockets of their own.
    pub(crate) shared: Option<SharedPort>,
    pub(crate) thresholds: Arc<Thresholds>,
}

/// Everything a worker needs; made by the control plane, moved into the thread.
#[derive(Debug)]
pub(crate) struct Worker {
    commands: Consumer<Command>,
    idle: Arc<AtomicBool>,
    wake: Arc<EventFd>,
    meter: Arc<WorkerMeter>,
    ticks: Arc<TickStats>,
    plane: MediaPlane,
    outbox: Outbox,
    poller: Poller,
    tokens: Vec<u64>,
    regulars: Regulars,
    received: RecvBuf,
    /// Present with a shared port.
    received_shared: Option<RecvBatch>,
    /// Whose the datagrams of the batch are, those that are of any use.
    owners: [Option<Found>; RECV_BATCH],
    clock: PhaseClock,
    ticker: Ticker,
    schedule: Schedule,
    gauge: Gauge,
}

/// A datagram that was taken from a socket.
#[derive(Debug, Clone, Copy)]
struct Came {
    arrival_ns: u64,
    /// It was the leg's, and not refused.
    was_taken: bool,
}

impl Worker {
    /// Slots are counted from `origin`, which is the same for all workers but for less than a slot.
    pub(crate) fn new(
        links: Links,
        poller: Poller,
        legs: usize,
        rooms: usize,
        origin: MonoTime,
    ) -> Result<Self, TickerError> {
        let schedule = Schedule::new(
            origin,
            Period::from_duration(SLOT).expect("a slot is not of zero length"),
        );
        Ok(Self {
            commands: links.commands,
            idle: links.idle,
            wake: links.wake,
            ticks: links.ticks,
            plane: MediaPlane::new(legs, rooms),
            owners: [None; RECV_BATCH],
            received_shared: links.shared.as_ref().map(|_| RecvBatch::new()),
            outbox: Outbox {
                sockets: (0..legs).map(|_| None).collect(),
                shared: links.shared,
                events: links.events,
                garbage: links.garbage,
                held: Vec::with_capacity(GARBAGE_HELD),
                notify: links.notify,
                has_news: false,
                sent: SendCounters::default(),
                meter: Arc::clone(&links.meter),
            },
            meter: links.meter,
            poller,
            tokens: vec![0; TOKENS],
            regulars: Regulars::new(legs),
            received: RecvBuf::new(),
            clock: PhaseClock::default(),
            ticker: Ticker::new(schedule)?,
            schedule,
            gauge: Gauge::new(links.thresholds),
        })
    }

    /// Works until told to end, or until the ticker fails, which only a seccomp filter can bring about.
    pub(crate) fn run(mut self) -> Result<(), TickerError> {
        loop {
            match self.clock.next_slot() {
                None => {
                    if self.idle()? {
                        return Ok(());
                    }
                }
                Some(slot) => {
                    let tick = self.ticker.wait_for(slot.max(self.ticker.next_number()))?;
                    self.ticks.record(&tick);
                    let due = self.schedule.deadline(tick.number);
                    if self.work(tick.number + tick.missed, due) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Sleeps until there is a command. True when the worker is to end.
    fn idle(&mut self) -> Result<bool, TickerError> {
        self.plane.set_level(self.gauge.rest(&self.meter));
        self.idle.store(true, Ordering::SeqCst);
        // A command that came before the flag was up finds nobody to wake: so look once more, and not before the
        // flag can be seen.
        fence(Ordering::SeqCst);
        if self.commands.is_empty() && self.outbox.held.is_empty() {
            self.ticker.idle_until(&*self.wake)?;
        } else if !self.has_room_for_garbage() {
            // The control plane is behind; not even a worker without legs may wait for it in a busy loop.
            self.ticker.wait()?;
        }
        self.idle.store(false, Ordering::SeqCst);
        let _ = self.wake.read();
        let offset = ClockOffset::measure();
        let now = MonoTime::from_nanos(offset.now_ns());
        let ends = self.apply_commands(time(offset), self.schedule.number_at(now));
        self.publish();
        Ok(ends)
    }

    /// Everything that a wake-up at `slot`, which was due then, brings. True when the worker is to end.
    fn work(&mut self, slot: u64, due: MonoTime) -> bool {
        let offset = ClockOffset::measure();
        let time = time(offset);
        let began = Moment::new(due.as_nanos(), time.now_ns);
        if self.apply_commands(time, slot) {
            return true;
        }
        self.receive(offset);
        self.receive_shared(offset);
        for phase in 0..PHASES {
            if let Some(due) = self.clock.take(phase, slot) {
                self.visit(phase);
                self.plane
                    .tick(phase, due, time, &self.meter, &mut self.outbox);
                self.outbox.flush();
            }
        }
        self.publish();
        let finished = MonoTime::now();
        let busy_ns = finished.as_nanos().saturating_sub(time.now_ns);
        bump(&self.meter.busy_ns, busy_ns);
        if self.schedule.number_at(finished) > slot {
            bump(&self.meter.overruns, 1);
        }
        let level = self.gauge.worked(began, finished.as_nanos(), &self.meter);
        self.plane.set_level(level);
        false
    }

    fn apply_commands(&mut self, time: TickTime, slot: u64) -> bool {
        for _ in 0..COMMANDS_PER_WAKE {
            if !self.has_room_for_garbage() {
                break;
            }
            let Ok(command) = self.commands.pop() else {
                break;
            };
            let new_remote = match &command {
                Command::Update { leg, update } => Some((leg.index, update.media.remote)),
                _ => None,
            };
            match self.plane.apply(command, time, &mut self.outbox) {
                Applied::Done => {
                    if let Some((leg, remote)) = new_remote {
                        self.outbox.readdress(leg, remote);
                    }
                }
                Applied::Opened { leg, sockets } => {
                    if let Some(LegSockets::Own(_)) = sockets {
                        self.regulars.admit(leg);
                    }
                    self.outbox.admit(leg, sockets);
                }
                Applied::MovedOut { leg, sockets } => {
                    // What it still says under the old address goes out before.
                    self.outbox.flush();
                    self.outbox.dismiss(leg);
                    self.regulars.admit(leg);
                    self.outbox.sockets[leg as usize] = Some(sockets);
                }
                Applied::Closed(leg) => {
                    self.regulars.dismiss(leg.id.index);
                    let sockets = self.outbox.dismiss(leg.id.index);
                    self.outbox.discard(Garbage::Leg(leg, sockets));
                }
                Applied::Shutdown => {
                    self.outbox.flush();
                    return true;
                }
            }
        }
        for phase in 0..PHASES {
            if self.plane.is_busy(phase) {
                self.clock.start(phase, slot);
            } else {
                self.clock.stop(phase);
            }
        }
        false
    }

    /// Whether all that a command may leave behind finds a place; without one the command waits.
    fn has_room_for_garbage(&self) -> bool {
        self.outbox.garbage.slots() >= GARBAGE_PER_COMMAND && self.outbox.held.is_empty()
    }

    /// Takes what arrived for those legs of a phase that send regularly.
    fn visit(&mut self, phase: usize) {
        let offset = ClockOffset::measure();
        let count = self.regulars.begin_round(self.plane.served(phase));
        let mut budget = TOKENS + DATAGRAMS_PER_LEG * count;
        for place in 0..count {
            let ahead = |steps| self.regulars.visited(place + steps);
            self.plane.fetch_for_datagrams([1, 2, 3].map(ahead));
            if let Some(leg) = self.regulars.visited(place) {
                // However flooded the others are, each is visited.
                let most = budget.clamp(1, REFUSED_PER_LEG);
                budget = budget.saturating_sub(self.visit_one(leg, most, offset));
            }
        }
    }

    /// Takes a datagram of a leg, or up to `most` where there must be more; how many.
    fn visit_one(&mut self, leg: u32, most: usize, offset: ClockOffset) -> usize {
        let (mut found, mut taken) = (0, 0);
        while found < most && taken < RECEIVE_ROUNDS {
            let Some(came) = self.receive_one(leg, Channel::Rtp, offset) else {
                if found == 0
                    && self.regulars.found_nothing(leg)
                    && let Some(socket) = self.outbox.socket(leg, Channel::Rtp)
                    && self.poller.rearm(socket, token(leg, Channel::Rtp)).is_err()
                {
                    // Nobody would tell of it: it goes on being visited.
                    self.regulars.admit(leg);
                }
                break;
            };
            found += 1;
            taken += usize::from(came.was_taken);
            let waited_ns = offset.now_ns().saturating_sub(came.arrival_ns);
            let wants_more = !came.was_taken || self.plane.lacks_frame(leg);
            if !self.regulars.found(leg, waited_ns, wants_more) {
                break;
            }
        }
        found
    }

    /// Takes what arrived on the sockets that epoll watches.
    fn receive(&mut self, offset: ClockOffset) {
        let mut budget = TOKENS + DATAGRAMS_PER_LEG * self.plane.leg_count() as usize;
        let mut rounds = RECEIVE_ROUNDS;
        while rounds > 0 && budget > 0 {
            let Ok(count @ 1..) = self.poller.ready(&mut self.tokens) else {
                return;
            };
            for index in 0..count {
                let (leg, channel) = from_token(self.tokens[index]);
                if channel == Channel::Rtp && self.outbox.socket(leg, channel).is_some() {
                    // Epoll tells of it once.
                    self.regulars.admit(leg);
                }
                let _ = self.receive_one(leg, channel, offset);
            }
            budget = budget.saturating_sub(count);
            // A full answer means that there may be more sockets; the kernel lets them take turns.
            if count < self.tokens.len() {
                rounds -= 1;
            }
        }
    }

    /// Takes what arrived on the shared port.
    fn receive_shared(&mut self, offset: ClockOffset) {
        let most = TOKENS + DATAGRAMS_PER_LEG * self.plane.leg_count() as usize;
        for channel in [Channel::Rtp, Channel::Rtcp] {
            let mut budget = most;
            while let (Some(shared), Some(batch), 1..) =
                (&mut self.outbox.shared, &mut self.received_shared, budget)
            {
                let count = shared.fill(channel, batch, offset);
                bump(&self.meter.datagrams_in, count as u64);
                for index in 0..count {
                    if let Some(source) = batch.source(index) {
                        shared.sources.fetch(source, channel);
                    }
                }
                for index in 0..count {
                    self.owners[index] = owner_of(shared, channel, batch, index);
                }
                self.receive_batch(channel, count);
                if count < RECV_BATCH {
                    break;
                }
                budget = budget.saturating_sub(count);
            }
        }
    }

    /// Takes a batch from the shared port, of which it is known already whose each datagram is.
    fn receive_batch(&mut self, channel: Channel, count: usize) {
        let mut has_learnt = false;
        for index in 0..count {
            let ahead = |steps: usize| match self.owners[..count].get(index + steps) {
                Some(Some(Found::Leg { leg, .. })) => Some(*leg),
                _ => None,
            };
            self.plane.fetch_for_datagrams([2, 4, 6].map(ahead));
            if has_learnt
                && self.owners[index].is_some()
                && let (Some(shared), Some(batch)) =
                    (&mut self.outbox.shared, &mut self.received_shared)
            {
                // Where a peer is may say where others are not.
                self.owners[index] = owner_of(shared, channel, batch, index);
            }
            has_learnt |= self.receive_one_shared(channel, index);
        }
    }

    /// True if it was learnt from it where a peer is.
    fn receive_one_shared(&mut self, channel: Channel, index: usize) -> bool {
        let (leg, is_new) = match self.owners[index] {
            Some(Found::Leg { leg, is_new }) => (leg, is_new),
            Some(Found::Nobody) => {
                bump(&self.meter.strangers, 1);
                return false;
            }
            None => return false,
        };
        let Some((received, datagram)) = self
            .received_shared
            .as_mut()
            .and_then(|batch| batch.get(index))
        else {
            return false;
        };
        // What is refused has been counted.
        let _ = self.plane.receive(
            (leg, channel),
            datagram,
            received.source,
            received.arrival_ns,
            &self.meter,
            &mut self.outbox,
        );
        if is_new
            && self.plane.source_of(leg) == Some(canonical(received.source))
            && let Some(shared) = &mut self.outbox.shared
        {
            shared.sources.learn(leg, received.source);
            return true;
        }
        false
    }

    /// Takes a datagram from a leg's own socket, if there is one.
    fn receive_one(&mut self, leg: u32, channel: Channel, offset: ClockOffset) -> Option<Came> {
        let socket = self.outbox.socket(leg, channel)?;
        let received = socket.recv(&mut self.received, offset).ok()??;
        bump(&self.meter.datagrams_in, 1);
        let datagram = self.received.datagram(&received);
        let taken = self.plane.receive(
            (leg, channel),
            datagram,
            received.source,
            received.arrival_ns,
            &self.meter,
            &mut self.outbox,
        );
        Some(Came {
            arrival_ns: received.arrival_ns,
            was_taken: taken.is_ok(),
        })
    }

    /// Lets the control plane know.
    fn publish(&mut self) {
        let (meter, outbox) = (&self.meter, &mut self.outbox);
        outbox.flush();
        outbox.hand_over();
        meter.legs.store(self.plane.leg_count(), Ordering::Relaxed);
        meter
            .busy_rooms
            .store(self.plane.busy_rooms(), Ordering::Relaxed);
        meter.dozing.store(self.plane.dozing(), Ordering::Relaxed);
        meter
            .datagrams_out
            .store(outbox.sent.sent, Ordering::Relaxed);
        meter
            .send_failures
            .store(outbox.sent.failed(), Ordering::Relaxed);
        if let Some(shared) = &outbox.shared {
            meter
                .shared_overflows
                .store(shared.overflows(), Ordering::Relaxed);
        }
    }
}

/// Whose a datagram of a batch is, if it is of any use.
fn owner_of(
    shared: &mut SharedPort,
    channel: Channel,
    batch: &RecvBatch,
    index: usize,
) -> Option<Found> {
    let (received, _) = batch.get(index)?;
    Some(shared.owner(channel, &received))
}

/// As the latch has it: an IPv4 address is the same when it comes through an IPv6 socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn time(offset: ClockOffset) -> TickTime {
    let unix = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    TickTime {
        now_ns: offset.now_ns(),
        unix_ns: unix.as_nanos() as u64,
    }
}
