//! NOR flash as it is when things go wrong: torn, weak, worn, unreadable, over any geometry.

use core::ops::Range;
use std::sync::Arc;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_write,
};
use tinyops_device::flash::Flash;

use super::schedule::{Fault, Kind, Random};

/// What a write unit has been through since it was last wholly erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Erased,
    Written,
    /// A write or an erase of it did not end: what it reads is no promise.
    Weak,
}

/// What an operation was about to do when a fault struck it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Write { offset: usize },
    Erase { offset: usize },
}

/// A fault that has struck.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Struck {
    pub(crate) fault: Fault,
    pub(crate) operation: Operation,
    /// Where the damage is, if it is elsewhere.
    pub(crate) damaged: Option<usize>,
}

/// Flash in memory that faults strike at operations chosen beforehand.
///
/// A read shows `view`. Bits in `loose` were in the middle of changing when something stopped: at each
/// power-up they read as chance has it, until their page is erased to the end.
#[derive(Clone)]
pub(crate) struct FaultFlash<const WRITE: usize, const PAGE: usize> {
    view: Vec<u8>,
    loose: Vec<u8>,
    cells: Vec<Cell>,
    /// Units whose error correction gives up, and whether power-up mends them.
    unreadable: Vec<(usize, bool)>,
    pub(crate) erases: Vec<u32>,
    factory: Arc<[u8]>,
    own_head_bytes: usize,
    pub(crate) operations: u64,
    faults: Vec<Fault>,
    due: u64,
    pub(crate) struck: Vec<Struck>,
    pub(crate) has_power: bool,
    /// Whether bits have changed since the last power-up.
    has_decayed: bool,
    /// Offset of a word that was written though it plainly was not erased.
    pub(crate) misused: Option<usize>,
    /// A capsule that stops the device whenever all of it is read.
    tripwire: Option<Arc<[u8]>>,
    random: Random,
}

/// Bytes at the end of a slot, for the statement.
const STATEMENT_BYTES: usize = 192;

/// What a watchdog does when something takes too long: nothing after it happens.
pub(crate) struct Watchdog;

impl<const WRITE: usize, const PAGE: usize> FaultFlash<WRITE, PAGE> {
    /// One copy of the journal: `docs/formats/blocks.md`.
    const JOURNAL_BYTES: usize = 1024_usize.next_multiple_of(PAGE);

    pub(crate) fn new(slot_bytes: usize, factory: Vec<u8>) -> Self {
        let slot_bytes = slot_bytes + STATEMENT_BYTES;
        let bytes = 2 * Self::JOURNAL_BYTES + 2 * slot_bytes.next_multiple_of(PAGE);
        FaultFlash {
            view: vec![0xff; bytes],
            loose: vec![0; bytes],
            cells: vec![Cell::Erased; bytes / WRITE],
            unreadable: Vec::new(),
            erases: vec![0; bytes / PAGE],
            factory: factory.into(),
            own_head_bytes: 0,
            operations: 0,
            faults: Vec::new(),
            due: u64::MAX,
            struck: Vec::new(),
            has_power: true,
            has_decayed: false,
            misused: None,
            tripwire: None,
            random: Random(0),
        }
    }

    /// The same flash, larger by two copies of so many bytes for the windows of a head of the device's own.
    pub(crate) fn with_own_head(mut self, own_head_bytes: usize) -> Self {
        let bytes = self.view.len() + 2 * own_head_bytes.next_multiple_of(PAGE);
        self.view.resize(bytes, 0xff);
        self.loose.resize(bytes, 0);
        self.cells.resize(bytes / WRITE, Cell::Erased);
        self.erases.resize(bytes / PAGE, 0);
        self.own_head_bytes = own_head_bytes;
        self
    }

    /// Faults to come, each counted in operations from the one before it.
    pub(crate) fn arm(&mut self, faults: &[Fault]) {
        self.faults = faults.iter().rev().copied().collect();
        self.next_due();
    }

    /// Gives the power back: what was loose settles as chance has it, for now.
    pub(crate) fn power_up(&mut self) {
        (self.has_power, self.has_decayed) = (true, false);
        self.unreadable.retain(|&(_, is_transient)| !is_transient);
        for (view, &loose) in self.view.iter_mut().zip(&self.loose) {
            if loose != 0 {
                *view ^= loose & self.random.byte();
            }
        }
    }

    fn next_due(&mut self) {
        self.due = match self.faults.last() {
            Some(fault) => self.operations + u64::from(fault.after),
            None => u64::MAX,
        };
    }

