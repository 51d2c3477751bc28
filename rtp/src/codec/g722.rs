//! G.722 at 64 kbit/s, mode 1 (ITU-T G.722): 16 kHz audio, one octet for two samples.
//!
//! Bit-exact fixed point, written after the block diagrams of the recommendation (clause 6), whose block names the
//! functions' docs give. Total: every octet decodes and every sample encodes; saturation where the recommendation has it.
//!
//! A 24-tap quadrature mirror filter splits the signal into two 8 kHz bands. The lower one is sent as 6-bit ADPCM, the
//! upper one as 2-bit ADPCM. Both adapt backwards, from the 4 upper bits of the lower code and from the upper code,
//! so that the decoder follows the encoder without side information.

/// Encoder state, about 250 octets, no heap.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    split: Qmf,
    low: Band,
    high: Band,
}

impl Encoder {
    /// The reset state of the recommendation.
    pub(super) const fn new() -> Self {
        Self {
            split: Qmf::new(),
            low: Band::low(),
            high: Band::high(),
        }
    }

    /// Encodes pairs of samples to octets, as many as the shorter slice holds.
    pub(super) fn encode(&mut self, frame: &[i16], out: &mut [u8]) {
        let (pairs, _) = frame.as_chunks::<2>();
        for (octet, pair) in out.iter_mut().zip(pairs) {
            *octet = self.encode_pair(*pair);
        }
    }

    /// Block 1L to 4L and 1H to 4H, and the multiplexer.
    fn encode_pair(&mut self, pair: [i16; 2]) -> u8 {
        let (first, second) = self.split.filter(pair);
        // The filter's gain is 2^13; one more bit makes room for the sum, giving 15-bit bands.
        let low = (first + second) >> 14;
        let high = (second - first) >> 14;

        let low_code = quantise_low(saturate(low - self.low.predicted), self.low.scale);
        let low_step = low_code >> 2;
        self.low.adapt_low(low_step);

        let high_code = quantise_high(saturate(high - self.high.predicted), self.high.scale);
        self.high.adapt_high(high_code);

        (high_code << 6 | low_code) as u8
    }
}

/// Decoder state, about 250 octets, no heap.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    join: Qmf,
    low: Band,
    high: Band,
}

impl Decoder {
    /// The reset state of the recommendation.
    pub(super) const fn new() -> Self {
        Self {
            join: Qmf::new(),
            low: Band::low(),
            high: Band::high(),
        }
    }

    /// Decodes octets to pairs of samples, as many as the shorter slice holds.
    pub(super) fn decode(&mut self, payload: &[u8], out: &mut [i16]) {
        let (pairs, _) = out.as_chunks_mut::<2>();
        for (pair, &octet) in pairs.iter_mut().zip(payload) {
            *pair = self.decode_pair(octet);
        }
    }

    /// Demultiplexer, block 2L to 6L and 2H to 5H, and the receiving filter.
    fn decode_pair(&mut self, octet: u8) -> [i16; 2] {
        let low_code = usize::from(octet & 0x3f);
        let high_code = usize::from(octet >> 6);

        // The output takes all six bits (INVQBL, mode 1), the adaptation only four, as in every mode.
        let difference = (self.low.scale * LOW_LEVELS_6_BIT[low_code]) >> 15;
        let low = (self.low.predicted + difference).clamp(-16384, 16383);
        self.low.adapt_low(low_code >> 2);

        let predicted = self.high.predicted;
        let difference = self.high.adapt_high(high_code);
        let high = (predicted + difference).clamp(-16384, 16383);

        // Splitting backwards also swaps the phases: the earlier sample is the one with the bands' difference.
        // Bands of 15 bits make sums of 16.
        let (later, earlier) = self.join.filter([(low + high) as i16, (low - high) as i16]);
        [saturate(earlier >> 11) as i16, saturate(later >> 11) as i16]
    }
}

/// One band's ADPCM: quantiser scale and the predictor of two poles and six zeros.
#[derive(Debug, Clone)]
struct Band {
    /// NBL or NBH: logarithm of the scale.
    log_scale: i32,
    /// DETL or DETH: the quantiser's scale.
    scale: i32,
    /// SL or SH: the predicted next sample.
    predicted: i32,
    /// SZL or SZH: the zeros' part of it.
    zero_part: i32,
    /// AL: pole coefficients, Q14.
    poles: [i32; 2],
    /// BL: zero coefficients, Q14.
    zeros: [i16; 6],
    /// RLT: the two last reconstructed samples, doubled and limited, newest first.
    reconstructed: [i32; 2],
    /// PLT: the two last partial reconstructions (zeros only), newest first.
    partial: [i32; 2],
    /// DLT: the six last quantised differences, doubled and limited, newest first.
    differences: [i16; 6],
}

