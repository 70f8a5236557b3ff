//! What must survive a reset, in two copies of a few pages of flash.
//!
//! Each copy begins with the key set and goes on as a row of records of 256 bytes. The newest whole record
//! (greatest number, right CRC) counts, and with it the key set of the copy that it lies in. A new record goes to
//! the next erased place of both copies, one after the other, and each is read back. A copy that is full, or whose
//! key set is no longer the one in force, is erased and begun while the other stands: first its key set, then the
//! record that makes it count. So one copy may be torn, decay or be unreadable, and nothing is lost.
//!
//! ```text
//! key set: 512 bytes, erased while the firmware's own is in force
//!   0      4   "TOPK"
//!   4      2   bytes of the signed key set
//!   6      2   zero
//!   8      4   CRC-32 of the signed key set
//!  12      n   signed key set
//!
//! record: 256 bytes
//!   0      4   "TOPJ"
//!   4      1   version 6
//!   5      1   active place     0 factory, 1 slot A, 2 slot B
//!   6      1   trial place      0xff none
//!   7      1   tries left
//!   8      4   number of the record
//!  12      4   boots so far
//!  16      4   uplink sequence numbers below this may have been used
//!  20      4   greatest downlink sequence number seen
//!  24      4   sequence number of the newest confirmed manifest
//!  28      1   place before the active one, 0xff none
//!  29      1   place that a transfer goes to, 0xff none
//!  30      1   reason of the last refusal
//!  31      1   what is being transferred: 0 capsule, 1 delta
//!  32     24   slot A, then slot B: bytes u32 (0 for nothing whole), first 8 bytes of the digest
//!  56     36   transfer: digest 32, bytes u32; while there is none, and a capsule is tried or waits,
//!  56      8   by which keys it was checked (`trust.rs`), zeros where that is not known
//!  92     12   last refusal: first 8 bytes of the digest, detail u32
//! 104      4   counter of the last statement taken up
//! 108      4   sequence number of the newest key set taken up
//! 112      1   checks of the transfer's capsule that have begun
//! 113      1   place of the capsule that waits, 0 none; bit 7: it, or what is being transferred, is to wait
//! 114      2   windows that it is to score meanwhile, 0 none
//! 116      8   first 8 bytes of the digest of the newest confirmed capsule, zeros for none
//! 124     14   what of the privacy budgets is spent (`ledger.rs`)
//! 138    106   what is normal for the device (`normal.rs`)
//! 244      8   how features are moved back to training (`adapt.rs`), zeros if they are not; but for
//! 245      1   bit 7: a head of the device's own is wanted; generation of what is kept for it (`own_head.rs`)
//! 252      4   CRC-32 of all before
//! ```
//! Version 5 had zeros at 56 while there was no transfer, and version 4 a zero at 245; a copy may hold records of all. Records of before version 4 have 128 bytes and end with
//! the CRC at 124. They are still read: the copy that is written next is erased and begun anew while the other stands. Version 1 had zeros in place of what was added,
//! records where the key set is now, and each of them in one copy only; version 2 knew no capsule that waits, and
//! version 3 none that scores windows meanwhile: they had zeros in its place. Copies of 2 and 3 are the same, and may
//! hold records of both.

use tinyops_wire::Digest;
use tinyops_wire::crc::crc32;
use tinyops_wire::downlink::{What, When};
use tinyops_wire::frame::Reason;
use tinyops_wire::key_set::KEY_SET_BYTES_MAX;

use crate::adapt::{ORDER_BYTES, Order};
use crate::flash::{Flash, Layout, WRITE_BYTES_MAX};
use crate::ledger::{LEDGER_BYTES, Ledger};
use crate::model::Refusal;
use crate::normal::{NORMAL_BYTES, Normal};
use crate::own_head::Wish;
use crate::trust::{KeysName, NO_KEYS};

