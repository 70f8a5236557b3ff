//! The C99 runtime of `c/`: that it compiles without a warning, and gives the bytes of the Rust runtime.
//!
//! `cargo xtask c99` compiles every file with every compiler here, as C and as C++, reads it with `cppcheck`, and runs the
//! records of [`records`] under sanitizers and on a big-endian and a 32-bit host; `--matrix` runs the MLPerf Tiny networks on
//! the emulated cores too, and prints what came out. What is missing here is named and passed over; with
//! `TINYOPS_TOOLS=all` it is a failure.

mod bench;
mod boards;
mod capsules;
mod deltas;
mod distances;
mod footprint;
mod front_ends;
mod monitors;
mod records;
mod sensors;
mod slots;
mod toolchain;
mod trust;
mod worn;

use crate::steps::{Answer, root};
use records::Record;
use std::path::{Path, PathBuf};
use std::process::Command;
use toolchain::{HOSTS, Host};

/// Networks from a seed in a run of CI.
const DRAWN: u64 = 60;
/// Plans that were changed at random in a run of CI.
const HOSTILE: usize = 20_000;
/// Front ends, most of them sound, and settings that were changed at random.
const FRONT_ENDS: usize = 400;
/// Scalers, half of them changed.
const SCALERS: usize = 400;
/// Deltas, most of them changed.
const DELTAS: usize = 4_000;
/// Monitors, and as many baselines that were changed.
const MONITORS: usize = 400;
/// Sensor contracts, most of which a sensor does not meet.
const SENSORS: usize = 4_000;
const ENROLMENTS: usize = 400;
/// Distances of features, and as many of embeddings, half of them changed.
const DISTANCES: usize = 1_000;
/// Schedules of what slots go through, on flash that fails.
const SLOTS: usize = 600;
/// Capsules, as many payloads, and signatures in a run of CI.
const CAPSULES: usize = 1_000;
const SIGNATURES: usize = 300;

/// Every check that needs no emulated board.
pub(crate) fn check() -> Answer {
    let sources = sources(&["c/src", "c/check"], &["c/check/board"])?;
    toolchain::warnings(&sources)?;
    toolchain::freestanding(&sources)?;
    footprint::print(&sources)?;
    toolchain::cppcheck()?;
    bench::check(&records::networks()?)?;
    run_hosts(&all_records()?, &sources)
}

/// Writes the records of [`check`] to a file.
pub(crate) fn write(file: &Path) -> Answer {
    let bytes = records::to_bytes(&all_records()?);
    std::fs::write(file, bytes).map_err(|error| format!("{}: {error}", file.display()))
}

fn all_records() -> Result<Vec<Record>, String> {
    let mut all = records::golden()?;
    all.extend(records::networks()?);
    all.extend(records::drawn(DRAWN)?);
    let hostile = records::hostile(&all, HOSTILE);
    println!(
        "{} plans, and {} that were changed; {CAPSULES} capsules and {SIGNATURES} signatures, most of them changed; {FRONT_ENDS} front ends, {SCALERS} scalers, {DELTAS} deltas, {MONITORS} monitors, {SENSORS} sensor contracts, {DISTANCES} each of distances of features and of embeddings, {ENROLMENTS} each of key sets, records of who a device is and answers to who enrols, and {SLOTS} schedules of slots",
        all.len(),
        hostile.len()
    );
    all.extend(hostile);
    all.extend(capsules::records(CAPSULES, SIGNATURES)?);
    all.extend(front_ends::records(FRONT_ENDS)?);
    all.extend(front_ends::scalers(SCALERS)?);
    all.extend(deltas::records(DELTAS)?);
    all.extend(monitors::records(MONITORS)?);
    all.extend(sensors::records(SENSORS));
    all.extend(distances::records(DISTANCES)?);
    all.extend(trust::records(ENROLMENTS)?);
    all.extend(slots::records(SLOTS)?);
    Ok(all)
}

