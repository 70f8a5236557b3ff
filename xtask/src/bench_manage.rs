//! `cargo xtask bench manage`: data, experiments and models against the figures they must reach, and their peers.

mod tracking;
mod versions;

use crate::figure::{Measurement, measure};
use crate::steps::Answer;

const MEASUREMENTS: &[Measurement] = &[
    ("versions of data", versions::versions),
    ("tracking", tracking::tracking),
    ("tracking start-up", tracking::start_up),
];

/// Measures those whose name contains one of `rows`, and prints.
pub(crate) fn run(rows: &[String]) -> Answer {
    measure(MEASUREMENTS, rows)
}

/// Processor time of every process that was started from here and has ended, and of theirs, in seconds.
fn processor_seconds() -> Result<f64, String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    let (_, fields) = stat
        .rsplit_once(')')
        .ok_or("no fields in /proc/self/stat")?;
    // Fields 16 and 17 of proc(5), in hundredths of a second.
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks: Option<Vec<f64>> = ticks.map(|ticks| ticks.parse().ok()).collect();
    match ticks.as_deref() {
        Some([user, system]) => Ok((user + system) / 100.0),
        _ => Err("no times in /proc/self/stat".to_owned()),
    }
}
