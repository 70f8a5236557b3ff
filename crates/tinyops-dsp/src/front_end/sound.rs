//! The MFE and MFCC blocks: frames, mel energies, and what becomes of them over a window.

use super::{
    Bank, Framing, FrontEnd, FrontEndError, Level, Mfcc, Mfe, Normalize, Shape, Taper, Timeline,
};
use super::{require, require_finite};
use crate::dct::{fill_table, ortho_from_table};
use crate::fft::{is_fast, power_in_place, rfft_in_place};
use crate::mel::MelScale;
use crate::real::sum;
use crate::spectrum::decibel;
use crate::speech::{lifter_weight, normalize_sliding};
use crate::taper::cosine;

/// Frames on either side that a slope is taken over.
const DELTA_REACH: usize = 2;
/// Longest sliding normalisation, in frames.
const SPAN_MAX: u16 = 1001;
/// Energy of a silent frame before its logarithm is taken.
const SILENCE: f32 = 1e-10;

impl Mfe {
    pub(super) fn check(&self, end: &FrontEnd) -> Result<(), FrontEndError> {
        match self.level {
            Level::Natural { floor } => {
                require(floor.is_finite() && floor > 0.0, "mfe.level.floor")?
            }
            Level::Decibel { range_db } => {
                require(range_db.is_finite() && range_db > 0.0, "mfe.level.range_db")?;
            }
            Level::Quantized { noise_floor_db } => {
                require(
                    noise_floor_db.is_finite() && noise_floor_db < 12.0,
                    "mfe.level.noise_floor_db",
                )?;
            }
        }
        self.plan(end).check(end)
    }

    pub(super) fn shape(&self, end: &FrontEnd) -> Shape {
        self.plan(end).shape(end)
    }

    pub(super) fn scratch_len(&self, end: &FrontEnd) -> usize {
        self.plan(end).scratch_len()
    }

    fn plan(&self, end: &FrontEnd) -> Plan<'_> {
        Plan {
            framing: &self.framing,
            bank: &self.bank,
            normalize: self.normalize,
            timeline: self.timeline,
            width: usize::from(self.bank.filter_count),
            cepstra: false,
            delta: false,
            frame_count: self.framing.frame_count(end),
        }
    }

    pub(super) fn extract(
        &self,
        end: &FrontEnd,
        window: &[f32],
        features: &mut [f32],
        scratch: &mut [f32],
    ) {
        let plan = self.plan(end);
        let mut lent = plan.lend(end, scratch);
        for channel in 0..usize::from(end.channel_count) {
            for (index, row) in lent.rows.chunks_exact_mut(plan.width).enumerate() {
                let (mels, energy) =
                    plan.mel_energies(end, window, channel, index, &mut lent.spectral);
                lent.energies[index] = energy;
                row.copy_from_slice(mels);
            }
            self.scale_levels(lent.rows);
            plan.finish(end, channel, &mut lent, features);
        }
    }

    fn scale_levels(&self, rows: &mut [f32]) {
        match self.level {
            Level::Natural { floor } => {
                for x in rows {
                    *x = libm::logf(*x + floor);
                }
            }
            Level::Decibel { range_db } => {
                let mut loudest = f32::MIN;
                for x in rows.iter_mut() {
                    *x = decibel(*x, SILENCE);
                    loudest = loudest.max(*x);
                }
                for x in rows {
                    *x = x.max(loudest - range_db);
                }
            }
            Level::Quantized { noise_floor_db } => {
                for x in rows {
                    let share = (decibel(*x, 1e-30) - noise_floor_db) / (12.0 - noise_floor_db);
                    *x = libm::roundf(share.clamp(0.0, 1.0) * 256.0) / 256.0;
                }
            }
        }
    }
}

impl Mfcc {
    pub(super) fn check(&self, end: &FrontEnd) -> Result<(), FrontEndError> {
        require(
            (1..=self.bank.filter_count).contains(&self.coefficient_count),
            "mfcc.coefficient_count",
        )?;
        require(
            self.log_floor.is_finite() && self.log_floor > 0.0,
            "mfcc.log_floor",
        )?;
        self.plan(end).check(end)
    }

    pub(super) fn shape(&self, end: &FrontEnd) -> Shape {
        self.plan(end).shape(end)
    }

    pub(super) fn scratch_len(&self, end: &FrontEnd) -> usize {
        self.plan(end).scratch_len()
    }

