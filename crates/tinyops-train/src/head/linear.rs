//! A linear head in real numbers.

use tinyops_model::Model;

use super::sums::dot;
use super::{Embedded, Projection};

/// A head over embeddings in units of their own scale: `logit[k] = weights[k] · φ + bias[k]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Linear {
    pub(super) width: usize,
    pub(super) weights: Vec<f64>,
    pub(super) bias: Vec<f64>,
    /// By how much the second of two classes must be ahead to be given, in units of the logits; without it the greater
    /// logit decides, the first of equals.
    pub(super) ahead: Option<f64>,
}

/// The log odds of a threshold, from which on devices give the second of two classes; `None` where the greater share
/// decides.
pub(super) fn log_odds(model: &Model) -> Option<f64> {
    let threshold = f64::from(model.decision.threshold);
    let decides = model.labels.len() == 2 && threshold > 0.0;
    decides.then(|| (threshold / (1.0 - threshold).max(0.0)).ln())
}

impl Linear {
    pub(super) fn classes(&self) -> usize {
        self.bias.len()
    }

    pub(super) fn row(&self, class: usize) -> &[f64] {
        &self.weights[class * self.width..][..self.width]
    }

    /// The class that a device gives.
    pub(super) fn class(&self, embedding: &[f64]) -> usize {
        let logit = |class: usize| dot(self.row(class), embedding) + self.bias[class];
        if let Some(ahead) = self.ahead {
            return usize::from(logit(1) - logit(0) >= ahead);
        }
        (1..self.classes()).fold(0, |best, class| {
            if logit(class) > logit(best) {
                class
            } else {
                best
            }
        })
    }

    /// The same head over the wide embeddings of a projection, where there is one.
    pub(super) fn lifted(self, projection: Option<&Projection>) -> Self {
        let Some(projection) = projection else {
            return self;
        };
        let wide = projection.wide();
        let mut weights = vec![0.0; self.classes() * wide];
        for class in 0..self.classes() {
            for (value, &weight) in self.row(class).iter().enumerate() {
                let row = projection.row(value);
                for (at, &p) in row.iter().enumerate() {
                    weights[class * wide + at] += weight * f64::from(p);
                }
            }
        }
        Self {
            width: wide,
            weights,
            bias: self.bias,
            ahead: self.ahead,
        }
    }

    /// What this head over wide embeddings does with the part of them that a projection keeps.
    pub(super) fn narrowed(&self, projection: &Projection) -> Self {
        // The rows of the projection are orthogonal and of one length, up to their rounding.
        let weights = (0..self.classes()).flat_map(|class| {
            (0..projection.narrow()).map(move |value| {
                let row = projection.row(value);
                let [product, square] = row.iter().zip(self.row(class)).fold(
                    [0.0, 0.0],
                    |[product, square], (&p, weight)| {
                        let p = f64::from(p);
                        [product + p * weight, square + p * p]
                    },
                );
                product / square.max(1.0)
            })
        });
        Self {
            width: projection.narrow(),
            weights: weights.collect(),
            bias: self.bias.clone(),
            ahead: self.ahead,
        }
    }

    /// What share of these windows it is right about; nothing without labelled windows.
    pub(super) fn accuracy(&self, windows: &Embedded) -> Option<Accuracy> {
        let mut embedding = Vec::with_capacity(self.width);
        let told = (0..windows.count()).filter_map(|index| {
            let class = usize::from(windows.class(index)?);
            embedding.clear();
            embedding.extend(windows.values(index).map(f64::from));
            (class < self.classes()).then(|| (class, self.class(&embedding)))
        });
        Accuracy::of(self.classes(), told)
    }

    /// Adds so much of the logits of another head of the same shape.
    pub(super) fn blended(mut self, other: &Self, share: f64) -> Self {
        let pairs = [
            (&mut self.weights, &other.weights),
            (&mut self.bias, &other.bias),
        ];
        for (own, other) in pairs {
            let each = own.iter_mut().zip(other);
            each.for_each(|(own, other)| *own += share * other);
        }
        self
    }
}

/// Share of windows that a head is right about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accuracy {
    /// Of all of them.
    pub(super) plain: f64,
    /// Classes weighing the same.
    pub(super) balanced: f64,
}

impl Accuracy {
    /// Of windows whose class is the first, and which were given the second; nothing of none.
    pub(super) fn of(
        classes: usize,
        told: impl IntoIterator<Item = (usize, usize)>,
    ) -> Option<Self> {
        let mut counts = vec![[0.0f64; 2]; classes];
        for (class, given) in told {
            counts[class][0] += 1.0;
            counts[class][1] += f64::from(u8::from(given == class));
        }
        let seen = || counts.iter().filter(|[all, _]| *all > 0.0);
        let [all, right] = [0, 1].map(|at| counts.iter().map(|count| count[at]).sum::<f64>());
        (all > 0.0).then(|| Accuracy {
            plain: right / all,
            balanced: seen().map(|[all, right]| right / all).sum::<f64>() / seen().count() as f64,
        })
    }
}
