//! A last layer solved on the device from its own labels, with the factory's windows as a prior.
//!
//! Linear discriminant analysis of the device's sums and the factory's together, in memory that is lent: the lower
//! triangle of a matrix, and the weights. No step of descent, no activation kept.
//!
//! # Source
//! Fisher's discriminant in Friedman's regularised form ("Regularized discriminant analysis", 1989), with a share of
//! the mean variance on the diagonal.

use crate::statistics::{Cell, ClassStatistics};

pub use self::prior::{Prior, PriorError};

mod prior;

/// Ridge as a share of the mean variance.
const RIDGE: f64 = 0.1;

/// How much a device's own labels weigh against the factory's windows.
///
/// # Source
/// Measured in the design notes, "Privacy and monitoring", section 5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Windows that all of the factory's count as.
    pub factory: f32,
    /// Windows that one of the device's counts as.
    pub own: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Weights {
            factory: 50.0,
            own: 4.0,
        }
    }
}

/// Numbers of working memory that [`solve`] needs.
#[must_use]
pub const fn work_len(embedding_len: usize) -> usize {
    embedding_len * (embedding_len + 1) / 2
}

/// Numbers of a head: for each class its weights, then its bias.
#[must_use]
pub const fn head_len(class_count: usize, embedding_len: usize) -> usize {
    class_count * (embedding_len + 1)
}

/// Labelled windows that a device should keep for a head of its own: the newest.
pub const OWN_WINDOWS: usize = 64;

/// Bytes that stand before the windows in the flash of a device, which says there what they are of.
pub const OWN_STORE_HEAD_BYTES: usize = 64;

/// Bytes that one labelled window takes in a device's memory, and in its flash: its class, a word, its embedding.
#[must_use]
pub const fn own_window_bytes(embedding_len: usize) -> usize {
    2 + embedding_len
}

/// Numbers of memory that a device needs for a head of its own: the one that answers, the one being tried, and the work.
#[must_use]
pub const fn own_memory_len(class_count: usize, embedding_len: usize) -> usize {
    2 * head_len(class_count, embedding_len) + work_len(embedding_len)
}

/// Counts, class sums and Gram matrix of windows, however they are kept.
pub trait Sums {
    /// How many classes there are.
    fn class_count(&self) -> usize;
    /// How many values an embedding has.
    fn embedding_len(&self) -> usize;
    /// How many windows of a class.
    fn count(&self, class: usize) -> f64;
    /// The sum of one value over the windows of a class.
    fn class_sum(&self, class: usize, at: usize) -> f64;
    /// The sum of a product of two values over all windows.
    fn gram(&self, row: usize, column: usize) -> f64;
    /// How many windows.
    fn total(&self) -> f64 {
        (0..self.class_count()).map(|class| self.count(class)).sum()
    }
}

impl<C: Cell, S: AsRef<[C]>> Sums for ClassStatistics<C, S> {
    fn class_count(&self) -> usize {
        ClassStatistics::class_count(self)
    }

    fn embedding_len(&self) -> usize {
        ClassStatistics::embedding_len(self)
    }

    fn count(&self, class: usize) -> f64 {
        self.counts()[class].get() as f64
    }

    fn class_sum(&self, class: usize, at: usize) -> f64 {
        ClassStatistics::class_sum(self, class)[at].get() as f64
    }

    fn gram(&self, row: usize, column: usize) -> f64 {
        ClassStatistics::gram(self, row, column) as f64
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The two statistics, or the memory lent, do not fit each other.
    Shape,
    /// Neither has a window of some class.
    NoClass,
    /// The embeddings do not vary, or the head is no finite number.
    Singular,
}

impl core::fmt::Display for HeadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            HeadError::Shape => "the statistics or the memory have another shape",
            HeadError::NoClass => "a class has no window at all",
            HeadError::Singular => "the embeddings do not vary",
        })
    }
}

impl core::error::Error for HeadError {}

