//! Writing our side of a description.

use sdp_types::{Connection, Media, MediaType, Origin, Session, Time, TransportProto};
use unisono_rtp::codec::Codec;

use super::{Direction, LocalMedia, MAX_PTIME_MS, longest_ptime};

/// A format of our own `m=audio` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Codec(Codec),
    TelephoneEvent { clock: u32 },
    ComfortNoise { clock: u32 },
}

/// The session's head: everything above the first `m=`.
pub(super) fn session(local: &LocalMedia) -> Session {
    let origin = Origin::with_ip_addr(
        local.session_id.to_string(),
        local.session_version,
        local.address,
    );
    let mut session = Session::new(origin, "unisono");
    session.connection = Some(Connection::from_ip_addr(local.address));
    session.times.push(Time::new(0, 0));
    session
}

/// An audio line with these formats and their payload types.
pub(super) fn audio(
    local: &LocalMedia,
    formats: &[(Format, u8)],
    ptime_ms: u8,
    direction: Direction,
    rtcp_mux: bool,
) -> Media {
    let numbers: Vec<String> = formats
        .iter()
        .map(|(_, number)| number.to_string())
        .collect();
    let mut media = Media::new(
        MediaType::Audio,
        local.rtp_port,
        TransportProto::RtpAvp,
        numbers.join(" "),
    );
    // The limit holds for all formats of the line. Only linear audio outgrows an Ethernet frame.
    let longest = formats.iter().filter_map(|(format, _)| match format {
        Format::Codec(codec @ Codec::L16 { .. }) => Some(longest_ptime(*codec)),
        Format::Codec(_) => Some(MAX_PTIME_MS),
        _ => None,
    });
    let longest = longest.max().unwrap_or(MAX_PTIME_MS);
    for (format, number) in formats {
        match format {
            Format::Codec(codec) => {
                media.add_attribute_with_value("rtpmap", format!("{number} {}", rtpmap(*codec)));
                if *codec == Codec::Opus {
                    media.add_attribute_with_value("fmtp", format!("{number} useinbandfec=1"));
                }
            }
            Format::TelephoneEvent { clock } => {
                media.add_attribute_with_value(
                    "rtpmap",
                    format!("{number} telephone-event/{clock}"),
                );
                media.add_attribute_with_value("fmtp", format!("{number} 0-15"));
            }
            Format::ComfortNoise { clock } => {
                media.add_attribute_with_value("rtpmap", format!("{number} CN/{clock}"));
            }
        }
    }
    media.add_attribute_with_value("ptime", ptime_ms.min(longest).to_string());
    media.add_attribute_with_value("maxptime", longest.to_string());
    media.add_attribute_from_str(direction.name());
    if rtcp_mux {
        media.add_attribute_from_str("rtcp-mux");
    }
    if let Some(port) = local.rtcp_port
        && local.rtp_port.checked_add(1) != Some(port)
    {
        media.add_attribute_with_value("rtcp", port.to_string());
    }
    media
}

/// A line that refuses a stream: port 0, one format because the grammar wants one (RFC 3264 section 6).
pub(super) fn refused(media: &str, proto: &str, format: &str) -> Media {
    let mut refused = Media::new(
        MediaType::Audio,
        0,
        TransportProto::Other(proto.to_owned()),
        format,
    );
    refused.media = media.to_owned();
    refused
}

/// The description's text.
pub(super) fn text(session: &Session) -> String {
    let mut bytes = Vec::with_capacity(512);
    session.write(&mut bytes).expect("a Vec takes every write");
    String::from_utf8(bytes).expect("made of strings")
}

/// `name/clock[/channels]`.
pub(super) fn rtpmap(codec: Codec) -> String {
    let channels = if codec == Codec::Opus { "/2" } else { "" };
    format!("{}/{}{channels}", codec.encoding_name(), codec.clock_rate())
}
