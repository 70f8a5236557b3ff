//! The real Fourier transform: fast for powers of two, plain for any other length.

use crate::real::{Real, TABLE_LEN};

/// Longest transform that takes `n log n` steps; others take `n²`.
pub const FAST_LEN_MAX: usize = TABLE_LEN;

/// Number of bins of a real transform over `n` readings: `n / 2 + 1`.
pub const fn bin_count(n: usize) -> usize {
    n / 2 + 1
}

/// Transforms a real signal: `X[k] = Σ_t x[t] exp(-2πi k t / n)`, unscaled.
///
/// # Shapes
/// `spectrum` takes [`bin_count`] pairs `re im` for a `signal` of `n ≥ 1` readings.
///
/// # Panics
/// When `spectrum` has another length.
///
/// # Source
/// Cooley and Tukey, 1965, for powers of two up to [`FAST_LEN_MAX`], by a complex transform of half the length;
/// otherwise the definition, its rotations by a recurrence in double precision.
pub fn rfft<T: Real>(signal: &[T], spectrum: &mut [T]) {
    let n = signal.len();
    assert!(
        n > 0 && spectrum.len() == 2 * bin_count(n),
        "spectrum holds bin_count pairs"
    );
    if is_fast(n) {
        spectrum[..n].copy_from_slice(signal);
        rfft_in_place(spectrum);
    } else {
        plain(signal, spectrum);
    }
}

/// As [`rfft`], in place.
///
/// # Shapes
/// `buffer` holds `n + 2` numbers, `n` a power of two from 2 to [`FAST_LEN_MAX`]: the signal in its first `n`
/// before, `n / 2 + 1` pairs `re im` after.
///
/// # Panics
/// When `n` is no such number.
pub fn rfft_in_place<T: Real>(buffer: &mut [T]) {
    let n = buffer.len().saturating_sub(2);
    assert!(is_fast(n), "a fast transform takes a power of two");
    complex_in_place(&mut buffer[..n]);
    unfold(buffer, n);
}

/// Writes `|X|²` of each bin of a spectrum over its front half; returns that half.
pub fn power_in_place<T: Real>(spectrum: &mut [T]) -> &mut [T] {
    let bins = spectrum.len() / 2;
    for k in 0..bins {
        let (re, im) = (spectrum[2 * k], spectrum[2 * k + 1]);
        spectrum[k] = re * re + im * im;
    }
    &mut spectrum[..bins]
}

/// Whether a transform of that length is fast.
pub(crate) const fn is_fast(n: usize) -> bool {
    n >= 2 && n <= FAST_LEN_MAX && n.is_power_of_two()
}

/// `(cos, sin)` of `2π k / TABLE_LEN` for `k` up to a quarter turn.
fn rotation<T: Real>(k: usize) -> (T, T) {
    let table = T::quarter_wave();
    (table[TABLE_LEN / 4 - k], table[k])
}

/// The complex transform of interleaved pairs.
fn complex_in_place<T: Real>(pairs: &mut [T]) {
    let count = pairs.len() / 2;
    reverse_bits(pairs, count);
    // The first two stages turn by quarters only: no products.
    for four in pairs.chunks_exact_mut(8) {
        let point = |k: usize| (four[2 * k], four[2 * k + 1]);
        let [(ar, ai), (br, bi), (cr, ci), (dr, di)] = [point(0), point(1), point(2), point(3)];
        let [(sr, si), (tr, ti)] = [(ar + br, ai + bi), (ar - br, ai - bi)];
        let [(ur, ui), (vr, vi)] = [(cr + dr, ci + di), (cr - dr, ci - di)];
        let turned = [
            sr + ur,
            si + ui,
            tr + vi,
            ti - vr,
            sr - ur,
            si - ui,
            tr - vi,
            ti + vr,
        ];
        four.copy_from_slice(&turned);
    }
    if count == 2 {
        let [ar, ai, br, bi] = [pairs[0], pairs[1], pairs[2], pairs[3]];
        pairs.copy_from_slice(&[ar + br, ai + bi, ar - br, ai - bi]);
    }
    let mut half = 4;
    while half < count {
        let step = TABLE_LEN / (2 * half);
        for block in pairs.chunks_exact_mut(4 * half) {
            let (low, high) = block.split_at_mut(2 * half);
            // The second half of a block turns a further quarter: one look-up serves two butterflies.
            let (low_a, low_b) = low.split_at_mut(half);
            let (high_a, high_b) = high.split_at_mut(half);
            let rows = low_a
                .chunks_exact_mut(2)
                .zip(high_a.chunks_exact_mut(2))
                .zip(low_b.chunks_exact_mut(2).zip(high_b.chunks_exact_mut(2)));
            for (j, ((la, ha), (lb, hb))) in rows.enumerate() {
                let (cos, sin) = rotation::<T>(j * step);
                butterfly(la, ha, ha[0] * cos + ha[1] * sin, ha[1] * cos - ha[0] * sin);
                butterfly(
                    lb,
                    hb,
                    hb[1] * cos - hb[0] * sin,
                    -(hb[0] * cos + hb[1] * sin),
                );
            }
        }
        half *= 2;
    }
}

