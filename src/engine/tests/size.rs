//! What a leg costs in memory.

use unisono_rtp::codec::Codec;
use unisono_rtp::playout::{Playout, PlayoutConfig};

use super::phone::media;
use crate::engine::leg::Leg;
use crate::engine::media::MediaSpec;
use crate::engine::meter::LegMeter;
use crate::engine::player::Sound;

/// Bytes of a leg on the heap and in its slab.
fn leg_size(media: &MediaSpec) -> usize {
    let playout = Playout::new(&PlayoutConfig::new(media.codec));
    let on_heap = playout.memory() - size_of::<Playout>();
    let prompts = crate::engine::leg::PROMPTS * size_of::<Sound>();
    size_of::<Leg>() + on_heap + prompts + size_of::<LegMeter>() + 2 * size_of::<usize>()
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
