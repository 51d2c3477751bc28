//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 section 22), both sides, MD5 and SHA-256,
//! `qop=auth`. Nonces carry their own proof, so a flood of unauthenticated requests costs no
//! memory; only a nonce that was used successfully is remembered, for its count.

mod client;
mod server;

pub use self::client::Credentials;
pub use self::server::{DigestConfig, Secret};

pub(super) use self::client::{Challenge, CountedNonce};
pub(super) use self::server::{Gate, Verdict};

use md5::Md5;
use sha2::{Digest, Sha256};

/// A hash function a challenge can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// What every phone knows.
    Md5,
    /// RFC 8760; offered first.
    Sha256,
}

impl Algorithm {
    /// As written in a header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Reads the `algorithm` parameter; absent means MD5. `None` for one that is not supported,
    /// the `-sess` variants among them.
    fn parse(name: Option<&str>) -> Option<Self> {
        match name {
            None => Some(Self::Md5),
            Some(name) if name.eq_ignore_ascii_case("MD5") => Some(Self::Md5),
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => Some(Self::Sha256),
            Some(_) => None,
        }
    }

    /// The hash of `text` in lower-case hexadecimal.
    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
            Self::Sha256 => hex(&Sha256::digest(text.as_bytes())),
        }
    }

    /// `HA1`, which stands for the password.
    fn ha1(self, user: &str, realm: &str, password: &str) -> String {
        self.hash(&format!("{user}:{realm}:{password}"))
    }
}

/// What a response is computed from, besides `HA1`.
struct Exchange<'a> {
    nonce: &'a str,
    method: &'a str,
    uri: &'a str,
    /// `nc` and `cnonce` when `qop=auth` is in use.
    counted: Option<(&'a str, &'a str)>,
}

impl Exchange<'_> {
    fn response(&self, algorithm: Algorithm, ha1: &str) -> String {
        let ha2 = algorithm.hash(&format!("{}:{}", self.method, self.uri));
        let nonce = self.nonce;
        match self.counted {
            Some((count, cnonce)) => {
                algorithm.hash(&format!("{ha1}:{nonce}:{count}:{cnonce}:auth:{ha2}"))
            }
            None => algorithm.hash(&format!("{ha1}:{nonce}:{ha2}")),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without telling by its time where the difference is.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |acc, (x, y)| acc | (x ^ y))
            == 0
}

fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Splits `Digest name=value, name="value"` into its parameters, names in lower case. `None` for
/// another scheme.
fn parameters(header: &str) -> Option<Vec<(String, String)>> {
    let (scheme, rest) = header.trim().split_once(char::is_whitespace)?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let mut found = Vec::new();
    let mut chars = rest.chars().peekable();
    while chars.peek().is_some() && found.len() < 32 {
        let name: String = std::iter::from_fn(|| chars.next_if(|c| !matches!(c, '=' | ',')))
            .collect::<String>()
            .trim()
            .to_ascii_lowercase();
        if chars.next() != Some('=') {
            continue;
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
            while chars.next_if(|c| *c != ',').is_some() {}
        } else {
            value.extend(std::iter::from_fn(|| chars.next_if(|c| *c != ',')));
            value.truncate(value.trim_end().len());
        }
        chars.next();
        found.push((name, value));
    }
    Some(found)
}

fn parameter<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_examples_of_rfc_7616_come_out() {
        let exchange = Exchange {
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            method: "GET",
            uri: "/dir/index.html",
            counted: Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
        };
        let respond = |algorithm: Algorithm| {
            let ha1 = algorithm.ha1("Mufasa", "http-auth@example.org", "Circle of Life");
            exchange.response(algorithm, &ha1)
        };
        assert_eq!(respond(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            respond(Algorithm::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn parameters_may_hold_commas_quotes_and_spaces() {
        let found = parameters(r#"digest realm = "a, \"b\"" ,qop="auth,auth-int", nc=00000001,x"#);
        let found = found.unwrap();
        assert_eq!(parameter(&found, "realm"), Some("a, \"b\""));
        assert_eq!(parameter(&found, "qop"), Some("auth,auth-int"));
        assert_eq!(parameter(&found, "nc"), Some("00000001"));
        assert!(parameters("Basic abc").is_none());
    }
}
