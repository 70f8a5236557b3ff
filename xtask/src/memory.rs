//! The kernels and the checks of plans under tools that see every access to memory.

use crate::fuzz::answers;
use crate::steps::{Answer, run};
use std::process::Command;

/// Runs the tests of `tinyops-nn` under Miri where there is one; says so where there is none.
///
/// Miri interprets: hostile plans and the portable kernels, a few cases of each property.
pub(crate) fn miri() -> Answer {
    let toolchains: [&[&str]; 2] = [&["miri"], &["+nightly", "miri"]];
    let found = toolchains
        .into_iter()
        .find(|words| answers(Command::new("cargo").args(*words).arg("--version")));
    let Some(words) = found else {
        println!(
            "skipped: cargo miri is missing; `rustup component add miri` on a nightly toolchain brings it"
        );
        return Ok(());
    };
    run(Command::new("cargo")
        .args(words)
        .args([
            "test",
            "-p",
            "tinyops-nn",
            "--test",
            "it",
            "--",
            "hostile",
            "plans",
        ])
        // Properties keep their seeds in files.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("PROPTEST_CASES", "4"))
}

/// Runs the tests of `tinyops-nn` under AddressSanitizer, all kernels of this processor included.
pub(crate) fn address() -> Answer {
    let target = host()?;
    let known = [
        "x86_64-unknown-linux-gnu",
        "aarch64-unknown-linux-gnu",
        "aarch64-apple-darwin",
        "x86_64-apple-darwin",
    ];
    if !known.contains(&target.as_str()) {
        println!("skipped: AddressSanitizer is not had on {target}");
        return Ok(());
    }
    run(Command::new("cargo")
        .args([
            "test",
            "-p",
            "tinyops-nn",
            "--tests",
            "--quiet",
            "--target",
            &target,
        ])
        .args(["--target-dir", "target/address"])
        // The sanitizer is a flag of an unstable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("PROPTEST_CASES", "64"))
}

/// The target of this machine.
fn host() -> Result<String, String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| format!("cannot start rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc does not say its host".to_owned())
}
