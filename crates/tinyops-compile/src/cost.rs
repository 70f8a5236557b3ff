//! How many operations the front end takes, to the precision that an estimate needs.

use tinyops_dsp::FrontEnd;

/// Floating-point operations of one window, within a factor of about two.
///
/// Each reading is read and filtered a few times; what lies in scratch was transformed, and a
/// transform of `n` words takes about `5 n log2 n`.
pub(crate) fn front_end_operations(front_end: &FrontEnd) -> u64 {
    let readings = front_end.reading_count() as u64;
    let features = front_end.feature_count() as u64;
    let scratch = front_end.scratch_len() as u64;
    if scratch == 0 {
        return 4 * readings + 4 * features;
    }
    let bits = u64::from(64 - scratch.leading_zeros());
    // Frames overlap by half, so each reading is transformed about twice.
    let transformed = 2 * readings.max(scratch / 2);
    8 * readings + 5 * transformed * bits + 16 * features
}
