#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
//! Int8 kernels, the executor of a [`Plan`], and last-layer learning from sufficient statistics.
//!
//! Bytes in, bytes out: a plan is read in place from flash, checked once by [`Plan::load`], and
//! run over an arena that the caller lends. The arithmetic is that of `docs/arithmetic.md`, bit
//! for bit, on every machine.
//!
//! This crate never allocates, never reads a clock, and knows no model file, board or flash.

pub mod plan;
pub mod record;

pub mod layout;

// Only to ask which instructions the host has: a device has no operating system, and no `std`.
#[cfg(not(target_os = "none"))]
extern crate std;

#[cfg(any(
    not(target_os = "none"),
    all(target_arch = "arm", any(target_feature = "dsp", feature = "mve"))
))]
mod arch;
mod arena;
mod executor;
mod fixed;
mod kernel;
pub mod lookup;
pub mod quantize;

pub mod distance;
mod embedding;
pub mod golden;
pub mod head;
#[cfg(not(target_os = "none"))]
mod isa;
#[cfg(not(target_os = "none"))]
mod prepared;
pub mod program;
#[cfg(not(target_os = "none"))]
mod shape;
pub mod statistics;

pub use arena::{Arena, Regions};
pub use distance::Distance;
pub use embedding::{EMBEDDING_LEN_MAX, EmbeddingDistance, EmbeddingError};
pub use executor::RunError;
#[cfg(not(target_os = "none"))]
pub use isa::Isa;
pub use plan::{Plan, PlanError, TensorView};
pub use program::{Program, ProgramError};
pub use quantize::{Multiplier, dequantize, quantize, quantize_int16};
#[cfg(not(target_os = "none"))]
pub use {arch::host::Line, prepared::Prepared};
