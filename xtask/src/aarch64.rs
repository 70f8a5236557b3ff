//! The tests of the kernels built for AArch64 and run by QEMU's user mode, where all that is there.

use crate::steps::{Answer, root, run};
use std::process::Command;

const TARGET: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const RUNNER: &str = "qemu-aarch64";

/// Runs the tests of `tinyops-nn`; skips with a sentence what cannot be built or run here.
pub(crate) fn test() -> Answer {
    if let Some((what, remedy)) = missing() {
        println!("skipped: {what} is missing; {remedy}");
        return Ok(());
    }
    let variable = |name: &str| {
        let target = TARGET.replace('-', "_").to_uppercase();
        format!("CARGO_TARGET_{target}_{name}")
    };
    // `max` has the dot products of Armv8.2.
    let runner = format!("{RUNNER} -cpu max -L /usr/aarch64-linux-gnu");
    run(Command::new("cargo")
        .args([
            "test",
            "--quiet",
            "--package",
            "tinyops-nn",
            "--target",
            TARGET,
        ])
        .env(variable("LINKER"), LINKER)
        .env(variable("RUNNER"), runner))
}

fn missing() -> Option<(&'static str, &'static str)> {
    for (program, remedy) in [
        (LINKER, "`apt-get install gcc-aarch64-linux-gnu`"),
        (RUNNER, "`apt-get install qemu-user`"),
    ] {
        let found = Command::new(program).arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Some((program, remedy));
        }
    }
    let library = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(root())
        .output()
        .ok()?;
    let folder = String::from_utf8_lossy(&library.stdout).trim().to_owned();
    (!std::path::Path::new(&folder).is_dir())
        .then_some((TARGET, "`rustup target add aarch64-unknown-linux-gnu`"))
}
