//! Int8 after training: calibrated ranges, rounded weights, the graph that a board runs.
//!
//! # Source
//! The TensorFlow Lite 8-bit quantization specification: weights symmetric by output channel,
//! activations asymmetric by tensor, biases int32 at the product of their input's and filter's scales.

use tinyops_model::build::Weights;
use tinyops_model::{
    Activation, Body, Conv as ConvOp, Decision, Graph, GraphBuilder, Model, Padding, Pool,
    Quantization, Task, TensorId,
};

use crate::fit::threshold;
use crate::net::{Dims, Layer, Network, Walk};
use crate::predictor::Predictor;
use crate::progress::{Flow, Listener, Progress, Stage};
use crate::spec::{Goal, Range, TrainSpec};
use crate::trained::{FloatBody, Trained};
use crate::{FeatureSet, Features, TrainError, baseline};

/// The int8 model: weights rounded, ranges calibrated on the training part, threshold chosen by what the
/// int8 model says of the validation part, baseline taken from the training part.
///
/// # Errors
/// [`TrainError::Mismatch`] where the set is not what the model was trained on;
/// [`TrainError::Cancelled`].
pub fn quantize(
    name: &str,
    spec: &TrainSpec,
    trained: &Trained,
    set: &FeatureSet,
    report: Listener<'_>,
) -> Result<Model, TrainError> {
    if set.train.front_end != trained.front_end {
        return Err(TrainError::Mismatch(
            "the features are those of another front end".into(),
        ));
    }
    let told = |done: usize, report: Listener<'_>| {
        let progress = Progress {
            stage: Stage::Quantize,
            done,
            total: 3,
            loss: None,
            metric: None,
        };
        if report(progress) == Flow::Cancel {
            Err(TrainError::Cancelled)
        } else {
            Ok(())
        }
    };
    told(0, report)?;
    let body = match &trained.body {
        FloatBody::Network(net) => {
            let rows = calibration_rows(spec, trained, &set.train);
            Body::Network(graph(
                net,
                &rows,
                spec.quantize.range,
                spec.goal == Goal::Classify,
                1.0,
            ))
        }
        FloatBody::Autoencoder(net) => {
            // What is strange lies outside the range of what is normal, and must still be seen.
            const ROOM: f32 = 2.0;
            let rows = calibration_rows(spec, trained, &set.train);
            Body::Autoencoder(graph(net, &rows, Range::Full, false, ROOM))
        }
        FloatBody::KMeans { centres, radii } => Body::KMeans {
            centres: centres.clone(),
            radii: radii.clone(),
        },
        FloatBody::Mahalanobis {
            mean,
            inverse_covariance,
        } => Body::Mahalanobis {
            mean: mean.clone(),
            inverse_covariance: inverse_covariance.clone(),
        },
    };
    told(1, report)?;
    let mut model = Model {
        name: name.to_owned(),
        task: match trained.goal {
            Goal::Classify => Task::Classify,
            Goal::Regress => Task::Regress,
            Goal::Anomaly => Task::Anomaly,
        },
        front_end: trained.front_end,
        scaler: trained.scaler.clone(),
        body,
        labels: trained.labels.clone(),
        decision: trained.decision,
        baseline: baseline::empty(),
        embedding: Vec::new(),
    };
    let predictor = Predictor::new(&model)?;
    // After a refit, the validation windows are no strangers any more: what the first fit said of them stands.
    let threshold = if spec.refit && set.validation.count() > 0 {
        trained.decision.threshold
    } else {
        threshold(spec, set, |features| predictor.score(features))
    };
    told(2, report)?;
    // What is watched are the answers that devices will give.
    model.decision = Decision {
        threshold,
        min_confidence: spec.min_confidence,
    };
    baseline::watch(&mut model, &set.train, unseen(spec, set), trained.goal)?;
    told(3, report)?;
    Ok(model)
}

