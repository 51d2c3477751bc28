//! Host facts of machines that are not here: each test writes down what such a machine's files say and reads it back.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use unisono_timer::HostFacts;
use unisono_timer::host::{
    Cloud, Container, CpuQuota, Hypervisor, IdleState, Limit, Preemption, Provider, Seccomp,
    TickMode,
};

/// A folder that stands for a machine's root, removed at the end.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "unisono-host-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let machine = Self {
            root: std::env::temp_dir().join(name),
        };
        for (path, text) in files {
            machine.write(path, text.as_bytes());
        }
        machine
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let place = self.root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }

    fn facts(&self) -> HostFacts {
        HostFacts::read_from(&self.root)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

const CLOCKS: &str = "sys/devices/system/clocksource/clocksource0/current_clocksource";
const OTHER_CLOCKS: &str = "sys/devices/system/clocksource/clocksource0/available_clocksource";
const UNIFIED: &str =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

#[test]
fn a_nitro_guest_of_ec2_tells_its_size_and_name() {
    let machine = Machine::new(&[
        ("sys/class/dmi/id/sys_vendor", "Amazon EC2\n"),
        ("sys/class/dmi/id/product_name", "m5.large\n"),
        ("sys/class/dmi/id/board_asset_tag", "i-0123456789abcdef0\n"),
        (CLOCKS, "kvm-clock\n"),
        (OTHER_CLOCKS, "kvm-clock tsc acpi_pm \n"),
        (
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz\n\
             flags\t\t: fpu tsc constant_tsc nonstop_tsc tsc_known_freq hypervisor\n\nprocessor\t: 1\n",
        ),
        ("sys/devices/system/cpu/online", "0-1\n"),
        ("sys/devices/system/cpu/isolated", "\n"),
        (
            "proc/self/status",
            "Uid:\t998\t998\t998\t998\nCpus_allowed_list:\t0-1\nCapEff:\t0000000000800000\nSeccomp:\t0\n",
        ),
        ("proc/self/cgroup", "0::/system.slice/unisono.service\n"),
        ("proc/self/mountinfo", UNIFIED),
        (
            "sys/fs/cgroup/system.slice/unisono.service/cpu.max",
            "max 100000\n",
        ),
        (
            "sys/fs/cgroup/system.slice/unisono.service/cpu.stat",
            "usage_usec 5\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
        ),
        ("proc/stat", "cpu  700 0 200 9000 50 0 0 50 0 0\ncpu0 1\n"),
    ]);
    let facts = machine.facts();
    let virtualization = &facts.virtualization;
    assert_eq!(
        virtualization.cloud,
        Some(Cloud {
            provider: Provider::Ec2,
            instance_type: Some("m5.large".to_owned()),
            instance_id: Some("i-0123456789abcdef0".to_owned()),
        })
    );
    assert_eq!(virtualization.hypervisor, Some(Hypervisor::Kvm));
    assert_eq!(virtualization.guest, Some(true));
    assert_eq!(virtualization.container, None);
    assert_eq!(facts.clock.source.as_deref(), Some("kvm-clock"));
    assert_eq!(facts.clock.available, ["kvm-clock", "tsc", "acpi_pm"]);
    assert!(facts.clock.tsc.unwrap().known_frequency);
    // Costs are this machine's, not those of the one described.
    assert_eq!(
        (facts.clock.read_ns, facts.clock.in_user_space),
        (None, None)
    );
    assert_eq!(facts.cpus.online_count(), Some(2));
    assert_eq!(facts.cpus.isolated.as_deref(), Some(""));
    assert_eq!(facts.rights.user, Some(998));
    assert_eq!(facts.rights.cap_sys_nice, Some(true));
    assert_eq!(facts.rights.cap_ipc_lock, Some(false));
    assert_eq!(facts.control_group.quota, Some(CpuQuota::Unlimited));
    assert_eq!(facts.control_group.version, Some(2));
    assert_eq!(facts.pressure.steal_share, Some(0.005));
    let block = facts.to_string();
    assert!(
        block.contains("KVM guest, Amazon EC2 m5.large (i-0123456789abcdef0)"),
        "{block}"
    );
}

#[test]
fn a_xen_guest_of_ec2_is_known_by_its_uuid_and_its_size_by_cloud_init() {
    let machine = Machine::new(&[
        ("sys/hypervisor/type", "xen\n"),
        (
            "sys/hypervisor/uuid",
            "ec2c1b3a-0000-0000-0000-000000000000\n",
        ),
        ("sys/class/dmi/id/sys_vendor", "Xen\n"),
        ("sys/class/dmi/id/product_name", "HVM domU\n"),
        (
            "run/cloud-init/instance-data.json",
            r#"{"ds": {"meta_data": {"instance-id": "i-0fedcba9876543210", "instance-type": "t2.micro"}}}"#,
        ),
        (CLOCKS, "xen\n"),
        (OTHER_CLOCKS, "xen tsc hpet acpi_pm\n"),
    ]);
    let facts = machine.facts();
    assert_eq!(facts.virtualization.hypervisor, Some(Hypervisor::Xen));
    let cloud = facts.virtualization.cloud.unwrap();
    assert_eq!(cloud.provider, Provider::Ec2);
    assert_eq!(cloud.instance_type.as_deref(), Some("t2.micro"));
    assert_eq!(cloud.instance_id.as_deref(), Some("i-0fedcba9876543210"));
    assert!(cloud.is_burstable());
    assert_eq!(facts.clock.source.as_deref(), Some("xen"));
}

#[test]
fn google_and_azure_are_known_by_their_firmware() {
    let google = Machine::new(&[
        ("sys/class/dmi/id/sys_vendor", "Google\n"),
        ("sys/class/dmi/id/product_name", "Google Compute Engine\n"),
    ]);
    let cloud = google.facts().virtualization.cloud.unwrap();
    assert_eq!((cloud.provider, cloud.instance_type), (Provider::Gce, None));
    let azure = Machine::new(&[
        ("sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n"),
        ("sys/class/dmi/id/product_name", "Virtual Machine\n"),
        (
            "sys/class/dmi/id/chassis_asset_tag",
            "7783-7084-3265-9085-8269-3286-77\n",
        ),
    ]);
    let facts = azure.facts().virtualization;
    assert_eq!(facts.cloud.unwrap().provider, Provider::Azure);
    assert_eq!(facts.hypervisor, Some(Hypervisor::HyperV));
    // Somebody's own Hyper-V is not Azure.
    let own = Machine::new(&[
        ("sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n"),
        ("sys/class/dmi/id/product_name", "Virtual Machine\n"),
        ("sys/class/dmi/id/chassis_asset_tag", "1234\n"),
    ]);
    let facts = own.facts().virtualization;
    assert_eq!(
        (facts.cloud, facts.hypervisor),
        (None, Some(Hypervisor::HyperV))
    );
}

#[test]
fn a_container_with_a_quota_tells_how_often_it_was_throttled() {
    let machine = Machine::new(&[
        (".dockerenv", ""),
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", UNIFIED),
        ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
        (
            "sys/fs/cgroup/cpu.stat",
            "usage_usec 9\nnr_periods 400\nnr_throttled 37\nthrottled_usec 1250000\n",
        ),
        (
            "proc/self/status",
            "Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\nSeccomp:\t2\nSeccomp_filters:\t1\nCpus_allowed_list:\t2-3\n",
        ),
        ("sys/devices/system/cpu/online", "0-7\n"),
        (
            "proc/self/limits",
            "Max open files            1048576              1048576              files     \n\
             Max locked memory         8388608              8388608              bytes     \n\
             Max realtime priority     0                    0                              \n\
             Max realtime timeout      unlimited            unlimited            us        \n",
        ),
        ("proc/self/uid_map", "         0     100000      65536\n"),
    ]);
    let facts = machine.facts();
    assert_eq!(facts.virtualization.container, Some(Container::Docker));
    let group = &facts.control_group;
    assert_eq!(group.quota, Some(CpuQuota::Cpus(1.5)));
    assert_eq!(
        (group.throttled_periods, group.periods, group.throttled_ns),
        (Some(37), Some(400), Some(1_250_000_000))
    );
    let rights = &facts.rights;
    assert_eq!(rights.seccomp, Some(Seccomp::Filter));
    assert_eq!(rights.cap_sys_nice, Some(false));
    assert_eq!(rights.user_namespace, Some(true));
    assert_eq!(
        rights.realtime_priority,
        Some(Limit {
            soft: Some(0),
            hard: Some(0)
        })
    );
    assert_eq!(
        rights.realtime_time_us,
        Some(Limit {
            soft: None,
            hard: None
        })
    );
    assert_eq!(
        (facts.cpus.online_count(), facts.cpus.allowed_count()),
        (Some(8), Some(2))
    );
}

#[test]
fn the_tightest_quota_counts_and_its_throttling() {
    let machine = Machine::new(&[
        ("proc/self/cgroup", "0::/voice.slice/unisono.service\n"),
        ("proc/self/mountinfo", UNIFIED),
        (
            "sys/fs/cgroup/voice.slice/unisono.service/cpu.max",
            "400000 100000\n",
        ),
        (
            "sys/fs/cgroup/voice.slice/unisono.service/cpu.stat",
            "nr_periods 10\nnr_throttled 0\nthrottled_usec 0\n",
        ),
        ("sys/fs/cgroup/voice.slice/cpu.max", "50000 100000\n"),
        (
            "sys/fs/cgroup/voice.slice/cpu.stat",
            "nr_periods 10\nnr_throttled 9\nthrottled_usec 3\n",
        ),
    ]);
    let group = machine.facts().control_group;
    assert_eq!(group.quota, Some(CpuQuota::Cpus(0.5)));
    assert_eq!(
        (group.throttled_periods, group.throttled_ns),
        (Some(9), Some(3000))
    );
}

#[test]
fn version_1_of_control_groups_has_a_real_time_budget() {
    let machine = Machine::new(&[
        (
            "proc/self/cgroup",
            "3:cpuset:/\n1:cpu,cpuacct:/voice\n0::/\n",
        ),
        (
            "proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n",
        ),
        ("sys/fs/cgroup/cpu/voice/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/voice/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu/voice/cpu.rt_runtime_us", "0\n"),
        ("sys/fs/cgroup/cpu/voice/cpu.rt_period_us", "1000000\n"),
        (
            "sys/fs/cgroup/cpu/voice/cpu.stat",
            "nr_periods 0\nnr_throttled 0\nthrottled_time 7\n",
        ),
    ]);
    let group = machine.facts().control_group;
    assert_eq!(group.version, Some(1));
    assert_eq!(group.quota, Some(CpuQuota::Unlimited));
    assert_eq!(group.realtime_runtime_us, Some(0));
    assert_eq!(group.realtime_period_us, Some(1_000_000));
    assert_eq!(group.throttled_ns, Some(7));
}

#[test]
fn a_real_time_kernel_on_hardware_tells_isolated_cpus_and_idle_states() {
    let idle = "sys/devices/system/cpu/cpu2/cpuidle";
    let machine = Machine::new(&[
        (
            "proc/version",
            "Linux version 6.12.8-rt (b@h) (gcc) #1 SMP PREEMPT_RT Thu Jan 2\n",
        ),
        ("proc/sys/kernel/osrelease", "6.12.8-rt\n"),
        ("sys/kernel/realtime", "1\n"),
        (
            "boot/config-6.12.8-rt",
            "CONFIG_HZ_1000=y\nCONFIG_HZ=1000\nCONFIG_NO_HZ_FULL=y\n# CONFIG_RT_GROUP_SCHED is not set\n",
        ),
        ("proc/cmdline", "quiet isolcpus=2-3 nohz_full=2-3\n"),
        (
            "proc/cpuinfo",
            "model name\t: AMD EPYC\nflags\t\t: fpu tsc constant_tsc nonstop_tsc\n",
        ),
        ("sys/class/dmi/id/sys_vendor", "Supermicro\n"),
        ("sys/class/dmi/id/product_name", "Super Server\n"),
        ("proc/self/status", "Cpus_allowed_list:\t2-3\n"),
        ("sys/devices/system/cpu/online", "0-3\n"),
        ("sys/devices/system/cpu/isolated", "2-3\n"),
        ("sys/devices/system/cpu/nohz_full", "2-3\n"),
        (
            "sys/devices/system/cpu/cpuidle/current_driver",
            "acpi_idle\n",
        ),
        ("sys/devices/system/cpu/cpuidle/current_governor", "menu\n"),
        (&format!("{idle}/state0/name"), "POLL\n"),
        (&format!("{idle}/state0/latency"), "0\n"),
        (&format!("{idle}/state1/name"), "C1\n"),
        (&format!("{idle}/state1/latency"), "1\n"),
        (&format!("{idle}/state1/disable"), "0\n"),
        (&format!("{idle}/state2/name"), "C2\n"),
        (&format!("{idle}/state2/latency"), "400\n"),
        (&format!("{idle}/state2/disable"), "1\n"),
        (
            "sys/devices/system/cpu/cpu2/cpufreq/scaling_governor",
            "performance\n",
        ),
        ("proc/sys/kernel/sched_rt_runtime_us", "-1\n"),
        ("proc/sys/kernel/sched_rt_period_us", "1000000\n"),
        ("proc/timer_list", "cpu: 0\n  .hres_active    : 1\n"),
    ]);
    let facts = machine.facts();
    assert_eq!(facts.virtualization.guest, Some(false));
    let kernel = &facts.kernel;
    assert_eq!(kernel.preemption, Some(Preemption::Realtime));
    assert_eq!(kernel.hz, Some(1000));
    assert_eq!(kernel.tick, Some(TickMode::TicklessFull));
    assert_eq!(kernel.high_resolution_timers, Some(true));
    assert_eq!(kernel.group_budgets, Some(false));
    let cpus = &facts.cpus;
    assert_eq!(cpus.isolated.as_deref(), Some("2-3"));
    assert_eq!(cpus.tickless.as_deref(), Some("2-3"));
    // The deeper one is disabled.
    assert_eq!(
        cpus.deepest_idle,
        Some(IdleState {
            number: 1,
            name: "C1".to_owned(),
            exit_latency_us: 1
        })
    );
    assert_eq!(cpus.frequency_governor.as_deref(), Some("performance"));
    assert_eq!(facts.rights.realtime_share(), Some(1.0));
}

#[test]
fn a_packed_configuration_is_unpacked_and_a_broken_one_is_none() {
    let machine = Machine::new(&[
        (
            "proc/version",
            "Linux version 6.1 (b@h) #1 SMP PREEMPT_DYNAMIC @0\n",
        ),
        ("proc/sys/kernel/osrelease", "6.1\n"),
        ("proc/cmdline", "quiet\n"),
    ]);
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer
        .write_all(b"CONFIG_NO_HZ_IDLE=y\nCONFIG_HZ=100\nCONFIG_PREEMPT_VOLUNTARY=y\n")
        .unwrap();
    let packed = packer.finish().unwrap();
    machine.write("proc/config.gz", &packed);
    let kernel = machine.facts().kernel;
    assert_eq!(
        (kernel.hz, kernel.tick, kernel.preemption),
        (
            Some(100),
            Some(TickMode::TicklessIdle),
            Some(Preemption::Voluntary)
        )
    );

    machine.write("proc/config.gz", &packed[..packed.len() / 2]);
    let kernel = machine.facts().kernel;
    assert_eq!(
        (kernel.hz, kernel.tick, kernel.preemption),
        (None, None, None)
    );

    // What was said at boot counts more than how it was built.
    machine.write("proc/config.gz", &packed);
    machine.write("proc/cmdline", b"preempt=full\n");
    assert_eq!(machine.facts().kernel.preemption, Some(Preemption::Full));
}

#[test]
fn containers_are_told_apart() {
    let found = |files: &[(&str, &str)]| Machine::new(files).facts().virtualization.container;
    assert_eq!(found(&[("run/.containerenv", "")]), Some(Container::Podman));
    assert_eq!(
        found(&[("proc/1/environ", "PATH=/bin\0container=lxc\0")]),
        Some(Container::Lxc)
    );
    assert_eq!(
        found(&[("run/systemd/container", "systemd-nspawn\n")]),
        Some(Container::SystemdNspawn)
    );
    assert_eq!(
        found(&[("run/systemd/container", "rkt\n")]),
        Some(Container::Other)
    );
    assert_eq!(
        found(&[
            (".dockerenv", ""),
            ("proc/1/cgroup", "0::/kubepods.slice/x\n")
        ]),
        Some(Container::Kubernetes)
    );
    assert_eq!(
        found(&[("proc/self/cgroup", "1:cpu:/docker/0123\n")]),
        Some(Container::Docker)
    );
    assert_eq!(found(&[("proc/1/environ", "PATH=/bin\0")]), None);
}

#[test]
fn swap_and_memory_are_in_bytes() {
    let machine = Machine::new(&[
        (
            "proc/meminfo",
            "MemTotal:        2000000 kB\nMemFree:          100 kB\nMemAvailable:     500000 kB\n\
             SwapTotal:       1000000 kB\nSwapFree:         750000 kB\n",
        ),
        ("proc/sys/vm/swappiness", "60\n"),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never\n",
        ),
    ]);
    let memory = machine.facts().memory;
    assert_eq!(memory.total, Some(2_000_000 * 1024));
    assert_eq!(memory.available, Some(500_000 * 1024));
    assert_eq!(memory.swap_used, Some(250_000 * 1024));
    assert_eq!(memory.swappiness, Some(60));
    assert_eq!(memory.transparent_huge_pages.as_deref(), Some("always"));
}

