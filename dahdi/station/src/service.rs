//! The service thread: looks for other processes while a conference is in use, and says what this one does when it is asked.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{read, write};
use unisono_dahdi_trunk::{Answering, Directory};

use crate::hidden::{Hidden, Noted};
use crate::making::Making;
use crate::report;
use crate::shared::Shared;

/// How the thread is told that there is something new.
#[derive(Debug)]
pub(crate) struct Call {
    event: Hidden,
    stop: AtomicBool,
}

impl Call {
    pub(crate) fn new() -> Result<Self, Errno> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)?;
        Ok(Self {
            event: Hidden::new(OwnedFd::from(event)),
            stop: AtomicBool::new(false),
        })
    }

    /// Has the thread look.
    pub(crate) fn call(&self) {
        if self.event.is_given_up() || !is_event(self.event.as_fd()) {
            return;
        }
        // A full counter calls as well.
        let _ = write(self.event.as_fd(), &1_u64.to_ne_bytes());
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.call();
    }
}

/// Starts the thread.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    call: Arc<Call>,
    directory: Directory,
) -> io::Result<JoinHandle<()>> {
    // No signal of the program's is to be handled by this thread. It inherits what is blocked here.
    let making = Making::expect();
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let spawned = thread::Builder::new()
        .name("unisono-dahdi".into())
        .stack_size(STACK_BYTES)
        .spawn(move || run(&shared, &call, &directory));
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    if spawned.is_ok() {
        // The thread ends it.
        mem::forget(making);
    }
    spawned
}

fn run(shared: &Arc<Shared>, call: &Call, directory: &Directory) {
    let making = Making::begin();
    // Refused, nobody can ask; `unisono dahdi status` then does not list the process. All else works.
    let mut reception = Reception::open(directory);
    drop(making);
    while !call.stop.load(Ordering::Acquire) {
        let making = Making::begin();
        let look = if shared.keep_in_touch() {
            LOOK
        } else {
            IDLE_LOOK
        };
        let timeout = PollTimeout::try_from(look).unwrap_or(PollTimeout::MAX);
        if reception.as_ref().is_some_and(Reception::is_lost)
            && directory.path().is_dir()
            && let Ok(directory) = shared.directory()
            && let Some(anew) = Reception::open(&directory)
        {
            reception = Some(anew);
        }
        drop(making);
        let answering = reception.as_ref().map(|reception| &reception.answering);
        let mut fds = [
            PollFd::new(call.event.as_fd(), PollFlags::POLLIN),
            PollFd::new(
                answering.map_or(call.event.as_fd(), |answering| answering.as_fd()),
                PollFlags::POLLIN,
            ),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Only a lack of memory, or of the right to make the call: never to be met by spinning.
            Err(_) => thread::sleep(LOOK),
        }
        let [called, asked] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if called.intersects(GONE) || !is_event(call.event.as_fd()) || asked.intersects(GONE) {
            // The program has closed what is ours past us, and the numbers may be its own by now: they are not touched again.
            call.event.give_up();
            if let Some(Reception { noted, answering }) = reception {
                drop(noted);
                mem::forget(answering);
            }
            return;
        }
        if !called.is_empty() {
            let _ = read(call.event.as_fd(), &mut [0; 8]);
        }
        if !asked.is_empty()
            && let Some(answering) = answering
        {
            let _making = Making::begin();
            answering.answer(|| report::of(shared));
        }
    }
}

/// Where this process is asked.
#[derive(Debug)]
struct Reception {
    noted: Noted,
    answering: Answering,
}

impl Reception {
    fn open(directory: &Directory) -> Option<Self> {
        let answering = Answering::bind(directory).ok()?;
        Some(Self {
            noted: Noted::new(answering.as_fd()),
            answering,
        })
    }

    /// Whether somebody has removed it, or its directory.
    fn is_lost(&self) -> bool {
        !self.answering.is_published()
    }
}

/// Whether it is an eventfd still: unlike files, sockets and pipes these are of no type.
fn is_event(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|status| status.st_mode & SFlag::S_IFMT.bits() == 0)
}

/// What `poll` says of numbers that are nobody's, and of descriptors that serve nobody.
const GONE: PollFlags = PollFlags::POLLNVAL.union(PollFlags::POLLERR);

/// How often others are looked for while a conference is in use: a newcomer is heard after that.
const LOOK: Duration = Duration::from_millis(250);

/// How often it is looked whether others can still ask, while no conference is in use.
const IDLE_LOOK: Duration = Duration::from_secs(10);

/// Plenty for a report of 512 channels, which is on the heap.
const STACK_BYTES: usize = 256 * 1024;
