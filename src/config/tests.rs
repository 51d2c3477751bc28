//! Every rule with the message that it gives, and the sample file.

use proptest::prelude::*;

use super::section::Report;
use super::*;
use crate::conference::RoomRate;

const SAMPLE: &str = include_str!("../../docs/unisono.toml");

fn parse(text: &str) -> Config {
    Config::parse(text, "unisono.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> String {
    Config::parse(text, "unisono.toml").unwrap_err().to_string()
}

/// The sample with all settings switched on.
fn all_of_the_sample() -> String {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    SAMPLE
        .lines()
        .map(uncommented)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn no_text_gives_the_defaults() {
    assert_eq!(parse(""), Config::default());
    assert_eq!(parse("\n# nothing\n[sip]\n"), Config::default());
}

#[test]
fn the_defaults_listen_on_loopback_only_and_carry_ten_thousand_legs() {
    let config = Config::default();
    assert!(config.sip.listen.ip().is_loopback() && config.http.listen.ip().is_loopback());
    assert!(config.media.max_legs >= 10_000 && config.media.port_pairs() >= config.media.max_legs);
    assert!(config.policy.allow_unknown && config.policy.max_conferences >= 10_000);
}

#[test]
fn the_sample_is_the_defaults() {
    assert_eq!(parse(SAMPLE), Config::default());
}

#[test]
fn the_sample_shows_every_key() {
    let text = all_of_the_sample();
    let config = parse(&text);
    assert_eq!((config.sip.users.len(), config.conferences.len()), (1, 1));
    assert!(
        config.http.token.is_some()
            && config.sounds.directory.is_some()
            && config.sip.external_address.is_some()
            && config.dahdi.directory.is_some()
            && config.dahdi.conferences.len() == 1
    );
    let mut report = Report::new(&text, "");
    super::parse::read(&text, &mut report);
    assert_eq!(report.unset, Vec::<String>::new());
}

#[test]
fn a_whole_configuration_is_read() {
    let config = parse(
        r#"
        [sip]
        listen = "[::]:5070"
        transports = ["tcp"]
        external_address = "203.0.113.9"
        local_networks = ["10.0.0.0/8"]
        realm = "voice.example"
        session_expires_seconds = 0
        digest_algorithms = ["MD5"]
        users = { bob = "b", alice = "a" }
        [http]
        listen = "0.0.0.0:80"
        token = "t"
        [media]
        first_port = 20001
        last_port = 20202
        max_legs = 100
        codecs = ["pcmu", "Opus"]
        codec_order = "ours"
        ptime = 30
        cpus = [2, 3]
        workers = 2
        realtime_priority = false
        shared_port = 50000
        silence_check_seconds = 0
        [sounds]
        directory = "/usr/share/asterisk/sounds"
        language = "en_AU"
        [conferences]
        allow_unknown = false
        max_participants = 50
        pin_timeout_seconds = 5
        [[conference]]
        name = "1000"
        pin = "0042"
        admin_pin = "99"
        rate = 16000
        [[conference]]
        name = "lobby"
        locked = true
        max_participants = 3
        "#,
    );
    assert!(config.sip.tcp && !config.sip.udp && config.sip.session_expires.is_none());
    assert_eq!(
        config
            .sip
            .users
            .iter()
            .map(|user| user.name.as_str())
            .collect::<Vec<_>>(),
        ["alice", "bob"]
    );
    assert_eq!(config.sip.digest_algorithms, [crate::sip::Algorithm::Md5]);
    assert_eq!(config.media.silence_check, None);
    assert_eq!(config.media.shared_port, Some(50_000));
    assert_eq!(config.media.codecs, [Codec::Pcmu, Codec::Opus]);
    assert_eq!(
        (config.media.port_pairs(), config.media.realtime_priority),
        (100, None)
    );
    let first = &config.conferences[0].settings;
    assert_eq!(
        (first.pin.as_deref(), first.admin_pin.as_deref()),
        (Some("0042"), Some("99"))
    );
    assert_eq!(
        (first.rate, first.max_participants),
        (RoomRate::Fixed(16000), 50)
    );
    let second = &config.conferences[1];
    assert_eq!(
        (
            second.name.as_str(),
            second.settings.locked,
            second.settings.max_participants
        ),
        ("lobby", true, 3)
    );
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_was_expected() {
    let text = "# one\n[media]\nptime = 25\n";
    assert_eq!(
        errors(text),
        "unisono.toml:3:9: media.ptime: expected one of 10, 20, 30, 40, 50, 60, found 25"
    );
    let all = Config::parse(text, "unisono.toml").unwrap_err();
    let first = all.iter().next().unwrap();
    assert_eq!(
        (first.line, first.column, first.key.as_str()),
        (3, 9, "media.ptime")
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_their_order() {
    let text = "[http]\nlisten = 80\n[sip]\nlisten = \"here\"\nlisen = 1\n[media]\nworkers = -1\ncodecs = [\"PCMU\", \"G729\", 7]\n";
    let lines: Vec<String> = errors(text).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(
        lines[0].starts_with("unisono.toml:2:10: http.listen: expected an IP address and port")
    );
    assert!(
        lines[1].starts_with("unisono.toml:4:10: sip.listen:")
            && lines[1].ends_with("found \"here\"")
    );
    assert_eq!(
        lines[2],
        "unisono.toml:5:1: sip.lisen: unknown key, did you mean \"listen\"?"
    );
    assert!(
        lines[3].ends_with("media.workers: expected 0 (automatic) or a number to 1024, found -1")
    );
    assert!(
        lines[4].contains(":8:19: media.codecs: expected one of \"opus\"")
            && lines[4].ends_with("found \"G729\"")
    );
    assert!(lines[5].ends_with("found 7"));
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    for (text, near) in [
        ("[medai]\n", "media"),
        ("[[confernece]]\nname = \"1\"\n", "conference"),
        ("[media]\nplayout_max_ms = 5\n", "first_port"),
        ("[conferences]\nalow_unknown = true\n", "allow_unknown"),
        (
            "[[conference]]\nname = \"1\"\nadminpin = \"1\"\n",
            "admin_pin",
        ),
    ] {
        let message = errors(text);
        assert!(
            message.contains("unknown key") && message.contains(near),
            "{message}"
        );
    }
    assert!(
        errors("[media]\nxyzzy = 1\n")
            .contains("unknown key, expected one of first_port, last_port,")
    );
}

#[test]
fn a_broken_text_is_told_with_its_place() {
    let message = errors("[sip]\nlisten = \n");
    assert!(message.starts_with("unisono.toml:2:"), "{message}");
    assert!(errors("[sip]\nlisten = \"a\nb\"\n").starts_with("unisono.toml:2:"));
    assert!(errors("[sip]\n[sip]\n").contains("duplicate"));
}

#[test]
fn columns_are_counted_in_characters() {
    assert!(
        errors("sip = { realm = \"\u{e4}\u{f6}\", udp = 1 }\n")
            .contains("unisono.toml:1:23: sip.udp")
    );
}

#[test]
fn what_must_fit_together_is_checked() {
    for (text, place, part) in [
        (
            "[media]\nmax_legs = 20001\n",
            "2:12: media.max_legs",
            "20001, found 20000 from first_port 10000",
        ),
        (
            "[media]\nfirst_port = 40000\n",
            "2:14: media.first_port",
            "found 5000",
        ),
        (
            "[media]\nfirst_port = 50000\n",
            "2:14: media.first_port",
            "found 0",
        ),
        (
            "[media]\nlast_port = 80\n",
            "2:13: media.last_port",
            "from 1024 to 65535, found 80",
        ),
        (
            "[media]\nmin_playout_ms = 300\n",
            "2:18: media.max_playout_ms",
            "min_playout_ms, 300, found 200",
        ),
        (
            "[media]\nworkers = 3\ncpus = [0, 1]\n",
            "2:11: media.workers",
            "2 cpus, found 3",
        ),
        (
            "[media]\nsplit_above = -1\n",
            "2:15: media.split_above",
            "0 (only when a worker is busy) or a number to 1000000",
        ),
        (
            "[media]\ncpus = [1, 1]\n",
            "2:12: media.cpus",
            "each once, found 1 again",
        ),
        (
            "[media]\ncodecs = []\n",
            "2:10: media.codecs",
            "at least one codec",
        ),
        (
            "[media]\nrealtime_priority = true\n",
            "2:21: media.realtime_priority",
            "found true",
        ),
        ("[media]\ndscp = 64\n", "2:8: media.dscp", "0 to 63"),
        (
            "[media]\nshared_port = 50001\n",
            "2:15: media.shared_port",
            "an even port from 1024 to 63486, or false (off), found 50001",
        ),
        (
            "[media]\nshared_port = 20000\n",
            "2:15: media.shared_port",
            "outside of first_port to last_port, 10000 to 49999",
        ),
        (
            "[media]\nshared_port = 9998\nworkers = 2\n",
            "2:15: media.shared_port",
            "two ports a worker from 9998 on",
        ),
        (
            "[sip]\ntransports = []\n",
            "2:14: sip.transports",
            "at least one",
        ),
        (
            "[sip]\nlisten = \"127.0.0.1:10000\"\n",
            "2:10: sip.listen",
            "outside of media.first_port",
        ),
        (
            "[media]\nfirst_port = 5000\n",
            "2:14: sip.listen",
            "5000 to 49999",
        ),
        (
            "[http]\nlisten = \"127.0.0.1:5060\"\n",
            "2:10: http.listen",
            "than sip.listen",
        ),
        (
            "[sip]\nexternal_address = \"0.0.0.0\"\n",
            "2:20: sip.external_address",
            "an IP address",
        ),
        (
            "[sip]\nexternal_address = \"host\"\n",
            "2:20: sip.external_address",
            "found \"host\"",
        ),
        (
            "[sip]\nlocal_networks = [\"10.0.0.0/40\"]\n",
            "2:19: sip.local_networks",
            "a network such as",
        ),
        (
            "[sip]\nrealm = 'a\"b'\n",
            "2:9: sip.realm",
            "without quotes",
        ),
        (
            "[sip]\nsession_expires_seconds = 60\n",
            "2:27: sip.session_expires_seconds",
            "90 to 86400",
        ),
        (
            "[sip]\nmin_session_expires_seconds = 3600\n",
            "sip.session_expires_seconds",
            "3600, found 1800",
        ),
        (
            "[sip]\ndigest_algorithms = []\n",
            "2:21: sip.digest_algorithms",
            "at least one of \"SHA-256\" or \"MD5\"",
        ),
        (
            "[sip]\ndigest_algorithms = [\"SHA-1\"]\n",
            "2:22: sip.digest_algorithms",
            "found \"SHA-1\"",
        ),
        (
            "[media]\nsilence_check_seconds = 5\n",
            "2:25: media.silence_check_seconds",
            "0 (off) or seconds from 10 to 3600",
        ),
        (
            "[sip.users]\nalice = 7\n",
            "2:9: sip.users.alice",
            "a password",
        ),
        (
            "[sip.users]\n\"a:b\" = \"x\"\n",
            "2:1: sip.users.a:b",
            "a user name",
        ),
        (
            "[http]\ntoken = \"a b\"\n",
            "2:9: http.token",
            "without blanks",
        ),
        (
            "[sounds]\nlanguage = \"../x\"\n",
            "2:12: sounds.language",
            "a language",
        ),
        (
            "[conferences]\npin_tries = 0\n",
            "2:13: conferences.pin_tries",
            "1 to 10",
        ),
        (
            "[conferences]\nrate = 44100\n",
            "2:8: conferences.rate",
            "\"auto\", 8000",
        ),
        (
            "[[conference]]\nname = \"a b\"\n",
            "2:8: conference.name",
            "letters, digits",
        ),
        (
            "[[conference]]\nlocked = true\n",
            "1:1: conference.name",
            "found none",
        ),
        (
            "[[conference]]\nname = \"1\"\n[[conference]]\nname = \"1\"\n",
            "4:8: conference.name",
            "in line 2 too",
        ),
        (
            "[[dahdi.conference]]\nnumber = 1023\nconference = \"600\"\n",
            "3:14: dahdi.conference.conference",
            "the name of a [[conference]], in quotes, found \"600\", which is none",
        ),
        (
            "[[conference]]\nname = \"1\"\n[[dahdi.conference]]\nnumber = 1025\nconference = \"1\"\n",
            "4:10: dahdi.conference.number",
            "1 to 1024, found 1025",
        ),
        (
            "[[conference]]\nname = \"1\"\n[[dahdi.conference]]\nconference = \"1\"\n",
            "3:1: dahdi.conference.number",
            "1 to 1024, found none",
        ),
        (
            "[[dahdi.conference]]\nnumber = 7\n",
            "1:1: dahdi.conference.conference",
            "found none",
        ),
        (
            "[[conference]]\nname = \"1\"\n[[conference]]\nname = \"2\"\n[[dahdi.conference]]\nnumber = 7\nconference = \"1\"\n\
             [[dahdi.conference]]\nnumber = 7\nconference = \"2\"\n",
            "9:10: dahdi.conference.number",
            "each once, 7 is in line 6 too",
        ),
        (
            "[[conference]]\nname = \"1\"\n[[dahdi.conference]]\nnumber = 7\nconference = \"1\"\n\
             [[dahdi.conference]]\nnumber = 8\nconference = \"1\"\n",
            "8:14: dahdi.conference.conference",
            "each once, \"1\" is in line 5 too",
        ),
        (
            "[dahdi]\nconference = 1\n",
            "2:14: dahdi.conference",
            "sections written [[dahdi.conference]]",
        ),
        (
            "[dahdi]\ndirectory = \"\"\n",
            "2:13: dahdi.directory",
            "a folder",
        ),
        (
            "[[conference]]\nname = \"1\"\npin = 42\n",
            "3:7: conference.pin",
            "digits in quotes",
        ),
        (
            "[[conference]]\nname = \"1\"\npin = \"4x\"\n",
            "3:7: conference.pin",
            "1 to 16 digits",
        ),
        (
            "[[conference]]\nname = \"1\"\nadmin_pin = \"4\"\n",
            "3:13: conference.admin_pin",
            "a pin beside it",
        ),
        (
            "[[conference]]\nname = \"1\"\npin = \"4\"\nadmin_pin = \"4\"\n",
            "4:13: conference.admin_pin",
            "another",
        ),
        (
            "[conference]\nname = \"1\"\n",
            "1:1: conference",
            "written [[conference]]",
        ),
        (
            "[conferences]\nmax_conferences = 1\n[[conference]]\nname = \"1\"\n[[conference]]\nname = \"2\"\n",
            "5:1: conference",
            "no more than",
        ),
        ("sip = 5\n", "1:7: sip", "a section, found 5"),
    ] {
        let message = errors(text);
        assert!(
            message.contains(place) && message.contains(part),
            "{text}\n{message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn secrets_are_neither_shown_nor_repeated() {
    let config = parse(
        "[http]\ntoken = \"hush\"\n[sip.users]\nalice = \"hush\"\n[[conference]]\nname = \"1\"\npin = \"987123\"\n",
    );
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hush") && !shown.contains("987123"),
        "{shown}"
    );
    for text in [
        "[[conference]]\nname = \"1\"\npin = \"hush\"\n",
        "[http]\ntoken = \"hush hush\"\n",
    ] {
        assert!(!errors(text).contains("hush"), "{}", errors(text));
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Config::parse(&text, "x");
    }

    #[test]
    fn a_spoilt_sample_is_read_or_refused_with_a_place(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = all_of_the_sample().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(errors) = Config::parse(&text, "x") {
            let lines = text.lines().count() + 1;
            for error in &errors {
                prop_assert!((1..=lines).contains(&error.line) && error.column >= 1 && !error.message.is_empty());
            }
        }
    }
}

#[test]
fn overload_begins_at_percentages_in_order() {
    let loads = |text: &str| {
        let overload = parse(text).overload;
        (
            overload.refuse_above,
            overload.trim_above,
            overload.shed_above,
        )
    };
    assert_eq!(loads(""), (80, 90, 97));
    assert_eq!(loads("[overload]\nrefuse_above = 0"), (0, 90, 97));
    assert_eq!(
        loads("[overload]\nrefuse_above = 100"),
        (100, 100, 100),
        "those above it move along"
    );
    let said = errors("[overload]\nrefuse_above = 50\ntrim_above = 40\n");
    assert!(
        said.contains("3:14: overload.trim_above: expected at least refuse_above, 50, found 40"),
        "{said}"
    );
    let said = errors("[overload]\nshed_above = 101\n");
    assert!(
        said.contains("0 (always) to 100 (never), found 101"),
        "{said}"
    );
}
