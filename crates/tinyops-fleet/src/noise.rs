//! Noise from the discrete Gaussian law, exactly: integers and random bits alone, no floating point.
//!
//! # Source
//! Canonne, Kamath and Steinke, 2020, "The discrete Gaussian for differential privacy", algorithms 1 to 3.

use tinyops_wire::ModelId;
use tinyops_wire::mask::{MaskKey, Masks, Purpose, Task};

/// A square root of the variance beyond this is refused: the arithmetic is of 128 bits.
pub(crate) const SD_MAX: u64 = 1 << 24;

/// Draws from the discrete Gaussian law of a variance that is a fraction.
#[derive(Debug)]
pub(crate) struct DiscreteGaussian {
    /// The variance is `numerator / denominator`.
    numerator: i128,
    denominator: i128,
    /// Scale of the discrete Laplace law that is drawn from first.
    scale: u128,
    words: Words,
}

/// Random words out of a key.
#[derive(Debug)]
struct Words(Masks);

impl DiscreteGaussian {
    /// The law of the standard deviation `sd_tenths / 10`, drawn out of a secret; the same secret gives the same draws.
    ///
    /// `None` if the deviation is 0 or above [`SD_MAX`].
    pub(crate) fn new(sd_tenths: u64, secret: [u8; 32]) -> Option<DiscreteGaussian> {
        if sd_tenths == 0 || sd_tenths > SD_MAX * 10 {
            return None;
        }
        Some(DiscreteGaussian {
            numerator: i128::from(sd_tenths).pow(2),
            denominator: 100,
            scale: u128::from(sd_tenths / 10 + 1),
            words: Words::new(secret),
        })
    }

    /// The next draw.
    pub(crate) fn draw(&mut self) -> i64 {
        loop {
            let drawn = self.laplace();
            let (n, d, t) = (self.numerator, self.denominator, self.scale as i128);
            // (|y| - σ²/t)² / (2 σ²) as a fraction; what is too large for it has no chance.
            let distance = i128::from(drawn.unsigned_abs()) * d * t - n;
            let (Some(above), below) = (distance.checked_mul(distance), 2 * n * d * t * t) else {
                continue;
            };
            if self.words.is_exp(above as u128, below as u128) {
                return drawn;
            }
        }
    }

    /// From the discrete Laplace law of the scale.
    fn laplace(&mut self) -> i64 {
        loop {
            let rest = self.words.below(self.scale);
            if !self.words.is_exp(rest, self.scale) {
                continue;
            }
            let mut whole = 0_u128;
            while self.words.is_exp(1, 1) {
                whole += 1;
            }
            let size = (rest + self.scale * whole) as i64;
            let is_negative = self.words.below(2) == 1;
            if is_negative && size == 0 {
                continue;
            }
            return if is_negative { -size } else { size };
        }
    }
}

impl Words {
    fn new(secret: [u8; 32]) -> Words {
        // The stream of a key of its own, all 32 bits of each word.
        let task = Task {
            purpose: Purpose::Monitoring,
            number: 0,
            model: ModelId(0),
            ring_bits: 32,
            norm_max: 1,
            clip: 1.0,
            noise_tenths: 0,
        };
        Words(MaskKey(secret).masks(&task, 0))
    }

    fn next_u128(&mut self) -> u128 {
        // A stream of ChaCha20 has 256 GB.
        (0..4).fold(0, |value, _| {
            value << 32 | u128::from(self.0.next().expect("the stream goes on"))
        })
    }

    /// Uniform below `limit`.
    fn below(&mut self, limit: u128) -> u128 {
        let bits = 128 - (limit - 1).leading_zeros();
        if bits == 0 {
            return 0;
        }
        loop {
            let value = if bits <= 32 {
                u128::from(self.0.next().expect("the stream goes on")) >> (32 - bits)
            } else {
                self.next_u128() >> (128 - bits)
            };
            if value < limit {
                return value;
            }
        }
    }

    /// True with the chance `exp(-above / below)`.
    fn is_exp(&mut self, above: u128, below: u128) -> bool {
        for _ in 0..above / below {
            if !self.is_exp_of_fraction(1, 1) {
                return false;
            }
        }
        self.is_exp_of_fraction(above % below, below)
    }

    /// The same for a fraction of at most 1.
    fn is_exp_of_fraction(&mut self, above: u128, below: u128) -> bool {
        let mut k = 1_u128;
        loop {
            // With the chance above / (below k), in two draws, so that no product is too large.
            let is_next = self.below(below) < above && self.below(k) == 0;
            if !is_next {
                return k % 2 == 1;
            }
            k += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chi-square of draws against the law itself, whose masses are computed in floating point.
    #[test]
    fn draws_follow_the_law() {
        for (sd_tenths, cells) in [(7, 3_i64), (30, 8), (205, 40)] {
            let mut noise = DiscreteGaussian::new(sd_tenths, [sd_tenths as u8; 32]).unwrap();
            let variance = (sd_tenths as f64 / 10.0).powi(2);
            let draws = 40_000;
            let mut counts = vec![0_u32; (2 * cells + 1) as usize];
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..draws {
                let drawn = noise.draw();
                sum += drawn as f64;
                squares += (drawn as f64).powi(2);
                let cell = drawn.clamp(-cells, cells) + cells;
                counts[cell as usize] += 1;
            }
            let mass = |x: i64| (-(x as f64).powi(2) / (2.0 * variance)).exp();
            let total: f64 = (-100_000..=100_000).map(mass).sum();
            let tail: f64 = (cells..=100_000).map(mass).sum();
            let chi: f64 = (-cells..=cells)
                .zip(&counts)
                .map(|(x, &count)| {
                    let share = if x.abs() == cells { tail } else { mass(x) } / total;
                    let expected = share * f64::from(draws);
                    (f64::from(count) - expected).powi(2) / expected
                })
                .sum();
            let freedom = (2 * cells) as f64;
            // Five standard deviations of chi-square.
            assert!(
                chi < freedom + 5.0 * (2.0 * freedom).sqrt(),
                "{sd_tenths}: {chi}"
            );
            let (mean, var) = (sum / f64::from(draws), squares / f64::from(draws));
            assert!(mean.abs() < 5.0 * (variance / f64::from(draws)).sqrt());
            assert!(
                (var / variance - 1.0).abs() < 0.04 || sd_tenths < 10,
                "{var} {variance}"
            );
        }
    }

    #[test]
    fn the_same_secret_gives_the_same_draws() {
        let draws = |secret| -> Vec<i64> {
            let mut noise = DiscreteGaussian::new(3_000, [secret; 32]).unwrap();
            (0..50).map(|_| noise.draw()).collect()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        assert!(DiscreteGaussian::new(0, [0; 32]).is_none());
        assert!(DiscreteGaussian::new(SD_MAX * 10 + 1, [0; 32]).is_none());
        // The largest deviation that is taken does not overflow.
        let mut noise = DiscreteGaussian::new(SD_MAX * 10, [3; 32]).unwrap();
        assert!((0..20).any(|_| noise.draw().unsigned_abs() > SD_MAX / 4));
    }
}
