//! Greatest and average value of a window.

use core::cell::Cell;

use super::{BLOCK, clamp, place_inside, rows_in_order};
use crate::plan::Plan;
use crate::record::OpRecord;

/// What becomes of the values of a window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    /// The greatest; padding does not take part.
    Max,
    /// The average, halves away from zero; padding does not count.
    Average,
}

/// The greatest or average value of each window.
pub(crate) fn pool(
    plan: &Plan<'_>,
    op: &OpRecord,
    pool: Pool,
    input: &[Cell<u8>],
    output: &[Cell<u8>],
) {
    // Input and output have one scale and zero point here, so no rescaling: the zero point is 0.
    let clamp = clamp(op, 0);
    for_each_window(plan, op, output, |pixel, window| {
        let count = window.count() as i32;
        for (block, outputs) in pixel.chunks(BLOCK).enumerate() {
            let begin = if pool == Pool::Max {
                i32::from(i8::MIN)
            } else {
                0
            };
            let mut results = [begin; BLOCK];
            window.for_each_value(input, |values| {
                let values = results.iter_mut().zip(&values[block * BLOCK..]);
                if pool == Pool::Max {
                    for (result, value) in values {
                        *result = (*result).max(i32::from(value.get() as i8));
                    }
                } else {
                    for (result, value) in values {
                        *result = result.wrapping_add(i32::from(value.get() as i8));
                    }
                }
            });
            for (output, result) in outputs.iter().zip(results) {
                output.set(clamp(match pool {
                    Pool::Max => result,
                    Pool::Average => rounded_quotient(result, count),
                }));
            }
        }
    });
}

/// Halves away from zero. The quotient of a whole window is int8, so 32 bits are enough for any
/// window that a plan can have in an arena of less than 16 MiB; beyond that the sum wraps.
pub(crate) fn rounded_quotient(sum: i32, count: i32) -> i32 {
    if count <= 0 {
        return 0;
    }
    let half = if sum > 0 { count / 2 } else { -(count / 2) };
    sum.wrapping_add(half).wrapping_div(count)
}

/// The part of one pooling window that lies inside the input.
struct Window {
    rows: core::ops::Range<usize>,
    columns: core::ops::Range<usize>,
    width: usize,
    channels: usize,
}

impl Window {
    fn count(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    fn for_each_value(&self, input: &[Cell<u8>], mut visit: impl FnMut(&[Cell<u8>])) {
        for y in self.rows.clone() {
            let at = (y * self.width + self.columns.start) * self.channels;
            let line = &input[at..at + self.columns.len() * self.channels];
            for values in line.chunks_exact(self.channels) {
                visit(values);
            }
        }
    }
}

fn for_each_window(
    plan: &Plan<'_>,
    op: &OpRecord,
    output: &[Cell<u8>],
    mut visit: impl FnMut(&[Cell<u8>], &Window),
) {
    let [_, height, width, channels] = plan.view(op.inputs[0]).shape.map(usize::from);
    let [_, output_height, output_width, _] = plan.view(op.output).shape.map(usize::from);
    let pixels = rows_in_order(op, output_height)
        .flat_map(|row| row * output_width..(row + 1) * output_width);
    for index in pixels {
        let pixel = &output[index * channels..][..channels];
        let inside = |axis: usize, at: usize, len: usize| {
            place_inside(at, op.kernel[axis], op.stride[axis], op.pad[axis], len)
        };
        let rows = inside(0, index / output_width, height);
        let columns = inside(1, index % output_width, width);
        visit(
            pixel,
            &Window {
                rows,
                columns,
                width,
                channels,
            },
        );
    }
}
