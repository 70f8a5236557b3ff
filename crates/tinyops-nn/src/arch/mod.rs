//! What only a processor's own instructions can do, one file for each instruction set.
//!
//! The only place in this crate with `unsafe`. Each function is safe to call: it holds its
//! arguments against each other before it hands pointers to instructions.
#![expect(
    unsafe_code,
    reason = "instructions read and write through pointers that their wrapper has checked"
)]

#[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
pub(crate) mod dsp;
#[cfg(not(target_os = "none"))]
pub(crate) mod host;
#[cfg(all(target_arch = "arm", feature = "mve"))]
pub(crate) mod mve;
#[cfg(all(
    target_arch = "aarch64",
    target_endian = "little",
    not(target_os = "none")
))]
#[path = "aarch64.rs"]
mod neon;
#[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
mod x86_64;

/// Hosts without kernels of their own.
#[cfg(not(any(
    target_os = "none",
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_endian = "little")
)))]
mod portable {
    use super::host::{Bundles, Task};
    use crate::isa::Isa;

    pub(super) fn has(_: Isa) -> bool {
        false
    }

    pub(super) fn bundles(_: Isa, _: bool) -> Bundles {
        &[1]
    }

    pub(super) fn run(_: Isa, _: &mut Task<'_>) -> bool {
        false
    }
}
#[cfg(all(
    target_arch = "aarch64",
    target_endian = "little",
    not(target_os = "none")
))]
use neon as own;
#[cfg(not(any(
    target_os = "none",
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_endian = "little")
)))]
use portable as own;
#[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
use x86_64 as own;

#[cfg(not(target_os = "none"))]
pub(crate) use own::{bundles, has, run};
