//! What is open: devices, the descriptors that programs have of them, and what becomes of both.
//!
//! An [`Open`] is what the kernel calls a file description: one device, any number of duplicated descriptors, and the flags that
//! these share. It ends with the last of them.
//!
//! # Locks
//!
//! *The book*, one lock, is held by whoever opens, closes, duplicates or adopts; forks wait for it. Using a device takes only the
//! shared side of a lock of its own, which is taken exclusively for an instant, under the book's, when the device ends. An `Open` is
//! never freed but used again, so who has found one in the table may look at it at any time; whether it is still that number's is
//! asked of the table once more, under its lock.
//!
//! # In a forked child
//!
//! What was opened before the fork is inherited. Nothing happens to it while the child closes, duplicates or executes. The
//! first use *adopts* it: a device of the child's own, set as the parent's was, takes the place of the descriptors. The parent's is not
//! touched, and its locks in our copy are not waited for. Of an inherited timer the parent's hidden descriptor stays open, until the
//! child executes something.

use std::ffi::c_int;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use dahdi::control::Control;
use dahdi::request::Device;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use unisono_dahdi_station::{Lifted, Station};
use unisono_timer::TimingSource;

use crate::device::Opened;
use crate::failure::{Failure, set_errno, uncancelled};
use crate::path::Node;
use crate::table::{self, Entry};
use crate::timer::{self, Timer};
use crate::{fork, process, real, report};

/// One device that is open, for as long as descriptors of it are.
#[derive(Debug)]
pub(crate) struct Open {
    /// `None` between one use and the next.
    opened: RwLock<Option<Opened>>,
    /// Numbers in the table.
    numbers: AtomicUsize,
    /// The status flags of `F_GETFL`.
    flags: AtomicI32,
    /// The process that opened it.
    generation: AtomicU32,
}

/// What only who opens and closes may look at.
#[derive(Debug)]
pub(crate) struct Book {
    source: Option<(u32, TimingSource)>,
    pub(crate) control: Control,
    unused: Vec<&'static Open>,
    /// The process in which this has been set up.
    begun: Option<u32>,
}

/// Waits for whoever opens or closes. `None` if that is the calling thread itself: in a signal handler, or when a number that
/// was closed behind our back has become one of ours.
pub(crate) fn book() -> Option<BookGuard> {
    if OWNER.load(Ordering::Relaxed) == this_thread() {
        return None;
    }
    let guard = BOOK.lock().unwrap_or_else(PoisonError::into_inner);
    OWNER.store(this_thread(), Ordering::Relaxed);
    Some(BookGuard { guard })
}

/// The book, for who holds it.
pub(crate) struct BookGuard {
    guard: MutexGuard<'static, Book>,
}

impl Deref for BookGuard {
    type Target = Book;

    fn deref(&self) -> &Book {
        &self.guard
    }
}

impl DerefMut for BookGuard {
    fn deref_mut(&mut self) -> &mut Book {
        &mut self.guard
    }
}

impl Drop for BookGuard {
    fn drop(&mut self) {
        OWNER.store(0, Ordering::Relaxed);
    }
}

static BOOK: Mutex<Book> = Mutex::new(Book {
    source: None,
    control: Control::new(),
    unused: Vec::new(),
    begun: None,
});

/// Which thread holds the book.
static OWNER: AtomicUsize = AtomicUsize::new(0);

/// Different for each thread, and the same after a fork.
fn this_thread() -> usize {
    // SAFETY: has no preconditions.
    unsafe { libc::__errno_location() }.addr()
}

/// Opens a node as `open` with these flags does, and returns the program's descriptor.
pub(crate) fn open(node: Node, flags: c_int) -> Result<RawFd, Failure> {
    let device = match node {
        Node::Device(_) if flags & libc::O_DIRECTORY != 0 => return Err(Failure(libc::ENOTDIR)),
        Node::Device(_) if flags & NEW == NEW => return Err(Failure(libc::EEXIST)),
        Node::Device(device) => device,
        Node::Hardware => return Err(Failure(libc::ENXIO)),
        Node::Directory => return Err(Failure(libc::ENOENT)),
    };
    let mut book = book().ok_or(Failure(libc::EAGAIN))?;
    book.begin()?;
    let (fd, opened) = book.make(device)?;
    let fd = given_to_program(fd, flags)?;
    let open = book.enter(opened, flags & STATUS);
    book.set(fd, open);
    Ok(fd)
}

