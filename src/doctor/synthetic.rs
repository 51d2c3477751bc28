//! Machines that never were, for tests.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use unisono_timer::host::CpuQuota;
use unisono_timer::jitter::{HostSample, Method, Policy, Run, Sample};
use unisono_timer::realtime::{self, Refusal};
use unisono_timer::{HostFacts, Outcome, RealtimeRequest};

use super::{Doorway, Examination, Listener};
use crate::control::Capacity;

const PERIOD: Duration = Duration::from_micros(2500);

/// A run whose wake-ups are usually 50 us late, with these stalls (ns), a second apart.
pub(crate) fn run(stalls: &[u64]) -> Run {
    let period = PERIOD.as_nanos() as u64;
    let seconds = 3;
    let mut samples = Vec::new();
    let (mut number, mut next) = (0, 0);
    while number < seconds * 1_000_000_000 / period {
        let stall = match stalls.get(next) {
            Some(&stall) if number * period >= next as u64 * 1_000_000_000 => {
                next += 1;
                stall
            }
            _ => 50_000,
        };
        number += stall / period;
        samples.push(Sample {
            number,
            lateness_ns: (stall % period) as i64,
            missed: (stall / period) as u32,
            cpu: 0,
        });
        number += 1;
    }
    Run {
        method: Method::Ticker,
        period: PERIOD,
        policy: Policy::Fifo(50),
        cpu: None,
        loads: Vec::new(),
        grant: Vec::new(),
        started: UNIX_EPOCH,
        elapsed: Duration::from_secs(seconds),
        samples,
        outliers: Vec::new(),
        outlier_count: 0,
        outlier_threshold: Duration::from_millis(1),
        clock_jumps: Vec::new(),
        host: vec![host_sample(0, 0), host_sample(0, 0)],
        observer_lateness: vec![0, 0],
        cpu_time: Duration::from_millis(20),
        ended_early: None,
    }
}

pub(crate) fn host_sample(steal_ms: u64, throttled_ms: u64) -> HostSample {
    HostSample {
        steal_ns: Some(steal_ms * 1_000_000),
        throttled_ns: Some(throttled_ms * 1_000_000),
        ..HostSample::default()
    }
}

pub(crate) fn listener(doorway: Doorway) -> Listener {
    Listener {
        topic: "SIP port",
        protocol: "UDP",
        address: SocketAddr::from(([127, 0, 0, 1], 5060)),
        doorway,
        setting: "--sip or [sip] listen",
    }
}

/// A machine of which nothing bad can be said.
pub(crate) fn healthy() -> Examination {
    let mut facts = HostFacts::default();
    facts.cpus.online = Some("0-1".to_owned());
    facts.cpus.allowed = Some("0-1".to_owned());
    facts.clock.source = Some("tsc".to_owned());
    facts.clock.available = vec!["tsc".to_owned(), "kvm-clock".to_owned()];
    facts.clock.read_ns = Some(25.0);
    facts.clock.syscall_ns = Some(130.0);
    facts.clock.in_user_space = Some(true);
    facts.clock.resolution_ns = Some(1);
    facts.kernel.high_resolution_timers = Some(true);
    facts.rights.realtime_runtime_us = Some(950_000);
    facts.rights.realtime_period_us = Some(1_000_000);
    facts.control_group.quota = Some(CpuQuota::Unlimited);
    facts.pressure.steal_share = Some(0.001);
    facts.pressure.cpu_some = Some(0.02);
    facts.pressure.memory_full = Some(0.0);
    let mut grant = RealtimeRequest::new().apply();
    grant.scheduling = Outcome::Granted {
        detail: "SCHED_FIFO priority 50".to_owned(),
    };
    grant.memory = Outcome::Granted {
        detail: "memory locked".to_owned(),
    };
    Examination {
        facts,
        grant,
        run: Ok(run(&[])),
        capacity: Capacity {
            legs: 10_000,
            wanted: 10_000,
            connections: 12_000,
            connections_wanted: 12_000,
            limit: None,
        },
        workers: 2,
        listeners: vec![listener(Doorway::Free)],
    }
}

fn refused(reason: Refusal, unit_line: &str) -> Outcome {
    let mut remedy = realtime::Remedy::default();
    remedy.unit_line = Some(unit_line.to_owned());
    Outcome::Refused { reason, remedy }
}

pub(crate) fn no_priority() -> Outcome {
    let reason = Refusal::RealtimePriority {
        limit: 0,
        asked: 50,
        namespaced: false,
    };
    refused(reason, "LimitRTPRIO=50")
}

pub(crate) fn no_lock() -> Outcome {
    let reason = Refusal::LockedMemory {
        limit: 65_536,
        needed: 90_000_000,
    };
    refused(reason, "LimitMEMLOCK=infinity")
}
