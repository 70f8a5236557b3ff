//! Two slots, a journal and the factory's capsule: which of them the device boots.

use core::ops::Range;

use tinyops_wire::downlink::When;
use tinyops_wire::frame::Reason;
use tinyops_wire::key_set::RoleKeys;
use tinyops_wire::statement::STATEMENT_BYTES_MAX;
use tinyops_wire::{Digest, KeySet};

use crate::flash::{Flash, Layout, STATEMENT_AREA_BYTES};
use crate::journal::{Journal, Place, Record, Stored, is_blank};
use crate::model::Refusal;
use crate::trust::{KeysName, NO_KEYS};

/// Uplink sequence numbers reserved by one journal record.
const SEQUENCE_BATCH: u32 = 256;

/// Flash and what the journal says of it.
#[derive(Clone)]
pub(crate) struct Slots<F> {
    flash: F,
    layout: Layout,
    journal: Journal,
    /// Greatest downlink sequence number seen; goes into the journal with the next record.
    pub(crate) downlink_seen: u32,
}

/// How a boot begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// The first uplink sequence number that is surely new.
    pub(crate) sequence: u32,
    /// What the boot is a trial of.
    pub(crate) trial: Option<Place>,
    /// What a trial was of that has used up its boots and is over.
    pub(crate) gave_up: Option<Place>,
    /// Whether a capsule that waits may score windows in this boot.
    pub(crate) may_shadow: bool,
    /// What scored windows beside what runs, has used up its boots, and waits no more.
    pub(crate) gave_up_shadow: Option<Place>,
}

impl<F: Flash> Slots<F> {
    pub(crate) fn new(flash: F) -> Slots<F> {
        let layout = Layout::of(&flash);
        let journal = Journal::open(&flash);
        Slots {
            flash,
            layout,
            journal,
            downlink_seen: journal.record.downlink_seen,
        }
    }

    pub(crate) fn flash(&self) -> &F {
        &self.flash
    }

    pub(crate) fn flash_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    pub(crate) fn into_flash(self) -> F {
        self.flash
    }

    pub(crate) fn record(&self) -> &Record {
        &self.journal.record
    }

    /// Room for a capsule in one slot.
    pub(crate) fn slot_bytes(&self) -> usize {
        self.layout.capsule_bytes()
    }

    /// Bytes that each copy of the windows of the device's own head has.
    pub(crate) fn own_head_bytes(&self) -> usize {
        self.layout.own_head_bytes
    }

    /// Where such a copy lies.
    pub(crate) fn own_head_area(&self, copy: usize) -> Range<usize> {
        self.layout.own_head(copy)
    }

    /// The signed key set in force; `None` while it is the firmware's own, or if the flash has lost it.
    pub(crate) fn key_set(&self) -> Option<&[u8]> {
        self.journal.key_set(&self.flash)
    }

    /// Puts a key set in force, from the moment that this answers `Ok`.
    ///
    /// What was refused for want of a key may be offered again. A role in which every key is new begins its numbers
    /// anew: whoever had the old keys may have run them to their end, and what the old keys signed counts no more.
    ///
    /// # Errors
    /// [`Reason::Flash`]; the key set before then stays in force.
    pub(crate) fn take_key_set(
        &mut self,
        set: &KeySet,
        signed: &[u8],
        before: Option<&KeySet>,
    ) -> Result<(), Refusal> {
        let mut record = self.journal.record;
        record.downlink_seen = self.downlink_seen;
        record.key_set = set.sequence;
        record.refused = record
            .refused
            .filter(|(_, refusal)| refusal.reason != Reason::Signature);
        if before.is_some_and(|before| are_all_new(&set.director, &before.director)) {
            record.statement_counter = 0;
        }
        if before.is_some_and(|before| are_all_new(&set.release, &before.release)) {
            (record.confirmed_sequence, record.confirmed_digest) = (0, [0; 8]);
        }
        self.journal
            .write_key_set(&mut self.flash, record, signed)
            .map_err(|_| FLASH)
    }

