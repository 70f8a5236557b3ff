//! Statistics of one channel, and of two.

use crate::real::{Real, sum};

/// Mean and central moments of a signal; population ("biased") forms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments<T> {
    /// Mean.
    pub mean: T,
    /// `sqrt(m2)`: the standard deviation, which is the rms of the mean-removed signal.
    pub deviation: T,
    /// `m3 / m2^1.5`; 0 for a constant signal.
    pub skewness: T,
    /// `m4 / m2² - 3`; 0 for a constant signal.
    pub kurtosis: T,
}

/// Computes the moments of a signal in two passes.
pub fn moments<T: Real>(signal: &[T]) -> Moments<T> {
    let n = T::of_count(signal.len().max(1));
    let mean = mean(signal.iter().copied());
    let central = |f: fn(T) -> T| sum(signal.iter().map(|&x| f(x - mean))) / n;
    let second = central(|d| d * d);
    let deviation = second.sqrt();
    // Below this the deviations are the rounding of the mean.
    let constant = deviation <= T::of(4.0) * T::EPSILON * mean.abs() || second <= T::ZERO;
    let (skewness, kurtosis) = if constant {
        (T::ZERO, T::ZERO)
    } else {
        // Powers of the standardised signal: the fourth power of a small one would underflow.
        let z = |p: fn(T) -> T| sum(signal.iter().map(|&x| p((x - mean) / deviation))) / n;
        (z(|z| z * z * z), z(|z| z * z * z * z) - T::of(3.0))
    };
    Moments {
        mean,
        deviation,
        skewness,
        kurtosis,
    }
}

/// Mean, taken about the first reading, so that a constant signal has exactly its level; 0 of nothing.
pub fn mean<T: Real>(mut signal: impl Iterator<Item = T>) -> T {
    let Some(first) = signal.next() else {
        return T::ZERO;
    };
    let mut count = 1;
    let rest = sum(signal.inspect(|_| count += 1).map(|x| x - first));
    first + rest / T::of_count(count)
}

/// Root of the mean square; 0 of nothing.
pub fn rms<T: Real>(signal: &[T]) -> T {
    (sum(signal.iter().map(|&x| x * x)) / T::of_count(signal.len().max(1))).sqrt()
}

/// Standard deviation of the sample (divisor `n - 1`); 0 below two readings.
pub fn sample_deviation<T: Real>(signal: &[T]) -> T {
    if signal.len() < 2 {
        return T::ZERO;
    }
    let n = T::of_count(signal.len());
    moments(signal).deviation * (n / (n - T::ONE)).sqrt()
}

/// Smallest and largest reading; zeros of nothing.
pub fn extremes<T: Real>(signal: &[T]) -> (T, T) {
    let first = signal.first().copied().unwrap_or(T::ZERO);
    signal.iter().fold((first, first), |(low, high), &x| {
        (low.smaller(x), high.larger(x))
    })
}

/// Largest absolute reading over the rms; 0 for silence.
pub fn crest_factor<T: Real>(signal: &[T]) -> T {
    let (low, high) = extremes(signal);
    let rms = rms(signal);
    if rms > T::ZERO {
        low.abs().larger(high.abs()) / rms
    } else {
        T::ZERO
    }
}

/// How often the signal changes sides of `level`; a reading at the level counts as above.
pub fn crossing_count<T: Real>(signal: &[T], level: T) -> usize {
    signal
        .windows(2)
        .filter(|pair| (pair[0] >= level) != (pair[1] >= level))
        .count()
}

/// Mean of `|x[t] - x[t-1]|`; 0 below two readings.
pub fn mean_absolute_difference<T: Real>(signal: &[T]) -> T {
    if signal.len() < 2 {
        return T::ZERO;
    }
    let total = sum(signal.windows(2).map(|pair| (pair[1] - pair[0]).abs()));
    total / T::of_count(signal.len() - 1)
}

/// The quantile at `share` in 0..=1 of ascending readings, by linear interpolation; 0 of nothing.
pub fn quantile_of_sorted<T: Real>(sorted: &[T], share: T) -> T {
    let Some(last) = sorted.len().checked_sub(1) else {
        return T::ZERO;
    };
    let place = share * T::of_count(last);
    let index = (place.double() as usize).min(last);
    let next = (index + 1).min(last);
    sorted[index] + (sorted[next] - sorted[index]) * (place - T::of_count(index))
}

/// Autocorrelation at a lag of a signal with the given mean, `Σ d[t] d[t+lag] / Σ d²`; 0 for a constant signal.
pub fn autocorrelation<T: Real>(signal: &[T], mean: T, lag: usize) -> T {
    let total = sum(signal.iter().map(|&x| (x - mean) * (x - mean)));
    let later = signal.get(lag..).unwrap_or(&[]);
    let product = sum(signal
        .iter()
        .zip(later)
        .map(|(&a, &b)| (a - mean) * (b - mean)));
    if total > T::ZERO {
        product / total
    } else {
        T::ZERO
    }
}

/// Correlation of Pearson between two interleaved channels; 0 where either is constant.
///
/// # Shapes
/// `readings` yields the pairs; it is walked twice.
pub fn correlation<T: Real>(readings: impl Iterator<Item = (T, T)> + Clone) -> T {
    let count = T::of_count(readings.clone().count().max(1));
    let mean_a = mean(readings.clone().map(|(a, _)| a));
    let mean_b = mean(readings.clone().map(|(_, b)| b));
    let product =
        |f: fn(T, T) -> T| sum(readings.clone().map(|(a, b)| f(a - mean_a, b - mean_b))) / count;
    let (aa, bb, ab) = (
        product(|a, _| a * a),
        product(|_, b| b * b),
        product(|a, b| a * b),
    );
    let noise = T::of(4.0) * T::EPSILON;
    if aa.sqrt() <= noise * mean_a.abs() || bb.sqrt() <= noise * mean_b.abs() {
        return T::ZERO;
    }
    let scale = aa.sqrt() * bb.sqrt();
    if scale > T::ZERO {
        (ab / scale).smaller(T::ONE).larger(-T::ONE)
    } else {
        T::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_channels_have_no_shape() {
        for level in [0.0_f32, 0.1, -9.81, 1e-30, 3e7] {
            let m = moments(&[level; 190]);
            assert_eq!((m.skewness, m.kurtosis), (0.0, 0.0), "{level}: {m:?}");
            assert_eq!(
                correlation([level; 50].iter().map(|&x| (x, x))),
                0.0,
                "{level}"
            );
        }
    }

    #[test]
    fn quantiles_interpolate() {
        let sorted = [1.0_f32, 2.0, 4.0];
        for (share, expected) in [(0.0, 1.0), (0.25, 1.5), (0.5, 2.0), (0.75, 3.0), (1.0, 4.0)] {
            assert_eq!(quantile_of_sorted(&sorted, share), expected);
        }
        assert_eq!(quantile_of_sorted::<f32>(&[], 0.5), 0.0);
    }

    #[test]
    fn a_mirrored_channel_correlates_at_minus_one() {
        let signal = [1.0_f32, 2.0, 5.0, -3.0];
        let r = correlation(signal.iter().map(|&x| (x, 2.0 - 3.0 * x)));
        assert!((r + 1.0).abs() < 1e-6, "{r}");
    }

    #[test]
    fn small_signals_keep_their_shape() {
        let signal: Vec<f32> = (0..100)
            .map(|t| 1e-12 * if t % 10 == 0 { 1.0 } else { 0.0 })
            .collect();
        let m = moments(&signal);
        assert!((m.skewness - 2.6667).abs() < 1e-3, "{m:?}");
    }
}
