//! Brings inputs into one piece, and from int8 to 16 bits.

use core::arch::{asm, naked_asm};
use core::cell::Cell;

use super::{WIDE_QUAD, is_aligned};
use crate::layout::{BLOCK_PIXELS, QUAD};

/// The patches of up to four pixels as 16-bit numbers.
pub(crate) struct Patches<'a> {
    wide: &'a [Cell<u8>],
    /// One patch as bytes, where a tap is not made of whole quads.
    stage: &'a [Cell<u8>],
    /// Bytes of a patch, whole quads.
    row: usize,
}

/// Some rows of values.
#[derive(Clone, Copy)]
pub(crate) struct Rect {
    /// How many rows.
    pub(crate) rows: usize,
    /// Values of each.
    pub(crate) len: usize,
    /// Bytes from a row's values to the next one's where they come from.
    pub(crate) from_step: usize,
    /// And in a patch, of bytes.
    pub(crate) to_step: usize,
}

impl<'a> Patches<'a> {
    /// Patches of `row` values in an op's scratch.
    pub(crate) fn new(scratch: &'a [Cell<u8>], row: usize) -> Patches<'a> {
        let (wide, stage) = scratch.split_at(row / QUAD * WIDE_QUAD);
        assert!(
            row > 0 && row.is_multiple_of(QUAD) && is_aligned(wide),
            "patches are whole quads, in words"
        );
        assert!(
            stage.is_empty() || stage.len() == row,
            "the stage has a place for each value"
        );
        Patches { wide, stage, row }
    }

    pub(crate) fn wide(&self) -> &'a [Cell<u8>] {
        self.wide
    }

    /// Whether values go to the patches without a stage.
    pub(crate) fn is_direct(&self) -> bool {
        self.stage.is_empty()
    }

    /// Copies a rectangle into a pixel's patch, from its value `at` on.
    pub(crate) fn put(&self, values: &[Cell<u8>], rect: &Rect, (pixel, at): (usize, usize)) {
        let &Rect {
            rows,
            len,
            from_step,
            to_step,
        } = rect;
        if rows == 0 || len == 0 {
            return;
        }
        let last = rows - 1;
        assert!(
            values.len() >= last * from_step + len
                && self.row >= at + last * to_step + len
                && pixel < BLOCK_PIXELS
                && (!self.is_direct() || (at | len | to_step).is_multiple_of(QUAD)),
            "values and patch have each value, a direct patch whole quads"
        );
        let from = values.as_ptr();
        if !self.is_direct() {
            let to = self.stage[at..].as_ptr();
            // SAFETY: reads and writes `len` bytes of each row, held to the lengths; the stage is
            // one patch. Cells may be written through a shared reference.
            unsafe { copy_asm(to, from, len, rows, from_step, to_step) };
            return;
        }
        let to = self.wide[8 * at + 4 * pixel..].as_ptr();
        // SAFETY: reads `len` bytes of each row and writes the places of as many quads in one
        // pixel's patch, all held to the lengths; `wide` has four patches and is aligned, and so
        // is the place.
        unsafe { widen_asm(from, to, len / QUAD, rows, from_step, 8 * to_step) };
    }

    /// Fills a rectangle of a pixel's patch with a value.
    pub(crate) fn fill(&self, value: i8, rect: &Rect, (pixel, at): (usize, usize)) {
        for row in 0..rect.rows {
            let at = at + row * rect.to_step;
            if !self.is_direct() {
                for place in &self.stage[at..at + rect.len] {
                    place.set(value as u8);
                }
                continue;
            }
            let places = &self.wide[8 * at..8 * (at + rect.len)];
            let [low, high] = i16::from(value).to_le_bytes();
            for pairs in places.chunks_exact(WIDE_QUAD / 2) {
                let pair = &pairs[4 * pixel..4 * pixel + 4];
                pair[0].set(low);
                pair[1].set(high);
                pair[2].set(low);
                pair[3].set(high);
            }
        }
    }