impl Band {
    const fn low() -> Self {
        Self::with_scale(32)
    }

    const fn high() -> Self {
        Self::with_scale(8)
    }

    const fn with_scale(scale: i32) -> Self {
        Self {
            log_scale: 0,
            scale,
            predicted: 0,
            zero_part: 0,
            poles: [0; 2],
            zeros: [0; 6],
            reconstructed: [0; 2],
            partial: [0; 2],
            differences: [0; 6],
        }
    }

    /// INVQAL, LOGSCL, SCALEL and block 4L, for the 4 upper bits of a lower-band code.
    fn adapt_low(&mut self, step: usize) {
        let difference = (self.scale * LOW_LEVELS_4_BIT[step]) >> 15;
        self.log_scale = (leak(self.log_scale, 7) + LOW_LOG_STEPS[step]).clamp(0, 18432);
        self.scale = linear_scale(self.log_scale, 8);
        self.predict(difference);
    }

    /// INVQAH, LOGSCH, SCALEH and block 4H, for an upper-band code. Returns the quantised difference.
    fn adapt_high(&mut self, code: usize) -> i32 {
        let difference = (self.scale * HIGH_LEVELS[code]) >> 15;
        self.log_scale = (leak(self.log_scale, 7) + HIGH_LOG_STEPS[code]).clamp(0, 22528);
        self.scale = linear_scale(self.log_scale, 10);
        self.predict(difference);
        difference
    }

    /// Block 4: RECONS, PARREC, UPPOL2, UPPOL1, UPZERO, FILTEP, FILTEZ, PREDIC.
    fn predict(&mut self, difference: i32) {
        let reconstructed = saturate(self.predicted + difference);
        let partial = saturate(self.zero_part + difference);

        let like_last = (partial < 0) == (self.partial[0] < 0);
        let like_one_before = (partial < 0) == (self.partial[1] < 0);

        // UPPOL2, then UPPOL1, whose bound keeps the pair of poles stable.
        let quadrupled = saturate(self.poles[0] << 2);
        let drift = if like_last {
            (-quadrupled).min(32767)
        } else {
            quadrupled
        };
        let push = if like_one_before { 128 } else { -128 };
        let second = (push + (drift >> 7) + leak(self.poles[1], 7)).clamp(-12288, 12288);
        let push = if like_last { 192 } else { -192 };
        let bound = 15360 - second;
        let first = (push + leak(self.poles[0], 8)).clamp(-bound, bound);
        self.poles = [first, second];

        // UPZERO. The leak balances the push before 16 bits are left, so there is nothing to limit.
        let push = if difference == 0 { 0 } else { 128 };
        for (zero, &past) in self.zeros.iter_mut().zip(&self.differences) {
            let push = if (past < 0) == (difference < 0) {
                push
            } else {
                -push
            };
            *zero = (push + leak(i32::from(*zero), 8)) as i16;
        }

        // The histories are doubled because the coefficients that they meet are Q14.
        self.differences.copy_within(..5, 1);
        self.differences[0] = saturate(difference << 1) as i16;
        self.reconstructed = [saturate(reconstructed << 1), self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];

        // FILTEP, FILTEZ, PREDIC.
        let pole_part =
            ((first * self.reconstructed[0]) >> 15) + ((second * self.reconstructed[1]) >> 15);
        let taps = self.zeros.iter().zip(&self.differences);
        let zero_part = taps
            .map(|(&zero, &past)| (i32::from(zero) * i32::from(past)) >> 15)
            .sum();
        self.zero_part = saturate(zero_part);
        self.predicted = saturate(saturate(pole_part) + self.zero_part);
    }
}

/// The quadrature mirror filter of 24 taps; both directions use it, with other inputs.
#[derive(Debug, Clone)]
struct Qmf {
    /// The twelve last inputs of each phase, oldest first.
    phases: [[i16; 12]; 2],
}

impl Qmf {
    const fn new() -> Self {
        Self {
            phases: [[0; 12]; 2],
        }
    }

