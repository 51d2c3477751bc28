//! Symmetric RTP that cannot be stolen: which source address a leg listens to, and so where it sends.
//!
//! Guarantees: pure (time is an argument), fixed size, constant time per packet, no panic on any input.
//!
//! A peer behind NAT sends from another address than its SDP says, so the address has to be learnt from its packets.
//! A server that goes on learning for ever can be made to send a call's audio to a stranger ("RTPBleed"), and one that
//! accepts packets from anybody lets a stranger speak. The policy here:
//!
//! 1. **The signalled address** (SDP, or the address that ICE or the like found) is accepted at once.
//! 2. **Learning.** Only within [`Policy::window_ns`] after the latch was made or re-opened, another address is learnt
//!    if it sends [`Policy::packets`] consecutive packets (one SSRC, sequence numbers in a row, known payload type)
//!    that span at least [`Policy::span_ns`], so that a burst wins nothing. Nothing of it is accepted before.
//!    The peer's SDP may well name a private address while its packets come from a public one. Several addresses are
//!    followed side by side, those of the signalled host first, so that spraying does not hold up the true peer.
//! 3. **A learnt lock is provisional until the window ends**: should the signalled address speak in that time, it is
//!    the truth and takes over.
//! 4. **Locked** means that packets from all other addresses are refused and counted, whatever they contain.
//! 5. **Rebinding.** A NAT may give a running stream another port. That is believed only from the same IP address,
//!    after [`Policy::rebind_silence_ns`] without a packet from the locked port, with the same SSRC, and with a
//!    sequence number that the stream can have reached by now. A change of the IP address needs signalling.
//! 6. **A re-INVITE** re-opens the window ([`Latch::relearn`]). The old source stays accepted until its successor has
//!    proved itself. An address that was not signalled can succeed it only when it has fallen silent (for half a second,
//!    or for [`Policy::rebind_silence_ns`] if the signalled address did not change), and not at all if the old source
//!    *is* the signalled address: a mere session refresh opens next to nothing.
//! 7. Where the window passed without a packet, only the signalled address is accepted from then on.
//!
//! An attacker who can forge the peer's address, or read the stream, is beyond this: that takes SRTP.

use std::net::{IpAddr, SocketAddr};

/// Addresses followed side by side while learning.
const CANDIDATES: usize = 8;

/// A candidate keeps its place for so long without a packet: longer than any ptime. A new address never pushes out one
/// that holds its place, or a spray of single packets would push out everybody between two packets of theirs.
const HOLD_NS: u64 = 80_000_000;

/// A locked source whose peer has signalled another address may be succeeded by one that was learnt after such a
/// silence. (Where the signalled address is the old one it takes the silence of [`Policy::rebind_silence_ns`].)
const SUCCESSION_SILENCE_NS: u64 = 500_000_000;

/// The shortest packet this crate knows is 10 ms: no stream advances its sequence number faster.
const FASTEST_PACKET_NS: u64 = 10_000_000;

/// How far a rebound stream may be ahead of the clock's estimate: packets that bunched up in the network.
const REBIND_SLACK: u64 = 50;

/// Figures of the policy in the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For how long addresses that were not signalled may be learnt, ns.
    pub window_ns: u64,
    /// Consecutive packets that prove an address, at least 2.
    pub packets: u8,
    /// Time that these packets must span, ns.
    pub span_ns: u64,
    /// Silence of the locked port after which another port of the same IP address may take over, ns.
    pub rebind_silence_ns: u64,
}

impl Default for Policy {
    /// Ten seconds' window, four packets that span 30 ms, rebinding after three seconds.
    fn default() -> Self {
        Self {
            window_ns: 10_000_000_000,
            packets: 4,
            span_ns: 30_000_000,
            rebind_silence_ns: 3_000_000_000,
        }
    }
}

/// What the latch looks at in an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The packet's SSRC.
    pub ssrc: u32,
    /// The packet's sequence number.
    pub sequence: u16,
    /// Whether the payload type is one that was negotiated.
    pub known_payload_type: bool,
}

/// Judgement of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// From the leg's peer: use it.
    Accept,
    /// The first packet accepted from this address: use it, and send there from now on.
    AcceptNewSource,
    /// From an address that has not proved itself yet: drop it.
    Learning,
    /// From somebody else: drop it.
    Refuse,
}

