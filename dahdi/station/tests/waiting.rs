//! Calls that wait: for what, how long, and what ends them.

mod program;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use unisono_dahdi::request::{Errno, Reply, Request, iomux};

use program::{Program, eventually, ordinary_station};

/// Makes all waits long.
fn stuffed(program: &Program) {
    // Buffers that are sent only when all are full, and one is left free: SYNC waits for ever.
    let info = unisono_dahdi::request::BufInfo {
        tx_policy: 1,
        rx_policy: 0,
        buffers: 4,
        block: 8192,
        read_buffers: 0,
        write_buffers: 0,
    };
    assert_eq!(program.ask(Request::SetBufInfo(info)), Ok(Reply::Done));
    assert_eq!(program.write_now(&[0xff; 16]), Ok(16));
}

#[test]
fn reads_come_at_the_pace_of_the_clock() {
    let station = ordinary_station();
    let program = Program::open(&station);
    program.set_buffers(160, 2);
    let mut octets = [0; 8192];
    let begin = std::time::Instant::now();
    for _ in 0..25 {
        assert_eq!(program.read(&mut octets), Ok(160));
    }
    // Two at most were waiting, so 23 blocks of 20 ms have passed.
    assert!(begin.elapsed() >= Duration::from_millis(22 * 20));
}

#[test]
fn writes_come_at_the_pace_of_the_clock_and_nothing_is_cut_of_them() {
    let station = ordinary_station();
    let program = Program::join(&station, 5, 0x304);
    let begin = std::time::Instant::now();
    for _ in 0..32 + 25 {
        assert_eq!(program.write(&[1; 320]), Ok(320));
    }
    assert!(begin.elapsed() >= Duration::from_millis(24 * 20));
    assert_eq!(program.seat.stats().unwrap().trims, 0);
}

#[test]
fn sync_and_iomux_wait_for_what_they_are_asked_for() {
    let station = ordinary_station();
    let program = Program::open(&station);
    program.set_buffers(160, 4);
    for _ in 0..20 {
        assert_eq!(program.write(&[0xff; 160]), Ok(160));
        assert_eq!(program.ask(Request::Sync), Ok(Reply::Done));
        assert!(program.seat.readiness().unwrap().drained);
        let mask = iomux::READ;
        let met = program.ask(Request::Iomux(mask));
        assert_eq!(met, Ok(Reply::Int(mask as i32)));
        assert_eq!(program.read_now(&mut [0; 160]), Ok(160));
    }
    assert_eq!(program.ask(Request::Iomux(0)), Err(Errno::Einval));
    let nothing = iomux::EVENT | iomux::NO_WAIT;
    assert_eq!(program.ask(Request::Iomux(nothing)), Ok(Reply::Int(0)));
}

#[test]
fn closing_ends_every_wait() {
    let station = ordinary_station();
    let calls: [fn(&Program) -> Errno; 3] = [
        |program| loop {
            if let Err(error) = program.read(&mut [0; 8192]) {
                return error;
            }
        },
        |program| loop {
            if let Err(error) = program.write(&[0xff; 8192]) {
                return error;
            }
        },
        |program| program.ask(Request::Sync).unwrap_err(),
    ];
    for call in calls {
        let program = Program::open(&station);
        stuffed(&program);
        thread::scope(|scope| {
            let caller = scope.spawn(|| call(&program));
            // Whether it waits already or only begins to: it ends.
            thread::sleep(Duration::from_millis(30));
            program.seat.close();
            assert_eq!(caller.join().unwrap(), Errno::Enodev);
        });
    }
}

#[test]
fn a_station_with_nothing_to_do_sleeps() {
    let station = ordinary_station();
    let programs: Vec<_> = (0..8).map(|_| Program::open(&station)).collect();
    // All of their buffers become full, and nobody reads.
    let wakeups = || station.lateness().snapshot().count();
    assert!(eventually(|| {
        let before = wakeups();
        thread::sleep(Duration::from_millis(400));
        before > 0 && before == wakeups()
    }));
    drop(programs);
    let _talker = Program::join(&station, 1, 0x304);
    let before = wakeups();
    assert!(eventually(|| wakeups() > before + 5));
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

fn handle(signal: Signal, flags: SaFlags) {
    let action = SigAction::new(SigHandler::Handler(count), flags, SigSet::empty());
    // SAFETY: the handler does nothing but add to an atomic.
    unsafe { sigaction(signal, &action) }.unwrap();
}

/// What a call returns while it is sent signals, and whether it had returned before `after` let it go.
fn bombarded(
    signal: Signal,
    call: impl FnOnce() -> Option<Errno> + Send,
    after: impl FnOnce(),
) -> (Option<Errno>, bool) {
    let (target, done) = (
        std::sync::Mutex::new(None::<Pthread>),
        AtomicBool::new(false),
    );
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            *target.lock().unwrap() = Some(pthread_self());
            let result = call();
            done.store(true, Ordering::SeqCst);
            result
        });
        let target = loop {
            if let Some(target) = *target.lock().unwrap() {
                break target;
            }
            thread::yield_now();
        };
        for _ in 0..50 {
            if done.load(Ordering::SeqCst) {
                break;
            }
            pthread_kill(target, signal).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        let early = done.load(Ordering::SeqCst);
        after();
        (caller.join().unwrap(), early)
    })
}

#[test]
fn signals_end_a_wait_or_do_not_as_their_handler_was_set() {
    let station = ordinary_station();
    handle(Signal::SIGUSR1, SaFlags::empty());
    handle(Signal::SIGUSR2, SaFlags::SA_RESTART);
    let calls: [fn(&Program) -> Option<Errno>; 4] = [
        |program| loop {
            if let Err(error) = program.read(&mut [0; 8192]) {
                return Some(error);
            }
        },
        |program| loop {
            if let Err(error) = program.write(&[0xff; 8192]) {
                return Some(error);
            }
        },
        |program| program.ask(Request::Sync).err(),
        |program| program.ask(Request::Iomux(iomux::EVENT)).err(),
    ];
    for (n, call) in calls.into_iter().enumerate() {
        for (signal, ends) in [(Signal::SIGUSR1, true), (Signal::SIGUSR2, false)] {
            let program = Program::open(&station);
            stuffed(&program);
            let before = SIGNALS.load(Ordering::SeqCst);
            let (error, early) = bombarded(signal, || call(&program), || program.seat.close());
            assert!(SIGNALS.load(Ordering::SeqCst) > before);
            if ends {
                assert_eq!(error, Some(Errno::Eintr), "call {n}");
            } else {
                assert!(!early, "call {n}: {error:?}");
                assert_eq!(error, Some(Errno::Enodev), "call {n}");
            }
        }
    }
}