/// Windows that the model was not fitted on. Nothing is chosen by them here: they only tell how often it is right.
pub(crate) fn unseen<'a>(spec: &TrainSpec, set: &'a FeatureSet) -> Option<&'a Features> {
    // A refit has seen the validation part too.
    let validation = (!spec.refit).then_some(&set.validation);
    [Some(&set.test), validation]
        .into_iter()
        .flatten()
        .find(|part| part.count() > 0)
}

/// Standardised features of training windows, spread evenly.
fn calibration_rows(spec: &TrainSpec, trained: &Trained, train: &Features) -> Vec<f32> {
    let count = train.count();
    let wanted = if spec.quantize.windows == 0 {
        count
    } else {
        count.min(spec.quantize.windows as usize)
    };
    let mut rows = Vec::with_capacity(wanted * train.width());
    for place in 0..wanted {
        let start = rows.len();
        rows.extend_from_slice(train.row(0, place * count / wanted));
        trained.scaler.view().apply(&mut rows[start..]);
        rows[start..]
            .iter_mut()
            .for_each(|x| *x = x.clamp(-trained.clip, trained.clip));
    }
    rows
}

/// The int8 graph of a folded network, its ranges taken from how it treats `rows`.
pub(crate) fn graph(net: &Network, rows: &[f32], range: Range, softmax: bool, room: f32) -> Graph {
    let mut net = net.clone();
    let count = rows.len() / net.input.len();
    net.forward(count, rows, None);
    let dims = net.dims();
    let mut builder = GraphBuilder::new();
    let input = per_tensor(&widened(rows, room), range);
    let mut tensor = builder.input(shape(net.input), Some(input.clone()));
    let mut scale = input.scale();
    let mut index = 0;
    let last_dense = net
        .layers
        .iter()
        .rposition(|layer| matches!(layer, Layer::Dense(_)));
    while let Some(layer) = net.layers.get(index) {
        let fused = matches!(net.layers.get(index + 1), Some(Layer::Relu));
        let activation = if fused {
            Activation::Relu
        } else {
            Activation::None
        };
        let after = index + 1 + usize::from(fused);
        let calibrated = || per_tensor(net.batch(after), range);
        if last_dense == Some(index) {
            builder.embedding(tensor);
        }
        match layer {
            Layer::Dense(dense) => {
                let quantization = calibrated();
                let filter = [dense.outputs, 1, 1, dense.inputs].map(|x| x as u16);
                let rounded = round_weights(&dense.weights.value, &dense.bias.value, scale, false);
                let weights =
                    Weights::int8(filter, rounded.filter, rounded.scales, rounded.bias, scale);
                scale = quantization.scale();
                tensor = builder.dense(tensor, weights, activation, Some(quantization));
                index = after;
            }
            Layer::Conv(conv) => {
                let quantization = calibrated();
                let [height, width] = conv.walk.kernel;
                let filter =
                    [conv.output.channels, height, width, conv.input.channels].map(|x| x as u16);
                let rounded = round_weights(&conv.weights.value, &conv.bias.value, scale, false);
                let weights =
                    Weights::int8(filter, rounded.filter, rounded.scales, rounded.bias, scale);
                scale = quantization.scale();
                tensor = builder.conv2d(
                    tensor,
                    weights,
                    conv_op(conv.walk, activation),
                    Some(quantization),
                );
                index = after;
            }
            Layer::Depthwise(conv) => {
                let quantization = calibrated();
                let [height, width] = conv.walk.kernel;
                let filter = [1, height, width, conv.output.channels].map(|x| x as u16);
                let rounded = round_weights(&conv.weights.value, &conv.bias.value, scale, true);
                let weights =
                    Weights::int8(filter, rounded.filter, rounded.scales, rounded.bias, scale);
                scale = quantization.scale();
                tensor = builder.depthwise_conv2d(
                    tensor,
                    weights,
                    conv_op(conv.walk, activation),
                    Some(quantization),
                );
                index = after;
            }
            Layer::Relu => {
                let quantization = per_tensor(net.batch(index + 1), range);
                scale = quantization.scale();
                tensor = builder.activate(tensor, Activation::Relu, Some(quantization));
                index += 1;
            }
            Layer::MaxPool(pool) => {
                tensor = builder.max_pool2d(tensor, pool_op(pool.walk));
                index += 1;
            }
            Layer::AveragePool(pool) if pool.output.positions() == 1 => {
                let quantization = per_tensor(net.batch(index + 1), range);
                scale = quantization.scale();
                tensor = builder.mean(tensor, Some(quantization));
                index += 1;
            }
            Layer::AveragePool(pool) => {
                tensor = builder.average_pool2d(tensor, pool_op(pool.walk));
                index += 1;
            }
            Layer::Norm(_) | Layer::Dropout(..) => {
                unreachable!("folded networks hold neither norm nor dropout")
            }
        }
    }
    debug_assert_eq!(
        builder
            .shape(tensor)
            .map(usize::from)
            .iter()
            .product::<usize>(),
        dims[dims.len() - 1].len()
    );
    let output: TensorId = if softmax {
        builder.softmax(tensor)
    } else {
        tensor
    };
    builder.finish(&[output])
}

