//! What is counted.

/// What a channel has counted since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counters {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) refused_writes: u64,
    pub(super) underruns: u64,
    pub(super) trims: u64,
    pub(super) trimmed_samples: u64,
    pub(super) skipped_samples: u64,
    /// Samples dropped by receiving buffers that were replaced since.
    pub(super) dropped_before: u64,
}

/// Figures of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelStats {
    /// Blocks read.
    pub reads: u64,
    /// Blocks written.
    pub writes: u64,
    /// Writes that found no room.
    pub refused_writes: u64,
    /// Samples that wait to be heard.
    pub backlog: usize,
    /// The least that waited in the last whole second, samples: delay that no jitter needs.
    pub standing_backlog: usize,
    /// How often a standing backlog was cut.
    pub trims: u64,
    /// Samples cut away by it.
    pub trimmed_samples: u64,
    /// Steps in which a stream that had been flowing was short of samples.
    pub underruns: u64,
    /// Samples that were dropped as the program did not read.
    pub dropped_samples: u64,
    /// Written samples that were dropped after a standstill longer than what is caught up.
    pub skipped_samples: u64,
}

/// Figures of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExchangeStats {
    /// Steps of 20 ms that were mixed.
    pub steps: u64,
    /// Of these, late ones that were mixed at once.
    pub caught_up: u64,
    /// Steps that were skipped after a standstill.
    pub skipped: u64,
}
