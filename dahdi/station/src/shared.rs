//! What all threads of a station share, and what is done under its locks.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use unisono_dahdi::exchange::{ChannelNumber, Exchange, FIRST_NUMBER, MAX_CONFERENCE, Spares};
use unisono_dahdi::request::{Errno, Reply, Request};
use unisono_dahdi_trunk::Directory;
use unisono_dahdi_trunk::report::ProcessReport;
use unisono_timer::{LatencyHistogram, MonoTime, RealtimeGrant, RealtimeRequest};

use crate::doorbell::{Bell, Published, Settler};
use crate::errno;
use crate::fork::Generation;
use crate::mixing::{self, Sleep};
use crate::pi_mutex::{Guard, PiMutex};
use crate::report;
use crate::service::{self, Call};
use crate::settings::{ChannelSettings, is_setting, target_of};
use crate::sharing::{Outside, Shares, Sharing};
use crate::station::Settings;

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) generation: Generation,
    pub(crate) control: PiMutex<Control>,
    pub(crate) desk: PiMutex<Desk>,
    /// By the slot of the channel.
    bells: Box<[Bell]>,
    /// Whether some descriptor does not show the truth yet, as the kernel had no memory.
    owing: AtomicBool,
    pub(crate) sleep: Sleep,
    pub(crate) realtime: RealtimeRequest,
    sharing: Sharing,
    begin: MonoTime,
    pub(crate) completion: OnceLock<Completion>,
    pub(crate) grant: OnceLock<RealtimeGrant>,
    pub(crate) lateness: LatencyHistogram,
    pub(crate) lock_waits: LatencyHistogram,
}

/// What belongs to opening and closing.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) mixing: Option<JoinHandle<()>>,
    pub(crate) service: Option<(JoinHandle<()>, Arc<Call>)>,
    pub(crate) shares: Shares,
    /// By the slot of the channel.
    settings: Box<[ChannelSettings]>,
}

impl Control {
    /// What was set on a channel.
    pub(crate) fn settings(&self, number: ChannelNumber) -> ChannelSettings {
        self.settings[slot(number)].clone()
    }

    /// Samples of a channel's blocks.
    pub(crate) fn block(&self, number: ChannelNumber) -> usize {
        self.settings[slot(number)].block()
    }

    /// A channel is closed.
    pub(crate) fn forget(&mut self, number: ChannelNumber) {
        self.settings[slot(number)] = ChannelSettings::default();
    }
}

/// What the mixing thread and the program's threads work at.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) exchange: Exchange,
    /// What the mixing thread hears of other processes.
    pub(crate) outside: Outside,
    /// When the mixing thread looks again by itself, samples.
    pub(crate) sleeping_until: u64,
}

impl Desk {
    /// After any change: whether the mixing thread sleeps too long for it, and is to be poked.
    pub(crate) fn bring_forward(&mut self) -> bool {
        self.bring_forward_to(self.exchange.next_deadline())
    }

    /// The same, for a change that can only have brought this deadline.
    pub(crate) fn bring_forward_to(&mut self, deadline: Option<u64>) -> bool {
        let sooner = deadline.is_some_and(|deadline| deadline < self.sleeping_until);
        if let (true, Some(deadline)) = (sooner, deadline) {
            self.sleeping_until = deadline;
        }
        sooner
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Result<Self, Errno> {
        let channels = settings.limits.channels.min(MOST_CHANNELS);
        let bells: Result<Box<[Bell]>, _> = (0..channels).map(|_| Bell::new()).collect();
        let control = Control {
            mixing: None,
            service: None,
            shares: Shares::default(),
            settings: (0..channels).map(|_| ChannelSettings::default()).collect(),
        };
        let desk = Desk {
            exchange: Exchange::new(settings.limits),
            outside: Outside::default(),
            sleeping_until: u64::MAX,
        };
        Ok(Self {
            generation: Generation::current(),
            control: PiMutex::new(control).map_err(errno)?,
            desk: PiMutex::new(desk).map_err(errno)?,
            bells: bells.map_err(errno)?,
            owing: AtomicBool::new(false),
            sleep: Sleep::default(),
            // Some programs have the station in a preloaded library.
            realtime: settings.realtime.preloaded(),
            sharing: settings.sharing,
            begin: MonoTime::now(),
            completion: OnceLock::new(),
            grant: OnceLock::new(),
            lateness: LatencyHistogram::new(),
            lock_waits: LatencyHistogram::new(),
        })
    }

    /// [`Errno::Eagain`] in a signal handler that has interrupted its own thread there.
    pub(crate) fn control(&self) -> Result<Guard<'_, Control>, Errno> {
        self.control.lock().map_err(|_| Errno::Eagain)
    }

