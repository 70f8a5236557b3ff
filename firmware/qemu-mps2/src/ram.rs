//! The memory that the agent works in: what the board leaves, in parts.

use qemu_machine::memory;
use tinyops_device::memory::{Lent, Memory};
use tinyops_device::restandard;
use tinyops_nn::Regions;
use tinyops_nn::head::{OWN_WINDOWS, own_memory_len, own_window_bytes};
use tinyops_nn::statistics::cell_count;

use crate::BLOCK_BYTES;
use crate::flash::EMBEDDING_WIDTH;

/// What is left to the stack: checking a new capsule takes the most of it, 30 kB with the agent itself.
const STACK_BYTES: usize = 36 * 1024;
/// Most classes of a model.
const CLASS_COUNT: usize = 8;
/// Features of a window at most.
const FEATURES: usize = 512;
/// Windows that a late label can still judge.
const RING_WINDOWS: usize = 48;
/// For windows that an annotator asks for.
const CHOSEN_BYTES: usize = 4 * 1024;
/// One bit for each block of a slot.
const BLOCKS_BYTES: usize = 128 * 1024 / BLOCK_BYTES as usize / 8;
/// Longest envelope.
const OUTBOX_BYTES: usize = 2048;

/// All of it.
pub struct Ram {
    arena: &'static mut [u8],
    window: &'static mut [f32],
    features: &'static mut [f32],
    scratch: &'static mut [f32],
    ring: &'static mut [u8],
    statistics: &'static mut [i32],
    moments: &'static mut [f32],
    own_head: &'static mut [f32],
    labelled: &'static mut [u8],
    chosen: &'static mut [u8],
    blocks: &'static mut [u8],
    outbox: &'static mut [u8],
}

impl Ram {
    /// Takes what is free; `None` if that is too little. What a model needs most differs most between models: of what
    /// the others leave, half is arena, a quarter the window, a quarter the front end's.
    pub fn take() -> Option<Ram> {
        let bytes = memory::take;
        let numbers = |count: usize| memory::take(4 * count).map(memory::as_words);
        let features = numbers(FEATURES)?;
        let ring = bytes(RING_WINDOWS * (1 + EMBEDDING_WIDTH))?;
        let cells = cell_count(CLASS_COUNT, EMBEDDING_WIDTH);
        let statistics = memory::as_numbers(bytes(4 * cells)?);
        let moments = numbers(restandard::memory_len(FEATURES))?;
        let own_head = numbers(own_memory_len(CLASS_COUNT, EMBEDDING_WIDTH))?;
        let labelled = bytes(OWN_WINDOWS * own_window_bytes(EMBEDDING_WIDTH))?;
        let chosen = bytes(CHOSEN_BYTES)?;
        let blocks = bytes(BLOCKS_BYTES)?;
        let outbox = bytes(OUTBOX_BYTES)?;
        let quarter = memory::free(STACK_BYTES) / 4 / 16 * 16;
        let window = numbers(quarter / 4)?;
        let scratch = numbers(quarter / 4)?;
        let arena = bytes(memory::free(STACK_BYTES) / 16 * 16)?;
        for part in [&mut *ring, labelled, chosen, blocks, outbox, arena] {
            part.fill(0);
        }
        for part in [&mut *window, features, scratch, moments, own_head] {
            part.fill(0.0);
        }
        statistics.fill(0);
        Some(Ram {
            arena,
            window,
            features,
            scratch,
            ring,
            statistics,
            moments,
            own_head,
            labelled,
            chosen,
            blocks,
            outbox,
        })
    }
}

impl Memory for Ram {
    fn lend(&mut self) -> Lent<'_> {
        Lent {
            arena: Regions::new([&mut *self.arena]),
            window: self.window,
            features: self.features,
            scratch: self.scratch,
            ring: self.ring,
            statistics: self.statistics,
            moments: self.moments,
            own_head: self.own_head,
            labelled: self.labelled,
            chosen: self.chosen,
            blocks: self.blocks,
            outbox: self.outbox,
        }
    }
}
