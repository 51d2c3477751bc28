//! Datagrams over the loopback interface.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use super::{AtWork, Job, LoadError};

pub(super) fn prepare() -> Result<Vec<Job>, LoadError> {
    let (sender, receiver) = sockets().map_err(LoadError::Network)?;
    Ok(vec![
        Box::new(move |at_work| send(at_work, &sender)),
        Box::new(move |at_work| receive(at_work, &receiver)),
    ])
}

fn sockets() -> io::Result<(UdpSocket, UdpSocket)> {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    // Each takes from the other only.
    sender.connect(receiver.local_addr()?)?;
    receiver.connect(sender.local_addr()?)?;
    receiver.set_read_timeout(Some(LONGEST_WAIT))?;
    Ok((sender, receiver))
}

/// A burst each millisecond; what a stall cost is not made up for.
fn send(at_work: &AtWork, socket: &UdpSocket) -> io::Result<()> {
    let packet = [0xff_u8; PACKET_BYTES];
    while at_work.goes_on() {
        for _ in 0..BURST {
            match socket.send(&packet) {
                Ok(_) => {}
                // The receiver's end of things: its buffer is full, or it has closed just before us.
                Err(error) if lost(&error) => {}
                Err(error) => return Err(error),
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn receive(at_work: &AtWork, socket: &UdpSocket) -> io::Result<()> {
    let mut packet = [0; PACKET_BYTES];
    while at_work.goes_on() {
        match socket.recv(&mut packet) {
            Ok(_) => at_work.did(1),
            Err(error) if lost(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn lost(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
    ) || error.raw_os_error() == Some(nix::libc::ENOBUFS)
}

/// RTP header and 20 ms of G.711.
const PACKET_BYTES: usize = 172;
/// 20,000 a second.
const BURST: usize = 20;
const LONGEST_WAIT: Duration = Duration::from_millis(20);
