//! The structures that requests carry, in the machine's byte order, laid out as on 64-bit Linux.

use super::Errno;

/// `struct dahdi_bufferinfo`, 24 bytes: the buffers of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufInfo {
    /// When writing starts to be taken: 0 at once, 1 when all buffers are full, 2 when half of them are.
    pub tx_policy: i32,
    /// Ignored when set, 0 when asked.
    pub rx_policy: i32,
    /// Buffers in each direction, 2 to 32.
    pub buffers: i32,
    /// Samples in a buffer, 16 to 8192.
    pub block: i32,
    /// Always -1 when asked.
    pub read_buffers: i32,
    /// Always -1 when asked.
    pub write_buffers: i32,
}

impl BufInfo {
    /// Bytes on the wire.
    pub const SIZE: usize = 24;

    /// Reads the structure; [`Errno::Einval`] unless `bytes` are exactly its size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Errno> {
        let [
            tx_policy,
            rx_policy,
            buffers,
            block,
            read_buffers,
            write_buffers,
        ] = ints(bytes)?;
        Ok(Self {
            tx_policy,
            rx_policy,
            buffers,
            block,
            read_buffers,
            write_buffers,
        })
    }

    /// The structure as the program sees it.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        packed(&[
            self.tx_policy,
            self.rx_policy,
            self.buffers,
            self.block,
            self.read_buffers,
            self.write_buffers,
        ])
    }
}

/// `struct dahdi_confinfo`, 12 bytes: who is in which conference, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConfInfo {
    /// Channel number; 0 is the channel asked.
    pub channel: i32,
    /// Conference 1 to 1024, -1 for any free one, 0 for none; in monitor modes the number of the channel to hear.
    pub conference: i32,
    /// Mode in the low byte, flags above: see [`super::confmode`].
    pub mode: i32,
}

impl ConfInfo {
    /// Bytes on the wire.
    pub const SIZE: usize = 12;

    /// Reads the structure; [`Errno::Einval`] unless `bytes` are exactly its size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Errno> {
        let [channel, conference, mode] = ints(bytes)?;
        Ok(Self {
            channel,
            conference,
            mode,
        })
    }

    /// The structure as the program sees it.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        packed(&[self.channel, self.conference, self.mode])
    }
}

/// `struct dahdi_gains`, 516 bytes: a table for each direction, octet to octet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gains {
    /// Channel number; 0 is the channel asked.
    pub channel: i32,
    /// What is received as the index becomes this octet.
    pub rx: [u8; 256],
    /// What is sent as the index becomes this octet.
    pub tx: [u8; 256],
}

impl Gains {
    /// Bytes on the wire.
    pub const SIZE: usize = 516;

    /// Tables that change nothing, as of a new channel.
    pub fn identity(channel: i32) -> Self {
        let same = std::array::from_fn(|octet| octet as u8);
        Self {
            channel,
            rx: same,
            tx: same,
        }
    }

    /// Reads the structure; [`Errno::Einval`] unless `bytes` are exactly its size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Errno> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().map_err(|_| Errno::Einval)?;
        let (channel, tables) = bytes.split_at(4);
        let (rx, tx) = tables.split_at(256);
        let table = |table: &[u8]| std::array::from_fn(|n| table[n]);
        Ok(Self {
            channel: int(channel)?,
            rx: table(rx),
            tx: table(tx),
        })
    }

    /// The structure as the program sees it.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.channel.to_ne_bytes());
        bytes[4..260].copy_from_slice(&self.rx);
        bytes[260..].copy_from_slice(&self.tx);
        bytes
    }
}

/// `struct dahdi_params`, 136 bytes: what a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Channel number; 0 in a question is the channel asked.
    pub channel: i32,
    /// Span, 0 for none.
    pub span: i32,
    /// Position in the span, from 1.
    pub position: i32,
    /// Signalling: 0x80 for a clear channel, which every pseudo channel is.
    pub signalling: i32,
    /// Signallings it is capable of.
    pub capabilities: i32,
    /// Off hook, bits received and sent, hook signals sent and received: of real lines only.
    pub line: [i32; 5],
    /// Companding: 1 µ-law, 2 A-law.
    pub law: i32,
    /// Bits of an idle line.
    pub idle_bits: i32,
    /// Name, ended by a zero.
    pub name: [u8; 40],
    /// Eleven times of signalling in ms, in the structure's order.
    pub times: [i32; 11],
    /// Alarms of the line.
    pub alarms: i32,
}

impl Params {
    /// Bytes on the wire.
    pub const SIZE: usize = 136;

    /// Reads the structure; [`Errno::Einval`] unless `bytes` are exactly its size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Errno> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().map_err(|_| Errno::Einval)?;
        let head: [i32; 12] = ints(&bytes[..48])?;
        let tail: [i32; 12] = ints(&bytes[88..])?;
        Ok(Self {
            channel: head[0],
            span: head[1],
            position: head[2],
            signalling: head[3],
            capabilities: head[4],
            line: std::array::from_fn(|n| head[5 + n]),
            law: head[10],
            idle_bits: head[11],
            name: std::array::from_fn(|n| bytes[48 + n]),
            times: std::array::from_fn(|n| tail[n]),
            alarms: tail[11],
        })
    }

    /// The structure as the program sees it.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut head = [
            self.channel,
            self.span,
            self.position,
            self.signalling,
            self.capabilities,
            0,
            0,
            0,
            0,
            0,
            self.law,
            self.idle_bits,
        ];
        head[5..10].copy_from_slice(&self.line);
        let mut bytes = [0; Self::SIZE];
        bytes[..48].copy_from_slice(&packed::<48>(&head));
        bytes[48..88].copy_from_slice(&self.name);
        bytes[88..132].copy_from_slice(&packed::<44>(&self.times));
        bytes[132..].copy_from_slice(&self.alarms.to_ne_bytes());
        bytes
    }
}

