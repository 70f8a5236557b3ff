//! The agent's region of the internal flash, by the controller of the nRF52840 (NVMC).

use core::ops::Range;

use embassy_nrf::nvmc::{Error, Nvmc, PAGE_SIZE};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use tinyops_device::flash::Flash;

/// Where the region begins, and its bytes: `memory.x`.
const START: usize = 0x0010_0000 - BYTES;
const BYTES: usize = 288 * 1024;
/// What is written at once.
const WORD_BYTES: usize = 4;

/// The region.
pub struct Region(pub Nvmc<'static>);

impl ErrorType for Region {
    type Error = Error;
}

impl ReadNorFlash for Region {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        self.0.read(START as u32 + offset, bytes)
    }

    fn capacity(&self) -> usize {
        BYTES
    }
}

impl NorFlash for Region {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = PAGE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        self.0.erase(START as u32 + from, START as u32 + to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        self.0.write(START as u32 + offset, bytes)
    }
}

impl Flash for Region {
    #[expect(unsafe_code, reason = "flash is read where it lies")]
    fn mapped(&self, range: Range<usize>) -> Option<&[u8]> {
        if range.start > range.end || range.end > BYTES {
            return None;
        }
        let start = (START + range.start) as *const u8;
        // SAFETY: the range lies in flash that the linker gives to nothing else (`memory.x`), is always readable, and changes
        // only by `erase` and `write`, which need this region mutably while the slice borrows it.
        Some(unsafe { core::slice::from_raw_parts(start, range.len()) })
    }
}
