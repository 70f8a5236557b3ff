//! Numbers from a seed, the same on every machine.

/// A source of chance: SplitMix64.
///
/// # Source
/// Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators".
#[derive(Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, but not including, 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number below `count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }

    /// Both normal deviates of two uniform ones.
    ///
    /// # Source
    /// Box and Muller, 1958, "A note on the generation of random normal deviates".
    pub(crate) fn normals(&mut self) -> [f64; 2] {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        [radius * cosine, radius * sine]
    }

    pub(crate) fn normal(&mut self) -> f64 {
        self.normals()[0]
    }

    /// The sum of so many uniforms, as far from its mean as a normal of one standard deviation: near enough to one where
    /// the tails do not matter.
    pub(crate) fn nearly_normal(&mut self, uniforms: u32) -> f64 {
        let sum: f64 = (0..uniforms).map(|_| self.uniform()).sum();
        (sum - f64::from(uniforms) / 2.0) * (12.0 / f64::from(uniforms)).sqrt()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A gamma variable of this shape, below 1 too.
    ///
    /// # Source
    /// Marsaglia and Tsang, 2000, "A simple method for generating gamma variables".
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = self.uniform().max(1e-300).powf(1.0 / shape);
            return boost * self.gamma(shape + 1.0);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Shares of `count` classes, by Dirichlet's law.
    pub(crate) fn dirichlet(&mut self, concentration: f64, count: usize) -> Vec<f64> {
        let draws: Vec<f64> = (0..count).map(|_| self.gamma(concentration)).collect();
        let sum: f64 = draws.iter().sum::<f64>().max(1e-300);
        draws.into_iter().map(|draw| draw / sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draws_are_those_of_splitmix64() {
        let mut chance = Chance(1_234_567);
        let first = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(first.map(|_| chance.next()), first);
    }

    #[test]
    fn deviates_have_the_moments_that_they_claim() {
        const COUNT: usize = 40_000;
        let mut chance = Chance(3);
        let mut check = |draw: fn(&mut Chance) -> f64| {
            let draws: Vec<f64> = (0..COUNT).map(|_| draw(&mut chance)).collect();
            let mean = draws.iter().sum::<f64>() / COUNT as f64;
            let square = draws.iter().map(|x| x * x).sum::<f64>() / COUNT as f64;
            assert!(
                mean.abs() < 0.02 && (square - 1.0).abs() < 0.03,
                "{mean} {square}"
            );
        };
        check(Chance::normal);
        check(|chance| chance.normals()[1]);
        check(|chance| chance.nearly_normal(12));
        check(|chance| chance.nearly_normal(4));
        let shares = chance.dirichlet(0.3, 5);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
