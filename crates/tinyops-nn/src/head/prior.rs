//! What the factory's windows say of a head, small enough for a capsule: class shares, class means and the covariance
//! within the classes, in 16 bits with one step each for means and covariance.
//!
//! ```text
//! offset  bytes
//!  0       1    version 1
//!  1       1    classes K
//!  2       2    values d of an embedding
//!  4       8    what makes the embedding: first 8 bytes of a digest
//! 12       4    windows u32
//! 16       4    step of a mean f32
//! 20       4    step of a covariance f32
//! 24       2 K  share of each class of the windows, in 1/65535
//!  ..      2 K d  means, i16, class by class
//!  ..      d (d + 1)  covariance, i16, lower triangle row by row
//! ```
//! Little-endian. A capsule carries it as section PRIOR.

use core::fmt;

use super::{Sums, place, work_len};
use crate::statistics::{Cell, ClassStatistics};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;
const SHARE_MAX: f64 = u16::MAX as f64;
const STEPS: f64 = i16::MAX as f64;

/// The factory's windows, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior<'a> {
    class_count: usize,
    embedding_len: usize,
    embedding: [u8; 8],
    windows: u32,
    mean_step: f32,
    covariance_step: f32,
    shares: &'a [[u8; 2]],
    means: &'a [[u8; 2]],
    covariance: &'a [[u8; 2]],
}

/// What went wrong with a prior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PriorError {
    /// Too few bytes, bytes left over, or too little room.
    Length,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u8,
    },
    /// A number that no windows can have: no class, no value, a step that is none, a variance below 0.
    Value,
    /// No window, or embeddings that do not vary within their classes.
    Empty,
}

impl fmt::Display for PriorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PriorError::Length => f.write_str("the bytes and the prior differ in length"),
            PriorError::Version { found } => write!(f, "prior version {found} is unknown"),
            PriorError::Value => f.write_str("a number that no windows can have"),
            PriorError::Empty => {
                f.write_str("no window, or embeddings that do not vary within their classes")
            }
        }
    }
}

impl core::error::Error for PriorError {}

/// Most values of an embedding that a prior is of.
const EMBEDDING_LEN_MAX: usize = 4096;

impl<'a> Prior<'a> {
    /// Bytes of the prior of so many classes and values.
    #[must_use]
    pub const fn encoded_len(class_count: usize, embedding_len: usize) -> usize {
        HEADER_BYTES + 2 * (class_count * (1 + embedding_len) + work_len(embedding_len))
    }

