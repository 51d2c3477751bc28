//! A mutex with priority inheritance: who holds it runs at the priority of the most urgent thread that waits for it.
//!
//! So the mixing thread waits for a program's thread for as long as that needs for a block, and not for as long as others keep
//! it from running. A signal handler that comes into its own thread's critical section is refused and does not wait for itself.
#![allow(unsafe_code, reason = "POSIX mutexes have no safe wrapper")]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use nix::errno::Errno;
use unisono_timer::MonoTime;

/// A value behind a lock.
pub(crate) struct PiMutex<T> {
    /// In a box, as a POSIX mutex may not be moved.
    raw: Box<UnsafeCell<libc::pthread_mutex_t>>,
    inherits: bool,
    value: UnsafeCell<T>,
}

/// The calling thread holds the mutex already: a signal handler has interrupted it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reentered;

// SAFETY: only who holds the lock comes to the value, in whatever thread it is.
unsafe impl<T: Send> Send for PiMutex<T> {}
// SAFETY: as above; one thread at a time.
unsafe impl<T: Send> Sync for PiMutex<T> {}

impl<T> PiMutex<T> {
    /// Without priority inheritance where the system has none, which [`inherits`](Self::inherits) tells.
    pub(crate) fn new(value: T) -> Result<Self, Errno> {
        let raw = Box::new(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        let inherits = initialise(raw.get(), libc::PTHREAD_PRIO_INHERIT).is_ok();
        if !inherits {
            initialise(raw.get(), NO_PROTOCOL)?;
        }
        Ok(Self {
            raw,
            inherits,
            value: UnsafeCell::new(value),
        })
    }

    /// Whether the system gives priority inheritance.
    pub(crate) const fn inherits(&self) -> bool {
        self.inherits
    }

    /// Waits for the lock.
    pub(crate) fn lock(&self) -> Result<Guard<'_, T>, Reentered> {
        // SAFETY: the mutex is initialised and does not move.
        match unsafe { libc::pthread_mutex_lock(self.raw.get()) } {
            0 => Ok(Guard::of(self)),
            _ => Err(Reentered),
        }
    }

    /// The same, and how long it took; zero if the lock was free.
    pub(crate) fn lock_measured(&self) -> Result<(Guard<'_, T>, Duration), Reentered> {
        // SAFETY: the mutex is initialised and does not move.
        if unsafe { libc::pthread_mutex_trylock(self.raw.get()) } == 0 {
            return Ok((Guard::of(self), Duration::ZERO));
        }
        let before = MonoTime::now();
        let guard = self.lock()?;
        Ok((guard, MonoTime::now().since(before)))
    }

    /// Gives back a lock whose guard was forgotten.
    ///
    /// # Safety
    ///
    /// The calling thread holds it, and nobody uses the value.
    pub(crate) unsafe fn unlock(&self) {
        // SAFETY: the mutex is initialised, and the caller holds it.
        unsafe { libc::pthread_mutex_unlock(self.raw.get()) };
    }

    /// Makes the lock free in a forked child, whose threads have other numbers than the one that took it.
    ///
    /// # Safety
    ///
    /// There is one thread, and the value is in no half-done state.
    pub(crate) unsafe fn renew(&self) {
        let protocol = if self.inherits {
            libc::PTHREAD_PRIO_INHERIT
        } else {
            NO_PROTOCOL
        };
        // It was granted before.
        let _ = initialise(self.raw.get(), protocol);
    }
}

impl<T> Drop for PiMutex<T> {
    fn drop(&mut self) {
        // SAFETY: nobody else refers to it any more, so it is free.
        unsafe { libc::pthread_mutex_destroy(self.raw.get()) };
    }
}

impl<T> fmt::Debug for PiMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("PiMutex");
        f.field("inherits", &self.inherits).finish_non_exhaustive()
    }
}

/// The lock, held until this is dropped. Stays with its thread.
#[derive(Debug)]
pub(crate) struct Guard<'a, T> {
    mutex: &'a PiMutex<T>,
    thread: PhantomData<*const ()>,
}

