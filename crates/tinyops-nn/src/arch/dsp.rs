//! Inner loops for the DSP extension of Armv7E-M and Armv8-M.
//!
//! Functions of assembly alone name their processor, since the assembler knows no `target-cpu` there:
//! the Cortex-M4, as no instruction is used that Armv7E-M does not have.
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

use crate::layout::{BLOCK_PIXELS, QUAD};

mod gather;
#[macro_use]
mod rescale;

mod add;
mod conv;
mod dense;
mod depthwise;
mod sum;
mod table;

pub(crate) use add::{Factor, add};
pub(crate) use conv::ConvBlock;
pub(crate) use dense::{dense, dense_sums};
pub(crate) use depthwise::{Depthwise, Layer, RowPart};
pub(crate) use gather::{Fours, Patches, Rect};
pub(crate) use sum::sum;
pub(crate) use table::{ChannelTable, TABLE_MAX};

/// Bytes from one quad's place in the widened patches to the next.
const WIDE_QUAD: usize = 2 * BLOCK_PIXELS * QUAD;

fn is_aligned(cells: &[Cell<u8>]) -> bool {
    cells.as_ptr().addr().is_multiple_of(4)
}
