//! Where a response goes: RFC 3261 section 18.2 and RFC 3581.

use std::net::SocketAddr;

use super::{Header, HeaderName, Host, Request, Via, typed};

/// The port a sent-by without one means.
const DEFAULT_PORT: u16 = 5060;

/// Writes what was really seen into the topmost `Via`: `received` always when it differs from
/// sent-by or `rport` was asked for, and the source port into `rport`.
///
/// A `received` or `rport` value the sender put there is replaced: it would steer our response.
pub(in crate::sip) fn stamp(request: &mut Request, source: SocketAddr) {
    let Some(via) = typed::<Via>(&request.headers) else {
        return;
    };
    let Some(position) = request
        .headers
        .iter()
        .position(|header| header.name() == &HeaderName::Via)
    else {
        return;
    };
    let Some(value) = request.headers.value(&HeaderName::Via) else {
        return;
    };
    let value = value.into_owned();
    let end = sipx_sip::headers::first_hop_end(&value).min(value.len());
    let (hop, rest) = value.split_at(end);

    let wants_port = via.rport().is_some();
    let differs = !matches!(via.host, Host::Ip(host) if host == source.ip());
    let mut stamped = Vec::with_capacity(value.len() + 64);
    for (index, part) in split_params(hop).enumerate() {
        let name = part
            .split(|byte| *byte == b'=')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        if index > 0
            && (name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport"))
        {
            continue;
        }
        if index > 0 {
            stamped.push(b';');
        }
        stamped.extend_from_slice(part.trim_ascii());
    }
    if wants_port || differs {
        stamped.extend_from_slice(format!(";received={}", source.ip()).as_bytes());
    }
    if wants_port {
        stamped.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
    }
    stamped.extend_from_slice(rest);

    if let Ok(header) = Header::build(HeaderName::Via, stamped) {
        request.headers.remove_first(&HeaderName::Via);
        request.headers.insert(position, header);
    }
}

/// Where the response to a request that came by UDP goes: back to the source address, at the
/// source port if `rport` was asked for and at the sent-by port otherwise.
///
/// `maddr` is not followed: it would let anyone aim our responses at a third party.
pub(in crate::sip) fn reply_address(request: &Request, source: SocketAddr) -> SocketAddr {
    match typed::<Via>(&request.headers) {
        Some(via) if via.rport().is_none() => {
            SocketAddr::new(source.ip(), via.port.unwrap_or(DEFAULT_PORT))
        }
        _ => source,
    }
}

/// Splits at semicolons outside quoted strings.
fn split_params(hop: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    hop.split(move |&byte| {
        let escape_next = quoted && byte == b'\\' && !escaped;
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = escape_next;
        byte == b';' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::wire::{Message, parse};

    fn request(via: &str) -> Request {
        let text = format!("OPTIONS sip:a@b SIP/2.0\r\nVia: {via}\r\nContent-Length: 0\r\n\r\n");
        match parse(text.as_bytes()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn stamped(via: &str, source: &str) -> (String, SocketAddr) {
        let mut request = request(via);
        let source = source.parse().unwrap();
        stamp(&mut request, source);
        let value = request.headers.value(&HeaderName::Via).unwrap();
        let text = String::from_utf8(value.into_owned()).unwrap();
        (text, reply_address(&request, source))
    }

    #[test]
    fn rport_is_filled_and_answered_to_the_source_port() {
        let (via, to) = stamped(
            "SIP/2.0/UDP 10.0.0.9:5070;rport;branch=z9hG4bKa",
            "192.0.2.7:40000",
        );
        assert_eq!(
            via,
            "SIP/2.0/UDP 10.0.0.9:5070;branch=z9hG4bKa;received=192.0.2.7;rport=40000"
        );
        assert_eq!(to, "192.0.2.7:40000".parse().unwrap());
    }

    #[test]
    fn without_rport_the_answer_goes_to_the_sent_by_port_at_the_source_address() {
        let (via, to) = stamped(
            "SIP/2.0/UDP pc.example:5070;branch=z9hG4bKa",
            "192.0.2.7:40000",
        );
        assert!(via.ends_with(";received=192.0.2.7"), "{via}");
        assert_eq!(to, "192.0.2.7:5070".parse().unwrap());
    }

    #[test]
    fn a_forged_received_is_replaced_and_other_hops_are_untouched() {
        let (via, _) = stamped(
            "SIP/2.0/UDP 192.0.2.7;received=203.0.113.1;x=\"a;b\";branch=z9hG4bKa, SIP/2.0/UDP h;received=1.1.1.1",
            "192.0.2.7:5060",
        );
        assert_eq!(
            via,
            "SIP/2.0/UDP 192.0.2.7;x=\"a;b\";branch=z9hG4bKa, SIP/2.0/UDP h;received=1.1.1.1"
        );
    }
}
