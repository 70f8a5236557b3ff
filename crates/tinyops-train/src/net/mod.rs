//! The trainer: layers with a forward and a backward pass over batches of NHWC `f32`.
//!
//! A network is a chain. Every layer reads a batch and writes a batch into memory that the network
//! keeps between steps; the sums of a batch are made in a fixed order (see [`shard`]).

mod conv;
mod dense;
mod gemm;
mod loss;
mod norm;
mod param;
mod plane;
mod pool;
mod shard;

pub(crate) use conv::{Conv, Depthwise};
pub(crate) use dense::Dense;
pub(crate) use loss::{cross_entropy, squared_error};
pub(crate) use norm::Norm;
pub(crate) use param::{AdamW, Param};
pub(crate) use plane::{Dims, Walk};
pub(crate) use pool::{AveragePool, MaxPool};

use crate::rng::Rng;

/// One layer of a network.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    Dense(Dense),
    Conv(Conv),
    Depthwise(Depthwise),
    Norm(Norm),
    Relu,
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    /// Drops each element with the given chance and scales the rest up; its mask is kept.
    Dropout(f32, Vec<f32>),
}

impl Layer {
    pub(crate) fn output(&self, input: Dims) -> Dims {
        match self {
            Self::Dense(layer) => Dims::vector(layer.outputs),
            Self::Conv(layer) => layer.output,
            Self::Depthwise(layer) => layer.output,
            Self::MaxPool(layer) => layer.output,
            Self::AveragePool(layer) => layer.output,
            Self::Norm(_) | Self::Relu | Self::Dropout(..) => input,
        }
    }

    fn forward(&mut self, count: usize, x: &[f32], y: &mut [f32], chance: Option<&mut Rng>) {
        match self {
            Self::Dense(layer) => layer.forward(count, x, y),
            Self::Conv(layer) => layer.forward(count, x, y),
            Self::Depthwise(layer) => layer.forward(count, x, y),
            Self::Norm(layer) => layer.forward(chance.is_some(), x, y),
            Self::Relu => y.iter_mut().zip(x).for_each(|(y, x)| *y = x.max(0.0)),
            Self::MaxPool(layer) => layer.forward(x, y),
            Self::AveragePool(layer) => layer.forward(x, y),
            Self::Dropout(share, mask) => match chance {
                None => y.copy_from_slice(x),
                Some(rng) => {
                    let keep = 1.0 / (1.0 - *share);
                    mask.clear();
                    mask.extend(
                        x.iter()
                            .map(|_| if rng.uniform() < *share { 0.0 } else { keep }),
                    );
                    y.iter_mut()
                        .zip(x)
                        .zip(&*mask)
                        .for_each(|((y, x), m)| *y = x * m);
                }
            },
        }
    }

    fn backward(&mut self, count: usize, x: &[f32], dy: &[f32], dx: Option<&mut [f32]>) {
        match (self, dx) {
            (Self::Dense(layer), dx) => layer.backward(count, x, dy, dx),
            (Self::Conv(layer), dx) => layer.backward(count, x, dy, dx),
            (Self::Depthwise(layer), dx) => layer.backward(count, x, dy, dx),
            (Self::Norm(layer), dx) => layer.backward(x, dy, dx),
            (_, None) => {}
            (Self::Relu, Some(dx)) => {
                for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
                    *dx = if *x > 0.0 { *dy } else { 0.0 };
                }
            }
            (Self::MaxPool(layer), Some(dx)) => layer.backward(dy, dx),
            (Self::AveragePool(layer), Some(dx)) => layer.backward(dy, dx),
            (Self::Dropout(_, mask), Some(dx)) => {
                dx.iter_mut()
                    .zip(dy)
                    .zip(&*mask)
                    .for_each(|((dx, dy), m)| *dx = dy * m);
            }
        }
    }

    fn params_mut(&mut self) -> Option<[&mut Param; 2]> {
        match self {
            Self::Dense(layer) => Some([&mut layer.weights, &mut layer.bias]),
            Self::Conv(layer) => Some([&mut layer.weights, &mut layer.bias]),
            Self::Depthwise(layer) => Some([&mut layer.weights, &mut layer.bias]),
            Self::Norm(layer) => Some([&mut layer.gain, &mut layer.offset]),
            _ => None,
        }
    }
}

/// A chain of layers with the memory of one pass.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) input: Dims,
    pub(crate) layers: Vec<Layer>,
    /// So many layers at the start do not learn: gradients go no further.
    pub(crate) frozen: usize,
    /// The batch before each layer, and last the outputs.
    batches: Vec<Vec<f32>>,
    grads: Vec<Vec<f32>>,
}