/// Does something with the device behind `fd`, of which `open` was found in the table.
pub(crate) fn with<T>(
    open: &'static Open,
    fd: RawFd,
    work: impl FnOnce(&Opened) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let open = current(open, fd)?;
    let opened = open.opened.read().unwrap_or_else(PoisonError::into_inner);
    if table::get(fd) != Entry::Device(open) {
        return Err(Failure(libc::EBADF));
    }
    work(opened.as_ref().ok_or(Failure(libc::EBADF))?)
}

/// What `open` is in this process: itself, or what it is adopted as.
pub(crate) fn current(open: &'static Open, fd: RawFd) -> Result<&'static Open, Failure> {
    if open.generation.load(Ordering::Relaxed) == process::generation() {
        return Ok(open);
    }
    adopt(fd)
}

/// The open device behind a number, for the process that opened it or was forked from one that did: a child that borrows our memory
/// has descriptors of its own, which are the kernel's to serve. A system call if there is one.
#[inline]
pub(crate) fn served(fd: RawFd) -> Option<&'static Open> {
    table::device(fd).filter(|_| process::owns_memory())
}

/// Whether a number is something to us, and not only the kernel's to close or duplicate.
#[inline]
pub(crate) fn is_ours(fd: RawFd) -> bool {
    table::is_noted(fd) || unisono_dahdi_station::is_hidden(fd)
}

impl Open {
    /// The status flags, as `F_GETFL` answers them.
    pub(crate) fn flags(&self) -> c_int {
        self.flags.load(Ordering::Relaxed)
    }

    /// Sets what `F_SETFL` may set.
    pub(crate) fn set_flags(&self, flags: c_int) {
        let kept = self.flags() & !SETTABLE;
        self.flags.store(kept | flags & SETTABLE, Ordering::Relaxed);
    }

    /// Looks at the device if it is open and not about to be closed. Also at an inherited one.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Opened) -> T) -> Option<T> {
        let opened = self.opened.try_read().ok()?;
        opened.as_ref().map(look)
    }

    /// Which device it is; `None` if it has just been closed.
    pub(crate) fn device(&self) -> Option<Device> {
        self.look(Opened::device)
    }
}

/// Closes a number that is something to us. No point of cancellation, as that would keep the book for ever.
pub(crate) fn close(fd: RawFd) -> c_int {
    let close = || {
        // SAFETY: as whoever called us closes it.
        unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
    };
    if !process::owns_memory() {
        return close();
    }
    let Some(mut book) = book() else {
        return close();
    };
    if is_hidden(fd) {
        set_errno(libc::EBADF);
        return -1;
    }
    uncancelled(|| book.clear(fd));
    close()
}

/// Does `duplicate`, which makes another number of `old` and returns it, and notes what it is.
pub(crate) fn duplicate(
    old: RawFd,
    new: Option<RawFd>,
    duplicate: impl FnOnce() -> c_int,
) -> c_int {
    if !process::owns_memory() {
        return duplicate();
    }
    let Some(mut book) = book() else {
        return duplicate();
    };
    if is_hidden(old) || new.is_some_and(is_hidden) {
        set_errno(libc::EBADF);
        return -1;
    }
    let made = duplicate();
    if made >= 0 && made != old {
        uncancelled(|| book.clear(made));
        if let Entry::Device(open) = table::get(old)
            && (made as usize) < table::NUMBERS
        {
            book.set(made, open);
        }
    }
    made
}

