//! Names of methods, policies and times, as people write and read them.

use std::time::Duration;

use unisono_timer::jitter::{Method, Plan, Policy, Run};

/// Every method with its name and what it is, in the order in which they are measured.
pub const METHODS: [(&str, Method, &str); 8] = [
    (
        "ticker",
        Method::Ticker,
        "asleep until a little before the deadline, as this server's workers are",
    ),
    (
        "precise",
        Method::Precise,
        "asleep until shortly before the deadline, then spinning",
    ),
    (
        "timerfd",
        Method::Timerfd,
        "an absolute timerfd and a blocking read",
    ),
    (
        "nanosleep",
        Method::Nanosleep,
        "clock_nanosleep until an absolute time, as cyclictest does",
    ),
    (
        "epoll",
        Method::Epoll,
        "epoll_wait with a timeout in whole milliseconds",
    ),
    ("tokio", Method::Tokio, "tokio::time::interval"),
    (
        "sleep",
        Method::Sleep,
        "std::thread::sleep for the rest of the period",
    ),
    (
        "usleep",
        Method::Usleep,
        "usleep and a look at the clock, again and again",
    ),
];

/// The method's name.
pub fn method_name(method: Method) -> &'static str {
    let known = METHODS.iter().find(|(_, known, _)| *known == method);
    known.map_or("another method", |(name, ..)| name)
}

/// The policy as it is written on the command line: `fifo:80`.
pub fn policy_name(policy: Policy) -> String {
    match policy {
        Policy::Other => "other".to_owned(),
        Policy::Fifo(priority) => format!("fifo:{priority}"),
        Policy::RoundRobin(priority) => format!("rr:{priority}"),
        Policy::Deadline => "deadline".to_owned(),
        _ => "another policy".to_owned(),
    }
}

/// One run among others: `timerfd, 20 ms, fifo:80, CPU 1, load cpu+disk`.
pub fn run_name(run: &Run) -> String {
    name(run.method, run.period, run.policy, run.cpu, &run.loads)
}

/// The same of a run that has not been made.
pub fn plan_name(plan: &Plan) -> String {
    name(plan.method, plan.period, plan.policy, plan.cpu, &plan.loads)
}

/// A length of time that somebody chose: `20 ms`, `2.5 ms`, `10 s`, `1 h`.
pub fn span(length: Duration) -> String {
    let nanos = length.as_nanos();
    for (unit, size) in [
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
    ] {
        if nanos >= size && nanos.is_multiple_of(size) {
            return format!("{} {unit}", nanos / size);
        }
    }
    let (value, unit) = if nanos >= 1_000_000_000 {
        (nanos as f64 / 1e9, "s")
    } else if nanos >= 1_000_000 || nanos == 0 {
        (nanos as f64 / 1e6, "ms")
    } else {
        (nanos as f64 / 1e3, "us")
    };
    let digits = format!("{value:.3}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits} {unit}")
}

/// A time that was measured, with three digits and a unit: `840 ns`, `12.4 us`, `3.07 ms`, `1.20 s`.
pub fn measured(nanos: u64) -> String {
    let value = nanos as f64;
    // Where three digits round up to four, the next unit is due.
    let (value, unit) = match value {
        _ if nanos < 1000 => return format!("{nanos} ns"),
        value if value < 999_500.0 => (value / 1e3, "us"),
        value if value < 999_500_000.0 => (value / 1e6, "ms"),
        value => (value / 1e9, "s"),
    };
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

/// A share of one as percent, with as many decimals as say something: `0 %`, `0.012 %`, `3.4 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 {
        "0 %".to_owned()
    } else if percent < 0.001 {
        "<0.001 %".to_owned()
    } else if percent < 0.1 {
        format!("{percent:.3} %")
    } else if percent < 10.0 {
        format!("{percent:.2} %")
    } else {
        format!("{percent:.1} %")
    }
}

fn name(
    method: Method,
    period: Duration,
    policy: Policy,
    cpu: Option<usize>,
    loads: &[String],
) -> String {
    let mut name = format!(
        "{}, {}, {}",
        method_name(method),
        span(period),
        policy_name(policy)
    );
    if let Some(cpu) = cpu {
        name += &format!(", CPU {cpu}");
    }
    if !loads.is_empty() {
        name += &format!(", load {}", loads.join("+"));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_times_are_written_as_chosen() {
        let written = |nanos| span(Duration::from_nanos(nanos));
        assert_eq!(written(20_000_000), "20 ms");
        assert_eq!(written(2_500_000), "2.5 ms");
        assert_eq!(written(10_000_000_000), "10 s");
        assert_eq!(written(1_500_000_000), "1.5 s");
        assert_eq!(written(3_600_000_000_000), "1 h");
        assert_eq!(written(90_000_000_000), "90 s");
        assert_eq!(written(120_000_000_000), "2 min");
        assert_eq!(written(100_000), "100 us");
    }

    #[test]
    fn measured_times_have_three_digits() {
        assert_eq!(measured(0), "0 ns");
        assert_eq!(measured(999), "999 ns");
        assert_eq!(measured(1_000), "1.00 us");
        assert_eq!(measured(12_345), "12.3 us");
        assert_eq!(measured(999_499), "999 us");
        assert_eq!(measured(999_500), "1.00 ms");
        assert_eq!(measured(99_960_000), "100 ms");
        assert_eq!(measured(1_200_000_000), "1.20 s");
    }

    #[test]
    fn shares_are_percent_with_useful_decimals() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_001), "<0.001 %");
        assert_eq!(percent(0.000_12), "0.012 %");
        assert_eq!(percent(0.034), "3.40 %");
        assert_eq!(percent(0.5), "50.0 %");
    }

    #[test]
    fn runs_are_named_by_what_tells_them_apart() {
        let mut run = crate::jitter::synthetic::run_of(20, &[]);
        assert_eq!(run_name(&run), "timerfd, 20 ms, fifo:80");
        run.cpu = Some(1);
        run.loads = vec!["cpu".to_owned(), "disk".to_owned()];
        run.policy = Policy::Other;
        assert_eq!(
            run_name(&run),
            "timerfd, 20 ms, other, CPU 1, load cpu+disk"
        );
    }
}
