//! The best possible answer to a request that cannot be parsed.
//!
//! RFC 3261 section 21.4.1 wants a 400 with a reason; RFC 4475 shows requests that are broken yet
//! still say where they came from. The headers a response must echo are copied as they stand, line
//! by line, without interpreting them; what is missing is left out, except `Via`: without it
//! nothing is sent.

use std::net::SocketAddr;

use super::MAX_MESSAGE;

/// The headers every response echoes: long name, compact name.
const ECHOED: [(&str, &str); 5] = [
    ("Via", "v"),
    ("From", "f"),
    ("To", "t"),
    ("Call-ID", "i"),
    ("CSeq", "CSeq"),
];

/// How many header lines a salvaged answer copies at most.
const MAX_LINES: usize = 64;

/// Writes a response to the request in `bytes`, and says where to send it by UDP.
///
/// `None` when the bytes are no request, are an ACK (never answered), or have no usable `Via`.
pub(in crate::sip) fn salvage(
    bytes: &[u8],
    status: u16,
    reason: &str,
    tag: &str,
    server: &str,
    source: SocketAddr,
) -> Option<(Vec<u8>, SocketAddr)> {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(MAX_MESSAGE))?);
    let head = text.split("\r\n\r\n").next()?;
    let mut lines = head.split("\r\n");
    let mut start = lines.next()?.split_ascii_whitespace();
    let method = start.next()?;
    let is_method = !method.is_empty()
        && method
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte));
    if !is_method || method == "ACK" || method.to_ascii_uppercase().starts_with("SIP/") {
        return None;
    }
    start.next()?;

    let mut echoed: Vec<(usize, String)> = Vec::new();
    let mut copying = false;
    for line in lines.take(256) {
        if line.starts_with([' ', '\t']) {
            if copying && let Some((_, value)) = echoed.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        copying = false;
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let Some(kind) = ECHOED.iter().position(|(long, compact)| {
            name.trim().eq_ignore_ascii_case(long) || name.trim().eq_ignore_ascii_case(compact)
        }) else {
            continue;
        };
        let repeated = kind != 0 && echoed.iter().any(|(seen, _)| *seen == kind);
        if !repeated && echoed.len() < MAX_LINES {
            echoed.push((kind, value.trim().to_owned()));
            copying = true;
        }
    }
    let (_, via) = echoed.iter_mut().find(|(kind, _)| *kind == 0)?;
    let to = via_target(via, source)?;

    let reason: String = reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(120)
        .collect();
    let mut answer = format!("SIP/2.0 {status} {reason}\r\n");
    for (kind, value) in &echoed {
        if value.chars().any(|c| matches!(c, '\r' | '\n' | '\0')) {
            continue;
        }
        let (name, _) = ECHOED[*kind];
        answer.push_str(&format!("{name}: {value}"));
        if name == "To" && !value.to_ascii_lowercase().contains("tag=") {
            answer.push_str(&format!(";tag={tag}"));
        }
        answer.push_str("\r\n");
    }
    answer.push_str(&format!("Server: {server}\r\nContent-Length: 0\r\n\r\n"));
    Some((answer.into_bytes(), to))
}

/// Stamps the first hop as [`super::stamp`] does and finds the address to answer to.
fn via_target(via: &mut String, source: SocketAddr) -> Option<SocketAddr> {
    let hop = via.split(',').next()?.to_owned();
    let mut parts = hop.split(';');
    let sent_by = parts.next()?.split_ascii_whitespace().last()?.to_owned();
    if !hop.trim_start().get(..4)?.eq_ignore_ascii_case("SIP/") && !hop.contains('/') {
        return None;
    }
    let wants_port = parts.any(|part| {
        let name = part.split('=').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("rport")
    });
    let port = if wants_port {
        source.port()
    } else {
        match sent_by.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse().ok()?,
            _ => 5060,
        }
    };
    let mut stamped: Vec<&str> = hop
        .split(';')
        .filter(|part| {
            let name = part.split('=').next().unwrap_or_default().trim();
            !name.eq_ignore_ascii_case("rport") && !name.eq_ignore_ascii_case("received")
        })
        .collect();
    let received = format!("received={}", source.ip());
    let rport = format!("rport={}", source.port());
    stamped.push(&received);
    if wants_port {
        stamped.push(&rport);
    }
    let rest = via.get(hop.len()..).unwrap_or_default();
    *via = format!("{}{rest}", stamped.join(";"));
    Some(SocketAddr::new(source.ip(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Option<(String, SocketAddr)> {
        let source = "192.0.2.1:7000".parse().unwrap();
        salvage(text.as_bytes(), 400, "Bad CSeq", "t", "s", source)
            .map(|(bytes, to)| (String::from_utf8(bytes).unwrap(), to))
    }

    #[test]
    fn a_request_with_a_bad_header_is_answered_to_its_via() {
        let (text, to) = answer(
            "INVITE sip:1@h SIP/2.0\r\nv: SIP/2.0/UDP h:5070\r\n ;branch=z9hG4bKx\r\nf: <sip:a@b>;tag=1\r\nt: <sip:1@h>\r\ni: c\r\nCSeq: x INVITE\r\n\r\n",
        )
        .unwrap();
        assert_eq!(to, "192.0.2.1:5070".parse().unwrap());
        assert_eq!(
            text,
            "SIP/2.0 400 Bad CSeq\r\nVia: SIP/2.0/UDP h:5070 ;branch=z9hG4bKx;received=192.0.2.1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:1@h>;tag=t\r\nCall-ID: c\r\nCSeq: x INVITE\r\nServer: s\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn responses_acks_and_noise_are_never_answered() {
        assert!(answer("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\n\r\n").is_none());
        assert!(answer("ACK sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n").is_none());
        assert!(answer("\0\0\0\0").is_none());
        assert!(answer("INVITE sip:a@b SIP/2.0\r\nFrom: x\r\n\r\n").is_none());
    }
}
