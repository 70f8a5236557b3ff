//! Where each tensor lies in the arena, and when.

use serde::Serialize;

/// Every tensor begins at a multiple of this, so that wide loads of any kernel are aligned.
pub const ARENA_ALIGN: u32 = 16;

/// Bytes that are needed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lifetime {
    /// How many bytes.
    pub bytes: u32,
    /// The first step that uses them.
    pub first: u32,
    /// The last step that uses them.
    pub last: u32,
}

impl Lifetime {
    /// Whether both are needed at some step.
    #[must_use]
    pub fn meets(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether the bytes are needed at a step.
    #[must_use]
    pub fn contains(&self, step: u32) -> bool {
        self.first <= step && step <= self.last
    }
}

/// Bytes of a known lifetime at a known place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// For people: the tensor's name.
    pub name: String,
    /// The first byte in the arena.
    pub offset: u32,
    /// How many bytes and when.
    pub lifetime: Lifetime,
}

impl Placed {
    /// Whether both have bytes in common, at whatever time.
    #[must_use]
    pub fn overlaps(&self, other: &Placed) -> bool {
        self.offset < other.offset + other.lifetime.bytes
            && other.offset < self.offset + self.lifetime.bytes
    }
}

/// The arena over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Bytes of the arena.
    pub arena_bytes: u32,
    /// What no plan without overlaps can go below: the most that is needed at one step. An op that
    /// writes over its input needs less.
    pub live_bytes_max: u32,
    /// The operator of each step; the first step fills the input, the last reads the output.
    pub steps: Vec<String>,
    /// What lies where, in the order of the graph.
    pub placed: Vec<Placed>,
}

/// The most bytes needed at one step, each as often as it is needed.
pub(crate) fn live_bytes_max(placed: &[Placed]) -> u32 {
    let live = |step: u32| {
        let needed = placed
            .iter()
            .filter(|placed| placed.lifetime.contains(step));
        needed.fold(0u32, |sum, placed| {
            sum.saturating_add(placed.lifetime.bytes)
        })
    };
    let steps = placed.iter().map(|placed| live(placed.lifetime.first));
    steps.max().unwrap_or(0)
}
