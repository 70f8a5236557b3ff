//! Short-time analyses that answer number for number to librosa, python_speech_features and speechpy.
//!
//! The front end of a device is [`crate::FrontEnd`]; these are for comparison with pipelines that exist. Each works on one
//! frame at a time, so that the caller needs memory for one frame only.

use crate::dct::{DctKind, DctNorm, dct};
use crate::fft::{bin_count, power_in_place, rfft};
use crate::mel::{BinTriangle, MelScale};
use crate::real::{Real, sum};

/// Frames of an STFT, as librosa counts them: from 0 where they fit, or centred on each multiple of the hop.
pub const fn stft_frame_count(
    signal_len: usize,
    fft_len: usize,
    hop: usize,
    centred: bool,
) -> usize {
    if centred {
        1 + signal_len / hop
    } else if signal_len < fft_len {
        0
    } else {
        1 + (signal_len - fft_len) / hop
    }
}

/// Transforms frame `index` of an STFT; readings outside the signal are 0.
///
/// # Shapes
/// The taper sits in the middle of the frame of `frame.len()` readings (the FFT length); `spectrum` takes its
/// `frame.len() / 2 + 1` pairs.
pub fn stft_frame<T: Real>(
    signal: &[T],
    taper: &[T],
    hop: usize,
    centred: bool,
    index: usize,
    frame: &mut [T],
    spectrum: &mut [T],
) {
    let pad = if centred { frame.len() / 2 } else { 0 };
    let lead = (frame.len() - taper.len()) / 2;
    frame.fill(T::ZERO);
    for (t, &weight) in taper.iter().enumerate() {
        let place = index * hop + lead + t;
        let x = place.checked_sub(pad).and_then(|place| signal.get(place));
        frame[lead + t] = x.copied().unwrap_or(T::ZERO) * weight;
    }
    rfft(frame, spectrum);
}

/// Frame energies and triangles of a speech library.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BinBank {
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
    /// Frequency `f` falls on bin `floor((span + 1) f / rate)`: the FFT length in python_speech_features, the count of bins in
    /// speechpy (which squeezes its bank into the lower half of the spectrum).
    pub span: usize,
}

impl BinBank {
    /// The bank of python_speech_features.
    pub fn psf(
        rate_hz: f64,
        fft_len: usize,
        filter_count: usize,
        low_hz: f64,
        high_hz: f64,
    ) -> Self {
        let (scale, span) = (MelScale::Htk, fft_len);
        Self {
            rate_hz,
            fft_len,
            filter_count,
            low_hz,
            high_hz,
            scale,
            span,
        }
    }

    /// The bank of speechpy.
    pub fn speechpy(
        rate_hz: f64,
        fft_len: usize,
        filter_count: usize,
        low_hz: f64,
        high_hz: f64,
    ) -> Self {
        let (scale, span) = (MelScale::Natural, bin_count(fft_len));
        Self {
            rate_hz,
            fft_len,
            filter_count,
            low_hz,
            high_hz,
            scale,
            span,
        }
    }

    /// Triangle `index`.
    pub fn triangle(&self, index: usize) -> BinTriangle {
        let bin = |i| {
            let hz = self
                .scale
                .edge_hz(self.low_hz, self.high_hz, self.filter_count, i);
            ((self.span + 1) as f64 * hz / self.rate_hz) as usize
        };
        BinTriangle {
            left: bin(index),
            middle: bin(index + 1),
            right: bin(index + 2),
        }
    }

    /// Writes the energy under each triangle of a frame and returns the energy of the whole frame; zeros become the
    /// smallest step of double precision, so that a logarithm follows safely.
    ///
    /// # Shapes
    /// `spectrum` lends `fft_len + 2` numbers; a longer `frame` is cut to `fft_len`, a shorter one zero-padded.
    ///
    /// # Units
    /// Of `|X|² / fft_len`.
    pub fn energies<T: Real>(
        &self,
        frame: &[T],
        padded: &mut [T],
        spectrum: &mut [T],
        energies: &mut [T],
    ) -> T {
        let len = frame.len().min(padded.len());
        padded[..len].copy_from_slice(&frame[..len]);
        padded[len..].fill(T::ZERO);
        rfft(padded, spectrum);
        let power = power_in_place(spectrum);
        let scale = T::ONE / T::of_count(self.fft_len);
        for p in power.iter_mut() {
            *p *= scale;
        }
        for (index, energy) in energies.iter_mut().enumerate() {
            *energy = lifted(self.triangle(index).energy(power));
        }
        lifted(sum(power.iter().copied()))
    }
}

