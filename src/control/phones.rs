//! What phones do by SIP: calls, offers, keys, ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, info, warn};
use unisono_rtp::net::{MediaPorts, PortError};

use super::call::{Call, KeyWay, Local, Media, media_spec};
use super::overload::RefusalReason;
use super::ports::port_numbers;
use super::switchboard::Switchboard;
use crate::conference::{CallId, Caller, ConferenceName, Decision};
use crate::engine::{ConferenceId, EngineError};
use crate::sip::sdp::{self, SdpError};
use crate::sip::{self, Incoming};

/// Seconds after which a caller may try again that found the server full.
const RETRY_AFTER: &str = "10";

/// Why a call cannot be answered.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Sdp(#[from] SdpError),
    #[error("{0}")]
    Ports(#[from] PortError),
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("the media workers have too much to do; to be tried again in {retry_after} s")]
    Overload { retry_after: u32 },
}

impl Refused {
    /// Status, reason phrase and header with which the INVITE is refused. `ours` is the address the peer knows us by.
    fn response(&self, ours: IpAddr) -> (u16, &'static str, Option<(String, String)>) {
        let retry = || Some(("Retry-After".to_owned(), RETRY_AFTER.to_owned()));
        match self {
            Self::Sdp(error) => {
                let agent = match ours {
                    IpAddr::V4(ip) => ip.to_string(),
                    IpAddr::V6(ip) => format!("[{ip}]"),
                };
                // 399 is "miscellaneous" (RFC 3261 section 20.43).
                let code = error.warn_code().unwrap_or(399);
                let warning = ("Warning".to_owned(), format!("{code} {agent} \"{error}\""));
                let reason = match error.status() {
                    488 => "Not Acceptable Here",
                    413 => "Session Description Too Large",
                    _ => "Bad Session Description",
                };
                (error.status(), reason, Some(warning))
            }
            Self::Ports(_) => (503, "No free media port", retry()),
            Self::Engine(_) => (503, "No free leg", retry()),
            Self::Overload { retry_after } => (
                503,
                "Overloaded",
                Some(("Retry-After".to_owned(), retry_after.to_string())),
            ),
        }
    }

    fn reason(&self) -> RefusalReason {
        match self {
            Self::Sdp(_) => RefusalReason::Media,
            Self::Ports(_) | Self::Engine(_) => RefusalReason::Resources,
            Self::Overload { .. } => RefusalReason::Overload,
        }
    }
}

impl Switchboard {
    pub(super) async fn on_phone(&mut self, event: sip::Event) {
        match event {
            sip::Event::Incoming(incoming) => self.on_incoming(*incoming).await,
            sip::Event::Established { call, answer } => {
                self.on_established(CallId(call.0), answer).await;
            }
            sip::Event::ReOffer { call, offer } => self.on_reoffer(CallId(call.0), offer).await,
            sip::Event::Answered { call, answer } => self.on_answered(CallId(call.0), &answer),
            sip::Event::Dtmf { call, digit, .. } => {
                self.on_key(CallId(call.0), digit, KeyWay::Signalling).await;
            }
            sip::Event::Ended { call, by, reason } => {
                self.on_ended(CallId(call.0), by, &reason).await;
            }
            // A phone that refuses our question whether it is there is there; and this side makes no calls.
            _ => {}
        }
    }

    pub(super) async fn on_key(&mut self, call: CallId, key: char, way: KeyWay) {
        let now = Instant::now();
        if self
            .calls
            .get_mut(&call)
            .is_some_and(|entry| entry.press(key, way, now))
        {
            let actions = self.model.digit(self.now(), call, key);
            self.carry_out(actions).await;
        }
    }

