//! A model in floating point, as training leaves it.

use tinyops_dsp::FrontEnd;
use tinyops_model::{Decision, OwnedScaler};

use crate::Features;
use crate::codec::{CodecError, Reader, Writer};
use crate::evaluation::Scores;
use crate::net::{AveragePool, Conv, Dense, Depthwise, Dims, Layer, MaxPool, Network, Param, Walk};
use crate::optimise::{Epoch, forward_all};
use crate::spec::Goal;

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

/// Rows of the members, copy by copy, as the network sees them.
pub(crate) fn standardised(
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