#[test]
fn a_machine_that_tells_nothing_is_no_failure() {
    assert_eq!(
        HostFacts::read_from(Path::new("/nowhere/at/all")),
        HostFacts::default()
    );
    // Neither is nonsense in every file.
    let paths = [
        "proc/cpuinfo",
        "proc/stat",
        "proc/meminfo",
        "proc/loadavg",
        "proc/pressure/cpu",
        "proc/self/status",
        "proc/self/limits",
        "proc/self/cgroup",
        "proc/self/mountinfo",
        "proc/timer_list",
        "proc/config.gz",
        "proc/version",
        CLOCKS,
        OTHER_CLOCKS,
        "sys/class/dmi/id/sys_vendor",
        "sys/devices/system/cpu/online",
    ];
    let machine = Machine::new(&[]);
    for nonsense in [
        &b"\xff\xfe\0\n::: - \n=\n"[..],
        b"",
        b"cpu \nCapEff: zz\nMemTotal: -1 kB\n",
    ] {
        for path in paths {
            machine.write(path, nonsense);
        }
        let facts = machine.facts();
        assert_eq!(facts.virtualization.guest, None);
        assert_eq!(facts.kernel.hz, None);
        assert_eq!(facts.memory.total, None);
        assert_eq!(facts.cpus.online_count(), None);
        assert_eq!(facts.control_group.quota, None);
        assert_eq!(facts.lines().len(), 9);
    }
}

#[test]
fn this_machine_tells_what_every_linux_tells() {
    let facts = HostFacts::read();
    assert!(facts.clock.read_ns.unwrap() > 0.0);
    assert!(facts.clock.syscall_ns.unwrap() > 0.0);
    assert!(facts.clock.in_user_space.is_some());
    assert!(facts.kernel.release.is_some());
    assert!(facts.kernel.high_resolution_timers.is_some());
    assert!(facts.cpus.allowed_count() >= Some(1));
    assert!(facts.memory.total > Some(0));
    assert!(facts.rights.open_files.is_some());
    println!("{facts}");
}

#[cfg(feature = "serde")]
#[test]
fn facts_survive_being_written_and_read() {
    let facts = HostFacts::read();
    let text = serde_json::to_string(&facts).unwrap();
    let back: HostFacts = serde_json::from_str(&text).unwrap();
    // Numbers in decimal may differ in the last bit.
    assert_eq!(back.lines(), facts.lines());
    // Facts that an older version did not know are not told.
    assert_eq!(
        serde_json::from_str::<HostFacts>("{}").unwrap(),
        HostFacts::default()
    );
}
