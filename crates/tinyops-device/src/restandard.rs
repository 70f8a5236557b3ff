//! Level 0 of adapting: features standardised a part of the way by the device's own windows.
//!
//! A device learns mean and spread of its features over a number of windows, without a label, and then shifts and
//! stretches them part of the way to those of training: what a new mounting, sensor or person moves comes back to where
//! the model knows it. Nothing leaves the device.
//!
//! # Source
//! Li et al., "Revisiting batch normalization for practical domain adaptation", 2016, for statistics of the new domain in
//! place of those of training; the blend was measured in the design notes, "Privacy and monitoring", section 5.

/// A value this many of training's deviations away counts as no further.
const FAR: f32 = 16.0;
/// A spread below this share of training's is none that could be stretched.
const SPREAD_MIN: f32 = 0.05;

/// Numbers of memory that a scaler of so many groups needs.
#[must_use]
pub const fn memory_len(groups: usize) -> usize {
    2 * groups
}

/// Mean and spread of each group of features, in deviations of training.
///
/// The sums lie in memory that is lent: for each group that of the deviations, then that of their squares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// Windows learnt.
    pub windows: u32,
    /// Values of each group in one window.
    values: u32,
}

impl Moments {
    /// Begins anew.
    pub fn clear(&mut self, memory: &mut [f32]) {
        *self = Moments::default();
        memory.fill(0.0);
    }

    /// Learns one window's features, before scaling. `scaler` gives mean and inverse deviation of each group.
    ///
    /// Nothing happens if the memory does not hold the groups.
    pub fn learn(
        &mut self,
        features: &[f32],
        scaler: impl ExactSizeIterator<Item = (f32, f32)>,
        memory: &mut [f32],
    ) {
        let groups = scaler.len();
        let Some(memory) = memory.get_mut(..memory_len(groups)) else {
            return;
        };
        if groups == 0 || !features.len().is_multiple_of(groups) {
            return;
        }
        for (group, (mean, inv_sd)) in scaler.enumerate() {
            for value in features[group..].iter().step_by(groups) {
                let deviation = (value - mean) * inv_sd;
                let deviation = if deviation.is_finite() {
                    deviation.clamp(-FAR, FAR)
                } else {
                    0.0
                };
                memory[2 * group] += deviation;
                memory[2 * group + 1] += deviation * deviation;
            }
        }
        self.windows += 1;
        self.values = (features.len() / groups) as u32;
    }

    /// Moves one window's features, before scaling, `blend` of the way (0 to 1) to where training had them.
    pub fn apply(
        &self,
        features: &mut [f32],
        scaler: impl ExactSizeIterator<Item = (f32, f32)>,
        memory: &[f32],
        blend: f32,
    ) {
        let groups = scaler.len();
        let count = self.windows as f32 * self.values as f32;
        let Some(memory) = memory.get(..memory_len(groups)) else {
            return;
        };
        if count < 1.0 || groups == 0 || !features.len().is_multiple_of(groups) {
            return;
        }
        for (group, (mean, inv_sd)) in scaler.enumerate() {
            // A feature that never moved in training has no deviation to be measured in.
            if inv_sd <= 0.0 {
                continue;
            }
            let own_mean = memory[2 * group] / count;
            let variance = (memory[2 * group + 1] / count - own_mean * own_mean).max(0.0);
            let own_sd = libm::sqrtf(variance);
            let own_sd = if own_sd < SPREAD_MIN { 1.0 } else { own_sd };
            // What goes to training's mean, and how much a distance from it shrinks: nothing is divided for each value.
            let centre = mean + blend * own_mean / inv_sd;
            let shrink = 1.0 / (1.0 + blend * (own_sd - 1.0));
            for value in features[group..].iter_mut().step_by(groups) {
                *value = mean + (*value - centre) * shrink;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALER: [(f32, f32); 2] = [(10.0, 0.5), (0.0, 1.0)];

    /// Two groups of two values: the first lies 3 deviations too high and scatters twice as much.
    fn window(step: i32) -> [f32; 4] {
        let swing = if step % 2 == 0 { 1.0 } else { -1.0 };
        [16.0 + 4.0 * swing, swing, 16.0 + 4.0 * swing, swing]
    }

    #[test]
    fn features_come_back_as_far_as_asked() {
        let mut memory = [0.0; 4];
        let mut moments = Moments::default();
        (0..64).for_each(|step| moments.learn(&window(step), SCALER.into_iter(), &mut memory));
        assert_eq!(moments.windows, 64);
        let moved = |blend: f32| {
            let mut features = window(0);
            moments.apply(&mut features, SCALER.into_iter(), &memory, blend);
            features
        };
        assert_eq!(moved(0.0), window(0));
        // All the way: one deviation above the mean of training, whose deviation is 2.
        assert!((moved(1.0)[0] - 12.0).abs() < 1e-4, "{:?}", moved(1.0));
        // Half of the way: (5 - 1.5) / 1.5 deviations.
        let half = 10.0 + 2.0 * (5.0 - 1.5) / 1.5;
        assert!((moved(0.5)[0] - half).abs() < 1e-4, "{:?}", moved(0.5));
        assert!(
            (moved(1.0)[1] - 1.0).abs() < 1e-4,
            "the second group is where it was"
        );
    }

    #[test]
    fn nothing_learnt_or_no_room_changes_nothing() {
        let moments = Moments::default();
        let mut features = window(0);
        moments.apply(&mut features, SCALER.into_iter(), &[0.0; 4], 0.5);
        assert_eq!(features, window(0));
        let mut learnt = Moments::default();
        learnt.learn(&window(0), SCALER.into_iter(), &mut [0.0; 3]);
        assert_eq!(learnt, Moments::default());
        let mut memory = [0.0; 4];
        learnt.learn(&[f32::NAN; 4], SCALER.into_iter(), &mut memory);
        assert_eq!((learnt.windows, memory), (1, [0.0; 4]));
        learnt.clear(&mut memory);
        assert_eq!(learnt, Moments::default());
    }

    #[test]
    fn a_feature_that_stands_still_is_shifted_and_not_stretched() {
        let mut memory = [0.0; 2];
        let mut moments = Moments::default();
        let scaler = || [(0.0, 1.0)].into_iter();
        (0..8).for_each(|_| moments.learn(&[2.0], scaler(), &mut memory));
        let mut features = [2.5];
        moments.apply(&mut features, scaler(), &memory, 1.0);
        assert!((features[0] - 0.5).abs() < 1e-6, "{features:?}");
    }
}
