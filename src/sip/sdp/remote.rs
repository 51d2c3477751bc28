//! Reading the other side's description: which audio line can be used, and how.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use sdp_types::{Connection, Media, NetType, Session};
use unisono_rtp::codec::Codec;

use super::{
    CodecOrder, Direction, LocalMedia, MAX_MEDIA_LINES, MAX_PTIME_MS, MAX_SDP_BYTES, MIN_PTIME_MS,
    OpusParameters, SdpError, longest_ptime,
};

/// An audio line that can be used, reduced to what decides something.
#[derive(Debug)]
pub(super) struct Audio {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    /// Payload type and clock.
    pub(super) telephone_event: Option<(u8, u32)>,
    pub(super) comfort_noise: Option<u8>,
    /// Duration of the packets to send, milliseconds.
    pub(super) ptime_ms: u8,
    pub(super) rtp: Option<SocketAddr>,
    pub(super) rtcp: Option<SocketAddr>,
    pub(super) rtcp_mux: bool,
    /// Theirs.
    pub(super) direction: Direction,
    pub(super) opus: OpusParameters,
}

/// Parses a description, leaving out the lines that decide nothing here.
pub(super) fn read(text: &str) -> Result<Session, SdpError> {
    if text.len() > MAX_SDP_BYTES {
        return Err(SdpError::TooLarge {
            what: format!("{} bytes, {MAX_SDP_BYTES} are read", text.len()),
        });
    }
    let session =
        Session::parse(relevant_lines(text)?.as_bytes()).map_err(|error| SdpError::Malformed {
            reason: quotable(&error.to_string(), 120),
        })?;
    if session.medias.len() > MAX_MEDIA_LINES {
        let what = format!(
            "{} media lines, {MAX_MEDIA_LINES} are answered",
            session.medias.len()
        );
        return Err(SdpError::TooLarge { what });
    }
    Ok(session)
}

/// The first audio line that can be used, or why none can.
pub(super) fn choose(
    session: &Session,
    local: &LocalMedia,
    order: CodecOrder,
) -> Result<(usize, Audio), SdpError> {
    let mut reason = SdpError::NoAudio;
    for (index, media) in session.medias.iter().enumerate() {
        match audio(session, media, local, order) {
            Ok(audio) => return Ok((index, audio)),
            // A line that came closer to being accepted explains more.
            Err(error) if rank(&error) > rank(&reason) => reason = error,
            Err(_) => {}
        }
    }
    Err(reason)
}

/// The formats of an `m=` line.
pub(super) fn formats(media: &Media) -> impl Iterator<Item = &str> {
    media.fmt.split_ascii_whitespace()
}

/// Text from outside made fit for a quoted string in a header: printable ASCII without quotes, cut to `longest`.
pub(super) fn quotable(text: &str, longest: usize) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .map(|c| if matches!(c, '"' | '\\') { '\'' } else { c })
        .take(longest)
        .collect()
}

fn rank(error: &SdpError) -> u8 {
    match error {
        SdpError::NoAudio => 0,
        SdpError::Transport { .. } => 1,
        SdpError::NoCommonCodec { .. } => 2,
        _ => 3,
    }
}

/// Keeps `v=`, `c=`, `m=` and `a=` lines and the numbering of all; runs of blanks become one.
fn relevant_lines(text: &str) -> Result<String, SdpError> {
    let mut kept = String::with_capacity(text.len() + 2);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        match line.as_bytes() {
            [] => {}
            [b'v' | b'a', b'=', ..] => kept.push_str(line),
            [b'm' | b'c', b'=', ..] => {
                let mut separator = "";
                for field in line.split_ascii_whitespace() {
                    kept.push_str(separator);
                    kept.push_str(field);
                    separator = " ";
                }
            }
            [key, b'=', ..] if key.is_ascii_alphabetic() => {}
            _ => {
                return Err(SdpError::Malformed {
                    reason: format!("line {} is not of the form x=value", index + 1),
                });
            }
        }
        kept.push_str("\r\n");
    }
    Ok(kept)
}

