//! Convolution for the DSP extension: four pixels at a time, their patches widened once.

use core::cell::Cell;

use super::{Channels, clamp_bytes, pair, taps_inside};
use crate::arch::dsp::{self, BlockPlace, ChannelTable, ConvBlock, Patches, Rect, TABLE_MAX};
use crate::layout::{BLOCK_PIXELS, GROUP_ROWS, QUAD};
use crate::plan::{Plan, TensorView};
use crate::record::OpRecord;

/// As the portable kernel, of which nothing is left on this processor.
#[inline(never)]
pub(crate) fn convolve(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: &[Cell<u8>],
    output: &[Cell<u8>],
    scratch: &[Cell<u8>],
) {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, _, columns, outputs] = result.dims();
    let filter_bytes = op.filter_bytes(source.shape, result.shape) as usize;
    let filter = &plan.constants()[op.weights_offset as usize..][..filter_bytes];
    if op.is_dense(result.shape) {
        let values = &input[..usize::from(source.shape[3])];
        dense(plan, op, filter, values, output);
        return;
    }
    let row = (op.taps(source.shape) as usize).next_multiple_of(QUAD);
    let patches = Patches::new(scratch, row);
    let gather = Gather::new(op, input, &source, &patches);
    let channels = Channels::of(plan, op, outputs);
    let mut table = ChannelTable::new();
    let mut conv = ConvBlock::new(patches.wide(), filter, result.zero_point);
    // The pixels of a pointwise layer lie as its outputs do, so that four are widened at once.
    let is_pointwise = op.kernel == [1, 1]
        && op.stride == [1, 1]
        && op.pad == [0, 0]
        && source.shape[1..3] == result.shape[1..3]
        && patches.is_direct();
    let [stride_down, stride_along]: [i32; 2] = pair(op.stride);
    let [pad_down, pad_along]: [i32; 2] = pair(op.pad);
    let left_end = columns as i32 * stride_along - pad_along;
    let (mut top, mut left) = (-pad_down, -pad_along);
    let mut done = 0;
    if is_pointwise && outputs <= TABLE_MAX {
        channels.fill(&mut table, 0, outputs);
        done = conv.run_pixels(&table, &patches, input, output);
    }
    for (index, block) in output.chunks(BLOCK_PIXELS * outputs).enumerate().skip(done) {
        let pixels = block.len() / outputs;
        if is_pointwise {
            patches.widen(&input[index * BLOCK_PIXELS * row..], 0, pixels);
        } else {
            let mut pixel = 0;
            while pixel < pixels {
                let in_row = (left_end - left) as u32 / stride_along as u32;
                let count = gather.pixels([top, left], pixel, in_row.min((pixels - pixel) as u32));
                pixel += count;
                left += count as i32 * stride_along;
                if left == left_end {
                    left = -pad_along;
                    top += stride_down;
                }
            }
        }
        let mut first = 0;
        while first < outputs {
            // Few channels stay in the table.
            if index == 0 || outputs > TABLE_MAX {
                channels.fill(&mut table, first, TABLE_MAX.min(outputs - first));
            }
            let place = BlockPlace {
                outputs: &block[first..],
                pixels,
                stride: outputs,
            };
            conv.run(&table, first, place);
            first += TABLE_MAX;
        }
    }
    clamp_bytes(output, op.clamp);
}

/// A dense layer.
#[inline(never)]
fn dense(plan: &Plan<'_>, op: &OpRecord, filter: &[u8], values: &[Cell<u8>], output: &[Cell<u8>]) {
    let zero_point = plan.view(op.output).zero_point;
    let table = Channels::of(plan, op, output.len());
    let whole = values.len() / QUAD * QUAD;
    let group_bytes = GROUP_ROWS * values.len().next_multiple_of(QUAD);
    let mut done = 0;
    if let Some((biases, rescale)) = table.one_low_rescale()
        && values.len() == whole
        && output.len() >= GROUP_ROWS
    {
        done = output.len() / GROUP_ROWS * GROUP_ROWS;
        let biases = &biases[..done];
        dsp::dense(values, filter, biases, rescale, &output[..done], zero_point);
    }
    let last: [_; QUAD] = core::array::from_fn(|place| {
        let value = values.get(whole + place);
        Cell::new(value.map_or(0, Cell::get))
    });
    while done < output.len() {
        let group = &filter[done / GROUP_ROWS * group_bytes..][..group_bytes];
        let sums = dsp::dense_sums(&values[..whole], group);
        let rest = dsp::dense_sums(&last, group.get(whole * GROUP_ROWS..).unwrap_or(&[]));
        for (sum, rest) in sums.into_iter().zip(rest) {
            if let Some(output) = output.get(done) {
                output.set(table.finish_one(done, sum.wrapping_add(rest), zero_point));
            }
            done += 1;
        }
    }
    clamp_bytes(output, op.clamp);
}

