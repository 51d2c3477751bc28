//! Children by `fork`, which inherit their parent's end.
#![allow(unsafe_code, reason = "fork")]

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::member::{Member, directory, files};

#[test]
fn a_forked_child_that_drops_its_copy_takes_nothing_from_its_parent() {
    let directory = directory();
    let parent = Member::new(directory.path());
    let other = Member::new(directory.path());
    assert_eq!(parent.trunk.numbers().reserve(), Some(1023));
    // SAFETY: the child frees memory, which glibc allows after fork, makes system calls, and ends.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(parent);
            // SAFETY: it ends the child, which has nothing else to clear up.
            unsafe { libc::_exit(7) };
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
        }
    }
    assert_eq!(files(directory.path(), ".segment").len(), 2);
    assert_eq!(files(directory.path(), ".status").len(), 2);
    assert!(parent.trunk.refresh().unwrap().is_published);
    assert_eq!(
        other.trunk.refresh().unwrap().processes,
        1,
        "its lock is there"
    );
    assert!(other.trunk.numbers().is_held_elsewhere(1023));
}
