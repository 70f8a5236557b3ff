//! Scores: standardised deviations in units of the threshold, by signal and over the devices of a cohort.

use std::ops::Range;

use tinyops_sketch::BINS;

use super::{DriftPolicy, HORIZON, Layout, Signal};
use crate::normal::{normal_of_chi_square, normal_of_student, normal_quantile};

/// Independent looks that [`HORIZON`] smoothed, overlapping ones amount to at the threshold: so far out, one crossing
/// seldom brings the next. Measured on 6,000 stable devices by `cargo xtask bench listen`.
const SMOOTHED_LOOKS: f64 = 24.0;

/// Part of the false alarms that the rule for sudden jumps may spend; the smoothed rule spends the rest.
const JUMP_PART: f64 = 0.15;

/// Degrees of freedom that eight bins amount to: a shift within the day moves neighbours together.
const SHAPE_FREEDOM: f64 = 3.0;

/// How many devices alarm, over how many would by chance alone with no more than the cohort's own chance of a
/// false alarm: a few that move are not lost in the rest.
pub(super) fn crowd_score(members: &[(u64, f32)], policy: &DriftPolicy) -> f64 {
    let alarmed = members.iter().filter(|(_, score)| *score >= 1.0).count();
    let share = policy.false_alarm_share.clamp(1e-9, 0.5);
    alarmed as f64 / crowd_limit(members.len(), share, share / SMOOTHED_LOOKS) as f64
}

/// The smallest count that a binomial variable reaches with a chance of at most `chance`; at least 2.
fn crowd_limit(count: usize, share: f64, chance: f64) -> usize {
    let mut probability = (1.0 - share).powf(count as f64);
    let mut at_least = 1.0;
    for reached in 0..count {
        at_least -= probability;
        probability *= (count - reached) as f64 / (reached + 1) as f64 * share / (1.0 - share);
        if at_least <= chance {
            return (reached + 1).max(2);
        }
    }
    count.max(2)
}

/// Student's law of a deviation in units of its standard deviation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law {
    /// Its degrees of freedom.
    freedom: f64,
    /// Makes a deviation of variance 1 one of the law's own variance, `freedom / (freedom - 2)`.
    stretch: f64,
}

impl Law {
    /// The law of a variance known by `freedom`, and of a kurtosis that `tail` degrees have.
    pub(super) fn of(freedom: f64, tail: f64) -> Law {
        if tail < freedom {
            let stretch = (tail / (tail - 2.0)).sqrt();
            Law {
                freedom: tail,
                stretch,
            }
        } else {
            Law {
                freedom,
                stretch: 1.0,
            }
        }
    }
}

/// Standard normal values that alarm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Thresholds {
    pub(super) smoothed: [f64; 2],
    pub(super) jump: [f64; 2],
}

impl Thresholds {
    pub(super) fn new(layout: Layout, policy: &DriftPolicy) -> Thresholds {
        let share = policy.false_alarm_share.clamp(1e-9, 0.5) / layout.signal_count().max(1) as f64;
        let of = |share: f64| {
            [
                normal_quantile(1.0 - share / 2.0),
                normal_quantile(1.0 - share),
            ]
        };
        Thresholds {
            smoothed: of(share * (1.0 - JUMP_PART) / SMOOTHED_LOOKS),
            jump: of(share * JUMP_PART / f64::from(HORIZON)),
        }
    }
}

/// Each signal's score, the largest that any rule gives it. A rule is standardised deviations, and its thresholds,
/// two-sided and one-sided.
pub(super) fn score(
    layout: Layout,
    laws: &[Law],
    rules: &[(&[f64], [f64; 2])],
) -> Vec<(Signal, f64)> {
    let alone = |index: usize| {
        let law = laws[index];
        let scores = rules.iter().map(|(deviations, [two_sided, _])| {
            normal_of_student(deviations[index] * law.stretch, law.freedom).abs() / two_sided
        });
        scores.reduce(f64::max).unwrap_or(0.0)
    };
    let together = |range: Range<usize>, own_freedom: f64| {
        let count = range.len() as f64;
        let laws = &laws[range.clone()];
        let freedom = count / laws.iter().map(|law| 1.0 / law.freedom).sum::<f64>();
        let scores = rules.iter().map(|(deviations, [_, one_sided])| {
            let squares: f64 = deviations[range.clone()]
                .iter()
                .zip(laws)
                .map(|(deviation, law)| (deviation * law.stretch).powi(2))
                .sum();
            // Scaled so that the mean is that of the fewer degrees of freedom it really has.
            let square = squares * own_freedom / count;
            (normal_of_chi_square(square, own_freedom, freedom) / one_sided).max(0.0)
        });
        scores.reduce(f64::max).unwrap_or(0.0)
    };
    let mut signals = Vec::with_capacity(layout.signal_count());
    for channel in 0..layout.channel_count {
        let first = layout.channel(channel);
        signals.push((Signal::Mean(channel), alone(first)));
        signals.push((Signal::Spread(channel), alone(first + 1)));
        if layout.has_shares {
            signals.push((
                Signal::Shape(channel),
                together(first + 2..first + 2 + BINS, SHAPE_FREEDOM),
            ));
        }
    }
    if layout.class_count > 1 {
        let freedom = f64::from(layout.class_count - 1).min(SHAPE_FREEDOM);
        signals.push((
            Signal::Classes,
            together(layout.classes()..layout.len(), freedom),
        ));
    }
    signals
}
