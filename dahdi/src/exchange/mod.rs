//! Pseudo channels, and the conferences between them.
//!
//! An [`Exchange`] is what DAHDI keeps once per machine, and here each process. Each open of `/dev/dahdi/pseudo` is a channel, whose program
//! reads and writes blocks of samples at 8000 Hz and puts it into conferences with `SETCONF`.
//!
//! # The grid
//!
//! Conferences are mixed in **steps of 20 ms**, at multiples of [`STEP`] samples. A step takes 160 samples of what each member
//! wrote, as a stream (what is missing is silence), and gives each 160 samples to read, so that a block of 160 is whole at the
//! step itself. A channel in no conference has no part in this: it receives silence and sends to nobody at exact sample times, so
//! that `dahdi_test` is given its 1024 samples exactly every 128 ms.
//!
//! # Sums
//!
//! 16-bit linear in, 32-bit sums, one limiter for each distinct mix, by `unisono-mixer`. Everybody who may talk is summed: no gate
//! but that of digital silence, no talk detection. Who hears "the others" hears the sum without exactly what it gave.
//!
//! # Deviations from DAHDI
//!
//! | DAHDI | here | why it does no harm |
//! |---|---|---|
//! | mixes every millisecond; a block is whole 20 ms after its first sample | mixes every 20 ms | talker to listener is 0 to 20 ms instead of 20, and a twentieth of the wake-ups |
//! | sums clip at 16 bits and are companded | 32 bits and a limiter | nothing clips; who is summed first does not matter |
//! | announcements are heard 1 ms late, and monitors of a conference hear the sum of 1 ms ago | all of the same step | nobody can tell but by the delay, which is less |
//! | a stream that begins after silence begins hard | fades in over 2.5 ms, after a gap or 20 minutes of zeros | no click |
//! | going into or out of a conference keeps the block begun | begins a new one | at most one block of silence is shorter; blocks stay in step with the grid |
//! | keeps what a fast writer queued, up to 640 ms, for ever | cuts it away, below | delay is bounded |
//! | `IOMUX` for nothing known waits for ever | `EINVAL` | no program hangs |
//! | monitoring a pseudo channel that monitors another one | may be 20 ms older | nobody does |
//! | `SET_BLOCKSIZE` with 32 buffers of 8192 samples takes a megabyte | `ENOMEM` above 32768 samples | nobody does |
//! | modes for real lines (echo cancelling, 3-way calls) | the same without what a line adds | a pseudo channel has no line |
//!
//! # Delay is bounded
//!
//! What stays in a channel's sending buffers at every step of a second is *standing*, needed by no jitter ([`ChannelStats`]).
//!
//! * [`TARGET`] (20 ms, one block) standing for 5 seconds: cut where the talker is below -50 dBov. If a shortage follows within 10
//!   seconds, the next time it must stand for twice as long, up to a minute.
//! * [`QUIET_BOUND`] (40 ms) standing for a second: 20 ms at a time are cut where the talker is below -50 dBov.
//! * [`HARD_BOUND`] (60 ms) standing for two seconds: all but [`TARGET`] (20 ms) is cut at once.
//!
//! So no backlog above 60 ms stands for 3 seconds. Cuts are cross-faded over 5 ms and counted. A program that waits for
//! room by a blocking write or `IOMUX` follows the clock by itself: of it nothing is cut until its buffers have run dry. (One that
//! waits by `poll` cannot be told from a live source, and is taken for one.)
//!
//! # Lines
//!
//! In DAHDI a conference is the machine's, here each process has an exchange of its own. [`Lines`] join the conferences of one to
//! those of others: [`Exchange::advance_with`] gives each conference that is shared one more member, which says what the
//! others' members say and hears what this one's members say.
//!
//! # Late ticks
//!
//! [`Exchange::advance`] mixes up to [`MAX_CATCH_UP`] missed steps at once. Beyond that the missed steps are skipped, once and
//! counted: what was written for them is dropped but for the last 20 ms, and nothing is replayed. Channels in no
//! conference behave as in DAHDI: the time has passed, and what found no buffer is lost.
//!
//! # Memory
//!
//! A channel takes about 13 KiB, and up to 128 KiB if a program asks for the largest buffers. `advance`, `read`, `write` and
//! `readiness` neither allocate nor free, and with [`Spares`] neither do `open`, `close` and requests; all bounds of their work are the number of channels and the largest buffers.

