//! Answering an offer, RFC 3264 section 6.

use super::remote::{self, Audio};
use super::write::{self, Format};
use super::{Agreed, ComfortNoise, Lines, LocalMedia, SdpError, TelephoneEvent};

/// Answers an offer: what is agreed, and the description that says so.
///
/// The first audio line that can be used is taken, every other line refused. `offer` is the message body; bytes that
/// are not UTF-8 are to be replaced (`String::from_utf8_lossy`), they decide nothing.
///
/// # Errors
///
/// [`SdpError`], with the SIP status to refuse the call.
pub fn answer(offer: &str, local: &LocalMedia) -> Result<(Agreed, String), SdpError> {
    let theirs = remote::read(offer)?;
    let (index, audio) = remote::choose(&theirs, local, local.codec_order)?;
    let lines = Lines::of(&theirs.medias, index);

    let mut formats = vec![(Format::Codec(audio.codec), audio.payload_type)];
    if let Some((number, clock)) = audio.telephone_event {
        formats.push((Format::TelephoneEvent { clock }, number));
    }
    if let Some(number) = audio.comfort_noise {
        formats.push((
            Format::ComfortNoise {
                clock: audio.codec.clock_rate(),
            },
            number,
        ));
    }
    let direction = audio.direction.reversed();
    let ptime_ms = local.ptime_ms.unwrap_or(audio.ptime_ms);
    let mut ours = write::audio(local, &formats, ptime_ms, direction, audio.rtcp_mux);
    ours.proto.clone_from(&theirs.medias[index].proto);

    let mut session = write::session(local);
    for (i, [media, proto, format]) in lines.all().enumerate() {
        session.medias.push(if i == index {
            ours.clone()
        } else {
            write::refused(media, proto, format)
        });
    }
    let text = write::text(&session);
    // An answer repeats the offer's numbers, so both directions have the same.
    let receive = Numbers {
        codec: audio.payload_type,
        telephone_event: audio.telephone_event.map(|(number, _)| number),
        comfort_noise: audio.comfort_noise,
    };
    Ok((agreed(audio, receive, lines), text))
}

/// The payload types on which this side receives.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) codec: u8,
    pub(super) telephone_event: Option<u8>,
    pub(super) comfort_noise: Option<u8>,
}

/// Turns the other side's view into ours.
pub(super) fn agreed(audio: Audio, receive: Numbers, lines: Lines) -> Agreed {
    let telephone_event = audio.telephone_event.zip(receive.telephone_event).map(
        |((payload_type, clock_rate), receive_payload_type)| TelephoneEvent {
            payload_type,
            receive_payload_type,
            clock_rate,
        },
    );
    let comfort_noise = audio.comfort_noise.zip(receive.comfort_noise).map(
        |(payload_type, receive_payload_type)| ComfortNoise {
            payload_type,
            receive_payload_type,
        },
    );
    Agreed {
        codec: audio.codec,
        payload_type: audio.payload_type,
        receive_payload_type: receive.codec,
        telephone_event,
        comfort_noise,
        ptime_ms: audio.ptime_ms,
        remote_rtp: audio.rtp,
        remote_rtcp: audio.rtcp,
        rtcp_mux: audio.rtcp_mux,
        direction: audio.direction.reversed(),
        opus: audio.opus,
        lines,
    }
}
