//! Counts what a plan takes on an emulated machine: instructions, arena, stack, flash.
//!
//! The firmware is `firmware/qemu-bench`: kernels and executor alone, no capsule, no agent.

use crate::firmware::ONE_PIECE;
use crate::qemu::{self, Given};
use crate::{EmulateError, Firmware, Machine, Memory, report};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long all cases of a plan may take: a slow host runs some 50 M emulated instructions a second.
const PATIENCE: Duration = Duration::from_secs(600);

/// The program that measures, built for a machine.
#[derive(Debug, Clone)]
pub struct Bench {
    program: PathBuf,
    machine: &'static Machine,
}

/// A plan and what it shall be run on.
#[derive(Debug, Clone, Copy)]
pub struct RunFile<'a> {
    /// The compiled program.
    pub plan: &'a [u8],
    /// Input and expected output of each case.
    pub cases: &'a [(Vec<u8>, Vec<u8>)],
    /// Each case goes on where the one before ended: for networks that remember.
    pub is_stream: bool,
}

/// What one plan took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measured {
    /// Instructions of `Plan::load`, to within one tick of the timer, which is 31 to 63 of them.
    pub load_instructions: u64,
    /// Instructions of each case's run, likewise.
    pub run_instructions: Vec<u64>,
    /// Output elements of each case that are not the expected ones.
    pub wrong: Vec<u32>,
    /// Bytes of the arena, as the plan claims.
    pub arena_bytes: u32,
    /// Bytes of it up to the last that the runs wrote.
    pub touched_bytes: u32,
    /// The deepest stack of the runs, below that of their caller.
    pub stack_bytes: u32,
}

impl Bench {
    /// Builds the program for a machine, with all the memory that it has.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] without a toolchain, [`EmulateError::Build`] when it does not compile.
    pub fn build(firmware: &Firmware, machine: &'static Machine) -> Result<Bench, EmulateError> {
        let package = ["--package", "qemu-bench", "--bin", "bench"];
        let program = firmware.build(machine, all_of(machine), &package, "bench")?;
        Ok(Bench { program, machine })
    }

    /// The machine that it runs on.
    #[must_use]
    pub fn machine(&self) -> &'static Machine {
        self.machine
    }

    /// Runs every case of a plan.
    ///
    /// # Errors
    /// [`EmulateError`]: no figures came out; [`EmulateError::TooSmall`] when the machine is. A
    /// wrong output is a figure.
    pub fn run(&self, file: &RunFile<'_>) -> Result<Measured, EmulateError> {
        Measured::parse(&run_loaded(&self.program, self.machine, file)?)
    }
}

/// Boots a program with a plan and its cases in memory; answers with what it printed.
pub(crate) fn run_loaded(
    program: &Path,
    machine: &Machine,
    file: &RunFile<'_>,
) -> Result<String, EmulateError> {
    load(program, machine, &file.to_bytes())
}

/// Boots a program with a file in memory; answers with what it printed.
pub(crate) fn load(
    program: &Path,
    machine: &Machine,
    bytes: &[u8],
) -> Result<String, EmulateError> {
    if bytes.len() > machine.loaded.bytes as usize {
        return Err(EmulateError::TooSmall {
            memory: "flash".to_owned(),
            needed_bytes: bytes.len() as u64,
        });
    }
    let mut loaded = tempfile::Builder::new()
        .prefix("tinyops-bench-")
        .tempfile()
        .map_err(EmulateError::io("cannot make a temporary file"))?;
    loaded
        .write_all(bytes)
        .map_err(EmulateError::io("cannot write the file for the emulator"))?;
    qemu::run(machine, program, Given::Loaded(loaded.path()), PATIENCE)
}

/// Flash of the least program that loads and runs a plan, less that of an empty program, in bytes.
///
/// # Errors
/// As [`Bench::build`].
pub fn runtime_flash_bytes(firmware: &Firmware, machine: &Machine) -> Result<u32, EmulateError> {
    let flash = |name: &str| {
        let package = [
            "--package",
            "qemu-bench",
            "--no-default-features",
            "--bin",
            name,
        ];
        loaded_bytes(&firmware.build(machine, all_of(machine), &package, name)?)
    };
    Ok(flash("footprint")?.saturating_sub(flash("empty")?))
}

