//! What must survive a reset, in two copies of a few pages of flash.
//!
//! Each copy begins with the key set and goes on as a row of records of 128 bytes. The newest whole record
//! (greatest number, right CRC) counts, and with it the key set of the copy that it lies in. A new record goes to
//! the next erased place of the same copy; when that is full, or a new key set comes, the other copy is erased and
//! begun: first its key set, then the record that makes it count. So at every moment one whole record stands
//! somewhere, with a whole key set before it.
//!
//! ```text
//! key set: 512 bytes, erased while the firmware's own is in force
//!   0      4   "TOPK"
//!   4      2   bytes of the signed key set
//!   6      2   zero
//!   8      4   CRC-32 of the signed key set
//!  12      n   signed key set
//!
//! record: 128 bytes
//!   0      4   "TOPJ"
//!   4      1   version 2
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
//!  56     36   transfer: digest 32, bytes u32
//!  92     12   last refusal: first 8 bytes of the digest, detail u32
//! 104      4   counter of the last statement taken up
//! 108      4   sequence number of the newest key set taken up
//! 112      4   bytes of the delta that are staged
//! 116      8   zeros
//! 124      4   CRC-32 of all before
//! ```
//! Version 1 had zeros in place of what was added, and records where the key set is now. It is still read: what is
//! written next goes to the other copy, as version 2.

use tinyops_wire::Digest;
use tinyops_wire::crc::crc32;
use tinyops_wire::downlink::What;
use tinyops_wire::frame::Reason;
use tinyops_wire::key_set::KEY_SET_BYTES_MAX;

use crate::flash::{Flash, Layout, WRITE_BYTES_MAX};
use crate::model::Refusal;

const RECORD_BYTES: usize = 128;
const MAGIC: [u8; 4] = *b"TOPJ";
const VERSION: u8 = 2;
const KEY_SET_AREA_BYTES: usize = 512;
const KEY_SET_MAGIC: [u8; 4] = *b"TOPK";
const KEY_SET_HEADER_BYTES: usize = 12;
const NOWHERE: u8 = 0xff;

/// Where a capsule lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Factory,
    SlotA,
    SlotB,
}

impl Place {
    fn from_code(code: u8) -> Option<Place> {
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
    /// Bytes of a delta that have been staged.
    pub(crate) staged_bytes: u32,
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
        staged_bytes: 0,
    };

    fn encode(&self) -> [u8; RECORD_BYTES] {
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
        }
        if let Some((digest, refusal)) = &self.refused {
            put(30, &[refusal.reason as u8]);
            put(92, digest);
            put(100, &refusal.detail.to_le_bytes());
        }
        let numbers = [self.statement_counter, self.key_set, self.staged_bytes];
        for (index, number) in numbers.iter().enumerate() {
            put(104 + 4 * index, &number.to_le_bytes());
        }
        let crc = crc32(&out[..RECORD_BYTES - 4]);
        out[RECORD_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|index| bytes[at + index]));
        let prefix = |at: usize| core::array::from_fn(|index| bytes[at + index]);
        let is_whole = bytes[..4] == MAGIC
            && matches!(bytes[4], 1 | VERSION)
            && crc32(&bytes[..RECORD_BYTES - 4]) == word(RECORD_BYTES - 4);
        if !is_whole {
            return None;
        }
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
        Some(Record {
            active: Place::from_code(bytes[5])?,
            trial: Place::from_code(bytes[6]),
            tries_left: bytes[7],
            number: word(8),
            boot_count: word(12),
            uplink_limit: word(16),
            downlink_seen: word(20),
            confirmed_sequence: word(24),
            previous: Place::from_code(bytes[28]),
            slots: [stored(32), stored(44)],
            transfer: Place::from_code(bytes[29]).map(|place| (place, wanted)),
            refused: (refusal.reason != Reason::None).then(|| (prefix(92), refusal)),
            statement_counter: word(104),
            key_set: word(108),
            staged_bytes: word(112),
        })
    }
}

/// The newest record and where the next one goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journal {
    pub(crate) record: Record,
    /// Which of the two copies holds it.
    copy: usize,
    /// Where in the copy the next record goes, in bytes; at the copy's end, the other one is next.
    next: usize,
}

