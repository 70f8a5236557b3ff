//! Convolution over height and width; a dense layer is its case of one pixel.

use core::cell::Cell;

use super::add::Sum;
use super::patch::gather;
use super::{BLOCK, Channels, clamp, product};
use crate::layout::{GROUP_ROWS, QUAD};
use crate::plan::Plan;
use crate::record::OpRecord;

/// `out[y][x][o] = clamp(zp + rescale(bias[o] + Σ in[…] · w[o][…]))`.
///
/// The input's zero point is folded into the bias, and a tap in the padding reads that zero
/// point: so one gathered patch serves every output channel without a special case at borders.
/// A patch is gathered whole before its pixel is written, so the output may trail the input.
/// What it makes goes into a sum, piece by piece, where there is one.
pub(crate) fn convolve(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: &[Cell<u8>],
    output: &[Cell<u8>],
    scratch: &[Cell<u8>],
    sum: Option<&Sum<'_>>,
) {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, height, width, channels] = source.shape.map(usize::from);
    let [_, _, output_width, output_channels] = result.shape.map(usize::from);
    let filter_bytes = op.filter_bytes(source.shape, result.shape) as usize;
    let filter = &plan.constants()[op.weights_offset as usize..][..filter_bytes];
    let channels_of = Channels::of(plan, op, output_channels);
    let clamp = clamp(op, result.zero_point);
    if op.is_dense(result.shape) {
        dense(&input[..channels], filter, &channels_of, output, clamp);
        if let Some(sum) = sum {
            sum.add(0..output.len());
        }
        return;
    }
    let taps = op.taps(source.shape) as usize;
    let patch = &scratch[..taps];
    let mut index = 0;
    for piece in output.chunks(sum.map_or(output.len(), |sum| sum.lag)) {
        let start = index * output_channels;
        for pixel in piece.chunks_exact(output_channels) {
            let at = [index / output_width, index % output_width];
            let shape = [height, width, channels];
            gather(op, input, shape, at, source.zero_point, patch);
            for_each_output(patch, filter, &channels_of, pixel, clamp);
            index += 1;
        }
        if let Some(sum) = sum {
            sum.add(start..start + piece.len());
        }
    }
}

/// One dot product for each output channel, four at a time so that each input is read once for four.
fn for_each_output(
    values: &[Cell<u8>],
    filter: &[u8],
    channels: &Channels<'_>,
    pixel: &[Cell<u8>],
    clamp: impl Fn(i32) -> u8 + Copy,
) {
    let row_len = values.len().next_multiple_of(QUAD);
    let blocks = pixel.chunks(BLOCK).zip(filter.chunks(BLOCK * row_len));
    for (index, (outputs, rows)) in blocks.enumerate() {
        let mut sums = [0i32; BLOCK];
        let sums = &mut sums[..outputs.len()];
        let mut quads = sums.chunks_exact_mut(4);
        let mut four_rows = rows.chunks_exact(4 * row_len);
        for (sums, rows) in quads.by_ref().zip(four_rows.by_ref()) {
            sums.copy_from_slice(&dot_4(values, rows, row_len));
        }
        let rest = four_rows.remainder().chunks_exact(row_len);
        for (sum, row) in quads.into_remainder().iter_mut().zip(rest) {
            *sum = dot(values, row);
        }
        channels.finish(index * BLOCK, sums, outputs, clamp);
    }
}

fn dot(values: &[Cell<u8>], row: &[u8]) -> i32 {
    values
        .iter()
        .zip(row)
        .fold(0, |sum: i32, (value, &weight)| {
            sum.wrapping_add(product(value.get(), weight))
        })
}

fn dot_4(values: &[Cell<u8>], rows: &[u8], row_len: usize) -> [i32; 4] {
    let (first, rest) = rows.split_at(row_len);
    let (second, rest) = rest.split_at(row_len);
    let (third, fourth) = rest.split_at(row_len);
    let mut sums = [0i32; 4];
    let weights = first.iter().zip(second).zip(third.iter().zip(fourth));
    for (value, ((&a, &b), (&c, &d))) in values.iter().zip(weights) {
        let value = value.get();
        sums[0] = sums[0].wrapping_add(product(value, a));
        sums[1] = sums[1].wrapping_add(product(value, b));
        sums[2] = sums[2].wrapping_add(product(value, c));
        sums[3] = sums[3].wrapping_add(product(value, d));
    }
    sums
}

/// A dense layer, whose filter has the quads of four rows interleaved.
fn dense(
    values: &[Cell<u8>],
    filter: &[u8],
    channels: &Channels<'_>,
    output: &[Cell<u8>],
    clamp: impl Fn(i32) -> u8 + Copy,
) {
    let group_bytes = values.len().next_multiple_of(QUAD) * GROUP_ROWS;
    let groups = filter.chunks_exact(group_bytes);
    for (index, (outputs, rows)) in output.chunks(GROUP_ROWS).zip(groups).enumerate() {
        let mut sums = [0i32; GROUP_ROWS];
        let quads = rows.as_chunks::<{ QUAD * GROUP_ROWS }>().0;
        for (values, quad) in values.chunks(QUAD).zip(quads) {
            for (place, value) in values.iter().enumerate() {
                let value = value.get();
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.wrapping_add(product(value, quad[row * QUAD + place]));
                }
            }
        }
        channels.finish_few(index * GROUP_ROWS, &sums[..outputs.len()], outputs, clamp);
    }
}
