//! Requests outside any dialog (RFC 3261 section 8.2), and CANCEL.

use std::time::{Duration, Instant};

use super::call::{Call, Phase};
use super::config::USUAL_SESSION;
use super::event::{CallId, EndedBy, Event, Incoming, Party};
use super::exchange::Purpose;
use super::timers::CallTimer;
use super::{ALLOW, Agent, has_to_tag};
use crate::sip::dialog::Dialog;
use crate::sip::dialog::session_timer::{Terms, negotiate};
use crate::sip::digest::Verdict;
use crate::sip::wire::{
    Body, From, HeaderName, Method, Request, Require, Scheme, TransactionKey, Uri, all, other,
    parse_uri, session_description, text, texts, typed,
};

/// How many headers, and how long, the layer above gets to see.
const SHOWN_HEADERS: usize = 32;
const SHOWN_LENGTH: usize = 512;

impl Agent {
    /// A request that was not seen before.
    pub(super) fn on_request(&mut self, now: Instant, key: &TransactionKey, request: &Request) {
        if request.method == Method::Cancel {
            self.on_cancel(now, key, request);
        } else if has_to_tag(request) {
            self.on_request_within(now, key, request);
        } else if self.is_merged(key) {
            self.reply(now, key, request, 482, &[]);
        } else {
            match &request.method {
                Method::Invite => self.on_invite(now, key, request),
                Method::Options => self.on_options(now, key, request),
                Method::Bye | Method::Info | Method::Update => {
                    self.reply(now, key, request, 481, &[]);
                }
                _ => self.refuse_method(now, key, request),
            }
        }
    }

    /// 405 for a method that exists and is not served, 501 for one never heard of.
    pub(super) fn refuse_method(&mut self, now: Instant, key: &TransactionKey, request: &Request) {
        let status = match &request.method {
            Method::Other(_) => 501,
            _ => 405,
        };
        let allow = [(HeaderName::Allow, ALLOW.to_owned())];
        self.reply(now, key, request, status, &allow);
    }

    /// Refuses extensions we do not have (section 8.2.2.3). True if it did.
    pub(super) fn refuse_extensions(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
    ) -> bool {
        let mut unknown: Vec<String> = Vec::new();
        for list in request.headers.typed_all::<Require>() {
            let Ok(list) = list else {
                self.reply_because(now, key, request, 400, "Malformed Require", &[]);
                return true;
            };
            unknown.extend(
                list.0
                    .0
                    .iter()
                    .map(|tag| String::from_utf8_lossy(tag).into_owned())
                    .filter(|tag| !tag.eq_ignore_ascii_case("timer")),
            );
        }
        if unknown.is_empty() {
            return false;
        }
        let unsupported = [(HeaderName::Unsupported, unknown.join(", "))];
        self.reply(now, key, request, 420, &unsupported);
        true
    }

    /// The session description of a request; refuses a body we cannot read. `Err` if it did.
    pub(super) fn read_body(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
    ) -> Result<Option<String>, Refused> {
        match session_description(&request.headers, request.body()) {
            Body::None => return Ok(None),
            Body::Sdp(sdp) => return Ok(Some(sdp)),
            Body::Unsupported => {
                let accept = [(HeaderName::Accept, "application/sdp".to_owned())];
                self.reply(now, key, request, 415, &accept);
            }
            Body::Encoded => {
                let accept = [(HeaderName::AcceptEncoding, "identity".to_owned())];
                self.reply(now, key, request, 415, &accept);
            }
            Body::Malformed(reason) => self.reply_because(now, key, request, 400, reason, &[]),
        }
        Err(Refused)
    }

    /// The session timer terms for a refresh request; refuses one too short. `Err` if it did.
    pub(super) fn read_terms(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
    ) -> Result<Terms, Refused> {
        match negotiate(request, self.config.session_expires, self.config.min_se) {
            Terms::TooShort(floor) => {
                let min = [(HeaderName::MinSe, floor.as_secs().to_string())];
                self.reply(now, key, request, 422, &min);
                Err(Refused)
            }
            terms => Ok(terms),
        }
    }

