//! The framing of Opus packets (RFC 6716 section 3): measuring them, and merging several into one longer packet.
//!
//! Nothing here decodes audio or allocates, and any octets may be given: what is not a packet is said to be malformed.
//! Merging lets 20 ms payloads that are encoded once for everybody be sent to those who asked for 40 or 60 ms.

use thiserror::Error;

/// Longest packet of RFC 6716 section 3.2.5 (requirement R5): 120 ms, in samples at 48 kHz.
pub const MAX_SAMPLES: usize = 5760;

/// Why packets were not merged; the output holds nothing of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// One of the packets breaks RFC 6716 section 3.4, or there is none: drop it.
    #[error("not an Opus packet")]
    Malformed,
    /// The packets' mode, bandwidth, frame size or channels differ: send them one by one.
    #[error("the packets have different configurations")]
    ConfigurationDiffers,
    /// Together they would last longer than 120 ms: merge fewer.
    #[error("the merged packet would last longer than 120 ms")]
    TooLong,
    /// The merged packet does not fit the output: send them one by one.
    #[error("the merged packet does not fit the output")]
    OutputTooSmall,
}

/// Merges packets of one stream, in order, into one packet that decodes to the same audio. Returns its length in
/// octets. Padding is dropped, and the shortest of the codes of RFC 6716 section 3.2 is used.
///
/// Only packets of one configuration can be merged; a mode switch of the encoder between two packets is rare but
/// normal, so be ready to send them one by one.
///
/// # Errors
/// See [`MergeError`].
pub fn merge(packets: &[&[u8]], out: &mut [u8]) -> Result<usize, MergeError> {
    let mut config = None;
    let mut samples = 0;
    let mut count = 0;
    let mut sizes = Sizes::default();
    for packet in packets {
        let packet = Packet::parse(packet).ok_or(MergeError::Malformed)?;
        if *config.get_or_insert(packet.config()) != packet.config() {
            return Err(MergeError::ConfigurationDiffers);
        }
        samples += packet.samples();
        if samples > MAX_SAMPLES {
            return Err(MergeError::TooLong);
        }
        count += packet.count;
        packet.frames().for_each(|frame| sizes.add(frame.len()));
    }
    let config = config.ok_or(MergeError::Malformed)?;

    let mut writer = Writer { out, length: 0 };
    match (count, sizes.equal) {
        (1, _) => writer.put(&[config])?,
        (2, true) => writer.put(&[config | 1])?,
        (2, false) => {
            writer.put(&[config | 2])?;
            writer.put_size(sizes.first)?;
        }
        (_, equal) => {
            // 120 ms are at most 48 frames, so the count fits its six bits.
            writer.put(&[
                config | 3,
                if equal {
                    count as u8
                } else {
                    VARIABLE | count as u8
                },
            ])?;
            if !equal {
                let all_but_last = packets
                    .iter()
                    .filter_map(|packet| Packet::parse(packet))
                    .flat_map(Packet::frames);
                all_but_last
                    .take(count - 1)
                    .try_for_each(|frame| writer.put_size(frame.len()))?;
            }
        }
    }
    let mut frames = packets
        .iter()
        .filter_map(|packet| Packet::parse(packet))
        .flat_map(Packet::frames);
    frames.try_for_each(|frame| writer.put(frame))?;
    Ok(writer.length)
}

/// Duration of a packet in samples at 48 kHz, 120 to [`MAX_SAMPLES`]; `None` if it breaks a rule of RFC 6716
/// section 3.4, as a hostile one would.
pub fn samples_in(packet: &[u8]) -> Option<usize> {
    Packet::parse(packet).map(Packet::samples)
}

/// Whether the packet carries a low-bitrate copy of the audio before it (in-band FEC, RFC 6716 section 4.2.5), and
/// then for how many samples at 48 kHz.
pub(super) fn redundancy_in(packet: &[u8]) -> Option<usize> {
    let packet = Packet::parse(packet)?;
    // Configurations from 16 up have no SILK layer (table 2), and only SILK has redundancy.
    if packet.toc >> 3 >= 16 {
        return None;
    }
    // A SILK frame begins with one activity bit for each of its 20 ms and then says whether redundancy follows
    // (section 4.2.3), once for each channel.
    let parts = (packet.frame_samples() / 960).max(1);
    let flags = *packet.frames().next()?.first()?;
    let middle = flags >> (7 - parts) & 1 == 1;
    let side = packet.toc & STEREO != 0 && flags >> (6 - 2 * parts) & 1 == 1;
    (middle || side).then(|| packet.frame_samples())
}

/// Whether the encoder found no speech in the packet: every activity bit of its SILK layer is 0. False where it has no
/// such layer, or is no packet.
pub(super) fn is_inactive(packet: &[u8]) -> bool {
    let Some(packet) = Packet::parse(packet) else {
        return false;
    };
    if packet.toc >> 3 >= 16 {
        return false;
    }
    let parts = (packet.frame_samples() / 960).max(1);
    let channels = 1 + u32::from(packet.toc & STEREO != 0);
    // A channel's activity bits come first, then its redundancy bit; then the other channel's.
    let activity = (0..channels).fold(0, |mask, _| {
        mask << (parts + 1) | (u16::MAX >> (16 - parts)) << 1
    });
    let bits = (parts as u32 + 1) * channels;
    let mask = (activity << (8 - bits)) as u8;
    packet
        .frames()
        .all(|frame| frame.first().is_none_or(|flags| flags & mask == 0))
}

