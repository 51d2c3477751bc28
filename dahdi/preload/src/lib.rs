//! `/dev/dahdi` for unmodified programs: `LD_PRELOAD=libunisono_dahdi.so`, or `unisono dahdi -- PROGRAM`.
//!
//! The library stands before the C library's functions that open, ask, read, write, wait for and close descriptors. What
//! concerns `/dev/dahdi/{timer,pseudo,ctl,channel}` it serves itself, in the program's own process; everything else goes on
//! to the C library, at the price of two or three loads.
//!
//! | module | what |
//! |---|---|
//! | `calls` | the functions, by what they do |
//! | `table` | what each descriptor number is to us, without a lock |
//! | `opens` | devices that are open, duplicated, closed, inherited |
//! | `device` | requests, reading and writing; `timer` is the timer device |
//! | `wait` | how `poll`, `select` and `epoll` see timers |
//! | `path`, `node` | paths, and what `stat` tells of them |
//! | `memory` | programs' addresses, which may be bad |
//! | `process`, `fork` | forks |
//! | `report` | what `unisono dahdi status` is told of timers |
//! | `real` | the functions that we stand before |
//!
//! # Guarantees
//!
//! * Nothing is started, allocated or registered until a device is opened.
//! * Other descriptors' `read`, `write`, `poll` and `close` are async-signal-safe as before, keep `errno`, and are points of
//!   cancellation as before.
//! * A bad address is EFAULT. Nothing panics into the program: what would is EIO.
//!
//! # Limits
//!
//! * After `exec` a descriptor that was kept open is a plain eventfd or socket. A forked child goes on by itself: see `opens`.
//! * A signal handler that closes or opens a device, or asks anything of the same device, while its own thread is in the midst of a
//!   request for one gets what it gets of `malloc` there. Other descriptors it may do anything with.
//! * Reading and writing a device, `SYNC` and `IOMUX` are no points of cancellation, and the latter two may wait for ever.
//! * A real-time thread of ours that runs for too long is sent SIGXCPU, for which there is a handler of ours. A program that sets
//!   another, or the default one, which ends it, answers for that signal itself.
//! * An `epoll` set, and whoever waits for a timer, is shown an event when another thread closes the timer.
//! * In `epoll`, who asks for EPOLLPRI of a timer is told EPOLLIN: the kernel answers, and an eventfd knows nothing urgent.
//! * `/dev/dahdi` itself is a directory to `stat`, and cannot be opened or listed.
//! * While a device is open, `poll` of anything costs a system call more for each page of its array.
//! * A program that another thread starts just when a device is opened may begin with its soft limit of open files at the hard one.
//! * An `epoll` set made before a fork still shows the parent's devices.
//! * What goes past the C library's functions is not seen: bare system calls, stdio on a device (`fdopen`), `io_uring`,
//!   programs that are linked statically, and set-user-ID ones, for which the dynamic linker ignores LD_PRELOAD.
//! * The machine's own `/dev/dahdi` is looked for once; if there is one, ours goes before it.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the requests of DAHDI are laid out as on 64-bit Linux; build for such a target");

mod calls;
mod device;
mod failure;
mod fork;
mod memory;
mod node;
mod opens;
mod path;
mod process;
mod real;
mod report;
mod table;
mod timer;
mod wait;