/// What the latch has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LatchCounters {
    /// Packets dropped because their address had not proved itself yet.
    pub learning: u64,
    /// Packets refused.
    pub refused: u64,
    /// Times that the accepted address changed after the first.
    pub changes: u32,
    /// Addresses that competed with the true one while learning: above zero, somebody may be attacking.
    pub rivals: u32,
}

/// The source lock of one leg's RTP port.
#[derive(Debug, Clone)]
#[repr(C)] // What every packet looks at comes first.
pub struct Latch {
    locked: Option<Lock>,
    expected: Option<SocketAddr>,
    opened_ns: u64,
    /// Silence of a source locked before the window, after which a learnt address may succeed it, ns.
    succession_ns: u64,
    policy: Policy,
    counters: LatchCounters,
    candidates: [Option<Candidate>; CANDIDATES],
}

#[derive(Debug, Clone, Copy)]
struct Lock {
    source: SocketAddr,
    since_ns: u64,
    ssrc: u32,
    sequence: u16,
    last_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    source: SocketAddr,
    ssrc: u32,
    sequence: u16,
    first_ns: u64,
    last_ns: u64,
    run: u8,
}

impl Latch {
    /// A latch for a leg whose peer signalled `expected` (`None`, or a port or address of zero, if it did not).
    /// The learning window opens at `now_ns`: make it when the answer is sent.
    pub fn new(expected: Option<SocketAddr>, policy: Policy, now_ns: u64) -> Self {
        Self {
            policy: Policy {
                packets: policy.packets.max(2),
                ..policy
            },
            expected: usable(expected),
            opened_ns: now_ns,
            succession_ns: SUCCESSION_SILENCE_NS,
            locked: None,
            candidates: [None; CANDIDATES],
            counters: LatchCounters::default(),
        }
    }

    /// Judges an RTP packet from `source`. Only packets that parsed belong here.
    pub fn on_packet(&mut self, source: SocketAddr, packet: Evidence, now_ns: u64) -> Verdict {
        let source = canonical(source);
        if let Some(lock) = &mut self.locked
            && lock.source == source
        {
            lock.follow(packet, now_ns);
            return Verdict::Accept;
        }
        let open = self.is_open(now_ns);
        if self.expected == Some(source) && (open || self.locked.is_none()) {
            return match packet.known_payload_type {
                true => self.lock(source, packet, now_ns),
                false => self.dropped(Verdict::Learning),
            };
        }
        if self.is_rebinding(source, packet, now_ns) {
            return self.lock(source, packet, now_ns);
        }
        if !open
            || self
                .locked
                .is_some_and(|lock| !self.may_succeed(lock, now_ns))
        {
            return self.dropped(Verdict::Refuse);
        }
        match packet.known_payload_type && self.prove(source, packet, now_ns) {
            true => self.lock(source, packet, now_ns),
            false => self.dropped(Verdict::Learning),
        }
    }

    /// Whether an RTCP packet from `source` may be looked at: RTCP without multiplexing has a port of its own, so
    /// only the IP address is compared. (Its SSRC must match as well: [`crate::rtcp::Session`] sees to that.)
    pub fn permits_rtcp(&self, source: SocketAddr) -> bool {
        let host = canonical(source).ip();
        match self.locked {
            Some(lock) => lock.source.ip() == host,
            None => self.expected.is_some_and(|expected| expected.ip() == host),
        }
    }

    /// A new offer or answer named `expected`: the learning window re-opens.
    pub fn relearn(&mut self, expected: Option<SocketAddr>, now_ns: u64) {
        let expected = usable(expected);
        self.succession_ns = match expected == self.expected {
            true => self.policy.rebind_silence_ns,
            false => SUCCESSION_SILENCE_NS,
        };
        self.expected = expected;
        self.opened_ns = now_ns;
        self.candidates = [None; CANDIDATES];
    }

