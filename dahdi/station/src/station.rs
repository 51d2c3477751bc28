//! A process's exchange, and what is around it.
#![allow(
    unsafe_code,
    reason = "the process's own station is given out as 'static from an atomic pointer"
)]

use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::Duration;

use unisono_dahdi::exchange::{Limits, Spares};
use unisono_dahdi::request::{Errno, Reply, Request};
use unisono_dahdi_trunk::report::ProcessReport;
use unisono_timer::{LatencyHistogram, RealtimeGrant, RealtimeRequest};

use crate::doorbell::{Settler, pair};
use crate::errno;
use crate::fork::Generation;
use crate::hidden;
use crate::report;
use crate::seat::Seat;
use crate::shared::{Completion, Shared, sample_time};
use crate::sharing::Sharing;

/// What a station is made with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// How many channels.
    pub limits: Limits,
    /// What the mixing thread asks for.
    pub realtime: RealtimeRequest,
    /// With whom conferences are shared.
    pub sharing: Sharing,
}

impl Default for Settings {
    /// 512 channels; SCHED_FIFO priority 70, 64 KiB of stack touched beforehand, no timer slack; conferences shared as the
    /// environment says.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            realtime: RealtimeRequest::new()
                .fifo(70)
                .prefault_stack(64 * 1024)
                .timer_slack(Duration::from_nanos(1)),
            sharing: Sharing::default(),
        }
    }
}

/// What a process has in place of DAHDI's driver. When it is dropped, time stands still for the seats that are left.
#[derive(Debug)]
pub struct Station {
    shared: Arc<Shared>,
}

impl Station {
    /// This process's, made when it is first asked for. It stays to the process's end; a forked child makes one of its own.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn get() -> Result<&'static Self, Errno> {
        // No `Once`: a fork in the midst of one would leave it undecided in the child for ever.
        let mut station = CURRENT.load(Ordering::Acquire);
        if station.is_null() {
            let made = Box::into_raw(Box::new(Self::new(Settings::default())?));
            let put = CURRENT.compare_exchange(
                ptr::null_mut(),
                made,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            station = match put {
                Ok(_) => made,
                Err(another) => {
                    // SAFETY: it came from `into_raw`, and nobody else has seen it.
                    drop(unsafe { Box::from_raw(made) });
                    another
                }
            };
        }
        // SAFETY: once put there, a station is never freed.
        Ok(unsafe { &*station })
    }

