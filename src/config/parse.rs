//! The keys, what each may be, and what they must be together.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use unisono_rtp::codec::Codec;

use super::error::ConfigErrors;
use super::section::{Report, Section, integer};
use super::{Conference, Config, Http, Media, Sip, Sounds, User, dahdi, overload};
use crate::conference::{Policy, RoomRate, Settings, is_conference_name, is_pin};
use crate::sip::Algorithm;
use crate::sip::sdp::{CodecOrder, Network};

pub(super) fn parse(text: &str, file: &str) -> Result<Config, ConfigErrors> {
    let mut report = Report::new(text, file);
    let config = read(text, &mut report);
    ConfigErrors::of(report.errors).map_or(Ok(config), Err)
}

/// Reads as much as can be read; what cannot is in the report.
pub(super) fn read(text: &str, report: &mut Report<'_>) -> Config {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        report.error(at, "", error.message().replace('\n', ", "));
    }
    if !report.errors.is_empty() {
        // What a broken text seems to say is not worth a second opinion.
        return Config::default();
    }
    let mut top = Section::new("", Some(table.get_ref()));
    let mut config = Config::default();
    let mut sip = top.section("sip", report);
    let listen = read_sip(&mut sip, &mut config.sip, report);
    sip.finish(report);
    let mut http = top.section("http", report);
    let http_listen = read_http(&mut http, &mut config.http, report);
    http.finish(report);
    let mut media = top.section("media", report);
    let ports = read_media(&mut media, &mut config.media, report);
    media.finish(report);
    let mut shedding = top.section("overload", report);
    overload::read(&mut shedding, &mut config.overload, report);
    shedding.finish(report);
    let mut sounds = top.section("sounds", report);
    read_sounds(&mut sounds, &mut config.sounds, report);
    sounds.finish(report);
    let mut conferences = top.section("conferences", report);
    read_policy(&mut conferences, &mut config.policy, report);
    conferences.finish(report);
    config.conferences = read_conferences(&mut top, &config.policy, report);
    let mut links = top.section("dahdi", report);
    dahdi::read(&mut links, &mut config.dahdi, &config.conferences, report);
    links.finish(report);
    top.finish(report);

    let (first, last) = (config.media.first_port, config.media.last_port);
    let sip = &config.sip;
    if sip.udp
        && (first..=last).contains(&sip.listen.port())
        && let Some(at) = listen.clone().or(ports)
    {
        let message = format!(
            "expected a port outside of media.first_port to media.last_port, {first} to {last}"
        );
        report.error(at.start, "sip.listen", message);
    }
    if sip.tcp
        && sip.listen == config.http.listen
        && sip.listen.port() != 0
        && let Some(at) = http_listen.or(listen)
    {
        report.error(
            at.start,
            "http.listen",
            "expected another address or port than sip.listen",
        );
    }
    config
}

