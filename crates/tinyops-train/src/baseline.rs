//! What training saw of a few telling features and of the model's own output.

use tinyops_model::{Decision, Model};
use tinyops_sketch::{
    BINS, Baseline, BaselineBuilder, CHANNELS_MAX, CLASSES_MAX, Calibration, Source,
};

use crate::embedding::Embeddings;
use crate::evaluation::Scores;
use crate::predictor::Predictor;
use crate::spec::Goal;
use crate::{Features, Target, TrainError};

/// Two features that move together this much tell the same: one of them is watched.
const SAME: f64 = 0.9;

/// A baseline of nothing, until there is a model to ask.
pub(crate) fn empty() -> Baseline {
    Baseline::new(0, &[], &[]).expect("nothing is within every limit")
}

/// Has a model watch what training saw: a baseline of the training windows, in the order of their recordings, and where
/// their embeddings lie.
///
/// Watched are the features that tell the classes apart best and are not the same as each other, how far a classifier's
/// embedding lies from those of the windows that were given the same class, and the model's output: the confidence of a
/// class, the anomaly score, or the value. `unseen` are windows that the model was not fitted on, if there are any: they
/// tell how often it is right.
pub(crate) fn watch(
    model: &mut Model,
    train: &Features,
    unseen: Option<&Features>,
    goal: Goal,
) -> Result<(), TrainError> {
    let predictor = Predictor::new(model)?;
    let answers = Answers::of(&predictor, train, model.decision);
    let class_count = model.labels.len();
    let is_classifier = goal == Goal::Classify && class_count <= CLASSES_MAX;
    let embeddings = match is_classifier {
        true => Embeddings::of(&predictor, train),
        false => None,
    };
    let section = embeddings
        .as_ref()
        .and_then(|embeddings| embeddings.section(&answers.given, class_count))
        .unwrap_or_default();
    let distances = embeddings.map_or(Vec::new(), |of| of.distances(&section, &answers.given));
    let baseline = of(train, &answers, &distances, class_count, goal)?;
    let calibration = unseen.filter(|_| is_classifier).and_then(|unseen| {
        let answers = Answers::of(&predictor, unseen, model.decision);
        calibration(&predictor, &section, &baseline, unseen, &answers)
    });
    model.baseline = baseline
        .with_calibration(calibration)
        .map_err(|error| TrainError::Mismatch(format!("no baseline: {error}")))?;
    model.embedding = section;
    Ok(())
}

/// What a device answers to windows.
struct Answers {
    scores: Scores,
    /// The class that each window is given; 0 where there are none.
    given: Vec<usize>,
}

impl Answers {
    fn of(predictor: &Predictor, features: &Features, decision: Decision) -> Answers {
        let scores = predictor.score(features);
        let given = scores.all_given(decision.threshold);
        Answers { scores, given }
    }

    /// The confidence of the class that is given, the anomaly score, or the value.
    fn output(&self, index: usize) -> f32 {
        self.scores.row(index)[self.given[index]]
    }
}

/// How often the model is right about windows that it was not fitted on, by its confidence.
fn calibration(
    predictor: &Predictor,
    section: &[u8],
    baseline: &Baseline,
    unseen: &Features,
    answers: &Answers,
) -> Option<Calibration> {
    let output = baseline.channels().get(baseline.output_channel()?)?;
    let mut calibration = Calibration::default();
    let (windows, right) = (&mut calibration.windows, &mut calibration.right);
    let known = unseen.targets.iter().enumerate();
    // More than a count holds tells no more.
    for (index, target) in known.take(usize::from(u16::MAX)) {
        let Target::Class(class) = *target else {
            continue;
        };
        let given = answers.given[index];
        let bin: usize = output.bin(answers.output(index)).min(BINS - 1);
        windows[bin] += 1;
        right[bin] += u16::from(given == usize::from(class));
    }
    let watched = baseline.embedding_channel();
    if let Some(channel) = watched.map(|index| &baseline.channels()[index]) {
        let distances = Embeddings::of(predictor, unseen)?.distances(section, &answers.given);
        let deviation = |value: &f32| f64::from((value - channel.mean) * channel.inv_sd);
        let count = distances.len().max(1) as f64;
        let mean = distances.iter().map(deviation).sum::<f64>() / count;
        let square = |value| (deviation(value) - mean).powi(2);
        let variance = distances.iter().map(square).sum::<f64>() / count;
        calibration.embedding_mean = mean as f32;
        calibration.embedding_sd = variance.sqrt() as f32;
    }
    (calibration.window_count() > 0).then_some(calibration)
}

/// The baseline of windows with these answers, and with these distances of their embeddings if they have any.
fn of(
    train: &Features,
    answers: &Answers,
    distances: &[f32],
    class_count: usize,
    goal: Goal,
) -> Result<Baseline, TrainError> {
    let has_embedding = !distances.is_empty();
    let mut sources: Vec<Source> = telling(train, CHANNELS_MAX - 1 - usize::from(has_embedding))
        .into_iter()
        .map(|feature| Source::Feature(feature as u16))
        .collect();
    if has_embedding {
        sources.push(Source::Embedding);
    }
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
                answers.output(index),
                distances.get(index).copied().unwrap_or(0.0),
                class,
            )
            .map_err(wrong)?;
    }
    builder.finish().map_err(wrong)
}

/// Features by how well they tell the classes apart (variance between over variance within), those too
/// close to a better one left out.
fn telling(train: &Features, most: usize) -> Vec<usize> {
    // The two highest indices mean other sources.
    let width = train.width().min(usize::from(u16::MAX) - 1);
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
