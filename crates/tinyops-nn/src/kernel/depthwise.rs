//! Depthwise convolution: each output channel sees one input channel.

use core::cell::Cell;

use super::{BLOCK, Channels, clamp, product, rows_in_order, taps_inside};
use crate::plan::Plan;
use crate::record::OpRecord;

/// `out[y][x][c·m + k] = clamp(zp + rescale(bias + Σ (in[…][c] - zp_in) · w[…][c·m + k]))`.
///
/// The zero point is folded into the bias for all taps, so a tap in the padding adds
/// `zp_in · w` to be worth nothing.
pub(crate) fn convolve(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, height, width, input_channels] = source.shape.map(usize::from);
    let [_, output_height, output_width, output_channels] = result.shape.map(usize::from);
    #[cfg(all(target_arch = "arm", feature = "mve"))]
    if super::depthwise_mve::convolve(plan, op, input, output) {
        return;
    }
    #[cfg(all(target_arch = "arm", feature = "mve"))]
    if super::depthwise_mve::convolve(plan, op, input, output) {
        return;
    }
    let [kernel_height, kernel_width] = op.kernel.map(usize::from);
    let [step_y, step_x] = op.dilation.map(usize::from);
    let filter = &plan.constants()[op.weights_offset as usize..]
        [..kernel_height * kernel_width * output_channels];
    let channels = Channels::of(plan, op, output_channels);
    let clamp = clamp(op, result.zero_point);
    let multiplier = output_channels / input_channels;
    let zero_point = i32::from(source.zero_point);

    for y in rows_in_order(op, output_height) {
        let line = &output[y * output_width * output_channels..];
        let mut pixels = line.chunks_exact(output_channels);
        let top = y as i32 * i32::from(op.stride[0]) - i32::from(op.pad[0]);
        let rows = taps_inside(top, op.kernel[0], op.dilation[0], height);
        for x in 0..output_width {
            let Some(pixel) = pixels.next() else { return };
            let left = x as i32 * i32::from(op.stride[1]) - i32::from(op.pad[1]);
            let columns = taps_inside(left, op.kernel[1], op.dilation[1], width);
            for (block, outputs) in pixel.chunks(BLOCK).enumerate() {
                let first = block * BLOCK;
                let mut sums = [0i32; BLOCK];
                for row in 0..kernel_height {
                    let weights = &filter[row * kernel_width * output_channels..]
                        [..kernel_width * output_channels];
                    let taps = weights.chunks_exact(output_channels);
                    if row < rows.0 || row >= rows.1 {
                        taps.for_each(|tap| {
                            add_padding(&mut sums, zero_point, &tap[first..][..outputs.len()])
                        });
                        continue;
                    }
                    let line_at = (top + (row * step_y) as i32) as usize * width;
                    for (column, tap) in taps.enumerate() {
                        let tap = &tap[first..][..outputs.len()];
                        if column < columns.0 || column >= columns.1 {
                            add_padding(&mut sums, zero_point, tap);
                            continue;
                        }
                        let at =
                            (line_at + (left + (column * step_x) as i32) as usize) * input_channels;
                        if multiplier == 1 {
                            add_products(&mut sums, &input[at + first..][..outputs.len()], tap);
                        } else {
                            let values = &input[at..at + input_channels];
                            for (index, (sum, &weight)) in sums.iter_mut().zip(tap).enumerate() {
                                let value = values[(first + index) / multiplier].get();
                                *sum = sum.wrapping_add(product(value, weight));
                            }
                        }
                    }
                }
                channels.finish(first, &sums, outputs, clamp);
            }
        }
    }
}

#[inline]
fn add_products(sums: &mut [i32; BLOCK], values: &[Cell<u8>], weights: &[u8]) {
    // A full block has a length that the compiler knows, so it becomes a few vector instructions.
    if let (Ok(values), Ok(weights)) = (
        <&[Cell<u8>; BLOCK]>::try_from(values),
        <&[u8; BLOCK]>::try_from(weights),
    ) {
        for index in 0..BLOCK {
            sums[index] = sums[index].wrapping_add(product(values[index].get(), weights[index]));
        }
        return;
    }
    for ((sum, value), &weight) in sums.iter_mut().zip(values).zip(weights) {
        *sum = sum.wrapping_add(product(value.get(), weight));
    }
}

#[inline]
fn add_padding(sums: &mut [i32; BLOCK], zero_point: i32, weights: &[u8]) {
    for (sum, &weight) in sums.iter_mut().zip(weights) {
        *sum = sum.wrapping_add(zero_point * i32::from(weight as i8));
    }
}
