//! A real-time thread that never sleeps is demoted instead of freezing the machine.
//!
//! On a guest with one or two processors a SCHED_FIFO thread in an endless loop takes them from
//! everybody, the administrator's shell included. A [`Watchdog`] gives each real-time thread a limit
//! of CPU time that it may use without once going to sleep; a thread that exceeds it becomes an ordinary
//! one and goes on running. That is a state to report, [`WatchdogStatus::demoted`], not an error.
//!
//! # How
//!
//! Each watched thread has a kernel timer on its *own CPU clock*, whose signal is directed at that very
//! thread. So a sleeping thread is never woken by it, and one that uses a tenth of a processor takes one
//! signal in ten quarters of the limit. The handler asks the kernel whether the thread has slept
//! of its own accord since the signal before (its count of voluntary context switches), and after four
//! times no makes it SCHED_OTHER. The thread takes no part: no heartbeat, nothing in the tick.
//!
//! The alternatives are less sound. An ordinary thread that watches starves behind the runaway
//! exactly when it is needed. A thread of higher priority needs a higher RLIMIT_RTPRIO than
//! the one it watches, and wakes for ever. RLIMIT_RTTIME is one limit for the whole process, its signal may
//! be taken by the wrong thread, its hard limit kills, and each signal moves the soft limit.
//! Where an administrator has set RLIMIT_RTTIME nevertheless (rtkit, `LimitRTTIME=`), a watched thread is
//! demoted at half of it at the latest, so that it neither is killed nor takes the process with it. That limit
//! bears on SCHED_FIFO and SCHED_RR; a SCHED_DEADLINE thread is bounded by the runtime promised to it, and
//! demoted all the same, since a runaway one takes that from everybody for ever. (The kernel signals a
//! SCHED_DEADLINE overrun by SIGXCPU only to threads with SCHED_FLAG_DL_OVERRUN, which this crate does not set.)
//!
//! # Limits
//!
//! A thread that sleeps, however briefly, is not runaway: the kernel's own throttling
//! (`kernel.sched_rt_runtime_us`, 95 %) bounds that one. SIGXCPU gets a handler at the first watch; signals of other
//! origin (RLIMIT_CPU, `kill`) have the effect they had before.
//!
//! A forked child is not watched, as timers are not inherited: it may watch anew, and to drop what it inherited does nothing.
#![allow(
    unsafe_code,
    reason = "CPU-time timers and signal handlers have no safe wrapper"
)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use libc::{c_int, c_void, siginfo_t};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getpid};

use crate::clock::{NANOS_PER_SEC, saturating_nanos};
use crate::scheduler;

/// Watches the thread that made it, until dropped there.
///
/// ```
/// use std::time::Duration;
/// use unisono_timer::Watchdog;
///
/// let watchdog = Watchdog::watch(Duration::from_secs(2))?;
/// let status = watchdog.status(); // for any other thread
/// assert!(!status.demoted());
/// # Ok::<(), unisono_timer::WatchdogError>(())
/// ```
#[derive(Debug)]
#[must_use = "the thread is watched only as long as this lives"]
pub struct Watchdog {
    timer: libc::timer_t,
    state: Arc<State>,
    /// Timer and thread-local belong to the thread, so this stays on it.
    on_this_thread: PhantomData<*const ()>,
}

impl Watchdog {
    /// Watches the calling thread: while it is SCHED_FIFO, SCHED_RR or SCHED_DEADLINE it may use `limit` of
    /// CPU time without sleeping. Detection takes up to a quarter more, and one scheduler tick; the kernel looks at CPU
    /// time once a tick, so a limit shorter than four of them (16 ms at HZ=250) acts as four.
    ///
    /// The limit is taken down to half of RLIMIT_RTTIME where that is set, and up to 4 ms.
    /// Unblocks SIGXCPU in the calling thread.
    ///
    /// # Errors
    ///
    /// [`WatchdogError::AlreadyWatched`], and [`WatchdogError::Timer`] or [`WatchdogError::Signal`] where
    /// the kernel or a seccomp filter refuses them. Go on without and say so.
    pub fn watch(limit: Duration) -> Result<Self, WatchdogError> {
        if is_watched() {
            return Err(WatchdogError::AlreadyWatched);
        }
        install_handler().map_err(WatchdogError::Signal)?;
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGXCPU);
        signals.thread_unblock().map_err(WatchdogError::Signal)?;
        let state = Arc::new(State::new(effective_limit(limit)));
        let timer = create_timer().map_err(WatchdogError::Timer)?;
        WATCHED.set(Arc::as_ptr(&state));
        // From here on dropping it undoes what has been done.
        let watchdog = Self {
            timer,
            state,
            on_this_thread: PhantomData,
        };
        watchdog.start().map_err(WatchdogError::Timer)?;
        Ok(watchdog)
    }

    /// What any thread can read of this.
    pub fn status(&self) -> WatchdogStatus {
        WatchdogStatus {
            state: Arc::clone(&self.state),
        }
    }

    fn start(&self) -> Result<(), Errno> {
        let window = timespec(self.state.window_nanos);
        let setting = libc::itimerspec {
            it_interval: window,
            it_value: window,
        };
        // SAFETY: the timer exists until `drop`, `setting` is valid to read, and no old one is asked for.
        let result =
            unsafe { libc::timer_settime(self.timer, 0, &raw const setting, ptr::null_mut()) };
        Errno::result(result).map(drop)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // A forked child has no timers, and one of its own may have this one's number.
        if self.state.process == getpid() {
            // SAFETY: the timer was created by this and is deleted once.
            unsafe { libc::timer_delete(self.timer) };
        }
        // A signal that is still under way finds nothing to look at. In a forked child another may watch by now.
        if WATCHED.get() == Arc::as_ptr(&self.state) {
            WATCHED.set(ptr::null());
        }
    }
}

