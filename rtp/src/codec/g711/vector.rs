//! G.711 compiled twice, one of which is chosen at run time: for whatever the target has at least, and on x86-64 for AVX2.
//!
//! There is one source of each, so both compute the same; the tests compare them nevertheless. Choosing costs a load and a
//! branch a payload. The processor is asked once, in [`prepare`].
#![allow(
    unsafe_code,
    reason = "a function for AVX2 may only be called where there is AVX2"
)]

/// Asks the processor what it has, which takes some microseconds in a virtual machine, so that no tick does.
pub(in crate::codec) fn prepare() {
    has_avx2();
}

#[inline(always)]
fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Functions that do what the always inlined `$body` does, in the widest vectors that the processor has.
macro_rules! widest {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)? = $body:path;)*) => {$(
        $(#[$doc])*
        pub(in crate::codec) fn $name($($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($argument: $kind),*) $(-> $result)? {
                    $body($($argument),*)
                }
                if has_avx2() {
                    // SAFETY: the processor has AVX2, and the system keeps its registers.
                    return unsafe { with_avx2($($argument),*) };
                }
            }
            $body($($argument),*)
        }
    )*};
}

widest! {
    /// Decodes a µ-law payload, as many samples as the shorter slice holds.
    decode_ulaw(payload: &[u8], out: &mut [i16]) = super::decode_ulaw_inline;
    /// Decodes an A-law payload, as many samples as the shorter slice holds.
    decode_alaw(payload: &[u8], out: &mut [i16]) = super::decode_alaw_inline;
    /// Encodes to µ-law, as many samples as the shorter slice holds.
    encode_ulaw(frame: &[i16], out: &mut [u8]) = super::encode_ulaw_inline;
    /// Encodes to A-law, as many samples as the shorter slice holds.
    encode_alaw(frame: &[i16], out: &mut [u8]) = super::encode_alaw_inline;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::g711;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_is_the_same_in_wide_vectors(payload: Vec<u8>, room in 0_usize..120) {
            let mut wide = vec![0; room];
            let mut plain = wide.clone();
            decode_ulaw(&payload, &mut wide);
            g711::decode_ulaw_inline(&payload, &mut plain);
            prop_assert_eq!(&wide, &plain);

            decode_alaw(&payload, &mut wide);
            g711::decode_alaw_inline(&payload, &mut plain);
            prop_assert_eq!(wide, plain);
        }

        #[test]
        fn encoding_is_the_same_in_wide_vectors(frame: Vec<i16>, room in 0_usize..120) {
            let mut wide = vec![0; room];
            let mut plain = wide.clone();
            encode_ulaw(&frame, &mut wide);
            g711::encode_ulaw_inline(&frame, &mut plain);
            prop_assert_eq!(&wide, &plain);

            encode_alaw(&frame, &mut wide);
            g711::encode_alaw_inline(&frame, &mut plain);
            prop_assert_eq!(wide, plain);
        }
    }
}
