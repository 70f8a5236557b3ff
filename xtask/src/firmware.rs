//! Compiles the firmware of real boards, as far as the compilers here reach; what is missing is named and passed over, with
//! `TINYOPS_TOOLS=all` it is a failure. What was run of it says the README of each.

use crate::steps::{Answer, root};
use crate::tools::{is_everything_asked_for, lacks};
use std::path::Path;
use std::process::Command;
use tinyops_emulate::MACHINES;

/// Firmware in C: its folder, its compiler, what `make` is asked for, and what that is.
const IN_C: [(&str, &str, &[&str], &str); 3] = [
    ("apollo3", "arm-none-eabi-gcc", &[], "linked"),
    (
        "esp-eye",
        "xtensa-lx106-elf-gcc",
        &["objects"],
        "runtime and agent compiled",
    ),
    (
        "himax",
        "arc-linux-gnu-gcc",
        &["objects"],
        "compiled, not linked",
    ),
];

/// All of it.
///
/// # Errors
/// What does not compile, or what is missing where everything is asked for.
pub(crate) fn check() -> Answer {
    for (board, compiler, asked, what) in IN_C {
        if lacks(compiler)? {
            continue;
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut make = Command::new("make");
        make.args(["-s", "-C"])
            .arg(root().join("firmware").join(board))
            .arg(format!("OUT={}", folder.path().display()))
            .args(asked);
        let output = make.output().map_err(|error| format!("make: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!(
                "{board}: {said}{}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        println!("{board}: {what} by {compiler}: {}", bytes_of(&said));
    }
    nano33ble()
}

/// Bytes of code, and of data, as the last line of `size` has them.
fn bytes_of(said: &str) -> String {
    let line = said.lines().rfind(|line| !line.trim().is_empty());
    let mut words = line.unwrap_or_default().split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(text), Some(data), Some(bss)) => format!("text {text}, data {data}, bss {bss}"),
        _ => "sizes are not told".to_owned(),
    }
}

/// The firmware in Rust, by the compiler that builds those of the emulated Cortex-M4F.
fn nano33ble() -> Answer {
    let machine = MACHINES.iter().find(|machine| machine.id == "m4f");
    let machine = machine.ok_or("no machine is a Cortex-M4F")?;
    let mut cargo = match tinyops_emulate::cargo(machine) {
        Ok(cargo) => cargo,
        Err(error) if is_everything_asked_for() => return Err(format!("nano33ble: {error}")),
        Err(error) => {
            println!("skipped: nano33ble: {error}");
            return Ok(());
        }
    };
    let folder: &Path = &root().join("firmware/nano33ble");
    let status = cargo
        .args(["build", "--release", "--locked", "--target", machine.target])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", root().join("firmware/target/nano33ble"))
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    match status.success() {
        true => {
            println!("nano33ble: linked by cargo");
            Ok(())
        }
        false => Err("nano33ble does not build".to_owned()),
    }
}