/// Where the patches come from.
struct Gather<'a> {
    op: &'a OpRecord,
    input: &'a [Cell<u8>],
    patches: &'a Patches<'a>,
    height: usize,
    width: usize,
    channels: usize,
    zero_point: i8,
    /// The whole patch.
    whole: Rect,
    /// One more than the last row and column of a patch's first tap at which all of its taps lie
    /// inside, or 0.
    inside: [u32; 2],
}

impl<'a> Gather<'a> {
    fn new(
        op: &'a OpRecord,
        input: &'a [Cell<u8>],
        source: &TensorView,
        patches: &'a Patches<'a>,
    ) -> Gather<'a> {
        let [_, height, width, channels] = source.dims();
        let [down, along] = pair(op.kernel);
        let reach = (down - 1) * usize::from(op.dilation[0]) + 1;
        let len = along * channels;
        // Taps apart are no run: then every pixel goes tap by tap.
        let is_run = op.dilation[1] == 1;
        let inside = |size: usize, reach: usize| (size + 1).saturating_sub(reach) as u32;
        Gather {
            op,
            input,
            patches,
            height,
            width,
            channels,
            zero_point: source.zero_point,
            whole: Rect {
                rows: down,
                len,
                from_step: usize::from(op.dilation[0]) * width * channels,
                to_step: len,
            },
            inside: [
                inside(height, reach),
                if is_run { inside(width, along) } else { 0 },
            ],
        }
    }

    /// Widens some of the next `most` patches of a row, the first tap of the first of which lies at
    /// row and column `at`; answers how many.
    #[inline(always)]
    fn pixels(&self, at: [i32; 2], pixel: usize, most: u32) -> usize {
        let [top, left] = at.map(|place| place as u32);
        if top >= self.inside[0] || left >= self.inside[1] {
            self.pixel_at_border(at, pixel);
            return 1;
        }
        let stride = u32::from(self.op.stride[1]);
        let count = most.min((self.inside[1] - left).div_ceil(stride)) as usize;
        let first = (top as usize * self.width + left as usize) * self.channels;
        let pixel_step = stride as usize * self.channels;
        self.patches.put(
            &self.input[first..],
            &self.whole,
            (pixel, 0),
            (count, pixel_step),
        );
        count
    }

    /// Padding, and then what lies inside.
    #[inline(never)]
    fn pixel_at_border(&self, [top, left]: [i32; 2], pixel: usize) {
        let [down, along] = self.op.kernel;
        let [step_down, step_along] = self.op.dilation;
        self.patches.fill(self.zero_point, pixel);
        let (above, below) = taps_inside(top, down, step_down, self.height);
        let y = top + (above * usize::from(step_down)) as i32;
        // Taps apart go one by one.
        let count = if step_along == 1 { along } else { 1 };
        let mut group = 0;
        while group < along {
            let left = left + i32::from(group) * i32::from(step_along);
            let (before, after) = taps_inside(left, count, 1, self.width);
            let rect = Rect {
                rows: below - above,
                len: (after - before) * self.channels,
                ..self.whole
            };
            if rect.rows > 0 && rect.len > 0 {
                let tap = usize::from(group) + before;
                let place = (pixel, above * rect.to_step + tap * self.channels);
                let at = y as usize * self.width + (left + before as i32) as usize;
                let values = &self.input[at * self.channels..];
                self.patches.put(values, &rect, place, (1, 0));
            }
            group += count;
        }
        self.patches.unstage(pixel);
    }
}
