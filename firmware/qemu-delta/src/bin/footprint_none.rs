//! `footprint_delta` without the decoder: start-up, the loaded file, and memory for a piece.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use qemu_delta::{DeltaFile, PIECE_BYTES_MAX};
use qemu_machine::{memory, slot};

#[entry]
fn main() -> ! {
    if let Some(file) = DeltaFile::parse(slot::loaded())
        && let Some(piece) = memory::take(PIECE_BYTES_MAX)
    {
        // Any firmware copies and fills bytes.
        let (copied, filled) = piece.split_at_mut(file.piece_bytes);
        filled.fill(file.delta.len() as u8);
        if let Some(base) = file.base.get(..copied.len()) {
            copied.copy_from_slice(base);
        }
    }
    qemu_machine::stop()
}
