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
        // Copied in a few instructions, where filling takes some for each value.
        static NOTHING: [f32; CHANNELS_MAX] = [f32::NAN; CHANNELS_MAX];
        let mut values = NOTHING;
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
    #[inline]
    #[must_use]
    pub fn with_output(mut self, baseline: &Baseline, output: f32) -> Observation {
        if let Some(value) = baseline
            .output_channel()
            .and_then(|index| self.values.get_mut(index))
        {
            *value = output;
        }
        self
    }

    /// Adds how far its embedding lies from those of the factory; one that is not told counts as far off.
    #[inline]
    #[must_use]
    pub fn with_embedding(mut self, baseline: &Baseline, distance: f32) -> Observation {
        if let Some(value) = baseline
            .embedding_channel()
            .and_then(|index| self.values.get_mut(index))
        {
            *value = distance;
        }
        self
    }

    /// The value of a channel; what was not told is no number.
    #[inline]
    pub fn value(&self, channel: usize) -> f32 {
        self.values.get(channel).copied().unwrap_or(f32::NAN)
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

    /// Counts one window: what it was, and its class if the model names one. After 2³² - 1 windows it counts no more.
    pub fn push(&mut self, baseline: &Baseline, window: &Observation, class: Option<u8>) {
        let Some(count) = self.count.checked_add(1) else {
            return;
        };
        self.count = count;
        if let Some(count) = class.and_then(|class| self.class_counts.get_mut(usize::from(class))) {
            *count = count.wrapping_add(1);
        }
        let channels = self.channels.iter_mut().zip(baseline.channels());
        for ((channel, reference), &value) in channels.zip(&window.values) {
            // No count passes that of the windows, and 2³² squares of 2³⁰ are less than 2⁶⁴: nothing here overflows.
            let bin = &mut channel.bins[reference.bin(value)];
            *bin = bin.wrapping_add(1);
            let steps = deviation_steps((value - reference.mean) * reference.inv_sd);
            channel.sum = channel.sum.wrapping_add(i64::from(steps));
            let square = u64::from(steps.unsigned_abs()) * u64::from(steps.unsigned_abs());
            channel.sum_squares = channel.sum_squares.wrapping_add(square);
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

/// The nearest whole number of steps, of two the even one; the most of what is no number.
fn deviation_steps(deviation: f32) -> i32 {
    /// From here to twice as much, numbers of single precision are the whole ones, so that adding it rounds.
    const WHOLE: f32 = 12_582_912.0;
    const MOST: i32 = STEPS_MAX as i32;
    let steps = deviation * STEPS_PER_SD;
    // Bits rise with the number that they are, so that what is farther, or none, does not come out in between.
    let whole = ((steps + WHOLE).to_bits() as i32).wrapping_sub(WHOLE.to_bits() as i32);
    if whole.wrapping_add(MOST) as u32 <= 2 * MOST as u32 {
        whole
    } else if steps <= -STEPS_MAX {
        -MOST
    } else {
        MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_rounded_to_the_nearest_step() {
        for index in -40_000..=40_000_i32 {
            for part in [0.0, 0.25, 0.499, 0.501, 0.75] {
                let steps = index as f32 + part;
                let expected = steps.round_ties_even().clamp(-STEPS_MAX, STEPS_MAX) as i32;
                assert_eq!(deviation_steps(steps / STEPS_PER_SD), expected, "{steps}");
            }
        }
        for (deviation, expected) in [
            (0.5 / STEPS_PER_SD, 0),
            (-1.5 / STEPS_PER_SD, -2),
            (f32::NAN, 32_768),
            (f32::INFINITY, 32_768),
            (f32::NEG_INFINITY, -32_768),
            (1e30, 32_768),
        ] {
            assert_eq!(deviation_steps(deviation), expected, "{deviation}");
        }
    }

    #[test]
    fn a_full_sketch_counts_no_more() {
        let channel = crate::ChannelBaseline::new(Source::Output, 0.0, 1.0);
        let baseline = Baseline::new(1, &[channel], &[]).unwrap();
        let window = Observation::of(&baseline, &[]).with_output(&baseline, 1.0);
        let mut sketch = Sketch::new();
        sketch.count = u32::MAX - 1;
        sketch.push(&baseline, &window, None);
        let full = sketch.clone();
        sketch.push(&baseline, &window, None);
        assert_eq!(sketch, full);
        assert_eq!(sketch.channels[0].sum, 256);
    }
}
