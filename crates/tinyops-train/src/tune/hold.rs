//! What a fine-tune may move: which numbers, on which grid, and what each move was worth.

use crate::net::Network;

/// Holds the numbers of a network while it is fine-tuned.
///
/// Each pass sees weights rounded to the grid that the device has them on, gradients reach what lies under them: so a
/// number that has to move gathers until it is worth a step, and one that only wavers stays.
///
/// # Source
/// Y. Bengio, N. Léonard and A. Courville, 2013, "Estimating or propagating gradients through stochastic neurons for
/// conditional computation": the straight-through estimator. F. Zenke, B. Poole and S. Ganguli, 2017, "Continual
/// learning through synaptic intelligence", eq. 3: the worth of a move.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    /// One for each parameter of the network, in order.
    pub(crate) params: Vec<Held>,
    /// Pull towards the start, as a factor of the distance added to the gradient.
    pub(crate) pull: f32,
}

/// The numbers of one parameter.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Where each was, which is on the grid.
    pub(crate) start: Vec<f32>,
    pub(crate) free: Free,
    /// Least and greatest step from the start, and the size of one, of each number; empty where training does not round.
    pub(crate) grid: Vec<Grid>,
    /// By how much the moves of each have lowered the loss: `-Σ gradient · move`.
    pub(crate) worth: Vec<f32>,
    under: Vec<f32>,
}

/// Which numbers may move.
#[derive(Clone, Debug)]
pub(crate) enum Free {
    None,
    All,
    Some(Vec<bool>),
}

/// Where a number may lie: `start + n · step` with `n` in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) step: f32,
    pub(crate) least: i32,
    pub(crate) most: i32,
}

impl Grid {
    /// How many steps from the start a number lies.
    pub(crate) fn steps(&self, start: f32, value: f32) -> i32 {
        // A cast of a float saturates, and NaN becomes 0.
        let steps = ((value - start) / self.step).round() as i32;
        steps.clamp(self.least, self.most)
    }
}

impl Held {
    pub(crate) fn new(start: Vec<f32>, free: Free, grid: Vec<Grid>) -> Self {
        Self {
            worth: vec![0.0; start.len()],
            under: start.clone(),
            start,
            free,
            grid,
        }
    }

    fn is_free(&self, index: usize) -> bool {
        match &self.free {
            Free::None => false,
            Free::All => true,
            Free::Some(free) => free[index],
        }
    }
}

impl Hold {
    /// Before a pass: keeps the numbers, and puts in their place those of the grid.
    pub(crate) fn round(&mut self, net: &mut Network) {
        for (param, held) in net.params_mut().zip(&mut self.params) {
            held.under.copy_from_slice(&param.value);
            for ((value, start), grid) in param.value.iter_mut().zip(&held.start).zip(&held.grid) {
                let steps = grid.steps(*start, *value);
                *value = start + steps as f32 * grid.step;
            }
        }
    }

    /// After a pass: puts the numbers back, and leaves gradients to those that may move.
    pub(crate) fn restore(&mut self, net: &mut Network) {
        let pull = self.pull;
        for (param, held) in net.params_mut().zip(&self.params) {
            param.value.copy_from_slice(&held.under);
            for (index, grad) in param.grad.iter_mut().enumerate() {
                *grad = match held.is_free(index) {
                    true => *grad + pull * (held.under[index] - held.start[index]),
                    false => 0.0,
                };
            }
        }
    }

    /// After a step: what it was worth.
    pub(crate) fn credit(&mut self, net: &mut Network) {
        for (param, held) in net.params_mut().zip(&mut self.params) {
            let moves = param.value.iter().zip(&held.under);
            for ((worth, grad), (after, before)) in
                held.worth.iter_mut().zip(&param.grad).zip(moves)
            {
                *worth += grad * (before - after);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Dense, Dims, Layer, Param};

    /// Two inputs to one output, weights on a grid of 0.5.
    fn held() -> (Network, Hold) {
        let mut net = Network::new(Dims::vector(2));
        let weights = Param::holding(vec![1.0, -0.5], true);
        let bias = Param::holding(vec![0.25], false);
        net.push(Layer::Dense(Dense::holding(2, 1, weights, bias)));
        let grid = Grid {
            step: 0.5,
            least: -2,
            most: 1,
        };
        let weights = Held::new(
            vec![1.0, -0.5],
            Free::Some(vec![true, false]),
            vec![grid; 2],
        );
        let bias = Held::new(vec![0.25], Free::All, Vec::new());
        let params = vec![weights, bias];
        (net, Hold { params, pull: 0.0 })
    }

    #[test]
    fn a_pass_sees_the_grid_and_a_step_moves_what_lies_under_it() {
        let (mut net, mut hold) = held();
        net.params_mut().next().unwrap().value[0] = 1.2;
        hold.round(&mut net);
        assert_eq!(net.params_mut().next().unwrap().value, [1.0, -0.5]);
        net.params_mut().next().unwrap().grad = vec![2.0, 3.0];
        hold.restore(&mut net);
        let weights = net.params_mut().next().unwrap();
        assert_eq!(
            (&weights.value[..], &weights.grad[..]),
            (&[1.2, -0.5][..], &[2.0, 0.0][..])
        );
        weights.value[0] = 9.0;
        hold.credit(&mut net);
        assert_eq!(hold.params[0].worth, [2.0 * (1.2 - 9.0), 0.0]);
        hold.round(&mut net);
        assert_eq!(
            net.params_mut().next().unwrap().value[0],
            1.5,
            "no further than the grid"
        );
    }

    #[test]
    fn the_pull_goes_to_the_start() {
        let (mut net, mut hold) = held();
        hold.pull = 0.1;
        net.params_mut().nth(1).unwrap().value[0] = 1.25;
        hold.round(&mut net);
        hold.restore(&mut net);
        assert!((net.params_mut().nth(1).unwrap().grad[0] - 0.1).abs() < 1e-6);
    }
}
