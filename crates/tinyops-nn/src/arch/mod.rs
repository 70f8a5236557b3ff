//! What only a processor's own instructions can do, one file for each instruction set.
//!
//! The only place in this crate with `unsafe`. Each function is safe to call: it holds its
//! arguments against each other before it hands pointers to assembly.
#![expect(
    unsafe_code,
    reason = "assembly reads and writes through pointers that its wrapper has checked"
)]

pub(crate) mod dsp;
