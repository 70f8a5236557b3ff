//! Counts what a plan takes on the emulated board: instructions, arena, stack, flash.
//!
//! The firmware is `firmware/qemu-bench`: kernels and executor alone, no capsule, no agent.

use crate::machine::{self, PAYLOAD_BYTES_MAX};
use crate::{EmulateError, Firmware, Memory};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Instructions of the firmware's loop of known length.
const CALIBRATION_INSTRUCTIONS: u64 = 4_000_000;

/// The programs that measure, built.
#[derive(Debug, Clone)]
pub struct Bench {
    program: PathBuf,
    flash_bytes: u32,
}

/// A plan and what it shall be run on.
#[derive(Debug, Clone, Copy)]
pub struct RunFile<'a> {
    /// The compiled program.
    pub plan: &'a [u8],
    /// Input and expected output of each case.
    pub cases: &'a [(Vec<u8>, Vec<u8>)],
}

/// What one plan took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measured {
    /// Instructions of `Plan::load`, to within one tick of the timer, which is 40.
    pub load_instructions: u64,
    /// Instructions of each case's run, likewise.
    pub run_instructions: Vec<u64>,
    /// Output elements of each case that are not the expected ones.
    pub wrong: Vec<u32>,
    /// Bytes of the arena.
    pub arena_bytes: u32,
    /// The deepest stack, with that of the measuring program.
    pub stack_bytes: u32,
}

impl Bench {
    /// Builds the programs.
    ///
    /// # Errors
    /// As [`Firmware::build`].
    pub fn build(firmware: &Firmware) -> Result<Bench, EmulateError> {
        // Code below the file at 2 MiB, and as much RAM as the largest of the boards has.
        let memory = Memory {
            flash_bytes: 0x0020_0000,
            ram_bytes: 512 * 1024,
        };
        firmware.build_package(&["qemu-bench", "--bin", "bench"], memory)?;
        let least = ["qemu-bench", "--bin", "footprint", "--bin", "empty"];
        let least = [&least[..], &["--no-default-features"]].concat();
        let programs = firmware.build_package(&least, memory)?;
        let flash = |name: &str| loaded_bytes(&programs.join(name));
        Ok(Bench {
            flash_bytes: flash("footprint")?.saturating_sub(flash("empty")?),
            program: programs.join("bench"),
        })
    }

    /// Flash of the least program that loads and runs a plan, less that of an empty program.
    #[must_use]
    pub fn runtime_flash_bytes(&self) -> u32 {
        self.flash_bytes
    }

    /// Runs every case of a plan on the emulated Cortex-M4F.
    ///
    /// # Errors
    /// [`EmulateError`]: no figures came out. A wrong output is a figure.
    pub fn run(&self, file: &RunFile<'_>) -> Result<Measured, EmulateError> {
        let bytes = file.to_bytes();
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(EmulateError::Refused {
                reason: format!("{} bytes do not fit the emulated flash", bytes.len()),
            });
        }
        let mut flash = tempfile::Builder::new()
            .prefix("tinyops-bench-")
            .tempfile()
            .map_err(EmulateError::io("cannot make a temporary file"))?;
        flash
            .write_all(&bytes)
            .map_err(EmulateError::io("cannot write the plan for the emulator"))?;
        Measured::parse(&machine::run(&self.program, flash.path())?)
    }
}

impl RunFile<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let counts = [self.plan.len(), self.cases.len(), 0, 0];
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

    fn parse(text: &str) -> Result<Measured, EmulateError> {
        let fault = |reason: &str| EmulateError::Report {
            reason: reason.to_owned(),
            output: text.to_owned(),
        };
        let mut measured = Measured::default();
        let mut ticks = None;
        for line in text.lines() {
            let Some((name, number)) = line.split_once(' ') else {
                return Err(fault(line));
            };
            let number: u32 = number.trim().parse().map_err(|_| fault(line))?;
            let instructions = || match ticks {
                Some(ticks) => Ok(u64::from(number) * CALIBRATION_INSTRUCTIONS / ticks),
                None => Err(fault("no calibration")),
            };
            match name {
                "calibration" if number > 0 => ticks = Some(u64::from(number)),
                "load" => measured.load_instructions = instructions()?,
                "run" => measured.run_instructions.push(instructions()?),
                "wrong" => measured.wrong.push(number),
                "arena" => measured.arena_bytes = number,
                "stack" => measured.stack_bytes = number,
                "end" => return Ok(measured),
                _ => return Err(fault(line)),
            }
        }
        Err(fault("no end"))
    }
}

/// The bytes of an ELF program that go into memory from its file: code, constants, data.
fn loaded_bytes(program: &Path) -> Result<u32, EmulateError> {
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
    fn ticks_become_instructions_by_the_loop_of_known_length() {
        let text = "calibration 100000\nload 10\narena 768\nrun 1000\nwrong 0\nrun 1001\nwrong 2\nstack 900\nend 0\n";
        let measured = Measured::parse(text).unwrap();
        assert_eq!(measured.load_instructions, 400);
        assert_eq!(measured.instructions_max(), 40_040);
        assert_eq!(measured.arena_bytes, 768);
        assert!(!measured.is_exact());
    }

    #[test]
    fn a_report_that_stops_is_an_error() {
        for text in ["", "load 4\nend 0\n", "calibration 5\n", "noise\n"] {
            let error = Measured::parse(text).unwrap_err();
            assert!(matches!(error, EmulateError::Report { .. }), "{text}");
        }
    }
}
