//! The training loop: epochs of seeded batches under a cosine schedule.

use serde::{Deserialize, Serialize};

use crate::net::{AdamW, Network, cross_entropy, squared_error};
use crate::progress::{Flow, Listener, Progress, Stage};
use crate::rng::Rng;
use crate::spec::TrainSpec;
use crate::tune::Hold;
use crate::{TrainError, augment};

/// What training showed after one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss over the epoch's batches.
    pub loss: f32,
    /// Loss on the validation windows, where there are any.
    pub validation_loss: Option<f32>,
    /// Accuracy on them, or minus the root of the mean squared error.
    pub metric: Option<f32>,
}

/// What makes an output wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    CrossEntropy,
    SquaredError,
    /// Squared error against the (unchanged) input.
    Reconstruction,
}

/// Standardised inputs and what should come out.
///
/// # Shapes
/// `inputs` is `[copy, window, input]`, `targets` `[window, output]` (empty for reconstruction).
pub(crate) struct Examples {
    pub(crate) copies: usize,
    pub(crate) inputs: Vec<f32>,
    pub(crate) targets: Vec<f32>,
    pub(crate) weights: Vec<f32>,
    /// Rows, numbers in a row, and columns of an input, for masks.
    pub(crate) plane: [usize; 3],
}

impl Examples {
    pub(crate) fn count(&self) -> usize {
        self.weights.len()
    }

    fn row(&self, width: usize, copy: usize, index: usize) -> &[f32] {
        let at = (copy * self.count() + index) * width;
        &self.inputs[at..at + width]
    }
}

/// Share of all steps in which the learning rate rises to its largest value.
const WARM_UP: f32 = 0.05;
/// Longest gradient, over all parameters, that a step follows in full.
const GRADIENT_LIMIT: f32 = 5.0;

/// Trains a network in place; with validation examples and patience, the best epoch is kept. A hold says what may
/// move, and on which grid.
pub(crate) fn optimise(
    net: &mut Network,
    spec: &TrainSpec,
    loss: Loss,
    training: &Examples,
    validation: Option<&Examples>,
    mut hold: Option<&mut Hold>,
    report: Listener<'_>,
) -> Result<Vec<Epoch>, TrainError> {
    let count = training.count();
    let batch = (spec.batch as usize).min(count).max(1);
    // A rest of one window would make batch norm divide by nothing: it waits for the next epoch.
    let steps = if count % batch == 1 && count > batch {
        count / batch
    } else {
        count.div_ceil(batch)
    };
    let epochs = spec.epochs as usize;
    let mut order: Vec<usize> = (0..count).collect();
    let mut shuffling = Rng::new(spec.seed, 2);
    let mut drops = Rng::new(spec.seed, 3);
    let mut step = Batch::default();
    let mut adam = AdamW {
        learning_rate: 0.0,
        weight_decay: spec.weight_decay,
        step: 0,
    };
    let mut history = Vec::with_capacity(epochs);
    let mut best: Option<(f32, Network, usize)> = None;
    for epoch in 0..epochs {
        shuffling.shuffle(&mut order);
        let mut loss_sum = 0.0f64;
        for members in order.chunks(batch).take(steps) {
            step.fill(
                net.input.len(),
                spec,
                loss,
                training,
                members,
                &mut shuffling,
            );
            if let Some(hold) = &mut hold {
                hold.round(net);
            }
            let outputs = net.forward(members.len(), &step.inputs, Some(&mut drops));
            step.grad.resize(outputs.len(), 0.0);
            let value = step.loss(loss, outputs);
            if !value.is_finite() {
                return Err(TrainError::NotFinite {
                    what: "the loss",
                    at: format!(" (epoch {})", epoch + 1),
                });
            }
            loss_sum += f64::from(value);
            net.clear_grads();
            net.backward(members.len(), &step.grad);
            if let Some(hold) = &mut hold {
                hold.restore(net);
            }
            adam.step += 1;
            adam.learning_rate =
                spec.learning_rate * schedule(adam.step as f32 / (epochs * steps) as f32);
            clip(net, epoch)?;
            net.params_mut().for_each(|param| adam.update(param));
            if let Some(hold) = &mut hold {
                hold.credit(net);
            }
        }
        if let Some(hold) = &mut hold {
            hold.round(net);
        }
        let checked = validation.map(|examples| check(net, loss, examples));
        if let Some(hold) = &mut hold {
            hold.restore(net);
        }
        let entry = Epoch {
            loss: (loss_sum / steps as f64) as f32,
            validation_loss: checked.map(|(loss, _)| loss),
            metric: checked.map(|(_, metric)| metric),
        };
        history.push(entry);
        let progress = Progress {
            stage: Stage::Train,
            done: epoch + 1,
            total: epochs,
            loss: Some(entry.loss),
            metric: entry.metric,
        };
        if report(progress) == Flow::Cancel {
            return Err(TrainError::Cancelled);
        }
        if let (Some(loss), true) = (entry.validation_loss, spec.patience > 0) {
            match &best {
                Some((least, _, _)) if loss >= *least => {}
                _ => best = Some((loss, net.clone(), epoch)),
            }
            if best
                .as_ref()
                .is_some_and(|&(_, _, at)| epoch - at >= spec.patience as usize)
            {
                break;
            }
        }
    }
    if let Some((_, kept, _)) = best {
        *net = kept;
    }
    Ok(history)
}

