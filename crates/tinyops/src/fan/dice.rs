//! Reproducible chance: one seed gives one world.

/// A small random generator, the same on every machine.
///
/// # Source
/// SplitMix64: G. Steele, D. Lea, C. Flood, 2014, "Fast splittable pseudorandom number generators".
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    /// Dice for one purpose: `stream` keeps, say, two fans of one seed apart.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self {
            state: seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03),
        };
        // Two rolls, so that neighbouring seeds do not start alike.
        dice.roll();
        dice.roll();
        dice
    }

    /// 64 random bits.
    pub(crate) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f32 {
        // 24 bits fill the mantissa of an f32 exactly.
        (self.roll() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        assert!(count > 0, "dice need at least one side");
        (self.roll() % count as u64) as usize
    }

    /// True with probability `share`.
    pub(crate) fn chance(&mut self, share: f32) -> bool {
        self.unit() < share
    }

    /// Standard normal: the sum of twelve uniforms less six, whose tails end at ±6 as a sensor's do.
    pub(crate) fn normal(&mut self) -> f32 {
        // Four 16-bit uniforms a roll.
        let sum: u64 = (0..3)
            .map(|_| {
                let roll = self.roll();
                (0..4)
                    .map(|part| (roll >> (16 * part)) & 0xFFFF)
                    .sum::<u64>()
            })
            .sum();
        sum as f32 / 65_536.0 - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn normals_have_unit_variance() {
        let mut dice = Dice::new(1, 2);
        let values: Vec<f32> = (0..20_000).map(|_| dice.normal()).collect();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.04, "variance {variance}");
    }
}
