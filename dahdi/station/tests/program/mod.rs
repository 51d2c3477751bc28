//! A program's channel: its descriptor and the seat behind it.
#![allow(dead_code, reason = "not every test program needs all of it")]

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use unisono_dahdi::request::{BufInfo, ConfInfo, Errno, Reply, Request};
use unisono_dahdi_station::Sharing;
use unisono_dahdi_station::{Seat, Settings, Station};
use unisono_timer::RealtimeRequest;

/// A station whose mixing thread is an ordinary one, so that tests need no rights and starve nobody.
pub(crate) fn ordinary_station() -> Station {
    let mut settings = Settings::default();
    settings.realtime = RealtimeRequest::new();
    settings.sharing = Sharing::Alone;
    Station::new(settings).unwrap()
}

pub(crate) struct Program {
    pub(crate) descriptor: OwnedFd,
    pub(crate) seat: Arc<Seat>,
}

impl Program {
    /// As after an open of `/dev/dahdi/pseudo`.
    pub(crate) fn open(station: &Station) -> Self {
        let (descriptor, seat) = station.open().unwrap();
        Self { descriptor, seat }
    }

    /// As MeetMe has it: 32 buffers of 160 linear samples, in a conference.
    pub(crate) fn join(station: &Station, conference: i32, mode: i32) -> Self {
        let program = Self::open(station);
        program.set_buffers(160, 32);
        program.ask(Request::SetLinear(true)).unwrap();
        program.set_conference(conference, mode);
        program
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    pub(crate) fn ask(&self, request: Request) -> Result<Reply, Errno> {
        self.seat.request(request)
    }

    pub(crate) fn set_buffers(&self, block: i32, buffers: i32) {
        let info = BufInfo {
            tx_policy: 0,
            rx_policy: 0,
            buffers,
            block,
            read_buffers: 0,
            write_buffers: 0,
        };
        assert_eq!(self.ask(Request::SetBufInfo(info)), Ok(Reply::Done));
    }

    /// Returns the conference's number.
    pub(crate) fn set_conference(&self, conference: i32, mode: i32) -> i32 {
        let info = ConfInfo {
            channel: 0,
            conference,
            mode,
        };
        match self.ask(Request::SetConf(info)) {
            Ok(Reply::Conf(info)) => info.conference,
            other => panic!("{other:?}"),
        }
    }

    /// One block, waited for.
    pub(crate) fn read(&self, octets: &mut [u8]) -> Result<usize, Errno> {
        self.seat.read(octets, false)
    }

    pub(crate) fn read_now(&self, octets: &mut [u8]) -> Result<usize, Errno> {
        self.seat.read(octets, true)
    }

    pub(crate) fn write(&self, octets: &[u8]) -> Result<usize, Errno> {
        self.seat.write(octets, false)
    }

    pub(crate) fn write_now(&self, octets: &[u8]) -> Result<usize, Errno> {
        self.seat.write(octets, true)
    }

    /// Of POLLIN and POLLOUT, what `poll` says after at most `timeout_ms`.
    pub(crate) fn poll(&self, asked: PollFlags, timeout_ms: u16) -> PollFlags {
        let mut fds = [PollFd::new(self.descriptor.as_fd(), asked)];
        poll(&mut fds, PollTimeout::from(timeout_ms)).unwrap();
        fds[0].revents().unwrap()
    }
}

/// Waits, for 20 s at most, until something is so.
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    for _ in 0..4_000 {
        if is_so() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    false
}

/// A block of linear samples that are all the same: who hears a sum of such can tell who is in it.
pub(crate) fn steady(value: i16) -> [u8; 320] {
    let octets = value.to_ne_bytes();
    std::array::from_fn(|n| octets[n % 2])
}

/// The samples of a linear block.
pub(crate) fn samples(octets: &[u8]) -> impl Iterator<Item = i16> {
    octets
        .chunks_exact(2)
        .map(|octets| i16::from_ne_bytes([octets[0], octets[1]]))
}

/// What a block says steadily, if it does: not so while somebody's voice begins or ends.
pub(crate) fn steady_value(octets: &[u8]) -> Option<i16> {
    let first = samples(octets).next()?;
    samples(octets)
        .all(|sample| sample == first)
        .then_some(first)
}
