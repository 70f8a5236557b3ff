//! Tapers ("windows" elsewhere; here a window is a span of a recording).

use crate::real::Real;

/// A sum of cosines that weighs a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CosineTaper {
    /// Ones.
    Rectangular,
    /// `0.5 - 0.5 cos`.
    Hann,
    /// `0.54 - 0.46 cos`.
    Hamming,
    /// `0.42 - 0.5 cos + 0.08 cos 2`.
    Blackman,
}

/// Where a taper ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// One step before its start repeats: for spectra.
    Periodic,
    /// At its mirrored start: for filter design.
    Symmetric,
}

impl CosineTaper {
    /// Fills `weights` with the taper.
    pub fn fill<T: Real>(self, ends: Ends, weights: &mut [T]) {
        let len = weights.len();
        for (t, weight) in weights.iter_mut().enumerate() {
            *weight = T::of(self.weight(ends, t, len));
        }
    }

    fn weight(self, ends: Ends, t: usize, len: usize) -> f64 {
        let period = match ends {
            Ends::Periodic => len,
            Ends::Symmetric => len.saturating_sub(1),
        };
        if period == 0 || len == 1 {
            return 1.0;
        }
        let angle = core::f64::consts::TAU * t as f64 / period as f64;
        match self {
            Self::Rectangular => 1.0,
            Self::Hann => 0.5 - 0.5 * libm::cos(angle),
            Self::Hamming => 0.54 - 0.46 * libm::cos(angle),
            Self::Blackman => 0.42 - 0.5 * libm::cos(angle) + 0.08 * libm::cos(2.0 * angle),
        }
    }
}

/// Fills `weights` with the periodic Hann taper in single precision.
pub(crate) fn fill_hann(weights: &mut [f32]) {
    let len = weights.len();
    for (t, weight) in weights.iter_mut().enumerate() {
        *weight = 0.5 - 0.5 * cosine(t, len);
    }
}

/// `cos(2π t / period)` for `t` up to `period`, to within 1e-7; the same bits on every target.
///
/// `libm::cosf` takes 1,100 instructions on a Cortex-M4F, for it reckons in double precision (measured 2026-11-22);
/// the fraction is exact here, so that an eighth of a turn and two short series in single precision suffice.
pub(crate) fn cosine(t: usize, period: usize) -> f32 {
    // The second half turn mirrors the first, and its second quarter negates the first.
    let t = t.min(period - t);
    let (t, sign) = if 4 * t > period {
        (period - 2 * t, -1.0)
    } else {
        (2 * t, 1.0)
    };
    // Now the angle is π t / period, up to a quarter turn.
    let value = if 4 * t <= period {
        let square = square_of_angle(t, period).1;
        1.0 - square
            * (0.5 - square * (1.0 / 24.0 - square * (1.0 / 720.0 - square * (1.0 / 40_320.0))))
    } else {
        let (angle, square) = square_of_angle(period - 2 * t, 2 * period);
        let tail = 1.0 / 5_040.0 - square * (1.0 / 362_880.0);
        angle * (1.0 - square * (1.0 / 6.0 - square * (1.0 / 120.0 - square * tail)))
    };
    sign * value
}

/// `π part / whole` and its square.
fn square_of_angle(part: usize, whole: usize) -> (f32, f32) {
    let angle = core::f32::consts::PI * (part as f32 / whole as f32);
    (angle, angle * angle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_is_the_cosine() {
        for period in (1..200).chain([256, 400, 1000, 4096, 65_535]) {
            for t in 0..=period {
                let exact = libm::cos(core::f64::consts::TAU * t as f64 / period as f64);
                let error = (f64::from(cosine(t, period)) - exact).abs();
                assert!(error < 1.2e-7, "{t} of {period}: {error}");
            }
        }
    }
}
