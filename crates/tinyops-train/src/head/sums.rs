//! Sums of embeddings in real numbers: the heads that they lead to, and what they let expect of one.

use tinyops_nn::statistics::{Cell, ClassStatistics};

use super::linear::Linear;
use crate::linalg;

/// Ridge as a share of the mean variance: what 12-bit sums of 32 values need.
///
/// # Source
/// Measured in the design notes, "Privacy and monitoring", section 4.1: λ = 0.1 · tr / d.
const RIDGE: f64 = 0.1;

/// What sums of doubles may be off by, as a share of the mean variance.
const LAST_DIGITS: f64 = 1e-9;

/// Statistics in real numbers, per window.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    pub(super) classes: usize,
    pub(super) width: usize,
    pub(super) counts: Vec<f64>,
    /// `[class, value]`.
    pub(super) sums: Vec<f64>,
    /// `[value, value]`, of all classes together.
    pub(super) gram: Vec<f64>,
}

impl Sums {
    pub(super) fn of<C: Cell, S: AsRef<[C]>>(statistics: &ClassStatistics<C, S>) -> Self {
        let (classes, width) = (statistics.class_count(), statistics.embedding_len());
        Self {
            classes,
            width,
            counts: statistics
                .counts()
                .iter()
                .map(|count| count.get() as f64)
                .collect(),
            sums: (0..classes)
                .flat_map(|class| statistics.class_sum(class))
                .map(|sum| sum.get() as f64)
                .collect(),
            gram: (0..width * width)
                .map(|at| statistics.gram(at / width, at % width) as f64)
                .collect(),
        }
    }

    /// Of whole windows what is counted in so many parts of one.
    pub(super) fn in_wholes(mut self, parts: u32) -> Self {
        let parts = f64::from(parts.max(1));
        let all = [&mut self.counts, &mut self.sums, &mut self.gram];
        let values = all.into_iter().flatten();
        values.for_each(|value| *value /= parts);
        self
    }

    /// No window.
    pub(super) fn none(classes: usize, width: usize) -> Self {
        Self {
            classes,
            width,
            counts: vec![0.0; classes],
            sums: vec![0.0; classes * width],
            gram: vec![0.0; width * width],
        }
    }

    /// Adds others, or takes them back with a `sign` of -1: sums of integers below 2⁵³ do so exactly.
    pub(super) fn accumulate(&mut self, other: &Self, sign: f64) {
        let pairs = [
            (&mut self.counts, &other.counts),
            (&mut self.sums, &other.sums),
            (&mut self.gram, &other.gram),
        ];
        for (own, other) in pairs {
            let each = own.iter_mut().zip(other);
            each.for_each(|(own, other)| *own += sign * other);
        }
    }