fn read_sip(
    section: &mut Section<'_, '_>,
    sip: &mut Sip,
    report: &mut Report<'_>,
) -> Option<Range<usize>> {
    let listen = section.set(&mut sip.listen, "listen", ADDRESS_AND_PORT, report, parsed);
    let mut transports = Vec::new();
    let one = "\"udp\" or \"tcp\"";
    let known = |value: &DeValue<'_>| {
        ["udp", "tcp"]
            .into_iter()
            .find(|name| value.as_str() == Some(*name))
    };
    if let Some(at) = section.set_list(&mut transports, "transports", one, report, known) {
        if transports.is_empty() {
            report.error(
                at.start,
                "sip.transports",
                format!("expected at least one of {one}, found none"),
            );
        }
        sip.udp = transports.contains(&"udp");
        sip.tcp = transports.contains(&"tcp");
    }
    let external = section.get(
        "external_address",
        "an IP address such as \"203.0.113.9\"",
        report,
        |value| {
            parsed::<std::net::IpAddr>(value).filter(|a| !a.is_unspecified() && !a.is_multicast())
        },
    );
    sip.external_address = external.map(|found| found.value);
    let network = "a network such as \"10.0.0.0/8\"";
    section.set_list(
        &mut sip.local_networks,
        "local_networks",
        network,
        report,
        parsed::<Network>,
    );
    let realm = "a text without quotes and backslashes";
    section.set(&mut sip.realm, "realm", realm, report, |value| {
        quotable(value)
            .filter(|realm| !realm.is_empty())
            .map(str::to_owned)
    });
    let algorithms = "\"SHA-256\" or \"MD5\"";
    let known = |value: &DeValue<'_>| {
        [Algorithm::Sha256, Algorithm::Md5]
            .into_iter()
            .find(|algorithm| value.as_str() == Some(algorithm.name()))
    };
    if let Some(at) = section.set_list(
        &mut sip.digest_algorithms,
        "digest_algorithms",
        algorithms,
        report,
        known,
    ) && sip.digest_algorithms.is_empty()
    {
        report.error(
            at.start,
            &section.path("digest_algorithms"),
            format!("expected at least one of {algorithms}, found none"),
        );
    }
    let users = section.section("users", report);
    for (name, at, value, value_at) in users.entries() {
        let key = users.path(name);
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_graphic() && !"\"\\:@".contains(c))
        {
            report.error(
                at.start,
                &key,
                "expected a user name of printable characters without \" \\ : @",
            );
        }
        match value.as_str().filter(|password| !password.is_empty()) {
            Some(password) => sip.users.push(User {
                name: name.to_owned(),
                password: password.to_owned(),
            }),
            // A password is not repeated, not even a wrong one.
            None => report.error(
                value_at.start,
                &key,
                "expected a password in quotes, not empty",
            ),
        }
    }
    sip.users.sort_by(|a, b| a.name.cmp(&b.name));

    let seconds = "0 (off) or seconds from 90 to 86400";
    let mut expires = 1800_u32;
    let at = section.set(
        &mut expires,
        "session_expires_seconds",
        seconds,
        report,
        |value| integer(value, 0..=86_400_u32).filter(|seconds| *seconds == 0 || *seconds >= 90),
    );
    // Below 90 s RFC 4028 section 5 allows no timer at all.
    let mut least = 90_u32;
    section.set(
        &mut least,
        "min_session_expires_seconds",
        "seconds from 90 to 86400",
        report,
        |value| integer(value, 90..=86_400_u32),
    );
    if expires != 0 && expires < least {
        let message =
            format!("expected at least min_session_expires_seconds, {least}, found {expires}");
        report.error(
            at.map_or(0, |at| at.start),
            &section.path("session_expires_seconds"),
            message,
        );
    }
    sip.session_expires = (expires != 0).then(|| Duration::from_secs(expires.into()));
    sip.min_session_expires = Duration::from_secs(least.into());
    listen
}

fn read_http(
    section: &mut Section<'_, '_>,
    http: &mut Http,
    report: &mut Report<'_>,
) -> Option<Range<usize>> {
    let listen = section.set(&mut http.listen, "listen", ADDRESS_AND_PORT, report, parsed);
    let token = section.get_secret(
        "token",
        "a text of printable characters without blanks",
        report,
        |value| {
            value
                .as_str()
                .filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()))
        },
    );
    http.token = token.map(|found| found.value.to_owned());
    listen
}

