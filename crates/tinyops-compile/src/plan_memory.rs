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

/// Stands between the name of a tensor and the first byte of a part of it.
pub(crate) const PART: &str = " from byte ";

impl Placed {
    /// The name of the tensor that this is, or is a part of.
    fn whole(&self) -> &str {
        self.name
            .split_once(PART)
            .map_or(&self.name, |(name, _)| name)
    }

    /// Whether both have bytes in common, at whatever time.
    #[must_use]
    pub fn overlaps(&self, other: &Placed) -> bool {
        self.offset < other.offset + other.lifetime.bytes
            && other.offset < self.offset + self.lifetime.bytes
    }
}

/// A memory region's part of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Region {
    /// Where in the arena it begins.
    pub offset: u32,
    /// How many bytes of the region are in use.
    pub bytes: u32,
}

/// The arena over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Bytes of the arena, those of all regions.
    pub arena_bytes: u32,
    /// What of it lies in which memory region, in the order of the board's; one for most networks.
    pub regions: Vec<Region>,
    /// What no plan without overlaps can go below: the most that is needed at one step. An op that
    /// writes over its input needs less.
    pub live_bytes_max: u32,
    /// The operator of each step; the first step fills the input, the last reads the output.
    pub steps: Vec<String>,
    /// What lies where, in the order of the graph.
    pub placed: Vec<Placed>,
}

/// The moment at which an arena is fullest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Peak {
    /// Which step; 0 fills the input.
    pub step: u32,
    /// Its operator.
    pub kind: String,
    /// Bytes of the arena that are needed then; what an op writes over counts once.
    pub bytes: u32,
    /// What is needed then, the largest first.
    pub needed: Vec<Needed>,
}

/// A tensor or scratch that an op needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// Its name.
    pub name: String,
    /// How many bytes of it.
    pub bytes: u32,
}

impl std::fmt::Display for Peak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (step, kind) = (self.step, &self.kind);
        let bytes = self.bytes;
        write!(
            f,
            "the arena is fullest in step {step} ({kind}), which needs {bytes} bytes of it: "
        )?;
        for (index, needed) in self.needed.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            // Converters join the names of all that they fused; the first is the layer's.
            let mut parts = needed.name.split(';');
            let name = parts.find(|part| !part.is_empty()).unwrap_or(&needed.name);
            write!(f, "{comma}`{name}` {}", needed.bytes)?;
        }
        Ok(())
    }
}

impl MemoryPlan {
    /// The first step that needs the most bytes of the arena; `None` for an empty arena.
    #[must_use]
    pub fn peak(&self) -> Option<Peak> {
        if self.placed.is_empty() {
            return None;
        }
        let steps = 0..self.steps.len() as u32;
        // The last of the greatest, from the end on, is the first.
        let step = steps.rev().max_by_key(|&step| self.bytes_at(step))?;
        let mut needed: Vec<Needed> = Vec::new();
        for placed in self
            .placed
            .iter()
            .filter(|placed| placed.lifetime.contains(step))
        {
            let (name, bytes) = (placed.whole(), placed.lifetime.bytes);
            match needed.iter_mut().find(|needed| needed.name == name) {
                Some(needed) => needed.bytes += bytes,
                None => needed.push(Needed {
                    name: name.to_owned(),
                    bytes,
                }),
            }
        }
        needed.sort_by_key(|needed| std::cmp::Reverse(needed.bytes));
        Some(Peak {
            step,
            bytes: self.bytes_at(step),
            kind: self.steps.get(step as usize).cloned().unwrap_or_default(),
            needed,
        })
    }
}

impl MemoryPlan {
    /// How many bytes of the arena are needed at a step.
    fn bytes_at(&self, step: u32) -> u32 {
        let needed = self
            .placed
            .iter()
            .filter(|placed| placed.lifetime.contains(step));
        let mut ranges: Vec<(u32, u32)> = needed
            .map(|placed| (placed.offset, placed.offset + placed.lifetime.bytes))
            .collect();
        ranges.sort_unstable();
        let mut end = 0;
        let mut bytes = 0;
        for (first, last) in ranges {
            bytes += last.saturating_sub(first.max(end));
            end = end.max(last);
        }
        bytes
    }
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
