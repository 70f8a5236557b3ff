//! Inner loops for the vector extension of Armv8.1-M (MVE, "Helium"): Cortex-M52, M55, M85.
//!
//! `VMLADAVA.S8` multiplies sixteen pairs of int8 values and adds all products to a general register:
//! sums are made of it. Four sums then become a vector, and rescaling takes four instructions, for
//! a multiplier `m` in `[2^30, 2^31)` and a shift `s < 0`:
//! ```text
//! vqrdmulh  h, a, m            a·m / 2^31 to the nearest, halves upwards
//! vshr      t, h, #31          -1 where negative
//! vadd      h, h, t            one less there, so that halves go away from zero
//! vqrdmlash h, 2^(31+s), zp    zp + h / 2^-s, to the nearest, halves upwards
//! ```
//! and two saturating narrowings make bytes of them. No step overflows, whatever the accumulator.
//! For shifts of 0 and more there are a few instructions more. `tests/it/arithmetic.rs` holds a
//! model of both against [`crate::Multiplier::apply`].
//!
//! Loops run by `DLS`/`LE`, and by `DLSTP`/`LETP` where the last round takes what is left of a
//! vector: loads and products of the lanes beyond are then left out.
//!
//! Each piece of assembly names its processor: the code around may be compiled for a lesser one.

#[macro_use]
mod rescale;

mod add;
mod bytes;
mod conv;
mod dense;
mod depthwise;
mod pool;
mod table;

pub(crate) use add::{Factor, add};
pub(crate) use bytes::{Runs, clamp, copy, fill};
pub(crate) use conv::{Copies, PIXELS, Patches, Rows, convolve, convolve_copied};
pub(crate) use dense::dense;
pub(crate) use depthwise::{
    FILTERS_MAX, Filters, PLANES_BYTES, Pixels, Places, Planes, Row, Shape, TAPS_BYTES,
    convolve_row,
};
#[cfg(feature = "general-ops")]
pub(crate) use pool::greatest;
pub(crate) use pool::sums;
pub(crate) use table::{CHANNELS_MAX, Table};
