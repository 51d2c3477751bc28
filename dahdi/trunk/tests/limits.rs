//! Being asked without a descriptor left. One test, as it changes the process's limits.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use unisono_dahdi_trunk::report::ProcessReport;
use unisono_dahdi_trunk::{Answering, Directory};

#[test]
fn who_asks_waits_without_keeping_the_process_busy() {
    let folder = tempfile::tempdir().unwrap();
    let answering = Answering::bind(&Directory::at(folder.path()).unwrap()).unwrap();
    let socket = folder.path().read_dir().unwrap().next().unwrap().unwrap();
    let mut asker = UnixStream::connect(socket.path()).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();

    // What the standard streams have.
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    let begin = Instant::now();
    for _ in 0..4 {
        assert_eq!(answering.answer(|| unreachable!("nobody is let in")), 0);
    }
    assert!(begin.elapsed() >= Duration::from_millis(400));

    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert_eq!(answering.answer(ProcessReport::default), 1);
    let mut text = String::new();
    asker.read_to_string(&mut text).unwrap();
    assert!(text.contains("\"pid\":0"), "{text}");
}
