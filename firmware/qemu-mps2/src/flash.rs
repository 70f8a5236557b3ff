//! Flash that outlives the emulator: a file of the host's, with a copy in memory that is read in place.
//!
//! ```text
//! page 0   what the factory wrote           written by nobody here
//! page 1   a request to enrol               while there is no answer
//! page 2   who the device is
//! page 3   nothing
//! from 4   the agent's                      journal, slots, own head
//! ```
//! It behaves as NOR flash does: erasing sets a page to ones, writing can only clear bits, a word at a time. Erasing goes
//! to the file in 64 pieces and a word byte by byte, each of which has ended on the host before the next begins: an
//! emulator that is killed in between leaves a page half erased or a word half written.

use core::ops::Range;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_write,
};
use qemu_machine::host::HostFile;
use qemu_machine::mps2::Kept;
use qemu_machine::{memory, stop};
use tinyops_device::flash::Flash;
use tinyops_nn::head::{OWN_STORE_HEAD_BYTES, OWN_WINDOWS, own_window_bytes};

/// What is erased at once.
pub const PAGE_BYTES: usize = 4096;
/// What is written at once.
const WORD_BYTES: usize = 4;
/// Pieces that a page is erased in.
const ERASE_PIECES: usize = 64;
/// Where a request to enrol is kept.
pub const ASKING: usize = PAGE_BYTES;
/// Where it is kept who the device is.
pub const ENROLLED: usize = 2 * PAGE_BYTES;
/// Where the agent's flash begins.
const AGENT: usize = 4 * PAGE_BYTES;
/// Values of the widest embedding that a head of the device's own is solved from.
pub const EMBEDDING_WIDTH: usize = 32;

/// The whole of it, but what the factory wrote.
pub struct Image {
    file: HostFile,
    /// What the file holds behind its first page.
    bytes: &'static mut [u8],
    operations: Kept,
    faults: Faults,
}

/// What is wrong with this flash.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// The power goes in the middle of the operation with this number, counted from switching on.
    pub cut: Option<u32>,
    /// Bits of a word that is cut that do not fall any more.
    pub fades: u32,
    /// A page that is not erased.
    pub dead: Option<u32>,
    /// A word that is not written; the offset in the file.
    pub stuck: Option<u32>,
}

impl Image {
    /// Opens the flash in a file of the host's; answers with what the factory wrote, and the rest.
    pub fn open(name: &str, faults: Faults) -> Result<(&'static [u8], Image), &'static str> {
        let mut file = HostFile::open(name).ok_or("its flash cannot be opened")?;
        let whole = file.len().ok_or("its flash cannot be read")?;
        if whole <= AGENT || !whole.is_multiple_of(PAGE_BYTES) {
            return Err("its flash is no whole pages");
        }
        let too_large = "its flash is larger than the machine's memory for it";
        let factory = memory::take_more(PAGE_BYTES).ok_or(too_large)?;
        // One word of that memory is spoken for.
        let bytes = memory::take_more(whole).ok_or(too_large)?;
        let bytes = &mut bytes[..whole - PAGE_BYTES];
        file.read(0, factory).ok_or("its flash cannot be read")?;
        file.read(PAGE_BYTES, bytes)
            .ok_or("its flash cannot be read")?;
        let image = Image {
            file,
            bytes,
            operations: Kept::take(),
            faults,
        };
        Ok((factory, image))
    }

    /// What is in the page that begins there.
    pub fn page(&self, at: usize) -> &[u8] {
        &self.bytes[at - PAGE_BYTES..][..PAGE_BYTES]
    }

    /// Erases the page that begins there.
    pub fn erase(&mut self, at: usize) -> Result<(), FlashError> {
        let is_cut = self.begin();
        if self.faults.dead == Some((at / PAGE_BYTES) as u32) {
            return Err(FlashError::NotErased);
        }
        let ones = [0xff; PAGE_BYTES / ERASE_PIECES];
        for piece in 0..ERASE_PIECES {
            if is_cut && piece == ERASE_PIECES / 2 {
                stop();
            }
            self.put(at + piece * ones.len(), &ones)?;
        }
        Ok(())
    }

    /// Writes whole words from there on; what is left of the last one stays as it is.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> Result<(), FlashError> {
        for (at, word) in (at..).step_by(WORD_BYTES).zip(bytes.chunks(WORD_BYTES)) {
            self.write_word(at, word)?;
        }
        Ok(())
    }

