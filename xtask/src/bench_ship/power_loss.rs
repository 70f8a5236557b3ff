//! How many ways of losing power, and of flash failing, an update is taken through, and what breaks.

use std::process::Command;

use super::Row;
use crate::steps::{Answer, root};

/// The device crate's fault simulator, in a release build.
const SIMULATOR: [&str; 9] = [
    "test",
    "--release",
    "--package",
    "tinyops-device",
    "--test",
    "it",
    "a_million_schedules",
    "--",
    "--nocapture",
];

/// Courses to draw at random, which the simulator adds to those that it goes through one by one.
const DRAWN: (&str, &str) = ("TINYOPS_SCHEDULES", "190000");

/// Schedules that a run must go through.
const SCHEDULES_MIN: u64 = 1_000_000;

/// Time that it may take, in seconds.
const SECONDS_MAX: f64 = 300.0;

/// A million schedules and more, on all cores.
pub(super) fn schedules() -> Result<Vec<Row>, String> {
    let output = Command::new("cargo")
        .args(SIMULATOR)
        .env(DRAWN.0, DRAWN.1)
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |name: &str| {
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        found.map(str::trim).ok_or_else(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            format!("the fault simulator does not tell its {name}:\n{text}{errors}")
        })
    };
    let number = |name: &str| -> Result<f64, String> {
        let figure = figure(name)?;
        let number = figure.parse();
        number.map_err(|_| format!("`{figure}` is no number of {name}"))
    };
    let (schedules, violations) = (number("schedules")? as u64, number("violations")? as u64);
    let seconds = number("seconds")?;
    println!("{}", text.trim());
    let mcuboot = "MCUboot's simulator stops between operations";
    Ok(vec![
        Row {
            name: "power-loss schedules: how many in a run",
            goal: format!("{SCHEDULES_MIN} at least"),
            own: format!("{schedules}"),
            peer: mcuboot.to_owned(),
            holds: schedules >= SCHEDULES_MIN,
        },
        Row {
            name: "power-loss schedules: seconds",
            goal: format!("{SECONDS_MAX} at most, two cores"),
            own: format!(
                "{seconds:.0} ({:.0} µs each)",
                seconds / schedules as f64 * 1e6
            ),
            peer: "–".to_owned(),
            holds: seconds <= SECONDS_MAX,
        },
        Row {
            name: "power-loss schedules: after which the device is not as it must be",
            goal: "0".to_owned(),
            own: format!("{violations}"),
            peer: "–".to_owned(),
            holds: violations == 0 && output.status.success(),
        },
    ])
}

/// Part of what CI runs: as many schedules, none of which may break anything. The time is for `bench ship` alone.
pub(crate) fn check() -> Answer {
    let rows = schedules()?;
    let missed: Vec<&str> = rows
        .iter()
        .filter(|row| !row.holds && !row.name.ends_with("seconds"))
        .map(|row| row.name)
        .collect();
    match missed.is_empty() {
        true => Ok(()),
        false => Err(missed.join("; ")),
    }
}
