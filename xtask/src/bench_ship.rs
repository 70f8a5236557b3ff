//! `cargo xtask bench ship`: the delivery half against the figures it must reach, and its peers.

mod decisions;
mod endpoint;
pub(crate) mod power_loss;
mod rollouts;

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

/// A measurement by its name; it gives one row or more.
type Measurement = (&'static str, fn() -> Result<Vec<Row>, String>);

const MEASUREMENTS: &[Measurement] = &[
    ("power-loss", power_loss::schedules),
    ("rollout halts", rollouts::halts),
    ("rollout confidence", rollouts::confidence),
    ("rollout decisions", decisions::decisions),
    ("endpoint load", endpoint::load),
    ("endpoint kills", endpoint::kills),
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
