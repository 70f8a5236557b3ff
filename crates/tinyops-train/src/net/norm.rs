//! Batch normalisation.

use super::param::Param;

/// Added to a variance before its root.
pub(crate) const EPSILON: f32 = 1e-3;
/// Share of the running figures that one batch replaces.
const MOMENTUM: f32 = 0.05;

/// `y = gain * (x - mean) / sqrt(variance + EPSILON) + offset`, each channel over batch and plane.
///
/// # Source
/// S. Ioffe and C. Szegedy, 2015, "Batch normalization".
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) channels: usize,
    pub(crate) gain: Param,
    pub(crate) offset: Param,
    pub(crate) running_mean: Vec<f32>,
    pub(crate) running_variance: Vec<f32>,
    mean: Vec<f32>,
    inv_std: Vec<f32>,
}

impl Norm {
    pub(crate) fn new(channels: usize) -> Self {
        Self {
            channels,
            gain: Param::filled(channels, 1.0),
            offset: Param::filled(channels, 0.0),
            running_mean: vec![0.0; channels],
            running_variance: vec![1.0; channels],
            mean: vec![0.0; channels],
            inv_std: vec![1.0; channels],
        }
    }

    pub(crate) fn forward(&mut self, learning: bool, x: &[f32], y: &mut [f32]) {
        if learning {
            self.measure(x);
        } else {
            self.mean.copy_from_slice(&self.running_mean);
            for (inv, variance) in self.inv_std.iter_mut().zip(&self.running_variance) {
                *inv = 1.0 / (variance + EPSILON).sqrt();
            }
        }
        let factor: Vec<f32> = self
            .gain
            .value
            .iter()
            .zip(&self.inv_std)
            .map(|(g, i)| g * i)
            .collect();
        let shift: Vec<f32> = (0..self.channels)
            .map(|c| self.offset.value[c] - factor[c] * self.mean[c])
            .collect();
        for (x, y) in x
            .chunks_exact(self.channels)
            .zip(y.chunks_exact_mut(self.channels))
        {
            for (((y, x), factor), shift) in y.iter_mut().zip(x).zip(&factor).zip(&shift) {
                *y = x * factor + shift;
            }
        }
    }

    fn measure(&mut self, x: &[f32]) {
        let count = (x.len() / self.channels).max(1) as f32;
        let mean = channel_sums(x, self.channels, |x, _| x);
        self.mean = mean.iter().map(|sum| sum / count).collect();
        let variance = channel_sums(x, self.channels, |x, c| {
            let d = x - self.mean[c];
            d * d
        });
        for (c, sum) in variance.iter().enumerate() {
            let variance = sum / count;
            self.inv_std[c] = 1.0 / (variance + EPSILON).sqrt();
            self.running_mean[c] += MOMENTUM * (self.mean[c] - self.running_mean[c]);
            self.running_variance[c] += MOMENTUM * (variance - self.running_variance[c]);
        }
    }

    pub(crate) fn backward(&mut self, x: &[f32], dy: &[f32], dx: Option<&mut [f32]>) {
        let c = self.channels;
        let count = (x.len() / c).max(1) as f32;
        let mut sum = vec![0.0f32; c];
        let mut product = vec![0.0f32; c];
        for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
            for i in 0..c {
                sum[i] += dy[i];
                product[i] += dy[i] * (x[i] - self.mean[i]) * self.inv_std[i];
            }
        }
        for i in 0..c {
            self.offset.grad[i] += sum[i];
            self.gain.grad[i] += product[i];
        }
        let Some(dx) = dx else { return };
        let factor: Vec<f32> = self
            .gain
            .value
            .iter()
            .zip(&self.inv_std)
            .map(|(g, i)| g * i)
            .collect();
        for ((x, dy), dx) in x
            .chunks_exact(c)
            .zip(dy.chunks_exact(c))
            .zip(dx.chunks_exact_mut(c))
        {
            for i in 0..c {
                let normal = (x[i] - self.mean[i]) * self.inv_std[i];
                dx[i] = factor[i] * (dy[i] - (sum[i] + normal * product[i]) / count);
            }
        }
    }
}

/// Sums over rows in blocks, so that a long plane loses no digits to its own sum.
fn channel_sums(x: &[f32], channels: usize, term: impl Fn(f32, usize) -> f32) -> Vec<f32> {
    let mut total = vec![0.0f32; channels];
    let mut block = vec![0.0f32; channels];
    for rows in x.chunks(channels * 256) {
        block.fill(0.0);
        for row in rows.chunks_exact(channels) {
            for (c, (sum, x)) in block.iter_mut().zip(row).enumerate() {
                *sum += term(*x, c);
            }
        }
        for (total, block) in total.iter_mut().zip(&block) {
            *total += block;
        }
    }
    total
}