mod backlog;
mod channel;
mod conferences;
mod events;
mod law;
mod lines;
mod mode;
mod receive;
mod requests;
mod spares;
mod stats;
mod step;
mod transmit;

use unisono_mixer::Desk;

pub use backlog::{HARD_BOUND, QUIET_BOUND, TARGET};
pub use conferences::MAX_CONFERENCE;
pub use lines::{Lines, NoLines};
pub use spares::{Needs, Spares};
pub use stats::{ChannelStats, ExchangeStats};

use channel::Channel;
use conferences::Conferences;
use stats::Counters;

use crate::request::{ConfInfo, Errno};

/// Samples in a step of the grid: 20 ms.
pub const STEP: usize = 160;

/// Missed steps that are mixed late, all at once; when more were missed, they are skipped.
pub const MAX_CATCH_UP: u64 = 2;

/// Number of the first pseudo channel.
pub const FIRST_NUMBER: i32 = 0x8000;

/// How much an exchange serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pseudo channels open at a time. DAHDI's default is 512; at most 32,767 are served.
    pub channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { channels: 512 }
    }
}

/// The number of an open channel, as `CHANNO` answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelNumber(i32);

impl ChannelNumber {
    /// The number, [`FIRST_NUMBER`] or more.
    pub const fn get(self) -> i32 {
        self.0
    }

    fn slot(self) -> usize {
        (self.0 - FIRST_NUMBER) as usize
    }
}

/// What can be done with a channel without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// A whole block can be read: POLLIN.
    pub readable: bool,
    /// A block can be written: POLLOUT.
    pub writable: bool,
    /// An event waits: POLLPRI; reading and writing answer [`Errno::Elast`] until it is taken.
    pub urgent: bool,
    /// All that was written has been taken: what `SYNC` and `IOMUX` for an empty buffer wait for.
    pub drained: bool,
}

/// All pseudo channels and conferences of one process, or of a machine that has but one.
#[derive(Debug)]
pub struct Exchange {
    slots: Vec<Option<Box<Channel>>>,
    conferences: Conferences,
    desk: Desk,
    /// When the next step is due, if any channel takes part in steps.
    next_step: Option<u64>,
    /// Whether any channel hears another one.
    monitoring: bool,
    /// Room for [`Exchange::advance`]'s answer.
    changed: Vec<ChannelNumber>,
    stats: ExchangeStats,
}

/// Whoever ticks may be another thread than whoever opens.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Exchange>();
};

impl Exchange {
    /// An exchange without channels.
    pub fn new(limits: Limits) -> Self {
        let channels = limits.channels.min(0x7fff);
        Self {
            slots: (0..channels).map(|_| None).collect(),
            conferences: Conferences::new(channels),
            desk: Desk::new(),
            next_step: None,
            monitoring: false,
            changed: Vec::with_capacity(channels),
            stats: ExchangeStats::default(),
        }
    }

    /// Opens a channel with the lowest free number.
    ///
    /// It has two buffers of 1024 samples in each direction, µ-law, and is in no conference.
    ///
    /// # Errors
    ///
    /// [`Errno::Enomem`] when [`Limits::channels`] are open.
    pub fn open(&mut self, now: u64) -> Result<ChannelNumber, Errno> {
        self.open_with(&mut Spares::for_open(), now)
    }

    /// The same, without allocating: with [`Spares::for_open`].
    pub fn open_with(&mut self, spares: &mut Spares, now: u64) -> Result<ChannelNumber, Errno> {
        let slot = self
            .slots
            .iter()
            .position(Option::is_none)
            .ok_or(Errno::Enomem)?;
        let number = FIRST_NUMBER + slot as i32;
        let spare = spares.channel.take();
        let mut channel = spare.unwrap_or_else(|| Box::new(Channel::new(0, 0)));
        channel.begin(number, now);
        channel.reported = channel.readiness();
        self.slots[slot] = Some(channel);
        Ok(ChannelNumber(number))
    }

    /// Closes a channel: it leaves its conference, and who monitored it is in none from now on. Closing it again does nothing.
    pub fn close(&mut self, number: ChannelNumber, now: u64) {
        self.close_with(&mut Spares::default(), number, now);
    }

