//! Answering challenges to our own requests.

use std::fmt;

use super::{Algorithm, Exchange, parameter, parameters, quote};

/// What we show when a peer asks who we are.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A challenge in a 401 or 407.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sip) struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    counted: bool,
    /// The nonce is only too old: the credentials may be right.
    pub(in crate::sip) stale: bool,
}

/// The nonce last used with a peer, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sip) struct CountedNonce {
    nonce: String,
    count: u32,
}

impl CountedNonce {
    fn next(&mut self, nonce: &str) -> u32 {
        if self.nonce == nonce {
            self.count = self.count.saturating_add(1);
        } else {
            nonce.clone_into(&mut self.nonce);
            self.count = 1;
        }
        self.count
    }
}

impl Challenge {
    /// Reads one challenge; `None` for a scheme, an algorithm or a protection we cannot answer.
    pub(in crate::sip) fn parse(header: &str) -> Option<Self> {
        let parameters = parameters(header)?;
        let counted = match parameter(&parameters, "qop") {
            None => false,
            Some(offered) => {
                if !offered
                    .split(',')
                    .any(|qop| qop.trim().eq_ignore_ascii_case("auth"))
                {
                    return None;
                }
                true
            }
        };
        Some(Self {
            realm: parameter(&parameters, "realm")?.to_owned(),
            nonce: parameter(&parameters, "nonce")?.to_owned(),
            opaque: parameter(&parameters, "opaque").map(str::to_owned),
            algorithm: Algorithm::parse(parameter(&parameters, "algorithm"))?,
            counted,
            stale: parameter(&parameters, "stale").is_some_and(|v| v.eq_ignore_ascii_case("true")),
        })
    }

    /// The strongest of several challenges: a man in the middle cannot choose the weakest by
    /// changing their order.
    pub(in crate::sip) fn strongest(headers: &[String]) -> Option<Self> {
        headers
            .iter()
            .filter_map(|header| Self::parse(header))
            .max_by_key(|challenge| challenge.algorithm)
    }

    /// The value of `Authorization` or `Proxy-Authorization`.
    pub(in crate::sip) fn answer(
        &self,
        credentials: &Credentials,
        method: &str,
        uri: &str,
        used: &mut CountedNonce,
        cnonce: &str,
    ) -> String {
        let count = format!("{:08x}", used.next(&self.nonce));
        let exchange = Exchange {
            nonce: &self.nonce,
            method,
            uri,
            counted: self.counted.then_some((count.as_str(), cnonce)),
        };
        let ha1 = self
            .algorithm
            .ha1(&credentials.user, &self.realm, &credentials.password);
        let mut header = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\", algorithm={}",
            quote(&credentials.user),
            quote(&self.realm),
            quote(&self.nonce),
            quote(uri),
            exchange.response(self.algorithm, &ha1),
            self.algorithm.name(),
        );
        if self.counted {
            header.push_str(&format!(", qop=auth, nc={count}, cnonce={}", quote(cnonce)));
        }
        if let Some(opaque) = &self.opaque {
            header.push_str(&format!(", opaque={}", quote(opaque)));
        }
        header
    }
}
