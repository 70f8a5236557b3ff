//! The spectral block.

use super::{Analysis, Bands, Filter, FilterKind, FrontEnd, FrontEndError, MaxHold, Spectral};
use super::{require, require_finite};
use crate::fft::{FAST_LEN_MAX, bin_count, is_fast, power_in_place, rfft_in_place};
use crate::filter::{Butterworth, Pass, sosfilt};
use crate::real::sum;
use crate::statistics::{
    autocorrelation, correlation, crossing_count, extremes, mean_absolute_difference, moments,
    quantile_of_sorted,
};
use crate::taper::fill_hann;

/// Statistics before the bands, and the frequency after them.
const BASE_COUNT: usize = 6;
const SHAPE_COUNT: usize = 7;
const QUANTILES: [f32; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
/// Statistics before the bins of a max-hold spectrum.
const MAX_HOLD_COUNT: usize = 5;

impl Spectral {
    pub(super) fn check(&self, end: &FrontEnd) -> Result<(), FrontEndError> {
        require_finite(self.scale, "spectral.scale")?;
        self.filter.check(end)?;
        match &self.analysis {
            Analysis::Bands(bands) => bands.check(end),
            Analysis::MaxHold(hold) => {
                require(
                    hold.fft_len >= 4 && is_fast(usize::from(hold.fft_len)),
                    "max_hold.fft_len",
                )?;
                let (first, last) = hold.bins(end, &self.filter);
                require(first <= last, "spectral.filter.cutoff_hz")
            }
        }
    }

    pub(super) fn feature_count(&self, end: &FrontEnd) -> usize {
        let channels = usize::from(end.channel_count);
        match &self.analysis {
            Analysis::Bands(bands) => bands.feature_count(channels),
            Analysis::MaxHold(hold) => {
                let (first, last) = hold.bins(end, &self.filter);
                channels * (MAX_HOLD_COUNT + (last + 1).saturating_sub(first))
            }
        }
    }

    pub(super) fn scratch_len(&self, end: &FrontEnd) -> usize {
        let window_len = end.window_len as usize;
        match &self.analysis {
            // The channel, its taper, one transform and the mean power.
            Analysis::Bands(bands) => {
                let fft_len = bands.fft_len(end);
                window_len + fft_len.min(window_len) + fft_len + 2 + bin_count(fft_len)
            }
            Analysis::MaxHold(hold) => {
                let fft_len = usize::from(hold.fft_len);
                window_len + fft_len + 2 + bin_count(fft_len)
            }
        }
    }

    pub(super) fn extract(
        &self,
        end: &FrontEnd,
        window: &[f32],
        features: &mut [f32],
        scratch: &mut [f32],
    ) {
        let design = self.filter.design(end);
        let (signal, scratch) = scratch.split_at_mut(end.window_len as usize);
        let filter = |signal: &mut [f32]| {
            if let Some(design) = &design {
                sosfilt(design.sections(), signal);
            }
        };
        let channels = usize::from(end.channel_count);
        match &self.analysis {
            Analysis::MaxHold(hold) => {
                let bins = hold.bins(end, &self.filter);
                for (channel, row) in features
                    .chunks_exact_mut(features.len() / channels)
                    .enumerate()
                {
                    end.copy_channel(window, channel, self.scale, signal);
                    filter(signal);
                    hold.describe(signal, bins, row, scratch);
                }
            }
            Analysis::Bands(bands) => {
                let fft_len = bands.fft_len(end);
                let (taper, scratch) = scratch.split_at_mut(fft_len.min(signal.len()));
                fill_hann(taper);
                let (rows, cross) =
                    features.split_at_mut(bands.row_count(channels) * bands.row_len());
                for (index, row) in rows.chunks_exact_mut(bands.row_len()).enumerate() {
                    if index < channels {
                        end.copy_channel(window, index, self.scale, signal);
                    } else {
                        copy_norm(window, channels, index - channels, self.scale, signal);
                    }
                    filter(signal);
                    bands.describe(end, signal, row, taper, scratch);
                }
                if bands.cross {
                    cross_correlations(window, channels, cross);
                }
            }
        }
    }
}

impl Filter {
    fn check(&self, end: &FrontEnd) -> Result<(), FrontEndError> {
        require_finite(self.cutoff_hz, "spectral.filter.cutoff_hz")?;
        if self.kind == FilterKind::None {
            return Ok(());
        }
        require(matches!(self.order, 2 | 4 | 6 | 8), "spectral.filter.order")?;
        require(
            self.cutoff_hz > 0.0 && self.cutoff_hz < end.rate_hz / 2.0,
            "spectral.filter.cutoff_hz",
        )
    }

    fn design(&self, end: &FrontEnd) -> Option<Butterworth<f32>> {
        let corner = 2.0 * f64::from(self.cutoff_hz) / f64::from(end.rate_hz);
        let pass = match self.kind {
            FilterKind::None => return None,
            FilterKind::Low => Pass::Low(corner),
            FilterKind::High => Pass::High(corner),
        };
        Butterworth::design(usize::from(self.order), pass)
    }
}

impl Bands {
    fn check(&self, end: &FrontEnd) -> Result<(), FrontEndError> {
        let fft_len = usize::from(self.fft_len);
        require(
            fft_len == 0 || (fft_len >= 16 && is_fast(fft_len)),
            "bands.fft_len",
        )?;
        require(end.window_len >= 8, "window_len")?;
        require(self.band_count <= 64, "bands.band_count")?;
        require(
            self.log_floor.is_finite() && self.log_floor > 0.0,
            "bands.log_floor",
        )?;
        let half_hz = end.rate_hz / 2.0;
        require(self.low_hz >= 0.0 && self.low_hz < half_hz, "bands.low_hz")?;
        require(
            self.high_hz >= 0.0 && self.high_hz <= half_hz,
            "bands.high_hz",
        )?;
        let (first, last) = self.bins(end);
        require(first <= last, "bands.low_hz")?;
        require(
            usize::from(self.band_count) <= last + 1 - first,
            "bands.band_count",
        )
    }

    fn fft_len(&self, end: &FrontEnd) -> usize {
        match usize::from(self.fft_len) {
            0 => (end.window_len as usize)
                .clamp(16, FAST_LEN_MAX)
                .next_power_of_two(),
            len => len,
        }
    }

    /// The first bin of the first band and the last of the last.
    fn bins(&self, end: &FrontEnd) -> (usize, usize) {
        let fft_len = self.fft_len(end);
        let frame_len = fft_len.min(end.window_len as usize);
        let bin = |hz: f32| libm::roundf(hz * fft_len as f32 / end.rate_hz) as usize;
        let first = match self.low_hz {
            0.0 => (fft_len + frame_len / 2) / frame_len.max(1),
            hz => bin(hz).max(1),
        };
        let last = match self.high_hz {
            0.0 => fft_len / 2,
            hz => bin(hz).min(fft_len / 2),
        };
        (first, last)
    }

    fn row_len(&self) -> usize {
        let shape = if self.shape { SHAPE_COUNT } else { 0 };
        let quantiles = if self.percentiles { QUANTILES.len() } else { 0 };
        BASE_COUNT + usize::from(self.band_count) + shape + quantiles
    }

    /// Channels and norms.
    fn row_count(&self, channels: usize) -> usize {
        channels + if self.magnitude { channels / 3 } else { 0 }
    }

    fn feature_count(&self, channels: usize) -> usize {
        let pairs = if self.cross {
            channels * channels.saturating_sub(1) / 2
        } else {
            0
        };
        self.row_count(channels) * self.row_len() + pairs
    }

    fn describe(
        &self,
        end: &FrontEnd,
        signal: &mut [f32],
        row: &mut [f32],
        taper: &[f32],
        scratch: &mut [f32],
    ) {
        let fft_len = self.fft_len(end);
        let (buffer, power) = scratch.split_at_mut(fft_len + 2);
        let m = moments(signal);
        mean_power(signal, m.mean, taper, buffer, power);
        let (first, rest) = row.split_at_mut(5);
        first.copy_from_slice(&[
            m.mean,
            m.deviation,
            m.skewness,
            m.kurtosis,
            mean_absolute_difference(signal),
        ]);
        let (bands, rest) = rest.split_at_mut(usize::from(self.band_count));
        self.fill_bands(end, power, bands);
        let (peak, rest) = rest.split_at_mut(1);
        let bin_hz = end.rate_hz / fft_len as f32;
        peak[0] = largest_bin(power) as f32 * bin_hz;
        let (shape, quantiles) = rest.split_at_mut(if self.shape { SHAPE_COUNT } else { 0 });
        if self.shape {
            let (low, high) = extremes(signal);
            let duration_s = signal.len() as f32 / end.rate_hz;
            let (centroid_bin, entropy) = spectral_shape(power);
            shape.copy_from_slice(&[
                low,
                high,
                crossing_count(signal, m.mean) as f32 / duration_s,
                autocorrelation(signal, m.mean, 1),
                first_peak(signal, m.mean),
                centroid_bin * bin_hz,
                entropy,
            ]);
        }
        if self.percentiles {
            // The signal is not needed any more.
            signal.sort_unstable_by(f32::total_cmp);
            for (y, share) in quantiles.iter_mut().zip(QUANTILES) {
                *y = quantile_of_sorted(signal, share);
            }
        }
    }

    fn fill_bands(&self, end: &FrontEnd, power: &[f32], bands: &mut [f32]) {
        let (first, last) = self.bins(end);
        let count = bands.len();
        let ratio = libm::powf((last + 1) as f32 / first as f32, 1.0 / count.max(1) as f32);
        let (mut start, mut edge) = (first, first as f32);
        for (index, band) in bands.iter_mut().enumerate() {
            edge *= ratio;
            // At least one bin for this band and for each that follows.
            let following = count - 1 - index;
            let latest = last + 1 - following;
            let stop = if following == 0 {
                latest
            } else {
                (edge as usize).clamp(start + 1, latest)
            };
            let mean = sum(power[start..stop].iter().copied()) / (stop - start) as f32;
            *band = libm::log10f(mean + self.log_floor);
            start = stop;
        }
    }
}

impl MaxHold {
    /// The first and last bin that pass the filter; bin 0 never does.
    fn bins(&self, end: &FrontEnd, filter: &Filter) -> (usize, usize) {
        let corner = filter.cutoff_hz * f32::from(self.fft_len) / end.rate_hz;
        let half = usize::from(self.fft_len / 2);
        match filter.kind {
            FilterKind::None => (1, half),
            FilterKind::Low => (1, ((corner + 0.5) as usize).min(half)),
            FilterKind::High => (((corner - 0.5) as usize).saturating_add(1), half),
        }
    }

    fn describe(
        &self,
        signal: &mut [f32],
        bins: (usize, usize),
        row: &mut [f32],
        scratch: &mut [f32],
    ) {
        let fft_len = usize::from(self.fft_len);
        let (buffer, held) = scratch.split_at_mut(fft_len + 2);
        let m = moments(signal);
        for x in signal.iter_mut() {
            *x -= m.mean;
        }
        held.fill(0.0);
        let hop = if self.overlap { fft_len / 2 } else { fft_len };
        for start in (0..=signal.len()).step_by(hop) {
            let frame = &signal[start..signal.len().min(start + fft_len)];
            buffer[..frame.len()].copy_from_slice(frame);
            buffer[frame.len()..].fill(0.0);
            rfft_in_place(buffer);
            for (held, power) in held.iter_mut().zip(power_in_place(buffer).iter()) {
                *held = held.max(power / fft_len as f32);
            }
        }
        let spectral = moments(held);
        let (first, rest) = row.split_at_mut(MAX_HOLD_COUNT);
        first.copy_from_slice(&[
            m.deviation,
            m.skewness,
            m.kurtosis,
            spectral.skewness,
            spectral.kurtosis,
        ]);
        for (y, &power) in rest.iter_mut().zip(&held[bins.0..=bins.1]) {
            *y = match (self.log, power) {
                (false, power) => power,
                (true, 0.0) => -10.0,
                (true, power) => libm::log10f(power),
            };
        }
    }
}

/// Averages `|X|² / Σ taper²` over half-overlapping frames of the mean-removed signal.
fn mean_power(signal: &[f32], mean: f32, taper: &[f32], buffer: &mut [f32], power: &mut [f32]) {
    let frame_len = taper.len();
    let hop = (frame_len / 2).max(1);
    power.fill(0.0);
    let mut count = 0;
    for frame in signal.windows(frame_len).step_by(hop) {
        let (head, tail) = buffer.split_at_mut(frame_len);
        for ((y, x), weight) in head.iter_mut().zip(frame).zip(taper) {
            *y = (x - mean) * weight;
        }
        tail.fill(0.0);
        rfft_in_place(buffer);
        for (total, power) in power.iter_mut().zip(power_in_place(buffer).iter()) {
            *total += power;
        }
        count += 1;
    }
    let energy = sum(taper.iter().map(|w| w * w)) * count.max(1) as f32;
    for x in power {
        *x /= energy;
    }
}

/// The bin with the largest power but bin 0; 0 for silence.
fn largest_bin(power: &[f32]) -> usize {
    let mut largest = (0, 0.0);
    for (bin, &power) in power.iter().enumerate().skip(1) {
        if power > largest.1 {
            largest = (bin, power);
        }
    }
    largest.0
}

/// The centroid in bins and the entropy (0 a tone, 1 white) of all bins but bin 0; zeros for silence.
fn spectral_shape(power: &[f32]) -> (f32, f32) {
    let bins = &power[1..];
    let total = sum(bins.iter().copied());
    if total <= 0.0 || bins.len() < 2 {
        return (0.0, 0.0);
    }
    let centroid = sum(bins.iter().zip(1_u16..).map(|(p, k)| p * f32::from(k))) / total;
    let entropy = -sum(bins
        .iter()
        .map(|&p| p / total)
        .filter(|&p| p > 0.0)
        .map(|p| p * libm::logf(p)));
    (centroid, entropy / libm::logf(bins.len() as f32))
}

/// Height of the first local maximum of the autocorrelation past its first zero, over lags up to half the signal; 0 where
/// there is none.
fn first_peak(signal: &[f32], mean: f32) -> f32 {
    let total = sum(signal.iter().map(|x| (x - mean) * (x - mean)));
    if total <= 0.0 {
        return 0.0;
    }
    let at = |lag: usize| {
        sum(signal
            .iter()
            .zip(&signal[lag..])
            .map(|(a, b)| (a - mean) * (b - mean)))
            / total
    };
    let (mut before, mut here, mut below) = (1.0, at(1), false);
    for lag in 2..=signal.len() / 2 {
        let after = at(lag);
        below |= here < 0.0;
        if below && here > 0.0 && here > before && here >= after {
            return here;
        }
        (before, here) = (here, after);
    }
    0.0
}

fn copy_norm(window: &[f32], channels: usize, group: usize, scale: f32, into: &mut [f32]) {
    for (y, reading) in into.iter_mut().zip(window.chunks_exact(channels)) {
        let square: f32 = reading[3 * group..3 * group + 3]
            .iter()
            .map(|x| x * scale * (x * scale))
            .sum();
        *y = libm::sqrtf(square);
    }
}

fn cross_correlations(window: &[f32], channels: usize, features: &mut [f32]) {
    let pairs = (0..channels).flat_map(|a| (a + 1..channels).map(move |b| (a, b)));
    for ((a, b), feature) in pairs.zip(features) {
        *feature = correlation(
            window
                .chunks_exact(channels)
                .map(|reading| (reading[a], reading[b])),
        );
    }
}