/// All the memory that a machine has.
pub(crate) fn all_of(machine: &Machine) -> Memory {
    Memory {
        flash_bytes: machine.flash.bytes,
        ram_bytes: machine.ram.bytes,
        pieces: ONE_PIECE,
    }
}

impl RunFile<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let counts = [
            self.plan.len(),
            self.cases.len(),
            usize::from(self.is_stream),
            0,
        ];
        let mut bytes: Vec<u8> = counts
            .into_iter()
            .flat_map(|count| (count as u32).to_le_bytes())
            .collect();
        bytes.extend(self.plan);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        for (input, output) in self.cases {
            bytes.extend(input);
            bytes.extend(output);
        }
        bytes
    }
}

impl Measured {
    /// The most instructions of a case.
    #[must_use]
    pub fn instructions_max(&self) -> u64 {
        self.run_instructions.iter().copied().max().unwrap_or(0)
    }

    /// Whether every output of every case is the expected one.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.wrong.iter().all(|&wrong| wrong == 0)
    }

    fn parse(output: &str) -> Result<Measured, EmulateError> {
        let mut measured = Measured::default();
        report::lines(output, "tinyops-bench 1", |words| {
            let [name, number] = words else { return None };
            let number: u64 = number.parse().ok()?;
            let bytes = u32::try_from(number).ok();
            match *name {
                "load" => measured.load_instructions = number,
                "run" => measured.run_instructions.push(number),
                "wrong" => measured.wrong.push(bytes?),
                "arena" => measured.arena_bytes = bytes?,
                "touched" => measured.touched_bytes = bytes?,
                "stack" => measured.stack_bytes = bytes?,
                _ => return None,
            }
            Some(())
        })?;
        Ok(measured)
    }
}

/// The bytes of an ELF program that go into memory from its file: code, constants, data.
pub(crate) fn loaded_bytes(program: &Path) -> Result<u32, EmulateError> {
    let what = || format!("cannot read {}", program.display());
    let bytes = std::fs::read(program).map_err(EmulateError::io(what()))?;
    let truncated = || {
        EmulateError::io(what())(std::io::Error::other(
            "not a 32-bit little-endian ELF program",
        ))
    };
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    // ELF-32: e_phoff at 28, e_phentsize at 42, e_phnum at 44; p_type at 0, p_filesz at 16.
    let sum = || {
        let (table, size, count) = (word(28)?, half(42)?, half(44)?);
        let headers = (0..count).map(|index| table as usize + usize::from(index * size));
        headers
            .map(|at| Some(if word(at)? == 1 { word(at + 16)? } else { 0 }))
            .sum::<Option<u32>>()
    };
    sum().ok_or_else(truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_report_is_read() {
        let text = "tinyops-bench 1\nload 400\narena 768\nrun 40000\nwrong 0\nrun 40040\nwrong 2\ntouched 700\nstack 900\nend\n";
        let measured = Measured::parse(text).unwrap();
        assert_eq!(measured.load_instructions, 400);
        assert_eq!(measured.instructions_max(), 40_040);
        assert_eq!((measured.arena_bytes, measured.touched_bytes), (768, 700));
        assert!(!measured.is_exact());
    }

    #[test]
    fn a_report_that_stops_is_an_error() {
        for text in [
            "",
            "load 4\nend\n",
            "tinyops-bench 1\nload 5\n",
            "tinyops-bench 1\nnoise\nend\n",
        ] {
            let error = Measured::parse(text).unwrap_err();
            assert!(matches!(error, EmulateError::Report { .. }), "{text}");
        }
        let error = Measured::parse("tinyops-bench 1\nrefused too little RAM\n").unwrap_err();
        assert!(matches!(error, EmulateError::Refused { .. }));
    }
}
