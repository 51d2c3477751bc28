//! The functions that this library stands before: whose they are is asked of the dynamic linker, once each.
//!
//! All of them when the library is loaded, so that the linker, which locks, is not asked in signal handlers or under locks of ours. What
//! calls before, such as other libraries' constructors, asks by itself; two threads that ask at once find the same.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{
    epoll_event, fd_set, iovec, mode_t, nfds_t, pollfd, sigset_t, size_t, ssize_t, timespec,
    timeval,
};

use crate::failure::set_errno;

/// Declares functions by their names in the C library. Each calls the next definition after ours, and fails with ENOSYS
/// where there is none. Arguments after a semicolon are variadic.
macro_rules! real {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(; $rest:ident: $rest_type:ty)?) -> $result:ty;)*) => {$(
        /// # Safety
        ///
        /// As of the C library's function of this name.
        #[inline]
        pub(crate) unsafe fn $name($($argument: $type,)* $($rest: $rest_type)?) -> $result {
            type Function = real!(@type ($($type),*) $(; $rest_type)?; $result);

            /// The first call. Apart, so that all others are a jump.
            #[cold]
            #[inline(never)]
            unsafe fn look_up($($argument: $type,)* $($rest: $rest_type)?) -> $result {
                const NAME: &CStr = real!(@name $name);
                let address = find(NAME);
                if address.is_null() {
                    set_errno(libc::ENOSYS);
                    return -1;
                }
                next::$name.store(address, Ordering::Relaxed);
                // SAFETY: the caller keeps to what the function asks, which is now known.
                unsafe { $name($($argument,)* $($rest)?) }
            }

            let address = next::$name.load(Ordering::Relaxed);
            if address.is_null() {
                // SAFETY: the caller's.
                return unsafe { look_up($($argument,)* $($rest)?) };
            }
            // SAFETY: the C library's function of this name has this type.
            let function = unsafe { std::mem::transmute::<*mut c_void, Function>(address) };
            // SAFETY: the caller keeps to what that function asks.
            unsafe { function($($argument,)* $($rest)?) }
        }
    )*

    /// Where they are, once that is known.
    #[allow(non_upper_case_globals, reason = "named as the functions")]
    mod next {
        use super::{AtomicPtr, c_void, ptr};

        $(pub(super) static $name: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());)*
    }

    /// Looks for all of them.
    extern "C" fn find_all() {
        $(next::$name.store(find(real!(@name $name)), Ordering::Relaxed);)*
        // What an older or newer C library does not have is no error of the program's.
        // SAFETY: has no preconditions.
        unsafe { libc::dlerror() };
    }
    };
    (@type ($($type:ty),*); $result:ty) => { unsafe extern "C-unwind" fn($($type),*) -> $result };
    (@type ($($type:ty),*); $rest:ty; $result:ty) => { unsafe extern "C-unwind" fn($($type),*, ...) -> $result };
    (@name $name:ident) => {
        match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => panic!(),
        }
    };
}

real! {
    fn open(path: *const c_char, flags: c_int; mode: mode_t) -> c_int;
    fn open64(path: *const c_char, flags: c_int; mode: mode_t) -> c_int;
    fn openat(dir: c_int, path: *const c_char, flags: c_int; mode: mode_t) -> c_int;
    fn openat64(dir: c_int, path: *const c_char, flags: c_int; mode: mode_t) -> c_int;
    fn __open_2(path: *const c_char, flags: c_int) -> c_int;
    fn __open64_2(path: *const c_char, flags: c_int) -> c_int;
    fn __openat_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    fn __openat64_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    fn creat(path: *const c_char, mode: mode_t) -> c_int;
    fn creat64(path: *const c_char, mode: mode_t) -> c_int;

    fn close(fd: c_int) -> c_int;
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int;

    fn dup(fd: c_int) -> c_int;
    fn dup2(fd: c_int, to: c_int) -> c_int;
    fn dup3(fd: c_int, to: c_int, flags: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int; argument: usize) -> c_int;
    fn fcntl64(fd: c_int, command: c_int; argument: usize) -> c_int;

    fn ioctl(fd: c_int, code: c_ulong; argument: usize) -> c_int;
    fn read(fd: c_int, into: *mut c_void, count: size_t) -> ssize_t;
    fn __read_chk(fd: c_int, into: *mut c_void, count: size_t, room: size_t) -> ssize_t;
    fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
    fn write(fd: c_int, from: *const c_void, count: size_t) -> ssize_t;
    fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;

    fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int;
    fn __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int;
    fn ppoll(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int;
    fn __ppoll_chk(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: size_t) -> c_int;
    fn select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *mut timeval) -> c_int;
    fn pselect(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> c_int;

    fn stat(path: *const c_char, into: *mut libc::stat) -> c_int;
    fn stat64(path: *const c_char, into: *mut libc::stat) -> c_int;
    fn lstat(path: *const c_char, into: *mut libc::stat) -> c_int;
    fn lstat64(path: *const c_char, into: *mut libc::stat) -> c_int;
    fn fstat(fd: c_int, into: *mut libc::stat) -> c_int;
    fn fstat64(fd: c_int, into: *mut libc::stat) -> c_int;
    fn fstatat(dir: c_int, path: *const c_char, into: *mut libc::stat, flags: c_int) -> c_int;
    fn fstatat64(dir: c_int, path: *const c_char, into: *mut libc::stat, flags: c_int) -> c_int;
    fn __xstat(version: c_int, path: *const c_char, into: *mut libc::stat) -> c_int;
    fn __xstat64(version: c_int, path: *const c_char, into: *mut libc::stat) -> c_int;
    fn __lxstat(version: c_int, path: *const c_char, into: *mut libc::stat) -> c_int;
    fn __lxstat64(version: c_int, path: *const c_char, into: *mut libc::stat) -> c_int;
    fn __fxstat(version: c_int, fd: c_int, into: *mut libc::stat) -> c_int;
    fn __fxstat64(version: c_int, fd: c_int, into: *mut libc::stat) -> c_int;
    fn __fxstatat(version: c_int, dir: c_int, path: *const c_char, into: *mut libc::stat, flags: c_int) -> c_int;
    fn __fxstatat64(version: c_int, dir: c_int, path: *const c_char, into: *mut libc::stat, flags: c_int) -> c_int;
    fn statx(dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, into: *mut libc::statx) -> c_int;
    fn access(path: *const c_char, mode: c_int) -> c_int;
    fn faccessat(dir: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int;
    fn euidaccess(path: *const c_char, mode: c_int) -> c_int;
    fn eaccess(path: *const c_char, mode: c_int) -> c_int;
}

fn find(name: &CStr) -> *mut c_void {
    // SAFETY: the name ends with a zero.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// Has the dynamic linker call us when it has loaded the library.
#[used]
#[unsafe(link_section = ".init_array")]
static WHEN_LOADED: extern "C" fn() = find_all;
