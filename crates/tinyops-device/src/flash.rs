//! Flash that the agent may write, and that the processor reads in place.
//!
//! ```text
//! journal, first copy
//! journal, second copy     each of so many pages that they have at least 1,024 bytes
//! slot A, slot B           each half of the pages that are left; its last 192 bytes hold the statement
//! own head, two copies     each of so many bytes as the flash has for it, in whole pages; none where it has none
//! ```
//! A page is [`embedded_storage::nor_flash::NorFlash::ERASE_SIZE`] bytes.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

/// The region of flash that belongs to the agent.
pub trait Flash: NorFlash {
    /// Bytes of the region as they are now, read in place.
    ///
    /// `None` if they are not all in the region, or if the flash says that it cannot read them: a
    /// torn write can leave a word whose error correction gives up. A port for parts that trap on such
    /// a word must turn the trap into `None` (or into any bytes at all, for every record and capsule is
    /// checked), or the device would reset at every boot.
    fn mapped(&self, range: Range<usize>) -> Option<&[u8]>;

    /// Bytes at the end of the region for each of two copies of the labelled windows that a head of the device's own is
    /// solved from; 0 if it shall have none. 64 bytes, and `2 + width` for each window, of which 64 are as many as are
    /// used. It never changes for a device: a firmware that begins to have some makes the region larger by as much.
    fn own_head_bytes(&self) -> usize {
        0
    }

    /// The capsule that came with the firmware; empty if there is none.
    fn factory(&self) -> &[u8] {
        &[]
    }
}

/// Largest write unit that the agent can pad to.
pub(crate) const WRITE_BYTES_MAX: usize = 64;

/// Fewest bytes of one copy of the journal: a key set and a few records.
const JOURNAL_BYTES_MIN: usize = 1024;

/// Bytes at the end of a slot that hold the director's statement.
pub(crate) const STATEMENT_AREA_BYTES: usize = 192;

/// Bytes of one copy of the journal on flash with pages of so many bytes.
pub(crate) const fn journal_bytes(page_bytes: usize) -> usize {
    JOURNAL_BYTES_MIN.next_multiple_of(page_bytes)
}

/// Where things lie in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes of one copy of the journal.
    pub(crate) journal_bytes: usize,
    /// Bytes of a slot, its statement among them.
    slot_bytes: usize,
    /// Bytes of one copy of the windows of the device's own head.
    pub(crate) own_head_bytes: usize,
    /// Where these begin.
    own_head_start: usize,
}

impl Layout {
    /// The layout of this flash.
    ///
    /// # Panics
    /// If the region has no room for two journals and two slots of at least a page, or the write unit does not
    /// fit journal and padding.
    pub(crate) fn of<F: Flash>(flash: &F) -> Layout {
        let page_bytes = F::ERASE_SIZE;
        assert!(
            F::WRITE_SIZE <= WRITE_BYTES_MAX && page_bytes.is_multiple_of(F::WRITE_SIZE),
            "a page is whole write units of at most 64 bytes"
        );
        let journal_bytes = journal_bytes(page_bytes);
        let own_head_bytes = flash.own_head_bytes().next_multiple_of(page_bytes);
        let pages_end = flash.capacity() / page_bytes * page_bytes;
        let own_head_start = pages_end.saturating_sub(2 * own_head_bytes);
        let left = match own_head_bytes {
            0 => flash.capacity(),
            _ => own_head_start,
        };
        let left = left.saturating_sub(2 * journal_bytes);
        let slot_bytes = left / 2 / page_bytes * page_bytes;
        assert!(
            slot_bytes > STATEMENT_AREA_BYTES,
            "the flash has two copies of the journal and two slots that hold a statement and more"
        );
        Layout {
            journal_bytes,
            slot_bytes,
            own_head_bytes,
            own_head_start,
        }
    }

    /// Room for a capsule in one slot.
    pub(crate) fn capsule_bytes(&self) -> usize {
        self.slot_bytes - STATEMENT_AREA_BYTES
    }

    /// A slot, its statement and all.
    pub(crate) fn slot(&self, index: usize) -> Range<usize> {
        let start = 2 * self.journal_bytes + index * self.slot_bytes;
        start..start + self.slot_bytes
    }

    /// Where a copy of the windows of the device's own head lies.
    pub(crate) fn own_head(&self, copy: usize) -> Range<usize> {
        let start = self.own_head_start + copy * self.own_head_bytes;
        start..start + self.own_head_bytes
    }

    /// Where the statement of a slot lies.
    pub(crate) fn statement(&self, index: usize) -> Range<usize> {
        let end = self.slot(index).end;
        end - STATEMENT_AREA_BYTES..end
    }
}
