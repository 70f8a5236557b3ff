#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! Filters, FFT and feature blocks: one implementation for training and device.
//!
//! A [`FrontEnd`] turns one window of raw readings into features. It is a plain value, encoded into
//! every capsule, so that the laptop and the board compute the same bits: no allocator, no `std`
//! mathematics (only `libm`), memory lent by the caller.
//!
//! Knows nothing of sensors, models or boards.

pub mod dct;
pub mod fft;
pub mod filter;
pub mod mel;
pub mod spectrum;
pub mod speech;
pub mod statistics;
pub mod taper;

mod front_end;
mod real;
mod scaler;

pub use front_end::{
    Analysis, Bands, Bank, Block, Filter, FilterKind, Flatten, Framing, FrontEnd, FrontEndError,
    Image, Level, MaxHold, Mfcc, Mfe, Normalize, Raw, Shape, Spectral, Taper, Timeline,
};
pub use real::{Real, TABLE_LEN};
pub use scaler::Scaler;
