//! Convolution as a matrix product over patches (im2col), and depthwise convolution directly.

use super::gemm::{View, multiply};
use super::param::Param;
use super::plane::{Dims, Walk};
use super::shard;
use crate::rng::Rng;

/// A full convolution; weights `[outputs, kernel height, kernel width, inputs]`.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) input: Dims,
    pub(crate) output: Dims,
    pub(crate) walk: Walk,
    pub(crate) weights: Param,
    pub(crate) bias: Param,
    patches: Vec<f32>,
    partials: Vec<f32>,
}

impl Conv {
    pub(crate) fn new(input: Dims, channels: usize, walk: Walk, rng: &mut Rng) -> Self {
        let fan_in = walk.kernel[0] * walk.kernel[1] * input.channels;
        let weights = Param::weights(fan_in * channels, fan_in, rng);
        Self::holding(input, channels, walk, weights, Param::filled(channels, 0.0))
    }

    pub(crate) fn holding(
        input: Dims,
        channels: usize,
        walk: Walk,
        weights: Param,
        bias: Param,
    ) -> Self {
        let output = walk.out(input, channels);
        Self {
            input,
            output,
            walk,
            weights,
            bias,
            patches: Vec::new(),
            partials: Vec::new(),
        }
    }

    /// Elements of one patch.
    fn patch_len(&self) -> usize {
        self.walk.kernel[0] * self.walk.kernel[1] * self.input.channels
    }

    /// One tap, one step: the plane is its own patch matrix.
    fn is_pointwise(&self) -> bool {
        self.walk.kernel == [1, 1] && self.walk.stride == [1, 1]
    }

    pub(crate) fn forward(&mut self, count: usize, x: &[f32], y: &mut [f32]) {
        let len = shard::shard_len(count);
        let (k, n) = (self.patch_len(), self.output.channels);
        let plane = self.output.positions() * k;
        let pointwise = self.is_pointwise();
        let mut patches = std::mem::take(&mut self.patches);
        patches.resize(if pointwise { 0 } else { count * plane }, 0.0);
        let work = count * plane * n;
        let this = &*self;
        let product = |patches: &[f32], y: &mut [f32]| {
            for row in y.chunks_exact_mut(n) {
                row.copy_from_slice(&this.bias.value);
            }
            let weights = View::rows(&this.weights.value, k).transposed();
            multiply([y.len() / n, k, n], View::rows(patches, k), weights, 1.0, y);
        };
        let outputs = y.chunks_mut(len * this.output.len());
        let inputs = x.chunks(len * this.input.len());
        if pointwise {
            let shards = inputs.zip(outputs).collect();
            shard::for_each(shards, work, |(x, y): (&[f32], &mut [f32])| product(x, y));
        } else {
            let shards = inputs
                .zip(outputs)
                .zip(patches.chunks_mut(len * plane))
                .collect();
            shard::for_each(
                shards,
                work,
                |((x, y), patches): ((&[f32], &mut [f32]), &mut [f32])| {
                    for (x, patch) in x
                        .chunks_exact(this.input.len())
                        .zip(patches.chunks_exact_mut(plane))
                    {
                        this.gather(x, patch);
                    }
                    product(patches, y);
                },
            );
        }
        self.patches = patches;
    }

    /// Copies every patch of one example; places off the plane stay 0.
    fn gather(&self, x: &[f32], patches: &mut [f32]) {
        let (k, c) = (self.patch_len(), self.input.channels);
        patches.fill(0.0);
        self.walk.visit(self.input, |out, tap, from| {
            let at = out * k + tap * c;
            patches[at..at + c].copy_from_slice(&x[from * c..from * c + c]);
        });
    }

    pub(crate) fn backward(&mut self, count: usize, x: &[f32], dy: &[f32], dx: Option<&mut [f32]>) {
        let len = shard::shard_len(count);
        let (k, n) = (self.patch_len(), self.output.channels);
        let plane = self.output.positions() * k;
        let work = count * plane * n;
        let pointwise = self.is_pointwise();
        self.partials.resize(count.div_ceil(len) * k * n, 0.0);
        let patches = if pointwise { x } else { &self.patches };
        let shards = patches
            .chunks(len * plane)
            .zip(dy.chunks(len * self.output.len()))
            .zip(self.partials.chunks_mut(k * n))
            .collect();
        shard::for_each(
            shards,
            work,
            |((patches, dy), partial): ((&[f32], &[f32]), &mut [f32])| {
                let rows = dy.len() / n;
                let dy = View::rows(dy, n).transposed();
                multiply([n, rows, k], dy, View::rows(patches, k), 0.0, partial);
            },
        );
        shard::add_in_order(&mut self.weights.grad, &self.partials);
        for row in dy.chunks_exact(n) {
            for (sum, d) in self.bias.grad.iter_mut().zip(row) {
                *sum += d;
            }
        }
        let Some(dx) = dx else { return };
        let mut patches = std::mem::take(&mut self.patches);
        let this = &*self;
        let weights = View::rows(&this.weights.value, k);
        let inputs = dx.chunks_mut(len * this.input.len());
        let outputs = dy.chunks(len * this.output.len());
        if pointwise {
            let shards = inputs.zip(outputs).collect();
            shard::for_each(shards, work, |(dx, dy): (&mut [f32], &[f32])| {
                multiply([dy.len() / n, n, k], View::rows(dy, n), weights, 0.0, dx);
            });
        } else {
            // The patches of the forward pass are spent: their memory takes the gradients.
            let shards = inputs
                .zip(outputs)
                .zip(patches.chunks_mut(len * plane))
                .collect();
            shard::for_each(
                shards,
                work,
                |((dx, dy), patches): ((&mut [f32], &[f32]), &mut [f32])| {
                    multiply(
                        [dy.len() / n, n, k],
                        View::rows(dy, n),
                        weights,
                        0.0,
                        patches,
                    );
                    for (dx, patch) in dx
                        .chunks_exact_mut(this.input.len())
                        .zip(patches.chunks_exact(plane))
                    {
                        this.scatter(patch, dx);
                    }
                },
            );
        }
        self.patches = patches;
    }

