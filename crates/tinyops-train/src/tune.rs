//! Fine-tuning under a budget: the best int8 model whose update takes at most so many bytes.
//!
//! [`search`] starts from a registered int8 model, fine-tunes it in several ways (which layers, which scales), and
//! measures each result as it would be delivered: its update in bytes, its score by the device's own kernels. Ways
//! that take too many bytes are thinned: only the moves that were worth most are kept, and those few are tuned again.
//! The yardstick is the fine-tune that may change everything.

mod hold;
mod start;
mod tuner;

pub(crate) use hold::Hold;

use std::fmt;

use serde::{Deserialize, Serialize};
use tinyops_model::Model;

use crate::evaluation::Evaluation;
use crate::progress::Listener;
use crate::spec::TrainSpec;
use crate::{FeatureSet, TrainError};
use tuner::{Moves, Tuner};

/// How to fine-tune: the part of `[tune]` that training reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneSpec {
    /// Passes over the training windows, in each way that is tried.
    pub epochs: u32,
    /// Largest learning rate of the cosine schedule.
    pub learning_rate: f32,
    /// Pull of every number towards what it was (L2), as a factor of the distance; 0 pulls nothing.
    pub pull: f32,
}

impl Default for TuneSpec {
    fn default() -> Self {
        Self {
            // Chosen on the drifts of `cargo xtask bench ship budgeted`: few numbers have to go far.
            epochs: 60,
            learning_rate: 5e-3,
            pull: 0.0,
        }
    }
}

impl TuneSpec {
    /// Holds every number against its range.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for the first that is outside, with its key.
    pub fn check(&self) -> Result<(), TrainError> {
        let within = |key: &str, value: f32, low: f32, high: f32| {
            if value > low && value <= high {
                return Ok(());
            }
            let reason = format!("must be above {low}, to {high}");
            Err(TrainError::setting(key, value, reason))
        };
        within("tune.epochs", self.epochs as f32, 0.0, 100_000.0)?;
        within("tune.learning_rate", self.learning_rate, 0.0, 1.0)?;
        if (0.0..=10.0).contains(&self.pull) {
            Ok(())
        } else {
            let reason = "must be 0 to 10";
            Err(TrainError::setting("tune.pull", self.pull, reason))
        }
    }
}

/// What an update may take and may lose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Most bytes of the update.
    pub delta_bytes_max: u64,
    /// Most that it may lie below the fine-tune that may change everything, in the unit of the metric.
    pub loss_max: f64,
}

/// Which layers a fine-tune moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layers {
    /// None: the model as it is.
    None,
    /// The biases of all layers.
    Biases,
    /// So many layers with weights, counted from the end.
    Last(usize),
    /// All of them.
    All,
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::Biases => write!(f, "biases"),
            Self::Last(1) => write!(f, "last"),
            Self::Last(count) => write!(f, "last {count}"),
            Self::All => write!(f, "all"),
        }
    }
}

/// On which scales the result lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scales {
    /// Those that the model has: what does not move keeps its bytes.
    Kept,
    /// Measured anew for the layers that move.
    New,
}

impl fmt::Display for Scales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::New => "new",
        })
    }
}

/// One way that was tried, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which layers moved.
    pub layers: Layers,
    /// On which scales it lies.
    pub scales: Scales,
    /// Only the moves that were worth most were kept.
    pub is_thinned: bool,
    /// Weights and biases that differ from the model's; with new scales all that could.
    pub changed: usize,
    /// Bytes of the update.
    pub delta_bytes: u64,
    /// The metric on the validation part, int8.
    pub metric: f64,
    /// How far that lies below the fine-tune that may change everything; negative when above.
    pub loss: f64,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The best model whose update is within the budget.
    pub model: Model,
    /// Which of the candidates it is.
    pub chosen: usize,
    /// All that was tried, in order; the first is the model as it was, the second the yardstick.
    pub candidates: Vec<Candidate>,
    /// The fine-tune that may change everything.
    pub unrestricted: Model,
}

/// That nothing meets the budget, and what came nearest.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", told(self))]
pub struct OutOfReach {
    /// What was asked.
    pub budget: Budget,
    /// The best of those within the bytes.
    pub within_bytes: Option<Candidate>,
    /// The smallest of those within the loss.
    pub within_loss: Option<Candidate>,
    /// All that was tried.
    pub candidates: Vec<Candidate>,
}

