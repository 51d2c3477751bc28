//! What a pseudo channel answers.

use super::law::Law;
use super::mode::Mode;
use super::spares::Spares;
use super::{ChannelNumber, Exchange, MAX_CONFERENCE};
use crate::request::{BufInfo, ConfInfo, Errno, Reply, Request, event, flush, iomux};

/// Range of a block, samples.
const BLOCKS: std::ops::RangeInclusive<i32> = 16..=8192;

/// Most samples in all buffers of a direction, as asked for.
const MAX_SAMPLES: i64 = 32_768;

/// Highest number of a tone that a zone may have.
const MAX_TONE: i32 = 16;

impl Exchange {
    /// Serves a request of a channel's program at the time `now`, samples.
    ///
    /// `SYNC` and `IOMUX` answer [`Reply::Wait`] instead of blocking.
    ///
    /// # Errors
    ///
    /// As DAHDI: [`Errno::Einval`] for values out of range and channels that do not exist, [`Errno::Ebusy`] when no
    /// conference is free, [`Errno::Enodata`] for tones, as no zone is loaded, [`Errno::Enotty`] for requests of other devices.
    /// [`Errno::Enodev`] for a closed channel.
    pub fn request(
        &mut self,
        number: ChannelNumber,
        request: Request,
        now: u64,
    ) -> Result<Reply, Errno> {
        self.request_with(&mut Spares::default(), number, request, now)
    }

    /// The same, without allocating or freeing: with what [`Exchange::needs`] says. What is no longer needed is left in `spares`.
    ///
    /// # Errors
    ///
    /// As of [`request`](Self::request).
    pub fn request_with(
        &mut self,
        spares: &mut Spares,
        number: ChannelNumber,
        request: Request,
        now: u64,
    ) -> Result<Reply, Errno> {
        self.channel(number)?;
        match request {
            Request::GetConf { channel } => {
                let target = self.target(number, channel)?;
                Ok(Reply::Conf(self.conference(target)?))
            }
            Request::SetConf(info) => self.set_conf(spares, number, info, now).map(Reply::Conf),
            Request::GetParams { channel } => {
                let target = self.target(number, channel)?;
                Ok(Reply::Params(self.channel(target)?.params()))
            }
            Request::SetParams(params) => {
                let target = self.target(number, params.channel)?;
                self.channel_mut(target)?.times = params.times;
                Ok(Reply::Done)
            }
            Request::GetGains { channel } => {
                let target = self.target(number, channel)?;
                Ok(Reply::Gains(self.channel(target)?.gains(spares)))
            }
            Request::SetGains(mut gains) => {
                let target = self.target(number, gains.channel)?;
                gains.channel = target.get();
                spares.gains = self.channel_mut(target)?.gains.replace(gains);
                Ok(Reply::Done)
            }
            request => self.with(number, now, |channel| channel.request(request, spares)),
        }
    }

    fn set_conf(
        &mut self,
        spares: &mut Spares,
        number: ChannelNumber,
        info: ConfInfo,
        now: u64,
    ) -> Result<ConfInfo, Errno> {
        let target = self.target(number, info.channel)?;
        let monitored = if matches!(Mode::of(info.mode), Mode::Monitor { .. }) {
            Some(self.slot_of(info.conference).ok_or(Errno::Einval)?)
        } else if (-1..=MAX_CONFERENCE).contains(&info.conference) {
            None
        } else {
            return Err(Errno::Einval);
        };
        if (info.conference == 0) != (info.mode == 0) {
            return Err(Errno::Einval);
        }
        let conference = match info.conference {
            -1 => self.conferences.first_empty().ok_or(Errno::Ebusy)?,
            conference => conference,
        };

        let before = self.channel(target)?.conference;
        let monitored_before = self.slot_of(before);
        if before != conference {
            self.conferences.leave(before, target.slot(), spares);
            self.conferences.join(conference, target.slot(), spares);
        }
        let channel = self.channel_mut(target)?;
        channel.pass_to(now);
        channel.set_conference(conference, info.mode);
        let answer = channel.conf_info();

        for (of, more) in [(monitored_before, false), (monitored, true)] {
            if let Some(channel) = of.and_then(|of| self.slots[of].as_deref_mut()) {
                channel.pass_to(now);
                channel.monitors = if more {
                    channel.monitors + 1
                } else {
                    channel.monitors.saturating_sub(1)
                };
            }
        }
        self.refresh_grid(now);
        Ok(answer)
    }

