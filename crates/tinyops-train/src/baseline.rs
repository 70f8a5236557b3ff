//! What training saw of a few telling features and of the model's own output.

use tinyops_sketch::{Baseline, BaselineBuilder, CHANNELS_MAX, CLASSES_MAX, Source};

use crate::evaluation::Scores;
use crate::spec::Goal;
use crate::{Features, Target, TrainError};

/// Two features that move together this much tell the same: one of them is watched.
const SAME: f64 = 0.9;

/// A baseline of nothing, until there is a model to ask.
pub(crate) fn empty() -> Baseline {
    Baseline::new(0, &[], &[]).expect("nothing is within every limit")
}

/// The baseline of the training windows, in the order of their recordings.
///
/// Watched are the features that tell the classes apart best and are not the same as each other, and
/// the model's output: the confidence of a class, the anomaly score, or the value.
pub(crate) fn of(
    train: &Features,
    scores: &Scores,
    class_count: usize,
    goal: Goal,
) -> Result<Baseline, TrainError> {
    let mut sources: Vec<Source> = telling(train, CHANNELS_MAX - 1)
        .into_iter()
        .map(|feature| Source::Feature(feature as u16))
        .collect();
    sources.push(Source::Output);
    let counted = if goal == Goal::Classify && class_count <= CLASSES_MAX {
        class_count
    } else {
        0
    };
    let mut memory = vec![0.0; tinyops_sketch::memory_len(train.count(), sources.len())];
    let wrong =
        |error: tinyops_sketch::BuildError| TrainError::Mismatch(format!("no baseline: {error}"));
    let mut builder = BaselineBuilder::new(&sources, counted, &mut memory).map_err(wrong)?;
    for index in 0..train.count() {
        let class = match train.targets[index] {
            Target::Class(class) if usize::from(class) < counted => Some(class as u8),
            _ => None,
        };
        builder
            .push(
                train.row(0, index),
                scores.row(index)[scores.class(index)],
                class,
            )
            .map_err(wrong)?;
    }
    builder.finish().map_err(wrong)
}

/// Features by how well they tell the classes apart (variance between over variance within), those too
/// close to a better one left out.
fn telling(train: &Features, most: usize) -> Vec<usize> {
    let width = train.width().min(usize::from(u16::MAX) + 1);
    let mut order: Vec<(usize, f64)> = (0..width)
        .map(|feature| (feature, spread(train, feature)))
        .collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut chosen: Vec<usize> = Vec::new();
    for (feature, spread) in order {
        if chosen.len() == most {
            break;
        }
        if spread >= 0.0
            && chosen
                .iter()
                .all(|&other| correlation(train, feature, other).abs() < SAME)
        {
            chosen.push(feature);
        }
    }
    chosen
}

/// Variance between classes over variance within; 0 without classes, below 0 for a constant feature.
fn spread(train: &Features, feature: usize) -> f64 {
    let mut sums: std::collections::BTreeMap<u16, [f64; 3]> = std::collections::BTreeMap::new();
    let mut all = [0.0f64; 3];
    for index in 0..train.count() {
        let x = f64::from(train.row(0, index)[feature]);
        let class = match train.targets[index] {
            Target::Class(class) => class,
            _ => 0,
        };
        for sum in [&mut all, sums.entry(class).or_default()] {
            sum[0] += 1.0;
            sum[1] += x;
            sum[2] += x * x;
        }
    }
    let scatter = |[count, sum, square]: [f64; 3]| (square - sum * sum / count.max(1.0)).max(0.0);
    let total = scatter(all);
    if total <= 1e-12 * all[2].max(f64::MIN_POSITIVE) {
        return -1.0;
    }
    let within: f64 = sums.values().map(|&sum| scatter(sum)).sum();
    (total - within) / within.max(1e-9 * total)
}

fn correlation(train: &Features, a: usize, b: usize) -> f64 {
    let mut sums = [0.0f64; 5];
    for index in 0..train.count() {
        let row = train.row(0, index);
        let (x, y) = (f64::from(row[a]), f64::from(row[b]));
        sums.iter_mut()
            .zip([x, y, x * x, y * y, x * y])
            .for_each(|(sum, term)| *sum += term);
    }
    let count = train.count().max(1) as f64;
    let [x, y, xx, yy, xy] = sums.map(|sum| sum / count);
    let deviations = ((xx - x * x) * (yy - y * y)).max(0.0).sqrt();
    if deviations > 0.0 {
        (xy - x * y) / deviations
    } else {
        0.0
    }
}