    /// The fault that strikes the operation about to begin.
    fn begin(&mut self, operation: Operation) -> Result<Option<Kind>, FlashError> {
        if !self.has_power {
            return Err(FlashError::NoPower);
        }
        let is_due = self.operations == self.due;
        self.operations += 1;
        if !is_due {
            return Ok(None);
        }
        let fault = self.faults.pop().expect("one is due");
        self.next_due();
        self.random = Random(fault.seed);
        let mut struck = Struck {
            fault,
            operation,
            damaged: None,
        };
        let kind = match fault.kind {
            Kind::Decay | Kind::Unreadable | Kind::Transient => {
                struck.damaged = Some(self.damage(fault.kind));
                None
            }
            Kind::Reset => {
                self.has_power = false;
                self.struck.push(struck);
                return Err(FlashError::NoPower);
            }
            kind => Some(kind),
        };
        self.struck.push(struck);
        Ok(kind)
    }

    /// Damages one unit somewhere; every second time in the journal.
    fn damage(&mut self, kind: Kind) -> usize {
        let journal_units = 2 * Self::JOURNAL_BYTES / WRITE;
        let units = if self.random.below(2) == 0 {
            0..journal_units
        } else {
            journal_units..self.cells.len()
        };
        // Damage to erased flash tells little: look for a unit that holds something.
        let mut unit = units.start;
        for _ in 0..64 {
            unit = units.start + self.random.below(units.len() as u64) as usize;
            if self.cells[unit] != Cell::Erased {
                break;
            }
        }
        match kind {
            Kind::Decay => {
                self.has_decayed = true;
                for _ in 0..=self.random.below(3) {
                    let at = unit * WRITE + self.random.below(WRITE as u64) as usize;
                    self.view[at] ^= 1 << self.random.below(8);
                }
                if self.cells[unit] == Cell::Erased {
                    self.cells[unit] = Cell::Weak;
                }
            }
            kind => self.unreadable.push((unit, kind == Kind::Transient)),
        }
        unit * WRITE
    }

    /// Programs a unit to the extent that chance has it.
    fn program_in_part(&mut self, unit: usize, data: &[u8], is_silent: bool) {
        let outcome = if is_silent {
            2 + self.random.below(2)
        } else {
            self.random.below(5)
        };
        self.cells[unit] = Cell::Weak;
        let range = unit * WRITE..(unit + 1) * WRITE;
        let mut is_seen = false;
        for (at, &byte) in range.clone().zip(data) {
            let zeros = self.view[at] & !byte;
            let (done, loose) = match outcome {
                // Nothing to be seen, but the cells have been under way.
                0 => (0, 0),
                // Everything to be seen, and some of it may fade.
                1 => (zeros, zeros & self.random.byte()),
                2 => (zeros & self.random.byte(), 0),
                _ => {
                    let done = zeros & self.random.byte();
                    (done, zeros & !done)
                }
            };
            is_seen |= done != zeros;
            self.view[at] &= !done;
            self.loose[at] |= loose;
        }
        if is_silent && !is_seen {
            self.view[range.start] ^= 1;
        }
        if outcome == 4 {
            self.unreadable.push((unit, false));
        }
    }

    fn erase_in_part(&mut self, page: usize, is_silent: bool) {
        let outcome = if is_silent { 2 } else { self.random.below(5) };
        let units = page / WRITE..(page + PAGE) / WRITE;
        self.cells[units.clone()].fill(Cell::Weak);
        let mut is_seen = false;
        for at in page..page + PAGE {
            let zeros = !self.view[at];
            let (done, loose) = match outcome {
                0 => (0, zeros & self.random.byte()),
                // Reads as erased, and is not.
                1 => (zeros, zeros & self.random.byte()),
                2 => (zeros & self.random.byte(), 0),
                _ => {
                    let done = zeros & self.random.byte();
                    (done, zeros & !done)
                }
            };
            is_seen |= done != zeros;
            self.view[at] |= done;
            self.loose[at] |= loose;
        }
        if is_silent && !is_seen {
            self.view[page] = 0xfe;
        }
        if outcome == 4 {
            let unit = units.start + self.random.below(units.len() as u64) as usize;
            self.unreadable.push((unit, false));
        }
    }
}

/// What the simulator needs of flash, whatever its geometry.
pub(crate) trait Faulty: Flash + Clone + Send + Sync + 'static {
    const NAME: &'static str;
    fn blank(slot_bytes: usize, factory: Vec<u8>) -> Self;
    fn set_tripwire(&mut self, capsule: &[u8]);
    fn arm(&mut self, faults: &[Fault]);
    fn power_up(&mut self);
    fn cut(&mut self);
    fn has_power(&self) -> bool;
    fn has_decayed(&self) -> bool;
    fn operations(&self) -> u64;
    fn struck(&self) -> &[Struck];
    fn misused(&self) -> Option<usize>;
    fn erases(&self) -> &[u32];
}

