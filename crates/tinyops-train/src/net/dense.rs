//! The fully connected layer.

use super::gemm::{View, multiply};
use super::param::Param;
use super::shard;
use crate::rng::Rng;

/// `y = x · Wᵀ + b`, with `W` of `[outputs, inputs]`.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) weights: Param,
    pub(crate) bias: Param,
    partials: Vec<f32>,
}

impl Dense {
    pub(crate) fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Self {
        Self::holding(
            inputs,
            outputs,
            Param::weights(inputs * outputs, inputs, rng),
            Param::filled(outputs, 0.0),
        )
    }

    pub(crate) fn holding(inputs: usize, outputs: usize, weights: Param, bias: Param) -> Self {
        Self {
            inputs,
            outputs,
            weights,
            bias,
            partials: Vec::new(),
        }
    }

    pub(crate) fn forward(&self, count: usize, x: &[f32], y: &mut [f32]) {
        let len = shard::shard_len(count);
        let shards = x
            .chunks(len * self.inputs)
            .zip(y.chunks_mut(len * self.outputs))
            .collect();
        shard::for_each(
            shards,
            count * self.inputs * self.outputs,
            |(x, y): (&[f32], &mut [f32])| {
                for row in y.chunks_exact_mut(self.outputs) {
                    row.copy_from_slice(&self.bias.value);
                }
                let rows = y.len() / self.outputs;
                let weights = View::rows(&self.weights.value, self.inputs).transposed();
                multiply(
                    [rows, self.inputs, self.outputs],
                    View::rows(x, self.inputs),
                    weights,
                    1.0,
                    y,
                );
            },
        );
    }

    pub(crate) fn backward(&mut self, count: usize, x: &[f32], dy: &[f32], dx: Option<&mut [f32]>) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let len = shard::shard_len(count);
        let work = count * inputs * outputs;
        self.partials
            .resize(count.div_ceil(len) * inputs * outputs, 0.0);
        let shards = x
            .chunks(len * inputs)
            .zip(dy.chunks(len * outputs))
            .zip(self.partials.chunks_mut(inputs * outputs))
            .collect();
        shard::for_each(
            shards,
            work,
            |((x, dy), partial): ((&[f32], &[f32]), &mut [f32])| {
                let rows = dy.len() / outputs;
                let dy = View::rows(dy, outputs).transposed();
                multiply(
                    [outputs, rows, inputs],
                    dy,
                    View::rows(x, inputs),
                    0.0,
                    partial,
                );
            },
        );
        shard::add_in_order(&mut self.weights.grad, &self.partials);
        for row in dy.chunks_exact(outputs) {
            for (sum, d) in self.bias.grad.iter_mut().zip(row) {
                *sum += d;
            }
        }
        if let Some(dx) = dx {
            let weights = View::rows(&self.weights.value, inputs);
            let shards = dy
                .chunks(len * outputs)
                .zip(dx.chunks_mut(len * inputs))
                .collect();
            shard::for_each(shards, work, |(dy, dx): (&[f32], &mut [f32])| {
                let rows = dy.len() / outputs;
                multiply(
                    [rows, outputs, inputs],
                    View::rows(dy, outputs),
                    weights,
                    0.0,
                    dx,
                );
            });
        }
    }
}