    /// The same, without freeing: what the channel was is left in `spares`.
    pub fn close_with(&mut self, spares: &mut Spares, number: ChannelNumber, now: u64) {
        let slot = number.slot();
        let Some(channel) = self.slots.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.leave(&channel, spares, now);
        for other in self.slots.iter_mut().flatten() {
            if other.conference == number.0 {
                other.pass_to(now);
                other.set_conference(0, 0);
            }
        }
        self.refresh_grid(now);
        spares.channel = Some(channel);
    }

    /// Reads at most one block at the time `now`, in samples, into `octets`; what does not fit is lost, as in DAHDI.
    /// Returns the octets read.
    ///
    /// # Errors
    ///
    /// [`Errno::Einval`] for no octets (of the length, 16 bits count), [`Errno::Elast`] while an event waits,
    /// [`Errno::Eagain`] while no block is whole: block, if that is wanted, until [`Readiness::readable`].
    /// [`Errno::Enodev`] for a closed channel.
    pub fn read(
        &mut self,
        number: ChannelNumber,
        octets: &mut [u8],
        now: u64,
    ) -> Result<usize, Errno> {
        self.with(number, now, |channel| channel.read(octets))
    }

    /// Writes at most one block; returns the octets taken, of which half a linear sample at the end is not heard.
    ///
    /// # Errors
    ///
    /// As of [`Exchange::read`]; [`Errno::Eagain`] while all buffers are full. Who then blocks calls
    /// [`Exchange::wait_for_room`] and waits for [`Readiness::writable`].
    pub fn write(
        &mut self,
        number: ChannelNumber,
        octets: &[u8],
        now: u64,
    ) -> Result<usize, Errno> {
        self.with(number, now, |channel| channel.write(octets))
    }

    /// Says that the program waits for room, so that it writes as fast as it is heard and is no source of delay.
    pub fn wait_for_room(&mut self, number: ChannelNumber) -> Result<(), Errno> {
        self.channel_mut(number)?.transmit.pace();
        Ok(())
    }

    /// Puts an event into a channel's queue, such as [`crate::request::event::REMOVED`]. Returns whether it was taken: 64 may
    /// wait.
    pub fn post_event(&mut self, number: ChannelNumber, event: i32) -> Result<bool, Errno> {
        let channel = self.channel_mut(number)?;
        let taken = channel.events.push(event);
        channel.reported = channel.readiness();
        Ok(taken)
    }

    /// Brings everything to the time `now`, samples, and returns the channels whose readiness changed by it.
    ///
    /// What a channel's own requests, reads and writes change is not told here: their caller asks
    /// [`Exchange::readiness`] afterwards. Time that goes backwards does nothing.
    pub fn advance(&mut self, now: u64) -> &[ChannelNumber] {
        self.advance_with(now, &mut NoLines)
    }

    /// The same, for conferences that reach other exchanges through `lines`.
    pub fn advance_with(&mut self, now: u64, lines: &mut impl Lines) -> &[ChannelNumber] {
        for channel in self.slots.iter_mut().flatten() {
            channel.pass_to(now);
        }
        self.steps_until(now, lines);
        self.changed.clear();
        for channel in self.slots.iter_mut().flatten() {
            let readiness = channel.readiness();
            if readiness != std::mem::replace(&mut channel.reported, readiness) {
                self.changed.push(ChannelNumber(channel.number));
            }
        }
        &self.changed
    }

    /// The earliest time, samples, at which any readiness may change by itself, when [`Exchange::advance`] is to be
    /// called. `None`: not before somebody reads, writes, opens or asks.
    pub fn next_deadline(&self) -> Option<u64> {
        self.channels_open()
            .filter_map(Channel::next_deadline)
            .chain(self.next_step)
            .min()
    }

    /// The same for what this channel does by itself, without steps: what its own reading and writing may bring forward.
    pub fn deadline_of(&self, number: ChannelNumber) -> Result<Option<u64>, Errno> {
        Ok(self.channel(number)?.next_deadline())
    }

    /// What can be done with a channel, as of the last time that was told.
    pub fn readiness(&self, number: ChannelNumber) -> Result<Readiness, Errno> {
        Ok(self.channel(number)?.readiness())
    }

