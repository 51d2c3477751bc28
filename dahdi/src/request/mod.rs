//! The wire: what a program's `ioctl` asks, and what it is answered.
//!
//! [`Request::decode`] is the one place that knows which device serves which code and of which size its argument is;
//! what it lets through is served by [`crate::exchange::Exchange`] or [`crate::control::Control`], or by a timer.
//!
//! Sources: DAHDI's public header `dahdi/user.h`, 2.11 and 3.x, whose codes are the same.

pub mod code;
mod errno;
mod record;

pub use errno::Errno;
pub use record::{BufInfo, ConfInfo, DialParams, Gains, Indirect, Params, Version};

use record::int;

/// Conference modes: the low byte of [`ConfInfo::mode`], and its flags.
pub mod confmode {
    /// In no conference: reads silence.
    pub const NORMAL: i32 = 0;
    /// Hears what another channel receives.
    pub const MONITOR: i32 = 1;
    /// Hears what another channel is sent.
    pub const MONITOR_TX: i32 = 2;
    /// Hears both directions of another channel.
    pub const MONITOR_BOTH: i32 = 3;
    /// Takes part in a conference as [`TALKER`] and [`LISTENER`] say.
    pub const CONF: i32 = 4;
    /// Announces to a conference and reads silence.
    pub const ANNOUNCE: i32 = 5;
    /// Hears all of a conference.
    pub const LISTEN: i32 = 6;
    /// Announces to a conference and hears all of it, itself included.
    pub const ANNOUNCE_LISTEN: i32 = 7;
    /// As [`CONF`], with [`PSEUDO_TALKER`] and [`PSEUDO_LISTENER`].
    pub const REAL_AND_PSEUDO: i32 = 8;
    /// Hears what another channel receives, untouched.
    pub const DIGITAL_MONITOR: i32 = 9;
    /// [`MONITOR`] before echo cancelling, which a pseudo channel has not.
    pub const MONITOR_PREECHO: i32 = 10;
    /// [`MONITOR_TX`] before echo cancelling.
    pub const MONITOR_TX_PREECHO: i32 = 11;
    /// [`MONITOR_BOTH`] before echo cancelling.
    pub const MONITOR_BOTH_PREECHO: i32 = 12;
    /// The bits of the mode proper.
    pub const MASK: i32 = 0xff;
    /// Hears the conference without itself.
    pub const LISTENER: i32 = 0x100;
    /// Is heard by the conference.
    pub const TALKER: i32 = 0x200;
    /// [`LISTENER`] for [`REAL_AND_PSEUDO`].
    pub const PSEUDO_LISTENER: i32 = 0x400;
    /// [`TALKER`] for [`REAL_AND_PSEUDO`].
    pub const PSEUDO_TALKER: i32 = 0x800;
}

/// Bits of [`Request::Flush`].
pub mod flush {
    /// What was received and not yet read.
    pub const READ: i32 = 1;
    /// What was written and not yet sent.
    pub const WRITE: i32 = 2;
    /// Events.
    pub const EVENT: i32 = 4;
}

/// Bits of [`Request::Iomux`].
pub mod iomux {
    /// A block can be read.
    pub const READ: u32 = 1;
    /// A block can be written.
    pub const WRITE: u32 = 2;
    /// All that was written has been sent.
    pub const WRITE_EMPTY: u32 = 4;
    /// An event is waiting.
    pub const EVENT: u32 = 8;
    /// Do not wait.
    pub const NO_WAIT: u32 = 0x100;
}

/// Events that this library answers to [`Request::GetEvent`].
pub mod event {
    /// None.
    pub const NONE: i32 = 0;
    /// A timer has expired.
    pub const TIMER_EXPIRED: i32 = 15;
    /// A timer has been pinged.
    pub const TIMER_PING: i32 = 16;
    /// The channel went away; close it.
    pub const REMOVED: i32 = 20;
}

/// What was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// `/dev/dahdi/timer`.
    Timer,
    /// `/dev/dahdi/pseudo`.
    Pseudo,
    /// `/dev/dahdi/ctl`.
    Control,
    /// `/dev/dahdi/channel`, before it was told which channel to be.
    Channel,
}

