//! Writing through to a disk and reading back.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use nix::sys::statvfs::statvfs;

use super::{AtWork, Job, LoadError};

pub(super) fn prepare() -> Result<Vec<Job>, LoadError> {
    let directory = directory();
    let needed = 4 * FILE_BYTES;
    // Where the file system does not tell, writing will.
    let available = statvfs(&directory).map_or(u64::MAX, |found| {
        found
            .blocks_available()
            .saturating_mul(found.fragment_size())
    });
    if available < needed {
        return Err(LoadError::Space {
            directory,
            available,
            needed,
        });
    }
    let file = nameless_file(&directory).map_err(|error| LoadError::File { directory, error })?;
    Ok(vec![Box::new(move |at_work| {
        write_and_read(at_work, &file)
    })])
}

fn write_and_read(at_work: &AtWork, file: &File) -> io::Result<()> {
    let mut block = vec![0_u8; BLOCK_BYTES];
    let mut round = 0_u8;
    while at_work.goes_on() {
        round = round.wrapping_add(1);
        block.fill(round);
        let mut written = 0;
        while written < FILE_BYTES && at_work.goes_on() {
            file.write_all_at(&block, written)?;
            file.sync_data()?;
            written += BLOCK_BYTES as u64;
            at_work.did(BLOCK_BYTES as u64 / 2);
        }
        // Forget what is cached, so that reading is the disk's work too; a file system may decline.
        let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        let mut read = 0;
        while read < written && at_work.goes_on() {
            file.read_exact_at(&mut block, read)?;
            if block.iter().any(|&byte| byte != round) {
                return Err(io::Error::other(
                    "the disk gave back other data than was written",
                ));
            }
            read += BLOCK_BYTES as u64;
            at_work.did(BLOCK_BYTES as u64 / 2);
        }
    }
    Ok(())
}

/// TMPDIR if that is set. Else `/var/tmp`, since `/tmp` is in memory on many systems.
fn directory() -> PathBuf {
    let on_disk = Path::new("/var/tmp");
    if env::var_os("TMPDIR").is_none() && on_disk.is_dir() {
        on_disk.to_owned()
    } else {
        env::temp_dir()
    }
}

/// A file that is gone when it is closed, whatever ends the process.
fn nameless_file(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let unnamed = options
        .clone()
        .custom_flags(OFlag::O_TMPFILE.bits())
        .open(directory);
    // Network file systems, for one, have no files without a name.
    unnamed.or_else(|_| {
        let path = directory.join(format!("unisono-load-{}", process::id()));
        let file = options.create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    })
}

const FILE_BYTES: u64 = 64 << 20;
const BLOCK_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_no_name() {
        let directory = env::temp_dir().join(format!("unisono-nameless-{}", process::id()));
        fs::create_dir(&directory).unwrap();
        let file = nameless_file(&directory);
        let names = fs::read_dir(&directory).unwrap().count();
        fs::remove_dir(&directory).unwrap();
        assert_eq!(names, 0);
        let file = file.unwrap();
        file.write_all_at(b"voice", 0).unwrap();
        let mut back = [0; 5];
        file.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(&back, b"voice");
        assert!(nameless_file(&directory).is_err());
    }
}
