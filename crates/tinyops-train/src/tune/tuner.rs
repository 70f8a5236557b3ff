//! One fine-tune after another from the same start.

use tinyops_dsp::FrontEnd;
use tinyops_model::{Body, Decision, Model, Task as ModelTask};

use super::hold::{Free, Held, Hold};
use super::start::Start;
use super::{Layers, Question, Scales};
use crate::fit::{Task, threshold};
use crate::net::{Layer, Network};
use crate::optimise::{Examples, Loss, forward_all, optimise};
use crate::predictor::Predictor;
use crate::progress::{Flow, Listener, Progress, Stage};
use crate::quantize::unseen;
use crate::spec::{Goal, TrainSpec};
use crate::trained::standardised;
use crate::{Asked, FeatureSet, Features, TrainError, baseline, evaluate, quantize};

/// Everything that the ways share.
pub(super) struct Tuner<'a, 'l> {
    parent: &'a Model,
    spec: TrainSpec,
    pull: f32,
    set: &'a FeatureSet,
    start: Start,
    /// Windows within the range of the parent's int8 input, and within that of training.
    kept: [Examples; 2],
    new: [Examples; 2],
    task_loss: Loss,
    report: Listener<'l>,
    done: usize,
    total: usize,
}

/// How many steps each number moves, and what that was worth.
#[derive(Clone, Debug)]
pub(super) struct Moves {
    /// Weights, then biases, layer after layer.
    steps: Vec<Vec<i32>>,
    worth: Vec<Vec<f32>>,
}

/// A number by its parameter and its place in it.
type Place = (usize, usize);

impl Moves {
    /// How many numbers move.
    pub(super) fn changed(&self) -> usize {
        self.steps
            .iter()
            .flatten()
            .filter(|&&steps| steps != 0)
            .count()
    }

    /// The numbers that move, those worth most for their bits first.
    pub(super) fn by_worth(&self) -> Vec<Place> {
        // A lone step of a weight takes its place among those that stay, and a sign; a bias its length, too.
        const PLACE_BITS: f32 = 7.0;
        let worth = |&(param, index): &Place| {
            let length = 32 - self.steps[param][index].unsigned_abs().leading_zeros();
            self.worth[param][index] / (PLACE_BITS + length as f32)
        };
        let params = self.steps.iter().enumerate();
        let mut order: Vec<Place> = params
            .flat_map(|(param, steps)| {
                let moving = steps.iter().enumerate().filter(|&(_, &steps)| steps != 0);
                moving.map(move |(index, _)| (param, index))
            })
            .collect();
        order.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then(a.cmp(b)));
        order
    }

    /// The moves of these numbers alone.
    pub(super) fn only(&self, places: &[Place]) -> Self {
        let mut only = self.clone();
        only.steps.iter_mut().for_each(|steps| steps.fill(0));
        for &(param, index) in places {
            only.steps[param][index] = self.steps[param][index];
        }
        only
    }
}

