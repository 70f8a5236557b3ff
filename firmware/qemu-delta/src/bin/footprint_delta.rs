//! The least program that makes a new image: its flash, less that of `footprint_none`, is the decoder's.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use qemu_delta::{DeltaFile, PIECE_BYTES_MAX};
use qemu_machine::{memory, slot};
use tinyops_wire::delta::Decoder;

#[entry]
fn main() -> ! {
    if let Some(file) = DeltaFile::parse(slot::loaded())
        && let Some(piece) = memory::take(PIECE_BYTES_MAX)
    {
        let mut decoder = Decoder::IDLE;
        let _ = decoder.begin(file.delta, [0; 8]);
        while let Ok(count) = decoder.fill(file.delta, file.base, piece) {
            if count < piece.len() {
                break;
            }
        }
    }
    qemu_machine::stop()
}
