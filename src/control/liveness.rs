//! Phones that vanished: a crashed softphone, a pulled cable, a battery at its end.
//!
//! Silence does not prove it: a muted phone may send nothing for hours. So a phone from which no packet came for a
//! while is asked by SIP, with a re-INVITE that repeats the session as it is. One that is there answers, whatever it
//! answers; one that is gone does not, and the signalling ends the call after its 32 s (RFC 3261 section 17.1.1.2), or
//! after three minutes if something on the way still said that it tries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::switchboard::Switchboard;
use crate::conference::CallId;
use crate::sip;

/// Phones asked in one go, so that ten thousand muted ones are not asked at once.
const QUESTIONS: usize = 200;

impl Switchboard {
    /// How often [`ask_silent_phones`](Self::ask_silent_phones) is to be called; `None` for never.
    pub(super) fn silence_check(&self) -> Option<Duration> {
        let patience = self.config.media.silence_check?;
        Some((patience / 8).clamp(Duration::from_millis(100), Duration::from_secs(10)))
    }

    /// Asks phones that have been silent for long whether they are there.
    pub(super) async fn ask_silent_phones(&mut self) {
        let Some(patience) = self.config.media.silence_check else {
            return;
        };
        let now = Instant::now();
        let mut questions: Vec<(CallId, Arc<str>)> = Vec::new();
        for (call, entry) in &mut self.calls {
            let Some(figures) = entry.leg().and_then(|leg| self.engine.figures(leg)) else {
                continue;
            };
            if figures.last_packet_ns != entry.heard.0 {
                entry.heard = (figures.last_packet_ns, now);
            } else if now.duration_since(entry.heard.1) >= patience
                && entry.farewell.is_none()
                && questions.len() < QUESTIONS
            {
                entry.heard.1 = now;
                questions.push((*call, Arc::clone(&entry.description)));
            }
        }
        for (call, description) in questions {
            info!(%call, "nothing heard for {} s, asking the phone", patience.as_secs());
            if let Err(error) = self.sip.reinvite(sip::CallId(call.0), description).await {
                // Not acknowledged yet, or over: the signalling has its own time-outs for both.
                debug!(%call, "not asked: {error}");
            }
        }
    }
}
