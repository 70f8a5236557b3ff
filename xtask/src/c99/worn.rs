//! Flash that fails: `c/check/worn.c` is the same in C, fault for fault.

use core::ops::Range;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_write,
};
use tinyops_device::flash::Flash;

use crate::chance::Chance;

/// What happens to a word written or a page erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// One of the constants below.
    pub(crate) kind: u32,
    /// The first operation that it happens to, counted from the first of all.
    pub(crate) at: u64,
    /// To how many.
    pub(crate) count: u32,
}

/// The power goes in the middle of it.
pub(crate) const CUT: u32 = 1;
/// It is half done, and flash says so.
pub(crate) const TORN: u32 = 2;
/// It is not done, and flash says so.
pub(crate) const REFUSED: u32 = 3;
/// It is half done, and flash says that it is done.
pub(crate) const SILENT: u32 = 4;
/// The fault hits erasing alone, or writing alone.
pub(crate) const ERASES: u32 = 16;
pub(crate) const WRITES: u32 = 32;

/// NOR flash of pages and write units of so many bytes.
#[derive(Clone, Debug)]
pub(crate) struct Worn<const PAGE: usize, const UNIT: usize> {
    pub(crate) bytes: Vec<u8>,
    pub(crate) factory: Vec<u8>,
    pub(crate) own_head_bytes: usize,
    pub(crate) fault: Fault,
    /// What cannot be read until it is erased.
    pub(crate) unreadable: Range<usize>,
    pub(crate) operations: u64,
    pub(crate) has_power: bool,
    seed: u64,
}

/// It did not.
#[derive(Debug)]
pub(crate) struct Failed;

impl<const PAGE: usize, const UNIT: usize> Worn<PAGE, UNIT> {
    pub(crate) fn new(bytes: Vec<u8>, factory: Vec<u8>, own_head_bytes: usize, seed: u64) -> Self {
        Worn {
            bytes,
            factory,
            own_head_bytes,
            fault: Fault::default(),
            unreadable: 0..0,
            operations: 0,
            has_power: true,
            seed,
        }
    }

    /// FNV-1a of all bytes, of 64 bits.
    pub(crate) fn hash(&self) -> u64 {
        self.bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// Does an operation to some bytes: `done` is what they become, at most. Answers whether flash says that it did.
    fn operate(&mut self, at: usize, done: &[u8], is_erase: bool) -> Result<(), Failed> {
        let operation = self.operations;
        self.operations += 1;
        let Fault {
            kind,
            at: from,
            count,
        } = self.fault;
        let hits = operation >= from
            && operation - from < u64::from(count)
            && kind & if is_erase { WRITES } else { ERASES } == 0;
        let kind = if hits { kind & 15 } else { 0 };
        if kind == REFUSED {
            return Err(Failed);
        }
        let mut chance = Chance(self.seed ^ operation.wrapping_mul(0x9e37_79b9));
        for (stored, done) in self.bytes[at..].iter_mut().zip(done) {
            let torn = if kind == 0 {
                0
            } else {
                (chance.next() >> 56) as u8
            };
            *stored = match (kind, is_erase) {
                (0, _) => *done,
                (_, true) => *stored | torn,
                (_, false) => *stored & (done | torn),
            };
        }
        if kind == CUT {
            self.has_power = false;
        }
        match kind {
            0 | SILENT => Ok(()),
            _ => Err(Failed),
        }
    }
}

impl NorFlashError for Failed {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<const PAGE: usize, const UNIT: usize> ErrorType for Worn<PAGE, UNIT> {
    type Error = Failed;
}

impl<const PAGE: usize, const UNIT: usize> ReadNorFlash for Worn<PAGE, UNIT> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failed> {
        let from = offset as usize;
        let stored = self.bytes.get(from..from + bytes.len()).ok_or(Failed)?;
        bytes.copy_from_slice(stored);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const PAGE: usize, const UNIT: usize> NorFlash for Worn<PAGE, UNIT> {
    const WRITE_SIZE: usize = UNIT;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failed> {
        check_erase(self, from, to).map_err(|_| Failed)?;
        for page in (from as usize..to as usize).step_by(PAGE) {
            if !self.has_power {
                return Err(Failed);
            }
            if self.unreadable.start < page + PAGE && page < self.unreadable.end {
                self.unreadable = 0..0;
            }
            self.operate(page, &[0xff; PAGE], true)?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failed> {
        check_write(self, offset, bytes.len()).map_err(|_| Failed)?;
        for (index, word) in bytes.chunks(UNIT).enumerate() {
            let at = offset as usize + index * UNIT;
            let stored = &self.bytes[at..at + UNIT];
            if !self.has_power || stored.iter().any(|byte| *byte != 0xff) {
                return Err(Failed);
            }
            self.operate(at, word, false)?;
        }
        Ok(())
    }
}

impl<const PAGE: usize, const UNIT: usize> Flash for Worn<PAGE, UNIT> {
    fn mapped(&self, range: Range<usize>) -> Option<&[u8]> {
        let is_hit = self.unreadable.start < range.end && range.start < self.unreadable.end;
        if is_hit {
            return None;
        }
        self.bytes.get(range)
    }

    fn own_head_bytes(&self) -> usize {
        self.own_head_bytes
    }

    fn factory(&self) -> &[u8] {
        &self.factory
    }
}
