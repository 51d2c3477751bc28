//! What a leg costs in memory.

use unisono_rtp::codec::{Codec, Decoder};
use unisono_rtp::playout::{Playout, PlayoutConfig};

use super::phone::media;
use crate::engine::leg::Leg;
use crate::engine::media::MediaSpec;
use crate::engine::meter::LegMeter;
use crate::engine::player::Sound;

/// Bytes of a leg on the heap and in its slab, codec and all.
fn leg_size(media: &MediaSpec) -> usize {
    let playout = Playout::new(&PlayoutConfig::new(media.codec));
    let codec = Decoder::new(media.codec).memory() + media.encoder().memory();
    let on_heap = playout.memory() - size_of::<Playout>();
    let prompts = crate::engine::leg::PROMPTS * size_of::<Sound>();
    size_of::<Leg>() + codec + on_heap + prompts + size_of::<LegMeter>() + 2 * size_of::<usize>()
}

#[test]
fn a_g711_leg_fits_16_kib() {
    let size = leg_size(&media(Codec::Pcmu, 0));
    println!(
        "a G.711 leg: {size} bytes, {} of them the leg itself, {} of those the strip",
        size_of::<Leg>(),
        size_of::<unisono_mixer::Strip>()
    );
    assert!(size <= 16 * 1024, "{size} bytes");
}

/// libopus takes most of it: its states are what they are, and both are needed, as anybody may become a talker.
#[test]
fn an_opus_leg_is_mostly_libopus() {
    let media = media(Codec::Opus, 0);
    let (decoder, encoder) = (Decoder::new(media.codec).memory(), media.encoder().memory());
    let size = leg_size(&media);
    println!("an Opus leg: {size} bytes, {decoder} for the decoder, {encoder} for the encoder");
    let ours = size - decoder - encoder;
    assert!(ours <= 36 * 1024, "{ours} bytes without libopus");
    assert!(size <= 96 * 1024, "{size} bytes");
}
