//! Statistics of two large samples that are in order, in one pass over both.

use super::{Bins, each_step, law, rank::round_half_even};

/// A sample in order, without what is no finite number.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered {
    values: Vec<f64>,
}

/// How far two distribution functions are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Apart {
    /// The largest distance, of Kolmogorov and Smirnov.
    pub kolmogorov_smirnov: f64,
    /// Chance of as much or more if both samples have one continuous law; for large samples.
    pub p: f64,
    /// The area between them, in the unit of the values: the first Wasserstein distance.
    pub wasserstein: f64,
}

impl Ordered {
    /// Puts a sample in order; what is no finite number is left out.
    pub fn of(values: &[f64]) -> Ordered {
        // As whole numbers that are in the same order they sort several times faster.
        let mut keys: Vec<i64> = values
            .iter()
            .filter(|value| value.is_finite())
            .map(|value| key_of(*value))
            .collect();
        keys.sort_unstable();
        Ordered {
            values: keys.into_iter().map(value_of).collect(),
        }
    }

    /// The values, in order.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The value below which this share of the sample lies, interpolated from the nearer side, as numpy does; none of
    /// nothing.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        let at = last as f64 * share.clamp(0.0, 1.0);
        let below = at.floor() as usize;
        let (low, high) = (self.values[below], self.values[(below + 1).min(last)]);
        let part = at - below as f64;
        Some(match part < 0.5 {
            true => low + (high - low) * part,
            false => high - (high - low) * (1.0 - part),
        })
    }

    /// Edges at the quantiles, for at most `count` open bins: the extremes left out, each once.
    pub fn edges(&self, count: usize) -> Bins {
        let quantile = |index: usize| self.quantile(index as f64 / count as f64);
        let mut edges: Vec<f64> = (0..=count).filter_map(quantile).collect();
        edges.dedup();
        let inner = edges.len().saturating_sub(1).max(1);
        Bins::open(edges.get(1..inner).unwrap_or_default().to_vec())
    }

    /// How many values lie in each of some open bins.
    pub fn counts(&self, bins: &Bins) -> Vec<u64> {
        let below = |edge: &f64| self.values.partition_point(|value| value < edge);
        let mut before = 0;
        let ends = bins.edges().iter().map(below).chain([self.values.len()]);
        ends.map(|end| {
            let count = end - before;
            before = end;
            count as u64
        })
        .collect()
    }

    /// How far this sample is from another; none if either is empty.
    ///
    /// # Source
    /// As [`super::kolmogorov_smirnov`] and [`super::wasserstein`], whose values these are.
    pub fn apart(&self, other: &Ordered) -> Option<Apart> {
        let (a, b) = (&self.values, &other.values);
        if a.is_empty() || b.is_empty() {
            return None;
        }
        let (n, m) = (a.len() as f64, b.len() as f64);
        let (mut largest, mut area) = (0.0_f64, 0.0);
        each_step(a, b, |i, j, width| {
            let apart = (i as f64 / n - j as f64 / m).abs();
            largest = largest.max(apart);
            area += apart * width;
        });
        let worth = round_half_even(n * m / (n + m)) as u32;
        Some(Apart {
            kolmogorov_smirnov: largest,
            p: law::kolmogorov_above(worth, largest),
            wasserstein: area,
        })
    }
}

/// A whole number that is in the order of the numbers; both zeros are one.
fn key_of(value: f64) -> i64 {
    let bits = (value + 0.0).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn value_of(key: i64) -> f64 {
    f64::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::{kolmogorov_smirnov, wasserstein};
    use super::*;

    fn sample(seed: u64, count: usize, scale: f64, step: f64) -> Vec<f64> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
                // Steps make ties.
                ((uniform - 0.3) * scale / step).round() * step
            })
            .collect()
    }

    /// Largest distance of the distribution functions, and the area between them, from their definitions.
    fn by_definition(a: &[f64], b: &[f64]) -> (f64, f64) {
        let below = |values: &[f64], at: f64| {
            values.iter().filter(|value| **value <= at).count() as f64 / values.len() as f64
        };
        let mut all = [a, b].concat();
        all.sort_by(f64::total_cmp);
        let apart = |at: f64| (below(a, at) - below(b, at)).abs();
        let area = all
            .windows(2)
            .map(|pair| apart(pair[0]) * (pair[1] - pair[0]));
        let largest = all.iter().map(|at| apart(*at)).fold(0.0, f64::max);
        (largest, area.sum())
    }

    #[test]
    fn edges_are_the_inner_quantiles_each_once() {
        // By numpy.quantile.
        let edges = |values: &[f64]| Ordered::of(values).edges(4).edges().to_vec();
        assert_eq!(edges(&[8.0, 1.0, 4.0, 16.0, 2.0]), [2.0, 4.0, 8.0]);
        assert_eq!(edges(&[1.0, 2.0, 4.0, 8.0]), [1.75, 3.0, 5.0]);
        assert_eq!(edges(&[1.0, 1.0, 1.0, 2.0]), [1.25]);
        assert_eq!(edges(&[3.0]), [0.0; 0]);
    }

    #[test]
    fn they_are_the_statistics_of_small_samples() {
        for (count, other, step) in [(1, 1, 0.1), (40, 25, 0.5), (300, 200, 1e-9), (7, 500, 2.0)] {
            let (a, b) = (sample(1, count, 10.0, step), sample(2, other, 12.0, step));
            let (ordered, others) = (Ordered::of(&a), Ordered::of(&b));
            let apart = ordered.apart(&others).unwrap();
            let (largest, area) = by_definition(&a, &b);
            assert!((apart.kolmogorov_smirnov - largest).abs() < 1e-12);
            let small = kolmogorov_smirnov(&a, &b);
            assert!((small.statistic - largest).abs() < 1e-12);
            assert!((apart.p - small.p_asymptotic).abs() < 1e-12);
            assert!((wasserstein(&a, &b) - area).abs() <= 1e-9 * area.max(1e-9));
            assert!(
                (apart.wasserstein - area).abs() <= 1e-9 * area.max(1e-9),
                "{count}"
            );
            let bins = ordered.edges(10);
            assert_eq!(others.counts(&bins), bins.counts(&b));
        }
    }

    #[test]
    fn order_is_that_of_numbers_and_what_is_none_is_left_out() {
        let values = [2.0, f64::NAN, -1.0, 0.0, -0.0, f64::INFINITY, -3.5, 1e-300];
        let ordered = Ordered::of(&values);
        assert_eq!(ordered.values(), [-3.5, -1.0, 0.0, 0.0, 1e-300, 2.0]);
        let nothing = Ordered::of(&[f64::NAN]);
        assert_eq!(nothing.apart(&ordered), None);
        assert_eq!(nothing.quantile(0.5), None);
        assert!(nothing.edges(10).edges().is_empty());
    }
}
