//! Packages as their readers take them: every ecosystem's, of a model that a run has made, built and proved.
//!
//! `cargo xtask package` packs twice and compares, runs the self test on the host under sanitizers, on an emulated
//! Cortex-M4F and RISC-V and on a core that joins products and sums, compiles what cannot run here, and asks the
//! ecosystems' own tools where they install (`package/lint.py`). What is missing here is named and passed over.

use crate::mlflow::trained_project;
use crate::peer;
use crate::server::target;
use crate::steps::{Answer, cargo, run};
use crate::tools::lacks;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every ecosystem that `tinyops package --list` tells.
const ECOSYSTEMS: [&str; 7] = [
    "c99",
    "arduino",
    "esp-idf",
    "zephyr",
    "cmsis-pack",
    "platformio",
    "rust",
];
/// The model of the project that is packed.
const NAME: &str = "fan";
const PACKAGES: [&str; 4] = [
    "platformio",
    "idf-component-manager",
    "cyclonedx-python-lib[json-validation]",
    "pyyaml",
];
const IMPORTS: &str =
    "platformio, idf_component_tools.manager, cyclonedx.validation.json, jsonschema, yaml";
const LINT: &str = include_str!("package/lint.py");
const CORTEX_M: &str = include_str!("package/cortex_m.c");
const ARDUINO: &str = include_str!("package/Arduino.h");

/// The flags of a Cortex-M4F.
const M4F: [&str; 4] = [
    "-mthumb",
    "-mcpu=cortex-m4",
    "-mfpu=fpv4-sp-d16",
    "-mfloat-abi=hard",
];

/// What CI runs: all but what takes long, sanitizers (which the tests of `tinyops-compile` have), the crate and the tools.
pub(crate) fn check() -> Answer {
    built().map(|_| ())
}

/// Everything: `cargo xtask package`.
pub(crate) fn whole() -> Answer {
    let folder = built()?;
    sanitized(&folder)?;
    rust(&folder.join("rust"))?;
    lint(&folder)
}

/// Packs for every ecosystem, and builds and runs what came out; answers with the folder of the packages.
fn built() -> Result<PathBuf, String> {
    cargo(&["build", "--quiet", "--package", "tinyops"])?;
    let binary = target().join("debug/tinyops");
    let project = trained_project(&binary, "package-project")?;
    run(Command::new(&binary)
        .args(["keys", "new", "--quiet", "--project"])
        .arg(&project))?;
    let folder = project.join("packages");
    pack(&binary, &project, &folder)?;
    let again = project.join("packages-again");
    pack(&binary, &project, &again)?;
    for ecosystem in ECOSYSTEMS {
        same(&folder.join(ecosystem), &again.join(ecosystem))?;
    }
    println!("{} packages, the same bytes again", ECOSYSTEMS.len());
    c99(&folder)?;
    signature(&folder.join("c99"))?;
    arm(&folder)?;
    riscv(&folder)?;
    xtensa(&folder)?;
    Ok(folder)
}

