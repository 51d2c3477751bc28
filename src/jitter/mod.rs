//! What `unisono jitter` makes of a measurement: figures, a verdict, and every form in which they are read.
//!
//! The measuring itself is `unisono_timer::jitter`; a [`Run`](unisono_timer::jitter::Run) is what it leaves behind.
//!
//! | file or folder | what |
//! |---|---|
//! | `figures.rs`, `interval.rs`, `distribution.rs` | a run in figures, raw and corrected for coordinated omission |
//! | `verdict.rs` | whether a 20 ms conference can be held on it |
//! | `gate.rs` | conditions such as `p99.9<1ms` |
//! | `report.rs` | runs with all that is said of them |
//! | `document.rs` | the report as JSON, written and read |
//! | `text/` | table, CSV, HdrHistogram's and cyclictest's formats |
//! | `html/` | the report as one page |
//! | `compare/` | two reports, side by side |
//! | `tokio.rs` | a beat to measure that the timer crate does not have |
//! | `naming.rs` | names and units |

mod compare;
mod distribution;
mod document;
mod figures;
mod gate;
mod html;
mod interval;
mod naming;
mod report;
#[cfg(test)]
pub(crate) mod synthetic;
mod text;
mod tokio;
mod verdict;

pub use self::compare::{
    Certainty, CompareError, Comparison, Difference, Judgement, Pair, Unit, comparison_table,
};
pub use self::distribution::{Distribution, QUANTILES};
pub use self::document::{
    AssertRecord, DahdiRecord, DistributionRecord, Document, DocumentError, Fact, IntervalRecord,
    LateRecord, Lateness, OutlierRecord, RunRecord, SCHEMA, VerdictRecord,
};
pub use self::figures::{Figures, GAP, LATE_BY_MS};
pub use self::gate::{Condition, Gate, GateError, NAMES, Outcome};
pub use self::html::page;
pub(crate) use self::html::{STYLE, svg};
pub use self::interval::{Interval, interval_length, intervals};
pub use self::naming::{
    METHODS, measured, method_name, percent, plan_name, policy_name, run_name, span,
};
pub use self::report::{Judged, LoadRecord, Report};
pub(crate) use self::text::broken;
pub use self::text::{
    Paint, dahdi_lines, table, write_csv, write_hgrm, write_histogram, write_hlog,
};
pub use self::tokio::TokioBeat;
pub use self::verdict::{Grade, LateShare, Verdict};
