//! Figures that a worker keeps and anyone may read, without a lock and without disturbing it.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

macro_rules! meters {
    ($(#[$outer:meta])* $name:ident, $(#[$outer_snapshot:meta])* $snapshot:ident { $($(#[$doc:meta])* $field:ident: $cell:ty => $value:ty,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Default)]
        pub(crate) struct $name { $(pub(crate) $field: $cell,)* }

        $(#[$outer_snapshot])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $snapshot { $($(#[$doc])* pub $field: $value,)* }

        impl $name {
            /// The figures as they are now; each is exact, together they may be a tick apart.
            pub(crate) fn read(&self) -> $snapshot {
                $snapshot { $($field: self.$field.load(Relaxed),)* }
            }
        }
    };
}

meters! {
    /// One leg's figures, written by its worker a few times a second.
    LegMeter,
    /// What the meter of a leg said.
    LegFigures {
        /// RTP packets taken in.
        packets_in: AtomicU64 => u64,
        /// RTP packets sent.
        packets_out: AtomicU64 => u64,
        /// Packets lost on the way here (RFC 3550 appendix A.3; may shrink when duplicates arrive).
        lost_in: AtomicI32 => i32,
        /// Packets that came too late to be played.
        late: AtomicU64 => u64,
        /// Interarrival jitter, microseconds (RFC 3550 appendix A.8).
        jitter_us: AtomicU32 => u32,
        /// Audio waiting in the playout buffer, ms.
        playout_ms: AtomicU32 => u32,
        /// Samples made up for lost ones.
        concealed_samples: AtomicU64 => u64,
        /// Level of what the participant says, dBov times 100; -12700 for silence.
        level_in_cb: AtomicI32 => i32,
        /// Packets refused because they came from another source than the one latched to.
        foreign: AtomicU64 => u64,
        /// Packets that are no RTP, or of a payload type not agreed on.
        malformed: AtomicU64 => u64,
        /// When the last packet arrived, ns of the monotonic clock; 0 for never.
        last_packet_ns: AtomicU64 => u64,
        /// The participant is talking.
        talking: AtomicBool => bool,
        /// The far end has reported on what it receives.
        has_remote_report: AtomicBool => bool,
        /// Loss the far end reports of what it receives, 1/256 (RFC 3550 section 6.4.1).
        remote_fraction_lost: AtomicU32 => u32,
        /// Round trip by RTCP, microseconds; 0 when unknown.
        round_trip_us: AtomicU32 => u32,
    }
}

meters! {
    /// One direction of a leg's rings; each figure is written by one of the two ends.
    FlowMeter,
    /// What passed through one ring, in frames of 20 ms.
    FlowFigures {
        /// Written.
        sent: AtomicU64 => u64,
        /// Dropped, because nobody had read what was before them.
        overflowed: AtomicU64 => u64,
        /// Heard.
        received: AtomicU64 => u64,
        /// Intervals of silence, because no frame had come in time.
        starved: AtomicU64 => u64,
        /// Dropped, because they had become too old.
        discarded: AtomicU64 => u64,
    }
}

meters! {
    /// One worker's figures.
    WorkerMeter,
    /// What the meter of a worker said.
    WorkerFigures {
        /// 20 ms intervals mixed, over all phases.
        intervals: AtomicU64 => u64,
        /// Intervals mixed late, together with a later one.
        caught_up: AtomicU64 => u64,
        /// Intervals skipped: nobody heard them.
        skipped: AtomicU64 => u64,
        /// Datagrams received.
        datagrams_in: AtomicU64 => u64,
        /// Datagrams sent.
        datagrams_out: AtomicU64 => u64,
        /// Datagrams the kernel did not take.
        send_failures: AtomicU64 => u64,
        /// Datagrams for a leg that are no RTP or RTCP, or of a payload type not agreed on.
        malformed: AtomicU64 => u64,
        /// Datagrams for a leg that came from another source than the one latched to.
        foreign: AtomicU64 => u64,
        /// Datagrams to the shared port from addresses that no leg's peer has.
        strangers: AtomicU64 => u64,
        /// Datagrams to the shared port that were lost because its buffer was full.
        shared_overflows: AtomicU64 => u64,
        /// Events dropped because the control plane did not read them in time.
        events_dropped: AtomicU64 => u64,
        /// Legs served.
        legs: AtomicU64 => u64,
        /// Conferences that have legs.
        busy_rooms: AtomicU64 => u64,
        /// Encodes of mixes.
        encodes: AtomicU64 => u64,
        /// Mixes in which the limiter had to act.
        limited: AtomicU64 => u64,
        /// Wake-ups after which the worker was still at work when the next one was due.
        overruns: AtomicU64 => u64,
        /// Time spent working, ns.
        busy_ns: AtomicU64 => u64,
        /// Processor time used for work, ns: less than `busy_ns` by what the host and other threads took.
        cpu_ns: AtomicU64 => u64,
        /// Share of its time that its work takes, smoothed, thousandths.
        load_permille: AtomicU64 => u64,
        /// Number of its overload level, 0 to 3: see [`Level::from_number`](super::Level::from_number).
        overload_level: AtomicU64 => u64,
        /// Silent legs that are not decoded now.
        dozing: AtomicU64 => u64,
        /// Packets of silent legs that were dropped unread.
        packets_unread: AtomicU64 => u64,
        /// Sums of other workers' rooms that were added.
        sums_added: AtomicU64 => u64,
        /// Sums of other workers' rooms that had not come in time: silence instead.
        sums_missed: AtomicU64 => u64,
    }
}

/// Adds to a counter that only the calling thread writes: a load and a store, no locked instruction.
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}
