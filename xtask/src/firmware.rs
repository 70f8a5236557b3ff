//! Compiles the firmware of real boards, as far as the compilers here reach; what is missing is named and passed over, with
//! `TINYOPS_TOOLS=all` it is a failure. What was run of it says the README of each.

use crate::steps::{Answer, root};
use crate::tools::{is_everything_asked_for, lacks};
use std::path::{Path, PathBuf};
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

/// The firmware in Rust, by the compiler that builds those of the emulated Cortex-M4F: with its link over USB, and with the
/// one over Bluetooth LE where there is what reads the headers of Nordic's controller.
fn nano33ble() -> Answer {
    let machine = MACHINES.iter().find(|machine| machine.id == "m4f");
    let machine = machine.ok_or("no machine is a Cortex-M4F")?;
    let target = root().join("firmware/target/nano33ble");
    // What of it this machine can run: the drivers of its sensors.
    let drivers = Command::new("cargo")
        .args(["test", "--locked", "--quiet", "--package", "nano33ble-imu"])
        .current_dir(root().join("firmware/nano33ble"))
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !drivers.success() {
        return Err("nano33ble: its drivers fail their tests".to_owned());
    }
    let libclang = libclang();
    for link in ["usb", "ble"] {
        let mut cargo = match tinyops_emulate::cargo(machine) {
            Ok(cargo) => cargo,
            Err(error) => return missing("nano33ble", &error.to_string()),
        };
        if link == "ble" {
            let Some(folder) = &libclang else {
                return missing(
                    "nano33ble over Bluetooth LE",
                    "no libclang; `apt-get install libclang-dev`, or LIBCLANG_PATH says where it is",
                );
            };
            cargo.env("LIBCLANG_PATH", folder);
        }
        let folder: &Path = &root().join("firmware/nano33ble");
        let status = cargo
            .args(["build", "--release", "--locked", "--target", machine.target])
            .args(["--no-default-features", "--features", link])
            .current_dir(folder)
            .env("CARGO_TARGET_DIR", &target)
            .status()
            .map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err(format!("nano33ble over {link} does not build"));
        }
        let built = target.join(machine.target).join("release/nano33ble");
        let sizes = Command::new("arm-none-eabi-size").arg(built).output();
        let said = sizes.map(|sizes| String::from_utf8_lossy(&sizes.stdout).into_owned());
        println!(
            "nano33ble over {link}: linked by cargo: {}",
            bytes_of(&said.unwrap_or_default())
        );
    }
    Ok(())
}

/// The folder of a libclang: `$LIBCLANG_PATH`, or the newest of Debian's.
fn libclang() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("LIBCLANG_PATH") {
        return Some(folder.into());
    }
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let mut folders: Vec<PathBuf> = folders
        .filter(|folder| folder.file_name().to_string_lossy().starts_with("llvm-"))
        .map(|folder| folder.path().join("lib"))
        .filter(|folder| {
            ["libclang.so.1", "libclang.so"]
                .iter()
                .any(|name| folder.join(name).is_file())
        })
        .collect();
    folders.sort();
    folders.pop()
}

/// Says what is not there, and passes it over.
fn missing(what: &str, lacks: &str) -> Answer {
    if is_everything_asked_for() {
        return Err(format!("{what}: {lacks}"));
    }
    println!("skipped: {what}: {lacks}");
    Ok(())
}
