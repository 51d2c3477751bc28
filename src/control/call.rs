//! One call: its signalling and its media.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use unisono_rtp::codec::{Codec, OpusSettings};
use unisono_rtp::net::MediaPorts;

use crate::conference::{ConferenceName, HangUpReason};
use crate::config::Config;
use crate::engine::{ConferenceId, LegId, MediaSpec, Remote};
use crate::sip::sdp::{Agreed, LocalMedia};

/// A key that arrives a second time, by the other way, within this time was pressed once: some phones send both.
const SAME_PRESS: Duration = Duration::from_millis(500);

/// A call between INVITE and BYE.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) conference: ConferenceName,
    /// The conference on the media plane; kept from the INVITE on, so that the leg is near it.
    pub(super) room: ConferenceId,
    /// Where the INVITE came from.
    pub(super) signalling: IpAddr,
    /// What this side offers and answers with.
    pub(super) local: Local,
    /// Our session description, as last sent.
    pub(super) description: Arc<str>,
    /// Our description was an offer, so the payload types in it are ours; an answer has the peer's.
    pub(super) offered: bool,
    pub(super) media: Media,
    /// It is to be ended once it has heard why.
    pub(super) farewell: Option<Box<Farewell>>,
    /// The last key pressed.
    pub(super) last_key: Option<(char, KeyWay, Instant)>,
    /// When its last packet came by the media plane's clock, ns, and when that was noticed or the phone was last asked.
    pub(super) heard: (u64, Instant),
    pub(super) began: Instant,
}

/// How far the media is.
#[derive(Debug)]
pub(super) enum Media {
    /// Our offer is out, in the 200 to an INVITE without one.
    Offered(MediaPorts),
    /// Agreed on, and served by a leg.
    Up {
        leg: LegId,
        agreed: Box<Agreed>,
        /// The session began with this side sending; when it no longer is to, the call is on hold.
        began_sending: bool,
    },
    /// Never came to be, or is over.
    Gone,
}

/// The end of a call that is still being told why.
#[derive(Debug)]
pub(super) struct Farewell {
    pub(super) reason: HangUpReason,
    /// The prompt cannot be over before: a report of an end until then is of an earlier prompt.
    pub(super) earliest: Instant,
    /// Then it is ended even if the prompt has not come to its end.
    pub(super) deadline: Instant,
}

/// How a key press arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyWay {
    /// SIP INFO.
    Signalling,
    /// RFC 4733.
    Media,
}

impl Call {
    pub(super) fn new(
        conference: ConferenceName,
        room: ConferenceId,
        signalling: IpAddr,
        local: Local,
        description: Arc<str>,
        media: Media,
    ) -> Self {
        let now = Instant::now();
        Self {
            conference,
            room,
            signalling,
            local,
            description,
            offered: matches!(media, Media::Offered(_)),
            media,
            farewell: None,
            last_key: None,
            heard: (0, now),
            began: now,
        }
    }

    pub(super) fn leg(&self) -> Option<LegId> {
        match &self.media {
            Media::Up { leg, .. } => Some(*leg),
            Media::Offered(_) | Media::Gone => None,
        }
    }

    /// Whether the phone has put the conference on hold.
    pub(super) fn is_on_hold(&self) -> bool {
        matches!(
            &self.media,
            Media::Up { agreed, began_sending: true, .. } if !agreed.direction.sends()
        )
    }

    /// Notes a key; false if it is the echo of one that came the other way.
    pub(super) fn press(&mut self, key: char, way: KeyWay, now: Instant) -> bool {
        take_key(&mut self.last_key, key, way, now)
    }

    /// The media plane's view of what was agreed on. A phone that holds the conference sends its music on hold, if
    /// anything: the others are spared it.
    pub(super) fn spec(&self) -> Option<MediaSpec> {
        let Media::Up { agreed, .. } = &self.media else {
            return None;
        };
        let spec = media_spec(agreed);
        Some(MediaSpec {
            receives: spec.receives && !self.is_on_hold(),
            ..spec
        })
    }
}

fn take_key(
    last_key: &mut Option<(char, KeyWay, Instant)>,
    key: char,
    way: KeyWay,
    now: Instant,
) -> bool {
    let is_echo = last_key.is_some_and(|(last, by, at)| {
        last == key && by != way && now.duration_since(at) < SAME_PRESS
    });
    if !is_echo {
        *last_key = Some((key, way, now));
    }
    !is_echo
}