/// Rises, then falls along half a cosine to 0.
fn schedule(progress: f32) -> f32 {
    if progress < WARM_UP {
        progress / WARM_UP
    } else {
        let fall = (progress - WARM_UP) / (1.0 - WARM_UP);
        0.5 * (1.0 + libm::cosf(std::f32::consts::PI * fall.min(1.0)))
    }
}

/// Shortens a gradient that is too long; one that is no number would spoil every weight in silence,
/// for ReLU takes NaN for 0.
fn clip(net: &mut Network, epoch: usize) -> Result<(), TrainError> {
    let square: f64 = net
        .params_mut()
        .flat_map(|p| &p.grad)
        .map(|g| f64::from(*g) * f64::from(*g))
        .sum();
    let length = square.sqrt() as f32;
    if !length.is_finite() {
        let at = format!(" (epoch {})", epoch + 1);
        return Err(TrainError::NotFinite {
            what: "the gradient",
            at,
        });
    }
    if length > GRADIENT_LIMIT {
        let factor = GRADIENT_LIMIT / length;
        net.params_mut()
            .flat_map(|p| &mut p.grad)
            .for_each(|g| *g *= factor);
    }
    Ok(())
}

/// The memory of one step.
#[derive(Default)]
struct Batch {
    inputs: Vec<f32>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    grad: Vec<f32>,
}

impl Batch {
    fn fill(
        &mut self,
        width: usize,
        spec: &TrainSpec,
        loss: Loss,
        examples: &Examples,
        members: &[usize],
        rng: &mut Rng,
    ) {
        let augment = &spec.augment;
        let [height, row_len, columns] = examples.plane;
        self.inputs.clear();
        self.targets.clear();
        self.weights.clear();
        let outputs = examples.targets.len() / examples.count();
        for &index in members {
            let copy = rng.below(examples.copies);
            let start = self.inputs.len();
            self.inputs
                .extend_from_slice(examples.row(width, copy, index));
            self.weights.push(examples.weights[index]);
            let target = self.targets.len();
            if loss == Loss::Reconstruction {
                self.targets.extend_from_slice(&self.inputs[start..]);
            } else {
                self.targets
                    .extend_from_slice(&examples.targets[index * outputs..][..outputs]);
            }
            if augment.mix > 0.0 && loss != Loss::Reconstruction {
                let other = members[rng.below(members.len())];
                let share = rng.uniform() * augment.mix;
                let mixed = examples.row(width, rng.below(examples.copies), other);
                blend(&mut self.inputs[start..], mixed, share);
                blend(
                    &mut self.targets[target..],
                    &examples.targets[other * outputs..][..outputs],
                    share,
                );
            }
            let input = &mut self.inputs[start..];
            if augment.feature_noise > 0.0 {
                input
                    .iter_mut()
                    .for_each(|x| *x += augment.feature_noise * rng.normal());
            }
            if augment.mask_frames > 0 || augment.mask_columns > 0 {
                augment::mask(augment, height, row_len, columns, input, rng);
            }
        }
    }

    fn loss(&mut self, loss: Loss, outputs: &[f32]) -> f32 {
        match loss {
            Loss::CrossEntropy => {
                cross_entropy(outputs, &self.targets, &self.weights, &mut self.grad)
            }
            Loss::SquaredError | Loss::Reconstruction => {
                squared_error(outputs, &self.targets, &self.weights, &mut self.grad)
            }
        }
    }
}

fn blend(into: &mut [f32], other: &[f32], share: f32) {
    for (x, y) in into.iter_mut().zip(other) {
        *x += share * (y - *x);
    }
}

/// Loss and metric on examples as recorded.
fn check(net: &mut Network, loss: Loss, examples: &Examples) -> (f32, f32) {
    let count = examples.count();
    let inputs = &examples.inputs[..count * net.input.len()];
    let outputs = forward_all(net, inputs);
    let mut grad = vec![0.0; outputs.len()];
    let targets = if loss == Loss::Reconstruction {
        inputs
    } else {
        &examples.targets
    };
    if loss == Loss::CrossEntropy {
        let value = cross_entropy(&outputs, targets, &examples.weights, &mut grad);
        let width = outputs.len() / count;
        let best =
            |row: &[f32]| (0..width).fold(0, |best, k| if row[k] > row[best] { k } else { best });
        let right = outputs
            .chunks(width)
            .zip(targets.chunks(width))
            .filter(|(y, t)| best(y) == best(t))
            .count();
        (value, right as f32 / count as f32)
    } else {
        let value = squared_error(&outputs, targets, &examples.weights, &mut grad);
        (value, -value.sqrt())
    }
}

/// Runs any number of examples in batches of bounded memory.
pub(crate) fn forward_all(net: &mut Network, inputs: &[f32]) -> Vec<f32> {
    let width = net.input.len();
    let mut outputs = Vec::with_capacity(inputs.len() / width * net.output().len());
    for inputs in inputs.chunks(width * 128) {
        outputs.extend_from_slice(net.forward(inputs.len() / width, inputs, None));
    }
    outputs
}

#[cfg(test)]
mod tests;
