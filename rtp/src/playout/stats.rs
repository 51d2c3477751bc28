//! What a playout buffer counts.

/// Counters since construction (they survive [`reset`](super::Playout::reset)) and two gauges.
///
/// Samples are at the codec's sample rate. Concealed, comfort-noise and voice samples are disjoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlayoutStats {
    /// Present play-out delay above the fastest packet of the last seconds, ms.
    pub delay_ms: u32,
    /// The delay that the network of the last seconds asks for, ms.
    pub target_ms: u32,
    /// Packets accepted.
    pub inserted: u64,
    /// Packets dropped because they, or what follows them, had been played, or the delay had to be cut.
    pub late: u64,
    /// Packets that were missing when a later one was played, and did not come afterwards either.
    pub lost: u64,
    /// Packets that had come before.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Payloads that are not of the format.
    pub malformed: u64,
    /// Packets dropped to make room for newer ones.
    pub overflowed: u64,
    /// Packets of a seemingly new source that no second one confirmed.
    pub unconfirmed: u64,
    /// Jumps of the play-out point: a source that started anew, a delay beyond the maximum, skipped intervals.
    pub resyncs: u64,
    /// Times play-out ran dry and the packet came after all.
    pub delayed_outages: u64,
    /// Samples decoded from packets.
    pub voice_samples: u64,
    /// Samples made up for missing ones, by the codec or by ourselves.
    pub concealed_samples: u64,
    /// Stretches of concealed samples.
    pub concealment_events: u64,
    /// Samples recovered from the redundancy in the following packet (Opus FEC); not counted as concealed.
    pub recovered_samples: u64,
    /// Samples of comfort noise.
    pub noise_samples: u64,
    /// Samples of silence: packets known to be silent, and pauses of the source.
    pub silent_samples: u64,
    /// Samples removed to shorten the delay.
    pub accelerated_samples: u64,
    /// Samples inserted to lengthen the delay.
    pub expanded_samples: u64,
    /// Splices that changed the delay.
    pub stretches: u64,
    /// Intervals left out by [`skip`](super::Playout::skip).
    pub skipped_intervals: u64,
}