    /// The statement that lies beside the capsule of a slot, whatever it is.
    pub(crate) fn statement(&self, place: Place) -> &[u8] {
        let area = place
            .slot_index()
            .and_then(|index| self.flash.mapped(self.layout.statement(index)));
        match area {
            Some([length, rest @ ..]) => rest.get(..usize::from(*length)).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Writes a statement beside where the capsule of an emptied slot will be: its length in one byte, then itself.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub(crate) fn write_statement(&mut self, place: Place, signed: &[u8]) -> Result<(), Refusal> {
        const { assert!(STATEMENT_BYTES_MAX < STATEMENT_AREA_BYTES) };
        let index = place.slot_index().ok_or(FLASH)?;
        let mut area = [0xff; STATEMENT_AREA_BYTES];
        area[0] = signed.len() as u8;
        area[1..][..signed.len()].copy_from_slice(signed);
        let area = &area[..(1 + signed.len()).next_multiple_of(F::WRITE_SIZE)];
        let start = self.layout.statement(index).start;
        self.flash.write(start as u32, area).map_err(|_| FLASH)?;
        if self.flash.mapped(start..start + area.len()) == Some(area) {
            Ok(())
        } else {
            Err(FLASH)
        }
    }

    /// The bytes of the capsule in a place; empty if it holds none.
    pub(crate) fn capsule(&self, place: Place) -> &[u8] {
        let Some(index) = place.slot_index() else {
            return self.flash.factory();
        };
        let bytes = self.record().slots[index].map_or(0, |stored| stored.bytes);
        self.block(place, 0, bytes).unwrap_or_default()
    }

    /// Where a slot begins in the region.
    pub(crate) fn slot_start(&self, place: Place) -> Option<u32> {
        Some(self.layout.slot(place.slot_index()?).start as u32)
    }

    /// Bytes of a slot at an offset, if they can be read.
    pub(crate) fn block(&self, place: Place, offset: u32, bytes: u32) -> Option<&[u8]> {
        let slot = self.layout.slot(place.slot_index()?);
        let start = slot.start + offset as usize;
        let end = start + bytes as usize;
        if end > slot.end {
            return None;
        }
        self.flash.mapped(start..end)
    }

    /// First eight bytes of the digest of the capsule in a place.
    pub(crate) fn digest_prefix(&self, place: Place) -> Option<[u8; 8]> {
        match place.slot_index() {
            Some(index) => self.record().slots[index].map(|stored| stored.digest),
            None if self.flash.factory().is_empty() => None,
            None => Some(Digest::of(self.flash.factory()).prefix()),
        }
    }

    /// Writes the journal with a change to its record.
    ///
    /// # Errors
    /// [`Reason::Flash`]; the record is then as before.
    pub(crate) fn write(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), Refusal> {
        let mut record = Record {
            downlink_seen: self.downlink_seen,
            ..self.journal.record
        };
        change(&mut record);
        self.journal
            .write(&mut self.flash, record)
            .map_err(|_| FLASH)
    }

    /// Reads the journal anew, counts the boot and takes one try of a trial, in one record.
    ///
    /// If that record cannot be written there is no trial, nor a shadow, for its tries could not be counted. Uplink numbers begin
    /// at `first_uplink` or later.
    pub(crate) fn begin_boot(&mut self, first_uplink: u32) -> Begun {
        self.journal = Journal::open(&self.flash);
        self.downlink_seen = self.record().downlink_seen;
        // A record that is lost may have reserved a batch.
        let lost = self.journal.lost.saturating_mul(SEQUENCE_BATCH);
        let sequence = self.record().uplink_limit.saturating_add(lost);
        let sequence = sequence.max(first_uplink);
        let gave_up = self
            .record()
            .trial
            .filter(|_| self.record().tries_left == 0);
        // What scores windows and stops the device by it must not do so for ever.
        let gave_up_shadow = self
            .record()
            .shadow()
            .filter(|_| self.record().tries_left == 0)
            .map(|(place, _)| place);
        let refused = gave_up.or(gave_up_shadow);
        let refused = refused.and_then(|place| self.digest_prefix(place));
        let written = self.write(|record| {
            record.boot_count = record.boot_count.saturating_add(1);
            record.uplink_limit = sequence.saturating_add(SEQUENCE_BATCH);
            record.tries_left = record.tries_left.saturating_sub(1);
            if gave_up.is_some() {
                record.trial = None;
            }
            if gave_up_shadow.is_some() {
                record.drop_held();
            }
            if gave_up.or(gave_up_shadow).is_some() {
                record.refuse(refused, Refusal::of(Reason::Tries));
            }
        });
        let trial = if written.is_ok() {
            self.record().trial
        } else {
            None
        };
        Begun {
            sequence,
            trial,
            gave_up: gave_up.filter(|_| written.is_ok()),
            may_shadow: written.is_ok(),
            gave_up_shadow: gave_up_shadow.filter(|_| written.is_ok()),
        }
    }

    /// Reserves more uplink sequence numbers when `next` is the first that is not.
    ///
    /// # Errors
    /// [`Reason::Flash`]; then `next` must not be used.
    pub(crate) fn reserve_sequence(&mut self, next: u32) -> Result<(), Refusal> {
        if next < self.record().uplink_limit {
            return Ok(());
        }
        self.write(|record| record.uplink_limit = next.saturating_add(SEQUENCE_BATCH))
    }

    /// The slot that a new capsule goes to: never the one that is read in place, nor the one that boots
    /// unless it is what keeps the device from booting it.
    pub(crate) fn target(&self, running: Option<Place>) -> Place {
        let keep = running
            .filter(|place| place.slot_index().is_some())
            .unwrap_or(self.record().active);
        if keep == Place::SlotA {
            Place::SlotB
        } else {
            Place::SlotA
        }
    }

    /// Empties a slot for a transfer.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub(crate) fn clear(&mut self, place: Place, running: Option<Place>) -> Result<(), Refusal> {
        let Some(index) = place.slot_index() else {
            return Err(FLASH);
        };
        // The journal forgets what the slot held before the slot does.
        self.write(|record| {
            record.slots[index] = None;
            record.transfer = None;
            record.held = None;
            record.when = When::AtOnce;
            record.checks = 0;
            if record.previous == Some(place) {
                record.previous = None;
            }
            if record.active == place {
                // It could not be run, or it would not be emptied.
                record.active = running.unwrap_or(Place::Factory);
            }
        })?;
        let range = self.layout.slot(index);
        self.flash
            .erase(range.start as u32, range.end as u32)
            .map_err(|_| FLASH)?;
        if is_blank(self.flash.mapped(range)) {
            Ok(())
        } else {
            Err(FLASH)
        }
    }

    /// Writes bytes of a capsule at an offset of a slot, padding the last word with ones, and reads
    /// them back.
    ///
    /// Words that are there already, from before a reset, stay as they are, and so do ones, which is
    /// what erased flash holds: no word is written twice.
    ///
    /// # Errors
    /// [`Reason::Flash`], also if other bytes are there.
    pub(crate) fn write_block(
        &mut self,
        place: Place,
        offset: u32,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let len = bytes.len() as u32;
        let stored = self.block(place, offset, len).ok_or(FLASH)?;
        let words = bytes
            .chunks(F::WRITE_SIZE)
            .zip(stored.chunks(F::WRITE_SIZE));
        let there = words.take_while(|(word, stored)| word == stored).count() * F::WRITE_SIZE;
        let there = there.min(bytes.len());
        if !is_blank(stored.get(there..)) {
            return Err(FLASH);
        }
        let slot = self.layout.slot(place.slot_index().ok_or(FLASH)?);
        let start = (slot.start + offset as usize + there) as u32;
        let missing = &bytes[there..];
        let (whole, rest) = missing.split_at(missing.len() - missing.len() % F::WRITE_SIZE);
        if !whole.is_empty() {
            self.flash.write(start, whole).map_err(|_| FLASH)?;
        }
        if !rest.is_empty() {
            let mut padded = [0xff; crate::flash::WRITE_BYTES_MAX];
            padded[..rest.len()].copy_from_slice(rest);
            let at = start + whole.len() as u32;
            self.flash
                .write(at, &padded[..F::WRITE_SIZE])
                .map_err(|_| FLASH)?;
        }
        if self.block(place, offset, len) == Some(bytes) {
            Ok(())
        } else {
            Err(FLASH)
        }
    }

    /// Notes that the capsule of the transfer is about to be checked; answers how often one has begun.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub(crate) fn begin_check(&mut self) -> Result<u8, Refusal> {
        self.write(|record| record.checks = record.checks.saturating_add(1))?;
        Ok(self.record().checks)
    }

