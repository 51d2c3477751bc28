//! Asking callers who they are.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};
use sha2::{Digest, Sha256};

use super::{Algorithm, Exchange, hex, parameter, parameters, quote, same};

/// How many used nonces are remembered; beyond it the oldest is forgotten, and those issued before it are good no longer.
const MAX_NONCES: usize = 16_384;

/// Who may call.
#[derive(Debug, Clone)]
pub struct DigestConfig {
    /// The protection space, shown to people when they are asked for a password.
    pub realm: String,
    /// User names and their secrets.
    pub users: HashMap<String, Secret>,
    /// How long a nonce may be used.
    pub nonce_lifetime: Duration,
    /// What is offered, preferred first (RFC 8760 section 2.3). Some phones look at the first
    /// challenge only and give up when they do not know its algorithm: offer them MD5 alone.
    pub algorithms: Vec<Algorithm>,
}

impl DigestConfig {
    /// Offers SHA-256 and MD5, with nonces good for 5 minutes.
    #[must_use]
    pub fn new(realm: impl Into<String>, users: HashMap<String, Secret>) -> Self {
        Self {
            realm: realm.into(),
            users,
            nonce_lifetime: Duration::from_secs(300),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        }
    }
}

/// A user's secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Password(String),
    /// Hexadecimal hashes of `user:realm:password`, so that the password need not be stored.
    Ha1 {
        /// By MD5.
        md5: Option<String>,
        /// By SHA-256.
        sha256: Option<String>,
    },
}

impl Secret {
    fn ha1(&self, algorithm: Algorithm, user: &str, realm: &str) -> Option<String> {
        match self {
            Self::Password(password) => Some(algorithm.ha1(user, realm, password)),
            Self::Ha1 { md5, sha256 } => match algorithm {
                Algorithm::Md5 => md5.as_ref(),
                Algorithm::Sha256 => sha256.as_ref(),
            }
            .map(|hash| hash.to_ascii_lowercase()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Ha1 { .. } => "Ha1(..)",
        })
    }
}

/// What the credentials of a request are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sip) enum Verdict {
    /// They are right.
    User(String),
    /// There are none for our realm: challenge.
    Missing,
    /// They may be right but the nonce is too old or its count was used: challenge, stale.
    Stale,
    /// They are wrong: challenge again.
    Wrong,
    /// They are right, for something else than what is asked for.
    Elsewhere,
}

/// Which counts of a nonce were used: the highest, and the 64 below it as bits.
#[derive(Debug, Default)]
struct Used {
    highest: u32,
    window: u64,
}

impl Used {
    /// Takes a count; false if it was taken before or is too far behind to tell.
    fn take(&mut self, count: u32) -> bool {
        if count == 0 {
            return false;
        }
        if count > self.highest {
            let shift = count - self.highest;
            self.window = self.window.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let Some(bit) = 1u64.checked_shl(self.highest - count) else {
            return false;
        };
        let fresh = self.window & bit == 0;
        self.window |= bit;
        fresh
    }
}

/// Challenges callers and checks their answers.
#[derive(Debug)]
pub(in crate::sip) struct Gate {
    config: DigestConfig,
    key: [u8; 32],
    epoch: Instant,
    /// By time of issue and random part, so that the oldest are first.
    used: BTreeMap<(u64, u64), Used>,
    /// The last that was forgotten before its time. It and those before it may have been used.
    forgotten: Option<(u64, u64)>,
}

impl Gate {
    pub(in crate::sip) fn new(config: DigestConfig, now: Instant, random: &mut impl Rng) -> Self {
        Self {
            config,
            key: random.random(),
            epoch: now,
            used: BTreeMap::new(),
            forgotten: None,
        }
    }

    /// The values of `WWW-Authenticate`, one an algorithm, preferred first.
    pub(in crate::sip) fn challenges(&self, now: Instant, random: u64, stale: bool) -> Vec<String> {
        let nonce = self.nonce(self.millis(now), random);
        self.config
            .algorithms
            .iter()
            .map(|algorithm| {
                format!(
                    "Digest realm={}, nonce=\"{nonce}\", algorithm={}, qop=\"auth\"{}",
                    quote(&self.config.realm),
                    algorithm.name(),
                    if stale { ", stale=true" } else { "" },
                )
            })
            .collect()
    }

    /// Checks the `Authorization` headers of a request. `is_same` says whether the URI of the credentials stands for what
    /// the request asks for.
    pub(in crate::sip) fn check(
        &mut self,
        now: Instant,
        method: &str,
        is_same: impl Fn(&str) -> bool,
        headers: &[String],
    ) -> Verdict {
        let ours = headers
            .iter()
            .filter_map(|header| parameters(header))
            .find(|found| parameter(found, "realm") == Some(self.config.realm.as_str()));
        match ours {
            None => Verdict::Missing,
            Some(found) => self
                .verify(now, method, is_same, &found)
                .unwrap_or(Verdict::Wrong),
        }
    }

