//! What `poll` and its kin see of a channel.

mod program;

use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::select::{FdSet, select};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::time::{TimeVal, TimeValLike};
use unisono_dahdi::request::{Errno, Reply, Request, flush};
use unisono_dahdi_station::is_hidden;

use program::{Program, eventually, ordinary_station};

const IN: PollFlags = PollFlags::POLLIN;
const OUT: PollFlags = PollFlags::POLLOUT;

#[test]
fn a_new_channel_can_be_written_and_is_readable_after_its_first_block() {
    let station = ordinary_station();
    let program = Program::open(&station);
    assert!(program.poll(IN | OUT, 0).contains(OUT));
    assert_eq!(program.poll(IN, 10_000), IN);
    let mut octets = [1; 8192];
    assert_eq!(program.read_now(&mut octets), Ok(1024));
    assert!(octets[..1024].iter().all(|&octet| octet == 0xff));
}

#[test]
fn poll_says_what_read_and_write_will_do() {
    let station = ordinary_station();
    let program = Program::open(&station);
    program.set_buffers(160, 2);
    // In no conference: both directions go on by themselves.
    let mut octets = [0xff; 160];
    for _ in 0..50 {
        assert_eq!(program.poll(IN, 10_000), IN);
        assert_eq!(program.read_now(&mut octets), Ok(160));
        while program.write_now(&octets).is_ok() {}
        assert_eq!(program.poll(OUT, 10_000), OUT);
        assert_eq!(program.write_now(&octets), Ok(160));
    }
}

#[test]
fn full_buffers_are_no_pollout() {
    let station = ordinary_station();
    let program = Program::open(&station);
    program.set_buffers(8192, 4);
    let octets = [0xff; 8192];
    while program.write_now(&octets).is_ok() {}
    // A second's worth is queued in each buffer, and a machine may stand still for that long, so look often.
    let seen = eventually(|| {
        while program.write_now(&octets).is_ok() {}
        program.poll(OUT, 0).is_empty()
    });
    assert!(seen);
    assert_eq!(program.poll(OUT, 10_000), OUT);
}

#[test]
fn a_flush_takes_readiness_back_and_gives_room() {
    let station = ordinary_station();
    let program = Program::open(&station);
    program.set_buffers(160, 4);
    assert_eq!(program.poll(IN, 10_000), IN);
    let seen = eventually(|| {
        assert_eq!(program.ask(Request::Flush(flush::READ)), Ok(Reply::Done));
        program.poll(IN, 0).is_empty()
    });
    assert!(seen);
    program.set_buffers(8192, 2);
    while program.write_now(&[0xff; 8192]).is_ok() {}
    assert_eq!(program.ask(Request::Flush(flush::WRITE)), Ok(Reply::Done));
    assert_eq!(program.poll(OUT, 0), OUT);
    assert_eq!(program.read_now(&mut []), Err(Errno::Einval));
}

#[test]
fn epoll_select_and_duplicates_see_the_same() {
    let station = ordinary_station();
    let program = Program::open(&station);
    program.set_buffers(160, 4);
    let double = program.descriptor.try_clone().unwrap();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let wish = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 7);
    epoll.add(&double, wish).unwrap();
    for _ in 0..20 {
        let mut events = [EpollEvent::empty()];
        let timeout = EpollTimeout::from(10_000_u16);
        assert_eq!(epoll.wait(&mut events, timeout), Ok(1));
        assert_eq!(events[0].data(), 7);
        let mut readable = FdSet::new();
        readable.insert(std::os::fd::AsFd::as_fd(&double));
        let mut timeout = TimeVal::seconds(10);
        let ready = select(None, &mut readable, None, None, &mut timeout);
        assert_eq!(ready, Ok(1));
        // Of an edge-triggered descriptor all is read.
        let mut octets = [0; 160];
        while program.seat.read(&mut octets, true).is_ok() {}
    }
}

#[test]
fn a_closed_channel_hangs_up_and_answers_enodev() {
    let station = ordinary_station();
    let program = Program::open(&station);
    program.seat.close();
    program.seat.close();
    assert!(program.poll(IN, 0).contains(PollFlags::POLLHUP));
    assert_eq!(program.read(&mut [0; 8]), Err(Errno::Enodev));
    assert_eq!(program.write(&[0; 8]), Err(Errno::Enodev));
    assert_eq!(program.ask(Request::Sync), Err(Errno::Enodev));
    assert_eq!(program.ask(Request::SetLinear(true)), Err(Errno::Enodev));
    assert_eq!(program.seat.readiness(), Err(Errno::Enodev));
    // Its number is free, and what comes there is not the old one's.
    let next = Program::open(&station);
    assert_eq!(next.seat.number(), program.seat.number());
    assert_eq!(program.read_now(&mut [0; 8]), Err(Errno::Enodev));
    assert_eq!(next.poll(IN, 10_000), IN);
}

#[test]
fn a_program_that_reads_and_writes_its_socket_harms_only_itself() {
    let station = ordinary_station();
    let (meddler, other) = (Program::open(&station), Program::open(&station));
    meddler.set_buffers(160, 2);
    other.set_buffers(160, 2);
    let raw = |flags: MsgFlags| flags | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    for _ in 0..50 {
        assert_eq!(meddler.poll(IN, 10_000), IN);
        // It steals the token, and fills the socket with rubbish.
        let _ = recv(meddler.fd(), &mut [0; 64], raw(MsgFlags::empty()));
        while send(meddler.fd(), &[7; 999], raw(MsgFlags::empty())).is_ok() {}
        let mut octets = [0; 160];
        while meddler.read_now(&mut octets).is_ok() {}
        while meddler.write_now(&octets).is_ok() {}
        assert_eq!(meddler.poll(OUT, 10_000), OUT, "the next change heals it");
        assert_eq!(other.poll(IN, 10_000), IN);
        assert_eq!(other.read_now(&mut octets), Ok(160));
    }
}

#[test]
fn the_programs_numbers_are_low_and_the_stations_hidden() {
    let station = ordinary_station();
    let program = Program::open(&station);
    assert!(program.fd() < 256 && !is_hidden(program.fd()));
    let hidden = (256..32_768).filter(|&fd| is_hidden(fd)).count();
    assert!(hidden >= 1);
}
