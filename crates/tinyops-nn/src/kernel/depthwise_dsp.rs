//! Depthwise convolution for the DSP extension: four channels at a time along a row.

use core::cell::Cell;

use super::{Channels, Unpacked, rows_in_order};
use crate::arch::dsp::{self, DepthwiseRow, ROW_PIXELS_MAX, RowTaps};
use crate::plan::Plan;
use crate::record::OpRecord;

/// As the portable kernel; false, with nothing done, where this one does not serve: more outputs
/// than inputs, fewer than four channels, many taps, a factor of 1/2 or more, a fused activation
/// that is not the whole range.
pub(crate) fn convolve(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: &[Cell<u8>],
    output: &[Cell<u8>],
) -> bool {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, height, width, channels] = source.shape;
    let [_, rows, columns, outputs] = result.shape.map(usize::from);
    let channel_table = Channels::of(plan, op, outputs);
    let rows_inside = |y: usize| {
        let top = (y * usize::from(op.stride[0])) as i32 - i32::from(op.pad[0]);
        let taps = super::taps_inside(top, op.kernel[0], op.dilation[0], usize::from(height));
        (top, taps)
    };
    // A window outside the image is no network's; the first or the last row shows it.
    let is_outside = |y: usize| {
        let (_, (first, end)) = rows_inside(y);
        first == end
    };
    let suits = outputs == usize::from(channels)
        && outputs >= 4
        && op.clamp == [i8::MIN, i8::MAX]
        && channel_table.shifts_are_low()
        && !is_outside(0)
        && !is_outside(rows - 1);
    if !suits {
        return false;
    }
    let aim = |taps: &mut RowTaps, start: usize| {
        let pixels = ROW_PIXELS_MAX.min(columns - start);
        taps.aim(op, [width, channels], start, pixels)
    };
    let mut taps = RowTaps::new();
    if !aim(&mut taps, 0) {
        return false;
    }
    let filter = &plan.constants()[op.weights_offset as usize..];
    let filter = &filter[..op.filter_bytes(source.shape, result.shape) as usize];
    let mut unpacked = Unpacked::new();
    let Some(table) = channel_table.table(&mut unpacked) else {
        return false;
    };
    for y in rows_in_order(op, rows) {
        let line = &output[y * columns * outputs..][..columns * outputs];
        let (top, tap_rows) = rows_inside(y);
        let input_row = top + tap_rows.0 as i32 * i32::from(op.dilation[0]);
        for (index, output) in line.chunks(ROW_PIXELS_MAX * outputs).enumerate() {
            if columns > ROW_PIXELS_MAX {
                // What fits at the first pixel fits at any.
                aim(&mut taps, index * ROW_PIXELS_MAX);
            }
            let row = DepthwiseRow {
                taps: &taps,
                input_row: input_row as usize,
                tap_rows,
                filter,
                table,
                input,
                output,
                zero_points: [source.zero_point, result.zero_point],
            };
            dsp::depthwise_row(&row, 0, outputs / 4);
            if !outputs.is_multiple_of(4) {
                // Some of the channels before the last ones once more.
                dsp::depthwise_row(&row, outputs - 4, 1);
            }
        }
    }
    true
}
