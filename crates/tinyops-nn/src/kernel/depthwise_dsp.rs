//! Depthwise convolution for the DSP extension: four channels at a time along a row.

use core::cell::Cell;

use super::{Channels, clamp_bytes, product, rows_in_order};
use crate::arch::dsp::{self, ChannelTable, DepthwiseRow, ROW_PIXELS_MAX, RowTaps, TABLE_MAX};
use crate::plan::Plan;
use crate::record::OpRecord;

/// As the portable kernel.
pub(crate) fn convolve(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    if !by_rows(plan, op, input, output) {
        by_values(plan, op, input, output);
    }
}

/// One value after another, whatever the op: what [`by_rows`] leaves is rare, so this is small.
#[inline(never)]
fn by_values(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, height, width, channels] = source.shape.map(i32::from);
    let [_, rows, columns, outputs] = result.shape.map(usize::from);
    let filter = &plan.constants()[op.weights_offset as usize..];
    let table = Channels::of(plan, op, outputs);
    let multiplier = outputs as i32 / channels;
    for row in rows_in_order(op, rows) {
        let top = row as i32 * i32::from(op.stride[0]) - i32::from(op.pad[0]);
        for column in 0..columns {
            let left = column as i32 * i32::from(op.stride[1]) - i32::from(op.pad[1]);
            for channel in 0..outputs {
                let mut weight = channel;
                let mut sum = 0i32;
                for down in 0..i32::from(op.kernel[0]) {
                    let y = top + down * i32::from(op.dilation[0]);
                    for along in 0..i32::from(op.kernel[1]) {
                        let x = left + along * i32::from(op.dilation[1]);
                        let at = (y * width + x) * channels + channel as i32 / multiplier;
                        let is_inside = (y as u32) < height as u32 && (x as u32) < width as u32;
                        let value = input.get(at as usize).filter(|_| is_inside);
                        let value = value.map_or(source.zero_point as u8, Cell::get);
                        // A filter has a weight for each tap.
                        let own = filter.get(weight).map_or(0, |&weight| weight);
                        sum = sum.wrapping_add(product(value, own));
                        weight += outputs;
                    }
                }
                if let Some(place) = output.get((row * columns + column) * outputs + channel) {
                    place.set(table.finish_one(channel, sum, result.zero_point));
                }
            }
        }
    }
    clamp_bytes(output, op.clamp);
}

/// Four channels at a time along a row; false, with nothing done, where this does not serve: more
/// outputs than inputs, fewer than four channels, many taps, a factor of 1/2 or more.
#[inline(never)]
fn by_rows(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) -> bool {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, height, width, channels] = source.shape;
    let [_, rows, columns, outputs] = result.shape.map(usize::from);
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
    let suits =
        outputs == usize::from(channels) && outputs >= 4 && !is_outside(0) && !is_outside(rows - 1);
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
    let channels = Channels::of(plan, op, outputs);
    let mut table = ChannelTable::new();
    // The first of some channels, as many as the table holds; the last of all lie before the end.
    let firsts = |pass: usize| (pass * TABLE_MAX).min(outputs - TABLE_MAX.min(outputs));
    let passes = outputs.div_ceil(TABLE_MAX);
    for pass in 0..passes {
        channels.fill(&mut table, firsts(pass), TABLE_MAX.min(outputs));
        if !table.is_low() {
            return false;
        }
    }
    for y in rows_in_order(op, rows) {
        let line = &output[y * columns * outputs..][..columns * outputs];
        let (top, tap_rows) = rows_inside(y);
        let input_row = top + tap_rows.0 as i32 * i32::from(op.dilation[0]);
        for (index, output) in line.chunks(ROW_PIXELS_MAX * outputs).enumerate() {
            if columns > ROW_PIXELS_MAX {
                // What fits at the first pixel fits at any.
                aim(&mut taps, index * ROW_PIXELS_MAX);
            }
            for pass in 0..passes {
                let first = firsts(pass);
                if passes > 1 {
                    channels.fill(&mut table, first, TABLE_MAX);
                }
                let row = DepthwiseRow {
                    taps: &taps,
                    input_row: input_row as usize,
                    tap_rows,
                    filter,
                    table: &table,
                    input,
                    output,
                    zero_points: [source.zero_point, result.zero_point],
                };
                let known = table.len();
                dsp::depthwise_row(&row, first, 0, known / 4);
                if !known.is_multiple_of(4) {
                    // Some of the channels before the last ones once more.
                    dsp::depthwise_row(&row, first + known - 4, known - 4, 1);
                }
            }
        }
        clamp_bytes(line, op.clamp);
    }
    true
}
