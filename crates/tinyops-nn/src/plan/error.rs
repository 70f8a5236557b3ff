//! Why bytes are not a plan.

use core::fmt;

/// Why bytes are not a plan. Indexes count from 0 in the plan's own tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// The bytes end before the plan does.
    Truncated,
    /// Not a plan, or a version that this crate does not know.
    Header,
    /// The memory regions are out of order, or leave the arena.
    Regions,
    /// The header names a tensor that is not there.
    NoSuchTensor,
    /// A tensor has an impossible shape, scale or region, or leaves the arena.
    Tensor(u16),
    /// An op has an unknown code, a reserved bit, or numbers out of range.
    Op(u16),
    /// The shapes of an op's tensors do not fit together.
    Shapes(u16),
    /// An op's constants leave the constants section or are out of range.
    Constants(u16),
    /// An op would overwrite what it still reads.
    Overlap(u16),
    /// The bytes begin at no multiple of 4, which this processor's kernels need.
    Misaligned,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::Truncated => f.write_str("the bytes end before the plan does"),
            PlanError::Header => f.write_str("not a plan of a known version"),
            PlanError::Regions => f.write_str("its regions are out of order or leave the arena"),
            PlanError::NoSuchTensor => f.write_str("the header names a tensor that is not there"),
            PlanError::Tensor(index) => {
                write!(f, "tensor {index} has an impossible shape, scale or place")
            }
            PlanError::Op(index) => write!(f, "op {index} is unknown or has numbers out of range"),
            PlanError::Shapes(index) => write!(f, "the shapes of op {index} do not fit together"),
            PlanError::Constants(index) => {
                write!(f, "the constants of op {index} are out of range")
            }
            PlanError::Misaligned => f.write_str("the plan begins at no multiple of 4"),
            PlanError::Overlap(index) => {
                write!(f, "op {index} would overwrite what it still reads")
            }
        }
    }
}

impl core::error::Error for PlanError {}