/// Instructions on the emulated boards against those of the Rust runtime: `cargo xtask bench boards`.
pub(crate) fn bench(only: &[String]) -> Answer {
    let networks = records::networks()?;
    if networks.is_empty() {
        println!("skipped: the MLPerf Tiny networks are not there; set TINYOPS_DATA");
        return Ok(());
    }
    bench::run(&networks, only)
}

/// Target by network, how many of the cases are equal byte for byte.
pub(crate) fn matrix() -> Answer {
    let networks = records::networks()?;
    if networks.is_empty() {
        println!("skipped: the MLPerf Tiny networks are not there; set TINYOPS_DATA");
        return Ok(());
    }
    let mut wrong = Vec::new();
    let names: Vec<&str> = networks.iter().map(|record| record.name.as_str()).collect();
    println!("| target | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    let sources = sources(&["c/src", "c/check"], &["c/check/board"])?;
    for host in HOSTS {
        let mut row = Vec::new();
        match host.lacks_a_tool()? {
            true => row.push("skipped".to_owned()),
            false => {
                let folder = folder()?;
                let program = host.build(&sources, folder.path())?;
                for record in &networks {
                    let equal = run_records(host, &program, std::slice::from_ref(record)).is_ok();
                    let cases = record.cases.len();
                    row.push(format!("{} of {cases}", if equal { cases } else { 0 }));
                    if !equal {
                        wrong.push(format!("{} {}", host.id, record.name));
                    }
                }
            }
        }
        println!("| {} | {} |", host.id, row.join(" | "));
    }
    boards::matrix(&networks, &mut wrong)?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("bytes differ: {}", wrong.join(", ")))
}

fn run_hosts(all: &[Record], sources: &[PathBuf]) -> Answer {
    let mut is_any = false;
    for host in HOSTS {
        if host.lacks_a_tool()? {
            continue;
        }
        is_any = true;
        let folder = folder()?;
        let program = host.build(sources, folder.path())?;
        let said = run_records(host, &program, all)?;
        println!("{}: {said}", host.id);
    }
    if is_any {
        return Ok(());
    }
    Err("no compiler is here, so nothing was compared".to_owned())
}

/// Runs records with a host's program; answers with the line that it ends with.
fn run_records(host: &Host, program: &Path, all: &[Record]) -> Result<String, String> {
    let folder = folder()?;
    let file = folder.path().join("records");
    std::fs::write(&file, records::to_bytes(all)).map_err(|error| error.to_string())?;
    let output = host
        .command(program)
        .arg(&file)
        .output()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = said.lines().last().unwrap_or_default().to_owned();
    // A file that was not read to its end has nothing wrong either.
    if output.status.success() && last.starts_with(&format!("records {} ", all.len())) {
        return Ok(last);
    }
    let named: Vec<String> = said.lines().take(20).map(|line| named(line, all)).collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr: Vec<&str> = stderr.lines().take(40).collect();
    Err(format!(
        "{}: {last}\n{}\n{}",
        host.id,
        named.join("\n"),
        stderr.join("\n")
    ))
}

/// A line about a record, with the record's name.
fn named(line: &str, all: &[Record]) -> String {
    let number = line
        .strip_prefix("record ")
        .and_then(|rest| rest.split([' ', ':']).next())
        .and_then(|number| number.parse::<usize>().ok());
    match number.and_then(|number| all.get(number)) {
        Some(record) => format!("{} ({line})", record.name),
        None => line.to_owned(),
    }
}

fn folder() -> Result<tempfile::TempDir, String> {
    tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))
}

/// The C files under some folders but others, in order.
fn sources(folders: &[&str], but: &[&str]) -> Result<Vec<PathBuf>, String> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
        ])
        .args(folders)
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot start git: {error}"))?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = names.split('\0').map(PathBuf::from);
    Ok(paths
        .filter(|path| path.extension().is_some_and(|end| end == "c"))
        .filter(|path| !but.iter().any(|folder| path.starts_with(folder)))
        .collect())
}
