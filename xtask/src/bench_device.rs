//! `cargo xtask bench device`: the MLPerf Tiny networks on the emulated Cortex-M4F, against TFLM with CMSIS-NN.
//!
//! Instructions are counted by the emulator (`-icount shift=0`, one virtual nanosecond each) and calibrated by a
//! loop of known length in the same run, so they are exact to one tick of the timer, which is 40. The peer's figures
//! are its own measured on the same emulator, the best of three sets of flags.

use crate::golden_tflite::{self, Tally};
use crate::steps::{Answer, root};
use std::path::PathBuf;
use tinyops_emulate::{Bench, EmulateError, Firmware, Measured, RunFile};

/// What one network shall reach; `None` where there is no bar. Bytes and instructions.
struct Bar {
    key: &'static str,
    instructions: Figure,
    arena_bytes: Option<Figure>,
    plan_bytes: Option<Figure>,
    peer_load: u64,
}

/// What the peer takes, what passes, what we are after.
struct Figure {
    peer: u64,
    pass: u64,
    goal: u64,
}

const fn figure(peer: u64, pass: u64, goal: u64) -> Figure {
    Figure { peer, pass, goal }
}

const BARS: [Bar; 5] = [
    Bar {
        key: "kws",
        instructions: figure(7_696_940, 4_600_000, 3_600_000),
        arena_bytes: Some(figure(22_820, 16_400, 9_500)),
        plan_bytes: Some(figure(53_936, 27_000, 27_000)),
        peer_load: 670_320,
    },
    Bar {
        key: "vww",
        instructions: figure(24_101_962, 10_000_000, 5_800_000),
        arena_bytes: Some(figure(100_708, 55_800, 31_000)),
        plan_bytes: Some(figure(333_288, 66_000, 66_000)),
        peer_load: 3_011_671,
    },
    Bar {
        key: "ic",
        instructions: figure(29_862_819, 17_500_000, 13_500_000),
        arena_bytes: Some(figure(54_996, 49_700, 35_000)),
        plan_bytes: Some(figure(98_496, 82_000, 82_000)),
        peer_load: 450_133,
    },
    Bar {
        key: "ad",
        instructions: figure(582_338, 420_000, 350_000),
        arena_bytes: Some(figure(2_580, 1_000, 800)),
        plan_bytes: Some(figure(276_976, 272_000, 272_000)),
        peer_load: 64_158,
    },
    Bar {
        key: "sww",
        instructions: figure(2_225_906, 1_350_000, 1_100_000),
        arena_bytes: None,
        plan_bytes: None,
        peer_load: 931_417,
    },
];
const LOAD_PASS: u64 = 50_000;
const FLASH: Figure = figure(53_104, 16_000, 12_000);

/// Instructions may grow by this much of themselves before `cargo xtask test` fails.
const GROWTH: f64 = 0.01;

/// Builds the measuring firmware.
///
/// # Errors
/// What is missing, or why it does not build.
pub(crate) fn build() -> Result<Bench, String> {
    Firmware::find()
        .and_then(|firmware| Bench::build(&firmware))
        .map_err(|error| error.to_string())
}

