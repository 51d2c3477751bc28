//! Dialogs (RFC 3261 section 12): identity, sequence numbers, route set and remote target of one
//! call, from which every request inside the call is made. No clock, no socket.
//!
//! A dialog lasts as long as its call and is looked into seldom, so it is kept as text and parsed again when needed: the
//! crate's URI is several times as large, and keeps the message it came in.

pub(super) mod session_timer;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::agent::{Flow, Transport};
use super::wire::{
    BuildError, CSeq, Contact, From, HeaderName, Host, Method, RecordRoute, Request,
    RequestBuilder, Response, To, Uri, Via, parse_uri, tag, text, typed,
};

/// What names a dialog, seen from our side: tag here, tag there, `Call-ID`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DialogKey(Arc<str>);

/// Between the parts of a key. No header that is acted on has one.
const BETWEEN: char = '\0';

impl DialogKey {
    fn new(local_tag: &str, remote_tag: &str, call_id: &str) -> Self {
        Self(format!("{local_tag}{BETWEEN}{remote_tag}{BETWEEN}{call_id}").into())
    }

    fn part(&self, index: usize) -> &str {
        self.0.splitn(3, BETWEEN).nth(index).unwrap_or_default()
    }

    fn local_tag(&self) -> &str {
        self.part(0)
    }

    /// Empty before the first 2xx to our INVITE, and with RFC 2543 peers.
    pub(super) fn remote_tag(&self) -> &str {
        self.part(1)
    }

    fn call_id(&self) -> &str {
        self.part(2)
    }

    /// The dialog a received request belongs to; `None` when its `To` has no tag.
    pub(super) fn of_request(request: &Request) -> Option<Self> {
        let local_tag = tag(&typed::<To>(&request.headers)?.0);
        if local_tag.is_empty() {
            return None;
        }
        let remote_tag = tag(&typed::<From>(&request.headers)?.0);
        let call_id = text(&request.headers, &HeaderName::CallId)?;
        Some(Self::new(&local_tag, &remote_tag, &call_id))
    }
}

/// How a received request's sequence number compares (section 12.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// In order; it was noted.
    New,
    /// Lower than one before: answer 500.
    Old,
}

/// The text of a URI that was parsed.
#[derive(Debug, Clone)]
struct UriText(Box<str>);

impl UriText {
    fn of(uri: &Uri) -> Self {
        Self(uri.to_string().into())
    }

    fn parsed(&self) -> Option<Uri> {
        parse_uri(&self.0)
    }
}

impl fmt::Display for UriText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One dialog, or before the first 2xx to our INVITE, what will be one.
#[derive(Debug, Clone)]
pub(super) struct Dialog {
    key: DialogKey,
    /// `From` of our requests, with our tag.
    local: Box<str>,
    /// `To` of our requests, with the peer's tag once known.
    remote: Box<str>,
    local_seq: u32,
    remote_seq: Option<u32>,
    target: UriText,
    /// The hops a request has to visit.
    routes: Box<[UriText]>,
    flow: Flow,
    /// The peer is seen at another address than it believes to have: its `Contact` leads nowhere.
    behind_nat: bool,
}

