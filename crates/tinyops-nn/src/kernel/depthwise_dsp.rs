//! Depthwise convolution for the DSP extension: four channels at a time along a row.

use core::cell::Cell;

use super::{Channels, clamp_bytes, pair, product, rows_in_order};
use crate::arch::dsp::{ChannelTable, Depthwise, Layer, RowPart, TABLE_MAX};
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
    let [_, height, width, channels] = source.dims();
    let [height, width, channels] = [height as i32, width as i32, channels as i32];
    let [_, rows, columns, outputs] = result.dims();
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
    let [_, height, width, channels] = source.dims();
    let [_, rows, columns, outputs] = result.dims();
    let [stride_down, stride_along] = pair(op.stride);
    if outputs != channels || outputs < 4 {
        return false;
    }
    let Some(depthwise) = Depthwise::new(Layer {
        input,
        shape: [height, width, channels],
        kernel: pair(op.kernel),
        dilation: pair(op.dilation),
        stride: stride_along,
        filter: &plan.constants()[op.weights_offset as usize..],
        zero_points: [source.zero_point, result.zero_point],
    }) else {
        return false;
    };
    let pixels_max = depthwise.pixels_max();
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
    for row in rows_in_order(op, rows) {
        let line = &output[row * columns * outputs..][..columns * outputs];
        for (index, output) in line.chunks(pixels_max * outputs).enumerate() {
            for pass in 0..passes {
                let first = firsts(pass);
                if passes > 1 {
                    channels.fill(&mut table, first, TABLE_MAX);
                }
                let all = table.len();
                // Some of the channels before the last ones once more, if all are no fours.
                for (known, blocks) in [(0, all / 4), (all - 4, all % 4)] {
                    if blocks > 0 {
                        depthwise.run(&RowPart {
                            at: [
                                (row * stride_down) as i32 - i32::from(op.pad[0]),
                                (index * pixels_max * stride_along) as i32 - i32::from(op.pad[1]),
                            ],
                            output,
                            table: &table,
                            first: first + known,
                            known,
                            blocks: if known == 0 { blocks } else { 1 },
                        });
                    }
                }
            }
        }
    }
    clamp_bytes(output, op.clamp);
    true
}
