//! Runs with everything that is said of them: what every output is made of.

use std::time::SystemTime;

use unisono_timer::jitter::{DahdiTest, Run, dahdi_test};

use super::figures::Figures;
use super::gate::{Gate, Outcome};
use super::verdict::Verdict;

/// Several runs and where they were made.
#[derive(Clone, Debug)]
pub struct Report {
    /// The program and its version.
    pub tool: String,
    /// When the report was made.
    pub created: SystemTime,
    /// The command line that measured.
    pub command: Vec<String>,
    /// What the machine is, as label and value.
    pub host: Vec<(String, String)>,
    /// The runs in the order in which they were made.
    pub runs: Vec<Judged>,
    /// Runs that were asked for and not begun, by name.
    pub not_begun: Vec<String>,
}

/// A run, its figures, and what was made of them.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What was measured.
    pub run: Run,
    /// Its figures.
    pub figures: Figures,
    /// Whether a conference can be held on it.
    pub verdict: Verdict,
    /// The conditions that were asked for.
    pub outcomes: Vec<Outcome>,
    /// What dahdi_test would say, where asked for.
    pub dahdi: Option<DahdiTest>,
}

impl Report {
    /// Whether every run that was asked for was made to its end, passed and met every condition.
    pub fn passed(&self) -> bool {
        let complete = |judged: &Judged| judged.run.ended_early.is_none();
        !self.runs.is_empty()
            && self.not_begun.is_empty()
            && self
                .runs
                .iter()
                .all(|judged| complete(judged) && judged.passed())
    }
}

impl Judged {
    /// Reckons a run's figures and judges them, by `gate` too where there is one.
    pub fn new(run: Run, gate: Option<&Gate>, dahdi: bool) -> Self {
        let figures = Figures::of(&run);
        Self {
            verdict: Verdict::of(&run, &figures),
            outcomes: gate.map_or_else(Vec::new, |gate| gate.check(&run, &figures)),
            dahdi: dahdi.then(|| dahdi_test(&run)),
            run,
            figures,
        }
    }

    /// Whether it passed and met every condition.
    pub fn passed(&self) -> bool {
        self.verdict.passed() && self.outcomes.iter().all(|outcome| outcome.held)
    }
}