/// What became of a watched thread: cheap to clone, readable from any thread without a lock, also after
/// the thread has ended.
#[derive(Clone, Debug)]
pub struct WatchdogStatus {
    state: Arc<State>,
}

impl WatchdogStatus {
    /// Whether the thread was ever demoted. It may have been made real-time again since.
    pub fn demoted(&self) -> bool {
        self.demotions() > 0
    }

    /// How often the thread was demoted.
    pub fn demotions(&self) -> u64 {
        self.state.demotions.load(Ordering::Relaxed)
    }

    /// CPU time that the thread may use without sleeping.
    pub fn limit(&self) -> Duration {
        Duration::from_nanos(self.state.window_nanos * u64::from(WINDOWS))
    }
}

/// Why a thread cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchdogError {
    /// The calling thread has a watchdog already: keep that one.
    #[error("the thread is watched already; keep the watchdog it has")]
    AlreadyWatched,
    /// No timer on the thread's CPU clock.
    #[error(
        "cannot time the thread's CPU use: {0}; allow timer_create and timer_settime, or raise RLIMIT_SIGPENDING"
    )]
    Timer(Errno),
    /// No handler for SIGXCPU.
    #[error("cannot handle SIGXCPU: {0}; allow rt_sigaction and rt_sigprocmask")]
    Signal(Errno),
}

/// Written by the watched thread's signal handler only.
#[derive(Debug)]
struct State {
    /// The process whose thread is watched: a forked child has a copy of this, but no timer.
    process: Pid,
    window_nanos: u64,
    /// Voluntary context switches when the last window ended.
    sleeps: AtomicIsize,
    /// Windows in a row that ended without one.
    restless: AtomicU32,
    demotions: AtomicU64,
}

impl State {
    fn new(limit: Duration) -> Self {
        let window_nanos =
            (saturating_nanos(limit) / u64::from(WINDOWS)).max(SHORTEST_WINDOW_NANOS);
        let sleeps = AtomicIsize::new(voluntary_switches());
        Self {
            process: getpid(),
            window_nanos,
            sleeps,
            restless: AtomicU32::new(0),
            demotions: AtomicU64::new(0),
        }
    }

    /// Async-signal-safe: atomics and plain system calls.
    fn window_ended(&self) {
        // What a thread did as an ordinary one does not count once it is real-time.
        let harmless = self.has_slept() || !scheduler::is_realtime();
        let before = self.restless.load(Ordering::Relaxed);
        let restless = if harmless { 0 } else { before + 1 };
        self.restless.store(restless, Ordering::Relaxed);
        if restless >= WINDOWS {
            self.demote();
        }
    }

    /// Whether the thread went to sleep of its own accord since this was last asked.
    fn has_slept(&self) -> bool {
        let sleeps = voluntary_switches();
        self.sleeps.swap(sleeps, Ordering::Relaxed) != sleeps
    }

