//! Detectors by Hoeffding's and McDiarmid's bounds: no law of the errors is assumed.

use super::{Detector, Mean, Verdict};

/// The share of errors since the beginning, held against that at the best cut.
///
/// # Source
/// Frías-Blanco, del Campo-Ávila, Ramos-Jiménez, Morales-Bueno, Ortiz-Díaz and Caballero-Mota, 2015, "Online and
/// non-parametric drift detection methods based on Hoeffding's bounds".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HddmA {
    /// Chance of taking noise for a drift.
    pub drift: f64,
    /// Chance of taking noise for a warning.
    pub warning: f64,
    /// Whether fewer errors count as well as more.
    pub two_sided: bool,
    all: Mean,
    least: Mean,
    most: Mean,
    is_over: bool,
}

impl HddmA {
    /// A detector that has seen nothing: 0.001 and 0.005, more errors alone.
    pub const fn new() -> HddmA {
        const NONE: Mean = Mean {
            count: 0.0,
            mean: 0.0,
        };
        HddmA {
            drift: 0.001,
            warning: 0.005,
            two_sided: false,
            all: NONE,
            least: NONE,
            most: NONE,
            is_over: false,
        }
    }

    /// All that it remembers: values and mean of all, of the best cut below, of the best cut above; and 1 once it has
    /// found a drift and begins anew.
    pub fn state(&self) -> [f64; 7] {
        let [all, least, most] = [self.all, self.least, self.most];
        let is_over = f64::from(u8::from(self.is_over));
        [
            all.count,
            all.mean,
            least.count,
            least.mean,
            most.count,
            most.mean,
            is_over,
        ]
    }

    /// A detector that goes on from [`HddmA::state`]; nothing for numbers that no stream can have left.
    pub fn with_state(state: [f64; 7]) -> Option<HddmA> {
        let is_fine = |number: &f64| number.is_finite();
        if !state.iter().all(is_fine) || state[0] < 0.0 || state[2] < 0.0 || state[4] < 0.0 {
            return None;
        }
        let mean = |at: usize| Mean {
            count: state[at],
            mean: state[at + 1],
        };
        Some(HddmA {
            all: mean(0),
            least: mean(2),
            most: mean(4),
            is_over: state[6] != 0.0,
            ..HddmA::new()
        })
    }

    /// How far a mean of so many values may lie from the truth.
    fn bound(&self, count: f64) -> f64 {
        libm::sqrt(libm::log(1.0 / self.drift) / (2.0 * count))
    }

    /// Whether the mean has moved by more than chance allows since a cut.
    fn has_moved(&self, cut: &Mean, by: f64, confidence: f64) -> bool {
        if cut.count == self.all.count {
            return false;
        }
        let part = (self.all.count - cut.count) / cut.count / self.all.count;
        by >= libm::sqrt(part / 2.0 * libm::log(2.0 / confidence))
    }
}

impl Default for HddmA {
    fn default() -> HddmA {
        HddmA::new()
    }
}

impl Detector for HddmA {
    fn take(&mut self, value: f64) -> Verdict {
        if self.is_over {
            (self.all, self.least, self.most) = Default::default();
            self.is_over = false;
        }
        self.all.take(value);
        let bound = self.bound(self.all.count);
        if self.least.count == 0.0 {
            (self.least, self.most) = (self.all, self.all);
        }
        if self.least.mean + self.bound(self.least.count) >= self.all.mean + bound {
            self.least = self.all;
        }
        if self.most.mean - self.bound(self.most.count) <= self.all.mean - bound {
            self.most = self.all;
        }
        let (rise, fall) = (
            self.all.mean - self.least.mean,
            self.most.mean - self.all.mean,
        );
        let says = |confidence: f64| {
            self.has_moved(&self.least, rise, confidence)
                || self.two_sided && self.has_moved(&self.most, fall, confidence)
        };
        let verdict = verdict(says(self.drift), || says(self.warning));
        self.is_over = verdict == Verdict::Drift;
        verdict
    }
}

