//! Flash in memory, for virtual devices and for tests that cut the power.

use core::ops::Range;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_write,
};

use crate::flash::{Flash, STATEMENT_AREA_BYTES, journal_bytes};

/// NOR flash over any bytes: erasing sets a page to ones, writing can only clear bits.
///
/// It can lose its power at any word written or page erased, and then leaves that word half written
/// and that page half erased, as flash does.
#[derive(Clone, Debug)]
pub struct RamFlash<S, T = &'static [u8], const PAGE: usize = 1024> {
    bytes: S,
    factory: T,
    own_head_bytes: usize,
    operations: u64,
    cut_at: Option<u64>,
    seed: u64,
    has_power: bool,
}

impl<S: AsRef<[u8]>, T: AsRef<[u8]>, const PAGE: usize> RamFlash<S, T, PAGE> {
    /// Flash that holds `bytes` (all `0xff` when new) next to the factory's capsule (empty for none).
    pub fn new(bytes: S, factory: T) -> Self {
        RamFlash {
            bytes,
            factory,
            own_head_bytes: 0,
            operations: 0,
            cut_at: None,
            seed: 0,
            has_power: true,
        }
    }

    /// Bytes that a region with two slots, each for a capsule of at least `slot_bytes`, needs.
    pub const fn bytes_for(slot_bytes: usize) -> usize {
        let slot_bytes = slot_bytes + STATEMENT_AREA_BYTES;
        2 * journal_bytes(PAGE) + 2 * slot_bytes.next_multiple_of(PAGE)
    }

    /// The same flash, the last pages of which hold the labelled windows of a device's own head: two copies of so many
    /// bytes ([`RamFlash::own_head_bytes_for`]).
    #[must_use]
    pub fn with_own_head(self, own_head_bytes: usize) -> Self {
        RamFlash {
            own_head_bytes,
            ..self
        }
    }

    /// Bytes that a region must have beside those of [`RamFlash::bytes_for`] for two copies of so many bytes.
    pub const fn own_head_bytes_for(own_head_bytes: usize) -> usize {
        2 * own_head_bytes.next_multiple_of(PAGE)
    }

    /// All bytes of the region as they are now.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Words written and pages erased so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Loses power in the middle of an operation, counted as [`RamFlash::operations`] does; `seed`
    /// decides which bits of it are done.
    pub fn cut_power_at(&mut self, operation: u64, seed: u64) {
        (self.cut_at, self.seed) = (Some(operation), seed);
    }

    /// Gives the power back; what was half done stays so.
    pub fn restore_power(&mut self) {
        (self.cut_at, self.has_power) = (None, true);
    }

    /// Whether the power is on.
    pub fn has_power(&self) -> bool {
        self.has_power
    }

    /// Counts an operation; `Ok(Some(_))` if the power goes in the middle of it.
    fn begin(&mut self) -> Result<Option<Torn>, SimFlashError> {
        if !self.has_power {
            return Err(SimFlashError::NoPower);
        }
        let operation = self.operations;
        self.operations += 1;
        if self.cut_at == Some(operation) {
            self.has_power = false;
            return Ok(Some(Torn {
                state: self.seed ^ operation.wrapping_mul(0x9e37_79b9),
            }));
        }
        Ok(None)
    }
}

/// Decides which bits of an interrupted operation are done.
struct Torn {
    state: u64,
}

impl Torn {
    fn bits(&mut self) -> u8 {
        // The generator of Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators".
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 56) as u8
    }
}

impl<S: AsRef<[u8]>, T: AsRef<[u8]>, const PAGE: usize> ErrorType for RamFlash<S, T, PAGE> {
    type Error = SimFlashError;
}

impl<S: AsRef<[u8]>, T: AsRef<[u8]>, const PAGE: usize> ReadNorFlash for RamFlash<S, T, PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), SimFlashError> {
        let stored = self
            .bytes
            .as_ref()
            .get(offset as usize..)
            .ok_or(OUT_OF_BOUNDS)?;
        bytes.copy_from_slice(stored.get(..bytes.len()).ok_or(OUT_OF_BOUNDS)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.as_ref().len()
    }
}

impl<S: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[u8]>, const PAGE: usize> NorFlash
    for RamFlash<S, T, PAGE>
{
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), SimFlashError> {
        check_erase(self, from, to).map_err(SimFlashError::Misuse)?;
        for page in (from as usize..to as usize).step_by(PAGE) {
            let torn = self.begin()?;
            let page = &mut self.bytes.as_mut()[page..page + PAGE];
            if let Some(mut torn) = torn {
                page.iter_mut().for_each(|byte| *byte |= torn.bits());
                return Err(SimFlashError::NoPower);
            }
            page.fill(0xff);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SimFlashError> {
        check_write(self, offset, bytes.len()).map_err(SimFlashError::Misuse)?;
        let mut at = offset as usize;
        for word in bytes.chunks(Self::WRITE_SIZE) {
            let torn = self.begin()?;
            let stored = &mut self.bytes.as_mut()[at..at + word.len()];
            if stored.iter().any(|&byte| byte != 0xff) {
                return Err(SimFlashError::WrittenTwice { offset: at as u32 });
            }
            if let Some(mut torn) = torn {
                let bytes = stored.iter_mut().zip(word);
                bytes.for_each(|(stored, byte)| *stored &= byte | torn.bits());
                return Err(SimFlashError::NoPower);
            }
            stored.copy_from_slice(word);
            at += word.len();
        }
        Ok(())
    }
}

impl<S: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[u8]>, const PAGE: usize> Flash
    for RamFlash<S, T, PAGE>
{
    fn mapped(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes.as_ref().get(range)
    }

    fn own_head_bytes(&self) -> usize {
        self.own_head_bytes
    }

    fn factory(&self) -> &[u8] {
        self.factory.as_ref()
    }
}

const OUT_OF_BOUNDS: SimFlashError = SimFlashError::Misuse(NorFlashErrorKind::OutOfBounds);

/// What went wrong with simulated flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimFlashError {
    /// The power is off.
    NoPower,
    /// An address is not aligned or not in the region.
    Misuse(NorFlashErrorKind),
    /// A word was written that had not been erased since it was last written.
    WrittenTwice {
        /// Its offset.
        offset: u32,
    },
}

impl NorFlashError for SimFlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            SimFlashError::Misuse(kind) => *kind,
            SimFlashError::NoPower | SimFlashError::WrittenTwice { .. } => NorFlashErrorKind::Other,
        }
    }
}