/// `struct dahdi_dialparams`, 24 bytes: how tones are dialled, by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialParams {
    /// Length of an MF tone, ms.
    pub mf_tone: i32,
    /// Length of a DTMF tone, ms.
    pub dtmf_tone: i32,
    /// Reserved.
    pub reserved: [i32; 4],
}

impl DialParams {
    /// Bytes on the wire.
    pub const SIZE: usize = 24;

    /// Reads the structure; [`Errno::Einval`] unless `bytes` are exactly its size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Errno> {
        let [mf_tone, dtmf_tone, a, b, c, d] = ints(bytes)?;
        Ok(Self {
            mf_tone,
            dtmf_tone,
            reserved: [a, b, c, d],
        })
    }

    /// The structure as the program sees it.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let [a, b, c, d] = self.reserved;
        packed(&[self.mf_tone, self.dtmf_tone, a, b, c, d])
    }
}

/// `struct dahdi_indirect_data`, 16 bytes: a request to be carried out for another channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indirect {
    /// The channel's number.
    pub channel: i32,
    /// The code of the request.
    pub code: u32,
    /// The address of its argument, in the program.
    pub data: u64,
}

impl Indirect {
    /// Bytes on the wire.
    pub const SIZE: usize = 16;

    /// Reads the structure; [`Errno::Einval`] unless `bytes` are exactly its size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Errno> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().map_err(|_| Errno::Einval)?;
        let data = bytes[8..].try_into().map_err(|_| Errno::Einval)?;
        Ok(Self {
            channel: int(&bytes[..4])?,
            code: int(&bytes[4..8])? as u32,
            data: u64::from_ne_bytes(data),
        })
    }

    /// The structure as the program sees it.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&packed::<8>(&[self.channel, self.code as i32]));
        bytes[8..].copy_from_slice(&self.data.to_ne_bytes());
        bytes
    }
}

/// `struct dahdi_versioninfo`, 160 bytes: two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The version, ended by a zero.
    pub version: [u8; 80],
    /// Names of echo cancellers, ended by a zero: none.
    pub echo_cancellers: [u8; 80],
}

impl Version {
    /// Bytes on the wire.
    pub const SIZE: usize = 160;

    /// A version without echo cancellers; its first 79 bytes count.
    pub fn of(text: &str) -> Self {
        let mut version = [0; 80];
        for (to, from) in version[..79].iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self {
            version,
            echo_cancellers: [0; 80],
        }
    }

    /// The structure as the program sees it.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..80].copy_from_slice(&self.version);
        bytes[80..].copy_from_slice(&self.echo_cancellers);
        bytes
    }
}

/// One `int`; [`Errno::Einval`] of another length.
pub(super) fn int(bytes: &[u8]) -> Result<i32, Errno> {
    let bytes = bytes.try_into().map_err(|_| Errno::Einval)?;
    Ok(i32::from_ne_bytes(bytes))
}

fn ints<const N: usize>(bytes: &[u8]) -> Result<[i32; N], Errno> {
    if bytes.len() != N * 4 {
        return Err(Errno::Einval);
    }
    let mut all = [0; N];
    for (one, bytes) in all.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *one = i32::from_ne_bytes(*bytes);
    }
    Ok(all)
}

fn packed<const BYTES: usize>(ints: &[i32]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (bytes, int) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(ints) {
        *bytes = int.to_ne_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are all different from their neighbours, so that no two fields can be exchanged unnoticed.
    fn pattern<const N: usize>() -> [u8; N] {
        std::array::from_fn(|n| (n * 7 + 1) as u8)
    }

    #[test]
    fn every_structure_comes_back_as_it_went() {
        assert_eq!(
            BufInfo::from_bytes(&pattern::<24>()).unwrap().to_bytes(),
            pattern()
        );
        assert_eq!(
            ConfInfo::from_bytes(&pattern::<12>()).unwrap().to_bytes(),
            pattern()
        );
        assert_eq!(
            Gains::from_bytes(&pattern::<516>()).unwrap().to_bytes(),
            pattern()
        );
        assert_eq!(
            DialParams::from_bytes(&pattern::<24>()).unwrap().to_bytes(),
            pattern()
        );
        assert_eq!(
            Indirect::from_bytes(&pattern::<16>()).unwrap().to_bytes(),
            pattern()
        );
        assert_eq!(
            Params::from_bytes(&pattern::<136>()).unwrap().to_bytes(),
            pattern()
        );
    }

    #[test]
    fn another_length_is_refused() {
        assert_eq!(BufInfo::from_bytes(&[0; 20]), Err(Errno::Einval));
        assert_eq!(ConfInfo::from_bytes(&[0; 13]), Err(Errno::Einval));
        assert_eq!(Gains::from_bytes(&[0; 515]), Err(Errno::Einval));
        assert_eq!(Params::from_bytes(&[]), Err(Errno::Einval));
    }

    #[test]
    fn fields_are_where_the_header_has_them() {
        let mut bytes = [0; 136];
        bytes[40..44].copy_from_slice(&2_i32.to_ne_bytes());
        bytes[48] = b'P';
        bytes[132..].copy_from_slice(&9_i32.to_ne_bytes());
        let params = Params::from_bytes(&bytes).unwrap();
        assert_eq!((params.law, params.name[0], params.alarms), (2, b'P', 9));
    }
}
