//! A program that may not have real-time priority.

mod program;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use unisono_dahdi_station::{Settings, Sharing, Station};

use program::{Program, eventually};

const VARIABLE: &str = "UNISONO_STATION_TEST_REFUSED";
const NOBODY: u32 = 65_534;

/// It ends preloading, so the program would no longer have the library that advised it.
#[test]
fn setcap_is_never_advised() {
    if std::env::var_os(VARIABLE).is_some() {
        return be_refused();
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new(&program);
    command
        .args(["setcap_is_never_advised", "--exact", "--nocapture"])
        .env(VARIABLE, "1")
        .current_dir("/");
    // Root is refused nothing.
    if fs::metadata(&program).unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What the test does as a child.
fn be_refused() {
    setrlimit(Resource::RLIMIT_RTPRIO, 0, 0).unwrap();
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
    let mut settings = Settings::default();
    settings.realtime = settings.realtime.lock_memory();
    settings.sharing = Sharing::Alone;
    let station = Station::new(settings).unwrap();
    let _program = Program::open(&station);
    assert!(eventually(|| station.grant().is_some()));
    let grant = station.report().grant;
    assert!(
        grant.contains("scheduling refused") && grant.contains("memory lock refused"),
        "{grant}"
    );
    assert!(!grant.contains("setcap"), "{grant}");
}
