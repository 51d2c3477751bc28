//! Whatever program threads do, the mixing thread neither allocates nor frees.

mod program;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use unisono_dahdi_station::{Settings, Sharing, Station};
use unisono_dahdi_trunk::Directory;
use unisono_timer::RealtimeRequest;

use program::{Program, eventually};

#[test]
fn the_mixing_thread_never_allocates() {
    let directory = tempfile::tempdir().unwrap();
    let station = || {
        let mut settings = Settings::default();
        settings.realtime = RealtimeRequest::new();
        settings.sharing = Sharing::In(Directory::at(directory.path()).unwrap());
        Station::new(settings).unwrap()
    };
    let (station, neighbour) = (station(), station());
    let far = Program::join(&neighbour, 3, 0x304);
    let near = Program::join(&station, 3, 0x304);
    assert!(eventually(
        || station.report().trunk.is_some() && station.report().steps.mixed > 10
    ));

    let done = AtomicBool::new(false);
    COUNTING.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let (station, done) = (&station, &done);
        scope.spawn(move || {
            let mut octets = [9; 320];
            while !done.load(Ordering::Relaxed) {
                for program in [&far, &near] {
                    let _ = program.write(&octets);
                    let _ = program.read(&mut octets);
                }
            }
        });
        for n in 0..3 {
            scope.spawn(move || {
                let mut octets = [n as u8; 320];
                while !done.load(Ordering::Relaxed) {
                    let program = Program::join(station, -1, 7);
                    program.set_conference(3 + n, 0x304);
                    for _ in 0..10 {
                        let _ = program.write(&octets);
                        let _ = program.read(&mut octets);
                    }
                    program.set_buffers(4096, 8);
                    program.set_conference(0, 0);
                    let _ = program.write_now(&octets);
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        thread::sleep(Duration::from_millis(1_500));
        done.store(true, Ordering::Relaxed);
    });
    let steps = station.report().steps;
    assert!(steps.mixed + steps.skipped > 20, "{steps:?}");
    assert!(neighbour.report().trunk.unwrap().frames > 0);
    COUNTING.store(false, Ordering::SeqCst);
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);

    // The counter itself works.
    COUNTING.store(true, Ordering::SeqCst);
    thread::Builder::new()
        .name("unisono-mix".into())
        .spawn(|| drop(Box::new(1_u8)))
        .unwrap()
        .join()
        .unwrap();
    COUNTING.store(false, Ordering::SeqCst);
    assert!(CALLS.load(Ordering::SeqCst) >= 2);
}

static COUNTING: AtomicBool = AtomicBool::new(false);
/// Calls of the allocator by threads with the mixing thread's name, while counting.
static CALLS: AtomicU64 = AtomicU64::new(0);

struct Counting;

fn count() {
    if COUNTING.load(Ordering::Relaxed) {
        let mut name = [0_u8; 16];
        // SAFETY: PR_GET_NAME writes at most 16 octets.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        if name.starts_with(b"unisono-mix\0") {
            CALLS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps the contract of `dealloc`, and `block` came from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and `block` came from `System`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
