//! From a feature set to a trained model: what is learned, from which windows, and where the line is drawn.

use tinyops_model::Decision;

use crate::evaluation::{Scores, alarm, decision_threshold};
use crate::net::{Dims, Layer, Network};
use crate::optimise::{Examples, Loss, optimise};
use crate::progress::{Listener, Progress};
use crate::rng::Rng;
use crate::roc::Operation;
use crate::spec::{ClassWeights, Goal, NetworkSpec, TrainSpec};
use crate::trained::{FloatBody, Trained, standardised};
use crate::{FeatureSet, Features, Target, TrainError, anomaly, architecture, standard};

/// Trains on the training part of a set; the validation part says when to stop and where the threshold lies.
///
/// With [`TrainSpec::refit`], weights are then fitted once more, to both parts together and for as many epochs
/// as were best; history and threshold are those of the first fit.
///
/// The same spec and set give the same bits, whatever the number of threads.
///
/// # Errors
/// Settings out of range, nothing to learn from, a class without windows, or a loss that is no number.
pub fn fit(
    spec: &TrainSpec,
    set: &FeatureSet,
    report: Listener<'_>,
) -> Result<Trained, TrainError> {
    spec.check()?;
    if !spec.refit || set.validation.count() == 0 {
        return fit_once(spec, set, report);
    }
    let total = 2 * spec.epochs as usize;
    let mut first = fit_once(spec, set, &mut |progress| {
        report(Progress { total, ..progress })
    })?;
    let losses = first
        .history
        .iter()
        .filter_map(|epoch| epoch.validation_loss)
        .enumerate();
    let best = losses
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(spec.epochs, |(epoch, _)| epoch as u32 + 1);
    let epochs = if spec.patience > 0 { best } else { spec.epochs };
    let spec = TrainSpec {
        epochs,
        ..spec.clone()
    };
    let whole = FeatureSet {
        classes: set.classes.clone(),
        train: set.train.joined(&set.validation),
        validation: set.validation.select(&[]),
        test: set.test.select(&[]),
    };
    let second = fit_once(&spec, &whole, &mut |progress| {
        report(Progress {
            done: progress.total + progress.done,
            total: 2 * progress.total,
            ..progress
        })
    })?;
    first.scaler = second.scaler;
    first.body = second.body;
    Ok(first)
}