const RECORD_BYTES: usize = 256;
/// Of versions 1 to 3.
const OLD_RECORD_BYTES: usize = 128;
const MAGIC: [u8; 4] = *b"TOPJ";
const VERSION: u8 = 6;
/// The first that tells by which keys a capsule was checked.
const KEYS_VERSION: u8 = 6;
/// The first whose records have [`RECORD_BYTES`].
const LONG_VERSION: u8 = 4;
const LEDGER_AT: usize = 124;
const NORMAL_AT: usize = LEDGER_AT + LEDGER_BYTES;
const ORDER_AT: usize = NORMAL_AT + NORMAL_BYTES;
/// In a byte that the order leaves at zero.
const WISH_AT: usize = ORDER_AT + 1;
const _: () = assert!(ORDER_AT + ORDER_BYTES <= RECORD_BYTES - 4);
const KEY_SET_AREA_BYTES: usize = 512;
const KEY_SET_MAGIC: [u8; 4] = *b"TOPK";
const KEY_SET_HEADER_BYTES: usize = 12;
const NOWHERE: u8 = 0xff;
/// Beside the place of the capsule that waits: it, or what is being transferred, is to wait.
const HOLD: u8 = 1 << 7;

/// Where a capsule lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Factory,
    SlotA,
    SlotB,
}

impl Place {
    pub(crate) fn from_code(code: u8) -> Option<Place> {
        match code {
            0 => Some(Place::Factory),
            1 => Some(Place::SlotA),
            2 => Some(Place::SlotB),
            _ => None,
        }
    }

    pub(crate) fn slot_index(self) -> Option<usize> {
        match self {
            Place::Factory => None,
            Place::SlotA => Some(0),
            Place::SlotB => Some(1),
        }
    }
}

/// A whole capsule in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) bytes: u32,
    pub(crate) digest: [u8; 8],
}

/// What a transfer fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The capsule itself, or something that makes it.
    pub(crate) what: What,
    /// Digest of all the bytes to be fetched.
    pub(crate) digest: Digest,
    /// How many they are.
    pub(crate) bytes: u32,
}

/// Everything that survives a reset, but the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) active: Place,
    pub(crate) trial: Option<Place>,
    pub(crate) tries_left: u8,
    pub(crate) number: u32,
    pub(crate) boot_count: u32,
    pub(crate) uplink_limit: u32,
    pub(crate) downlink_seen: u32,
    pub(crate) confirmed_sequence: u32,
    pub(crate) previous: Option<Place>,
    pub(crate) slots: [Option<Stored>; 2],
    pub(crate) transfer: Option<(Place, Wanted)>,
    pub(crate) refused: Option<([u8; 8], Refusal)>,
    /// Counter of the last statement taken up; one that is not above it is old.
    pub(crate) statement_counter: u32,
    /// Sequence number of the newest key set taken up, 0 for the firmware's own; an older one is never taken.
    pub(crate) key_set: u32,
    /// Where a whole, checked capsule waits to be installed.
    pub(crate) held: Option<Place>,
    /// Whether what is being transferred is to wait when it is whole, and what waits or will wait scores meanwhile.
    pub(crate) when: When,
    /// Checks of the transfer's capsule that have begun: one that stops the device must not do so for ever.
    pub(crate) checks: u8,
    /// By which keys the capsule was checked that is tried or waits.
    pub(crate) checked_by: KeysName,
    /// What bore `confirmed_sequence`: it alone may come again under that number, if flash has lost it.
    pub(crate) confirmed_digest: [u8; 8],
    /// What of the privacy budgets is spent.
    pub(crate) ledger: Ledger,
    /// What is normal for this device.
    pub(crate) normal: Normal,
    /// How features are moved back to training, if they are.
    pub(crate) order: Option<Order>,
    /// Whether a head of its own is wanted.
    pub(crate) own_head: Wish,
}

impl Record {
    /// What a new device remembers.
    pub(crate) const NEW: Record = Record {
        active: Place::Factory,
        trial: None,
        tries_left: 0,
        number: 0,
        boot_count: 0,
        uplink_limit: 1,
        downlink_seen: 0,
        confirmed_sequence: 0,
        previous: None,
        slots: [None; 2],
        transfer: None,
        refused: None,
        statement_counter: 0,
        key_set: 0,
        held: None,
        when: When::AtOnce,
        checks: 0,
        checked_by: NO_KEYS,
        confirmed_digest: [0; 8],
        ledger: Ledger::NEW,
        normal: Normal::NEW,
        order: None,
        own_head: Wish(0),
    };

