//! Max pooling, average pooling, and the mean over a plane.

use super::plane::{Dims, Walk};

/// Largest value under the kernel, each channel by itself.
#[derive(Clone, Debug)]
pub(crate) struct MaxPool {
    pub(crate) input: Dims,
    pub(crate) output: Dims,
    pub(crate) walk: Walk,
    /// Input element that each output element came from.
    chosen: Vec<u32>,
}

impl MaxPool {
    pub(crate) fn new(input: Dims, walk: Walk) -> Self {
        Self {
            input,
            output: walk.out(input, input.channels),
            walk,
            chosen: Vec::new(),
        }
    }

    pub(crate) fn forward(&mut self, x: &[f32], y: &mut [f32]) {
        let c = self.input.channels;
        y.fill(f32::NEG_INFINITY);
        self.chosen.resize(y.len(), 0);
        let planes = x
            .chunks_exact(self.input.len())
            .zip(y.chunks_exact_mut(self.output.len()));
        for ((x, y), chosen) in planes.zip(self.chosen.chunks_exact_mut(self.output.len())) {
            self.walk.visit(self.input, |out, _, from| {
                for i in 0..c {
                    let value = x[from * c + i];
                    if value > y[out * c + i] {
                        y[out * c + i] = value;
                        chosen[out * c + i] = (from * c + i) as u32;
                    }
                }
            });
        }
    }

    pub(crate) fn backward(&self, dy: &[f32], dx: &mut [f32]) {
        dx.fill(0.0);
        let planes = dy
            .chunks_exact(self.output.len())
            .zip(dx.chunks_exact_mut(self.input.len()));
        for ((dy, dx), chosen) in planes.zip(self.chosen.chunks_exact(self.output.len())) {
            for (d, &from) in dy.iter().zip(chosen) {
                dx[from as usize] += d;
            }
        }
    }
}

/// Mean of the values under the kernel, each channel by itself; the edge's zeros do not count.
#[derive(Clone, Debug)]
pub(crate) struct AveragePool {
    pub(crate) input: Dims,
    pub(crate) output: Dims,
    pub(crate) walk: Walk,
    /// One over how many input positions each output position has.
    shares: Vec<f32>,
}

impl AveragePool {
    pub(crate) fn new(input: Dims, walk: Walk) -> Self {
        let output = walk.out(input, input.channels);
        let mut counts = vec![0.0f32; output.positions()];
        walk.visit(input, |out, _, _| counts[out] += 1.0);
        let shares = counts.iter().map(|count| 1.0 / count.max(1.0)).collect();
        Self {
            input,
            output,
            walk,
            shares,
        }
    }

    /// The mean over the whole plane.
    pub(crate) fn global(input: Dims) -> Self {
        let kernel = [input.height, input.width];
        Self::new(
            input,
            Walk {
                kernel,
                stride: [1, 1],
                padded: false,
            },
        )
    }

    pub(crate) fn forward(&self, x: &[f32], y: &mut [f32]) {
        let c = self.input.channels;
        y.fill(0.0);
        for (x, y) in x
            .chunks_exact(self.input.len())
            .zip(y.chunks_exact_mut(self.output.len()))
        {
            self.walk.visit(self.input, |out, _, from| {
                for (y, x) in y[out * c..out * c + c]
                    .iter_mut()
                    .zip(&x[from * c..from * c + c])
                {
                    *y += x;
                }
            });
            for (y, share) in y.chunks_exact_mut(c).zip(&self.shares) {
                y.iter_mut().for_each(|y| *y *= share);
            }
        }
    }

    pub(crate) fn backward(&self, dy: &[f32], dx: &mut [f32]) {
        let c = self.input.channels;
        dx.fill(0.0);
        for (dx, dy) in dx
            .chunks_exact_mut(self.input.len())
            .zip(dy.chunks_exact(self.output.len()))
        {
            self.walk.visit(self.input, |out, _, to| {
                let share = self.shares[out];
                for (dx, dy) in dx[to * c..to * c + c]
                    .iter_mut()
                    .zip(&dy[out * c..out * c + c])
                {
                    *dx += dy * share;
                }
            });
        }
    }
}