/// Closes all numbers from `first` to `last` but those that we hide.
pub(crate) fn close_range(first: u32, last: u32) -> c_int {
    let range = |first: u32, last: u32| {
        if first > last {
            return 0;
        }
        // SAFETY: as whoever called us closes them.
        unsafe { real::close_range(first, last, 0) }
    };
    if !process::owns_memory() {
        return range(first, last);
    }
    let Some(mut book) = book() else {
        return range(first, last);
    };
    // Where there is no such call, or it is forbidden, nothing may have happened. No number is as high as this.
    if range(u32::MAX, u32::MAX) < 0 {
        return -1;
    }
    uncancelled(|| {
        for (fd, _) in table::within(first as usize, last as usize) {
            book.clear(fd);
        }
    });
    let mut from = first;
    for hidden in hidden_within(first, last) {
        if hidden > from && range(from, hidden - 1) < 0 {
            return -1;
        }
        from = hidden + 1;
    }
    range(from, last)
}

/// Gives an inherited device's descriptors a device of this process's own.
#[cold]
fn adopt(fd: RawFd) -> Result<&'static Open, Failure> {
    if !process::owns_memory() {
        return Err(Failure(libc::ENODEV));
    }
    let mut book = book().ok_or(Failure(libc::EAGAIN))?;
    let Entry::Device(parents) = table::get(fd) else {
        return Err(Failure(libc::EBADF));
    };
    if parents.generation.load(Ordering::Relaxed) == process::generation() {
        return Ok(parents);
    }
    book.begin()?;
    // Nobody had it exclusively when the process was forked, so readers that are no more do not matter.
    let before = parents
        .opened
        .try_read()
        .map_err(|_| Failure(libc::ENODEV))?;
    let before = before.as_ref().ok_or(Failure(libc::ENODEV))?;
    let (made, opened) = match before {
        Opened::Pseudo(seat) => Opened::channel_like(seat)?,
        other => book.make(other.device())?,
    };
    if let (Opened::Timer(own), Opened::Timer(parents)) = (&opened, before) {
        own.continue_as(parents)?;
    }
    let open = book.enter(opened, parents.flags());
    let all: Vec<_> = table::within(0, table::NUMBERS)
        .filter(|(_, entry)| *entry == Entry::Device(parents))
        .collect();
    for (number, _) in all {
        let flags = descriptor_flags(number).unwrap_or(libc::O_CLOEXEC);
        // SAFETY: the number is the device's, and becomes a duplicate of the new one's.
        if unsafe { real::dup3(made.as_raw_fd(), number, flags) } >= 0 {
            book.set(number, open);
        }
    }
    Ok(open)
}

impl Book {
    /// Makes a device, with a descriptor that the program may be given, closed on exec.
    fn make(&mut self, device: Device) -> Result<(OwnedFd, Opened), Failure> {
        unisono_dahdi_station::let_make();
        match device {
            Device::Timer => {
                let source = self.source()?;
                let timer = {
                    let lifted = Lifted::new();
                    Timer::open(source, lifted.start())?
                };
                let fd = fcntl(timer.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(0))?;
                // SAFETY: new, and nobody else's.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                Ok((fd, Opened::Timer(timer)))
            }
            Device::Control | Device::Channel => {
                let never_ready =
                    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
                Ok((never_ready.into(), Opened::Silent(device)))
            }
            Device::Pseudo => Opened::channel(),
        }
    }