    /// Where to send: the accepted source, before that the signalled address.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.locked.map(|lock| lock.source).or(self.expected)
    }

    /// The accepted source, if there is one yet.
    pub fn source(&self) -> Option<SocketAddr> {
        self.locked.map(|lock| lock.source)
    }

    /// Whether addresses that were not signalled may be learnt now.
    pub fn is_open(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.opened_ns) < self.policy.window_ns
    }

    /// What has been seen so far.
    pub fn counters(&self) -> LatchCounters {
        self.counters
    }

    fn lock(&mut self, source: SocketAddr, packet: Evidence, now_ns: u64) -> Verdict {
        let rivals = self
            .candidates
            .iter()
            .flatten()
            .filter(|rival| rival.source != source);
        self.counters.rivals = self.counters.rivals.saturating_add(rivals.count() as u32);
        self.counters.changes = self
            .counters
            .changes
            .saturating_add(self.locked.is_some().into());
        self.candidates = [None; CANDIDATES];
        self.locked = Some(Lock {
            source,
            since_ns: now_ns,
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            last_ns: now_ns,
        });
        Verdict::AcceptNewSource
    }

    fn dropped(&mut self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Learning => self.counters.learning = self.counters.learning.wrapping_add(1),
            _ => self.counters.refused = self.counters.refused.wrapping_add(1),
        }
        verdict
    }

    /// Rule 6: whether a learnt address may succeed a locked one in this window.
    fn may_succeed(&self, lock: Lock, now_ns: u64) -> bool {
        lock.since_ns < self.opened_ns
            && self.expected != Some(lock.source)
            && now_ns.saturating_sub(lock.last_ns) >= self.succession_ns
    }

    /// Rule 5.
    fn is_rebinding(&self, source: SocketAddr, packet: Evidence, now_ns: u64) -> bool {
        let Some(lock) = self.locked else {
            return false;
        };
        let silence = now_ns.saturating_sub(lock.last_ns);
        let ahead = u64::from(packet.sequence.wrapping_sub(lock.sequence));
        packet.known_payload_type
            && lock.source.ip() == source.ip()
            && lock.ssrc == packet.ssrc
            && silence >= self.policy.rebind_silence_ns
            && (1..0x8000).contains(&ahead)
            && ahead <= silence / FASTEST_PACKET_NS + REBIND_SLACK
    }

    /// Rule 2: notes a packet of a candidate; true when that proves its address.
    fn prove(&mut self, source: SocketAddr, packet: Evidence, now_ns: u64) -> bool {
        let fresh = Candidate {
            source,
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            first_ns: now_ns,
            last_ns: now_ns,
            run: 1,
        };
        let followed = |slot: &Option<Candidate>| slot.is_some_and(|known| known.source == source);
        let Some(slot) = self.candidates.iter_mut().find(|slot| followed(slot)) else {
            let expected = self.expected.map(|expected| expected.ip());
            let is_near = |address: SocketAddr| Some(address.ip()) == expected;
            let is_free = |slot: &Option<Candidate>| {
                slot.is_none_or(|held| {
                    now_ns.saturating_sub(held.last_ns) >= HOLD_NS
                        || is_near(source) && !is_near(held.source)
                })
            };
            if let Some(slot) = self.candidates.iter_mut().find(|slot| is_free(slot)) {
                *slot = Some(fresh);
            }
            return false;
        };
        let Some(candidate) = slot else { return false };
        let follows =
            packet.ssrc == candidate.ssrc && packet.sequence == candidate.sequence.wrapping_add(1);
        if !follows {
            // Its place is up for all, so that addresses which only make noise do not fill the table.
            *slot = None;
            return false;
        }
        candidate.sequence = packet.sequence;
        candidate.last_ns = now_ns;
        candidate.run = candidate.run.saturating_add(1);
        candidate.run >= self.policy.packets
            && now_ns.saturating_sub(candidate.first_ns) >= self.policy.span_ns
    }
}

impl Lock {
    fn follow(&mut self, packet: Evidence, now_ns: u64) {
        self.last_ns = self.last_ns.max(now_ns);
        let newer = (packet.sequence.wrapping_sub(self.sequence) as i16) > 0;
        if packet.ssrc != self.ssrc || newer {
            self.ssrc = packet.ssrc;
            self.sequence = packet.sequence;
        }
    }
}

/// An IPv4 address is the same address when it comes through an IPv6 socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Leaves out what cannot be sent to: port 0 (a refused stream) and 0.0.0.0 (hold in the manner of RFC 2543).
fn usable(address: Option<SocketAddr>) -> Option<SocketAddr> {
    let usable = |ip: IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    address
        .map(canonical)
        .filter(|address| address.port() != 0 && usable(address.ip()))
}
