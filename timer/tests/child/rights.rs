//! Taking rights from a child, and what it then is.
#![allow(dead_code, reason = "not every test program needs all of it")]

use std::io;

use unisono_timer::{RealtimeGrant, RealtimeRequest};

pub(crate) const SYS_NICE: u32 = 23;
pub(crate) const IPC_LOCK: u32 = 14;
pub(crate) const SYS_RESOURCE: u32 = 24;

/// In a child without `capabilities` and with `limits`: what `request` is granted.
pub(crate) fn granted_without(
    role: &str,
    capabilities: &'static [u32],
    limits: &'static [(libc::__rlimit_resource_t, u64)],
    request: &RealtimeRequest,
    check: impl FnOnce(RealtimeGrant),
) {
    if super::is(role) {
        let grant = request.apply();
        println!("> {grant}");
        return check(grant);
    }
    let line = super::answer_of(role, move || {
        limits
            .iter()
            .try_for_each(|&(resource, limit)| set_limit(resource, limit))?;
        capabilities
            .iter()
            .for_each(|&capability| drop_capability(capability));
        Ok(())
    });
    println!("{line}");
}

pub(crate) fn set_limit(resource: libc::__rlimit_resource_t, limit: u64) -> io::Result<()> {
    // A soft limit of zero, to be raised; but no program starts without stack.
    let soft = if resource == libc::RLIMIT_STACK {
        limit
    } else {
        0
    };
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: limit,
    };
    // SAFETY: `limit` is valid to read.
    if unsafe { libc::setrlimit(resource, &limit) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(crate) fn drop_capability(capability: u32) {
    // Fails for who has no capabilities at all, and then there is nothing to drop.
    // SAFETY: the call takes no pointer.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
}

/// Makes a call answer EPERM: always, or unless its second argument is SCHED_OTHER, as systemd's
/// RestrictRealtime= does with sched_setscheduler.
pub(crate) fn forbid(call: libc::c_long, of_any_policy: bool) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let second_argument = if cfg!(target_endian = "little") {
        24
    } else {
        28
    };
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 3, call as u32),
        step(LOAD, 0, 0, second_argument),
        step(
            JUMP_IF_EQUAL,
            u8::from(!of_any_policy),
            0,
            libc::SCHED_OTHER as u32,
        ),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the call takes no pointer.
    let first = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `filter` and what it points to are valid to read.
    let second = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
            0,
            0,
        )
    };
    if first == 0 && second == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(crate) fn policy() -> (i32, i32) {
    let mut param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` is valid to write to.
    unsafe { libc::sched_getparam(0, &mut param) };
    // SAFETY: the call takes no pointer.
    (unsafe { libc::sched_getscheduler(0) }, param.sched_priority)
}

pub(crate) fn skipped(why: &str) {
    println!("> skipped: {why}");
}