impl Dialog {
    /// The dialog an INVITE opens with us, answered with the tag `local_tag`. The error is the
    /// reason for a 400.
    pub(super) fn incoming(
        request: &Request,
        flow: Flow,
        local_tag: &str,
        local_seq: u32,
    ) -> Result<Self, &'static str> {
        let headers = &request.headers;
        let from = typed::<From>(headers).ok_or("Malformed From")?;
        let to = text(headers, &HeaderName::To).ok_or("Malformed To")?;
        Ok(Self {
            key: DialogKey::new(
                local_tag,
                &tag(&from),
                &text(headers, &HeaderName::CallId).ok_or("Malformed Call-ID")?,
            ),
            local: format!("{to};tag={local_tag}").into(),
            remote: text(headers, &HeaderName::From)
                .ok_or("Malformed From")?
                .into(),
            local_seq,
            remote_seq: Some(typed::<CSeq>(headers).ok_or("Malformed CSeq")?.sequence),
            target: contact(request.headers.typed::<Contact>())?,
            routes: route_set(request.headers.typed_all::<RecordRoute>())?,
            flow,
            behind_nat: is_behind_nat(request, flow.remote),
        })
    }

    /// The dialog our INVITE to `target` is to open. `local` is a `From` value without tag.
    pub(super) fn outgoing(
        call_id: &str,
        local: &str,
        local_tag: &str,
        target: &Uri,
        flow: Flow,
        local_seq: u32,
    ) -> Self {
        Self {
            local: format!("{local};tag={local_tag}").into(),
            remote: format!("<{target}>").into(),
            key: DialogKey::new(local_tag, "", call_id),
            local_seq,
            remote_seq: None,
            target: UriText::of(target),
            routes: [].into(),
            flow,
            behind_nat: true,
        }
    }

    /// Completes the dialog from a 2xx to our INVITE (section 12.1.2). The error says what the
    /// response lacks.
    pub(super) fn confirm(&mut self, response: &Response, flow: Flow) -> Result<(), &'static str> {
        let to = typed::<To>(&response.headers).ok_or("Malformed To")?;
        self.key = DialogKey::new(self.key.local_tag(), &tag(&to), self.key.call_id());
        self.remote = text(&response.headers, &HeaderName::To)
            .ok_or("Malformed To")?
            .into();
        self.target = contact(response.headers.typed::<Contact>())?;
        self.routes = route_set(response.headers.typed_all::<RecordRoute>())?;
        self.routes.reverse();
        self.behind_nat = match self.target.parsed().as_ref().and_then(Uri::host) {
            Some(Host::Ip(ip)) => self.routes.is_empty() && is_hidden(*ip, flow.remote.ip()),
            _ => true,
        };
        self.flow = flow;
        Ok(())
    }

    pub(super) fn key(&self) -> &DialogKey {
        &self.key
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow
    }

    /// Takes the next sequence number for a request of ours.
    pub(super) fn advance(&mut self) -> u32 {
        self.local_seq = self.local_seq.saturating_add(1);
        self.local_seq
    }

    /// Checks and notes the sequence number of a received request.
    pub(super) fn observe(&mut self, sequence: u32) -> Order {
        match self.remote_seq {
            Some(last) if sequence < last => Order::Old,
            _ => {
                self.remote_seq = Some(sequence);
                Order::New
            }
        }
    }

    /// A target refresh request, or the 2xx to ours, may move the peer (section 12.2).
    pub(super) fn retarget(&mut self, contact_header: Option<Contact>) {
        if let Some(contact) = contact_header
            && contact.uri.scheme().is_sip()
        {
            self.target = UriText::of(&contact.0.uri);
        }
    }

    /// The peer talks from another address or on another connection now.
    pub(super) fn move_to(&mut self, flow: Flow) {
        self.flow = flow;
    }

    /// Starts a request inside the dialog (section 12.2.1.1), with everything but `Contact`,
    /// a body and what the method needs.
    pub(super) fn request(
        &self,
        method: Method,
        sequence: u32,
        via: String,
    ) -> Result<RequestBuilder, BuildError> {
        let parsed = |uri: &UriText| {
            uri.parsed().ok_or(BuildError::NotAToken {
                field: "Request-URI",
            })
        };
        let strict = match self.routes.split_first() {
            Some((first, rest)) => Some((parsed(first)?, rest))
                .filter(|(uri, _)| uri.params().is_none_or(|params| !params.contains("lr"))),
            None => None,
        };
        let (uri, rest, last) = match strict {
            Some((first, rest)) => (first, rest, Some(&self.target)),
            None => (parsed(&self.target)?, &*self.routes, None),
        };
        let mut builder = RequestBuilder::new(method.clone(), uri)
            .header(HeaderName::Via, via)?
            .max_forwards(70);
        for route in rest.iter().chain(last) {
            builder = builder.header(HeaderName::Route, format!("<{route}>"))?;
        }
        builder
            .header(HeaderName::From, self.local.to_string())?
            .header(HeaderName::To, self.remote.to_string())?
            .header(HeaderName::CallId, self.key.call_id().to_owned())?
            .cseq(sequence, &method)
    }

    /// Where a request goes: on the open connection if there is one, else to the first route or
    /// the remote target when that is an address reachable from here, else back where the peer
    /// was last seen. Names are not resolved: whoever gave a name also sent us something.
    pub(super) fn destination(&self) -> Flow {
        if self.flow.transport == Transport::Tcp && self.flow.connection != 0 {
            return self.flow;
        }
        if self.behind_nat && self.routes.is_empty() {
            return self.flow;
        }
        let Some(next) = self.routes.first().unwrap_or(&self.target).parsed() else {
            return self.flow;
        };
        let Some(Host::Ip(ip)) = next.host() else {
            return self.flow;
        };
        if ip.is_unspecified() || ip.is_ipv4() != self.flow.local.is_ipv4() {
            return self.flow;
        }
        let remote = SocketAddr::new(*ip, next.port().filter(|port| *port != 0).unwrap_or(5060));
        match next.transport() {
            Some(name) if name.eq_ignore_ascii_case(b"tcp") => Flow::tcp(self.flow.local, remote),
            _ if self.flow.transport == Transport::Tcp => Flow::tcp(self.flow.local, remote),
            _ => Flow::udp(self.flow.local, remote),
        }
    }
}

fn contact(
    header: Option<Result<Contact, impl std::error::Error>>,
) -> Result<UriText, &'static str> {
    match header {
        None => Err("Missing Contact"),
        Some(Err(_)) => Err("Malformed Contact"),
        Some(Ok(contact)) if !contact.uri.scheme().is_sip() => Err("Contact is not a SIP URI"),
        Some(Ok(contact)) => Ok(UriText::of(&contact.0.uri)),
    }
}

fn route_set<E>(
    headers: impl Iterator<Item = Result<RecordRoute, E>>,
) -> Result<Box<[UriText]>, &'static str> {
    headers
        .take(64)
        .map(|header| {
            let uri = header.map_err(|_| "Malformed Record-Route")?.0.uri;
            Ok(UriText::of(&uri))
        })
        .collect()
}

/// Whether the sender's own idea of its address, in `Via`, differs from where it was seen.
fn is_behind_nat(request: &Request, source: SocketAddr) -> bool {
    typed::<Via>(&request.headers).is_some_and(|via| match via.host {
        Host::Ip(host) => host != source.ip() || via.port.unwrap_or(5060) != source.port(),
        Host::Name(_) => false,
    })
}

/// Whether `contact` is an address that only exists on the peer's side of a router.
fn is_hidden(contact: IpAddr, seen: IpAddr) -> bool {
    let private = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    };
    private(contact) && contact != seen && !private(seen)
}
