//! Where processes are looked for, and who is in which conference.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use unisono_dahdi_trunk::report::ProcessReport;
use unisono_dahdi_trunk::{Directory, TrunkError, survey};

/// Names the only folder to look into, as it does for the library.
const VARIABLE: &str = "UNISONO_DAHDI_DIR";

/// Where processes of the whole system meet.
const SYSTEM: &str = "/run/unisono/dahdi";

/// Where each user has a folder for what runs.
const USERS: &str = "/run/user";

/// Exit status when nobody runs with the library.
pub(super) const NOBODY: u8 = 3;

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) places: Vec<Place>,
}

/// A folder in which processes meet.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Who answered; or why the folder cannot be looked into.
    pub(super) processes: Result<Vec<ProcessReport>, String>,
    /// Who did not answer, and why not.
    pub(super) unanswered: Vec<(u32, String)>,
}

/// A conference of one folder, with all its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conference {
    pub(super) number: i32,
    /// Each process that is in it, by its place in [`Place::processes`], and its members.
    pub(super) shares: Vec<(usize, usize)>,
}

impl Found {
    /// Asks everybody who can be found, each for so long at most.
    pub(super) fn ask(patience: Duration) -> Self {
        let places = candidates().into_iter();
        Self {
            places: places.map(|path| Place::ask(path, patience)).collect(),
        }
    }

    /// Everybody who answered.
    pub(super) fn processes(&self) -> impl Iterator<Item = &ProcessReport> {
        self.places.iter().flat_map(Place::answered)
    }

    /// The exit status that says so.
    pub(super) fn status(&self) -> u8 {
        let trouble = |place: &Place| place.processes.is_err() || !place.unanswered.is_empty();
        match (self.places.iter().any(trouble), self.processes().next()) {
            (true, _) => 1,
            (false, Some(_)) => 0,
            (false, None) => NOBODY,
        }
    }
}

impl Place {
    fn ask(path: PathBuf, patience: Duration) -> Self {
        // Looking makes no folder.
        let answers = Directory::existing(&path)
            .map_err(told)
            .and_then(|directory| {
                survey(&directory, patience).map_err(|error| format!("cannot be read: {error}"))
            });
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                return Self {
                    path,
                    processes: Err(error),
                    unanswered: Vec::new(),
                };
            }
        };
        let mut unanswered = Vec::new();
        let mut processes = Vec::new();
        for answer in answers {
            match answer {
                Ok(process) => processes.push(process),
                Err(silent) => unanswered.push((silent.pid, silent.error.to_string())),
            }
        }
        Self {
            path,
            processes: Ok(processes),
            unanswered,
        }
    }

    pub(super) fn answered(&self) -> &[ProcessReport] {
        self.processes.as_deref().unwrap_or_default()
    }

    /// All conferences, the highest number first, as they are given out.
    pub(super) fn conferences(&self) -> Vec<Conference> {
        let mut shares: BTreeMap<i32, Vec<(usize, usize)>> = BTreeMap::new();
        for (n, process) in self.answered().iter().enumerate() {
            for conference in &process.conferences {
                shares
                    .entry(conference.number)
                    .or_default()
                    .push((n, conference.members));
            }
        }
        let all = shares.into_iter().rev();
        all.map(|(number, shares)| Conference { number, shares })
            .collect()
    }
}

impl Conference {
    /// Channels of all processes in it.
    pub(super) fn members(&self) -> usize {
        self.shares.iter().map(|&(_, members)| members).sum()
    }
}

/// The folders to look into: the one that is named; else all that are there and of which we know.
fn candidates() -> Vec<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(path) = set(VARIABLE) {
        return vec![path.into()];
    }
    let own = set("XDG_RUNTIME_DIR").map(PathBuf::from);
    let users = fs::read_dir(USERS).into_iter().flatten().flatten();
    let mut candidates = vec![PathBuf::from(SYSTEM)];
    for folder in own.into_iter().chain(users.map(|user| user.path())) {
        let folder = folder.join("unisono/dahdi");
        if !candidates.contains(&folder) {
            candidates.push(folder);
        }
    }
    candidates.retain(|folder| is_worth_asking(folder));
    candidates
}

/// Why a folder cannot be looked into, to who only looks.
fn told(error: TrunkError) -> String {
    match error {
        TrunkError::Denied { .. } => {
            "permission denied: ask as root (sudo), or as a member of its group".to_owned()
        }
        TrunkError::BadDirectory { source, .. } if source.kind() == ErrorKind::NotFound => {
            "there is no such folder".to_owned()
        }
        error => error.to_string(),
    }
}

/// Whether a folder is there. That the system's cannot be looked into is said; what other users keep to themselves is not.
fn is_worth_asking(folder: &Path) -> bool {
    match fs::metadata(folder) {
        Ok(about) => about.is_dir(),
        Err(error) => error.kind() == ErrorKind::PermissionDenied && folder == Path::new(SYSTEM),
    }
}

#[cfg(test)]
mod tests {
    use unisono_dahdi_trunk::report::ConferenceReport;

    use super::*;

    fn place(processes: Result<Vec<ProcessReport>, String>, unanswered: usize) -> Place {
        Place {
            path: PathBuf::from("/place"),
            processes,
            unanswered: vec![(1, "stopped".to_owned()); unanswered],
        }
    }

    fn in_conferences(members: &[(i32, usize)]) -> ProcessReport {
        let conferences = members.iter().map(|&(number, members)| ConferenceReport {
            number,
            members,
            ..ConferenceReport::default()
        });
        ProcessReport {
            conferences: conferences.collect(),
            ..ProcessReport::default()
        }
    }

    #[test]
    fn the_status_tells_nobody_from_trouble() {
        let status = |places| Found { places }.status();
        let well = || place(Ok(vec![ProcessReport::default()]), 0);
        assert_eq!(status(vec![]), 3);
        assert_eq!(status(vec![place(Ok(vec![]), 0)]), 3);
        assert_eq!(status(vec![place(Ok(vec![]), 0), well()]), 0);
        assert_eq!(status(vec![place(Ok(vec![]), 1)]), 1);
        assert_eq!(status(vec![well(), place(Err("denied".to_owned()), 0)]), 1);
    }

    #[test]
    fn a_conference_has_the_members_of_all_processes_of_its_folder() {
        let place = place(
            Ok(vec![
                in_conferences(&[(1023, 50), (1022, 2)]),
                in_conferences(&[(1023, 1)]),
            ]),
            0,
        );
        let conferences = place.conferences();
        let numbers: Vec<i32> = conferences.iter().map(|c| c.number).collect();
        assert_eq!(numbers, [1023, 1022]);
        assert_eq!(conferences[0].members(), 51);
        assert_eq!(conferences[0].shares, [(0, 50), (1, 1)]);
    }

    #[test]
    fn a_folder_that_is_none_is_said_to_be() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let asked = Place::ask(here.into(), Duration::ZERO);
        assert!(asked.processes.unwrap_err().contains(here));
        let nowhere = std::env::temp_dir().join("unisono-no-such-folder");
        let asked = Place::ask(nowhere.clone(), Duration::ZERO);
        assert!(asked.processes.unwrap_err().contains("no such folder"));
        assert!(!nowhere.exists());
    }
}