impl<'a, T> Guard<'a, T> {
    const fn of(mutex: &'a PiMutex<T>) -> Self {
        Self {
            mutex,
            thread: PhantomData,
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held, so nobody changes the value.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, so nobody else refers to the value.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this thread holds it, as a guard stays with its thread.
        unsafe { self.mutex.unlock() };
    }
}

fn initialise(raw: *mut libc::pthread_mutex_t, protocol: libc::c_int) -> Result<(), Errno> {
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: `attributes` is room for them.
    checked(unsafe { libc::pthread_mutexattr_init(attributes) })?;
    let set = initialise_as(raw, attributes, protocol);
    // SAFETY: they are initialised, and no longer used.
    unsafe { libc::pthread_mutexattr_destroy(attributes) };
    set
}

fn initialise_as(
    raw: *mut libc::pthread_mutex_t,
    attributes: *mut libc::pthread_mutexattr_t,
    protocol: libc::c_int,
) -> Result<(), Errno> {
    let kind = libc::PTHREAD_MUTEX_ERRORCHECK;
    // SAFETY: they are initialised.
    checked(unsafe { libc::pthread_mutexattr_settype(attributes, kind) })?;
    // SAFETY: they are initialised.
    checked(unsafe { libc::pthread_mutexattr_setprotocol(attributes, protocol) })?;
    // SAFETY: `raw` is room for a mutex that nobody uses, and the attributes are initialised.
    checked(unsafe { libc::pthread_mutex_init(raw, attributes) })
}

fn checked(result: libc::c_int) -> Result<(), Errno> {
    match result {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

/// PTHREAD_PRIO_NONE.
const NO_PROTOCOL: libc::c_int = 0;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use nix::unistd::{Pid, gettid};

    use super::*;

    #[test]
    fn one_thread_at_a_time_changes_the_value() {
        let sum = PiMutex::new(0_u64).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        *sum.lock().unwrap() += 1;
                    }
                });
            }
        });
        assert_eq!(*sum.lock().unwrap(), 40_000);
    }

    #[test]
    fn who_holds_it_is_refused_and_does_not_wait_for_itself() {
        let mutex = PiMutex::new(()).unwrap();
        let held = mutex.lock().unwrap();
        assert_eq!(mutex.lock().err(), Some(Reentered));
        assert_eq!(mutex.lock_measured().err(), Some(Reentered));
        drop(held);
        assert!(mutex.lock().is_ok());
    }

    #[test]
    fn a_free_lock_costs_no_wait_and_a_taken_one_is_measured() {
        let mutex = PiMutex::new(()).unwrap();
        assert_eq!(mutex.lock_measured().unwrap().1, Duration::ZERO);
        let taken = AtomicBool::new(false);
        let asker = gettid();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _held = mutex.lock().unwrap();
                taken.store(true, Ordering::Release);
                // Until the other sleeps, which it does nowhere but in waiting for this.
                for _ in 0..30_000 {
                    thread::sleep(Duration::from_millis(1));
                    if state_of(asker) == Some('S') {
                        break;
                    }
                }
            });
            while !taken.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            let (_held, waited) = mutex.lock_measured().unwrap();
            assert!(!waited.is_zero());
        });
    }

    #[test]
    fn a_renewed_lock_is_free() {
        let mutex = PiMutex::new(5).unwrap();
        std::mem::forget(mutex.lock().unwrap());
        // SAFETY: no other thread knows it, and the value is whole.
        unsafe { mutex.renew() };
        assert_eq!(*mutex.lock().unwrap(), 5);
    }

    #[test]
    fn a_lock_given_back_without_guard_is_free() {
        let mutex = PiMutex::new(5).unwrap();
        std::mem::forget(mutex.lock().unwrap());
        // SAFETY: this thread holds it, and its guard is forgotten.
        unsafe { mutex.unlock() };
        assert_eq!(*mutex.lock().unwrap(), 5);
    }

    #[test]
    fn linux_has_priority_inheritance() {
        assert!(PiMutex::new(()).unwrap().inherits());
    }

    /// What a thread of this process does, as the kernel says: `R` runs, `S` sleeps.
    fn state_of(thread: Pid) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
        stat.rsplit(')').next()?.trim_start().chars().next()
    }

    /// As the kernel schedules the calling thread at this moment: below zero for real-time.
    fn own_priority() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let after_name = stat.rsplit(')').next().unwrap();
        after_name
            .split_whitespace()
            .nth(15)
            .unwrap()
            .parse()
            .unwrap()
    }

    #[test]
    fn who_holds_it_is_as_urgent_as_who_waits() {
        let mutex = PiMutex::new(()).unwrap();
        let held = mutex.lock().unwrap();
        let before = own_priority();
        let granted = thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let mutex = &mutex;
            scope.spawn(move || {
                let grant = unisono_timer::RealtimeRequest::new().fifo(5).apply();
                let _ = sender.send(grant.realtime_granted());
                drop(mutex.lock().unwrap());
            });
            let granted = receiver.recv().unwrap();
            for _ in 0..5_000 {
                if !granted || own_priority() < 0 {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
            let boosted = own_priority();
            assert!(boosted < 0 || !granted, "{before}, then {boosted}");
            drop(held);
            granted
        });
        // Without the right to real-time scheduling there is nobody to inherit from.
        assert!(!granted || own_priority() == before);
    }
}
