//! Versions of 10,000 recordings: processor time beside md5sum's and DVC's, in turns on the same files.

use crate::figure::Row;
use crate::peer;
use crate::processor::children_seconds;
use crate::server::{self, target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// From PyPI.
const DVC: &str = "dvc==3.67.1";

const FILES: usize = 10_000;
/// A second of 16-bit sound at 16 kHz, and its header.
const FILE_BYTES: usize = 32_044;
/// Each figure is the median of so many: machines are noisy.
const ROUNDS: usize = 3;

const ADD_TIMES_MAX: f64 = 1.5;
const ADD_AGAIN_S_MAX: f64 = 0.15;
const STATUS_S_MAX: f64 = 0.1;
const CHECKOUT_S_MAX: f64 = 1.0;

/// Seconds of processor time of each verb.
#[derive(Default)]
struct Times {
    md5sum: Vec<f64>,
    add: Vec<f64>,
    again: Vec<f64>,
    status: Vec<f64>,
    checkout: Vec<f64>,
}

/// Adds, adds again, looks, and brings back what was removed.
pub(super) fn versions() -> Result<Vec<Row>, String> {
    let folder = target().join("bench-manage/versions");
    let _ = fs::remove_dir_all(&folder);
    let recordings = folder.join("recordings");
    write_recordings(&recordings)?;
    let own = server::build()?;
    let mut peer = dvc();
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for round in 0..ROUNDS {
        let place = folder.join(format!("own-{round}"));
        copy(&recordings, &place.join("data"))?;
        let text = "[project]\nname = \"bench\"\n";
        fs::write(place.join("tinyops.toml"), text).map_err(|error| error.to_string())?;
        let md5sum = "find data -type f -print0 | xargs -0 md5sum";
        ours.md5sum.push(seconds(
            Command::new("sh").args(["-c", md5sum]).current_dir(&place),
        )?);
        let verb = |verb: &[&str]| seconds(Command::new(&own).args(verb).current_dir(&place));
        ours.add.push(verb(&["data", "add", "data"])?);
        ours.again.push(verb(&["data", "add", "data"])?);
        ours.status.push(verb(&["data", "status"])?);
        fs::remove_dir_all(place.join("data")).map_err(|error| error.to_string())?;
        ours.checkout.push(verb(&["data", "checkout"])?);
        let _ = fs::remove_dir_all(&place);
        peer = peer.and_then(|python| {
            let place = folder.join(format!("dvc-{round}"));
            of_dvc(&python, &recordings, &place, &mut theirs)?;
            Ok(python)
        });
    }
    let _ = fs::remove_dir_all(&folder);
    let md5sum = median(&ours.md5sum);
    let told = |times: &[f64]| match &peer {
        Ok(_) => format!("DVC {:.2} CPU-s", median(times)),
        Err(why) => format!("DVC skipped: {why}"),
    };
    let row = |name, goal: f64, own: &[f64], theirs: &[f64]| Row {
        name,
        goal: format!("≤ {goal} CPU-s"),
        own: format!("{:.2} CPU-s", median(own)),
        peer: told(theirs),
        holds: median(own) <= goal,
    };
    let times = median(&ours.add) / md5sum;
    let theirs_times = median(&theirs.add) / md5sum;
    Ok(vec![
        Row {
            name: "add 10,000 recordings of 32 kB, times md5sum",
            goal: format!("≤ {ADD_TIMES_MAX}"),
            own: format!("{times:.2} ({:.2} of {md5sum:.2} CPU-s)", median(&ours.add)),
            peer: match &peer {
                Ok(_) => format!("DVC {theirs_times:.2} ({:.2} CPU-s)", median(&theirs.add)),
                Err(why) => format!("DVC skipped: {why}"),
            },
            holds: times <= ADD_TIMES_MAX,
        },
        row(
            "add them again, unchanged",
            ADD_AGAIN_S_MAX,
            &ours.again,
            &theirs.again,
        ),
        row("status", STATUS_S_MAX, &ours.status, &theirs.status),
        row(
            "checkout of all of them",
            CHECKOUT_S_MAX,
            &ours.checkout,
            &theirs.checkout,
        ),
    ])
}

/// A Python with DVC.
pub(super) fn dvc() -> Result<PathBuf, String> {
    peer::python(&target().join("bench-manage/dvc"), &[DVC], "dvc")
}

fn of_dvc(python: &Path, recordings: &Path, place: &Path, times: &mut Times) -> Result<(), String> {
    copy(recordings, &place.join("data"))?;
    let verb = |verb: &[&str]| {
        let mut command = Command::new(python);
        command
            .args(["-m", "dvc"])
            .args(verb)
            .arg("--quiet")
            .current_dir(place);
        // It would tell its makers what was done.
        command.env("DVC_NO_ANALYTICS", "1");
        seconds(&mut command)
    };
    verb(&["init", "--no-scm"])?;
    times.add.push(verb(&["add", "data"])?);
    times.again.push(verb(&["add", "data"])?);
    times.status.push(verb(&["status"])?);
    fs::remove_dir_all(place.join("data")).map_err(|error| error.to_string())?;
    times.checkout.push(verb(&["checkout"])?);
    let _ = fs::remove_dir_all(place);
    Ok(())
}

/// Sounds of which no two are alike.
fn write_recordings(folder: &Path) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut state = 1u64;
    let mut bytes = vec![0; FILE_BYTES];
    for index in 0..FILES {
        let class = folder.join(format!("class-{}", index % 10));
        if index < 10 {
            fs::create_dir_all(&class).map_err(at)?;
        }
        for pair in bytes.chunks_exact_mut(4) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            pair.copy_from_slice(&state.to_be_bytes()[..4]);
        }
        fs::write(class.join(format!("{index:05}.wav")), &bytes).map_err(at)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", to.display());
    fs::create_dir_all(to.parent().unwrap_or(to)).map_err(at)?;
    let paths: [PathBuf; 2] = [from.into(), to.into()];
    let status = Command::new("cp")
        .arg("-r")
        .args(paths)
        .status()
        .map_err(at)?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("cp ended with {status}")),
    }
}

/// Processor time of a command that must end well.
fn seconds(command: &mut Command) -> Result<f64, String> {
    let before = children_seconds()?;
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} ended with {}: {said}", output.status));
    }
    Ok(children_seconds()? - before)
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
