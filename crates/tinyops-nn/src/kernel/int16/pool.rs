//! Greatest and average values of windows, and sums along axes.

use super::{Values, put};
use crate::kernel::reduce::Axes;
use crate::kernel::{number, rows_in_order, taps_inside};
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::{OpCode, OpRecord};

/// The greatest or average value of each window; padding takes no part.
pub(super) fn pool(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: Values<'_>,
    output: Values<'_>,
    clamp: [i32; 2],
) {
    let [_, height, width, channels] = plan.view(op.inputs[0]).shape.map(usize::from);
    let [_, output_height, output_width, _] = plan.view(op.output).shape.map(usize::from);
    let is_max = op.code == OpCode::MaxPool2d;
    for y in rows_in_order(op, output_height) {
        let top = y as i32 * i32::from(op.stride[0]) - i32::from(op.pad[0]);
        let rows = taps_inside(top, op.kernel[0], 1, height);
        for x in 0..output_width {
            let left = x as i32 * i32::from(op.stride[1]) - i32::from(op.pad[1]);
            let columns = taps_inside(left, op.kernel[1], 1, width);
            let count = (rows.1 - rows.0) * (columns.1 - columns.0);
            for channel in 0..channels {
                let mut greatest = i32::from(i16::MIN);
                let mut sum = 0i32;
                for row in rows.0..rows.1 {
                    let line = (top + row as i32) as usize * width;
                    for column in columns.0..columns.1 {
                        let pixel = line + (left + column as i32) as usize;
                        let value = input.get(pixel * channels + channel);
                        greatest = greatest.max(value);
                        sum = sum.wrapping_add(value);
                    }
                }
                let result = if is_max {
                    greatest
                } else {
                    average(sum, count as i32)
                };
                let at = (y * output_width + x) * channels + channel;
                output.set(at, result.clamp(clamp[0], clamp[1]));
            }
        }
    }
}

/// Halves away from zero; 0 of nothing.
fn average(sum: i32, count: i32) -> i32 {
    if count <= 0 {
        return 0;
    }
    let half = if sum > 0 { count / 2 } else { -(count / 2) };
    sum.wrapping_add(half).wrapping_div(count)
}

/// Sums, and means too, along any axes: the numbers of the same op over int8.
pub(super) fn sum(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: Values<'_>,
    output: Values<'_>,
    clamp: [i32; 2],
) {
    let bias = number(plan, op, 1);
    let multiplier = Multiplier {
        value: number(plan, op, 2),
        shift: number(plan, op, 3) as i8,
    };
    let gone = Axes::of(plan, op, 10);
    let mut outputs = output.0.iter();
    Axes::of(plan, op, 4).for_each(|start| {
        let Some(output) = outputs.next() else { return };
        let mut sum = bias;
        gone.for_each(|at| sum = sum.wrapping_add(input.get(start + at)));
        put(output, multiplier.apply(sum).clamp(clamp[0], clamp[1]));
    });
}
