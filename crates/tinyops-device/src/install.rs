//! Fetching a capsule into a slot, block by block, across resets.

use tinyops_wire::Digest;
use tinyops_wire::block::{BlockMap, BlockRequest};
use tinyops_wire::capsule::Unverified;
use tinyops_wire::downlink::{Offer, What, When};
use tinyops_wire::frame::{Reason, Update, UpdateState};

use crate::agent::{Agent, ended, succeeded};
use crate::flash::Flash;
use crate::journal::{Place, Stored, Wanted, is_blank};
use crate::memory::Memory;
use crate::model::Refusal;
use crate::running::{Running, claimed};
use crate::slots::Slots;

/// A capsule on its way into a slot. Which blocks have arrived is in memory lent for the step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) place: Place,
    pub(crate) wanted: Wanted,
    /// Where in the slot its bytes go.
    start: u32,
    /// Whether no reset has interrupted it, so that what reads as erased is.
    is_fresh: bool,
    block_bytes: u16,
    /// Blocks asked for that have not come.
    outstanding: u32,
    /// When blocks were asked for, or the last one came; none if they are to be asked for at once.
    active_at_ms: Option<u64>,
}

/// What a block did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It belongs elsewhere, or had come before.
    Ignored,
    /// It is in the slot.
    Stored,
    /// It was the last.
    Complete,
}

impl Transfer {
    /// Begins a transfer in an emptied slot, and takes its statement up.
    ///
    /// # Errors
    /// [`Reason::SlotTooSmall`], [`Reason::Memory`] or [`Reason::Flash`].
    pub(crate) fn begin<F: Flash>(
        slots: &mut Slots<F>,
        (wanted, when): (Wanted, When),
        (signed_statement, counter): (&[u8], u32),
        blocks: &mut [u8],
        block_bytes: u16,
        running: Option<Place>,
    ) -> Result<Transfer, Refusal> {
        if wanted.bytes as usize > slots.slot_bytes() || wanted.bytes == 0 {
            return Err(Refusal {
                reason: Reason::SlotTooSmall,
                detail: wanted.bytes,
            });
        }
        let start = slots.start_of(&wanted);
        let transfer = Transfer {
            is_fresh: true,
            ..Transfer::new(slots.target(running), wanted, start, block_bytes)
        };
        let map = transfer.map(blocks).ok_or(Refusal::of(Reason::Memory))?;
        let map_bytes = (map.block_count() as usize).div_ceil(8);
        blocks[..map_bytes].fill(0);
        slots.clear(transfer.place, running)?;
        slots.write_statement(transfer.place, signed_statement)?;
        slots.write(|record| {
            record.transfer = Some((transfer.place, wanted));
            record.when = when;
            record.statement_counter = counter;
        })?;
        Ok(transfer)
    }

    /// Takes up a transfer that a reset interrupted: blocks whose last word is not erased have arrived.
    ///
    /// A word that was being written may be wrong; the digest tells in the end.
    pub(crate) fn resume<F: Flash>(
        slots: &Slots<F>,
        blocks: &mut [u8],
        block_bytes: u16,
    ) -> Option<Transfer> {
        let (place, wanted) = slots.record().transfer?;
        let start = slots.start_of(&wanted);
        let transfer = Transfer::new(place, wanted, start, block_bytes);
        let map_bytes = transfer.map(blocks)?.block_count().div_ceil(8) as usize;
        blocks[..map_bytes].fill(0);
        let mut map = transfer.map(blocks)?;
        for index in 0..map.block_count() {
            let offset = index * u32::from(block_bytes);
            let bytes = u32::from(block_bytes).min(wanted.bytes - offset);
            // Words are written in order: one whose last word is blank may lack more, and comes again.
            let end = bytes.next_multiple_of(F::WRITE_SIZE as u32);
            let last = start + offset + end - F::WRITE_SIZE as u32;
            if !is_blank(slots.block(place, last, F::WRITE_SIZE as u32)) {
                map.set(index);
            }
        }
        Some(transfer)
    }

