//! Distances from what is normal: k-means and Mahalanobis, over standardised features.

use crate::linalg;
use crate::rng::Rng;

/// Restarts of k-means; the tightest of them is kept.
const RESTARTS: usize = 4;
/// Most rounds of one start.
const ROUNDS: usize = 60;
/// Share of a cluster's windows inside its radius: the rest may be accidents of the recording.
const RADIUS_SHARE: f32 = 0.95;

/// Centres one after another, and the radius that holds most of each one's windows.
///
/// # Shapes
/// `rows` is `[window, feature]` with `width` features.
///
/// # Source
/// D. Arthur and S. Vassilvitskii, 2007, "k-means++", for the starts; S. Lloyd, 1982, for the rounds.
pub(crate) fn k_means(
    rows: &[f32],
    width: usize,
    centres: usize,
    seed: u64,
) -> (Vec<f32>, Vec<f32>) {
    let count = rows.len() / width;
    let centres = centres.min(count).max(1);
    let mut best: Option<(f64, Vec<f32>, Vec<usize>)> = None;
    for restart in 0..RESTARTS {
        let mut rng = Rng::new(seed, 100 + restart as u64);
        let mut places = starts(rows, width, centres, &mut rng);
        let mut owners = vec![usize::MAX; count];
        let mut error = f64::INFINITY;
        for _ in 0..ROUNDS {
            let mut moved = false;
            error = 0.0;
            for (row, owner) in rows.chunks_exact(width).zip(&mut owners) {
                let (nearest, square) = nearest(row, &places);
                moved |= *owner != nearest;
                *owner = nearest;
                error += square;
            }
            if !moved {
                break;
            }
            average(rows, width, &owners, &mut places);
        }
        if best.as_ref().is_none_or(|(least, _, _)| error < *least) {
            best = Some((error, places, owners));
        }
    }
    let (_, places, owners) = best.expect("there is at least one start");
    let radii = (0..centres)
        .map(|centre| radius(rows, width, &places, &owners, centre))
        .collect();
    (places, radii)
}

fn starts(rows: &[f32], width: usize, centres: usize, rng: &mut Rng) -> Vec<f32> {
    let count = rows.len() / width;
    let mut places = rows[rng.below(count) * width..][..width].to_vec();
    while places.len() < centres * width {
        let squares: Vec<f64> = rows
            .chunks_exact(width)
            .map(|row| nearest(row, &places).1)
            .collect();
        let mut left = squares.iter().sum::<f64>() * f64::from(rng.uniform());
        let chosen = squares.iter().position(|square| {
            left -= square;
            left <= 0.0
        });
        let chosen = chosen.unwrap_or(count - 1);
        places.extend_from_slice(&rows[chosen * width..][..width]);
    }
    places
}

fn nearest(row: &[f32], places: &[f32]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (index, place) in places.chunks_exact(row.len()).enumerate() {
        let square: f64 = row
            .iter()
            .zip(place)
            .map(|(x, c)| f64::from(x - c) * f64::from(x - c))
            .sum();
        if square < best.1 {
            best = (index, square);
        }
    }
    best
}

/// Moves each centre to the mean of its windows; one that lost all of them stays.
fn average(rows: &[f32], width: usize, owners: &[usize], places: &mut [f32]) {
    for (centre, place) in places.chunks_exact_mut(width).enumerate() {
        let mut sums = vec![0.0f64; width];
        let mut members = 0.0f64;
        for (row, _) in rows
            .chunks_exact(width)
            .zip(owners)
            .filter(|&(_, &owner)| owner == centre)
        {
            members += 1.0;
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, x)| *sum += f64::from(*x));
        }
        if members > 0.0 {
            place
                .iter_mut()
                .zip(&sums)
                .for_each(|(x, sum)| *x = (sum / members) as f32);
        }
    }
}

