//! A model in floating point, as training leaves it.

use tinyops_dsp::FrontEnd;
use tinyops_model::{Decision, OwnedScaler};

use crate::codec::{CodecError, Reader, Writer};
use crate::evaluation::{Scores, alarm};
use crate::net::{AveragePool, Conv, Dense, Depthwise, Dims, Layer, MaxPool, Network, Param, Walk};
use crate::optimise::{Epoch, Examples, Loss, forward_all, optimise};
use crate::progress::Listener;
use crate::rng::Rng;
use crate::roc::Operation;
use crate::spec::{ClassWeights, Goal, NetworkSpec, TrainSpec};
use crate::{FeatureSet, Features, Target, TrainError, anomaly, architecture, standard};

/// A model in floating point, as training leaves it: what [`quantize`](crate::quantize) starts from.
#[derive(Clone, Debug)]
pub struct Trained {
    /// What the model answers with.
    pub goal: Goal,
    /// Names of the classes, in the order of the outputs; empty for regression and anomaly.
    pub labels: Vec<String>,
    /// From readings to features.
    pub front_end: FrontEnd,
    /// From features to standardised features.
    pub scaler: OwnedScaler,
    /// Standardised features are held within so many deviations; infinite where there is no limit.
    pub clip: f32,
    /// Where a score becomes a decision, in floating point.
    pub decision: Decision,
    /// What training showed, epoch by epoch; empty where nothing is iterated.
    pub history: Vec<Epoch>,
    pub(crate) body: FloatBody,
}

#[derive(Clone, Debug)]
pub(crate) enum FloatBody {
    /// Folded: neither norms nor dropout are left.
    Network(Network),
    Autoencoder(Network),
    KMeans {
        centres: Vec<f32>,
        radii: Vec<f32>,
    },
    Mahalanobis {
        mean: Vec<f32>,
        inverse_covariance: Vec<f32>,
    },
}

