//! Whether this is a guest, and whose.

use super::cloud::Cloud;
use super::tree::{Tree, field};

/// What the machine runs in.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct Virtualization {
    /// Whether it is a virtual machine.
    pub guest: Option<bool>,
    /// The hypervisor, when it says which.
    pub hypervisor: Option<Hypervisor>,
    /// How the hypervisor signs in CPUID leaf 0x40000000 (x86).
    pub signature: Option<String>,
    /// Maker, by the firmware (DMI `sys_vendor`).
    pub vendor: Option<String>,
    /// Model, by the firmware (DMI `product_name`).
    pub product: Option<String>,
    /// The container this process is in; `None` when there is no sign of one.
    pub container: Option<Container>,
    /// The cloud, where the machine tells without the network.
    pub cloud: Option<Cloud>,
}

/// Who makes the machine seem real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Hypervisor {
    /// Linux KVM: QEMU, Firecracker, EC2 Nitro, GCE and many more.
    Kvm,
    /// Xen: EC2's older instance types.
    Xen,
    /// Microsoft Hyper-V: Azure.
    HyperV,
    /// VMware ESXi, Workstation, Fusion.
    Vmware,
    /// Oracle VirtualBox.
    VirtualBox,
    /// QEMU without KVM: every instruction is translated.
    Qemu,
    /// FreeBSD bhyve.
    Bhyve,
    /// Parallels.
    Parallels,
    /// Apple's Virtualization framework.
    Apple,
    /// ACRN.
    Acrn,
    /// Another one.
    Other,
}

/// Who made the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Container {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// A pod of Kubernetes, whatever runs its containers.
    Kubernetes,
    /// LXC, LXD, Incus.
    Lxc,
    /// systemd-nspawn.
    SystemdNspawn,
    /// Another one.
    Other,
}

impl Virtualization {
    /// `signatures` are those of CPUID; empty where there are none, or where they cannot be asked for.
    pub(super) fn read(tree: Tree<'_>, signatures: &[String]) -> Self {
        let vendor = tree.line("/sys/class/dmi/id/sys_vendor");
        let product = tree.line("/sys/class/dmi/id/product_name");
        let signed = signatures
            .iter()
            .map(|signature| (signature, by_signature(signature)));
        // KVM and Xen may pass for Hyper-V in the first place, for guests that know only that, and sign with
        // their own name in the next.
        let best = signed
            .clone()
            .find(|(_, hypervisor)| !matches!(hypervisor, Hypervisor::HyperV | Hypervisor::Other))
            .or_else(|| signed.clone().next());
        let cloud = Cloud::read(tree, vendor.as_deref(), product.as_deref());
        let told = best
            .map(|(_, hypervisor)| hypervisor)
            .or_else(|| by_files(tree, vendor.as_deref(), product.as_deref()));
        Self {
            guest: if told.is_some() {
                Some(true)
            } else {
                flag_of_cpu(tree)
            },
            hypervisor: told,
            signature: best.map(|(signature, _)| signature.clone()),
            container: container(tree),
            cloud,
            vendor,
            product,
        }
    }
}

/// The names with which hypervisors sign in CPUID, the foremost first; empty on hardware and on other
/// architectures than x86-64.
pub(super) fn cpuid_signatures() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;

        /// Leaves of hypervisors begin here, and each further interface 0x100 later.
        const BASE: u32 = 0x4000_0000;
        const INTERFACES: u32 = 4;

        // Without this bit the leaves have no meaning.
        if __cpuid(1).ecx >> 31 == 0 {
            return Vec::new();
        }
        (0..INTERFACES)
            .map(|interface| (BASE + interface * 0x100, __cpuid(BASE + interface * 0x100)))
            // An interface names its last leaf, which is in its own range. KVM once said 0 and meant its first.
            .filter(|(leaf, answer)| {
                answer.eax >> 8 == leaf >> 8 || (*leaf == BASE && answer.eax == 0)
            })
            .map(|(_, answer)| signature([answer.ebx, answer.ecx, answer.edx]))
            .filter(|signature| !signature.is_empty())
            .collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        Vec::new()
    }
}

#[cfg(any(target_arch = "x86_64", test))]
fn signature(registers: [u32; 3]) -> String {
    let bytes = registers.map(u32::to_le_bytes).concat();
    let text: String = bytes
        .iter()
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|&byte| char::from(byte))
        .collect();
    text.trim().to_owned()
}

fn by_signature(signature: &str) -> Hypervisor {
    match signature {
        "KVMKVMKVM" | "Linux KVM Hv" => Hypervisor::Kvm,
        "XenVMMXenVMM" => Hypervisor::Xen,
        "Microsoft Hv" => Hypervisor::HyperV,
        "VMwareVMware" => Hypervisor::Vmware,
        "VBoxVBoxVBox" => Hypervisor::VirtualBox,
        "TCGTCGTCGTCG" => Hypervisor::Qemu,
        "bhyve bhyve" => Hypervisor::Bhyve,
        "prl hyperv" | "lrpepyh vr" => Hypervisor::Parallels,
        "VirtualApple" => Hypervisor::Apple,
        "ACRNACRNACRN" => Hypervisor::Acrn,
        _ => Hypervisor::Other,
    }
}

