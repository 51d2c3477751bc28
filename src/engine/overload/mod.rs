//! What a worker does that has too much to do: it sheds in a documented order, and never falls behind.
//!
//! | file | what |
//! |---|---|
//! | `load.rs` | how much of the time that a worker has its work takes |
//! | `ladder.rs` | which [`Level`] follows from that: one step at a time, up soon, down late |
//! | `gauge.rs` | a worker's own load and level, kept and published |
//! | `thresholds.rs` | the settings that anyone may change while workers read them |
//! | `admission.rs` | whether a worker takes new calls |
//! | `doze.rs` | a leg whose silence is not decoded |
//!
//! All but the reading of a clock in `gauge.rs` is pure, with time as an argument. What each level switches off is decided
//! where it is done: calls are refused in `control/`, the rest in `mixing.rs`.

mod admission;
mod doze;
mod gauge;
mod ladder;
mod load;
mod thresholds;

pub(crate) use doze::{Attention, Doze};
pub(crate) use gauge::{Gauge, Moment};
pub use thresholds::OverloadSettings;
pub(crate) use thresholds::Thresholds;

/// What a worker has given up in order to finish in time. Each level includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing.
    #[default]
    Normal,
    /// It takes no new calls. Those that are up notice nothing.
    Refusing,
    /// Costly options are off: Opus is encoded with the least effort.
    Trimming,
    /// Of legs that have been silent for long, only a sample is decoded.
    Shedding,
}

impl Level {
    /// All levels, from the lowest.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Refusing, Self::Trimming, Self::Shedding];

    /// The level's name in the HTTP interface and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Refusing => "refusing",
            Self::Trimming => "trimming",
            Self::Shedding => "shedding",
        }
    }

    /// The level of this number, 0 to 3; a larger one is the highest.
    pub const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Normal,
            1 => Self::Refusing,
            2 => Self::Trimming,
            _ => Self::Shedding,
        }
    }

    /// Whether new calls are refused.
    pub fn refuses(self) -> bool {
        self >= Self::Refusing
    }

    /// Whether costly options are off.
    pub fn trims(self) -> bool {
        self >= Self::Trimming
    }

    /// Whether silent legs are not decoded.
    pub fn sheds(self) -> bool {
        self >= Self::Shedding
    }

    fn above(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }

    fn below(self) -> Self {
        Self::ALL[(self as usize).saturating_sub(1)]
    }
}
