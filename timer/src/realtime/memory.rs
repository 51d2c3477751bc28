//! Locking the process's memory.
#![allow(unsafe_code, reason = "nix declares madvise unsafe")]

use std::collections::HashSet;
use std::fs;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, MmapAdvise, madvise, mlockall};
use nix::sys::resource::{Resource, getrlimit};

use super::host;
use super::outcome::{Outcome, Refusal, Remedy};
use super::scheduling::{filtered, kernel_refusal};

pub(super) fn lock() -> Outcome {
    let limit = host::raised_limit(Resource::RLIMIT_MEMLOCK);
    let unlimited = limit == libc::RLIM_INFINITY || host::has_capability(host::CAP_IPC_LOCK);
    let needed = host::mapped_bytes().saturating_add(main_stack_growth());
    if !unlimited && needed > limit {
        return too_little(limit, needed);
    }
    // Once locked, the future counts against the limit by its size, touched or not: beyond it
    // allocations and new threads would fail, and the program with them.
    let future = if unlimited {
        MlockAllFlags::MCL_FUTURE
    } else {
        MlockAllFlags::empty()
    };
    let whole = MlockAllFlags::MCL_CURRENT | future;
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let locked = match mlockall(whole | on_fault) {
        // Before Linux 4.4 pages can only be locked by filling them all in.
        Err(Errno::EINVAL) => mlockall(whole),
        other => other,
    };
    match locked {
        Ok(()) => {}
        Err(Errno::EPERM) if host::is_filtered() => return filtered("mlockall"),
        Err(Errno::EPERM | Errno::ENOMEM) if !unlimited => return too_little(limit, needed),
        Err(errno) => return kernel_refusal("mlockall", errno),
    }
    let text =
        fs::read_to_string("/proc/self/maps").map_or(0, |maps| populate(&program_ranges(&maps)));
    let extent = if unlimited {
        "memory locked".to_owned()
    } else {
        format!(
            "memory mapped so far locked (not what is mapped later: RLIMIT_MEMLOCK is {limit} bytes)"
        )
    };
    Outcome::granted(format!(
        "{extent}, {:.1} MiB of program text brought in",
        text as f64 / MIB
    ))
}

fn too_little(limit: u64, needed: u64) -> Outcome {
    let remedy = Remedy::unit("LimitMEMLOCK=infinity").or_command(host::setcap_command());
    Outcome::refused(Refusal::LockedMemory { limit, needed }, remedy)
}

/// How much the main thread's stack may still grow: locked, growth beyond the limit would be fatal.
fn main_stack_growth() -> u64 {
    match getrlimit(Resource::RLIMIT_STACK) {
        Ok((soft, _)) if soft != libc::RLIM_INFINITY => soft,
        _ => DEFAULT_STACK,
    }
}

/// Maps in what the files of the program (and its libraries) hold, since a page that is locked as it is
/// first touched would otherwise be read from disk in the middle of a tick. Returns the bytes.
fn populate(ranges: &[(usize, usize)]) -> usize {
    let mut bytes = 0;
    for &(start, length) in ranges {
        let Some(address) = NonNull::new(std::ptr::without_provenance_mut(start)) else {
            continue;
        };
        // SAFETY: MADV_POPULATE_READ changes no memory; if the range is no longer mapped, it fails.
        if unsafe { madvise(address, length, MmapAdvise::MADV_POPULATE_READ) }.is_ok() {
            bytes += length;
        }
    }
    bytes
}

/// Start and length of the read-only ranges of files that are mapped for execution.
fn program_ranges(maps: &str) -> Vec<(usize, usize)> {
    let parsed: Vec<_> = maps.lines().filter_map(parse_mapping).collect();
    let programs: HashSet<&str> = parsed
        .iter()
        .filter(|mapping| mapping.access.contains('x'))
        .map(|mapping| mapping.path)
        .collect();
    let of_programs = parsed
        .iter()
        .filter(|mapping| programs.contains(mapping.path));
    of_programs
        .filter(|mapping| mapping.access.starts_with("r-"))
        .map(|m| (m.start, m.end - m.start))
        .collect()
}

struct Mapping<'a> {
    start: usize,
    end: usize,
    access: &'a str,
    path: &'a str,
}

/// A line of `/proc/self/maps` that has a file.
fn parse_mapping(line: &str) -> Option<Mapping<'_>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let access = fields.next()?;
    let path = fields.nth(3)?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    (path.starts_with('/') && end > start).then_some(Mapping {
        start,
        end,
        access,
        path,
    })
}

const MIB: f64 = (1 << 20) as f64;
const DEFAULT_STACK: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_read_only_ranges_of_executed_files_are_brought_in() {
        let maps = "55a0-55a1 r--p 00000000 fe:00 1 /usr/bin/unisono\n\
                    55a1-55a4 r-xp 00001000 fe:00 1 /usr/bin/unisono\n\
                    55a4-55a5 rw-p 00004000 fe:00 1 /usr/bin/unisono\n\
                    6000-9000 r--p 00000000 fe:00 2 /var/big.wav\n\
                    7000-7001 r-xp 00000000 00:00 0 [vdso]\n\
                    8000-8001 rw-p 00000000 00:00 0\n\
                    nonsense\n";
        assert_eq!(program_ranges(maps), [(0x55a0, 1), (0x55a1, 3)]);
    }

    #[test]
    fn our_own_text_can_be_brought_in() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let ranges = program_ranges(&maps);
        assert!(!ranges.is_empty());
        let here = program_ranges as fn(&str) -> Vec<(usize, usize)> as usize;
        assert!(
            ranges
                .iter()
                .any(|&(start, length)| (start..start + length).contains(&here))
        );
    }
}
