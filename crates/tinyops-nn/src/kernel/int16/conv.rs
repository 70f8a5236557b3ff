//! Convolutions and dense layers.

use super::{Channels, Values, value};
use crate::kernel::{rows_in_order, taps_inside};
use crate::layout::{GROUP_ROWS, QUAD};
use crate::plan::Plan;
use crate::record::OpRecord;

/// Products of int16 and int8 that 32 bits can sum: each is at most 2^22.
const SUMMED: usize = 256;

/// `out[y][x][o] = clamp(rescale(bias[o] + Σ in[…] · w[o][…]))`; padding adds nothing.
pub(super) fn convolve(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: Values<'_>,
    output: Values<'_>,
    clamp: [i32; 2],
) {
    let (source, result) = (plan.view(op.inputs[0]), plan.view(op.output));
    let [_, height, width, channels] = source.shape.map(usize::from);
    let [_, output_height, output_width, output_channels] = result.shape.map(usize::from);
    let filter_bytes = op.filter_bytes(source.shape, result.shape) as usize;
    let filter = &plan.constants()[op.weights_offset as usize..][..filter_bytes];
    let channels_of = Channels::of(plan, op, output_channels);
    let finish = |channel: usize, sum: i64| {
        let rescaled = channels_of.rescale(channel, sum);
        rescaled.clamp(clamp[0], clamp[1])
    };
    if op.is_dense(result.shape) {
        return dense(input.part(0, channels), filter, output, finish);
    }
    let [kernel_width, taps] = [usize::from(op.kernel[1]), op.taps(source.shape) as usize];
    let row_len = taps.next_multiple_of(QUAD);
    let [step_y, step_x] = op.dilation.map(usize::from);
    for y in rows_in_order(op, output_height) {
        let top = y as i32 * i32::from(op.stride[0]) - i32::from(op.pad[0]);
        let rows = taps_inside(top, op.kernel[0], op.dilation[0], height);
        for x in 0..output_width {
            let left = x as i32 * i32::from(op.stride[1]) - i32::from(op.pad[1]);
            let columns = taps_inside(left, op.kernel[1], op.dilation[1], width);
            let at = (y * output_width + x) * output_channels;
            let pixel = output.part(at, output_channels);
            for (channel, weights) in filter.chunks_exact(row_len).enumerate() {
                let mut sum = 0;
                for row in rows.0..rows.1 {
                    let line = (top + (row * step_y) as i32) as usize * width;
                    let from = |column: usize| {
                        (line + (left + (column * step_x) as i32) as usize) * channels
                    };
                    let weights = &weights[row * kernel_width * channels..];
                    if step_x == 1 && columns.0 < columns.1 {
                        // The taps of a row lie after each other.
                        let count = (columns.1 - columns.0) * channels;
                        let values = input.part(from(columns.0), count);
                        sum += dot(values, &weights[columns.0 * channels..][..count]);
                        continue;
                    }
                    for column in columns.0..columns.1 {
                        let values = input.part(from(column), channels);
                        sum += dot(values, &weights[column * channels..][..channels]);
                    }
                }
                pixel.set(channel, finish(channel, sum));
            }
        }
    }
}

fn dot(values: Values<'_>, weights: &[u8]) -> i64 {
    let parts = values.0.chunks(SUMMED).zip(weights.chunks(SUMMED));
    let sums = parts.map(|(values, weights)| {
        let products = values.iter().zip(weights);
        products.fold(0, |sum, (tap, &weight)| {
            sum + value(tap) * i32::from(weight as i8)
        })
    });
    sums.map(i64::from).sum()
}

/// A dense layer, whose filter has the quads of four rows interleaved.
fn dense(
    values: Values<'_>,
    filter: &[u8],
    output: Values<'_>,
    finish: impl Fn(usize, i64) -> i32,
) {
    let group_bytes = values.len().next_multiple_of(QUAD) * GROUP_ROWS;
    for (group, rows) in filter.chunks_exact(group_bytes).enumerate() {
        let mut sums = [0i64; GROUP_ROWS];
        let quads = rows.as_chunks::<{ QUAD * GROUP_ROWS }>().0;
        let parts = values.0.chunks(SUMMED).zip(quads.chunks(SUMMED / QUAD));
        for (values, quads) in parts {
            let mut part = [0; GROUP_ROWS];
            for (values, quad) in values.chunks(QUAD).zip(quads) {
                for (place, tap) in values.iter().enumerate() {
                    let tap = value(tap);
                    for (row, sum) in part.iter_mut().enumerate() {
                        *sum += tap * i32::from(quad[row * QUAD + place] as i8);
                    }
                }
            }
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum += i64::from(part);
            }
        }
        let first = group * GROUP_ROWS;
        for (channel, sum) in (first..output.len()).zip(sums) {
            output.set(channel, finish(channel, sum));
        }
    }
}

/// `out[y][x][c·m + k] = clamp(rescale(bias + Σ in[…][c] · w[…][c·m + k]))`; padding adds nothing.
pub(super) fn convolve_depthwise(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: Values<'_>,
    output: Values<'_>,
    clamp: [i32; 2],
) {
    let (source, result) = (plan.view(op.inputs[0]), plan.view(op.output));
    let [_, height, width, input_channels] = source.shape.map(usize::from);
    let [_, output_height, output_width, output_channels] = result.shape.map(usize::from);
    let filter_bytes = op.filter_bytes(source.shape, result.shape) as usize;
    let filter = &plan.constants()[op.weights_offset as usize..][..filter_bytes];
    let channels_of = Channels::of(plan, op, output_channels);
    let kernel_width = usize::from(op.kernel[1]);
    let [step_y, step_x] = op.dilation.map(usize::from);
    let multiplier = output_channels / input_channels;
    for y in rows_in_order(op, output_height) {
        let top = y as i32 * i32::from(op.stride[0]) - i32::from(op.pad[0]);
        let rows = taps_inside(top, op.kernel[0], op.dilation[0], height);
        for x in 0..output_width {
            let left = x as i32 * i32::from(op.stride[1]) - i32::from(op.pad[1]);
            let columns = taps_inside(left, op.kernel[1], op.dilation[1], width);
            let at = (y * output_width + x) * output_channels;
            for channel in 0..output_channels {
                let mut sum = 0i64;
                for row in rows.0..rows.1 {
                    let line = (top + (row * step_y) as i32) as usize * width;
                    for column in columns.0..columns.1 {
                        let pixel = line + (left + (column * step_x) as i32) as usize;
                        let tap = (row * kernel_width + column) * output_channels;
                        let weight = filter[tap + channel] as i8;
                        let value = input.get(pixel * input_channels + channel / multiplier);
                        sum += i64::from(value * i32::from(weight));
                    }
                }
                let rescaled = channels_of.rescale(channel, sum);
                output.set(at + channel, rescaled.clamp(clamp[0], clamp[1]));
            }
        }
    }
}