macro_rules! geometry {
    ($write:literal, $page:literal) => {
        impl Faulty for FaultFlash<$write, $page> {
            const NAME: &'static str = concat!(stringify!($write), "x", stringify!($page));
            fn blank(slot_bytes: usize, factory: Vec<u8>) -> Self {
                Self::new(slot_bytes, factory)
            }
            fn set_tripwire(&mut self, capsule: &[u8]) {
                self.tripwire = Some(capsule.into());
            }
            fn arm(&mut self, faults: &[Fault]) {
                self.arm(faults);
            }
            fn power_up(&mut self) {
                self.power_up();
            }
            fn cut(&mut self) {
                self.has_power = false;
            }
            fn has_power(&self) -> bool {
                self.has_power
            }
            fn has_decayed(&self) -> bool {
                self.has_decayed
            }
            fn operations(&self) -> u64 {
                self.operations
            }
            fn struck(&self) -> &[Struck] {
                &self.struck
            }
            fn misused(&self) -> Option<usize> {
                self.misused
            }
            fn erases(&self) -> &[u32] {
                &self.erases
            }
        }
    };
}
geometry!(1, 256);
geometry!(4, 512);
geometry!(4, 4096);
geometry!(8, 2048);
geometry!(16, 1024);
geometry!(64, 8192);

impl<const WRITE: usize, const PAGE: usize> ErrorType for FaultFlash<WRITE, PAGE> {
    type Error = FlashError;
}

impl<const WRITE: usize, const PAGE: usize> ReadNorFlash for FaultFlash<WRITE, PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let start = offset as usize;
        let range = start..start + bytes.len();
        bytes.copy_from_slice(self.mapped(range).ok_or(FlashError::Unreadable)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.view.len()
    }
}

impl<const WRITE: usize, const PAGE: usize> NorFlash for FaultFlash<WRITE, PAGE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to).map_err(FlashError::Misuse)?;
        for page in (from as usize..to as usize).step_by(PAGE) {
            let kind = self.begin(Operation::Erase { offset: page })?;
            self.erases[page / PAGE] += 1;
            let units = page / WRITE..(page + PAGE) / WRITE;
            self.unreadable.retain(|(unit, _)| !units.contains(unit));
            match kind {
                None => {
                    self.view[page..page + PAGE].fill(0xff);
                    self.loose[page..page + PAGE].fill(0);
                    self.cells[units].fill(Cell::Erased);
                }
                Some(kind) => {
                    self.erase_in_part(page, kind == Kind::Silent);
                    self.end(kind)?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len()).map_err(FlashError::Misuse)?;
        for (index, data) in bytes.chunks(WRITE).enumerate() {
            let unit = offset as usize / WRITE + index;
            let at = unit * WRITE;
            let kind = self.begin(Operation::Write { offset: at })?;
            let stored = &mut self.view[at..at + WRITE];
            match self.cells[unit] {
                Cell::Erased => {}
                Cell::Written => {
                    self.misused = Some(at);
                    return Err(FlashError::WrittenTwice);
                }
                // Some parts turn down a unit that is not wholly erased, others take it.
                Cell::Weak if self.random.below(2) == 0 => return Err(FlashError::WrittenTwice),
                Cell::Weak => {}
            }
            match kind {
                None => {
                    for (stored, byte) in stored.iter_mut().zip(data) {
                        *stored &= byte;
                    }
                    if self.cells[unit] == Cell::Erased {
                        self.cells[unit] = Cell::Written;
                    }
                }
                Some(kind) => {
                    self.program_in_part(unit, data, kind == Kind::Silent);
                    self.end(kind)?;
                }
            }
        }
        Ok(())
    }
}

impl<const WRITE: usize, const PAGE: usize> FaultFlash<WRITE, PAGE> {
    /// How an operation that a fault struck ends.
    fn end(&mut self, kind: Kind) -> Result<(), FlashError> {
        match kind {
            Kind::Cut => {
                self.has_power = false;
                Err(FlashError::NoPower)
            }
            Kind::Fail => Err(FlashError::Failed),
            _ => Ok(()),
        }
    }
}

impl<const WRITE: usize, const PAGE: usize> Flash for FaultFlash<WRITE, PAGE> {
    fn mapped(&self, range: Range<usize>) -> Option<&[u8]> {
        let is_hit = |&(unit, _): &(usize, bool)| {
            unit * WRITE < range.end && range.start < (unit + 1) * WRITE
        };
        if self.unreadable.iter().any(is_hit) {
            return None;
        }
        let bytes = self.view.get(range)?;
        if let Some(capsule) = &self.tripwire
            && bytes.starts_with(capsule)
        {
            std::panic::resume_unwind(Box::new(Watchdog));
        }
        Some(bytes)
    }

    fn own_head_bytes(&self) -> usize {
        self.own_head_bytes
    }

    fn factory(&self) -> &[u8] {
        &self.factory
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlashError {
    NoPower,
    Failed,
    Unreadable,
    WrittenTwice,
    Misuse(NorFlashErrorKind),
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            FlashError::Misuse(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}
