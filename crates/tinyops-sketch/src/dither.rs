//! Few-bit numbers whose mean over many reports is right.

/// Reproducible noise that sender and receiver both know: added before rounding, taken away after.
///
/// With it the rounding error is uniform and independent of the value, so that averages over days and
/// devices are unbiased however few bits each report has.
///
/// # Source
/// Roberts, 1962, "Picture coding using pseudo-random noise"; the generator is SplitMix64 (Steele,
/// Lea and Flood, 2014, "Fast splittable pseudorandom number generators").
#[derive(Clone, Debug)]
pub struct Dither {
    state: u64,
}

impl Dither {
    /// The noise of one report: `seed` belongs to the device, `sequence` to the report.
    pub fn new(seed: u64, sequence: u32) -> Dither {
        let mut dither = Dither {
            state: seed ^ (u64::from(sequence) << 32 | u64::from(!sequence)),
        };
        dither.next_u64(); // Neighbouring sequence numbers must not start alike.
        dither
    }

    /// The next offset, from -0.5 up to, but not including, 0.5, in steps of the quantizer.
    pub fn offset(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1 << 24) as f32 - 0.5
    }

    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A uniform quantizer of `bits` bits over `low..=high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantizer {
    /// Bits of a code, 1 to 16.
    pub bits: u32,
    /// What code 0 stands for.
    pub low: f32,
    /// What the largest code stands for.
    pub high: f32,
}

impl Quantizer {
    /// The code nearest to `value` plus the dither; values outside the range take the nearest end, one that is not a number the upper.
    pub fn encode(&self, value: f32, dither: &mut Dither) -> u32 {
        let top = self.top();
        let offset = dither.offset();
        if value.is_nan() {
            return top as u32;
        }
        let position =
            (value.clamp(self.low, self.high) - self.low) * (top / (self.high - self.low));
        libm::roundf(position + offset).clamp(0.0, top) as u32
    }

    /// The value of a code, less the same dither, within the range.
    pub fn decode(&self, code: u32, dither: &mut Dither) -> f32 {
        self.at(code as f32 - dither.offset())
    }

    /// The value of a code for who does not know the dither: as right in the mean, but for ends, and less so each time.
    pub fn decode_undithered(&self, code: u32) -> f32 {
        self.at(code as f32)
    }

    fn at(&self, position: f32) -> f32 {
        (self.low + position * ((self.high - self.low) / self.top())).clamp(self.low, self.high)
    }

    fn top(&self) -> f32 {
        ((1_u32 << self.bits) - 1) as f32
    }
}
