//! Flash that the agent may write, and that the processor reads in place.
//!
//! ```text
//! page 0        journal, first copy
//! page 1        journal, second copy
//! then          slot A, slot B: each half of the pages that are left
//! ```
//! A page is [`embedded_storage::nor_flash::NorFlash::ERASE_SIZE`] bytes.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

/// The region of flash that belongs to the agent.
pub trait Flash: NorFlash {
    /// All bytes of the region as they are now; its length is the capacity.
    fn mapped(&self) -> &[u8];

    /// The capsule that came with the firmware; empty if there is none.
    fn factory(&self) -> &[u8] {
        &[]
    }
}

/// Largest write unit that the agent can pad to.
pub(crate) const WRITE_BYTES_MAX: usize = 64;

/// Where things lie in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) page_bytes: usize,
    pub(crate) slot_bytes: usize,
}

impl Layout {
    /// The layout of this flash.
    ///
    /// # Panics
    /// If the region has fewer than four pages, or the write unit does not fit journal and padding.
    pub(crate) fn of<F: Flash>(flash: &F) -> Layout {
        let page_bytes = F::ERASE_SIZE;
        let pages = flash.capacity() / page_bytes;
        assert!(
            pages >= 4,
            "the flash has two pages of journal and two slots of at least one"
        );
        assert!(
            F::WRITE_SIZE <= WRITE_BYTES_MAX && page_bytes.is_multiple_of(F::WRITE_SIZE),
            "a page is whole write units of at most 64 bytes"
        );
        Layout {
            page_bytes,
            slot_bytes: (pages - 2) / 2 * page_bytes,
        }
    }

    pub(crate) fn slot(&self, index: usize) -> Range<usize> {
        let start = 2 * self.page_bytes + index * self.slot_bytes;
        start..start + self.slot_bytes
    }
}