/// Solves for a head over embeddings `q - zero_point`; `head` is laid out as [`head_len`] says.
///
/// # Errors
/// [`HeadError`]; what `head` holds then is nothing to use.
pub fn solve(
    own: &impl Sums,
    factory: &impl Sums,
    weights: Weights,
    work: &mut [f32],
    head: &mut [f32],
) -> Result<(), HeadError> {
    let (classes, len) = (own.class_count(), own.embedding_len());
    let is_alike = (classes, len) == (factory.class_count(), factory.embedding_len());
    if !is_alike || len == 0 || work.len() != work_len(len) || head.len() != head_len(classes, len)
    {
        return Err(HeadError::Shape);
    }
    let windows = factory.total();
    let of_factory = if windows > 0.0 {
        f64::from(weights.factory) / windows
    } else {
        0.0
    };
    let of_own = f64::from(weights.own);
    let mix = |own: f64, factory: f64| of_own * own + of_factory * factory;
    let count = |class: usize| mix(own.count(class), factory.count(class));
    // The head's rows hold the means until they are solved, and the weight of each class where its bias will be.
    let mut total = 0.0;
    for class in 0..classes {
        let weight = count(class);
        if weight <= 0.0 {
            return Err(HeadError::NoClass);
        }
        total += weight;
        let row = &mut head[class * (len + 1)..][..=len];
        for (at, mean) in row[..len].iter_mut().enumerate() {
            let sum = mix(own.class_sum(class, at), factory.class_sum(class, at));
            *mean = (sum / weight) as f32;
        }
        row[len] = weight as f32;
    }
    let mut trace = 0.0;
    let mut cells = work.iter_mut();
    for row in 0..len {
        for column in 0..=row {
            let Some(cell) = cells.next() else {
                return Err(HeadError::Shape);
            };
            let mut within = mix(own.gram(row, column), factory.gram(row, column));
            for means in head.chunks_exact(len + 1) {
                let mean = |at: usize| f64::from(means[at]);
                within -= f64::from(means[len]) * mean(row) * mean(column);
            }
            *cell = (within / total) as f32;
            if row == column {
                trace += within / total;
            }
        }
    }
    let ridge = (RIDGE * trace / len as f64) as f32;
    if !ridge.is_finite() || ridge <= 0.0 {
        return Err(HeadError::Singular);
    }
    (0..len).for_each(|at| work[place(at, at)] += ridge);
    factorise(work, len)?;
    for row in head.chunks_exact_mut(len + 1) {
        let (weights, bias) = row.split_at_mut(len);
        // L y = μ; then b = -½ |y|² = -½ μᵀ Σ⁻¹ μ; then Lᵀ w = y.
        for i in 0..len {
            let dot: f32 = (0..i).map(|k| work[place(i, k)] * weights[k]).sum();
            weights[i] = (weights[i] - dot) / work[place(i, i)];
        }
        bias[0] = -0.5 * weights.iter().map(|y| y * y).sum::<f32>();
        for i in (0..len).rev() {
            let dot: f32 = (i + 1..len).map(|k| work[place(k, i)] * weights[k]).sum();
            weights[i] = (weights[i] - dot) / work[place(i, i)];
        }
    }
    if head.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(HeadError::Singular)
    }
}

/// The class that a solved head says of an embedding as it lies in the arena, the first of several.
#[must_use]
pub fn class_of(head: &[f32], embedding: &[u8], zero_point: i8) -> usize {
    answer_of(head, embedding, zero_point).0
}

/// The class that a solved head says of an embedding as it lies in the arena, the first of several, and how sure it is
/// of it, 0 to 1: the share that the discriminants of all classes give it (softmax).
#[must_use]
pub fn answer_of(head: &[f32], embedding: &[u8], zero_point: i8) -> (usize, f32) {
    let phi = |byte: u8| f32::from(byte as i8) - f32::from(zero_point);
    let mut best = (0, f32::NEG_INFINITY);
    // Of all classes so far, in units of the best one's share.
    let mut shares = 0.0;
    for (class, row) in head.chunks_exact(embedding.len() + 1).enumerate() {
        let (weights, bias) = row.split_at(embedding.len());
        let terms = weights.iter().zip(embedding);
        let logit = bias[0] + terms.map(|(w, &byte)| w * phi(byte)).sum::<f32>();
        if logit > best.1 {
            shares = shares * libm::expf(best.1 - logit) + 1.0;
            best = (class, logit);
        } else {
            shares += libm::expf(logit - best.1);
        }
    }
    (best.0, 1.0 / f32::max(shares, 1.0))
}

