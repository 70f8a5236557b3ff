//! Averages of windows and of whole images, sixteen channels at a time.

use core::cell::Cell;

use super::lanes::{LANES, Lanes};
use crate::kernel::pool::rounded_quotient;
use crate::kernel::{place_inside, rows_from};
use crate::quantize::Multiplier;

/// Windows over an input, and what becomes of their sums.
pub(crate) struct Pool {
    /// Height, width and channels; at least [`LANES`] channels.
    pub(crate) input: [usize; 3],
    /// Height and width.
    pub(crate) output: [usize; 2],
    pub(crate) kernel: [u16; 2],
    pub(crate) stride: [u8; 2],
    pub(crate) pad: [u16; 2],
    pub(crate) is_backward: bool,
    pub(crate) rule: Rule,
    pub(crate) clamp: [i32; 2],
}

/// What becomes of the sum of a window.
pub(crate) enum Rule {
    /// The average of the values inside.
    Average,
    /// Rescaled, with a bias before and a zero point after.
    Mean {
        bias: i32,
        multiplier: Multiplier,
        zero_point: i32,
    },
}

impl Pool {
    fn finish(&self, sum: i32, count: usize) -> u8 {
        let value = match &self.rule {
            Rule::Average => rounded_quotient(sum, count as i32),
            Rule::Mean {
                bias,
                multiplier,
                zero_point,
            } => multiplier
                .apply(sum.wrapping_add(*bias))
                .saturating_add(*zero_point),
        };
        value.clamp(self.clamp[0], self.clamp[1]) as u8
    }
}

/// Runs the op in the order in which a plan lets it overlap its input.
#[inline(always)]
pub(crate) fn pool<V: Lanes>(lanes: V, op: &Pool, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let [height, width, channels] = op.input;
    assert!(channels >= LANES && input.len() >= height * width * channels);
    let inside = |axis: usize, at: usize, len: usize| {
        place_inside(at, op.kernel[axis], op.stride[axis], op.pad[axis], len)
    };
    for y in rows_from(op.is_backward, op.output[0]) {
        let rows = inside(0, y, height);
        for x in 0..op.output[1] {
            let columns = inside(1, x, width);
            let count = rows.len() * columns.len();
            let pixel = &output[(y * op.output[1] + x) * channels..][..channels];
            let mut channel = 0;
            while channel < channels {
                // The last block begins early: it makes some channels again.
                let first = channel.min(channels - LANES);
                let mut sums = lanes.splat(0);
                for row in rows.clone() {
                    let line = &input[(row * width) * channels..][..width * channels];
                    for column in columns.clone() {
                        let values = &line[column * channels + first..][..LANES];
                        // SAFETY: they are sixteen.
                        let values = unsafe { lanes.widen(values.as_ptr().cast()) };
                        sums = lanes.add(sums, values);
                    }
                }
                for (output, sum) in pixel[first..].iter().zip(lanes.lanes(sums)) {
                    output.set(op.finish(sum, count));
                }
                channel += LANES;
            }
        }
    }
}
