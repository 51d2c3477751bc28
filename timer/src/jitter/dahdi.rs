//! The figure that operators of DAHDI know.

use super::record::Run;

/// What `dahdi_test` would have printed, in percent, had a card ticked like the run.
///
/// 100 is a perfect clock. By custom 99.99 and more is good, 99.97 probably good enough. The figure compares
/// the time that 1.024 s of samples took with what they should have taken, so it sees only when the
/// last tick of each 128 ms came: see [`dahdi_test`].
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DahdiTest {
    /// Each pass, of 8 reads. Empty for runs shorter than one.
    pub passes: Vec<f64>,
    /// The best pass; 0 when there is none, as all below.
    pub best: f64,
    /// The worst pass.
    pub worst: f64,
    /// The mean of the passes.
    pub mean: f64,
    /// The accuracy of all passes as one, in which errors that make up for one another cancel.
    pub cumulative: f64,
}

/// Computes what `dahdi_test` would say of a card that ticked like `run`.
///
/// Eight samples for each millisecond become readable at each tick, those of missed deadlines at the next tick
/// (DAHDI catches up). The program reads blocks of 1,024 samples, 128 ms, one after the other. A read ends at
/// the tick that completes its block, read off a clock with microseconds; after 8,000 samples or more
/// (8 reads, 8,192 samples) a pass is over, and its accuracy is 100 % less the difference between the samples read
/// and the time taken in units of 125 us, as a share of the samples; never below 0.
///
/// 128 ms are not a whole number of all periods (of 20 ms they are 6.4). There the program itself would show an
/// error of half a period with the best of clocks, so the block is taken as the nearest whole number of periods
/// instead. Only runs with a period of 1, 2, 4, 8, 16 or 32 ms give the figure to the letter.
pub fn dahdi_test(run: &Run) -> DahdiTest {
    let period_ns = run.period.as_nanos();
    if period_ns == 0 {
        return DahdiTest::default();
    }
    // At least two: the longest period is 60 ms.
    let ticks_per_read = ((BLOCK_NANOS + period_ns / 2) / period_ns).max(1) as u64;
    let units_per_read = ticks_per_read as f64 * period_ns as f64 / UNIT_NANOS;

    let mut test = DahdiTest::default();
    let (mut total, mut pass) = (Reads::default(), Reads::default());
    let mut reading_since = None;
    let mut next_complete = 0;
    for sample in &run.samples {
        // One tick completes several reads when the machine stood still for longer than a block.
        while sample.number >= next_complete {
            let woke_us = micros_of(sample.number, sample.lateness_ns, period_ns);
            // The first read only finds the beat.
            if let Some(since_us) = reading_since.replace(woke_us) {
                pass.samples += units_per_read;
                pass.units += (woke_us - since_us) as f64 / UNIT_MICROS;
            }
            next_complete += ticks_per_read;
            if pass.samples >= SAMPLES_PER_PASS {
                test.passes.push(pass.accuracy());
                total.samples += pass.samples;
                total.units += pass.units;
                pass = Reads::default();
            }
        }
    }
    if !test.passes.is_empty() {
        test.best = test.passes.iter().copied().fold(0.0, f64::max);
        test.worst = test.passes.iter().copied().fold(100.0, f64::min);
        test.mean = test.passes.iter().sum::<f64>() / test.passes.len() as f64;
        test.cumulative = total.accuracy();
    }
    test
}

/// Samples read, and the time it took in units of a sample.
#[derive(Default)]
struct Reads {
    samples: f64,
    units: f64,
}

impl Reads {
    fn accuracy(&self) -> f64 {
        let error = (self.samples - self.units).abs().min(self.samples);
        (self.samples - error) / self.samples * 100.0
    }
}

/// When a tick woke, since the run's start.
fn micros_of(number: u64, lateness_ns: i64, period_ns: u128) -> i64 {
    let due_ns = i128::from(number) * period_ns as i128;
    ((due_ns + i128::from(lateness_ns)).div_euclid(1_000)) as i64
}