    /// Figures of a channel.
    pub fn stats(&self, number: ChannelNumber) -> Result<ChannelStats, Errno> {
        Ok(self.channel(number)?.stats())
    }

    /// The conference and mode of a channel.
    pub fn conference(&self, number: ChannelNumber) -> Result<ConfInfo, Errno> {
        Ok(self.channel(number)?.conf_info())
    }

    /// Whether any channel of this exchange is in the conference.
    pub fn is_in_use(&self, conference: i32) -> bool {
        self.conferences.find(conference).is_some()
    }

    /// The conferences that any channel of this exchange is in, in no order, each with the number of its members here.
    pub fn conferences(&self) -> impl Iterator<Item = (i32, usize)> {
        let active = self.conferences.active.iter();
        active.map(|conference| (conference.number, conference.members.len()))
    }

    /// Figures of the exchange.
    pub fn exchange_stats(&self) -> ExchangeStats {
        self.stats
    }

    /// The open channel with this number, as requests to the control device name it.
    pub fn find(&self, number: i32) -> Option<ChannelNumber> {
        self.slot_of(number).map(|_| ChannelNumber(number))
    }

    /// All open channels, lowest number first.
    pub fn channels(&self) -> impl Iterator<Item = ChannelNumber> {
        self.channels_open()
            .map(|channel| ChannelNumber(channel.number))
    }

    fn channels_open(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter().filter_map(Option::as_deref)
    }

    fn channel(&self, number: ChannelNumber) -> Result<&Channel, Errno> {
        let slot = self.slots.get(number.slot());
        slot.and_then(Option::as_deref).ok_or(Errno::Enodev)
    }

    fn channel_mut(&mut self, number: ChannelNumber) -> Result<&mut Channel, Errno> {
        let slot = self.slots.get_mut(number.slot());
        slot.and_then(Option::as_deref_mut).ok_or(Errno::Enodev)
    }

    /// Does something with a channel that has been brought to `now`.
    fn with<T>(
        &mut self,
        number: ChannelNumber,
        now: u64,
        work: impl FnOnce(&mut Channel) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let channel = self.channel_mut(number)?;
        channel.pass_to(now);
        let result = work(channel);
        channel.reported = channel.readiness();
        result
    }

    /// The slot of an open channel with this number.
    fn slot_of(&self, number: i32) -> Option<usize> {
        let slot = usize::try_from(number.checked_sub(FIRST_NUMBER)?).ok()?;
        self.slots.get(slot)?.as_ref().map(|_| slot)
    }

    /// Ends what `channel` does in its conference or hears of another channel.
    fn leave(&mut self, channel: &Channel, spares: &mut Spares, now: u64) {
        let slot = ChannelNumber(channel.number).slot();
        self.conferences.leave(channel.conference, slot, spares);
        if let Some(target) = self.slot_of(channel.conference)
            && let Some(target) = self.slots[target].as_deref_mut()
        {
            target.pass_to(now);
            target.monitors = target.monitors.saturating_sub(1);
        }
    }

    /// Begins steps when there is somebody for them, and ends them when there is nobody.
    fn refresh_grid(&mut self, now: u64) {
        let (mut monitoring, mut stepped) = (false, false);
        for channel in self.channels_open() {
            monitoring |= channel.monitors > 0;
            stepped |= channel.hears_in_steps() || channel.speaks_in_steps();
        }
        self.monitoring = monitoring;
        self.next_step = match self.next_step {
            _ if !stepped => None,
            None => Some((now / STEP as u64 + 1).saturating_mul(STEP as u64)),
            next => next,
        };
    }

    fn steps_until(&mut self, now: u64, lines: &mut impl Lines) {
        let Some(next) = self.next_step.filter(|&next| next <= now) else {
            return;
        };
        let missed = (now - next) / STEP as u64;
        self.next_step = Some(next.saturating_add((missed + 1) * STEP as u64));
        let (mut at, late) = if missed <= MAX_CATCH_UP {
            (next, missed)
        } else {
            self.skip(missed);
            (next.saturating_add(missed * STEP as u64), 0)
        };
        self.stats.caught_up += late;
        for _ in 0..=late {
            self.step(at, lines);
            at = at.saturating_add(STEP as u64);
        }
    }
}
