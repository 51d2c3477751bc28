//! As many channels as there are, and as many as there are descriptors for. One test, as it changes the process's limits.

mod program;

use nix::poll::PollFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use unisono_dahdi::request::Errno;

use program::{Program, ordinary_station};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn channels_and_descriptors_run_out_with_an_error_and_nothing_is_left_behind() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 2_000.min(hard), hard).unwrap();
    let before = open_descriptors();
    let station = ordinary_station();

    let programs: Vec<_> = (0..512).map(|_| Program::open(&station)).collect();
    let numbers = programs.iter().map(|program| program.seat.number().get());
    assert!(numbers.eq(0x8000..0x8200));
    let full = open_descriptors();
    assert_eq!(station.open().err(), Some(Errno::Enomem));
    assert_eq!(open_descriptors(), full);
    for program in &programs {
        assert_eq!(program.poll(PollFlags::POLLIN, 10_000), PollFlags::POLLIN);
    }
    drop(programs);

    // Few are left: some channels open, then none, and they work all the same.
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let mut programs = Vec::new();
    let error = loop {
        match station.open() {
            Ok((descriptor, seat)) => programs.push(Program { descriptor, seat }),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Errno::Emfile);
    assert!((10..64).contains(&programs.len()));
    let full = station.open().err().map(|_| open_numbers());
    assert_eq!(full, Some(open_numbers()));
    for program in &programs {
        assert_eq!(program.read(&mut [0; 1024]), Ok(1024));
    }
    programs.pop();
    programs.push(Program::open(&station));
    drop(programs);
    drop(station);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert_eq!(open_descriptors(), before);
}

/// Which of the first numbers are open, as there may be none left to list them with.
fn open_numbers() -> Vec<i32> {
    (0..32_768)
        // SAFETY: the call takes no pointer.
        .filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0)
        .collect()
}
