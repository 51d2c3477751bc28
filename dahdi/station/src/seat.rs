//! What one open descriptor of a pseudo channel can do.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno as SystemErrno;
use nix::sys::socket::{MsgFlags, recv};
use unisono_dahdi::exchange::{ChannelNumber, ChannelStats, Readiness, Spares};
use unisono_dahdi::request::{Errno, Reply, Request};

use crate::doorbell::{Published, Settler};
use crate::errno;
use crate::hidden::Hidden;
use crate::settings::is_setting;
use crate::shared::{Desk, Shared, sample_time};
use crate::station::Station;

/// A channel that is open. Any thread may use it, and several at a time.
#[derive(Debug)]
pub struct Seat {
    shared: Arc<Shared>,
    number: ChannelNumber,
    /// A duplicate of the program's descriptor: the program's own number may be something else by the time it is used.
    program: Hidden,
    closed: AtomicBool,
}

impl Seat {
    pub(crate) const fn new(shared: Arc<Shared>, number: ChannelNumber, program: Hidden) -> Self {
        Self {
            shared,
            number,
            program,
            closed: AtomicBool::new(false),
        }
    }

    /// The channel's number, as `CHANNO` answers it.
    pub const fn number(&self) -> ChannelNumber {
        self.number
    }

    /// Reads at most one block into `octets`, which must be memory that can be written; what does not fit is lost, as in DAHDI.
    /// Waits for a block unless `nonblocking`.
    ///
    /// # Errors
    ///
    /// [`Errno::Eagain`] if it would have to wait and is not to, [`Errno::Eintr`] for a signal whose handler does not have calls
    /// restarted, [`Errno::Elast`] while an event waits, [`Errno::Einval`] for no octets, [`Errno::Enodev`] once it is closed.
    pub fn read(&self, octets: &mut [u8], nonblocking: bool) -> Result<usize, Errno> {
        loop {
            let (result, _) =
                self.serve(|desk, now| Ok(desk.exchange.read(self.number, octets, now)))?;
            if result != Err(Errno::Eagain) {
                return result;
            }
            // Another thread may be about to take the token of the block that it has read: see to that, or this would spin.
            self.follow(Published::SETTLE);
            if nonblocking {
                return result;
            }
            wait_for_token(self.program.as_fd())?;
        }
    }

    /// Writes at most one block, and returns the octets taken. Waits for room unless `nonblocking`.
    ///
    /// # Errors
    ///
    /// As of [`read`](Self::read).
    pub fn write(&self, octets: &[u8], nonblocking: bool) -> Result<usize, Errno> {
        loop {
            let (result, moment) = self.serve(|desk, now| {
                let result = desk.exchange.write(self.number, octets, now);
                if result == Err(Errno::Eagain) && !nonblocking {
                    desk.exchange.wait_for_room(self.number)?;
                }
                Ok(result)
            })?;
            if result != Err(Errno::Eagain) {
                return result;
            }
            if nonblocking {
                // That it is not writable may not be shown yet.
                self.follow(Published::SETTLE);
                return result;
            }
            self.wait(moment)?;
        }
    }

    /// Serves a request. `SYNC` and `IOMUX` wait, also on a descriptor that does not block, as in DAHDI.
    ///
    /// # Errors
    ///
    /// As of [`unisono_dahdi::exchange::Exchange::request`]; [`Errno::Eintr`] as of [`read`](Self::read).
    pub fn request(&self, request: Request) -> Result<Reply, Errno> {
        if is_setting(&request) || matches!(request, Request::GetGains { .. }) {
            return self.set(request);
        }
        loop {
            let request = request.clone();
            let (reply, moment) =
                self.serve(|desk, now| desk.exchange.request(self.number, request, now))?;
            if reply != Reply::Wait {
                return Ok(reply);
            }
            self.wait(moment)?;
        }
    }

    /// What can be done without waiting, [`Readiness::urgent`] being POLLPRI.
    ///
    /// # Errors
    ///
    /// [`Errno::Enodev`] once it is closed.
    pub fn readiness(&self) -> Result<Readiness, Errno> {
        self.look(|desk| desk.exchange.readiness(self.number))
    }

    /// Figures of the channel.
    ///
    /// # Errors
    ///
    /// [`Errno::Enodev`] once it is closed.
    pub fn stats(&self) -> Result<ChannelStats, Errno> {
        self.look(|desk| desk.exchange.stats(self.number))
    }