/// 1,024 samples of 8 kHz.
const BLOCK_NANOS: u128 = 128_000_000;
const UNIT_NANOS: f64 = 125_000.0;
const UNIT_MICROS: f64 = 125.0;
const SAMPLES_PER_PASS: f64 = 8_000.0;

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::record::{Method, Policy, Sample};
    use super::*;

    /// A run of as many ticks, the lateness of each from `late_ns`.
    fn run(period_us: u64, ticks: u64, late_ns: impl Fn(u64) -> i64) -> Run {
        let samples = (0..ticks).map(|number| Sample {
            number,
            lateness_ns: late_ns(number),
            missed: 0,
            cpu: 0,
        });
        Run {
            method: Method::Timerfd,
            period: Duration::from_micros(period_us),
            policy: Policy::Other,
            cpu: None,
            loads: Vec::new(),
            grant: Vec::new(),
            started: SystemTime::UNIX_EPOCH,
            elapsed: Duration::ZERO,
            samples: samples.collect(),
            outliers: Vec::new(),
            outlier_count: 0,
            outlier_threshold: Duration::from_millis(1),
            clock_jumps: Vec::new(),
            host: Vec::new(),
            observer_lateness: Vec::new(),
            cpu_time: Duration::ZERO,
            ended_early: None,
        }
    }

    fn near(seen: f64, expected: f64) -> bool {
        (seen - expected).abs() < 1e-9
    }

    #[test]
    fn a_perfect_clock_has_100_percent_at_every_period() {
        for period_us in [1_000, 2_500, 4_000, 10_000, 20_000, 30_000, 60_000] {
            let test = dahdi_test(&run(period_us, 5_000_000 / period_us, |_| 70_000));
            assert!(test.passes.len() >= 3, "{period_us}: {test:?}");
            assert!(test.passes.iter().all(|&pass| pass == 100.0), "{test:?}");
            let all = [test.best, test.worst, test.mean, test.cumulative];
            assert_eq!(all, [100.0; 4]);
        }
    }

    #[test]
    fn an_error_of_256_us_at_the_end_of_a_pass_is_99_975_percent() {
        // The first pass ends at tick 1024.
        let test = dahdi_test(&run(
            1_000,
            3_073,
            |number| if number == 1024 { 256_000 } else { 0 },
        ));
        assert_eq!(test.passes.len(), 3);
        assert!(near(test.passes[0], 99.975), "{test:?}");
        // What the first took too long, the second is short of; over all it is as if nothing had been.
        assert!(near(test.passes[1], 99.975), "{test:?}");
        assert_eq!((test.passes[2], test.best), (100.0, 100.0));
        assert!(near(test.worst, 99.975) && near(test.mean, (2.0 * 99.975 + 100.0) / 3.0));
        assert!(near(test.cumulative, 100.0));
    }

    #[test]
    fn a_stall_that_is_made_up_for_within_a_block_is_not_seen_at_all() {
        // 100 ms without a tick, then one for all of them: a hundred lost deadlines at 1 ms.
        let mut stalled = run(1_000, 1_100, |_| 0);
        stalled
            .samples
            .retain(|sample| !(400..500).contains(&sample.number));
        stalled.samples[400].missed = 100;
        let test = dahdi_test(&stalled);
        assert_eq!(test.passes, [100.0]);
    }

    #[test]
    fn a_stall_across_the_end_of_a_pass_costs_what_it_was_late() {
        // The tick that ends the pass at 1,024 ms comes 50 ms late, with those it missed.
        let mut stalled = run(1_000, 2_100, |_| 0);
        stalled
            .samples
            .retain(|sample| !(1_000..1_074).contains(&sample.number));
        let test = dahdi_test(&stalled);
        let expected = 100.0 - 50.0 / 1_024.0 * 100.0;
        assert_eq!(test.passes.len(), 2);
        assert!(
            near(test.passes[0], expected) && near(test.passes[1], expected),
            "{test:?}"
        );
        assert!(near(test.cumulative, 100.0));
    }

    #[test]
    fn a_clock_that_is_two_thirds_as_fast_shows_as_such_and_a_dead_one_as_0() {
        // Each tick later by half a period than the one before.
        let test = dahdi_test(&run(1_000, 1_100, |number| number as i64 * 500_000));
        assert!(near(test.passes[0], 50.0), "{test:?}");
        let test = dahdi_test(&run(1_000, 1_100, |number| number as i64 * 9_000_000));
        assert_eq!(test.passes, [0.0]);
    }

    #[test]
    fn one_tick_after_a_long_stall_completes_several_reads() {
        let mut stalled = run(1_000, 2_100, |_| 0);
        stalled
            .samples
            .retain(|sample| !(100..700).contains(&sample.number));
        let test = dahdi_test(&stalled);
        assert_eq!(test.passes, [100.0, 100.0]);
    }

    #[test]
    fn too_short_a_run_has_no_pass() {
        assert_eq!(dahdi_test(&run(1_000, 1_024, |_| 0)), DahdiTest::default());
        assert_eq!(dahdi_test(&run(1_000, 1_025, |_| 0)).passes.len(), 1);
        assert_eq!(dahdi_test(&run(1_000, 0, |_| 0)), DahdiTest::default());
        assert_eq!(dahdi_test(&run(0, 100, |_| 0)), DahdiTest::default());
    }
}
