//! Mel scales and banks of triangular filters.

use crate::real::{Real, sum};

/// One of the scales named after the melody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MelScale {
    /// `2595 log10(1 + f / 700)`; HTK, python_speech_features.
    Htk,
    /// `1127 ln(1 + f / 700)`; speechpy, Edge Impulse.
    Natural,
    /// Linear below 1 kHz, logarithmic above; Slaney's Auditory Toolbox, librosa's default.
    Slaney,
}

const SLANEY_HZ_PER_MEL: f64 = 200.0 / 3.0;
const SLANEY_CORNER_HZ: f64 = 1000.0;

impl MelScale {
    /// From Hz.
    pub fn mel(self, hz: f64) -> f64 {
        match self {
            Self::Htk => 2595.0 * libm::log10(1.0 + hz / 700.0),
            Self::Natural => 1127.0 * libm::log(1.0 + hz / 700.0),
            Self::Slaney if hz < SLANEY_CORNER_HZ => hz / SLANEY_HZ_PER_MEL,
            Self::Slaney => {
                SLANEY_CORNER_HZ / SLANEY_HZ_PER_MEL
                    + libm::log(hz / SLANEY_CORNER_HZ) / slaney_step()
            }
        }
    }

    /// To Hz.
    pub fn hz(self, mel: f64) -> f64 {
        match self {
            Self::Htk => 700.0 * (libm::pow(10.0, mel / 2595.0) - 1.0),
            Self::Natural => 700.0 * (libm::exp(mel / 1127.0) - 1.0),
            Self::Slaney if mel < SLANEY_CORNER_HZ / SLANEY_HZ_PER_MEL => mel * SLANEY_HZ_PER_MEL,
            Self::Slaney => {
                let above = mel - SLANEY_CORNER_HZ / SLANEY_HZ_PER_MEL;
                SLANEY_CORNER_HZ * libm::exp(slaney_step() * above)
            }
        }
    }

    /// Edge `index` of `filter_count` triangles between two frequencies, in Hz: equally spaced in mel, `filter_count + 2`
    /// of them; triangle `i` rises from edge `i` to `i + 1` and falls to `i + 2`.
    pub fn edge_hz(self, low_hz: f64, high_hz: f64, filter_count: usize, index: usize) -> f64 {
        let (low, high) = (self.mel(low_hz), self.mel(high_hz));
        let last = filter_count + 1;
        // The last edge is the upper end itself, not its sum of rounded steps.
        self.hz(if index == last {
            high
        } else {
            low + (high - low) / last as f64 * index as f64
        })
    }
}

fn slaney_step() -> f64 {
    libm::log(6.4) / 27.0
}

/// Areas of the triangles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Every peak is 1.
    Peak,
    /// Every area is 1 Hz (Slaney).
    Unit,
}

/// The bank of librosa: triangles over the frequencies of the bins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MelBank {
    /// Readings per second.
    pub rate_hz: f64,
    /// FFT length.
    pub fft_len: usize,
    /// Triangles.
    pub filter_count: usize,
    /// Lower edge of the first.
    pub low_hz: f64,
    /// Upper edge of the last.
    pub high_hz: f64,
    /// Scale.
    pub scale: MelScale,
    /// Areas.
    pub area: Area,
}

impl MelBank {
    /// Writes the weights of filter `index` over the bins.
    ///
    /// # Shapes
    /// `weights` holds `fft_len / 2 + 1` numbers.
    pub fn fill_row<T: Real>(&self, index: usize, weights: &mut [T]) {
        let edge = |i| {
            self.scale
                .edge_hz(self.low_hz, self.high_hz, self.filter_count, i)
        };
        let (left, middle, right) = (edge(index), edge(index + 1), edge(index + 2));
        let factor = match self.area {
            Area::Peak => 1.0,
            Area::Unit => 2.0 / (right - left),
        };
        for (bin, weight) in weights.iter_mut().enumerate() {
            let hz = bin as f64 * self.rate_hz / self.fft_len as f64;
            let rise = (hz - left) / (middle - left);
            let fall = (right - hz) / (right - middle);
            *weight = T::of(rise.min(fall).max(0.0) * factor);
        }
    }
}

/// The peak at bin `middle` of a triangle over whole bins, as older speech libraries draw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BinTriangle {
    /// Bin where it starts to rise; its weight there is 0.
    pub left: usize,
    /// Bin of the peak.
    pub middle: usize,
    /// Bin where it has fallen to 0.
    pub right: usize,
}

impl BinTriangle {
    /// The sum of `power` under the triangle; bins beyond its end count as silent.
    pub fn energy<T: Real>(&self, power: &[T]) -> T {
        let at = |bin: usize| power.get(bin).copied().unwrap_or(T::ZERO);
        let share = |part: usize, whole: usize| T::of_count(part) / T::of_count(whole);
        let rise = (self.left..self.middle)
            .map(|bin| at(bin) * share(bin - self.left, self.middle - self.left));
        let fall = (self.middle..self.right)
            .map(|bin| at(bin) * share(self.right - bin, self.right - self.middle));
        sum(rise.chain(fall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn there_and_back(hz in 0.0_f64..24_000.0) {
            for scale in [MelScale::Htk, MelScale::Natural, MelScale::Slaney] {
                prop_assert!((scale.hz(scale.mel(hz)) - hz).abs() < 1e-8, "{scale:?}");
            }
        }
    }

    #[test]
    fn a_triangle_of_one_bin_is_its_peak() {
        let power = [1.0_f32, 2.0, 4.0];
        let energy = |left, middle, right| {
            BinTriangle {
                left,
                middle,
                right,
            }
            .energy(&power)
        };
        assert_eq!(energy(0, 1, 2), 2.0);
        assert_eq!(energy(1, 1, 2), 2.0);
        assert_eq!(energy(1, 1, 1), 0.0);
        assert_eq!(energy(1, 2, 9), 4.0);
    }
}