    /// Adds every patch of one example back to where it came from.
    fn scatter(&self, patches: &[f32], x: &mut [f32]) {
        let (k, c) = (self.patch_len(), self.input.channels);
        x.fill(0.0);
        self.walk.visit(self.input, |out, tap, to| {
            let at = out * k + tap * c;
            for (sum, d) in x[to * c..to * c + c].iter_mut().zip(&patches[at..at + c]) {
                *sum += d;
            }
        });
    }
}

/// A convolution of each channel by itself; weights `[kernel height, kernel width, channels]`.
#[derive(Clone, Debug)]
pub(crate) struct Depthwise {
    pub(crate) input: Dims,
    pub(crate) output: Dims,
    pub(crate) walk: Walk,
    pub(crate) weights: Param,
    pub(crate) bias: Param,
    partials: Vec<f32>,
}

impl Depthwise {
    pub(crate) fn new(input: Dims, walk: Walk, rng: &mut Rng) -> Self {
        let taps = walk.kernel[0] * walk.kernel[1];
        let weights = Param::weights(taps * input.channels, taps, rng);
        Self::holding(input, walk, weights, Param::filled(input.channels, 0.0))
    }

    pub(crate) fn holding(input: Dims, walk: Walk, weights: Param, bias: Param) -> Self {
        let output = walk.out(input, input.channels);
        Self {
            input,
            output,
            walk,
            weights,
            bias,
            partials: Vec::new(),
        }
    }

    fn work(&self, count: usize) -> usize {
        count * self.output.len() * self.walk.kernel[0] * self.walk.kernel[1]
    }

    pub(crate) fn forward(&self, count: usize, x: &[f32], y: &mut [f32]) {
        let len = shard::shard_len(count);
        let c = self.input.channels;
        let shards = x
            .chunks(len * self.input.len())
            .zip(y.chunks_mut(len * self.output.len()))
            .collect();
        shard::for_each(shards, self.work(count), |(x, y): (&[f32], &mut [f32])| {
            for (x, y) in x
                .chunks_exact(self.input.len())
                .zip(y.chunks_exact_mut(self.output.len()))
            {
                for place in y.chunks_exact_mut(c) {
                    place.copy_from_slice(&self.bias.value);
                }
                self.walk.visit(self.input, |out, tap, from| {
                    let y = &mut y[out * c..out * c + c];
                    let x = &x[from * c..from * c + c];
                    let w = &self.weights.value[tap * c..tap * c + c];
                    for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
                        *y += x * w;
                    }
                });
            }
        });
    }

    pub(crate) fn backward(&mut self, count: usize, x: &[f32], dy: &[f32], dx: Option<&mut [f32]>) {
        let len = shard::shard_len(count);
        let (c, work) = (self.input.channels, self.work(count));
        let (inputs, outputs) = (self.input.len(), self.output.len());
        let weight_len = self.weights.value.len();
        self.partials.clear();
        self.partials.resize(count.div_ceil(len) * weight_len, 0.0);
        let (walk, input) = (self.walk, self.input);
        let shards = x
            .chunks(len * inputs)
            .zip(dy.chunks(len * outputs))
            .zip(self.partials.chunks_mut(weight_len))
            .collect();
        shard::for_each(
            shards,
            work,
            |((x, dy), partial): ((&[f32], &[f32]), &mut [f32])| {
                for (x, dy) in x.chunks_exact(inputs).zip(dy.chunks_exact(outputs)) {
                    walk.visit(input, |out, tap, from| {
                        let dy = &dy[out * c..out * c + c];
                        let x = &x[from * c..from * c + c];
                        for ((sum, x), d) in partial[tap * c..tap * c + c].iter_mut().zip(x).zip(dy)
                        {
                            *sum += x * d;
                        }
                    });
                }
            },
        );
        shard::add_in_order(&mut self.weights.grad, &self.partials);
        for row in dy.chunks_exact(c) {
            for (sum, d) in self.bias.grad.iter_mut().zip(row) {
                *sum += d;
            }
        }
        let Some(dx) = dx else { return };
        let weights = &self.weights.value;
        let shards = dx
            .chunks_mut(len * inputs)
            .zip(dy.chunks(len * outputs))
            .collect();
        shard::for_each(shards, work, |(dx, dy): (&mut [f32], &[f32])| {
            for (dx, dy) in dx.chunks_exact_mut(inputs).zip(dy.chunks_exact(outputs)) {
                dx.fill(0.0);
                walk.visit(input, |out, tap, to| {
                    let dy = &dy[out * c..out * c + c];
                    let w = &weights[tap * c..tap * c + c];
                    for ((sum, d), w) in dx[to * c..to * c + c].iter_mut().zip(dy).zip(w) {
                        *sum += d * w;
                    }
                });
            }
        });
    }
}
