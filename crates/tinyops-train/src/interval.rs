//! Between what values a figure of few windows lies: intervals at 95 %.

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// Where the true value of a figure lies, 95 times of 100.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f32,
    /// Its upper end.
    pub high: f32,
}

/// The normal quantile of 0.975.
const Z: f64 = 1.959_964;

/// How often units are drawn anew for an interval by bootstrap.
///
/// Efron and Tibshirani, 1993, §13.3: "B should be ≥ 500 or 1000" for percentiles.
pub const RESAMPLES: usize = 1000;

/// Fewest units (recordings, or groups) that an interval by bootstrap takes: of fewer, the draws repeat one another and
/// the interval is too narrow.
pub const UNITS_MIN: usize = 5;

impl Interval {
    /// Where the share of right ones among `count` windows lies.
    ///
    /// `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`; `count` need not be whole, as the effective number of windows
    /// of few recordings is not.
    ///
    /// # Source
    /// E. B. Wilson, 1927, "Probable inference, the law of succession, and statistical inference".
    #[must_use]
    pub fn wilson(share: f64, count: f64) -> Self {
        if count <= 0.0 {
            return Self {
                low: 0.0,
                high: 1.0,
            };
        }
        let z2 = Z * Z / count;
        let middle = share + z2 / 2.0;
        let half = Z * (share * (1.0 - share) / count + z2 / (4.0 * count)).sqrt();
        // Rounding must not put the share itself outside.
        Self {
            low: ((middle - half) / (1.0 + z2)).clamp(0.0, share) as f32,
            high: ((middle + half) / (1.0 + z2)).clamp(share, 1.0) as f32,
        }
    }

    /// Where the difference `a - b` of two independent figures lies, from the interval of each.
    ///
    /// # Source
    /// G. Y. Zou and A. Donner, 2008, "Construction of confidence limits about effect measures: a general approach"; of
    /// two Wilson intervals it is method 10 of R. G. Newcombe, 1998, "Interval estimation for the difference between
    /// independent proportions".
    #[must_use]
    pub fn of_difference(a: (f32, Self), b: (f32, Self)) -> Self {
        let ((a, of_a), (b, of_b)) = (a, b);
        Self {
            low: a - b - (a - of_a.low).hypot(of_b.high - b),
            high: a - b + (of_a.high - a).hypot(b - of_b.low),
        }
    }

    /// Where a figure lies, by drawing units anew with replacement, as often as [`RESAMPLES`]: the percentiles 2.5 and
    /// 97.5 of what `figure` says of each draw. It is told how often each unit was drawn.
    ///
    /// Nothing of fewer than [`UNITS_MIN`] units, or where more than a tenth of the draws have no figure.
    ///
    /// # Source
    /// B. Efron and R. J. Tibshirani, 1993, "An introduction to the bootstrap", §13.3; whole units in place of their
    /// windows after C. A. Field and A. H. Welsh, 2007, "Bootstrapping clustered data".
    pub fn by_bootstrap(
        units: usize,
        seed: u64,
        mut figure: impl FnMut(&[f64]) -> Option<f64>,
    ) -> Option<Self> {
        if units < UNITS_MIN {
            return None;
        }
        let mut rng = Rng::new(seed, units as u64);
        let mut drawn = vec![0.0; units];
        let mut figures = Vec::with_capacity(RESAMPLES);
        for _ in 0..RESAMPLES {
            drawn.fill(0.0);
            for _ in 0..units {
                drawn[rng.below(units)] += 1.0;
            }
            figures.extend(figure(&drawn).filter(|figure| figure.is_finite()));
        }
        if figures.len() < RESAMPLES - RESAMPLES / 10 {
            return None;
        }
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| figures[(share * (figures.len() - 1) as f64).round() as usize] as f32;
        Some(Self {
            low: at(0.025),
            high: at(0.975),
        })
    }

    /// Where a figure of the other sign lies.
    #[must_use]
    pub fn negated(self) -> Self {
        Self {
            low: -self.high,
            high: -self.low,
        }
    }

    /// Whether it holds a value.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        (f64::from(self.low)..=f64::from(self.high)).contains(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(interval: Interval, low: f32, high: f32) {
        let differs = |a: f32, b: f32| (a - b).abs() > 0.000_6;
        assert!(
            !differs(interval.low, low) && !differs(interval.high, high),
            "{interval:?}"
        );
    }

    /// The figures of Newcombe's papers of 1998: "Two-sided confidence intervals for the single proportion", table I, and
    /// "Interval estimation for the difference", table II, method 10.
    #[test]
    fn published_intervals() {
        check(Interval::wilson(81.0 / 263.0, 263.0), 0.2553, 0.3662);
        check(Interval::wilson(15.0 / 148.0, 148.0), 0.0624, 0.1605);
        check(Interval::wilson(0.0, 20.0), 0.0, 0.1611);
        check(Interval::wilson(1.0 / 29.0, 29.0), 0.0061, 0.1718);
        let share = |right: f64, count: f64| {
            let share = right / count;
            (share as f32, Interval::wilson(share, count))
        };
        let difference = |a, b| Interval::of_difference(a, b);
        check(
            difference(share(56.0, 70.0), share(48.0, 80.0)),
            0.0524,
            0.3339,
        );
        check(
            difference(share(9.0, 10.0), share(3.0, 10.0)),
            0.1705,
            0.8090,
        );
        check(difference(share(10.0, 10.0), share(0.0, 10.0)), 0.6075, 1.0);
    }

    #[test]
    fn a_mean_by_bootstrap_is_as_wide_as_its_standard_error_says() {
        // 0..200: mean 99.5, deviation 57.7, standard error 4.08.
        let values: Vec<f64> = (0..200).map(f64::from).collect();
        let mean = |drawn: &[f64]| {
            let sum: f64 = values
                .iter()
                .zip(drawn)
                .map(|(value, times)| value * times)
                .sum();
            Some(sum / drawn.iter().sum::<f64>())
        };
        let interval = Interval::by_bootstrap(200, 7, mean).unwrap();
        assert!((interval.low - 91.5).abs() < 1.0, "{interval:?}");
        assert!((interval.high - 107.5).abs() < 1.0, "{interval:?}");
        assert_eq!(Interval::by_bootstrap(200, 7, mean), Some(interval));
        assert_ne!(Interval::by_bootstrap(200, 8, mean), Some(interval));
        assert_eq!(Interval::by_bootstrap(4, 7, |_| Some(1.0)), None);
        assert_eq!(Interval::by_bootstrap(40, 7, |_| None), None);
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_share_and_shrinks(right in 0u32..=500, more in 0u32..=500) {
            let count = f64::from((right + more).max(1));
            let share = f64::from(right.min(count as u32)) / count;
            let interval = Interval::wilson(share, count);
            prop_assert!(interval.low as f64 <= share + 1e-6 && share - 1e-6 <= interval.high as f64);
            prop_assert!(interval.low >= 0.0 && interval.high <= 1.0);
            let narrower = Interval::wilson(share, count * 4.0);
            prop_assert!(narrower.high - narrower.low <= interval.high - interval.low);
        }
    }
}
