//! `stat` and `access`, of paths that the kernel does not find and of our descriptors.

use std::ffi::{c_char, c_int, c_uint};

use crate::failure::{answer, errno, set_errno};
use crate::path::{self, Node};
use crate::{memory, node, real, table};

/// Asks the kernel about `path`. Returns its answer, and the node that is there if it is ours; `errno` is then as it was.
unsafe fn ask(path: *const c_char, kernels: impl FnOnce() -> c_int) -> (c_int, Option<Node>) {
    let before = errno();
    let result = kernels();
    let node = if path::is_shadowing() {
        path::of_any(path)
    } else if result != 0 && matches!(errno(), libc::ENOENT | libc::ENOTDIR) {
        // SAFETY: the kernel has read it.
        unsafe { path::of_missing(path) }
    } else {
        None
    };
    if matches!(node, Some(Node::Directory | Node::Device(_))) {
        set_errno(before);
    }
    (result, node)
}

/// Describes what is at `path`.
unsafe fn describe_path(
    path: *const c_char,
    into: *mut libc::stat,
    kernels: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's.
    let (result, node) = unsafe { ask(path, kernels) };
    match node.and_then(node::status) {
        Some(status) => put(status, into),
        None => result,
    }
}

/// Describes `fd`, if it is ours, after the kernel has answered `result`.
fn describe(fd: c_int, into: *mut libc::stat, result: c_int) -> c_int {
    let device = table::device(fd).and_then(|open| open.device());
    match device.map(Node::Device).and_then(node::status) {
        Some(status) if result == 0 => put(status, into),
        _ => result,
    }
}

fn put<T>(status: T, into: *mut T) -> c_int {
    let len = size_of::<T>();
    // SAFETY: a structure that was zeroed and filled.
    let octets = unsafe { std::slice::from_raw_parts((&raw const status).cast::<u8>(), len) };
    answer(|| memory::copy_out(octets, into.addr()).map(|()| 0)) as c_int
}

/// Whether the path of a call with `AT_EMPTY_PATH` is empty, so that it is about the descriptor.
fn is_about_descriptor(path: *const c_char, flags: c_int) -> bool {
    let mut first = [0];
    flags & libc::AT_EMPTY_PATH != 0
        && (path.is_null() || memory::copy_prefix(path.addr(), &mut first) == 1 && first == [0])
}

macro_rules! of_paths {
    ($(fn $name:ident($($before:ident: $type:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($before: $type,)* path: *const c_char, into: *mut libc::stat) -> c_int {
            // SAFETY: as the caller wants.
            let kernels = || unsafe { real::$name($($before,)* path, into) };
            // SAFETY: as the caller wants.
            unsafe { describe_path(path, into, kernels) }
        }
    )*};
}

of_paths! {
    fn stat();
    fn stat64();
    fn lstat();
    fn lstat64();
    fn __xstat(version: c_int);
    fn __xstat64(version: c_int);
    fn __lxstat(version: c_int);
    fn __lxstat64(version: c_int);
}

macro_rules! of_descriptors {
    ($(fn $name:ident($($before:ident: $type:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($before: $type,)* fd: c_int, into: *mut libc::stat) -> c_int {
            // SAFETY: as the caller wants.
            let result = unsafe { real::$name($($before,)* fd, into) };
            describe(fd, into, result)
        }
    )*};
}

of_descriptors! {
    fn fstat();
    fn fstat64();
    fn __fxstat(version: c_int);
    fn __fxstat64(version: c_int);
}

macro_rules! of_both {
    ($(fn $name:ident($($before:ident: $type:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(
            $($before: $type,)*
            dir: c_int,
            path: *const c_char,
            into: *mut libc::stat,
            flags: c_int,
        ) -> c_int {
            // SAFETY: as the caller wants.
            let kernels = || unsafe { real::$name($($before,)* dir, path, into, flags) };
            if is_about_descriptor(path, flags) {
                return describe(dir, into, kernels());
            }
            // SAFETY: as the caller wants.
            unsafe { describe_path(path, into, kernels) }
        }
    )*};
}

of_both! {
    fn fstatat();
    fn fstatat64();
    fn __fxstatat(version: c_int);
    fn __fxstatat64(version: c_int);
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn statx(
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    into: *mut libc::statx,
) -> c_int {
    // SAFETY: as the caller wants.
    let kernels = || unsafe { real::statx(dir, path, flags, mask, into) };
    let (result, node) = if is_about_descriptor(path, flags) {
        let device = table::device(dir).and_then(|open| open.device());
        let result = kernels();
        (result, device.filter(|_| result == 0).map(Node::Device))
    } else {
        // SAFETY: as the caller wants.
        unsafe { ask(path, kernels) }
    };
    match node.and_then(node::extended_status) {
        Some(status) => put(status, into),
        None => result,
    }
}

macro_rules! access {
    ($(fn $name:ident($($before:ident: $type:ty,)* [path, mode] $(, $after:ident: $rest:ty)*);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($before: $type,)* path: *const c_char, mode: c_int $(, $after: $rest)*) -> c_int {
            // SAFETY: as the caller wants.
            let kernels = || unsafe { real::$name($($before,)* path, mode $(, $after)*) };
            // SAFETY: as the caller wants.
            match unsafe { ask(path, kernels) } {
                (_, Some(node)) => answer(|| node::access(node, mode)) as c_int,
                (result, None) => result,
            }
        }
    )*};
}

access! {
    fn access([path, mode]);
    fn faccessat(dir: c_int, [path, mode], flags: c_int);
    fn euidaccess([path, mode]);
    fn eaccess([path, mode]);
}