fn audio(
    session: &Session,
    media: &Media,
    local: &LocalMedia,
    order: CodecOrder,
) -> Result<Audio, SdpError> {
    if !media.media.eq_ignore_ascii_case("audio") || media.port == 0 {
        return Err(SdpError::NoAudio);
    }
    // RTP/AVPF only adds early feedback, all of it optional: a side that sends none is a good AVPF citizen.
    if !media.proto.eq_ignore_ascii_case("RTP/AVP") && !media.proto.eq_ignore_ascii_case("RTP/AVPF")
    {
        return Err(SdpError::Transport {
            proto: quotable(&media.proto, 32),
        });
    }
    let formats: Vec<Format<'_>> = formats(media)
        .filter_map(|number| Format::of(media, number))
        .collect();
    let chosen = common(&formats, local, order).ok_or_else(|| no_common_codec(&formats, local))?;
    let Kind::Codec(codec) = chosen.kind else {
        return Err(no_common_codec(&formats, local));
    };

    let address = address(session, media, local.address)?;
    let on_hold = address.is_unspecified();
    let rtp = (!on_hold).then(|| SocketAddr::new(address, media.port));
    // Payload types 64 to 95 cannot be told from RTCP on a shared port (RFC 5761 section 4).
    let rtcp_mux = local.rtcp_mux
        && media.has_attribute("rtcp-mux")
        && formats.iter().all(|f| !(64..96).contains(&f.number));

    let stated = stated_direction(session, media);
    let clock = codec.clock_rate();
    Ok(Audio {
        codec,
        payload_type: chosen.number,
        telephone_event: events(&formats, clock).filter(|_| local.telephone_event),
        comfort_noise: formats
            .iter()
            .find(|f| matches!(f.kind, Kind::ComfortNoise { clock: c } if c == clock))
            .filter(|_| local.comfort_noise)
            .map(|f| f.number),
        ptime_ms: ptime(session, media, local, codec),
        rtp,
        rtcp: if rtcp_mux {
            rtp
        } else {
            rtp.and_then(|rtp| rtcp_address(media, rtp))
        },
        rtcp_mux,
        // Without an address nothing can be received there, whatever is stated (RFC 3264 section 8.4).
        direction: if on_hold {
            Direction::new(stated.sends(), false)
        } else {
            stated
        },
        opus: if codec == Codec::Opus {
            opus_parameters(chosen.parameters)
        } else {
            OpusParameters::default()
        },
    })
}

/// One number of an `m=` line with what its `rtpmap` or RFC 3551 says it is.
#[derive(Debug)]
struct Format<'a> {
    number: u8,
    name: Cow<'a, str>,
    kind: Kind,
    parameters: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Codec(Codec),
    TelephoneEvent { clock: u32 },
    ComfortNoise { clock: u32 },
    Other,
}

impl<'a> Format<'a> {
    fn of(media: &'a Media, number: &'a str) -> Option<Self> {
        let number: u8 = number.parse().ok().filter(|n| *n < 128)?;
        let parameters = numbered(media, "fmtp", number).unwrap_or("");
        let (name, kind) = match numbered(media, "rtpmap", number) {
            Some(map) => (Cow::Borrowed(map), Kind::of_rtpmap(map)),
            None => match number {
                0 => ("PCMU".into(), Kind::Codec(Codec::Pcmu)),
                8 => ("PCMA".into(), Kind::Codec(Codec::Pcma)),
                9 => ("G722".into(), Kind::Codec(Codec::G722)),
                13 => ("CN".into(), Kind::ComfortNoise { clock: 8000 }),
                3 => ("GSM".into(), Kind::Other),
                4 => ("G723".into(), Kind::Other),
                18 => ("G729".into(), Kind::Other),
                other => (format!("type {other}").into(), Kind::Other),
            },
        };
        Some(Self {
            number,
            name,
            kind,
            parameters,
        })
    }
}