    /// The channel that a request is about: 0 is the one that asks.
    fn target(&self, number: ChannelNumber, channel: i32) -> Result<ChannelNumber, Errno> {
        if channel == 0 {
            return Ok(number);
        }
        self.find(channel).ok_or(Errno::Einval)
    }
}

impl super::channel::Channel {
    /// The samples of a block and the number of buffers that a request sets, if it does.
    pub(super) fn new_buffers(&self, request: &Request) -> Result<Option<(usize, usize)>, Errno> {
        match *request {
            Request::SetBlockSize(block) => {
                let block = block_size(block)?;
                if block * self.buffers > MAX_SAMPLES as usize {
                    return Err(Errno::Enomem);
                }
                Ok(Some((block, self.buffers)))
            }
            Request::SetBufInfo(info) => {
                let block = block_size(info.block)?;
                if i64::from(info.block) * i64::from(info.buffers) > MAX_SAMPLES {
                    return Err(Errno::Einval);
                }
                Ok(Some((block, info.buffers.clamp(2, 32) as usize)))
            }
            _ => Ok(None),
        }
    }

    /// What concerns this channel alone.
    fn request(&mut self, request: Request, spares: &mut Spares) -> Result<Reply, Errno> {
        if let Some((block, buffers)) = self.new_buffers(&request)? {
            if let Request::SetBufInfo(info) = request {
                self.policy = info.tx_policy & 3;
            }
            self.set_buffers(block, buffers, spares);
            return Ok(Reply::Done);
        }
        Ok(match request {
            Request::GetBlockSize => Reply::Int(self.block as i32),
            Request::GetBufInfo => Reply::BufInfo(BufInfo {
                tx_policy: self.policy,
                rx_policy: 0,
                buffers: self.buffers as i32,
                block: self.block as i32,
                read_buffers: -1,
                write_buffers: -1,
            }),
            Request::SetLinear(linear) => {
                self.format.linear = linear;
                Reply::Done
            }
            Request::SetLaw(law) => {
                self.format.law = match law {
                    0 | 1 => Law::Mu,
                    2 => Law::A,
                    _ => return Err(Errno::Einval),
                };
                Reply::Done
            }
            Request::Flush(mask) => {
                if mask & flush::READ != 0 {
                    self.receive.clear();
                }
                if mask & flush::WRITE != 0 {
                    self.transmit.clear();
                }
                if mask & flush::EVENT != 0 {
                    self.events.clear();
                }
                Reply::Done
            }
            Request::Sync if self.transmit.is_empty() => Reply::Done,
            Request::Sync => Reply::Wait,
            Request::Iomux(mask) => return self.iomux(mask),
            Request::GetEvent => Reply::Int(self.events.pop().unwrap_or(event::NONE)),
            Request::ConfMute(mute) => {
                self.mute = mute;
                Reply::Done
            }
            Request::GetConfMute => Reply::Int(self.mute),
            Request::ChanNo => Reply::Int(self.number),
            Request::SendTone(-1) => Reply::Done,
            Request::SendTone(0..=MAX_TONE) | Request::SetToneZone(_) | Request::Dial => {
                return Err(Errno::Enodata);
            }
            Request::SendTone(_) | Request::SpanStat { .. } => return Err(Errno::Einval),
            Request::GetToneZone | Request::Dialing => Reply::Int(0),
            Request::ConfDiag(_) | Request::SetCadence => Reply::Done,
            _ => return Err(Errno::Enotty),
        })
    }

    fn iomux(&mut self, mask: u32) -> Result<Reply, Errno> {
        let known = iomux::READ | iomux::WRITE | iomux::WRITE_EMPTY | iomux::EVENT;
        if mask & (known | iomux::NO_WAIT) == 0 {
            return Err(Errno::Einval);
        }
        if mask & iomux::WRITE_EMPTY != 0 {
            self.transmit.start();
        }
        let now = self.readiness();
        let mut met = 0;
        for (bit, is_met) in [
            (iomux::READ, now.readable),
            (iomux::WRITE, now.writable),
            (iomux::WRITE_EMPTY, now.drained),
            (iomux::EVENT, now.urgent),
        ] {
            if is_met {
                met |= mask & bit;
            }
        }
        if met == 0 && mask & iomux::NO_WAIT == 0 {
            if mask & iomux::WRITE != 0 {
                self.transmit.pace();
            }
            return Ok(Reply::Wait);
        }
        Ok(Reply::Int(met as i32))
    }
}

fn block_size(block: i32) -> Result<usize, Errno> {
    if BLOCKS.contains(&block) {
        Ok(block as usize)
    } else {
        Err(Errno::Einval)
    }
}
