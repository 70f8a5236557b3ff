//! `cargo xtask bench ship`: the delivery half against the figures it must reach, and its peers.

mod decisions;
mod decoder;
mod endpoint;
mod peers;
mod perturb;
pub(crate) mod power_loss;
mod rollouts;
mod sizes;
mod successors;
mod tuned;

use crate::figure::{Measurement, Row, measure};
use crate::steps::Answer;

const MEASUREMENTS: &[Measurement] = &[
    ("power-loss", power_loss::schedules),
    ("rollout halts", rollouts::halts),
    ("rollout confidence", rollouts::confidence),
    ("rollout decisions", decisions::decisions),
    ("endpoint load", endpoint::load),
    ("endpoint kills", endpoint::kills),
    ("delta of all weights", sizes::all_weights),
    ("delta of the last layer", sizes::last_layer),
    ("delta of a retrained network", successors::retrained),
    ("packed network", sizes::full),
    ("delta decoder", decoder::decoder),
    ("budgeted fine-tune", tuned::tuned),
];

/// Measures those whose name contains one of `rows`, and prints.
pub(crate) fn run(rows: &[String]) -> Answer {
    measure(MEASUREMENTS, rows)
}
