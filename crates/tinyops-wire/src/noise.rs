//! Noise from the discrete Gaussian law, exactly: integers and random bits alone, no floating point. The helper draws
//! that of a sum, and a device without one that of its own report.
//!
//! # Source
//! Canonne, Kamath and Steinke, 2020, "The discrete Gaussian for differential privacy", algorithms 1 to 3.

use core::fmt;

use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};

use crate::mask::{MaskKey, Masks, Purpose, Task};
use crate::{DeviceKey, ModelId};

/// A square root of the variance beyond this is refused: the arithmetic is of 128 bits.
pub const SD_MAX: u64 = 1 << 24;

/// The secret that a device draws the noise of its own reports from. Nobody else has it, its server least of all: who
/// knows it takes the noise away. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct NoiseKey([u8; 32]);

impl NoiseKey {
    /// The key out of 32 random bytes that were drawn on the device, or for it, and are kept nowhere else.
    ///
    /// `None` for what the server has or anyone guesses: the key that the device shares with it, and one byte 32 times.
    pub fn new(secret: [u8; 32], shared: &DeviceKey) -> Option<NoiseKey> {
        let is_blank = secret.iter().all(|byte| *byte == secret[0]);
        (!is_blank && secret != shared.0).then_some(NoiseKey(secret))
    }

    /// The noise of the report that goes in the envelope of this number and says these integers; `None` for a task
    /// without noise, or with more than can be drawn.
    ///
    /// Envelope numbers never come twice (`docs/formats/frames.md`), so neither does the noise. Should a device be made
    /// to forget how far it has counted, the integers, too, are in what it is drawn from: two reports under one number
    /// still differ by their noise, unless they say the same, and then nothing more is said.
    pub fn noise(
        &self,
        task: &Task,
        sequence: u32,
        values: impl Iterator<Item = i32>,
    ) -> Option<DiscreteGaussian> {
        let mut said = Sha256::new();
        values.for_each(|value| said.update(value.to_le_bytes()));
        let mut secret = [0; 32];
        // It is uniform already: HKDF's first step has been done.
        Hkdf::<Sha256>::from_prk(&self.0)
            .ok()?
            .expand_multi_info(
                &[
                    b"tinyops noise 1",
                    &task.encode(),
                    &sequence.to_le_bytes(),
                    &said.finalize(),
                ],
                &mut secret,
            )
            .ok()?;
        DiscreteGaussian::of_task(task, secret)
    }
}

impl fmt::Debug for NoiseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoiseKey(secret)")
    }
}

/// Draws from the discrete Gaussian law of a variance that is a fraction.
#[derive(Debug)]
pub struct DiscreteGaussian {
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
    pub fn new(sd_tenths: u64, secret: [u8; 32]) -> Option<DiscreteGaussian> {
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

    /// The law of a task's noise, in its steps; `None` for none, or for more than can be drawn.
    pub fn of_task(task: &Task, secret: [u8; 32]) -> Option<DiscreteGaussian> {
        let sd_tenths = u64::from(task.noise_tenths) * u64::from(task.norm_max);
        DiscreteGaussian::new(sd_tenths, secret)
    }

    /// The next draw.
    pub fn draw(&mut self) -> i64 {
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
    fn a_device_never_draws_the_noise_of_one_report_for_another() {
        let shared = DeviceKey([9; 32]);
        let secret = core::array::from_fn(|index| index as u8);
        let key = NoiseKey::new(secret, &shared).unwrap();
        let task = Task {
            purpose: Purpose::Monitoring,
            number: 3,
            model: ModelId(7),
            ring_bits: 13,
            norm_max: 33,
            clip: 0.58,
            noise_tenths: 200,
        };
        let draws = |key: &NoiseKey, task: &Task, sequence, values: [i32; 3]| -> Vec<i64> {
            let mut noise = key.noise(task, sequence, values.into_iter()).unwrap();
            (0..22).map(|_| noise.draw()).collect()
        };
        let other =
            NoiseKey::new([&secret[1..], &[0]].concat().try_into().unwrap(), &shared).unwrap();
        let number = Task { number: 4, ..task };
        let all = [
            draws(&key, &task, 5, [1, 2, 3]),
            draws(&key, &task, 6, [1, 2, 3]),
            draws(&key, &task, 5, [1, 2, 4]),
            draws(&key, &number, 5, [1, 2, 3]),
            draws(&other, &task, 5, [1, 2, 3]),
        ];
        assert_eq!(all[0], draws(&key, &task, 5, [1, 2, 3]));
        for (index, one) in all.iter().enumerate() {
            for other in &all[..index] {
                let alike = one.iter().zip(other).filter(|(a, b)| a == b).count();
                assert!(alike <= 2, "{one:?} {other:?}");
            }
        }
        let silent = Task {
            noise_tenths: 0,
            ..task
        };
        assert!(key.noise(&silent, 5, [1].into_iter()).is_none());
        let loud = Task {
            noise_tenths: u16::MAX,
            norm_max: u16::MAX,
            ..task
        };
        assert!(key.noise(&loud, 5, [1].into_iter()).is_none());
        for known in [[9; 32], [0; 32], [0xff; 32]] {
            assert_eq!(NoiseKey::new(known, &shared), None);
        }
        assert_eq!(NoiseKey::new(secret, &DeviceKey(secret)), None);
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
