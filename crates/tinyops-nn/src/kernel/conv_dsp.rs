//! Convolution for the DSP extension: four pixels at a time, their patches widened once.

use core::cell::Cell;

use super::{Channels, Unpacked, clamp, fill, product};
use crate::arch::dsp::{self, ChannelTable};
use crate::layout::{BLOCK_PIXELS, GROUP_ROWS, QUAD};
use crate::plan::Plan;
use crate::record::{FLAG_ONE_MULTIPLIER, OpRecord};

/// Bytes from one quad's place in the widened patches to the next.
const WIDE_QUAD: usize = 2 * BLOCK_PIXELS * QUAD;

/// As the portable kernel, of which nothing is left on this processor.
pub(crate) fn convolve(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: &[Cell<u8>],
    output: &[Cell<u8>],
    scratch: &[Cell<u8>],
) {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, _, columns, outputs] = result.shape.map(usize::from);
    let filter_bytes = op.filter_bytes(source.shape, result.shape) as usize;
    let filter = &plan.constants()[op.weights_offset as usize..][..filter_bytes];
    if op.is_dense(result.shape) {
        let values = &input[..usize::from(source.shape[3])];
        dense(plan, op, filter, values, output);
        return;
    }
    let row = (op.taps(source.shape) as usize).next_multiple_of(QUAD);
    let (patches, stage) = scratch.split_at(row / QUAD * WIDE_QUAD);
    let [_, height, width, channels] = source.shape.map(i32::from);
    let [taps_down, taps_along] = op.kernel.map(i32::from);
    let [step_down, step_along] = op.dilation.map(i32::from);
    let run = taps_along as usize * channels as usize;
    let gather = Gather {
        op,
        input,
        height,
        width,
        channels: channels as usize,
        zero_point: source.zero_point,
        stage,
        top_max: height - 1 - (taps_down - 1) * step_down,
        // Taps apart are no run: then every pixel goes tap by tap.
        left_max: if step_along == 1 {
            width - taps_along
        } else {
            -1
        },
        runs: (taps_down as usize, run),
        run_step: (step_down * width * channels) as usize,
    };
    let mut unpacked = Unpacked::new();
    let Some(table) = Channels::of(plan, op, outputs).table(&mut unpacked) else {
        // `Plan::load` refuses more packed channels than can be unpacked.
        return;
    };
    // The pixels of a pointwise layer lie as its outputs do, so that four are widened at once.
    let is_pointwise = op.kernel == [1, 1]
        && op.stride == [1, 1]
        && op.pad == [0, 0]
        && source.shape[1..3] == result.shape[1..3]
        && stage.is_empty();
    let [stride_down, stride_along] = op.stride.map(i32::from);
    let [pad_down, pad_along] = op.pad.map(i32::from);
    let left_end = columns as i32 * stride_along - pad_along;
    let (mut top, mut left) = (-pad_down, -pad_along);
    for (index, block) in output.chunks(BLOCK_PIXELS * outputs).enumerate() {
        let pixels = block.len() / outputs;
        if is_pointwise {
            let values = &input[index * BLOCK_PIXELS * row..];
            dsp::widen(values, patches, (pixels, row / QUAD), (row, 4));
        } else {
            for pixel in 0..pixels {
                gather.widen([top, left], &patches[4 * pixel..]);
                left += stride_along;
                if left == left_end {
                    left = -pad_along;
                    top += stride_down;
                }
            }
        }
        let place = |channel: usize| (&block[channel..], pixels, outputs);
        if op.flags & FLAG_ONE_MULTIPLIER == 0 {
            dsp::convolve_block(
                patches,
                filter,
                table,
                place(0),
                result.zero_point,
                op.clamp,
            );
            continue;
        }
        for (channel, weights) in filter.chunks_exact(row).enumerate() {
            let table = ChannelTable {
                biases: &table.biases[channel..=channel],
                ..table
            };
            let place = place(channel);
            dsp::convolve_block(patches, weights, table, place, result.zero_point, op.clamp);
        }
    }
}

