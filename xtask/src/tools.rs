//! Programs that tests need beside the Rust toolchain: found, installed where we may, else named.

use crate::peer;
use crate::server::target;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program and the Debian packages that bring it.
struct Tool {
    /// What is looked for: a name on the PATH, or a path.
    program: &'static str,
    /// Other programs of the packages that tests start.
    with: &'static [&'static str],
    packages: &'static [&'static str],
    /// What is skipped without it.
    used_for: &'static str,
}

const TOOLS: [Tool; 14] = [
    Tool {
        program: "gcc",
        with: &["g++"],
        packages: &["gcc", "g++"],
        used_for: "compiling the C99 runtime",
    },
    Tool {
        program: "qemu-system-arm",
        with: &[],
        packages: &["qemu-system-arm"],
        used_for: "the emulated smoke test",
    },
    Tool {
        program: "sx",
        with: &["rx"],
        packages: &["lrzsz"],
        used_for: "firmware through a serial loader",
    },
    Tool {
        program: "qemu-aarch64",
        with: &[],
        packages: &[
            "qemu-user",
            "gcc-aarch64-linux-gnu",
            "libc6-dev-arm64-cross",
        ],
        used_for: "the tests of the kernels for AArch64",
    },
    Tool {
        program: "clang",
        with: &["clang++"],
        packages: &["clang"],
        used_for: "the C99 runtime under sanitizers",
    },
    Tool {
        program: "cppcheck",
        with: &[],
        packages: &["cppcheck"],
        used_for: "reading the C99 runtime",
    },
    Tool {
        program: "arm-none-eabi-gcc",
        with: &["arm-none-eabi-g++", "arm-none-eabi-nm", "arm-none-eabi-ld"],
        packages: &["gcc-arm-none-eabi", "libnewlib-arm-none-eabi"],
        used_for: "the C99 runtime on Cortex-M",
    },
    Tool {
        program: "riscv64-unknown-elf-gcc",
        with: &["qemu-system-riscv32"],
        packages: &[
            "gcc-riscv64-unknown-elf",
            "picolibc-riscv64-unknown-elf",
            "qemu-system-misc",
        ],
        used_for: "the C99 runtime on RISC-V",
    },
    Tool {
        program: "xtensa-lx106-elf-gcc",
        with: &["qemu-system-xtensa"],
        packages: &[
            "gcc-xtensa-lx106",
            "picolibc-xtensa-lx106-elf",
            "qemu-system-misc",
        ],
        used_for: "the C99 runtime on Xtensa",
    },
    Tool {
        program: "s390x-linux-gnu-gcc",
        with: &["qemu-s390x", "qemu-arm"],
        packages: &["gcc-s390x-linux-gnu", "libc6-dev-s390x-cross", "qemu-user"],
        used_for: "the C99 runtime on a big-endian host",
    },
    Tool {
        program: "i686-linux-gnu-gcc",
        with: &[],
        packages: &["gcc-i686-linux-gnu", "libc6-dev-i386-cross"],
        used_for: "the C99 runtime on a 32-bit host",
    },
    // Builds `core` for Cortex-M from source, where rustup has no such target; rustup's own linker links.
    Tool {
        program: "/usr/lib/rustlib/src/rust/library/core",
        with: &[],
        packages: &["rustc-web", "cargo-web", "rust-web-src"],
        used_for: "building firmware for the emulated boards",
    },
    Tool {
        program: "/usr/lib/postgresql",
        with: &[],
        packages: &["postgresql"],
        used_for: "the store suite on PostgreSQL",
    },
    Tool {
        program: "/usr/bin/chromium",
        with: &[],
        packages: &["chromium"],
        used_for: "page tests and screenshots in a real browser",
    },
];

/// Installs what is missing where that is possible, and says what stays missing and what it costs.
///
/// Never fails: a test that misses its tool says so and skips.
pub(crate) fn install() -> Result<(), String> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !found(tool.program)).collect();
    radio();
    if missing.is_empty() {
        println!("all there");
        return Ok(());
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|tool| tool.packages.iter().copied())
        .collect();
    if found("apt-get") && is_root() {
        apt(&["update", "-qq"]);
        let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
        arguments.extend(&packages);
        apt(&arguments);
    }
    for tool in missing.iter().filter(|tool| !found(tool.program)) {
        println!(
            "missing: {} ({}); get it with: apt-get install {}",
            tool.program,
            tool.used_for,
            tool.packages.join(" ")
        );
    }
    Ok(())
}

/// Bumble, which plays the radios of the tests of Bluetooth LE: they look where this puts it.
fn radio() {
    let package = "bumble>=0.0.236,<0.1";
    if let Err(why) = peer::python(&target().join("bumble"), &[package], "bumble.controller") {
        println!(
            "missing: {why} (the tests of Bluetooth LE); get it with: pip install \"{package}\""
        );
    }
}

/// Says that a program is missing, and answers so; where every tool is expected (`TINYOPS_TOOLS=all`, for a machine that is
/// kept to run every check) that is a failure, and everywhere if the program is there but does not run.
pub(crate) fn lacks(program: &str) -> Result<bool, String> {
    let output = Command::new(program).arg("--version").output();
    if output.is_ok_and(|output| output.status.success()) {
        return Ok(false);
    }
    if found(program) {
        return Err(format!(
            "{program} is there, but `{program} --version` fails"
        ));
    }
    let of_program = |tool: &&Tool| tool.program == program || tool.with.contains(&program);
    let packages = TOOLS.iter().find(of_program).map(|tool| tool.packages);
    let remedy = packages.map_or(String::new(), |packages| {
        format!("; get it with: apt-get install {}", packages.join(" "))
    });
    if is_everything_asked_for() {
        return Err(format!("{program} is missing{remedy}"));
    }
    println!("skipped: {program} is missing{remedy}");
    Ok(true)
}

/// Whether what is missing is a failure.
pub(crate) fn is_everything_asked_for() -> bool {
    std::env::var_os("TINYOPS_TOOLS").is_some_and(|value| value == "all")
}

fn found(program: &str) -> bool {
    if program.starts_with('/') {
        return PathBuf::from(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn apt(arguments: &[&str]) {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => println!("apt-get {} ended with {status}", arguments.join(" ")),
        Err(error) => println!("cannot start apt-get: {error}"),
    }
}