    fn plan(&self, end: &FrontEnd) -> Plan<'_> {
        Plan {
            framing: &self.framing,
            bank: &self.bank,
            normalize: self.normalize,
            timeline: self.timeline,
            width: usize::from(self.coefficient_count),
            cepstra: true,
            delta: self.delta,
            frame_count: self.framing.frame_count(end),
        }
    }

    pub(super) fn extract(
        &self,
        end: &FrontEnd,
        window: &[f32],
        features: &mut [f32],
        scratch: &mut [f32],
    ) {
        let plan = self.plan(end);
        let mut lent = plan.lend(end, scratch);
        fill_table(lent.cosines);
        for channel in 0..usize::from(end.channel_count) {
            for (index, row) in lent.rows.chunks_exact_mut(plan.width).enumerate() {
                let (mels, energy) =
                    plan.mel_energies(end, window, channel, index, &mut lent.spectral);
                lent.energies[index] = energy;
                for x in mels.iter_mut() {
                    *x = libm::logf(*x + self.log_floor);
                }
                ortho_from_table(lent.cosines, mels, row);
                if self.energy {
                    row[0] = libm::logf(energy.max(SILENCE));
                }
            }
            if self.lifter > 0 {
                for n in 0..plan.width {
                    let weight = lifter_weight(n, usize::from(self.lifter)) as f32;
                    lent.rows
                        .iter_mut()
                        .skip(n)
                        .step_by(plan.width)
                        .for_each(|x| *x *= weight);
                }
            }
            plan.finish(end, channel, &mut lent, features);
        }
    }
}

impl Framing {
    fn frame_count(&self, end: &FrontEnd) -> usize {
        let beyond = (end.window_len as usize).checked_sub(usize::from(self.frame_len));
        beyond.map_or(0, |beyond| 1 + beyond / usize::from(self.stride.max(1)))
    }

    fn check(&self) -> Result<(), FrontEndError> {
        let fft_len = usize::from(self.fft_len);
        require(fft_len >= 16 && is_fast(fft_len), "framing.fft_len")?;
        require(
            (1..=self.fft_len).contains(&self.frame_len),
            "framing.frame_len",
        )?;
        require(self.stride >= 1, "framing.stride")?;
        require_finite(self.scale, "framing.scale")?;
        require(self.pre_emphasis.abs() <= 1.0, "framing.pre_emphasis")
    }

    fn fill_taper(&self, weights: &mut [f32]) {
        let len = weights.len();
        let (base, swing) = match self.taper {
            Taper::Rectangular => (1.0, 0.0),
            Taper::Hann => (0.5, 0.5),
            Taper::Hamming => (0.54, 0.46),
        };
        for (t, weight) in weights.iter_mut().enumerate() {
            *weight = base - swing * cosine(t, len);
        }
    }
}

/// What both blocks share, and where they differ.
struct Plan<'a> {
    framing: &'a Framing,
    bank: &'a Bank,
    normalize: Normalize,
    timeline: Timeline,
    /// Numbers per frame, before slopes.
    width: usize,
    cepstra: bool,
    delta: bool,
    frame_count: usize,
}

/// The scratch memory, cut up.
struct Lent<'a> {
    spectral: Spectral<'a>,
    /// For the cosine transform.
    cosines: &'a mut [f32],
    /// Energy of each frame.
    energies: &'a mut [f32],
    /// `[frames, width]` of one channel.
    rows: &'a mut [f32],
    /// Of the same length, where the normalisation slides.
    removed: &'a mut [f32],
}

struct Spectral<'a> {
    taper: &'a [f32],
    /// Places of the triangles' edges, in bins.
    edges: &'a [f32],
    buffer: &'a mut [f32],
    mels: &'a mut [f32],
}

