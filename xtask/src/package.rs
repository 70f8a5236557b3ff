//! Packages as their readers take them: every ecosystem's, of a model that a run has made, built and proved.
//!
//! `cargo xtask package` packs twice and compares, runs the self test on the host under sanitizers, on an emulated
//! Cortex-M4F and RISC-V and on a core that joins products and sums, compiles what cannot run here, and asks the
//! ecosystems' own tools where they install (`package/lint.py`). What is missing here is named and passed over.

mod shim;

use crate::lanes::{Job, all};
use crate::mlflow::trained_project;
use crate::peer;
use crate::server::target;
use crate::steps::{Answer, cargo, run};
use crate::tools::lacks;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

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
const HEADERS: &str = include_str!("package/headers.h");

/// A processor that a package is built for, without a warning and with only its sources on the path, as its ecosystem's
/// build would: no flag of ours tells it how to treat floating point.
struct Processor {
    /// Whose package it is.
    ecosystem: &'static str,
    compiler: &'static str,
    flags: &'static [&'static str],
    /// How it is optimized, and what is told the sources.
    tuning: &'static [&'static str],
    /// Where the self test runs; without it the sources are compiled and no more.
    machine: Option<Machine>,
}

/// A machine that is emulated.
struct Machine {
    /// What is linked besides.
    start: Option<&'static str>,
    link: &'static [&'static str],
    emulator: &'static [&'static str],
}

const M4F: &[&str] = &[
    "-mthumb",
    "-mcpu=cortex-m4",
    "-mfpu=fpv4-sp-d16",
    "-mfloat-abi=hard",
];
/// Without a screen, and ending as the program does.
const MPS2: Machine = Machine {
    start: Some(CORTEX_M),
    // Vectors and code in the machine's flash, data in its RAM: the emulator's loader puts both there.
    link: &[
        "--specs=rdimon.specs",
        "-nostartfiles",
        "-Wl,--entry=main",
        "-Wl,--section-start=.vectors=0",
        "-Wl,-Ttext=0x400",
        "-Wl,-Tdata=0x20000000",
    ],
    emulator: &[
        "qemu-system-arm",
        "-M",
        "mps2-an386",
        "-nographic",
        "-semihosting-config",
        "enable=on,target=native",
        "-kernel",
    ],
};
const PROCESSORS: [Processor; 6] = [
    Processor {
        ecosystem: "arduino",
        compiler: "arm-none-eabi-gcc",
        flags: &["-mthumb", "-mcpu=cortex-m0"],
        tuning: &["-Os"],
        machine: None,
    },
    Processor {
        ecosystem: "arduino",
        compiler: "arm-none-eabi-gcc",
        flags: M4F,
        tuning: &["-Os"],
        machine: Some(MPS2),
    },
    // The DSP extension.
    Processor {
        ecosystem: "arduino",
        compiler: "arm-none-eabi-gcc",
        flags: M4F,
        tuning: &["-O2", "-DTINYOPS_ARM_DSP"],
        machine: Some(MPS2),
    },
    // Its compiler joins products and sums where it may.
    Processor {
        ecosystem: "arduino",
        compiler: "arm-none-eabi-gcc",
        flags: &[
            "-mthumb",
            "-mcpu=cortex-a7",
            "-mfpu=neon-vfpv4",
            "-mfloat-abi=hard",
        ],
        tuning: &["-O2"],
        machine: Some(Machine {
            start: None,
            link: &["--specs=rdimon.specs"],
            emulator: &["qemu-arm"],
        }),
    },
    // As the chips of Espressif that are RISC-V.
    Processor {
        ecosystem: "esp-idf",
        compiler: "riscv64-unknown-elf-gcc",
        flags: &["--specs=picolibc.specs", "-march=rv32imac", "-mabi=ilp32"],
        tuning: &["-O2"],
        machine: Some(Machine {
            start: None,
            link: &[
                "--oslib=semihost",
                "--crt0=hosted",
                "-Wl,--defsym=__flash=0x80000000,--defsym=__flash_size=4M",
                "-Wl,--defsym=__ram=0x80400000,--defsym=__ram_size=2M,--defsym=__stack_size=64k",
            ],
            emulator: &[
                "qemu-system-riscv32",
                "-M",
                "virt",
                "-bios",
                "none",
                "-nographic",
                "-semihosting-config",
                "enable=on,target=native",
                "-kernel",
            ],
        }),
    },
    // As the first ESP32s, whose own compiler is not to be had here.
    Processor {
        ecosystem: "esp-idf",
        compiler: "xtensa-lx106-elf-gcc",
        flags: &["-mlongcalls"],
        tuning: &["-Os"],
        machine: None,
    },
];

