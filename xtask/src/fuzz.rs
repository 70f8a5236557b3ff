//! Runs every fuzz target for a while, from the corpora under `testdata/` and from what the project itself writes.

mod seeds;

use crate::lanes;
use crate::memory::{self, Sanitized};
use crate::steps::{Answer, root};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Seconds for each target in a run of CI.
const SECONDS_IN_CI: u32 = 3;

/// What tells libFuzzer which branches an input takes and what it was compared with.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1 --cfg fuzzing";

/// Every target for seconds: enough to see that they build, stand their corpora and the first mutations.
///
/// Little optimized: a run of CI builds for minutes what it then tries for seconds.
pub(crate) fn check() -> Answer {
    fuzz_at("1", None, SECONDS_IN_CI)
}

/// Runs the named target, or all, for `seconds` each, as many at once as there are cores.
///
/// New inputs go to `fuzz/corpus/`, which git ignores; what a target said and inputs that broke it
/// lie in `fuzz/artifacts/`.
pub(crate) fn fuzz(target: Option<&str>, seconds: u32) -> Answer {
    fuzz_at("3", target, seconds)
}

fn fuzz_at(opt_level: &str, target: Option<&str>, seconds: u32) -> Answer {
    let sanitized = match memory::sanitized("target/fuzz")? {
        Ok(sanitized) => sanitized,
        Err(why) => {
            println!("skipped: {why}");
            return Ok(());
        }
    };
    let all = targets()?;
    let names: Vec<String> = match target {
        None => all,
        Some(wanted) if all.iter().any(|name| name == wanted) => vec![wanted.to_owned()],
        Some(wanted) => {
            return Err(format!(
                "no target is called `{wanted}`; they are: {}",
                all.join(", ")
            ));
        }
    };
    let built = sanitized.run(COVERAGE, |cargo| {
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", opt_level);
        cargo.args([
            "build",
            "--release",
            "--quiet",
            "--manifest-path",
            "fuzz/Cargo.toml",
        ]);
        for name in &names {
            cargo.args(["--bin", name]);
        }
    });
    built?;
    let failures = lanes::each(names, |name| {
        let answer = fuzz_one(&sanitized, &name, seconds);
        match &answer {
            Ok(said) => println!("{name}: {said}"),
            Err(_) => println!("{name}: FAILED"),
        }
        answer.map(|_| ())
    });
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n\n")),
    }
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

/// Runs one target; how much it tried, or the end of what it said.
fn fuzz_one(sanitized: &Sanitized, name: &str, seconds: u32) -> Result<String, String> {
    let grown = folder(&root().join("fuzz/corpus").join(name))?;
    let broke = folder(&root().join("fuzz/artifacts").join(name))?;
    let kept = root().join("testdata/corpus").join(name);
    let log = broke.with_extension("log");
    let at = |error| format!("{}: {error}", log.display());
    let file = File::create(&log).map_err(at)?;
    let program = sanitized.folder().join("release").join(name);
    let mut command = Command::new(&program);
    command
        .current_dir(root())
        .args([&grown, &seeds::write(name)?])
        .args(kept.is_dir().then_some(&kept))
        .arg(format!("-artifact_prefix={}/", broke.display()))
        .arg(format!("-max_total_time={seconds}"))
        .args([
            "-max_len=65536",
            "-rss_limit_mb=1024",
            "-timeout=10",
            "-print_final_stats=1",
        ])
        .stdout(Stdio::null())
        .stderr(file);
    let status = command
        .status()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let said = fs::read(&log).map_err(at)?;
    let said = String::from_utf8_lossy(&said);
    if !status.success() {
        let end = said.char_indices().rev().nth(3_000).map_or(0, |(at, _)| at);
        return Err(format!(
            "{name} ended with {status}; all that it said is in {}, its end is:\n{}",
            log.display(),
            &said[end..]
        ));
    }
    let tried = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let tried = tried.ok_or_else(|| format!("{name} does not say how much it tried"))?;
    Ok(format!("{} inputs tried", tried.trim()))
}

fn folder(path: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.to_owned())
}
