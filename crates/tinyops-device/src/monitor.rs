//! What the agent watches between two reports.

use tinyops_sketch::{Baseline, Cusum, Direction, Observation, Sketch, Summary};
use tinyops_wire::cost::Cost;
use tinyops_wire::frame::{Alarm, Flags};

use crate::port::Measured;

/// Windows that a device learns its own normal from, before it watches for a change.
///
/// Neighbouring windows resemble each other; so many still fix the mean to 0.15 of its spread, within
/// the slack of the cumulative sum.
const OWN_WINDOWS: u32 = 128;

/// Least spread of a device's values that a change is measured in, in that of the training data: a
/// model that is always sure must not raise an alarm when it is a little less so.
const OWN_SPREAD_MIN: f32 = 0.25;

/// The sketch of a report period, and the alarm that does not wait for its end.
#[derive(Clone, Debug)]
pub struct Monitor {
    pub(crate) sketch: Sketch,
    pub(crate) flags: Flags,
    pub(crate) costs: Costs,
    output: Watched,
    embedding: Watched,
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
            output: Watched::new(),
            embedding: Watched::new(),
            epoch: 0,
        }
    }

    /// Counts one scored window; answers with an alarm if the model's output, or how far embeddings lie from the
    /// factory's, has moved, at most once a period each.
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
        let output_moved = baseline
            .output_channel()
            .and_then(|index| self.output.see(baseline, index, output));
        // Of two alarms in one window the one that says more is told: that windows are none that the model knows.
        let moved = baseline
            .embedding_channel()
            .and_then(|index| {
                self.embedding
                    .see(baseline, index, observation.value(index))
            })
            .or(output_moved)?;
        self.flags = self.flags.with(Flags::MOVED);
        Some(Alarm {
            flags: self.flags,
            moved: Some(moved),
        })
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
        self.output.has_alarmed = false;
        self.embedding.has_alarmed = false;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Forgets what the device's own output is like: somebody else answers from here on. What comes in, and how far
    /// embeddings lie from the factory's, is as it was.
    pub(crate) fn begin_output_anew(&mut self) {
        self.output = Watched {
            has_alarmed: self.output.has_alarmed,
            ..Watched::new()
        };
    }

    /// Forgets the period and what the device's own output is like, but not which report is the next.
    pub(crate) fn begin_anew(&mut self) {
        *self = Monitor {
            epoch: self.epoch.wrapping_add(1),
            ..Monitor::new()
        };
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

/// One channel that the device itself watches for a change.
#[derive(Clone, Copy, Debug)]
struct Watched {
    own: Own,
    cusum: Cusum<f32>,
    /// Whether it has alarmed in this period.
    has_alarmed: bool,
}

impl Watched {
    const fn new() -> Watched {
        Watched {
            own: Own {
                count: 0,
                centre: 0.0,
                sum: 0.0,
                sum_squares: 0.0,
                inv_sd: 0.0,
            },
            cusum: Cusum::device_default(),
            has_alarmed: false,
        }
    }

    /// Takes a value of a channel; answers the first time in a period that it has moved.
    #[inline]
    fn see(&mut self, baseline: &Baseline, index: usize, value: f32) -> Option<(u8, Direction)> {
        let channel = baseline.channels().get(index)?;
        let deviation = (value - channel.mean) * channel.inv_sd;
        if !deviation.is_finite() {
            return None;
        }
        let direction = self.cusum.update(self.own.deviation(deviation)?)?;
        let is_first = !core::mem::replace(&mut self.has_alarmed, true);
        is_first.then_some((index as u8, direction))
    }
}

/// What this device's values of a channel are like, in standard deviations of the training data.
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
