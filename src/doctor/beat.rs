//! A worker's beat in figures.

use unisono_timer::jitter::Run;

use crate::jitter::Figures;

/// How punctual the wake-ups were.
///
/// A wake-up is as late as the first deadline it serves: one that comes after a stall of 50 ms is 50 ms late, however
/// many deadlines it stands for. So each stall counts once here, while `figures.corrected` counts all of its deadlines.
#[derive(Debug)]
pub struct Beat {
    /// All other figures of the run.
    pub figures: Figures,
    /// How late each wake-up was, ns, ascending.
    lateness: Vec<u64>,
}

impl Beat {
    /// Reckons.
    pub fn of(run: &Run) -> Self {
        let period = u64::try_from(run.period.as_nanos()).unwrap_or(u64::MAX);
        let mut lateness: Vec<u64> = run
            .samples
            .iter()
            .map(|sample| {
                let stalled = period.saturating_mul(sample.missed.into());
                u64::try_from(sample.lateness_ns)
                    .unwrap_or(0)
                    .saturating_add(stalled)
            })
            .collect();
        lateness.sort_unstable();
        Self {
            figures: Figures::of(run),
            lateness,
        }
    }

    /// Number of wake-ups.
    pub fn wake_ups(&self) -> usize {
        self.lateness.len()
    }

    /// The least lateness that the share `q` (0 to 1) of the wake-ups does not exceed, ns; 0 without wake-ups.
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = (q.clamp(0.0, 1.0) * self.lateness.len() as f64).ceil() as usize;
        self.lateness
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(0)
    }

    /// Wake-ups later than so many ns.
    pub fn later_than(&self, nanos: u64) -> usize {
        self.lateness.len() - self.lateness.partition_point(|&late| late <= nanos)
    }

    /// The latest, ns; 0 without wake-ups.
    pub fn latest(&self) -> u64 {
        self.lateness.last().copied().unwrap_or(0)
    }

    /// Deadlines without a wake-up of their own, as a share of all.
    pub fn missed_share(&self) -> f64 {
        self.figures.missed as f64 / self.figures.deadlines().max(1) as f64
    }

    /// What the hypervisor took, as a share of the time of `cpus` CPUs.
    pub fn steal_share(&self, cpus: usize) -> Option<f64> {
        Some(self.figures.steal_share? / cpus.max(1) as f64)
    }
}
