//! Flash beside the program, for what comes from outside: put there by the emulator's loader, or written here.

use crate::chip;

/// What is erased at once: a page of the nRF51.
const PAGE_BYTES: usize = 1024;

/// What the emulator's loader put there; what lies behind it is whatever the machine starts with.
pub fn loaded() -> &'static [u8] {
    // SAFETY: the machine has memory there, beside flash and RAM of the program. A `Slot` writes it, and gives it out
    // only when it is done; no program uses both.
    unsafe { core::slice::from_raw_parts(chip::LOADED as *const u8, chip::LOADED_BYTES) }
}

/// The place while it is written, from its start on.
pub struct Slot {
    written: usize,
}

impl Slot {
    /// The place, to be erased page after page; `None` when it was taken before.
    pub fn take() -> Option<Slot> {
        static mut TAKEN: bool = false;
        // SAFETY: one core, no interrupts.
        unsafe {
            if TAKEN {
                return None;
            }
            TAKEN = true;
        }
        Some(Slot { written: 0 })
    }

    /// Bytes that there is room for.
    pub fn capacity(&self) -> usize {
        chip::LOADED_BYTES
    }

    /// Writes the next word; `None` when the place is full.
    pub fn push(&mut self, word: [u8; 4]) -> Option<()> {
        if self.written + 4 > self.capacity() {
            return None;
        }
        let address = chip::LOADED + self.written;
        // SAFETY: inside the place, a multiple of 4 from its start, and nobody has a reference to it yet. It begins
        // with a page and ends with one.
        unsafe {
            if address.is_multiple_of(PAGE_BYTES) {
                chip::erase(address);
            }
            chip::store(address, u32::from_le_bytes(word));
        }
        self.written += 4;
        Some(())
    }

    /// What was written.
    pub fn finish(self) -> &'static [u8] {
        &loaded()[..self.written]
    }
}
