//! Compilers and what runs their programs on this host.

use crate::c99::folder;
use crate::steps::{Answer, root, run};
use crate::tools::lacks;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every C file compiles with, without a word.
const STRICT: [&str; 6] = [
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wshadow",
    "-Werror",
];

/// A way to build the check for this host, or for one that QEMU's user mode stands for.
pub(crate) struct Host {
    /// The name in the matrix.
    pub(crate) id: &'static str,
    compiler: &'static str,
    flags: &'static [&'static str],
    /// What runs the program, with its arguments; nothing where it runs by itself.
    runner: &'static [&'static str],
}

/// The sanitized one first: it says more than a wrong byte.
pub(crate) static HOSTS: &[Host] = &[
    Host {
        id: "x86-64, sanitized",
        compiler: "clang",
        flags: &[
            "-O1",
            "-g",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
        ],
        runner: &[],
    },
    Host {
        id: "x86-64, long products",
        compiler: "gcc",
        flags: &["-O2", "-DTINYOPS_LONG_PRODUCTS=1"],
        runner: &[],
    },
    // Single precision in single precision: the old unit of this processor keeps more.
    Host {
        id: "x86, 32 bits",
        compiler: "i686-linux-gnu-gcc",
        flags: &[
            "-O2",
            "-msse2",
            "-mfpmath=sse",
            "-static",
            "-DTINYOPS_NARROW_PRODUCTS=1",
        ],
        runner: &[],
    },
    Host {
        id: "s390x, big-endian",
        compiler: "s390x-linux-gnu-gcc",
        // GCC for this processor evaluates single precision in double, where C99 is asked for by its letter.
        flags: &["-O2", "-fexcess-precision=fast", "-static"],
        runner: &["qemu-s390x"],
    },
    // The kernels for the DSP extension, on a core of another profile that has it: QEMU's user mode starts no Cortex-M.
    Host {
        id: "Arm, DSP extension",
        compiler: "arm-none-eabi-gcc",
        flags: &[
            "-O2",
            "-mthumb",
            "-mcpu=cortex-a9",
            "-mfpu=vfpv3",
            "-mfloat-abi=hard",
            "-DTINYOPS_ARM_DSP",
            "--specs=rdimon.specs",
        ],
        runner: &["qemu-arm"],
    },
];

impl Host {
    /// Whether this host lacks what builds or runs the check; says so.
    ///
    /// # Errors
    /// Where it is expected.
    pub(crate) fn lacks_a_tool(&self) -> Result<bool, String> {
        let needed = [self.compiler]
            .into_iter()
            .chain(self.runner.first().copied());
        lacks_one_of(needed)
    }

    /// Builds the check.
    ///
    /// # Errors
    /// What the compiler says.
    pub(crate) fn build(&self, sources: &[PathBuf], folder: &Path) -> Result<PathBuf, String> {
        let program = folder.join("check");
        run(Command::new(self.compiler)
            .args(["-std=c99", "-ffp-contract=off"])
            .args(self.flags)
            .args(sources)
            .arg("-o")
            .arg(&program))?;
        Ok(program)
    }

    /// What runs the program.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self.runner {
            [] => Command::new(program),
            [runner, arguments @ ..] => {
                let mut command = Command::new(runner);
                command.args(arguments).arg(program);
                command
            }
        }
    }
}

/// The flags of a Cortex-M4F.
pub(crate) const CORTEX_M4F: [&str; 5] = [
    "-mthumb",
    "-mcpu=cortex-m4",
    "-mfpu=fpv4-sp-d16",
    "-mfloat-abi=hard",
    "-ffreestanding",
];

