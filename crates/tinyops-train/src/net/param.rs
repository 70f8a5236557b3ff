//! Learned numbers and the optimizer that moves them.

use crate::rng::Rng;

/// One tensor of learned numbers with its gradient and the optimizer's two moments.
#[derive(Clone, Debug)]
pub(crate) struct Param {
    pub(crate) value: Vec<f32>,
    pub(crate) grad: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    /// Weight decay applies (weights) or not (biases, norms).
    decays: bool,
}

impl Param {
    /// Weights drawn by He's rule for ReLU: deviation `sqrt(2 / fan_in)`.
    pub(crate) fn weights(len: usize, fan_in: usize, rng: &mut Rng) -> Self {
        let deviation = (2.0 / fan_in.max(1) as f32).sqrt();
        Self::holding((0..len).map(|_| rng.normal() * deviation).collect(), true)
    }

    pub(crate) fn filled(len: usize, value: f32) -> Self {
        Self::holding(vec![value; len], false)
    }

    pub(crate) fn holding(value: Vec<f32>, decays: bool) -> Self {
        let zeros = vec![0.0; value.len()];
        Self {
            grad: zeros.clone(),
            first: zeros.clone(),
            second: zeros,
            value,
            decays,
        }
    }
}

/// Adam with decoupled weight decay.
///
/// # Source
/// I. Loshchilov and F. Hutter, 2019, "Decoupled weight decay regularization", algorithm 2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamW {
    pub(crate) learning_rate: f32,
    pub(crate) weight_decay: f32,
    pub(crate) step: i32,
}

const FIRST_DECAY: f32 = 0.9;
const SECOND_DECAY: f32 = 0.999;
const EPSILON: f32 = 1e-7;

impl AdamW {
    pub(crate) fn update(&self, param: &mut Param) {
        let first_bias = 1.0 - FIRST_DECAY.powi(self.step);
        let second_bias = 1.0 - SECOND_DECAY.powi(self.step);
        let decay = if param.decays {
            self.learning_rate * self.weight_decay
        } else {
            0.0
        };
        for (((value, &grad), first), second) in param
            .value
            .iter_mut()
            .zip(&param.grad)
            .zip(&mut param.first)
            .zip(&mut param.second)
        {
            *first = FIRST_DECAY * *first + (1.0 - FIRST_DECAY) * grad;
            *second = SECOND_DECAY * *second + (1.0 - SECOND_DECAY) * grad * grad;
            let step = (*first / first_bias) / ((*second / second_bias).sqrt() + EPSILON);
            *value -= self.learning_rate * step + decay * *value;
        }
    }
}