impl Kind {
    /// `name/clock[/channels]`, RFC 8866 section 6.6.
    fn of_rtpmap(map: &str) -> Self {
        let mut parts = map.trim().split('/');
        let name = parts.next().unwrap_or("").trim();
        let Some(Ok(clock)) = parts.next().map(|clock| clock.trim().parse::<u32>()) else {
            return Self::Other;
        };
        let channels = parts
            .next()
            .map_or(1, |channels| channels.trim().parse::<u32>().unwrap_or(0));
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        match (clock, channels) {
            (8000, 1) if is("PCMU") => Self::Codec(Codec::Pcmu),
            (8000, 1) if is("PCMA") => Self::Codec(Codec::Pcma),
            (8000, 1) if is("G722") => Self::Codec(Codec::G722),
            (rate @ (8000 | 16000 | 24000 | 48000), 1) if is("L16") => {
                Self::Codec(Codec::L16 { rate })
            }
            // Always 2 channels by RFC 7587 section 7; phones that leave them out mean the same.
            (48000, 1 | 2) if is("opus") => Self::Codec(Codec::Opus),
            (clock, 1) if is("telephone-event") => Self::TelephoneEvent { clock },
            (clock, 1) if is("CN") => Self::ComfortNoise { clock },
            _ => Self::Other,
        }
    }
}

fn common<'f, 'a>(
    formats: &'f [Format<'a>],
    local: &LocalMedia,
    order: CodecOrder,
) -> Option<&'f Format<'a>> {
    match order {
        CodecOrder::Theirs => formats
            .iter()
            .find(|f| matches!(f.kind, Kind::Codec(codec) if local.codecs.contains(&codec))),
        CodecOrder::Ours => local
            .codecs
            .iter()
            .find_map(|codec| formats.iter().find(|f| f.kind == Kind::Codec(*codec))),
    }
}

