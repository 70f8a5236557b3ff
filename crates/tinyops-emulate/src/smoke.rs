//! The smoke test: one capsule payload, one board's memory, one verdict.

use crate::{EmulateError, Firmware, Machine, Memory, Smoke, qemu};
use std::io::Write;
use std::time::Duration;

/// How long a smoke test may take: a slow host runs some 50 M emulated instructions a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a capsule's golden vectors on a machine with `memory` given to the linker.
///
/// The firmware carries the same crates as a device and reads `payload` in place from flash.
///
/// # Errors
/// [`EmulateError`]: no verdict came out. A wrong output is a verdict, see [`Smoke::passed`].
pub fn smoke(
    firmware: &Firmware,
    machine: &Machine,
    payload: &[u8],
    memory: Memory,
) -> Result<Smoke, EmulateError> {
    let most = machine.loaded.bytes as usize - 4;
    if payload.len() > most {
        return Err(EmulateError::TooSmall {
            memory: "flash".to_owned(),
            needed_bytes: payload.len() as u64,
        });
    }
    let program = firmware.build(machine, memory, &["--package", "qemu-smoke"], "qemu-smoke")?;
    let mut file = tempfile::Builder::new()
        .prefix("tinyops-smoke-")
        .tempfile()
        .map_err(EmulateError::io("cannot make a temporary file"))?;
    let length = u32::try_from(payload.len()).expect("what a machine has room for fits u32");
    file.write_all(&length.to_le_bytes())
        .and_then(|()| file.write_all(payload))
        .map_err(EmulateError::io(
            "cannot write the payload for the emulator",
        ))?;
    Smoke::parse(&qemu::run(machine, &program, file.path(), PATIENCE)?)
}