    /// Writes the prior that these sums make; answers how many bytes. `embedding` tells what makes the embedding.
    ///
    /// # Errors
    /// [`PriorError::Empty`] for sums of no window or of windows that do not vary, [`PriorError::Value`] for more
    /// classes or values than the format holds, [`PriorError::Length`] if `out` is shorter than
    /// [`Prior::encoded_len`].
    pub fn encode<C: Cell, S: AsRef<[C]>>(
        sums: &ClassStatistics<C, S>,
        embedding: [u8; 8],
        out: &mut [u8],
    ) -> Result<usize, PriorError> {
        let (classes, len) = (Sums::class_count(sums), Sums::embedding_len(sums));
        let (Ok(class_code @ 1..), Ok(len_code @ 1..)) =
            (u8::try_from(classes), u16::try_from(len))
        else {
            return Err(PriorError::Value);
        };
        if len > EMBEDDING_LEN_MAX {
            return Err(PriorError::Value);
        }
        let total = Sums::total(sums);
        let windows = u32::try_from(total as i64).map_err(|_| PriorError::Value)?;
        let out = out
            .get_mut(..Prior::encoded_len(classes, len))
            .ok_or(PriorError::Length)?;
        let mean = |class: usize, at: usize| match sums.count(class) {
            count if count > 0.0 => Sums::class_sum(sums, class, at) / count,
            _ => 0.0,
        };
        let covariance = |row: usize, column: usize| {
            let between: f64 = (0..classes)
                .map(|class| sums.count(class) * mean(class, row) * mean(class, column))
                .sum();
            (Sums::gram(sums, row, column) - between) / total
        };
        let means = || (0..classes * len).map(|at| mean(at / len, at % len));
        let cells = || (0..len).flat_map(|row| (0..=row).map(move |column| (row, column)));
        let greatest = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(0.0, |most: f64, value| most.max(value.abs()))
        };
        let of_means = greatest(&mut means());
        let of_covariance = greatest(&mut cells().map(|(row, column)| covariance(row, column)));
        // What rounding leaves of sums of integers is no variance.
        if windows == 0 || of_covariance < 1e-6 {
            return Err(PriorError::Empty);
        }
        let (mean_step, covariance_step) = (step_of(of_means.max(1e-6)), step_of(of_covariance));
        out[0] = VERSION;
        out[1] = class_code;
        out[2..4].copy_from_slice(&len_code.to_le_bytes());
        out[4..12].copy_from_slice(&embedding);
        out[12..16].copy_from_slice(&windows.to_le_bytes());
        out[16..20].copy_from_slice(&mean_step.to_le_bytes());
        out[20..24].copy_from_slice(&covariance_step.to_le_bytes());
        // A class that has windows keeps a share, however small.
        let share = |class: usize| match sums.count(class) {
            count if count > 0.0 => libm::round(count / total * SHARE_MAX).max(1.0) as u16,
            _ => 0,
        };
        let steps = |value: f64, step: f32| libm::round(value / f64::from(step)) as i16;
        let shares = (0..classes).map(|class| share(class).to_le_bytes());
        let means = means().map(|value| steps(value, mean_step).to_le_bytes());
        let cells = cells()
            .map(|(row, column)| steps(covariance(row, column), covariance_step).to_le_bytes());
        let words = out[HEADER_BYTES..].chunks_exact_mut(2);
        for (word, value) in words.zip(shares.chain(means).chain(cells)) {
            word.copy_from_slice(&value);
        }
        Ok(out.len())
    }

    /// Reads a prior from bytes that may be anything.
    ///
    /// # Errors
    /// [`PriorError`], never a panic.
    pub fn decode(bytes: &'a [u8]) -> Result<Prior<'a>, PriorError> {
        let (header, words) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(PriorError::Length)?;
        let [version, classes, l0, l1, rest @ ..] = *header;
        if version != VERSION {
            return Err(PriorError::Version { found: version });
        }
        let (class_count, embedding_len) = (
            usize::from(classes),
            usize::from(u16::from_le_bytes([l0, l1])),
        );
        // More than this no embedding has, and its square is no length on a small machine.
        if embedding_len > EMBEDDING_LEN_MAX {
            return Err(PriorError::Value);
        }
        let (words, left) = words.as_chunks::<2>();
        if bytes.len() != Prior::encoded_len(class_count, embedding_len) || !left.is_empty() {
            return Err(PriorError::Length);
        }
        let [e0, e1, e2, e3, e4, e5, e6, e7, rest @ ..] = rest;
        let [w0, w1, w2, w3, m0, m1, m2, m3, c0, c1, c2, c3] = rest;
        let (shares, words) = words.split_at(class_count);
        let (means, covariance) = words.split_at(class_count * embedding_len);
        let prior = Prior {
            class_count,
            embedding_len,
            embedding: [e0, e1, e2, e3, e4, e5, e6, e7],
            windows: u32::from_le_bytes([w0, w1, w2, w3]),
            mean_step: f32::from_le_bytes([m0, m1, m2, m3]),
            covariance_step: f32::from_le_bytes([c0, c1, c2, c3]),
            shares,
            means,
            covariance,
        };
        if prior.is_possible() {
            Ok(prior)
        } else {
            Err(PriorError::Value)
        }
    }

    /// What makes the embedding: the first bytes of a digest.
    #[must_use]
    pub fn embedding(&self) -> [u8; 8] {
        self.embedding
    }

    fn is_possible(&self) -> bool {
        // Means and deviations of an int8 embedding are within 255.
        let is_step = |step: f32, most: f64| {
            step > 0.0 && step.is_finite() && f64::from(step) * STEPS <= most * 1.001
        };
        let share = |share: &[u8; 2]| u16::from_le_bytes(*share);
        let variances = (0..self.embedding_len).map(|at| word(self.covariance[place(at, at)]));
        self.class_count > 0
            && self.embedding_len > 0
            && self.windows > 0
            && is_step(self.mean_step, 255.0)
            && is_step(self.covariance_step, 255.0 * 255.0)
            && self.shares.iter().any(|bytes| share(bytes) > 0)
            && variances.into_iter().all(|variance| variance >= 0.0)
    }

    fn share(&self, class: usize) -> f64 {
        f64::from(u16::from_le_bytes(self.shares[class])) / SHARE_MAX
    }

    fn mean(&self, class: usize, at: usize) -> f64 {
        f64::from(self.mean_step) * word(self.means[class * self.embedding_len + at])
    }
}

impl Sums for Prior<'_> {
    fn class_count(&self) -> usize {
        self.class_count
    }

    fn embedding_len(&self) -> usize {
        self.embedding_len
    }

    fn count(&self, class: usize) -> f64 {
        f64::from(self.windows) * self.share(class)
    }

    fn class_sum(&self, class: usize, at: usize) -> f64 {
        self.count(class) * self.mean(class, at)
    }

    fn gram(&self, row: usize, column: usize) -> f64 {
        let (row, column) = (row.max(column), row.min(column));
        let (mut between, mut shares) = (0.0, 0.0);
        for class in 0..self.class_count {
            let share = self.share(class);
            between += share * self.mean(class, row) * self.mean(class, column);
            shares += share;
        }
        let within = f64::from(self.covariance_step) * word(self.covariance[place(row, column)]);
        f64::from(self.windows) * (shares * within + between)
    }
}

