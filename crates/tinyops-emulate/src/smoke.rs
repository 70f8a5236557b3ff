//! The smoke test: one capsule payload, one board's memory, one verdict.

use crate::bench::loaded_bytes;
use crate::qemu::{self, Given};
use crate::{EmulateError, Firmware, Machine, Memory, Smoke};
use std::time::Duration;
use tinyops_wire::crc::crc32;

/// How long a smoke test may take: a slow host runs some 50 M emulated instructions a second, and
/// sends some 100 kB of payload.
const PATIENCE: Duration = Duration::from_secs(180);

/// Sends a capsule's payload to a machine with `memory` given to the linker, and has it run the
/// golden vectors.
///
/// The firmware carries the same crates as a device, writes `payload` to flash and reads it in
/// place from there.
///
/// # Errors
/// [`EmulateError`]: no verdict came out. A wrong output is a verdict, see [`Smoke::passed`].
pub fn smoke(
    firmware: &Firmware,
    machine: &Machine,
    payload: &[u8],
    memory: Memory,
) -> Result<Smoke, EmulateError> {
    let program = firmware.build(machine, memory, &["--package", "qemu-smoke"], "qemu-smoke")?;
    let flash_bytes = loaded_bytes(&program)?;
    let needed_bytes = u64::from(flash_bytes) + payload.len() as u64;
    if needed_bytes > u64::from(memory.flash_bytes) {
        return Err(EmulateError::TooSmall {
            memory: "flash".to_owned(),
            needed_bytes,
        });
    }
    let output = qemu::run(machine, &program, Given::Sent(frame(payload)), PATIENCE)?;
    Ok(Smoke {
        flash_bytes,
        ..Smoke::parse(&output)?
    })
}

/// A payload as it goes over the serial port.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("flash holds it, so it fits u32");
    let header = [*b"TOPU", length.to_le_bytes(), crc32(payload).to_le_bytes()];
    [&header.concat(), payload].concat()
}