    fn on_invite(&mut self, now: Instant, key: &TransactionKey, request: &Request) {
        let Ok(authenticated) = self.authenticate(now, key, request) else {
            return;
        };
        let Some(user) = dialled(&request.uri) else {
            self.reply(now, key, request, 416, &[]);
            return;
        };
        if self.refuse_extensions(now, key, request) {
            return;
        }
        let Ok(offer) = self.read_body(now, key, request) else {
            return;
        };
        if self.read_terms(now, key, request).is_err() {
            return;
        }
        let sequence = self.first_sequence();
        let Some((source, tag)) = self.serving_details(key) else {
            return;
        };
        let dialog = match Dialog::incoming(request, source, tag, sequence) {
            Ok(dialog) => dialog,
            Err(reason) => {
                self.reply_because(now, key, request, 400, reason, &[]);
                return;
            }
        };
        if self.calls.len() >= self.config.max_calls {
            let retry = [(HeaderName::RetryAfter, self.config.retry_after.to_string())];
            self.reply_because(now, key, request, 503, "All calls in use", &retry);
            return;
        }

        self.reply(now, key, request, 100, &[]);
        let id = self.next_call();
        self.attach(key, id);
        self.dialogs.insert(dialog.key().clone(), id);
        let mut call = Call::new(
            id,
            Phase::Incoming,
            dialog,
            key.clone(),
            self.config.session_expires.unwrap_or(USUAL_SESSION),
        );
        call.user = user.as_str().into();
        call.peer_updates = allows_update(request);
        self.calls.insert(id, Box::new(call));
        self.counters.calls_in += 1;
        self.set_timer(id, CallTimer::Ring, now + self.ring_limit(request));
        self.tell(Event::Incoming(Box::new(Incoming {
            call: id,
            user,
            uri: request.uri.to_string(),
            from: caller(request),
            authenticated,
            offer,
            source: source.remote,
            transport: source.transport,
            ours: self
                .config
                .addressing
                .ours(source.remote.ip(), source.local.ip()),
            sip_call_id: text(&request.headers, &HeaderName::CallId).unwrap_or_default(),
            headers: shown(request),
        })));
    }

    fn on_options(&mut self, now: Instant, key: &TransactionKey, request: &Request) {
        if dialled(&request.uri).is_none() {
            self.reply(now, key, request, 416, &[]);
        } else if !self.refuse_extensions(now, key, request) {
            self.reply_options(now, key, request);
        }
    }

    /// Says what an INVITE would get (section 11.2).
    pub(super) fn reply_options(&mut self, now: Instant, key: &TransactionKey, request: &Request) {
        let Some((source, _)) = self.serving_details(key) else {
            return;
        };
        let mut headers = vec![
            (HeaderName::Allow, ALLOW.to_owned()),
            (HeaderName::Accept, "application/sdp".to_owned()),
            (HeaderName::AcceptEncoding, "identity".to_owned()),
            (HeaderName::AcceptLanguage, "en".to_owned()),
            (HeaderName::Supported, "timer".to_owned()),
            (
                HeaderName::Contact,
                self.contact(&source, &self.config.user),
            ),
        ];
        let full = !has_to_tag(request) && self.calls.len() >= self.config.max_calls;
        if full {
            headers.push((HeaderName::RetryAfter, self.config.retry_after.to_string()));
        }
        self.reply(now, key, request, if full { 503 } else { 200 }, &headers);
    }

    fn on_cancel(&mut self, now: Instant, key: &TransactionKey, request: &Request) {
        let target = key_of_cancelled(request).filter(|target| self.transactions.knows(target));
        let Some(target) = target else {
            self.reply(now, key, request, 481, &[]);
            return;
        };
        // The answer to CANCEL has the tag the INVITE's responses have (section 9.2).
        let (invite_tag, id) = match self.exchanges.get(&target).map(|e| &e.purpose) {
            Some(Purpose::Serve { tag, call, .. }) => (tag.clone(), *call),
            _ => return,
        };
        if let Some(exchange) = self.exchanges.get_mut(key)
            && let Purpose::Serve { tag, .. } = &mut exchange.purpose
        {
            *tag = invite_tag;
        }
        self.reply(now, key, request, 200, &[]);

        let Some(call) = id.and_then(|id| self.calls.get_mut(&id)) else {
            return;
        };
        let id = call.id;
        if call.phase == Phase::Incoming && call.invite.as_ref() == Some(&target) {
            if let Some(invite) = self.transactions.request(&target).cloned() {
                self.reply(now, &target, &invite, 487, &[]);
            }
            self.finish(now, id, EndedBy::Remote, "cancelled");
        } else if call
            .reoffer
            .as_ref()
            .is_some_and(|reoffer| reoffer.key == target)
            && let Some(reoffer) = call.reoffer.take()
        {
            self.clear_timer(id, CallTimer::Undecided);
            self.reply(now, &target, &reoffer.request, 487, &[]);
            self.send_queued(now, id);
        }
    }

