//! What can be read off a spectrum.

use crate::fft::{bin_count, power_in_place, rfft};
use crate::real::{Real, sum};
use crate::statistics::mean;

/// Writes the first `magnitudes.len()` magnitudes of a spectrum of pairs.
pub fn magnitudes<T: Real>(spectrum: &[T], magnitudes: &mut [T]) {
    for (pair, magnitude) in spectrum.chunks_exact(2).zip(magnitudes) {
        *magnitude = (pair[0] * pair[0] + pair[1] * pair[1]).sqrt();
    }
}

/// The power spectral density after Welch: mean over half-open segments of the mean-removed, tapered periodogram.
///
/// # Shapes
/// Segments are `taper.len()` long and start every `hop` readings; `density` takes `len / 2 + 1` bins and `scratch` lends
/// `2 len + 2` numbers.
///
/// # Units
/// Square of the signal's unit per Hz, one-sided.
///
/// # Panics
/// When `density` or `scratch` has another length, or `hop` is 0.
///
/// # Source
/// Welch, 1967, "The use of fast Fourier transform for the estimation of power spectra".
pub fn welch<T: Real>(
    signal: &[T],
    rate_hz: T,
    taper: &[T],
    hop: usize,
    density: &mut [T],
    scratch: &mut [T],
) {
    let len = taper.len();
    assert!(
        density.len() == bin_count(len) && scratch.len() >= 2 * len + 2 && hop > 0,
        "lengths fit"
    );
    let (segment, spectrum) = scratch.split_at_mut(len);
    let spectrum = &mut spectrum[..2 * bin_count(len)];
    density.fill(T::ZERO);
    let mut count = 0;
    for frame in signal.windows(len).step_by(hop) {
        let mean = mean(frame.iter().copied());
        for ((y, &x), &weight) in segment.iter_mut().zip(frame).zip(taper) {
            *y = (x - mean) * weight;
        }
        rfft(segment, spectrum);
        for (total, &power) in density.iter_mut().zip(power_in_place(spectrum).iter()) {
            *total += power;
        }
        count += 1;
    }
    let energy = sum(taper.iter().map(|&w| w * w));
    let scale = T::ONE / (rate_hz * energy * T::of_count(count.max(1)));
    let bins = density.len();
    for (k, x) in density.iter_mut().enumerate() {
        let single = k == 0 || (len.is_multiple_of(2) && k == bins - 1);
        *x *= if single { scale } else { scale * T::of(2.0) };
    }
}

/// A local maximum of a spectrum.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Peak<T> {
    /// Bin.
    pub bin: usize,
    /// Height.
    pub height: T,
}

/// Finds the highest bins strictly above both neighbours and at least `share` of the largest bin; highest first.
/// Returns how many.
pub fn peaks<T: Real>(magnitudes: &[T], share: T, found: &mut [Peak<T>]) -> usize {
    let largest = magnitudes.iter().fold(T::ZERO, |a, &b| a.larger(b));
    let mut count = 0;
    for (index, three) in magnitudes.windows(3).enumerate() {
        let peak = Peak {
            bin: index + 1,
            height: three[1],
        };
        let stands_out = three[1] > three[0] && three[1] > three[2];
        if !stands_out || peak.height < share * largest {
            continue;
        }
        let place = found[..count]
            .iter()
            .position(|p| p.height < peak.height)
            .unwrap_or(count);
        if place < found.len() {
            count = (count + 1).min(found.len());
            found[place..count].rotate_right(1);
            found[place] = peak;
        }
    }
    count
}

/// Adds up powers in `energies.len()` equal bands from 0 to half the rate: lower edges closed, the last band closed on both
/// sides.
///
/// # Shapes
/// `power` holds the `fft_len / 2 + 1` bins of a transform of `fft_len`.
pub fn band_energies<T: Real>(power: &[T], fft_len: usize, energies: &mut [T]) {
    energies.fill(T::ZERO);
    let Some(last) = energies.len().checked_sub(1) else {
        return;
    };
    for (bin, &x) in power.iter().enumerate() {
        energies[(2 * bin * (last + 1) / fft_len.max(1)).min(last)] += x;
    }
}

/// The centre of a spectrum, `Σ f m / Σ m`, in units of `bin_hz`; 0 for silence.
pub fn centroid<T: Real>(magnitudes: &[T], bin_hz: T) -> T {
    let total = sum(magnitudes.iter().copied());
    let weighted = sum(magnitudes
        .iter()
        .enumerate()
        .map(|(k, &m)| T::of_count(k) * m));
    if total > T::ZERO {
        weighted / total * bin_hz
    } else {
        T::ZERO
    }
}

/// The width of a spectrum about its centroid, `sqrt(Σ (f - centroid)² m / Σ m)`; 0 for silence.
pub fn bandwidth<T: Real>(magnitudes: &[T], bin_hz: T) -> T {
    let total = sum(magnitudes.iter().copied());
    let centre = centroid(magnitudes, bin_hz);
    let weighted = sum(magnitudes.iter().enumerate().map(|(k, &m)| {
        let distance = T::of_count(k) * bin_hz - centre;
        distance * distance * m
    }));
    if total > T::ZERO {
        (weighted / total).sqrt()
    } else {
        T::ZERO
    }
}

/// The lowest frequency below which `share` of the sum of magnitudes lies.
pub fn rolloff<T: Real>(magnitudes: &[T], bin_hz: T, share: T) -> T {
    let mut total = T::ZERO;
    for &m in magnitudes {
        total += m;
    }
    let mut running = T::ZERO;
    for (k, &m) in magnitudes.iter().enumerate() {
        running += m;
        if running >= share * total {
            return T::of_count(k) * bin_hz;
        }
    }
    T::ZERO
}

/// Geometric over arithmetic mean of a power spectrum, each bin at least 1e-10: 1 for white noise, 0 for a tone.
pub fn flatness<T: Real>(power: &[T]) -> T {
    let floored = || power.iter().map(|&p| p.larger(T::of(1e-10)));
    let count = T::of_count(power.len().max(1));
    (sum(floored().map(T::ln)) / count).exp() / (sum(floored()) / count)
}

/// `10 log10(max(power, floor))`.
pub fn decibel<T: Real>(power: T, floor: T) -> T {
    T::of(10.0) * power.larger(floor).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_come_highest_first() {
        let heights = [0.0_f32, 3.0, 1.0, 5.0, 5.0, 2.0, 4.0, 0.0, 0.4, 0.0, 6.0];
        let mut found = [Peak::default(); 3];
        assert_eq!(peaks(&heights, 0.1, &mut found), 2);
        assert_eq!((found[0].bin, found[1].bin), (6, 1));
        let mut found = [Peak::default(); 1];
        assert_eq!(peaks(&heights, 0.0, &mut found), 1);
        assert_eq!(found[0].bin, 6);
    }

    #[test]
    fn silence_has_no_centre() {
        assert_eq!(centroid(&[0.0_f32; 9], 10.0), 0.0);
        assert_eq!(bandwidth(&[0.0_f32; 9], 10.0), 0.0);
        assert!((flatness(&[0.0_f32; 9]) - 1.0).abs() < 1e-5);
    }
}