fn shape(dims: Dims) -> [u16; 4] {
    [
        1,
        dims.height as u16,
        dims.width as u16,
        dims.channels as u16,
    ]
}

fn conv_op(walk: Walk, activation: Activation) -> ConvOp {
    let padding = if walk.padded {
        Padding::Same
    } else {
        Padding::Valid
    };
    ConvOp {
        stride: walk.stride.map(|s| s as u8),
        dilation: [1, 1],
        padding,
        activation,
    }
}

fn pool_op(walk: Walk) -> Pool {
    let padding = if walk.padded {
        Padding::Same
    } else {
        Padding::Valid
    };
    Pool {
        window: walk.kernel.map(|k| k as u16),
        stride: walk.stride.map(|s| s as u8),
        padding,
        activation: Activation::None,
    }
}

fn widened(rows: &[f32], room: f32) -> Vec<f32> {
    rows.iter().map(|x| x * room).collect()
}

/// Weights and biases as integers.
pub(crate) struct Rounded {
    pub(crate) filter: Vec<i8>,
    pub(crate) scales: Vec<f32>,
    pub(crate) bias: Vec<i32>,
}

/// Rounds weights by output channel; `channels_last` where the channel is the innermost index.
pub(crate) fn round_weights(
    weights: &[f32],
    bias: &[f32],
    input_scale: f32,
    channels_last: bool,
) -> Rounded {
    let channels = bias.len();
    let fan_in = weights.len() / channels;
    let channel = |index: usize| {
        if channels_last {
            index % channels
        } else {
            index / fan_in
        }
    };
    let mut largest = vec![0.0f32; channels];
    for (index, weight) in weights.iter().enumerate() {
        largest[channel(index)] = largest[channel(index)].max(weight.abs());
    }
    let scales: Vec<f32> = largest
        .iter()
        .zip(bias)
        .map(|(largest, bias)| {
            // A bias far larger than its weights must still fit 32 bits, with room for the products.
            let least = bias.abs() / input_scale / (1u32 << 28) as f32;
            (largest / 127.0).max(least).max(1e-9)
        })
        .collect();
    let filter = weights.iter().enumerate().map(|(index, weight)| {
        (weight / scales[channel(index)])
            .round()
            .clamp(-127.0, 127.0) as i8
    });
    let filter = filter.collect();
    let bias = bias.iter().zip(&scales).map(|(bias, scale)| {
        (f64::from(*bias) / (f64::from(input_scale) * f64::from(*scale))).round() as i32
    });
    Rounded {
        filter,
        bias: bias.collect(),
        scales,
    }
}

/// Scale and zero point of an activation whose values are like these.
pub(crate) fn per_tensor(values: &[f32], range: Range) -> Quantization {
    let (low, high) = match range {
        Range::Full => extremes(values),
        Range::Percentile => percentiles(values),
        Range::Mse => least_error(values),
    };
    let (scale, zero_point) = scale_of(low, high);
    Quantization::per_tensor(scale, zero_point)
}

