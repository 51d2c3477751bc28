//! What joins the conferences of one exchange to those of others.

use super::STEP;

/// The lines of an exchange to all others, as [`super::Exchange::advance_with`] uses them at each step.
///
/// What is heard from the others has left them a step before at the latest, so who implements this adds 20 ms or more. Nothing here
/// may allocate, free, or wait: it is called by a tick.
pub trait Lines {
    /// A step begins, which is due at `step`, a sample time: called once, before all else.
    fn begin(&mut self, step: u64) {
        let _ = step;
    }

    /// Whether anybody elsewhere is in this conference. If not, neither `incoming` nor `outgoing` is called for it in this step.
    fn is_shared(&self, conference: i32) -> bool;

    /// Gives what the others' members say together, 20 ms for the step that is due at `step`. Returns false, and writes nothing, if
    /// nothing came: that is silence, and costs less than zeros.
    fn incoming(&mut self, conference: i32, step: u64, into: &mut [i16; STEP]) -> bool;

    /// Takes what the members of this exchange say together in the step that is due at `step`: the sum without what came in.
    fn outgoing(&mut self, conference: i32, step: u64, sum: &[i16; STEP]);
}

/// No lines: nobody is elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLines;

impl Lines for NoLines {
    fn is_shared(&self, _: i32) -> bool {
        false
    }

    fn incoming(&mut self, _: i32, _: u64, _: &mut [i16; STEP]) -> bool {
        false
    }

    fn outgoing(&mut self, _: i32, _: u64, _: &[i16; STEP]) {}
}