fn lifted<T: Real>(energy: T) -> T {
    if energy == T::ZERO {
        T::of(f64::EPSILON)
    } else {
        energy
    }
}

/// Turns energies into cepstra: DCT-II of their logarithms, lifted, coefficient 0 replaced by the logarithm of the frame's
/// energy. The energies are overwritten by their logarithms.
///
/// # Units
/// `lifter` 0 is none; otherwise the factor is `1 + lifter / 2 sin(π n / lifter)`.
pub fn cepstra<T: Real>(energies: &mut [T], frame_energy: T, lifter: usize, cepstra: &mut [T]) {
    for energy in energies.iter_mut() {
        *energy = energy.ln();
    }
    dct(DctKind::Two, DctNorm::Orthonormal, energies, cepstra);
    for (n, c) in cepstra.iter_mut().enumerate() {
        *c *= T::of(lifter_weight(n, lifter));
    }
    if let Some(first) = cepstra.first_mut() {
        *first = frame_energy.ln();
    }
}

/// Factor of coefficient `n`.
pub fn lifter_weight(n: usize, lifter: usize) -> f64 {
    if lifter == 0 {
        return 1.0;
    }
    1.0 + lifter as f64 / 2.0 * libm::sin(core::f64::consts::PI * n as f64 / lifter as f64)
}

/// Removes the mean, and where asked divides by the standard deviation, of a sliding span of `span` (odd) rows, mirrored at the
/// ends. The variance is taken of the mean-removed rows.
///
/// # Shapes
/// `rows` and `removed` (working memory) are `[frames, width]`.
///
/// # Source
/// `cmvnw` of speechpy, whose small constant 2⁻³⁰ under the division is kept.
pub fn normalize_sliding<T: Real>(
    rows: &mut [T],
    width: usize,
    span: usize,
    variance: bool,
    removed: &mut [T],
) {
    let removed = &mut removed[..rows.len()];
    let Some(count) = rows.len().checked_div(width) else {
        return;
    };
    let half = span / 2;
    let n = T::of_count(2 * half + 1);
    let mirrored = |place: usize| {
        let place = (place + 2 * count * (half / (2 * count) + 1) - half) % (2 * count);
        if place < count {
            place
        } else {
            2 * count - 1 - place
        }
    };
    for row in 0..count {
        for column in 0..width {
            let around = (row..=row + 2 * half).map(|place| rows[mirrored(place) * width + column]);
            removed[row * width + column] = rows[row * width + column] - sum(around) / n;
        }
    }
    if !variance {
        rows.copy_from_slice(removed);
        return;
    }
    for row in 0..count {
        for column in 0..width {
            let around =
                || (row..=row + 2 * half).map(|place| removed[mirrored(place) * width + column]);
            let mean = sum(around()) / n;
            let square = sum(around().map(|x| (x - mean) * (x - mean))) / n;
            let floor = T::of(1.0 / (1_u64 << 30) as f64);
            rows[row * width + column] = removed[row * width + column] / (square.sqrt() + floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_beyond_the_rows_mirrors_again() {
        let mut rows = [1.0_f64, 2.0, 6.0];
        normalize_sliding(&mut rows, 1, 13, false, &mut [0.0; 3]);
        // 13 rows around row 0 of the endless mirror 1 2 6 6 2 1 1 2 6 6 2 1: 1 and twice its six neighbours on each side.
        let mean =
            (1.0 + (1.0 + 2.0 + 6.0 + 6.0 + 2.0 + 1.0) + (2.0 + 6.0 + 6.0 + 2.0 + 1.0 + 1.0))
                / 13.0;
        assert!((rows[0] - (1.0 - mean)).abs() < 1e-12, "{rows:?}");
    }

    #[test]
    fn frames_are_counted_as_librosa_does() {
        assert_eq!(stft_frame_count(4000, 512, 160, false), 22);
        assert_eq!(stft_frame_count(4000, 512, 160, true), 26);
        assert_eq!(stft_frame_count(100, 512, 160, false), 0);
    }
}
