//! The file that the emulator loads for the programs that decode deltas.
#![no_std]
#![forbid(unsafe_code)]

/// A delta and its old image.
///
/// ```text
/// delta_bytes u32 · base_bytes u32 · piece_bytes u32 · 4 reserved · delta · base
/// ```
pub struct DeltaFile<'a> {
    /// The delta.
    pub delta: &'a [u8],
    /// The old image.
    pub base: &'a [u8],
    /// Bytes to ask for at a time.
    pub piece_bytes: usize,
}

/// Most bytes to ask for at a time.
pub const PIECE_BYTES_MAX: usize = 4096;

impl<'a> DeltaFile<'a> {
    /// The file, if both lie inside what was loaded.
    pub fn parse(bytes: &'a [u8]) -> Option<DeltaFile<'a>> {
        let (header, rest) = bytes.split_first_chunk::<16>()?;
        let word = |at: usize| {
            usize::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (delta, rest) = rest.split_at_checked(word(0))?;
        Some(DeltaFile {
            delta,
            base: rest.get(..word(4))?,
            piece_bytes: word(8).clamp(1, PIECE_BYTES_MAX),
        })
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    qemu_machine::stop()
}
