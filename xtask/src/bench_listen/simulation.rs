//! A world to calibrate in: devices that are each a little different, days that differ, and windows that resemble
//! their neighbours.
//!
//! 288 windows a day; each channel a first-order process (ρ = 0.5) of variance 1, with an offset of the device (sd 0.2)
//! and of the day (sd 0.1); the predicted class a like process cut at the quantiles of the prior. What a device counts and
//! sends goes through the real sketch and the real frame.

use tinyops_sketch::{
    BINS, Baseline, CHANNELS_MAX, ChannelBaseline, Observation, Sketch, Source, Summary,
};
use tinyops_wire::Frame;
use tinyops_wire::summary::{Format, Header, SummaryFrame};

use crate::chance::Chance;

/// Monitored channels: eight features and the output.
pub(super) const CHANNELS: usize = CHANNELS_MAX;
/// Classes that the model tells apart.
pub(super) const CLASSES: usize = 4;
/// Windows of a day, one every five minutes.
pub(super) const WINDOWS_A_DAY: usize = 288;
/// How often the stable world's model predicts each class.
const PRIOR: [f64; CLASSES] = [0.4, 0.3, 0.2, 0.1];
/// The same with a population stability index of 0.23 to it.
const PRIOR_SHIFTED: [f64; CLASSES] = [0.204, 0.496, 0.2, 0.1];
/// Octiles of the standard normal law.
const OCTILES: [f32; BINS - 1] = [
    -1.150_35, -0.674_49, -0.318_64, 0.0, 0.318_64, 0.674_49, 1.150_35,
];

/// What changes: on the first channel, or in the predicted classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// Nothing does.
    Nothing,
    /// The mean, by so many standard deviations.
    Mean(f64),
    /// The variance, by this factor.
    Variance(f64),
    /// The classes, by a population stability index of 0.23.
    Prior,
    /// The shape: two bumps of the same mean and variance.
    Bimodal,
}

/// What the world's model was trained on.
pub(super) fn baseline() -> Baseline {
    let channel = |index: usize| {
        let source = match index == CHANNELS - 1 {
            true => Source::Output,
            false => Source::Feature(index as u16),
        };
        let mut channel = ChannelBaseline::new(source, 0.0, 1.0);
        channel.edges = OCTILES;
        channel
    };
    let channels: [ChannelBaseline; CHANNELS] = std::array::from_fn(channel);
    Baseline::new(10_000, &channels, &PRIOR.map(|share| share as f32)).expect("a sound baseline")
}

/// Standard normal numbers from a seed.
pub(super) struct Noise {
    chance: Chance,
    spare: Option<f64>,
}

impl Noise {
    pub(super) fn new(seed: u64) -> Noise {
        Noise {
            chance: Chance(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x5851_f42d_4c95_7f2d),
            spare: None,
        }
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.chance.uniform() * count as f64) as usize
    }

    pub(super) fn normal(&mut self) -> f64 {
        self.spare.take().unwrap_or_else(|| {
            let [first, spare] = self.chance.normals();
            self.spare = Some(spare);
            first
        })
    }
}

/// One device of the world.
pub(super) struct Device {
    /// Which; also the seed of its dither.
    pub(super) id: u64,
    noise: Noise,
    /// Of the channels, then of the classes.
    offsets: [f64; CHANNELS + 1],
    states: [f64; CHANNELS + 1],
    /// Days that it has reported.
    pub(super) day: u32,
}

impl Device {
    pub(super) fn new(id: u64) -> Device {
        let mut noise = Noise::new(id);
        Device {
            id,
            offsets: std::array::from_fn(|_| 0.2 * noise.normal()),
            states: std::array::from_fn(|_| noise.normal()),
            noise,
            day: 0,
        }
    }