fn butterfly<T: Real>(low: &mut [T], high: &mut [T], turned_re: T, turned_im: T) {
    let (re, im) = (low[0], low[1]);
    low[0] = re + turned_re;
    low[1] = im + turned_im;
    high[0] = re - turned_re;
    high[1] = im - turned_im;
}

fn reverse_bits<T: Real>(pairs: &mut [T], count: usize) {
    let mut j = 0;
    for i in 1..count {
        let mut bit = count / 2;
        while j & bit != 0 {
            j ^= bit;
            bit /= 2;
        }
        j |= bit;
        if i < j {
            pairs.swap(2 * i, 2 * j);
            pairs.swap(2 * i + 1, 2 * j + 1);
        }
    }
}

/// Turns the half-length complex transform of a real signal into its `n / 2 + 1` bins.
fn unfold<T: Real>(buffer: &mut [T], n: usize) {
    let half = T::of(0.5);
    let count = n / 2;
    let (re, im) = (buffer[0], buffer[1]);
    buffer[0] = re + im;
    buffer[1] = T::ZERO;
    buffer[n] = re - im;
    buffer[n + 1] = T::ZERO;
    let step = TABLE_LEN / n;
    for k in 1..=count / 2 {
        let mirror = count - k;
        let (ar, ai) = (buffer[2 * k], buffer[2 * k + 1]);
        let (br, bi) = (buffer[2 * mirror], buffer[2 * mirror + 1]);
        let (cos, sin) = rotation::<T>(k * step);
        let (even_re, even_im) = ((ar + br) * half, (ai - bi) * half);
        let (odd_re, odd_im) = ((ai + bi) * half, (br - ar) * half);
        let turned_re = odd_re * cos + odd_im * sin;
        let turned_im = odd_im * cos - odd_re * sin;
        buffer[2 * k] = even_re + turned_re;
        buffer[2 * k + 1] = even_im + turned_im;
        buffer[2 * mirror] = even_re - turned_re;
        buffer[2 * mirror + 1] = turned_im - even_im;
    }
}

fn plain<T: Real>(signal: &[T], spectrum: &mut [T]) {
    let n = signal.len();
    for (k, pair) in spectrum.chunks_exact_mut(2).enumerate() {
        let angle = core::f64::consts::TAU * k as f64 / n as f64;
        let (step_sin, step_cos) = libm::sincos(angle);
        let (mut cos, mut sin) = (1.0, 0.0);
        let (mut re, mut im) = (0.0, 0.0);
        for x in signal {
            let x = x.double();
            re += x * cos;
            im -= x * sin;
            (cos, sin) = (
                cos * step_cos - sin * step_sin,
                sin * step_cos + cos * step_sin,
            );
        }
        pair[0] = T::of(re);
        pair[1] = T::of(im);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spectrum_of<T: Real>(signal: &[T]) -> Vec<T> {
        let mut spectrum = vec![T::ZERO; 2 * bin_count(signal.len())];
        rfft(signal, &mut spectrum);
        spectrum
    }

    proptest! {
        #[test]
        fn fast_equals_plain(log in 1_u32..11, seed in prop::collection::vec(-1.0_f64..1.0, 1024)) {
            let signal = &seed[..1 << log.min(10)];
            let mut expected = vec![0.0; signal.len() + 2];
            plain(signal, &mut expected);
            for (fast, plain) in spectrum_of(signal).iter().zip(&expected) {
                prop_assert!((fast - plain).abs() < 1e-11, "{fast} {plain}");
            }
            let single: Vec<f32> = signal.iter().map(|&x| x as f32).collect();
            for (fast, plain) in spectrum_of(&single).iter().zip(&expected) {
                prop_assert!((f64::from(*fast) - plain).abs() < 2e-5, "{fast} {plain}");
            }
        }
    }

    #[test]
    fn a_tone_is_one_bin() {
        for n in [2_usize, 4, 8, 100, 63, 4096] {
            let bin = n / 4;
            let signal: Vec<f64> = (0..n)
                .map(|t| libm::cos(core::f64::consts::TAU * (bin * t) as f64 / n as f64))
                .collect();
            let mut spectrum = spectrum_of(&signal);
            let power = power_in_place(&mut spectrum);
            let total: f64 = power.iter().sum();
            assert!((power[bin] / total - 1.0).abs() < 1e-9, "{n}: {power:?}");
        }
    }
}
