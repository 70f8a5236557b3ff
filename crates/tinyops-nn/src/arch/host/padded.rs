//! A copy of an op's input with its padding around it: the kernels then know no borders, and the
//! output may lie over the input.

use core::cell::Cell;

use super::lanes::{GROUP_BYTES, Lanes};

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
    /// `rows · row()` values of `V` can be written.
    #[inline(always)]
    pub(crate) unsafe fn fill<V: Lanes>(&self, _: V, input: &[Cell<u8>], to: *mut u8) {
        let value_bytes = GROUP_BYTES / V::GROUP;
        let [height, width, channels] = self.input;
        let line = width * channels;
        for row in 0..self.size[0] {
            // SAFETY: the caller's.
            let row_at = unsafe { to.add(row * self.row() * value_bytes) };
            // SAFETY: a row of the copy has so many values.
            let to = unsafe { core::slice::from_raw_parts_mut(row_at, self.row() * value_bytes) };
            let Some(line) = row
                .checked_sub(self.pad[0])
                .filter(|&y| y < height)
                .map(|y| &input[y * line..][..line])
            else {
                put_all::<V>(to, self.zero_point);
                continue;
            };
            if self.repeats == 1 {
                let (before, rest) =
                    to.split_at_mut(self.pad[1].min(self.size[1]) * channels * value_bytes);
                let (inside, after) = rest.split_at_mut(rest.len().min(line.len() * value_bytes));
                put_all::<V>(before, self.zero_point);
                put_line::<V>(inside, line);
                put_all::<V>(after, self.zero_point);
                continue;
            }
            let pixels = to.chunks_exact_mut(self.pixel() * value_bytes);
            for (x, to) in pixels.enumerate() {
                let Some(x) = x.checked_sub(self.pad[1]).filter(|&x| x < width) else {
                    put_all::<V>(to, self.zero_point);
                    continue;
                };
                let values = &line[x * channels..][..channels];
                for (to, value) in to.chunks_exact_mut(self.repeats * value_bytes).zip(values) {
                    put_all::<V>(to, value.get());
                }
            }
        }
    }
}

#[inline(always)]
fn put_line<V: Lanes>(to: &mut [u8], from: &[Cell<u8>]) {
    if V::GROUP == GROUP_BYTES {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.get().wrapping_add(V::OFFSET);
        }
        return;
    }
    for (to, from) in to.as_chunks_mut().0.iter_mut().zip(from) {
        *to = i16::from(from.get() as i8).to_le_bytes();
    }
}

#[inline(always)]
fn put_all<V: Lanes>(to: &mut [u8], value: u8) {
    if V::GROUP == GROUP_BYTES {
        to.fill(value.wrapping_add(V::OFFSET));
        return;
    }
    let value = i16::from(value as i8).to_le_bytes();
    to.as_chunks_mut().0.fill(value);
}