    /// What a process's first device brings with it: forks are told of, and it answers who asks for its state.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.begun.is_none() {
            process::begin();
        } else if !process::owns_memory() {
            // A child that borrows our memory must not leave its devices in it.
            return Err(Failure(libc::ENXIO));
        }
        let generation = process::generation();
        if self.begun == Some(generation) {
            return Ok(());
        }
        // A thread that is not here any more may have been looking at one of these.
        self.unused.clear();
        // What has forks tell it too comes first: up to version 2.35 the C library lets nobody register while a fork is prepared, and
        // once we are told, a fork waits for the book.
        self.source()?;
        let station = Station::get()?;
        fork::watch()?;
        station.complete_reports(|report| report.timers = report::timers());
        station.attend();
        self.begun = Some(generation);
        Ok(())
    }

    /// An entry for a device without numbers yet.
    fn enter(&mut self, opened: Opened, flags: c_int) -> &'static Open {
        let open = self.unused.pop().unwrap_or_else(|| {
            Box::leak(Box::new(Open {
                opened: RwLock::new(None),
                numbers: AtomicUsize::new(0),
                flags: AtomicI32::new(0),
                generation: AtomicU32::new(0),
            }))
        });
        open.numbers.store(0, Ordering::Relaxed);
        open.flags.store(flags, Ordering::Relaxed);
        open.generation
            .store(process::generation(), Ordering::Relaxed);
        *open.opened.write().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        open
    }

    fn set(&mut self, fd: RawFd, open: &'static Open) {
        // Something is there still if it was closed behind our back.
        self.clear(fd);
        open.numbers.fetch_add(1, Ordering::Relaxed);
        table::set(fd, Entry::Device(open));
    }

    /// Forgets what a number is. If it was its device's last, the device ends.
    fn clear(&mut self, fd: RawFd) {
        let Entry::Device(open) = table::get(fd) else {
            return;
        };
        table::set(fd, Entry::Foreign);
        let is_last = open.numbers.fetch_sub(1, Ordering::Relaxed) == 1;
        // What is inherited stays as it is: it is a copy of what the parent uses.
        if !is_last || open.generation.load(Ordering::Relaxed) != process::generation() {
            return;
        }
        if let Ok(opened) = open.opened.read()
            && let Some(opened) = &*opened
        {
            opened.end();
        }
        *open.opened.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.unused.push(open);
    }

    fn source(&mut self) -> Result<&TimingSource, Failure> {
        let generation = process::generation();
        if self.source.as_ref().is_none_or(|(of, _)| *of != generation) {
            let parents = self.source.replace((generation, timer::source()?));
            // Its thread is not here, and dropping it would be of no use.
            std::mem::forget(parents);
        }
        match &self.source {
            Some((_, source)) => Ok(source),
            None => Err(Failure(libc::ENXIO)),
        }
    }
}

/// The number that `open` with these flags answers.
fn given_to_program(fd: OwnedFd, flags: c_int) -> Result<RawFd, Failure> {
    if fd.as_raw_fd() as usize >= table::NUMBERS {
        return Err(Failure(libc::EMFILE));
    }
    if flags & libc::O_CLOEXEC == 0 {
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(fd.into_raw_fd())
}

/// `O_CLOEXEC` if the descriptor is closed on exec.
fn descriptor_flags(fd: RawFd) -> Option<c_int> {
    // SAFETY: the number is in our table.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = fcntl(fd, FcntlArg::F_GETFD).ok()?;
    Some(if flags & libc::FD_CLOEXEC != 0 {
        libc::O_CLOEXEC
    } else {
        0
    })
}

/// Whether it is a descriptor that the program does not know of.
fn is_hidden(fd: RawFd) -> bool {
    table::get(fd) == Entry::Hidden || unisono_dahdi_station::is_hidden(fd)
}

/// Those in a range, lowest first.
fn hidden_within(first: u32, last: u32) -> Vec<u32> {
    let timers = table::within(first as usize, last as usize)
        .filter(|(_, entry)| *entry == Entry::Hidden)
        .map(|(fd, _)| fd as u32);
    let stations = (first..=last.min(STATIONS_HIGHEST))
        .filter(|&fd| unisono_dahdi_station::is_hidden(fd as RawFd));
    let mut all: Vec<_> = timers.chain(stations).collect();
    all.sort_unstable();
    all
}

/// A station hides no higher number.
const STATIONS_HIGHEST: u32 = 65_535;

const NEW: c_int = libc::O_CREAT | libc::O_EXCL;
/// What of the flags of `open` stays.
const STATUS: c_int = libc::O_ACCMODE | SETTABLE;
/// What `F_SETFL` can change.
const SETTABLE: c_int =
    libc::O_APPEND | libc::O_ASYNC | libc::O_DIRECT | libc::O_NOATIME | libc::O_NONBLOCK;