    /// As [`control`](Self::control); [`Errno::Enodev`] in a forked child, where another thread may have held it for ever.
    pub(crate) fn desk(&self) -> Result<Guard<'_, Desk>, Errno> {
        if !self.generation.is_current() {
            return Err(Errno::Enodev);
        }
        self.desk.lock().map_err(|_| Errno::Eagain)
    }

    pub(crate) fn bell(&self, number: ChannelNumber) -> &Bell {
        &self.bells[slot(number)]
    }

    /// Does what a publication is to be followed by. The desk's lock is not held.
    pub(crate) fn follow(&self, number: ChannelNumber, published: Published, settler: Settler<'_>) {
        let bell = self.bell(number);
        if published.settle && !bell.settle(settler) {
            self.owing.store(true, Ordering::Release);
            if matches!(settler, Settler::Program { .. }) {
                self.sleep.end();
            }
        }
        if published.wake {
            bell.wake();
        }
    }

    /// For the mixing thread: tries again what could not be settled, and returns whether anything is still owed.
    pub(crate) fn settle_debts(&self) -> bool {
        if self.owing.swap(false, Ordering::AcqRel) {
            for bell in &self.bells {
                if !bell.settle(Settler::Tick) {
                    self.owing.store(true, Ordering::Release);
                }
            }
        }
        self.owing.load(Ordering::Acquire)
    }

    /// Channels that can be open at a time.
    pub(crate) fn channels(&self) -> usize {
        self.bells.len()
    }

    /// Where other processes are met.
    pub(crate) fn directory(&self) -> Result<Directory, String> {
        self.sharing.directory()
    }

    pub(crate) fn uptime(&self) -> Duration {
        MonoTime::now().since(self.begin)
    }

    pub(crate) fn complete(&self, report: &mut ProcessReport) {
        if let Some(Completion(completion)) = self.completion.get() {
            completion(report);
        }
    }

    /// Serves a request that sets something, or one about another channel; whoever asks has checked that it is open. What it
    /// changed of the readiness of `asker` is published and still to be settled.
    pub(crate) fn change(
        self: &Arc<Self>,
        control: &mut Control,
        asker: ChannelNumber,
        mut request: Request,
    ) -> Result<(Reply, Published), Errno> {
        let mut places = [0; 2];
        if let Request::SetConf(info) = &mut request {
            let target = self.target(asker, info.channel)?;
            places[0] = self.desk()?.exchange.conference(target)?.conference;
            self.enter(control, &mut info.conference)?;
            places[1] = info.conference;
        }
        let served = self.ask(control, asker, request);
        if let (ANY, Ok((Reply::Conf(info), _))) = (places[1], &served) {
            control.shares.keep_apart(info.conference);
        }
        self.leave_empty(control, places);
        // The mixing thread looks at whatever this has begun or ended.
        self.sleep.end();
        served
    }

    /// Lets go of those of these conferences in which nobody is left.
    pub(crate) fn leave_empty(&self, control: &mut Control, conferences: [i32; 2]) {
        for conference in conferences {
            let empty = is_conference(conference)
                && self
                    .desk()
                    .is_ok_and(|desk| !desk.exchange.is_in_use(conference));
            if empty {
                control.shares.leave(conference);
            }
        }
    }

    /// For the service thread: looks for others if any conference is in use, and returns whether it is.
    pub(crate) fn keep_in_touch(&self) -> bool {
        let Ok(trunk) = self
            .control()
            .map(|control| control.shares.trunk().cloned())
        else {
            return false;
        };
        let in_use = self
            .desk()
            .is_ok_and(|desk| desk.exchange.conferences().next().is_some());
        if let Some(trunk) = trunk.filter(|_| in_use) {
            let found = trunk.refresh();
            drop(trunk);
            // Somebody has removed what others find this process by.
            if found.is_ok_and(|found| !found.is_published) {
                self.reopen();
            }
        }
        in_use
    }

    /// Before a channel enters a conference: sees to a number of the machine, and that others hear this process there.
    fn enter(self: &Arc<Self>, control: &mut Control, conference: &mut i32) -> Result<(), Errno> {
        if !is_conference(*conference) && *conference != ANY {
            return Ok(());
        }
        self.attend(control);
        // What is held where nobody looks any more is held from nobody.
        if control.shares.is_lost() {
            self.close_trunk(control)?;
        }
        self.open_trunk(control)?;
        if *conference == ANY {
            *conference = self.reserve(control)?.unwrap_or(ANY);
        } else if !self.desk()?.exchange.is_in_use(*conference) {
            control.shares.enter(*conference);
        }
        if let Some((_, call)) = &control.service {
            call.call();
        }
        Ok(())
    }

    /// A conference that nobody is in, held from now on; `None` if it is the exchange's to say.
    fn reserve(&self, control: &mut Control) -> Result<Option<i32>, Errno> {
        for _ in 0..MAX_CONFERENCE {
            let reserved = control.shares.reserve()?;
            let desk = self.desk()?;
            // One that could not be held when it was entered here is so now, and is passed over.
            if !reserved.is_some_and(|conference| desk.exchange.is_in_use(conference)) {
                return Ok(reserved);
            }
        }
        Err(Errno::Ebusy)
    }

    /// Opens the trunk unless it is open, with all conferences that this process is in: before any other number is given.
    fn open_trunk(&self, control: &mut Control) -> Result<(), Errno> {
        let Some(lines) = control.shares.open(&self.sharing, &report::program()) else {
            return Ok(());
        };
        let mut conferences = Vec::with_capacity(self.channels());
        let mut desk = self.desk()?;
        conferences.extend(desk.exchange.conferences());
        let before = desk.outside.0.replace(lines);
        drop(desk);
        drop(before);
        for (conference, _) in conferences {
            control.shares.enter(conference);
        }
        Ok(())
    }

    /// Gives up a trunk that others can no longer find.
    fn close_trunk(&self, control: &mut Control) -> Result<(), Errno> {
        let before = self.desk()?.outside.0.take();
        drop(before);
        control.shares.forget();
        Ok(())
    }

    /// Opens the trunk anew if others can no longer find it.
    fn reopen(&self) {
        if let Ok(mut control) = self.control()
            && control.shares.is_lost()
            && self.close_trunk(&mut control).is_ok()
        {
            // What keeps it from being opened is in the report.
            let _ = self.open_trunk(&mut control);
        }
    }

    fn ask(
        &self,
        control: &mut Control,
        asker: ChannelNumber,
        request: Request,
    ) -> Result<(Reply, Published), Errno> {
        let kept = is_setting(&request).then(|| request.clone());
        let target = self.target(asker, target_of(&request))?;
        // Nothing is allocated or freed under the desk's lock. What this asks for, nobody else changes meanwhile: that is under control.
        let needs = self.desk()?.exchange.needs(asker, &request);
        let mut spares = Spares::of(needs);
        let mut desk = self.desk()?;
        let exchange = &mut desk.exchange;
        let reply = exchange.request_with(&mut spares, asker, request, sample_time())?;
        let published = self.bell(asker).publish(desk.exchange.readiness(asker)?);
        desk.sleeping_until = 0;
        drop(desk);
        if let Some(request) = kept {
            control.settings[slot(target)].note(request, &reply);
        }
        Ok((reply, published))
    }

    /// The channel that a request is about, 0 being the one that asks.
    fn target(&self, asker: ChannelNumber, number: i32) -> Result<ChannelNumber, Errno> {
        match number {
            0 => Ok(asker),
            number => self.desk()?.exchange.find(number).ok_or(Errno::Einval),
        }
    }

    /// Starts the service thread unless it runs, or there is nowhere to meet.
    pub(crate) fn attend(self: &Arc<Self>, control: &mut Control) {
        if control.service.is_some() {
            return;
        }
        let Ok(directory) = self.directory() else {
            return;
        };
        let Ok(call) = Call::new().map(Arc::new) else {
            return;
        };
        if let Ok(thread) = service::spawn(Arc::clone(self), Arc::clone(&call), directory) {
            control.service = Some((thread, call));
        }
    }

    /// Starts the mixing thread unless it runs.
    pub(crate) fn start(self: &Arc<Self>, control: &mut Control) -> Result<(), Errno> {
        if control.mixing.is_none() {
            let thread = mixing::spawn(Arc::clone(self)).map_err(|_| Errno::Enomem)?;
            control.mixing = Some(thread);
            self.attend(control);
        }
        Ok(())
    }
}

/// Who completes reports.
pub(crate) struct Completion(pub(crate) Box<dyn Fn(&mut ProcessReport) + Send + Sync>);

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completion")
    }
}

fn is_conference(number: i32) -> bool {
    (1..=MAX_CONFERENCE).contains(&number)
}

/// As many channels as an exchange serves.
const MOST_CHANNELS: usize = 0x7fff;

/// In `SETCONF`: any conference that is free.
const ANY: i32 = -1;

/// Now, in samples of 8000 Hz since CLOCK_MONOTONIC's zero.
pub(crate) fn sample_time() -> u64 {
    MonoTime::now().as_nanos() / NANOS_PER_SAMPLE
}

pub(crate) const NANOS_PER_SAMPLE: u64 = 125_000;

fn slot(number: ChannelNumber) -> usize {
    (number.get() - FIRST_NUMBER) as usize
}
