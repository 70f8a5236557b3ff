//! How far an embedding lies from those of the factory: Mahalanobis' distance to the mean of its class, in integers.
//!
//! ```text
//! offset  bytes
//!  0       1    version 1
//!  1       1    classes K
//!  2       2    values d of an embedding, at most 64
//!  4      4 n     shift of each row of the factor u8, at most 31; n = ⌈d / 4⌉, and rows and columns from d on are 0
//!  ..     16      per block of 4 × 4 of the factor's upper triangle, of n by n blocks, row of blocks by row of blocks:
//!                 its weights i8, row by row
//!  ..      2 K d  means, i16 in 1/64 of a step of the embedding, class by class
//!  ..      2 K  offsets i16, in 1/256 of an octave: what windows of a class have, so that a class that scatters more
//!               than others does not look strange
//! ```
//! Little-endian. A capsule carries it as section EMBEDDING. With `δ = 64 q - mean` the squared distance, in units of
//! 1/256, is `Σ_r ((Σ_{c ≥ r} weight[r][c] δ[c]) >> shift[r])²`: the weights are the factor `U` of the inverse covariance
//! `Uᵀ U` within the classes.
//!
//! # Source
//! Mahalanobis, 1936, "On the generalised distance in statistics"; of embeddings, to find what a network was not trained
//! on: Lee et al., 2018, "A simple unified framework for detecting out-of-distribution samples and adversarial attacks".

use core::fmt;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 4;
const SHIFT_MAX: u8 = 31;
/// Parts of an octave that offsets are in.
const OFFSET_PARTS: f32 = 256.0;
/// Parts of a step of the embedding that means are in.
const MEAN_PARTS: i32 = 64;
/// Binary digits behind the point of what is squared.
const ROOT_BITS: i32 = 4;
/// A squared distance of 1.
const ONE: u64 = 1 << (2 * ROOT_BITS);

/// Most values of an embedding whose distance is measured: weights grow with the square of them.
pub const EMBEDDING_LEN_MAX: usize = 64;

/// Where the factory's embeddings lie, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbeddingDistance<'a> {
    class_count: usize,
    embedding_len: usize,
    shifts: &'a [[u8; SIDE]],
    blocks: &'a [[u8; SIDE * SIDE]],
    means: &'a [[u8; 2]],
    offsets: &'a [[u8; 2]],
}

/// What went wrong with where embeddings lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// Too few bytes, bytes left over, or too little room.
    Length,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u8,
    },
    /// A number that no windows can have: no class, no value or too many, a factor that is none.
    Value,
}

impl fmt::Display for EmbeddingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmbeddingError::Length => f.write_str(
                "the bytes and the classes and values of the embedding differ in length",
            ),
            EmbeddingError::Version { found } => {
                write!(f, "version {found} of where embeddings lie is unknown")
            }
            EmbeddingError::Value => f.write_str("a number that no embeddings can have"),
        }
    }
}

impl core::error::Error for EmbeddingError {}

/// Rows and columns of a block.
const SIDE: usize = 4;

/// Blocks on and above the diagonal.
const fn block_count(embedding_len: usize) -> usize {
    let side = embedding_len.div_ceil(SIDE);
    side * (side + 1) / 2
}

/// Where a weight stands among those of all blocks.
const fn place(row: usize, column: usize, embedding_len: usize) -> usize {
    let (across, down, right) = (embedding_len.div_ceil(SIDE), row / SIDE, column / SIDE);
    // Of the rows of blocks above, each has one block less than the one before.
    let block = down * across - down * (down + 1) / 2 + right;
    (block * SIDE + row % SIDE) * SIDE + column % SIDE
}

impl<'a> EmbeddingDistance<'a> {
    /// Bytes for so many classes and values.
    #[must_use]
    pub const fn encoded_len(class_count: usize, embedding_len: usize) -> usize {
        HEADER_BYTES
            + SIDE * embedding_len.div_ceil(SIDE)
            + SIDE * SIDE * block_count(embedding_len)
            + 2 * class_count * (embedding_len + 1)
    }

