//! Makes a baseline out of training windows.

use core::fmt;

use crate::distance::psi;
use crate::{
    BINS, Baseline, BaselineError, CHANNELS_MAX, CLASSES_MAX, ChannelBaseline, Noise, Source,
};

/// Consecutive windows whose statistics make one value of [`Noise`].
pub const NOISE_BLOCK: usize = 32;

/// Numbers that a [`BaselineBuilder`] needs for `window_count` windows of `channel_count` channels.
pub const fn memory_len(window_count: usize, channel_count: usize) -> usize {
    window_count * (channel_count + 1)
}

/// Collects training windows in memory lent by the caller, then measures them.
#[derive(Debug)]
pub struct BaselineBuilder<'a> {
    sources: &'a [Source],
    class_counts: [u32; CLASSES_MAX],
    class_count: usize,
    /// One column of `capacity` values per channel, and one more to sort in.
    memory: &'a mut [f32],
    capacity: usize,
    window_count: usize,
}

impl<'a> BaselineBuilder<'a> {
    /// Begins a baseline that watches `sources`; `memory` of [`memory_len`] numbers bounds the windows.
    ///
    /// # Errors
    /// [`BuildError::Baseline`] for too many sources or classes.
    pub fn new(
        sources: &'a [Source],
        class_count: usize,
        memory: &'a mut [f32],
    ) -> Result<BaselineBuilder<'a>, BuildError> {
        if sources.len() > CHANNELS_MAX {
            return Err(BaselineError::Channels.into());
        }
        if class_count > CLASSES_MAX {
            return Err(BaselineError::Classes.into());
        }
        let capacity = memory.len() / (sources.len() + 1);
        let class_counts = [0; CLASSES_MAX];
        Ok(BaselineBuilder {
            sources,
            class_counts,
            class_count,
            memory,
            capacity,
            window_count: 0,
        })
    }

    /// Takes one training window: its features before scaling, what the model says of it, how far its embedding lies from
    /// the others' (anything where no channel watches it), its class.
    ///
    /// Windows should come in the order of their recordings, for the noise is measured between neighbours.
    ///
    /// # Errors
    /// [`BuildError::Full`], [`BuildError::NotFinite`], [`BuildError::NoFeature`] or [`BuildError::NoClass`]; the window is then not counted.
    pub fn push(
        &mut self,
        features: &[f32],
        output: f32,
        embedding: f32,
        class: Option<u8>,
    ) -> Result<(), BuildError> {
        if self.window_count == self.capacity {
            return Err(BuildError::Full);
        }
        let class = class.map(usize::from);
        if class.is_some_and(|class| class >= self.class_count) {
            return Err(BuildError::NoClass);
        }
        let mut values = [0.0; CHANNELS_MAX];
        for (value, source) in values.iter_mut().zip(self.sources) {
            *value = match *source {
                Source::Output => output,
                Source::Embedding => embedding,
                Source::Feature(index) => *features
                    .get(usize::from(index))
                    .ok_or(BuildError::NoFeature { index })?,
            };
            if !value.is_finite() {
                return Err(BuildError::NotFinite);
            }
        }
        for (channel, value) in values[..self.sources.len()].iter().enumerate() {
            self.memory[channel * self.capacity + self.window_count] = *value;
        }
        if let Some(class) = class {
            self.class_counts[class] += 1;
        }
        self.window_count += 1;
        Ok(())
    }

    /// Measures the windows taken.
    ///
    /// # Errors
    /// [`BuildError::Empty`] without a window.
    pub fn finish(self) -> Result<Baseline, BuildError> {
        if self.window_count == 0 {
            return Err(BuildError::Empty);
        }
        let mut channels = [ChannelBaseline::new(Source::Output, 0.0, 1.0); CHANNELS_MAX];
        let channels = &mut channels[..self.sources.len()];
        let (columns, sorted) = self.memory.split_at_mut(self.sources.len() * self.capacity);
        let sorted = &mut sorted[..self.window_count];
        for (index, (channel, source)) in channels.iter_mut().zip(self.sources).enumerate() {
            let values = &columns[index * self.capacity..][..self.window_count];
            sorted.copy_from_slice(values);
            sorted.sort_unstable_by(f32::total_cmp);
            *channel = measure(*source, values, sorted);
        }
        let labelled: u32 = self.class_counts.iter().sum();
        let mut class_prior = [0.0; CLASSES_MAX];
        for (share, count) in class_prior.iter_mut().zip(&self.class_counts) {
            *share = *count as f32 / labelled.max(1) as f32;
        }
        let class_count = if labelled == 0 { 0 } else { self.class_count };
        let window_count = u32::try_from(self.window_count).unwrap_or(u32::MAX);
        Ok(Baseline::new(
            window_count,
            channels,
            &class_prior[..class_count],
        )?)
    }
}

