//! Taking memory bandwidth.

use std::fs;
use std::io;

use super::{AtWork, Job, LoadError};
use crate::host::{available_memory, control_group_folders};

pub(super) fn prepare() -> Result<Vec<Job>, LoadError> {
    let available = available_memory()
        .unwrap_or(4 * LARGEST)
        .min(left_to_groups().unwrap_or(u64::MAX));
    let size = (available / 4).min(LARGEST);
    if size < SMALLEST {
        let needed = 4 * SMALLEST;
        return Err(LoadError::Memory { available, needed });
    }
    let chunks = size as usize / CHUNK / 2 * 2;
    Ok(vec![Box::new(move |at_work| copy(at_work, chunks))])
}

/// Copies one half onto the other and back, chunk by chunk.
fn copy(at_work: &AtWork, chunks: usize) -> io::Result<()> {
    // Touched as it goes: a first round of page faults is load as well.
    let mut memory = vec![0_u8; chunks * CHUNK];
    let (mut from, mut to) = memory.split_at_mut(chunks / 2 * CHUNK);
    while at_work.goes_on() {
        for (source, sink) in from.chunks(CHUNK).zip(to.chunks_mut(CHUNK)) {
            sink.copy_from_slice(source);
            sink[0] = sink[0].wrapping_add(1);
            at_work.did(CHUNK as u64);
            if !at_work.goes_on() {
                break;
            }
        }
        (from, to) = (to, from);
    }
    std::hint::black_box(&memory);
    Ok(())
}

/// What the control groups of this process leave it, in bytes: the least of them counts.
fn left_to_groups() -> Option<u64> {
    let number = |folder: &str, file: &str| -> Option<u64> {
        // `max` is no limit.
        let text = fs::read_to_string(format!("{folder}/{file}")).ok()?;
        text.trim().parse().ok()
    };
    let own = control_group_folders();
    // Version 1 has a hierarchy of its own for memory, in which a container sees its group at the root.
    let folders = own.iter().map(String::as_str);
    folders
        .chain(["/sys/fs/cgroup", "/sys/fs/cgroup/memory"])
        .filter_map(|folder| {
            let (limit, used) = number(folder, "memory.max")
                .zip(number(folder, "memory.current"))
                .or_else(|| {
                    number(folder, "memory.limit_in_bytes")
                        .zip(number(folder, "memory.usage_in_bytes"))
                })?;
            Some(limit.saturating_sub(used))
        })
        .min()
}

const LARGEST: u64 = 256 << 20;
const SMALLEST: u64 = 4 << 20;
const CHUNK: usize = 1 << 20;
