//! How late this machine wakes threads, by every method, alone and under load:
//! `cargo run --release -p unisono-timer --example jitter -- [SECONDS [LOAD...]]`.

use std::time::Duration;

use unisono_timer::jitter::load::{Load, Loads};
use unisono_timer::jitter::{Live, Method, Plan, Policy, dahdi_test, measure};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let seconds = words.next().map_or(Ok(2), |word| word.parse())?;
    let loads = words
        .map(|word| word.parse())
        .collect::<Result<Vec<Load>, _>>()?;

    let running = Loads::start(&loads)?;
    println!("method         p50 us   p99 us   max us  missed  CPU %  DAHDI %  causes");
    for method in [
        Method::Ticker,
        Method::Timerfd,
        Method::Nanosleep,
        Method::Precise,
        Method::Epoll,
        Method::Sleep,
        Method::Usleep,
    ] {
        let period = Duration::from_millis(4);
        let mut plan = Plan::new(method, period, Duration::from_secs(seconds));
        plan.policy = Policy::Fifo(80);
        plan.lock_memory = true;
        plan.loads = loads.iter().map(Load::to_string).collect();

        let live = Live::new();
        let run = measure(&plan, &live)?;
        for part in run.grant.iter().filter(|part| !part.granted) {
            println!("without {}: {}", part.part, part.detail);
        }
        let lateness = live.stats().lateness().snapshot();
        let mut causes: Vec<String> = Vec::new();
        for outlier in &run.outliers {
            let (cause, late_us) = (outlier.cause, outlier.lateness_ns / 1000);
            causes.push(format!("{cause} {late_us}"));
        }
        println!(
            "{:10} {:>10.1} {:>8.1} {:>8.1} {:>7} {:>6.2} {:>8.3}  {}",
            format!("{method:?}"),
            lateness.quantile(0.5) as f64 / 1e3,
            lateness.quantile(0.99) as f64 / 1e3,
            lateness.max() as f64 / 1e3,
            live.stats().missed(),
            run.cpu_time.as_secs_f64() / run.elapsed.as_secs_f64() * 100.0,
            dahdi_test(&run).mean,
            causes.join(", "),
        );
    }
    for work in running.stop() {
        println!("load {}: {} {}", work.load, work.amount, work.unit);
    }
    Ok(())
}