impl Journal {
    /// Reads the newest whole record, or that of a new device if there is none.
    pub(crate) fn open<F: Flash>(flash: &F) -> Journal {
        let copy_bytes = Layout::of(flash).journal_bytes;
        let mut newest: Option<(Record, usize, u8)> = None;
        let copies = [0, 1].map(|copy| &flash.mapped()[copy * copy_bytes..(copy + 1) * copy_bytes]);
        for (copy, bytes) in copies.iter().enumerate() {
            let places: &[[u8; RECORD_BYTES]] = bytes.as_chunks().0;
            for (index, place) in places.iter().enumerate() {
                // Where the key set is now, there were records in version 1 alone.
                if index * RECORD_BYTES < KEY_SET_AREA_BYTES && place[4] != 1 {
                    continue;
                }
                let Some(record) = Record::decode(place) else {
                    continue;
                };
                if newest.is_none_or(|(best, ..)| record.number > best.number) {
                    newest = Some((record, copy, place[4]));
                }
            }
        }
        match newest {
            // A half-written record is not erased, so the next place is after the last used one.
            Some((record, copy, VERSION)) => {
                let places: &[[u8; RECORD_BYTES]] = copies[copy].as_chunks().0;
                let is_used = |place: &[u8; RECORD_BYTES]| place.iter().any(|&byte| byte != 0xff);
                let used = places.iter().rposition(is_used).map_or(0, |last| last + 1);
                Journal {
                    record,
                    copy,
                    next: used * RECORD_BYTES,
                }
            }
            Some((record, copy, _)) => Journal {
                record,
                copy,
                next: copy_bytes,
            },
            // Copy 0 counts as full, so that the first record begins copy 1 after erasing it.
            None => Journal {
                record: Record::NEW,
                copy: 0,
                next: copy_bytes,
            },
        }
    }

    /// The signed key set in force; `None` while it is the firmware's own, or if the flash has lost it.
    pub(crate) fn key_set<'f, F: Flash>(&self, flash: &'f F) -> Option<&'f [u8]> {
        if self.record.key_set == 0 {
            return None;
        }
        let at = self.copy * Layout::of(flash).journal_bytes;
        let area = flash.mapped().get(at..at + KEY_SET_AREA_BYTES)?;
        let (header, bytes) = area.split_first_chunk::<KEY_SET_HEADER_BYTES>()?;
        let [magic @ .., l0, l1, 0, 0, c0, c1, c2, c3] = *header else {
            return None;
        };
        let bytes = bytes.get(..usize::from(u16::from_le_bytes([l0, l1])))?;
        let is_whole =
            magic == KEY_SET_MAGIC && crc32(bytes) == u32::from_le_bytes([c0, c1, c2, c3]);
        is_whole.then_some(bytes)
    }

    /// Writes a record; it counts from the moment that this answers `Ok`.
    ///
    /// # Errors
    /// The flash's, and then the record before still counts, here and after a reset (unless this one
    /// was whole on flash when the power went, which is as good).
    pub(crate) fn write<F: Flash>(
        &mut self,
        flash: &mut F,
        record: Record,
    ) -> Result<(), F::Error> {
        let copy_bytes = Layout::of(flash).journal_bytes;
        if self.next + RECORD_BYTES > copy_bytes {
            let mut area = [0xff; KEY_SET_AREA_BYTES];
            let area = match self.key_set(flash) {
                Some(key_set) => key_set_area(key_set, &mut area),
                None => &[],
            };
            self.turn(flash, area)?;
        }
        self.append(flash, record)
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
    ) -> Result<(), F::Error> {
        let before = *self;
        let mut area = [0xff; KEY_SET_AREA_BYTES];
        self.turn(flash, key_set_area(key_set, &mut area))?;
        let written = self.append(flash, record);
        if written.is_err() {
            // The copy that was begun has the new key set and no record; it is erased again before it is used.
            *self = Journal {
                next: copy_end(flash),
                ..before
            };
        }
        written
    }

    /// Begins the other copy with a key set.
    fn turn<F: Flash>(&mut self, flash: &mut F, area: &[u8]) -> Result<(), F::Error> {
        let copy_bytes = copy_end(flash);
        let start = (1 - self.copy) * copy_bytes;
        flash.erase(start as u32, (start + copy_bytes) as u32)?;
        if !area.is_empty() {
            flash.write(start as u32, area)?;
        }
        (self.copy, self.next) = (1 - self.copy, KEY_SET_AREA_BYTES);
        Ok(())
    }

    fn append<F: Flash>(&mut self, flash: &mut F, record: Record) -> Result<(), F::Error> {
        let record = Record {
            number: self.record.number.saturating_add(1),
            ..record
        };
        let at = self.copy * copy_end(flash) + self.next;
        // A place that fails is spoilt; the next attempt goes behind it.
        self.next += RECORD_BYTES;
        flash.write(at as u32, &record.encode())?;
        self.record = record;
        Ok(())
    }
}

/// Bytes of a copy of the journal.
fn copy_end<F: Flash>(flash: &F) -> usize {
    Layout::of(flash).journal_bytes
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