/// Whether one of some programs is missing; says which.
pub(crate) fn lacks_one_of(
    programs: impl IntoIterator<Item = &'static str>,
) -> Result<bool, String> {
    for program in programs {
        if lacks(program)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Compiles every file with every compiler here, as C99 and as C++11, with every warning an error; those of the runtime for a
/// Cortex-M4 with the DSP extension too.
pub(crate) fn warnings(sources: &[PathBuf]) -> Answer {
    let languages: [(&str, &[&str]); 4] = [
        ("gcc", &["-std=c99"]),
        ("clang", &["-std=c99"]),
        ("g++", &["-x", "c++", "-std=c++11"]),
        ("clang++", &["-x", "c++", "-std=c++11"]),
    ];
    let folder = folder()?;
    for (compiler, language) in languages {
        if lacks(compiler)? {
            continue;
        }
        for source in sources {
            run(Command::new(compiler)
                .args(language)
                .args(STRICT)
                .args(["-O2", "-c"])
                .arg(source)
                .arg("-o")
                .arg(folder.path().join("object")))?;
        }
        println!("{compiler}: {} files without a warning", sources.len());
    }
    Ok(())
}

/// What a freestanding compiler calls by itself.
const FREESTANDING: [&str; 4] = ["memcmp", "memcpy", "memmove", "memset"];

/// Compiles the runtime for a Cortex-M4 and looks at what came out: no function from outside but what a freestanding compiler
/// needs anyway and its own arithmetic, nothing that runs before `main`, no memory of its own.
pub(crate) fn freestanding(sources: &[PathBuf]) -> Answer {
    if lacks_one_of(["arm-none-eabi-gcc", "arm-none-eabi-ld", "arm-none-eabi-nm"])? {
        return Ok(());
    }
    let folder = folder()?;
    let runtime = sources.iter().filter(|path| path.starts_with("c/src"));
    let mut objects = Vec::new();
    for (index, source) in runtime.enumerate() {
        let object = folder.path().join(format!("{index}.o"));
        run(Command::new("arm-none-eabi-gcc")
            .arg("-std=c99")
            .args(STRICT)
            .args(CORTEX_M4F)
            .args(["-DTINYOPS_ARM_DSP", "-O2", "-ffp-contract=off", "-c"])
            .arg(source)
            .arg("-o")
            .arg(&object))?;
        objects.push(object);
    }
    let all = folder.path().join("all.o");
    run(Command::new("arm-none-eabi-ld")
        .arg("-r")
        .args(&objects)
        .arg("-o")
        .arg(&all))?;
    let undefined = said(Command::new("arm-none-eabi-nm").arg("-u").arg(&all))?;
    let foreign: Vec<&str> = undefined
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .filter(|name| !name.starts_with("__aeabi_") && !FREESTANDING.contains(name))
        .collect();
    if !foreign.is_empty() {
        return Err(format!(
            "the runtime calls from outside: {}",
            foreign.join(", ")
        ));
    }
    let mut bytes = 0;
    for line in said(Command::new("arm-none-eabi-size").arg("-A").arg(&all))?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, count, _] = words[..] else {
            continue;
        };
        let Ok(count) = count.parse::<u64>() else {
            continue;
        };
        let is_state = [".data", ".bss", ".init_array", ".ctors"];
        if count > 0 && is_state.iter().any(|state| name.starts_with(state)) {
            return Err(format!("the runtime has {count} bytes of {name}"));
        }
        if name.starts_with(".text") || name.starts_with(".rodata") {
            bytes += count;
        }
    }
    println!(
        "Cortex-M4, DSP: {} files without a warning, {bytes} bytes of code and tables, nothing from outside, no state",
        objects.len()
    );
    Ok(())
}

/// What a program prints.
pub(crate) fn said(command: &mut Command) -> Result<String, String> {
    let output = command
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads the runtime and its check with `cppcheck`.
pub(crate) fn cppcheck() -> Answer {
    if lacks("cppcheck")? {
        return Ok(());
    }
    run(Command::new("cppcheck").args([
        "--quiet",
        "-ic/check/board",
        "--std=c99",
        "--enable=warning,style,performance,portability",
        "--inline-suppr",
        "--error-exitcode=1",
        "-D__GNUC__",
        "c/src",
        "c/check",
    ]))?;
    println!("cppcheck: nothing found");
    Ok(())
}
