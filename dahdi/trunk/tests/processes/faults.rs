//! What others left, broke or made up.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use unisono_dahdi_trunk::{Directory, Refused, SegmentError, Trunk, TrunkError};

use super::member::{Member, Process, directory, files};

/// What a member's segment consists of.
fn segment_of(path: &Path) -> Vec<u8> {
    let [name] = &files(path, ".segment")[..] else {
        panic!("one segment")
    };
    fs::read(path.join(name)).unwrap()
}

/// A file that is locked, as that of a living process.
fn living(path: &Path, content: &[u8]) -> File {
    fs::write(path, content).unwrap();
    let file = File::open(path).unwrap();
    file.lock().unwrap();
    file
}

#[test]
fn segments_of_living_processes_that_cannot_be_used_are_refused_with_the_reason() {
    let directory = directory();
    let at = |name| directory.path().join(name);
    let a = Member::new(directory.path());
    let whole = segment_of(directory.path());
    let mut older = whole.clone();
    older[8..12].copy_from_slice(&0_u32.to_ne_bytes());
    let mut foreign = whole.clone();
    foreign[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    let _living = [
        living(&at("1.segment"), &foreign),
        living(&at("2.segment"), &whole[..whole.len() / 2]),
        living(&at("3.segment"), &older),
        living(&at("4.segment"), b""),
    ];
    let refused = a.trunk.refresh().unwrap().refused;
    let errors: Vec<_> = refused.iter().map(|refused| &refused.error).collect();
    let expected = whole.len() as u64;
    assert!(
        matches!(
            errors[..],
            [
                SegmentError::Foreign,
                SegmentError::Truncated { found, .. },
                SegmentError::Version { found: 0, expected: 1 },
                SegmentError::Truncated { found: 0, expected: all },
            ] if *found < expected && *all == expected
        ),
        "{errors:?}"
    );
    assert_eq!(refused[2].path, at("3.segment"));
    assert!(
        refused[2]
            .to_string()
            .ends_with("run the same version of unisono in all processes")
    );
    assert_eq!(
        files(directory.path(), ".segment").len(),
        5,
        "none is removed"
    );
}

#[test]
fn a_segment_whose_memory_was_never_allocated_is_refused() {
    let directory = directory();
    let mut a = Member::new(directory.path());
    if !a.trunk.directory().is_in_memory() {
        eprintln!("skipped: there is no directory in memory here");
        return;
    }
    let whole = segment_of(directory.path());
    let hollow = living(&directory.path().join("1.segment"), &whole[..4_096]);
    File::options()
        .write(true)
        .open(directory.path().join("1.segment"))
        .unwrap()
        .set_len(whole.len() as u64)
        .unwrap();
    assert_eq!(hollow.metadata().unwrap().len(), whole.len() as u64);
    let refused = a.trunk.refresh().unwrap().refused;
    assert!(
        matches!(
            refused[..],
            [Refused {
                error: SegmentError::Truncated { found: 4_096, .. },
                ..
            }]
        ),
        "{refused:?}"
    );
    a.join(1);
    a.step(1_000, 0);
}

#[test]
fn what_is_no_segment_at_all_is_left_alone() {
    let directory = directory();
    let at = |name| directory.path().join(name);
    fs::write(at("1.segment"), "notes of the administrator").unwrap();
    fs::create_dir(at("2.segment")).unwrap();
    mkfifo(&at("3.segment"), Mode::S_IRWXU).unwrap();
    symlink("/etc/passwd", at("4.segment")).unwrap();
    fs::write(at("5.status"), "no socket").unwrap();
    let a = Member::new(directory.path());
    let found = a.trunk.refresh().unwrap();
    assert_eq!((found.processes, found.refused.len()), (0, 4), "{found:?}");
    assert_eq!(files(directory.path(), ".segment").len(), 5);
    assert_eq!(fs::read(at("5.status")).unwrap(), b"no socket");
}

#[test]
fn a_dead_processs_segment_is_removed_even_if_it_was_cut_off() {
    let directory = directory();
    let a = Member::new(directory.path());
    let whole = segment_of(directory.path());
    fs::write(directory.path().join("1.segment"), &whole[..100]).unwrap();
    fs::write(directory.path().join("2.segment"), &whole).unwrap();
    assert_eq!(a.trunk.refresh().unwrap().refused, []);
    assert_eq!(files(directory.path(), ".segment").len(), 1);
}

#[test]
fn a_segment_that_is_cut_off_later_is_given_up() {
    let directory = directory();
    let whole = {
        let _member = Member::new(directory.path());
        segment_of(directory.path())
    };
    let path = directory.path().join("1.segment");
    let _living = living(&path, &whole);
    let mut a = Member::new(directory.path());
    assert_eq!(a.trunk.refresh().unwrap().processes, 1);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(8_192)
        .unwrap();
    let found = a.trunk.refresh().unwrap();
    assert_eq!(
        (found.processes, found.gone, found.refused.len()),
        (0, 1, 1)
    );
    a.join(1);
    a.step(1_000, 0);
}

#[test]
fn a_process_that_writes_anything_into_its_segment_is_noise_at_worst() {
    let directory = directory();
    let mut b = Member::new(directory.path());
    let [name] = &files(directory.path(), ".segment")[..] else {
        panic!("one segment")
    };
    let file = File::options()
        .write(true)
        .open(directory.path().join(name))
        .unwrap();
    let size = file.metadata().unwrap().len();
    let mut a = Member::new(directory.path());
    a.join(7);
    b.join(7);
    b.trunk.refresh().unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for step in 0..3_000 {
        b.step(1_000 + step, 100);
        a.step(1_000 + step, 0);
        for _ in 0..20 {
            // Most of it where lines and frames are described.
            let at = if next() % 2 == 0 {
                next() % 4_096
            } else {
                next() % (size - 8)
            };
            let word = match next() % 4 {
                0 => 0,
                1 => u64::MAX,
                2 => (1_000 + step + next() % 8) << 16 | 7,
                _ => next(),
            };
            file.write_all_at(&word.to_ne_bytes(), at).unwrap();
        }
        if step % 100 == 0 {
            let _ = a.trunk.refresh();
            let _ = (a.trunk.neighbours(), a.trunk.sharers(7));
        }
    }
}

#[test]
fn a_process_whose_number_is_taken_by_another_container_has_another_name() {
    let directory = directory();
    let all = [(); 3].map(|()| Member::new(directory.path()));
    let pid = std::process::id();
    let mut names = files(directory.path(), ".segment");
    names.sort_unstable();
    let expected = [format!("{pid}-2"), format!("{pid}-3"), pid.to_string()];
    assert_eq!(names, expected.map(|name| format!("{name}.segment")));
    assert_eq!(files(directory.path(), ".status").len(), 3);
    for member in &all {
        assert_eq!(member.trunk.refresh().unwrap().processes, 2);
    }
}

#[test]
fn files_that_somebody_removed_are_noticed() {
    for end in [".segment", "numbers"] {
        let directory = directory();
        let a = Member::new(directory.path());
        assert!(a.trunk.refresh().unwrap().is_published);
        let [name] = &files(directory.path(), end)[..] else {
            panic!("one file")
        };
        fs::remove_file(directory.path().join(name)).unwrap();
        assert!(!a.trunk.refresh().unwrap().is_published, "{end}");
    }
}

#[test]
fn a_directory_that_somebody_removed_can_be_made_again() {
    let directory = directory();
    let path = directory.path().join("dahdi");
    let (a, b) = (Member::new(&path), Member::new(&path));
    assert_eq!(a.trunk.refresh().unwrap().processes, 1);
    fs::remove_dir_all(&path).unwrap();
    let found = a.trunk.refresh().unwrap();
    assert_eq!(
        (found.is_published, found.processes, found.gone),
        (false, 0, 1)
    );
    drop((a, b));
    let (a, _b) = (Member::new(&path), Member::new(&path));
    let found = a.trunk.refresh().unwrap();
    assert_eq!((found.is_published, found.processes), (true, 1));
}

#[test]
fn sixty_five_neighbours_are_one_too_many_and_room_is_made_when_they_go() {
    let directory = directory();
    let mut a = Member::new(directory.path());
    let path = Directory::at(directory.path()).unwrap();
    let another = || Trunk::open(&path, "another").unwrap();
    let mut others: Vec<Trunk> = (0..65).map(|_| another()).collect();
    let found = a.trunk.refresh().unwrap();
    assert_eq!(found.processes, 64);
    assert!(matches!(
        found.refused[..],
        [Refused {
            error: SegmentError::TooMany,
            ..
        }]
    ));
    a.join(1);
    a.step(1_000, 0);
    for round in 0..5 {
        let gone = others.split_off(30).len();
        let found = a.trunk.refresh().unwrap();
        // The one that was refused goes unseen.
        assert!([gone, gone - 1].contains(&found.gone), "round {round}");
        while others.len() < 64 {
            others.push(another());
        }
        // The tick gives back those that have gone, then there is room.
        a.step(1_001 + 2 * round, 0);
        let found = a.trunk.refresh().unwrap();
        assert_eq!(
            (found.processes, found.refused.len()),
            (64, 0),
            "round {round}"
        );
        a.step(1_002 + 2 * round, 0);
    }
}

#[test]
fn a_directory_of_others_is_denied_with_the_remedy() {
    const NOBODY: u32 = 65_534;
    if let Some(closed) = std::env::var_os("UNISONO_TRUNK_TEST_CLOSED") {
        return be_denied(Path::new(&closed));
    }
    let directory = directory();
    let open = directory.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let numbers = File::create(open.join("numbers")).unwrap();
    numbers
        .set_permissions(Permissions::from_mode(0o000))
        .unwrap();
    numbers
        .set_modified(SystemTime::now() - Duration::from_secs(3600))
        .unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
    if fs::metadata(&closed).unwrap().uid() != 0 {
        // Our own directory, without permission.
        let error = Directory::at(&closed).unwrap_err();
        assert!(matches!(error, TrunkError::Denied { .. }), "{error}");
        return;
    }
    // For root nothing is denied, so somebody else tries.
    let program = directory.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new(program)
        .args([
            "faults::a_directory_of_others_is_denied_with_the_remedy",
            "--exact",
            "--nocapture",
        ])
        .env("UNISONO_TRUNK_TEST_CLOSED", &closed)
        .current_dir("/")
        .uid(NOBODY)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What the test above does as a child.
fn be_denied(closed: &Path) {
    for path in [closed, &closed.join("deeper")] {
        let error = Directory::at(path).unwrap_err();
        assert!(matches!(error, TrunkError::Denied { .. }), "{error}");
        assert!(error.to_string().contains("chmod 2770"), "{error}");
    }
    // In another, only a file is.
    let open = Directory::at(closed.with_file_name("open")).unwrap();
    let error = Trunk::open(&open, "a member").unwrap_err();
    assert!(matches!(error, TrunkError::DeniedFile { .. }), "{error}");
    assert!(error.to_string().contains("chmod 660"), "{error}");
}

#[test]
fn files_get_the_permissions_of_their_directory() {
    let directory = directory();
    let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().mode() & 0o777;
    for (of_directory, segment, others) in [(0o700, 0o600, 0o600), (0o2770, 0o640, 0o660)] {
        fs::set_permissions(directory.path(), Permissions::from_mode(of_directory)).unwrap();
        let _ = fs::remove_file(directory.path().join("numbers"));
        let _member = Member::new(directory.path());
        assert_eq!(mode(&files(directory.path(), ".segment")[0]), segment);
        assert_eq!(mode(&files(directory.path(), ".status")[0]), others);
        assert_eq!(mode("numbers"), others);
    }
}

#[test]
fn processes_of_other_users_take_part_by_the_group_of_the_directory() {
    const NOBODY: u32 = 65_534;
    let outer = directory();
    if fs::metadata(outer.path()).unwrap().uid() != 0 {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    fs::set_permissions(outer.path(), Permissions::from_mode(0o755)).unwrap();
    let program = outer.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let path = outer.path().join("dahdi");
    fs::create_dir(&path).unwrap();
    chown(&path, None, Some(NOBODY)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o2770)).unwrap();

    let mut a = Member::new(&path);
    let mut command = Command::new(&program);
    let somebody = command.current_dir("/").uid(NOBODY).gid(NOBODY);
    let mut b = Process::by(somebody, &path);
    a.join(12);
    b.tell("join 12");
    assert_eq!(
        (a.trunk.refresh().unwrap().processes, b.tell("refresh")),
        (1, "1 0".to_owned())
    );
    for step in 1_000..1_020 {
        let (by_b, by_a) = (b.step(step, 40), a.step(step, 500));
        assert!(
            step < 1_003 || (by_b, by_a) == (500, 40),
            "step {step}: {by_b}, {by_a}"
        );
    }
    assert!(a.trunk.numbers().is_held_elsewhere(12));
    b.kill();
    assert_eq!(a.trunk.refresh().unwrap().gone, 1);
    assert_eq!(files(&path, ".segment").len(), 1);
}

#[test]
fn a_path_that_cannot_be_a_directory_is_said_to_be() {
    let directory = directory();
    fs::write(directory.path().join("file"), "").unwrap();
    for path in [directory.path().join("file"), "relative/path".into()] {
        let error = Directory::at(path).unwrap_err();
        assert!(matches!(error, TrunkError::BadDirectory { .. }), "{error}");
    }
}

#[test]
fn without_room_for_the_segment_opening_fails_and_leaves_nothing() {
    if let Some(path) = std::env::var_os("UNISONO_TRUNK_TEST_FULL") {
        return find_no_room(Path::new(&path));
    }
    let directory = directory();
    let path = directory.path().to_str().unwrap();
    let mount = format!("mount -t tmpfs -o size=512k tmpfs {path} || exit 77; exec \"$0\" \"$@\"");
    // A limit of the process, and, where one may be mounted, a small file system.
    for start in [
        &["sh", "-c", "ulimit -f 512; exec \"$0\" \"$@\""][..],
        &["unshare", "-m", "sh", "-c", &mount][..],
    ] {
        let output = Command::new(start[0])
            .args(&start[1..])
            .arg(std::env::current_exe().unwrap())
            .args(["faults::no_room", "--exact", "--nocapture", "--ignored"])
            .env("UNISONO_TRUNK_TEST_FULL", directory.path())
            .output();
        let Ok(output) = output else {
            eprintln!("skipped: there is no {} here", start[0]);
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        if start[0] == "unshare" && !text.contains("running 1 test") {
            eprintln!("skipped: nothing can be mounted here");
            continue;
        }
        assert!(output.status.success(), "{output:?}");
    }
}

/// What the test above does as a child.
fn find_no_room(path: &Path) {
    let error = Trunk::open(&Directory::at(path).unwrap(), "a member").unwrap_err();
    assert!(matches!(error, TrunkError::NoRoom { .. }), "{error}");
    assert_eq!(files(path, ""), ["numbers"]);
}

#[test]
fn leftovers_of_a_process_with_the_same_number_are_no_obstacle() {
    let directory = directory();
    let whole = {
        let _member = Member::new(directory.path());
        segment_of(directory.path())
    };
    let pid = std::process::id();
    fs::write(directory.path().join(format!("{pid}.segment")), &whole).unwrap();
    fs::write(
        directory.path().join(format!("{pid}.segment.new")),
        &whole[..10],
    )
    .unwrap();
    let member = Member::new(directory.path());
    assert_eq!(
        files(directory.path(), ".segment"),
        [format!("{pid}.segment")]
    );
    assert!(member.trunk.refresh().unwrap().is_published);
    // And of one that was killed, by one that has never seen it.
    Process::start(directory.path()).kill();
    assert_eq!(files(directory.path(), ".segment").len(), 2);
    drop(member);
    drop(Member::new(directory.path()));
    assert_eq!(files(directory.path(), ".segment"), [""; 0]);
    assert_eq!(files(directory.path(), ".status"), [""; 0]);
}
