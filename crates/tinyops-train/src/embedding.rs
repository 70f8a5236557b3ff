//! Where a model's embeddings of its training windows lie, so that devices can tell how far theirs are from them.

use tinyops_model::Model;
use tinyops_nn::{EMBEDDING_LEN_MAX, EmbeddingDistance};

use crate::Features;
use crate::linalg::{cholesky, inverse};
use crate::predictor::Predictor;

/// Part of the mean variance that is added to each: a few hundred windows say little of what hardly varies.
const SHRINKAGE: f64 = 0.01;
/// Windows that a class must have to be half as far from all as it looks.
const FEW: f64 = 4.0;
/// Variance that rounding to int8 leaves a value at least, and a little more.
const ROUNDING: f64 = 0.1;

/// The embeddings of windows, as they lie in a device's memory.
pub(crate) struct Embeddings {
    rows: Vec<Vec<u8>>,
}

impl Embeddings {
    /// `None` for a model without embeddings, or with wider ones than devices measure.
    pub(crate) fn of(predictor: &Predictor, features: &Features) -> Option<Embeddings> {
        let (view, rows) = predictor.embeddings(features)?;
        (view.len <= EMBEDDING_LEN_MAX).then_some(Embeddings { rows })
    }

    /// Section EMBEDDING of a payload: where windows lie that were given these classes. `None` where they do not say.
    pub(crate) fn section(&self, given: &[usize], class_count: usize) -> Option<Vec<u8>> {
        let len = self.rows.first()?.len();
        let value = |row: &[u8], at: usize| f64::from(row[at] as i8);
        let (mut counts, mut means) = (vec![0.0; class_count], vec![0.0; class_count * len]);
        let mut all = vec![0.0; len];
        for (index, row) in self.rows.iter().enumerate() {
            counts[given[index]] += 1.0;
            for at in 0..len {
                means[given[index] * len + at] += value(row, at);
                all[at] += value(row, at) / self.rows.len() as f64;
            }
        }
        for (class, means) in means.chunks_exact_mut(len).enumerate() {
            match counts[class] {
                // Nothing is known of it but where windows lie at all.
                0.0 => means.copy_from_slice(&all),
                count => means.iter_mut().for_each(|sum| *sum /= count),
            }
        }
        let mut covariance = vec![0.0; len * len];
        let mut centred = vec![0.0; len];
        for (index, row) in self.rows.iter().enumerate() {
            let mean = &means[given[index] * len..][..len];
            for at in 0..len {
                centred[at] = value(row, at) - mean[at];
            }
            for first in 0..len {
                for second in 0..len {
                    covariance[first * len + second] +=
                        centred[first] * centred[second] / self.rows.len() as f64;
                }
            }
        }
        let trace: f64 = (0..len).map(|at| covariance[at * len + at]).sum();
        (0..len).for_each(|at| {
            covariance[at * len + at] += SHRINKAGE * trace / len as f64 + ROUNDING;
        });
        let lower = cholesky(&inverse(&covariance, len)?, len)?;
        let upper: Vec<f64> = (0..len)
            .flat_map(|row| (row..len).map(move |column| (row, column)))
            .map(|(row, column)| lower[column * len + row])
            .collect();
        let mut out = vec![0; EmbeddingDistance::encoded_len(class_count, len)];
        let mut offsets = vec![0.0; class_count];
        EmbeddingDistance::encode(&means, &upper, &offsets, &mut out).ok()?;
        // What windows of each class have by that, from what all of them have: a class that scatters more than others is
        // no stranger than these. Few windows of a class say little of it.
        let distances = self.distances(&out, given);
        let all = distances.iter().copied().map(f64::from).sum::<f64>() / distances.len() as f64;
        for (index, distance) in distances.iter().enumerate() {
            offsets[given[index]] += f64::from(*distance) - all;
        }
        for (offset, count) in offsets.iter_mut().zip(&counts) {
            *offset /= count + FEW;
        }
        EmbeddingDistance::encode(&means, &upper, &offsets, &mut out).ok()?;
        Some(out)
    }

    /// How far each window, which was given this class, lies from the factory's; empty for a section of another shape.
    pub(crate) fn distances(&self, section: &[u8], given: &[usize]) -> Vec<f32> {
        let Ok(distance) = EmbeddingDistance::decode(section) else {
            return Vec::new();
        };
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(index, row)| distance.octaves(given[index], row))
            .collect()
    }
}

/// How far windows lie from those of the factory, as a device of this model measures it: one number for each, `None` for
/// a model whose baseline does not watch it.
///
/// # Errors
/// [`TrainError::Mismatch`](crate::TrainError::Mismatch) where the model does not compile.
pub fn embedding_distances(
    model: &Model,
    features: &Features,
) -> Result<Option<Vec<f32>>, crate::TrainError> {
    if model.embedding.is_empty() {
        return Ok(None);
    }
    let predictor = Predictor::new(model)?;
    let given = predictor
        .score(features)
        .all_given(model.decision.threshold);
    Ok(Embeddings::of(&predictor, features)
        .map(|embeddings| embeddings.distances(&model.embedding, &given)))
}
