//! Ten ticks of 20 ms, with how late each was: `cargo run -p unisono-timer --example tick`.

use unisono_timer::{MonoTime, Period, RealtimeRequest, Schedule, TickStats, Ticker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let grant = RealtimeRequest::new()
        .fifo(70)
        .lock_memory()
        .prefault_stack(64 * 1024)
        .apply();
    println!("{grant}");

    let stats = TickStats::new();
    let mut ticker = Ticker::new(Schedule::new(MonoTime::now(), Period::from_rate(50, 1)?))?;
    for _ in 0..10 {
        let tick = ticker.wait()?;
        stats.record(&tick);
        println!(
            "tick {:2}  {:>9.1?} late  {} missed",
            tick.number,
            tick.lateness(),
            tick.missed
        );
    }

    let lateness = stats.lateness().snapshot();
    println!(
        "median {} us, max {} us",
        lateness.quantile(0.5) / 1000,
        lateness.max() / 1000
    );
    Ok(())
}
