//! Tapers ("windows" elsewhere; here a window is a span of a recording).

use crate::fft::{is_fast, rotation};
use crate::real::{Real, TABLE_LEN};

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

/// Fills `weights` with the periodic Hann taper in single precision; from the table where the length allows.
pub(crate) fn fill_hann(weights: &mut [f32]) {
    let len = weights.len();
    for (t, weight) in weights.iter_mut().enumerate() {
        *weight = 0.5 - 0.5 * cosine(t, len);
    }
}

/// `cos(2π t / period)`.
pub(crate) fn cosine(t: usize, period: usize) -> f32 {
    if is_fast(period) {
        // The second half turn mirrors the first.
        let t = t.min(period - t);
        rotation::<f32>(t * (TABLE_LEN / period)).0
    } else {
        libm::cosf(core::f32::consts::TAU * (t as f32 / period as f32))
    }
}
