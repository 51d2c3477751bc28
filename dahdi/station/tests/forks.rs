//! Forks of a process with a station.
//!
//! A child answers by its exit status, since it must not unwind into the test harness of its parent. One test, as it forks.

mod program;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::poll::PollFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork};
use unisono_dahdi::request::{Errno, Reply, Request};
use unisono_dahdi_station::{Station, is_hidden};

use program::{Program, steady, steady_value};

/// The exit status of a child that does this: 0 when true. Its fork is announced as an interposed C library does it.
fn in_child(acts: impl FnOnce() -> bool) -> i32 {
    Station::prepare_fork();
    // SAFETY: the child allocates, which glibc makes possible after a fork, takes no lock that a thread of the parent may hold,
    // and ends by _exit.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            Station::after_fork_in_child();
            // A hang is an answer as well.
            alarm::set(60);
            let status = i32::from(!acts());
            // SAFETY: ends the process; nothing of the parent's is run.
            unsafe { libc::_exit(status) }
        }
        ForkResult::Parent { child } => {
            Station::after_fork_in_parent();
            match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, status) => status,
                other => panic!("the child {other:?}"),
            }
        }
    }
}

/// Whether a channel hears a voice within ten seconds.
fn hears(program: &Program, value: i16) -> bool {
    let mut octets = [0; 320];
    (0..500).any(|_| {
        program.poll(PollFlags::POLLIN, 1_000);
        program.read_now(&mut octets) == Ok(320) && steady_value(&octets) == Some(value)
    })
}

fn conference_of(program: &Program) -> Option<(i32, i32)> {
    match program.ask(Request::GetConf { channel: 0 }) {
        Ok(Reply::Conf(info)) => Some((info.conference, info.mode)),
        _ => None,
    }
}

#[test]
fn a_child_adopts_what_it_uses_and_disturbs_nobody() {
    let directory = tempfile::tempdir().unwrap();
    // SAFETY: no other thread has been started yet.
    unsafe { std::env::set_var("UNISONO_DAHDI_DIR", directory.path()) };
    let station = Station::get().unwrap();
    let (talker, listener) = (
        Program::join(station, 77, 0x304),
        Program::join(station, 77, 0x304),
    );
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = talker.write(&steady(1_234));
            }
        });
        // The control lock is busy when the forks come.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(Program::join(station, -1, 7));
            }
        });
        for _ in 0..10 {
            assert_eq!(in_child(|| true), 0, "a child that does nothing");
        }
        let adopts = || {
            let inherited = listener.seat.is_inherited()
                && listener.read_now(&mut [0; 320]) == Err(Errno::Enodev)
                && listener.ask(Request::SetLinear(true)) == Err(Errno::Enodev)
                && !(0..4096).any(is_hidden);
            let Ok((descriptor, seat)) = listener.seat.adopt() else {
                return false;
            };
            let own = Program { descriptor, seat };
            let same = conference_of(&own) == Some((77, 0x304))
                && own.ask(Request::GetBlockSize) == Ok(Reply::Int(160));
            // It hears the parent's talker through the trunk.
            inherited && same && own.fd() != listener.descriptor.as_raw_fd() && hears(&own, 1_234)
        };
        for _ in 0..3 {
            assert_eq!(in_child(adopts), 0, "a child that adopts");
        }
        assert!(hears(&listener, 1_234), "the parent goes on");
        done.store(true, Ordering::Relaxed);
    });
}
