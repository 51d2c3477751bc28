//! Storms from several threads: at rest every descriptor says what its handle's state is, and no tick was lost.

mod handles;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use handles::{accounted, eventually, is_readable, ordinary_source, wait_readable};
use unisono_timer::{MonoTime, Period, TimerHandle};

/// Ticks as fast as they are to be had, so that they meet everything.
fn at_8000_hz(timer: &TimerHandle) {
    timer.set_period(Period::from_rate(8_000, 1).ok()).unwrap();
}

#[test]
fn a_million_continuous_toggles_against_ticks_leave_the_descriptor_true() {
    let source = ordinary_source();
    let timer = source.open().unwrap();
    at_8000_hz(&timer);
    let schedule = timer.schedule().unwrap();
    let acked = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let taken = timer.ack(2).unwrap_or(0);
                acked.fetch_add(u64::from(taken), Ordering::Relaxed);
            }
        });
        let togglers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..250_000 {
                        timer.enable_continuous().unwrap();
                        timer.disable_continuous().unwrap();
                    }
                })
            })
            .collect();
        for toggler in togglers {
            toggler.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let before = MonoTime::now();
    timer.set_rate(0).unwrap();
    let due = schedule.number_at(before)..=schedule.number_at(MonoTime::now());
    let acked = acked.load(Ordering::Relaxed);
    eventually("every tick", || due.contains(&(acked + accounted(&timer))));
    // The tick thread may be on its way to the descriptor still.
    eventually("a true descriptor", || {
        is_readable(&timer) == (timer.pending() > 0)
    });
    for _ in 0..3 {
        timer.enable_continuous().unwrap();
        assert!(is_readable(&timer));
        timer.disable_continuous().unwrap();
        let _ = timer.ack_all();
        eventually("quiet", || !is_readable(&timer));
    }
}

#[test]
fn a_waiter_is_woken_by_every_continuous_mode_that_waits_for_it() {
    // One thread's enable is the other's wake-up, as where PBX channels have no pipe of their own.
    let source = ordinary_source();
    let timer = source.open().unwrap();
    timer.set_rate(1_000).unwrap();
    let queued = AtomicU64::new(0);
    const FRAMES: u64 = 20_000;
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..FRAMES {
                queued.fetch_add(1, Ordering::Release);
                timer.enable_continuous().unwrap();
                while queued.load(Ordering::Acquire) > 8 {
                    thread::yield_now();
                }
            }
        });
        let mut taken = 0;
        while taken < FRAMES {
            assert!(wait_readable(&timer, 30_000), "asleep with frames queued");
            let _ = timer.ack(1);
            timer.disable_continuous().unwrap();
            taken += queued.swap(0, Ordering::AcqRel);
        }
    });
}

#[test]
fn open_and_close_storms_leave_the_others_ticking() {
    let source = ordinary_source();
    let steady = source.open().unwrap();
    steady.set_rate(100).unwrap();
    let schedule = steady.schedule().unwrap();
    thread::scope(|scope| {
        for seed in 0..4_u32 {
            let source = &source;
            scope.spawn(move || {
                let mut open = Vec::new();
                for round in 0..2_000_u32 {
                    let timer = source.open().unwrap();
                    timer.set_rate(1 + (seed * 2_000 + round) % 1_000).unwrap();
                    if round % 3 == 0 {
                        timer.enable_continuous().unwrap();
                    }
                    open.push(timer);
                    if open.len() > 50 {
                        open.swap_remove((round as usize * 7) % 50);
                    }
                    if round % 5 == 0 {
                        open[round as usize % open.len()].set_rate(0).unwrap();
                    }
                }
            });
        }
    });
    let before = MonoTime::now();
    steady.set_rate(0).unwrap();
    let due = schedule.number_at(before)..=schedule.number_at(MonoTime::now());
    eventually("every tick of the steady one", || {
        due.contains(&accounted(&steady))
    });
    // Numbers and memory are used again.
    let again = source.open().unwrap();
    again.set_rate(1_000).unwrap();
    assert!(wait_readable(&again, 30_000));
}

#[test]
fn rates_set_by_several_threads_leave_the_last_one() {
    let source = ordinary_source();
    let timer = source.open().unwrap();
    thread::scope(|scope| {
        for seed in 0..3 {
            let timer = &timer;
            scope.spawn(move || {
                for round in 0..20_000 {
                    timer.set_rate((seed + round) % 500).unwrap();
                }
            });
        }
    });
    timer.set_rate(0).unwrap();
    eventually("rest", || {
        let before = accounted(&timer);
        thread::sleep(std::time::Duration::from_millis(300));
        accounted(&timer) == before
    });
    let _ = timer.ack_all();
    timer.set_rate(250).unwrap();
    let schedule = timer.schedule().unwrap();
    let missed = timer.missed();
    eventually("ticks", || timer.pending() >= 5);
    let before = MonoTime::now();
    timer.set_rate(0).unwrap();
    let due = schedule.number_at(before)..=schedule.number_at(MonoTime::now());
    eventually("exactly those", || {
        due.contains(&(accounted(&timer) - missed))
    });
}
