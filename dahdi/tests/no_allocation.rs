//! What a tick calls neither allocates nor frees.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use unisono_dahdi::exchange::{Exchange, Limits, Lines, STEP};
use unisono_dahdi::request::{BufInfo, ConfInfo, Request};

#[test]
fn advancing_reading_and_writing_never_allocate() {
    let mut exchange = Exchange::new(Limits::default());
    let mut now = 12_345;
    let modes = [0x304, 0x106, 0x204, 7, 6, 5, 4, 0];
    let channels: Vec<_> = (0..80)
        .map(|n| {
            let channel = exchange.open(now).unwrap();
            let buffers = BufInfo {
                tx_policy: n % 3,
                rx_policy: 0,
                buffers: 32,
                block: 160,
                read_buffers: 0,
                write_buffers: 0,
            };
            exchange
                .request(channel, Request::SetBufInfo(buffers), now)
                .unwrap();
            exchange
                .request(channel, Request::SetLinear(n % 5 != 0), now)
                .unwrap();
            let (conference, mode) = match n {
                70.. => (0x8000 + n - 70, 1 + n % 3),
                _ if modes[n as usize % 8] == 0 => (0, 0),
                _ => (1 + n % 9, modes[n as usize % 8]),
            };
            let info = ConfInfo {
                channel: 0,
                conference,
                mode,
            };
            exchange
                .request(channel, Request::SetConf(info), now)
                .unwrap();
            channel
        })
        .collect();
    let mut octets = [0x55; 320];
    let mut lines = Echo { said: [0; STEP] };

    COUNT.set(Some(0));
    let mut changes = 0;
    for tick in 0..400_u64 {
        now += match tick % 50 {
            7 => 400,
            13 => 4_000,
            29 => 40_000,
            _ => 160,
        };
        changes += exchange.advance_with(now, &mut lines).len();
        for (n, &channel) in channels.iter().enumerate() {
            for _ in 0..(tick as usize + n) % 4 {
                let _ = exchange.read(channel, &mut octets, now);
                let _ = exchange.write(channel, &octets, now);
            }
        }
        changes += usize::from(exchange.next_deadline().is_some());
    }
    assert_eq!(COUNT.take(), Some(0));
    assert!(changes > 1_000, "something happened: {changes}");

    // The counter itself works.
    COUNT.set(Some(0));
    drop(Box::new(1_u8));
    assert_eq!(COUNT.take(), Some(2));
}

/// A line to somebody who repeats what is said, now and then.
struct Echo {
    said: [i16; STEP],
}

impl Lines for Echo {
    fn is_shared(&self, conference: i32) -> bool {
        conference % 2 == 0
    }

    fn incoming(&mut self, _: i32, step: u64, into: &mut [i16; STEP]) -> bool {
        *into = self.said;
        step % 3_200 < 1_600
    }

    fn outgoing(&mut self, _: i32, _: u64, sum: &[i16; STEP]) {
        self.said = *sum;
    }
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
