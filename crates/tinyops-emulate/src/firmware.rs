//! Builds the emulated board's firmware with the linker held to one board's memory.

use crate::EmulateError;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of every Cortex-M4F board.
const TARGET: &str = "thumbv7em-none-eabihf";

/// Where Debian's packages put the compiler that can build `core` from source.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/src/rust/library/core";

/// How `core` for the target is had on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// rustup has the target installed.
    Installed,
    /// Debian's `rustc-web`, `cargo-web` and `rust-web-src` build `core` from source.
    BuildStd,
}

impl Toolchain {
    /// Finds a toolchain for the emulated board.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] when neither is there.
    pub fn find() -> Result<Self, EmulateError> {
        if installed_target().is_some_and(|folder| folder.is_dir()) {
            return Ok(Self::Installed);
        }
        let parts = [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_CORE];
        if parts.iter().all(|part| Path::new(part).exists()) {
            return Ok(Self::BuildStd);
        }
        Err(EmulateError::Missing {
            what: format!("the Rust target {TARGET}"),
            remedy: "`rustup target add thumbv7em-none-eabihf`, or `apt-get install rustc-web cargo-web rust-web-src`",
        })
    }
}

/// The memory that a board leaves to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Flash for code and constants, in bytes.
    pub flash_bytes: u32,
    /// RAM for data, arena and stack, in bytes.
    pub ram_bytes: u32,
}

/// The firmware's source, and where its builds go.
#[derive(Debug, Clone)]
pub struct Firmware {
    source: PathBuf,
    builds: PathBuf,
}

impl Firmware {
    /// The firmware workspace at `source`, building into `builds`.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] when there is no such workspace.
    pub fn at(
        source: impl Into<PathBuf>,
        builds: impl Into<PathBuf>,
    ) -> Result<Self, EmulateError> {
        let source = source.into();
        if !source.join("qemu-mps2/Cargo.toml").is_file() {
            return Err(EmulateError::Missing {
                what: format!("the firmware's source ({})", source.display()),
                remedy: "run from a checkout of TinyOps, or point TINYOPS_FIRMWARE at its `firmware` folder",
            });
        }
        Ok(Self {
            source,
            builds: builds.into(),
        })
    }

    /// The firmware of the checkout that this program was built from, or of `$TINYOPS_FIRMWARE`.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] when neither is there.
    pub fn find() -> Result<Self, EmulateError> {
        let source = std::env::var_os("TINYOPS_FIRMWARE").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware"),
            PathBuf::from,
        );
        let builds = source.join("target");
        Self::at(source, builds)
    }

    /// Builds the firmware for one board's memory and answers with the program's path.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] without a toolchain, [`EmulateError::Build`] when it does not
    /// compile or does not fit.
    pub fn build(&self, memory: Memory) -> Result<PathBuf, EmulateError> {
        let built = self
            .build_package(&["qemu-mps2"], memory)?
            .join("qemu-mps2");
        // The next board's build overwrites the program, so each board keeps its own copy.
        let kept = self.builds.join(format!(
            "qemu-mps2-{}-{}",
            memory.flash_bytes, memory.ram_bytes
        ));
        std::fs::copy(&built, &kept)
            .map_err(EmulateError::io(format!("cannot copy {}", built.display())))?;
        Ok(kept)
    }

    /// Builds one package of the firmware workspace, given with cargo's further arguments; answers
    /// with the folder of its programs.
    pub(crate) fn build_package(
        &self,
        package: &[&str],
        memory: Memory,
    ) -> Result<PathBuf, EmulateError> {
        let toolchain = Toolchain::find()?;
        std::fs::create_dir_all(&self.builds).map_err(EmulateError::io(format!(
            "cannot make {}",
            self.builds.display()
        )))?;
        let mut command = command(&toolchain)?;
        command
            .args(["build", "--release", "--package"])
            .args(package)
            .args(["--target", TARGET])
            .current_dir(&self.source)
            .env("CARGO_TARGET_DIR", &self.builds)
            .env("TINYOPS_FLASH_BYTES", memory.flash_bytes.to_string())
            .env("TINYOPS_RAM_BYTES", memory.ram_bytes.to_string())
            .stdin(Stdio::null());
        let output = command
            .output()
            .map_err(EmulateError::io("cannot start cargo"))?;
        if !output.status.success() {
            return Err(EmulateError::Build {
                flash_bytes: memory.flash_bytes,
                ram_bytes: memory.ram_bytes,
                log: last_lines(&String::from_utf8_lossy(&output.stderr), 20),
            });
        }
        Ok(self.builds.join(TARGET).join("release"))
    }
}

/// Cargo, set up so that it links for the target with the linker that rustup brings.
fn command(toolchain: &Toolchain) -> Result<Command, EmulateError> {
    let mut flags = OsString::from("-C link-arg=-Tlink.x -C target-cpu=cortex-m4");
    let mut command = match toolchain {
        Toolchain::Installed => Command::new("cargo"),
        Toolchain::BuildStd => {
            let mut command = Command::new(DEBIAN_CARGO);
            command
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .args(["-Z", "build-std=core"]);
            let (linker, flavor) = linker()?;
            flags.push(" -C linker-flavor=");
            flags.push(flavor);
            flags.push(" -C linker=");
            flags.push(linker);
            command
        }
    };
    // A calling cargo's own settings (its rustc, its flags) must not leak into this build.
    for name in [
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "CARGO",
    ] {
        command.env_remove(name);
    }
    command.env("RUSTFLAGS", flags);
    Ok(command)
}

/// `rust-lld` of the rustup toolchain, else the Arm GCC as linker.
fn linker() -> Result<(PathBuf, &'static str), EmulateError> {
    if let Some(root) = sysroot() {
        for host in std::fs::read_dir(root.join("lib/rustlib"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let lld = host.path().join("bin/rust-lld");
            if lld.is_file() {
                return Ok((lld, "ld.lld"));
            }
        }
    }
    for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        let ld = folder.join("arm-none-eabi-ld");
        if ld.is_file() {
            return Ok((ld, "ld"));
        }
    }
    Err(EmulateError::Missing {
        what: "a linker for Cortex-M".to_owned(),
        remedy: "`apt-get install gcc-arm-none-eabi`",
    })
}

fn sysroot() -> Option<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

fn installed_target() -> Option<PathBuf> {
    Some(sysroot()?.join("lib/rustlib").join(TARGET))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
