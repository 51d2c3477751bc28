//! Opening.
//!
//! The kernel is asked first, and what it does not find may be ours: so an address that cannot be read is its to judge. Only where the machine
//! has a `/dev/dahdi` of its own is the path looked at before.

use std::ffi::{c_char, c_int};

use libc::mode_t;

use crate::failure::{answer, errno, set_errno};
use crate::path::{self, Node};
use crate::{opens, real};

/// Opens `path` as `open` with these flags would, by `kernels` if it is not ours.
unsafe fn open_by(path: *const c_char, flags: c_int, kernels: impl FnOnce() -> c_int) -> c_int {
    if path::is_shadowing()
        && let Some(node) = path::of_any(path)
        && node != Node::Directory
    {
        return answer(|| opens::open(node, flags)) as c_int;
    }
    let before = errno();
    let fd = kernels();
    if fd >= 0 || !matches!(errno(), libc::ENOENT | libc::ENOTDIR) {
        return fd;
    }
    // SAFETY: the kernel has read it.
    match unsafe { path::of_missing(path) } {
        Some(node) if node != Node::Directory => {
            set_errno(before);
            answer(|| opens::open(node, flags)) as c_int
        }
        _ => fd,
    }
}

macro_rules! opens {
    ($(fn $name:ident($($before:ident: $type:ty,)* [$path:ident, $flags:expr] $(, $after:ident: $rest:ty)*);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($before: $type,)* $path: *const c_char $(, $after: $rest)*) -> c_int {
            // SAFETY: what the C library's function asks, the caller keeps.
            let kernels = || unsafe { real::$name($($before,)* $path $(, $after)*) };
            // SAFETY: as above.
            unsafe { open_by($path, $flags, kernels) }
        }
    )*};
}

const CREAT: c_int = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;

opens! {
    fn open([path, flags], flags: c_int, mode: mode_t);
    fn open64([path, flags], flags: c_int, mode: mode_t);
    fn openat(dir: c_int, [path, flags], flags: c_int, mode: mode_t);
    fn openat64(dir: c_int, [path, flags], flags: c_int, mode: mode_t);
    fn __open_2([path, flags], flags: c_int);
    fn __open64_2([path, flags], flags: c_int);
    fn __openat_2(dir: c_int, [path, flags], flags: c_int);
    fn __openat64_2(dir: c_int, [path, flags], flags: c_int);
    fn creat([path, CREAT], mode: mode_t);
    fn creat64([path, CREAT], mode: mode_t);
}
