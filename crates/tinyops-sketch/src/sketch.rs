//! Integer counts of a live stream, which add up in any order.

use crate::{BINS, Baseline, CHANNELS_MAX, CLASSES_MAX, Source};

/// Steps that one standard deviation of the baseline is divided into.
const STEPS_PER_SD: f32 = 256.0;

/// Values beyond this many steps (128 standard deviations) count as this many.
const STEPS_MAX: f32 = 32_768.0;

/// A live stream, counted against a baseline.
///
/// All fields are integers: merging is exact, associative and commutative, so that windows, days and
/// devices add up in whatever order they arrive. Only sketches of the same baseline may be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    /// Windows counted.
    pub count: u32,
    /// Windows that the model gave to each class.
    pub class_counts: [u32; CLASSES_MAX],
    /// One per channel of the baseline; the rest stay zero.
    pub channels: [ChannelSketch; CHANNELS_MAX],
}

/// The values of one channel. Deviations are in 1/256 of the baseline's standard deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelSketch {
    /// Values in each bin of the baseline.
    pub bins: [u32; BINS],
    /// Sum of the deviations from the baseline's mean.
    pub sum: i64,
    /// Sum of their squares.
    pub sum_squares: u64,
}

/// The values of one window on the monitored channels.
///
/// Features are taken before scaling overwrites them, the output once the model has run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    values: [f32; CHANNELS_MAX],
}

impl Observation {
    /// The monitored among `features`; one that the window lacks counts as far off.
    pub fn of(baseline: &Baseline, features: &[f32]) -> Observation {
        let mut values = [f32::NAN; CHANNELS_MAX];
        for (value, channel) in values.iter_mut().zip(baseline.channels()) {
            if let Source::Feature(index) = channel.source {
                *value = features
                    .get(usize::from(index))
                    .copied()
                    .unwrap_or(f32::NAN);
            }
        }
        Observation { values }
    }

    /// Adds what the model says of the window: its confidence, score or value.
    #[must_use]
    pub fn with_output(mut self, baseline: &Baseline, output: f32) -> Observation {
        for (value, channel) in self.values.iter_mut().zip(baseline.channels()) {
            if channel.source == Source::Output {
                *value = output;
            }
        }
        self
    }
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch::new()
    }
}

impl Sketch {
    /// Nothing counted yet.
    pub const fn new() -> Sketch {
        Sketch {
            count: 0,
            class_counts: [0; CLASSES_MAX],
            channels: [ChannelSketch {
                bins: [0; BINS],
                sum: 0,
                sum_squares: 0,
            }; CHANNELS_MAX],
        }
    }

    /// Counts one window: what it was, and its class if the model names one.
    pub fn push(&mut self, baseline: &Baseline, window: &Observation, class: Option<u8>) {
        self.count = self.count.saturating_add(1);
        if let Some(count) = class.and_then(|class| self.class_counts.get_mut(usize::from(class))) {
            *count = count.saturating_add(1);
        }
        let channels = self.channels.iter_mut().zip(baseline.channels());
        for ((channel, reference), &value) in channels.zip(&window.values) {
            let bin = &mut channel.bins[reference.bin(value)];
            *bin = bin.saturating_add(1);
            let steps = deviation_steps((value - reference.mean) * reference.inv_sd);
            channel.sum = channel.sum.saturating_add(i64::from(steps));
            let square = u64::from(steps.unsigned_abs()).pow(2);
            channel.sum_squares = channel.sum_squares.saturating_add(square);
        }
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Sketch) {
        self.count = self.count.saturating_add(other.count);
        for (count, more) in self.class_counts.iter_mut().zip(&other.class_counts) {
            *count = count.saturating_add(*more);
        }
        for (channel, more) in self.channels.iter_mut().zip(&other.channels) {
            for (bin, more) in channel.bins.iter_mut().zip(&more.bins) {
                *bin = bin.saturating_add(*more);
            }
            channel.sum = channel.sum.saturating_add(more.sum);
            channel.sum_squares = channel.sum_squares.saturating_add(more.sum_squares);
        }
    }

    /// Forgets everything, to begin the next report.
    pub fn clear(&mut self) {
        *self = Sketch::new();
    }
}

impl ChannelSketch {
    /// Mean deviation of `count` values from the baseline's mean, in its standard deviations; 0 of no values.
    pub fn mean(&self, count: u32) -> f32 {
        if count == 0 {
            return 0.0;
        }
        (self.sum as f64 / f64::from(count)) as f32 / STEPS_PER_SD
    }

    /// Natural logarithm of the standard deviation of `count` values over the baseline's; 0 below two values.
    pub fn ln_sd(&self, count: u32) -> f32 {
        if count < 2 {
            return 0.0;
        }
        let count = f64::from(count);
        let mean = self.sum as f64 / count;
        let variance = (self.sum_squares as f64 / count - mean * mean).max(0.0);
        // Half a step is what rounding alone makes of a constant.
        let sd = libm::sqrt(variance).max(0.5) / f64::from(STEPS_PER_SD);
        libm::log(sd) as f32
    }
}

fn deviation_steps(deviation: f32) -> i32 {
    let steps = deviation * STEPS_PER_SD;
    if steps.is_nan() {
        return STEPS_MAX as i32;
    }
    libm::roundf(steps.clamp(-STEPS_MAX, STEPS_MAX)) as i32
}