    /// Writes where embeddings lie; answers how many bytes.
    ///
    /// # Shapes
    /// `means` is `[class, value]`, in steps of the embedding as it lies in memory (its zero point is not taken away).
    /// `factor` is the upper triangle `U`, row by row, of `Uᵀ U`, the inverse covariance within the classes. `offsets`, one
    /// for each class, are taken away from the octaves of its windows.
    ///
    /// # Errors
    /// [`EmbeddingError::Value`] for no class, no value or too many of either, and for numbers that no int8 embedding
    /// has, [`EmbeddingError::Length`] if `out` is shorter than [`EmbeddingDistance::encoded_len`].
    pub fn encode(
        means: &[f64],
        factor: &[f64],
        offsets: &[f64],
        out: &mut [u8],
    ) -> Result<usize, EmbeddingError> {
        let class_count = offsets.len();
        let class_code = u8::try_from(class_count).map_err(|_| EmbeddingError::Value)?;
        let len = means.len() / class_count.max(1);
        let is_whole = len * class_count == means.len() && factor.len() == len * (len + 1) / 2;
        if class_count == 0 || len == 0 || len > EMBEDDING_LEN_MAX || !is_whole {
            return Err(EmbeddingError::Value);
        }
        let used = EmbeddingDistance::encoded_len(class_count, len);
        let out = out.get_mut(..used).ok_or(EmbeddingError::Length)?;
        out[0] = VERSION;
        out[1] = class_code;
        out[2..HEADER_BYTES].copy_from_slice(&(len as u16).to_le_bytes());
        let (shifts, rest) = out[HEADER_BYTES..].split_at_mut(SIDE * len.div_ceil(SIDE));
        let (blocks, words) = rest.split_at_mut(SIDE * SIDE * block_count(len));
        shifts.fill(0);
        blocks.fill(0);
        let mut factor = factor;
        for row in 0..len {
            let (weights, left) = factor.split_at(len - row);
            factor = left;
            let greatest = weights.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
            // The greatest weight fills int8 as far as a power of two can make it.
            let bits = match greatest {
                most if most > 0.0 && most.is_finite() => libm::floor(libm::log2(127.0 / most)),
                _ => return Err(EmbeddingError::Value),
            };
            // `δ` has 6 binary digits, a root keeps 4.
            let shift = bits as i32 + 6 - ROOT_BITS;
            if !(0..=i32::from(SHIFT_MAX)).contains(&shift) {
                return Err(EmbeddingError::Value);
            }
            shifts[row] = shift as u8;
            for (column, weight) in (row..len).zip(weights) {
                blocks[place(row, column, len)] =
                    libm::round(weight * libm::exp2(bits)) as i8 as u8;
            }
        }
        for (word, mean) in words.chunks_exact_mut(2).zip(means) {
            let parts = libm::round(mean * f64::from(MEAN_PARTS));
            if !(-128.0 * 64.0..=127.0 * 64.0).contains(&parts) {
                return Err(EmbeddingError::Value);
            }
            word.copy_from_slice(&(parts as i16).to_le_bytes());
        }
        for (word, offset) in words.chunks_exact_mut(2).skip(means.len()).zip(offsets) {
            let parts = libm::round(offset * f64::from(OFFSET_PARTS));
            if !(f64::from(i16::MIN)..=f64::from(i16::MAX)).contains(&parts) {
                return Err(EmbeddingError::Value);
            }
            word.copy_from_slice(&(parts as i16).to_le_bytes());
        }
        Ok(used)
    }

