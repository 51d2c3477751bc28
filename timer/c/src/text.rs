//! Values and texts for the memory of a C program.

use std::ffi::c_char;

use crate::status::Status;

/// A place of the caller's for an answer.
pub(crate) fn check<T>(place: *mut T) -> Result<(), Status> {
    if place.is_null() || !place.is_aligned() {
        Err(Status::Invalid)
    } else {
        Ok(())
    }
}

/// # Safety
///
/// `place` is null or valid to write to.
pub(crate) unsafe fn give<T>(place: *mut T, value: T) -> Result<(), Status> {
    check(place)?;
    // SAFETY: not null and aligned, so valid as the caller guarantees.
    unsafe { place.write(value) };
    Ok(())
}

/// As much of `text` as fits `size` bytes with a zero at the end, and in `needed`, unless that is null, how many bytes
/// all of it takes.
///
/// # Safety
///
/// `buffer` is valid to write `size` bytes to, or null with a `size` of 0; `needed` is null or valid to write to.
pub(crate) unsafe fn give_text(
    text: &str,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> Result<(), Status> {
    if buffer.is_null() && size > 0 {
        return Err(Status::Invalid);
    }
    if size > 0 {
        // Not in the midst of a character.
        let length = text.floor_char_boundary(size - 1);
        // SAFETY: `length` + 1 is at most `size`, and a text does not overlap with the caller's buffer.
        unsafe { buffer.copy_from_nonoverlapping(text.as_ptr().cast(), length) };
        // SAFETY: as above.
        let end = unsafe { buffer.add(length) };
        // SAFETY: as above.
        unsafe { end.write(0) };
    }
    if needed.is_null() {
        return Ok(());
    }
    // SAFETY: as the caller guarantees.
    unsafe { give(needed, text.len() + 1) }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn texts_are_cut_to_the_buffer_and_say_what_they_need() {
        let mut buffer = [7_u8; 8];
        for (size, expected) in [(8, "spät"), (5, "spä"), (4, "sp"), (3, "sp"), (1, "")] {
            let mut needed = 0;
            let given = unsafe {
                // SAFETY: the buffer has at least `size` bytes.
                give_text("spät", buffer.as_mut_ptr().cast(), size, &raw mut needed)
            };
            assert_eq!((given, needed), (Ok(()), 6));
            assert_eq!(&buffer[..expected.len()], expected.as_bytes());
            assert_eq!(buffer[expected.len()], 0);
        }
        // SAFETY: nothing is written.
        let given = unsafe { give_text("late", ptr::null_mut(), 0, ptr::null_mut()) };
        assert_eq!(given, Ok(()));
        // SAFETY: null is recognised.
        let given = unsafe { give_text("late", ptr::null_mut(), 4, ptr::null_mut()) };
        assert_eq!(given, Err(Status::Invalid));
    }
}
