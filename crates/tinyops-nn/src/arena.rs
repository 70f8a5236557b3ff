//! The memory that a plan works in: one slice, or one for each region of the plan.

use core::cell::Cell;
use core::ops::Range;

use crate::executor::{self, RunError};
use crate::plan::{Plan, WORD_KERNELS};
use crate::record::REGIONS_MAX;

/// The arena of a plan. Anything that is a slice of bytes holds all regions one after another, as
/// the plan counts its places; [`Regions`] holds each where the device has it.
pub trait Arena {
    /// Whether it has the bytes that a plan needs.
    ///
    /// # Errors
    /// [`RunError`] if not.
    fn suffices(&self, plan: &Plan<'_>) -> Result<(), RunError>;

    /// The bytes of a tensor.
    ///
    /// # Errors
    /// [`RunError`] if the arena is too small for the plan.
    ///
    /// # Panics
    /// If the range is none of a tensor of this plan.
    fn bytes(&self, plan: &Plan<'_>, range: Range<usize>) -> Result<&[u8], RunError>;

    /// [`Arena::bytes`], to be written.
    ///
    /// # Errors
    /// As [`Arena::bytes`].
    ///
    /// # Panics
    /// As [`Arena::bytes`].
    fn bytes_mut(&mut self, plan: &Plan<'_>, range: Range<usize>) -> Result<&mut [u8], RunError>;

    /// Runs the ops of a plan from one on: from 0 what [`Plan::run`] does.
    ///
    /// # Errors
    /// [`RunError`] if it is too small, or misaligned for this processor's kernels.
    fn run_from(&mut self, plan: &Plan<'_>, first_op: usize) -> Result<(), RunError>;
}

impl<T: AsRef<[u8]> + AsMut<[u8]> + ?Sized> Arena for T {
    fn suffices(&self, plan: &Plan<'_>) -> Result<(), RunError> {
        let (needed, given) = (plan.arena_bytes(), self.as_ref().len());
        if needed <= given {
            return Ok(());
        }
        Err(RunError::ArenaTooSmall { needed, given })
    }

    fn bytes(&self, plan: &Plan<'_>, range: Range<usize>) -> Result<&[u8], RunError> {
        self.suffices(plan)?;
        Ok(&self.as_ref()[range])
    }

    fn bytes_mut(&mut self, plan: &Plan<'_>, range: Range<usize>) -> Result<&mut [u8], RunError> {
        self.suffices(plan)?;
        Ok(&mut self.as_mut()[range])
    }

    fn run_from(&mut self, plan: &Plan<'_>, first_op: usize) -> Result<(), RunError> {
        plan.run_slice(self.as_mut(), first_op)
    }
}

/// A piece of memory for each region of a plan, in the plan's order: the first is the fastest.
///
/// A plan may have fewer regions; a piece that it has no region for stays as it is. A single piece
/// holds all regions, one after another.
#[derive(Debug, Default)]
pub struct Regions<'m> {
    pieces: [&'m mut [u8]; REGIONS_MAX],
    count: usize,
}

impl<'m> Regions<'m> {
    /// Takes the pieces. More than [`REGIONS_MAX`] of them do not compile.
    #[must_use]
    pub fn new<const N: usize>(pieces: [&'m mut [u8]; N]) -> Regions<'m> {
        const { assert!(N <= REGIONS_MAX, "a plan has no more regions") };
        let mut regions = Regions {
            count: N,
            ..Regions::default()
        };
        for (place, piece) in regions.pieces.iter_mut().zip(pieces) {
            *place = piece;
        }
        regions
    }

    /// Lends the same pieces for a while.
    #[must_use]
    pub fn reborrow(&mut self) -> Regions<'_> {
        Regions {
            pieces: self.pieces.each_mut().map(|piece| &mut **piece),
            count: self.count,
        }
    }

    /// The pieces.
    #[must_use]
    pub fn pieces(&self) -> &[&'m mut [u8]] {
        &self.pieces[..self.count]
    }

    /// How many of the pieces after the first a plan has regions for.
    fn more(&self, plan: &Plan<'_>) -> usize {
        match self.count {
            1 => 0,
            _ => plan.regions().count() - 1,
        }
    }

    /// The piece that a tensor lies in, and where there.
    #[inline(never)]
    fn find(
        &self,
        plan: &Plan<'_>,
        range: Range<usize>,
    ) -> Result<(usize, Range<usize>), RunError> {
        self.suffices(plan)?;
        let more = self.more(plan);
        let mut piece = more;
        while piece > 0 && plan.part(piece, more).start > range.start {
            piece -= 1;
        }
        let start = plan.part(piece, more).start;
        Ok((piece, range.start - start..range.end - start))
    }
}

impl<'m> From<&'m mut [u8]> for Regions<'m> {
    fn from(piece: &'m mut [u8]) -> Regions<'m> {
        Regions::new([piece])
    }
}

impl Arena for Regions<'_> {
    #[inline(never)]
    fn suffices(&self, plan: &Plan<'_>) -> Result<(), RunError> {
        let more = self.more(plan);
        for region in 0..=more {
            let (needed, given) = (plan.part(region, more).len(), self.pieces[region].len());
            if needed > given {
                return Err(RunError::RegionTooSmall {
                    region,
                    needed,
                    given,
                });
            }
        }
        Ok(())
    }

    fn bytes(&self, plan: &Plan<'_>, range: Range<usize>) -> Result<&[u8], RunError> {
        let (piece, range) = self.find(plan, range)?;
        Ok(&self.pieces[piece][range])
    }

    fn bytes_mut(&mut self, plan: &Plan<'_>, range: Range<usize>) -> Result<&mut [u8], RunError> {
        let (piece, range) = self.find(plan, range)?;
        Ok(&mut self.pieces[piece][range])
    }

    fn run_from(&mut self, plan: &Plan<'_>, first_op: usize) -> Result<(), RunError> {
        self.suffices(plan)?;
        let more = self.more(plan);
        let mut lent = RegionCells {
            // No tensor begins so far up.
            starts: [usize::MAX; REGIONS_MAX],
            cells: [&[]; REGIONS_MAX],
        };
        for (region, piece) in self.pieces.iter_mut().enumerate().take(more + 1) {
            let part = plan.part(region, more);
            let piece = &mut piece[..part.len()];
            aligned(piece)?;
            lent.starts[region] = part.start;
            lent.cells[region] = Cell::from_mut(piece).as_slice_of_cells();
        }
        for index in first_op..plan.op_count() {
            executor::execute(plan, index, lent);
        }
        Ok(())
    }
}

/// The cells of [`Regions`], and where each region begins in the arena of the plan that runs.
#[derive(Clone, Copy)]
struct RegionCells<'m> {
    starts: [usize; REGIONS_MAX],
    cells: [&'m [Cell<u8>]; REGIONS_MAX],
}

/// Whether memory begins where the kernels of this processor need it.
pub(crate) fn aligned(piece: &[u8]) -> Result<(), RunError> {
    if WORD_KERNELS && !piece.as_ptr().addr().is_multiple_of(4) {
        return Err(RunError::ArenaMisaligned);
    }
    Ok(())
}

/// An arena as kernels see it.
pub(crate) trait Cells<'m>: Copy {
    /// Those of a tensor or of scratch, which `Plan::load` has found to lie in one region.
    fn at(self, range: Range<usize>) -> &'m [Cell<u8>];
}

impl<'m> Cells<'m> for &'m [Cell<u8>] {
    #[inline(always)]
    fn at(self, range: Range<usize>) -> &'m [Cell<u8>] {
        &self[range]
    }
}

impl<'m> Cells<'m> for RegionCells<'m> {
    #[inline(never)]
    fn at(self, range: Range<usize>) -> &'m [Cell<u8>] {
        // Of regions without bytes that begin at one place, the last counts.
        let more = self.starts[1..].iter();
        let region = more.filter(|&&start| start <= range.start).count();
        let start = self.starts[region];
        &self.cells[region][range.start - start..range.end - start]
    }
}
