//! Request codes of DAHDI on 64-bit Linux, under the names they have there without the prefix `DAHDI_`.
//!
//! A code is direction, size of the argument, the letter 0xda and a number, as all of Linux's `ioctl` codes.

/// `DAHDI_GET_BLOCKSIZE`; int out: samples in a block.
pub const GET_BLOCKSIZE: u32 = 0x8004_da01;
/// `DAHDI_SET_BLOCKSIZE`; int: samples in a block.
pub const SET_BLOCKSIZE: u32 = 0x4004_da01;
/// `DAHDI_FLUSH`; int: what to empty, see [`super::flush`].
pub const FLUSH: u32 = 0x4004_da03;
/// `DAHDI_SYNC`; no argument: waits until all written has been taken.
pub const SYNC: u32 = 0x0000_da04;
/// `DAHDI_GET_PARAMS`; [`super::Params`] in and out.
pub const GET_PARAMS: u32 = 0xc088_da05;
/// `DAHDI_GET_PARAMS_V1`; [`super::Params`], older code.
pub const GET_PARAMS_V1: u32 = 0x8088_da05;
/// `DAHDI_SET_PARAMS`; [`super::Params`].
pub const SET_PARAMS: u32 = 0x4088_da05;
/// `DAHDI_HOOK`; int: hook state of a real line.
pub const HOOK: u32 = 0x4004_da07;
/// `DAHDI_GETEVENT`; int out: the next event.
pub const GETEVENT: u32 = 0x8004_da08;
/// `DAHDI_IOMUX`; int in and out: what to wait for, see [`super::iomux`].
pub const IOMUX: u32 = 0xc004_da09;
/// `DAHDI_SPANSTAT`; state of a span, 314 bytes, the number first.
pub const SPANSTAT: u32 = 0xc13a_da0a;
/// `DAHDI_SPANSTAT_V1`; state of a span, 296 bytes, older code.
pub const SPANSTAT_V1: u32 = 0xc128_da0a;
/// `DAHDI_GETCONF`; [`super::ConfInfo`] in and out.
pub const GETCONF: u32 = 0xc00c_da0c;
/// `DAHDI_GETCONF_V1`; [`super::ConfInfo`], older code.
pub const GETCONF_V1: u32 = 0x800c_da0c;
/// `DAHDI_SETCONF`; [`super::ConfInfo`] in and out.
pub const SETCONF: u32 = 0xc00c_da0d;
/// `DAHDI_SETCONF_V1`; [`super::ConfInfo`], written back too, older code.
pub const SETCONF_V1: u32 = 0x400c_da0c;
/// `DAHDI_CONFLINK`; [`super::ConfInfo`]: links conferences.
pub const CONFLINK: u32 = 0x400c_da0e;
/// `DAHDI_CONFDIAG`; int: writes a conference to the kernel's log.
pub const CONFDIAG: u32 = 0x4004_da0f;
/// `DAHDI_CONFDIAG_V1`; int, older code.
pub const CONFDIAG_V1: u32 = 0x8004_da0f;
/// `DAHDI_GETGAINS`; [`super::Gains`] in and out.
pub const GETGAINS: u32 = 0xc204_da10;
/// `DAHDI_GETGAINS_V1`; [`super::Gains`], older code.
pub const GETGAINS_V1: u32 = 0x8204_da10;
/// `DAHDI_SETGAINS`; [`super::Gains`].
pub const SETGAINS: u32 = 0x4204_da10;
/// `DAHDI_CONFMUTE`; int: mutes a real line in a conference.
pub const CONFMUTE: u32 = 0x4004_da14;
/// `DAHDI_SENDTONE`; int: tone of the zone, -1 stops.
pub const SENDTONE: u32 = 0x4004_da15;
/// `DAHDI_GETTONEZONE`; int out: the channel's tone zone.
pub const GETTONEZONE: u32 = 0x8004_da16;
/// `DAHDI_SETTONEZONE`; int: the channel's tone zone.
pub const SETTONEZONE: u32 = 0x4004_da16;
/// `DAHDI_DEFAULTZONE`; int: default tone zone.
pub const DEFAULTZONE: u32 = 0x4004_da18;
/// `DAHDI_LOADZONE`; a header of 112 bytes, then tones.
pub const LOADZONE: u32 = 0x4070_da19;
/// `DAHDI_FREEZONE`; int: tone zone.
pub const FREEZONE: u32 = 0x4004_da1a;
/// `DAHDI_GET_BUFINFO`; [`super::BufInfo`] out.
pub const GET_BUFINFO: u32 = 0x8018_da1b;
/// `DAHDI_SET_BUFINFO`; [`super::BufInfo`].
pub const SET_BUFINFO: u32 = 0x4018_da1b;
/// `DAHDI_GET_DIALPARAMS`; [`super::DialParams`] out.
pub const GET_DIALPARAMS: u32 = 0x8018_da1d;
/// `DAHDI_SET_DIALPARAMS`; [`super::DialParams`].
pub const SET_DIALPARAMS: u32 = 0x4018_da1d;
/// `DAHDI_DIAL`; int and 256 characters: dials DTMF.
pub const DIAL: u32 = 0x4104_da1f;
/// `DAHDI_AUDIOMODE`; int: switches a clear line to audio.
pub const AUDIOMODE: u32 = 0x4004_da20;
/// `DAHDI_ECHOCANCEL`; int: taps of the echo canceller.
pub const ECHOCANCEL: u32 = 0x4004_da21;
/// `DAHDI_ECHOCANCEL_PARAMS`; two ints, then parameters.
pub const ECHOCANCEL_PARAMS: u32 = 0x4008_da21;
/// `DAHDI_CHANNO`; int out: the channel's number.
pub const CHANNO: u32 = 0x8004_da22;
/// `DAHDI_DIALING`; int out: whether it is dialling.
pub const DIALING: u32 = 0x8004_da23;
/// `DAHDI_SPECIFY`; int: which channel `/dev/dahdi/channel` shall be.
pub const SPECIFY: u32 = 0x4004_da26;
/// `DAHDI_SETLAW`; int: 0 default, 1 µ-law, 2 A-law.
pub const SETLAW: u32 = 0x4004_da27;
/// `DAHDI_SETLINEAR`; int: whether samples are 16-bit linear.
pub const SETLINEAR: u32 = 0x4004_da28;
/// `DAHDI_SETCADENCE`; 16 ints, or null: ring cadence.
pub const SETCADENCE: u32 = 0x4040_da2a;
/// `DAHDI_TIMERCONFIG`; int: period in samples of 8000 Hz.
pub const TIMERCONFIG: u32 = 0x4004_da2f;
/// `DAHDI_TIMERACK`; int: expirations seen.
pub const TIMERACK: u32 = 0x4004_da30;
/// `DAHDI_GETCONFMUTE`; int out: see [`CONFMUTE`].
pub const GETCONFMUTE: u32 = 0x8004_da31;
/// `DAHDI_ECHOTRAIN`; int: ms of echo training.
pub const ECHOTRAIN: u32 = 0x4004_da32;
/// `DAHDI_TIMERPING`; no argument.
pub const TIMERPING: u32 = 0x0000_da34;
/// `DAHDI_TIMERPONG`; no argument.
pub const TIMERPONG: u32 = 0x0000_da35;
/// `DAHDI_INDIRECT`; [`super::Indirect`]: a request for another channel.
pub const INDIRECT: u32 = 0xc010_da38;
/// `DAHDI_GETVERSION`; two texts of 80 characters, out.
pub const GETVERSION: u32 = 0x80a0_da39;
/// `DAHDI_LOOPBACK`; int: loops a real line.
pub const LOOPBACK: u32 = 0x4004_da3a;
/// `DAHDI_TONEDETECT`; int: tone detection by hardware.
pub const TONEDETECT: u32 = 0x4004_da5b;
/// `DAHDI_BUFFER_EVENTS`; int: events for overruns.
pub const BUFFER_EVENTS: u32 = 0x4004_da69;

