//! `cargo xtask golden`: reference outputs of other libraries against ours.

use crate::bench_device;
use crate::golden_drift;
use crate::golden_dsp;
use crate::golden_labels;
use crate::golden_random;
use crate::golden_tflite::{self, Arena};
use crate::steps::Answer;
use crate::tally::Tally;
use std::path::{Path, PathBuf};

/// Which references
#[derive(clap::Subcommand)]
pub(crate) enum Golden {
    /// Filters, transforms and speech features: files in the format of the `dsp-golden` data folder
    ///
    /// Prints each operation that differs, then `N checked, M differ`; exits with 1 if any does.
    Dsp {
        /// Files, or folders whose `.json` files are taken
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Drift detectors and two-sample statistics: files in the formats of the `drift-golden` data folder
    ///
    /// Prints each figure that differs, then `N checked, M differ`; exits with 1 if any does.
    Drift {
        /// Files, or folders whose `.json` files are taken
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Likely wrong labels and outliers: folders in the format of the `labels-golden` data folder
    ///
    /// Prints each figure that differs, then `N checked, M differ`; exits with 1 if any does.
    Labels {
        /// Folders
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Networks: `*.cases.json` files that name a `.tflite` beside them
    ///
    /// Prints each case that differs and each model that cannot be imported, then
    /// `N checked, M differ, R refused`; exits with 1 if any case differs.
    Tflite {
        /// Files, or folders whose `.cases.json` files are taken
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Spread each network over two memory regions, where it goes into neither alone
        #[arg(long)]
        split_arena: bool,
        /// Run them on the emulated machines as well (needs QEMU and Rust targets)
        #[arg(long)]
        emulate: bool,
        /// Only on this machine, such as `m4f`; may be repeated [default: all]
        #[arg(long = "machine", requires = "emulate")]
        machines: Vec<String>,
    },
    /// Networks from a seed: the kernels of emulated machines against the portable ones of this one
    ///
    /// Prints each network that differs, then `N checked, M differ`; exits with 1 if any does.
    Random {
        /// How many networks
        #[arg(long, default_value_t = 100)]
        count: u64,
        /// The seed of the first; each has the next one
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Only on this machine, such as `m4f`; may be repeated [default: all]
        #[arg(long = "machine")]
        machines: Vec<String>,
    },
}

impl Golden {
    /// Compares and prints.
    pub(crate) fn run(self) -> Answer {
        match self {
            Self::Dsp { paths } => run_files(paths, "operations", golden_dsp::check_file),
            Self::Drift { paths } => run_files(paths, "figures", golden_drift::check_file),
            Self::Labels { paths } => {
                let mut tally = Tally::default();
                for path in &paths {
                    golden_labels::check_folder(path, &mut tally)?;
                }
                told(&tally, "figures")
            }
            Self::Tflite {
                paths,
                split_arena,
                emulate,
                machines,
            } => {
                let arena = match split_arena {
                    true => Arena::Split,
                    false => Arena::Whole,
                };
                run_tflite(paths, arena, emulate.then_some(&machines))
            }
            Self::Random {
                count,
                seed,
                machines,
            } => run_random(count, seed, &machines),
        }
    }
}

/// Checks files one after the other, and tells what differs.
fn run_files(
    paths: Vec<PathBuf>,
    what: &str,
    check: impl Fn(&Path, &mut Tally) -> Result<(), String>,
) -> Answer {
    let mut tally = Tally::default();
    let mut unreadable = 0;
    for path in files_of(paths) {
        if let Err(error) = check(&path, &mut tally) {
            eprintln!("error: {error}");
            unreadable += 1;
        }
    }
    let held = told(&tally, what);
    match unreadable {
        0 => held,
        count => Err(unread(count)),
    }
}

/// Prints what a comparison came to.
fn told(tally: &Tally, what: &str) -> Answer {
    for difference in &tally.differences {
        println!("{difference}");
    }
    let count = tally.differences.len();
    println!("{} checked, {count} differ", tally.checked);
    match count {
        0 => Ok(()),
        count => Err(format!("{count} {what} differ from their reference")),
    }
}

fn run_tflite(paths: Vec<PathBuf>, arena: Arena, machines: Option<&Vec<String>>) -> Answer {
    let benches = machines.map(|machines| bench_device::build(machines));
    let benches = benches.transpose()?.unwrap_or_default();
    let mut tally = golden_tflite::Tally::default();
    let mut unreadable = 0;
    let mut files = files_of(paths);
    files.retain(|file| file.to_string_lossy().ends_with(".cases.json"));
    for path in files {
        if let Err(error) = golden_tflite::check_file(&path, arena, &benches, &mut tally) {
            eprintln!("error: {error}");
            unreadable += 1;
        }
    }
    for line in tally
        .left_out
        .iter()
        .chain(&tally.refusals)
        .chain(&tally.differences)
    {
        println!("{line}");
    }
    let differ = tally.differences.len();
    println!(
        "{} checked, {differ} differ, {} refused",
        tally.checked, tally.refused
    );
    match (unreadable, differ) {
        (0, 0) => Ok(()),
        (0, count) => Err(format!("{count} cases differ from their reference")),
        (count, _) => Err(unread(count)),
    }
}

fn unread(count: usize) -> String {
    match count {
        1 => "a file could not be read".to_owned(),
        count => format!("{count} files could not be read"),
    }
}

fn run_random(count: u64, seed: u64, machines: &[String]) -> Answer {
    let benches = bench_device::build(machines)?;
    let mut tally = golden_tflite::Tally::default();
    golden_random::check(&benches, seed, count, &mut tally)?;
    for line in &tally.differences {
        println!("{line}");
    }
    let differ = tally.differences.len();
    println!("{} checked, {differ} differ", tally.checked);
    match differ {
        0 => Ok(()),
        count => Err(format!("{count} networks differ")),
    }
}

fn files_of(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        let Ok(folder) = std::fs::read_dir(&path) else {
            files.push(path);
            continue;
        };
        let inside = folder.filter_map(|entry| Some(entry.ok()?.path()));
        files.extend(inside.filter(|file| file.extension().is_some_and(|end| end == "json")));
    }
    files.sort();
    files
}
