//! Builds the emulated machines' programs with the linker held to one board's memory.

use crate::EmulateError;
use crate::machine::{Machine, Region, Uart};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tinyops_compile::{Board, REGIONS_MAX};

/// Where Debian's packages put the compiler that can build `core` from source.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/src/rust/library/core";

/// How `core` for a target is had on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// rustup has the target installed.
    Installed,
    /// Debian's `rustc-web`, `cargo-web` and `rust-web-src` build `core` from source.
    BuildStd,
}

impl Toolchain {
    /// Finds a toolchain for a machine's target.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] when neither is there.
    pub fn find(machine: &Machine) -> Result<Self, EmulateError> {
        let target = machine.target;
        if installed_target(target).is_some_and(|folder| folder.is_dir()) {
            return Ok(Self::Installed);
        }
        let parts = [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_CORE];
        if parts.iter().all(|part| Path::new(part).exists()) {
            return Ok(Self::BuildStd);
        }
        Err(EmulateError::Missing {
            what: format!("the Rust target {target}"),
            remedy: "`rustup target add` it, or `apt-get install rustc-web cargo-web rust-web-src`",
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
    /// Bytes that each piece of RAM leaves to an arena, in the order of a plan's regions, 0 for one
    /// that is not there. [`Memory::ram_bytes`] say what the one of [`MAIN_PIECE`] has.
    pub pieces: [u32; REGIONS_MAX],
}

/// Stands for the piece of RAM that data and stack lie in too.
pub const MAIN_PIECE: u32 = u32::MAX;
/// All RAM in one piece.
pub const ONE_PIECE: [u32; REGIONS_MAX] = {
    let mut pieces = [0; REGIONS_MAX];
    pieces[0] = MAIN_PIECE;
    pieces
};

impl Memory {
    /// What a board leaves to TinyOps and its models.
    #[must_use]
    pub fn of(board: &Board) -> Memory {
        let mut pieces = [0; REGIONS_MAX];
        for (bytes, piece) in pieces.iter_mut().zip(board.ram_pieces()) {
            *bytes = match std::ptr::eq(piece, &board.ram) {
                true => MAIN_PIECE,
                false => piece.free_bytes(),
            };
        }
        Memory {
            flash_bytes: board.flash.application_bytes(),
            ram_bytes: board.ram.application_bytes(),
            pieces,
        }
    }
}

impl Memory {
    /// The bytes of each piece, as the build script of `firmware/qemu-machine` reads them.
    fn pieces_text(&self) -> String {
        self.pieces.map(|bytes| bytes.to_string()).join(" ")
    }
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
        if !source.join("qemu-smoke/Cargo.toml").is_file() {
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

    /// Builds one program for a machine with a board's memory; answers with its path.
    ///
    /// `package` holds cargo's arguments that choose it, `name` is the program's.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] without a toolchain, [`EmulateError::Build`] when it does not
    /// compile or does not fit.
    pub(crate) fn build(
        &self,
        machine: &Machine,
        memory: Memory,
        package: &[&str],
        name: &str,
    ) -> Result<PathBuf, EmulateError> {
        let toolchain = Toolchain::find(machine)?;
        let folder = (self.builds).join(format!("{}-{}", machine.target, machine.target_cpu));
        std::fs::create_dir_all(&folder).map_err(EmulateError::io(format!(
            "cannot make {}",
            folder.display()
        )))?;
        // From the build to the copy, since another board's build overwrites the program.
        let lock = folder.join("lock");
        let lock = File::create(&lock)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(EmulateError::io(format!("cannot lock {}", lock.display())))?;
        let opt_level = format!(
            "profile.release.package.tinyops-nn.opt-level={}",
            machine.opt_level
        );
        let output = command(&toolchain, machine)?
            .args(["build", "--release", "--target", machine.target])
            .args(["--config", &opt_level])
            .args(package)
            .args(["--features", &machine.features.join(",")])
            .current_dir(&self.source)
            .env("CARGO_TARGET_DIR", &folder)
            .envs(variables(machine, memory))
            .stdin(Stdio::null())
            .output()
            .map_err(EmulateError::io("cannot start cargo"))?;
        if !output.status.success() {
            return Err(EmulateError::Build {
                flash_bytes: memory.flash_bytes,
                ram_bytes: memory.ram_bytes,
                log: last_lines(&String::from_utf8_lossy(&output.stderr), 20),
            });
        }
        let built = folder.join(machine.target).join("release").join(name);
        let mut kept = format!(
            "{name}-{}-{}-{}",
            machine.id, memory.flash_bytes, memory.ram_bytes
        );
        if memory.pieces != ONE_PIECE {
            kept += &format!("-{}", memory.pieces_text().replace(' ', "-"));
        }
        let kept = folder.join(kept);
        std::fs::copy(&built, &kept)
            .map_err(EmulateError::io(format!("cannot copy {}", built.display())))?;
        drop(lock);
        Ok(kept)
    }
}

/// What the build script of `firmware/qemu-machine` asks for. A board may leave more than a machine has.
fn variables(machine: &Machine, memory: Memory) -> Vec<(&'static str, String)> {
    let Region { origin, bytes } = machine.loaded;
    let (chip, address) = match machine.uart {
        Uart::Cmsdk(address) => ("cmsdk", address),
        Uart::Nrf51(address) => ("nrf51", address),
    };
    let numbers = [
        ("TINYOPS_FLASH_ORIGIN", machine.flash.origin),
        (
            "TINYOPS_FLASH_BYTES",
            memory.flash_bytes.min(machine.flash.bytes),
        ),
        ("TINYOPS_RAM_ORIGIN", machine.ram.origin),
        ("TINYOPS_RAM_BYTES", memory.ram_bytes.min(machine.ram.bytes)),
        ("TINYOPS_MORE_RAM_ORIGIN", machine.more_ram.origin),
        ("TINYOPS_MORE_RAM_BYTES", machine.more_ram.bytes),
        ("TINYOPS_LOADED_ORIGIN", origin),
        ("TINYOPS_LOADED_BYTES", bytes),
        ("TINYOPS_UART_ADDRESS", address),
    ];
    let numbers = numbers.map(|(name, number)| (name, number.to_string()));
    numbers
        .into_iter()
        .chain([
            ("TINYOPS_CHIP", chip.to_owned()),
            ("TINYOPS_PIECES", memory.pieces_text()),
        ])
        .collect()
}

/// Cargo, set up as for a machine's programs: for firmware of a board with that core, whose linker script is `link.x`.
///
/// # Errors
/// [`EmulateError::Missing`] without a toolchain.
pub fn cargo(machine: &Machine) -> Result<Command, EmulateError> {
    command(&Toolchain::find(machine)?, machine)
}

/// Cargo, set up so that it links for the target with the linker that rustup brings.
fn command(toolchain: &Toolchain, machine: &Machine) -> Result<Command, EmulateError> {
    let mut flags = OsString::from("-C link-arg=-Tlink.x -C target-cpu=");
    flags.push(machine.target_cpu);
    let mut command = match toolchain {
        Toolchain::Installed => Command::new("cargo"),
        Toolchain::BuildStd => {
            let mut command = Command::new(DEBIAN_CARGO);
            command
                .env("RUSTC", DEBIAN_RUSTC)
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
    // Kernels are chosen by `cfg(target_feature)`, which a stable compiler tells of stable features alone.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags);
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

fn installed_target(target: &str) -> Option<PathBuf> {
    Some(sysroot()?.join("lib/rustlib").join(target))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