/// The events at the codec's clock; at 8 kHz where there are no others, as older phones do beside Opus.
fn events(formats: &[Format<'_>], clock: u32) -> Option<(u8, u32)> {
    let at = |wanted: u32| {
        formats
            .iter()
            .find(|f| f.kind == Kind::TelephoneEvent { clock: wanted })
            .map(|f| (f.number, wanted))
    };
    at(clock).or_else(|| at(8000))
}

fn no_common_codec(formats: &[Format<'_>], local: &LocalMedia) -> SdpError {
    let theirs: Vec<String> = formats
        .iter()
        .filter(|f| {
            !matches!(
                f.kind,
                Kind::TelephoneEvent { .. } | Kind::ComfortNoise { .. }
            )
        })
        .take(8)
        .map(|f| quotable(&f.name, 24))
        .collect();
    let ours: Vec<String> = local
        .codecs
        .iter()
        .map(|codec| super::write::rtpmap(*codec))
        .collect();
    let or_none = |list: Vec<String>| {
        if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(" ")
        }
    };
    SdpError::NoCommonCodec {
        theirs: or_none(theirs),
        ours: or_none(ours),
    }
}

fn address(session: &Session, media: &Media, local: IpAddr) -> Result<IpAddr, SdpError> {
    let connection: &Connection = media
        .connections
        .first()
        .or(session.connection.as_ref())
        .ok_or_else(|| SdpError::Malformed {
            reason: "no c= line for the audio stream".into(),
        })?;
    if connection.nettype != NetType::In {
        return Err(SdpError::NetworkType);
    }
    // A suffix is the time to live of a group.
    let host = connection
        .connection_address
        .split('/')
        .next()
        .unwrap_or("");
    let address = host
        .parse::<IpAddr>()
        .map_err(|_| SdpError::HostName)?
        .to_canonical();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_multicast() || broadcast {
        return Err(SdpError::Multicast);
    }
    // An unspecified address means hold in either family.
    if !address.is_unspecified() && address.is_ipv4() != local.to_canonical().is_ipv4() {
        return Err(SdpError::AddressFamily {
            theirs: family(address),
            ours: family(local.to_canonical()),
        });
    }
    Ok(address)
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// `a=rtcp:port [IN IP4 address]` (RFC 3605), else the port above. An address of its own is taken only in the
/// family of the stream's.
fn rtcp_address(media: &Media, rtp: SocketAddr) -> Option<SocketAddr> {
    let Some(Some(value)) = media.get_first_attribute_value("rtcp") else {
        return rtp
            .port()
            .checked_add(1)
            .map(|port| SocketAddr::new(rtp.ip(), port));
    };
    let mut fields = value.split_ascii_whitespace();
    let port: u16 = fields.next()?.parse().ok().filter(|port| *port != 0)?;
    let address = match fields.nth(2) {
        None => rtp.ip(),
        Some(text) => text
            .parse::<IpAddr>()
            .ok()
            .map(|address| address.to_canonical())
            .filter(|a| a.is_ipv4() == rtp.is_ipv4() && !a.is_multicast() && !a.is_unspecified())?,
    };
    Some(SocketAddr::new(address, port))
}

fn stated_direction(session: &Session, media: &Media) -> Direction {
    let among = |attributes: &[sdp_types::Attribute]| {
        attributes.iter().find_map(|a| {
            [
                Direction::SendReceive,
                Direction::SendOnly,
                Direction::ReceiveOnly,
                Direction::Inactive,
            ]
            .into_iter()
            .find(|d| a.attribute.trim().eq_ignore_ascii_case(d.name()))
        })
    };
    among(&media.attributes)
        .or_else(|| among(&session.attributes))
        .unwrap_or_default()
}

/// The other side's wish, else ours, else 20 ms, within what it takes and the codec allows.
fn ptime(session: &Session, media: &Media, local: &LocalMedia, codec: Codec) -> u8 {
    let stated = |name: &str| -> Option<u32> {
        let value = media
            .get_first_attribute_value(name)
            .or_else(|| session.get_first_attribute_value(name))??;
        let digits = value.trim().split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok().filter(|ms| *ms > 0)
    };
    let most = stated("maxptime")
        .unwrap_or(u32::from(MAX_PTIME_MS))
        .clamp(u32::from(MIN_PTIME_MS), u32::from(longest_ptime(codec)));
    let wish = stated("ptime")
        .or(local.ptime_ms.map(u32::from))
        .unwrap_or(20);
    let wish = wish.clamp(u32::from(MIN_PTIME_MS), most) as u8;
    // A frame of the mix is 20 ms, its half is the smallest step. Longer packets of Opus are whole frames put together.
    let step = if codec == Codec::Opus && wish > 20 {
        20
    } else {
        10
    };
    wish / step * step
}

fn opus_parameters(parameters: &str) -> OpusParameters {
    let mut opus = OpusParameters::default();
    for pair in parameters.split(';') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let Ok(value) = value.trim().parse::<u32>() else {
            continue;
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "maxplaybackrate" => opus.max_playback_rate = value.clamp(8000, 48000),
            "maxaveragebitrate" => opus.max_average_bitrate = Some(value.clamp(6000, 510_000)),
            "useinbandfec" => opus.in_band_fec = value == 1,
            "usedtx" => opus.dtx = value == 1,
            "cbr" => opus.constant_bitrate = value == 1,
            _ => {}
        }
    }
    opus
}

/// The value of `a=name:number value`.
fn numbered<'a>(media: &'a Media, name: &str, number: u8) -> Option<&'a str> {
    media
        .attributes
        .iter()
        .filter(|a| a.attribute.eq_ignore_ascii_case(name))
        .find_map(|a| {
            let (first, rest) = a.value.as_deref()?.trim_start().split_once(' ')?;
            (first.parse() == Ok(number)).then_some(rest.trim())
        })
}