/// Yields where the ports are set, if they are.
fn read_media(
    section: &mut Section<'_, '_>,
    media: &mut Media,
    report: &mut Report<'_>,
) -> Option<Range<usize>> {
    let port = "a port from 1024 to 65535";
    let first = section.set(&mut media.first_port, "first_port", port, report, |v| {
        integer(v, 1024..=u16::MAX)
    });
    let last = section.set(&mut media.last_port, "last_port", port, report, |v| {
        integer(v, 1024..=u16::MAX)
    });
    let shared = section.set(
        &mut media.shared_port,
        "shared_port",
        "an even port from 1024 to 63486, or false (off)",
        report,
        |value| match value.as_bool() {
            Some(false) => Some(None),
            Some(true) => None,
            None => integer(value, 1024..=63_486_u16)
                .filter(|port| port % 2 == 0)
                .map(Some),
        },
    );
    let legs = section.set(
        &mut media.max_legs,
        "max_legs",
        "a number from 1 to 1000000",
        report,
        |value| integer(value, 1..=1_000_000_u32),
    );
    // Of the three that must fit, the one to change is the one that was written.
    let place = [
        (&legs, "max_legs"),
        (&last, "last_port"),
        (&first, "first_port"),
    ]
    .into_iter()
    .find_map(|(at, key)| Some((at.as_ref()?.start, key)));
    let pairs = media.port_pairs();
    if let Some((at, key)) = place
        && pairs < media.max_legs
        && media.shared_port.is_none()
    {
        let message = format!(
            "expected an even port and the next for each of max_legs, {}, found {pairs} from first_port {} to last_port {}",
            media.max_legs, media.first_port, media.last_port
        );
        report.error(at, &section.path(key), message);
    }

    let names: Vec<String> = CODECS
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let expected = format!("one of {}", names.join(", "));
    let codec = |value: &DeValue<'_>| {
        let name = value.as_str()?;
        CODECS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, codec)| *codec)
    };
    if let Some(at) = section.set_list(&mut media.codecs, "codecs", &expected, report, codec)
        && media.codecs.is_empty()
    {
        report.error(
            at.start,
            &section.path("codecs"),
            "expected at least one codec, found none",
        );
    }
    let order = "\"theirs\" or \"ours\"";
    section.set(
        &mut media.codec_order,
        "codec_order",
        order,
        report,
        |value| match value.as_str()? {
            "theirs" => Some(CodecOrder::Theirs),
            "ours" => Some(CodecOrder::Ours),
            _ => None,
        },
    );
    section.set(
        &mut media.ptime_ms,
        "ptime",
        "one of 10, 20, 30, 40, 50, 60",
        report,
        |value| integer(value, 10..=60_u8).filter(|ms| ms.is_multiple_of(10)),
    );
    let playout = "milliseconds from 0 to 2000";
    let least = section.set(
        &mut media.min_playout_ms,
        "min_playout_ms",
        playout,
        report,
        |v| integer(v, 0..=2000),
    );
    let most = section.set(
        &mut media.max_playout_ms,
        "max_playout_ms",
        playout,
        report,
        |v| integer(v, 0..=2000),
    );
    if media.max_playout_ms < media.min_playout_ms {
        let message = format!(
            "expected at least min_playout_ms, {}, found {}",
            media.min_playout_ms, media.max_playout_ms
        );
        let at = most.or(least).map_or(0, |at| at.start);
        report.error(at, &section.path("max_playout_ms"), message);
    }
    let workers = section.set(
        &mut media.workers,
        "workers",
        "0 (automatic) or a number to 1024",
        report,
        |value| integer(value, 0..=1024),
    );
    section.set_list(
        &mut media.cpus,
        "cpus",
        "a CPU number from 0 to 1023",
        report,
        |v| integer(v, 0..=1023),
    );
    if let Some(at) = workers
        && !media.cpus.is_empty()
        && usize::from(media.workers) > media.cpus.len()
    {
        let message = format!(
            "expected at most one worker for each of {} cpus, found {}",
            media.cpus.len(),
            media.workers
        );
        report.error(at.start, &section.path("workers"), message);
    }
    section.set(
        &mut media.split_above,
        "split_above",
        "0 (only when a worker is busy) or a number to 1000000",
        report,
        |value| integer(value, 0..=1_000_000),
    );
    section.set(
        &mut media.realtime_priority,
        "realtime_priority",
        "1 to 99, or false (off)",
        report,
        |value| match value.as_bool() {
            Some(false) => Some(None),
            Some(true) => None,
            None => integer(value, 0..=99_u8).map(|priority| (priority != 0).then_some(priority)),
        },
    );
    section.set(
        &mut media.dscp,
        "dscp",
        "a number from 0 to 63",
        report,
        |value| integer(value, 0..=63),
    );
    if let (Some(at), Some(port)) = (shared, media.shared_port)
        && port <= media.last_port
        && port + 2 * media.workers.max(1) > media.first_port
    {
        let message = format!(
            "expected two ports a worker from {port} on outside of first_port to last_port, {} to {}",
            media.first_port, media.last_port
        );
        report.error(at.start, &section.path("shared_port"), message);
    }
    let mut silence = 120_u32;
    section.set(
        &mut silence,
        "silence_check_seconds",
        "0 (off) or seconds from 10 to 3600",
        report,
        |value| integer(value, 0..=3600_u32).filter(|seconds| *seconds == 0 || *seconds >= 10),
    );
    media.silence_check = (silence != 0).then(|| Duration::from_secs(silence.into()));
    first.or(last)
}

fn read_sounds(section: &mut Section<'_, '_>, sounds: &mut Sounds, report: &mut Report<'_>) {
    let directory = section.get("directory", "a folder", report, |value| {
        value.as_str().filter(|d| !d.is_empty())
    });
    sounds.directory = directory.map(|found| PathBuf::from(found.value));
    section.set(
        &mut sounds.language,
        "language",
        "a language such as \"en\" or \"en_GB\"",
        report,
        |value| {
            let plain = |l: &&str| {
                (1..=16).contains(&l.len())
                    && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            };
            value.as_str().filter(plain).map(str::to_owned)
        },
    );
}

fn read_policy(section: &mut Section<'_, '_>, policy: &mut Policy, report: &mut Report<'_>) {
    section.set(
        &mut policy.allow_unknown,
        "allow_unknown",
        "true or false",
        report,
        |value| value.as_bool(),
    );
    let most = "a number from 1 to 1000000";
    section.set(
        &mut policy.max_conferences,
        "max_conferences",
        most,
        report,
        |v| integer(v, 1..=1_000_000),
    );
    section.set(
        &mut policy.pin_tries,
        "pin_tries",
        "a number from 1 to 10",
        report,
        |v| integer(v, 1..=10),
    );
    section.set(
        &mut policy.pin_timeout,
        "pin_timeout_seconds",
        "seconds from 1 to 60",
        report,
        |value| integer(value, 1..=60_u64).map(Duration::from_secs),
    );
    read_settings(section, &mut policy.defaults, report);
}