    /// What has waited waits no more: the next boots shall try it.
    pub(crate) fn begin_trial(&mut self, tries: u8) {
        self.trial = self.held.take();
        self.tries_left = tries;
        self.when = When::AtOnce;
    }

    /// What waits, or is being fetched to wait, is forgotten.
    pub(crate) fn drop_held(&mut self) {
        if self.when.is_later() {
            self.transfer = None;
            self.checks = 0;
        }
        self.held = None;
        self.when = When::AtOnce;
    }

    /// The capsule that waits and scores windows meanwhile, and how many.
    pub(crate) fn shadow(&self) -> Option<(Place, u16)> {
        match (self.held, self.when) {
            (Some(place), When::Shadow { windows }) => Some((place, windows)),
            _ => None,
        }
    }

    /// Remembers why a capsule must not be fetched again.
    ///
    /// What was damaged on its way or in flash may go well the next time, and another statement may be right; a bad
    /// capsule stays bad.
    pub(crate) fn refuse(&mut self, digest: Option<[u8; 8]>, refusal: Refusal) {
        let is_passing = matches!(
            refusal.reason,
            Reason::Digest
                | Reason::Flash
                | Reason::Statement
                | Reason::StatementOld
                | Reason::StatementVoid
                | Reason::OtherDevice
                | Reason::OtherManifest
                | Reason::DeltaBase
                | Reason::Window
        );
        if let Some(digest) = digest
            && !is_passing
        {
            self.refused = Some((digest, refusal));
        }
    }

