//! The files that a machine describes itself with: this machine's, or a copy of another's below a folder.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Most that is read of one file, bytes: a list of mounts may be long, but nothing here is longer.
const LONGEST: u64 = 4 << 20;

/// Reads below a root. What is missing, unreadable or malformed is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree<'a> {
    root: &'a Path,
}

impl<'a> Tree<'a> {
    pub(super) const fn below(root: &'a Path) -> Self {
        Self { root }
    }

    /// The whole of a file.
    pub(super) fn bytes(self, path: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.place(path)).ok()?;
        file.take(LONGEST).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The whole of a file as text; bytes that are not UTF-8 are replaced.
    pub(super) fn text(self, path: &str) -> Option<String> {
        Some(String::from_utf8_lossy(&self.bytes(path)?).into_owned())
    }

    /// What a file of one line says, without white space or a final NUL; `None` when that is nothing.
    pub(super) fn line(self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        let line = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// The number that is all a file holds.
    pub(super) fn number<N: FromStr>(self, path: &str) -> Option<N> {
        self.line(path)?.parse().ok()
    }

    pub(super) fn exists(self, path: &str) -> bool {
        self.place(path).exists()
    }

    /// The names in a folder, sorted.
    pub(super) fn names(self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.place(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn place(self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// The value of `NAME: value` or `NAME value` in a text of such lines.
pub(super) fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = rest.trim_start().strip_prefix(':').or_else(|| {
            // "Seccomp" is no field of the line "Seccomp_filters: 0".
            rest.strip_prefix([' ', '\t'])
        })?;
        Some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model name\t: A CPU\nSeccomp_filters:\t1\nSeccomp:\t2\nnr_periods 7\n";
        assert_eq!(field(text, "model name"), Some("A CPU"));
        assert_eq!(field(text, "Seccomp"), Some("2"));
        assert_eq!(field(text, "nr_periods"), Some("7"));
        assert_eq!(field(text, "nr"), None);
        assert_eq!(field(text, "absent"), None);
    }

    #[test]
    fn what_is_not_there_is_none() {
        let tree = Tree::below(Path::new("/nowhere/at/all"));
        assert_eq!(tree.bytes("/proc/version"), None);
        assert_eq!(tree.number::<u32>("/proc/version"), None);
        assert!(!tree.exists("/proc"));
        assert!(tree.names("/").is_empty());
    }
}
