//! Where an op's filter and scratch bytes lie, and how far its output may run into its input.
//!
//! These are part of the plan's format, `docs/formats/plan.md`: every kernel on every target reads
//! the same bytes and keeps the same order.

use crate::quantize::Multiplier;
use crate::record::{FLAG_SUM, OpCode, OpRecord};

/// Pixels whose patches a convolution gathers before it writes any of them.
pub const BLOCK_PIXELS: usize = 4;
/// Rows of a dense filter that lie interleaved, a quad of each after the other.
pub const GROUP_ROWS: usize = 4;
/// Values of a filter's row that lie together; rows are padded with zeros to whole quads.
pub const QUAD: usize = 4;

/// The shift of a packed channel lies at most so far below the greatest of its op.
pub const STEP_MAX: i8 = 3;

/// The most channels of an op that are worth packing: a reader of words may unpack them all
/// on the stack.
pub const UNPACKED_MAX: usize = 64;

/// One packed channel, as a word and three bytes; `None` if it does not go into them.
///
/// The two top bits of a multiplier are always `01`; the word has the distance of the shift to
/// the greatest of the op in their place. The bias keeps 24 bits.
#[must_use]
pub fn pack_channel(
    bias: i32,
    multiplier: Multiplier,
    shift_max: i8,
) -> Option<([u8; 4], [u8; 3])> {
    let step = i32::from(shift_max) - i32::from(multiplier.shift);
    let sound = (0..=i32::from(STEP_MAX)).contains(&step)
        && multiplier.value >> 30 == 1
        && bias << 8 >> 8 == bias;
    let [low, middle, high, _] = bias.to_le_bytes();
    let word = multiplier.value & 0x3FFF_FFFF | step << 30;
    sound.then_some((word.to_le_bytes(), [low, middle, high]))
}

/// Bias and multiplier of a packed channel; `Plan::load` has checked `shift_max`.
#[inline]
#[must_use]
pub fn unpack_channel(word: [u8; 4], bias: [u8; 3], shift_max: i8) -> (i32, Multiplier) {
    let word = u32::from_le_bytes(word);
    let bias = i32::from_le_bytes([0, bias[0], bias[1], bias[2]]) >> 8;
    let multiplier = Multiplier {
        value: (word & 0x3FFF_FFFF | 0x4000_0000) as i32,
        shift: shift_max - (word >> 30) as i8,
    };
    (bias, multiplier)
}

impl OpRecord {
    /// Whether the op is a convolution of a single pixel that lies in one piece: a dense layer.
    #[must_use]
    pub fn is_dense(&self, output: [u16; 4]) -> bool {
        self.code == OpCode::Conv2d
            && output[1..3] == [1, 1]
            && self.kernel == [1, 1]
            && self.pad == [0, 0]
    }

    /// Whether the op is a convolution that runs with the sum after it.
    #[must_use]
    pub fn goes_into_sum(&self) -> bool {
        self.code == OpCode::Conv2d && self.flags & FLAG_SUM != 0
    }

    /// Whether the op is a sum that runs with the convolution before it.
    #[must_use]
    pub fn is_merged_sum(&self) -> bool {
        self.code == OpCode::Add && self.flags & FLAG_SUM != 0
    }

    /// Height times width of the filter or window.
    fn window(&self) -> u64 {
        u64::from(u32::from(self.kernel[0]) * u32::from(self.kernel[1]))
    }

    /// How many input values one output of a convolution sums.
    #[must_use]
    pub fn taps(&self, input: [u16; 4]) -> u64 {
        self.window() * u64::from(input[3])
    }

    /// How many bytes the filter of a convolution, dense or depthwise, has; 0 for other ops.
    #[must_use]
    pub fn filter_bytes(&self, input: [u16; 4], output: [u16; 4]) -> u64 {
        let outputs = u64::from(output[3]);
        let row = || self.taps(input).next_multiple_of(QUAD as u64);
        match self.code {
            OpCode::Conv2d if self.is_dense(output) => {
                outputs.next_multiple_of(GROUP_ROWS as u64) * row()
            }
            OpCode::Conv2d => outputs * row(),
            OpCode::DepthwiseConv2d => self.window() * outputs,
            _ => 0,
        }
    }

    /// Where the weight of an output channel and a tap lies in the filter of a convolution.
    ///
    /// Taps count in the order `[height][width][in]`.
    #[must_use]
    pub fn filter_index(
        &self,
        input: [u16; 4],
        output: [u16; 4],
        channel: usize,
        tap: usize,
    ) -> usize {
        let row = (self.taps(input) as usize).next_multiple_of(QUAD);
        if self.is_dense(output) {
            let group = channel / GROUP_ROWS * GROUP_ROWS * row;
            let quad = tap / QUAD * GROUP_ROWS + channel % GROUP_ROWS;
            group + quad * QUAD + tap % QUAD
        } else {
            channel * row + tap
        }
    }

    /// How many bytes of arena the op uses beside its tensors, which have these shapes.
    ///
    /// A convolution keeps the patches of [`BLOCK_PIXELS`] pixels as 16-bit numbers, and one more
    /// patch as bytes where a tap is not made of whole quads. A dense layer needs nothing.
    #[must_use]
    pub fn scratch_bytes(&self, input: [u16; 4], output: [u16; 4]) -> u64 {
        if self.code != OpCode::Conv2d || self.is_dense(output) {
            return 0;
        }
        let row = self.taps(input).next_multiple_of(QUAD as u64);
        let wide = 2 * BLOCK_PIXELS as u64 * row;
        let stage = if input[3].is_multiple_of(QUAD as u16) {
            0
        } else {
            row
        };
        wide + stage
    }