    pub(crate) fn encode(&self) -> [u8; RECORD_BYTES] {
        let place = |place: Option<Place>| place.map_or(NOWHERE, |place| place as u8);
        let mut out = [0; RECORD_BYTES];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(
            4,
            &[
                VERSION,
                self.active as u8,
                place(self.trial),
                self.tries_left,
            ],
        );
        let numbers = [
            self.number,
            self.boot_count,
            self.uplink_limit,
            self.downlink_seen,
            self.confirmed_sequence,
        ];
        for (index, number) in numbers.iter().enumerate() {
            put(8 + 4 * index, &number.to_le_bytes());
        }
        put(
            28,
            &[
                place(self.previous),
                place(self.transfer.map(|(place, _)| place)),
            ],
        );
        for (index, stored) in self.slots.iter().enumerate() {
            if let Some(stored) = stored {
                put(32 + 12 * index, &stored.bytes.to_le_bytes());
                put(36 + 12 * index, &stored.digest);
            }
        }
        if let Some((_, wanted)) = &self.transfer {
            put(31, &[wanted.what as u8]);
            put(56, &wanted.digest.0);
            put(88, &wanted.bytes.to_le_bytes());
        } else if self.trial.or(self.held).is_some() {
            put(56, &self.checked_by);
        }
        if let Some((digest, refusal)) = &self.refused {
            put(30, &[refusal.reason as u8]);
            put(92, digest);
            put(100, &refusal.detail.to_le_bytes());
        }
        // A capsule never waits in the factory's place, whose code is that of none.
        let held = self.held.map_or(0, |place| place as u8);
        let hold = if self.when.is_later() { HOLD } else { 0 };
        put(112, &[self.checks, held | hold]);
        if let When::Shadow { windows } = self.when {
            put(114, &windows.to_le_bytes());
        }
        put(116, &self.confirmed_digest);
        put(LEDGER_AT, &self.ledger.encode());
        put(NORMAL_AT, &self.normal.encode());
        if let Some(order) = self.order {
            put(ORDER_AT, &order.encode());
        }
        put(WISH_AT, &[self.own_head.0]);
        let numbers = [self.statement_counter, self.key_set];
        for (index, number) in numbers.iter().enumerate() {
            put(104 + 4 * index, &number.to_le_bytes());
        }
        let crc = crc32(&out[..RECORD_BYTES - 4]);
        out[RECORD_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a record of [`RECORD_BYTES`] or [`OLD_RECORD_BYTES`], whose versions are not the same.
    fn decode(bytes: &[u8]) -> Option<Record> {
        let (body, crc) = bytes.split_last_chunk()?;
        let versions = match bytes.len() {
            RECORD_BYTES => LONG_VERSION..=VERSION,
            OLD_RECORD_BYTES => 1..=LONG_VERSION - 1,
            _ => return None,
        };
        let is_whole = body[..4] == MAGIC
            && versions.contains(&body[4])
            && crc32(body) == u32::from_le_bytes(*crc);
        if !is_whole {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|index| bytes[at + index]));
        let prefix = |at: usize| core::array::from_fn(|index| bytes[at + index]);
        let (ledger, normal, order, own_head) = match bytes.len() {
            RECORD_BYTES => (
                Ledger::decode(bytes[LEDGER_AT..].first_chunk()?),
                Normal::decode(bytes[NORMAL_AT..].first_chunk()?),
                Order::decode(bytes[ORDER_AT..].first_chunk()?),
                Wish(bytes[WISH_AT]),
            ),
            _ => (Ledger::NEW, Normal::NEW, None, Wish(0)),
        };
        let stored = |at: usize| {
            let stored = Stored {
                bytes: word(at),
                digest: prefix(at + 4),
            };
            (stored.bytes > 0).then_some(stored)
        };
        let wanted = Wanted {
            what: What::from_code(bytes[31])?,
            digest: Digest(core::array::from_fn(|index| bytes[56 + index])),
            bytes: word(88),
        };
        let refusal = Refusal {
            reason: Reason::from_code(bytes[30])?,
            detail: word(100),
        };
        let transfer = Place::from_code(bytes[29]).map(|place| (place, wanted));
        let trial = Place::from_code(bytes[6]);
        let held = Place::from_code(bytes[113] & !HOLD).filter(|place| *place != Place::Factory);
        let has_keys = transfer.is_none() && trial.or(held).is_some() && body[4] >= KEYS_VERSION;
        Some(Record {
            active: Place::from_code(bytes[5])?,
            trial,
            tries_left: bytes[7],
            number: word(8),
            boot_count: word(12),
            uplink_limit: word(16),
            downlink_seen: word(20),
            confirmed_sequence: word(24),
            previous: Place::from_code(bytes[28]),
            slots: [stored(32), stored(44)],
            transfer,
            refused: (refusal.reason != Reason::None).then(|| (prefix(92), refusal)),
            statement_counter: word(104),
            key_set: word(108),
            held,
            when: match (
                bytes[113] & HOLD != 0,
                u16::from_le_bytes([bytes[114], bytes[115]]),
            ) {
                (false, _) => When::AtOnce,
                (true, 0) => When::Later,
                (true, windows) => When::Shadow { windows },
            },
            checks: bytes[112],
            checked_by: if has_keys { prefix(56) } else { NO_KEYS },
            confirmed_digest: prefix(116),
            ledger,
            normal,
            order,
            own_head,
        })
    }
}

/// The newest record, and the two copies of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journal {
    pub(crate) record: Record,
    /// Records that may have been newer than the newest whole one, and are lost.
    pub(crate) lost: u32,
    /// Greatest number that a record may bear, whole or not.
    attempted: u32,
    copies: [Copied; 2],
}

/// What is known of one copy.
#[derive(Clone, Copy, Debug)]
struct Copied {
    /// Sequence number of the key set that it was begun with.
    key_set: u32,
    /// Place and number of its newest whole record.
    newest: Option<(usize, u32)>,
    /// Index of the place for the next record; at the copy's end it must be erased first.
    next: usize,
    /// Bytes of the records in it.
    record_bytes: usize,
}

impl Copied {
    fn number(&self) -> Option<u32> {
        self.newest.map(|(_, number)| number)
    }
}

/// What a place of a copy holds.
#[expect(
    clippy::large_enum_variant,
    reason = "it is looked at and dropped, and there is no allocator"
)]
enum Found {
    Blank,
    /// A record, and the version that it was written as.
    Whole(Record, u8),
    /// A record that was not written to the end, has decayed, or cannot be read.
    Damaged,
}

/// A record could be written to neither copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwritten;