    async fn on_incoming(&mut self, incoming: Incoming) {
        let call = CallId(incoming.call.0);
        let caller = Caller {
            name: incoming.from.display.clone().unwrap_or_default(),
            number: incoming.from.user.clone(),
        };
        let decision = self
            .model
            .incoming(self.now(), call, &incoming.user, caller);
        let conference = match decision {
            Decision::Admit { conference, .. } | Decision::AskPin { conference, .. } => conference,
            Decision::Refuse(refusal) => {
                info!(%call, from = %incoming.source, number = incoming.user, "refused: {refusal}");
                self.refusals.count(RefusalReason::Conference);
                let retry =
                    (refusal.status() == 503).then(|| ("Retry-After".into(), RETRY_AFTER.into()));
                let reason = refusal.to_string();
                self.refuse(call, refusal.status(), &reason, retry).await;
                return;
            }
        };
        match self.answer(call, &incoming, conference.clone()) {
            Ok(answer) => {
                info!(%call, from = %incoming.source, caller = incoming.from.user, %conference, "answering");
                let sip_call = sip::CallId(call.0);
                if let Err(error) = self.sip.accept(sip_call, answer).await {
                    // It was cancelled, or the network is gone: either way the end comes, or came, as an event.
                    debug!(%call, "not answered: {error}");
                }
            }
            Err(refused) => {
                // Who has too much to do already does not write a line for each call as well.
                if !matches!(refused, Refused::Overload { .. }) {
                    warn!(%call, from = %incoming.source, number = incoming.user, "refused: {refused}");
                } else {
                    debug!(%call, from = %incoming.source, number = incoming.user, "refused: {refused}");
                }
                self.refusals.count(refused.reason());
                let actions = self.model.hung_up(self.now(), call);
                let (status, reason, header) = refused.response(incoming.ours);
                self.refuse(call, status, reason, header).await;
                self.carry_out(actions).await;
            }
        }
    }

    /// Binds ports, agrees on media and opens a leg for a call; returns our session description. What was taken is given
    /// back when it fails.
    fn answer(
        &mut self,
        call: CallId,
        incoming: &Incoming,
        conference: ConferenceName,
    ) -> Result<Arc<str>, Refused> {
        if let Some(retry_after) = self.turned_away(&conference) {
            return Err(Refused::Overload { retry_after });
        }
        let room = self.acquire_room(&conference)?;
        let answered = match &incoming.offer {
            None => self.offer_media(incoming),
            Some(offer) => self.answer_media(offer, incoming, room),
        };
        let (local, media, description) = match answered {
            Ok(answered) => answered,
            Err(refused) => {
                self.release_room(&conference);
                return Err(refused);
            }
        };
        let description: Arc<str> = description.into();
        let signalling = incoming.source.ip();
        let entry = Call::new(
            conference,
            room,
            signalling,
            local,
            Arc::clone(&description),
            media,
        );
        self.by_leg.extend(entry.leg().map(|leg| (leg, call)));
        self.calls.insert(call, Box::new(entry));
        Ok(description)
    }

    /// Our offer, on ports of its own: where the phone will be is not known yet.
    fn offer_media(&mut self, incoming: &Incoming) -> Result<(Local, Media, String), Refused> {
        let ports = self.ports.bind_pair(false)?;
        let local = local(incoming, port_numbers(&ports));
        let offer = sdp::offer(&local.media(&self.config));
        Ok((local, Media::Offered(ports), offer))
    }

    /// Our answer, with a leg behind it.
    fn answer_media(
        &mut self,
        offer: &str,
        incoming: &Incoming,
        room: ConferenceId,
    ) -> Result<(Local, Media, String), Refused> {
        if let Some(ports) = self.shared_port_for(offer, incoming, room) {
            let mut local = local(incoming, ports);
            let (agreed, answer) = sdp::answer(offer, &local.media(&self.config))?;
            if agreed.rtcp_mux {
                local.ports.1 = None;
            }
            let leg = self.engine.open_shared_leg(media_spec(&agreed), room)?;
            return Ok((local, Media::up(leg, agreed), answer));
        }
        let mut ports = self.ports.bind_pair(false)?;
        let mut local = local(incoming, port_numbers(&ports));
        let (agreed, answer) = sdp::answer(offer, &local.media(&self.config))?;
        if agreed.rtcp_mux {
            ports.rtcp = None;
            local.ports.1 = None;
        }
        let leg = self.engine.open_leg(media_spec(&agreed), ports, room)?;
        Ok((local, Media::up(leg, agreed), answer))
    }