impl<'a, 'l> Tuner<'a, 'l> {
    pub(super) fn of(question: &Question<'a>, report: Listener<'l>) -> Result<Self, TrainError> {
        let Question {
            parent,
            spec,
            tune,
            set,
            ..
        } = *question;
        check(parent, spec, set)?;
        let spec = TrainSpec {
            epochs: tune.epochs,
            learning_rate: tune.learning_rate,
            // Numbers go to where they were, if anywhere, and the best epoch is kept.
            weight_decay: 0.0,
            patience: tune.epochs,
            ..spec.clone()
        };
        let task = Task::of(&spec, set)?;
        let start = Start::of(parent, task.value_scale)?;
        let loss = task.loss();
        let parts = |range: [f32; 2]| -> Result<[Examples; 2], TrainError> {
            let part = |features: &Features, purpose: &'static str, copies: usize| {
                let members = task.members(features);
                if members.is_empty() {
                    let reason =
                        format!("none of {} windows has a usable target", features.count());
                    return Err(TrainError::NoWindows { purpose, reason });
                }
                let mut rows =
                    standardised(&parent.scaler, f32::INFINITY, features, &members, copies);
                rows.iter_mut()
                    .for_each(|x| *x = x.clamp(range[0], range[1]));
                Ok(task.examples(features, &members, rows, loss))
            };
            Ok([
                part(&set.train, "train", set.train.copies)?,
                part(&set.validation, "choose by", 1)?,
            ])
        };
        let clip = if spec.clip > 0.0 {
            spec.clip
        } else {
            f32::INFINITY
        };
        let (kept, new) = (parts(start.input_range)?, parts([-clip, clip])?);
        Ok(Self {
            parent,
            pull: tune.pull,
            set,
            kept,
            new,
            task_loss: loss,
            start,
            spec,
            report,
            done: 0,
            total: 0,
        })
    }

    /// Which ways are tried beside the unrestricted one: the last 1, 2, 4, … layers, all, biases alone.
    pub(super) fn ways(&self) -> Vec<(Layers, Scales)> {
        let count = self.start.layers.len();
        let mut ways = vec![(Layers::Last(1), Scales::Kept)];
        if matches!(self.start.net.layers.last(), Some(Layer::Dense(_))) {
            ways.push((Layers::Last(1), Scales::New));
        }
        let doubling = std::iter::successors(Some(2), |&last| Some(2 * last));
        let some = doubling.take_while(|&last| last < count);
        ways.extend(some.map(|last| (Layers::Last(last), Scales::Kept)));
        if count > 1 {
            ways.push((Layers::All, Scales::Kept));
        }
        ways.push((Layers::Biases, Scales::Kept));
        ways
    }

    /// So many fine-tunes are planned.
    pub(super) fn plan(&mut self, tunes: usize) {
        self.total = tunes * self.spec.epochs as usize;
    }

    /// One of them is not needed.
    pub(super) fn skip(&mut self) {
        self.done += self.spec.epochs as usize;
    }

    pub(super) fn number_count(&self) -> usize {
        self.start
            .layers
            .iter()
            .flat_map(|layer| layer.lens())
            .sum()
    }

    /// Everything moves, and is rounded on scales of its own.
    pub(super) fn unrestricted(&mut self) -> Result<Model, TrainError> {
        let mut hold = self.hold(Layers::All, Scales::New, None);
        let net = self.optimised(&mut hold, true)?;
        let rows = self.calibration(true);
        let net = self.start.in_units(net);
        let spec = &self.spec;
        let graph = quantize::graph(
            &net,
            &rows,
            spec.quantize.range,
            spec.goal == Goal::Classify,
            1.0,
        );
        self.finished(Model {
            body: Body::Network(graph),
            ..self.parent.clone()
        })
    }

    /// The last layer moves, and is rounded on scales of its own; also how many numbers that are.
    pub(super) fn rescaled(&mut self) -> Result<(Model, usize), TrainError> {
        let mut hold = self.hold(Layers::Last(1), Scales::New, None);
        let mut net = self.optimised(&mut hold, false)?;
        let outputs = forward_all(&mut net, &self.calibration(false));
        let range = self.spec.quantize.range;
        let model = self.start.rescaled_last(self.parent, &net, &outputs, range);
        let changed = self
            .start
            .layers
            .last()
            .map_or(0, |layer| layer.lens().iter().sum());
        Ok((self.finished(model)?, changed))
    }

    /// Some layers move on the scales that they have; of their numbers only those that move in `few`.
    pub(super) fn tuned(
        &mut self,
        layers: Layers,
        few: Option<&Moves>,
    ) -> Result<Moves, TrainError> {
        let mut hold = self.hold(layers, Scales::Kept, few);
        let mut net = self.optimised(&mut hold, false)?;
        let values: Vec<&[f32]> = net.params_mut().map(|param| &param.value[..]).collect();
        let steps = self.start.layers.iter().zip(values.chunks_exact(2));
        let steps = steps.flat_map(|(layer, values)| layer.moves([values[0], values[1]]));
        Ok(Moves {
            steps: steps.collect(),
            worth: hold.params.into_iter().map(|held| held.worth).collect(),
        })
    }

    /// The parent with these moves.
    pub(super) fn model(&self, moves: &Moves) -> Result<Model, TrainError> {
        self.finished(self.start.moved(self.parent, &moves.steps))
    }

    fn hold(&self, layers: Layers, scales: Scales, few: Option<&Moves>) -> Hold {
        let count = self.start.layers.len();
        let first = match layers {
            Layers::Last(last) => count.saturating_sub(last),
            Layers::None => count,
            Layers::All | Layers::Biases => 0,
        };
        let mut params: Vec<Held> = Vec::with_capacity(2 * count);
        for (place, layer) in self.start.layers.iter().enumerate() {
            let free = |param: usize| match few {
                _ if place < first || (param == 0 && layers == Layers::Biases) => Free::None,
                None => Free::All,
                Some(few) => {
                    let steps = few.steps[2 * place + param].iter();
                    Free::Some(steps.map(|&steps| steps != 0).collect())
                }
            };
            let free = [free(0), free(1)];
            params.extend(layer.held(free, scales == Scales::Kept));
        }
        Hold {
            params,
            pull: self.pull,
        }
    }

    /// A fine-tune from the start.
    fn optimised(&mut self, hold: &mut Hold, is_new: bool) -> Result<Network, TrainError> {
        let mut net = self.start.net.clone();
        let learns = |held: &[Held]| held.iter().any(|held| !matches!(held.free, Free::None));
        let first = hold.params.chunks_exact(2).position(learns);
        net.frozen = first.map_or(0, |first| self.start.layers[first].index);
        let [training, validation] = if is_new { &self.new } else { &self.kept };
        let (done, total) = (self.done, self.total);
        let report = &mut self.report;
        let mut told = |progress: Progress| {
            report(Progress {
                stage: Stage::Train,
                done: done + progress.done,
                total,
                ..progress
            })
        };
        optimise(
            &mut net,
            &self.spec,
            self.task_loss,
            training,
            Some(validation),
            Some(hold),
            &mut told,
        )?;
        self.done += self.spec.epochs as usize;
        net.frozen = 0;
        Ok(net)
    }

    /// Training windows as recorded, spread evenly.
    fn calibration(&self, is_new: bool) -> Vec<f32> {
        let [examples, _] = if is_new { &self.new } else { &self.kept };
        let (count, width) = (examples.count(), self.start.net.input.len());
        let wanted = match self.spec.quantize.windows as usize {
            0 => count,
            most => count.min(most),
        };
        let chosen = (0..wanted).map(|place| place * count / wanted);
        chosen
            .flat_map(|index| &examples.inputs[index * width..][..width])
            .copied()
            .collect()
    }

    /// The threshold follows from what the int8 model says, as after every training.
    fn finished(&self, mut model: Model) -> Result<Model, TrainError> {
        let predictor = Predictor::new(&model)?;
        model.decision = Decision {
            threshold: threshold(&self.spec, self.set, |features| predictor.score(features)),
            ..model.decision
        };
        // What was measured of the parent's answers is not so of these.
        model.baseline = model
            .baseline
            .with_calibration(None)
            .expect("none is sound");
        Ok(model)
    }
}

