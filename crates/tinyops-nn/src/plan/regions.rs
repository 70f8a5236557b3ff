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
    pub fn regions(&self) -> impl Iterator<Item = Range<usize>> + Clone + use<'a> {
        self.parts(self.more_starts().len())
    }

    /// The arena in so many parts and one more.
    pub(crate) fn parts(
        &self,
        more: usize,
    ) -> impl Iterator<Item = Range<usize>> + Clone + use<'a> {
        let starts = self.more_starts().iter().take(more);
        let starts = starts.map(|start| u32::from_le_bytes(*start) as usize);
        let ends = starts.clone().chain([self.arena_bytes()]);
        let starts = [0].into_iter().chain(starts);
        starts.zip(ends).map(|(start, end)| start..end)
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
            let end = self.view(index).range().end as u64;
            if self.region(record.offset, end) != Some(record.region) {
                return Err(PlanError::Tensor(index));
            }
        }
        Ok(())
    }

    /// Whether the scratch of every op, all of which have passed their own check, lies in one of
    /// several regions.
    #[cfg(feature = "regions")]
    #[inline(never)]
    pub(super) fn check_scratch_regions(&self) -> Result<(), PlanError> {
        if self.more_starts.is_empty() {
            return Ok(());
        }
        for index in 0..self.header.op_count {
            let Some(op) = self.op(usize::from(index)) else {
                continue;
            };
            #[cfg(feature = "int16")]
            if self.is_wide(&op) {
                continue;
            }
            let [input, output] = [op.inputs[0], op.output].map(|tensor| self.view(tensor).shape);
            let scratch = op.scratch_bytes(input, output);
            let end = u64::from(op.scratch_offset) + scratch;
            if scratch > 0 && self.region(op.scratch_offset, end).is_none() {
                return Err(PlanError::Op(index));
            }
        }
        Ok(())
    }

    /// The region that bytes inside the arena lie in, one or more; `None` if no single one holds
    /// them.
    #[cfg(feature = "regions")]
    fn region(&self, offset: u32, end: u64) -> Option<u8> {
        // Of regions without bytes that begin at one place, the last counts: it may have some.
        let of = |byte: u64| {
            let starts = self.more_starts.iter();
            let begun = starts.filter(|start| u64::from(u32::from_le_bytes(**start)) <= byte);
            begun.count() as u8
        };
        let region = of(u64::from(offset));
        (of(end - 1) == region).then_some(region)
    }
}
