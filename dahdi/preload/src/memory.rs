//! Memory at addresses that a program gave: a bad one is EFAULT, as of the kernel, and no crash.
//!
//! Before anything is copied, the kernel is asked about a word of each page that is touched, by calls that do nothing else:
//!
//! | asked | by |
//! |---|---|
//! | can it be read? | `rt_sigprocmask`, told to do what it does not know: it reads the new mask before it refuses |
//! | can it be written? | `futex`, told to add zero to the word and to wake nobody |
//!
//! `process_vm_readv` on oneself would be one call whatever the length, but containers' filters of system calls often forbid it.
//! These two no program can do without. If a filter forbids them nevertheless, addresses are trusted.
//!
//! Memory that another thread unmaps in the midst of the call is a crash, where the kernel would still say EFAULT.

use std::ptr;
use std::sync::atomic::AtomicU32;

use libc::epoll_event;
use nix::errno::Errno;

use crate::failure::{Failure, errno, set_errno};

/// Fills `into` from `address` on.
pub(crate) fn copy_in(address: usize, into: &mut [u8]) -> Result<(), Failure> {
    if copy_prefix(address, into) == into.len() {
        Ok(())
    } else {
        Err(Failure(libc::EFAULT))
    }
}

/// As [`copy_in`], up to where memory ends. Returns how much there was.
pub(crate) fn copy_prefix(address: usize, into: &mut [u8]) -> usize {
    let len = good_length(address, into.len(), is_readable);
    // SAFETY: the kernel can read that much from there, and `into` is our own.
    unsafe { ptr::copy_nonoverlapping(address as *const u8, into.as_mut_ptr(), len) };
    len
}

/// Writes `from` to `address`: all of it, or nothing.
pub(crate) fn copy_out(from: &[u8], address: usize) -> Result<(), Failure> {
    if good_length(address, from.len(), is_writable) < from.len() {
        return Err(Failure(libc::EFAULT));
    }
    // SAFETY: the kernel can write that much there; it is the program's, which asked for this.
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), address as *mut u8, from.len()) };
    Ok(())
}

/// Whether all of it can be read.
pub(crate) fn can_read(address: usize, len: usize) -> bool {
    good_length(address, len, is_readable) == len
}

/// The event that an address given to `epoll_ctl` is of.
pub(crate) fn epoll_event(address: usize) -> Option<epoll_event> {
    let mut event = [0; size_of::<epoll_event>()];
    copy_in(address, &mut event).ok()?;
    // SAFETY: a structure of integers.
    Some(unsafe { event.as_ptr().cast::<epoll_event>().read_unaligned() })
}

/// What is made of integers only, so that any octets are one.
///
/// # Safety
///
/// Neither padding nor octets that are no value.
pub(crate) unsafe trait Plain {}

// SAFETY: an int and two shorts.
unsafe impl Plain for libc::pollfd {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}
// SAFETY: an integer.
unsafe impl Plain for usize {}

/// A slice as its octets.
pub(crate) fn octets_of<T: Plain>(slice: &mut [T]) -> &mut [u8] {
    let len = size_of_val(slice);
    // SAFETY: the same memory, as long as it is borrowed; any octets are values of the type.
    unsafe { std::slice::from_raw_parts_mut(slice.as_mut_ptr().cast(), len) }
}

/// Of `len` octets from `address` on, how many come before the first page that is not good. Leaves `errno` as it was.
fn good_length(address: usize, len: usize, is_good: impl Fn(usize) -> bool) -> usize {
    let before = errno();
    let mut good = 0;
    while good < len {
        let Some(at) = address.checked_add(good) else {
            break;
        };
        if !is_good(at & !(WORD - 1)) {
            break;
        }
        good += PAGE - at % PAGE;
    }
    set_errno(before);
    good.min(len)
}

/// Whether the page of a word can be read.
fn is_readable(word: usize) -> bool {
    if word == 0 {
        return false;
    }
    // SAFETY: the kernel judges the address, and does nothing for a first argument that it does not know.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            UNKNOWN,
            word,
            ptr::null::<u8>(),
            WORD,
        )
    };
    Errno::result(result) != Err(Errno::EFAULT)
}

/// Whether the page of a word can be written.
fn is_writable(word: usize) -> bool {
    static OURS: AtomicU32 = AtomicU32::new(0);
    // SAFETY: the kernel judges the address, and adds zero to what is there, indivisibly.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            OURS.as_ptr(),
            libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG,
            0,
            ptr::null::<u8>(),
            word,
            libc::FUTEX_OP(libc::FUTEX_OP_ADD, 0, libc::FUTEX_OP_CMP_EQ, 0),
        )
    };
    Errno::result(result) != Err(Errno::EFAULT)
}

/// Octets that are asked about. An aligned word lies in one page.
const WORD: usize = 8;

/// Pages may be larger, which costs a question more.
const PAGE: usize = 4096;

/// None of what a mask of signals can be changed by.
const UNKNOWN: i32 = 77;

#[cfg(test)]
mod tests {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    use super::*;

    #[test]
    fn what_is_there_is_copied_from_heap_and_stack() {
        let (heap, stack) = (vec![7_u8; 9_000], [8_u8; 64]);
        let mut into = vec![0; 9_000];
        assert_eq!(copy_in(heap.as_ptr().addr(), &mut into), Ok(()));
        assert_eq!(into, heap);
        assert_eq!(copy_in(stack.as_ptr().addr(), &mut into[..64]), Ok(()));
        assert_eq!(into[..64], stack);
        let mut back = vec![0_u8; 9_000];
        assert_eq!(copy_out(&heap, back.as_mut_ptr().addr()), Ok(()));
        assert_eq!(back, heap);
        assert_eq!(copy_out(&[], 1), Ok(()));
    }

    #[test]
    fn bad_addresses_are_faults() {
        for address in [0, 1, usize::MAX, usize::MAX / 2, 0xdead_0000_0000_0000] {
            assert_eq!(copy_in(address, &mut [0; 4]), Err(Failure(libc::EFAULT)));
            assert_eq!(copy_out(&[0; 4], address), Err(Failure(libc::EFAULT)));
        }
    }

    #[test]
    fn memory_that_ends_midway_is_a_fault_and_its_prefix_can_be_had() {
        let two_pages = std::num::NonZero::new(2 * PAGE).unwrap();
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: new memory anywhere.
        let memory = unsafe { mmap_anonymous(None, two_pages, rights, MapFlags::MAP_PRIVATE) };
        let memory = memory.unwrap();
        let second = memory.addr().get() + PAGE;
        let pointer = std::ptr::with_exposed_provenance_mut(second);
        // SAFETY: the second page of what was just made, which nobody uses.
        unsafe { munmap(std::ptr::NonNull::new(pointer).unwrap(), PAGE) }.unwrap();
        let mut into = [1; 8];
        assert_eq!(copy_in(second - 4, &mut into), Err(Failure(libc::EFAULT)));
        assert_eq!(copy_prefix(second - 4, &mut into), 4);
        assert_eq!(copy_out(&into, second - 4), Err(Failure(libc::EFAULT)));
        assert_eq!(copy_out(&into[..4], second - 4), Ok(()));
        // SAFETY: the first page.
        unsafe { munmap(memory, PAGE) }.unwrap();
    }

    #[test]
    fn read_only_memory_is_not_written() {
        static TEXT: &str = "a constant";
        let address = TEXT.as_ptr().addr();
        assert_eq!(copy_out(b"x", address), Err(Failure(libc::EFAULT)));
    }
}
