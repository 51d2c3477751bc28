//! Runs with everything that is said of them: what every output is made of.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use unisono_timer::jitter::load::WorkDone;
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
    /// What the tool's own loads got done, around all runs.
    pub loads: Vec<LoadRecord>,
    /// The runs in the order in which they were made.
    pub runs: Vec<Judged>,
    /// Runs that were asked for and not begun, by name.
    pub not_begun: Vec<String>,
}

/// A load of the tool's own, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// Its name: `cpu`, `mem`, `disk`, `net`.
    pub load: String,
    /// What it got done, in `unit`s.
    pub amount: u64,
    /// Of what.
    pub unit: String,
    /// Why it ended before it was told to, if it did.
    pub error: Option<String>,
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
    /// Whether it was measured without a load that was asked for, as that had failed.
    pub load_failed: bool,
}

impl Report {
    /// Whether every run that was asked for was made to its end, passed and met every condition, and no load failed.
    pub fn passed(&self) -> bool {
        let complete = |judged: &Judged| judged.run.ended_early.is_none();
        !self.runs.is_empty()
            && self.not_begun.is_empty()
            && self.loads.iter().all(|load| load.error.is_none())
            && self
                .runs
                .iter()
                .all(|judged| complete(judged) && judged.passed())
    }
}

impl Judged {
    /// Reckons a run's figures and judges them, by `gate` too where there is one. All `loads` were to go on meanwhile.
    pub fn new(run: Run, loads: &[LoadRecord], gate: Option<&Gate>, dahdi: bool) -> Self {
        let figures = Figures::of(&run);
        let mut verdict = Verdict::of(&run, &figures);
        let failed = || loads.iter().filter(|load| load.error.is_some());
        // Before what is to be known in any case.
        verdict
            .remarks
            .splice(0..0, failed().map(LoadRecord::remark));
        Self {
            load_failed: failed().next().is_some(),
            verdict,
            outcomes: gate.map_or_else(Vec::new, |gate| gate.check(&run, &figures)),
            dahdi: dahdi.then(|| dahdi_test(&run)),
            run,
            figures,
        }
    }

    /// Whether it passed, met every condition, and was measured under all that was asked for.
    pub fn passed(&self) -> bool {
        self.verdict.passed()
            && !self.load_failed
            && self.outcomes.iter().all(|outcome| outcome.held)
    }
}

impl LoadRecord {
    /// `disk: 320 MiB written and read back`, and why it ended where it did.
    pub fn line(&self) -> String {
        let Self {
            load, amount, unit, ..
        } = self;
        match &self.error {
            None => format!("{load}: {amount} {unit}"),
            Some(error) => format!("{load}: {amount} {unit}, then it FAILED: {error}"),
        }
    }

    /// What that means for a run.
    fn remark(&self) -> String {
        let error = self.error.as_deref().unwrap_or_default();
        format!(
            "the load {} failed ({error}): this was measured without it for a part or all of the time, and is no answer to what \
             was asked; mend that and measure again",
            self.load
        )
    }
}

impl From<WorkDone> for LoadRecord {
    fn from(work: WorkDone) -> Self {
        Self {
            load: work.load.to_string(),
            amount: work.amount,
            unit: work.unit.to_owned(),
            error: work.error,
        }
    }
}
