//! No tick allocates or frees, whatever changes between and within ticks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use unisono_mixer::tone::{ENTER, Melody};
use unisono_mixer::{Desk, Role, Room, SampleRate, Strip, StripSettings};

#[test]
fn a_tick_neither_allocates_nor_frees() {
    let mut desk = Desk::new();
    let mut room = Room::new(SampleRate::Hz16000);
    let mut strips: Vec<Box<Strip>> = (0..40)
        .map(|n| Box::new(Strip::new(SampleRate::ALL[n % 4], StripSettings::default())))
        .collect();
    let voice: Vec<i16> = (0..960)
        .map(|n| ((n * 7_919) % 60_000 - 30_000) as i16)
        .collect();
    let mut beep = Melody::new(ENTER, SampleRate::Hz48000, -20.0);
    let mut prompt = [0; 960];

    COUNT.set(Some(0));
    for tick in 0..100_usize {
        if tick % 10 == 0 {
            room.set_rate(SampleRate::ALL[tick / 10 % 4]);
        }
        beep.fill(&mut prompt);
        let mut intake = desk.begin(&mut room);
        for (n, strip) in strips.iter_mut().enumerate() {
            let len = strip.rate().frame_len();
            match (tick * 31 + n * 17) % 23 {
                0 => strip.set_muted(tick % 2 == 0),
                1 => strip.set_output_gain_db(n as f32),
                2 => strip.set_role([Role::Both, Role::ListenOnly, Role::TalkOnly][tick % 3]),
                3 => strip.set_input_gain_db(n as f32 - 20.0),
                _ => {}
            }
            if (tick / 7 + n) % 3 == 0 {
                intake.add(strip, &voice[..len]);
            } else {
                intake.add_silence(strip);
            }
        }
        let mut mix = intake.finish();
        for (n, strip) in strips.iter_mut().enumerate() {
            let private = (n % 9 == 0).then_some(&prompt[..strip.rate().frame_len()]);
            mix.hear(strip, private);
        }
        mix.common(SampleRate::Hz24000);
    }
    let calls = COUNT.take();
    assert_eq!(calls, Some(0));

    // The counter itself works.
    COUNT.set(Some(0));
    drop(Box::new(1_u8));
    assert_eq!(COUNT.take(), Some(2));
}

thread_local! {
    /// Calls of the allocator by this thread, while counting.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Counting;

fn count() {
    COUNT.set(COUNT.get().map(|calls| calls + 1));
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
