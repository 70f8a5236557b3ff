//! The demo's project folder: recordings of a factory's test bench, as files, and a `tinyops.toml`.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    failure::Failure,
    fan::{AXES, Condition, Dice, Fan, Machine, RATE_HZ},
};

/// Machines on the test bench; none of them is in the fleet.
const MACHINES: u64 = 24;
/// Recordings of each machine and condition.
const RECORDINGS: u64 = 2;
/// Readings of a recording: twelve windows, as `WINDOW_LEN` below cuts them.
const READINGS: usize = 12 * WINDOW_LEN;
/// Readings of one window: 0.64 s, thirteen turns of the rotor.
pub(crate) const WINDOW_LEN: usize = 256;
/// What the fans run on.
pub(crate) const BOARD: &str = "arduino-nano-33-ble-sense";

/// Says that a folder is a demo's own, and may be replaced by the next one.
const MARKER: &str = ".tinyops-demo";

/// Dice streams of the bench start here, far from those of the fleet.
const BENCH_STREAM: u64 = 1 << 32;

/// Makes the folder anew; one that is not a demo's is left alone.
pub(crate) fn prepare(folder: &Path) -> Result<(), Failure> {
    let unusable = |error: io::Error| {
        Failure::environment(format!("cannot make `{}`", folder.display()))
            .cause(&error)
            .hint("`--dir DIR` puts the demo elsewhere")
    };
    if folder.exists() {
        let empty = fs::read_dir(folder).map_err(unusable)?.next().is_none();
        if !empty && !folder.join(MARKER).exists() {
            return Err(Failure::question(format!(
                "`{}` is there already and is no demo's folder",
                folder.display()
            ))
            .hint("`--dir DIR` puts the demo elsewhere"));
        }
        fs::remove_dir_all(folder).map_err(unusable)?;
    }
    fs::create_dir_all(folder).map_err(unusable)?;
    for (name, text) in [
        (
            MARKER,
            "This folder is made by `tinyops demo` and replaced by the next one.\n",
        ),
        (".gitignore", "*\n"),
        ("tinyops.toml", include_str!("tinyops.toml")),
    ] {
        fs::write(folder.join(name), text).map_err(unusable)?;
    }
    Ok(())
}

/// How much was recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    pub(crate) machines: u64,
    pub(crate) files: u64,
    pub(crate) seconds: f64,
}

/// How the bench's sensor is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mounting {
    /// As in the field.
    Right,
    /// Somebody has turned it: what was axial is radial.
    Turned,
}

/// Runs every machine of the bench through every condition and writes what its sensor measures.
pub(crate) fn record(folder: &Path, seed: u64, mounting: Mounting) -> Result<Recorded, Failure> {
    let mut files = 0;
    for index in 0..MACHINES {
        let mut dice = Dice::new(seed, BENCH_STREAM + 2 * index);
        let machine = Machine::build(&mut dice);
        let mut fan = Fan::start(machine, Dice::new(seed, BENCH_STREAM + 2 * index + 1));
        for condition in Condition::ALL {
            for take in 0..RECORDINGS {
                let severity = dice.between(0.35, 1.5);
                let load = dice.between(0.8, 1.2);
                let mut readings = vec![0.0; READINGS * AXES];
                // What rings from the condition before has died away after half a second.
                fan.measure(
                    condition,
                    severity,
                    load,
                    &mut readings[..WINDOW_LEN * AXES],
                );
                fan.measure(condition, severity, load, &mut readings);
                if mounting == Mounting::Turned {
                    readings
                        .chunks_exact_mut(AXES)
                        .for_each(|reading| reading.rotate_left(1));
                }
                let path = path(folder, index, condition, take);
                write(&path, &readings).map_err(|error| {
                    Failure::environment(format!("cannot write `{}`", path.display())).cause(&error)
                })?;
                files += 1;
            }
        }
    }
    Ok(Recorded {
        machines: MACHINES,
        files,
        seconds: files as f64 * READINGS as f64 / f64::from(RATE_HZ),
    })
}

fn path(folder: &Path, machine: u64, condition: Condition, take: u64) -> PathBuf {
    folder
        .join("recordings")
        .join(format!("bench-{:02}", machine + 1))
        .join(condition.word())
        .join(format!("take-{}.csv", take + 1))
}

fn write(path: &Path, readings: &[f32]) -> io::Result<()> {
    let mut text = String::from("time_ms,x,y,z\n");
    for (index, reading) in readings.chunks_exact(AXES).enumerate() {
        let time_ms = index as f32 * 1000.0 / RATE_HZ;
        let [x, y, z] = reading else {
            unreachable!("chunks are exact")
        };
        let _ = writeln!(text, "{time_ms},{x},{y},{z}");
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}
