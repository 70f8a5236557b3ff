//! `cargo xtask bench loop`: the example projects, trained here and now, against the figures they must reach.
//!
//! Everything runs in this process through the libraries: recordings, split and settings are those of
//! `examples/*/tinyops.toml`, the int8 figures are those of the device's own arithmetic.

use crate::bench_device;
use crate::bench_footprint;
use crate::bench_host;
use crate::bench_listen;
use crate::bench_manage;
use crate::bench_ship;
use crate::c99;
use crate::steps::Answer;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tinyops_data::dataset::Dataset;
use tinyops_data::finding::{Code, Report};
use tinyops_data::ingest::{Listing, expand, ingest};
use tinyops_data::spec::DataSpec;
use tinyops_data::split::{Split, leave_one_out, split};
use tinyops_data::window::Windowing;
use tinyops_train::progress::Flow;
use tinyops_train::{Asked, FeatureSet, TrainSpec, evaluate, fit, quantize};

/// Which measurement
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Train the examples on the real recordings and hold them against their goals
    ///
    /// Prints one row a goal; exits with 1 if a figure is missed.
    Loop {
        /// Rows whose name contains this; all of them without it
        #[arg(long)]
        only: Option<String>,
    },
    /// Measure the release binary and an idle server with 1,000 devices
    Footprint,
    /// Run the MLPerf Tiny networks on one core of this machine, in turns with LiteRT (needs Python)
    ///
    /// Prints one row a network; exits with 1 if one is slower than it may be.
    Host,
    /// Hold the listening half against its goals: detectors, delays, bytes (needs Python for the peers)
    ///
    /// Prints one row a figure, with the peer's beside it; exits with 1 if one is missed.
    Listen {
        /// Groups of rows whose name contains one of these; all of them without any
        groups: Vec<String>,
    },
    /// Hold the delivery half against its goals: rollouts, simulated and on a real store, and deltas (needs Python)
    ///
    /// Prints one row a figure, with the peer's beside it; exits with 1 if one is missed.
    Ship {
        /// Rows whose name contains one of these; all of them without any
        rows: Vec<String>,
    },
    /// Hold data, experiments and models against their goals: processor time beside the peers' (needs Python for them)
    ///
    /// Prints one row a figure, with the peer's beside it; exits with 1 if one is missed.
    Manage {
        /// Groups of rows whose name contains one of these; all of them without any
        groups: Vec<String>,
    },
    /// Count instructions of the C99 runtime on emulated boards, beside those of the Rust runtime
    ///
    /// Prints one row a board and network; exits with 1 if one takes more than it may, or an output byte is wrong.
    Boards {
        /// Only this board, such as `m4f` or `rv32imac`; may be repeated [default: all]
        #[arg(long = "board")]
        boards: Vec<String>,
    },
    /// Count instructions, memory and flash of the MLPerf Tiny networks on emulated Cortex-M machines
    ///
    /// Prints one row a figure, then the table of `bench host` if no machine is named; exits with 1 if one is missed, or an output byte is wrong.
    Device {
        /// Only this machine, such as `m4f`; may be repeated [default: all]
        #[arg(long = "machine")]
        machines: Vec<String>,
        /// Keep the counts in `xtask/instructions.toml`, which `cargo xtask test` holds later ones to
        #[arg(long)]
        write: bool,
    },
}

impl Bench {
    /// Measures and prints.
    pub(crate) fn run(self) -> Answer {
        match self {
            Self::Loop { only } => run_loop(only.as_deref()),
            Self::Listen { groups } => bench_listen::run(&groups),
            Self::Footprint => bench_footprint::run(),
            Self::Host => bench_host::run(),
            Self::Ship { rows } => bench_ship::run(&rows),
            Self::Manage { groups } => bench_manage::run(&groups),
            Self::Boards { boards } => c99::bench(&boards),
            Self::Device { machines, write } => bench_device::run(&machines, write),
        }
    }
}

