//! The drift report of a large table, beside Evidently's, and the profile beside whylogs'.

use super::Row;
use super::simulation::Noise;
use crate::peer;
use crate::processor::own_seconds;
use crate::steps::root;
use std::path::{Path, PathBuf};
use std::process::Command;
use tinyops_fleet::drift_report::{Column, LIMIT, Profile, Table, compare};

/// Rows of either side.
const ROWS: usize = 100_000;
/// Columns, of which the first has shifted.
const COLUMNS: usize = 30;
/// How often ours is repeated: the system counts processor time in hundredths of a second.
const TIMES: u32 = 10;

/// Processor time of a report, and bytes of a profile.
pub(crate) fn of_a_table() -> Result<Vec<Row>, String> {
    let (reference, current) = (table(1, 0.0), table(2, 0.5));
    let report = |reference: &Table, current: &Table| {
        let report = compare(reference, current, LIMIT).map_err(|error| error.to_string())?;
        let drifted: Vec<&str> = report
            .drifted()
            .map(|column| column.name.as_str())
            .collect();
        match drifted[..] {
            ["column 0"] => Ok(()),
            _ => Err(format!("{drifted:?} have drifted, where column 0 has")),
        }
    };
    let begun = own_seconds()?;
    for _ in 0..TIMES {
        report(&reference, &current)?;
    }
    let seconds = (own_seconds()? - begun) / f64::from(TIMES);
    let profile = Profile::of(&reference, None).map_err(|error| error.to_string())?;
    let text = serde_json::to_string(&profile).map_err(|error| error.to_string())?;
    let told = |peer: &str, what: fn(f64, u64) -> String| match of_peer(peer, &reference, &current)
    {
        Ok((seconds, bytes)) => what(seconds, bytes),
        Err(why) => format!("{peer} skipped: {why}"),
    };
    let evidently = told("evidently", |seconds, _| {
        format!("Evidently {seconds:.2} CPU-s")
    });
    let whylogs = told("whylogs", |seconds, bytes| {
        format!("whylogs {bytes} bytes in {seconds:.2} CPU-s")
    });
    Ok(vec![
        Row {
            name: "drift report of 100,000 × 30",
            goal: "≤ 0.3 CPU-s".to_owned(),
            own: match cfg!(debug_assertions) {
                true => format!("{seconds:.3} CPU-s, in a development build"),
                false => format!("{seconds:.3} CPU-s"),
            },
            peer: evidently,
            // Measured in this process: a development build is some twenty times slower, and says nothing of the goal.
            holds: cfg!(debug_assertions) || seconds <= 0.3,
        },
        Row::at_most(
            "profile of 100,000 × 30 that adds up, bytes",
            Some(64 * 1024),
            text.len() as u64,
            whylogs,
        ),
    ])
}

fn table(seed: u64, shift: f64) -> Table {
    let mut noise = Noise::new(seed);
    let columns = (0..COLUMNS).map(|index| {
        let shift = if index == 0 { shift } else { 0.0 };
        let values = (0..ROWS).map(|_| 10.0 + noise.normal() + shift).collect();
        (format!("column {index}"), Column::Numbers(values))
    });
    Table {
        columns: columns.collect(),
    }
}

fn of_peer(peer: &str, reference: &Table, current: &Table) -> Result<(f64, u64), String> {
    let folder = root().join("target/bench-listen").join(peer);
    let packages: &[&str] = match peer {
        // It imports what pandas 3 has no more.
        "evidently" => &["evidently==0.7.23", "pandas<3"],
        _ => &["whylogs==1.6.4", "pandas"],
    };
    let python = peer::python(&folder, packages, peer)?;
    let paths = [("reference", reference), ("current", current)]
        .map(|(name, table)| write(&folder.join(name), table));
    let [reference, current] = paths;
    let output = Command::new(python)
        .arg(root().join("xtask/peers/drift_report.py"))
        .args([peer.as_ref(), reference?.as_os_str(), current?.as_os_str()])
        .arg(COLUMNS.to_string())
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().last().and_then(|line| {
        let (seconds, bytes) = line.split_once(' ')?;
        Some((seconds.parse().ok()?, bytes.parse().ok()?))
    });
    told.ok_or_else(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        why.lines().last().unwrap_or("it told no time").to_owned()
    })
}

fn write(path: &Path, table: &Table) -> Result<PathBuf, String> {
    let values = table.columns.iter().flat_map(|(_, column)| match column {
        Column::Numbers(values) => &values[..],
        Column::Words(_) => &[],
    });
    let bytes: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.to_path_buf())
}
