//! The order of `cargo xtask ci` and `cargo xtask test`, with the time that each step took.

use crate::{
    aarch64, bench_device, bench_ship::power_loss, c99, fuzz, handed_on, house, imports, licences,
    lineage_told, memory, mlflow, package, taken_over, tools,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What a chore answers: a sentence when the answer is no.
pub(crate) type Answer = Result<(), String>;

/// The root of the workspace, whatever folder the chore was called from.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace root")
        .to_path_buf()
}

/// A folder of the data that is not in the repository: of `$TINYOPS_DATA`, or beside the workspace.
pub(crate) fn data(name: &str) -> PathBuf {
    let data = std::env::var_os("TINYOPS_DATA");
    data.map_or_else(|| root().join("../shared/data"), PathBuf::from)
        .join(name)
}

/// The static checks, cheapest first.
pub(crate) fn ci() -> Answer {
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("import table", imports::check)?;
    step("house rules", house::check)?;
    step("licences", licences::check)?;
    step("lints", || {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ])
    })?;
    step("docs", || {
        run(Command::new("cargo")
            .args(["doc", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"))
    })
}

/// Everything that CI runs.
pub(crate) fn test() -> Answer {
    step("tools", tools::install)?;
    ci()?;
    step("tests", || {
        cargo(&["test", "--workspace", "--no-fail-fast"])
    })?;
    step("MLflow's client", mlflow::check)?;
    step("a model handed on", handed_on::check)?;
    step("lineage told", lineage_told::check)?;
    step("recordings taken over", taken_over::check)?;
    step("power-loss schedules", power_loss::check)?;
    step("miri", memory::miri)?;
    step("address sanitizer", memory::address)?;
    step("fuzz targets", fuzz::check)?;
    step("tests on AArch64", aarch64::test)?;
    step("C99", c99::check)?;
    step("packages", package::check)?;
    step("instructions", bench_device::check)
}

/// Runs one named step and says how long it took.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Answer) -> Answer {
    println!("── {name}");
    let started = Instant::now();
    let answer = work().map_err(|message| format!("{name}: {message}"));
    let verdict = if answer.is_ok() { "ok" } else { "FAILED" };
    println!(
        "── {name}: {verdict} in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    answer
}

/// Runs cargo in the workspace root.
pub(crate) fn cargo(args: &[&str]) -> Answer {
    run(Command::new("cargo").args(args))
}

/// Runs a command in the workspace root and turns a bad exit into a sentence.
pub(crate) fn run(command: &mut Command) -> Answer {
    let status = command
        .current_dir(root())
        .status()
        .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` ended with {status}", shown(command)))
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned()),
    );
    words.join(" ")
}
