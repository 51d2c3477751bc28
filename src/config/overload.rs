//! `[overload]`: the loads above which a worker sheds.

use super::section::{Report, Section, integer};
use crate::engine::OverloadSettings;

pub(super) fn read(
    section: &mut Section<'_, '_>,
    overload: &mut OverloadSettings,
    report: &mut Report<'_>,
) {
    let percent = "percent of a worker's time, 0 (always) to 100 (never)";
    let mut before = ("", 0);
    for (place, key) in [
        (&mut overload.refuse_above, "refuse_above"),
        (&mut overload.trim_above, "trim_above"),
        (&mut overload.shed_above, "shed_above"),
    ] {
        let at = section.set(place, key, percent, report, |v| integer(v, 0..=100_u8));
        match at {
            Some(at) if *place < before.1 => {
                let message = format!(
                    "expected at least {}, {}, found {place}",
                    before.0, before.1
                );
                report.error(at.start, &section.path(key), message);
            }
            // Who raises one level moves those above it along, unless they were set.
            None => *place = before.1.max(*place),
            Some(_) => {}
        }
        before = (key, *place);
    }
}