/// 0 is always inside the range and exactly representable, as padding and ReLU need it.
fn scale_of(low: f32, high: f32) -> (f32, i8) {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = ((high - low) / 255.0).max(1e-9);
    let zero_point = (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i8;
    (scale, zero_point)
}

fn extremes(values: &[f32]) -> (f32, f32) {
    values.iter().fold((0.0, 0.0), |(low, high), &x| {
        (f32::min(low, x), f32::max(high, x))
    })
}

fn percentiles(values: &[f32]) -> (f32, f32) {
    let mut sorted = thinned(values);
    sorted.sort_by(f32::total_cmp);
    let at = |share| crate::anomaly::quantile(&sorted, share);
    (at(0.001), at(0.999))
}

/// Values looked at in the search for a range.
const SEARCHED: usize = 20_000;
/// Ranges tried on either side, from the full one to a twentieth of it.
const TRIED: u32 = 20;

fn thinned(values: &[f32]) -> Vec<f32> {
    // A prime step does not fall into the rhythm of channels and windows.
    let step = (values.len() / SEARCHED).max(1) | 1;
    values.iter().step_by(step).copied().collect()
}

/// The range of least squared error: tries to give up the upper, then the lower end.
fn least_error(values: &[f32]) -> (f32, f32) {
    let (low, high) = extremes(values);
    let sample = thinned(values);
    let error = |low: f32, high: f32| -> f64 {
        let (scale, zero_point) = scale_of(low, high);
        sample
            .iter()
            .map(|&x| {
                let q = tinyops_nn::quantize(x, scale, zero_point);
                f64::from(tinyops_nn::dequantize(q, scale, zero_point) - x).powi(2)
            })
            .sum()
    };
    let shrunk = |end: f32, tried: u32| end * (1.0 - tried as f32 / TRIED as f32);
    let best = |candidates: &dyn Fn(u32) -> (f32, f32)| {
        let mut least = (f64::INFINITY, (low, high));
        for tried in 0..TRIED {
            let (low, high) = candidates(tried);
            let here = error(low, high);
            if here < least.0 {
                least = (here, (low, high));
            }
        }
        least.1
    };
    let (_, upper) = best(&|tried| (low, shrunk(high, tried)));
    best(&|tried| (shrunk(low, tried), upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_in_every_range() {
        for (low, high) in [
            (0.0, 6.0),
            (-3.0, 5.0),
            (-0.1, 9.7),
            (1.0, 2.0),
            (-4.0, -1.0),
            (0.0, 0.0),
        ] {
            let (scale, zero_point) = scale_of(low, high);
            assert_eq!(
                tinyops_nn::dequantize(
                    tinyops_nn::quantize(0.0, scale, zero_point),
                    scale,
                    zero_point
                ),
                0.0
            );
            assert!(scale > 0.0 && scale.is_finite());
        }
    }

    #[test]
    fn an_outlier_does_not_take_the_range() {
        let mut values: Vec<f32> = (0..9999).map(|i| (i as f32 * 0.7).sin()).collect();
        values.push(40.0);
        let full = per_tensor(&values, Range::Full).scale();
        let least = per_tensor(&values, Range::Mse).scale();
        assert!(least <= full);
        assert!(per_tensor(&values, Range::Percentile).scale() < full / 5.0);
    }

    #[test]
    fn rounding_keeps_each_channel_within_half_a_step() {
        let weights = [0.5, -1.0, 0.25, 100.0, 3.0, -50.0];
        let rounded = round_weights(&weights, &[0.1, 2.0], 0.05, false);
        for (index, weight) in weights.iter().enumerate() {
            let scale = rounded.scales[index / 3];
            assert!(
                (f32::from(rounded.filter[index]) * scale - weight).abs() <= scale / 2.0 + 1e-6
            );
        }
        assert_eq!(rounded.filter[1], -127);
        assert_eq!(rounded.filter[3], 127);
        let bias = rounded.bias[1] as f32 * 0.05 * rounded.scales[1];
        assert!((bias - 2.0).abs() < 0.05);
        let idle = round_weights(&[0.0], &[1e6], 1e-3, false);
        assert!(
            idle.bias[0] < i32::MAX && idle.bias[0] > 0,
            "a lone bias fits"
        );
    }
}
