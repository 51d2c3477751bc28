//! A room: a conference, or a part of one, as its worker sees it: a bus to mix on, who is on it, and one encoder for each format in use.

use unisono_mixer::{SampleRate, Strip, StripSettings};
use unisono_rtp::codec::{Codec, Encoder, MAX_PAYLOAD};
use unisono_rtp::packet::MAX_CSRCS;

use super::RoomId;
use super::player::Player;
use super::span::Ties;

/// Formats that one conference can be heard in at a time: PCMU, PCMA, G.722, Opus and L16 at four rates.
const MAX_FORMATS: usize = 8;

/// Prompts a conference can have waiting.
const ANNOUNCEMENTS: usize = 16;

/// One conference, or the part of one that this worker mixes. Made by the control plane, lives on a worker, allocates nothing there.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    /// Phase of the 20 ms interval in which it is mixed.
    pub(crate) phase: usize,
    pub(crate) bus: unisono_mixer::Room,
    /// Slab indices of the legs that take part.
    pub(crate) members: Vec<u32>,
    /// What everybody is told.
    pub(crate) announcements: Player,
    pub(crate) announcer: Strip,
    pub(crate) encoders: SharedEncoders,
    /// Mixed at the highest rate of those who take part, instead of at a fixed one.
    pub(crate) is_adaptive: bool,
    /// The ones heard in this interval.
    pub(crate) talkers: Talkers,
    /// To the conference's other rooms, if there are any.
    pub(crate) ties: Option<Box<Ties>>,
}

impl Room {
    /// A conference without legs. `fixed` is its rate; with `None` it is mixed at the highest rate of those who take
    /// part, 8 kHz at first.
    pub(crate) fn new(id: RoomId, phase: usize, fixed: Option<SampleRate>, members: usize) -> Self {
        let rate = fixed.unwrap_or(SampleRate::Hz8000);
        let mut announcer = Strip::new(ANNOUNCEMENT_RATE, StripSettings::default());
        announcer.set_counts_as_talker(false);
        Self {
            id,
            phase,
            bus: unisono_mixer::Room::new(rate),
            members: Vec::with_capacity(members),
            announcements: Player::new(ANNOUNCEMENTS),
            announcer,
            encoders: SharedEncoders::default(),
            is_adaptive: fixed.is_none(),
            talkers: Talkers::default(),
            ties: None,
        }
    }
}

/// Rate of what is announced to a whole conference.
pub const ANNOUNCEMENT_RATE: SampleRate = SampleRate::Hz16000;

/// SSRCs of those heard in this interval, for the CSRC lists: the first [`MAX_CSRCS`] of them.
#[derive(Debug, Default)]
pub(crate) struct Talkers {
    ssrcs: [u32; MAX_CSRCS],
    count: usize,
}

impl Talkers {
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    pub(crate) fn add(&mut self, ssrc: u32) {
        if let Some(slot) = self.ssrcs.get_mut(self.count) {
            *slot = ssrc;
            self.count += 1;
        }
    }

    /// Everyone.
    pub(crate) fn all(&self) -> &[u32] {
        &self.ssrcs[..self.count]
    }

    /// Everyone but `own`.
    pub(crate) fn others<'a>(&self, own: Option<u32>, list: &'a mut [u32; MAX_CSRCS]) -> &'a [u32] {
        let mut count = 0;
        for ssrc in self.all() {
            if Some(*ssrc) != own {
                list[count] = *ssrc;
                count += 1;
            }
        }
        &list[..count]
    }
}

/// The encoders of what all but the talkers hear: one for each format, whatever the number of listeners.
#[derive(Debug, Default)]
pub(crate) struct SharedEncoders {
    slots: [Option<Box<SharedEncoder>>; MAX_FORMATS],
}

impl SharedEncoders {
    /// The encoder for `codec`, if some leg brought one.
    pub(crate) fn get(&mut self, codec: Codec) -> Option<&mut SharedEncoder> {
        self.slots
            .iter_mut()
            .flatten()
            .find(|shared| shared.encoder.codec() == codec)
            .map(|shared| &mut **shared)
    }

