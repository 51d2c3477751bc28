//! Session timers (RFC 4028): a call whose peer vanished ends by itself.

use std::time::Duration;

use crate::sip::wire::{
    HeaderName, MinSe, Refresher, Request, Response, SessionExpires, Supported, typed,
};

/// No session may be shorter (RFC 4028 section 4).
const FLOOR: Duration = Duration::from_secs(90);

/// The terms both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip) struct Session {
    /// The session ends this long after the last refresh.
    pub(in crate::sip) interval: Duration,
    /// Whether the refreshes are our job.
    pub(in crate::sip) ours: bool,
}

impl Session {
    /// How long after a refresh we act: at half the interval when the refresh is ours, and
    /// otherwise shortly before the end, when we hang up (section 10).
    pub(in crate::sip) fn act_after(self) -> Duration {
        if self.ours {
            self.interval / 2
        } else {
            self.interval - Duration::from_secs(32).min(self.interval / 3)
        }
    }
}

/// Our answer to a session refresh request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip) enum Terms {
    /// No timer.
    None,
    /// A timer; the response carries [`header`] and, where set, `Require: timer`.
    Agreed {
        /// The terms.
        session: Session,
        /// Whether the response must carry `Require: timer`.
        require: bool,
    },
    /// Refuse with 422 and this `Min-SE`.
    TooShort(Duration),
}

/// Decides as the one who is asked (section 9). `longest` is our own `Session-Expires`: a longer
/// one is shortened to it, never below the asker's `Min-SE`. Without one of our own, a timer is
/// kept only where the asker wants it. A peer that does not know the
/// extension gets no timer.
pub(in crate::sip) fn negotiate(
    request: &Request,
    longest: Option<Duration>,
    min_se: Duration,
) -> Terms {
    let floor = min_se.max(FLOOR);
    let supports = typed::<Supported>(&request.headers).is_some_and(|list| list.contains("timer"));
    let Some(asked) = typed::<SessionExpires>(&request.headers) else {
        return if let (true, Some(longest)) = (supports, longest) {
            let theirs = typed::<MinSe>(&request.headers).map_or(FLOOR, |min| min.0);
            Terms::Agreed {
                session: Session {
                    interval: longest.max(floor).max(theirs),
                    ours: true,
                },
                require: supports,
            }
        } else {
            Terms::None
        };
    };
    if asked.interval < floor {
        // A peer that never heard of Min-SE could not use a 422; a proxy asked on its behalf.
        return Terms::TooShort(floor);
    }
    let theirs = typed::<MinSe>(&request.headers).map_or(FLOOR, |min| min.0);
    let interval = asked
        .interval
        .min(longest.map_or(Duration::MAX, |longest| longest.max(floor)))
        .max(theirs.min(asked.interval));
    // A peer without the extension cannot refresh, whatever a proxy wrote (table 2).
    let ours = asked.refresher != Some(Refresher::Uac) || !supports;
    Terms::Agreed {
        session: Session { interval, ours },
        require: supports,
    }
}

/// Reads the terms from the 2xx to our own refresh request (section 7.2). `asked` is the
/// interval we asked for; we keep it to ourselves when the peer does not know the extension.
pub(in crate::sip) fn adopt(response: &Response, asked: Duration) -> Session {
    match typed::<SessionExpires>(&response.headers) {
        Some(agreed) => Session {
            interval: agreed.interval.max(FLOOR),
            ours: agreed.refresher != Some(Refresher::Uas),
        },
        None => Session {
            interval: asked.max(FLOOR),
            ours: true,
        },
    }
}

/// The `Session-Expires` value for the given terms, in a response to a refresh.
pub(in crate::sip) fn header(session: Session) -> String {
    let refresher = if session.ours { "uas" } else { "uac" };
    format!("{};refresher={refresher}", session.interval.as_secs())
}

/// The `Min-SE` of a 422, so that the request can be made again with it.
pub(in crate::sip) fn required(response: &Response) -> Option<Duration> {
    debug_assert_eq!(response.status.code(), 422);
    response
        .headers
        .get(&HeaderName::MinSe)
        .and_then(|_| typed::<MinSe>(&response.headers))
        .map(|min| min.0.max(FLOOR))
        .filter(|min| *min <= Duration::from_secs(86_400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::wire::{Message, parse};

    const LONGEST: Duration = Duration::from_secs(1800);

    fn terms(headers: &str) -> Terms {
        terms_of(headers, Some(LONGEST))
    }

    fn terms_of(headers: &str, longest: Option<Duration>) -> Terms {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{headers}\r\n\r\n");
        match parse(text.as_bytes()).unwrap() {
            Message::Request(request) => negotiate(&request, longest, FLOOR),
            Message::Response(_) => unreachable!(),
        }
    }

    fn agreed(secs: u64, ours: bool, require: bool) -> Terms {
        Terms::Agreed {
            session: Session {
                interval: Duration::from_secs(secs),
                ours,
            },
            require,
        }
    }

    #[test]
    fn without_an_interval_of_ours_a_timer_is_kept_only_where_it_is_asked_for() {
        assert!(matches!(terms_of("Supported: timer", None), Terms::None));
        let Terms::Agreed { session, .. } =
            terms_of("Supported: timer\r\nSession-Expires: 7200", None)
        else {
            panic!("the asker's interval is accepted");
        };
        assert_eq!(session.interval, Duration::from_secs(7200));
    }

    #[test]
    fn the_askers_choice_of_refresher_stands_when_it_knows_the_extension() {
        assert_eq!(
            terms("Supported: timer\r\nx: 600;refresher=uac"),
            agreed(600, false, true)
        );
        assert_eq!(
            terms("k: timer\r\nSession-Expires: 600;refresher=uas"),
            agreed(600, true, true)
        );
        assert_eq!(terms("k: timer\r\nx: 600"), agreed(600, true, true));
        assert_eq!(terms("x: 600;refresher=uac"), agreed(600, true, false));
    }

    #[test]
    fn long_intervals_are_shortened_but_not_below_what_the_asker_stands() {
        assert_eq!(terms("k: timer\r\nx: 7200"), agreed(1800, true, true));
        assert_eq!(
            terms("k: timer\r\nx: 7200\r\nMin-SE: 3600"),
            agreed(3600, true, true)
        );
    }

    #[test]
    fn short_intervals_are_refused_and_strangers_to_timers_get_none() {
        assert_eq!(terms("k: timer\r\nx: 60"), Terms::TooShort(FLOOR));
        assert_eq!(terms("Subject: x"), Terms::None);
    }

    #[test]
    fn the_refresher_acts_at_half_time_and_the_other_shortly_before_the_end() {
        let session = |secs, ours| Session {
            interval: Duration::from_secs(secs),
            ours,
        };
        assert_eq!(session(1800, true).act_after().as_secs(), 900);
        assert_eq!(session(1800, false).act_after().as_secs(), 1768);
        assert_eq!(session(90, false).act_after().as_secs(), 60);
    }
}