impl Journal {
    /// Reads the newest whole record, or that of a new device if there is none.
    pub(crate) fn open<F: Flash>(flash: &F) -> Journal {
        let scanned = [0, 1].map(|copy| scan(flash, copy));
        let records = scanned.iter().filter_map(|(_, record, _)| *record);
        let record = records.max_by_key(|record| record.number);
        let record = record.unwrap_or(Record::NEW);
        let mut copies = scanned.map(|(copied, ..)| copied);
        let mut attempted = record.number;
        for (copied, (_, _, damaged)) in copies.iter_mut().zip(scanned) {
            let newest = copied.number().unwrap_or(record.number);
            attempted = attempted.max(newest.saturating_add(damaged));
            // A copy that lags by more than the record being written was being erased, and flash that is erased in
            // part can look blank.
            let is_behind = |number: u32| number.saturating_add(1) < record.number;
            if copied.number().is_none_or(is_behind) {
                copied.next = place_count(flash);
            }
        }
        Journal {
            record,
            lost: attempted - record.number,
            attempted,
            copies,
        }
    }

    /// The signed key set in force; `None` while it is the firmware's own, or if the flash has lost it.
    pub(crate) fn key_set<'f, F: Flash>(&self, flash: &'f F) -> Option<&'f [u8]> {
        if self.record.key_set == 0 {
            return None;
        }
        (0..2).find_map(|copy| self.key_set_of(flash, copy))
    }

    /// The signed key set in force, as a copy has it.
    fn key_set_of<'f, F: Flash>(&self, flash: &'f F, copy: usize) -> Option<&'f [u8]> {
        if self.copies[copy].key_set != self.record.key_set {
            return None;
        }
        let at = copy * copy_bytes(flash);
        let area = flash.mapped(at..at + KEY_SET_AREA_BYTES)?;
        let (header, bytes) = area.split_first_chunk::<KEY_SET_HEADER_BYTES>()?;
        let [magic @ .., l0, l1, 0, 0, c0, c1, c2, c3] = *header else {
            return None;
        };
        let bytes = bytes.get(..usize::from(u16::from_le_bytes([l0, l1])))?;
        let is_whole =
            magic == KEY_SET_MAGIC && crc32(bytes) == u32::from_le_bytes([c0, c1, c2, c3]);
        is_whole.then_some(bytes)
    }

    /// Writes a record to both copies; it counts from the moment that this answers `Ok`, which takes one copy that
    /// reads back as written.
    ///
    /// # Errors
    /// [`Unwritten`], and then the record before still counts, here and after a reset (unless this one was whole on
    /// flash though flash said otherwise, which is as good).
    pub(crate) fn write<F: Flash>(
        &mut self,
        flash: &mut F,
        record: Record,
    ) -> Result<(), Unwritten> {
        let mut area = [0xff; KEY_SET_AREA_BYTES];
        let area = match self.key_set(flash) {
            Some(key_set) => key_set_area(key_set, &mut area),
            None => &[],
        };
        self.write_with(flash, record, area)
    }

    /// Writes a record together with a new key set: both count, or neither.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub(crate) fn write_key_set<F: Flash>(
        &mut self,
        flash: &mut F,
        record: Record,
        key_set: &[u8],
    ) -> Result<(), Unwritten> {
        let mut area = [0xff; KEY_SET_AREA_BYTES];
        // It goes before the records: each copy is begun anew.
        for copied in &mut self.copies {
            copied.next = place_count(flash);
        }
        self.write_with(flash, record, key_set_area(key_set, &mut area))
    }

    fn write_with<F: Flash>(
        &mut self,
        flash: &mut F,
        record: Record,
        area: &[u8],
    ) -> Result<(), Unwritten> {
        // A number is used once, though what bore it may never be seen: two records of one number could not be told
        // apart after a reset.
        self.attempted = self.attempted.saturating_add(1);
        let record = Record {
            number: self.attempted,
            ..record
        };
        // The copy that need not be erased first, or that is worse off, so that the better one stands meanwhile: of two
        // that are sound, the one with a record before the newest, should that one be lost.
        let [first, other] = [0, 1].map(|copy| {
            let must_erase = self.must_erase(flash, copy, record.key_set);
            let has_older = self.copies[copy]
                .newest
                .is_some_and(|(place, _)| place > FIRST_PLACE);
            (must_erase, self.is_sound(flash, copy), has_older)
        });
        let order = if other < first { [1, 0] } else { [0, 1] };
        let mut is_written = false;
        for copy in order {
            // A copy that has just been begun holds nothing but this record, and once only: it gets it once more before
            // the other copy is erased too.
            let other = 1 - copy;
            let is_lone = matches!(self.copies[other].newest, Some((FIRST_PLACE, _)));
            if is_written && is_lone && self.must_erase(flash, copy, record.key_set) {
                let _ = self.write_copy(flash, other, &record, area);
            }
            // A place that fails is spoilt; one more attempt goes behind it.
            let is_copied = (0..2).any(|_| self.write_copy(flash, copy, &record, area).is_ok());
            if is_copied {
                is_written = true;
                self.record = record;
            }
        }
        if is_written { Ok(()) } else { Err(Unwritten) }
    }

    fn write_copy<F: Flash>(
        &mut self,
        flash: &mut F,
        copy: usize,
        record: &Record,
        area: &[u8],
    ) -> Result<(), Unwritten> {
        if self.must_erase(flash, copy, record.key_set) {
            // Whatever fails next, a copy must stand that is no worse.
            let other = 1 - copy;
            let has_newest = self.has_newest(flash, other) || !self.has_newest(flash, copy);
            let has_keys = self.has_keys(flash, other) || !self.has_keys(flash, copy);
            if !(has_newest && has_keys) {
                return Err(Unwritten);
            }
            self.copies[copy] = Copied {
                key_set: record.key_set,
                newest: None,
                next: place_count(flash),
                record_bytes: RECORD_BYTES,
            };
            let start = copy * copy_bytes(flash);
            let end = start + copy_bytes(flash);
            let erased = flash.erase(start as u32, end as u32);
            if erased.is_err() || !is_blank(flash.mapped(start..end)) {
                return Err(Unwritten);
            }
            if !area.is_empty() {
                write_whole(flash, start, area)?;
            }
            self.copies[copy].next = FIRST_PLACE;
        }
        let place = self.copies[copy].next;
        self.copies[copy].next += 1;
        let at = copy * copy_bytes(flash) + place * RECORD_BYTES;
        write_whole(flash, at, &record.encode())?;
        self.copies[copy].newest = Some((place, record.number));
        Ok(())
    }

    /// Whether a copy cannot take a record under a key set as it is.
    fn must_erase<F: Flash>(&self, flash: &F, copy: usize, key_set: u32) -> bool {
        let copied = &self.copies[copy];
        let has_lost_keys = !self.has_keys(flash, copy) && self.has_keys(flash, 1 - copy);
        self.is_full(flash, copy) || copied.key_set != key_set || has_lost_keys
    }

    fn is_full<F: Flash>(&self, flash: &F, copy: usize) -> bool {
        self.copies[copy].next >= place_count(flash)
    }

    /// Whether a copy holds the newest record, and can be read.
    fn has_newest<F: Flash>(&self, flash: &F, copy: usize) -> bool {
        let Some((place, number)) = self.copies[copy].newest else {
            return false;
        };
        number == self.record.number
            && matches!(find(flash, copy, place, self.copies[copy].record_bytes), Found::Whole(record, _) if record.number == number)
    }

    /// Whether a copy holds the newest record and its key set.
    fn is_sound<F: Flash>(&self, flash: &F, copy: usize) -> bool {
        self.has_keys(flash, copy) && self.has_newest(flash, copy)
    }

    /// Whether a copy holds the key set in force, if it is not the firmware's own.
    fn has_keys<F: Flash>(&self, flash: &F, copy: usize) -> bool {
        self.record.key_set == 0 || self.key_set_of(flash, copy).is_some()
    }
}

