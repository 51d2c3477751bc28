//! What can be known about this machine that bears on its punctuality.
//!
//! Everything is read from files that the kernel and the firmware provide; no figure is guessed. What a
//! machine does not tell, or tells only to root, is `None`. Nothing here fails, needs a privilege or uses the
//! network.
//!
//! ```
//! let facts = unisono_timer::HostFacts::read();
//! for (label, value) in facts.lines() {
//!     println!("{label}: {value}");
//! }
//! if facts.clock.in_user_space == Some(false) {
//!     println!("each look at the clock is a system call");
//! }
//! ```

mod clock;
mod clock_cost;
mod cloud;
mod control_group;
mod cpus;
mod kernel;
mod lines;
mod memory;
mod pressure;
mod rights;
mod tree;
mod virtualization;

use std::path::Path;

use self::clock_cost::ClockCost;
use self::tree::Tree;

pub use self::clock::{ClockFacts, TscFlags};
pub use self::cloud::{Cloud, Provider};
pub use self::control_group::{ControlGroupFacts, CpuQuota};
pub use self::cpus::{CpuFacts, IdleState};
pub use self::kernel::{KernelFacts, Preemption, TickMode};
pub use self::memory::MemoryFacts;
pub use self::pressure::{CpuTime, PressureFacts};
pub use self::rights::{Limit, RightsFacts, Seccomp};
pub use self::virtualization::{Container, Hypervisor, Virtualization};

/// What a machine tells of itself and of what it lets this process do. Displays as a block of aligned lines.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct HostFacts {
    /// Whether it is a guest, and whose.
    pub virtualization: Virtualization,
    /// The clock source and its cost.
    pub clock: ClockFacts,
    /// How the kernel preempts, ticks and times.
    pub kernel: KernelFacts,
    /// The processors.
    pub cpus: CpuFacts,
    /// Limits, capabilities and filters of this process.
    pub rights: RightsFacts,
    /// CPU quota and throttling.
    pub control_group: ControlGroupFacts,
    /// Steal, load and stalls.
    pub pressure: PressureFacts,
    /// Memory and swap.
    pub memory: MemoryFacts,
}

impl HostFacts {
    /// This machine's. Takes some milliseconds, one of them for the clock's cost, reads files and allocates: not for
    /// a thread with deadlines.
    pub fn read() -> Self {
        let cost = ClockCost::measure();
        let signatures = virtualization::cpuid_signatures();
        Self::gather(Tree::below(Path::new("/")), &signatures, Some(cost))
    }

    /// What the files below `root` tell: those of a container, or a copy of another machine's `/proc` and `/sys`.
    ///
    /// What only the running machine tells is `None`: the clock's cost, the resolution of its timers, the hypervisor's
    /// signature in the CPU.
    pub fn read_from(root: &Path) -> Self {
        Self::gather(Tree::below(root), &[], None)
    }

    fn gather(tree: Tree<'_>, signatures: &[String], cost: Option<ClockCost>) -> Self {
        Self {
            virtualization: Virtualization::read(tree, signatures),
            clock: ClockFacts::read(tree, cost),
            kernel: KernelFacts::read(tree, cost.and_then(|cost| cost.resolution_ns)),
            cpus: CpuFacts::read(tree),
            rights: RightsFacts::read(tree),
            control_group: ControlGroupFacts::read(tree),
            pressure: PressureFacts::read(tree),
            memory: MemoryFacts::read(tree),
        }
    }
}

/// What programs can still have without swapping, bytes.
pub(crate) fn available_memory() -> Option<u64> {
    MemoryFacts::read(Tree::below(Path::new("/"))).available
}

/// The folders of the control groups whose CPU quotas bear on this process, its own first.
pub(crate) fn control_group_folders() -> Vec<String> {
    control_group::folders(Tree::below(Path::new("/")))
}
