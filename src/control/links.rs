//! Links to DAHDI conferences: connected while somebody is on both sides.
//!
//! A link is no call and no participant, so the model does not know it: it is asked for no PIN, opens and keeps no
//! conference, is counted nowhere.

use std::sync::Arc;

use tokio::sync::Notify;
use tracing::{info, warn};

use super::switchboard::Switchboard;
use crate::bridge::{Bridge, LINK_RATE};
use crate::conference::{ConferenceName, LinkView};
use crate::config::DahdiConference;
use crate::engine::{Engine, FlowFigures, LegId, RingFigures};

/// All links, with the bridge that carries them.
#[derive(Debug, Default)]
pub(super) struct Links {
    bridge: Option<Bridge>,
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    /// Its place in the list that the bridge was started with.
    place: usize,
    number: u16,
    conference: ConferenceName,
    /// While connected.
    leg: Option<LegId>,
    /// What passed in earlier connections.
    before: RingFigures,
}

impl Links {
    /// The links that are configured, on a bridge that was started with their numbers.
    pub(super) fn new(bridge: Option<Bridge>, configured: &[DahdiConference]) -> Self {
        let links = configured.iter().enumerate().filter_map(|(place, link)| {
            Some(Link {
                place,
                number: link.number,
                conference: ConferenceName::new(&link.conference)?,
                leg: None,
                before: RingFigures::default(),
            })
        });
        Self {
            bridge,
            links: links.collect(),
        }
    }

    /// Notified when links are to be settled.
    pub(super) fn changed(&self) -> Arc<Notify> {
        self.bridge
            .as_ref()
            .map(Bridge::changed)
            .unwrap_or_default()
    }

    /// What is wrong with them, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        let bridge = self.bridge.as_ref()?;
        if bridge.is_broken() {
            return Some(
                "the threads of the DAHDI links have ended; restart the server".to_owned(),
            );
        }
        let problem = bridge.problem()?;
        Some(format!(
            "{problem}; this is tried again every two seconds, and calls work meanwhile"
        ))
    }

    /// Legs of links, which are nobody's.
    pub(super) fn legs(&self) -> usize {
        let links = self.links.iter();
        links.filter(|link| link.leg.is_some()).count()
    }

    /// The links of a conference.
    pub(super) fn of(
        &self,
        conference: &ConferenceName,
        engine: &Engine,
    ) -> impl Iterator<Item = LinkView> {
        let links = self.links.iter();
        links
            .filter(|link| link.conference == *conference)
            .map(|link| link.view(engine))
    }

    /// All links, each with its conference.
    pub(super) fn all(&self, engine: &Engine) -> Vec<(String, LinkView)> {
        let links = self.links.iter();
        links
            .map(|link| (link.conference.to_string(), link.view(engine)))
            .collect()
    }
}

impl Link {
    fn view(&self, engine: &Engine) -> LinkView {
        let meter = self.leg.and_then(|leg| engine.figures(leg));
        let RingFigures { inbound, outbound } = self.figures(engine);
        let dropped = |flow: FlowFigures| flow.overflowed + flow.discarded;
        LinkView {
            kind: "dahdi",
            number: self.number,
            connected: self.leg.is_some(),
            talking: meter.is_some_and(|meter| meter.talking),
            level_in_dbov: meter.map_or(-127.0, |meter| meter.level_in_cb as f32 / 100.0),
            frames_in: inbound.received,
            frames_out: outbound.received,
            frames_missing: inbound.starved + outbound.starved,
            frames_dropped: dropped(inbound) + dropped(outbound),
        }
    }

    /// What passed since the start.
    fn figures(&self, engine: &Engine) -> RingFigures {
        let now = self.leg.and_then(|leg| engine.ring_figures(leg));
        self.before + now.unwrap_or_default()
    }
}

impl Switchboard {
    /// Connects the links whose two sides have somebody, and disconnects the others.
    pub(super) fn settle_links(&mut self) {
        (0..self.links.links.len()).for_each(|link| self.settle(link));
    }

    /// As [`settle_links`](Self::settle_links), for the link of one conference.
    pub(super) fn settle_link(&mut self, conference: &ConferenceName) {
        let links = self.links.links.iter();
        if let Some(link) = links
            .enumerate()
            .find_map(|(at, link)| (link.conference == *conference).then_some(at))
        {
            self.settle(link);
        }
    }

    fn settle(&mut self, at: usize) {
        let (Some(link), Some(bridge)) = (self.links.links.get(at), &self.links.bridge) else {
            return;
        };
        let here = self
            .model
            .view(link.conference.as_str())
            .is_some_and(|view| view.participants > 0);
        let room = self
            .room(&link.conference)
            .filter(|_| here && bridge.is_occupied(link.place));
        let (number, conference) = (link.number, &link.conference);
        let leg = match (room, link.leg) {
            (Some(room), None) => match self.engine.open_ring_leg(LINK_RATE, room) {
                Ok((leg, end)) => {
                    info!(dahdi = number, %conference, "link connected");
                    self.engine.join(leg, room);
                    bridge.connect(link.place, end);
                    Some(leg)
                }
                Err(error) => {
                    warn!(dahdi = number, %conference, "link not connected: {error}");
                    None
                }
            },
            (None, Some(leg)) => {
                info!(dahdi = number, %conference, "link disconnected");
                let figures = link.figures(&self.engine);
                bridge.disconnect(link.place);
                self.engine.close_leg(leg);
                self.links.links[at].before = figures;
                None
            }
            (_, unchanged) => unchanged,
        };
        self.links.links[at].leg = leg;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_left_out_moves_no_other_to_its_place() {
        let configured = [(1000, ""), (1001, "601")].map(|(number, conference)| DahdiConference {
            number,
            conference: conference.into(),
        });
        let links = Links::new(None, &configured).links;
        assert_eq!(links.len(), 1);
        assert_eq!((links[0].place, links[0].number), (1, 1001));
    }
}
