//! Convolution for the DSP extension: four pixels at a time, their patches widened once.

use core::cell::Cell;

use super::{Channels, Unpacked, clamp, fill, product};
use crate::arch::dsp::{self, ChannelTable};
use crate::layout::{BLOCK_PIXELS, GROUP_ROWS, QUAD};
use crate::plan::Plan;
use crate::record::{FLAG_ONE_MULTIPLIER, OpRecord};

/// Bytes from one quad's place in the widened patches to the next.
const WIDE_QUAD: usize = 2 * BLOCK_PIXELS * QUAD;

/// As the portable kernel; false, with nothing done, if the caller's memory lies at odd addresses.
pub(crate) fn convolve(
    plan: &Plan<'_>,
    op: &OpRecord,
    filter: &[u8],
    input: &[Cell<u8>],
    output: &[Cell<u8>],
    scratch: &[Cell<u8>],
) -> bool {
    let aligned = |address: usize| address.is_multiple_of(4);
    if !aligned(scratch.as_ptr().addr()) || !aligned(filter.as_ptr().addr()) {
        return false;
    }
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, _, columns, outputs] = result.shape.map(usize::from);
    let row = (op.taps(source.shape) as usize).next_multiple_of(QUAD);
    let (patches, stage) = scratch.split_at(row / QUAD * WIDE_QUAD);
    let [_, height, width, channels] = source.shape.map(i32::from);
    let gather = Gather {
        op,
        input,
        height,
        width,
        channels: channels as usize,
        zero_point: source.zero_point,
        stage,
    };
    let mut unpacked = Unpacked::new();
    let Some(table) = Channels::of(plan, op, outputs).table(&mut unpacked) else {
        return false;
    };
    // The pixels of a pointwise layer lie as its outputs do, so that four are widened at once.
    let is_pointwise = op.kernel == [1, 1]
        && op.stride == [1, 1]
        && op.pad == [0, 0]
        && source.shape[1..3] == result.shape[1..3]
        && stage.is_empty();
    let mut at = [0, 0];
    for (index, block) in output.chunks(BLOCK_PIXELS * outputs).enumerate() {
        let pixels = block.len() / outputs;
        if is_pointwise {
            let values = &input[index * BLOCK_PIXELS * row..];
            dsp::widen(values, patches, (pixels, row / QUAD), (row, 4));
        } else {
            for pixel in 0..pixels {
                gather.widen(at, &patches[4 * pixel..]);
                at[1] += 1;
                if at[1] == columns {
                    at = [at[0] + 1, 0];
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
    true
}

/// A dense layer, as the portable kernel; false, with nothing done, if the plan lies at an odd
/// address.
pub(crate) fn dense(
    plan: &Plan<'_>,
    op: &OpRecord,
    filter: &[u8],
    values: &[Cell<u8>],
    output: &[Cell<u8>],
) -> bool {
    if !filter.as_ptr().addr().is_multiple_of(4) {
        return false;
    }
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
    true
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
}

impl Gather<'_> {
    /// Widens the patch of one output pixel into its places.
    fn widen(&self, at: [usize; 2], patch: &[Cell<u8>]) {
        let start = |axis: usize| {
            (at[axis] * usize::from(self.op.stride[axis])) as i32 - i32::from(self.op.pad[axis])
        };
        let (top, left) = (start(0), start(1));
        let [taps_down, taps_along] = self.op.kernel.map(usize::from);
        let bottom = top + ((taps_down - 1) * usize::from(self.op.dilation[0])) as i32;
        let is_inside = top >= 0
            && bottom < self.height
            && left >= 0
            && left + taps_along as i32 <= self.width
            && self.op.dilation[1] == 1;
        if !is_inside {
            self.widen_at_border([top, left], patch);
            return;
        }
        let values = &self.input[(top * self.width + left) as usize * self.channels..];
        let step = usize::from(self.op.dilation[0]) * self.width as usize * self.channels;
        let len = taps_along * self.channels;
        if self.stage.is_empty() {
            let quads = len / QUAD;
            dsp::widen(values, patch, (taps_down, quads), (step, quads * WIDE_QUAD));
        } else {
            dsp::copy(self.stage, values, (taps_down, len), step);
            self.widen_stage(patch);
        }
    }

    fn widen_stage(&self, patch: &[Cell<u8>]) {
        dsp::widen(self.stage, patch, (1, self.stage.len() / QUAD), (0, 0));
    }

    #[inline(never)]
    fn widen_at_border(&self, at: [i32; 2], patch: &[Cell<u8>]) {
        if self.stage.is_empty() {
            let mut quad = 0;
            self.for_each_run(at, |run| {
                let place = &patch[quad * WIDE_QUAD..];
                match run {
                    Run::Inside(values) => {
                        let quads = values.len() / QUAD;
                        dsp::widen(values, place, (1, quads), (0, 0));
                        quad += quads;
                    }
                    Run::Padding(count) => {
                        dsp::widen_value(self.zero_point, count / QUAD, place);
                        quad += count / QUAD;
                    }
                }
            });
            return;
        }
        let mut byte = 0;
        self.for_each_run(at, |run| match run {
            Run::Inside(values) => {
                dsp::copy(&self.stage[byte..], values, (1, values.len()), 0);
                byte += values.len();
            }
            Run::Padding(count) => {
                fill(&self.stage[byte..byte + count], self.zero_point as u8);
                byte += count;
            }
        });
        self.widen_stage(patch);
    }

    /// Goes through the patch in its order, in the longest pieces there are.
    fn for_each_run(&self, [mut y, left]: [i32; 2], mut visit: impl FnMut(Run<'_>)) {
        let [taps_down, taps_along] = self.op.kernel.map(i32::from);
        let [step_down, step_along] = self.op.dilation.map(i32::from);
        for _ in 0..taps_down {
            let inside = (0..self.height).contains(&y);
            let line = if inside { y * self.width } else { 0 };
            y += step_down;
            if !inside {
                visit(Run::Padding(taps_along as usize * self.channels));
                continue;
            }
            if step_along == 1 {
                let first = (-left).clamp(0, taps_along);
                let end = (self.width - left).clamp(first, taps_along);
                if first > 0 {
                    visit(Run::Padding(first as usize * self.channels));
                }
                if end > first {
                    visit(Run::Inside(self.pixels(line + left + first, end - first)));
                }
                if end < taps_along {
                    visit(Run::Padding((taps_along - end) as usize * self.channels));
                }
                continue;
            }
            for tap in 0..taps_along {
                let x = left + tap * step_along;
                if (0..self.width).contains(&x) {
                    visit(Run::Inside(self.pixels(line + x, 1)));
                } else {
                    visit(Run::Padding(self.channels));
                }
            }
        }
    }

    fn pixels(&self, first: i32, count: i32) -> &[Cell<u8>] {
        &self.input[first as usize * self.channels..][..count as usize * self.channels]
    }
}

/// Values of a patch that lie together.
enum Run<'a> {
    Inside(&'a [Cell<u8>]),
    /// So many values of padding.
    Padding(usize),
}
