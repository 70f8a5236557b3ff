//! `cargo xtask bench ship [ROWS]`: what a model update costs on its way, against its peers.
//!
//! A row is a function of [`ROWS`] that adds lines to the [`Table`]: what is measured, the peer, what passes, our own.

mod decoder;
mod peers;
mod perturb;
mod sizes;
mod successors;

use crate::bench_device::grouped;
use crate::steps::Answer;

/// Measures something and adds lines to the table.
type Row = fn(&mut Table) -> Answer;

/// Every row by its name, in the order in which they are told.
const ROWS: [(&str, Row); 5] = [
    ("weights", sizes::all_weights),
    ("last-layer", sizes::last_layer),
    ("retrained", successors::retrained),
    ("full", sizes::full),
    ("decoder", decoder::decoder),
];

/// Measures the rows of these names, all if none is given, and prints the table.
pub(crate) fn run(names: &[String]) -> Answer {
    let known = ROWS.map(|(name, _)| name);
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no row `{unknown}`, only {}", known.join(", ")));
    }
    println!("| row | figure | peer | pass | own |");
    println!("|---|---|---|---|---|");
    let mut table = Table { missed: Vec::new() };
    for (name, row) in ROWS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            row(&mut table)?;
        }
    }
    match table.missed.is_empty() {
        true => Ok(()),
        false => Err(format!("missed: {}", table.missed.join("; "))),
    }
}

/// Prints lines as they come, and keeps those that are missed.
struct Table {
    missed: Vec<String>,
}

impl Table {
    /// A figure that passes at `pass` and below; without one it is only told.
    fn line(&mut self, row: &str, figure: &str, peer: &str, pass: Option<u64>, own: u64) {
        let is_missed = pass.is_some_and(|pass| own > pass);
        let pass = pass.map_or("–".to_owned(), |pass| format!("≤ {}", grouped(pass)));
        let verdict = if is_missed { " **missed**" } else { "" };
        println!(
            "| {row} | {figure} | {peer} | {pass} | {}{verdict} |",
            grouped(own)
        );
        if is_missed {
            self.missed.push(format!("{row}, {figure}"));
        }
    }

    /// A row that cannot be measured here.
    fn skipped(&mut self, row: &str, why: &str) {
        println!("| {row} | skipped: {why} | | | |");
    }
}
