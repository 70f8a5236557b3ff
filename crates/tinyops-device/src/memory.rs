//! The memory that the agent works in, lent by the caller.

use tinyops_nn::Regions;

/// Memory of one agent. It outlives every step, and its sizes are the device's limits: a model that
/// needs more is refused.
pub trait Memory {
    /// Lends all of it for one step.
    fn lend(&mut self) -> Lent<'_>;
}

/// What a [`Memory`] lends.
#[derive(Debug)]
pub struct Lent<'m> {
    /// Tensors of the model; a device that has RAM in pieces lends each, in the order of its board.
    pub arena: Regions<'m>,
    /// The window being filled by single readings; may be empty where whole windows come.
    pub window: &'m mut [f32],
    /// Features of a window.
    pub features: &'m mut [f32],
    /// Working memory of the front end.
    pub scratch: &'m mut [f32],
    /// Embeddings of the newest windows, which a label may still judge: `1 + width` bytes each.
    pub ring: &'m mut [u8],
    /// Sums of labelled embeddings: `tinyops_nn::statistics::cell_count` cells.
    pub statistics: &'m mut [i32],
    /// Mean and spread of the features, to move them back to training ([`crate::restandard::memory_len`]); may be empty
    /// where that is not wanted.
    pub moments: &'m mut [f32],
    /// Heads of the device's own and what they are solved in: `tinyops_nn::head::own_memory_len` numbers; may be empty
    /// where none is wanted.
    pub own_head: &'m mut [f32],
    /// Labelled windows that they are solved from: `tinyops_nn::head::own_window_bytes` each, 8 at least and 64 at most.
    pub labelled: &'m mut [u8],
    /// Windows chosen for an annotator ([`crate::annotate::memory_len`]); may be empty where none is to be.
    pub chosen: &'m mut [u8],
    /// Which blocks of a capsule have arrived: one bit each.
    pub blocks: &'m mut [u8],
    /// The envelope being sent: at least [`OUTBOX_BYTES_MIN`].
    pub outbox: &'m mut [u8],
}

/// Room that any report needs but those in parts, which make do with what there is, and those under masks: a task whose
/// report does not fit is refused before anything is paid for it.
pub const OUTBOX_BYTES_MIN: usize = 128;

/// Memory in arrays, for a `static` of a firmware.
#[derive(Debug)]
pub struct Fixed<
    const ARENA: usize,
    const WINDOW: usize,
    const FEATURES: usize,
    const SCRATCH: usize,
    const RING: usize,
    const STATISTICS: usize,
    const MOMENTS: usize,
    const OWN_HEAD: usize,
    const LABELLED: usize,
    const CHOSEN: usize,
    const OUTBOX: usize,
> {
    arena: [u8; ARENA],
    window: [f32; WINDOW],
    features: [f32; FEATURES],
    scratch: [f32; SCRATCH],
    ring: [u8; RING],
    statistics: [i32; STATISTICS],
    moments: [f32; MOMENTS],
    own_head: [f32; OWN_HEAD],
    labelled: [u8; LABELLED],
    chosen: [u8; CHOSEN],
    blocks: [u8; 64],
    outbox: [u8; OUTBOX],
}

impl<
    const ARENA: usize,
    const WINDOW: usize,
    const FEATURES: usize,
    const SCRATCH: usize,
    const RING: usize,
    const STATISTICS: usize,
    const MOMENTS: usize,
    const OWN_HEAD: usize,
    const LABELLED: usize,
    const CHOSEN: usize,
    const OUTBOX: usize,
>
    Fixed<
        ARENA,
        WINDOW,
        FEATURES,
        SCRATCH,
        RING,
        STATISTICS,
        MOMENTS,
        OWN_HEAD,
        LABELLED,
        CHOSEN,
        OUTBOX,
    >
{
    /// Zeroed memory.
    pub const fn new() -> Self {
        const { assert!(OUTBOX >= OUTBOX_BYTES_MIN, "a report needs room") };
        Fixed {
            arena: [0; ARENA],
            window: [0.0; WINDOW],
            features: [0.0; FEATURES],
            scratch: [0.0; SCRATCH],
            ring: [0; RING],
            statistics: [0; STATISTICS],
            moments: [0.0; MOMENTS],
            own_head: [0.0; OWN_HEAD],
            labelled: [0; LABELLED],
            chosen: [0; CHOSEN],
            blocks: [0; 64],
            outbox: [0; OUTBOX],
        }
    }
}

impl<
    const ARENA: usize,
    const WINDOW: usize,
    const FEATURES: usize,
    const SCRATCH: usize,
    const RING: usize,
    const STATISTICS: usize,
    const MOMENTS: usize,
    const OWN_HEAD: usize,
    const LABELLED: usize,
    const CHOSEN: usize,
    const OUTBOX: usize,
> Default
    for Fixed<
        ARENA,
        WINDOW,
        FEATURES,
        SCRATCH,
        RING,
        STATISTICS,
        MOMENTS,
        OWN_HEAD,
        LABELLED,
        CHOSEN,
        OUTBOX,
    >
{
    fn default() -> Self {
        Self::new()
    }
}

impl<
    const ARENA: usize,
    const WINDOW: usize,
    const FEATURES: usize,
    const SCRATCH: usize,
    const RING: usize,
    const STATISTICS: usize,
    const MOMENTS: usize,
    const OWN_HEAD: usize,
    const LABELLED: usize,
    const CHOSEN: usize,
    const OUTBOX: usize,
> Memory
    for Fixed<
        ARENA,
        WINDOW,
        FEATURES,
        SCRATCH,
        RING,
        STATISTICS,
        MOMENTS,
        OWN_HEAD,
        LABELLED,
        CHOSEN,
        OUTBOX,
    >
{
    fn lend(&mut self) -> Lent<'_> {
        Lent {
            arena: Regions::new([&mut self.arena]),
            window: &mut self.window,
            features: &mut self.features,
            scratch: &mut self.scratch,
            ring: &mut self.ring,
            statistics: &mut self.statistics,
            moments: &mut self.moments,
            own_head: &mut self.own_head,
            labelled: &mut self.labelled,
            chosen: &mut self.chosen,
            blocks: &mut self.blocks,
            outbox: &mut self.outbox,
        }
    }
}