/// What this side has for a call, as far as it is not the same for every call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local {
    /// The one the peer is to send to.
    pub(super) address: IpAddr,
    /// For RTP and RTCP.
    pub(super) ports: (u16, Option<u16>),
    pub(super) session_id: u64,
    pub(super) session_version: u64,
}

impl Local {
    pub(super) fn new(address: IpAddr, ports: (u16, Option<u16>), session_id: u64) -> Self {
        Self {
            address,
            ports,
            session_id,
            session_version: 1,
        }
    }

    /// What this side offers and answers with.
    pub(super) fn media(&self, config: &Config) -> LocalMedia {
        LocalMedia {
            address: self.address,
            rtp_port: self.ports.0,
            rtcp_port: self.ports.1,
            rtcp_mux: true,
            codecs: config.media.codecs.clone(),
            codec_order: config.media.codec_order,
            ptime_ms: Some(config.media.ptime_ms),
            telephone_event: true,
            comfort_noise: true,
            session_id: self.session_id,
            session_version: self.session_version,
        }
    }
}

/// The media plane's view of what was agreed on.
pub(super) fn media_spec(agreed: &Agreed) -> MediaSpec {
    MediaSpec {
        codec: agreed.codec,
        payload_type: agreed.payload_type,
        receive_payload_type: agreed.receive_payload_type,
        telephone_event: agreed
            .telephone_event
            .map(|event| (event.receive_payload_type, event.clock_rate)),
        comfort_noise: agreed.comfort_noise.map(|noise| noise.receive_payload_type),
        ptime_ms: agreed.ptime_ms,
        remote: Remote {
            rtp: agreed.remote_rtp,
            rtcp: agreed.remote_rtcp,
            rtcp_mux: agreed.rtcp_mux,
        },
        sends: agreed.direction.sends(),
        receives: agreed.direction.receives(),
        opus: opus_settings(agreed),
    }
}

/// Opus as the peer wants it (RFC 7587 section 6.1). Peers with the same wishes as most can be sent the same stream.
fn opus_settings(agreed: &Agreed) -> OpusSettings {
    let usual = OpusSettings::default();
    if agreed.codec != Codec::Opus {
        return usual;
    }
    let bitrate = agreed
        .opus
        .max_average_bitrate
        .map_or(usual.bitrate, |most| usual.bitrate.min(most));
    OpusSettings { bitrate, ..usual }
}

/// Where media sockets are bound: where SIP listens, so that a server on loopback is on loopback altogether.
pub(super) fn media_address(sip: SocketAddr) -> IpAddr {
    sip.ip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_both_ways_was_pressed_once() {
        use KeyWay::{Media, Signalling};
        let start = Instant::now();
        let mut last = None;
        let mut press =
            |key, way, ms| take_key(&mut last, key, way, start + Duration::from_millis(ms));
        assert!(press('1', Media, 0));
        assert!(!press('1', Signalling, 80));
        assert!(press('1', Media, 250), "pressed again");
        assert!(!press('1', Signalling, 330));
        assert!(press('2', Signalling, 400), "another key");
        assert!(!press('2', Media, 420));
        assert!(press('2', Media, 1000), "much later");
    }

    #[test]
    fn opus_peers_without_particular_wishes_share_one_setting() {
        let local = LocalMedia {
            address: [127, 0, 0, 1].into(),
            rtp_port: 20_000,
            rtcp_port: None,
            rtcp_mux: true,
            codecs: vec![Codec::Opus],
            codec_order: crate::sip::sdp::CodecOrder::Theirs,
            ptime_ms: None,
            telephone_event: true,
            comfort_noise: true,
            session_id: 1,
            session_version: 1,
        };
        let offer = |fmtp: &str| {
            format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                 m=audio 30000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n{fmtp}"
            )
        };
        let settings = |fmtp: &str| {
            let (agreed, _) = crate::sip::sdp::answer(&offer(fmtp), &local).unwrap();
            media_spec(&agreed).opus
        };
        assert_eq!(settings(""), OpusSettings::default());
        assert_eq!(
            settings("a=fmtp:96 maxaveragebitrate=64000\r\n"),
            OpusSettings::default()
        );
        assert_eq!(
            settings("a=fmtp:96 maxaveragebitrate=16000\r\n").bitrate,
            16_000
        );
    }
}
