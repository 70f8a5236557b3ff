//! Convolution for the vector extension: patches of up to three pixels, against row after row.

use core::cell::Cell;

use super::add::Sum;
use super::patch::gather;
use super::{Channels, taps_inside};
use crate::arch::mve::{self, CHANNELS_MAX, Copies, PIXELS, Patches, Rows, Runs, Table};
use crate::layout::{GROUP_ROWS, QUAD};
use crate::plan::Plan;
use crate::record::OpRecord;

/// Channels of a convolution that are made at once; up to three take a place of four in the table.
const BLOCK_CHANNELS: usize = CHANNELS_MAX - 8;

/// As the portable kernel, of which nothing is left on this processor.
// Its table shall not lie on the stack while other kernels run.
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
    let outputs = usize::from(result.shape[3]);
    let filter_bytes = op.filter_bytes(source.shape, result.shape) as usize;
    let filter = &plan.constants()[op.weights_offset as usize..][..filter_bytes];
    let channels = Channels::of(plan, op, outputs);
    let is_low = channels.shifts_are_low();
    let mut table = Table::new(is_low);
    if op.is_dense(result.shape) {
        let values = &input[..usize::from(source.shape[3])];
        let row = GROUP_ROWS * values.len().next_multiple_of(QUAD);
        let parts = filter.chunks(CHANNELS_MAX / GROUP_ROWS * row);
        for (index, (output, filter)) in output.chunks(CHANNELS_MAX).zip(parts).enumerate() {
            table.clear();
            channels.push(&mut table, index * CHANNELS_MAX, output.len());
            mve::dense(values, filter, &table, output, result.zero_point);
        }
        mve::clamp(output, op.clamp);
        if let Some(sum) = sum {
            sum.add(0..output.len());
        }
        return;
    }
    let taps = op.taps(source.shape) as usize;
    let is_fast = is_low && outputs.is_multiple_of(QUAD) && outputs <= BLOCK_CHANNELS;
    let mut layer = Layer {
        is_fast,
        filter,
        taps,
        channels: &channels,
        outputs,
        zero_point: result.zero_point,
        table: &mut table,
        filled: None,
    };
    let is_pointwise = op.kernel == [1, 1]
        && op.stride == [1, 1]
        && op.pad == [0, 0]
        && source.shape[1..3] == result.shape[1..3];
    if is_fast {
        layer.fill(0, outputs);
    }
    let columns = usize::from(result.shape[2]);
    let mut patches = Gather::of(op, source.shape, source.zero_point, columns);
    let mut start = 0;
    for piece in output.chunks(sum.map_or(output.len(), |sum| sum.lag)) {
        if is_pointwise {
            // Its pixels lie in one piece already.
            let values = &input[start / outputs * taps..];
            let mut done = 0;
            if is_fast {
                let copies = Copies {
                    len: PIXELS * taps,
                    counts: [1, 1],
                    steps: [0, PIXELS * taps],
                };
                let rows = layer.rows(0, outputs);
                mve::convolve_copied(values, copies, scratch, rows, taps, piece);
                done = piece.len() / (PIXELS * outputs) * PIXELS;
            }
            let blocks = piece[done * outputs..].chunks(PIXELS * outputs);
            for (block, first) in blocks.zip((done..).step_by(PIXELS)) {
                let values = &values[first * taps..];
                mve::copy(scratch, values, &Runs::one(block.len() / outputs * taps));
                layer.make(scratch, block);
            }
        } else {
            layer.make_gathered(&mut patches, input, scratch, piece);
        }
        mve::clamp(piece, op.clamp);
        if let Some(sum) = sum {
            sum.add(start..start + piece.len());
        }
        start += piece.len();
    }
}

/// What serves all pixels of a layer.
struct Layer<'a> {
    /// Whether the table has all channels from the beginning, in whole places.
    is_fast: bool,
    filter: &'a [u8],
    taps: usize,
    channels: &'a Channels<'a>,
    outputs: usize,
    zero_point: i8,
    table: &'a mut Table,
    /// The first channel of the table's, if it has some.
    filled: Option<usize>,
}

impl Layer<'_> {
    /// Makes the next pixels, whose patches lie apart in the input.
    fn make_gathered(
        &mut self,
        patches: &mut Gather<'_>,
        input: &[Cell<u8>],
        scratch: &[Cell<u8>],
        mut rest: &[Cell<u8>],
    ) {
        let (outputs, taps) = (self.outputs, self.taps);
        while !rest.is_empty() {
            let pixels = rest.len() / outputs;
            let mut count = patches.inside(pixels) / PIXELS * PIXELS;
            if self.is_fast && count > 0 {
                let (from, copies) = patches.three();
                let rows = self.rows(0, outputs);
                let block = &rest[..count * outputs];
                mve::convolve_copied(&input[from..], copies, scratch, rows, taps, block);
                patches.pass(count);
            } else {
                count = PIXELS.min(pixels);
                for patch in scratch[..count * taps].chunks_exact(taps) {
                    patches.gather(input, patch);
                    patches.pass(1);
                }
                self.make(scratch, &rest[..count * outputs]);
            }
            rest = &rest[count * outputs..];
        }
    }

    /// Makes all channels of some pixels whose patches lie one after the other.
    fn make(&mut self, values: &[Cell<u8>], output: &[Cell<u8>]) {
        let patches = Patches {
            values,
            taps: self.taps,
            pixels: output.len() / self.outputs,
        };
        for first in (0..self.outputs).step_by(BLOCK_CHANNELS) {
            let count = BLOCK_CHANNELS.min(self.outputs - first);
            if self.filled != Some(first) {
                self.fill(first, count);
            }
            mve::convolve(
                patches,
                self.rows(first, count),
                (&output[first..], self.outputs),
            );
        }
    }

    fn rows(&self, first: usize, count: usize) -> Rows<'_> {
        Rows {
            filter: &self.filter[first * self.taps.next_multiple_of(QUAD)..],
            table: self.table,
            channels: count,
            zero_point: self.zero_point,
        }
    }

    /// Fills the table: four channels have a place together, each of those left has one of its own.
    fn fill(&mut self, first: usize, count: usize) {
        let whole = count / QUAD * QUAD;
        self.table.clear();
        if whole > 0 {
            self.channels.push(self.table, first, whole);
        }
        for index in whole..count {
            self.channels.push(self.table, first + index, 1);
        }
        self.filled = Some(first);
    }
}