/// The metric of a model on the validation part, more being better.
pub(super) fn judged(question: &Question<'_>, model: &Model) -> Result<f64, TrainError> {
    let Question { spec, set, .. } = *question;
    let quiet = &mut |_| Flow::Continue;
    let asked = Asked::default();
    let (judged, _) = evaluate(
        model,
        None,
        spec,
        &set.classes,
        &set.validation,
        asked,
        quiet,
    )?;
    (question.goodness)(&judged.int8).ok_or_else(|| {
        TrainError::Mismatch("the validation windows give no such metric".to_owned())
    })
}

pub(super) fn with_baseline(
    model: &Model,
    spec: &TrainSpec,
    set: &FeatureSet,
) -> Result<Model, TrainError> {
    let goal = match model.task {
        ModelTask::Classify => Goal::Classify,
        ModelTask::Regress => Goal::Regress,
        ModelTask::Anomaly => Goal::Anomaly,
    };
    let mut renewed = model.clone();
    baseline::watch(&mut renewed, &set.train, unseen(spec, set), goal)?;
    Ok(renewed)
}

/// What a fine-tune keeps must be what the project makes.
fn check(parent: &Model, spec: &TrainSpec, set: &FeatureSet) -> Result<(), TrainError> {
    let differs = |what: &str| {
        Err(TrainError::Mismatch(format!(
            "the project's {what} are not those of the model, which a fine-tune keeps"
        )))
    };
    let is_same = |front_end: &FrontEnd| *front_end == parent.front_end;
    if !is_same(&set.train.front_end) {
        return differs("window and front end");
    }
    let task = match spec.goal {
        Goal::Classify => ModelTask::Classify,
        Goal::Regress => ModelTask::Regress,
        Goal::Anomaly => ModelTask::Anomaly,
    };
    if parent.task != task {
        return differs("goal and answers");
    }
    if spec.goal == Goal::Classify && parent.labels != set.classes {
        return Err(TrainError::Mismatch(format!(
            "the recordings have the classes {}, the model has {}; a fine-tune keeps its classes",
            set.classes.join(", "),
            parent.labels.join(", ")
        )));
    }
    Ok(())
}
