//! What `unisono dahdi status` shows of timers.

use std::collections::HashSet;
use std::ptr;

use unisono_dahdi_trunk::report::TimersReport;

use crate::device::Opened;
use crate::table::{self, Entry};

/// All timers that are open now, each once. Takes no lock that opening or closing takes.
pub(crate) fn timers() -> TimersReport {
    let mut seen = HashSet::new();
    let mut report = TimersReport::default();
    for (_, entry) in table::within(0, table::NUMBERS) {
        if let Entry::Device(open) = entry
            && seen.insert(ptr::from_ref(open))
        {
            open.look(|opened| {
                if let Opened::Timer(timer) = opened {
                    timer.count_into(&mut report);
                }
            });
        }
    }
    report
}
