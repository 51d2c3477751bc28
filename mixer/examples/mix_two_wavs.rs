//! Two speakers in one conference, and what a listener hears:
//! `cargo run -p unisono-mixer --example mix_two_wavs -- anna.wav ben.wav heard.wav`.
//!
//! The recordings are mono, 16 bits, at 8, 16, 24 or 48 kHz, each at its own rate; the mix is at 48 kHz.

use std::error::Error;

use unisono_mixer::{Desk, Hearing, MAX_FRAME, Room, SampleRate, Strip, StripSettings};

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [first, second, heard] = &names[..] else {
        return Err("usage: mix_two_wavs FIRST.wav SECOND.wav HEARD.wav".into());
    };
    let (first_rate, first) = read(first)?;
    let (second_rate, second) = read(second)?;

    let rate = SampleRate::Hz48000;
    let mut writer = hound::WavWriter::create(
        heard,
        hound::WavSpec {
            channels: 1,
            sample_rate: rate.hz(),
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        },
    )?;

    let mut desk = Desk::new();
    let mut room = Room::new(rate);
    let mut anna = Strip::new(first_rate, StripSettings::default());
    let mut ben = Strip::new(second_rate, StripSettings::default());
    let mut listener = Strip::new(rate, StripSettings::default());

    let (mut first, mut second) = (
        first.chunks_exact(first_rate.frame_len()),
        second.chunks_exact(second_rate.frame_len()),
    );
    loop {
        // One tick: everybody in, then everybody out.
        let (a, b) = (first.next(), second.next());
        if a.is_none() && b.is_none() {
            break;
        }
        let mut intake = desk.begin(&mut room);
        for (strip, frame) in [(&mut anna, a), (&mut ben, b)] {
            match frame {
                Some(frame) => intake.add(strip, frame),
                None => intake.add_silence(strip),
            };
        }
        intake.add_silence(&mut listener);
        let mut mix = intake.finish();
        let silence = [0; MAX_FRAME];
        let frame = match mix.hear(&mut listener, None) {
            Hearing::Common(frame) | Hearing::Own(frame) => frame,
            Hearing::Nothing => &silence[..rate.frame_len()],
        };
        for sample in frame {
            writer.write_sample(*sample)?;
        }
    }
    writer.finalize()?;
    Ok(())
}

fn read(name: &str) -> Result<(SampleRate, Vec<i16>), Box<dyn Error>> {
    let reader = hound::WavReader::open(name)?;
    let spec = reader.spec();
    let rate = SampleRate::from_hz(spec.sample_rate)
        .filter(|_| spec.channels == 1 && spec.bits_per_sample == 16)
        .ok_or_else(|| format!("{name}: mono, 16 bits, 8, 16, 24 or 48 kHz is expected"))?;
    Ok((rate, reader.into_samples().collect::<Result<_, _>>()?))
}
