//! What programs do with an open device: `ioctl`, `read` and `write`.

use std::ffi::c_int;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;

use dahdi::request::code::{self, Shape};
use dahdi::request::{Device, Errno, Gains, Reply, Request};
use unisono_dahdi_station::{Seat, Station};

use crate::failure::Failure;
use crate::memory::{self, octets_of};
use crate::opens::{self, Open};
use crate::timer::Timer;

/// A device that is open.
#[derive(Debug)]
pub(crate) enum Opened {
    Timer(Timer),
    Pseudo(Arc<Seat>),
    /// The control device, or a channel that was not yet told which to be: their descriptors are never ready.
    Silent(Device),
}

impl Opened {
    /// A new pseudo channel, and a descriptor of it that is closed on exec.
    pub(crate) fn channel() -> Result<(OwnedFd, Self), Failure> {
        Self::seated(|| Station::get()?.open())
    }

    /// A device of this process's own like an inherited one, likewise.
    pub(crate) fn channel_like(parents: &Seat) -> Result<(OwnedFd, Self), Failure> {
        Self::seated(|| parents.adopt())
    }

    fn seated(
        open: impl FnOnce() -> Result<(OwnedFd, Arc<Seat>), Errno>,
    ) -> Result<(OwnedFd, Self), Failure> {
        let (fd, seat) = open()?;
        Ok((fd, Self::Pseudo(seat)))
    }

    pub(crate) const fn device(&self) -> Device {
        match self {
            Self::Timer(_) => Device::Timer,
            Self::Pseudo(_) => Device::Pseudo,
            Self::Silent(device) => *device,
        }
    }

    /// Ends what others may still be at, before the last descriptor is closed.
    pub(crate) fn end(&self) {
        if let Self::Pseudo(seat) = self {
            seat.close();
        }
    }
}

/// Serves a request. `argument` is what the program passed: an address, if the request takes one.
pub(crate) fn ioctl(
    open: &'static Open,
    fd: RawFd,
    code: u32,
    argument: usize,
) -> Result<c_int, Failure> {
    if code == FIONBIO {
        return set_nonblocking(opens::current(open, fd)?, argument);
    }
    let slow = opens::with(open, fd, |opened| {
        let timer = match opened {
            Opened::Timer(timer) => timer,
            Opened::Pseudo(seat) => return Ok(Some(Slow::Pseudo(Arc::clone(seat)))),
            Opened::Silent(device) => return Ok(Some(Slow::Silent(*device))),
        };
        let (request, shape) = fetch(Device::Timer, code, argument)?;
        deliver(&timer.request(&request)?, shape, argument)?;
        Ok(None)
    })?;
    let (device, seat) = match slow {
        None => return Ok(0),
        Some(Slow::Pseudo(seat)) => (Device::Pseudo, Some(seat)),
        Some(Slow::Silent(device)) => (device, None),
    };
    let (request, shape) = fetch(device, code, argument)?;
    let reply = match seat {
        Some(seat) => seat.request(request)?,
        None => control(request)?,
    };
    deliver(&reply, shape, argument)?;
    Ok(0)
}

/// Reads as `read` does.
pub(crate) fn read(
    open: &'static Open,
    fd: RawFd,
    address: usize,
    count: usize,
) -> Result<usize, Failure> {
    let (seat, waits) = seat(open, fd)?;
    let count = length(count);
    if count <= SMALL {
        read_to::<SMALL>(&seat, address, count, waits)
    } else {
        read_to::<LARGE>(&seat, address, count, waits)
    }
}

/// Writes as `write` does.
pub(crate) fn write(
    open: &'static Open,
    fd: RawFd,
    address: usize,
    count: usize,
) -> Result<usize, Failure> {
    let (seat, waits) = seat(open, fd)?;
    let count = length(count);
    if count <= SMALL {
        write_from::<SMALL>(&seat, address, count, waits)
    } else {
        write_from::<LARGE>(&seat, address, count, waits)
    }
}

