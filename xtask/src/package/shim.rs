//! The calls of Edge Impulse's library over a package, held to what `tinyops predict` says of the same recordings.

use super::{NAME, run_in, sources};
use crate::steps::{Answer, run};
use crate::tools::lacks;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

const PROGRAM: &str = include_str!("shim.cpp");

/// Packs the project's model with the calls, and compares class and confidence of every window of recordings that it was
/// tested on.
pub(super) fn check(binary: &Path, project: &Path) -> Answer {
    if lacks("g++")? {
        return Ok(());
    }
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let package = work.path().join(NAME);
    run(Command::new(binary)
        .args(["package", NAME, "--for", "arduino", "--quiet", "--json"])
        .args(["--with", "edge-impulse", "--unsigned", "--project"])
        .arg(project)
        .arg("--out")
        .arg(&package)
        .stdout(Stdio::null()))?;
    let program = package.join("check.cpp");
    std::fs::write(&program, PROGRAM).map_err(|error| error.to_string())?;
    let shim =
        ["tinyops_ei.cpp", "tinyops_ei_porting.cpp"].map(|file| package.join("src").join(file));
    run_in(
        &package,
        Command::new("g++")
            .args(["-x", "c++", "-std=c++11", "-O1", "-Isrc"])
            .arg(&program)
            .args(shim)
            .args(sources(&package.join("src"))?)
            .args(["-o", "check"]),
    )?;
    let manifest = read(&package.join("manifest.json"))?;
    let manifest: Value = serde_json::from_str(&manifest).map_err(|error| error.to_string())?;
    let has_threshold = manifest["model"]["threshold"].as_f64() > Some(0.0);
    let len = manifest["window"]["readings_per_channel"].as_u64();
    let len = len.ok_or("manifest.json tells no window")? as usize;
    let mut count = 0;
    for label in ["blade", "normal"] {
        let recording = project.join(format!("data/m3/{label}/0.csv"));
        count += compare(binary, project, &package, &recording, (len, has_threshold))
            .map_err(|why| format!("{}: {why}", recording.display()))?;
    }
    match count {
        0 => Err("`tinyops predict` saw no window".to_owned()),
        _ => {
            println!("{count} windows, run_classifier() says what `tinyops predict` says");
            Ok(())
        }
    }
}

/// How many windows of a recording of one channel were compared.
fn compare(
    binary: &Path,
    project: &Path,
    package: &Path,
    recording: &Path,
    (len, has_threshold): (usize, bool),
) -> Result<usize, String> {
    let mut predict = Command::new(binary);
    predict.args(["predict", "--json", "--quiet", "--model", NAME, "--project"]);
    let told: Value = serde_json::from_str(&output(predict.arg(project).arg(recording))?)
        .map_err(|error| error.to_string())?;
    let windows = told["recordings"][0]["windows"]
        .as_array()
        .ok_or("no windows are told")?;
    let text = read(recording)?;
    let readings: Vec<&str> = text.lines().skip(1).collect();
    let mut input = String::new();
    for window in windows {
        let start = window["start"].as_u64().ok_or("a window has no start")? as usize;
        let window = readings
            .get(start..start + len)
            .ok_or("a window ends behind the recording")?;
        input += &(window.join(" ") + "\n");
    }
    let given = package.join("windows.txt");
    std::fs::write(&given, input).map_err(|error| error.to_string())?;
    let given = std::fs::File::open(&given).map_err(|error| error.to_string())?;
    let said = output(Command::new(package.join("check")).stdin(given))?;
    if said.lines().count() != windows.len() {
        return Err(format!(
            "{} windows, and run_classifier() answers {} times",
            windows.len(),
            said.lines().count()
        ));
    }
    for (window, line) in windows.iter().zip(said.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let values: Vec<(&str, f32)> = words
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1].parse().unwrap_or(f32::NAN)))
            .collect();
        let class = window["class"].as_str().unwrap_or_default();
        let confidence = window["confidence"].as_f64().map(|value| value as f32);
        let value = values
            .iter()
            .find(|(label, _)| *label == class)
            .map(|(_, value)| *value);
        let greatest = values
            .iter()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(label, _)| *label);
        // A threshold may give the class to the lesser share, which sketches are left to do.
        if value != confidence || value.is_none() || !has_threshold && greatest != Some(class) {
            return Err(format!(
                "predict says {window}, and run_classifier() {line}"
            ));
        }
    }
    Ok(windows.len())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    match output.status.success() {
        true => String::from_utf8(output.stdout).map_err(|error| error.to_string()),
        false => Err(format!("{command:?} ended with {}", output.status)),
    }
}
