//! The memory regions of a plan.

use core::ops::Range;

use super::Plan;
#[cfg(feature = "regions")]
use super::PlanError;
#[cfg(feature = "regions")]
use crate::record::REGION_ALIGN;
use crate::record::REGION_BYTES;

impl<'a> Plan<'a> {
    /// The memory regions, each with the bytes of the arena that lie there.
    pub fn regions(&self) -> impl Iterator<Item = Range<usize>> + Clone + '_ {
        let more = self.more_starts().len();
        (0..=more).map(move |part| self.part(part, more))
    }

    /// One part of the arena, cut where so many regions after the first begin.
    pub(crate) fn part(&self, index: usize, more: usize) -> Range<usize> {
        let start = |region: usize| match self.more_starts().get(region) {
            Some(start) => u32::from_le_bytes(*start) as usize,
            None => self.arena_bytes(),
        };
        let first = if index == 0 { 0 } else { start(index - 1) };
        let end = if index < more {
            start(index)
        } else {
            self.arena_bytes()
        };
        first..end
    }

    /// Where each region after the first begins in the arena; a build that knows one has none.
    fn more_starts(&self) -> &'a [[u8; REGION_BYTES]] {
        #[cfg(feature = "regions")]
        return self.more_starts;
        #[cfg(not(feature = "regions"))]
        &[]
    }

    /// Whether several regions are in order, and every tensor lies in the one that it names.
    #[cfg(feature = "regions")]
    #[inline(never)]
    pub(super) fn check_regions(&self) -> Result<(), PlanError> {
        if self.more_starts.is_empty() {
            return Ok(());
        }
        let mut least = 0;
        for start in self.more_starts {
            let start = u32::from_le_bytes(*start);
            let is_sound = (least..=self.header.arena_bytes).contains(&start);
            if !is_sound || !start.is_multiple_of(REGION_ALIGN) {
                return Err(PlanError::Regions);
            }
            least = start;
        }
        for index in 0..self.header.tensor_count {
            let record = self.tensor_record(index).ok_or(PlanError::Tensor(index))?;
            let end = self.view(index).range().end as u32;
            if self.region(record.offset, end) != Some(record.region) {
                return Err(PlanError::Tensor(index));
            }
        }
        Ok(())
    }

    /// The region that bytes inside the arena lie in, one or more; `None` if no single one holds
    /// them.
    #[cfg(feature = "regions")]
    #[inline(never)]
    pub(super) fn region(&self, offset: u32, end: u32) -> Option<u8> {
        // Of regions without bytes that begin at one place, the last counts: it may have some.
        let mut regions = [0, 0];
        for start in self.more_starts {
            let start = u32::from_le_bytes(*start);
            regions[0] += u8::from(start <= offset);
            regions[1] += u8::from(start < end);
        }
        (regions[0] == regions[1]).then_some(regions[0])
    }
}