    /// One of one's own, for tests and for programs that serve several.
    ///
    /// # Errors
    ///
    /// [`Errno::Enomem`].
    pub fn new(settings: Settings) -> Result<Self, Errno> {
        let shared = Shared::new(settings)?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Opens a channel: a descriptor for the program, which blocks and is closed on exec until the program is given it
    /// otherwise, and the seat that serves it.
    ///
    /// The descriptor may be duplicated. The seat does not close it.
    ///
    /// # Errors
    ///
    /// [`Errno::Emfile`] and [`Errno::Enfile`] when there are no descriptors left, [`Errno::Enomem`] when there is no channel or
    /// no memory left. Nothing is left behind then.
    pub fn open(&self) -> Result<(OwnedFd, Arc<Seat>), Errno> {
        let (program, duplicate, door) = pair().map_err(errno)?;
        let mut control = self.shared.control()?;
        self.shared.start(&mut control)?;
        let mut spares = Spares::for_open();
        let mut desk = self.shared.desk()?;
        let number = desk.exchange.open_with(&mut spares, sample_time())?;
        let bell = self.shared.bell(number);
        if let Ok(readiness) = desk.exchange.readiness(number) {
            bell.publish(readiness);
        }
        let hung = bell.set_door(Some(door));
        let poke = desk.bring_forward();
        drop(desk);
        drop(control);
        drop(hung);
        if poke {
            self.shared.sleep.end();
        }
        Ok((
            program,
            Arc::new(Seat::new(Arc::clone(&self.shared), number, duplicate)),
        ))
    }

    /// Serves a request about a channel of a given number, as the control device does. Never waits: it may answer
    /// [`Reply::Wait`].
    ///
    /// # Errors
    ///
    /// [`Errno::Einval`] if there is no such channel, and as [`Seat::request`].
    pub fn request(&self, channel: i32, request: Request) -> Result<Reply, Errno> {
        let mut control = self.shared.control()?;
        let found = self.shared.desk()?.exchange.find(channel);
        let number = found.ok_or(Errno::Einval)?;
        let (reply, published) = self.shared.change(&mut control, number, request)?;
        self.shared.follow(number, published, Settler::Tick);
        Ok(reply)
    }

    /// To be called before a fork: takes the lock of what a child is to find whole. The mixing thread does not need it.
    pub fn prepare_fork() {
        if let Some(station) = Self::current()
            && let Ok(control) = station.shared.control()
        {
            std::mem::forget(control);
            FORKING.store(true, Ordering::Relaxed);
        }
    }

    /// To be called after a fork in the parent.
    pub fn after_fork_in_parent() {
        if FORKING.swap(false, Ordering::Relaxed)
            && let Some(station) = Self::current()
        {
            // SAFETY: this thread took it in `prepare_fork`, and has nothing to do with its value since.
            unsafe { station.shared.control.unlock() };
        }
    }

    /// To be called after a fork in the child: the station and its threads are gone, its hidden descriptors are closed, and
    /// [`get`](Self::get) makes a new one. Its seats answer [`Errno::Enodev`] but for [`Seat::adopt`]. Async-signal-safe.
    pub fn after_fork_in_child() {
        FORKING.store(false, Ordering::Relaxed);
        if let Some(station) = Self::current() {
            // SAFETY: a child has one thread, and `prepare_fork` has seen to it that no other was at work on the value.
            unsafe { station.shared.control.renew() };
        }
        CURRENT.store(ptr::null_mut(), Ordering::Release);
        Generation::begin();
        hidden::close_all();
    }

    fn current() -> Option<&'static Self> {
        // SAFETY: once put there, a station is never freed.
        unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
    }

    /// Has the process answer `unisono dahdi status` from now on, as it does anyway once a channel is open. Does nothing where there
    /// is no directory to meet in.
    pub fn attend(&self) {
        if let Ok(mut control) = self.shared.control() {
            self.shared.attend(&mut control);
        }
    }

    /// What the process says of itself.
    pub fn report(&self) -> ProcessReport {
        report::of(&self.shared)
    }

    /// Names who adds to each report what the station does not know of, such as timers. The first one stays.
    pub fn complete_reports(
        &self,
        completion: impl Fn(&mut ProcessReport) + Send + Sync + 'static,
    ) {
        let _ = self.shared.completion.set(Completion(Box::new(completion)));
    }

    /// What the mixing thread was granted; `None` before the first channel was opened.
    pub fn grant(&self) -> Option<&RealtimeGrant> {
        self.shared.grant.get()
    }

    /// Whether who holds the lock while the mixing thread waits for it runs at that thread's priority. False on systems without
    /// priority-inheriting futexes: then the wait may be longer.
    pub fn inherits_priority(&self) -> bool {
        self.shared.desk.inherits()
    }

    /// How late the mixing thread was, in nanoseconds, each time it had something to do.
    pub fn lateness(&self) -> &LatencyHistogram {
        &self.shared.lateness
    }

    /// How long the mixing thread waited for the lock, in nanoseconds, each time it took it.
    pub fn lock_waits(&self) -> &LatencyHistogram {
        &self.shared.lock_waits
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        // In a child there is no thread to end.
        if !self.shared.generation.is_current() {
            return;
        }
        let Ok(mut control) = self.shared.control() else {
            return;
        };
        let (mixing, service) = (control.mixing.take(), control.service.take());
        // Both of them need the lock to come to their end. They do not panic; if they did, there is nothing left to do.
        drop(control);
        if let Some((service, call)) = service {
            call.stop();
            drop(service.join());
        }
        if let Some(mixing) = mixing {
            self.shared.sleep.stop();
            drop(mixing.join());
        }
    }
}

/// Whether `prepare_fork` holds the lock.
static FORKING: AtomicBool = AtomicBool::new(false);

static CURRENT: AtomicPtr<Station> = AtomicPtr::new(ptr::null_mut());
