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
#[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
mod x86_64;

/// Whether this processor, and the system that runs on it, know the instructions.
#[cfg(not(target_os = "none"))]
pub(crate) fn has(isa: crate::isa::Isa) -> bool {
    #[cfg(target_arch = "x86_64")]
    return x86_64::has(isa);
    #[cfg(not(target_arch = "x86_64"))]
    return isa == crate::isa::Isa::Portable;
}

/// The bundles of blocks that a convolution's kernels take, for one pixel or for several.
#[cfg(not(target_os = "none"))]
pub(crate) fn bundles(isa: crate::isa::Isa, is_one: bool) -> host::Bundles {
    #[cfg(target_arch = "x86_64")]
    return x86_64::bundles(isa, is_one);
    #[cfg(not(target_arch = "x86_64"))]
    return &[1];
}

/// Runs a task with these instructions; answers whether the processor has them.
#[cfg(not(target_os = "none"))]
pub(crate) fn run(isa: crate::isa::Isa, task: &mut host::Task<'_>) -> bool {
    #[cfg(target_arch = "x86_64")]
    return x86_64::run(isa, task);
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
