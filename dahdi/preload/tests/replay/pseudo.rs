//! `/dev/dahdi/pseudo` as programs use it: `open`, `ioctl`, `read`, `write`, `poll`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use dahdi::request::{BufInfo, ConfInfo, code};
use nix::errno::Errno;

/// What a user of MeetMe may do.
pub(crate) const TALKS_AND_LISTENS: i32 = 0x304;
pub(crate) const LISTENS: i32 = 0x104;

/// An open of the device.
#[derive(Debug)]
pub(crate) struct Pseudo(File);

impl Pseudo {
    /// A channel whose reads and writes wait.
    pub(crate) fn open() -> Self {
        Self::open_with(0)
    }

    /// A channel whose reads and writes do not.
    pub(crate) fn open_nonblocking() -> Self {
        Self::open_with(libc::O_NONBLOCK)
    }

    fn open_with(flags: i32) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open("/dev/dahdi/pseudo")
            .expect("open /dev/dahdi/pseudo");
        Self(file)
    }

    /// A user's channel as `app_meetme` sets it up, in no conference yet.
    pub(crate) fn of_meetme() -> Self {
        let channel = Self::open_nonblocking();
        channel.set_bufinfo(32, 160).unwrap();
        channel.int(code::SETLINEAR, 1).unwrap();
        assert_eq!(channel.conference().unwrap().mode, 0);
        channel
    }

    /// A user's channel in a conference.
    pub(crate) fn member(conference: i32, mode: i32) -> Self {
        let channel = Self::of_meetme();
        let answer = channel.set_conference(conference, mode).unwrap();
        assert_eq!((answer.conference, answer.mode), (conference, mode));
        channel.int(code::FLUSH, 7).unwrap();
        channel
    }

    pub(crate) fn ioctl(&self, code: u32, argument: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: every request here points to as much as its code says.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::Ioctl::from(code),
                argument.as_mut_ptr(),
            )
        };
        Errno::result(result).map(drop)
    }

    /// A request whose argument is an int.
    pub(crate) fn int(&self, code: u32, value: i32) -> Result<i32, Errno> {
        let mut argument = value.to_ne_bytes();
        self.ioctl(code, &mut argument)?;
        Ok(i32::from_ne_bytes(argument))
    }

    pub(crate) fn set_conference(&self, conference: i32, mode: i32) -> Result<ConfInfo, Errno> {
        let asked = ConfInfo {
            channel: 0,
            conference,
            mode,
        };
        let mut argument = asked.to_bytes();
        self.ioctl(code::SETCONF, &mut argument)?;
        Ok(ConfInfo::from_bytes(&argument).unwrap())
    }

    pub(crate) fn conference(&self) -> Result<ConfInfo, Errno> {
        let mut argument = ConfInfo::default().to_bytes();
        self.ioctl(code::GETCONF, &mut argument)?;
        Ok(ConfInfo::from_bytes(&argument).unwrap())
    }

    pub(crate) fn set_bufinfo(&self, buffers: i32, block: i32) -> Result<(), Errno> {
        let info = BufInfo {
            tx_policy: 0,
            rx_policy: 0,
            buffers,
            block,
            read_buffers: 0,
            write_buffers: 0,
        };
        self.ioctl(code::SET_BUFINFO, &mut info.to_bytes())
    }

    /// Writes octets as they are; returns how many were taken.
    pub(crate) fn write(&self, octets: &[u8]) -> Result<usize, Errno> {
        (&self.0).write(octets).map_err(of_io)
    }

    /// Reads octets as they are.
    pub(crate) fn read(&self, octets: &mut [u8]) -> Result<usize, Errno> {
        (&self.0).read(octets).map_err(of_io)
    }

    /// Writes linear samples; returns how many were taken.
    pub(crate) fn say(&self, samples: &[i16]) -> Result<usize, Errno> {
        let octets: Vec<u8> = samples.iter().flat_map(|s| s.to_ne_bytes()).collect();
        Ok(self.write(&octets)? / 2)
    }

    /// Reads 20 ms of linear samples; `None` while there are none.
    pub(crate) fn hear(&self) -> Option<Vec<i16>> {
        let mut octets = [0; 320];
        match self.read(&mut octets) {
            Ok(count) => {
                assert_eq!(count, 320, "a whole block");
                let samples = octets.as_chunks::<2>().0.iter();
                Some(samples.map(|&sample| i16::from_ne_bytes(sample)).collect())
            }
            Err(Errno::EAGAIN) => None,
            Err(error) => panic!("read: {error}"),
        }
    }
}

impl AsFd for Pseudo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn of_io(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