/// Does `one` for each part of a vector of `readv` or `writev`, until one is not filled: as the kernel does with drivers that know
/// no vectors.
pub(crate) fn for_each_part(
    parts: usize,
    count: c_int,
    mut one: impl FnMut(usize, usize) -> Result<usize, Failure>,
) -> Result<usize, Failure> {
    if !(0..=libc::UIO_MAXIOV).contains(&count) {
        return Err(Failure(libc::EINVAL));
    }
    let mut done = 0;
    for at in 0..count as usize {
        let mut part = [0_usize; 2];
        let address = parts.checked_add(at * size_of_val(&part));
        memory::copy_in(address.ok_or(Errno::Efault)?, octets_of(&mut part))?;
        let [address, len] = part;
        match one(address, len) {
            Ok(some) => {
                done += some;
                if some < len {
                    break;
                }
            }
            Err(failure) if done == 0 => return Err(failure),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// What is served without a lock on its entry, as it may wait.
enum Slow {
    Pseudo(Arc<Seat>),
    Silent(Device),
}

/// The channel behind a descriptor, and whether its calls wait.
fn seat(open: &'static Open, fd: RawFd) -> Result<(Arc<Seat>, bool), Failure> {
    let open = opens::current(open, fd)?;
    let seat = opens::with(open, fd, |opened| match opened {
        Opened::Pseudo(seat) => Ok(Arc::clone(seat)),
        Opened::Timer(_) | Opened::Silent(_) => Err(Errno::Enosys.into()),
    })?;
    Ok((seat, open.flags() & libc::O_NONBLOCK == 0))
}

#[inline(never)]
fn read_to<const ROOM: usize>(
    seat: &Seat,
    address: usize,
    count: usize,
    waits: bool,
) -> Result<usize, Failure> {
    let mut block = [0; ROOM];
    let count = seat.read(&mut block[..count], !waits)?;
    memory::copy_out(&block[..count], address)?;
    Ok(count)
}

#[inline(never)]
fn write_from<const ROOM: usize>(
    seat: &Seat,
    address: usize,
    count: usize,
    waits: bool,
) -> Result<usize, Failure> {
    let mut block = [0; ROOM];
    let block = &mut block[..count];
    memory::copy_in(address, block)?;
    Ok(seat.write(block, !waits)?)
}

/// Of a length DAHDI looks at 16 bits, and no block is longer than 8192 linear samples.
fn length(count: usize) -> usize {
    (count & 0xffff).min(LARGE)
}

/// What a program asks, and how its argument travels.
fn fetch(device: Device, code: u32, address: usize) -> Result<(Request, Shape), Failure> {
    let mut argument = [0; LARGEST_ARGUMENT];
    let shape = code::shape(code).unwrap_or(NO_ARGUMENT);
    let Some(argument) = argument.get_mut(..shape.size) else {
        // No request is so large: this is an error.
        return Ok((Request::decode(device, code, &[])?, NO_ARGUMENT));
    };
    if code == code::SETCADENCE && address == 0 {
        return Ok((Request::decode(device, code, &[])?, NO_ARGUMENT));
    }
    if shape.copies_in
        && let Err(fault) = memory::copy_in(address, argument)
    {
        // What the device does not serve it does not read either.
        return Err(match Request::decode(device, code, argument) {
            Err(refused @ (Errno::Enotty | Errno::Enosys)) => refused.into(),
            _ => fault,
        });
    }
    Ok((Request::decode(device, code, argument)?, shape))
}

/// Gives the program what comes back.
fn deliver(reply: &Reply, shape: Shape, address: usize) -> Result<(), Failure> {
    if !shape.copies_out {
        return Ok(());
    }
    let mut answer = [0; LARGEST_ARGUMENT];
    let room = answer.get_mut(..shape.size).ok_or(Errno::Efault)?;
    let len = reply.write_to(room)?;
    memory::copy_out(&room[..len], address)
}

/// Serves what is asked of the control device, or of a channel that is to be told which.
fn control(request: Request) -> Result<Reply, Failure> {
    let channel = match &request {
        Request::Indirect(indirect) => {
            let data = indirect.data as usize;
            let (request, shape) = fetch(Device::Pseudo, indirect.code, data)?;
            return match Station::get()?.request(indirect.channel, request)? {
                // Waiting for another's channel is nothing that the control device does.
                Reply::Wait => Err(Errno::Eagain.into()),
                reply => deliver(&reply, shape, data).map(|()| Reply::Done),
            };
        }
        // Every channel there is, is open.
        Request::Specify(channel) => {
            Station::get()?.request(*channel, Request::ChanNo)?;
            return Err(Errno::Ebusy.into());
        }
        Request::GetParams { channel } | Request::GetGains { channel } => *channel,
        Request::SetParams(params) => params.channel,
        Request::SetGains(gains) => gains.channel,
        _ => {
            let mut book = opens::book().ok_or(Errno::Eagain)?;
            return Ok(book.control.request(&request)?);
        }
    };
    Ok(Station::get()?.request(channel, request)?)
}

/// `FIONBIO`, which every descriptor has.
fn set_nonblocking(open: &Open, address: usize) -> Result<c_int, Failure> {
    let mut on = [0; 4];
    memory::copy_in(address, &mut on)?;
    let flag = if on == [0; 4] { 0 } else { libc::O_NONBLOCK };
    open.set_flags(open.flags() & !libc::O_NONBLOCK | flag);
    Ok(0)
}

/// A block of 20 ms fits, and one of MeetMe's tones.
const SMALL: usize = 2048;
/// The largest block: 8192 linear samples.
const LARGE: usize = 16_384;
/// The largest argument that any request has.
const LARGEST_ARGUMENT: usize = Gains::SIZE;

const NO_ARGUMENT: Shape = Shape {
    size: 0,
    copies_in: false,
    copies_out: false,
};

const FIONBIO: u32 = libc::FIONBIO as u32;