/// What the kernel and the firmware say, where CPUID does not.
fn by_files(tree: Tree<'_>, vendor: Option<&str>, product: Option<&str>) -> Option<Hypervisor> {
    if tree.line("/sys/hypervisor/type").as_deref() == Some("xen") {
        return Some(Hypervisor::Xen);
    }
    match tree.line("/proc/device-tree/hypervisor/compatible") {
        Some(name) if name.contains("kvm") => return Some(Hypervisor::Kvm),
        Some(name) if name.contains("xen") => return Some(Hypervisor::Xen),
        _ => {}
    }
    let product = product.unwrap_or_default();
    match vendor? {
        "Amazon EC2" if !product.ends_with(".metal") => Some(Hypervisor::Kvm),
        "Google" if product == "Google Compute Engine" => Some(Hypervisor::Kvm),
        _ if product == "KVM" || product == "KVM Virtual Machine" => Some(Hypervisor::Kvm),
        "Xen" => Some(Hypervisor::Xen),
        "Microsoft Corporation" if product == "Virtual Machine" => Some(Hypervisor::HyperV),
        "innotek GmbH" => Some(Hypervisor::VirtualBox),
        "Oracle Corporation" if product == "VirtualBox" => Some(Hypervisor::VirtualBox),
        "VMware, Inc." => Some(Hypervisor::Vmware),
        "QEMU" => Some(Hypervisor::Qemu),
        "BHYVE" => Some(Hypervisor::Bhyve),
        "Apple Inc." if product.starts_with("Apple Virtualization") => Some(Hypervisor::Apple),
        vendor if vendor.starts_with("Parallels") => Some(Hypervisor::Parallels),
        _ => None,
    }
}

/// On x86 the CPU has a flag that a hypervisor sets.
fn flag_of_cpu(tree: Tree<'_>) -> Option<bool> {
    let cpus = tree.text("/proc/cpuinfo")?;
    let flags = field(&cpus, "flags")?;
    Some(flags.split(' ').any(|flag| flag == "hypervisor"))
}

fn container(tree: Tree<'_>) -> Option<Container> {
    let groups = ["/proc/self/cgroup", "/proc/1/cgroup"].map(|file| tree.text(file));
    let grouped = |word: &str| groups.iter().flatten().any(|groups| groups.contains(word));
    // A pod's containers look like those of whatever runs them, too.
    if tree.exists("/run/secrets/kubernetes.io")
        || tree.exists("/var/run/secrets/kubernetes.io")
        || grouped("kubepods")
    {
        return Some(Container::Kubernetes);
    }
    if tree.exists("/run/.containerenv") {
        return Some(Container::Podman);
    }
    if tree.exists("/.dockerenv") {
        return Some(Container::Docker);
    }
    // Init's environment is for root only; systemd copies the name to where everybody may read it.
    let environment = tree.text("/proc/1/environ").unwrap_or_default();
    let named = environment
        .split('\0')
        .find_map(|variable| variable.strip_prefix("container=").map(str::to_owned))
        .or_else(|| tree.line("/run/systemd/container"));
    match named.as_deref() {
        Some("docker") => return Some(Container::Docker),
        Some("podman") => return Some(Container::Podman),
        Some("lxc" | "lxc-libvirt") => return Some(Container::Lxc),
        Some("systemd-nspawn") => return Some(Container::SystemdNspawn),
        Some(name) if !name.is_empty() => return Some(Container::Other),
        _ => {}
    }
    let signs = [
        ("/docker", Container::Docker),
        ("/libpod", Container::Podman),
        ("/lxc", Container::Lxc),
    ];
    signs
        .into_iter()
        .find_map(|(word, container)| grouped(word).then_some(container))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_twelve_characters_in_three_registers() {
        let word = |text: &[u8; 4]| u32::from_le_bytes(*text);
        let kvm = [word(b"KVMK"), word(b"VMKV"), word(b"M\0\0\0")];
        assert_eq!(signature(kvm), "KVMKVMKVM");
        let bhyve = [word(b"bhyv"), word(b"e bh"), word(b"yve ")];
        assert_eq!(by_signature(&signature(bhyve)), Hypervisor::Bhyve);
        assert_eq!(signature([0; 3]), "");
        assert_eq!(by_signature("something new"), Hypervisor::Other);
    }

    #[test]
    fn kvm_that_passes_for_hyper_v_is_recognised_by_its_second_signature() {
        let nowhere = Tree::below(std::path::Path::new("/nowhere/at/all"));
        let read = |signatures: &[&str]| {
            let signatures: Vec<String> = signatures.iter().map(|&s| s.to_owned()).collect();
            let facts = Virtualization::read(nowhere, &signatures);
            assert_eq!(facts.guest, Some(true));
            (facts.hypervisor, facts.signature)
        };
        assert_eq!(
            read(&["Microsoft Hv", "KVMKVMKVM"]),
            (Some(Hypervisor::Kvm), Some("KVMKVMKVM".to_owned()))
        );
        assert_eq!(
            read(&["Microsoft Hv"]),
            (Some(Hypervisor::HyperV), Some("Microsoft Hv".to_owned()))
        );
        assert_eq!(
            read(&["brand new"]),
            (Some(Hypervisor::Other), Some("brand new".to_owned()))
        );
    }
}
