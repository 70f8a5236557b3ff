//! What a user of the crate sees, held against the outputs of other libraries.

// The same check as `cargo xtask golden dsp`, so that a chore and a test cannot disagree.
#[path = "../../../../xtask/src/golden_dsp.rs"]
mod golden_dsp;

mod golden;