impl Plan<'_> {
    fn check(&self, end: &FrontEnd) -> Result<(), FrontEndError> {
        self.framing.check()?;
        require(
            (1..=128).contains(&self.bank.filter_count),
            "bank.filter_count",
        )?;
        let half_hz = end.rate_hz / 2.0;
        let high_hz = self.bank.high_hz(end);
        require(
            self.bank.low_hz >= 0.0 && self.bank.low_hz < high_hz,
            "bank.low_hz",
        )?;
        require(high_hz <= half_hz, "bank.high_hz")?;
        require(self.frame_count >= 1, "framing.frame_len")?;
        require(self.frame_count <= usize::from(u16::MAX), "framing.stride")?;
        if let Normalize::Sliding { len } = self.normalize {
            require(len % 2 == 1 && len <= SPAN_MAX, "normalize.len")?;
        }
        if let Timeline::Stretches { count, trim_db } = self.timeline {
            require(count >= 1, "timeline.count")?;
            require(trim_db.is_finite() && trim_db >= 0.0, "timeline.trim_db")?;
        }
        Ok(())
    }

    fn shape(&self, end: &FrontEnd) -> Shape {
        let height = match self.timeline {
            Timeline::Frames => u16::try_from(self.frame_count).unwrap_or(0),
            Timeline::Moments => 2,
            Timeline::Stretches { count, .. } => count,
        };
        let width = self.width * if self.delta { 2 } else { 1 };
        Shape {
            height,
            width: u16::try_from(width).unwrap_or(0),
            channels: end.channel_count,
        }
    }

    /// Words for: taper, edges, buffer, mels, cosines, energies, rows, removed.
    fn parts(&self) -> [usize; 8] {
        let filters = usize::from(self.bank.filter_count);
        let rows = self.frame_count * self.width;
        let slides = matches!(self.normalize, Normalize::Sliding { .. });
        [
            usize::from(self.framing.frame_len),
            filters + 2,
            usize::from(self.framing.fft_len) + 2,
            filters,
            if self.cepstra { filters + 1 } else { 0 },
            self.frame_count,
            rows,
            if slides { rows } else { 0 },
        ]
    }

    fn scratch_len(&self) -> usize {
        self.parts().iter().sum()
    }

    fn lend<'s>(&self, end: &FrontEnd, scratch: &'s mut [f32]) -> Lent<'s> {
        let mut rest = scratch;
        let mut parts = self.parts().into_iter();
        let mut take = || {
            let (part, others) = core::mem::take(&mut rest).split_at_mut(parts.next().unwrap_or(0));
            rest = others;
            part
        };
        let (taper, edges, buffer, mels) = (take(), take(), take(), take());
        let (cosines, energies, rows, removed) = (take(), take(), take(), take());
        self.framing.fill_taper(taper);
        self.bank.fill_edges(end, self.framing, edges);
        Lent {
            spectral: Spectral {
                taper,
                edges,
                buffer,
                mels,
            },
            cosines,
            energies,
            rows,
            removed,
        }
    }

    /// The mel energies of a frame and its whole energy.
    fn mel_energies<'s>(
        &self,
        end: &FrontEnd,
        window: &[f32],
        channel: usize,
        index: usize,
        lent: &'s mut Spectral<'_>,
    ) -> (&'s mut [f32], f32) {
        let Framing {
            scale,
            stride,
            pre_emphasis,
            ..
        } = *self.framing;
        let channels = usize::from(end.channel_count);
        let start = index * usize::from(stride);
        let mut previous = window[start.saturating_sub(1) * channels + channel] * scale;
        let readings = window
            .iter()
            .skip(start * channels + channel)
            .step_by(channels);
        let (frame, tail) = lent.buffer.split_at_mut(lent.taper.len());
        for ((y, x), weight) in frame.iter_mut().zip(readings).zip(lent.taper) {
            let x = x * scale;
            *y = (x - pre_emphasis * previous) * weight;
            previous = x;
        }
        tail.fill(0.0);
        rfft_in_place(lent.buffer);
        let fft_len = f32::from(self.framing.fft_len);
        let power = power_in_place(lent.buffer);
        for (mel, edges) in lent.mels.iter_mut().zip(lent.edges.windows(3)) {
            *mel = triangle_energy(power, edges) / fft_len;
        }
        (&mut *lent.mels, sum(power.iter().copied()) / fft_len)
    }

    /// Normalises the rows of a channel and writes its share of the features.
    fn finish(&self, end: &FrontEnd, channel: usize, lent: &mut Lent<'_>, features: &mut [f32]) {
        let active = match self.timeline {
            Timeline::Stretches { trim_db, .. } if trim_db > 0.0 => {
                active_frames(lent.energies, trim_db)
            }
            _ => 0..self.frame_count,
        };
        let rows = &mut lent.rows[active.start * self.width..active.end * self.width];
        self.normalize(rows, lent.removed);
        let channels = usize::from(end.channel_count);
        let width = self.width * if self.delta { 2 } else { 1 };
        let count = rows.len() / self.width;
        let mut put = |row: usize, column: usize, x: f32| {
            features[(row * width + column) * channels + channel] = x;
        };
        let at = |row: usize, column: usize| {
            if column < self.width {
                rows[row * self.width + column]
            } else {
                self.slope(rows, row, column - self.width)
            }
        };
        match self.timeline {
            Timeline::Frames => {
                for row in 0..count {
                    for column in 0..width {
                        put(row, column, at(row, column));
                    }
                }
            }
            Timeline::Moments => {
                for column in 0..width {
                    let mean = sum((0..count).map(|row| at(row, column))) / count as f32;
                    let square = sum((0..count).map(|row| at(row, column) - mean).map(|d| d * d))
                        / count as f32;
                    put(0, column, mean);
                    put(1, column, libm::sqrtf(square));
                }
            }
            Timeline::Stretches {
                count: stretches, ..
            } => {
                let stretches = usize::from(stretches);
                for index in 0..stretches {
                    let start = index * count / stretches;
                    let stop = ((index + 1) * count / stretches).max(start + 1);
                    for column in 0..width {
                        let total = sum((start..stop).map(|row| at(row, column)));
                        put(index, column, total / (stop - start) as f32);
                    }
                }
            }
        }
    }

    fn normalize(&self, rows: &mut [f32], removed: &mut [f32]) {
        let count = (rows.len() / self.width) as f32;
        match self.normalize {
            Normalize::None => {}
            Normalize::Sliding { len } => {
                normalize_sliding(rows, self.width, usize::from(len), true, removed);
            }
            Normalize::Mean | Normalize::MeanVariance => {
                for column in 0..self.width {
                    let values = |rows: &[f32], f: fn(f32) -> f32| {
                        sum(rows.iter().skip(column).step_by(self.width).map(|&x| f(x)))
                    };
                    let mean = values(rows, |x| x) / count;
                    rows.iter_mut()
                        .skip(column)
                        .step_by(self.width)
                        .for_each(|x| *x -= mean);
                    if self.normalize == Normalize::MeanVariance {
                        let deviation = libm::sqrtf(values(rows, |x| x * x) / count);
                        // A constant column stays 0 rather than becoming the noise of its mean.
                        let factor = if deviation > 1e-5 {
                            1.0 / deviation
                        } else {
                            0.0
                        };
                        rows.iter_mut()
                            .skip(column)
                            .step_by(self.width)
                            .for_each(|x| *x *= factor);
                    }
                }
            }
        }
    }

    /// The least-squares slope over five frames, the first and last held beyond the ends.
    fn slope(&self, rows: &[f32], row: usize, column: usize) -> f32 {
        let last = rows.len() / self.width - 1;
        let at = |row: usize| rows[row.min(last) * self.width + column];
        let mut slope = 0.0;
        for reach in 1..=DELTA_REACH {
            slope += reach as f32 * (at(row + reach) - at(row.saturating_sub(reach)));
        }
        slope / 10.0
    }
}