/// Measures, prints the table, and keeps the counts if asked.
pub(crate) fn run(write: bool) -> Answer {
    let bench = build()?;
    let mut missed = 0;
    println!("| network | figure | TFLM + CMSIS-NN | pass | goal | own | own / TFLM |");
    println!("|---|---|---|---|---|---|---|");
    let mut row = |key: &str, name: &str, figure: &Figure, own: u64| {
        let verdict = match own {
            own if own <= figure.goal => "",
            own if own <= figure.pass => " (over the goal)",
            _ => {
                missed += 1;
                " **missed**"
            }
        };
        println!(
            "| {key} | {name} | {} | {} | {} | {}{verdict} | {:.2} |",
            grouped(figure.peer),
            grouped(figure.pass),
            grouped(figure.goal),
            grouped(own),
            own as f64 / figure.peer as f64
        );
    };
    let mut counts = toml::Table::new();
    let mut wrong = Vec::new();
    for bar in &BARS {
        let (plan_bytes, measured) = measure(&bench, bar.key)?;
        let instructions = measured.instructions_max();
        row(bar.key, "instructions", &bar.instructions, instructions);
        let load = figure(bar.peer_load, LOAD_PASS, LOAD_PASS);
        row(bar.key, "start-up", &load, measured.load_instructions);
        if let Some(arena) = &bar.arena_bytes {
            row(bar.key, "arena", arena, u64::from(measured.arena_bytes));
        }
        if let Some(plan) = &bar.plan_bytes {
            row(bar.key, "model bytes", plan, plan_bytes);
        }
        if !measured.is_exact() {
            wrong.push(bar.key);
        }
        counts.insert(bar.key.to_owned(), counts_of(&measured));
    }
    let flash = u64::from(bench.runtime_flash_bytes());
    row("all", "runtime flash", &FLASH, flash);
    if write {
        let text = format!(
            "# Instructions on the emulated Cortex-M4F, kept by `cargo xtask bench device --write`.\n\n{counts}"
        );
        let path = counts_path();
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match (wrong.is_empty(), missed) {
        (true, 0) => Ok(()),
        (true, missed) => Err(format!("{missed} figures are missed")),
        (false, _) => Err(format!("wrong output bytes: {}", wrong.join(", "))),
    }
}

/// Holds the counts to those kept; says why when it cannot.
pub(crate) fn check() -> Answer {
    let bench = match Firmware::find().and_then(|firmware| Bench::build(&firmware)) {
        Ok(bench) => bench,
        Err(EmulateError::Missing { what, remedy }) => {
            println!("skipped: {what} is missing; {remedy}");
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    if !data().is_dir() {
        println!(
            "skipped: {} is not there; set TINYOPS_DATA",
            data().display()
        );
        return Ok(());
    }
    let path = counts_path();
    let kept = std::fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| {
            text.parse::<toml::Table>()
                .map_err(|error| error.to_string())
        })
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut grown = Vec::new();
    for bar in &BARS {
        let (_, measured) = measure(&bench, bar.key)?;
        if !measured.is_exact() {
            grown.push(format!("{}: wrong output bytes", bar.key));
        }
        let now = counts_of(&measured);
        for name in ["run", "load"] {
            let count = |table: Option<&toml::Value>| table?.get(name)?.as_integer();
            let (Some(before), Some(now)) = (count(kept.get(bar.key)), count(Some(&now))) else {
                grown.push(format!("{} {name}: not kept", bar.key));
                continue;
            };
            // One tick of the timer more or less is no growth.
            if now as f64 > before as f64 * (1.0 + GROWTH) + 40.0 {
                grown.push(format!("{} {name}: {before} before, {now} now", bar.key));
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

fn measure(bench: &Bench, key: &str) -> Result<(u64, Measured), String> {
    let path = data().join(format!("{key}.cases.json"));
    let mut tally = Tally::default();
    let file = golden_tflite::read(&path, &mut tally)?.ok_or_else(|| tally.refusals.join("; "))?;
    let run = RunFile {
        plan: &file.program,
        cases: &file.cases,
    };
    let measured = bench.run(&run).map_err(|error| format!("{key}: {error}"))?;
    Ok((file.program.len() as u64, measured))
}

fn counts_of(measured: &Measured) -> toml::Value {
    let mut table = toml::Table::new();
    let counts = [
        ("run", measured.instructions_max()),
        ("load", measured.load_instructions),
    ];
    for (name, count) in counts {
        let count = i64::try_from(count).expect("a count of instructions fits");
        table.insert(name.to_owned(), count.into());
    }
    table.into()
}

fn counts_path() -> PathBuf {
    root().join("xtask/instructions.toml")
}

fn data() -> PathBuf {
    let data = std::env::var_os("TINYOPS_DATA");
    data.map_or_else(|| root().join("../shared/data"), PathBuf::from)
        .join("mlperf-tiny")
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
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
}