fn told(this: &OutOfReach) -> String {
    let one = |candidate: &Candidate| {
        format!(
            "{} B at {:.4} below",
            candidate.delta_bytes,
            candidate.loss.max(0.0)
        )
    };
    let asked = format!(
        "no fine-tune takes at most {} B and lies at most {} below the unrestricted one",
        this.budget.delta_bytes_max, this.budget.loss_max
    );
    match (&this.within_bytes, &this.within_loss) {
        (Some(small), Some(good)) => {
            format!("{asked}; nearest are {} and {}", one(small), one(good))
        }
        (None, Some(good)) => {
            let least = this.candidates.iter().map(|c| c.delta_bytes).min();
            format!(
                "{asked}; the least update takes {} B, the least within the loss is {}",
                least.unwrap_or(0),
                one(good)
            )
        }
        (Some(small), None) => format!("{asked}; the best within the bytes is {}", one(small)),
        (None, None) => asked,
    }
}

/// What is asked of [`search`].
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The model that devices hold.
    pub parent: &'a Model,
    /// How the project trains; the network is the parent's.
    pub spec: &'a TrainSpec,
    /// How to fine-tune.
    pub tune: &'a TuneSpec,
    /// What the update may take and lose.
    pub budget: Budget,
    /// What to tune to.
    pub set: &'a FeatureSet,
    /// The metric of an evaluation, more being better.
    pub goodness: &'a dyn Fn(&Evaluation) -> Option<f64>,
}

/// So many times are the moves of a way that is too large thinned, and those that are left tuned again.
const THINNED: usize = 2;

/// Looks for the best fine-tune within a budget; `delta_bytes` is what the update to a model takes.
///
/// Choices are made on the validation part. The same arguments give the same model.
///
/// # Errors
/// [`TrainError`], or what `delta_bytes` gives; that nothing is within the budget is the inner result.
pub fn search<E: From<TrainError>>(
    question: &Question<'_>,
    delta_bytes: &mut dyn FnMut(&Model) -> Result<u64, E>,
    report: Listener<'_>,
) -> Result<Result<Found, OutOfReach>, E> {
    let Question { parent, budget, .. } = *question;
    question.tune.check()?;
    let mut tuner = Tuner::of(question, report)?;
    let ways = tuner.ways();
    tuner.plan(1 + (1 + THINNED) * ways.len());
    let mut tried: Vec<(Candidate, Model)> = Vec::new();
    let mut judged = |layers, scales, changed: usize, is_thinned, model: Model, bytes: u64| {
        let candidate = Candidate {
            layers,
            scales,
            is_thinned,
            changed,
            delta_bytes: bytes,
            metric: tuner::judged(question, &model)?,
            loss: 0.0,
        };
        tried.push((candidate, model));
        Ok::<_, TrainError>(())
    };
    let bytes = delta_bytes(parent)?;
    judged(Layers::None, Scales::Kept, 0, false, parent.clone(), bytes)?;
    let unrestricted = tuner.unrestricted()?;
    let bytes = delta_bytes(&unrestricted)?;
    let all = tuner.number_count();
    judged(
        Layers::All,
        Scales::New,
        all,
        false,
        unrestricted.clone(),
        bytes,
    )?;
    for (layers, scales) in ways {
        if scales == Scales::New {
            let (model, changed) = tuner.rescaled()?;
            let bytes = delta_bytes(&model)?;
            judged(layers, scales, changed, false, model, bytes)?;
            continue;
        }
        let moves = tuner.tuned(layers, None)?;
        let model = tuner.model(&moves)?;
        let bytes = delta_bytes(&model)?;
        judged(layers, scales, moves.changed(), false, model, bytes)?;
        if bytes <= budget.delta_bytes_max {
            (0..THINNED).for_each(|_| tuner.skip());
            continue;
        }
        let mut moves = moves;
        for _ in 0..THINNED {
            let Some(few) = thinned(&tuner, &moves, &budget, delta_bytes)? else {
                tuner.skip();
                continue;
            };
            // Those few may go further than they did in company, and take more bytes again.
            moves = tuner.tuned(layers, Some(&few))?;
            if let Some(few) = thinned(&tuner, &moves, &budget, delta_bytes)? {
                let model = tuner.model(&few)?;
                let bytes = delta_bytes(&model)?;
                judged(layers, scales, few.changed(), true, model, bytes)?;
            }
        }
    }
    let best = tried[1].0.metric;
    for (candidate, _) in &mut tried {
        candidate.loss = best - candidate.metric;
    }
    let candidates: Vec<Candidate> = tried.iter().map(|(candidate, _)| *candidate).collect();
    Ok(match choose(&candidates, &budget) {
        Ok(chosen) => Ok(Found {
            model: tried.swap_remove(chosen).1,
            chosen,
            candidates,
            unrestricted,
        }),
        Err([within_bytes, within_loss]) => Err(OutOfReach {
            budget,
            within_bytes,
            within_loss,
            candidates,
        }),
    })
}

