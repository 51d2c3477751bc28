//! The seam between this user agent and the crate that parses messages and runs transactions.
//!
//! Nothing outside this folder names that crate, so replacing it means rewriting these files.
//! Everything here works on bytes from strangers: nothing panics, every input is bounded by
//! [`MAX_MESSAGE`], and what cannot be read is an error, never a guess.

mod body;
mod respond;
mod salvage;
mod transactions;
mod via;

pub(super) use self::body::{Body, content_type, session_description};
pub(super) use self::respond::{phrase, respond, status};
pub(super) use self::salvage::salvage;
pub(super) use self::transactions::{Taken, TransactionKey, Transactions};
pub(super) use self::via::{reply_address, stamp};

pub(super) use sipx_sip::build::{RequestBuilder, ResponseBuilder};
pub(super) use sipx_sip::error::BuildError;
pub(super) use sipx_sip::headers::{
    Address, CSeq, Contact, From, RecordRoute, Require, Supported, To, Via,
};
pub(super) use sipx_sip::message::{Message, Method, Request, Response, TypedHeader};
pub(super) use sipx_sip::name::HeaderName;
pub(super) use sipx_sip::session::{MinSe, Refresher, SessionExpires};
pub(super) use sipx_sip::transaction::{Output as Action, Reliability, Timer, TuEvent};
pub(super) use sipx_sip::uri::{Host, Scheme, Uri};
pub(super) use sipx_sip::validate::{Finding, validate_request, validate_response};

use sipx_sip::message::{Header, Headers};
use sipx_sip::parser::{Limits, parse_datagram};

/// The largest message accepted from, or framed on, any transport: 64 KiB, what a datagram can
/// carry. RFC 3261 section 18.1.1 asks that a message of this size be handled.
pub(super) const MAX_MESSAGE: usize = 64 * 1024;

/// Parses one message. The error is the reason phrase for a 400 answer.
pub(super) fn parse(bytes: &[u8]) -> Result<Message, String> {
    let limits = Limits {
        max_message_bytes: MAX_MESSAGE,
        max_body_bytes: MAX_MESSAGE,
        max_headers: 128,
        ..Limits::datagram()
    };
    parse_datagram(bytes.to_vec().into(), &limits).map_err(|error| error.to_string())
}

/// Parses a URI on its own, without the angle brackets of a header.
pub(super) fn parse_uri(text: &str) -> Option<Uri> {
    Uri::parse(text.to_owned().into()).ok()
}

/// The first value of a header, unfolded; bytes that are not UTF-8 become U+FFFD.
pub(super) fn text(headers: &Headers, name: &HeaderName) -> Option<String> {
    let value = headers.value(name)?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

/// All values of a header, one per header line.
pub(super) fn texts(headers: &Headers, name: &HeaderName) -> Vec<String> {
    headers
        .get_all(name)
        .map(|header| String::from_utf8_lossy(&header.value()).into_owned())
        .collect()
}

/// The name of a header this project's peers use but the crate has no variant for.
pub(super) fn other(name: &'static str) -> HeaderName {
    HeaderName::parse(&name.into())
}

/// Every header of a message as name and value, for the layer above.
pub(super) fn all(headers: &Headers) -> impl Iterator<Item = (String, String)> + '_ {
    headers.iter().map(|header: &Header| {
        (
            header.name().to_string(),
            String::from_utf8_lossy(&header.value()).into_owned(),
        )
    })
}

/// The tag of a `From` or `To` value; empty when there is none (RFC 2543 peers).
pub(super) fn tag(address: &Address) -> String {
    String::from_utf8_lossy(address.tag().unwrap_or_default()).into_owned()
}

/// The first header of a type, absent when missing or malformed.
pub(super) fn typed<H: TypedHeader>(headers: &Headers) -> Option<H> {
    headers.typed::<H>()?.ok()
}

/// Whether a NUL stands in some header. Grammar has one only escaped in a quoted string, where
/// nobody needs it, and the crate writes none: what would repeat the header could not be sent.
pub(super) fn has_nul(headers: &Headers) -> bool {
    headers.iter().any(|header| header.value().contains(&0))
}

/// Serializes a message.
pub(super) fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    message.write_to(&mut bytes);
    bytes
}

/// A header by name, if name and value can be sent as such; `Content-*` and what routes or
/// identifies a message is not for the layer above to write.
pub(super) fn named(name: &str, value: &str) -> Option<(HeaderName, String)> {
    let name = HeaderName::parse(&name.to_owned().into());
    let reserved = matches!(
        name,
        HeaderName::Via
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::Contact
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::MaxForwards
            | HeaderName::ContentLength
            | HeaderName::ContentType
    );
    let sendable = Header::build(name.clone(), value.to_owned()).is_ok();
    (sendable && !reserved).then(|| (name, value.to_owned()))
}

/// Puts `value` in the place of all headers of that name. False if it cannot be sent.
pub(super) fn replace(request: &mut Request, name: &HeaderName, value: String) -> bool {
    let Ok(header) = Header::build(name.clone(), value) else {
        return false;
    };
    let position = request
        .headers
        .iter()
        .position(|header| header.name() == name)
        .unwrap_or(request.headers.len());
    request.headers.remove_all(name);
    request.headers.insert(position, header);
    true
}