    /// Closes the channel, when the program has closed the last of its descriptors. Who waits in it gets [`Errno::Enodev`].
    /// Closing it again does nothing.
    pub fn close(&self) {
        if self.is_inherited() {
            return;
        }
        let Ok(mut control) = self.shared.control() else {
            return;
        };
        let mut spares = Spares::default();
        let Ok(mut desk) = self.shared.desk() else {
            return;
        };
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let bell = self.shared.bell(self.number);
        let door = bell.set_door(None);
        let place = desk.exchange.conference(self.number);
        desk.exchange
            .close_with(&mut spares, self.number, sample_time());
        let published = bell.publish_end();
        desk.sleeping_until = 0;
        drop(desk);
        drop(door);
        control.forget(self.number);
        if published.wake {
            bell.wake();
        }
        if let Ok(place) = place {
            self.shared.leave_empty(&mut control, [place.conference, 0]);
        }
        // Others may have been monitoring it.
        self.shared.sleep.end();
    }

    /// Whether the channel was another process's, from which this one was forked. It is gone here; [`adopt`](Self::adopt) makes
    /// one like it.
    pub fn is_inherited(&self) -> bool {
        !self.shared.generation.is_current()
    }

    /// In a forked child: opens a channel of this process's [`Station`] with the same settings and in the same conference. The
    /// descriptor is to be put in place of the inherited one's numbers.
    ///
    /// # Errors
    ///
    /// As of [`Station::open`]. That it cannot be in the same conference, as when it monitored a channel that is not here, is none.
    pub fn adopt(&self) -> Result<(OwnedFd, Arc<Self>), Errno> {
        let settings = {
            let control = self.shared.control()?;
            control.settings(self.number)
        };
        let (program, seat) = Station::get()?.open()?;
        for request in settings.requests() {
            let _ = seat.request(request);
        }
        Ok((program, seat))
    }

    /// A request that sets something or needs memory: under the control lock.
    fn set(&self, request: Request) -> Result<Reply, Errno> {
        let mut control = self.shared.control()?;
        self.check()?;
        let (reply, published) = self.shared.change(&mut control, self.number, request)?;
        self.follow(published);
        Ok(reply)
    }

    /// Does something with the channel, makes its descriptor show what came of it, and has the mixing thread wake in time.
    /// Also returns the moment from which on changes are to be waited for.
    fn serve<T>(
        &self,
        work: impl FnOnce(&mut Desk, u64) -> Result<T, Errno>,
    ) -> Result<(T, u32), Errno> {
        let mut desk = self.shared.desk()?;
        self.check()?;
        let result = work(&mut desk, sample_time());
        let bell = self.shared.bell(self.number);
        let published = bell.publish(desk.exchange.readiness(self.number)?);
        let moment = bell.moment();
        let deadline = desk.exchange.deadline_of(self.number)?;
        let poke = desk.bring_forward_to(deadline);
        drop(desk);
        self.follow(published);
        if poke {
            self.shared.sleep.end();
        }
        Ok((result?, moment))
    }

    fn follow(&self, published: Published) {
        let fd = self.program.as_fd();
        let closed = &self.closed;
        let settler = Settler::Program { fd, closed };
        self.shared.follow(self.number, published, settler);
    }

    fn look<T>(&self, work: impl FnOnce(&Desk) -> Result<T, Errno>) -> Result<T, Errno> {
        let desk = self.shared.desk()?;
        self.check()?;
        work(&desk)
    }

    /// The desk's lock is held.
    fn check(&self) -> Result<(), Errno> {
        if self.closed.load(Ordering::Acquire) {
            Err(Errno::Enodev)
        } else {
            Ok(())
        }
    }

    fn wait(&self, moment: u32) -> Result<(), Errno> {
        self.shared.bell(self.number).wait(moment).map_err(errno)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits until the descriptor is readable, as a read of it would wait.
fn wait_for_token(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    match recv(fd.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK) {
        // A station that closes its end leaves a reset if the descriptor was barred.
        Ok(0) | Err(SystemErrno::ECONNRESET) => Err(Errno::Enodev),
        Ok(_) => Ok(()),
        Err(error) => Err(errno(error)),
    }
}
