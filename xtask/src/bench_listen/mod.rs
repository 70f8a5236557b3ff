//! `cargo xtask bench listen`: monitoring, and learning without the data, against the figures they must reach.

mod speed;

use crate::figure::{Measurement, Row, measure};
use crate::steps::Answer;

const MEASUREMENTS: &[Measurement] = &[("speed", speed::races)];

/// Measures the groups whose name contains one of `groups`, and prints.
pub(crate) fn run(groups: &[String]) -> Answer {
    measure(MEASUREMENTS, groups)
}
