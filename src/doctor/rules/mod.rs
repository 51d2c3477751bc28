//! What is looked at, and from where on it is bad. The limits and their reasons are for people in `docs/doctor.md`.

mod beat;
mod cpu;
mod memory;
mod rights;
mod server;
mod time;

use super::{Beat, Examination, Finding};

pub(crate) use rights::topic_of_part;

/// Every rule's finding, the most important first. A rule that does not apply, or to which the machine tells nothing,
/// finds nothing.
pub(super) fn all(examination: &Examination, measured: Option<&Beat>) -> Vec<Finding> {
    let facts = &examination.facts;
    let mut findings = Vec::new();
    findings.extend(cpu::quota(examination, measured));
    findings.extend(beat::steal(examination, measured));
    findings.extend(rights::granted(examination));
    findings.push(beat::wake_ups(examination, measured));
    findings.extend(rights::realtime_share(facts));
    findings.extend(time::timers(facts));
    findings.extend(time::clock_source(facts));
    findings.extend(beat::clock_jumps(examination));
    findings.extend(cpu::burstable(facts));
    findings.extend(cpu::contention(examination));
    findings.extend(cpu::idle_states(facts));
    findings.extend(cpu::frequency(facts));
    findings.extend(memory::pressure(facts));
    findings.push(server::legs(&examination.capacity, facts));
    findings.extend(server::listeners(&examination.listeners));
    findings
}