const STEREO: u8 = 0x04;
const VARIABLE: u8 = 0x80;
const PADDED: u8 = 0x40;
/// Largest frame, octets (section 3.4, R2).
const MAX_FRAME: usize = 1275;

/// A packet that keeps the rules of RFC 6716 section 3.4.
#[derive(Clone, Copy)]
struct Packet<'a> {
    toc: u8,
    /// Number of frames, 1 to 48.
    count: usize,
    layout: Layout,
    /// The frame sizes, where the packet has a list of them; with [`Layout::Equal`] empty.
    sizes: &'a [u8],
    /// The frames, without padding.
    body: &'a [u8],
}

#[derive(Clone, Copy)]
enum Layout {
    /// All frames have this size.
    Equal(usize),
    /// All frames but the last have their size listed.
    Listed,
}

impl<'a> Packet<'a> {
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let (&toc, rest) = packet.split_first()?;
        let (count, layout, sizes, body) = match toc & 3 {
            0 => (1, Layout::Equal(rest.len()), &[][..], rest),
            1 => (2, equal(rest.len(), 2)?, &[][..], rest),
            2 => {
                let (_, listed) = size(rest)?;
                (2, Layout::Listed, &rest[..listed], &rest[listed..])
            }
            _ => {
                let (&head, rest) = rest.split_first()?;
                let count = usize::from(head & 0x3f);
                let rest = if head & PADDED != 0 {
                    strip_padding(rest)?
                } else {
                    rest
                };
                if count == 0 {
                    return None;
                } else if head & VARIABLE == 0 {
                    (count, equal(rest.len(), count)?, &[][..], rest)
                } else {
                    let mut listed = 0;
                    for _ in 1..count {
                        listed += size(&rest[listed..])?.1;
                    }
                    (count, Layout::Listed, &rest[..listed], &rest[listed..])
                }
            }
        };
        let packet = Self {
            toc,
            count,
            layout,
            sizes,
            body,
        };
        let last = match layout {
            Layout::Equal(size) => size,
            Layout::Listed => body.len().checked_sub(packet.listed().sum())?,
        };
        (last <= MAX_FRAME && packet.samples() <= MAX_SAMPLES).then_some(packet)
    }

    /// Mode, bandwidth, frame size and channels; the TOC octet without its code.
    fn config(self) -> u8 {
        self.toc & !3
    }

    fn samples(self) -> usize {
        self.count * self.frame_samples()
    }

    /// Table 2: duration of each frame in samples at 48 kHz.
    fn frame_samples(self) -> usize {
        let config = self.toc >> 3;
        match config {
            0..12 => [480, 960, 1920, 2880][usize::from(config & 3)],
            12..16 => [480, 960][usize::from(config & 1)],
            _ => 120 << (config & 3),
        }
    }

    fn frames(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.body;
        let mut listed = self.listed();
        (0..self.count).map(move |_| {
            let size = match self.layout {
                Layout::Equal(size) => size,
                Layout::Listed => listed.next().unwrap_or(rest.len()),
            };
            let (frame, after) = rest.split_at(size);
            rest = after;
            frame
        })
    }

    /// The sizes in the list.
    fn listed(self) -> impl Iterator<Item = usize> {
        let mut rest = self.sizes;
        std::iter::from_fn(move || {
            let (frame, octets) = size(rest)?;
            rest = &rest[octets..];
            Some(frame)
        })
    }
}

/// Whether all frames to be merged have one size.
struct Sizes {
    first: usize,
    equal: bool,
    any: bool,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            first: 0,
            equal: true,
            any: false,
        }
    }
}

impl Sizes {
    fn add(&mut self, size: usize) {
        if !self.any {
            self.first = size;
            self.any = true;
        }
        self.equal &= size == self.first;
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn put(&mut self, octets: &[u8]) -> Result<(), MergeError> {
        let end = self.length + octets.len();
        self.out
            .get_mut(self.length..end)
            .ok_or(MergeError::OutputTooSmall)?
            .copy_from_slice(octets);
        self.length = end;
        Ok(())
    }

    /// Section 3.2.1: one octet below 252, else two.
    fn put_size(&mut self, size: usize) -> Result<(), MergeError> {
        if size < 252 {
            self.put(&[size as u8])
        } else {
            let low = 252 + size % 4;
            self.put(&[low as u8, ((size - low) / 4) as u8])
        }
    }
}

fn equal(octets: usize, count: usize) -> Option<Layout> {
    octets
        .is_multiple_of(count)
        .then_some(Layout::Equal(octets / count))
}

/// Section 3.2.1: a frame size, and how many octets it took.
fn size(octets: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*octets.first()?);
    if first < 252 {
        Some((first, 1))
    } else {
        Some((first + 4 * usize::from(*octets.get(1)?), 2))
    }
}

/// Section 3.2.5: the padding's length precedes the rest of the packet, the padding itself ends it.
fn strip_padding(mut rest: &[u8]) -> Option<&[u8]> {
    let mut padding = 0;
    loop {
        let (&octet, after) = rest.split_first()?;
        rest = after;
        if octet < 255 {
            padding += usize::from(octet);
            break;
        }
        padding += 254;
    }
    rest.get(..rest.len().checked_sub(padding)?)
}