/// Index of a value of a lower triangle, row by row.
const fn place(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// Cholesky's factor, in place.
fn factorise(work: &mut [f32], len: usize) -> Result<(), HeadError> {
    for i in 0..len {
        for j in 0..=i {
            let dot: f32 = (0..j).map(|k| work[place(i, k)] * work[place(j, k)]).sum();
            let rest = work[place(i, j)] - dot;
            if i == j {
                if rest <= 0.0 || !rest.is_finite() {
                    return Err(HeadError::Singular);
                }
                work[place(i, i)] = libm::sqrtf(rest);
            } else {
                work[place(i, j)] = rest / work[place(j, j)];
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::cell_count;
    use std::vec;
    use std::vec::Vec;

    type Sums = ClassStatistics<i64, Vec<i64>>;

    /// Two classes on two values that lean on each other; a device's are shifted.
    fn windows(count: usize, shift: i32) -> Sums {
        let mut sums = Sums::new(2, 2, vec![0; cell_count(2, 2)]).unwrap();
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as i32 % 21 - 10
        };
        for index in 0..count {
            let class = index % 2;
            let common = noise() * 3;
            let first = common + noise() / 2 + 16 * class as i32 + shift;
            let row = [first, common].map(|x| x.clamp(-128, 127) as i8 as u8);
            sums.add(class, &row, 0).unwrap();
        }
        sums
    }

    fn solved(own: &Sums, factory: &Sums) -> Result<[f32; 6], HeadError> {
        let (mut work, mut head) = ([0.0; 3], [0.0; 6]);
        solve(own, factory, Weights::default(), &mut work, &mut head)?;
        Ok(head)
    }

    #[test]
    fn own_labels_move_the_head_and_none_leave_the_factory_s() {
        let factory = windows(1_000, 0);
        let head = solved(&windows(0, 0), &factory).unwrap();
        let say = |head: &[f32], row: [i8; 2]| class_of(head, &row.map(|x| x as u8), 0);
        assert_eq!((say(&head, [2, 0]), say(&head, [14, 0])), (0, 1));
        // All of this device's readings are 12 higher: what was class 1 is class 0 here.
        let own = solved(&windows(100, 12), &factory).unwrap();
        assert_eq!((say(&own, [14, 0]), say(&own, [26, 0])), (0, 1));
    }

    #[test]
    fn it_is_sure_far_from_the_border_and_not_on_it() {
        let head = solved(&windows(0, 0), &windows(1_000, 0)).unwrap();
        let sure = |first: i8| answer_of(&head, &[first, 0].map(|x| x as u8), 0);
        assert_eq!((sure(-20).0, sure(36).0), (0, 1));
        assert!(sure(-20).1 > 0.99 && sure(36).1 > 0.99);
        let nearest = (0..20).map(|first| sure(first).1).fold(1.0, f32::min);
        assert!((0.5..0.75).contains(&nearest), "{nearest}");
    }

    #[test]
    fn what_cannot_be_solved_is_an_error() {
        let none = windows(0, 0);
        assert_eq!(solved(&none, &none), Err(HeadError::NoClass));
        assert_eq!(solved(&windows(1, 0), &none), Err(HeadError::NoClass));
        let mut same = Sums::new(2, 2, vec![0; cell_count(2, 2)]).unwrap();
        same.add(0, &[5, 5], 0).unwrap();
        same.add(1, &[9, 9], 0).unwrap();
        assert_eq!(solved(&same, &none), Err(HeadError::Singular));
        let (mut work, mut head) = ([0.0; 2], [0.0; 6]);
        let error = solve(&same, &none, Weights::default(), &mut work, &mut head);
        assert_eq!(error, Err(HeadError::Shape));
    }
}