fn verdict(is_drift: bool, is_warning: impl Fn() -> bool) -> Verdict {
    if is_drift {
        Verdict::Drift
    } else if is_warning() {
        Verdict::Warning
    } else {
        Verdict::Stable
    }
}

/// Exponentially weighted shares of errors, before and after the best cut.
///
/// # Source
/// As [`HddmA`], the test by McDiarmid's bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HddmW {
    /// Chance of taking noise for a drift.
    pub drift: f64,
    /// Chance of taking noise for a warning.
    pub warning: f64,
    /// Weight of the newest prediction.
    pub weight: f64,
    /// Whether fewer errors count as well as more.
    pub two_sided: bool,
    all: Weighted,
    rising: Cut,
    falling: Cut,
    is_over: bool,
}

/// A weighted mean, and the sum of its squared weights.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Weighted {
    mean: f64,
    weights: f64,
    is_begun: bool,
}

impl Weighted {
    const NONE: Weighted = Weighted {
        mean: 0.0,
        weights: 1.0,
        is_begun: false,
    };

    fn take(&mut self, value: f64, weight: f64) {
        // As river has it, a mean of 0 has not begun: the first error counts whole.
        self.mean = match self.mean == 0.0 {
            true => value,
            false => weight * value + (1.0 - weight) * self.mean,
        };
        self.is_begun = true;
        self.weights = weight * weight + (1.0 - weight) * (1.0 - weight) * self.weights;
    }
}

/// The best cut so far: the mean up to it, and that of what followed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cut {
    at: f64,
    before: Weighted,
    after: Weighted,
}

impl Cut {
    const fn new(at: f64) -> Cut {
        Cut {
            at,
            before: Weighted::NONE,
            after: Weighted::NONE,
        }
    }
}

/// How far a weighted mean may lie from the truth.
fn mcdiarmid(weights: f64, confidence: f64) -> f64 {
    libm::sqrt(weights * libm::log(1.0 / confidence) / 2.0)
}

impl HddmW {
    /// A detector that has seen nothing: 0.001 and 0.005, a weight of 0.05, more errors alone.
    pub const fn new() -> HddmW {
        HddmW {
            drift: 0.001,
            warning: 0.005,
            weight: 0.05,
            two_sided: false,
            all: Weighted::NONE,
            rising: Cut::new(f64::INFINITY),
            falling: Cut::new(f64::NEG_INFINITY),
            is_over: false,
        }
    }
}

impl Default for HddmW {
    fn default() -> HddmW {
        HddmW::new()
    }
}

impl Detector for HddmW {
    fn take(&mut self, value: f64) -> Verdict {
        if self.is_over {
            *self = HddmW {
                drift: self.drift,
                warning: self.warning,
                weight: self.weight,
                two_sided: self.two_sided,
                ..HddmW::new()
            };
        }
        let weight = self.weight;
        self.all.take(value, weight);
        let bound = mcdiarmid(self.all.weights, self.drift);
        let cut_or_follow = |cut: &mut Cut, at: f64, is_better: bool| match is_better {
            true => {
                *cut = Cut {
                    before: self.all,
                    ..Cut::new(at)
                }
            }
            false => cut.after.take(value, weight),
        };
        let (high, low) = (self.all.mean + bound, self.all.mean - bound);
        let (is_lower, is_higher) = (high < self.rising.at, low > self.falling.at);
        cut_or_follow(&mut self.rising, high, is_lower);
        cut_or_follow(&mut self.falling, low, is_higher);
        let has_moved = |cut: &Cut, by: f64, confidence: f64| {
            cut.before.is_begun
                && cut.after.is_begun
                && by > mcdiarmid(cut.before.weights + cut.after.weights, confidence)
        };
        let rise = self.rising.after.mean - self.rising.before.mean;
        let fall = self.falling.before.mean - self.falling.after.mean;
        let says = |confidence: f64| {
            has_moved(&self.rising, rise, confidence)
                || self.two_sided && has_moved(&self.falling, fall, confidence)
        };
        let verdict = verdict(says(self.drift), || says(self.warning));
        self.is_over = verdict == Verdict::Drift;
        verdict
    }
}
