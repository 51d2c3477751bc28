//! Memory.

use unisono_timer::HostFacts;

use super::super::Finding;
use crate::jitter::percent;

/// Share of the last 10 s in which nothing could go on for want of memory.
const THRASHING: f64 = 0.01;

pub(super) fn pressure(facts: &HostFacts) -> Option<Finding> {
    const TOPIC: &str = "memory";
    let stalled = facts.pressure.memory_full?;
    if stalled <= THRASHING {
        return Some(Finding::ok(TOPIC, "nothing waits for it"));
    }
    Some(
        Finding::warning(
            TOPIC,
            format!(
                "all programs waited for memory in {} of the last 10 s",
                percent(stalled)
            ),
            "the control plane waits with them: calls are answered late",
        )
        .command("ps -eo rss,comm --sort=-rss | head")
        .advice("end what takes most, or add memory"),
    )
}