    fn new(place: Place, wanted: Wanted, start: u32, block_bytes: u16) -> Transfer {
        Transfer {
            place,
            wanted,
            start,
            is_fresh: false,
            block_bytes,
            outstanding: 0,
            active_at_ms: None,
        }
    }

    /// Asks again at once: what is on its way comes over another link, if it comes.
    pub(crate) fn ask_again(&mut self) {
        self.active_at_ms = None;
    }

    /// Takes a block in, or several that follow each other: what has come before is passed over.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub(crate) fn accept<F: Flash>(
        &mut self,
        slots: &mut Slots<F>,
        blocks: &mut [u8],
        (offset, bytes): (u32, &[u8]),
        now_ms: u64,
    ) -> Result<Arrival, Refusal> {
        let Some(mut map) = self.map(blocks) else {
            return Ok(Arrival::Ignored);
        };
        let pieces = || {
            (offset..)
                .step_by(usize::from(self.block_bytes))
                .zip(bytes.chunks(self.block_bytes.into()))
        };
        let belong = pieces().all(|(at, piece)| map.index_of(at, piece.len()).is_some());
        let mut stored = 0;
        for (at, piece) in pieces().filter(|_| belong) {
            let index = map.index_of(at, piece.len());
            if let Some(index) = index.filter(|&index| !map.has(index)) {
                slots.write_block(self.place, self.start + at, piece)?;
                map.set(index);
                stored += 1;
            }
        }
        if stored == 0 {
            return Ok(Arrival::Ignored);
        }
        let is_complete = map.request(&self.wanted.digest).is_none();
        self.outstanding = self.outstanding.saturating_sub(stored);
        // While blocks come none is late: a slow link takes its time over a window.
        self.active_at_ms = self.active_at_ms.and(Some(now_ms));
        Ok(if is_complete {
            Arrival::Complete
        } else {
            Arrival::Stored
        })
    }

    /// Whether every block has arrived.
    pub(crate) fn is_complete(&self, blocks: &mut [u8]) -> bool {
        self.map(blocks)
            .is_some_and(|map| map.request(&self.wanted.digest).is_none())
    }

    /// The next blocks to ask for, `joined` in one, if none are on their way or they are late.
    pub(crate) fn request(
        &mut self,
        blocks: &mut [u8],
        joined: u16,
        now_ms: u64,
        retry_after_ms: u64,
    ) -> Option<BlockRequest> {
        let is_late = match self.active_at_ms {
            Some(active_at_ms) => now_ms.saturating_sub(active_at_ms) >= retry_after_ms,
            None => true,
        };
        if self.outstanding > 0 && !is_late {
            return None;
        }
        let map = self.map(blocks)?;
        let request = map.request_joined(&self.wanted.digest, joined)?;
        self.outstanding = map.missing_of(&request);
        self.active_at_ms = Some(now_ms);
        Some(request)
    }

    fn map<'m>(&self, blocks: &'m mut [u8]) -> Option<BlockMap<'m>> {
        BlockMap::new(blocks, self.wanted.bytes, self.block_bytes)
    }
}

impl<F: Flash, M: Memory> Agent<F, M> {
    pub(crate) fn offer(&mut self, offer: Offer<'_>) {
        let wanted = Wanted {
            what: offer.what,
            digest: offer.digest,
            bytes: offer.bytes,
        };
        let record = *self.slots.record();
        let digest: [u8; 8] = offer.digest.prefix();
        let is_of = |running: &&Running| self.slots.digest_prefix(running.place) == Some(digest);
        if record.trial.is_some() || self.pending.reboot {
            // One trial at a time, and what runs is not what boots before a reset; the server offers
            // again what it still wants afterwards. A trial whose boot could not be written down has not
            // begun: it gets another.
            self.pending.reboot |= !self.is_on_trial();
        } else if let Some(running) = self.running.as_ref().filter(is_of) {
            self.pending.update = Some(succeeded(UpdateState::Confirmed, running));
        } else if let Some((_, refusal)) = record.refused.filter(|(refused, _)| *refused == digest)
        {
            self.pending.update = Some(ended(UpdateState::Refused, refusal));
        } else if self
            .transfer
            .is_none_or(|transfer| transfer.wanted != wanted)
        {
            if offer.statement.is_none() && self.hellos_left > 0 {
                // Who offers so has not heard what this device takes: its hello was lost on the way.
                self.hellos_left -= 1;
                self.pending.hello = true;
                return;
            }
            self.begin_transfer(wanted, offer.when, offer.statement);
        } else if record.when != offer.when {
            // If this cannot be written, the next offer says it again.
            let _ = self.slots.write(|record| record.when = offer.when);
        }
    }

