//! Precise mode beside a plain wait: lateness and CPU time, in turns on one thread.
//!
//! `cargo bench -p unisono-timer --bench precise -- PERIOD_US SECONDS ROUNDS` (20000 2 3). With the word
//! `awake` idle CPUs are kept from sleeping (`/dev/cpu_dma_latency` at 0), as cyclictest does by default.
//! It asks for SCHED_FIFO and says what was granted; nothing is asserted, as every machine has its own figures.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use unisono_timer::{
    LatencyHistogram, MonoTime, Period, Precision, RealtimeRequest, Schedule, Ticker,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`, or `--test` for one quick run.
    let given: Vec<u64> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let quick = !std::env::args().any(|arg| arg == "--bench");
    let argument = |place: usize, default| given.get(place).copied().unwrap_or(default);
    let period = Duration::from_micros(argument(0, 20_000));
    let span = Duration::from_secs(argument(1, if quick { 1 } else { 2 }));
    let rounds = argument(2, if quick { 1 } else { 3 });

    let mut request = RealtimeRequest::new()
        .fifo(80)
        .lock_memory()
        .prefault_stack(64 * 1024);
    if std::env::args().any(|arg| arg == "awake") {
        request = request.dma_latency(Duration::ZERO);
    }
    let grant = request.apply();
    println!("{grant}\n{period:?} for {span:?} a round");
    for _ in 0..rounds {
        for precise in [false, true] {
            measure(period, span, precise)?;
        }
    }
    Ok(())
}

fn measure(period: Duration, span: Duration, precise: bool) -> Result<(), Failure> {
    let schedule = Schedule::new(MonoTime::now(), Period::from_duration(period)?);
    let mut ticker = Ticker::new(schedule)?;
    if precise {
        ticker = ticker.precise(Precision::default());
    }
    // Precise mode needs a few ticks to know the machine.
    for _ in 0..10 {
        ticker.wait()?;
    }
    let lateness = LatencyHistogram::new();
    let (start, cpu, mut missed) = (MonoTime::now(), cpu_time()?, 0);
    while MonoTime::now().since(start) < span {
        let tick = ticker.wait()?;
        lateness.record(tick.lateness().as_nanos() as u64);
        missed += tick.missed;
    }
    let share = (cpu_time()? - cpu).as_secs_f64() / MonoTime::now().since(start).as_secs_f64();
    let seen = lateness.snapshot();
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|q| seen.quantile(q) as f64 / 1e3);
    println!(
        "{:8} p50 {p50:8.2} us  p99 {p99:8.2} us  p99.9 {p999:8.2} us  max {:8.2} us  missed {missed}  CPU {:.2} %",
        if precise { "precise" } else { "plain" },
        seen.max() as f64 / 1e3,
        share * 100.0
    );
    if let Some(status) = ticker.precision() {
        println!("         {status:?}");
    }
    Ok(())
}

fn cpu_time() -> Result<Duration, nix::Error> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from)
}
