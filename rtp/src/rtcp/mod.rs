//! RTCP: reports between a leg and its peer (RFC 3550 section 6).
//!
//! Guarantees: sans-IO; nothing allocates; no byte sequence from outside panics; every packet that is built is a valid
//! compound that begins with a report and carries a CNAME.
//!
//! [`Session`] says when to send, what to send, and what the peer reported. [`parse`] and [`Writer`] are the formats it
//! is made of. A mixer passes on no reports of its sources (RFC 3550 section 7.3), so a session knows two members: the
//! leg's own SSRC and its peer.

mod build;
mod interval;
mod parse;
mod session;

pub use build::{Cname, Writer};
pub use interval::{Interval, Timing};
pub use parse::{Goodbye, Packet, Packets, ReportBlocks, RtcpError, SourceDescription, parse};
pub use session::{Config, Heard, PeerReport, Sending, Session};

use std::time::Duration;

/// RTCP packet types that this module reads and writes, RFC 3550 section 12.1.
mod packet_type {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SOURCE_DESCRIPTION: u8 = 202;
    pub(super) const GOODBYE: u8 = 203;
}

/// A moment of the wall clock in the format of NTP: seconds since 1900 with 32 fractional bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Converts the time since 1970-01-01 UTC. Seconds wrap in 2036, as the format has it.
    pub fn from_unix(since_epoch: Duration) -> Self {
        const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
        let seconds = since_epoch.as_secs().wrapping_add(SECONDS_1900_TO_1970) & 0xffff_ffff;
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        Self(seconds << 32 | fraction)
    }

    /// The middle 32 bits, in units of 1/65536 s: the form in which reports refer to a sender report.
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// A report on one source, RFC 3550 section 6.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Share of packets lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning (24 bits, signed).
    pub cumulative_lost: i32,
    /// Highest sequence number received, with its wraps in the upper half.
    pub extended_highest: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time; 0 if there was none.
    pub last_sender_report: u32,
    /// Time from that sender report's arrival to this report, in 1/65536 s.
    pub delay_since_last: u32,
}

/// The sender's part of a sender report, RFC 3550 section 6.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderInfo {
    /// Wall clock when the report was sent.
    pub ntp: NtpTime,
    /// The same moment on the line of the RTP timestamps.
    pub rtp_timestamp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload bytes sent so far.
    pub octets: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_time_counts_from_1900() {
        // 2004-06-10 00:00:00.5 UTC
        let time = NtpTime::from_unix(Duration::from_millis(1_086_825_600_500));
        assert_eq!(time.0, 3_295_814_400 << 32 | 0x8000_0000);
        assert_eq!(time.middle(), (3_295_814_400_u32 & 0xffff) << 16 | 0x8000);
    }
}
