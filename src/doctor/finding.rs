//! What one rule says.

use serde::Serialize;
use unisono_timer::realtime;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// What was looked at, in a word or two; the same in every version, for programs.
    pub topic: &'static str,
    /// What was found.
    pub found: String,
    /// Why it matters for voice; empty when all is well.
    pub why: String,
    /// What mends it: each alone suffices, the best first. Empty when all is well.
    pub remedies: Vec<Remedy>,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// All is well.
    Ok,
    /// Voice may stutter at times, or something is less than configured.
    Warning,
    /// Callers would hear it.
    Unfit,
}

/// What mends something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "text")]
pub enum Remedy {
    /// A line for the `[Service]` section of the systemd unit.
    UnitLine(String),
    /// A command for a shell.
    Command(String),
    /// What to do, where no line or command does it.
    Advice(String),
}

/// All findings together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It can carry voice.
    Fit,
    /// It can, but something should be mended.
    FitWithWarnings,
    /// It cannot.
    Unfit,
}

impl Verdict {
    /// The exit status of `unisono doctor`.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Fit => 0,
            Self::FitWithWarnings => 1,
            Self::Unfit => 2,
        }
    }
}

impl Finding {
    pub(super) fn ok(topic: &'static str, found: impl Into<String>) -> Self {
        Self {
            severity: Severity::Ok,
            topic,
            found: found.into(),
            why: String::new(),
            remedies: Vec::new(),
        }
    }

    pub(super) fn warning(
        topic: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            why: why.into(),
            ..Self::ok(topic, found)
        }
    }

    pub(super) fn unfit(
        topic: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Unfit,
            ..Self::warning(topic, found, why)
        }
    }

    pub(super) fn unit_line(mut self, line: impl Into<String>) -> Self {
        self.remedies.push(Remedy::UnitLine(line.into()));
        self
    }

    pub(super) fn command(mut self, command: impl Into<String>) -> Self {
        self.remedies.push(Remedy::Command(command.into()));
        self
    }

    pub(super) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.remedies.push(Remedy::Advice(advice.into()));
        self
    }

    /// What the timer says removes a refusal.
    pub(super) fn remedied_by(mut self, remedy: &realtime::Remedy) -> Self {
        let realtime::Remedy {
            unit_line,
            command,
            advice,
            ..
        } = remedy;
        self.remedies
            .extend(unit_line.clone().map(Remedy::UnitLine));
        self.remedies.extend(command.clone().map(Remedy::Command));
        self.remedies.extend(advice.clone().map(Remedy::Advice));
        self
    }
}
