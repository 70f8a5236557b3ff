//! What the agent watches between two reports.

use tinyops_sketch::{Baseline, Cusum, Direction, Observation, Sketch, Summary};
use tinyops_wire::cost::Cost;
use tinyops_wire::frame::{Alarm, Flags};

use crate::port::Measured;

/// Windows that a device learns its own normal output from, before it watches for a change.
///
/// Neighbouring windows resemble each other; so many still fix the mean to 0.15 of its spread, within
/// the slack of the cumulative sum.
const OWN_WINDOWS: u32 = 128;

/// Least spread of a device's output that a change is measured in, in that of the training data: a
/// model that is always sure must not raise an alarm when it is a little less so.
const OWN_SPREAD_MIN: f32 = 0.25;

/// The sketch of a report period, and the alarm that does not wait for its end.
#[derive(Clone, Debug)]
pub struct Monitor {
    pub(crate) sketch: Sketch,
    pub(crate) flags: Flags,
    pub(crate) costs: Costs,
    own: Own,
    cusum: Cusum<f32>,
    /// Counts the reports of this model.
    pub(crate) epoch: u16,
}

impl Monitor {
    /// Nothing watched yet.
    pub fn new() -> Monitor {
        Monitor {
            sketch: Sketch::new(),
            flags: Flags::default(),
            costs: Costs::default(),
            own: Own::default(),
            cusum: Cusum::device_default(),
            epoch: 0,
        }
    }

    /// Counts one scored window; answers with an alarm if the model's output has moved, at most once a period.
    pub fn push(
        &mut self,
        baseline: &Baseline,
        observation: &Observation,
        output: f32,
        class: Option<u8>,
    ) -> Option<Alarm> {
        self.sketch.push(baseline, observation, class);
        if !output.is_finite() {
            self.flags = self.flags.with(Flags::NOT_FINITE);
            return None;
        }
        let index = baseline.output_channel()?;
        let channel = &baseline.channels()[index];
        let z = self
            .own
            .deviation((output - channel.mean) * channel.inv_sd)?;
        let direction = self.cusum.update(z)?;
        let is_first = !self.flags.has(Flags::OUTPUT_MOVED);
        self.flags = self.flags.with(Flags::OUTPUT_MOVED);
        is_first.then_some(self.alarm(index, direction))
    }

    /// What the report says.
    pub fn summary(&self, baseline: &Baseline) -> Summary {
        Summary::of(&self.sketch, baseline)
    }

    /// Begins the next period.
    pub(crate) fn begin_period(&mut self) {
        self.sketch.clear();
        self.costs.begin_period();
        self.flags = Flags::default();
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Forgets the period and what the device's own output is like, but not which report is the next.
    pub(crate) fn begin_anew(&mut self) {
        *self = Monitor {
            epoch: self.epoch.wrapping_add(1),
            ..Monitor::new()
        };
    }

    fn alarm(&self, index: usize, direction: Direction) -> Alarm {
        Alarm {
            flags: self.flags,
            moved: Some((index as u8, direction)),
        }
    }
}

impl Default for Monitor {
    fn default() -> Monitor {
        Monitor::new()
    }
}

/// What scoring has cost, as the driver has measured it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Costs {
    windows: u32,
    sum_us: u64,
    max_us: u32,
    /// Of memory, since the boot.
    ram_share: f32,
}

impl Costs {
    pub(crate) fn push(&mut self, measured: &Measured) {
        self.windows = self.windows.saturating_add(1);
        self.sum_us = self.sum_us.saturating_add(measured.micros.into());
        self.max_us = self.max_us.max(measured.micros);
        let share = measured.ram_bytes as f32 / measured.ram_total_bytes.max(1) as f32;
        self.ram_share = self.ram_share.max(share);
    }

    /// What the report says of it; nothing if the driver measures nothing.
    pub(crate) fn summary(&self) -> Option<Cost> {
        (self.windows > 0).then(|| Cost {
            mean_us: self.sum_us as f32 / self.windows as f32,
            max_us: self.max_us as f32,
            ram_share: (self.ram_share > 0.0).then_some(self.ram_share),
        })
    }

    pub(crate) fn begin_period(&mut self) {
        *self = Costs {
            ram_share: self.ram_share,
            ..Costs::default()
        };
    }
}

/// What this device's output is like, in standard deviations of the training data.
///
/// No device is the mean of the training data: its place, load and mix of classes are its own.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    count: u32,
    /// The first value while it learns, the mean afterwards.
    centre: f32,
    /// Of the distances from the first value.
    sum: f32,
    sum_squares: f32,
    inv_sd: f32,
}

impl Own {
    /// How far a value is from the device's own normal, once that is known.
    fn deviation(&mut self, value: f32) -> Option<f32> {
        if self.count == OWN_WINDOWS {
            return Some((value - self.centre) * self.inv_sd);
        }
        if self.count == 0 {
            self.centre = value;
        }
        // Sums from a value near the mean lose nothing, and cost no division a window.
        self.count += 1;
        let distance = value - self.centre;
        self.sum += distance;
        self.sum_squares += distance * distance;
        if self.count == OWN_WINDOWS {
            const SHARE: f32 = 1.0 / OWN_WINDOWS as f32;
            let mean = self.sum * SHARE;
            let variance = (self.sum_squares * SHARE - mean * mean).max(0.0);
            self.centre += mean;
            self.inv_sd = 1.0 / libm::sqrtf(variance).max(OWN_SPREAD_MIN);
        }
        None
    }
}
