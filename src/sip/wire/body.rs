//! Which part of a message body is a session description.

use super::{HeaderName, Headers, typed};
use sipx_sip::headers::ContentType;

/// What a body turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sip) enum Body {
    /// Nothing, or something its sender marked as optional.
    None,
    /// A session description (`application/sdp`), alone or in a `multipart/mixed`.
    Sdp(String),
    /// A type that is not understood: answer 415.
    Unsupported,
    /// An encoding that is not understood: answer 415 with `Accept-Encoding`.
    Encoded,
    /// Not readable at all: answer 400 with this reason.
    Malformed(&'static str),
}

/// How deep and how wide a multipart body may be.
const MAX_PARTS: usize = 16;

/// Finds the session description in a message (RFC 3261 section 8.2.3, RFC 5621).
pub(in crate::sip) fn session_description(headers: &Headers, body: &[u8]) -> Body {
    if body.is_empty() {
        return Body::None;
    }
    if let Some(encoding) = headers.value(&HeaderName::ContentEncoding)
        && !encoding.trim_ascii().eq_ignore_ascii_case(b"identity")
    {
        return Body::Encoded;
    }
    match headers.typed::<ContentType>() {
        None => Body::Malformed("Missing Content-Type"),
        Some(Err(_)) => Body::Malformed("Malformed Content-Type"),
        Some(Ok(kind)) if kind.is("application", "sdp") => sdp(body),
        Some(Ok(kind)) if kind.is("multipart", "mixed") || kind.is("multipart", "alternative") => {
            match kind.param("boundary") {
                Some(boundary) => multipart(body, boundary),
                None => Body::Malformed("Missing multipart boundary"),
            }
        }
        Some(Ok(_)) if is_optional(headers) => Body::None,
        Some(Ok(_)) => Body::Unsupported,
    }
}

fn sdp(body: &[u8]) -> Body {
    match std::str::from_utf8(body) {
        Ok(text) => Body::Sdp(text.to_owned()),
        Err(_) => Body::Malformed("Session description is not UTF-8"),
    }
}

fn is_optional(headers: &Headers) -> bool {
    headers
        .value(&HeaderName::ContentDisposition)
        .is_some_and(|value| {
            String::from_utf8_lossy(&value)
                .to_ascii_lowercase()
                .replace(' ', "")
                .contains("handling=optional")
        })
}

fn multipart(body: &[u8], boundary: &[u8]) -> Body {
    let text = String::from_utf8_lossy(body);
    let delimiter = format!("--{}", String::from_utf8_lossy(boundary));
    for part in text.split(delimiter.as_str()).skip(1).take(MAX_PARTS) {
        if part.starts_with("--") {
            break;
        }
        let part = part.strip_prefix("\r\n").unwrap_or(part);
        let Some((head, content)) = part.split_once("\r\n\r\n") else {
            continue;
        };
        let is_sdp = head.lines().any(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                let name = name.trim();
                (name.eq_ignore_ascii_case("Content-Type") || name.eq_ignore_ascii_case("c"))
                    && value
                        .trim()
                        .to_ascii_lowercase()
                        .starts_with("application/sdp")
            })
        });
        if is_sdp {
            let content = content.strip_suffix("\r\n").unwrap_or(content);
            return Body::Sdp(format!("{}\r\n", content.trim_end()));
        }
    }
    Body::Unsupported
}

/// The type and subtype of a body in lower case, `""` when absent or malformed.
pub(in crate::sip) fn content_type(headers: &Headers) -> String {
    typed::<ContentType>(headers).map_or_else(String::new, |kind| {
        format!(
            "{}/{}",
            String::from_utf8_lossy(&kind.media_type),
            String::from_utf8_lossy(&kind.subtype)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::wire::parse;

    fn found(head: &str, body: &str) -> Body {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{head}\r\n\r\n{body}");
        let message = parse(text.as_bytes()).unwrap();
        session_description(message.headers(), message.body())
    }

    #[test]
    fn the_description_is_found_alone_and_inside_multipart() {
        assert_eq!(
            found("c: Application/SDP", "v=0\r\n"),
            Body::Sdp("v=0\r\n".into())
        );
        let multipart = "--x\r\nContent-Type: application/isup\r\n\r\nq\r\n--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n\r\n--x--\r\n";
        assert_eq!(
            found("Content-Type: multipart/mixed;boundary=x", multipart),
            Body::Sdp("v=0\r\ns=-\r\n".into())
        );
    }

    #[test]
    fn other_bodies_are_refused_unless_optional() {
        assert_eq!(found("Content-Type: text/plain", "hi"), Body::Unsupported);
        assert_eq!(
            found(
                "Content-Type: text/plain\r\nContent-Disposition: session; handling=optional",
                "hi"
            ),
            Body::None
        );
        assert_eq!(
            found(
                "Content-Type: application/sdp\r\nContent-Encoding: gzip",
                "hi"
            ),
            Body::Encoded
        );
        assert_eq!(found("X: y", "hi"), Body::Malformed("Missing Content-Type"));
    }
}