impl Bank {
    fn high_hz(&self, end: &FrontEnd) -> f32 {
        if self.high_hz == 0.0 {
            end.rate_hz / 2.0
        } else {
            self.high_hz
        }
    }

    fn fill_edges(&self, end: &FrontEnd, framing: &Framing, edges: &mut [f32]) {
        let mel = |hz: f32| MelScale::Natural.mel(f64::from(hz));
        let (low, high) = (mel(self.low_hz), mel(self.high_hz(end)));
        let step = (high - low) / f64::from(self.filter_count + 1);
        let bins_per_hz = f64::from(framing.fft_len) / f64::from(end.rate_hz);
        for (index, edge) in edges.iter_mut().enumerate() {
            *edge = (MelScale::Natural.hz(low + step * index as f64) * bins_per_hz) as f32;
        }
    }
}

/// Power under the triangle over three edges in bins.
fn triangle_energy(power: &[f32], edges: &[f32]) -> f32 {
    let &[left, middle, right] = edges else {
        return 0.0;
    };
    let (first, last) = (
        left as usize + 1,
        (libm::ceilf(right) as usize).min(power.len()),
    );
    if first >= last {
        let below = (middle as usize).min(power.len() - 1);
        let above = (below + 1).min(power.len() - 1);
        return power[below] + (power[above] - power[below]) * (middle - below as f32);
    }
    let (rise, fall) = (1.0 / (middle - left), 1.0 / (right - middle));
    let mut energy = 0.0;
    for (bin, power) in power[first..last].iter().enumerate() {
        let place = (first + bin) as f32;
        energy += power * ((place - left) * rise).min((right - place) * fall);
    }
    energy
}

/// From the first to the last frame whose energy is less than `trim_db` below the loudest; all of a silent window.
fn active_frames(energies: &[f32], trim_db: f32) -> core::ops::Range<usize> {
    let loudest = energies.iter().fold(0.0_f32, |a, &b| a.max(b));
    let floor = loudest * libm::powf(10.0, -trim_db / 10.0);
    let active = |energy: &f32| *energy >= floor;
    let start = energies.iter().position(active).unwrap_or(0);
    let stop = energies
        .iter()
        .rposition(active)
        .map_or(energies.len(), |last| last + 1);
    start..stop
}
