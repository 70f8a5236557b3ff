//! Greatest and average value of a window, in few bytes of code.

use core::cell::Cell;

use super::{clamp, rows_in_order, taps_inside};
use crate::plan::Plan;
use crate::record::OpRecord;

/// What becomes of the values of a window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    /// The greatest; padding does not take part.
    #[cfg(feature = "general-ops")]
    Max,
    /// The average, halves away from zero; padding does not count.
    Average,
}

/// As the portable kernel.
pub(crate) fn pool(
    plan: &Plan<'_>,
    op: &OpRecord,
    pool: Pool,
    input: &[Cell<u8>],
    output: &[Cell<u8>],
) {
    let [_, height, width, channels] = plan.view(op.inputs[0]).shape.map(usize::from);
    let [_, rows, columns, _] = plan.view(op.output).shape.map(usize::from);
    // Input and output have one scale and zero point here, so no rescaling: the zero point is 0.
    let clamp = clamp(op, 0);
    // The first place of a window inside the input, and how many.
    let inside = |axis: usize, at: usize, len: usize| {
        let start = at as i32 * i32::from(op.stride[axis]) - i32::from(op.pad[axis]);
        let (first, end) = taps_inside(start, op.kernel[axis], 1, len);
        ((start + first as i32) as usize, end - first)
    };
    for row in rows_in_order(op, rows) {
        let (top, down) = inside(0, row, height);
        for column in 0..columns {
            let (left, along) = inside(1, column, width);
            let count = (down * along) as i32;
            let pixel = &output[(row * columns + column) * channels..][..channels];
            for (channel, output) in pixel.iter().enumerate() {
                let mut result: i32 = match pool {
                    #[cfg(feature = "general-ops")]
                    Pool::Max => i32::from(i8::MIN),
                    Pool::Average => 0,
                };
                // A window without values has no place either.
                let lines = if count == 0 { 0 } else { down };
                for line in 0..lines {
                    let first = ((top + line) * width + left) * channels + channel;
                    let values = &input[first..(first + (along - 1) * channels) + 1];
                    for value in values.iter().step_by(channels) {
                        let value = i32::from(value.get() as i8);
                        result = match pool {
                            #[cfg(feature = "general-ops")]
                            Pool::Max => result.max(value),
                            Pool::Average => result.wrapping_add(value),
                        };
                    }
                }
                if pool == Pool::Average && count > 0 {
                    // Halves away from zero.
                    let half = if result > 0 { count / 2 } else { -(count / 2) };
                    result = result.wrapping_add(half).wrapping_div(count);
                }
                output.set(clamp(result));
            }
        }
    }
}
