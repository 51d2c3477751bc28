//! Dialogs (RFC 3261 section 12): identity, sequence numbers, route set and remote target of one
//! call, from which every request inside the call is made. No clock, no socket.

pub(super) mod session_timer;

use std::net::{IpAddr, SocketAddr};

use super::agent::{Flow, Transport};
use super::wire::{
    BuildError, CSeq, Contact, From, HeaderName, Host, Method, RecordRoute, Request,
    RequestBuilder, Response, To, Uri, Via, tag, text, typed,
};

/// What names a dialog, seen from our side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DialogKey {
    pub(super) call_id: String,
    pub(super) local_tag: String,
    pub(super) remote_tag: String,
}

impl DialogKey {
    /// The dialog a received request belongs to; `None` when its `To` has no tag.
    pub(super) fn of_request(request: &Request) -> Option<Self> {
        let local_tag = tag(&typed::<To>(&request.headers)?.0);
        if local_tag.is_empty() {
            return None;
        }
        Some(Self {
            call_id: text(&request.headers, &HeaderName::CallId)?,
            local_tag,
            remote_tag: tag(&typed::<From>(&request.headers)?.0),
        })
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

/// One hop a request has to visit.
#[derive(Debug, Clone)]
struct Hop {
    /// The whole value, as it goes into a `Route` header.
    value: String,
    uri: Uri,
}

/// One dialog, or before the first 2xx to our INVITE, what will be one.
#[derive(Debug, Clone)]
pub(super) struct Dialog {
    key: DialogKey,
    /// `From` of our requests, with our tag.
    local: String,
    /// `To` of our requests, with the peer's tag once known.
    remote: String,
    local_seq: u32,
    remote_seq: Option<u32>,
    target: Uri,
    routes: Vec<Hop>,
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
            key: DialogKey {
                call_id: text(headers, &HeaderName::CallId).ok_or("Malformed Call-ID")?,
                local_tag: local_tag.to_owned(),
                remote_tag: tag(&from),
            },
            local: format!("{to};tag={local_tag}"),
            remote: text(headers, &HeaderName::From).ok_or("Malformed From")?,
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
        call_id: String,
        local: &str,
        local_tag: String,
        target: Uri,
        flow: Flow,
        local_seq: u32,
    ) -> Self {
        Self {
            local: format!("{local};tag={local_tag}"),
            remote: format!("<{target}>"),
            key: DialogKey {
                call_id,
                local_tag,
                remote_tag: String::new(),
            },
            local_seq,
            remote_seq: None,
            target,
            routes: Vec::new(),
            flow,
            behind_nat: true,
        }
    }

    /// Completes the dialog from a 2xx to our INVITE (section 12.1.2). The error says what the
    /// response lacks.
    pub(super) fn confirm(&mut self, response: &Response, flow: Flow) -> Result<(), &'static str> {
        let to = typed::<To>(&response.headers).ok_or("Malformed To")?;
        self.key.remote_tag = tag(&to);
        self.remote = text(&response.headers, &HeaderName::To).ok_or("Malformed To")?;
        self.target = contact(response.headers.typed::<Contact>())?;
        self.routes = route_set(response.headers.typed_all::<RecordRoute>())?;
        self.routes.reverse();
        self.behind_nat = match self.target.host() {
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
            self.target = contact.0.uri;
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
        let loose = self
            .routes
            .first()
            .is_none_or(|hop| hop.uri.params().is_some_and(|params| params.contains("lr")));
        let (uri, routes): (Uri, Vec<String>) = match self.routes.split_first() {
            Some((first, rest)) if !loose => {
                let mut routes: Vec<_> = rest.iter().map(|hop| hop.value.clone()).collect();
                routes.push(format!("<{}>", self.target));
                (first.uri.clone(), routes)
            }
            _ => (
                self.target.clone(),
                self.routes.iter().map(|hop| hop.value.clone()).collect(),
            ),
        };
        let mut builder = RequestBuilder::new(method.clone(), uri)
            .header(HeaderName::Via, via)?
            .max_forwards(70);
        for route in routes {
            builder = builder.header(HeaderName::Route, route)?;
        }
        builder
            .header(HeaderName::From, self.local.clone())?
            .header(HeaderName::To, self.remote.clone())?
            .header(HeaderName::CallId, self.key.call_id.clone())?
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
        let next = self.routes.first().map_or(&self.target, |hop| &hop.uri);
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

fn contact(header: Option<Result<Contact, impl std::error::Error>>) -> Result<Uri, &'static str> {
    match header {
        None => Err("Missing Contact"),
        Some(Err(_)) => Err("Malformed Contact"),
        Some(Ok(contact)) if !contact.uri.scheme().is_sip() => Err("Contact is not a SIP URI"),
        Some(Ok(contact)) => Ok(contact.0.uri),
    }
}

fn route_set<E>(
    headers: impl Iterator<Item = Result<RecordRoute, E>>,
) -> Result<Vec<Hop>, &'static str> {
    headers
        .take(64)
        .map(|header| {
            let uri = header.map_err(|_| "Malformed Record-Route")?.0.uri;
            Ok(Hop {
                value: format!("<{uri}>"),
                uri,
            })
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
