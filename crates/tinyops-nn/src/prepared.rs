//! A plan with its weights laid out for the instructions of the host.

use core::cell::Cell;

use crate::arch;
use crate::arch::host::Line;
use crate::executor::{self, RunError};
use crate::isa::Isa;
use crate::plan::Plan;
use crate::shape::{Lent, Shape};

/// A plan that runs with the instructions of the host, byte for byte as [`Plan::run`] does.
///
/// Weights and numbers are laid out once, in memory that the caller lends. Several threads may
/// run one `Prepared`, each with an arena and working memory of its own.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'a> {
    plan: Plan<'a>,
    isa: Isa,
    /// A line for each op, then what [`Shape::pack`] made of each.
    memory: &'a [Line],
    work_lines: usize,
}

impl<'a> Plan<'a> {
    /// How many lines of memory [`Plan::prepare`] needs for these instructions.
    #[must_use]
    pub fn prepared_lines(&self, isa: Isa) -> usize {
        let packed = self
            .ops()
            .map(|op| Shape::of(self, &op, isa).packed_lines());
        self.op_count() + packed.sum::<usize>()
    }

    /// Lays the weights out for these instructions. For [`Isa::Portable`], or any that this
    /// processor does not have, the portable kernels run.
    ///
    /// `None` if the memory has fewer lines than [`Plan::prepared_lines`].
    #[must_use]
    pub fn prepare(&self, isa: Isa, memory: &'a mut [Line]) -> Option<Prepared<'a>> {
        let memory = memory.get_mut(..self.prepared_lines(isa))?;
        let isa = if isa.is_available() {
            isa
        } else {
            Isa::Portable
        };
        let (verdicts, mut rest) = memory.split_at_mut(self.op_count());
        let mut work_lines = 0;
        for (verdict, op) in verdicts.iter_mut().zip(self.ops()) {
            let shape = Shape::of(self, &op, isa);
            let (packed, others) = rest.split_at_mut(shape.packed_lines());
            let packed = shape.pack(self, &op, isa, Line::slice_mut(packed));
            if packed.is_own {
                work_lines = work_lines.max(shape.work_lines());
            }
            packed.write(verdict);
            rest = others;
        }
        Some(Prepared {
            plan: *self,
            isa,
            memory,
            work_lines,
        })
    }
}

impl<'a> Prepared<'a> {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan<'a> {
        &self.plan
    }

    /// The instructions that compute.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How many lines of working memory a run needs.
    #[must_use]
    pub fn work_lines(&self) -> usize {
        self.work_lines
    }

    /// [`Plan::run`], with working memory that holds nothing from one run to the next.
    ///
    /// # Errors
    /// [`RunError`] if one of the two is too small; the arena is then untouched.
    pub fn run(&self, arena: &mut [u8], work: &mut [Line]) -> Result<(), RunError> {
        self.run_observed(arena, work, |_, _| {})
    }

    /// [`Prepared::run`] that shows the arena after each op.
    ///
    /// # Errors
    /// As [`Prepared::run`].
    pub fn run_observed(
        &self,
        arena: &mut [u8],
        work: &mut [Line],
        mut observe: impl FnMut(usize, &[u8]),
    ) -> Result<(), RunError> {
        let (needed, given) = (self.plan.arena_bytes(), arena.len());
        let arena = arena
            .get_mut(..needed)
            .ok_or(RunError::ArenaTooSmall { needed, given })?;
        let (needed, given) = (self.work_lines, work.len());
        let work = work
            .get_mut(..needed)
            .ok_or(RunError::WorkTooSmall { needed, given })?;
        let (verdicts, mut rest) = self.memory.split_at(self.plan.op_count());
        // Whether what a convolution made waits for the sum that it goes into.
        let mut is_waiting = false;
        for (index, (op, verdict)) in self.plan.ops().zip(verdicts).enumerate() {
            let shape = Shape::of(&self.plan, &op, self.isa);
            let (packed, others) = rest.split_at(shape.packed_lines());
            rest = others;
            let cells = Cell::from_mut(&mut *arena).as_slice_of_cells();
            let lent = Lent {
                verdict,
                packed: Line::slice(packed),
                work: &mut *work,
                arena: cells,
                is_waiting,
            };
            let done = shape.run(&self.plan, &op, lent, |task| arch::run(self.isa, task));
            is_waiting = done && op.goes_into_sum();
            if !done {
                executor::execute(&self.plan, index, cells);
            }
            observe(index, arena);
        }
        Ok(())
    }
}
