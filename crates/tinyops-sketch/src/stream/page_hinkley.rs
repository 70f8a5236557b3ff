//! The test of Page and Hinkley.

use super::{Detector, Mean, Verdict};

/// Which changes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Rises.
    Up,
    /// Falls.
    Down,
    /// Either.
    Both,
}

/// Sums of how far values lie above and below their running mean, held against their extremes.
///
/// # Units
/// `delta` (the change that is let pass) and `threshold` in those of the values: a threshold of 50 is blind to confidences
/// between 0 and 1 that are not standardised.
///
/// # Source
/// Page, 1954, "Continuous inspection schemes"; Hinkley, 1971, "Inference about the change-point from cumulative sum
/// tests"; forgetting as in river.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PageHinkley {
    /// Values before anything is said.
    pub warm_up: u32,
    /// Change that is let pass.
    pub delta: f64,
    /// Sum above which it says drift.
    pub threshold: f64,
    /// Share of the sums that each value leaves, such as 0.9999.
    pub memory: f64,
    /// Which changes count.
    pub sides: Sides,
    mean: Mean,
    rise: f64,
    fall: f64,
    rise_min: f64,
    fall_max: f64,
    is_over: bool,
}

impl PageHinkley {
    /// A detector with no evidence, after 30 values, of changes of more than 0.005, forgetting a ten-thousandth.
    pub const fn new(threshold: f64, sides: Sides) -> PageHinkley {
        PageHinkley {
            warm_up: 30,
            delta: 0.005,
            threshold,
            memory: 0.9999,
            sides,
            mean: Mean {
                count: 0.0,
                mean: 0.0,
            },
            rise: 0.0,
            fall: 0.0,
            rise_min: f64::INFINITY,
            fall_max: -1.0,
            is_over: false,
        }
    }

    /// Both sums and their extremes: rise, fall, least rise, greatest fall.
    pub fn sums(&self) -> [f64; 4] {
        [self.rise, self.fall, self.rise_min, self.fall_max]
    }
}

impl Detector for PageHinkley {
    fn take(&mut self, value: f64) -> Verdict {
        if self.is_over {
            let PageHinkley {
                warm_up,
                delta,
                threshold,
                memory,
                sides,
                ..
            } = *self;
            *self = PageHinkley {
                warm_up,
                delta,
                memory,
                ..PageHinkley::new(threshold, sides)
            };
        }
        self.mean.take(value);
        let distance = value - self.mean.mean;
        self.rise = self.memory * self.rise + distance - self.delta;
        self.fall = self.memory * self.fall + distance + self.delta;
        self.rise_min = self.rise_min.min(self.rise);
        self.fall_max = self.fall_max.max(self.fall);
        if self.mean.count < f64::from(self.warm_up) {
            return Verdict::Stable;
        }
        let has_risen = self.rise - self.rise_min > self.threshold;
        let has_fallen = self.fall_max - self.fall > self.threshold;
        self.is_over = match self.sides {
            Sides::Up => has_risen,
            Sides::Down => has_fallen,
            Sides::Both => has_risen || has_fallen,
        };
        match self.is_over {
            true => Verdict::Drift,
            false => Verdict::Stable,
        }
    }
}
