//! `cargo xtask bench manage`: data, experiments and models against the figures they must reach, and their peers.

mod labels;
mod tracking;
mod versions;

use crate::bench_listen::of_a_table;
use crate::figure::{Measurement, measure};
use crate::steps::Answer;

const MEASUREMENTS: &[Measurement] = &[
    ("versions of data", versions::versions),
    ("tracking", tracking::tracking),
    ("tracking start-up", tracking::start_up),
    ("labels", labels::labels),
    // The same rows that `bench listen` prints.
    ("drift report", of_a_table),
];

/// Measures those whose name contains one of `rows`, and prints.
pub(crate) fn run(rows: &[String]) -> Answer {
    measure(MEASUREMENTS, rows)
}
