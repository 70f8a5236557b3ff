//! What a capsule carries to make scores: a plan, or a distance.

use crate::distance::{self, Distance, DistanceError};
use crate::plan::{Plan, PlanError};

/// A network or a distance, told apart by its first bytes.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// A network: quantize the features into its input, run, read its output.
    Plan(Plan<'a>),
    /// A distance over the features.
    Distance(Distance<'a>),
}

/// Why bytes are not a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// They should be a plan.
    Plan(PlanError),
    /// They should be a distance.
    Distance(DistanceError),
}

impl core::fmt::Display for ProgramError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            ProgramError::Plan(error) => error.fmt(f),
            ProgramError::Distance(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ProgramError {}

impl<'a> Program<'a> {
    /// Checks and borrows a program.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn load(bytes: &'a [u8]) -> Result<Program<'a>, ProgramError> {
        if bytes.starts_with(&distance::MAGIC) {
            Distance::load(bytes)
                .map(Program::Distance)
                .map_err(ProgramError::Distance)
        } else {
            Plan::load(bytes)
                .map(Program::Plan)
                .map_err(ProgramError::Plan)
        }
    }

    /// How many features it takes.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        match self {
            Program::Plan(plan) => plan.input().len,
            Program::Distance(distance) => distance.feature_count(),
        }
    }

    /// How many bytes of arena it needs.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        match self {
            Program::Plan(plan) => plan.arena_bytes(),
            Program::Distance(_) => 0,
        }
    }
}
