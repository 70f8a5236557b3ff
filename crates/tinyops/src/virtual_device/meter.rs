//! What a window costs a virtual device: time by this machine's clock, memory by paint.

use std::time::Duration;

use tinyops_device::Measured;

use super::Buffers;

/// A byte that memory is painted with, and a number of such bytes.
const PAINT: u8 = 0xa5;
const PAINT_WORD: f32 = f32::from_bits(u32::from_ne_bytes([PAINT; 4]));

/// Windows after a boot that memory is looked through at, and then one in so many: it is large, and the same code runs
/// over it.
const FIRST: u32 = 2;
const EVERY: u32 = 64;

/// The meter of one device.
pub(super) struct Meter {
    ram_total_bytes: u32,
    windows: u32,
    ram_bytes: u32,
}

impl Meter {
    /// A meter of a board with so much RAM.
    pub(super) fn new(ram_total_bytes: u32) -> Self {
        Self {
            ram_total_bytes,
            windows: 0,
            ram_bytes: 0,
        }
    }

    /// Begins anew at a boot: what the model works in is painted.
    pub(super) fn boot(&mut self, buffers: &mut Buffers) {
        buffers.arena.fill(PAINT);
        for words in [
            &mut buffers.window,
            &mut buffers.features,
            &mut buffers.scratch,
        ] {
            words.fill(PAINT_WORD);
        }
        (self.windows, self.ram_bytes) = (0, 0);
    }

    /// What the newest window cost.
    pub(super) fn window(&mut self, took: Duration, buffers: &Buffers) -> Measured {
        if self.windows < FIRST || self.windows.is_multiple_of(EVERY) {
            self.ram_bytes = touched_bytes(buffers);
        }
        self.windows = self.windows.wrapping_add(1);
        Measured {
            micros: took.as_micros().try_into().unwrap_or(u32::MAX),
            ram_bytes: self.ram_bytes,
            ram_total_bytes: self.ram_total_bytes,
        }
    }
}

/// Bytes of each buffer up to the last one that is painted no more. What lies beside them on a board (stack, drivers)
/// this machine has no equal of.
fn touched_bytes(buffers: &Buffers) -> u32 {
    let is_touched = |word: &f32| word.to_bits() != PAINT_WORD.to_bits();
    let arena = buffers.arena.iter().rposition(|byte| *byte != PAINT);
    let words = [&buffers.window, &buffers.features, &buffers.scratch];
    let touched = words.map(|words| words.iter().rposition(is_touched));
    let words: usize = touched.iter().flatten().map(|last| last + 1).sum();
    let bytes = arena.map_or(0, |last| last + 1) + size_of::<f32>() * words;
    bytes.try_into().unwrap_or(u32::MAX)
}
