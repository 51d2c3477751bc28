//! Touching the calling thread's stack before it matters.
#![allow(
    unsafe_code,
    reason = "only the C library knows where a thread's stack ends"
)]

use std::hint::black_box;
use std::mem::MaybeUninit;

use nix::errno::Errno;

use super::outcome::{Outcome, Refusal, Remedy};
use super::scheduling::kernel_refusal;

pub(super) fn prefault(asked: usize) -> Outcome {
    let here = approximate_stack_pointer();
    let available = match lowest_address() {
        Ok(lowest) => here.saturating_sub(lowest).saturating_sub(MARGIN),
        Err(errno) => return kernel_refusal("pthread_getattr_np", errno),
    };
    if asked > available {
        let size = asked.saturating_add(MARGIN);
        let remedy = Remedy::advice(format!(
            "std::thread::Builder::stack_size of at least {size}"
        ));
        return Outcome::refused(Refusal::StackTooSmall { asked, available }, remedy);
    }
    touch_down_to(here - asked);
    Outcome::granted(format!("{} KiB of stack touched", asked / 1024))
}

/// Writes to every page between here and `target`, by calling itself: the compiler may not reorder or
/// drop what `black_box` has seen, and stops are by address, whatever the size of a frame.
#[inline(never)]
fn touch_down_to(target: usize) {
    let mut page = [0_u8; PAGE];
    let here = black_box(&mut page).as_ptr().addr();
    if here > target {
        touch_down_to(target);
    }
    // Keeps the frame alive, so that this is not a loop that uses one frame again and again.
    black_box(&mut page);
}

#[inline(never)]
fn approximate_stack_pointer() -> usize {
    let here = 0_u8;
    black_box(&raw const here).addr()
}

/// The lowest address of the calling thread's stack, above its guard.
fn lowest_address() -> Result<usize, Errno> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the call takes nothing.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: the thread is alive, being this one; the call initialises `attributes`.
    check(unsafe { libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) })?;
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: `attributes` was initialised above, and the others are valid to write to.
    let found = check(unsafe {
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size)
    });
    // SAFETY: `attributes` was initialised above and is not used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    found.map(|()| lowest.addr())
}

/// The pthread functions return their error instead of setting errno.
fn check(code: libc::c_int) -> Result<(), Errno> {
    if code == 0 {
        Ok(())
    } else {
        Err(Errno::from_raw(code))
    }
}

const PAGE: usize = 4096;

/// Left free: for a guard page that the C library counts as stack, and for the frames in use here.
const MARGIN: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn in_thread_of(stack: usize, work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
        std::thread::Builder::new()
            .stack_size(stack)
            .spawn(work)
            .unwrap()
            .join()
            .unwrap()
    }

    #[test]
    fn a_stack_is_touched_and_its_pages_are_resident() {
        let outcome = in_thread_of(1 << 20, || {
            let outcome = prefault(512 * 1024);
            let top = approximate_stack_pointer() & !(PAGE - 1);
            // SAFETY: `mincore` reads no memory of ours; the range is page-aligned and within this stack.
            let resident = (1..128).all(|page| {
                let mut state = 0_u8;
                let address = std::ptr::without_provenance_mut(top - page * PAGE);
                // SAFETY: one byte is written, for one page.
                let result = unsafe { libc::mincore(address, PAGE, &raw mut state) };
                result == 0 && state & 1 == 1
            });
            assert!(resident);
            outcome
        });
        assert_eq!(outcome, Outcome::granted("512 KiB of stack touched"));
    }

    #[test]
    fn more_than_the_stack_is_refused_without_touching() {
        // The C library may hand out a larger stack than was asked for, one used before.
        for asked in [1 << 30, usize::MAX / 2] {
            let outcome = in_thread_of(1 << 19, move || prefault(asked));
            let Outcome::Refused {
                reason: Refusal::StackTooSmall { available, .. },
                ..
            } = outcome
            else {
                panic!("{outcome}");
            };
            assert!((1 << 18..asked).contains(&available));
        }
    }
}