    pub(super) fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// These and others together, the others as if they were `weight` times as many as these.
    pub(super) fn mixed(&self, other: &Self, weight: f64) -> Self {
        let factor = if other.total() > 0.0 {
            weight * self.total().max(1.0) / other.total()
        } else {
            0.0
        };
        let mix = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + factor * b).collect();
        Self {
            classes: self.classes,
            width: self.width,
            counts: mix(&self.counts, &other.counts),
            sums: mix(&self.sums, &other.sums),
            gram: mix(&self.gram, &other.gram),
        }
    }

    pub(super) fn mean(&self, class: usize) -> Vec<f64> {
        let count = self.counts[class].max(1e-9);
        self.sums[class * self.width..][..self.width]
            .iter()
            .map(|sum| sum / count)
            .collect()
    }

    pub(super) fn holds(&self, class: usize) -> bool {
        self.counts[class] > 0.0
    }

    /// Covariance within the classes, pooled.
    pub(super) fn within(&self) -> Vec<f64> {
        let d = self.width;
        let mut within = self.gram.clone();
        for class in (0..self.classes).filter(|&class| self.holds(class)) {
            let mean = self.mean(class);
            for i in 0..d {
                for j in 0..d {
                    within[i * d + j] -= self.counts[class] * mean[i] * mean[j];
                }
            }
        }
        let total = self.total().max(1.0);
        within.iter_mut().for_each(|x| *x /= total);
        within
    }

    /// The same, where numbers that were rounded, or noise, have left the covariance indefinite: a direction that is left
    /// `-e` of variance gets `e`. Sums that are exact stay as they are, but for what their last digits do.
    ///
    /// A true covariance has no negative eigenvalue, so that in this direction the error has taken `e` at least, and the
    /// true variance is anywhere from nothing to what else it has taken. With `-e`, or none, a head that leans on the
    /// direction would seem to make no mistakes; an error as large on the other side is as likely.
    ///
    /// # Source
    /// Higham, 1988, "Computing a nearest symmetric positive semidefinite matrix", by way of the polar factor: the
    /// eigenvalues' sizes. Weyl's inequality, `|λ(Σ + E) - λ(Σ)| ≤ ‖E‖`, for what the error is at least (Golub and Van
    /// Loan, "Matrix computations", section 8.1.2).
    pub(super) fn definite(mut self) -> Self {
        let d = self.width;
        let within = self.within();
        let scale = (0..d).map(|i| within[i * d + i].abs()).sum::<f64>() / d.max(1) as f64;
        let mut padded = within.clone();
        (0..d).for_each(|i| padded[i * d + i] += LAST_DIGITS * scale);
        if scale <= 0.0 || linalg::cholesky(&padded, d).is_some() {
            return self;
        }
        let vectors = linalg::principal(&within, d, d);
        let values: Vec<f64> = vectors
            .chunks_exact(d)
            .map(|vector| quadratic(&within, vector))
            .collect();
        let total = self.total().max(1.0);
        for (vector, value) in vectors.chunks_exact(d).zip(values) {
            let lift = total * 2.0 * (-value).max(0.0);
            for i in 0..d {
                for j in 0..d {
                    self.gram[i * d + j] += lift * vector[i] * vector[j];
                }
            }
        }
        self
    }

    /// Adds the ridge to the diagonal; a value that never moves gets some too.
    fn ridged(mut matrix: Vec<f64>, d: usize) -> Vec<f64> {
        let trace: f64 = (0..d).map(|i| matrix[i * d + i]).sum();
        let added = (RIDGE * trace / d as f64).max(1e-6);
        (0..d).for_each(|i| matrix[i * d + i] += added);
        matrix
    }

    /// `w = (Σ + λI)⁻¹ μ`, `b = -½ μᵀ (Σ + λI)⁻¹ μ`: classes equally likely, for what was labelled says
    /// little about what occurs.
    pub(super) fn lda(&self) -> Option<Linear> {
        let d = self.width;
        let lower = linalg::cholesky(&Self::ridged(self.within(), d), d)?;
        self.of_means(|mean| {
            let mut weights = mean.to_vec();
            linalg::solve(&lower, d, &mut weights);
            weights
        })
    }

    /// As LDA, with the same variance in every direction.
    pub(super) fn class_means(&self) -> Option<Linear> {
        let d = self.width;
        let within = self.within();
        let variance = ((0..d).map(|i| within[i * d + i]).sum::<f64>() / d as f64).max(1e-6);
        self.of_means(|mean| mean.iter().map(|m| m / variance).collect())
    }

    fn of_means(&self, weights_of: impl Fn(&[f64]) -> Vec<f64>) -> Option<Linear> {
        let mut head = Linear {
            width: self.width,
            weights: Vec::new(),
            bias: Vec::new(),
            ahead: None,
        };
        for class in 0..self.classes {
            if !self.holds(class) {
                return None;
            }
            let mean = self.mean(class);
            let weights = weights_of(&mean);
            head.bias.push(-0.5 * dot(&weights, &mean));
            head.weights.extend(weights);
        }
        Some(head)
    }

    /// Least squares onto `1` for the class and `0` for the others, every class as heavy as any other.
    pub(super) fn ridge(&self) -> Option<Linear> {
        let d = self.width;
        if (0..self.classes).any(|class| !self.holds(class)) {
            return None;
        }
        let share = 1.0 / self.classes as f64;
        let means: Vec<Vec<f64>> = (0..self.classes).map(|class| self.mean(class)).collect();
        let centre: Vec<f64> = (0..d)
            .map(|i| means.iter().map(|mean| mean[i] * share).sum())
            .collect();
        // Within the classes pooled, between them even.
        let mut scatter = self.within();
        for mean in &means {
            for i in 0..d {
                for j in 0..d {
                    scatter[i * d + j] += share * (mean[i] - centre[i]) * (mean[j] - centre[j]);
                }
            }
        }
        let lower = linalg::cholesky(&Self::ridged(scatter, d), d)?;
        let mut head = Linear {
            width: d,
            weights: Vec::new(),
            bias: Vec::new(),
            ahead: None,
        };
        for mean in &means {
            let mut weights: Vec<f64> = mean
                .iter()
                .zip(&centre)
                .map(|(m, c)| share * (m - c))
                .collect();
            linalg::solve(&lower, d, &mut weights);
            head.bias.push(share - dot(&weights, &centre));
            head.weights.extend(weights);
        }
        Some(head)
    }

    /// A head of these sums as devices will take it: in log odds, where they hold those of two classes against a threshold.
    pub(super) fn deciding(&self, mut head: Linear, ahead: Option<f64>) -> Linear {
        if ahead.is_some() {
            self.temper(&mut head);
        }
        head.ahead = ahead;
        head
    }

    /// Calls `see(class, other, mean, variance)` of the margin by which each class beats each other one,
    /// its embeddings taken for Gaussian with the pooled covariance.
    pub(super) fn margins(&self, head: &Linear, mut see: impl FnMut(usize, usize, f64, f64)) {
        let within = self.within();
        for class in (0..self.classes).filter(|&class| self.holds(class)) {
            let mean = self.mean(class);
            for other in (0..self.classes).filter(|&other| other != class) {
                let ahead: Vec<f64> = head
                    .row(class)
                    .iter()
                    .zip(head.row(other))
                    .map(|(a, b)| a - b)
                    .collect();
                let margin = dot(&ahead, &mean) + head.bias[class] - head.bias[other];
                see(class, other, margin, quadratic(&within, &ahead).max(0.0));
            }
        }
    }

    /// Share of right answers, classes weighing the same, were margins independent.
    ///
    /// The spread is that around the windows' own means, over their number and not less the classes': with `c` windows of
    /// a class the mean margin itself scatters by `σ² / c`, and `Φ(mean / √(σ² (1 − 1 / c)))` is on average the share that
    /// is right, down to one window, which is right or wrong.
    pub(super) fn expected_accuracy(&self, head: &Linear) -> f64 {
        let mut chances = vec![1.0f64; self.classes];
        self.margins(head, |class, _, margin, variance| {
            let margin = match (head.ahead, class) {
                (Some(ahead), 1) => margin - ahead,
                (Some(ahead), _) => margin + ahead,
                (None, _) => margin,
            };
            chances[class] *= normal_share(margin / variance.sqrt().max(1e-9));
        });
        let seen: Vec<f64> = (0..self.classes)
            .filter(|&class| self.holds(class))
            .map(|class| chances[class])
            .collect();
        seen.iter().sum::<f64>() / seen.len().max(1) as f64
    }

    /// Scales the head so that its margins are log odds, and softmax gives honest shares.
    pub(super) fn temper(&self, head: &mut Linear) {
        // Gaussian margins of mean m and variance v have log odds 2 m / v each unit.
        let (mut margins, mut variances) = (0.0, 0.0);
        self.margins(head, |_, _, margin, variance| {
            margins += 2.0 * margin.max(0.0);
            variances += variance;
        });
        let factor = margins / variances.max(1e-12);
        if factor.is_finite() && factor > 0.0 {
            head.weights
                .iter_mut()
                .chain(&mut head.bias)
                .for_each(|x| *x *= factor);
        }
        // A logit that all classes share says nothing and would only widen the range.
        let classes = head.classes();
        for value in 0..head.width {
            let common = (0..classes)
                .map(|class| head.weights[class * head.width + value])
                .sum::<f64>()
                / classes as f64;
            (0..classes).for_each(|class| head.weights[class * head.width + value] -= common);
        }
        let common = head.bias.iter().sum::<f64>() / classes as f64;
        head.bias.iter_mut().for_each(|b| *b -= common);
    }

    /// Least and greatest logit to expect: four deviations around the class means.
    pub(super) fn logit_range(&self, head: &Linear) -> [f64; 2] {
        const DEVIATIONS: f64 = 4.0;
        let within = self.within();
        let mut range = [0.0f64; 2];
        for output in 0..head.classes() {
            let weights = head.row(output);
            let room = DEVIATIONS * quadratic(&within, weights).max(0.0).sqrt();
            for class in (0..self.classes).filter(|&class| self.holds(class)) {
                let centre = dot(weights, &self.mean(class)) + head.bias[output];
                range = [range[0].min(centre - room), range[1].max(centre + room)];
            }
        }
        range
    }
}

/// `xᵀ A x`.
fn quadratic(a: &[f64], x: &[f64]) -> f64 {
    let rows = a.chunks_exact(x.len().max(1)).zip(x);
    rows.map(|(row, x_i)| x_i * dot(row, x)).sum()
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Share of a standard normal below `x`.
fn normal_share(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// The middle value; the upper of two.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