    /// Begins a transfer that a director wants. What is under way goes on if the new one is turned away.
    fn begin_transfer(&mut self, wanted: Wanted, when: When, statement: Option<&[u8]>) {
        let offered = self.check_offered(statement);
        // A delta does not bear the digest of what it makes; the statement tells.
        let manifest = offered.ok().map(|statement| statement.manifest);
        let is_wanted = |running: &&Running| Some(running.manifest) == manifest;
        if let Some(running) = self.running.as_ref().filter(is_wanted) {
            self.pending.update = Some(succeeded(UpdateState::Confirmed, running));
            return;
        }
        if manifest.is_some() && self.held_manifest() == manifest {
            return self.offer_of_held(when);
        }
        let begun = offered.and_then(|checked| {
            Transfer::begin(
                &mut self.slots,
                (wanted, when),
                (statement.unwrap_or_default(), checked.counter),
                self.memory.lend().blocks,
                self.config.block_bytes,
                self.running.as_ref().map(|running| running.place),
            )
        });
        self.pending.update = Some(match begun {
            Ok(transfer) => {
                self.transfer = Some(transfer);
                self.shadow = None;
                ended(UpdateState::Downloading, Refusal::of(Reason::None))
            }
            Err(refusal) => {
                // Flash that failed has failed in the middle: what was there is gone.
                if refusal.reason == Reason::Flash {
                    (self.transfer, self.shadow) = (None, None);
                }
                ended(UpdateState::Refused, refusal)
            }
        });
    }

    /// Digest of the manifest of the capsule that waits, as long as the statement that it came with counts.
    fn held_manifest(&self) -> Option<Digest> {
        let place = self.slots.record().held?;
        let capsule = Unverified::parse(self.slots.capsule(place)).ok()?;
        let manifest = capsule.manifest_digest();
        self.check_stated(place, &manifest, false).ok()?;
        Some(manifest)
    }

    /// The capsule that waits is offered again: to go on waiting, to score windows meanwhile, or to be installed.
    fn offer_of_held(&mut self, when: When) {
        let record = self.slots.record();
        let (Some(place), tries) = (record.held, self.config.tries) else {
            return;
        };
        let is_as_before = record.when == when;
        let begun = match when {
            _ if is_as_before && (self.shadow.is_some() || when == When::Later) => Ok(()),
            When::AtOnce => self.slots.write(|record| record.begin_trial(tries)),
            When::Later | When::Shadow { .. } => self.slots.write(|record| {
                record.when = when;
                record.tries_left = tries;
            }),
        };
        if begun.is_ok() && !(is_as_before && self.shadow.is_some()) {
            self.resume_shadow();
        }
        if self.slots.record().held.is_none() && when.is_later() {
            // It has just been let go, and that is said.
            return;
        }
        self.pending.reboot |= when == When::AtOnce && begun.is_ok();
        let state = match (when, begun) {
            (_, Err(_)) => UpdateState::Refused,
            (When::AtOnce, _) => UpdateState::Installed,
            (When::Later | When::Shadow { .. }, _) => UpdateState::Held,
        };
        let (model, sequence) = claimed(self.slots.capsule(place));
        self.pending.update = Some(Update {
            model,
            sequence,
            ..ended(state, begun.err().unwrap_or(Refusal::of(Reason::None)))
        });
    }

