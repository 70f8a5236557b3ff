//! Recordings that are almost the same: shifted, rescaled, or cut from one another.
//!
//! A recording is told by where its turning points lie and how high they stand above one another, five in a row: neither
//! a shift in time, nor a factor, nor an offset changes that. Of each recording so many of these shapes are kept, and
//! recordings that share many are found by sorting the shapes, not by comparing each with each.

use std::collections::BTreeMap;

use crate::sample::Sample;

/// Shapes kept of a recording: those with the smallest hashes, so that two that share readings keep the same.
const SHAPES: usize = 200;
/// A recording of fewer is too plain to be told from others: a pure tone has few.
const SHAPES_MIN: usize = 24;
/// A shape that more recordings have says nothing of any two.
const COMMON: usize = 8;
/// Share of the shapes of the shorter recording from which two are almost the same.
const ALIKE: f64 = 0.4;
/// Readings on either side that a turning point is the extreme of.
const REACH: usize = 3;

/// Pairs of almost the same recordings, by their indices in `samples`, and which share of their shapes they have in common.
///
/// # Source
/// The index of shapes is that of Wang, 2003, "An industrial-strength audio search algorithm"; keeping the smallest hashes
/// that of Broder, 1997, "On the resemblance and containment of documents".
pub(crate) fn pairs(samples: &[&Sample]) -> Vec<(usize, usize, f64)> {
    let shapes: Vec<Vec<u64>> = samples.iter().map(|sample| shapes(sample)).collect();
    let mut index: Vec<(u64, usize)> = Vec::new();
    for (at, shapes) in shapes
        .iter()
        .enumerate()
        .filter(|(_, shapes)| shapes.len() >= SHAPES_MIN)
    {
        index.extend(shapes.iter().map(|shape| (*shape, at)));
    }
    index.sort_unstable();
    let mut shared: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for same in index
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|same| (2..=COMMON).contains(&same.len()))
    {
        for (at, (_, first)) in same.iter().enumerate() {
            for (_, second) in &same[at + 1..] {
                *shared.entry((*first, *second)).or_default() += 1;
            }
        }
    }
    shared
        .into_iter()
        .map(|((first, second), count)| {
            let shorter = shapes[first].len().min(shapes[second].len());
            (first, second, count as f64 / shorter as f64)
        })
        .filter(|(_, _, share)| *share >= ALIKE)
        .collect()
}

/// The shapes of the first channel that has enough of them, sorted.
fn shapes(sample: &Sample) -> Vec<u64> {
    let step = sample.channels.len().max(1);
    let mut best = Vec::new();
    for channel in 0..sample.channels.len() {
        let readings: Vec<f32> = sample
            .readings
            .iter()
            .skip(channel)
            .step_by(step)
            .copied()
            .collect();
        let mut shapes = shapes_of(&readings);
        shapes.sort_unstable();
        shapes.dedup();
        shapes.truncate(SHAPES);
        if shapes.len() > best.len() {
            best = shapes;
        }
        if best.len() >= SHAPES_MIN {
            break;
        }
    }
    best
}

fn shapes_of(readings: &[f32]) -> Vec<u64> {
    let turns = turning_points(readings);
    let mut shapes = Vec::with_capacity(turns.len());
    for five in turns.windows(5) {
        let height = |at: usize| f64::from(readings[five[at + 1]]) - f64::from(readings[five[at]]);
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut mix = |value: u64| {
            hash = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        };
        for at in 0..4 {
            mix((five[at + 1] - five[at]) as u64);
        }
        let mut is_told = true;
        for at in 0..3 {
            let ratio = height(at + 1) / height(at);
            if !ratio.is_finite() || ratio == 0.0 {
                is_told = false;
                break;
            }
            // Steps of a fifth of an octave: what rounding leaves of a factor moves few over the edge of one.
            let level = (ratio.abs().log2() * 5.0).round();
            mix(level.to_bits() ^ u64::from(ratio < 0.0));
        }
        if is_told {
            shapes.push(hash);
        }
    }
    shapes
}

/// Where a reading is the extreme of those about it; of several that are the same, the first.
fn turning_points(readings: &[f32]) -> Vec<usize> {
    let mut turns = Vec::new();
    for at in REACH..readings.len().saturating_sub(REACH) {
        let here = readings[at];
        let (before, after) = (&readings[at - REACH..at], &readings[at + 1..=at + REACH]);
        let is_top =
            before.iter().all(|other| *other < here) && after.iter().all(|other| *other <= here);
        let is_bottom =
            before.iter().all(|other| *other > here) && after.iter().all(|other| *other >= here);
        if is_top || is_bottom {
            turns.push(at);
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sample::{Channel, Label, Origin};

    fn sample(readings: Vec<f32>) -> Sample {
        Sample {
            name: String::new(),
            rate_hz: 100.0,
            channels: vec![Channel {
                name: "x".to_owned(),
                unit: String::new(),
            }],
            readings,
            image: None,
            label: Label::None,
            group: String::new(),
            role: None,
            origin: Origin::default(),
            metadata: BTreeMap::new(),
        }
    }

    /// A tone in noise that no other seed gives.
    fn noisy(seed: u32, len: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut noise = 0.0;
        (0..len)
            .map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise = 0.7 * noise + (state >> 8) as f32 / 16_777_216.0 - 0.5;
                (at as f32 * 0.3).sin() + noise
            })
            .collect()
    }

    fn found(all: Vec<Vec<f32>>) -> Vec<(usize, usize)> {
        let samples: Vec<Sample> = all.into_iter().map(sample).collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        pairs(&samples)
            .into_iter()
            .map(|(first, second, _)| (first, second))
            .collect()
    }

    #[test]
    fn shifted_rescaled_and_rounded_copies_are_found_and_others_are_not() {
        let mut all: Vec<Vec<f32>> = (0..40).map(|seed| noisy(seed, 2000)).collect();
        let original = all[7].clone();
        all.push(original[300..].to_vec());
        all.push(original.iter().map(|value| value * 0.37 + 5.0).collect());
        all.push(
            original
                .iter()
                .map(|value| (value * -4000.0).round())
                .collect(),
        );
        assert_eq!(
            found(all),
            [(7, 40), (7, 41), (7, 42), (40, 41), (40, 42), (41, 42)]
        );
    }

    #[test]
    fn plain_tones_are_not_told_from_one_another() {
        let tone = |phase: f32| {
            (0..2000)
                .map(|at| (at as f32 * 0.3 + phase).sin())
                .collect()
        };
        assert_eq!(
            found(vec![tone(0.0), tone(1.0), vec![0.0; 2000], Vec::new()]),
            []
        );
    }
}