    /// Reads where embeddings lie from bytes that may be anything.
    ///
    /// # Errors
    /// [`EmbeddingError`], never a panic.
    pub fn decode(bytes: &'a [u8]) -> Result<EmbeddingDistance<'a>, EmbeddingError> {
        let (header, rest) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(EmbeddingError::Length)?;
        let [version, classes, l0, l1] = *header;
        if version != VERSION {
            return Err(EmbeddingError::Version { found: version });
        }
        let class_count = usize::from(classes);
        let embedding_len = usize::from(u16::from_le_bytes([l0, l1]));
        if class_count == 0 || embedding_len == 0 || embedding_len > EMBEDDING_LEN_MAX {
            return Err(EmbeddingError::Value);
        }
        if bytes.len() != EmbeddingDistance::encoded_len(class_count, embedding_len) {
            return Err(EmbeddingError::Length);
        }
        let (shifts, rest) = rest.split_at(SIDE * embedding_len.div_ceil(SIDE));
        let (blocks, words) = rest.split_at(SIDE * SIDE * block_count(embedding_len));
        if shifts.iter().any(|shift| *shift > SHIFT_MAX) {
            return Err(EmbeddingError::Value);
        }
        let (words, _) = words.as_chunks();
        let (means, offsets) = words.split_at(class_count * embedding_len);
        Ok(EmbeddingDistance {
            class_count,
            embedding_len,
            shifts: shifts.as_chunks().0,
            blocks: blocks.as_chunks().0,
            means,
            offsets,
        })
    }

    /// How many classes there are.
    #[must_use]
    pub fn class_count(&self) -> usize {
        self.class_count
    }

    /// Values of an embedding.
    #[must_use]
    pub fn embedding_len(&self) -> usize {
        self.embedding_len
    }

    /// How far an embedding, as it lies in memory, is from the mean of a class: the logarithm to base 2 of one more
    /// than its squared distance, straight between powers of two, less what windows of the class have. `None` for a class or a width that is not here.
    #[must_use]
    pub fn octaves(&self, class: usize, embedding: &[u8]) -> Option<f32> {
        let len = self.embedding_len;
        let means = self.means.get(class * len..(class + 1) * len)?;
        if embedding.len() != len {
            return None;
        }
        let mut deltas = [[0_i32; SIDE]; EMBEDDING_LEN_MAX / SIDE];
        let places = deltas.as_flattened_mut().iter_mut();
        for ((delta, value), mean) in places.zip(embedding).zip(means) {
            *delta = i32::from(*value as i8) * MEAN_PARTS - i32::from(i16::from_le_bytes(*mean));
        }
        let offset = i16::from_le_bytes(*self.offsets.get(class)?);
        Some(octaves(self.squared(&deltas)) - f32::from(offset) * (1.0 / OFFSET_PARTS))
    }

    /// The squared distance, in 1/256.
    fn squared(&self, deltas: &[[i32; SIDE]]) -> u64 {
        let (mut sum, mut left) = (0_u64, self.blocks);
        for (down, shifts) in self.shifts.iter().enumerate() {
            let Some((blocks, below)) = left.split_at_checked(self.shifts.len() - down) else {
                break;
            };
            left = below;
            // At most 64 products of 7 and 16 binary digits in each.
            let mut roots = [0_i32; SIDE];
            for (block, deltas) in blocks.iter().zip(deltas.iter().skip(down)) {
                let row = |at: usize| {
                    let product = |lane: usize| i32::from(block[at + lane] as i8) * deltas[lane];
                    product(0) + product(1) + product(2) + product(3)
                };
                roots[0] += row(0);
                roots[1] += row(4);
                roots[2] += row(8);
                roots[3] += row(12);
            }
            for (root, shift) in roots.iter().zip(shifts) {
                let root = (root >> shift).unsigned_abs();
                sum += u64::from(root) * u64::from(root);
            }
        }
        sum
    }
}

/// The logarithm to base 2 of one more than a squared distance, straight between powers of two.
fn octaves(squared: u64) -> f32 {
    let whole = squared.saturating_add(ONE);
    let zeros = whole.leading_zeros();
    let exponent = 63 - 2 * ROOT_BITS - zeros as i32;
    // From 1 up to, but not including, 2, in 23 binary digits behind the point.
    let mantissa = ((whole << zeros) >> 40) as u32;
    exponent as f32 + (mantissa as f32 * (1.0 / (1 << 23) as f32) - 1.0)
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    const LEN: usize = 6;
    const OFFSETS: [f64; 2] = [0.0, -1.5];

    /// A factor with entries beside the diagonal, and the means of two classes.
    fn told() -> (Vec<f64>, Vec<f64>) {
        let mut factor = Vec::new();
        for row in 0..LEN {
            for column in row..LEN {
                let apart = (column - row) as f64;
                factor.push(if column == row {
                    0.05 * (row + 1) as f64
                } else {
                    -0.02 / apart
                });
            }
        }
        let means = (0..2 * LEN).map(|at| at as f64 * 3.3 - 20.0).collect();
        (means, factor)
    }

    fn encoded() -> Vec<u8> {
        let (means, factor) = told();
        let mut out = vec![0; EmbeddingDistance::encoded_len(2, LEN)];
        let used = EmbeddingDistance::encode(&means, &factor, &OFFSETS, &mut out).unwrap();
        assert_eq!(used, out.len());
        out
    }

    #[test]
    fn integers_give_the_distance_of_real_numbers() {
        let (means, factor) = told();
        let bytes = encoded();
        let distance = EmbeddingDistance::decode(&bytes).unwrap();
        let mut state = 3_u32;
        for _ in 0..500 {
            let row: [u8; LEN] = core::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            });
            for class in 0..2 {
                let delta = |at: usize| f64::from(row[at] as i8) - means[class * LEN + at];
                let mut at = 0;
                let mut squared = 0.0;
                for first in 0..LEN {
                    let root: f64 = (first..LEN)
                        .map(|c| factor[at + c - first] * delta(c))
                        .sum();
                    at += LEN - first;
                    squared += root * root;
                }
                let exact = (squared + 1.0).log2() - OFFSETS[class];
                let own = f64::from(distance.octaves(class, &row).unwrap());
                // A chord lies at most 0.0861 below the logarithm.
                assert!((own - exact).abs() < 0.09 + 0.05, "{own} {exact}");
            }
        }
    }

    #[test]
    fn octaves_rise_with_the_distance_and_are_exact_at_powers_of_two() {
        for bits in 0..40 {
            let squared = (1_u64 << (8 + bits)) - ONE;
            assert_eq!(octaves(squared), bits as f32);
            assert!(octaves(squared + (1 << bits)) > bits as f32);
        }
        assert!(octaves(u64::MAX).is_finite());
    }

    #[test]
    fn what_no_embeddings_can_have_is_refused() {
        let bytes = encoded();
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = bytes.clone();
            change(&mut changed);
            EmbeddingDistance::decode(&changed).unwrap_err()
        };
        let version = EmbeddingError::Version { found: 2 };
        assert_eq!(refused(&|bytes| bytes[0] = 2), version);
        assert_eq!(refused(&|bytes| bytes[1] = 3), EmbeddingError::Length);
        assert_eq!(refused(&|bytes| bytes.push(0)), EmbeddingError::Length);
        assert_eq!(refused(&|bytes| bytes[1] = 0), EmbeddingError::Value);
        assert_eq!(refused(&|bytes| bytes[2] = 65), EmbeddingError::Value);
        assert_eq!(refused(&|bytes| bytes[4] = 32), EmbeddingError::Value);
        for len in 0..bytes.len() {
            assert!(EmbeddingDistance::decode(&bytes[..len]).is_err(), "{len}");
        }
        let distance = EmbeddingDistance::decode(&bytes).unwrap();
        assert_eq!(distance.octaves(2, &[0; LEN]), None);
        assert_eq!(distance.octaves(0, &[0; LEN - 1]), None);
        assert_eq!(distance.octaves(0, &[0; LEN + 1]), None);
        assert_eq!(distance.octaves(0, &[0; 80]), None);
    }

    #[test]
    fn numbers_that_do_not_fit_make_none() {
        let (means, factor) = told();
        let mut out = vec![0; EmbeddingDistance::encoded_len(2, LEN)];
        let mut encode = |means: &[f64], factor: &[f64], offsets: &[f64]| {
            EmbeddingDistance::encode(means, factor, offsets, &mut out)
        };
        assert_eq!(encode(&means, &factor, &[]), Err(EmbeddingError::Value));
        assert_eq!(
            encode(&means, &factor[1..], &OFFSETS),
            Err(EmbeddingError::Value)
        );
        let far: Vec<f64> = means.iter().map(|mean| mean + 200.0).collect();
        assert_eq!(encode(&far, &factor, &OFFSETS), Err(EmbeddingError::Value));
        let none = vec![0.0; factor.len()];
        assert_eq!(encode(&means, &none, &OFFSETS), Err(EmbeddingError::Value));
        let far_off = encode(&means, &factor, &[0.0, 128.0]);
        assert_eq!(far_off, Err(EmbeddingError::Value));
        let mut short = [0; 8];
        let refused = EmbeddingDistance::encode(&means, &factor, &OFFSETS, &mut short);
        assert_eq!(refused, Err(EmbeddingError::Length));
    }
}