    /// Counts the windows of the next day.
    pub(super) fn count(&mut self, baseline: &Baseline, change: Change) -> Sketch {
        self.day += 1;
        let mut sketch = Sketch::new();
        let edges = class_edges(match change == Change::Prior {
            true => PRIOR_SHIFTED,
            false => PRIOR,
        });
        let levels: [f64; CHANNELS + 1] =
            std::array::from_fn(|index| self.offsets[index] + 0.1 * self.noise.normal());
        for _ in 0..WINDOWS_A_DAY {
            let mut values = [0.0; CHANNELS + 1];
            for (index, value) in values.iter_mut().enumerate() {
                let state = 0.5 * self.states[index] + 0.75_f64.sqrt() * self.noise.normal();
                self.states[index] = state;
                let state = match (index, change) {
                    (0, Change::Mean(shift)) => state + shift,
                    (0, Change::Variance(factor)) => state * factor.sqrt(),
                    (0, Change::Bimodal) => {
                        0.9_f64.copysign(state) + 0.19_f64.sqrt() * self.noise.normal()
                    }
                    _ => state,
                };
                *value = state + levels[index];
            }
            let features: [f32; CHANNELS - 1] = std::array::from_fn(|index| values[index] as f32);
            let window = Observation::of(baseline, &features)
                .with_output(baseline, values[CHANNELS - 1] as f32);
            let class = edges
                .iter()
                .filter(|edge| **edge <= values[CHANNELS])
                .count();
            sketch.push(baseline, &window, Some(class as u8));
        }
        sketch
    }

    /// What the server reads of the next day's report, and the bytes that it took.
    pub(super) fn report(&mut self, baseline: &Baseline, change: Change) -> (Summary, usize) {
        let sketch = self.count(baseline, change);
        let dither = (self.id, self.day);
        let summary = Summary::of(&sketch, baseline);
        let mut bytes = [0; 64];
        let header = Header {
            epoch: self.day as u16,
            ..Header::default()
        };
        let len = SummaryFrame::encode(Format::M6H8, header, &summary, dither, &mut bytes)
            .expect("there is room for a frame");
        let Ok(Frame::Summary(frame)) = Frame::decode(&bytes[..len]) else {
            panic!("what was encoded does not decode");
        };
        let summary = frame
            .decode(CHANNELS, CLASSES, dither)
            .expect("its own shape");
        (summary, len)
    }
}

/// Where a standard normal process is cut so that the parts have these shares, seen over all devices and days.
fn class_edges(prior: [f64; CLASSES]) -> [f64; CLASSES - 1] {
    // The variance over devices and days: of the process, the devices' offsets and the days'.
    let sd = (1.0_f64 + 0.04 + 0.01).sqrt();
    let mut below = 0.0;
    std::array::from_fn(|index| {
        below += prior[index];
        sd * quantile(below)
    })
}

/// The standard normal quantile, by halving.
fn quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match below(middle) < share {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

/// The share of the standard normal law below a value, by Simpson's rule on its density.
fn below(value: f64) -> f64 {
    const STEPS: usize = 64;
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    let step = value / STEPS as f64;
    let inner: f64 = (1..STEPS)
        .map(|index| density(step * index as f64) * if index % 2 == 1 { 4.0 } else { 2.0 })
        .sum();
    0.5 + step / 3.0 * (density(0.0) + inner + density(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_shifts_by_what_it_says() {
        let terms = PRIOR.iter().zip(PRIOR_SHIFTED);
        let psi: f64 = terms
            .map(|(base, live)| (live - base) * (live / base).ln())
            .sum();
        assert!((psi - 0.23).abs() < 0.002, "{psi}");
    }

    #[test]
    fn the_world_is_what_it_says() {
        let baseline = baseline();
        let mut sketch = Sketch::new();
        let mut bimodal = Sketch::new();
        for id in 0..300 {
            let mut device = Device::new(id);
            sketch.merge(&device.count(&baseline, Change::Nothing));
            bimodal.merge(&device.count(&baseline, Change::Bimodal));
        }
        for (counted, name) in [(&sketch, "stable"), (&bimodal, "bimodal")] {
            let channel = &counted.channels[0];
            let mean = channel.mean(counted.count);
            let sd = channel.ln_sd(counted.count).exp();
            assert!(mean.abs() < 0.06, "{name} {mean}");
            assert!((sd - 1.05_f32.sqrt()).abs() < 0.03, "{name} {sd}");
        }
        let middle = |sketch: &Sketch| sketch.channels[0].bins[3] as f32 / sketch.count as f32;
        assert!(middle(&bimodal) < 0.7 * middle(&sketch));
        for (count, share) in sketch.class_counts.iter().zip(PRIOR) {
            let own = f64::from(*count) / f64::from(sketch.count);
            assert!((own - share).abs() < 0.02, "{own} for {share}");
        }
    }

    #[test]
    fn the_daily_report_has_51_bytes() {
        assert_eq!(Device::new(1).report(&baseline(), Change::Nothing).1, 51);
    }
}