    /// Takes one input for each phase in, and returns each phase's sum of products.
    fn filter(&mut self, inputs: [i16; 2]) -> (i32, i32) {
        for (phase, input) in self.phases.iter_mut().zip(inputs) {
            phase.copy_within(1.., 0);
            phase[11] = input;
        }
        let [first, second] = &self.phases;
        // Products of 16-bit numbers, because those multiply and add in one vector instruction.
        let dot = |phase: &[i16; 12], taps: [i16; 12]| -> i32 {
            phase
                .iter()
                .zip(taps)
                .map(|(&x, h)| i32::from(x) * i32::from(h))
                .sum()
        };
        (dot(first, QMF), dot(second, QMF_REVERSED))
    }
}

/// QUANTL: the 6-bit code of a lower-band difference.
fn quantise_low(difference: i32, scale: i32) -> usize {
    // One's complement, so that -1 is as small as 0.
    let magnitude = if difference < 0 {
        !difference
    } else {
        difference
    };
    // Thresholds rise, so the interval's number is the number of thresholds passed, and counting has no branch to
    // miss. The scale is at most 2^14 and every scaled threshold below 2^15, so 16 bits do.
    let (magnitude, scale) = (magnitude as i16, (scale << 1) as u16);
    let passed = LOW_THRESHOLDS.iter().map(|&threshold| {
        let threshold = (u32::from(threshold) * u32::from(scale)) >> 16;
        u16::from(magnitude >= threshold as i16)
    });
    let interval = usize::from(passed.sum::<u16>().min(29));
    // Intervals count down from 61 for positive and, save the lowest two, from 31 for negative differences.
    match (difference < 0, interval) {
        (false, _) => 61 - interval,
        (true, 0 | 1) => 63 - interval,
        (true, _) => 33 - interval,
    }
}

/// QUANTH: the 2-bit code of an upper-band difference.
fn quantise_high(difference: i32, scale: i32) -> usize {
    let magnitude = if difference < 0 {
        !difference
    } else {
        difference
    };
    let outer = magnitude >= (564 * scale) >> 12;
    match (difference < 0, outer) {
        (true, false) => 1,
        (true, true) => 0,
        (false, false) => 3,
        (false, true) => 2,
    }
}

/// SCALEL (`octaves` 8) and SCALEH (`octaves` 10): the scale of a logarithm with 11 fraction bits.
fn linear_scale(log_scale: i32, octaves: i32) -> i32 {
    let mantissa = ANTILOG[(log_scale >> 6 & 31) as usize];
    let exponent = octaves - (log_scale >> 11);
    // Both bands' bounds on the logarithm keep the exponent from falling below -1.
    (if exponent < 0 {
        mantissa << -exponent
    } else {
        mantissa >> exponent
    }) << 2
}

/// What is left of an adapted value when a part of 2 to the power of -`shift` leaks away, rounded down.
fn leak(value: i32, shift: i32) -> i32 {
    value + (-value >> shift)
}

fn saturate(value: i32) -> i32 {
    value.clamp(-32768, 32767)
}

/// Table 11: the filter's even coefficients, Q13, in the order of its oldest sample first.
const QMF: [i16; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// The filter is symmetric, so its odd coefficients are the even ones backwards.
const QMF_REVERSED: [i16; 12] = {
    let mut reversed = [0; 12];
    let mut tap = 0;
    while tap < 12 {
        reversed[tap] = QMF[11 - tap];
        tap += 1;
    }
    reversed
};

/// Table 14, Q6: decision levels of the 6-bit quantiser, Q15 relative to the scale; the last is repeated to fill
/// whole vectors.
const LOW_THRESHOLDS: [u16; 32] = {
    let levels = [
        35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940,
        1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919, 2919, 2919, 2919,
    ];
    let mut thresholds = [0; 32];
    let mut index = 0;
    while index < 32 {
        thresholds[index] = levels[index] << 3;
        index += 1;
    }
    thresholds
};

/// Table 18, QM4: output levels of the lower band by the code's four upper bits, Q15 relative to the scale.
const LOW_LEVELS_4_BIT: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];

/// Table 17, QM6: output levels of the lower band by the whole code, Q15 relative to the scale. The first four codes
/// never leave an encoder.
const LOW_LEVELS_6_BIT: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];

/// WL by way of RL42: how a lower-band code's four upper bits move the logarithm of the scale.
const LOW_LOG_STEPS: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];

/// QM2: output levels of the upper band, Q15 relative to the scale.
const HIGH_LEVELS: [i32; 4] = [-7408, -1616, 7408, 1616];

/// WH by way of RH2: how an upper-band code moves the logarithm of the scale.
const HIGH_LOG_STEPS: [i32; 4] = [798, -214, 798, -214];

/// ILB: 2048 times 2 to the power of n/32.
const ANTILOG: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
