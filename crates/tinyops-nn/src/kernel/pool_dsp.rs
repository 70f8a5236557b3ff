//! Greatest and average value of a window, in few bytes of code.

use core::cell::Cell;

use super::{clamp, rows_in_order, taps_inside};
use crate::arch::dsp;
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
    let [_, height, width, channels] = plan.view(op.inputs[0]).dims();
    let [_, rows, columns, _] = plan.view(op.output).dims();
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
                let first = (top * width + left) * channels + channel;
                let steps = [width * channels, channels];
                output.set(clamp(match pool {
                    #[cfg(feature = "general-ops")]
                    Pool::Max => greatest(input, first, [down, along], steps),
                    Pool::Average => {
                        // A window without values has no place either.
                        let values = input.get(first..).unwrap_or(&[]);
                        let sum = dsp::sum(values, [down, along], steps);
                        // Halves away from zero.
                        let half = if sum > 0 { count / 2 } else { -(count / 2) };
                        sum.wrapping_add(half).checked_div(count).unwrap_or(0)
                    }
                }));
            }
        }
    }
}

/// The greatest of so many rows and columns of values.
#[cfg(feature = "general-ops")]
fn greatest(
    input: &[Cell<u8>],
    first: usize,
    [down, along]: [usize; 2],
    [row_step, step]: [usize; 2],
) -> i32 {
    let places = (0..down).flat_map(|row| (0..along).map(move |at| row * row_step + at * step));
    let values = places.filter_map(|place| input.get(first + place));
    values.fold(i32::from(i8::MIN), |greatest, value| {
        greatest.max(i32::from(value.get() as i8))
    })
}
