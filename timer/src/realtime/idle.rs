//! How deeply the machine's CPUs may sleep when idle.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::host;
use super::outcome::{Outcome, Refusal, Remedy};

/// An open descriptor of the device: the kernel keeps to what was written to it until the last copy is closed.
#[derive(Clone, Debug)]
pub(super) struct Hold(#[expect(dead_code, reason = "kept open, not used")] Arc<File>);

pub(super) fn limit(asked: Duration) -> (Outcome, Option<Hold>) {
    limit_on(DEVICE, host::has_idle_driver(), asked)
}

fn limit_on(device: &'static str, idle_driver: bool, asked: Duration) -> (Outcome, Option<Hold>) {
    if !idle_driver {
        let remedy = Remedy::advice(
            "in a guest, load the module cpuidle-haltpoll or boot with idle=poll; \
             elsewhere, boot without idle=halt and cpuidle.off=1",
        );
        return (Outcome::refused(Refusal::NoIdleStates, remedy), None);
    }
    // A 32-bit signed number of microseconds.
    let micros = i32::try_from(asked.as_micros()).unwrap_or(i32::MAX);
    match write(Path::new(device), micros) {
        Ok(file) => {
            let detail = format!("idle CPUs wake within {micros} us, while this is kept");
            (Outcome::granted(detail), Some(Hold(Arc::new(file))))
        }
        Err(error) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            (refused(device, errno), None)
        }
    }
}

fn write(device: &Path, micros: i32) -> io::Result<File> {
    // Closed on exec, as all files of the standard library.
    let mut file = OpenOptions::new().write(true).open(device)?;
    file.write_all(&micros.to_ne_bytes())?;
    Ok(file)
}

fn refused(device: &'static str, errno: Errno) -> Outcome {
    let container = format!("start the container with --device {device}");
    let remedy = match errno {
        Errno::EACCES => {
            let rule = r#"KERNEL=="cpu_dma_latency", GROUP="audio", MODE="0660""#;
            let file = "/etc/udev/rules.d/99-cpu-dma-latency.rules";
            Remedy::command(format!(
                "echo '{rule}' | sudo tee {file}; sudo udevadm trigger /dev/cpu_dma_latency"
            ))
            .or_advice("run as a member of that group (SupplementaryGroups=audio)")
        }
        // The device filter of a control group.
        Errno::EPERM => Remedy::unit(format!("DeviceAllow={device} rw")).or_advice(container),
        Errno::ENOENT => Remedy::unit("PrivateDevices=no").or_advice(container),
        _ => Remedy::advice(format!("see what {device} is")),
    };
    Outcome::refused(Refusal::Device { device, errno }, remedy)
}

const DEVICE: &str = "/dev/cpu_dma_latency";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_idle_driver_there_is_nothing_to_limit() {
        let (outcome, hold) = limit_on("/dev/null", false, Duration::ZERO);
        let Outcome::Refused { reason, .. } = outcome else {
            panic!("{outcome}")
        };
        assert_eq!(reason, Refusal::NoIdleStates);
        assert!(hold.is_none());
    }

    #[test]
    fn a_device_that_takes_it_is_kept_open() {
        let (outcome, hold) = limit_on("/dev/null", true, Duration::from_micros(30));
        let expected = Outcome::granted("idle CPUs wake within 30 us, while this is kept");
        assert_eq!(outcome, expected);
        assert!(hold.is_some());
        let (outcome, _) = limit_on("/dev/null", true, Duration::MAX);
        assert!(outcome.to_string().contains("2147483647 us"), "{outcome}");
    }

    #[test]
    fn who_forbids_the_device_decides_on_the_remedy() {
        // The file's mode, and the device filter of a control group.
        for (errno, wanted, unwanted) in [
            (Errno::EACCES, "udev", "DeviceAllow"),
            (
                Errno::EPERM,
                "DeviceAllow=/dev/cpu_dma_latency rw in the unit file",
                "udev",
            ),
        ] {
            let outcome = refused(DEVICE, errno);
            let told = outcome.to_string();
            assert!(told.contains(wanted) && !told.contains(unwanted), "{told}");
            let Outcome::Refused { reason, .. } = outcome else {
                panic!("{told}")
            };
            assert_eq!(
                reason,
                Refusal::Device {
                    device: DEVICE,
                    errno
                }
            );
        }
        let told = refused(DEVICE, Errno::EACCES).to_string();
        assert!(told.contains("SupplementaryGroups=audio"), "{told}");
        let told = refused(DEVICE, Errno::EPERM).to_string();
        assert!(told.contains("--device /dev/cpu_dma_latency"), "{told}");
    }

    #[test]
    fn a_device_that_is_missing_or_full_is_named_with_its_remedy() {
        for (device, errno, remedy) in [
            ("/nonexistent", Errno::ENOENT, "--device /nonexistent"),
            ("/dev/full", Errno::ENOSPC, "see what /dev/full is"),
        ] {
            let (outcome, hold) = limit_on(device, true, Duration::ZERO);
            assert!(hold.is_none());
            assert!(outcome.to_string().contains(remedy), "{outcome}");
            let Outcome::Refused { reason, .. } = outcome else {
                panic!("{outcome}")
            };
            assert_eq!(reason, Refusal::Device { device, errno });
        }
    }
}