    /// The user a request comes from, when that is asked for; challenges it. `Err` if it did.
    fn authenticate(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
    ) -> Result<Option<String>, Refused> {
        let Some(gate) = &mut self.gate else {
            return Ok(None);
        };
        let shown = texts(&request.headers, &HeaderName::Authorization);
        // RFC 7616 section 3.4.6, as far as a proxy on the way may change it (RFC 3261 section 22.4): what is dialled.
        let number = dialled(&request.uri);
        let is_same = |uri: &str| parse_uri(uri).as_ref().and_then(dialled) == number;
        let verdict = gate.check(now, "INVITE", is_same, &shown);
        let stale = match verdict {
            Verdict::User(user) => return Ok(Some(user)),
            Verdict::Stale => true,
            Verdict::Missing => false,
            Verdict::Wrong => {
                self.counters.credentials_refused += 1;
                false
            }
            Verdict::Elsewhere => {
                self.counters.credentials_refused += 1;
                self.reply_because(now, key, request, 400, "Credentials For Another URI", &[]);
                return Err(Refused);
            }
        };
        let random = rand::RngExt::random(&mut self.random);
        let challenges: Vec<_> = gate
            .challenges(now, random, stale)
            .into_iter()
            .map(|challenge| (HeaderName::WwwAuthenticate, challenge))
            .collect();
        self.reply(now, key, request, 401, &challenges);
        Err(Refused)
    }

    /// How long the call may ring: our limit, or less if the INVITE's `Expires` says so.
    fn ring_limit(&self, request: &Request) -> Duration {
        text(&request.headers, &HeaderName::Expires)
            .and_then(|seconds| seconds.trim().parse().ok())
            .map_or(self.config.ring_limit, |seconds| {
                Duration::from_secs(seconds).min(self.config.ring_limit)
            })
    }

    fn is_merged(&self, key: &TransactionKey) -> bool {
        matches!(
            self.exchanges.get(key).map(|exchange| &exchange.purpose),
            Some(Purpose::Serve { merged: true, .. })
        )
    }

    /// Notes which call a request belongs to.
    pub(super) fn attach(&mut self, key: &TransactionKey, id: CallId) {
        if let Some(exchange) = self.exchanges.get_mut(key)
            && let Purpose::Serve { call, .. } = &mut exchange.purpose
        {
            *call = Some(id);
        }
    }

    /// The flow a request came by, and the tag of our responses to it.
    pub(super) fn serving_details(&self, key: &TransactionKey) -> Option<(super::Flow, &str)> {
        let exchange = self.exchanges.get(key)?;
        match &exchange.purpose {
            Purpose::Serve { source, tag, .. } => {
                let came_by = super::Flow {
                    remote: *source,
                    ..exchange.flow
                };
                Some((came_by, tag))
            }
            _ => None,
        }
    }
}

/// A request was refused; its response is on the way.
#[derive(Debug)]
pub(super) struct Refused;

/// Whether the peer's `Allow` names UPDATE.
pub(super) fn allows_update(request: &Request) -> bool {
    texts(&request.headers, &HeaderName::Allow)
        .iter()
        .any(|list| list.split(',').any(|method| method.trim() == "UPDATE"))
}

fn key_of_cancelled(request: &Request) -> Option<TransactionKey> {
    TransactionKey::of_cancelled(request)
}

/// The number a Request-URI asks for; `None` for a scheme that is not ours (section 8.2.2.1).
fn dialled(uri: &Uri) -> Option<String> {
    let user = match uri.scheme() {
        Scheme::Sip => {
            String::from_utf8_lossy(&uri.decoded_user().unwrap_or_default()).into_owned()
        }
        Scheme::Tel => uri
            .tel_parts()
            .map(|parts| String::from_utf8_lossy(parts.subscriber()).into_owned())?
            .replace(['-', '.', '(', ')'], ""),
        _ => return None,
    };
    // Parameters inside the user part (RFC 4967, RFC 3966) are not part of the number.
    let number = user.split(';').next().unwrap_or_default();
    Some(number.chars().filter(|c| !c.is_control()).collect())
}

fn caller(request: &Request) -> Party {
    let Some(from) = typed::<From>(&request.headers) else {
        return Party::default();
    };
    let uri = &from.uri;
    let user = match uri.scheme() {
        Scheme::Tel => dialled(uri).unwrap_or_default(),
        _ => String::from_utf8_lossy(&uri.decoded_user().unwrap_or_default()).into_owned(),
    };
    Party {
        display: from
            .display_name
            .as_ref()
            .map(|name| String::from_utf8_lossy(name).trim().to_owned())
            .filter(|name| !name.is_empty()),
        user,
        host: uri
            .host()
            .map(|host| String::from_utf8_lossy(&host.to_bytes()).into_owned())
            .unwrap_or_default(),
    }
}

fn shown(request: &Request) -> Vec<(String, String)> {
    let wanted = [
        HeaderName::UserAgent,
        HeaderName::Subject,
        HeaderName::PAssertedIdentity,
        other("Diversion"),
    ];
    all(&request.headers)
        .filter(|(name, _)| {
            wanted
                .iter()
                .any(|known| known.to_string().eq_ignore_ascii_case(name))
                || name.get(..2).is_some_and(|x| x.eq_ignore_ascii_case("X-"))
        })
        .take(SHOWN_HEADERS)
        .map(|(name, value)| (name, value.chars().take(SHOWN_LENGTH).collect()))
        .collect()
}