    pub(crate) fn block(
        &mut self,
        digest: Option<[u8; 8]>,
        (offset, bytes): (u32, &[u8]),
        now_ms: u64,
    ) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if digest.is_some_and(|digest| digest != transfer.wanted.digest.prefix()) {
            return;
        }
        let blocks = self.memory.lend().blocks;
        match transfer.accept(&mut self.slots, blocks, (offset, bytes), now_ms) {
            Ok(Arrival::Complete) => self.finish_transfer(),
            Ok(Arrival::Stored | Arrival::Ignored) => {}
            Err(refusal) => self.refuse_transfer(refusal),
        }
    }

    /// Every block is there: checks the whole, and lets the next boot try it, unless it is to wait.
    pub(crate) fn finish_transfer(&mut self) {
        let Some(Transfer { place, wanted, .. }) = self.transfer else {
            return;
        };
        let is_endless = match self.slots.begin_check() {
            Ok(checks) => checks > self.config.tries.saturating_add(1),
            Err(refusal) => return self.refuse_transfer(refusal),
        };
        if is_endless {
            // Checking it has stopped the device each time.
            return self.refuse_transfer(Refusal::of(Reason::Tries));
        }
        if let Err(refusal) = self.take_transfer(place, &wanted) {
            self.refuse_transfer(refusal);
        }
    }

    /// Checks what has been fetched, notes it, and says so.
    #[inline(never)]
    fn take_transfer(&mut self, place: Place, wanted: &Wanted) -> Result<(), Refusal> {
        let stored = self.take_stored(place, wanted)?;
        let mut found = None;
        self.check_new(place, stored.bytes, stored.digest, true, &mut found)?;
        let Some(running) = &found else {
            return Err(Refusal::of(Reason::Malformed));
        };
        self.note_transfer(place, stored, running)
    }

    /// Notes what has been checked: it waits, as a candidate if it is to be one, or is tried by the next boot.
    #[inline(never)]
    fn note_transfer(
        &mut self,
        place: Place,
        stored: Stored,
        running: &Running,
    ) -> Result<(), Refusal> {
        let shadow = self.candidate(running, stored.bytes)?;
        let waits = self
            .slots
            .settle(place, stored, self.in_force.name(), self.config.tries)?;
        let state = match waits {
            true => UpdateState::Held,
            false => UpdateState::Installed,
        };
        self.pending.update = Some(succeeded(state, running));
        self.shadow = shadow;
        self.transfer = None;
        self.pending.reboot |= !waits;
        Ok(())
    }

    /// What has been fetched, as it lies in its slot: a delta applied.
    #[inline(never)]
    fn take_stored(&mut self, place: Place, wanted: &Wanted) -> Result<Stored, Refusal> {
        match wanted.what {
            What::Capsule => self.slots.fetched(place, wanted),
            What::Delta => {
                let base = self.running.as_ref().map(|running| running.place);
                let is_blank = self.transfer.is_some_and(|transfer| transfer.is_fresh);
                self.slots.unpack(place, wanted, base, is_blank)
            }
        }
    }

    #[inline(never)]
    fn refuse_transfer(&mut self, refusal: Refusal) {
        let Some(Transfer { place, wanted, .. }) = self.transfer.take() else {
            return;
        };
        let bytes = match (refusal.reason, wanted.what) {
            // What has stopped the device again and again is not looked at once more.
            (Reason::Tries, _) => 0,
            (_, What::Capsule) => wanted.bytes,
            (_, What::Delta) => self.slots.unpacked_bytes(place, &wanted),
        };
        let capsule = self.slots.block(place, 0, bytes);
        let (model, sequence) = claimed(capsule.unwrap_or_default());
        self.pending.update = Some(Update {
            model,
            sequence,
            ..ended(UpdateState::Refused, refusal)
        });
        // If this cannot be written, the next boot finds the transfer and turns it away again.
        let _ = self.slots.refuse_transfer(wanted.digest.prefix(), refusal);
    }
}