fn pack(binary: &Path, project: &Path, folder: &Path) -> Answer {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for ecosystem in ECOSYSTEMS {
        run(Command::new(binary)
            .args(["package", NAME, "--for", ecosystem, "--quiet", "--json"])
            .args(["--author", "Ada <ada@example.org>"])
            .args(["--url", "https://example.org/fan"])
            .arg("--project")
            .arg(project)
            .arg("--out")
            .arg(folder.join(ecosystem))
            .stdout(std::process::Stdio::null()))?;
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> Answer {
    run(Command::new("diff").arg("-r").arg(one).arg(other))
}

/// The self test by the package's own Makefile.
fn c99(folder: &Path) -> Answer {
    make(folder, "gcc", "-O2 -Werror")
}

/// The same under sanitizers.
fn sanitized(folder: &Path) -> Answer {
    let flags = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all";
    make(folder, "clang", flags)
}

fn make(folder: &Path, compiler: &'static str, flags: &str) -> Answer {
    if lacks(compiler)? || lacks("make")? {
        return Ok(());
    }
    for goal in ["clean", "check", "clean"] {
        run(Command::new("make")
            .args(["--silent", "-j2", "-C"])
            .arg(folder.join("c99"))
            .arg(goal)
            .arg(format!("CC={compiler}"))
            .arg(format!("CFLAGS={flags}")))?;
    }
    Ok(())
}

/// The list of digests, and the signature of it, by the commands that every README names.
fn signature(package: &Path) -> Answer {
    run_in(
        package,
        Command::new("sha256sum").args(["--quiet", "-c", "SHA256SUMS"]),
    )?;
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: openssl is missing");
        return Ok(());
    }
    let arguments = "pkeyutl -verify -pubin -inkey release-key.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig";
    run_in(package, Command::new("openssl").args(arguments.split(' ')))
}

/// Arduino's build has no flag of ours: compiled for a small and a large Cortex-M, the sketch as C++; run on an emulated
/// Cortex-M4F, with and without its DSP extension, and on a core whose compiler joins products and sums where it may.
fn arm(folder: &Path) -> Answer {
    if lacks("arm-none-eabi-gcc")? {
        return Ok(());
    }
    let package = folder.join("arduino");
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let write = |name: &str, text: &str| {
        let path = work.path().join(name);
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        Ok::<_, String>(path)
    };
    let start = write("cortex_m.c", CORTEX_M)?;
    let core = write("Arduino.h", ARDUINO)?;
    for flags in [&["-mthumb", "-mcpu=cortex-m0"][..], &M4F] {
        objects("arm-none-eabi-gcc", flags, &package, work.path())?;
    }
    let sketch = package.join(format!("examples/{NAME}_serial/{NAME}_serial.ino"));
    run(Command::new("arm-none-eabi-g++")
        .args(M4F)
        .args([
            "-std=gnu++14",
            "-Os",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-include",
        ])
        .arg(core)
        .arg("-I")
        .arg(package.join("src"))
        .args(["-x", "c++", "-c"])
        .arg(sketch)
        .arg("-o")
        .arg(work.path().join("sketch.o")))?;
    let selftest = folder.join("c99/check/selftest.c");
    let program = work.path().join("selftest");
    let link = |flags: &[&str], more: &[&Path]| {
        run(Command::new("arm-none-eabi-gcc")
            .args(flags)
            .args(["-O2", "--specs=rdimon.specs", "-I"])
            .arg(package.join("src"))
            .args(sources(&package.join("src"))?)
            .arg(&selftest)
            .args(more)
            .arg("-o")
            .arg(&program))
    };
    if !lacks("qemu-system-arm")? {
        for dsp in [None, Some("-DTINYOPS_ARM_DSP")] {
            let mut flags = M4F.to_vec();
            flags.extend(dsp);
            // Vectors and code in the machine's flash, data in its RAM: the emulator's loader puts both there.
            flags.extend([
                "-nostartfiles",
                "-Wl,--entry=main",
                "-Wl,--section-start=.vectors=0",
                "-Wl,-Ttext=0x400",
                "-Wl,-Tdata=0x20000000",
            ]);
            link(&flags, &[&start])?;
            run(&mut emulated("qemu-system-arm", "mps2-an386", &program))?;
        }
    }
    if !lacks("qemu-arm")? {
        link(
            &[
                "-mthumb",
                "-mcpu=cortex-a7",
                "-mfpu=neon-vfpv4",
                "-mfloat-abi=hard",
            ],
            &[],
        )?;
        run(Command::new("qemu-arm").arg(&program))?;
    }
    Ok(())
}

/// The component's sources on an emulated RISC-V, as those of the chips that have it.
fn riscv(folder: &Path) -> Answer {
    if lacks("riscv64-unknown-elf-gcc")? || lacks("qemu-system-riscv32")? {
        return Ok(());
    }
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let program = work.path().join("selftest");
    let src = folder.join("esp-idf/src");
    run(Command::new("riscv64-unknown-elf-gcc")
        .args([
            "--specs=picolibc.specs",
            "--oslib=semihost",
            "--crt0=hosted",
        ])
        .args([
            "-march=rv32imac",
            "-mabi=ilp32",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
        ])
        .args(["-Wl,--defsym=__flash=0x80000000,--defsym=__flash_size=4M"])
        .args([
            "-Wl,--defsym=__ram=0x80400000,--defsym=__ram_size=2M,--defsym=__stack_size=64k",
            "-I",
        ])
        .arg(&src)
        .args(sources(&src)?)
        .arg(folder.join("c99/check/selftest.c"))
        .arg("-o")
        .arg(&program))?;
    run(emulated("qemu-system-riscv32", "virt", &program).args(["-bios", "none"]))
}

/// What the first ESP32s have: compiled, since their own compiler is not to be had here.
fn xtensa(folder: &Path) -> Answer {
    if lacks("xtensa-lx106-elf-gcc")? {
        return Ok(());
    }
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    objects(
        "xtensa-lx106-elf-gcc",
        &["-mlongcalls"],
        &folder.join("esp-idf"),
        work.path(),
    )
}

/// The crate's own test, with nothing from a registry but what is there already; in a folder of its own, since cargo would
/// take it for a part of this workspace.
fn rust(package: &Path) -> Answer {
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    run(Command::new("cp").arg("-r").arg(package).arg(work.path()))?;
    run_in(
        &work.path().join("rust"),
        Command::new("cargo")
            .args(["test", "--quiet", "--offline"])
            .env("RUSTFLAGS", "-D warnings")
            .env("CARGO_TARGET_DIR", target().join("package-rust")),
    )
}

fn lint(folder: &Path) -> Answer {
    let place = target().join("package-tools");
    let python = match peer::python(&place, &PACKAGES, IMPORTS) {
        Ok(python) => python,
        Err(why) => {
            println!(
                "skipped: {why}; `pip install {}` brings them",
                PACKAGES.join(" ")
            );
            return Ok(());
        }
    };
    run(Command::new(python)
        .arg("-c")
        .arg(LINT)
        .arg(folder)
        .arg(NAME))
}

/// Compiles every C file of a package for a target, with only its sources on the path.
fn objects(compiler: &str, flags: &[&str], package: &Path, work: &Path) -> Answer {
    for source in sources(&package.join("src"))? {
        run(Command::new(compiler)
            .args(flags)
            .args(["-std=gnu11", "-Os", "-Wall", "-Wextra", "-Werror", "-I"])
            .arg(package.join("src"))
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(work.join("object.o")))?;
    }
    Ok(())
}

/// A machine without screen that ends as its program does.
fn emulated(emulator: &str, machine: &str, program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["120", emulator, "-M", machine, "-nographic"])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
        .arg(program);
    command
}

fn run_in(folder: &Path, command: &mut Command) -> Answer {
    let status = command
        .current_dir(folder)
        .status()
        .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{command:?} ended with {status}")),
    }
}

/// Every C file below a folder, in order.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|end| end == "c") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
