//! What each descriptor number is to us, at the price of two loads for whoever asks.
//!
//! Two levels of 4096, so that sixteen million numbers find their place; the second is made when it is needed and stays. Reading
//! locks nothing and works in signal handlers. Only who holds the lock of [`crate::opens`] writes.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::opens::Open;
use crate::process;

/// What a number is to us.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    /// Nothing.
    Foreign,
    /// A program's descriptor of a device.
    Device(&'static Open),
    /// A descriptor of our own, which the program shall not close.
    Hidden,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Foreign, Self::Foreign) | (Self::Hidden, Self::Hidden) => true,
            (Self::Device(one), Self::Device(other)) => ptr::eq(*one, *other),
            _ => false,
        }
    }
}

/// Numbers from here on are served by nobody.
pub(crate) const NUMBERS: usize = CHUNK * CHUNK;

#[inline]
pub(crate) fn get(fd: c_int) -> Entry {
    let word = word(fd);
    if word == 0 {
        return Entry::Foreign;
    }
    entry(word)
}

/// Whether a number may be something to us.
#[inline]
pub(crate) fn is_noted(fd: c_int) -> bool {
    word(fd) != 0
}

/// The open device behind a number.
#[inline]
pub(crate) fn device(fd: c_int) -> Option<&'static Open> {
    if word(fd) == 0 {
        return None;
    }
    match get(fd) {
        Entry::Device(open) => Some(open),
        _ => None,
    }
}

/// Whether no number is of a device.
#[inline]
pub(crate) fn is_empty() -> bool {
    DEVICES.load(Ordering::Relaxed) == 0
}

/// Changes what a number is to us, and returns what it was. Whoever calls holds the lock of [`crate::opens`].
pub(crate) fn set(fd: c_int, entry: Entry) -> Entry {
    let number = fd as usize;
    let Some(top) = TOP.get(number / CHUNK) else {
        return Entry::Foreign;
    };
    let word = match entry {
        Entry::Foreign => 0,
        Entry::Device(open) => ptr::from_ref(open).expose_provenance(),
        Entry::Hidden => hidden_word(),
    };
    let mut chunk = top.load(Ordering::Acquire);
    if chunk.is_null() {
        if word == 0 {
            return Entry::Foreign;
        }
        chunk = Box::into_raw(Box::new([const { AtomicUsize::new(0) }; CHUNK]));
        top.store(chunk, Ordering::Release);
    }
    // SAFETY: chunks are never freed.
    let chunk = unsafe { &*chunk };
    let before = self::entry(chunk[number % CHUNK].swap(word, Ordering::AcqRel));
    if matches!(before, Entry::Device(_)) {
        DEVICES.fetch_sub(1, Ordering::Relaxed);
    }
    if matches!(entry, Entry::Device(_)) {
        DEVICES.fetch_add(1, Ordering::Relaxed);
    }
    before
}

/// The numbers from `first` to `last` that are something to us.
pub(crate) fn within(first: usize, last: usize) -> impl Iterator<Item = (c_int, Entry)> {
    let chunks = (first / CHUNK)..=(last / CHUNK).min(CHUNK - 1);
    chunks
        .filter(|&at| !TOP[at].load(Ordering::Acquire).is_null())
        .flat_map(|at| at * CHUNK..(at + 1) * CHUNK)
        .filter(move |number| (first..=last).contains(number))
        .map(|number| (number as c_int, get(number as c_int)))
        .filter(|(_, entry)| *entry != Entry::Foreign)
}

#[inline]
fn word(fd: c_int) -> usize {
    let number = fd as u32 as usize;
    let Some(top) = TOP.get(number / CHUNK) else {
        return 0;
    };
    let chunk = top.load(Ordering::Acquire);
    if chunk.is_null() {
        return 0;
    }
    // SAFETY: chunks are never freed.
    let chunk = unsafe { &*chunk };
    chunk[number % CHUNK].load(Ordering::Acquire)
}

fn entry(word: usize) -> Entry {
    if word == 0 {
        Entry::Foreign
    } else if word & HIDDEN != 0 {
        // What a parent hid is nothing to its child.
        if word == hidden_word() {
            Entry::Hidden
        } else {
            Entry::Foreign
        }
    } else {
        // SAFETY: put there by `set` from a reference that is good for ever.
        Entry::Device(unsafe { &*ptr::with_exposed_provenance(word) })
    }
}

fn hidden_word() -> usize {
    (process::generation() as usize) << 1 | HIDDEN
}

/// No address of an [`Open`] is odd.
const HIDDEN: usize = 1;
const CHUNK: usize = 4096;

type Chunk = [AtomicUsize; CHUNK];

static TOP: [AtomicPtr<Chunk>; CHUNK] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNK];
static DEVICES: AtomicUsize = AtomicUsize::new(0);