/// How the argument of a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of the argument.
    pub size: usize,
    /// Whether the program's argument is read before the request.
    pub copies_in: bool,
    /// Whether the program's argument is written after the request.
    pub copies_out: bool,
}

/// The shape of a DAHDI request's argument; `None` for a code that is not DAHDI's.
///
/// What follows the header of [`LOADZONE`] and [`ECHOCANCEL_PARAMS`] is not counted.
pub const fn shape(code: u32) -> Option<Shape> {
    if code & 0xff00 != 0xda00 {
        return None;
    }
    // The older codes say less than the driver does: it reads the channel's number, and writes the conference back.
    let reads_too = matches!(code, GETCONF_V1 | GETGAINS_V1 | GET_PARAMS_V1 | CONFDIAG_V1);
    let silent = matches!(code, CONFDIAG_V1);
    Some(Shape {
        size: (code >> 16 & 0x3fff) as usize,
        copies_in: code >> 30 & 1 != 0 || reads_too,
        copies_out: (code >> 31 != 0 && !silent) || code == SETCONF_V1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_follow_from_codes() {
        let shape_of = |code| {
            let shape = shape(code).unwrap();
            (shape.size, shape.copies_in, shape.copies_out)
        };
        assert_eq!(shape_of(SETCONF), (12, true, true));
        assert_eq!(shape_of(SETCONF_V1), (12, true, true));
        assert_eq!(shape_of(GETCONF_V1), (12, true, true));
        assert_eq!(shape_of(GETGAINS), (516, true, true));
        assert_eq!(shape_of(SETGAINS), (516, true, false));
        assert_eq!(shape_of(GET_BUFINFO), (24, false, true));
        assert_eq!(shape_of(TIMERPING), (0, false, false));
        assert_eq!(shape_of(CONFDIAG_V1), (4, true, false));
        assert_eq!(shape_of(SPANSTAT), (314, true, true));
        assert_eq!(shape(0x5401), None, "TCGETS is not ours");
    }
}