impl Network {
    pub(crate) fn new(input: Dims) -> Self {
        Self {
            input,
            layers: Vec::new(),
            frozen: 0,
            batches: Vec::new(),
            grads: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, layer: Layer) -> Dims {
        self.layers.push(layer);
        self.output()
    }

    pub(crate) fn output(&self) -> Dims {
        self.dims().last().copied().unwrap_or(self.input)
    }

    /// The shape before each layer, and last that of the output.
    pub(crate) fn dims(&self) -> Vec<Dims> {
        let mut dims = vec![self.input];
        for layer in &self.layers {
            dims.push(layer.output(dims[dims.len() - 1]));
        }
        dims
    }

    /// Runs `count` examples through every layer; with `chance`, as in training.
    pub(crate) fn forward(
        &mut self,
        count: usize,
        inputs: &[f32],
        mut chance: Option<&mut Rng>,
    ) -> &[f32] {
        let dims = self.dims();
        self.batches.resize_with(dims.len(), Vec::new);
        self.batches[0].clear();
        self.batches[0].extend_from_slice(&inputs[..count * dims[0].len()]);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let (before, after) = self.batches.split_at_mut(index + 1);
            after[0].resize(count * dims[index + 1].len(), 0.0);
            layer.forward(count, &before[index], &mut after[0], chance.as_deref_mut());
        }
        &self.batches[self.layers.len()]
    }

    /// What the last pass left before layer `index` (the outputs, one past the last).
    pub(crate) fn batch(&self, index: usize) -> &[f32] {
        &self.batches[index]
    }

    /// Adds the gradients of the last pass to every parameter's, from those over the outputs.
    pub(crate) fn backward(&mut self, count: usize, output_grad: &[f32]) {
        self.grads.resize_with(self.layers.len() + 1, Vec::new);
        let last = self.layers.len();
        self.grads[last].clear();
        self.grads[last].extend_from_slice(output_grad);
        let learning = self.layers.iter_mut().enumerate().skip(self.frozen);
        for (index, layer) in learning.rev() {
            let (before, after) = self.grads.split_at_mut(index + 1);
            let x = &self.batches[index];
            // Nothing learns before that layer, so its input needs no gradient.
            let dx = (index > self.frozen).then(|| {
                before[index].resize(x.len(), 0.0);
                &mut before[index][..]
            });
            layer.backward(count, x, &after[0], dx);
        }
    }

    pub(crate) fn params_mut(&mut self) -> impl Iterator<Item = &mut Param> {
        self.layers
            .iter_mut()
            .filter_map(Layer::params_mut)
            .flatten()
    }

    pub(crate) fn clear_grads(&mut self) {
        self.params_mut().for_each(|param| param.grad.fill(0.0));
    }

    /// The same function without batch norm and dropout: norms are folded into the layer before.
    pub(crate) fn folded(&self) -> Self {
        let mut folded = Self::new(self.input);
        for layer in &self.layers {
            match layer {
                Layer::Dropout(..) => {}
                Layer::Norm(norm) => {
                    let last = folded
                        .layers
                        .last_mut()
                        .expect("a norm follows the layer it scales");
                    fold(last, norm);
                }
                other => folded.layers.push(other.clone()),
            }
        }
        folded
    }
}

fn fold(layer: &mut Layer, norm: &Norm) {
    let gain: Vec<f32> = (0..norm.channels)
        .map(|c| norm.gain.value[c] / (norm.running_variance[c] + norm::EPSILON).sqrt())
        .collect();
    let (weights, bias, channels_last) = match layer {
        Layer::Dense(layer) => (&mut layer.weights, &mut layer.bias, false),
        Layer::Conv(layer) => (&mut layer.weights, &mut layer.bias, false),
        Layer::Depthwise(layer) => (&mut layer.weights, &mut layer.bias, true),
        _ => unreachable!("networks are built with each norm right after a weighted layer"),
    };
    let fan_in = weights.value.len() / norm.channels;
    for (index, weight) in weights.value.iter_mut().enumerate() {
        *weight *= gain[if channels_last {
            index % norm.channels
        } else {
            index / fan_in
        }];
    }
    for (c, bias) in bias.value.iter_mut().enumerate() {
        *bias = (*bias - norm.running_mean[c]) * gain[c] + norm.offset.value[c];
    }
}

#[cfg(test)]
mod tests;
