//! `/dev/dahdi/ctl` of a machine without cards: what `dahdi_cfg`, `dahdi_scan` and Asterisk's `dahdi show` ask.
//!
//! There are no spans, so asking for one ends a scan. Tone zones are noted by number, so that loading, choosing and freeing
//! them is answered as DAHDI does; the tones themselves are dropped, as pseudo channels are sent none.
//!
//! Requests about a channel by its number ([`Request::GetParams`] and so on) belong to
//! [`crate::exchange::Exchange::find`] and `request`; [`Request::Indirect`] to whoever can read the program's memory.

use crate::request::{DialParams, Errno, Reply, Request, Version};

/// Tone zones are numbered from 0 to below this.
const ZONES: i32 = 128;

/// Lengths of tones that are taken, ms; others are ignored.
const TONE_MS: std::ops::RangeInclusive<i32> = 10..=4000;

/// The state behind the control device, one per machine.
#[derive(Debug, Clone)]
pub struct Control {
    /// One bit for each loaded zone.
    zones: u128,
    dial: DialParams,
}

impl Control {
    /// No zones, and DAHDI's lengths of tones: 68 ms for MF, 100 ms for DTMF.
    pub const fn new() -> Self {
        Self {
            zones: 0,
            dial: DialParams {
                mf_tone: 68,
                dtmf_tone: 100,
                reserved: [0; 4],
            },
        }
    }

    /// Serves a request.
    ///
    /// # Errors
    ///
    /// [`Errno::Einval`] for spans and channels, of which there are none, for a default zone that is not loaded, and for one
    /// that is loaded twice. [`Errno::Enotty`] for requests of other devices.
    pub fn request(&mut self, request: &Request) -> Result<Reply, Errno> {
        match *request {
            Request::GetVersion => {
                return Ok(Reply::Version(Version::of(concat!(
                    "3.4.0 (unisono ",
                    env!("CARGO_PKG_VERSION"),
                    ")"
                ))));
            }
            Request::GetDialParams => return Ok(Reply::DialParams(self.dial)),
            Request::SetDialParams(params) => {
                if TONE_MS.contains(&params.mf_tone) {
                    self.dial.mf_tone = params.mf_tone;
                }
                if TONE_MS.contains(&params.dtmf_tone) {
                    self.dial.dtmf_tone = params.dtmf_tone;
                }
            }
            Request::LoadZone { zone } => {
                let bit = zone_bit(zone).ok_or(Errno::Einval)?;
                if self.zones & bit != 0 {
                    return Err(Errno::Einval);
                }
                self.zones |= bit;
            }
            Request::FreeZone(zone) => self.zones &= !zone_bit(zone).unwrap_or(0),
            Request::DefaultZone(zone) if self.zones & zone_bit(zone).unwrap_or(0) != 0 => {}
            Request::DefaultZone(_)
            | Request::SpanStat { .. }
            | Request::GetParams { .. }
            | Request::SetParams(_)
            | Request::GetGains { .. }
            | Request::SetGains(_) => return Err(Errno::Einval),
            _ => return Err(Errno::Enotty),
        }
        Ok(Reply::Done)
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

fn zone_bit(zone: i32) -> Option<u128> {
    (0..ZONES).contains(&zone).then(|| 1 << zone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Device, code};

    fn ioctl(control: &mut Control, code: u32, argument: &mut [u8]) -> Result<usize, Errno> {
        let request = Request::decode(Device::Control, code, argument)?;
        control.request(&request)?.write_to(argument)
    }

    #[test]
    fn a_scan_ends_at_the_first_span() {
        let mut span = [0; 314];
        span[..4].copy_from_slice(&1_i32.to_ne_bytes());
        assert_eq!(
            ioctl(&mut Control::new(), code::SPANSTAT, &mut span),
            Err(Errno::Einval)
        );
        assert_eq!(
            ioctl(&mut Control::new(), code::SPANSTAT_V1, &mut span[..296]),
            Err(Errno::Einval)
        );
    }

    #[test]
    fn the_version_is_a_text_in_its_place() {
        let mut version = [0xff; 160];
        assert_eq!(
            ioctl(&mut Control::new(), code::GETVERSION, &mut version),
            Ok(160)
        );
        assert!(version.starts_with(b"3.4.0 (unisono "));
        assert!(version[40..].iter().all(|&octet| octet == 0));
    }

    #[test]
    fn zones_are_loaded_chosen_and_freed() {
        let mut control = Control::new();
        let mut header = [0; 112];
        header[4..8].copy_from_slice(&5_i32.to_ne_bytes());
        let mut ask = |code, zone: i32| ioctl(&mut control, code, &mut zone.to_ne_bytes());
        assert_eq!(ask(code::DEFAULTZONE, 5), Err(Errno::Einval));
        assert_eq!(ask(code::FREEZONE, 5), Ok(0));
        assert_eq!(ask(code::FREEZONE, i32::MIN), Ok(0));
        assert_eq!(ioctl(&mut control, code::LOADZONE, &mut header), Ok(0));
        assert_eq!(
            ioctl(&mut control, code::LOADZONE, &mut header),
            Err(Errno::Einval)
        );
        let mut ask = |code, zone: i32| ioctl(&mut control, code, &mut zone.to_ne_bytes());
        assert_eq!(ask(code::DEFAULTZONE, 5), Ok(0));
        assert_eq!(ask(code::DEFAULTZONE, 128), Err(Errno::Einval));
        assert_eq!(ask(code::FREEZONE, 5), Ok(0));
        assert_eq!(ask(code::DEFAULTZONE, 5), Err(Errno::Einval));
    }

    #[test]
    fn lengths_of_tones_out_of_range_are_ignored() {
        let mut control = Control::new();
        let mut params = DialParams {
            mf_tone: 9,
            dtmf_tone: 250,
            reserved: [0; 4],
        }
        .to_bytes();
        ioctl(&mut control, code::SET_DIALPARAMS, &mut params).unwrap();
        assert_eq!(
            ioctl(&mut control, code::GET_DIALPARAMS, &mut params),
            Ok(24)
        );
        let got = DialParams::from_bytes(&params).unwrap();
        assert_eq!((got.mf_tone, got.dtmf_tone), (68, 250));
    }
}
