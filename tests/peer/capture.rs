//! Wireshark's programs: dumpcap takes down what passes on loopback, tshark says what it was.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use unisono_rtp::codec::{Codec, Decoder};

use super::Program;
use crate::sound::Recording;
use crate::stage::Stage;

/// A running capture of all UDP on loopback.
#[derive(Debug)]
pub(crate) struct Capture {
    program: Program,
    file: PathBuf,
}

impl Capture {
    pub(crate) fn start(stage: &Stage) -> Self {
        let folder = stage.subfolder("capture");
        let file = folder.join("loopback.pcap");
        let name = file.display().to_string();
        let arguments = format!("dumpcap -q -P -i lo -B 32 -f udp -w {name}");
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let mut program = Program::start_as_root("dumpcap", &folder, &arguments);
        program.wait_for("File:", Duration::from_secs(20));
        Self { program, file }
    }

    pub(crate) fn stop(mut self) -> Trace {
        // Packets reach the file a moment after they passed.
        thread::sleep(Duration::from_millis(300));
        self.program.signal(Signal::SIGINT);
        self.program.wait(Duration::from_secs(20));
        Trace { file: self.file }
    }
}

/// What a capture took down.
#[derive(Debug)]
pub(crate) struct Trace {
    file: PathBuf,
}

/// One RTP packet, as tshark reads it.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// Seconds since 1970.
    pub(crate) time: f64,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) csrcs: Vec<u32>,
    pub(crate) payload: Vec<u8>,
}

/// One line of tshark's table of streams.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stream {
    pub(crate) packets: u32,
    pub(crate) lost: i32,
    /// Time between packets, ms.
    pub(crate) mean_delta: f64,
    pub(crate) max_delta: f64,
}

impl Trace {
    /// RTP packets to a port, in their order.
    pub(crate) fn packets_to(&self, port: u16) -> Vec<Packet> {
        let decode = format!("udp.port=={port},rtp");
        let filter = format!("udp.dstport=={port} && rtp.version==2 && !icmp");
        let mut arguments = vec![
            "-d",
            &decode,
            "-Y",
            &filter,
            "-T",
            "fields",
            "-E",
            "separator=;",
        ];
        for field in [
            "frame.time_epoch",
            "rtp.ssrc",
            "rtp.seq",
            "rtp.timestamp",
            "rtp.p_type",
            "rtp.marker",
            "rtp.csrc.item",
            "rtp.payload",
        ] {
            arguments.extend(["-e", field]);
        }
        self.tshark(&arguments).lines().map(Packet::parse).collect()
    }

    /// `tshark -q -z rtp,streams`: the streams to a port.
    pub(crate) fn streams_to(&self, port: u16) -> Vec<Stream> {
        let decode = format!("udp.port=={port},rtp");
        let port = port.to_string();
        self.tshark(&["-q", "-z", "rtp,streams", "-d", &decode])
            .lines()
            .filter_map(|line| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                (columns.get(5) == Some(&port.as_str())).then(|| Stream::parse(&columns))
            })
            .collect()
    }

    /// What a phone at this port hears: what is sent there, decoded, on the line of the timestamps.
    pub(crate) fn audio_to(&self, port: u16) -> Recording {
        audio(&self.packets_to(port))
    }

    /// The same, of what passed between two moments.
    pub(crate) fn audio_to_while(&self, port: u16, from: SystemTime, to: SystemTime) -> Recording {
        let seconds = |time: SystemTime| {
            let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
            since_1970.expect("a time after 1970").as_secs_f64()
        };
        let mut packets = self.packets_to(port);
        packets.retain(|packet| (seconds(from)..seconds(to)).contains(&packet.time));
        audio(&packets)
    }

    fn tshark(&self, arguments: &[&str]) -> String {
        let output = Command::new("tshark")
            .arg("-n")
            .arg("-r")
            .arg(&self.file)
            .args(arguments)
            .output()
            .expect("run tshark: tests/install installs it");
        assert!(
            output.status.success(),
            "tshark {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Packet {
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split(';').collect();
        let numbers = |n: usize| -> Vec<u64> {
            fields[n]
                .split(',')
                .filter(|number| !number.is_empty())
                .map(|number| {
                    match number.strip_prefix("0x") {
                        Some(digits) => u64::from_str_radix(digits, 16),
                        None => number.parse(),
                    }
                    .unwrap_or_else(|_| panic!("field {n} of {line}"))
                })
                .collect()
        };
        Self {
            time: fields[0].parse().expect("a time"),
            ssrc: numbers(1)[0] as u32,
            sequence: numbers(2)[0] as u16,
            timestamp: numbers(3)[0] as u32,
            payload_type: numbers(4)[0] as u8,
            marker: matches!(fields[5], "1" | "True"),
            csrcs: numbers(6).into_iter().map(|csrc| csrc as u32).collect(),
            payload: octets(fields[7]),
        }
    }
}

impl Stream {
    fn parse(columns: &[&str]) -> Self {
        // Names of payloads may hold blanks, so count from the loss in percent.
        let percent = columns
            .iter()
            .position(|column| column.starts_with('('))
            .unwrap_or_else(|| panic!("no loss in percent: {columns:?}"));
        let number = |n: usize| -> f64 {
            columns[n]
                .parse()
                .unwrap_or_else(|_| panic!("column {n} of {columns:?}"))
        };
        Self {
            packets: number(percent - 2) as u32,
            lost: number(percent - 1) as i32,
            mean_delta: number(percent + 2),
            max_delta: number(percent + 3),
        }
    }
}

/// Decodes packets of static payload types on the line of their timestamps; others are left out. The rate is the first packet's.
pub(crate) fn audio(packets: &[Packet]) -> Recording {
    let coded: Vec<(Codec, &Packet)> = packets
        .iter()
        .filter_map(|packet| Some((static_codec(packet.payload_type)?, packet)))
        .collect();
    let rate = coded.first().map_or(8000, |(codec, _)| codec.sample_rate());
    let mut samples = Vec::new();
    let mut decoder = Decoder::new(Codec::Pcmu);
    let mut frame = vec![0; 4800];
    let mut origin = None;
    for (codec, packet) in coded {
        if codec.sample_rate() != rate {
            continue;
        }
        if decoder.codec() != codec {
            decoder = Decoder::new(codec);
        }
        let length = decoder
            .decode(&packet.payload, &mut frame)
            .unwrap_or_else(|error| panic!("{error} in {packet:?}"));
        // A new source goes on where the last one ended.
        let (ssrc, start, at) =
            *origin.get_or_insert((packet.ssrc, packet.timestamp, samples.len()));
        let (start, at) = if ssrc == packet.ssrc {
            (start, at)
        } else {
            origin = Some((packet.ssrc, packet.timestamp, samples.len()));
            (packet.timestamp, samples.len())
        };
        let ticks = packet.timestamp.wrapping_sub(start) as usize;
        let place = at + ticks * (rate as usize / 8000);
        assert!(ticks < 8000 * 600, "a timestamp jumps: {packet:?}");
        if samples.len() < place + length {
            samples.resize(place + length, 0);
        }
        samples[place..place + length].copy_from_slice(&frame[..length]);
    }
    Recording { rate, samples }
}

fn static_codec(payload_type: u8) -> Option<Codec> {
    match payload_type {
        0 => Some(Codec::Pcmu),
        8 => Some(Codec::Pcma),
        9 => Some(Codec::G722),
        _ => None,
    }
}

fn octets(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal
        .bytes()
        .filter_map(|digit| Some(char::from(digit).to_digit(16)? as u8))
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
