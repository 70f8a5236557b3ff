//! Convolution for the DSP extension: four pixels at a time, their patches widened once.

use core::cell::Cell;

use super::add::Sum;
use super::{Channels, clamp_bytes, pair, taps_inside};
use crate::arch::dsp::{self, ConvBlock, Fours, Patches, Rect, TABLE_MAX};
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
    sum: Option<&Sum<'_>>,
) {
    let source = plan.view(op.inputs[0]);
    let result = plan.view(op.output);
    let [_, _, _, outputs] = result.dims();
    let filter_bytes = op.filter_bytes(source.shape, result.shape) as usize;
    let filter = &plan.constants()[op.weights_offset as usize..][..filter_bytes];
    if op.is_dense(result.shape) {
        let values = &input[..usize::from(source.shape[3])];
        return dense(plan, op, filter, values, output, sum);
    }
    let row = (op.taps(source.shape) as usize).next_multiple_of(QUAD);
    let patches = Patches::new(scratch, row);
    let mut gather = Gather::new(op, input, [&source, &result], &patches);
    let channels = Channels::of(plan, op, outputs);
    let mut conv = ConvBlock::new(&patches, filter, result.zero_point);
    // Few channels stay in the table.
    let stay = outputs <= TABLE_MAX;
    if stay {
        channels.fill(conv.table(), 0, outputs);
        conv.begin(0, BLOCK_PIXELS, outputs);
    }
    let block_bytes = BLOCK_PIXELS * outputs;
    let mut start = 0;
    for piece in output.chunks(sum.map_or(output.len(), |sum| sum.lag)) {
        for block in piece.chunks(block_bytes) {
            let pixels = block.len() / outputs;
            gather.block(pixels);
            if stay && block.len() == block_bytes {
                conv.run(block);
                continue;
            }
            let mut first = 0;
            while first < outputs {
                channels.fill(conv.table(), first, TABLE_MAX.min(outputs - first));
                conv.begin(first, pixels, outputs);
                conv.run(&block[first..]);
                first += TABLE_MAX;
            }
        }
        clamp_bytes(piece, op.clamp);
        if let Some(sum) = sum {
            sum.add(start..start + piece.len());
        }
        start += piece.len();
    }
}

/// A dense layer.
#[inline(never)]
fn dense(
    plan: &Plan<'_>,
    op: &OpRecord,
    filter: &[u8],
    values: &[Cell<u8>],
    output: &[Cell<u8>],
    sum: Option<&Sum<'_>>,
) {
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
    if let Some(sum) = sum {
        sum.add(0..output.len());
    }
}

/// Whether the pixels of an op are its inputs', so that their rows are one.
fn whole_is_one_row(op: &OpRecord, source: &TensorView, result: &TensorView) -> bool {
    op.kernel == [1, 1]
        && op.stride == [1, 1]
        && op.pad == [0, 0]
        && source.shape[1] == result.shape[1]
        && source.shape[2] == result.shape[2]
}

/// Where the patches come from.
struct Gather<'a> {
    op: &'a OpRecord,
    input: &'a [Cell<u8>],
    patches: &'a Patches<'a>,
    fours: Option<Fours<'a>>,
    height: usize,
    width: usize,
    channels: usize,
    zero_point: i8,
    /// The whole patch.
    whole: Rect,
    /// One more than the last row and column of a patch's first tap at which all of its taps lie
    /// inside, or 0.
    inside: [u32; 2],
    /// Row and column of the next patch's first tap.
    at: [i32; 2],
    /// The first column, the one after the last, and from a pixel to the next.
    columns: [i32; 3],
}

impl<'a> Gather<'a> {
    fn new(
        op: &'a OpRecord,
        input: &'a [Cell<u8>],
        [source, result]: [&TensorView; 2],
        patches: &'a Patches<'a>,
    ) -> Gather<'a> {
        let [_, mut height, mut width, channels] = source.dims();
        let [down, along] = pair(op.kernel);
        let [pad_down, pad_along]: [i32; 2] = pair(op.pad);
        let stride = i32::from(op.stride[1]);
        let mut columns = result.shape[2].into();
        if whole_is_one_row(op, source, result) {
            (height, width) = (1, height * width);
            columns = width as i32;
        }
        let reach = (down - 1) * usize::from(op.dilation[0]) + 1;
        let len = along * channels;
        // Taps apart are no run: then every pixel goes tap by tap.
        let is_run = op.dilation[1] == 1;
        let inside = |size: usize, reach: usize| (size + 1).saturating_sub(reach) as u32;
        let whole = Rect {
            rows: down,
            len,
            from_step: usize::from(op.dilation[0]) * width * channels,
            to_step: len,
        };
        Gather {
            op,
            input,
            patches,
            fours: Fours::new(patches, input, &whole),
            height,
            width,
            channels,
            zero_point: source.zero_point,
            whole,
            inside: [
                inside(height, reach),
                if is_run { inside(width, along) } else { 0 },
            ],
            at: [-pad_down, -pad_along],
            columns: [-pad_along, columns * stride - pad_along, stride],
        }
    }

    /// Widens the next patches.
    #[inline(never)]
    fn block(&mut self, pixels: usize) {
        let start = self.at;
        // Four patches inside, side by side.
        let [_, end, stride] = self.columns;
        let last = start[1] + (BLOCK_PIXELS as i32 - 1) * stride;
        if last < end
            && (last as u32) < self.inside[1]
            && let Some(first) = self.first()
            && let Some(fours) = &mut self.fours
            && fours.put_run(first, stride as usize * self.channels)
        {
            self.at[1] = last;
            self.step();
            return;
        }
        let mut firsts = [0; BLOCK_PIXELS];
        let mut left_over = 0u32;
        for (pixel, first) in firsts.iter_mut().enumerate().take(pixels) {
            match self.first() {
                Some(place) => *first = place,
                None => left_over |= 1 << pixel,
            }
            self.step();
        }
        // A lane without a patch inside takes the input's first values for now.
        let are_put = self.fours.as_mut().is_some_and(|fours| fours.put(firsts));
        if !are_put {
            left_over = u32::MAX;
        }
        if left_over != 0 {
            self.at = start;
            for pixel in 0..pixels {
                if left_over & 1 << pixel != 0 {
                    self.pixel(pixel);
                }
                self.step();
            }
        }
    }

    /// Where the next patch begins in the input, if it lies inside whole.
    #[inline(always)]
    fn first(&self) -> Option<usize> {
        let [top, left] = self.at.map(|place| place as u32);
        let is_inside = top < self.inside[0] && left < self.inside[1];
        is_inside.then(|| (top as usize * self.width + left as usize) * self.channels)
    }

    #[inline(always)]
    fn step(&mut self) {
        let [first, end, stride] = self.columns;
        self.at[1] += stride;
        if self.at[1] == end {
            self.at = [self.at[0] + i32::from(self.op.stride[0]), first];
        }
    }

    /// One patch.
    #[inline(never)]
    fn pixel(&self, pixel: usize) {
        match self.first() {
            Some(first) => {
                let values = &self.input[first..];
                self.patches.put(values, &self.whole, pixel, 0);
                self.patches.unstage(pixel);
            }
            None => self.pixel_at_border(self.at, pixel),
        }
    }

    /// Padding, and then what lies inside.
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
                let place = above * rect.to_step + tap * self.channels;
                let at = y as usize * self.width + (left + before as i32) as usize;
                let values = &self.input[at * self.channels..];
                self.patches.put(values, &rect, pixel, place);
            }
            group += count;
        }
        self.patches.unstage(pixel);
    }
}