    fn write_word(&mut self, at: usize, word: &[u8]) -> Result<(), FlashError> {
        let is_cut = self.begin();
        if self.faults.stuck == Some(at as u32) {
            return Err(FlashError::NotWritten);
        }
        let fades = self.faults.fades.to_le_bytes();
        for ((at, &byte), fades) in (at..).zip(word).zip(fades) {
            // Bits only fall, and of a word that is cut some do not.
            let kept = if is_cut { byte | fades } else { byte };
            let stored = self.bytes[at - PAGE_BYTES] & kept;
            self.put(at, &[stored])?;
        }
        if is_cut {
            stop();
        }
        let written = self.bytes.get(at - PAGE_BYTES..).unwrap_or_default();
        match written.starts_with(word) {
            true => Ok(()),
            false => Err(FlashError::NotWritten),
        }
    }

    /// First into the file, for what is read later must be what is still there then.
    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<(), FlashError> {
        let place = self.bytes.get_mut(at - PAGE_BYTES..);
        let place = place.and_then(|place| place.get_mut(..bytes.len()));
        let place = place.ok_or(FlashError::Misuse(NorFlashErrorKind::OutOfBounds))?;
        self.file.write(at, bytes).ok_or(FlashError::NotWritten)?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    /// Counts an operation; true if the power goes in the middle of it.
    fn begin(&mut self) -> bool {
        let number = self.operations.get();
        self.operations.set(number + 1);
        self.faults.cut == Some(number)
    }
}

/// The agent's part.
pub struct AgentFlash {
    image: Image,
}

impl AgentFlash {
    /// The agent's part of the flash.
    pub fn new(image: Image) -> AgentFlash {
        AgentFlash { image }
    }

    /// Words written and pages erased since the machine was switched on.
    pub fn operations(&self) -> u32 {
        self.image.operations.get()
    }

    fn bytes(&self) -> &[u8] {
        &self.image.bytes[AGENT - PAGE_BYTES..]
    }
}

impl ErrorType for AgentFlash {
    type Error = FlashError;
}

impl ReadNorFlash for AgentFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let stored = self.bytes().get(offset as usize..);
        let stored = stored.and_then(|stored| stored.get(..bytes.len()));
        bytes.copy_from_slice(stored.ok_or(FlashError::Misuse(NorFlashErrorKind::OutOfBounds))?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes().len()
    }
}

impl NorFlash for AgentFlash {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = PAGE_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to).map_err(FlashError::Misuse)?;
        let mut pages = (from as usize..to as usize).step_by(PAGE_BYTES);
        pages.try_for_each(|page| self.image.erase(AGENT + page))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len()).map_err(FlashError::Misuse)?;
        self.image.write(AGENT + offset as usize, bytes)
    }
}

impl Flash for AgentFlash {
    fn mapped(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes().get(range)
    }

    fn own_head_bytes(&self) -> usize {
        OWN_STORE_HEAD_BYTES + OWN_WINDOWS * own_window_bytes(EMBEDDING_WIDTH)
    }
}

/// What went wrong with the flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashError {
    /// An address is not aligned, or not in it.
    Misuse(NorFlashErrorKind),
    /// A page is not as erased.
    NotErased,
    /// A word is not as written: it is worn, or had not been erased.
    NotWritten,
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            FlashError::Misuse(kind) => *kind,
            FlashError::NotErased | FlashError::NotWritten => NorFlashErrorKind::Other,
        }
    }
}