/// A request that the device serves, with an argument of the right size.
///
/// Values are not judged yet: a negative block size is refused by who serves the request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// `TIMERCONFIG`: sets the period, samples; 0 and less disarm.
    TimerConfig(i32),
    /// `TIMERACK`: so many expirations were seen; less than 1 is all.
    TimerAck(i32),
    /// `TIMERPING`: makes the timer ready.
    TimerPing,
    /// `TIMERPONG`: takes that back.
    TimerPong,
    /// `GETEVENT`: which event waits; of a channel it is taken.
    GetEvent,

    /// `GET_BLOCKSIZE`.
    GetBlockSize,
    /// `SET_BLOCKSIZE`: samples, 16 to 8192; empties the buffers.
    SetBlockSize(i32),
    /// `GET_BUFINFO`.
    GetBufInfo,
    /// `SET_BUFINFO`; empties the buffers.
    SetBufInfo(BufInfo),
    /// `SETLINEAR`: 16-bit samples, or companded octets.
    SetLinear(bool),
    /// `SETLAW`: 0 default, 1 µ-law, 2 A-law.
    SetLaw(i32),
    /// `FLUSH`: bits of [`flush`].
    Flush(i32),
    /// `SYNC`: whether all that was written has been taken.
    Sync,
    /// `IOMUX`: bits of [`iomux`].
    Iomux(u32),
    /// `GETCONF`.
    GetConf {
        /// Number; 0 is the channel asked.
        channel: i32,
    },
    /// `SETCONF`.
    SetConf(ConfInfo),
    /// `CONFDIAG`: a conference's number; does nothing.
    ConfDiag(i32),
    /// `CONFMUTE`: stored, as a pseudo channel has no line to mute.
    ConfMute(i32),
    /// `GETCONFMUTE`.
    GetConfMute,
    /// `CHANNO`.
    ChanNo,
    /// `SENDTONE`: a tone of the zone, -1 stops.
    SendTone(i32),
    /// `GETTONEZONE`.
    GetToneZone,
    /// `SETTONEZONE`.
    SetToneZone(i32),
    /// `DIAL`.
    Dial,
    /// `DIALING`.
    Dialing,
    /// `SETCADENCE`: of a real line; does nothing.
    SetCadence,

    /// `GET_PARAMS`.
    GetParams {
        /// Number; 0 is the channel asked.
        channel: i32,
    },
    /// `SET_PARAMS`.
    SetParams(Params),
    /// `GETGAINS`.
    GetGains {
        /// Number; 0 is the channel asked.
        channel: i32,
    },
    /// `SETGAINS`: stored; they are of the line, which a pseudo channel has not.
    SetGains(Box<Gains>),
    /// `SPANSTAT`.
    SpanStat {
        /// Number of the span.
        span: i32,
    },

    /// `GETVERSION`.
    GetVersion,
    /// `DEFAULTZONE`.
    DefaultZone(i32),
    /// `LOADZONE`.
    LoadZone {
        /// Number of the tone zone.
        zone: i32,
    },
    /// `FREEZONE`.
    FreeZone(i32),
    /// `GET_DIALPARAMS`.
    GetDialParams,
    /// `SET_DIALPARAMS`.
    SetDialParams(DialParams),
    /// `INDIRECT`: the caller decodes what it points to, for [`Device::Pseudo`].
    Indirect(Indirect),
    /// `SPECIFY`: which channel to be.
    Specify(i32),
}

impl Request {
    /// Reads what a program asks of `device`.
    ///
    /// `argument` is what its pointer points to, [`code::Shape::size`] bytes; for codes that only bring something out it
    /// is not looked at.
    ///
    /// # Errors
    ///
    /// * [`Errno::Enotty`]: the device does not serve this code. A pseudo channel serves none of those for real lines
    ///   (hook, echo cancelling, tone detection), which programs count on.
    /// * [`Errno::Einval`]: the argument has not the size that the code says.
    /// * [`Errno::Enosys`]: any code but `SPECIFY` for [`Device::Channel`], and linking conferences.
    pub fn decode(device: Device, code: u32, argument: &[u8]) -> Result<Self, Errno> {
        match device {
            Device::Timer => Self::of_timer(code, argument),
            Device::Pseudo => Self::of_pseudo(code, argument),
            Device::Control => Self::of_control(code, argument),
            Device::Channel if code == code::SPECIFY => Ok(Self::Specify(int(argument)?)),
            Device::Channel => Err(Errno::Enosys),
        }
    }

