//! The memory that the agent works in.

use tinyops_device::memory::{Lent, Memory};
use tinyops_nn::Regions;
use tinyops_nn::statistics::cell_count;

const ARENA_BYTES: usize = 64 * 1024;
const WINDOW: usize = 3 * 512;
const FEATURES: usize = 256;
const SCRATCH: usize = 2048;
const CLASSES: usize = 8;
const WIDTH: usize = 32;
const RING_WINDOWS: usize = 32;
/// A bit for each block of 512 bytes of a slot.
const BLOCKS_BYTES: usize = 64;
const OUTBOX_BYTES: usize = 512;

/// All of it.
pub struct Ram {
    arena: Aligned,
    window: [f32; WINDOW],
    features: [f32; FEATURES],
    scratch: [f32; SCRATCH],
    ring: [u8; RING_WINDOWS * (1 + WIDTH)],
    statistics: [i32; cell_count(CLASSES, WIDTH)],
    blocks: [u8; BLOCKS_BYTES],
    outbox: [u8; OUTBOX_BYTES],
}

/// Kernels of the M4F read words.
#[repr(align(16))]
struct Aligned([u8; ARENA_BYTES]);

impl Ram {
    /// Memory that holds nothing.
    pub const fn new() -> Ram {
        Ram {
            arena: Aligned([0; ARENA_BYTES]),
            window: [0.0; WINDOW],
            features: [0.0; FEATURES],
            scratch: [0.0; SCRATCH],
            ring: [0; RING_WINDOWS * (1 + WIDTH)],
            statistics: [0; cell_count(CLASSES, WIDTH)],
            blocks: [0; BLOCKS_BYTES],
            outbox: [0; OUTBOX_BYTES],
        }
    }
}

/// The one piece of it.
pub struct Lender(pub &'static mut Ram);

impl Memory for Lender {
    fn lend(&mut self) -> Lent<'_> {
        let ram = &mut *self.0;
        Lent {
            arena: Regions::new([&mut ram.arena.0[..]]),
            window: &mut ram.window,
            features: &mut ram.features,
            scratch: &mut ram.scratch,
            ring: &mut ram.ring,
            statistics: &mut ram.statistics,
            moments: &mut [],
            own_head: &mut [],
            labelled: &mut [],
            chosen: &mut [],
            blocks: &mut ram.blocks,
            outbox: &mut ram.outbox,
        }
    }
}