fn fit_once(
    spec: &TrainSpec,
    set: &FeatureSet,
    report: Listener<'_>,
) -> Result<Trained, TrainError> {
    let task = Task::of(spec, set)?;
    let train = &set.train;
    let members = task.members(train);
    if members.is_empty() {
        let reason = format!("none of {} windows has a usable target", train.count());
        return Err(TrainError::NoWindows {
            purpose: "train",
            reason,
        });
    }
    task.check_classes(train, &members)?;
    let scaler = standard::measure(spec.scaler, train, &members);
    let clip = if spec.goal == Goal::Anomaly || spec.clip == 0.0 {
        f32::INFINITY
    } else {
        spec.clip
    };
    let inputs = standardised(&scaler, clip, train, &members, train.copies);
    let held = task.members(&set.validation);
    let held_inputs = standardised(&scaler, clip, &set.validation, &held, 1);
    let mut rng = Rng::new(spec.seed, 1);
    let dims = Dims {
        height: train.shape.height.into(),
        width: train.shape.width.into(),
        channels: train.shape.channels.into(),
    };
    let outputs = task.outputs();
    let mut history = Vec::new();
    let mut learn =
        |mut net: Network, loss: Loss, spec: &TrainSpec, mask: &[f32], report: Listener<'_>| {
            let seen = |mut rows: Vec<f32>| {
                for row in rows.chunks_exact_mut(mask.len().max(1)) {
                    row.iter_mut().zip(mask).for_each(|(x, m)| *x *= m);
                }
                rows
            };
            let training = task.examples(train, &members, seen(inputs.clone()), loss);
            let validation = (!held.is_empty())
                .then(|| task.examples(&set.validation, &held, seen(held_inputs.clone()), loss));
            let epochs = optimise(
                &mut net,
                spec,
                loss,
                &training,
                validation.as_ref(),
                None,
                report,
            )?;
            if history.is_empty() {
                history = epochs;
            }
            Ok::<_, TrainError>(net.folded())
        };
    let body = match &spec.network {
        NetworkSpec::Dense(body) if body.members > 1 => {
            let mut nets = Vec::new();
            for member in 0..body.members {
                // Far apart, so that no member of one seed is a member of the next.
                let seed = spec.seed.wrapping_add(u64::from(member) << 32);
                let spec = TrainSpec {
                    seed,
                    ..spec.clone()
                };
                let mut rng = Rng::new(seed, 1);
                let mask = input_mask(dims.len(), body.member_inputs, &mut rng);
                let net = architecture::dense(body, dims, outputs, &mut rng);
                let epochs = spec.epochs as usize;
                let (before, total) = (member as usize * epochs, body.members as usize * epochs);
                let mut net = learn(net, task.loss(), &spec, &mask, &mut |progress| {
                    report(Progress {
                        done: before + progress.done,
                        total,
                        ..progress
                    })
                })?;
                close(&mut net, &mask);
                nets.push(net);
            }
            FloatBody::Network(architecture::joined(&nets))
        }
        NetworkSpec::Dense(body) => {
            let net = architecture::dense(body, dims, outputs, &mut rng);
            FloatBody::Network(learn(net, task.loss(), spec, &[], report)?)
        }
        NetworkSpec::Conv1d(body) => {
            let net = architecture::conv1d(body, dims, outputs, &mut rng);
            FloatBody::Network(learn(net, task.loss(), spec, &[], report)?)
        }
        NetworkSpec::Conv2d(body) => {
            let net = architecture::conv2d(body, dims, outputs, &mut rng);
            FloatBody::Network(learn(net, task.loss(), spec, &[], report)?)
        }
        NetworkSpec::Autoencoder(body) => {
            let net = architecture::autoencoder(body, dims, &mut rng);
            FloatBody::Autoencoder(learn(net, Loss::Reconstruction, spec, &[], report)?)
        }
        NetworkSpec::KMeans(body) => {
            let rows = &inputs[..members.len() * train.width()];
            let (centres, radii) =
                anomaly::k_means(rows, train.width(), body.centres as usize, spec.seed);
            FloatBody::KMeans { centres, radii }
        }
        NetworkSpec::Mahalanobis(body) => {
            let rows = &inputs[..members.len() * train.width()];
            let (mean, inverse_covariance) =
                anomaly::mahalanobis(rows, train.width(), body.shrinkage);
            FloatBody::Mahalanobis {
                mean,
                inverse_covariance,
            }
        }
    };
    let mut trained = Trained {
        goal: spec.goal,
        labels: if spec.goal == Goal::Classify {
            set.classes.clone()
        } else {
            Vec::new()
        },
        front_end: train.front_end,
        scaler,
        clip,
        decision: Decision {
            threshold: 0.5,
            min_confidence: spec.min_confidence,
        },
        history,
        body,
    };
    if let (FloatBody::Network(net), Goal::Regress) = (&mut trained.body, spec.goal) {
        restore_units(net, task.value_scale);
    }
    trained.decision.threshold = threshold(spec, set, |features| trained.score(features));
    Ok(trained)
}

/// 1 for the inputs that a member sees, 0 for the others.
fn input_mask(len: usize, share: f32, rng: &mut Rng) -> Vec<f32> {
    let mut order: Vec<usize> = (0..len).collect();
    rng.shuffle(&mut order);
    let seen = ((len as f32 * share).ceil() as usize).clamp(1, len);
    let mut mask = vec![0.0; len];
    order[..seen].iter().for_each(|&index| mask[index] = 1.0);
    mask
}

/// Takes away the weights of inputs that were never seen: chance put them there.
fn close(net: &mut Network, mask: &[f32]) {
    if let Some(Layer::Dense(first)) = net.layers.first_mut() {
        for row in first.weights.value.chunks_exact_mut(mask.len()) {
            row.iter_mut().zip(mask).for_each(|(w, m)| *w *= m);
        }
    }
}

