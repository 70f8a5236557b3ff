//! Detectors of changes, value by value, beside river's.

use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use tinyops_sketch::stream::{
    Adwin, Ddm, Detector, Eddm, Fhddm, HddmA, HddmW, Kswin, PageHinkley, Sides,
};

use super::Row;
use crate::chance::Chance;
use crate::peer;
use crate::steps::root;

/// From PyPI: river, and what it imports and does not name.
pub(super) const RIVER: [&str; 2] = ["river==0.23.0", "typing_extensions"];

/// A detector, what it is fed, how many values the peer is, and how many times faster ours must be.
type Race = (&'static str, &'static str, usize, f64);

const RACES: [Race; 8] = [
    ("ADWIN", "values", 100_000, 10.0),
    ("Page–Hinkley", "values", 100_000, 10.0),
    ("KSWIN", "values", 5_000, 100.0),
    ("DDM", "errors", 100_000, 10.0),
    ("EDDM", "errors", 100_000, 10.0),
    ("HDDM_A", "errors", 100_000, 10.0),
    ("HDDM_W", "errors", 100_000, 10.0),
    ("FHDDM", "errors", 100_000, 10.0),
];

/// Values of a stream.
const COUNT: usize = 1_000_000;

/// Nanoseconds a value on one core, each detector's beside river's.
pub(super) fn races() -> Result<Vec<Row>, String> {
    let folder = root().join("target/bench-listen");
    let python = match peer::python(&folder, &RIVER, "river.drift") {
        Ok(python) => python,
        Err(why) => return Ok(vec![Row::skipped("drift detectors against river", &why)]),
    };
    let (values, errors) = streams();
    let theirs = theirs(&python, &values, &errors)?;
    let row = |((name, kind, _, goal), peer): (Race, f64)| {
        let own = own(name, if kind == "values" { &values } else { &errors });
        let times = peer / own;
        Row {
            name,
            goal: format!("≥ {goal:.0} × as fast as river"),
            own: format!("{own:.1} ns a value, {times:.0} ×"),
            peer: format!("river {peer:.0} ns"),
            holds: times >= goal,
        }
    };
    Ok(RACES.into_iter().zip(theirs).map(row).collect())
}

/// A normal stream that shifts every hundred thousand values, and errors that become more and fewer.
fn streams() -> (Vec<f64>, Vec<f64>) {
    let mut chance = Chance(1);
    let is_shifted = |index: usize| index / 100_000 % 2 == 1;
    let values = (0..COUNT)
        .map(|index| chance.nearly_normal(12) + if is_shifted(index) { 0.5 } else { 0.0 });
    let values: Vec<f64> = values.collect();
    let errors = (0..COUNT).map(|index| {
        let share = if is_shifted(index) { 0.3 } else { 0.1 };
        f64::from(u8::from(chance.uniform() < share))
    });
    (values, errors.collect())
}

/// The best of a few passes, in nanoseconds a value: the machine is shared, and what is lost to others is not ours.
fn own(name: &str, values: &[f64]) -> f64 {
    fn pass(detector: &mut dyn Detector, values: &[f64]) -> f64 {
        let begun = Instant::now();
        for &value in values {
            black_box(detector.update(black_box(value)));
        }
        begun.elapsed().as_nanos() as f64 / values.len() as f64
    }
    let make = || -> Box<dyn Detector> {
        match name {
            "ADWIN" => Box::new(Adwin::<24>::new(0.002, 32)),
            "Page–Hinkley" => Box::new(PageHinkley::new(50.0, Sides::Both)),
            "KSWIN" => Box::new(Kswin::<100>::new(0.005, 100, 30, 1).expect("a window")),
            "DDM" => Box::new(Ddm::new()),
            "EDDM" => Box::new(Eddm::new()),
            "HDDM_A" => Box::new(HddmA::new()),
            "HDDM_W" => Box::new(HddmW::new()),
            _ => Box::new(Fhddm::<100>::new(100, 1e-6).expect("a window")),
        }
    };
    let chunks = values.chunks(100_000);
    let passes = chunks.map(|part| pass(&mut *make(), part));
    passes.fold(f64::INFINITY, f64::min)
}

fn theirs(python: &PathBuf, values: &[f64], errors: &[f64]) -> Result<Vec<f64>, String> {
    let folder = root().join("target/bench-listen");
    let paths = ["values", "errors"].map(|name| folder.join(name));
    for (path, stream) in paths.iter().zip([values, errors]) {
        let bytes: Vec<u8> = stream
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let mut child = Command::new(python)
        .arg(root().join("xtask/peers/river_speed.py"))
        .args(&paths)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let asked: String = RACES
        .iter()
        .map(|(name, kind, count, _)| format!("{name} {kind} {count}\n"))
        .collect();
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    stdin
        .write_all(asked.as_bytes())
        .map_err(|error| error.to_string())?;
    drop(stdin);
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Vec<f64> = text
        .lines()
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    match told.len() == RACES.len() {
        true => Ok(told),
        false => Err("river told no times".to_owned()),
    }
}
