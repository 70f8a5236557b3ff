//! `cargo xtask bench device`: the MLPerf Tiny networks on emulated Cortex-M machines, against TFLM.
//!
//! Instructions are counted by the emulator (`-icount shift=0`, one virtual nanosecond each) and calibrated by a
//! loop of known length in the same run, so they are exact to one tick of the machine's timer, which is 31 to 63 of
//! them. The peer's figures were measured on the same emulator; they stand with the bars in `bars.toml`.

use crate::bench_host;
use crate::golden_tflite::{self, Tally};
use crate::steps::{Answer, data, root};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tinyops_emulate::{
    Bench, EmulateError, Firmware, MACHINES, Machine, Measured, RunFile, runtime_flash_bytes,
};

const NETWORKS: [&str; 5] = ["kws", "vww", "ic", "ad", "sww"];

/// What `bars.toml` holds: figures by machine, network and name.
#[derive(Deserialize)]
struct Bars {
    checked: Vec<String>,
    #[serde(flatten)]
    machines: BTreeMap<String, BTreeMap<String, BTreeMap<String, Bar>>>,
}

/// What the peer takes, what passes, what we are after.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Bar {
    peer: u64,
    pass: Option<u64>,
    goal: u64,
}

/// Instructions of a run and of loading, by machine and network, as `instructions.toml` keeps them.
type Counts = BTreeMap<String, BTreeMap<String, Count>>;

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Count {
    load: u64,
    run: u64,
}

/// Instructions may grow by this much of themselves before `cargo xtask test` fails.
const GROWTH: f64 = 0.01;
/// One tick of the slowest timer more or less is no growth.
const TICK: f64 = 63.0;
/// Cases of each network that `cargo xtask test` runs: their counts differ by less than 0.1 %.
const CHECKED_CASES: usize = 2;

/// Builds the measuring firmware for some machines; all of them if none is named.
///
/// # Errors
/// A name that no machine has, what is missing, or why it does not build.
pub(crate) fn build(machines: &[String]) -> Result<Vec<Bench>, String> {
    let firmware = Firmware::find().map_err(|error| error.to_string())?;
    let named = |id: &String| {
        let ids = || {
            MACHINES
                .iter()
                .map(|machine| machine.id)
                .collect::<Vec<_>>()
        };
        Machine::named(id).ok_or_else(|| format!("no machine `{id}`, only {}", ids().join(", ")))
    };
    let mut chosen: Vec<&'static Machine> = machines.iter().map(named).collect::<Result<_, _>>()?;
    if chosen.is_empty() {
        chosen = MACHINES.iter().collect();
    }
    let build = |machine| Bench::build(&firmware, machine).map_err(|error| error.to_string());
    chosen.into_iter().map(build).collect()
}

