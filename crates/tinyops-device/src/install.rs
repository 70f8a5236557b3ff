//! Fetching a capsule into a slot, block by block, across resets.

use tinyops_wire::block::{BlockMap, BlockRequest};
use tinyops_wire::frame::Reason;

use crate::flash::Flash;
use crate::journal::{Place, Wanted, is_blank};
use crate::model::Refusal;
use crate::slots::Slots;

/// A capsule on its way into a slot. Which blocks have arrived is in memory lent for the step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) place: Place,
    pub(crate) wanted: Wanted,
    block_bytes: u16,
    /// Blocks asked for that have not come.
    outstanding: u32,
    asked_at_ms: Option<u64>,
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
        wanted: Wanted,
        signed_statement: &[u8],
        counter: u32,
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
        let transfer = Transfer::new(slots.target(running), wanted, block_bytes);
        let map = transfer.map(blocks).ok_or(Refusal::of(Reason::Memory))?;
        let map_bytes = (map.block_count() as usize).div_ceil(8);
        blocks[..map_bytes].fill(0);
        slots.clear(transfer.place, running)?;
        slots.write_statement(transfer.place, signed_statement)?;
        slots.write(|record| {
            record.transfer = Some((transfer.place, wanted));
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
        let transfer = Transfer::new(place, wanted, block_bytes);
        let map_bytes = transfer.map(blocks)?.block_count().div_ceil(8) as usize;
        blocks[..map_bytes].fill(0);
        let mut map = transfer.map(blocks)?;
        for index in 0..map.block_count() {
            let offset = index * u32::from(block_bytes);
            let bytes = u32::from(block_bytes).min(wanted.bytes - offset);
            // Words are written in order: one whose last word is blank may lack more, and comes again.
            let end = bytes.next_multiple_of(F::WRITE_SIZE as u32);
            let last = offset + end - F::WRITE_SIZE as u32;
            if !is_blank(slots.block(place, last, F::WRITE_SIZE as u32)) {
                map.set(index);
            }
        }
        Some(transfer)
    }

    fn new(place: Place, wanted: Wanted, block_bytes: u16) -> Transfer {
        Transfer {
            place,
            wanted,
            block_bytes,
            outstanding: 0,
            asked_at_ms: None,
        }
    }

    /// Takes a block in.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub(crate) fn accept<F: Flash>(
        &mut self,
        slots: &mut Slots<F>,
        blocks: &mut [u8],
        offset: u32,
        bytes: &[u8],
    ) -> Result<Arrival, Refusal> {
        let Some(mut map) = self.map(blocks) else {
            return Ok(Arrival::Ignored);
        };
        let Some(index) = map
            .index_of(offset, bytes.len())
            .filter(|&index| !map.has(index))
        else {
            return Ok(Arrival::Ignored);
        };
        slots.write_block(self.place, offset, bytes)?;
        map.set(index);
        self.outstanding = self.outstanding.saturating_sub(1);
        let is_complete = map.request(&self.wanted.digest).is_none();
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

    /// The next blocks to ask for, if none are on their way or they are late.
    pub(crate) fn request(
        &mut self,
        blocks: &mut [u8],
        now_ms: u64,
        retry_after_ms: u64,
    ) -> Option<BlockRequest> {
        let is_late = match self.asked_at_ms {
            Some(asked_at_ms) => now_ms.saturating_sub(asked_at_ms) >= retry_after_ms,
            None => true,
        };
        if self.outstanding > 0 && !is_late {
            return None;
        }
        let request = self.map(blocks)?.request(&self.wanted.digest)?;
        self.outstanding = request.wanted.count_ones();
        self.asked_at_ms = Some(now_ms);
        Some(request)
    }

    fn map<'m>(&self, blocks: &'m mut [u8]) -> Option<BlockMap<'m>> {
        BlockMap::new(blocks, self.wanted.bytes, self.block_bytes)
    }
}