    /// Widens the stage, if there is one, into a pixel's patch.
    pub(crate) fn unstage(&self, pixel: usize) {
        if self.is_direct() {
            return;
        }
        let to = self.wide[4 * pixel..4 * BLOCK_PIXELS].as_ptr();
        // SAFETY: the stage is one patch, and `to` is the first quad of a pixel's.
        unsafe { widen_asm(self.stage.as_ptr(), to, self.row / QUAD, 1, 0, 0) };
    }

    /// Widens whole patches that lie one after another, up to four.
    pub(crate) fn put_pixels(&self, values: &[Cell<u8>], pixels: usize) {
        assert!(
            (1..=BLOCK_PIXELS).contains(&pixels) && values.len() >= pixels * self.row,
            "each pixel has a patch and its values"
        );
        let (from, to) = (values.as_ptr(), self.wide.as_ptr());
        // SAFETY: reads `pixels` runs of `row` bytes, and writes as many patches.
        unsafe { widen_asm(from, to, self.row / QUAD, pixels, self.row, 4) };
    }
}

/// # Safety
/// Reads `quads` words of each of `runs` runs, `from_step` bytes apart, and writes two words of
/// every 32 bytes from each run's place on, `to_step` bytes apart; neither count is 0.
#[unsafe(naked)]
unsafe extern "C" fn widen_asm(
    values: *const Cell<u8>,
    patch: *const Cell<u8>,
    quads: usize,
    runs: usize,
    from_step: usize,
    to_step: usize,
) {
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "ldrd r10, r11, [sp, #36]",
        "2:",
        "mov r4, r0",
        "mov r5, r1",
        "lsrs r6, r2, #1",
        "beq 4f",
        "3:",
        "ldr r7, [r4], #4",
        "ldr r9, [r4], #4",
        "sxtb16 r8, r7, ror #8",
        "sxtb16 r7, r7",
        "sxtb16 r12, r9, ror #8",
        "sxtb16 r9, r9",
        "str r8, [r5, #16]",
        "str r9, [r5, #32]",
        "str r12, [r5, #48]",
        "str r7, [r5], #64",
        "subs r6, #1",
        "bne 3b",
        "4:",
        "lsls r6, r2, #31",
        "beq 5f",
        "ldr r7, [r4]",
        "sxtb16 r8, r7, ror #8",
        "sxtb16 r7, r7",
        "str r8, [r5, #16]",
        "str r7, [r5]",
        "5:",
        "add r0, r10",
        "add r1, r11",
        "subs r3, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}

/// Copies runs of values.
///
/// # Safety
/// Reads and writes `len` bytes of each of `runs` runs, `from_step` and `to_step` bytes apart;
/// neither count is 0.
#[inline(never)]
unsafe fn copy_asm(
    to: *const Cell<u8>,
    from: *const Cell<u8>,
    len: usize,
    runs: usize,
    from_step: usize,
    to_step: usize,
) {
    // SAFETY: as the caller has seen to.
    unsafe {
        asm!(
            "2:",
            "mov {f}, {from}",
            "mov {g}, {to}",
            "add {last}, {from}, {len}",
            "cmp {len}, #4",
            "blo 6f",
            // Words, and then the last word once more from its end.
            "sub {last}, #4",
            "3:",
            "ldr {t}, [{f}], #4",
            "str {t}, [{g}], #4",
            "cmp {f}, {last}",
            "blo 3b",
            "sub {f}, {last}, {f}",
            "ldr {t}, [{last}]",
            "str {t}, [{g}, {f}]",
            "b 5f",
            "6:",
            "ldrb {t}, [{f}], #1",
            "strb {t}, [{g}], #1",
            "cmp {f}, {last}",
            "blo 6b",
            "5:",
            "add {from}, {from_step}",
            "add {to}, {to_step}",
            "subs {runs}, #1",
            "bne 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            len = in(reg) len,
            from_step = in(reg) from_step,
            to_step = in(reg) to_step,
            runs = inout(reg) runs => _,
            last = out(reg) _,
            f = out(reg) _,
            g = out(reg) _,
            t = out(reg) _,
            options(nostack),
        );
    }
}