/// Measures, prints the table, and keeps the counts if asked.
pub(crate) fn run(machines: &[String], write: bool) -> Answer {
    let bars: Bars = read_toml(&bars_path())?;
    let mut counts: Counts = read_toml(&counts_path()).unwrap_or_default();
    let benches = build(machines)?;
    let mut table = Table::new(&bars);
    let mut wrong = Vec::new();
    for key in NETWORKS {
        let file = read(key)?;
        let taken = golden_tflite::on_all(&benches, |bench| measure(bench, key, &file, usize::MAX));
        for (bench, measured) in benches.iter().zip(taken) {
            let machine = bench.machine();
            let Some(measured) = measured? else {
                println!("| {} | {key} | does not fit | | | | | |", machine.id);
                continue;
            };
            let row = |name, own| (name, own);
            let figures = [
                row("instructions", measured.instructions_max()),
                row("start_up", measured.load_instructions),
                row("arena", u64::from(measured.arena_bytes)),
                row("stack", u64::from(measured.stack_bytes)),
                row("model_bytes", file.program.len() as u64),
            ];
            for (name, own) in figures {
                // Bytes of arena, stack and model are told once: on the core that they have bars for.
                if name == "instructions" || machine.id == "m4f" {
                    table.row(machine.id, key, name, own);
                }
            }
            if measured.touched_bytes > measured.arena_bytes {
                wrong.push(format!("{} {key}: arena", machine.id));
            }
            if !measured.is_exact() {
                wrong.push(format!("{} {key}: output bytes", machine.id));
            }
            let networks = counts.entry(machine.id.to_owned()).or_default();
            networks.insert(key.to_owned(), count_of(&measured));
        }
    }
    if let Some(bench) = benches.iter().find(|bench| bench.machine().id == "m4f") {
        let flash = Firmware::find()
            .and_then(|firmware| runtime_flash_bytes(&firmware, bench.machine()))
            .map_err(|error| error.to_string())?;
        table.row("m4f", "all", "runtime_flash", u64::from(flash));
    }
    if write {
        let path = counts_path();
        std::fs::write(&path, text_of(&counts))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let host = if machines.is_empty() {
        println!();
        bench_host::run()
    } else {
        Ok(())
    };
    match (wrong.is_empty(), table.missed) {
        (true, 0) => host,
        (true, missed) => Err(format!("{missed} figures are missed")),
        (false, _) => Err(format!("wrong: {}", wrong.join(", "))),
    }
}

/// Prints rows as they come.
struct Table<'a> {
    bars: &'a Bars,
    missed: usize,
}

impl Table<'_> {
    fn new(bars: &Bars) -> Table<'_> {
        println!("| machine | network | figure | TFLM | pass | goal | own | own / TFLM |");
        println!("|---|---|---|---|---|---|---|---|");
        Table { bars, missed: 0 }
    }

    fn row(&mut self, machine: &str, network: &str, name: &str, own: u64) {
        let bar = || self.bars.machines.get(machine)?.get(network)?.get(name);
        let words = name.replace('_', " ");
        let grouped_own = grouped(own);
        let Some(bar) = bar() else {
            println!("| {machine} | {network} | {words} | | | | {grouped_own} | |");
            return;
        };
        let pass = bar.pass.unwrap_or(u64::MAX);
        let verdict = match own {
            own if own <= bar.goal => "",
            own if own <= pass => " (over the goal)",
            _ => {
                self.missed += 1;
                " **missed**"
            }
        };
        println!(
            "| {machine} | {network} | {words} | {} | {} | {} | {grouped_own}{verdict} | {:.2} |",
            grouped(bar.peer),
            bar.pass.map_or(String::new(), grouped),
            grouped(bar.goal),
            own as f64 / bar.peer as f64
        );
    }
}

/// Instructions of a run of the Rust runtime, as they are kept; `None` of a machine or network that has none.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn kept(machine: &str, network: &str) -> Result<Option<u64>, String> {
    let counts: Counts = read_toml(&counts_path())?;
    let count = counts.get(machine).and_then(|of| of.get(network));
    Ok(count.map(|count| count.run))
}

/// Holds the counts to those kept; says why when it cannot.
pub(crate) fn check() -> Answer {
    let bars: Bars = read_toml(&bars_path())?;
    let kept: Counts = read_toml(&counts_path())?;
    let firmware = match Firmware::find() {
        Ok(firmware) => firmware,
        Err(error) => return skipped(&error),
    };
    if !networks().is_dir() {
        println!(
            "skipped: {} is not there; set TINYOPS_DATA",
            networks().display()
        );
        return Ok(());
    }
    let mut benches = Vec::new();
    for id in &bars.checked {
        let machine = Machine::named(id).ok_or_else(|| format!("no machine `{id}`"))?;
        match Bench::build(&firmware, machine) {
            Ok(bench) => benches.push(bench),
            Err(error) => return skipped(&error),
        }
    }
    let mut grown = Vec::new();
    for key in NETWORKS {
        let file = read(key)?;
        let taken =
            golden_tflite::on_all(&benches, |bench| measure(bench, key, &file, CHECKED_CASES));
        for (bench, measured) in benches.iter().zip(taken) {
            let id = bench.machine().id;
            let Some(measured) = measured? else {
                grown.push(format!("{id} {key}: does not fit"));
                continue;
            };
            if !measured.is_exact() {
                grown.push(format!("{id} {key}: wrong output bytes"));
            }
            let Some(kept) = kept.get(id).and_then(|networks| networks.get(key)) else {
                grown.push(format!("{id} {key}: not kept"));
                continue;
            };
            let now = count_of(&measured);
            for (name, before, now) in [("run", kept.run, now.run), ("load", kept.load, now.load)] {
                if now as f64 > before as f64 * (1.0 + GROWTH) + TICK {
                    grown.push(format!("{id} {key} {name}: {before} before, {now} now"));
                }
            }
        }
    }
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}; `cargo xtask bench device --write` keeps new counts",
        grown.join("; ")
    ))
}

