//! With memory made before and dropped after, opening, closing and requests neither allocate nor free.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use unisono_dahdi::exchange::{ChannelNumber, Exchange, Limits, Needs, Spares};
use unisono_dahdi::request::{BufInfo, ConfInfo, Errno, Gains, Reply, Request};

/// As under a lock: counts what is allocated and freed by `work` alone.
fn counted<T>(work: impl FnOnce() -> T) -> T {
    COUNT.set(Some(0));
    let result = work();
    assert_eq!(COUNT.take(), Some(0));
    result
}

fn ask(
    exchange: &mut Exchange,
    channel: ChannelNumber,
    request: Request,
    now: u64,
) -> Result<Reply, Errno> {
    let needs = counted(|| exchange.needs(channel, &request));
    let mut spares = Spares::of(needs);
    counted(|| exchange.request_with(&mut spares, channel, request, now))
}

fn requests(n: i32) -> Vec<Request> {
    let buffers = BufInfo {
        tx_policy: n % 3,
        rx_policy: 0,
        buffers: 2 + n % 30,
        block: 160,
        read_buffers: 0,
        write_buffers: 0,
    };
    let place = |conference, mode| {
        Request::SetConf(ConfInfo {
            channel: 0,
            conference,
            mode,
        })
    };
    vec![
        Request::SetBufInfo(buffers),
        Request::SetBlockSize(80 + n),
        Request::SetBlockSize(1),
        Request::SetLinear(true),
        Request::SetLaw(2),
        Request::GetGains { channel: 0 },
        Request::SetGains(Box::new(Gains::identity(0))),
        Request::SetGains(Box::new(Gains::identity(0))),
        Request::GetGains { channel: 0 },
        Request::GetParams { channel: 0 },
        place(-1, 7),
        place(5, 0x304),
        place(7 + n, 0x304),
        place(7 + n, 0),
        Request::Flush(7),
        Request::Sync,
        Request::GetConf { channel: 0 },
    ]
}

#[test]
fn nothing_is_allocated_or_freed_with_what_was_made_before() {
    let mut exchange = Exchange::new(Limits { channels: 40 });
    let mut now = 1_000;
    for round in 0..3 {
        let mut channels = Vec::new();
        for n in 0..40 {
            let mut spares = Spares::for_open();
            let channel = counted(|| exchange.open_with(&mut spares, now)).unwrap();
            channels.push(channel);
            let mut served = 0;
            for request in requests(n + round) {
                served += i32::from(ask(&mut exchange, channel, request, now).is_ok());
                now += 50;
            }
            assert_eq!(served, 15);
            exchange.advance(now);
        }
        let mut spares = Spares::for_open();
        let full = counted(|| exchange.open_with(&mut spares, now));
        assert_eq!(full, Err(Errno::Enomem));
        assert_eq!(exchange.conferences().count(), 40);
        for channel in channels {
            let mut spares = Spares::default();
            counted(|| exchange.close_with(&mut spares, channel, now));
            // Closed, it needs nothing and is refused.
            let request = Request::SetBlockSize(100);
            assert_eq!(exchange.needs(channel, &request), Needs::default());
            let refused = ask(&mut exchange, channel, request, now);
            assert_eq!(refused, Err(Errno::Enodev));
        }
    }

    // The counter itself works.
    COUNT.set(Some(0));
    drop(Box::new(1_u8));
    assert_eq!(COUNT.take(), Some(2));
}

#[test]
fn what_is_not_at_hand_is_allocated() {
    let mut exchange = Exchange::new(Limits::default());
    let mut none = Spares::default();
    let channel = exchange.open_with(&mut none, 0).unwrap();
    let served = requests(3)
        .into_iter()
        .filter_map(|request| exchange.request_with(&mut none, channel, request, 0).ok());
    assert_eq!(served.count(), 15);
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