/// A dense layer.
fn dense(plan: &Plan<'_>, op: &OpRecord, filter: &[u8], values: &[Cell<u8>], output: &[Cell<u8>]) {
    let zero_point = plan.view(op.output).zero_point;
    let table = Channels::of(plan, op, output.len());
    let group_bytes = GROUP_ROWS * values.len().next_multiple_of(QUAD);
    let mut done = 0;
    if let Some((biases, rescale)) = table.one_low_rescale()
        && values.len().is_multiple_of(QUAD)
        && op.clamp == [i8::MIN, i8::MAX]
        && output.len() >= GROUP_ROWS
    {
        done = output.len() / GROUP_ROWS * GROUP_ROWS;
        let biases = &biases[..done];
        dsp::dense(values, filter, biases, rescale, &output[..done], zero_point);
    }
    let clamp = clamp(op, zero_point);
    let groups = filter.chunks_exact(group_bytes).skip(done / GROUP_ROWS);
    let rest = output[done..].chunks(GROUP_ROWS);
    for (index, (outputs, group)) in rest.zip(groups).enumerate() {
        let mut sums = dsp::dense_sums(values, group);
        let whole = values.len() / QUAD * QUAD;
        let last = group[whole * GROUP_ROWS..].chunks(QUAD);
        for (sum, weights) in sums.iter_mut().zip(last) {
            for (value, &weight) in values[whole..].iter().zip(weights) {
                *sum = sum.wrapping_add(product(value.get(), weight));
            }
        }
        let first = done + index * GROUP_ROWS;
        table.finish(first, &sums[..outputs.len()], outputs, clamp);
    }
}

/// Where the patches come from.
struct Gather<'a> {
    op: &'a OpRecord,
    input: &'a [Cell<u8>],
    height: i32,
    width: i32,
    channels: usize,
    zero_point: i8,
    /// One patch as bytes, where a tap is not made of whole quads.
    stage: &'a [Cell<u8>],
    /// The last row and column of a patch's first tap at which all of its taps lie inside.
    top_max: i32,
    left_max: i32,
    /// Rows of the filter, and values of each.
    runs: (usize, usize),
    /// Bytes from a row's values to the next one's.
    run_step: usize,
}

impl Gather<'_> {
    /// Widens the patch whose first tap lies at row and column `at` into its places.
    #[inline(always)]
    fn widen(&self, at: [i32; 2], patch: &[Cell<u8>]) {
        let [top, left] = at;
        let is_inside = top >= 0 && top <= self.top_max && left >= 0 && left <= self.left_max;
        if !is_inside {
            self.widen_at_border(at, patch);
            return;
        }
        let values = &self.input[(top * self.width + left) as usize * self.channels..];
        if self.stage.is_empty() {
            let (runs, quads) = (self.runs.0, self.runs.1 / QUAD);
            dsp::widen(
                values,
                patch,
                (runs, quads),
                (self.run_step, quads * WIDE_QUAD),
            );
        } else {
            dsp::copy(self.stage, values, self.runs, self.run_step);
            self.widen_stage(patch);
        }
    }

    #[inline(never)]
    fn widen_stage(&self, patch: &[Cell<u8>]) {
        dsp::widen(self.stage, patch, (1, self.stage.len() / QUAD), (0, 0));
    }

    /// Goes through the patch in its order, in the longest pieces there are.
    #[inline(never)]
    fn widen_at_border(&self, [mut y, left]: [i32; 2], patch: &[Cell<u8>]) {
        let [taps_down, taps_along] = self.op.kernel.map(i32::from);
        let [step_down, step_along] = self.op.dilation.map(i32::from);
        let mut done = 0;
        for _ in 0..taps_down {
            let line = (0..self.height).contains(&y).then_some(y * self.width);
            y += step_down;
            let mut tap = 0;
            while tap < taps_along {
                let x = left + tap * step_along;
                let inside = line.filter(|_| (0..self.width).contains(&x));
                // How many taps go on as this one does.
                let mut count = 1;
                if step_along == 1 {
                    let end = match inside {
                        Some(_) => self.width - x,
                        None if line.is_some() && x < 0 => -x,
                        None => taps_along,
                    };
                    count = end.min(taps_along - tap);
                }
                let from = inside.map(|line| self.pixels(line + x, count));
                let len = count as usize * self.channels;
                self.put(from, (done, len), patch);
                done += len;
                tap += count;
            }
        }
        if !self.stage.is_empty() {
            self.widen_stage(patch);
        }
    }

    /// Some values of the patch, or so much padding.
    #[inline(never)]
    fn put(&self, from: Option<&[Cell<u8>]>, (at, len): (usize, usize), patch: &[Cell<u8>]) {
        if self.stage.is_empty() {
            let (place, quads) = (&patch[at / QUAD * WIDE_QUAD..], len / QUAD);
            match from {
                Some(values) => dsp::widen(values, place, (1, quads), (0, 0)),
                None => dsp::widen_value(self.zero_point, quads, place),
            }
            return;
        }
        let place = &self.stage[at..at + len];
        match from {
            Some(values) => dsp::copy(place, values, (1, len), 0),
            None => fill(place, self.zero_point as u8),
        }
    }

    fn pixels(&self, first: i32, count: i32) -> &[Cell<u8>] {
        &self.input[first as usize * self.channels..][..count as usize * self.channels]
    }
}
