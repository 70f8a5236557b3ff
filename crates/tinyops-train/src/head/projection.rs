//! Fewer numbers for an embedding: its principal components at the factory.

use tinyops_nn::statistics::cell_count;

use super::Statistics;
use super::sums::Sums;
use crate::linalg;

/// An integer matrix that makes a narrow embedding of a wide one, exactly: `ψ = P φ`.
///
/// Sums are linear in `φ φᵀ`, so a device may keep the wide sums and narrow them when it is asked for them. No round asks
/// for that yet: `cargo xtask bench listen heads` measures what it would be worth.
///
/// # Shapes
/// `weights` is `[narrow, wide]`, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    wide: usize,
    narrow: usize,
    weights: Vec<i8>,
}

impl Projection {
    /// The directions in which the factory's embeddings vary most; `None` where there are not so many, or no window.
    pub fn principal(factory: &Statistics, narrow: usize) -> Option<Self> {
        let sums = Sums::of(factory);
        let (wide, total) = (sums.width, sums.total());
        if narrow == 0 || narrow > wide || total < 1.0 {
            return None;
        }
        let mean: Vec<f64> = (0..wide)
            .map(|value| {
                let of_class = |class: usize| sums.sums[class * wide + value];
                (0..sums.classes).map(of_class).sum::<f64>() / total
            })
            .collect();
        let covariance: Vec<f64> = (0..wide * wide)
            .map(|at| sums.gram[at] / total - mean[at / wide] * mean[at % wide])
            .collect();
        let vectors = linalg::principal(&covariance, wide, narrow);
        let largest = vectors.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        let rounded = |x: &f64| (x / largest * 127.0).round() as i8;
        Some(Self {
            wide,
            narrow,
            weights: vectors.iter().map(rounded).collect(),
        })
    }

    /// Values of an embedding before.
    pub fn wide(&self) -> usize {
        self.wide
    }

    /// Values of an embedding after.
    pub fn narrow(&self) -> usize {
        self.narrow
    }

    /// Mean length of a row: narrow values are so many times as large as wide ones.
    pub fn length(&self) -> f64 {
        let squares: f64 = self.weights.iter().map(|&p| f64::from(p).powi(2)).sum();
        (squares / self.narrow as f64).sqrt()
    }

    /// One row of the matrix.
    pub(super) fn row(&self, index: usize) -> &[i8] {
        &self.weights[index * self.wide..][..self.wide]
    }

    /// The narrow embedding of a wide one.
    pub(super) fn of(&self, wide: &[f64]) -> Vec<f64> {
        let rows = self.weights.chunks_exact(self.wide);
        rows.map(|row| row.iter().zip(wide).map(|(&p, x)| f64::from(p) * x).sum())
            .collect()
    }

    /// The sums of the narrow embeddings, exactly; `None` where the sums are of another width.
    pub fn apply(&self, statistics: &Statistics) -> Option<Statistics> {
        if statistics.embedding_len() != self.wide {
            return None;
        }
        let classes = statistics.class_count();
        let of = |row: &[i8], values: &dyn Fn(usize) -> i64| -> i64 {
            let terms = row.iter().enumerate();
            terms.map(|(at, &p)| i64::from(p) * values(at)).sum()
        };
        let mut cells: Vec<i64> = statistics.counts().to_vec();
        for class in 0..classes {
            let sum = statistics.class_sum(class);
            cells.extend((0..self.narrow).map(|row| of(self.row(row), &|at| sum[at])));
        }
        for row in 0..self.narrow {
            let half: Vec<i64> = (0..self.wide)
                .map(|column| of(self.row(row), &|at| statistics.gram(at, column)))
                .collect();
            cells.extend((row..self.narrow).map(|other| of(self.row(other), &|at| half[at])));
        }
        debug_assert_eq!(cells.len(), cell_count(classes, self.narrow));
        Statistics::new(classes, self.narrow, cells).ok()
    }
}