    /// The caller has our answer, or we have the caller's.
    async fn on_established(&mut self, call: CallId, answer: Option<String>) {
        let Some(entry) = self.calls.get_mut(&call) else {
            return;
        };
        match (std::mem::replace(&mut entry.media, Media::Gone), answer) {
            (Media::Offered(mut ports), Some(answer)) => {
                let local = &mut entry.local;
                let opened = sdp::agree(&local.media(&self.config), &answer)
                    .map_err(Refused::from)
                    .and_then(|agreed| {
                        if agreed.rtcp_mux {
                            ports.rtcp = None;
                            local.ports.1 = None;
                        }
                        let spec = media_spec(&agreed);
                        let leg = self.engine.open_leg(spec, ports, entry.room)?;
                        Ok(Media::up(leg, agreed))
                    });
                match opened {
                    Ok(media) => {
                        entry.media = media;
                        self.by_leg
                            .extend(self.calls[&call].leg().map(|leg| (leg, call)));
                    }
                    Err(refused) => return self.give_up(call, &refused.to_string()).await,
                }
            }
            (Media::Offered(_), None) => {
                let why = "the ACK had no answer to our offer";
                return self.give_up(call, why).await;
            }
            (media, _) => entry.media = media,
        }
        let actions = self.model.connected(self.now(), call);
        self.carry_out(actions).await;
    }

    /// The phone changes the session: hold, another codec, another address; or asks us for an offer.
    async fn on_reoffer(&mut self, call: CallId, offer: Option<String>) {
        let sip_call = sip::CallId(call.0);
        let Some(entry) = self.calls.get_mut(&call) else {
            return;
        };
        let Media::Up { leg, .. } = &entry.media else {
            let _ = self
                .sip
                .reject_reoffer(sip_call, 491, "Request Pending")
                .await;
            return;
        };
        let leg = *leg;
        let mut local = entry.local;
        local.session_version += 1;
        let signalling = entry.signalling;
        let ports = self.own_ports_after(call, leg, signalling, offer.as_deref(), &mut local);
        let Some(Media::Up { agreed, .. }) = self.calls.get(&call).map(|entry| &entry.media) else {
            return;
        };
        let media = local.media(&self.config);
        let result = match offer {
            None => Ok((None, sdp::reoffer(&media, agreed))),
            Some(offer) => {
                sdp::answer(&offer, &media).map(|(agreed, answer)| (Some(agreed), answer))
            }
        };
        let (agreed, description) = match result {
            Ok(result) => result,
            Err(error) => {
                info!(%call, "the session stays as it was: {error}");
                let reason = error.to_string();
                if let Err(error) = self
                    .sip
                    .reject_reoffer(sip_call, error.status(), reason)
                    .await
                {
                    debug!(%call, "re-INVITE not refused: {error}");
                }
                return;
            }
        };
        let description: Arc<str> = description.into();
        let answered = self
            .sip
            .accept_reoffer(sip_call, Arc::clone(&description))
            .await;
        // Nothing changes before the phone is told so: it may have taken its offer back, or hung up.
        if let Err(error) = answered {
            debug!(%call, "re-INVITE not answered: {error}");
            return;
        }
        let Some(entry) = self.calls.get_mut(&call) else {
            return;
        };
        entry.local = local;
        entry.description = description;
        entry.offered = agreed.is_none();
        let multiplexed = agreed.as_ref().is_some_and(|agreed| agreed.rtcp_mux);
        let ports = ports.map(|ports| MediaPorts {
            rtcp: ports.rtcp.filter(|_| !multiplexed),
            ..ports
        });
        if let Some(ports) = ports
            && let Err(error) = self.engine.move_out(leg, ports)
        {
            // The phone now sends to a port that nobody listens on.
            return self.give_up(call, &error.to_string()).await;
        }
        if let Some(agreed) = agreed {
            self.change_media(call, agreed);
        }
    }

