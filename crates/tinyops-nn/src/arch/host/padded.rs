//! A copy of an op's input with its padding around it: the kernels then know no borders, and the
//! output may lie over the input.

use core::cell::Cell;

use super::lanes::{GROUP_BYTES, Lanes};

/// Bytes that are written behind a copy, so that whole vectors may be.
pub(crate) const OVERRUN_BYTES: usize = 64;

/// How the copy lies: rows of pixels, as an op with strides of its own reads them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Padded {
    /// Rows, columns and channels of the input.
    pub(crate) input: [usize; 3],
    /// Rows and columns of the copy.
    pub(crate) size: [usize; 2],
    /// Padding before the first row and column.
    pub(crate) pad: [usize; 2],
    /// What the padding holds.
    pub(crate) zero_point: u8,
    /// Each channel stands so many times.
    pub(crate) repeats: usize,
}

impl Padded {
    /// Values of a pixel.
    pub(crate) fn pixel(&self) -> usize {
        self.input[2] * self.repeats
    }

    /// Values of a row.
    pub(crate) fn row(&self) -> usize {
        self.size[1] * self.pixel()
    }

    /// Copies the input.
    ///
    /// # Safety
    /// `rows · row()` values of `V` can be written, and [`OVERRUN_BYTES`] behind them.
    #[inline(always)]
    pub(crate) unsafe fn fill<V: Lanes>(&self, lanes: V, input: &[Cell<u8>], to: *mut u8) {
        let value_bytes = GROUP_BYTES / V::GROUP;
        let [height, width, channels] = self.input;
        let line = width * channels;
        let before = self.pad[1].min(self.size[1]);
        let inside = width.min(self.size[1] - before);
        let after = self.size[1] - before - inside;
        for row in 0..self.size[0] {
            // SAFETY: rows follow each other, and what is written beyond the end of one is written
            // again with the next, or lies in the overrun of the last.
            unsafe {
                let to = to.add(row * self.row() * value_bytes);
                let y = row.checked_sub(self.pad[0]).filter(|&y| y < height);
                let Some(y) = y else {
                    lanes.fill(to, self.zero_point, self.row());
                    continue;
                };
                let line = &input[y * line..][..inside * channels];
                lanes.fill(to, self.zero_point, before * self.pixel());
                let to = to.add(before * self.pixel() * value_bytes);
                if self.repeats == 1 {
                    lanes.copy(to, line.as_ptr().cast(), line.len());
                } else {
                    for (index, value) in line.iter().enumerate() {
                        let to = to.add(index * self.repeats * value_bytes);
                        lanes.fill(to, value.get(), self.repeats);
                    }
                }
                let to = to.add(inside * self.pixel() * value_bytes);
                lanes.fill(to, self.zero_point, after * self.pixel());
            }
        }
    }
}
