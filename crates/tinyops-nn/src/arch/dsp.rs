//! Inner loops for the DSP extension of Armv7E-M and Armv8-M.
//!
//! `SXTB16` of a word of four int8 values `b0 b1 b2 b3` gives the 16-bit pair `(b0, b2)`, and
//! `(b1, b3)` of the word rotated by 8; `SMLAD` multiplies two pairs and adds both products. As
//! inputs and weights are widened alike, the pairs match without any reordering.
//!
//! Rescaling takes four instructions, for a multiplier `m` in `[2^30, 2^31)` and a shift `s < 0`:
//! ```text
//! smmlar h, a, 2m, a           2m as a signed number is 2m - 2^32: a + (2m - 2^32)·a / 2^32 = a·m / 2^31
//! add    h, h, h, asr #31      one less where negative, so that halves go away from zero
//! smmlsr r, h, -2^(32+s), zp   zp + h / 2^-s, to the nearest, halves upwards
//! ssat   r, #8, r
//! ```
//! No step overflows, whatever the accumulator. `tests/it/arithmetic.rs` holds a model of these
//! instructions against [`crate::Multiplier::apply`].

use core::cell::Cell;

mod gather;
#[macro_use]
mod rescale;

mod add;
mod conv;
mod dense;
mod depthwise;

pub(crate) use add::add;
pub(crate) use conv::convolve_block;
pub(crate) use dense::{dense, dense_sums};
pub(crate) use depthwise::{DepthwiseRow, ROW_PIXELS_MAX, RowTaps, depthwise_row};
pub(crate) use gather::{copy, widen, widen_value};

/// The channels of a convolution: as many biases, multipliers and shifts as outputs.
#[derive(Clone, Copy)]
pub(crate) struct ChannelTable<'a> {
    pub(crate) biases: &'a [[u8; 4]],
    pub(crate) multipliers: &'a [[u8; 4]],
    pub(crate) shifts: &'a [u8],
}

fn is_aligned(cells: &[Cell<u8>]) -> bool {
    cells.as_ptr().addr().is_multiple_of(4)
}