    /// `None` when a parameter is missing or malformed.
    fn verify(
        &mut self,
        now: Instant,
        method: &str,
        is_same: impl Fn(&str) -> bool,
        found: &[(String, String)],
    ) -> Option<Verdict> {
        let user = parameter(found, "username")?;
        let algorithm = Algorithm::parse(parameter(found, "algorithm"))?;
        if !self.config.algorithms.contains(&algorithm) {
            return None;
        }
        let nonce = parameter(found, "nonce")?;
        let count = match parameter(found, "qop") {
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some(parameter(found, "nc")?),
            Some(_) => return None,
            None => None,
        };
        let cnonce = parameter(found, "cnonce").unwrap_or_default();
        let exchange = Exchange {
            nonce,
            method,
            uri: parameter(found, "uri")?,
            counted: count.map(|count| (count, cnonce)),
        };

        // An unknown user costs the same work as a known one, so that names cannot be guessed.
        let secret = self.config.users.get(user);
        let ha1 = secret
            .and_then(|secret| secret.ha1(algorithm, user, &self.config.realm))
            .unwrap_or_else(|| algorithm.ha1(user, &self.config.realm, ""));
        let expected = exchange.response(algorithm, &ha1);
        let given = parameter(found, "response")?.to_ascii_lowercase();
        if !same(&expected, &given) || secret.is_none() {
            return None;
        }

        if !is_same(exchange.uri) {
            return Some(Verdict::Elsewhere);
        }

        // Without a count (RFC 2069) the nonce is good once.
        let count = match count {
            Some(text) => u32::from_str_radix(text, 16).ok()?,
            None => 1,
        };
        Some(if self.take(now, nonce, count) {
            Verdict::User(user.to_owned())
        } else {
            Verdict::Stale
        })
    }

    /// Whether the nonce is ours, young enough, and the count unused; marks it used.
    fn take(&mut self, now: Instant, nonce: &str, count: u32) -> bool {
        let part = |range| u64::from_str_radix(nonce.get(range)?, 16).ok();
        let (Some(issued), Some(random)) = (part(0..16), part(16..32)) else {
            return false;
        };
        let oldest = self
            .millis(now)
            .saturating_sub(self.config.nonce_lifetime.as_millis() as u64);
        if !same(nonce, &self.nonce(issued, random)) || issued < oldest {
            return false;
        }
        while let Some(entry) = self.used.first_entry()
            && entry.key().0 < oldest
        {
            entry.remove();
        }
        let id = (issued, random);
        if self.forgotten.is_some_and(|last| id <= last) {
            return false;
        }
        if self.used.len() >= MAX_NONCES
            && !self.used.contains_key(&id)
            && let Some(oldest) = self.used.first_entry()
        {
            if id < *oldest.key() {
                return false;
            }
            self.forgotten = Some(oldest.remove_entry().0);
        }
        self.used.entry(id).or_default().take(count)
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }

    /// Time of issue, a random part, and an HMAC over both.
    fn nonce(&self, issued: u64, random: u64) -> String {
        let text = format!("{issued:016x}{random:016x}");
        let mac = hmac(&self.key, text.as_bytes());
        format!("{text}{}", hex(&mac[..16]))
    }
}

/// HMAC-SHA-256 (RFC 2104) with a key shorter than the hash's block of 64 bytes.
fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        for (padded, key) in block.iter_mut().zip(key) {
            *padded ^= key;
        }
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::digest::{Challenge, CountedNonce, Credentials};
    use rand::{SeedableRng, rngs::StdRng};

    const URI: &str = "sip:100@example.com";

    struct Fixture {
        gate: Gate,
        now: Instant,
        credentials: Credentials,
        used: CountedNonce,
    }

    impl Fixture {
        fn new() -> Self {
            let users = HashMap::from([("ann".to_owned(), Secret::Password("pw".to_owned()))]);
            let now = Instant::now();
            let config = DigestConfig::new("test \"realm\"", users);
            Self {
                gate: Gate::new(config, now, &mut StdRng::seed_from_u64(1)),
                now,
                credentials: Credentials {
                    user: "ann".to_owned(),
                    password: "pw".to_owned(),
                },
                used: CountedNonce::default(),
            }
        }

        fn answer(&mut self, index: usize) -> String {
            self.answer_to(7, index)
        }

        fn answer_to(&mut self, random: u64, index: usize) -> String {
            let header = self.gate.challenges(self.now, random, false).remove(index);
            Challenge::parse(&header).unwrap().answer(
                &self.credentials,
                "INVITE",
                URI,
                &mut self.used,
                "cn",
            )
        }

