//! What a user of the crate sees: reference outputs of other libraries, and the promises of a front end.

// The same check as `cargo xtask golden dsp`, so that a chore and a test cannot disagree.
#[path = "../../../../xtask/src/golden_dsp.rs"]
mod golden_dsp;
#[path = "../../../../xtask/src/tally.rs"]
mod tally;

mod features;
mod golden;
mod settings;