/// Trains on the training part of a set; the validation part says when to stop and where the threshold lies.
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
    let mut learn = |mut net: Network, loss: Loss| {
        let training = task.examples(train, &members, inputs.clone(), loss);
        let validation = (!held.is_empty())
            .then(|| task.examples(&set.validation, &held, held_inputs.clone(), loss));
        history = optimise(&mut net, spec, loss, &training, validation.as_ref(), report)?;
        Ok::<_, TrainError>(net.folded())
    };
    let body = match &spec.network {
        NetworkSpec::Dense(body) => FloatBody::Network(learn(
            architecture::dense(body, dims, outputs, &mut rng),
            task.loss(),
        )?),
        NetworkSpec::Conv1d(body) => FloatBody::Network(learn(
            architecture::conv1d(body, dims, outputs, &mut rng),
            task.loss(),
        )?),
        NetworkSpec::Conv2d(body) => FloatBody::Network(learn(
            architecture::conv2d(body, dims, outputs, &mut rng),
            task.loss(),
        )?),
        NetworkSpec::Autoencoder(body) => FloatBody::Autoencoder(learn(
            architecture::autoencoder(body, dims, &mut rng),
            Loss::Reconstruction,
        )?),
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

/// Where the alarm threshold lies: by cost where validation holds both kinds of windows, or else just
/// above what normal windows score.
pub(crate) fn threshold(
    spec: &TrainSpec,
    set: &FeatureSet,
    score: impl Fn(&Features) -> Scores,
) -> f32 {
    let normal = normal_classes(spec, &set.classes);
    if spec.goal == Goal::Regress || (spec.goal == Goal::Classify && normal.is_empty()) {
        return 0.5;
    }
    let judged = |features: &Features| -> (Vec<f32>, Vec<bool>) {
        let scores = score(features);
        let faulty = |target: Target| match target {
            Target::Class(class) => Some(!normal.contains(&class.into())),
            // Without classes, all that training is given counts as normal.
            _ => normal.is_empty().then_some(false),
        };
        let known = (0..features.count())
            .filter_map(|i| Some((alarm(&scores, i, &normal), faulty(features.targets[i])?)));
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

/// Indices of the classes where nothing is wrong.
pub(crate) fn normal_classes(spec: &TrainSpec, classes: &[String]) -> Vec<usize> {
    spec.costs
        .normal
        .iter()
        .filter_map(|label| classes.iter().position(|class| class == label))
        .collect()
}

/// Rows of the members, copy by copy, as the network sees them.
fn standardised(
    scaler: &OwnedScaler,
    clip: f32,
    features: &Features,
    members: &[usize],
    copies: usize,
) -> Vec<f32> {
    let mut rows = Vec::with_capacity(members.len() * copies * features.width());
    for copy in 0..copies {
        for &index in members {
            let start = rows.len();
            rows.extend_from_slice(features.row(copy, index));
            scaler.view().apply(&mut rows[start..]);
            rows[start..]
                .iter_mut()
                .for_each(|x| *x = x.clamp(-clip, clip));
        }
    }
    rows
}

/// What is learned from which windows.
struct Task<'a> {
    spec: &'a TrainSpec,
    classes: &'a [String],
    normal: Vec<usize>,
    /// Mean and deviation of the training values.
    value_scale: [f32; 2],
    class_weights: Vec<f32>,
}

impl<'a> Task<'a> {
    fn of(spec: &'a TrainSpec, set: &'a FeatureSet) -> Result<Self, TrainError> {
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
            normal: normal_classes(spec, &set.classes),
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

    fn loss(&self) -> Loss {
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
    fn members(&self, features: &Features) -> Vec<usize> {
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

    fn examples(
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

impl Trained {
    /// Scores windows in floating point, as recorded.
    pub fn score(&self, features: &Features) -> Scores {
        let members: Vec<usize> = (0..features.count()).collect();
        let rows = standardised(&self.scaler, self.clip, features, &members, 1);
        let width = features.width().max(1);
        match &self.body {
            FloatBody::Network(net) => {
                let mut values = forward_all(&mut net.clone(), &rows);
                let outputs = net.output().len();
                if self.goal == Goal::Classify {
                    values.chunks_exact_mut(outputs).for_each(softmax);
                }
                Scores {
                    width: outputs,
                    values,
                }
            }
            FloatBody::Autoencoder(net) => {
                let outputs = forward_all(&mut net.clone(), &rows);
                let values = outputs
                    .chunks_exact(width)
                    .zip(rows.chunks_exact(width))
                    .map(|(y, x)| {
                        y.iter().zip(x).map(|(y, x)| (y - x) * (y - x)).sum::<f32>() / width as f32
                    });
                Scores {
                    width: 1,
                    values: values.collect(),
                }
            }
            FloatBody::KMeans { centres, radii } => {
                let mut bytes = Vec::new();
                tinyops_nn::distance::encode_k_means(centres, radii, |part| {
                    bytes.extend_from_slice(part)
                });
                distances(&bytes, &rows, width)
            }
            FloatBody::Mahalanobis {
                mean,
                inverse_covariance,
            } => {
                let mut bytes = Vec::new();
                tinyops_nn::distance::encode_mahalanobis(mean, inverse_covariance, |part| {
                    bytes.extend_from_slice(part)
                });
                distances(&bytes, &rows, width)
            }
        }
    }

    /// Learned numbers.
    pub fn parameter_count(&self) -> usize {
        match &self.body {
            FloatBody::Network(net) | FloatBody::Autoencoder(net) => net
                .clone()
                .params_mut()
                .map(|param| param.value.len())
                .sum(),
            FloatBody::KMeans { centres, radii } => centres.len() + radii.len(),
            FloatBody::Mahalanobis {
                mean,
                inverse_covariance,
            } => mean.len() + inverse_covariance.len(),
        }
    }

    /// Bytes that [`Trained::decode`] reads back.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MARK);
        out.u64(self.goal as u64);
        out.len(self.labels.len());
        self.labels.iter().for_each(|label| out.text(label));
        crate::feature_set::write_front_end(&mut out, &self.front_end);
        out.f32s(&self.scaler.mean);
        out.f32s(&self.scaler.inv_std);
        out.f32s(&[
            self.clip,
            self.decision.threshold,
            self.decision.min_confidence,
        ]);
        out.len(self.history.len());
        for epoch in &self.history {
            let or_nan = |x: Option<f32>| x.unwrap_or(f32::NAN);
            out.f32s(&[
                epoch.loss,
                or_nan(epoch.validation_loss),
                or_nan(epoch.metric),
            ]);
        }
        match &self.body {
            FloatBody::Network(net) => write_network(&mut out, 0, net),
            FloatBody::Autoencoder(net) => write_network(&mut out, 1, net),
            FloatBody::KMeans { centres, radii } => {
                out.u64(2);
                out.f32s(centres);
                out.f32s(radii);
            }
            FloatBody::Mahalanobis {
                mean,
                inverse_covariance,
            } => {
                out.u64(3);
                out.f32s(mean);
                out.f32s(inverse_covariance);
            }
        }
        out.0
    }

    /// Reads what [`Trained::encode`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] for any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut from = Reader::new(MARK, "a trained model", bytes)?;
        let goal = match from.u64()? {
            0 => Goal::Classify,
            1 => Goal::Regress,
            2 => Goal::Anomaly,
            _ => return Err(from.wrong()),
        };
        let labels = (0..from.len(8)?)
            .map(|_| from.text())
            .collect::<Result<_, _>>()?;
        let front_end = crate::feature_set::read_front_end(&mut from)?;
        let scaler = OwnedScaler {
            mean: from.f32s()?,
            inv_std: from.f32s()?,
        };
        if !scaler.view().suits(front_end.feature_count()) {
            return Err(from.wrong());
        }
        let decision = from.f32s()?;
        let [clip, threshold, min_confidence] = decision[..] else {
            return Err(from.wrong());
        };
        if clip.is_nan() || clip <= 0.0 {
            return Err(from.wrong());
        }
        let mut history = Vec::new();
        for _ in 0..from.len(8)? {
            let [loss, validation_loss, metric] = from.f32s()?[..] else {
                return Err(from.wrong());
            };
            let known = |x: f32| (!x.is_nan()).then_some(x);
            history.push(Epoch {
                loss,
                validation_loss: known(validation_loss),
                metric: known(metric),
            });
        }
        let width = front_end.feature_count();
        let body = match from.u64()? {
            0 => FloatBody::Network(read_network(&mut from, width)?),
            1 => FloatBody::Autoencoder(read_network(&mut from, width)?),
            2 => {
                let (centres, radii) = (from.f32s()?, from.f32s()?);
                if radii.is_empty() || centres.len() != radii.len() * width {
                    return Err(from.wrong());
                }
                FloatBody::KMeans { centres, radii }
            }
            3 => {
                let (mean, inverse_covariance) = (from.f32s()?, from.f32s()?);
                if mean.len() != width || inverse_covariance.len() != width * (width + 1) / 2 {
                    return Err(from.wrong());
                }
                FloatBody::Mahalanobis {
                    mean,
                    inverse_covariance,
                }
            }
            _ => return Err(from.wrong()),
        };
        from.finish()?;
        let decision = Decision {
            threshold,
            min_confidence,
        };
        Ok(Self {
            goal,
            labels,
            front_end,
            scaler,
            clip,
            decision,
            history,
            body,
        })
    }
}

const MARK: [u8; 8] = *b"TOTRAIN1";

fn distances(bytes: &[u8], rows: &[f32], width: usize) -> Scores {
    let distance = tinyops_nn::Distance::load(bytes).expect("bytes just encoded are a distance");
    Scores {
        width: 1,
        values: rows
            .chunks_exact(width)
            .map(|row| distance.score(row))
            .collect(),
    }
}

fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|p| *p /= sum);
}

fn write_network(out: &mut Writer, kind: u64, net: &Network) {
    out.u64(kind);
    write_dims(out, net.input);
    out.len(net.layers.len());
    for layer in &net.layers {
        match layer {
            Layer::Dense(dense) => {
                out.u64(0);
                write_dims(
                    out,
                    Dims {
                        height: 1,
                        width: dense.inputs,
                        channels: dense.outputs,
                    },
                );
                out.f32s(&dense.weights.value);
                out.f32s(&dense.bias.value);
            }
            Layer::Conv(conv) => {
                out.u64(1);
                write_walk(out, conv.input, conv.walk);
                out.f32s(&conv.weights.value);
                out.f32s(&conv.bias.value);
            }
            Layer::Depthwise(conv) => {
                out.u64(2);
                write_walk(out, conv.input, conv.walk);
                out.f32s(&conv.weights.value);
                out.f32s(&conv.bias.value);
            }
            Layer::Relu => out.u64(3),
            Layer::MaxPool(pool) => {
                out.u64(4);
                write_walk(out, pool.input, pool.walk);
            }
            Layer::AveragePool(pool) => {
                out.u64(5);
                write_walk(out, pool.input, pool.walk);
            }
            Layer::Norm(_) | Layer::Dropout(..) => {
                unreachable!("folded networks hold neither norm nor dropout")
            }
        }
    }
}

fn write_dims(out: &mut Writer, dims: Dims) {
    [dims.height, dims.width, dims.channels]
        .into_iter()
        .for_each(|x| out.len(x));
}

fn write_walk(out: &mut Writer, input: Dims, walk: Walk) {
    write_dims(out, input);
    walk.kernel
        .into_iter()
        .chain(walk.stride)
        .for_each(|x| out.len(x));
    out.u64(walk.padded.into());
}

fn read_network(from: &mut Reader<'_>, features: usize) -> Result<Network, CodecError> {
    let input = read_dims(from)?;
    if input.len() != features {
        return Err(from.wrong());
    }
    let mut net = Network::new(input);
    for _ in 0..from.len(8)? {
        let layer = read_layer(from, net.output())?;
        net.push(layer);
    }
    Ok(net)
}

/// One layer that fits behind `before`.
fn read_layer(from: &mut Reader<'_>, before: Dims) -> Result<Layer, CodecError> {
    let kind = from.u64()?;
    let layer = match kind {
        0 => {
            let dims = read_dims(from)?;
            let (weights, bias) = (from.f32s()?, from.f32s()?);
            let fits = dims.width == before.len() && bias.len() == dims.channels;
            if !fits
                || dims.channels == 0
                || dims.width.checked_mul(dims.channels) != Some(weights.len())
            {
                return Err(from.wrong());
            }
            let (weights, bias) = (Param::holding(weights, true), Param::holding(bias, false));
            Layer::Dense(Dense::holding(dims.width, dims.channels, weights, bias))
        }
        1 | 2 => {
            let (input, walk) = read_walk(from)?;
            let (weights, bias) = (from.f32s()?, from.f32s()?);
            let taps = walk.kernel[0] * walk.kernel[1];
            let fan_in = if kind == 1 {
                taps * input.channels
            } else {
                taps
            };
            let fits = input == before
                && !bias.is_empty()
                && fan_in.checked_mul(bias.len()) == Some(weights.len());
            if !fits || (kind == 2 && bias.len() != input.channels) {
                return Err(from.wrong());
            }
            let channels = bias.len();
            let (weights, bias) = (Param::holding(weights, true), Param::holding(bias, false));
            if kind == 1 {
                Layer::Conv(Conv::holding(input, channels, walk, weights, bias))
            } else {
                Layer::Depthwise(Depthwise::holding(input, walk, weights, bias))
            }
        }
        3 => Layer::Relu,
        4 | 5 => {
            let (input, walk) = read_walk(from)?;
            if input != before {
                return Err(from.wrong());
            }
            if kind == 4 {
                Layer::MaxPool(MaxPool::new(input, walk))
            } else {
                Layer::AveragePool(AveragePool::new(input, walk))
            }
        }
        _ => return Err(from.wrong()),
    };
    Ok(layer)
}

fn read_dims(from: &mut Reader<'_>) -> Result<Dims, CodecError> {
    let dims = Dims {
        height: from.size()?,
        width: from.size()?,
        channels: from.size()?,
    };
    let elements = dims
        .height
        .checked_mul(dims.width)
        .and_then(|p| p.checked_mul(dims.channels));
    if elements.is_some_and(|elements| elements <= 1 << 26) {
        Ok(dims)
    } else {
        Err(from.wrong())
    }
}

fn read_walk(from: &mut Reader<'_>) -> Result<(Dims, Walk), CodecError> {
    let input = read_dims(from)?;
    let kernel = [from.size()?, from.size()?];
    let stride = [from.size()?, from.size()?];
    let walk = Walk {
        kernel,
        stride,
        padded: from.u64()? == 1,
    };
    let within = |axis: usize, len: usize| {
        (1..=len.max(64)).contains(&kernel[axis]) && (1..=64).contains(&stride[axis])
    };
    if within(0, input.height) && within(1, input.width) {
        Ok((input, walk))
    } else {
        Err(from.wrong())
    }
}