        fn check(&mut self, header: &str) -> Verdict {
            let same = |uri: &str| uri == URI;
            self.gate
                .check(self.now, "INVITE", same, &[header.to_owned()])
        }
    }

    #[test]
    fn right_credentials_pass_with_both_algorithms() {
        for index in 0..2 {
            let mut f = Fixture::new();
            let answer = f.answer(index);
            assert_eq!(f.check(&answer), Verdict::User("ann".to_owned()));
        }
    }

    #[test]
    fn the_same_answer_twice_is_stale_and_a_higher_count_passes() {
        let mut f = Fixture::new();
        let first = f.answer(0);
        let second = f.answer(0);
        assert!(second.contains("nc=00000002"));
        assert_eq!(f.check(&second), Verdict::User("ann".to_owned()));
        assert_eq!(f.check(&second), Verdict::Stale);
        assert_eq!(f.check(&first), Verdict::User("ann".to_owned()));
        assert_eq!(f.check(&first), Verdict::Stale);
    }

    #[test]
    fn old_and_invented_nonces_are_stale() {
        let mut f = Fixture::new();
        let answer = f.answer(0);
        f.now += Duration::from_secs(301);
        assert_eq!(f.check(&answer), Verdict::Stale);

        let mut f = Fixture::new();
        let forged = Challenge::parse("Digest realm=\"test \\\"realm\\\"\", nonce=\"x\"").unwrap();
        let answer = forged.answer(&f.credentials, "INVITE", URI, &mut f.used, "");
        assert_eq!(f.check(&answer), Verdict::Stale);
    }

    #[test]
    fn more_callers_than_are_remembered_get_in_and_no_answer_serves_twice() {
        let mut f = Fixture::new();
        let never_used = f.answer_to(1, 1);
        let first = f.answer_to(2, 1);
        let mut last = String::new();
        for n in 0..MAX_NONCES as u64 + 10 {
            f.now += Duration::from_millis(1);
            last = if n == 0 {
                first.clone()
            } else {
                f.answer_to(n, 1)
            };
            assert_eq!(f.check(&last), Verdict::User("ann".to_owned()), "{n}");
        }
        assert_eq!(f.gate.used.len(), MAX_NONCES);
        for replayed in [&first, &last] {
            assert_eq!(f.check(replayed), Verdict::Stale);
        }
        assert_eq!(
            f.check(&never_used),
            Verdict::Stale,
            "it may have been used"
        );
    }

    #[test]
    fn credentials_for_another_uri_are_told_from_wrong_ones() {
        let mut f = Fixture::new();
        let answer = f.answer(0);
        let elsewhere = |uri: &str| uri != URI;
        let checked = f
            .gate
            .check(f.now, "INVITE", elsewhere, std::slice::from_ref(&answer));
        assert_eq!(checked, Verdict::Elsewhere);
        // They were not used by that.
        assert_eq!(f.check(&answer), Verdict::User("ann".to_owned()));
        f.credentials.password = "guess".to_owned();
        let wrong = f.answer(0);
        assert_eq!(
            f.gate.check(f.now, "INVITE", elsewhere, &[wrong]),
            Verdict::Wrong
        );
    }

    #[test]
    fn wrong_passwords_and_unknown_users_are_wrong() {
        let mut f = Fixture::new();
        f.credentials.password = "guess".to_owned();
        let answer = f.answer(0);
        assert_eq!(f.check(&answer), Verdict::Wrong);
        f.credentials = Credentials {
            user: "eve".to_owned(),
            password: String::new(),
        };
        let answer = f.answer(0);
        assert_eq!(f.check(&answer), Verdict::Wrong);
        assert_eq!(f.check("Digest realm=\"other\""), Verdict::Missing);
        assert_eq!(f.check("Bearer x"), Verdict::Missing);
    }

    #[test]
    fn a_stored_hash_serves_in_place_of_the_password() {
        let mut f = Fixture::new();
        let hash = Algorithm::Md5.ha1("ann", "test \"realm\"", "pw");
        f.gate.config.users.insert(
            "ann".to_owned(),
            Secret::Ha1 {
                md5: Some(hash.to_ascii_uppercase()),
                sha256: None,
            },
        );
        let md5 = f.answer(1);
        assert_eq!(f.check(&md5), Verdict::User("ann".to_owned()));
        let sha256 = f.answer(0);
        assert_eq!(f.check(&sha256), Verdict::Wrong);
    }

    #[test]
    fn hmac_matches_the_known_answer_of_rfc_4231() {
        // Test case 1 has a 20-byte key; zero padding makes it a 32-byte one.
        let mut key = [0u8; 32];
        key[..20].fill(0x0b);
        assert_eq!(
            hex(&hmac(&key, b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }
}
