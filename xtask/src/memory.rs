//! The kernels and the checks of plans under tools that see every access to memory.

use crate::fuzz::answers;
use crate::steps::{Answer, root, run};
use std::path::PathBuf;
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
    match sanitized("target/address")? {
        Ok(sanitized) => sanitized.run("", |cargo| {
            cargo.args(["test", "-p", "tinyops-nn", "--tests", "--quiet"]);
            cargo.env("PROPTEST_CASES", "64");
        }),
        Err(why) => {
            println!("skipped: {why}");
            Ok(())
        }
    }
}

/// Builds under AddressSanitizer, into a folder of their own.
pub(crate) struct Sanitized {
    target: String,
    folder: &'static str,
}

/// Builds of this machine under AddressSanitizer, or why there are none.
pub(crate) fn sanitized(folder: &'static str) -> Result<Result<Sanitized, String>, String> {
    let target = host()?;
    let known = [
        "x86_64-unknown-linux-gnu",
        "aarch64-unknown-linux-gnu",
        "aarch64-apple-darwin",
        "x86_64-apple-darwin",
    ];
    Ok(match known.contains(&target.as_str()) {
        true => Ok(Sanitized { target, folder }),
        false => Err(format!("AddressSanitizer is not had on {target}")),
    })
}

impl Sanitized {
    /// Where the profiles' folders are.
    pub(crate) fn folder(&self) -> PathBuf {
        root().join(self.folder).join(&self.target)
    }

    /// Runs cargo as `told`, with further flags for the compiler.
    pub(crate) fn run(&self, flags: &str, told: impl FnOnce(&mut Command)) -> Answer {
        let mut cargo = Command::new("cargo");
        told(&mut cargo);
        run(cargo
            .args(["--target", &self.target, "--target-dir", self.folder])
            // The sanitizer is a flag of an unstable compiler.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", format!("-Zsanitizer=address {flags}")))
    }
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
