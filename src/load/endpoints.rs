//! A list of plain-RTP endpoints, for servers that are called in a way of their own: who listens where, in which conference.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use unisono_rtp::codec::Codec;

/// Payload types that RTP may use (RFC 3550), and those it may not where RTCP shares the port (RFC 5761).
const PAYLOAD_TYPES: std::ops::RangeInclusive<u8> = 0..=127;

/// One leg: a port here, an address there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Where this caller sends from and listens.
    pub local_port: u16,
    /// Where the server listens to it.
    pub remote: SocketAddr,
    /// In which conference it is.
    pub conference: usize,
    /// What both sides send.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The file cannot be read: correct its name.
    #[error("cannot read the list of endpoints {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no such list.
    #[error(
        "{path} is no list of endpoints: {source}; expected JSON: [{{\"local_port\": 20000, \"remote\": \"127.0.0.1:30000\", \
         \"conference\": 1, \"codec\": \"pcmu\"}}, ...]"
    )]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// One of them cannot be used.
    #[error("{path}: endpoint {number} (counted from 1): {what}")]
    Endpoint {
        /// The file.
        path: String,
        /// Which.
        number: usize,
        /// What is wrong and what is expected.
        what: String,
    },
    /// It is empty.
    #[error("{path} lists no endpoint; give it at least one")]
    Empty {
        /// The file.
        path: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    local_port: u16,
    remote: SocketAddr,
    #[serde(default)]
    conference: usize,
    codec: String,
    payload_type: Option<u8>,
    /// Read so that lists which have it are taken: callers press no keys.
    #[expect(dead_code, reason = "callers press no keys")]
    payload_type_dtmf: Option<u8>,
}

/// The endpoints in a file.
///
/// # Errors
/// [`EndpointError`].
pub fn read(path: &Path) -> Result<Vec<Endpoint>, EndpointError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| EndpointError::Read {
        path: name.clone(),
        source,
    })?;
    parse(&text, &name)
}

/// The endpoints in a text; `path` names it in errors.
///
/// # Errors
/// [`EndpointError`].
pub fn parse(text: &str, path: &str) -> Result<Vec<Endpoint>, EndpointError> {
    let written: Vec<Written> =
        serde_json::from_str(text).map_err(|source| EndpointError::Malformed {
            path: path.to_owned(),
            source,
        })?;
    if written.is_empty() {
        return Err(EndpointError::Empty {
            path: path.to_owned(),
        });
    }
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(written.len());
    let mut ports = std::collections::HashSet::new();
    for (index, one) in written.into_iter().enumerate() {
        let wrong = |what: String| EndpointError::Endpoint {
            path: path.to_owned(),
            number: index + 1,
            what,
        };
        let codec = codec_named(&one.codec).map_err(wrong)?;
        let payload_type = one.payload_type.or(codec.static_payload_type());
        let Some(payload_type) = payload_type.filter(|number| PAYLOAD_TYPES.contains(number))
        else {
            return Err(wrong(format!(
                "{} needs a \"payload_type\" of 0 to 127",
                one.codec
            )));
        };
        if one.local_port != 0 && !ports.insert(one.local_port) {
            return Err(wrong(format!(
                "local port {} is taken by an endpoint before it; give each a port of its own",
                one.local_port
            )));
        }
        endpoints.push(Endpoint {
            local_port: one.local_port,
            remote: one.remote,
            conference: one.conference,
            codec,
            payload_type,
        });
    }
    Ok(endpoints)
}

/// The codecs that callers can speak, by the names that people use.
pub const CODECS: [(&str, Codec); 4] = [
    ("pcmu", Codec::Pcmu),
    ("pcma", Codec::Pcma),
    ("g722", Codec::G722),
    ("opus", Codec::Opus),
];

/// The codec of this name.
///
/// # Errors
/// Which names there are.
pub fn codec_named(name: &str) -> Result<Codec, String> {
    let known = CODECS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, codec)| *codec).ok_or_else(|| {
        let names: Vec<&str> = CODECS.iter().map(|(name, _)| *name).collect();
        format!("'{name}' is none of {}", names.join(", "))
    })
}

/// The codec's name.
pub fn codec_name(codec: Codec) -> &'static str {
    let known = CODECS.iter().find(|(_, known)| *known == codec);
    known.map_or(codec.encoding_name(), |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        parse(text, "legs.json").unwrap_err().to_string()
    }

    #[test]
    fn a_list_is_read_with_what_may_be_left_out() {
        let text = r#"[
            {"local_port": 20000, "remote": "127.0.0.1:30000", "conference": 1, "codec": "pcmu", "payload_type": 0, "payload_type_dtmf": null},
            {"local_port": 20002, "remote": "[::1]:30002", "codec": "Opus", "payload_type": 111}
        ]"#;
        let endpoints = parse(text, "legs.json").unwrap();
        assert_eq!(endpoints.len(), 2);
        assert_eq!((endpoints[0].conference, endpoints[0].payload_type), (1, 0));
        assert_eq!(
            (endpoints[1].codec, endpoints[1].payload_type),
            (Codec::Opus, 111)
        );
        assert!(endpoints[1].remote.is_ipv6());
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        assert!(complaint("{").contains("line 1"));
        assert!(complaint("[]").contains("lists no endpoint"));
        let unknown =
            r#"[{"local_port": 1, "remote": "127.0.0.1:3", "codec": "pcmu", "colour": 1}]"#;
        assert!(complaint(unknown).contains("colour"));
        let codec = r#"[{"local_port": 1, "remote": "127.0.0.1:3", "codec": "g729"}]"#;
        assert!(complaint(codec).contains("endpoint 1") && complaint(codec).contains("g722"));
        let dynamic = r#"[{"local_port": 1, "remote": "127.0.0.1:3", "codec": "opus"}]"#;
        assert!(complaint(dynamic).contains("payload_type"));
        let twice = r#"[{"local_port": 4, "remote": "127.0.0.1:3", "codec": "pcmu"},
                        {"local_port": 4, "remote": "127.0.0.1:5", "codec": "pcmu"}]"#;
        assert!(
            complaint(twice).contains("endpoint 2"),
            "{}",
            complaint(twice)
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/nowhere/legs.json"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/legs.json"), "{error}");
    }
}
