//! How codecs, CPUs, times and processes are written on the command line.

use std::time::Duration;

use unisono_rtp::codec::Codec;

use crate::load::WhichProcess;
use crate::load::endpoints::codec_named;
use crate::load::report::Pace;

/// Codecs and how many of a hundred callers use each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Codecs(pub(super) Vec<(Codec, f64)>);

/// CPUs by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cpus(pub(super) Vec<usize>);

/// `pcmu`, or `mix:pcmu=70,opus=30`.
pub(super) fn codecs(text: &str) -> Result<Codecs, String> {
    let Some(shares) = text.strip_prefix("mix:") else {
        return codec_named(text)
            .map(|codec| Codecs(vec![(codec, 100.0)]))
            .map_err(|complaint| format!("{complaint}; a mixture is written mix:pcmu=70,opus=30"));
    };
    let expected = || "expected a mixture as mix:pcmu=70,opus=30".to_owned();
    let mut codecs: Vec<(Codec, f64)> = Vec::new();
    for share in shares.split(',') {
        let (name, percent) = share.split_once('=').ok_or_else(expected)?;
        let codec = codec_named(name)?;
        let percent: f64 = percent.parse().map_err(|_| expected())?;
        if !(percent > 0.0 && percent <= 100.0) || codecs.iter().any(|(known, _)| *known == codec) {
            return Err(expected());
        }
        codecs.push((codec, percent));
    }
    let all: f64 = codecs.iter().map(|(_, percent)| percent).sum();
    if (all - 100.0).abs() > 0.5 {
        return Err(format!(
            "the shares of a mixture are 100 together, and these are {all}"
        ));
    }
    Ok(Codecs(codecs))
}

/// `even` or `burst`.
pub(super) fn pace(text: &str) -> Result<Pace, String> {
    match text {
        "even" => Ok(Pace::Even),
        "burst" => Ok(Pace::Burst),
        _ => Err("expected even or burst".to_owned()),
    }
}

/// `0,2,4-7`.
pub(super) fn cpus(text: &str) -> Result<Cpus, String> {
    let expected = || "expected CPUs as 1 or 0,2,4-7".to_owned();
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| expected());
    let mut cpus = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            None => cpus.push(number(part)?),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first || last - first > 4096 {
                    return Err(expected());
                }
                cpus.extend(first..=last);
            }
        }
    }
    Ok(Cpus(cpus))
}

/// Seconds, fractions allowed.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let text = text.strip_suffix('s').unwrap_or(text);
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected seconds, for example 10 or 2.5".to_owned())?;
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err("expected 0 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Seconds in which something can be heard.
pub(super) fn window(text: &str) -> Result<Duration, String> {
    let window = seconds(text)?;
    if window < Duration::from_secs(2) {
        return Err("measure for at least 2 seconds: less says nothing".to_owned());
    }
    Ok(window)
}

/// `auto` or a number.
pub(super) fn process(text: &str) -> Result<WhichProcess, String> {
    match text {
        "auto" => Ok(WhichProcess::Auto),
        number => number
            .parse()
            .map(WhichProcess::Pid)
            .map_err(|_| "expected auto, or the number of a process".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_names_or_mixtures_of_a_hundred() {
        assert_eq!(codecs("opus"), Ok(Codecs(vec![(Codec::Opus, 100.0)])));
        assert_eq!(
            codecs("mix:pcmu=70,opus=30"),
            Ok(Codecs(vec![(Codec::Pcmu, 70.0), (Codec::Opus, 30.0)]))
        );
        for wrong in [
            "g729",
            "mix:",
            "mix:pcmu",
            "mix:pcmu=70",
            "mix:pcmu=50,pcmu=50",
            "mix:pcmu=x,opus=1",
            "mix:pcmu=0,opus=100",
        ] {
            assert!(codecs(wrong).is_err(), "{wrong}");
        }
        assert!(codecs("mix:pcmu=70,opus=20").unwrap_err().contains("90"));
    }

    #[test]
    fn cpus_are_numbers_and_ranges() {
        assert_eq!(cpus("1"), Ok(Cpus(vec![1])));
        assert_eq!(cpus("0,2,4-6"), Ok(Cpus(vec![0, 2, 4, 5, 6])));
        for wrong in ["", "a", "3-1", "1,", "0-99999999"] {
            assert!(cpus(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        assert_eq!(seconds("10s"), Ok(Duration::from_secs(10)));
        assert!(seconds("-1").is_err() && seconds("NaN").is_err() && seconds("1h").is_err());
        assert!(window("1").is_err() && window("2").is_ok());
        assert_eq!(process("auto"), Ok(WhichProcess::Auto));
        assert_eq!(process("77"), Ok(WhichProcess::Pid(77)));
        assert!(process("asterisk").is_err());
    }
}
