//! Where an op's filter and scratch bytes lie, and how far its output may run into its input.
//!
//! These are part of the plan's format, `docs/formats/plan.md`: every kernel on every target reads
//! the same bytes and keeps the same order.

use crate::quantize::Multiplier;
use crate::record::{OpCode, OpRecord};

/// Pixels whose patches a convolution gathers before it writes any of them.
pub const BLOCK_PIXELS: usize = 4;
/// Rows of a dense filter that lie interleaved, a quad of each after the other.
pub const GROUP_ROWS: usize = 4;
/// Values of a filter's row that lie together; rows are padded with zeros to whole quads.
pub const QUAD: usize = 4;

/// The shift of a packed channel lies at most so far below the greatest of its op.
pub const STEP_MAX: i8 = 3;

/// The most channels of an op that are worth packing: fast kernels unpack them on the stack, nine
/// bytes each, and leave ops with more to the portable ones.
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

    /// How many input values one output of a convolution sums.
    #[must_use]
    pub fn taps(&self, input: [u16; 4]) -> u64 {
        self.kernel.map(u64::from).iter().product::<u64>() * u64::from(input[3])
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
            OpCode::DepthwiseConv2d => self.kernel.map(u64::from).iter().product::<u64>() * outputs,
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
        let [_, _, width, channels] = input.map(i64::from);
        let [_, rows, columns, outputs] = output.map(i64::from);
        // Along one axis: the least distance from what output `at` (in steps of `written` bytes)
        // has begun to write to the first input that it needs (in steps of `read` bytes), over
        // `from..=last`. The distance is convex, so it is least at an end or where padding ends.
        let least = |axis: usize, from: i64, last: i64, read: i64, written: i64| {
            let kink = i64::from(self.pad[axis] / u16::from(self.stride[axis])).clamp(from, last);
            let (stride, pad) = (i64::from(self.stride[axis]), i64::from(self.pad[axis]));
            let distance = |at: i64| (at * stride - pad).max(0) * read - at * written;
            let places = [from, kink, (kink + 1).min(last), last];
            places.map(distance).into_iter().min()
        };
        let (row_read, row_written) = (width * channels, columns * outputs);
        match self.code {
            OpCode::Conv2d if !self.is_dense(output) => {
                // The next pixel of the same row, and the first one of the next row.
                let along = if columns > 1 {
                    least(1, 1, columns - 1, channels, outputs)
                        .zip(least(0, 0, rows - 1, row_read, row_written))
                        .map(|(x, y)| x + y)
                } else {
                    None
                };
                let down = if rows > 1 {
                    least(0, 1, rows - 1, row_read, row_written)
                } else {
                    None
                };
                // A single pixel has no later one: nothing of its input is needed any more.
                Some(along.into_iter().chain(down).min().unwrap_or(i64::MAX))
            }
            OpCode::DepthwiseConv2d | OpCode::MaxPool2d | OpCode::AveragePool2d => {
                least(0, 0, rows - 1, row_read, row_written).map(|lead| lead - row_written)
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
        let [_, height, width, channels] = input.map(i64::from);
        let [_, rows, columns, outputs] = output.map(i64::from);
        if !self.keeps_to_rows() {
            return None;
        }
        let (stride, pad) = (i64::from(self.stride[0]), i64::from(self.pad[0]));
        let reach = (i64::from(self.kernel[0]) - 1) * i64::from(self.dilation[0]) + 1;
        let distance = |row: i64| {
            let end = (row * stride - pad + reach).clamp(0, height);
            end * width * channels - row * columns * outputs
        };
        // Straight up to the row whose window ends with the input, and straight after it.
        let kink = ((height + pad - reach).max(0) / stride).min(rows - 1);
        let places = [0, kink, (kink + 1).min(rows - 1), rows - 1];
        places.into_iter().map(distance).max()
    }

    /// Whether the op makes row after row and may make them from the last to the first.
    #[must_use]
    pub fn keeps_to_rows(&self) -> bool {
        matches!(
            self.code,
            OpCode::DepthwiseConv2d | OpCode::MaxPool2d | OpCode::AveragePool2d
        )
    }
}