fn radius(rows: &[f32], width: usize, places: &[f32], owners: &[usize], centre: usize) -> f32 {
    let place = &places[centre * width..][..width];
    let mut distances: Vec<f32> = rows
        .chunks_exact(width)
        .zip(owners)
        .filter(|&(_, &owner)| owner == centre)
        .map(|(row, _)| nearest(row, place).1.sqrt() as f32)
        .collect();
    distances.sort_by(f32::total_cmp);
    quantile(&distances, RADIUS_SHARE)
}

/// The value below which this share of sorted values lies; 0 where there are none.
pub(crate) fn quantile(sorted: &[f32], share: f32) -> f32 {
    let last = sorted.len().saturating_sub(1);
    let index = (share * last as f32).round() as usize;
    sorted.get(index.min(last)).copied().unwrap_or(0.0)
}

/// The mean and the upper triangle of the inverse covariance, row by row.
///
/// `shrinkage` times the mean variance is added to the diagonal, more where rounding still needs it.
pub(crate) fn mahalanobis(rows: &[f32], width: usize, shrinkage: f32) -> (Vec<f32>, Vec<f32>) {
    let count = (rows.len() / width).max(1) as f64;
    let mut mean = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(m, x)| *m += f64::from(*x) / count);
    }
    let mut covariance = vec![0.0f64; width * width];
    let mut centred = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        centred
            .iter_mut()
            .zip(row)
            .zip(&mean)
            .for_each(|((c, x), m)| *c = f64::from(*x) - m);
        for i in 0..width {
            let scaled = centred[i] / count;
            for j in 0..=i {
                covariance[i * width + j] += scaled * centred[j];
            }
        }
    }
    let trace: f64 = (0..width).map(|i| covariance[i * width + i]).sum();
    let mut added = (f64::from(shrinkage) * trace / width as f64).max(1e-9);
    let inverse = loop {
        let mut lifted = covariance.clone();
        (0..width).for_each(|i| lifted[i * width + i] += added);
        match linalg::inverse(&lifted, width) {
            Some(inverse) => break inverse,
            None => added *= 10.0,
        }
    };
    let triangle = (0..width).flat_map(|i| (i..width).map(move |j| i * width + j));
    (
        mean.iter().map(|&m| m as f32).collect(),
        triangle.map(|at| inverse[at] as f32).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_found() {
        let mut rng = Rng::new(1, 1);
        let rows: Vec<f32> = (0..300)
            .flat_map(|i| {
                let centre = [(-5.0, 0.0), (5.0, 1.0), (0.0, 8.0)][i % 3];
                [centre.0 + 0.3 * rng.normal(), centre.1 + 0.3 * rng.normal()]
            })
            .collect();
        let (centres, radii) = k_means(&rows, 2, 3, 7);
        for (x, y) in [(-5.0, 0.0), (5.0, 1.0), (0.0, 8.0)] {
            assert!(nearest(&[x, y], &centres).1 < 0.02, "{centres:?}");
        }
        assert!(radii.iter().all(|r| (0.4..1.2).contains(r)), "{radii:?}");
        assert_eq!(k_means(&rows, 2, 3, 7).0, centres);
    }

    #[test]
    fn covariance_measures_directions() {
        let mut rng = Rng::new(2, 1);
        let rows: Vec<f32> = (0..4000)
            .flat_map(|_| [3.0 * rng.normal() + 1.0, 0.5 * rng.normal()])
            .collect();
        let (mean, triangle) = mahalanobis(&rows, 2, 1e-6);
        assert!((mean[0] - 1.0).abs() < 0.2 && mean[1].abs() < 0.05);
        assert!(
            (triangle[0] - 1.0 / 9.0).abs() < 0.01
                && triangle[1].abs() < 0.05
                && (triangle[2] - 4.0).abs() < 0.4
        );
    }

    #[test]
    fn a_constant_feature_does_not_divide_by_nothing() {
        let rows = [1.0, 2.0, 1.0, 3.0, 1.0, 4.0];
        assert!(mahalanobis(&rows, 2, 0.1).1.iter().all(|x| x.is_finite()));
    }
}