    fn of_timer(code: u32, argument: &[u8]) -> Result<Self, Errno> {
        Ok(match code {
            code::TIMERCONFIG => Self::TimerConfig(int(argument)?),
            code::TIMERACK => Self::TimerAck(int(argument)?),
            code::TIMERPING => Self::TimerPing,
            code::TIMERPONG => Self::TimerPong,
            code::GETEVENT => Self::GetEvent,
            _ => return Err(Errno::Enotty),
        })
    }

    fn of_pseudo(code: u32, argument: &[u8]) -> Result<Self, Errno> {
        Ok(match code {
            code::GET_BLOCKSIZE => Self::GetBlockSize,
            code::SET_BLOCKSIZE => Self::SetBlockSize(int(argument)?),
            code::GET_BUFINFO => Self::GetBufInfo,
            code::SET_BUFINFO => Self::SetBufInfo(BufInfo::from_bytes(argument)?),
            code::SETLINEAR => Self::SetLinear(int(argument)? != 0),
            code::SETLAW => Self::SetLaw(int(argument)?),
            code::FLUSH => Self::Flush(int(argument)?),
            code::SYNC => Self::Sync,
            code::IOMUX => Self::Iomux(int(argument)? as u32),
            code::GETEVENT => Self::GetEvent,
            code::GETCONF | code::GETCONF_V1 => Self::GetConf {
                channel: ConfInfo::from_bytes(argument)?.channel,
            },
            code::SETCONF | code::SETCONF_V1 => Self::SetConf(ConfInfo::from_bytes(argument)?),
            code::CONFLINK => return Err(Errno::Enosys),
            code::CONFDIAG | code::CONFDIAG_V1 => Self::ConfDiag(int(argument)?),
            code::CONFMUTE => Self::ConfMute(int(argument)?),
            code::GETCONFMUTE => Self::GetConfMute,
            code::CHANNO => Self::ChanNo,
            code::SENDTONE => Self::SendTone(int(argument)?),
            code::GETTONEZONE => Self::GetToneZone,
            code::SETTONEZONE => Self::SetToneZone(int(argument)?),
            code::DIAL if argument.len() == 260 => Self::Dial,
            code::DIAL => return Err(Errno::Einval),
            code::DIALING => Self::Dialing,
            code::SETCADENCE if argument.is_empty() || argument.len() == 64 => Self::SetCadence,
            code::SETCADENCE => return Err(Errno::Einval),
            _ => return Self::common(code, argument),
        })
    }

    fn of_control(code: u32, argument: &[u8]) -> Result<Self, Errno> {
        Ok(match code {
            code::GETVERSION => Self::GetVersion,
            code::DEFAULTZONE => Self::DefaultZone(int(argument)?),
            code::LOADZONE => Self::LoadZone {
                // The header begins with the number of tones, then the zone.
                zone: int(argument.get(4..8).ok_or(Errno::Einval)?)?,
            },
            code::FREEZONE => Self::FreeZone(int(argument)?),
            code::GET_DIALPARAMS => Self::GetDialParams,
            code::SET_DIALPARAMS => Self::SetDialParams(DialParams::from_bytes(argument)?),
            code::INDIRECT => Self::Indirect(Indirect::from_bytes(argument)?),
            _ => return Self::common(code, argument),
        })
    }

    /// What both channels and the control device serve.
    fn common(code: u32, argument: &[u8]) -> Result<Self, Errno> {
        Ok(match code {
            code::GET_PARAMS | code::GET_PARAMS_V1 => Self::GetParams {
                channel: Params::from_bytes(argument)?.channel,
            },
            code::SET_PARAMS => Self::SetParams(Params::from_bytes(argument)?),
            code::GETGAINS | code::GETGAINS_V1 => Self::GetGains {
                channel: Gains::from_bytes(argument)?.channel,
            },
            code::SETGAINS => Self::SetGains(Box::new(Gains::from_bytes(argument)?)),
            code::SPANSTAT | code::SPANSTAT_V1 => Self::SpanStat {
                span: int(argument.get(..4).ok_or(Errno::Einval)?)?,
            },
            _ => return Err(Errno::Enotty),
        })
    }
}

/// What a request is answered, if not with an [`Errno`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Done; nothing comes back.
    Done,
    /// Not yet: block until the readiness of the channel changes, and ask again.
    Wait,
    /// A number.
    Int(i32),
    /// Buffers.
    BufInfo(BufInfo),
    /// Conference.
    Conf(ConfInfo),
    /// Parameters.
    Params(Params),
    /// Gain tables.
    Gains(Box<Gains>),
    /// Lengths of dialled tones.
    DialParams(DialParams),
    /// Version.
    Version(Version),
}