fn read_conferences(
    top: &mut Section<'_, '_>,
    policy: &Policy,
    report: &mut Report<'_>,
) -> Vec<Conference> {
    let mut conferences: Vec<Conference> = Vec::new();
    let mut lines: HashMap<String, usize> = HashMap::new();
    let found = top.sections("conference", report);
    if let Some(beyond) = found.get(policy.max_conferences) {
        let message = format!(
            "expected no more than conferences.max_conferences, {}",
            policy.max_conferences
        );
        report.error(beyond.at.start, "conference", message);
    }
    for entry in found {
        let mut section = entry.value;
        let expected = "a name of up to 64 letters, digits and -._+~, in quotes";
        let name = section.get("name", expected, report, |value| {
            value.as_str().filter(|name| is_conference_name(name))
        });
        let mut settings = policy.defaults.clone();
        read_settings(&mut section, &mut settings, report);
        section.set(
            &mut settings.locked,
            "locked",
            "true or false",
            report,
            |value| value.as_bool(),
        );
        read_pins(&mut section, &mut settings, report);
        if let Some(name) = name {
            let line = report.place(name.at.start).0;
            if let Some(first) = lines.insert(name.value.to_owned(), line) {
                let message = format!(
                    "expected each conference once, \"{}\" is in line {first} too",
                    name.value
                );
                report.error(name.at.start, &name.key, message);
            }
            conferences.push(Conference {
                name: name.value.to_owned(),
                settings,
            });
        } else if section.entries().all(|(key, ..)| key != "name") {
            report.error(
                entry.at.start,
                &section.path("name"),
                format!("expected {expected}, found none"),
            );
        }
        section.finish(report);
    }
    conferences
}

/// What can be a default and be said of one conference.
fn read_settings(section: &mut Section<'_, '_>, settings: &mut Settings, report: &mut Report<'_>) {
    let limit = "0 (no limit) or a number to 1000000";
    section.set(
        &mut settings.max_participants,
        "max_participants",
        limit,
        report,
        |v| integer(v, 0..=1_000_000),
    );
    let rates = "\"auto\", 8000, 16000, 24000 or 48000";
    section.set(&mut settings.rate, "rate", rates, report, |value| {
        if value.as_str() == Some("auto") {
            return Some(RoomRate::Auto);
        }
        let rate = integer(value, 8000..=48_000_u32)?;
        matches!(rate, 8000 | 16_000 | 24_000 | 48_000).then_some(RoomRate::Fixed(rate))
    });
    let yes_no = "true or false";
    section.set(
        &mut settings.announce_join_leave,
        "announce_join_leave",
        yes_no,
        report,
        |v| v.as_bool(),
    );
    section.set(
        &mut settings.announce_only_person,
        "announce_only_person",
        yes_no,
        report,
        |v| v.as_bool(),
    );
}

fn read_pins(section: &mut Section<'_, '_>, settings: &mut Settings, report: &mut Report<'_>) {
    let digits = |value: &DeValue<'_>| value.as_str().filter(|pin| is_pin(pin)).map(str::to_owned);
    let pin = section.get_secret("pin", "1 to 16 digits in quotes", report, digits);
    let admin_pin = section.get_secret("admin_pin", "1 to 16 digits in quotes", report, digits);
    if let Some(admin) = &admin_pin {
        let message = match &pin {
            None if section.entries().all(|(key, ..)| key != "pin") => {
                "expected a pin beside it: who is not asked cannot answer"
            }
            Some(pin) if pin.value == admin.value => "expected another than pin",
            _ => "",
        };
        if !message.is_empty() {
            report.error(admin.at.start, &admin.key, message);
        }
    }
    settings.pin = pin.map(|found| found.value);
    settings.admin_pin = admin_pin.map(|found| found.value);
}

const ADDRESS_AND_PORT: &str = "an IP address and port such as \"0.0.0.0:5060\" or \"[::]:5060\"";

const CODECS: [(&str, Codec); 8] = [
    ("opus", Codec::Opus),
    ("G722", Codec::G722),
    ("PCMU", Codec::Pcmu),
    ("PCMA", Codec::Pcma),
    ("L16/8000", Codec::L16 { rate: 8000 }),
    ("L16/16000", Codec::L16 { rate: 16000 }),
    ("L16/24000", Codec::L16 { rate: 24000 }),
    ("L16/48000", Codec::L16 { rate: 48000 }),
];

fn parsed<T: std::str::FromStr>(value: &DeValue<'_>) -> Option<T> {
    value.as_str()?.parse().ok()
}

/// A text that can stand between quotes in a header.
fn quotable<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    value.as_str().filter(|text| {
        text.bytes()
            .all(|b| (b.is_ascii_graphic() || b == b' ') && b != b'"' && b != b'\\')
    })
}