/// The best within the bytes, if that is within the loss; or else it and the smallest within the loss.
fn choose(candidates: &[Candidate], budget: &Budget) -> Result<usize, [Option<Candidate>; 2]> {
    let within_bytes = (0..candidates.len())
        .filter(|&index| candidates[index].delta_bytes <= budget.delta_bytes_max)
        .min_by(|&a, &b| {
            let [a, b] = [&candidates[a], &candidates[b]];
            let better = b.metric.total_cmp(&a.metric);
            better.then(a.delta_bytes.cmp(&b.delta_bytes))
        });
    match within_bytes {
        Some(index) if candidates[index].loss <= budget.loss_max => Ok(index),
        _ => {
            let within_loss = candidates.iter().filter(|c| c.loss <= budget.loss_max);
            let smallest = within_loss.min_by_key(|candidate| candidate.delta_bytes);
            Err([
                within_bytes.map(|index| candidates[index]),
                smallest.copied(),
            ])
        }
    }
}

/// As many moves as the bytes allow, those that were worth most; `None` if not even one fits.
fn thinned<E: From<TrainError>>(
    tuner: &Tuner<'_, '_>,
    moves: &Moves,
    budget: &Budget,
    delta_bytes: &mut dyn FnMut(&Model) -> Result<u64, E>,
) -> Result<Option<Moves>, E> {
    let order = moves.by_worth();
    let mut fits = |count: usize| -> Result<bool, E> {
        let model = tuner.model(&moves.only(&order[..count]))?;
        Ok(delta_bytes(&model)? <= budget.delta_bytes_max)
    };
    if fits(order.len())? {
        return Ok(Some(moves.clone()));
    }
    let (mut most, mut least_over) = (0, order.len());
    while least_over - most > 1 {
        let middle = most + (least_over - most) / 2;
        match fits(middle)? {
            true => most = middle,
            false => least_over = middle,
        }
    }
    Ok((most > 0).then(|| moves.only(&order[..most])))
}

/// The model with a baseline of these training windows instead of the one that it has.
///
/// # Errors
/// [`TrainError::Mismatch`] where the windows are not the model's.
pub fn with_baseline(
    model: &Model,
    spec: &TrainSpec,
    set: &FeatureSet,
) -> Result<Model, TrainError> {
    tuner::with_baseline(model, spec, set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(delta_bytes: u64, metric: f64) -> Candidate {
        Candidate {
            layers: Layers::All,
            scales: Scales::Kept,
            is_thinned: false,
            changed: 1,
            delta_bytes,
            metric,
            loss: 0.95 - metric,
        }
    }

    const BUDGET: Budget = Budget {
        delta_bytes_max: 512,
        loss_max: 0.01,
    };

    #[test]
    fn the_best_within_the_bytes_is_chosen_and_of_equals_the_smallest() {
        let candidates = [
            candidate(9000, 0.99),
            candidate(500, 0.94),
            candidate(480, 0.947),
            candidate(430, 0.947),
        ];
        assert_eq!(choose(&candidates, &BUDGET), Ok(3));
    }

    #[test]
    fn what_is_nearest_is_told_both_ways() {
        let candidates = [
            candidate(9000, 0.95),
            candidate(2300, 0.944),
            candidate(412, 0.931),
        ];
        let [within_bytes, within_loss] = choose(&candidates, &BUDGET).unwrap_err();
        let far = OutOfReach {
            budget: BUDGET,
            within_bytes,
            within_loss,
            candidates: candidates.to_vec(),
        };
        assert_eq!(
            far.to_string(),
            "no fine-tune takes at most 512 B and lies at most 0.01 below the unrestricted one; nearest are 412 B at \
             0.0190 below and 2300 B at 0.0060 below"
        );
        let far = OutOfReach {
            within_bytes: None,
            ..far
        };
        let told = far.to_string();
        assert!(told.contains("the least update takes 412 B"), "{told}");
    }
}