    /// Nobody hears the shared streams any more: they need not be continued.
    pub(crate) fn end_streams(&mut self) {
        for shared in self.slots.iter_mut().flatten() {
            shared.interval = 0;
        }
    }

    /// Takes an encoder in; gives it back when there is one for its format already, or no room.
    pub(crate) fn add(&mut self, encoder: Box<SharedEncoder>) -> Option<Box<SharedEncoder>> {
        if self.get(encoder.encoder.codec()).is_some() {
            return Some(encoder);
        }
        match self.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => {
                *slot = Some(encoder);
                None
            }
            None => Some(encoder),
        }
    }
}

/// One encoder and the payload that it made of this interval's mix.
#[derive(Debug)]
pub(crate) struct SharedEncoder {
    pub(crate) encoder: Encoder,
    payload: [u8; MAX_PAYLOAD],
    length: usize,
    /// Interval for which `payload` was made; the encoder was in use without a break up to it.
    interval: u64,
}

impl SharedEncoder {
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            encoder: Encoder::new(codec),
            payload: [0; MAX_PAYLOAD],
            length: 0,
            interval: 0,
        }
    }

    /// Whether the encoder's state is that of a stream that somebody hears: it made the payload of the interval before.
    fn is_warm(&self, interval: u64) -> bool {
        self.interval + 1 >= interval && self.interval != 0
    }

    /// The payload of this interval, and whether it was encoded now: that is at the first call, and shared after.
    /// `successor_of` is an encoder whose stream this one continues if it has no stream of its own to continue.
    pub(crate) fn payload(
        &mut self,
        interval: u64,
        frame: &[i16],
        successor_of: &Encoder,
    ) -> (&[u8], bool) {
        let fresh = self.interval != interval;
        if fresh {
            if !self.is_warm(interval) {
                self.encoder.copy_state_from(successor_of);
            }
            self.length = self.encoder.encode(frame, &mut self.payload);
            self.interval = interval;
        }
        (&self.payload[..self.length], fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talker_is_not_among_the_contributors_to_what_it_hears() {
        let mut talkers = Talkers::default();
        for ssrc in 1..=20 {
            talkers.add(ssrc);
        }
        assert_eq!(talkers.all().len(), MAX_CSRCS);
        let mut list = [0; MAX_CSRCS];
        assert_eq!(talkers.others(Some(3), &mut list).len(), MAX_CSRCS - 1);
        assert!(!talkers.others(Some(3), &mut list).contains(&3));
        assert_eq!(talkers.others(None, &mut list).len(), MAX_CSRCS);
    }

    #[test]
    fn one_interval_is_encoded_once() {
        let mut shared = SharedEncoder::new(Codec::Pcmu);
        let own = Encoder::new(Codec::Pcmu);
        let first = shared.payload(1, &[1000; 160], &own).0.to_vec();
        let (again, fresh) = shared.payload(1, &[-1000; 160], &own);
        assert!(!fresh);
        assert_eq!(again, first);
        assert!(shared.is_warm(2));
        assert!(!shared.is_warm(3));
        assert_ne!(shared.payload(2, &[-1000; 160], &own).0, first);
    }

    #[test]
    fn a_second_encoder_of_a_format_is_given_back() {
        let mut encoders = SharedEncoders::default();
        assert!(
            encoders
                .add(Box::new(SharedEncoder::new(Codec::Pcmu)))
                .is_none()
        );
        assert!(
            encoders
                .add(Box::new(SharedEncoder::new(Codec::Pcmu)))
                .is_some()
        );
        assert!(
            encoders
                .add(Box::new(SharedEncoder::new(Codec::Pcma)))
                .is_none()
        );
        assert!(encoders.get(Codec::Pcma).is_some());
        assert!(encoders.get(Codec::Opus).is_none());
    }
}
