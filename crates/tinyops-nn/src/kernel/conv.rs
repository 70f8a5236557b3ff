//! Convolution over height and width; a dense layer is its case of one pixel.

use super::{BLOCK, Channels, clamp};
use crate::plan::Plan;
use crate::record::OpRecord;

/// `out[y][x][o] = clamp(zp + rescale(bias[o] + Σ in[…] · w[o][…]))`.
///
/// The input's zero point is folded into the bias, and a tap in the padding reads that zero
/// point: so one gathered patch serves every output channel without a special case at borders.
pub(crate) fn convolve(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: &[u8],
    output: &mut [u8],
    patch: &mut [u8],
) {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, height, width, channels] = source.shape.map(usize::from);
    let [_, output_height, output_width, output_channels] = result.shape.map(usize::from);
    let taps = usize::from(op.kernel[0]) * usize::from(op.kernel[1]) * channels;
    let filter = &plan.constants()[op.weights_offset as usize..][..output_channels * taps];
    let channels_of = Channels::of(plan, op, output_channels);
    let clamp = clamp(op, result.zero_point);

    let mut pixels = output.chunks_exact_mut(output_channels);
    for y in 0..output_height {
        for x in 0..output_width {
            let Some(pixel) = pixels.next() else { return };
            let values: &[u8] = if patch.is_empty() {
                let at = (y * usize::from(op.stride[0]) * width + x * usize::from(op.stride[1]))
                    * channels;
                &input[at..at + channels]
            } else {
                gather(
                    op,
                    input,
                    [height, width, channels],
                    [y, x],
                    source.zero_point,
                    patch,
                );
                patch
            };
            for_each_output(values, filter, &channels_of, pixel, clamp);
        }
    }
}

/// Copies the inputs under the filter at one output pixel into one piece.
fn gather(
    op: &OpRecord,
    input: &[u8],
    shape: [usize; 3],
    at: [usize; 2],
    zero_point: i8,
    patch: &mut [u8],
) {
    let [height, width, channels] = shape;
    let [kernel_height, kernel_width] = op.kernel.map(usize::from);
    let [dilation_y, dilation_x] = op.dilation.map(i64::from);
    let top = at[0] as i64 * i64::from(op.stride[0]) - i64::from(op.pad[0]);
    let left = at[1] as i64 * i64::from(op.stride[1]) - i64::from(op.pad[1]);
    let row_len = kernel_width * channels;
    for (row, piece) in patch
        .chunks_exact_mut(row_len)
        .enumerate()
        .take(kernel_height)
    {
        let y = top + row as i64 * dilation_y;
        if y < 0 || y >= height as i64 {
            piece.fill(zero_point as u8);
            continue;
        }
        let line = &input[y as usize * width * channels..][..width * channels];
        if dilation_x == 1 && left >= 0 && left as usize + kernel_width <= width {
            piece.copy_from_slice(&line[left as usize * channels..][..row_len]);
            continue;
        }
        for (column, tap) in piece.chunks_exact_mut(channels).enumerate() {
            let x = left + column as i64 * dilation_x;
            if x < 0 || x >= width as i64 {
                tap.fill(zero_point as u8);
            } else {
                tap.copy_from_slice(&line[x as usize * channels..][..channels]);
            }
        }
    }
}

/// One dot product for each output channel, four at a time so that each input is read once for four.
fn for_each_output(
    values: &[u8],
    filter: &[u8],
    channels: &Channels<'_>,
    pixel: &mut [u8],
    clamp: impl Fn(i32) -> u8 + Copy,
) {
    let taps = values.len();
    let blocks = pixel.chunks_mut(BLOCK).zip(filter.chunks(BLOCK * taps));
    for (index, (outputs, rows)) in blocks.enumerate() {
        let mut sums = [0i32; BLOCK];
        let sums = &mut sums[..outputs.len()];
        let mut quads = sums.chunks_exact_mut(4);
        let mut four_rows = rows.chunks_exact(4 * taps);
        for (sums, rows) in quads.by_ref().zip(four_rows.by_ref()) {
            sums.copy_from_slice(&dot_4(values, rows));
        }
        let rest = four_rows.remainder().chunks_exact(taps);
        for (sum, row) in quads.into_remainder().iter_mut().zip(rest) {
            *sum = dot(values, row);
        }
        channels.finish(index * BLOCK, sums, outputs, clamp);
    }
}

fn dot(values: &[u8], row: &[u8]) -> i32 {
    values
        .iter()
        .zip(row)
        .fold(0, |sum: i32, (&value, &weight)| {
            sum.wrapping_add(product(value, weight))
        })
}

fn dot_4(values: &[u8], rows: &[u8]) -> [i32; 4] {
    let taps = values.len();
    let (first, rest) = rows.split_at(taps);
    let (second, rest) = rest.split_at(taps);
    let (third, fourth) = rest.split_at(taps);
    let mut sums = [0i32; 4];
    let weights = first.iter().zip(second).zip(third.iter().zip(fourth));
    for (&value, ((&a, &b), (&c, &d))) in values.iter().zip(weights) {
        sums[0] = sums[0].wrapping_add(product(value, a));
        sums[1] = sums[1].wrapping_add(product(value, b));
        sums[2] = sums[2].wrapping_add(product(value, c));
        sums[3] = sums[3].wrapping_add(product(value, d));
    }
    sums
}

#[inline(always)]
fn product(value: u8, weight: u8) -> i32 {
    i32::from(value as i8) * i32::from(weight as i8)
}
