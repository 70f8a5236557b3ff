//! Counts what the delta decoder takes on an emulated machine: instructions, state, stack, flash.
//!
//! The firmware is `firmware/qemu-delta`.

use crate::bench::{all_of, load, loaded_bytes};
use crate::{EmulateError, Firmware, Machine, report};
use std::path::PathBuf;

/// The program that decodes, built for a machine.
#[derive(Debug, Clone)]
pub struct DeltaBench {
    program: PathBuf,
    machine: &'static Machine,
}

/// What one delta took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeltaMeasured {
    /// Instructions from the first byte to the last, to within a tick of the timer for each piece.
    pub instructions: u64,
    /// Bytes of the new image.
    pub made_bytes: u32,
    /// Whether the new image is the one that the delta promised.
    pub is_right: bool,
    /// Bytes of the decoder's state.
    pub state_bytes: u32,
    /// The deepest stack, below that of its caller.
    pub stack_bytes: u32,
}

impl DeltaBench {
    /// Builds the program for a machine.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] without a toolchain, [`EmulateError::Build`] when it does not compile.
    pub fn build(
        firmware: &Firmware,
        machine: &'static Machine,
    ) -> Result<DeltaBench, EmulateError> {
        let program = build(firmware, machine, "delta")?;
        Ok(DeltaBench { program, machine })
    }

    /// Makes a new image in pieces of so many bytes, 4,096 at most.
    ///
    /// # Errors
    /// [`EmulateError`]: no figures came out; [`EmulateError::TooSmall`] when the machine is.
    pub fn run(
        &self,
        delta: &[u8],
        base: &[u8],
        piece_bytes: u32,
    ) -> Result<DeltaMeasured, EmulateError> {
        let counts = [delta.len() as u32, base.len() as u32, piece_bytes, 0];
        let mut bytes: Vec<u8> = counts.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.extend(delta);
        bytes.extend(base);
        DeltaMeasured::parse(&load(&self.program, self.machine, &bytes)?)
    }
}

/// Flash of the decoder: of the least program with it, less that of one without, in bytes.
///
/// # Errors
/// As [`DeltaBench::build`].
pub fn delta_flash_bytes(
    firmware: &Firmware,
    machine: &'static Machine,
) -> Result<u32, EmulateError> {
    let flash = |name: &str| loaded_bytes(&build(firmware, machine, name)?);
    Ok(flash("footprint_delta")?.saturating_sub(flash("footprint_none")?))
}

fn build(
    firmware: &Firmware,
    machine: &'static Machine,
    name: &str,
) -> Result<PathBuf, EmulateError> {
    let package = ["--package", "qemu-delta", "--bin", name];
    firmware.build(machine, all_of(machine), &package, name)
}

impl DeltaMeasured {
    fn parse(output: &str) -> Result<DeltaMeasured, EmulateError> {
        let mut measured = DeltaMeasured::default();
        report::lines(output, "tinyops-delta 1", |words| {
            let [name, number] = words else { return None };
            let number: u64 = number.parse().ok()?;
            let bytes = u32::try_from(number).ok();
            match *name {
                "instructions" => measured.instructions = number,
                "made" => measured.made_bytes = bytes?,
                "right" => measured.is_right = number == 1,
                "state" => measured.state_bytes = bytes?,
                "stack" => measured.stack_bytes = bytes?,
                _ => return None,
            }
            Some(())
        })?;
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_report_is_read_and_half_of_one_is_not() {
        let text =
            "tinyops-delta 1\ninstructions 9000\nmade 700\nright 1\nstate 900\nstack 80\nend\n";
        let measured = DeltaMeasured::parse(text).unwrap();
        assert_eq!((measured.instructions, measured.made_bytes), (9000, 700));
        assert!(measured.is_right);
        assert!(DeltaMeasured::parse(&text[..40]).is_err());
    }
}
