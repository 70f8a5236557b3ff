//! The agent's region of the internal flash: by the controller of the nRF52840 (NVMC), or beside the radio (feature `ble`) in
//! the time that the radio leaves (`nrf_mpsl::Flash`), since the chip stands still while its flash is written.

use core::ops::Range;

use embassy_nrf::nvmc::PAGE_SIZE;
use embassy_nrf::{Peri, peripherals};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use tinyops_device::flash::Flash;

#[cfg(feature = "ble")]
use crate::air::{Layer, wait};
#[cfg(not(feature = "ble"))]
use embassy_nrf::nvmc::{Error, Nvmc};
#[cfg(feature = "ble")]
use nrf_mpsl::FlashError as Error;

/// Where the region begins, and its bytes: `memory.x`.
const START: usize = 0x0010_0000 - BYTES;
const BYTES: usize = 288 * 1024;
/// What is written at once.
const WORD_BYTES: usize = 4;

/// The region.
#[cfg(not(feature = "ble"))]
pub struct Region(Nvmc<'static>);

#[cfg(not(feature = "ble"))]
impl Region {
    /// The region of this flash.
    pub fn new(flash: Peri<'static, peripherals::NVMC>) -> Region {
        Region(Nvmc::new(flash))
    }

    fn erase_all(&mut self, from: u32, to: u32) -> Result<(), Error> {
        embedded_storage::nor_flash::NorFlash::erase(&mut self.0, from, to)
    }

    fn write_words(&mut self, at: u32, bytes: &[u8]) -> Result<(), Error> {
        embedded_storage::nor_flash::NorFlash::write(&mut self.0, at, bytes)
    }
}

/// The region, and what shares the chip with the radio.
#[cfg(feature = "ble")]
pub struct Region {
    flash: nrf_mpsl::Flash<'static>,
    layer: Layer,
}

#[cfg(feature = "ble")]
impl Region {
    /// The region of this flash.
    pub fn new(layer: Layer, flash: Peri<'static, peripherals::NVMC>) -> Region {
        Region {
            flash: nrf_mpsl::Flash::take(layer, flash),
            layer,
        }
    }

    fn erase_all(&mut self, from: u32, to: u32) -> Result<(), Error> {
        wait(self.layer, self.flash.erase(from, to))
    }

    fn write_words(&mut self, at: u32, bytes: &[u8]) -> Result<(), Error> {
        wait(self.layer, self.flash.write(at, bytes))
    }
}

impl ErrorType for Region {
    type Error = Error;
}

impl ReadNorFlash for Region {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let from = offset as usize;
        let range = from..from.saturating_add(bytes.len());
        let held = self.mapped(range).ok_or(Error::OutOfBounds)?;
        bytes.copy_from_slice(held);
        Ok(())
    }

    fn capacity(&self) -> usize {
        BYTES
    }
}

impl NorFlash for Region {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = PAGE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        self.erase_all(START as u32 + from, START as u32 + to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        self.write_words(START as u32 + offset, bytes)
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
