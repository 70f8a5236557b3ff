//! Depthwise convolution for the vector extension: the channels of a row one plane after another.

use core::cell::Cell;

use super::{Channels, rows_in_order, taps_inside};
use crate::arch::mve::{
    self, CHANNELS_MAX, Filters, PLANE_MAX, Pixels, Planes, Row, TAPS_BYTES, Table,
};
use crate::plan::Plan;
use crate::record::OpRecord;

/// As the portable kernel; false, with nothing done, where this one does not serve: more outputs
/// than inputs, channels that are no multiple of four, many taps, a factor of 1/2 or more.
pub(crate) fn convolve(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: &[Cell<u8>],
    output: &[Cell<u8>],
) -> bool {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, height, width, channels] = source.shape.map(usize::from);
    let [_, rows, columns, outputs] = result.shape.map(usize::from);
    let [kernel_rows, kernel_columns] = op.kernel.map(usize::from);
    let [stride_down, stride] = op.stride.map(usize::from);
    let channel_table = Channels::of(plan, op, outputs);
    // Columns of four bytes, as most filters have, make for fixed steps.
    let column_bytes = kernel_rows.max(4);
    let taps_bytes = column_bytes * kernel_columns;
    let rows_inside = |y: usize| {
        let top = (y * stride_down) as i32 - i32::from(op.pad[0]);
        (top, taps_inside(top, op.kernel[0], op.dilation[0], height))
    };
    // A window outside the image is no network's; the first or the last row shows it.
    let is_outside = |y: usize| {
        let (_, (first, end)) = rows_inside(y);
        first == end
    };
    let suits = outputs == channels
        && outputs.is_multiple_of(4)
        && op.dilation[1] == 1
        && taps_bytes <= TAPS_BYTES
        && stride * column_bytes <= PLANE_MAX
        && channel_table.shifts_are_low()
        && !is_outside(0)
        && !is_outside(rows - 1);
    if !suits {
        return false;
    }
    let filter = &plan.constants()[op.weights_offset as usize..];
    let filter = &filter[..op.filter_bytes(source.shape, result.shape) as usize];
    let (mut filters, mut table, mut planes) = (Filters::new(), Table::new(true), Planes::new());
    let mut set = None;
    // Outputs of a row that go into planes at once.
    let piece = ((PLANE_MAX - taps_bytes) / column_bytes / stride + 1).min(columns);
    let mut is_filled = false;
    for y in rows_in_order(op, rows) {
        let (top, tap_rows) = rows_inside(y);
        let input_row = (top + tap_rows.0 as i32 * i32::from(op.dilation[0])) as usize;
        let is_whole = tap_rows == (0, kernel_rows);
        let line = &output[y * columns * outputs..][..columns * outputs];
        for (index, pixels) in line.chunks(piece * outputs).enumerate() {
            let count = pixels.len() / outputs;
            let left = (index * piece * stride) as i32 - i32::from(op.pad[1]);
            let under = ((count - 1) * stride + kernel_columns) as i32;
            let first = (-left).clamp(0, under);
            let end = (width as i32 - left).clamp(first, under);
            if first == end {
                return false;
            }
            // What lies outside is the same for the rows in the middle.
            if !is_filled || !is_whole {
                planes.fill(source.zero_point);
            }
            is_filled = is_whole && piece == columns;
            let at = (input_row * width + (left + first) as usize) * channels;
            for block in (0..outputs).step_by(CHANNELS_MAX) {
                let block_channels = CHANNELS_MAX.min(outputs - block);
                if set != Some(block) {
                    let weights = Pixels {
                        values: &filter[block..],
                        rows: kernel_rows,
                        columns: kernel_columns,
                        row_step: kernel_columns * outputs,
                        pixel_step: outputs,
                    };
                    filters.set(weights, block_channels, column_bytes);
                    table.clear();
                    channel_table.push(&mut table, block, block_channels);
                    set = Some(block);
                }
                let row = Row {
                    inside: Pixels {
                        values: &input[at + block..],
                        rows: tap_rows.1 - tap_rows.0,
                        columns: (end - first) as usize,
                        row_step: usize::from(op.dilation[0]) * width * channels,
                        pixel_step: channels,
                    },
                    first: [tap_rows.0, first as usize],
                    stride,
                    kernel_columns,
                    column_bytes,
                    pixels: count,
                    output: &pixels[block..],
                    output_step: outputs,
                    zero_point: result.zero_point,
                };
                mve::convolve_row(&row, &filters, &table, &mut planes);
            }
            mve::clamp(pixels, op.clamp);
        }
    }
    true
}