/// What CI runs: all but what takes long, sanitizers (which the tests of `tinyops-compile` have) and the ecosystems' tools.
pub(crate) fn check() -> Answer {
    built().map(|_| ())
}

/// Everything: `cargo xtask package`.
pub(crate) fn whole() -> Answer {
    let folder = built()?;
    all(vec![
        Box::new(|| timed("sanitizers", || sanitized(&folder))),
        Box::new(|| timed("ecosystems' tools", || lint(&folder))),
    ])
}

/// Does a part of it and says how long that took.
fn timed<T>(what: &str, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let started = Instant::now();
    let answer = work()?;
    println!("  {what}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(answer)
}

/// Packs for every ecosystem, and builds and runs what came out; answers with the folder of the packages.
fn built() -> Result<PathBuf, String> {
    let binary = target().join("debug/tinyops");
    timed("binary", || {
        cargo(&["build", "--quiet", "--package", "tinyops"])
    })?;
    let project = timed("model", || trained_project(&binary, "package-project"))?;
    run(Command::new(&binary)
        .args(["keys", "new", "--quiet", "--project"])
        .arg(&project))?;
    let (folder, again) = (project.join("packages"), project.join("packages-again"));
    timed("packages", || {
        let mut jobs: Vec<Job<'_>> = Vec::new();
        for folder in [&folder, &again] {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
            for ecosystem in ECOSYSTEMS {
                let (binary, project) = (&binary, &project);
                jobs.push(Box::new(move || pack(binary, project, folder, ecosystem)));
            }
        }
        all(jobs)?;
        same(&folder, &again)
    })?;
    println!("{} packages, the same bytes again", ECOSYSTEMS.len());
    all(vec![
        Box::new(|| {
            timed("host", || {
                c99(&folder)?;
                signature(&folder.join("c99"))
            })
        }),
        Box::new(|| timed("Edge Impulse's calls", || shim::check(&binary, &project))),
        Box::new(|| timed("crate", || rust(&folder.join("rust")))),
    ])?;
    timed("other processors", || processors(&folder))?;
    timed("examples", || programs(&folder))?;
    Ok(folder)
}

fn pack(binary: &Path, project: &Path, folder: &Path, ecosystem: &str) -> Answer {
    run(Command::new(binary)
        .args(["package", NAME, "--for", ecosystem, "--quiet", "--json"])
        .args(["--author", "Ada <ada@example.org>"])
        .args(["--url", "https://example.org/fan"])
        .arg("--project")
        .arg(project)
        .arg("--out")
        .arg(folder.join(ecosystem))
        .stdout(std::process::Stdio::null()))
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

/// The packages compiled for every processor whose compiler is here, all files of all of them side by side; then the self
/// tests linked and run.
fn processors(folder: &Path) -> Answer {
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut jobs: Vec<Job<'_>> = Vec::new();
    let mut programs: Vec<Job<'_>> = Vec::new();
    for (index, processor) in PROCESSORS.iter().enumerate() {
        if lacks(processor.compiler)? {
            continue;
        }
        let place = work.path().join(index.to_string());
        std::fs::create_dir(&place).map_err(|error| error.to_string())?;
        let src = folder.join(processor.ecosystem).join("src");
        let mut objects = Vec::new();
        for (number, source) in sources(&src)?.into_iter().enumerate() {
            let object = place.join(format!("{number}.o"));
            objects.push(object.clone());
            let src = src.clone();
            jobs.push(Box::new(move || {
                run(processor
                    .compile()
                    .arg("-I")
                    .arg(src)
                    .arg("-c")
                    .arg(source)
                    .arg("-o")
                    .arg(object))
            }));
        }
        if let Some(machine) = &processor.machine
            && !lacks(machine.emulator[0])?
        {
            let selftest = folder.join("c99/check/selftest.c");
            programs.push(Box::new(move || {
                processor.prove(machine, &src, &selftest, &objects, &place)
            }));
        }
    }
    all(jobs)?;
    all(programs)
}

impl Processor {
    /// Its compiler for C.
    fn compile(&self) -> Command {
        let mut command = Command::new(self.compiler);
        command.args(self.flags).args(self.tuning).args([
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-Werror",
        ]);
        command
    }

    /// Links the self test of objects in a folder, and runs it.
    fn prove(
        &self,
        machine: &Machine,
        src: &Path,
        selftest: &Path,
        objects: &[PathBuf],
        place: &Path,
    ) -> Answer {
        let program = place.join("selftest");
        let mut link = self.compile();
        link.args(machine.link)
            .arg("-I")
            .arg(src)
            .args(objects)
            .arg(selftest);
        if let Some(start) = machine.start {
            let path = place.join("start.c");
            std::fs::write(&path, start).map_err(|error| error.to_string())?;
            link.arg(path);
        }
        run(link.arg("-o").arg(&program))?;
        let mut command = Command::new("timeout");
        run(command.arg("120").args(machine.emulator).arg(&program))
    }
}

/// Programs of packages with what they include of their ecosystem, and what that is here: headers of a page.
const PROGRAMS: [(&str, &[&str], &[&str]); 5] = [
    (
        "esp-idf",
        &[
            "examples/classify/main/main.c",
            "test_apps/golden/main/test_main.c",
        ],
        &[
            "esp_timer.h",
            "freertos/FreeRTOS.h",
            "freertos/task.h",
            "unity.h",
        ],
    ),
    (
        "zephyr",
        &["samples/classify/src/main.c", "tests/golden/src/main.c"],
        &["zephyr/kernel.h", "zephyr/sys/printk.h", "zephyr/ztest.h"],
    ),
    (
        "platformio",
        &["test/test_golden/test_main.c"],
        &["unity.h"],
    ),
    ("cmsis-pack", &["examples/main.c"], &[]),
    ("c99", &["example/main.c"], &[]),
];

/// The examples and tests of packages, compiled.
fn programs(folder: &Path) -> Answer {
    if lacks("gcc")? {
        return Ok(());
    }
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let put = |path: &Path, text: &str| {
        std::fs::create_dir_all(path.parent().expect("a folder"))
            .and_then(|()| std::fs::write(path, text))
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    let core = work.path().join("Arduino.h");
    put(&core, ARDUINO)?;
    put(&work.path().join("headers.h"), HEADERS)?;
    let mut jobs: Vec<Job<'_>> = Vec::new();
    let mut add = |mut command: Command, ecosystem: &str, program: &Path| {
        let src = folder.join(ecosystem).join("src");
        command.args(["-Wall", "-Wextra", "-Werror", "-I"]).arg(src);
        command.arg("-c").arg(program).args(["-o", "/dev/null"]);
        jobs.push(Box::new(move || run(&mut command)));
    };
    for (ecosystem, paths, headers) in PROGRAMS {
        let own = work.path().join(ecosystem);
        for header in headers {
            let up = "../".repeat(header.matches('/').count() + 1);
            put(&own.join(header), &format!("#include \"{up}headers.h\"\n"))?;
        }
        for path in paths {
            let mut command = Command::new("gcc");
            command.args(["-std=gnu11", "-I"]).arg(&own);
            add(command, ecosystem, &folder.join(ecosystem).join(path));
        }
    }
    for (ecosystem, example) in [
        ("arduino", "serial"),
        ("arduino", "sampling"),
        ("platformio", "sampling"),
    ] {
        let sketch = format!("{ecosystem}/examples/{NAME}_{example}/{NAME}_{example}.ino");
        if !lacks("arm-none-eabi-g++")? {
            let mut command = Command::new("arm-none-eabi-g++");
            command.args(M4F).args(["-Os", "-std=gnu++14", "-include"]);
            command.arg(&core).args(["-x", "c++"]);
            add(command, ecosystem, &folder.join(sketch));
        }
    }
    all(jobs)
}

/// The crate's own test, with nothing from a registry but what is there already; in a folder of its own, since cargo would
/// take it for a part of this workspace.
fn rust(package: &Path) -> Answer {
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    run(Command::new("cp").arg("-r").arg(package).arg(work.path()))?;
    let package = work.path().join("rust");
    run_in(
        &package,
        Command::new("cargo")
            .args(["test", "--quiet", "--offline"])
            .env("RUSTFLAGS", "-D warnings")
            .env("CARGO_TARGET_DIR", target().join("package-rust")),
    )?;
    // As its README says: publishing itself wants dependencies that a registry has.
    let mut listing = Command::new("cargo");
    run_in(
        &package,
        listing
            .args(["package", "--no-verify", "--list", "--quiet", "--offline"])
            .stdout(std::process::Stdio::null()),
    )
}

fn lint(folder: &Path) -> Answer {
    let place = target().join("package-tools");
    let Some(python) = peer::python_or_skip(&place, &PACKAGES, IMPORTS)? else {
        return Ok(());
    };
    run(Command::new(python)
        .arg("-c")
        .arg(LINT)
        .arg(folder)
        .arg(NAME))
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
