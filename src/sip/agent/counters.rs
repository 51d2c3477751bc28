//! What an agent counts.

use std::collections::BTreeMap;

/// A snapshot of everything counted since the agent was made, and of what is open now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received, of whatever quality.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Messages that could not be parsed or lacked what RFC 3261 requires.
    pub malformed: u64,
    /// Malformed messages that could not even be answered.
    pub dropped: u64,
    /// Responses and ACKs that matched nothing.
    pub stray: u64,
    /// Requests we sent again because no answer came, and responses sent again.
    pub retransmissions_out: u64,
    /// Requests and responses that reached us more than once.
    pub retransmissions_in: u64,
    /// Final failure responses sent, by status.
    pub rejected: BTreeMap<u16, u64>,
    /// Transactions begun.
    pub transactions: u64,
    /// Transactions open now.
    pub transactions_open: usize,
    /// Calls that came in and passed every check.
    pub calls_in: u64,
    /// Calls we made.
    pub calls_out: u64,
    /// Calls open now.
    pub calls_open: usize,
    /// Calls that were ended by a session timer.
    pub sessions_expired: u64,
    /// Requests whose credentials were wrong.
    pub credentials_refused: u64,
}