/// The threshold of a model's decision: what raises the alarms of [`threshold_of_alarms`] on a device.
pub(crate) fn threshold(
    spec: &TrainSpec,
    set: &FeatureSet,
    score: impl Fn(&Features) -> Scores,
) -> f32 {
    let normal = spec.costs.normal_of(&set.classes);
    if spec.goal == Goal::Regress || (spec.goal == Goal::Classify && normal.is_empty()) {
        return 0.5;
    }
    let alarm = threshold_of_alarms(spec, set, &normal, score);
    match spec.goal {
        Goal::Classify => decision_threshold(alarm, set.classes.len(), &normal),
        Goal::Regress | Goal::Anomaly => alarm,
    }
}

/// The alarm score above which a window is an alarm: by cost where validation holds both kinds of windows, or else just
/// above what normal windows score.
fn threshold_of_alarms(
    spec: &TrainSpec,
    set: &FeatureSet,
    normal: &[usize],
    score: impl Fn(&Features) -> Scores,
) -> f32 {
    let judged = |features: &Features| -> (Vec<f32>, Vec<bool>) {
        let scores = score(features);
        let faulty = |target: Target| match target {
            Target::Class(class) => Some(!normal.contains(&class.into())),
            // Without classes, all that training is given counts as normal.
            _ => normal.is_empty().then_some(false),
        };
        let known = (0..features.count())
            .filter_map(|i| Some((alarm(&scores, i, normal), faulty(features.targets[i])?)));
        known.unzip()
    };
    let (mut scores, mut faulty) = judged(&set.validation);
    if let Some(operation) = Operation::cheapest(&scores, &faulty, &spec.costs) {
        return operation.threshold;
    }
    // Too few normal windows were held back: the training ones, which the body knows, must do.
    const ENOUGH: usize = 20;
    if faulty.iter().filter(|&&faulty| !faulty).count() < ENOUGH {
        let (more, kinds) = judged(&set.train);
        if let (Goal::Classify, Some(operation)) =
            (spec.goal, Operation::cheapest(&more, &kinds, &spec.costs))
        {
            return operation.threshold;
        }
        scores.extend(more);
        faulty.extend(kinds);
    }
    let mut normals: Vec<f32> = scores
        .iter()
        .zip(&faulty)
        .filter(|&(_, &faulty)| !faulty)
        .map(|(s, _)| *s)
        .collect();
    normals.sort_by(f32::total_cmp);
    // One false alarm in a hundred normal windows, and some room for what a longer recording would show.
    let (middle, high) = (
        anomaly::quantile(&normals, 0.5),
        anomaly::quantile(&normals, 0.99),
    );
    high + 0.25 * (high - middle)
}

/// What is learned from which windows.
pub(crate) struct Task<'a> {
    spec: &'a TrainSpec,
    classes: &'a [String],
    normal: Vec<usize>,
    /// Mean and deviation of the training values.
    pub(crate) value_scale: [f32; 2],
    class_weights: Vec<f32>,
}

