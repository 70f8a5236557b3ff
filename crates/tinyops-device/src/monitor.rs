//! What the agent watches between two reports.

use tinyops_sketch::{Baseline, Cusum, Direction, Observation, Sketch, Source, Summary};
use tinyops_wire::frame::{Alarm, Flags};

/// The sketch of a report period, and the alarm that does not wait for its end.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    pub(crate) sketch: Sketch,
    pub(crate) flags: Flags,
    cusum: Cusum,
    /// Counts the reports of this model.
    pub(crate) epoch: u16,
}

impl Monitor {
    pub(crate) fn new() -> Monitor {
        Monitor {
            sketch: Sketch::new(),
            flags: Flags::default(),
            cusum: Cusum::device_default(),
            epoch: 0,
        }
    }

    /// Counts one scored window; answers with an alarm if the model's output has moved, at most once a period.
    pub(crate) fn push(
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
        let channels = baseline.channels();
        let index = channels
            .iter()
            .position(|channel| channel.source == Source::Output)?;
        let channel = &channels[index];
        let z = (output - channel.mean) * channel.inv_sd;
        let direction = self.cusum.update(f64::from(z))?;
        let is_first = !self.flags.has(Flags::OUTPUT_MOVED);
        self.flags = self.flags.with(Flags::OUTPUT_MOVED);
        is_first.then_some(self.alarm(index, direction))
    }

    /// What the report says.
    pub(crate) fn summary(&self, baseline: &Baseline) -> Summary {
        Summary::of(&self.sketch, baseline)
    }

    /// Begins the next period.
    pub(crate) fn begin_period(&mut self) {
        self.sketch.clear();
        self.flags = Flags::default();
        self.epoch = self.epoch.wrapping_add(1);
    }

    fn alarm(&self, index: usize, direction: Direction) -> Alarm {
        Alarm {
            flags: self.flags,
            moved: Some((index as u8, direction)),
        }
    }
}
