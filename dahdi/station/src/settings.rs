//! What a program has set on a channel: kept beside the exchange, so that a forked child finds it whole although the mixing thread
//! was in the midst of something when the fork came.

use unisono_dahdi::request::{BufInfo, ConfInfo, Gains, Reply, Request};

/// Settings of one channel.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelSettings {
    buffers: Option<BufInfo>,
    block: Option<i32>,
    linear: Option<bool>,
    law: Option<i32>,
    mute: Option<i32>,
    gains: Option<Box<Gains>>,
    conference: Option<ConfInfo>,
}

/// Whether a request sets what is kept here.
pub(crate) const fn is_setting(request: &Request) -> bool {
    matches!(
        request,
        Request::SetBufInfo(_)
            | Request::SetBlockSize(_)
            | Request::SetLinear(_)
            | Request::SetLaw(_)
            | Request::ConfMute(_)
            | Request::SetGains(_)
            | Request::SetConf(_)
    )
}

/// The number of the channel that a request is about, 0 being the one that asks.
pub(crate) fn target_of(request: &Request) -> i32 {
    match request {
        Request::SetGains(gains) => gains.channel,
        Request::SetConf(info) => info.channel,
        _ => 0,
    }
}

impl ChannelSettings {
    /// Takes note of a request that was served.
    pub(crate) fn note(&mut self, request: Request, reply: &Reply) {
        match (request, reply) {
            (Request::SetBufInfo(info), _) => {
                self.buffers = Some(info);
                self.block = None;
            }
            (Request::SetBlockSize(block), _) => self.block = Some(block),
            (Request::SetLinear(linear), _) => self.linear = Some(linear),
            (Request::SetLaw(law), _) => self.law = Some(law),
            (Request::ConfMute(mute), _) => self.mute = Some(mute),
            (Request::SetGains(gains), _) => self.gains = Some(gains),
            (Request::SetConf(_), Reply::Conf(info)) => self.conference = Some(*info),
            _ => {}
        }
    }

    /// Samples of a block.
    pub(crate) fn block(&self) -> usize {
        let set = self.block.or(self.buffers.map(|info| info.block));
        set.map_or(DEFAULT_BLOCK, |block| block as usize)
    }

    /// What makes a new channel like this one, in the order in which it is to be asked.
    pub(crate) fn requests(self) -> impl Iterator<Item = Request> {
        let gains = self.gains.map(|gains| {
            let gains = Gains {
                channel: 0,
                ..*gains
            };
            Request::SetGains(Box::new(gains))
        });
        let conference = self.conference.map(|info| {
            let info = ConfInfo { channel: 0, ..info };
            Request::SetConf(info)
        });
        [
            self.buffers.map(Request::SetBufInfo),
            self.block.map(Request::SetBlockSize),
            self.linear.map(Request::SetLinear),
            self.law.map(Request::SetLaw),
            self.mute.map(Request::ConfMute),
            gains,
            conference,
        ]
        .into_iter()
        .flatten()
    }
}

/// Of a channel that is new.
const DEFAULT_BLOCK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_last_is_asked_again_of_the_channel_itself() {
        let buffers = BufInfo {
            tx_policy: 0,
            rx_policy: 0,
            buffers: 32,
            block: 160,
            read_buffers: 0,
            write_buffers: 0,
        };
        let given = ConfInfo {
            channel: 0x8003,
            conference: 1023,
            mode: 7,
        };
        let asked = ConfInfo {
            channel: 0,
            conference: -1,
            mode: 7,
        };
        let mut settings = ChannelSettings::default();
        settings.note(Request::SetBlockSize(80), &Reply::Done);
        settings.note(Request::SetBufInfo(buffers), &Reply::Done);
        settings.note(Request::SetLinear(false), &Reply::Done);
        settings.note(Request::SetLinear(true), &Reply::Done);
        settings.note(Request::SetConf(asked), &Reply::Conf(given));
        let again: Vec<_> = settings.requests().collect();
        let conference = Request::SetConf(ConfInfo {
            channel: 0,
            ..given
        });
        assert_eq!(
            again,
            [
                Request::SetBufInfo(buffers),
                Request::SetLinear(true),
                conference
            ]
        );
    }
}
