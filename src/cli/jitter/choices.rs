//! How methods, times, policies and CPUs are written on the command line.

use std::time::Duration;

use unisono_timer::jitter::load::Load;
use unisono_timer::jitter::{Method, Policy};

use crate::jitter::METHODS;

/// Priority of SCHED_FIFO and SCHED_RR when none is written.
const PRIORITY: u8 = 80;

/// Ways to wait, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Methods(pub(super) Vec<Method>);

/// Where to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cpus {
    /// Wherever the kernel likes.
    Any,
    /// One thread on each CPU that this process may use, all at once.
    Each,
    /// This one.
    One(usize),
}

/// Names between commas, or `all`.
pub(super) fn methods(text: &str) -> Result<Methods, String> {
    let mut chosen = Vec::new();
    for name in text.split(',') {
        let known = METHODS
            .iter()
            .filter(|(known, ..)| name == "all" || name == *known);
        let found: Vec<Method> = known.map(|(_, method, _)| *method).collect();
        if found.is_empty() {
            let names: Vec<&str> = METHODS.iter().map(|(name, ..)| *name).collect();
            return Err(format!("'{name}' is none of {} and all", names.join(", ")));
        }
        for method in found {
            if !chosen.contains(&method) {
                chosen.push(method);
            }
        }
    }
    Ok(Methods(chosen))
}

/// A number and a unit: `500us`, `2.5ms`, `20ms`, `90s`, `10min`, `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("min", 60.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let expected = || "expected a number and a unit: 500us, 2.5ms, 20ms, 90s, 10min, 1h".to_owned();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(expected)?;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| expected())?;
    let unit = unit.trim_start();
    let (_, seconds) = UNITS
        .into_iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(expected)?;
    let length = Duration::try_from_secs_f64(number * seconds)
        .map_err(|_| "that is longer than can be counted".to_owned())?;
    if length.is_zero() {
        return Err("expected more than nothing".to_owned());
    }
    Ok(length)
}

/// `other`, `fifo`, `fifo:80`, `rr`, `rr:80` or `deadline`.
pub(super) fn policy(text: &str) -> Result<Policy, String> {
    let (name, priority) = match text.split_once(':') {
        Some((name, priority)) => (name, Some(priority)),
        None => (text, None),
    };
    let priority = match priority {
        None => Ok(PRIORITY),
        Some(priority) => match priority.parse() {
            Ok(priority @ 1..=99) => Ok(priority),
            _ => Err(format!("priority '{priority}' is none of 1 to 99")),
        },
    };
    match (name, text.contains(':')) {
        ("fifo", _) => Ok(Policy::Fifo(priority?)),
        ("rr", _) => Ok(Policy::RoundRobin(priority?)),
        ("other", false) => Ok(Policy::Other),
        ("deadline", false) => Ok(Policy::Deadline),
        ("other" | "deadline", true) => Err(format!("{name} has no priority")),
        _ => Err("expected other, fifo, fifo:80, rr, rr:80 or deadline".to_owned()),
    }
}

/// A number, `each` or `any`.
pub(super) fn cpus(text: &str) -> Result<Cpus, String> {
    match text {
        "any" => Ok(Cpus::Any),
        "each" => Ok(Cpus::Each),
        number => match number.parse() {
            Ok(cpu) => Ok(Cpus::One(cpu)),
            Err(_) => Err("expected the number of a CPU, each, or any".to_owned()),
        },
    }
}

/// `cpu`, `mem`, `disk` or `net`.
pub(super) fn load(text: &str) -> Result<Load, String> {
    text.parse().map_err(|_| {
        let names: Vec<&str> = Load::ALL.iter().map(|load| load.name()).collect();
        format!("'{text}' is none of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_numbers_with_units() {
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(duration("2.5ms"), Ok(Duration::from_micros(2500)));
        assert_eq!(duration("500us"), Ok(Duration::from_micros(500)));
        assert_eq!(duration("90 s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10min"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for wrong in [
            "",
            "20",
            "ms",
            "1.2.3s",
            "-5s",
            "5 parsecs",
            "0s",
            "99999999999999999999h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn methods_are_listed_once_each() {
        assert_eq!(
            methods("epoll,timerfd,epoll"),
            Ok(Methods(vec![Method::Epoll, Method::Timerfd]))
        );
        assert_eq!(methods("all").unwrap().0.len(), METHODS.len());
        assert_eq!(methods("usleep,all").unwrap().0.len(), METHODS.len());
        let complaint = methods("timerfd,sundial").unwrap_err();
        assert!(complaint.contains("sundial") && complaint.contains("nanosleep"));
    }

    #[test]
    fn policies_may_have_a_priority() {
        assert_eq!(policy("other"), Ok(Policy::Other));
        assert_eq!(policy("fifo"), Ok(Policy::Fifo(80)));
        assert_eq!(policy("fifo:1"), Ok(Policy::Fifo(1)));
        assert_eq!(policy("rr:99"), Ok(Policy::RoundRobin(99)));
        assert_eq!(policy("deadline"), Ok(Policy::Deadline));
        for wrong in [
            "",
            "fifo:0",
            "fifo:100",
            "rr:x",
            "other:5",
            "deadline:",
            "batch",
        ] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cpus_are_one_each_or_any() {
        assert_eq!(cpus("3"), Ok(Cpus::One(3)));
        assert_eq!(cpus("each"), Ok(Cpus::Each));
        assert_eq!(cpus("any"), Ok(Cpus::Any));
        assert!(cpus("first").is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_makes_it_panic(text in "\\PC{0,12}") {
            let _ = (duration(&text), methods(&text), policy(&text), cpus(&text), load(&text));
        }
    }
}