/// Index of the first place behind the key set.
const FIRST_PLACE: usize = KEY_SET_AREA_BYTES / RECORD_BYTES;

/// Reads a copy: what is known of it, its newest record, and how many damaged ones lie behind that.
///
/// Places are used one after the other, so the last whole record is the newest, and a gap tells of an erase that did not
/// end.
fn scan<F: Flash>(flash: &F, copy: usize) -> (Copied, Option<Record>, u32) {
    let found = scan_of(flash, copy, RECORD_BYTES);
    if found.1.is_some() {
        return found;
    }
    let old = scan_of(flash, copy, OLD_RECORD_BYTES);
    if old.1.is_some() { old } else { found }
}

/// Reads a copy whose records have so many bytes; one of before version 4 has to be erased before it is written.
fn scan_of<F: Flash>(flash: &F, copy: usize, record_bytes: usize) -> (Copied, Option<Record>, u32) {
    let first_place = KEY_SET_AREA_BYTES / record_bytes;
    let (mut newest, mut record) = (None, None);
    let (mut used, mut damaged) = (first_place, 0);
    let mut has_gap = false;
    for place in (0..copy_bytes(flash) / record_bytes).rev() {
        if record.is_some() {
            has_gap |= place >= first_place && is_blank(place_of(flash, copy, place, record_bytes));
            continue;
        }
        let found = find(flash, copy, place, record_bytes);
        // Where the key set is now, there were records in version 1 alone.
        if place < first_place && !matches!(found, Found::Whole(_, 1)) {
            continue;
        }
        if !matches!(found, Found::Blank) {
            used = used.max(place + 1);
        }
        match found {
            Found::Whole(whole, _) => {
                newest = Some((place, whole.number));
                record = Some(whole);
            }
            Found::Damaged => damaged += 1,
            Found::Blank => has_gap |= used > place,
        }
    }
    let must_erase = has_gap || record_bytes != RECORD_BYTES;
    let copied = Copied {
        key_set: record.map_or(0, |record: Record| record.key_set),
        newest,
        next: if must_erase { place_count(flash) } else { used },
        record_bytes,
    };
    (copied, record, damaged)
}

