//! Distances between samples of vectors.

/// The maximum mean discrepancy, squared, under a Gaussian kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mmd {
    /// With each vector's likeness to itself: never below 0.
    pub biased: f64,
    /// Without: 0 on average while nothing differs.
    pub unbiased: f64,
}

/// Holds two samples of vectors against each other; `bandwidth` is the kernel's deviation.
///
/// # Source
/// Gretton, Borgwardt, Rasch, Schölkopf and Smola, 2012, "A kernel two-sample test".
pub fn mmd<V: AsRef<[f64]>>(a: &[V], b: &[V], bandwidth: f64) -> Mmd {
    let likeness = |x: &V, y: &V| (-squared(x, y) / (2.0 * bandwidth * bandwidth)).exp();
    let sum = |x: &[V], y: &[V]| {
        x.iter()
            .flat_map(|x| y.iter().map(move |y| (x, y)))
            .map(|(x, y)| likeness(x, y))
            .sum::<f64>()
    };
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (within_a, within_b, across) = (sum(a, a), sum(b, b), sum(a, b));
    Mmd {
        biased: within_a / (n * n) + within_b / (m * m) - 2.0 * across / (n * m),
        unbiased: (within_a - n) / (n * (n - 1.0)) + (within_b - m) / (m * (m - 1.0))
            - 2.0 * across / (n * m),
    }
}

/// Median of the distances between all vectors of both samples: the usual bandwidth.
///
/// # Panics
/// If there are fewer than two vectors.
pub fn median_distance<V: AsRef<[f64]>>(a: &[V], b: &[V]) -> f64 {
    let all: Vec<&V> = a.iter().chain(b).collect();
    let mut distances: Vec<f64> = (0..all.len())
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .map(|(i, j)| squared(all[i], all[j]).sqrt())
        .collect();
    distances.sort_by(f64::total_cmp);
    let middle = distances.len() / 2;
    match distances.len() % 2 {
        1 => distances[middle],
        _ => (distances[middle - 1] + distances[middle]) / 2.0,
    }
}

fn squared<V: AsRef<[f64]>>(x: &V, y: &V) -> f64 {
    let pairs = x.as_ref().iter().zip(y.as_ref());
    pairs.map(|(x, y)| (x - y) * (x - y)).sum()
}

/// Distance of each of `others` from the mean of a sample, in units of its covariance; `None` if that is singular.
///
/// # Source
/// Mahalanobis, 1936, "On the generalised distance in statistics".
pub fn mahalanobis<V: AsRef<[f64]>>(sample: &[V], others: &[V]) -> Option<Vec<f64>> {
    let width = sample.first()?.as_ref().len();
    let n = sample.len() as f64;
    let mut mean = vec![0.0; width];
    for vector in sample {
        mean.iter_mut()
            .zip(vector.as_ref())
            .for_each(|(mean, value)| *mean += value / n);
    }
    let mut covariance = vec![0.0; width * width];
    for vector in sample {
        let centred: Vec<f64> = vector
            .as_ref()
            .iter()
            .zip(&mean)
            .map(|(v, m)| v - m)
            .collect();
        for (row, of_row) in covariance.chunks_exact_mut(width).zip(&centred) {
            row.iter_mut()
                .zip(&centred)
                .for_each(|(c, other)| *c += of_row * other / (n - 1.0));
        }
    }
    let factor = cholesky(covariance, width)?;
    let distance = |vector: &V| {
        // The solution of `L y = x - mean` is as long as the distance.
        let mut solved: Vec<f64> = vector
            .as_ref()
            .iter()
            .zip(&mean)
            .map(|(v, m)| v - m)
            .collect();
        for i in 0..width {
            let known: f64 = (0..i).map(|j| factor[i * width + j] * solved[j]).sum();
            solved[i] = (solved[i] - known) / factor[i * width + i];
        }
        solved.iter().map(|y| y * y).sum::<f64>().sqrt()
    };
    Some(others.iter().map(distance).collect())
}

/// The lower factor of a symmetric matrix; `None` if it is not positive definite.
fn cholesky(mut matrix: Vec<f64>, width: usize) -> Option<Vec<f64>> {
    for i in 0..width {
        for j in 0..=i {
            let known: f64 = (0..j)
                .map(|k| matrix[i * width + k] * matrix[j * width + k])
                .sum();
            let rest = matrix[i * width + j] - known;
            matrix[i * width + j] = match i == j {
                true if rest > 0.0 => rest.sqrt(),
                true => return None,
                false => rest / matrix[j * width + j],
            };
        }
    }
    Some(matrix)
}