    /// The phone answers an offer of ours within the call: one it asked for, a session refresh, or our question
    /// whether it is still there.
    fn on_answered(&mut self, call: CallId, answer: &str) {
        let Some(entry) = self.calls.get(&call) else {
            return;
        };
        let local = entry.local.media(&self.config);
        let agreed = if entry.offered {
            sdp::agree(&local, answer)
        } else {
            // Ours was an answer once, with the phone's payload types: so this is read as an offer is.
            sdp::answer(answer, &local).map(|(agreed, _)| agreed)
        };
        match agreed {
            Ok(agreed) => self.change_media(call, agreed),
            Err(error) => info!(%call, "the session stays as it was: {error}"),
        }
    }

    fn change_media(&mut self, call: CallId, new: sdp::Agreed) {
        let Some(entry) = self.calls.get_mut(&call) else {
            return;
        };
        let was_on_hold = entry.is_on_hold();
        let Media::Up { leg, agreed, .. } = &mut entry.media else {
            return;
        };
        let leg = *leg;
        **agreed = new;
        if entry.is_on_hold() != was_on_hold {
            info!(%call, on_hold = !was_on_hold, "hold");
        }
        if let Some(spec) = entry.spec()
            && self.engine.media(leg) != Some(spec)
        {
            self.engine.update(leg, spec);
        }
    }

    async fn on_ended(&mut self, call: CallId, by: sip::EndedBy, reason: &str) {
        // What this side ended is released, and logged, already.
        if let Some(entry) = self.release(call) {
            let seconds = entry.began.elapsed().as_secs();
            info!(%call, conference = %entry.conference, ?by, reason, seconds, "ended");
        }
        let actions = self.model.hung_up(self.now(), call);
        self.carry_out(actions).await;
    }

    /// The call cannot go on; the model is told as if the phone had hung up.
    async fn give_up(&mut self, call: CallId, why: &str) {
        warn!(%call, "hanging up: {why}");
        let actions = self.model.hung_up(self.now(), call);
        self.release(call);
        if let Err(error) = self.sip.hang_up(sip::CallId(call.0), why).await {
            debug!(%call, "not hung up: {error}");
        }
        self.carry_out(actions).await;
    }

    pub(super) async fn refuse(
        &mut self,
        call: CallId,
        status: u16,
        reason: &str,
        header: Option<(String, String)>,
    ) {
        let headers = header.into_iter().collect();
        if let Err(error) = self
            .sip
            .reject(sip::CallId(call.0), status, reason, headers)
            .await
        {
            debug!(%call, "not refused: {error}");
        }
    }
}

/// What this side has for a new call.
fn local(incoming: &Incoming, ports: (u16, Option<u16>)) -> Local {
    Local::new(incoming.ours, ports, rand::random::<u64>() >> 2)
}

impl Media {
    fn up(leg: crate::engine::LegId, agreed: sdp::Agreed) -> Self {
        Self::Up {
            leg,
            began_sending: agreed.direction.sends(),
            agreed: Box::new(agreed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_the_server_as_a_header_must() {
        let refused = Refused::Sdp(SdpError::NoAudio);
        let warning = |ours: &str| refused.response(ours.parse().unwrap()).2.unwrap().1;
        assert_eq!(
            warning("192.0.2.1"),
            "304 192.0.2.1 \"no audio stream offered\""
        );
        assert_eq!(
            warning("2001:db8::1"),
            "304 [2001:db8::1] \"no audio stream offered\""
        );
    }
}