/// One row of the table: a split of an example and what it must reach.
struct Case {
    name: &'static str,
    example: &'static str,
    which: Which,
    goal: f32,
    /// What the plain Python pipeline of the recordings' README reaches.
    python: &'static str,
    /// Most seconds of feature extraction, training and quantization on two cores, where that is a goal.
    seconds: Option<f32>,
}

/// Which part of the recordings tests.
enum Which {
    /// What the project file says.
    AsSaid,
    /// This group.
    Group(&'static str),
    /// Each group in turn; the mean counts.
    EachGroup,
}

/// The goals of issue 2, and the Python figures of the recordings' README.
const CASES: [Case; 7] = [
    Case {
        name: "fan-esp32",
        example: "fan-esp32",
        which: Which::AsSaid,
        goal: 0.995,
        python: "mlp32 1.000",
        seconds: None,
    },
    Case {
        name: "fan-esp32, one class (AUC)",
        example: "fan-esp32-anomaly",
        which: Which::AsSaid,
        goal: 0.995,
        python: "Mahalanobis 1.000",
        seconds: None,
    },
    Case {
        name: "uci-har-raw, 9 signals",
        example: "uci-har-raw",
        which: Which::AsSaid,
        goal: 0.93,
        python: "mlp32 0.903, rf200 0.953",
        seconds: Some(30.0),
    },
    Case {
        name: "ei-gestures",
        example: "ei-gestures",
        which: Which::AsSaid,
        goal: 0.99,
        python: "mlp16 1.000",
        seconds: None,
    },
    Case {
        name: "fsdd, each speaker left out",
        example: "fsdd",
        which: Which::EachGroup,
        goal: 0.77,
        python: "svc 0.771, CNN 0.729",
        seconds: None,
    },
    Case {
        name: "cwru, test load 3",
        example: "cwru-12k-de",
        which: Which::Group("load 3"),
        goal: 0.99,
        python: "mlp32 1.000",
        seconds: None,
    },
    Case {
        name: "cwru, test load 0",
        example: "cwru-12k-de",
        which: Which::Group("load 0"),
        goal: 0.93,
        python: "mlp32 0.902",
        seconds: None,
    },
];

/// Most that int8 may lose against float.
const DROP_MAX: f32 = 0.01;

/// What was measured, means over the splits.
#[derive(Clone, Copy, Default)]
struct Measured {
    float: f32,
    int8: f32,
    seconds: f32,
}

fn run_loop(only: Option<&str>) -> Answer {
    println!(
        "{:<28} {:>6}  {:<26} {:>6} {:>6} {:>7} {:>7}",
        "set", "goal", "plain Python", "float", "int8", "drop", "s"
    );
    let mut missed = Vec::new();
    for case in CASES
        .iter()
        .filter(|case| only.is_none_or(|part| case.name.contains(part)))
    {
        let measured = measure(case)?;
        let drop = measured.float - measured.int8;
        let is_slow = case.seconds.is_some_and(|most| measured.seconds > most);
        let is_missed = measured.int8 < case.goal || drop > DROP_MAX || is_slow;
        println!(
            "{:<28} {:>6.3}  {:<26} {:>6.3} {:>6.3} {:>+7.3} {:>7.1}{}",
            case.name,
            case.goal,
            case.python,
            measured.float,
            measured.int8,
            drop,
            measured.seconds,
            if is_missed { "  MISSED" } else { "" }
        );
        if is_missed {
            missed.push(case.name);
        }
    }
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("missed: {}", missed.join("; ")))
    }
}