fn step_of(most: f64) -> f32 {
    (most / STEPS) as f32
}

fn word(bytes: [u8; 2]) -> f64 {
    f64::from(i16::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::super::{Weights, head_len, solve, work_len};
    use super::*;
    use crate::statistics::cell_count;

    type Statistics = ClassStatistics<i64, Vec<i64>>;

    const CLASSES: usize = 3;
    const LEN: usize = 6;

    fn statistics(windows: usize) -> Statistics {
        let mut sums = Statistics::new(CLASSES, LEN, vec![0; cell_count(CLASSES, LEN)]).unwrap();
        let mut state = 7_u32;
        for index in 0..windows {
            let class = index % CLASSES;
            let row: [u8; LEN] = core::array::from_fn(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 24) as i32 % 31 - 15;
                // One value scatters a hundred times less than the others.
                let scale = if at == 5 { 10 } else { 1 };
                let centre = if at % CLASSES == class { 60 } else { -20 };
                ((centre + noise) / scale) as i8 as u8
            });
            sums.add(class, &row, -3).unwrap();
        }
        sums
    }

    fn encoded(sums: &Statistics) -> Vec<u8> {
        let mut out = vec![0; Prior::encoded_len(CLASSES, LEN)];
        let written = Prior::encode(sums, *b"embedded", &mut out).unwrap();
        assert_eq!(written, out.len());
        out
    }

    #[test]
    fn a_head_of_sixteen_bits_is_that_of_the_sums() {
        let (factory, own) = (statistics(900), statistics(12));
        let bytes = encoded(&factory);
        let prior = Prior::decode(&bytes).unwrap();
        assert_eq!(prior.embedding(), *b"embedded");
        let (mut work, mut exact, mut rounded) = (
            vec![0.0; work_len(LEN)],
            vec![0.0; head_len(CLASSES, LEN)],
            vec![0.0; head_len(CLASSES, LEN)],
        );
        solve(&own, &factory, Weights::default(), &mut work, &mut exact).unwrap();
        solve(&own, &prior, Weights::default(), &mut work, &mut rounded).unwrap();
        for (exact, rounded) in exact.iter().zip(&rounded) {
            let far = (exact - rounded).abs() / exact.abs().max(0.01);
            assert!(far < 0.01, "{exact} {rounded}");
        }
    }

    #[test]
    fn what_no_windows_can_have_is_refused() {
        let bytes = encoded(&statistics(900));
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = bytes.clone();
            change(&mut changed);
            Prior::decode(&changed).unwrap_err()
        };
        assert_eq!(
            refused(&|bytes| bytes[0] = 2),
            PriorError::Version { found: 2 }
        );
        assert_eq!(refused(&|bytes| bytes[1] = 4), PriorError::Length);
        assert_eq!(refused(&|bytes| bytes.push(0)), PriorError::Length);
        for at in [12, 16, 20] {
            let zero = |bytes: &mut Vec<u8>| bytes[at..at + 4].fill(0);
            assert_eq!(refused(&zero), PriorError::Value, "{at}");
        }
        let nan = |bytes: &mut Vec<u8>| bytes[20..24].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(refused(&nan), PriorError::Value);
        let no_share = |bytes: &mut Vec<u8>| bytes[24..24 + 2 * CLASSES].fill(0);
        assert_eq!(refused(&no_share), PriorError::Value);
        let variance = HEADER_BYTES + 2 * CLASSES * (1 + LEN);
        assert_eq!(
            refused(&|bytes| bytes[variance + 1] = 0x80),
            PriorError::Value
        );
        for len in 0..bytes.len() {
            assert!(Prior::decode(&bytes[..len]).is_err(), "{len}");
        }
        // So wide that its length is none in 32 bits.
        let wide = |bytes: &mut Vec<u8>| bytes[1..4].copy_from_slice(&[1, 0xff, 0xff]);
        assert_eq!(refused(&wide), PriorError::Value);
    }

    #[test]
    fn sums_that_say_nothing_make_no_prior() {
        let mut out = vec![0; Prior::encoded_len(CLASSES, LEN)];
        let none = statistics(0);
        assert_eq!(
            Prior::encode(&none, [0; 8], &mut out),
            Err(PriorError::Empty)
        );
        let mut same = statistics(0);
        for class in 0..CLASSES {
            same.add(class, &[9; LEN], 0).unwrap();
            same.add(class, &[9; LEN], 0).unwrap();
        }
        assert_eq!(
            Prior::encode(&same, [0; 8], &mut out),
            Err(PriorError::Empty)
        );
        let some = statistics(90);
        assert_eq!(
            Prior::encode(&some, [0; 8], &mut out[1..]),
            Err(PriorError::Length)
        );
    }
}
