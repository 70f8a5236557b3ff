//! The int8 model, and the float one beside it, on windows neither has seen.

use serde::{Deserialize, Serialize};
use tinyops_compile::Golden;
use tinyops_model::Model;

use crate::evaluation::{Evaluation, Scores};
use crate::predictions::Predictions;
use crate::predictor::Predictor;
use crate::progress::{Flow, Listener, Progress, Stage};
use crate::spec::TrainSpec;
use crate::{Features, Metric, TrainError, Trained, Windows};

/// One evaluation of the int8 model, computed exactly as a board does, and one of the float model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What the device will do.
    pub int8: Evaluation,
    /// What rounding took it from; absent where only the int8 model is left.
    pub float: Option<Evaluation>,
    /// How near the two answer, window by window; absent where there is no float model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Parity>,
}

/// How near the answers of two variants of one model are on the same windows.
///
/// # Units
/// Errors are in the unit of the scores: shares of a class, a value, or an anomaly score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parity {
    /// Windows that both answered.
    pub windows: usize,
    /// The largest difference of one score.
    pub max_error: f32,
    /// The mean difference of a score, without its sign.
    pub mean_error: f32,
    /// Share of windows given the same class; absent where the answer is one number.
    pub agreement: Option<f32>,
}

impl Parity {
    /// Holds two variants' scores of the same windows against each other, each with the threshold of its decision; none where
    /// they are not of one shape.
    pub fn of((a, threshold): (&Scores, f32), (b, other): (&Scores, f32)) -> Option<Self> {
        if a.width != b.width || a.values.len() != b.values.len() || a.values.is_empty() {
            return None;
        }
        let errors = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs());
        let windows = a.count();
        let is_same = |&i: &usize| a.given(i, threshold) == b.given(i, other);
        let same = (0..windows).filter(is_same).count();
        Some(Self {
            windows,
            max_error: errors.clone().fold(0.0, f32::max),
            mean_error: (errors.map(f64::from).sum::<f64>() / a.values.len() as f64) as f32,
            agreement: (a.width > 1).then(|| (same as f64 / windows as f64) as f32),
        })
    }
}

impl Comparison {
    /// What rounding cost, in the unit of [`Evaluation::metric`]; above 0 is a loss.
    pub fn drop(&self) -> Option<f32> {
        Some(self.float.as_ref()?.metric()? - self.int8.metric()?)
    }
}

/// What is asked of an evaluation, beside what the model itself and `[train]` say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The figure that speaks for the model, and by which its slices are judged.
    pub metric: Metric,
    /// How to slice the windows: `group`, `class`, keys of the recordings' metadata, or several with `*` between.
    pub slices: &'a [String],
    /// Fewest windows of a slice that is judged.
    pub slice_windows_min: usize,
}

/// Judges a model on features, and tells what it said of each window. The float model is judged on the whole alone.
///
/// `classes` are those of the dataset: an anomaly model has none itself, and is judged by which of them
/// `[train.costs]` calls normal.
///
/// # Errors
/// [`TrainError::Mismatch`] where the features are not those of the model; [`TrainError::Cancelled`].
pub fn evaluate(
    model: &Model,
    trained: Option<&Trained>,
    spec: &TrainSpec,
    classes: &[String],
    features: &Features,
    asked: Asked<'_>,
    report: Listener<'_>,
) -> Result<(Comparison, Predictions), TrainError> {
    if features.front_end != model.front_end {
        return Err(TrainError::Mismatch(
            "the features are those of another front end".into(),
        ));
    }
    let total = features.count();
    let mut told = |done: usize| {
        let progress = Progress {
            stage: Stage::Evaluate,
            done,
            total,
            loss: None,
            metric: None,
        };
        if report(progress) == Flow::Cancel {
            Err(TrainError::Cancelled)
        } else {
            Ok(())
        }
    };
    told(0)?;
    let predictions = Predictions {
        labels: if model.labels.is_empty() {
            classes.to_vec()
        } else {
            model.labels.clone()
        },
        threshold: model.decision.threshold,
        targets: features.targets.clone(),
        origins: features.origins.clone(),
        recordings: features.recordings.clone(),
        scores: Predictor::new(model)?.score(features),
    };
    let int8 = predictions.evaluate(&spec.costs, asked);
    let float_scores = trained.map(|trained| trained.score(features));
    let float = trained.zip(float_scores.as_ref()).map(|(trained, scores)| {
        let whole = Asked {
            slices: &[],
            ..asked
        };
        let mut judgement = predictions.judgement(&spec.costs, whole);
        judgement.threshold = trained.decision.threshold;
        Evaluation::of(scores, &features.targets, &judgement)
    });
    let parity = trained
        .zip(float_scores.as_ref())
        .and_then(|(trained, scores)| {
            let int8 = (&predictions.scores, predictions.threshold);
            Parity::of((scores, trained.decision.threshold), int8)
        });
    told(total)?;
    Ok((
        Comparison {
            int8,
            float,
            parity,
        },
        predictions,
    ))
}

/// Readings that a capsule carries at most to prove the front end too: 4 kB.
const READINGS_MAX: usize = 1024;

/// Windows with the answer a device must give, spread over the given ones: a capsule carries them, and a
/// device that answers otherwise does not take it.
///
/// At most `count` of them. The first are carried as whole windows, as many as 4 kB hold, which proves the front
/// end too; the others as what the front end made of them.
///
/// # Errors
/// [`TrainError::Mismatch`] where the windows are not what the model takes.
pub fn golden(model: &Model, windows: &Windows, count: usize) -> Result<Vec<Golden>, TrainError> {
    let all = windows.count();
    let room = READINGS_MAX / windows.reading_count().max(1);
    let is_network = model.body.graph().is_some();
    let whole = if is_network { room } else { 0 };
    let count = count.min(all);
    let chosen: Vec<usize> = (0..count).map(|place| place * all / count).collect();
    let windows = windows.select(&chosen);
    let features = Features::extract(&model.front_end, &windows, &mut |_| Flow::Continue)?;
    let predictor = Predictor::new(model)?;
    let vector = |index: usize| {
        let readings = (index < whole).then(|| windows.window(index));
        predictor.golden(readings, features.row(0, index))
    };
    Ok((0..count).map(vector).collect())
}

/// The same inputs again, with what this model makes of them: a capsule that keeps the vectors of the one before
/// differs from it in their outputs alone.
///
/// # Errors
/// [`TrainError::Mismatch`] where an input is none of the model.
pub fn golden_again(model: &Model, vectors: &[Golden]) -> Result<Vec<Golden>, TrainError> {
    let predictor = Predictor::new(model)?;
    let again = |vector: &Golden| predictor.golden_again(vector);
    vectors.iter().map(again).collect()
}
