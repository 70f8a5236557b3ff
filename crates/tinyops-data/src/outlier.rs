//! Which samples lie far from all others: the mean cosine distance to the nearest, against what is usual.

/// The smallest distance that is taken for usual.
const USUAL_MIN: f64 = f64::EPSILON;

/// How usual each sample is.
#[derive(Clone, Debug, PartialEq)]
pub struct Outliers {
    /// Per sample from 0, for one far from all, to 1.
    pub scores: Vec<f64>,
    /// The median of the samples' distances, at which the score is 1/e.
    pub usual_distance: f64,
}

/// Scores samples (rows of `width` features) by their `neighbours` nearest others: exp(−mean distance / median of all).
///
/// As cleanlab 2.9's `OutOfDistribution` on features. `None` where there are no more samples than neighbours, where
/// `width` or `neighbours` is 0, or where the features are no whole rows.
pub fn outliers(features: &[f64], width: usize, neighbours: usize) -> Option<Outliers> {
    if width == 0 || neighbours == 0 || !features.len().is_multiple_of(width) {
        return None;
    }
    let count = features.len() / width;
    if count <= neighbours {
        return None;
    }
    let unit: Vec<f64> = features.chunks(width).flat_map(of_unit_length).collect();
    let row = |sample: usize| &unit[sample * width..][..width];
    let distance = |a: usize, b: usize| {
        let cosine: f64 = row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum();
        (1.0 - cosine).max(0.0)
    };
    let mean_distance = |sample: usize| {
        let others = (0..count).filter(|other| *other != sample);
        let mut distances: Vec<f64> = others.map(|other| distance(sample, other)).collect();
        distances.select_nth_unstable_by(neighbours - 1, f64::total_cmp);
        distances[..neighbours].iter().sum::<f64>() / neighbours as f64
    };
    let means: Vec<f64> = (0..count).map(mean_distance).collect();
    let usual_distance = median(&means).max(USUAL_MIN);
    let scores = means.iter().map(|mean| (-mean / usual_distance).exp());
    Some(Outliers {
        scores: scores.collect(),
        usual_distance,
    })
}

/// A row brought to length 1; one of zeros stays.
fn of_unit_length(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = if length > 0.0 { length } else { 1.0 };
    row.iter().map(|x| x / scale).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_points_elsewhere_scores_least() {
        let mut features = Vec::new();
        for step in 0..9 {
            features.extend([1.0, f64::from(step) / 100.0]);
        }
        features.extend([-1.0, 0.3]);
        let found = outliers(&features, 2, 3).unwrap();
        let least = (0..10).min_by(|a, b| found.scores[*a].total_cmp(&found.scores[*b]));
        assert_eq!(least, Some(9));
        assert!(found.scores[9] < 1e-9 && found.scores[4] > 0.3, "{found:?}");
    }

    #[test]
    fn too_few_or_no_whole_rows_are_not_judged() {
        assert_eq!(outliers(&[1.0; 6], 2, 3), None);
        assert_eq!(outliers(&[1.0; 7], 2, 1), None);
        assert_eq!(outliers(&[1.0; 6], 0, 1), None);
        assert_eq!(outliers(&[1.0; 6], 2, 0), None);
        let nothing = outliers(&[0.0; 6], 2, 1).unwrap();
        assert_eq!(
            (nothing.scores[0], nothing.usual_distance),
            ((-1.0_f64).exp(), 1.0)
        );
    }
}