/// Brings the inputs under the filter into one piece, pixel after pixel.
struct Gather<'a> {
    op: &'a OpRecord,
    /// Height, width and channels of the input.
    shape: [usize; 3],
    zero_point: i8,
    /// Pixels of an output row.
    columns: usize,
    /// The columns at which all taps of a row lie inside: the first, and one past the last.
    inside: [usize; 2],
    /// The next pixel's row and column.
    at: [usize; 2],
    /// Its row's first input row, and the rows of the filter inside, to one past the last.
    top: i32,
    rows: (usize, usize),
}

impl Gather<'_> {
    fn of(op: &OpRecord, shape: [u16; 4], zero_point: i8, columns: usize) -> Gather<'_> {
        let [_, height, width, channels] = shape.map(usize::from);
        let [pad, stride] = [usize::from(op.pad[1]), usize::from(op.stride[1])];
        let taps = usize::from(op.kernel[1]);
        // Taps apart are no run: then every pixel goes tap by tap.
        let is_run = op.dilation[1] == 1 || taps == 1;
        let end = match (width + pad).checked_sub(taps) {
            Some(room) if is_run => (room / stride + 1).min(columns),
            _ => 0,
        };
        let mut gather = Gather {
            op,
            shape: [height, width, channels],
            zero_point,
            columns,
            inside: [pad.div_ceil(stride), end],
            at: [0, 0],
            top: 0,
            rows: (0, 0),
        };
        gather.begin_row();
        gather
    }

    fn begin_row(&mut self) {
        let op = self.op;
        self.top = self.at[0] as i32 * i32::from(op.stride[0]) - i32::from(op.pad[0]);
        self.rows = taps_inside(self.top, op.kernel[0], op.dilation[0], self.shape[0]);
    }

    /// Goes on by some pixels of the row.
    fn pass(&mut self, count: usize) {
        self.at[1] += count;
        if self.at[1] == self.columns {
            self.at = [self.at[0] + 1, 0];
            self.begin_row();
        }
    }

    /// How many of the next pixels of the row have all their taps inside.
    fn inside(&self, count: usize) -> usize {
        let [first, end] = self.inside;
        let column = self.at[1];
        if self.rows == (0, usize::from(self.op.kernel[0])) && column >= first {
            count.min(end.saturating_sub(column))
        } else {
            0
        }
    }

    /// Where three such pixels come from.
    fn three(&self) -> (usize, Copies) {
        let [kernel_rows, kernel_columns] = self.op.kernel.map(usize::from);
        let [_, width, channels] = self.shape;
        let stride = usize::from(self.op.stride[1]);
        let left = self.at[1] * stride - usize::from(self.op.pad[1]);
        let copies = Copies {
            len: kernel_columns * channels,
            counts: [kernel_rows, PIXELS],
            steps: [self.row_step(), stride * channels],
        };
        ((self.top as usize * width + left) * channels, copies)
    }

    /// Fills the next pixel's patch.
    fn gather(&self, input: &[Cell<u8>], patch: &[Cell<u8>]) {
        let [kernel_rows, kernel_columns] = self.op.kernel.map(usize::from);
        let [_, width, channels] = self.shape;
        if self.op.dilation[1] != 1 {
            gather(self.op, input, self.shape, self.at, self.zero_point, patch);
            return;
        }
        let run = kernel_columns * channels;
        let left = self.at[1] as i32 * i32::from(self.op.stride[1]) - i32::from(self.op.pad[1]);
        let (first, end) = taps_inside(left, self.op.kernel[1], 1, width);
        let (above, below) = self.rows;
        if below - above < kernel_rows || end - first < kernel_columns {
            mve::fill(patch, self.zero_point as u8);
        }
        if first < end && above < below {
            let row = self.top + above as i32 * i32::from(self.op.dilation[0]);
            let from = (row * width as i32 + left + first as i32) as usize * channels;
            let runs = Runs {
                len: (end - first) * channels,
                count: below - above,
                from_step: self.row_step(),
                to_step: run,
            };
            mve::copy(
                &patch[above * run + first * channels..],
                &input[from..],
                &runs,
            );
        }
    }

    /// Bytes from one row under the filter to the next.
    fn row_step(&self) -> usize {
        usize::from(self.op.dilation[0]) * self.shape[1] * self.shape[2]
    }
}
