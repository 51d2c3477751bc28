//! What `unisono serve` would find: how many legs it could carry, and whether its ports are free.

use unisono_timer::HostFacts;
use unisono_timer::host::Container;

use super::super::{Doorway, Finding, Listener};
use crate::control::{Capacity, Limit};

pub(super) fn legs(capacity: &Capacity, facts: &HostFacts) -> Finding {
    const TOPIC: &str = "legs";
    let Capacity { legs, wanted, .. } = capacity;
    let Some(limit) = capacity.limit else {
        return Finding::ok(TOPIC, format!("{legs}, as configured"));
    };
    let why = "the next caller is refused with 503";
    let what = match limit {
        Limit::Ports => "UDP ports",
        Limit::Descriptors => "open files",
        Limit::Memory => "memory",
    };
    let found = format!("{legs} of the {wanted} configured, for want of {what}");
    let finding = if *legs == 0 {
        Finding::unfit(TOPIC, found, "the server would not start")
    } else {
        Finding::warning(TOPIC, found, why)
    };
    let finding = match limit {
        Limit::Descriptors => {
            let files = capacity.descriptors_wanted();
            let flag = format!("--ulimit nofile={files}");
            let finding = match facts.virtualization.container {
                Some(Container::Docker) => finding.command(format!("docker run {flag} ...")),
                Some(Container::Podman) => finding.command(format!("podman run {flag} ...")),
                _ => finding,
            };
            finding.unit_line(format!("LimitNOFILE={files}"))
        }
        Limit::Ports => finding.advice(
            "widen first_port to last_port under [media]: a leg takes an even port and the next",
        ),
        Limit::Memory => finding.advice("add memory: a leg takes 32 KiB, with Opus 50 KiB more"),
    };
    finding.advice(format!("be content with max_legs = {legs} under [media]"))
}

pub(super) fn listeners(listeners: &[Listener]) -> Vec<Finding> {
    listeners.iter().map(listener).collect()
}

fn listener(listener: &Listener) -> Finding {
    let Listener {
        topic,
        protocol,
        address,
        doorway,
        setting,
    } = listener;
    let why = "unisono serve would not start";
    match doorway {
        Doorway::Free => Finding::ok(topic, format!("{protocol} {address} is free")),
        Doorway::Ours(process) => Finding::ok(
            topic,
            format!("{protocol} {address} is taken, by unisono serve (process {process})"),
        ),
        Doorway::Taken => Finding::warning(
            topic,
            format!("{protocol} {address} is taken by another program"),
            why,
        )
        .command(format!(
            "sudo ss -l{}np 'sport = :{}'",
            if *protocol == "UDP" { "u" } else { "t" },
            address.port()
        ))
        .advice(format!(
            "stop that program, or choose another port with {setting}"
        )),
        Doorway::Refused(error) => Finding::warning(
            topic,
            format!("{protocol} {address} cannot be bound: {error}"),
            why,
        )
        .advice(format!(
            "choose an address of this machine and a port from 1024 on with {setting}"
        )),
    }
}