fn measure(case: &Case) -> Result<Measured, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(case.example);
    let (data, train) = project(&folder)?;
    let mut report = Report::new();
    let dataset = load(&folder, &data, &mut report)?;
    let splits = match case.which {
        Which::AsSaid => vec![split(&dataset, &data.split, &mut report)],
        Which::Group(group) => {
            let mut spec = data.split.clone();
            spec.hold_out = vec![group.to_owned()];
            vec![split(&dataset, &spec, &mut report)]
        }
        Which::EachGroup => leave_one_out(&dataset, &data.split, &mut report)
            .into_iter()
            .map(|(_, split)| split)
            .collect(),
    };
    if report.has_errors() {
        return Err(format!(
            "{}: the recordings are not sound:\n{report}",
            case.example
        ));
    }
    for code in [
        Code::LeakGroup,
        Code::LeakRecording,
        Code::LeakFamily,
        Code::LeakDuplicate,
    ] {
        if let Some(finding) = report.of(code).next() {
            eprintln!("{}: {finding}", case.name);
        }
    }
    let mut mean = Measured::default();
    for split in &splits {
        let measured = measure_split(&train, &data, &dataset, split)
            .map_err(|message| format!("{}: {message}", case.name))?;
        mean.float += measured.float / splits.len() as f32;
        mean.int8 += measured.int8 / splits.len() as f32;
        mean.seconds += measured.seconds;
    }
    Ok(mean)
}

fn measure_split(
    spec: &TrainSpec,
    data: &DataSpec,
    dataset: &Dataset,
    split: &Split,
) -> Result<Measured, String> {
    let told = |error: tinyops_train::TrainError| error.to_string();
    let mut quiet = |_| Flow::Continue;
    let windowing = Windowing::new(&data.window, dataset).map_err(|error| error.to_string())?;
    let start = Instant::now();
    let set = FeatureSet::build(spec, dataset, &windowing, split, &mut quiet).map_err(told)?;
    let trained = fit(spec, &set, &mut quiet).map_err(told)?;
    let model = quantize("bench", spec, &trained, &set, &mut quiet).map_err(told)?;
    let seconds = start.elapsed().as_secs_f32();
    let (comparison, _) = evaluate(
        &model,
        Some(&trained),
        spec,
        &set.classes,
        &set.test,
        Asked::default(),
        &mut quiet,
    )
    .map_err(told)?;
    let float = comparison.float.as_ref().and_then(|float| float.metric());
    match (float, comparison.int8.metric()) {
        (Some(float), Some(int8)) => Ok(Measured {
            float,
            int8,
            seconds,
        }),
        _ => Err("the test part holds nothing to judge by".to_owned()),
    }
}

/// Recordings and training of a project file; its other sections do not matter here.
pub(crate) fn project(folder: &Path) -> Result<(DataSpec, TrainSpec), String> {
    let path = folder.join("tinyops.toml");
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    let mut table: toml::Table = toml::from_str(&text).map_err(|error| wrong(&error))?;
    let mut section = |name: &str| {
        table
            .remove(name)
            .unwrap_or(toml::Value::Table(toml::Table::new()))
    };
    let data = section("data").try_into().map_err(|error| wrong(&error))?;
    let train = section("train").try_into().map_err(|error| wrong(&error))?;
    Ok((data, train))
}

pub(crate) fn load(folder: &Path, data: &DataSpec, report: &mut Report) -> Result<Dataset, String> {
    let mut roots: Vec<PathBuf> = Vec::new();
    let mut listings = Vec::new();
    for source in &data.source {
        let root = expand(&source.root, &|name| std::env::var(name).ok())
            .map_err(|name| format!("`{name}` is not set"))?;
        let root = folder.join(root);
        if !root.is_dir() {
            return Err(format!(
                "no recordings in {}: set TINYOPS_DATA",
                root.display()
            ));
        }
        let mut files = Vec::new();
        list(&root, "", &mut files).map_err(|error| format!("{}: {error}", root.display()))?;
        listings.push(Listing { files });
        roots.push(root);
    }
    let mut read = |source: usize, path: &str| std::fs::read(roots[source].join(path));
    Ok(ingest(data, &listings, &mut read, report))
}

/// All files below a folder, with `/` between the parts of their names.
fn list(root: &Path, below: &str, files: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = if below.is_empty() {
            name.to_owned()
        } else {
            format!("{below}/{name}")
        };
        if entry.file_type()?.is_dir() {
            list(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
