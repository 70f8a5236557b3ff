//! Greatest and average value of a window, and the mean of a whole image.

use core::cell::Cell;

use super::{BLOCK, clamp, number, rows_in_order, taps_inside};
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::OpRecord;

/// The greatest value of each window; padding does not take part.
pub(crate) fn max(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    // Input and output have one scale and zero point here, so no rescaling: the zero point is 0.
    let clamp = clamp(op, 0);
    for_each_window(plan, op, output, |pixel, window| {
        for (block, outputs) in pixel.chunks(BLOCK).enumerate() {
            let mut greatest = [i8::MIN; BLOCK];
            window.for_each_value(input, |values| {
                for (greatest, value) in greatest.iter_mut().zip(&values[block * BLOCK..]) {
                    *greatest = (*greatest).max(value.get() as i8);
                }
            });
            for (output, greatest) in outputs.iter().zip(greatest) {
                output.set(clamp(i32::from(greatest)));
            }
        }
    });
}

/// The average of each window, halves away from zero; padding does not count.
pub(crate) fn average(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let clamp = clamp(op, 0);
    for_each_window(plan, op, output, |pixel, window| {
        let count = window.count() as i32;
        for (block, outputs) in pixel.chunks(BLOCK).enumerate() {
            let mut sums = [0i32; BLOCK];
            window.for_each_value(input, |values| {
                for (sum, value) in sums.iter_mut().zip(&values[block * BLOCK..]) {
                    *sum = sum.wrapping_add(i32::from(value.get() as i8));
                }
            });
            for (output, sum) in outputs.iter().zip(sums) {
                output.set(clamp(rounded_quotient(sum, count)));
            }
        }
    });
}

/// The mean over height and width: `clamp(zp + rescale(Σ in - count · zp_in))`.
///
/// The plan's multiplier holds `scale_in / scale_out / count`, its bias `-count · zp_in`.
pub(crate) fn mean(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let bias = number(plan, op, 0);
    let multiplier = Multiplier {
        value: number(plan, op, 1),
        shift: number(plan, op, 2) as i8,
    };
    let clamp = clamp(op, plan.view(op.output).zero_point);
    let channels = output.len();
    for (channel, output) in output.iter().enumerate() {
        let sum = input
            .iter()
            .skip(channel)
            .step_by(channels)
            .fold(bias, |sum, value| {
                sum.wrapping_add(i32::from(value.get() as i8))
            });
        output.set(clamp(multiplier.apply(sum)));
    }
}

/// Halves away from zero. The quotient of a whole window is int8, so 32 bits are enough for any
/// window that a plan can have in an arena of less than 16 MiB; beyond that the sum wraps.
fn rounded_quotient(sum: i32, count: i32) -> i32 {
    if count <= 0 {
        return 0;
    }
    let half = if sum > 0 { count / 2 } else { -(count / 2) };
    sum.wrapping_add(half) / count
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
            let start = at as i32 * i32::from(op.stride[axis]) - i32::from(op.pad[axis]);
            let (first, end) = taps_inside(start, op.kernel[axis], 1, len);
            if first == end {
                0..0
            } else {
                (start + first as i32) as usize..(start + end as i32) as usize
            }
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
