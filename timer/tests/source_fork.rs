//! Forks of a process with several threads, in the midst of ticks.
//!
//! A child answers by its exit status, since it must not unwind into the test harness of its parent.

mod handles;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use handles::{accounted, eventually, is_readable, ordinary_source, wait_readable};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork};
use unisono_timer::{MonoTime, SourceError, TimerHandle, TimingSource};

/// One test at a time, so that no child inherits what another test has half done.
static ALONE: Mutex<()> = Mutex::new(());

/// The exit status of a child that does this: 0 when true.
fn in_child(acts: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child allocates, which glibc makes possible after a fork, takes no lock that a thread of
    // the parent may hold, and ends by _exit.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            // A hang is an answer as well.
            alarm::set(30);
            let status = i32::from(!acts());
            // SAFETY: ends the process; nothing of the parent's is run.
            unsafe { nix::libc::_exit(status) }
        }
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, status) => status,
            other => panic!("the child {other:?}"),
        },
    }
}

fn answers_forked(source: &TimingSource, timer: &TimerHandle) -> bool {
    let forked = Some(SourceError::Forked);
    source.open().err() == forked
        && timer.set_rate(100).err() == forked
        && timer.set_rate(0).err() == forked
        && timer.ack(1).err() == forked
        && timer.ack_all().err() == forked
        && timer.enable_continuous().err() == forked
        && timer.disable_continuous().err() == forked
        && timer.event().err() == forked
        && timer.schedule().is_none()
}

#[test]
fn a_child_forked_in_mid_tick_is_told_so_may_drop_everything_and_can_start_anew() {
    let _alone = ALONE.lock();
    let source = ordinary_source();
    let mut timers: Vec<_> = (0..50).map(|_| source.open().unwrap()).collect();
    for timer in &timers {
        timer.set_rate(1_000).unwrap();
    }
    let parents = timers.pop().unwrap();
    let schedule = parents.schedule().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Locks and the inbox are busy when the forks come.
        scope.spawn(|| {
            let mut rate = 0;
            while !done.load(Ordering::Relaxed) {
                rate = (rate + 1) % 1_000;
                timers[0].set_rate(rate).unwrap();
                timers[1].enable_continuous().unwrap();
                timers[1].disable_continuous().unwrap();
                drop(source.open().unwrap());
            }
        });
        let statuses: Vec<_> = (0..40)
            .map(|_| {
                // Copies that the child owns: dropping them runs the handles' own Drop there.
                let (source, timer) = (&source, &timers[2]);
                in_child(|| {
                    let told = answers_forked(source, timer);
                    // SAFETY: the child never uses these again, nor does it return to their owners.
                    drop(unsafe { std::ptr::read(timer) });
                    // SAFETY: as above.
                    drop(unsafe { std::ptr::read(source) });
                    let Ok(own) = ordinary_source().open() else {
                        return false;
                    };
                    told && own.set_rate(200).is_ok()
                        && wait_readable(&own, 20_000)
                        && own.ack(1).is_ok()
                })
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(statuses, vec![0; 40]);
    });
    // The parent's beat was not disturbed: not one tick is unaccounted for.
    let before = MonoTime::now();
    parents.set_rate(0).unwrap();
    let due = schedule.number_at(before)..=schedule.number_at(MonoTime::now());
    eventually("every tick", || due.contains(&accounted(&parents)));
    // Nor were descriptors whose copies children closed.
    eventually("a tick of the handle that children dropped", || {
        is_readable(&timers[2])
    });
}

#[test]
fn a_grandchild_is_told_as_well_and_a_childs_own_source_is_not_its_childs() {
    let _alone = ALONE.lock();
    let source = ordinary_source();
    let timer = source.open().unwrap();
    timer.set_rate(100).unwrap();
    let status = in_child(|| {
        let own_source = ordinary_source();
        let Ok(own) = own_source.open() else {
            return false;
        };
        let armed = own.set_rate(100).is_ok();
        let grandchild =
            in_child(|| answers_forked(&source, &timer) && answers_forked(&own_source, &own));
        armed && grandchild == 0 && wait_readable(&own, 20_000)
    });
    assert_eq!(status, 0);
    assert!(wait_readable(&timer, 20_000));
}

#[test]
fn a_program_that_ends_in_a_child_by_exit_does_not_wait_for_a_thread_that_is_not_there() {
    let _alone = ALONE.lock();
    let source = ordinary_source();
    let timer = source.open().unwrap();
    timer.set_rate(100).unwrap();
    eventually("a tick", || timer.pending() > 0);
    let status = in_child(move || {
        drop(timer);
        drop(source);
        true
    });
    assert_eq!(status, 0);
}
