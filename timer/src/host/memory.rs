//! Memory, and whether it may be swapped.

use super::tree::{Tree, field};

/// Memory of the machine.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct MemoryFacts {
    /// All of it, bytes.
    pub total: Option<u64>,
    /// What programs can still have without swapping, bytes.
    pub available: Option<u64>,
    /// Swap, bytes; 0 when there is none.
    pub swap_total: Option<u64>,
    /// Swap in use, bytes.
    pub swap_used: Option<u64>,
    /// `vm.swappiness`, 0 to 200: how readily memory is swapped.
    pub swappiness: Option<u32>,
    /// When huge pages are made behind a program's back: `always`, `madvise` or `never`.
    pub transparent_huge_pages: Option<String>,
}

impl MemoryFacts {
    pub(super) fn read(tree: Tree<'_>) -> Self {
        let text = tree.text("/proc/meminfo").unwrap_or_default();
        let bytes = |name: &str| -> Option<u64> {
            let kib: u64 = field(&text, name)?.strip_suffix(" kB")?.parse().ok()?;
            kib.checked_mul(1024)
        };
        let swap_total = bytes("SwapTotal");
        Self {
            total: bytes("MemTotal"),
            available: bytes("MemAvailable"),
            swap_total,
            swap_used: swap_total
                .zip(bytes("SwapFree"))
                .map(|(total, free)| total.saturating_sub(free)),
            swappiness: tree.number("/proc/sys/vm/swappiness"),
            transparent_huge_pages: tree
                .text("/sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|choices| chosen(&choices)),
        }
    }
}

/// The one in brackets.
pub(super) fn chosen(choices: &str) -> Option<String> {
    let word = |open, close| Some(choices.split_once(open)?.1.split_once(close)?.0.to_owned());
    word('[', ']').or_else(|| word('(', ')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_in_brackets_is_the_one_in_force() {
        assert_eq!(
            chosen("always [madvise] never\n").as_deref(),
            Some("madvise")
        );
        assert_eq!(chosen("none (full) lazy\n").as_deref(), Some("full"));
        assert_eq!(chosen("always"), None);
    }
}
