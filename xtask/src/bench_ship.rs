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

use crate::bench_device::grouped;
use crate::steps::Answer;

/// One figure: what it must be, what it is, and what a peer's is.
pub(crate) struct Row {
    /// What is measured.
    pub(crate) name: &'static str,
    /// What it must be.
    pub(crate) goal: String,
    /// What it is.
    pub(crate) own: String,
    /// The same of a peer, measured beside it.
    pub(crate) peer: String,
    /// Whether the goal is reached.
    pub(crate) holds: bool,
}

impl Row {
    /// Bytes, or another count, that may be at most `most`; without one they are only told.
    fn at_most(name: &'static str, most: Option<u64>, own: u64, peer: String) -> Row {
        Row {
            name,
            goal: most.map_or("–".to_owned(), |most| format!("≤ {}", grouped(most))),
            own: grouped(own),
            peer,
            holds: most.is_none_or(|most| own <= most),
        }
    }

    /// What cannot be measured here.
    fn skipped(name: &'static str, why: &str) -> Row {
        Row {
            name,
            goal: "–".to_owned(),
            own: format!("skipped: {why}"),
            peer: String::new(),
            holds: true,
        }
    }
}

/// A measurement by its name; it gives one row or more.
type Measurement = (&'static str, fn() -> Result<Vec<Row>, String>);

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
    let is_wanted = |name: &str| rows.is_empty() || rows.iter().any(|row| name.contains(row));
    let mut missed = Vec::new();
    let wanted = MEASUREMENTS.iter().filter(|(name, _)| is_wanted(name));
    println!("{:<58} {:<30} {:<44} peer", "figure", "goal", "own");
    for (_, measure) in wanted {
        for row in measure()? {
            println!(
                "{:<58} {:<30} {:<44} {}",
                row.name, row.goal, row.own, row.peer
            );
            if !row.holds {
                missed.push(row.name);
            }
        }
    }
    match missed.is_empty() {
        true => Ok(()),
        false => Err(format!("not reached: {}", missed.join("; "))),
    }
}
