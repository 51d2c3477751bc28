//! From the arguments to what is measured.

use std::time::Duration;

use unisono_timer::jitter::Plan;
use unisono_timer::realtime::allowed_cpus;

use super::JitterArguments;
use super::choices::Cpus;

const PERIOD: Duration = Duration::from_millis(20);
/// What a kernel of 250 Hz gave DAHDI's own timer.
const DAHDI_PERIOD: Duration = Duration::from_millis(4);

/// What is measured, one group after the other; those in a group at the same time.
pub(super) fn plans(arguments: &JitterArguments) -> Result<Vec<Vec<Plan>>, String> {
    let cpus = cpus(arguments.cpu, &allowed_cpus())?;
    let periods = match arguments.period.as_slice() {
        [] if arguments.dahdi_test => vec![DAHDI_PERIOD],
        [] => vec![PERIOD],
        periods => periods.to_vec(),
    };
    let mut loads: Vec<String> = Vec::new();
    for load in &arguments.load {
        let name = load.name().to_owned();
        if !loads.contains(&name) {
            loads.push(name);
        }
    }
    let mut groups = Vec::new();
    for (place, &period) in periods.iter().enumerate() {
        if periods[..place].contains(&period) {
            continue;
        }
        for &method in &arguments.method.0 {
            let plan = |&cpu: &Option<usize>| Plan {
                policy: arguments.policy,
                cpu,
                lock_memory: !arguments.no_lock_memory,
                dma_latency: !arguments.no_dma_latency,
                outlier_threshold: arguments.outlier_threshold,
                loads: loads.clone(),
                ..Plan::new(method, period, arguments.duration)
            };
            let group: Vec<Plan> = cpus.iter().map(plan).collect();
            for plan in &group {
                plan.ticks().map_err(|error| error.to_string())?;
            }
            groups.push(group);
        }
    }
    Ok(groups)
}

fn cpus(wanted: Cpus, allowed: &[usize]) -> Result<Vec<Option<usize>>, String> {
    match wanted {
        Cpus::Any => Ok(vec![None]),
        Cpus::Each if allowed.is_empty() => {
            Err("the kernel does not tell which CPUs there are; name one with --cpu".to_owned())
        }
        Cpus::Each => Ok(allowed.iter().copied().map(Some).collect()),
        Cpus::One(cpu) if !allowed.is_empty() && !allowed.contains(&cpu) => {
            let names: Vec<String> = allowed.iter().map(usize::to_string).collect();
            Err(format!(
                "CPU {cpu} is none that this process may use: {}",
                names.join(", ")
            ))
        }
        Cpus::One(cpu) => Ok(vec![Some(cpu)]),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use unisono_timer::jitter::Method;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: JitterArguments,
    }

    fn planned(line: &str) -> Result<Vec<Vec<Plan>>, String> {
        let words = std::iter::once("jitter").chain(line.split_whitespace());
        plans(
            &Line::try_parse_from(words)
                .map_err(|error| error.to_string())?
                .arguments,
        )
    }

    #[test]
    fn without_options_two_methods_are_measured_for_twenty_seconds() {
        let groups = planned("").unwrap();
        let plans: Vec<&Plan> = groups.iter().flatten().collect();
        let methods: Vec<Method> = plans.iter().map(|plan| plan.method).collect();
        assert_eq!(methods, [Method::Ticker, Method::Precise]);
        for plan in plans {
            assert_eq!(
                (plan.period, plan.duration),
                (PERIOD, Duration::from_secs(20))
            );
            assert!(plan.lock_memory && plan.dma_latency && plan.cpu.is_none());
        }
    }

    #[test]
    fn each_period_has_each_method() {
        let groups =
            planned("--method epoll,tokio --period 5ms,20ms --no-lock-memory --load cpu,net,cpu")
                .unwrap();
        assert_eq!(groups.len(), 4);
        assert_eq!(groups[1][0].method, Method::Tokio);
        assert_eq!(groups[1][0].period, Duration::from_millis(5));
        assert!(!groups[3][0].lock_memory);
        assert_eq!(groups[3][0].loads, ["cpu", "net"]);
    }

    #[test]
    fn dahdi_test_has_a_period_of_its_own_unless_one_is_given() {
        assert_eq!(planned("--dahdi-test").unwrap()[0][0].period, DAHDI_PERIOD);
        assert_eq!(
            planned("--dahdi-test --period 1ms").unwrap()[0][0].period,
            Duration::from_millis(1)
        );
    }

    #[test]
    fn impossible_plans_are_refused_before_anything_is_measured() {
        assert!(planned("--period 61ms").unwrap_err().contains("60 ms"));
        assert!(planned("--duration 10ms").unwrap_err().contains("20ms"));
        assert!(planned("--cpu 99999").unwrap_err().contains("CPU 99999"));
    }

    #[test]
    fn cpus_are_those_that_may_be_used() {
        assert_eq!(cpus(Cpus::Any, &[0, 1]), Ok(vec![None]));
        assert_eq!(cpus(Cpus::Each, &[1, 3]), Ok(vec![Some(1), Some(3)]));
        assert_eq!(cpus(Cpus::One(3), &[1, 3]), Ok(vec![Some(3)]));
        let complaint = cpus(Cpus::One(0), &[1, 3]).unwrap_err();
        assert!(complaint.contains("1, 3"), "{complaint}");
        assert!(cpus(Cpus::Each, &[]).is_err());
    }
}
