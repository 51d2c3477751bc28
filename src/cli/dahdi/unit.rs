//! The lines that give a service of systemd the library.

use super::library::Library;
use super::refusal::Refusal;

/// Folders of people, which other users may not read, and which `ProtectHome=` hides from a service.
const HOMES: [&str; 2] = ["/home", "/root"];

/// A drop-in for `service`, whose process is in `group`; instructions are comments.
///
/// # Errors
///
/// [`Refusal::LibraryPath`] and [`Refusal::UnitPath`] for a path that the loader or systemd would read differently.
pub(super) fn text(service: &str, group: &str, library: &Library) -> Result<String, Refusal> {
    let service = service.strip_suffix(".service").unwrap_or(service);
    let preload = library.preload(None)?;
    let path = preload
        .to_str()
        .filter(|path| !path.contains(is_changed))
        .ok_or_else(|| Refusal::UnitPath(library.path.clone()))?
        .replace('%', "%%");
    Ok(format!(
        "\
# /etc/systemd/system/{service}.service.d/unisono.conf
# Then: systemctl daemon-reload && systemctl restart {service}
[Service]
# The library that answers /dev/dahdi/*.
Environment=LD_PRELOAD={path}
# Real-time priority for the threads that keep its time.
LimitRTPRIO=80
# Where processes meet that share conferences, and where 'unisono dahdi status' looks. All must be in this group.
ExecStartPre=-+/usr/bin/install -d -m 755 /run/unisono
ExecStartPre=-+/usr/bin/install -d -m 2770 -g {group} /run/unisono/dahdi
# A file of another group, of a time before this one, would leave the service alone.
ExecStartPre=-+/usr/bin/chgrp -f {group} /run/unisono/dahdi/numbers
"
    ))
}

/// What is to be feared of the place where the library is.
pub(super) fn warning(library: &Library) -> Option<String> {
    let at_home = HOMES.iter().any(|home| library.path.starts_with(home));
    at_home.then(|| {
        format!(
            "{}: the service's user may not be allowed to read it there, and would run without it; install it below \
             /usr/local/lib, or set ProtectHome=no and give its folders the permissions",
            library.path.display()
        )
    })
}

/// What systemd would not take as it is written, in a value.
fn is_changed(character: char) -> bool {
    matches!(character, '"' | '\'' | '\\') || character.is_control()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::cli::dahdi::elf;

    fn library(path: &str) -> Library {
        let this_program = File::open(std::env::current_exe().unwrap()).unwrap();
        Library {
            path: path.into(),
            architecture: elf::read(this_program).unwrap().architecture,
        }
    }

    #[test]
    fn the_drop_in_names_the_library_the_service_and_the_group() {
        let library = library("/usr/lib/libunisono_dahdi.so");
        let unit = text("pbx.service", "voice", &library).unwrap();
        assert!(unit.starts_with("# /etc/systemd/system/pbx.service.d/unisono.conf\n"));
        for line in [
            "Environment=LD_PRELOAD=/usr/lib/libunisono_dahdi.so",
            "ExecStartPre=-+/usr/bin/install -d -m 2770 -g voice /run/unisono/dahdi",
            "ExecStartPre=-+/usr/bin/chgrp -f voice /run/unisono/dahdi/numbers",
        ] {
            assert!(unit.lines().any(|there| there == line), "{unit}");
        }
    }

    #[test]
    fn a_path_is_written_so_that_systemd_and_the_loader_read_it_as_it_is() {
        let unit = text("pbx", "voice", &library("/opt/50%n/l.so")).unwrap();
        assert!(
            unit.contains("\nEnvironment=LD_PRELOAD=/opt/50%%n/l.so\n"),
            "{unit}"
        );
        for path in ["/my lib/l.so", "/a:b/l.so", "/$LIB/l.so"] {
            let refusal = text("pbx", "voice", &library(path)).unwrap_err();
            assert!(matches!(refusal, Refusal::LibraryPath(_)), "{refusal}");
        }
        for path in ["/a\"b/l.so", "/a'b/l.so", "/a\\b/l.so", "/a\rb/l.so"] {
            let refusal = text("pbx", "voice", &library(path)).unwrap_err();
            assert!(matches!(refusal, Refusal::UnitPath(_)), "{refusal}");
            assert_eq!(refusal.status(), 125);
        }
    }

    #[test]
    fn a_library_in_somebodys_home_is_warned_of() {
        for (path, warned) in [
            ("/home/ann/l.so", true),
            ("/root/unisono/target/release/l.so", true),
            ("/usr/local/lib/l.so", false),
            ("/homes/l.so", false),
            ("/srv/home/l.so", false),
        ] {
            assert_eq!(warning(&library(path)).is_some(), warned, "{path}");
        }
    }
}