fn skipped(error: &EmulateError) -> Answer {
    let EmulateError::Missing { what, remedy } = error else {
        return Err(error.to_string());
    };
    println!("skipped: {what} is missing; {remedy}");
    Ok(())
}

fn read(key: &str) -> Result<golden_tflite::CaseFile, String> {
    let path = networks().join(format!("{key}.cases.json"));
    let mut tally = Tally::default();
    golden_tflite::read(&path, golden_tflite::Arena::Whole, &mut tally)?
        .ok_or_else(|| tally.refusals.join("; "))
}

/// What the first cases of a network take; `None` if its plan or arena does not fit the machine.
fn measure(
    bench: &Bench,
    key: &str,
    file: &golden_tflite::CaseFile,
    cases: usize,
) -> Result<Option<Measured>, String> {
    let run = RunFile {
        plan: &file.program,
        cases: &file.cases[..cases.min(file.cases.len())],
        is_stream: file.is_stream,
    };
    match bench.run(&run) {
        Ok(measured) => Ok(Some(measured)),
        Err(EmulateError::TooSmall { .. }) => Ok(None),
        Err(error) => Err(format!("{} {key}: {error}", bench.machine().id)),
    }
}

fn count_of(measured: &Measured) -> Count {
    Count {
        load: measured.load_instructions,
        run: measured.instructions_max(),
    }
}

fn text_of(counts: &Counts) -> String {
    let mut text = "# Instructions of the MLPerf Tiny networks on the emulated machines, kept by `cargo xtask bench device --write`.\n".to_owned();
    for (machine, networks) in counts {
        text += &format!("\n[{machine}]\n");
        for (network, Count { load, run }) in networks {
            text += &format!("{network} = {{ load = {load}, run = {run} }}\n");
        }
    }
    text
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    std::fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| toml::from_str(&text).map_err(|error| error.to_string()))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn bars_path() -> PathBuf {
    root().join("xtask/bars.toml")
}

fn counts_path() -> PathBuf {
    root().join("xtask/instructions.toml")
}

/// Where the reference networks and their outputs are.
pub(crate) fn networks() -> PathBuf {
    data("mlperf-tiny")
}

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn bars_name_machines_and_networks_that_are_there() {
        let bars: Bars = read_toml(&bars_path()).unwrap();
        for id in bars.checked.iter().chain(bars.machines.keys()) {
            assert!(Machine::named(id).is_some(), "{id}");
        }
        for network in bars.machines.values().flat_map(BTreeMap::keys) {
            assert!(
                network == "all" || NETWORKS.contains(&&**network),
                "{network}"
            );
        }
    }

    #[test]
    fn what_is_kept_is_what_is_checked() {
        let (bars, kept): (Bars, Counts) = (
            read_toml(&bars_path()).unwrap(),
            read_toml(&counts_path()).unwrap(),
        );
        for id in &bars.checked {
            let networks = kept.get(id).map_or(0, BTreeMap::len);
            assert_eq!(networks, NETWORKS.len(), "{id}");
        }
        let again: Counts = toml::from_str(&text_of(&kept)).unwrap();
        assert_eq!(text_of(&again), text_of(&kept));
    }
}
