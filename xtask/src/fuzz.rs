//! Runs every fuzz target for a while, from the corpora under `testdata/` and from what the project itself writes.

mod seeds;

use crate::steps::{Answer, root, run, step};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs the named target, or all, for `seconds` each.
///
/// New inputs go to `fuzz/corpus/`, which git ignores; a crash lands in `fuzz/artifacts/` with
/// the command that repeats it.
pub(crate) fn fuzz(target: Option<&str>, seconds: u32) -> Answer {
    if !answers(cargo_fuzz().arg("--version")) {
        return Err("needs cargo-fuzz: `cargo install cargo-fuzz`".to_owned());
    }
    let names = targets()?;
    if let Some(wanted) = target.filter(|wanted| !names.iter().any(|name| name == wanted)) {
        return Err(format!(
            "no target is called `{wanted}`; they are: {}",
            names.join(", ")
        ));
    }
    for name in names {
        if target.is_none_or(|wanted| wanted == name) {
            step(&name, || fuzz_one(&name, seconds))?;
        }
    }
    Ok(())
}

/// `cargo fuzz` by a nightly toolchain, or by the one that is there, told to take its flags.
fn cargo_fuzz() -> Command {
    let mut command = Command::new("cargo");
    if answers(Command::new("cargo").args(["+nightly", "--version"])) {
        command.arg("+nightly");
    } else {
        // Sanitizers and coverage are flags of an unstable compiler.
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    command.arg("fuzz");
    command
}

/// Whether a program is there and ends well.
pub(crate) fn answers(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/targets");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn fuzz_one(name: &str, seconds: u32) -> Answer {
    let grown = root().join("fuzz/corpus").join(name);
    fs::create_dir_all(&grown).map_err(|error| format!("{}: {error}", grown.display()))?;
    let kept: PathBuf = root().join("testdata/corpus").join(name);
    let written = seeds::write(name)?;
    let mut command = cargo_fuzz();
    command
        .args(["run", "--fuzz-dir", "fuzz", name])
        .args([&grown, &written]);
    if kept.is_dir() {
        command.arg(kept);
    }
    command
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args([
            "-max_len=65536",
            "-rss_limit_mb=1024",
            "-timeout=10",
            "-print_final_stats=0",
        ]);
    run(&mut command)
}
