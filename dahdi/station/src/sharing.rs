//! Conferences with other processes: numbers that are the machine's, and the trunk. Under the control lock.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use unisono_dahdi::exchange::{Lines, STEP};
use unisono_dahdi::request::Errno;
use unisono_dahdi_trunk::{Directory, Trunk, TrunkLines};

use crate::hidden::Noted;

/// With whom conferences are shared.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Sharing {
    /// With the processes of the directory that the environment says, see [`Directory::from_environment`]; with nobody if there
    /// is none.
    #[default]
    Environment,
    /// With the processes of this directory.
    In(Directory),
    /// With nobody.
    Alone,
}

impl Sharing {
    /// The directory, or why there is none.
    pub(crate) fn directory(&self) -> Result<Directory, String> {
        match self {
            Self::Environment => Directory::from_environment().map_err(|error| error.to_string()),
            // It may have been made anew since, for another group.
            Self::In(directory) => {
                Directory::at(directory.path()).map_err(|error| error.to_string())
            }
            Self::Alone => Err("it is to share with nobody".into()),
        }
    }
}

/// What this process shares. The trunk is opened with the first conference.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    trunk: Option<Arc<Trunk>>,
    /// Its descriptors.
    noted: Vec<Noted>,
    /// Why there is no trunk.
    alone: Option<String>,
    /// Conferences in use whose numbers are not agreed on with others, and why. Another process may have given the same one to other people.
    apart: BTreeMap<i32, String>,
}

impl Shares {
    pub(crate) const fn trunk(&self) -> Option<&Arc<Trunk>> {
        self.trunk.as_ref()
    }

    pub(crate) fn alone(&self) -> Option<&str> {
        self.alone.as_deref()
    }

    /// Opens the trunk, unless it is open, and returns its lines to be given to the mixing thread.
    pub(crate) fn open(&mut self, sharing: &Sharing, program: &str) -> Option<TrunkLines> {
        if self.trunk.is_some() {
            return None;
        }
        let opened = sharing.directory().and_then(|directory| {
            Trunk::open(&directory, program).map_err(|error| error.to_string())
        });
        match opened {
            Ok(trunk) => {
                self.alone = None;
                let lines = trunk.lines();
                self.noted = trunk
                    .descriptors()
                    .into_iter()
                    .map(|fd| Noted::new(fd.as_fd()))
                    .collect();
                self.trunk = Some(Arc::new(trunk));
                lines
            }
            Err(why) => {
                self.alone = Some(why);
                None
            }
        }
    }

    /// Gives up the trunk, which others can no longer find, so that it is opened anew.
    pub(crate) fn forget(&mut self) {
        self.noted.clear();
        self.trunk = None;
    }

    /// Whether others can no longer find the trunk that is open.
    pub(crate) fn is_lost(&self) -> bool {
        self.trunk
            .as_ref()
            .is_some_and(|trunk| !trunk.is_published())
    }

    /// A conference that nobody on the machine is in, held from now on. `None` if the process is alone: then it is the exchange's to say.
    pub(crate) fn reserve(&mut self) -> Result<Option<i32>, Errno> {
        let Some(trunk) = &self.trunk else {
            return Ok(None);
        };
        let conference = trunk.numbers().reserve().ok_or(Errno::Ebusy)?;
        self.apart.remove(&conference);
        // It has no line only when 512 are open: then it is a conference of this process alone.
        let _ = trunk.open_line(conference);
        Ok(Some(conference))
    }

    /// A conference's number is the exchange's choice, not the machine's.
    pub(crate) fn keep_apart(&mut self, conference: i32) {
        let why = "it was given its number while this process shared nothing";
        self.apart.insert(conference, why.into());
    }

    /// Conferences that no other process is in, although one may be in another of the same number, and why.
    pub(crate) const fn apart(&self) -> &BTreeMap<i32, String> {
        &self.apart
    }

    /// The first channel is about to enter a conference, or the trunk was opened while it was in use.
    pub(crate) fn enter(&mut self, conference: i32) {
        let Some(trunk) = &self.trunk else {
            return;
        };
        let refused = if self.apart.contains_key(&conference) {
            match trunk.numbers().claim(conference) {
                Ok(true) => None,
                // Others who are there have nothing to do with it.
                Ok(false) => Some("another process has a conference of this number".to_owned()),
                Err(error) => Some(no_number(&error)),
            }
        } else {
            let held = trunk.numbers().hold(conference);
            held.err().map(|error| no_number(&error))
        };
        if let Some(why) = refused {
            // A conference of this process alone, and works. Heard by others it would be by those whose number it becomes next.
            self.apart.insert(conference, why);
            return;
        }
        self.apart.remove(&conference);
        let _ = trunk.open_line(conference);
    }

    /// The last channel has left a conference.
    pub(crate) fn leave(&mut self, conference: i32) {
        self.apart.remove(&conference);
        if let Some(trunk) = &self.trunk {
            trunk.close_line(conference);
            trunk.numbers().release(conference);
        }
    }
}

/// Why a conference is not shared whose number the system gave no lock on.
fn no_number(error: &io::Error) -> String {
    format!(
        "its number cannot be held ({error}): the file system of the directory must have locks, and no other program may lock the file \
         \"numbers\" there"
    )
}

/// The mixing thread's end of the trunk, once there is one.
#[derive(Debug, Default)]
pub(crate) struct Outside(pub(crate) Option<TrunkLines>);

impl Lines for Outside {
    fn begin(&mut self, step: u64) {
        if let Some(lines) = &mut self.0 {
            lines.begin(step);
        }
    }

    fn is_shared(&self, conference: i32) -> bool {
        self.0
            .as_ref()
            .is_some_and(|lines| lines.is_shared(conference))
    }

    fn incoming(&mut self, conference: i32, step: u64, into: &mut [i16; STEP]) -> bool {
        self.0
            .as_mut()
            .is_some_and(|lines| lines.incoming(conference, step, into))
    }

    fn outgoing(&mut self, conference: i32, step: u64, sum: &[i16; STEP]) {
        if let Some(lines) = &mut self.0 {
            lines.outgoing(conference, step, sum);
        }
    }
}