impl Reply {
    /// Writes what comes back into the program's argument, and returns how many bytes that is.
    ///
    /// [`Errno::Efault`] if it does not fit.
    pub fn write_to(&self, argument: &mut [u8]) -> Result<usize, Errno> {
        let mut put = |bytes: &[u8]| {
            let place = argument.get_mut(..bytes.len()).ok_or(Errno::Efault)?;
            place.copy_from_slice(bytes);
            Ok(bytes.len())
        };
        match self {
            Self::Done | Self::Wait => Ok(0),
            Self::Int(value) => put(&value.to_ne_bytes()),
            Self::BufInfo(info) => put(&info.to_bytes()),
            Self::Conf(info) => put(&info.to_bytes()),
            Self::Params(params) => put(&params.to_bytes()),
            Self::Gains(gains) => put(&gains.to_bytes()),
            Self::DialParams(params) => put(&params.to_bytes()),
            Self::Version(version) => put(&version.to_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudo_channel_has_none_of_a_real_lines_requests() {
        for code in [
            code::AUDIOMODE,
            code::HOOK,
            code::ECHOCANCEL,
            code::ECHOCANCEL_PARAMS,
            code::ECHOTRAIN,
            code::TONEDETECT,
            code::BUFFER_EVENTS,
            code::SPECIFY,
            code::LOOPBACK,
            code::TIMERCONFIG,
            code::GETVERSION,
            0,
            u32::MAX,
            0x5401,
        ] {
            assert_eq!(
                Request::decode(Device::Pseudo, code, &[0; 4]),
                Err(Errno::Enotty),
                "{code:#x}"
            );
        }
    }

    #[test]
    fn each_device_serves_its_own() {
        let decode = |device, code| Request::decode(device, code, &8_i32.to_ne_bytes());
        assert_eq!(
            decode(Device::Timer, code::TIMERCONFIG),
            Ok(Request::TimerConfig(8))
        );
        assert_eq!(decode(Device::Timer, code::CHANNO), Err(Errno::Enotty));
        assert_eq!(
            decode(Device::Pseudo, code::GETEVENT),
            Ok(Request::GetEvent)
        );
        assert_eq!(
            decode(Device::Control, code::FREEZONE),
            Ok(Request::FreeZone(8))
        );
        assert_eq!(decode(Device::Control, code::CHANNO), Err(Errno::Enotty));
        assert_eq!(
            decode(Device::Channel, code::SPECIFY),
            Ok(Request::Specify(8))
        );
        assert_eq!(decode(Device::Channel, code::CHANNO), Err(Errno::Enosys));
    }

    #[test]
    fn a_wrong_size_is_refused() {
        for (code, size) in [
            (code::SETCONF, 11),
            (code::SET_BUFINFO, 25),
            (code::SETGAINS, 4),
            (code::SET_PARAMS, 135),
            (code::FLUSH, 8),
            (code::IOMUX, 0),
            (code::SPANSTAT, 3),
            (code::SETCADENCE, 63),
            (code::DIAL, 4),
        ] {
            assert_eq!(
                Request::decode(Device::Pseudo, code, &vec![0; size]),
                Err(Errno::Einval),
                "{code:#x}"
            );
        }
    }

    #[test]
    fn older_codes_ask_the_same() {
        let conf = ConfInfo {
            channel: 0,
            conference: -1,
            mode: 7,
        };
        for code in [code::SETCONF, code::SETCONF_V1] {
            assert_eq!(
                Request::decode(Device::Pseudo, code, &conf.to_bytes()),
                Ok(Request::SetConf(conf))
            );
        }
        assert_eq!(
            Request::decode(
                Device::Pseudo,
                code::GETGAINS_V1,
                &Gains::identity(3).to_bytes()
            ),
            Ok(Request::GetGains { channel: 3 })
        );
    }

    #[test]
    fn a_reply_that_does_not_fit_is_a_fault() {
        let mut room = [0; 24];
        let reply = Reply::Conf(ConfInfo::default());
        assert_eq!(reply.write_to(&mut room), Ok(12));
        assert_eq!(reply.write_to(&mut room[..11]), Err(Errno::Efault));
        assert_eq!(Reply::Done.write_to(&mut []), Ok(0));
    }
}
