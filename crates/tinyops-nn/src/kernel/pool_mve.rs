//! Greatest and average value of a window for the vector extension: some channels at a time.

use core::cell::Cell;

use super::{clamp, place_inside, rows_in_order};
use crate::arch::mve::{self, Pixels};
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

impl Pool {
    /// Channels that are made at once.
    fn lanes(self) -> usize {
        match self {
            #[cfg(feature = "general-ops")]
            Pool::Max => 16,
            Pool::Average => 4,
        }
    }
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
    let inside = |axis: usize, at: usize, len: usize| {
        place_inside(at, op.kernel[axis], op.stride[axis], op.pad[axis], len)
    };
    for row in rows_in_order(op, rows) {
        let down = inside(0, row, height);
        for column in 0..columns {
            let along = inside(1, column, width);
            let count = (down.len() * along.len()) as i32;
            let pixel = &output[(row * columns + column) * channels..][..channels];
            for (index, outputs) in pixel.chunks(pool.lanes()).enumerate() {
                if count == 0 {
                    // No network has a window without values.
                    let none = clamp(if pool == Pool::Average { 0 } else { -128 });
                    outputs.iter().for_each(|output| output.set(none));
                    continue;
                }
                let first = (down.start * width + along.start) * channels + index * pool.lanes();
                let window = Pixels {
                    values: &input[first..],
                    rows: down.len(),
                    columns: along.len(),
                    row_step: width * channels,
                    pixel_step: channels,
                };
                match pool {
                    #[cfg(feature = "general-ops")]
                    Pool::Max => {
                        mve::greatest(window, outputs);
                        mve::clamp(outputs, op.clamp);
                    }
                    Pool::Average => {
                        let sums = mve::sums(window, outputs.len());
                        for (output, sum) in outputs.iter().zip(sums) {
                            // Halves away from zero.
                            let half = if sum > 0 { count / 2 } else { -(count / 2) };
                            output.set(clamp(sum.wrapping_add(half).wrapping_div(count)));
                        }
                    }
                }
            }
        }
    }
}