fn measure(source: Source, values: &[f32], sorted: &[f32]) -> ChannelBaseline {
    let (mean, sd) = moments(values);
    let mut channel = ChannelBaseline::new(source, mean as f32, sd as f32);
    for (index, edge) in channel.edges.iter_mut().enumerate() {
        *edge = quantile(sorted, (index + 1) as f64 / BINS as f64);
    }
    channel.shares = shares(&channel, values);
    channel.noise = noise(&channel, values);
    channel
}

fn shares(channel: &ChannelBaseline, values: &[f32]) -> [f32; BINS] {
    let mut counts = [0_u32; BINS];
    values
        .iter()
        .for_each(|&value| counts[channel.bin(value)] += 1);
    counts.map(|count| count as f32 / values.len() as f32)
}

fn noise(channel: &ChannelBaseline, values: &[f32]) -> Noise {
    let mut means = Spread::default();
    let mut ln_sds = Spread::default();
    let mut psis = Spread::default();
    for block in values.chunks_exact(NOISE_BLOCK) {
        let (mean, sd) = moments(block);
        means.push((mean - f64::from(channel.mean)) / f64::from(channel.sd));
        ln_sds.push(libm::log((sd / f64::from(channel.sd)).max(1e-3)));
        let smooth = |share: f32| {
            let count = NOISE_BLOCK as f64;
            (f64::from(share) * count + 0.5) / (count + 0.5 * BINS as f64)
        };
        psis.push(psi(
            &channel.shares.map(smooth),
            &shares(channel, block).map(smooth),
        ));
    }
    Noise {
        mean: means.sd() as f32,
        ln_sd: ln_sds.sd() as f32,
        psi: psis.mean() as f32,
    }
}

/// Mean and population standard deviation, in two passes.
fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let square = |&value: &f32| (f64::from(value) - mean) * (f64::from(value) - mean);
    (
        mean,
        libm::sqrt(values.iter().map(square).sum::<f64>() / count),
    )
}

/// The quantile at `share` of ascending values, by linear interpolation.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let position = share * (sorted.len() - 1) as f64;
    let below = libm::floor(position) as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let part = position - below as f64;
    let (low, high) = (f64::from(sorted[below]), f64::from(sorted[above]));
    (low + part * (high - low)) as f32
}

#[derive(Default)]
struct Spread {
    count: f64,
    sum: f64,
    sum_squares: f64,
}

impl Spread {
    fn push(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        self.sum_squares += value * value;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    fn sd(&self) -> f64 {
        let mean = self.mean();
        libm::sqrt((self.sum_squares / self.count.max(1.0) - mean * mean).max(0.0))
    }
}

/// Why windows do not make a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// What they would make is not a baseline.
    Baseline(BaselineError),
    /// There is no window.
    Empty,
    /// The memory lent has no room for another window.
    Full,
    /// A class that the baseline does not count.
    NoClass,
    /// The window lacks a monitored feature.
    NoFeature {
        /// Index of the feature.
        index: u16,
    },
    /// A value is infinite or not a number.
    NotFinite,
}

impl From<BaselineError> for BuildError {
    fn from(error: BaselineError) -> BuildError {
        BuildError::Baseline(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Baseline(_) => write!(f, "the windows do not make a baseline"),
            BuildError::Empty => write!(f, "no window to make a baseline of"),
            BuildError::Full => write!(f, "more windows than the memory lent can hold"),
            BuildError::NoClass => write!(f, "a class that the baseline does not count"),
            BuildError::NoFeature { index } => write!(f, "the window has no feature {index}"),
            BuildError::NotFinite => write!(f, "a value is infinite or not a number"),
        }
    }
}

impl core::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            BuildError::Baseline(source) => Some(source),
            _ => None,
        }
    }
}
