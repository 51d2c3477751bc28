//! Whether a machine can carry voice, and what to do where it cannot: `unisono doctor` without its command line.
//!
//! [`examine`] looks at the machine as `unisono serve` would find it: it asks for the same real-time treatment, reckons
//! the same capacity, tries the same ports, and measures a worker's beat for a while. [`Diagnosis::of`] judges what was
//! found; it is pure, so every rule is tested with machines that are not at hand.
//!
//! | file or folder | what |
//! |---|---|
//! | `examine.rs` | looks, asks and measures |
//! | `beat.rs` | a worker's beat in figures |
//! | `finding.rs` | what one rule says, with severity and remedies |
//! | `rules/` | the rules, a file a subject |

mod beat;
mod examine;
mod finding;
mod rules;
#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;

use unisono_timer::HostFacts;
use unisono_timer::RealtimeGrant;
use unisono_timer::jitter::Run;

use crate::control::Capacity;

pub use beat::Beat;
pub use examine::{Doorway, Listener, examine};
pub use finding::{Finding, Remedy, Severity, Verdict};
pub(crate) use rules::topic_of_part;

/// What was seen of a machine.
#[derive(Debug)]
pub struct Examination {
    /// What it tells of itself.
    pub facts: HostFacts,
    /// What a media worker was granted.
    pub grant: RealtimeGrant,
    /// A worker's beat, measured; or why it could not be.
    pub run: Result<Run, String>,
    /// How many legs `unisono serve` could carry.
    pub capacity: Capacity,
    /// How many media workers it would have.
    pub workers: usize,
    /// Where it would listen.
    pub listeners: Vec<Listener>,
}

/// What is to be said about a machine.
#[derive(Debug)]
pub struct Diagnosis {
    /// All findings, the gravest first.
    pub findings: Vec<Finding>,
    /// The beat; `None` when it could not be measured.
    pub beat: Option<Beat>,
}

impl Diagnosis {
    /// Judges.
    pub fn of(examination: &Examination) -> Self {
        let beat = examination.run.as_ref().ok().map(Beat::of);
        let mut findings = rules::all(examination, beat.as_ref());
        // Stable: within a severity the order is that of the rules, the most important first.
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Self { findings, beat }
    }

    /// As grave as the gravest finding.
    pub fn verdict(&self) -> Verdict {
        match self.findings.first().map(|finding| finding.severity) {
            None | Some(Severity::Ok) => Verdict::Fit,
            Some(Severity::Warning) => Verdict::FitWithWarnings,
            Some(Severity::Unfit) => Verdict::Unfit,
        }
    }
}
