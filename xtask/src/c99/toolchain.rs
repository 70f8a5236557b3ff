//! Compilers and what runs their programs on this host.

use crate::c99::folder;
use crate::steps::{Answer, run};
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
        id: "x86-64, gcc",
        compiler: "gcc",
        flags: &["-O2"],
        runner: &[],
    },
    // Single precision in single precision: the old unit of this processor keeps more.
    Host {
        id: "x86, 32 bits",
        compiler: "i686-linux-gnu-gcc",
        flags: &["-O2", "-msse2", "-mfpmath=sse", "-static"],
        runner: &[],
    },
    Host {
        id: "s390x, big-endian",
        compiler: "s390x-linux-gnu-gcc",
        flags: &["-O2", "-static"],
        runner: &["qemu-s390x"],
    },
];

impl Host {
    /// What this host lacks to build and run the check.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        let needed = [self.compiler]
            .into_iter()
            .chain(self.runner.first().copied());
        needed.into_iter().find(|program| !answers(program))
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

/// Whether a program is here and tells its version.
pub(crate) fn answers(program: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

/// Compiles every file with every compiler here, as C99 and as C++11, with every warning an error.
pub(crate) fn warnings(sources: &[PathBuf]) -> Answer {
    let languages: [(&str, &[&str]); 4] = [
        ("gcc", &["-std=c99"]),
        ("clang", &["-std=c99"]),
        ("g++", &["-x", "c++", "-std=c++11"]),
        ("clang++", &["-x", "c++", "-std=c++11"]),
    ];
    let folder = folder()?;
    for (compiler, language) in languages {
        if !answers(compiler) {
            println!("{compiler}: skipped, it is missing");
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

/// Reads the runtime and its check with `cppcheck`.
pub(crate) fn cppcheck() -> Answer {
    if !answers("cppcheck") {
        println!("cppcheck: skipped, it is missing");
        return Ok(());
    }
    run(Command::new("cppcheck").args([
        "--quiet",
        "--std=c99",
        "--enable=warning,style,performance,portability",
        "--inline-suppr",
        "--error-exitcode=1",
        "-D__GNUC__",
        "c/src",
        "c/check/host.c",
        "c/check/cases.c",
    ]))?;
    println!("cppcheck: nothing found");
    Ok(())
}
