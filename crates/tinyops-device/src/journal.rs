//! What must survive a reset, in two pages of flash.
//!
//! Each page is a row of records of 128 bytes. The newest whole record (greatest number, right CRC)
//! counts. A new record goes to the next erased place of the same page; when the page is full the
//! other one is erased and begun, so that at every moment one whole record stands somewhere.
//!
//! ```text
//! offset  bytes
//!   0      4   "TOPJ"
//!   4      1   version 1
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
//!  31      1   zero
//!  32     24   slot A, then slot B: bytes u32 (0 for nothing whole), first 8 bytes of the digest
//!  56     36   transfer: digest 32, bytes u32
//!  92     12   last refusal: first 8 bytes of the digest, detail u32
//! 104     20   zeros
//! 124      4   CRC-32 of all before
//! ```

use tinyops_wire::Digest;
use tinyops_wire::crc::crc32;
use tinyops_wire::downlink::Offer;
use tinyops_wire::frame::Reason;

use crate::flash::{Flash, Layout};
use crate::model::Refusal;

const RECORD_BYTES: usize = 128;
const MAGIC: [u8; 4] = *b"TOPJ";
const VERSION: u8 = 1;
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

/// Everything that survives a reset.
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
    pub(crate) transfer: Option<(Place, Offer)>,
    pub(crate) refused: Option<([u8; 8], Refusal)>,
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
        if let Some((_, offer)) = &self.transfer {
            put(56, &offer.digest.0);
            put(88, &offer.bytes.to_le_bytes());
        }
        if let Some((digest, refusal)) = &self.refused {
            put(30, &[refusal.reason as u8]);
            put(92, digest);
            put(100, &refusal.detail.to_le_bytes());
        }
        let crc = crc32(&out[..RECORD_BYTES - 4]);
        out[RECORD_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|index| bytes[at + index]));
        let prefix = |at: usize| core::array::from_fn(|index| bytes[at + index]);
        let is_whole = bytes[..4] == MAGIC
            && bytes[4] == VERSION
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
        let offer = Offer {
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
            transfer: Place::from_code(bytes[29]).map(|place| (place, offer)),
            refused: (refusal.reason != Reason::None).then(|| (prefix(92), refusal)),
        })
    }
}

/// The newest record and where the next one goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journal {
    pub(crate) record: Record,
    page: usize,
    /// Index in the page of the next place; at the page's end, the other page is next.
    next: usize,
}

impl Journal {
    /// Reads the newest whole record, or that of a new device if there is none.
    pub(crate) fn open<F: Flash>(flash: &F) -> Journal {
        let page_bytes = Layout::of(flash).page_bytes;
        let pages = [0, 1].map(|page| &flash.mapped()[page * page_bytes..(page + 1) * page_bytes]);
        let mut newest: Option<(Record, usize)> = None;
        for (page, bytes) in pages.iter().enumerate() {
            for record in bytes.as_chunks().0.iter().filter_map(Record::decode) {
                if newest.is_none_or(|(best, _)| record.number > best.number) {
                    newest = Some((record, page));
                }
            }
        }
        match newest {
            // A half-written record is not erased, so the next place is after the last used one.
            Some((record, page)) => {
                let places: &[[u8; RECORD_BYTES]] = pages[page].as_chunks().0;
                let is_used = |place: &[u8; RECORD_BYTES]| place.iter().any(|&byte| byte != 0xff);
                let next = places.iter().rposition(is_used).map_or(0, |last| last + 1);
                Journal { record, page, next }
            }
            // Page 0 counts as full, so that the first record begins page 1 after erasing it.
            None => Journal {
                record: Record::NEW,
                page: 0,
                next: usize::MAX,
            },
        }
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
        let record = Record {
            number: self.record.number.saturating_add(1),
            ..record
        };
        let page_bytes = Layout::of(flash).page_bytes;
        if self.next >= page_bytes / RECORD_BYTES {
            let other = 1 - self.page;
            flash.erase(
                (other * page_bytes) as u32,
                ((other + 1) * page_bytes) as u32,
            )?;
            (self.page, self.next) = (other, 0);
        }
        let at = self.page * page_bytes + self.next * RECORD_BYTES;
        // A place that fails is spoilt; the next attempt goes behind it.
        self.next += 1;
        flash.write(at as u32, &record.encode())?;
        self.record = record;
        Ok(())
    }
}