    /// Notes that a slot holds a whole, checked capsule: the next boots shall try it, or it waits if it is to be held.
    /// Answers whether it waits.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub(crate) fn settle(
        &mut self,
        place: Place,
        stored: Stored,
        checked_by: KeysName,
        tries: u8,
    ) -> Result<bool, Refusal> {
        let waits = self.record().when.is_later();
        self.write(|record| {
            if let Some(index) = place.slot_index() {
                record.slots[index] = Some(stored);
            }
            record.transfer = None;
            record.checks = 0;
            record.held = Some(place);
            record.checked_by = checked_by;
            record.tries_left = tries;
            if !waits {
                record.begin_trial(tries);
            }
        })?;
        Ok(waits)
    }

    /// Lets go of the capsule that waits, and remembers it if it is to blame, so that it is not fetched again.
    ///
    /// # Errors
    /// [`Reason::Flash`]; it goes on waiting then.
    pub(crate) fn end_shadow(&mut self, place: Place, refusal: Refusal) -> Result<(), Refusal> {
        let digest = self.sound_digest(place);
        self.write(|record| {
            record.drop_held();
            record.refuse(digest, refusal);
        })
    }

    /// Ends a trial well: its capsule is the one that boots, and no older one may be installed.
    ///
    /// # Errors
    /// [`Reason::Flash`]; the trial then goes on.
    pub(crate) fn confirm(&mut self, place: Place, sequence: u32) -> Result<(), Refusal> {
        let digest = self.digest_prefix(place).unwrap_or_default();
        self.write(|record| {
            record.previous = Some(record.active);
            record.active = place;
            record.confirmed_digest = digest;
            record.trial = None;
            record.tries_left = 0;
            record.confirmed_sequence = record.confirmed_sequence.max(sequence);
        })
    }

    /// Ends a trial badly, and remembers its capsule so that it is not fetched again.
    ///
    /// # Errors
    /// [`Reason::Flash`]; the trial then ends when its tries are used up.
    pub(crate) fn revert_trial(&mut self, place: Place, refusal: Refusal) -> Result<(), Refusal> {
        let digest = self.sound_digest(place);
        self.write(|record| {
            record.trial = None;
            record.tries_left = 0;
            record.refuse(digest, refusal);
        })
    }

    /// The digest of the capsule in a place, if it is still that: what flash has damaged since it was checked may go
    /// well the next time.
    fn sound_digest(&self, place: Place) -> Option<[u8; 8]> {
        self.digest_prefix(place)
            .filter(|digest| Digest::of(self.capsule(place)).prefix() == *digest)
    }

    /// Whether the bytes in a slot are those that were checked when they were installed: then no signature over them need
    /// be checked again. Of what is tried or waits, which nobody has confirmed, only if that was by these same keys.
    pub(crate) fn is_installed(&self, place: Place, keys: KeysName) -> bool {
        let record = self.record();
        let is_new = [record.trial, record.held].contains(&Some(place));
        let is_known = !is_new || (keys != NO_KEYS && keys == record.checked_by);
        place.slot_index().is_some() && is_known && self.sound_digest(place).is_some()
    }

    /// What runs if the active capsule must not: the one before it, and if flash has lost that too, the factory's.
    pub(crate) fn fallbacks(&self) -> [Option<Place>; 2] {
        let active = self.record().active;
        let previous = self.record().previous;
        [previous, Some(Place::Factory)]
            .map(|place| place.filter(|place| *place != active && !self.capsule(*place).is_empty()))
    }

    /// The first of them.
    pub(crate) fn fallback(&self) -> Option<Place> {
        let [previous, factory] = self.fallbacks();
        previous.or(factory)
    }

    /// Goes back from the active capsule to another place.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub(crate) fn go_back(&mut self, place: Place, refusal: Refusal) -> Result<(), Refusal> {
        let digest = self.digest_prefix(self.record().active);
        self.write(|record| {
            record.active = place;
            record.previous = None;
            record.confirmed_digest = [0; 8];
            record.refuse(digest, refusal);
        })
    }

    /// Ends a transfer whose capsule was turned away.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub(crate) fn refuse_transfer(
        &mut self,
        digest: [u8; 8],
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        self.write(|record| {
            record.transfer = None;
            record.checks = 0;
            record.refuse(Some(digest), refusal);
        })
    }
}

/// Whether none of a role's keys was there before.
fn are_all_new(now: &RoleKeys, before: &RoleKeys) -> bool {
    now.keys().iter().all(|key| !before.keys().contains(key))
}

pub(crate) const FLASH: Refusal = Refusal::of(Reason::Flash);