fn place_of<F: Flash>(flash: &F, copy: usize, place: usize, record_bytes: usize) -> Option<&[u8]> {
    let at = copy * copy_bytes(flash) + place * record_bytes;
    flash.mapped(at..at + record_bytes)
}

fn find<F: Flash>(flash: &F, copy: usize, place: usize, record_bytes: usize) -> Found {
    let Some(bytes) = place_of(flash, copy, place, record_bytes) else {
        return Found::Damaged;
    };
    if is_blank(Some(bytes)) {
        return Found::Blank;
    }
    Record::decode(bytes).map_or(Found::Damaged, |record| Found::Whole(record, bytes[4]))
}

/// Writes bytes and reads them back.
fn write_whole<F: Flash>(flash: &mut F, at: usize, bytes: &[u8]) -> Result<(), Unwritten> {
    let written = flash.write(at as u32, bytes);
    if written.is_ok() && flash.mapped(at..at + bytes.len()) == Some(bytes) {
        Ok(())
    } else {
        Err(Unwritten)
    }
}

/// Whether bytes can be read, and as erased flash.
pub(crate) fn is_blank(bytes: Option<&[u8]>) -> bool {
    bytes.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0xff))
}

fn copy_bytes<F: Flash>(flash: &F) -> usize {
    Layout::of(flash).journal_bytes
}

fn place_count<F: Flash>(flash: &F) -> usize {
    copy_bytes(flash) / RECORD_BYTES
}

/// Lays a key set out as it is written, to whole write units of erased bytes.
fn key_set_area<'a>(key_set: &[u8], area: &'a mut [u8; KEY_SET_AREA_BYTES]) -> &'a [u8] {
    const { assert!(KEY_SET_HEADER_BYTES + KEY_SET_BYTES_MAX <= KEY_SET_AREA_BYTES) };
    let end = KEY_SET_HEADER_BYTES + key_set.len();
    area[..4].copy_from_slice(&KEY_SET_MAGIC);
    area[4..6].copy_from_slice(&(key_set.len() as u16).to_le_bytes());
    area[6..8].fill(0);
    area[8..12].copy_from_slice(&crc32(key_set).to_le_bytes());
    area[KEY_SET_HEADER_BYTES..end].copy_from_slice(key_set);
    &area[..end.next_multiple_of(WRITE_BYTES_MAX)]
}
