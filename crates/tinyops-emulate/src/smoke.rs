//! The smoke test: one capsule payload, one board's memory, one verdict.

use crate::machine::{self, PAYLOAD_BYTES_MAX};
use crate::{EmulateError, Firmware, Memory, Smoke};
use std::io::Write;

/// Runs a capsule's golden vectors on the emulated Cortex-M4F with `memory` given to the linker.
///
/// The firmware carries the same crates as a device and reads `payload` in place from flash.
///
/// # Errors
/// [`EmulateError`]: no verdict came out. A wrong output is a verdict, see [`Smoke::passed`].
pub fn smoke(firmware: &Firmware, payload: &[u8], memory: Memory) -> Result<Smoke, EmulateError> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(EmulateError::Refused {
            reason: format!(
                "{} bytes do not fit the emulated flash ({PAYLOAD_BYTES_MAX})",
                payload.len()
            ),
        });
    }
    let program = firmware.build(memory)?;
    let mut file = tempfile::Builder::new()
        .prefix("tinyops-smoke-")
        .tempfile()
        .map_err(EmulateError::io("cannot make a temporary file"))?;
    let length = u32::try_from(payload.len()).expect("PAYLOAD_BYTES_MAX fits u32");
    file.write_all(&length.to_le_bytes())
        .and_then(|()| file.write_all(payload))
        .map_err(EmulateError::io(
            "cannot write the payload for the emulator",
        ))?;
    Smoke::parse(&machine::run(&program, file.path())?)
}
