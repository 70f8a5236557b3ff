//! Runs every fuzz target for a while, from the corpora under `testdata/`.

use crate::steps::{Answer, root, run, step};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs the named target, or all, for `seconds` each.
///
/// New inputs go to `fuzz/corpus/`, which git ignores; a crash lands in `fuzz/artifacts/` with
/// the command that repeats it.
pub(crate) fn fuzz(target: Option<&str>, seconds: u32) -> Answer {
    let installed = Command::new("cargo")
        .args(["+nightly", "fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !installed {
        return Err(
            "needs a nightly toolchain and cargo-fuzz: `cargo install cargo-fuzz`".to_owned(),
        );
    }
    for name in targets()? {
        if target.is_some_and(|wanted| wanted != name) {
            continue;
        }
        step(&name, || fuzz_one(&name, seconds))?;
    }
    Ok(())
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
    let seeds: PathBuf = root().join("testdata/corpus").join(name);
    let mut command = Command::new("cargo");
    command
        .args(["+nightly", "fuzz", "run", "--fuzz-dir", "fuzz", name])
        .arg(&grown);
    if seeds.is_dir() {
        command.arg(seeds);
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