    /// The greatest `output offset - input offset` at which the output may overlap its input, or
    /// `None` where the two must lie apart.
    ///
    /// Ops make their output in raster order. A convolution writes a pixel after it has gathered
    /// that pixel's patch: it may overwrite whatever no later pixel needs. Depthwise convolutions
    /// and pools write a row only over what neither this row nor a later one needs. For
    /// elementwise ops, which may write exactly over an input, see `docs/formats/plan.md`.
    #[must_use]
    pub fn overlap_lead(&self, input: [u16; 4], output: [u16; 4]) -> Option<i64> {
        match self.code {
            OpCode::Conv2d if !self.is_dense(output) => {
                // The next pixel of the same row, and the first one of the next row.
                let next_row = self.least_distance(0, 1, input, output);
                let along = self.least_distance(1, 1, input, output);
                if along == i64::MAX {
                    // A single pixel has no later one: nothing of its input is needed any more.
                    return Some(next_row);
                }
                // In the first row the distance is 0.
                Some(next_row.min(along + next_row.min(0)))
            }
            OpCode::DepthwiseConv2d | OpCode::MaxPool2d | OpCode::AveragePool2d => {
                let lead = self.least_distance(0, 0, input, output);
                Some(lead - i64::from(output[2]) * i64::from(output[3]))
            }
            _ => None,
        }
    }

    /// The least `output offset - input offset` at which the output of an op that makes its rows
    /// from the last to the first ([`crate::record::FLAG_BACKWARD`]) may overlap its input: a row
    /// is written only over what neither this row nor one above needs. `None` where the two must
    /// lie apart.
    #[must_use]
    pub fn overlap_lag(&self, input: [u16; 4], output: [u16; 4]) -> Option<i64> {
        if !self.keeps_to_rows() {
            return None;
        }
        let (height, last) = (u32::from(input[1]), u32::from(output[1]) - 1);
        let (stride, pad) = (u32::from(self.stride[0]), u32::from(self.pad[0]));
        let reach = (u32::from(self.kernel[0]) - 1) * u32::from(self.dilation[0]) + 1;
        let [read, written] =
            [input, output].map(|shape| i64::from(shape[2]) * i64::from(shape[3]));
        // Straight up to the row whose window ends with the input, and straight after it.
        let kink = ((height + pad).saturating_sub(reach) / stride).min(last);
        let mut greatest = i64::MIN;
        for row in [0, kink, (kink + 1).min(last), last] {
            let end = (row * stride + reach).saturating_sub(pad).min(height);
            greatest = greatest.max(i64::from(end) * read - i64::from(row) * written);
        }
        Some(greatest)
    }

    /// Whether the op makes row after row and may make them from the last to the first.
    #[must_use]
    pub fn keeps_to_rows(&self) -> bool {
        matches!(
            self.code,
            OpCode::DepthwiseConv2d | OpCode::MaxPool2d | OpCode::AveragePool2d
        )
    }

    /// As [`OpRecord::overlap_lead`] and [`OpRecord::overlap_lag`], in bytes, for an op over int16:
    /// all that have windows keep to rows, and may make them from the last to the first.
    #[must_use]
    pub fn wide_overlap(&self, input: [u16; 4], output: [u16; 4]) -> Option<(i64, i64)> {
        if !self.wide_keeps_to_rows(output) {
            return None;
        }
        // The distances of a depthwise convolution are those of any op that keeps to rows.
        let rows = OpRecord {
            code: OpCode::DepthwiseConv2d,
            ..*self
        };
        let lead = rows.overlap_lead(input, output)?;
        let lag = rows.overlap_lag(input, output)?;
        Some((2 * lead, 2 * lag))
    }

    /// Whether an op over int16 makes row after row and may make them from the last to the first.
    #[must_use]
    pub fn wide_keeps_to_rows(&self, output: [u16; 4]) -> bool {
        let is_convolution = self.code == OpCode::Conv2d && !self.is_dense(output);
        is_convolution || self.keeps_to_rows()
    }

    /// Along one axis, the least distance in bytes from where an output begins to the first input
    /// that it needs, over outputs `from` to the last; `i64::MAX` of none. The distance is convex,
    /// so it is least at an end or where padding ends.
    #[inline(never)]
    fn least_distance(&self, axis: usize, from: u32, input: [u16; 4], output: [u16; 4]) -> i64 {
        let last = u32::from(output[1 + axis]) - 1;
        if from > last {
            return i64::MAX;
        }
        let [mut read, mut written] = [input, output].map(|shape| i64::from(shape[3]));
        if axis == 0 {
            read *= i64::from(input[2]);
            written *= i64::from(output[2]);
        }
        let (stride, pad) = (u32::from(self.stride[axis]), u32::from(self.pad[axis]));
        let kink = (pad / stride).clamp(from, last);
        let mut least = i64::MAX;
        for at in [from, kink, (kink + 1).min(last), last] {
            let needed = i64::from((at * stride).saturating_sub(pad));
            least = least.min(needed * read - i64::from(at) * written);
        }
        least
    }
}
