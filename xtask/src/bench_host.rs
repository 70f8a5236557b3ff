//! `cargo xtask bench host`: the MLPerf Tiny networks on one core of this machine, against LiteRT with XNNPACK.
//!
//! Both run as processes of their own, one thread each, and take turns in bursts of about a millisecond, so that both
//! meet the same load. LiteRT is called through Python, as its users call it: the call counts, which is most of the
//! time of the smallest network. Ours sets its input in each run, LiteRT only runs.

use crate::bench_device::{grouped, networks};
use crate::golden_tflite::{self, Tally};
use crate::peer;
use crate::steps::{Answer, root};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tinyops_nn::Isa;

/// The peer, from PyPI.
const PEER: [&str; 2] = ["ai-edge-litert==2.3.0", "numpy"];
/// Least share of the peer's throughput that passes, and the one that we are after.
const PASS: f64 = 0.6;
const GOAL: f64 = 1.0;
/// Networks, and whether the figure is a goal.
const NETWORKS: [(&str, bool); 5] = [
    ("kws", true),
    ("vww", true),
    ("ic", true),
    ("ad", true),
    ("sww", false),
];
const BURST: Duration = Duration::from_millis(1);
const TIME: Duration = Duration::from_secs(4);

/// Measures and prints the table; skips with a sentence where the peer or the data cannot be had.
pub(crate) fn run() -> Answer {
    if !networks().is_dir() {
        println!(
            "skipped: {} is not there; set TINYOPS_DATA",
            networks().display()
        );
        return Ok(());
    }
    let python = match peer::python(&folder(), &PEER, "numpy, ai_edge_litert.interpreter") {
        Ok(python) => python,
        Err(message) => {
            println!("skipped: no LiteRT to compare with: {message}");
            return Ok(());
        }
    };
    let own = build()?;
    let others: Vec<Isa> = Isa::available().collect();
    let (best, others) = others.split_last().ok_or("no instructions")?;
    let names: Vec<&str> = others.iter().rev().map(|isa| isa.name()).collect();
    println!(
        "| network | LiteRT, runs a second | pass | goal | own with {} | own / LiteRT | µs each | own with {} |",
        best.name(),
        names.join(", ")
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for (key, is_goal) in NETWORKS {
        let turns = measure(&python, &own, key)?;
        let (peer, [.., own]) = (turns.peer, turns.own.as_slice()) else {
            return Err("no instructions".to_owned());
        };
        let ratio = peer / own;
        let verdict = match ratio {
            _ if !is_goal => "",
            ratio if ratio >= GOAL => "",
            ratio if ratio >= PASS => " (under the goal)",
            _ => {
                missed.push(key);
                " **missed**"
            }
        };
        let bar = |share: f64| {
            if is_goal {
                grouped((share / peer * 1e9) as u64)
            } else {
                "–".to_owned()
            }
        };
        let slower: Vec<String> = turns
            .own
            .iter()
            .rev()
            .skip(1)
            .map(|ns| format!("{:.1}", ns / 1e3))
            .collect();
        println!(
            "| {key} | {} | {} | {} | {}{verdict} | {ratio:.2} | {:.1}, {:.1} | {} µs |",
            grouped((1e9 / peer) as u64),
            bar(PASS),
            bar(GOAL),
            grouped((1e9 / own) as u64),
            peer / 1e3,
            own / 1e3,
            slower.join(", ")
        );
    }
    match missed.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "slower than {PASS} of LiteRT: {}",
            missed.join(", ")
        )),
    }
}

/// Least nanoseconds of a run, of the peer and of each instruction set, the fastest last.
struct Turns {
    peer: f64,
    own: Vec<f64>,
}

fn measure(python: &Path, own: &Path, key: &str) -> Result<Turns, String> {
    let path = networks().join(format!("{key}.cases.json"));
    let mut tally = Tally::default();
    let file = golden_tflite::read(&path, golden_tflite::Arena::Whole, &mut tally)?
        .ok_or_else(|| tally.refusals.join("; "))?;
    let plan = folder().join(format!("{key}.plan"));
    std::fs::write(&plan, &file.program).map_err(|error| format!("{}: {error}", plan.display()))?;
    let script = root().join("xtask/peers/litert_burst.py");
    let mut peer = Process::start(
        Command::new(python)
            .arg(script)
            .arg(networks().join(&file.model)),
    )?;
    let mut processes = Vec::new();
    for isa in Isa::available() {
        processes.push(Process::start(
            Command::new(own).arg(&plan).arg(isa.name()),
        )?);
    }
    let start = Instant::now();
    while start.elapsed() < TIME {
        peer.burst()?;
        for process in &mut processes {
            process.burst()?;
        }
    }
    Ok(Turns {
        peer: peer.least,
        own: processes.iter().map(|process| process.least).collect(),
    })
}

/// A process that runs a network as often as it is told.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Least nanoseconds of a run so far.
    least: f64,
}

impl Process {
    fn start(command: &mut Command) -> Result<Process, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
        let input = child.stdin.take().expect("it was piped");
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut process = Process {
            child,
            input,
            output,
            least: f64::MAX,
        };
        // A first run warms caches and tells how many make a burst.
        process.turn(1)?;
        process.least = f64::MAX;
        process.turn(3)?;
        Ok(process)
    }

    fn burst(&mut self) -> Result<(), String> {
        let count = BURST.as_nanos() as f64 / self.least;
        self.turn(count.ceil() as u64)
    }

    fn turn(&mut self, count: u64) -> Result<(), String> {
        let told = |error: std::io::Error| format!("a measured process ended: {error}");
        writeln!(self.input, "{count}").map_err(told)?;
        self.input.flush().map_err(told)?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(told)?;
        let time: f64 = line
            .trim()
            .parse()
            .map_err(|_| "a measured process gave no time".to_owned())?;
        self.least = self.least.min(time / count as f64);
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever it answers: it is of no more use.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> PathBuf {
    root().join("target/bench-host")
}

/// The release build of the example that runs a plan in bursts.
fn build() -> Result<PathBuf, String> {
    crate::steps::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "tinyops-nn",
        "--example",
        "burst",
    ])?;
    Ok(root().join("target/release/examples/burst"))
}