    fn demote(&self) {
        // Should the kernel refuse, the next window asks again no sooner than a limit later.
        self.restless.store(0, Ordering::Relaxed);
        if scheduler::set_ordinary().is_ok() {
            self.demotions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

thread_local! {
    /// What the calling thread's watchdog knows; null when there is none. Constant and without
    /// destructor, so that a signal handler can read it.
    static WATCHED: Cell<*const State> = const { Cell::new(ptr::null()) };
}

/// What handled SIGXCPU before the first watchdog; never freed once set.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Its address in a signal says that one of our timers sent it.
static MARK: u8 = 0;

extern "C" fn on_sigxcpu(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    let watched = WATCHED.get();
    // SAFETY: null, or set by the watchdog on this thread, which holds an Arc of it until after it
    // has set this to null again.
    let state = unsafe { watched.as_ref() };
    if is_ours(info) {
        if let Some(state) = state {
            state.window_ended();
        }
    } else if let Some(state) = state.filter(|_| is_from_kernel(info) && is_of_real_time_limit()) {
        // One that was sent before a demotion may come after it.
        if scheduler::is_realtime() {
            state.demote();
        }
    } else {
        act_as_before(signal, info, context);
    }
    Errno::set_raw(errno);
}

/// Whether the kernel's SIGXCPU means that this thread exceeded RLIMIT_RTTIME, not its process RLIMIT_CPU.
/// It comes before a demotion only if that limit was lowered after the watch began.
fn is_of_real_time_limit() -> bool {
    let is_limited =
        |resource| getrlimit(resource).is_ok_and(|(soft, _)| soft != libc::RLIM_INFINITY);
    !scheduler::is_deadline()
        && is_limited(Resource::RLIMIT_RTTIME)
        && !is_limited(Resource::RLIMIT_CPU)
}

fn is_from_kernel(info: *const siginfo_t) -> bool {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid siginfo.
    unsafe { &*info }.si_code == SI_KERNEL
}

fn is_ours(info: *const siginfo_t) -> bool {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid siginfo.
    let info = unsafe { &*info };
    // SAFETY: the value exists in what a timer sends, which the code has told.
    info.si_code == libc::SI_TIMER
        && unsafe { info.si_value() }.sival_ptr.addr() == (&raw const MARK).addr()
}

fn act_as_before(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: null, or a leaked box that nobody changes.
    let Some(before) = (unsafe { BEFORE.load(Ordering::Acquire).as_ref() }) else {
        return;
    };
    match before.sa_sigaction {
        libc::SIG_IGN => {}
        libc::SIG_DFL => {
            // Ends the process when this handler returns, as the signal would have done.
            // SAFETY: `before` is a valid action to read, and no old one is asked for.
            unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
            // SAFETY: the call takes no pointer.
            unsafe { libc::raise(signal) };
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: whoever installed this handler with SA_SIGINFO gave it this signature.
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: whoever installed this handler without SA_SIGINFO gave it this signature.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// Whether a watchdog of this process watches the calling thread.
fn is_watched() -> bool {
    // SAFETY: null, or set by the watchdog on this thread, which holds an Arc of it until after it
    // has set this to null again.
    unsafe { WATCHED.get().as_ref() }.is_some_and(|state| state.process == getpid())
}

/// Does nothing where it is installed. Not by a `Once`: a fork in the midst of that would leave it undecided in the child
/// for ever.
fn install_handler() -> Result<(), Errno> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no action is given, and `before` is valid to write to.
    Errno::result(unsafe { libc::sigaction(libc::SIGXCPU, ptr::null(), before.as_mut_ptr()) })?;
    // SAFETY: the call above has filled it in.
    let before = unsafe { before.assume_init() };
    let handler = on_sigxcpu as *const () as usize;
    if before.sa_sigaction == handler {
        return Ok(());
    }
    // Known to the handler before it can run. Whoever was there first is remembered.
    let before = Box::into_raw(Box::new(before));
    let set = BEFORE.compare_exchange(ptr::null_mut(), before, Ordering::AcqRel, Ordering::Acquire);
    if set.is_err() {
        // SAFETY: it came from a box just now, and nobody else has seen it.
        drop(unsafe { Box::from_raw(before) });
    }
    // SAFETY: all zero is a valid sigaction: default, no flags, empty mask.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    action.sa_sigaction = handler;
    // Not deferred: while a thread is in the handler for its timer, the kernel's signal, which is the process's, would go to another
    // thread, which nobody watches, and end the process.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: the handler has the signature that SA_SIGINFO demands and is async-signal-safe.
    Errno::result(unsafe { libc::sigaction(libc::SIGXCPU, &raw const action, ptr::null_mut()) })
        .map(drop)
}

/// A timer on the calling thread's CPU clock that signals the calling thread.
fn create_timer() -> Result<libc::timer_t, Errno> {
    // SAFETY: all zero is a valid sigevent.
    let mut event = unsafe { MaybeUninit::<libc::sigevent>::zeroed().assume_init() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGXCPU;
    event.sigev_value.sival_ptr = (&raw const MARK).cast_mut().cast();
    event.sigev_notify_thread_id = nix::unistd::gettid().as_raw();
    let mut timer = ptr::null_mut();
    // SAFETY: `event` is valid to read and `timer` to write to.
    let result = unsafe {
        libc::timer_create(
            libc::CLOCK_THREAD_CPUTIME_ID,
            &raw mut event,
            &raw mut timer,
        )
    };
    Errno::result(result).map(|_| timer)
}

/// How often the calling thread has gone to sleep of its own accord. Async-signal-safe on Linux, where it
/// is one system call.
fn voluntary_switches() -> isize {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is valid to write to.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    // SAFETY: all zero is a valid rusage, should the call have failed.
    unsafe { usage.assume_init() }.ru_nvcsw as isize
}

fn effective_limit(asked: Duration) -> Duration {
    match getrlimit(Resource::RLIMIT_RTTIME) {
        Ok((soft, _)) if soft != libc::RLIM_INFINITY => asked.min(Duration::from_micros(soft / 2)),
        _ => asked,
    }
}

const fn timespec(nanos: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanos / NANOS_PER_SEC) as _,
        tv_nsec: (nanos % NANOS_PER_SEC) as _,
    }
}

/// Linux's code, which libc lacks, for signals that no process sent.
const SI_KERNEL: c_int = 0x80;

/// Restless windows that make a limit.
const WINDOWS: u32 = 4;
const SHORTEST_WINDOW_NANOS: u64 = 1_000_000;