impl<'a> Task<'a> {
    pub(crate) fn of(spec: &'a TrainSpec, set: &'a FeatureSet) -> Result<Self, TrainError> {
        for label in &spec.costs.normal {
            if !set.classes.contains(label) {
                return Err(TrainError::UnknownLabel {
                    label: label.clone(),
                });
            }
        }
        let has_classes = set
            .train
            .targets
            .iter()
            .any(|target| matches!(target, Target::Class(_)));
        if spec.goal == Goal::Anomaly && has_classes && spec.costs.normal.is_empty() {
            return Err(TrainError::setting(
                "train.costs.normal",
                "[]",
                format!(
                    "must name the labels of normal windows, of {}",
                    set.classes.join(", ")
                ),
            ));
        }
        if spec.goal == Goal::Classify && set.classes.len() < 2 {
            return Err(TrainError::setting(
                "train.goal",
                "classify",
                "needs at least two classes",
            ));
        }
        let mut task = Self {
            spec,
            classes: &set.classes,
            normal: spec.costs.normal_of(&set.classes),
            value_scale: [0.0, 1.0],
            class_weights: Vec::new(),
        };
        task.class_weights = task.weights_of_classes(&set.train);
        let values: Vec<f64> = set
            .train
            .targets
            .iter()
            .filter_map(|target| match target {
                Target::Value(value) => Some(f64::from(*value)),
                _ => None,
            })
            .collect();
        if !values.is_empty() {
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let deviation =
                (values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
            task.value_scale = [
                mean as f32,
                if deviation > 0.0 {
                    deviation as f32
                } else {
                    1.0
                },
            ];
        }
        Ok(task)
    }

    fn weights_of_classes(&self, train: &Features) -> Vec<f32> {
        let count = |class: usize| {
            train
                .targets
                .iter()
                .filter(|&&t| t == Target::Class(class as u16))
                .count()
        };
        let counts: Vec<usize> = (0..self.classes.len()).map(count).collect();
        let total: usize = counts.iter().sum();
        match &self.spec.class_weights {
            ClassWeights::Even => vec![1.0; counts.len()],
            ClassWeights::Balanced => {
                let even = total as f32 / counts.len().max(1) as f32;
                counts
                    .iter()
                    .map(|&count| even / count.max(1) as f32)
                    .collect()
            }
            ClassWeights::Labels(weights) => self
                .classes
                .iter()
                .map(|class| weights.get(class).copied().unwrap_or(1.0))
                .collect(),
        }
    }

    pub(crate) fn loss(&self) -> Loss {
        if self.spec.goal == Goal::Regress {
            Loss::SquaredError
        } else {
            Loss::CrossEntropy
        }
    }

    fn outputs(&self) -> usize {
        if self.spec.goal == Goal::Classify {
            self.classes.len()
        } else {
            1
        }
    }

    /// Windows whose target serves the goal.
    pub(crate) fn members(&self, features: &Features) -> Vec<usize> {
        let usable = |target: Target| match (self.spec.goal, target) {
            (Goal::Classify, Target::Class(_)) | (Goal::Regress, Target::Value(_)) => true,
            (Goal::Anomaly, Target::Class(class)) => self.normal.contains(&class.into()),
            (Goal::Anomaly, _) => self.normal.is_empty(),
            _ => false,
        };
        (0..features.count())
            .filter(|&index| usable(features.targets[index]))
            .collect()
    }

    fn check_classes(&self, train: &Features, members: &[usize]) -> Result<(), TrainError> {
        if self.spec.goal != Goal::Classify {
            return Ok(());
        }
        for (class, label) in self.classes.iter().enumerate() {
            if !members
                .iter()
                .any(|&index| train.targets[index] == Target::Class(class as u16))
            {
                return Err(TrainError::EmptyClass {
                    label: label.clone(),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn examples(
        &self,
        features: &Features,
        members: &[usize],
        inputs: Vec<f32>,
        loss: Loss,
    ) -> Examples {
        let classes = self.classes.len();
        let even = self.spec.label_smoothing / classes.max(1) as f32;
        let mut targets = Vec::new();
        let mut weights = Vec::with_capacity(members.len());
        for &index in members {
            let mut weight = 1.0;
            match (loss, features.targets[index]) {
                (Loss::CrossEntropy, Target::Class(class)) => {
                    let start = targets.len();
                    targets.resize(start + classes, even);
                    targets[start + usize::from(class)] += 1.0 - self.spec.label_smoothing;
                    weight = self.class_weights[usize::from(class)];
                }
                (Loss::SquaredError, Target::Value(value)) => {
                    targets.push((value - self.value_scale[0]) / self.value_scale[1]);
                }
                _ => {}
            }
            weights.push(weight);
        }
        let columns = usize::from(features.shape.width);
        let row_len = columns * usize::from(features.shape.channels);
        let copies = inputs.len() / (members.len() * features.width()).max(1);
        Examples {
            copies,
            inputs,
            targets,
            weights,
            plane: [features.shape.height.into(), row_len, columns],
        }
    }
}

/// Makes the last layer speak in the target's own unit again.
fn restore_units(net: &mut Network, [mean, deviation]: [f32; 2]) {
    if let Some(Layer::Dense(last)) = net.layers.last_mut() {
        last.weights.value.iter_mut().for_each(|w| *w *= deviation);
        last.bias
            .value
            .iter_mut()
            .for_each(|b| *b = *b * deviation + mean);
    }
}
