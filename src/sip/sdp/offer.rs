//! Offering, and reading the answer to an offer, RFC 3264 sections 5 and 7.

use unisono_rtp::codec::Codec;

use super::answer::{Numbers, agreed};
use super::remote;
use super::write::{self, Format};
use super::{Agreed, CodecOrder, Direction, Lines, LocalMedia, SdpError};

/// Our offer, for an INVITE that came without one: one audio line with all our codecs.
pub fn offer(local: &LocalMedia) -> String {
    let mut session = write::session(local);
    session.medias.push(offered(local));
    write::text(&session)
}

/// Our offer within a call: the lines of the session stay where they are (RFC 3264 section 8).
pub fn reoffer(local: &LocalMedia, agreed: &Agreed) -> String {
    let mut session = write::session(local);
    for (index, [media, proto, format]) in agreed.lines.all().enumerate() {
        if index == agreed.lines.audio {
            let mut audio = offered(local);
            proto.clone_into(&mut audio.proto);
            session.medias.push(audio);
        } else {
            session.medias.push(write::refused(media, proto, format));
        }
    }
    write::text(&session)
}

/// What is agreed by the answer to our offer; `local` is what the offer was made from.
///
/// Of several accepted codecs the first is used (RFC 3264 section 7).
///
/// # Errors
///
/// [`SdpError`] when the answer is malformed or refuses the stream: the call cannot go on.
pub fn agree(local: &LocalMedia, answer: &str) -> Result<Agreed, SdpError> {
    let theirs = remote::read(answer)?;
    let mut audio_lines = theirs
        .medias
        .iter()
        .filter(|m| m.media.eq_ignore_ascii_case("audio"))
        .peekable();
    if audio_lines.peek().is_none() {
        return Err(SdpError::AnswerMismatch {
            what: "it has no audio line",
        });
    }
    if audio_lines.all(|m| m.port == 0) {
        return Err(SdpError::AnswerMismatch {
            what: "it refuses the audio line",
        });
    }
    let (index, audio) = remote::choose(&theirs, local, CodecOrder::Theirs)?;
    let clock = audio.codec.clock_rate();
    let receive = Numbers {
        codec: codec_number(audio.codec),
        telephone_event: audio
            .telephone_event
            .and_then(|(_, clock)| event_number(clock)),
        comfort_noise: audio
            .comfort_noise
            .filter(|_| clock == 8000)
            .map(|_| COMFORT_NOISE),
    };
    let lines = Lines::of(&theirs.medias, index);
    Ok(agreed(audio, receive, lines))
}

/// Static payload type of comfort noise at 8 kHz, RFC 3551 table 4.
const COMFORT_NOISE: u8 = 13;

fn offered(local: &LocalMedia) -> sdp_types::Media {
    let mut formats: Vec<(Format, u8)> = local
        .codecs
        .iter()
        .map(|codec| (Format::Codec(*codec), codec_number(*codec)))
        .collect();
    if local.telephone_event {
        // Events run on the clock of the audio they interrupt: one for each clock (RFC 4733 section 2.1).
        let mut clocks: Vec<u32> = local
            .codecs
            .iter()
            .map(|codec| codec.clock_rate())
            .collect();
        clocks.sort_unstable();
        clocks.dedup();
        formats.extend(clocks.into_iter().filter_map(|clock| {
            event_number(clock).map(|number| (Format::TelephoneEvent { clock }, number))
        }));
    }
    if local.comfort_noise && local.codecs.iter().any(|codec| codec.clock_rate() == 8000) {
        formats.push((Format::ComfortNoise { clock: 8000 }, COMFORT_NOISE));
    }
    write::audio(
        local,
        &formats,
        local.ptime_ms.unwrap_or(20),
        Direction::SendReceive,
        local.rtcp_mux,
    )
}

/// The number under which we offer a codec: static where there is one, else a fixed one of the dynamic range.
fn codec_number(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 96,
        Codec::L16 { rate: 8000 } => 97,
        Codec::L16 { rate: 16000 } => 98,
        Codec::L16 { rate: 24000 } => 99,
        Codec::L16 { .. } => 100,
        Codec::Pcmu | Codec::Pcma | Codec::G722 => codec.static_payload_type().unwrap_or(127),
    }
}

fn event_number(clock: u32) -> Option<u8> {
    match clock {
        8000 => Some(101),
        48000 => Some(102),
        16000 => Some(103),
        24000 => Some(104),
        _ => None,
    }
}
