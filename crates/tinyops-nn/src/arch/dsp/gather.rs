//! Brings inputs into one piece, and from int8 to 16 bits.

use core::arch::naked_asm;
use core::cell::Cell;

use super::{WIDE_QUAD, is_aligned};
use crate::layout::{BLOCK_PIXELS, QUAD};

/// The patches of up to four pixels as 16-bit numbers.
pub(crate) struct Patches<'a> {
    wide: &'a [Cell<u8>],
    /// One patch as bytes, where a tap is not made of whole quads.
    stage: &'a [Cell<u8>],
    /// Bytes of a patch, whole quads.
    pub(super) row: usize,
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

    /// Copies a rectangle into the patches of `count` pixels, from their value `at` on; the next
    /// pixel's lies `pixel_step` bytes after.
    pub(crate) fn put(
        &self,
        values: &[Cell<u8>],
        rect: &Rect,
        (pixel, at): (usize, usize),
        (count, pixel_step): (usize, usize),
    ) {
        let &Rect {
            rows,
            len,
            from_step,
            to_step,
        } = rect;
        if rows == 0 || len == 0 || count == 0 {
            return;
        }
        let last = rows - 1;
        assert!(
            values.len() >= (count - 1) * pixel_step + last * from_step + len
                && self.row >= at + last * to_step + len
                && pixel + count <= BLOCK_PIXELS,
            "values and patch have each value"
        );
        let mut job = Move {
            from: values.as_ptr(),
            wide: self.wide[4 * pixel..].as_ptr(),
            len,
            rows,
            from_step,
            to_step,
            count,
            pixel_step,
            stage: self.stage[..].as_ptr(),
            stage_at: core::ptr::null(),
            quads: self.row / QUAD,
        };
        if self.is_direct() {
            assert!(
                (at | len | to_step).is_multiple_of(QUAD),
                "a direct patch has whole quads"
            );
            job.wide = self.wide[8 * at + 4 * pixel..].as_ptr();
            job.quads = len / QUAD;
            job.to_step = 8 * to_step;
        } else {
            job.stage_at = self.stage[at..].as_ptr();
        }
        // SAFETY: for each pixel, reads `len` bytes of each row and writes the places of as many
        // quads in its patch, or as many bytes in the stage, which is one patch, and then all of
        // the patch: all held to the lengths. `wide` has four patches and is aligned, and so are
        // the places. Cells may be written through a shared reference.
        unsafe { move_asm(&job) };
    }

    /// Fills a pixel's patch, or the stage, with a value.
    pub(crate) fn fill(&self, value: i8, pixel: usize) {
        for place in self.stage {
            place.set(value as u8);
        }
        let pair = u32::from(i16::from(value) as u16) * 0x1_0001;
        for pairs in self.wide.as_chunks::<{ WIDE_QUAD / 2 }>().0 {
            if pixel < BLOCK_PIXELS {
                let place = pairs.as_ptr().cast::<u32>().cast_mut();
                // SAFETY: the pairs of four pixels, of which this is one; aligned, as `wide` is.
                unsafe { place.add(pixel).write(pair) };
            }
        }
    }

    /// Widens the stage, if there is one, into a pixel's patch.
    pub(crate) fn unstage(&self, pixel: usize) {
        if !self.is_direct() {
            self.widen(self.stage, pixel, 1);
        }
    }

    /// Widens whole patches that lie one after another into those of so many pixels.
    pub(crate) fn widen(&self, values: &[Cell<u8>], pixel: usize, count: usize) {
        assert!(
            count > 0 && pixel + count <= BLOCK_PIXELS && values.len() >= count * self.row,
            "each pixel has a patch and its values"
        );
        // SAFETY: reads `count` runs of `row` bytes, and writes as many patches.
        unsafe { self.widen_from(values.as_ptr(), pixel, count) };
    }

    /// [`Patches::widen`] from a pointer.
    ///
    /// # Safety
    /// `count` times `row` bytes can be read, and there are so many patches from `pixel` on.
    pub(super) unsafe fn widen_from(&self, from: *const Cell<u8>, pixel: usize, count: usize) {
        let job = Move {
            from,
            wide: self.wide[4 * pixel..].as_ptr(),
            len: self.row,
            rows: count,
            from_step: self.row,
            to_step: 4,
            count: 1,
            pixel_step: 0,
            stage: core::ptr::null(),
            stage_at: core::ptr::null(),
            quads: self.row / QUAD,
        };
        // SAFETY: as the caller has seen to.
        unsafe { move_asm(&job) };
    }
}

/// What [`move_asm`] takes.
#[repr(C)]
struct Move {
    /// The first pixel's first row.
    from: *const Cell<u8>,
    /// Its place in the widened patches.
    wide: *const Cell<u8>,
    len: usize,
    rows: usize,
    from_step: usize,
    to_step: usize,
    count: usize,
    pixel_step: usize,
    stage: *const Cell<u8>,
    /// Where the first row goes in the stage, or null.
    stage_at: *const Cell<u8>,
    /// Of a row, or of the stage.
    quads: usize,
}

/// # Safety
/// The pointers hold what the fields say; no count is 0.
#[unsafe(naked)]
unsafe extern "C" fn move_asm(what: *const Move) {
    // r0 from, r1 to, r2 bytes or quads, r3 rows, r10 r11 steps; r4-r9 r12 at work. On the stack:
    // from, to, bytes, rows, steps, pixels, pixel step, stage, place in it, quads.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "sub sp, #44",
        "ldm.w r0, {{r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11}}",
        "stm.w sp, {{r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11}}",
        "10:",
        "ldm.w sp, {{r0, r1, r2, r3, r10, r11}}",
        "ldrd r4, r5, [sp, #36]",
        "cbz r4, 20f",
        "mov r1, r4",
        // Words, and then the last word once more from its end; where there is none, bytes.
        "subs r2, #4",
        "rsb r8, r2, #0",
        "12:",
        "add r7, r0, r2",
        "add r6, r1, r2",
        "movs r5, r8",
        "bgt 15f",
        "beq 14f",
        "13:",
        "ldr r4, [r7, r5]",
        "str r4, [r6, r5]",
        "adds r5, #4",
        "bmi 13b",
        "14:",
        "ldr r4, [r7]",
        "str r4, [r6]",
        "17:",
        "add r0, r10",
        "add r1, r11",
        "subs r3, #1",
        "bne 12b",
        "ldr r0, [sp, #32]",
        "ldr r1, [sp, #4]",
        "ldr r5, [sp, #40]",
        "movs r3, #1",
        "20:",
        "mov r4, r0",
        "mov r2, r1",
        "lsrs r6, r5, #1",
        "beq 24f",
        "23:",
        "ldr r7, [r4], #4",
        "ldr r9, [r4], #4",
        "sxtb16 r8, r7, ror #8",
        "sxtb16 r7, r7",
        "sxtb16 r12, r9, ror #8",
        "sxtb16 r9, r9",
        "str r8, [r2, #16]",
        "str r9, [r2, #32]",
        "str r12, [r2, #48]",
        "str r7, [r2], #64",
        "subs r6, #1",
        "bne 23b",
        "24:",
        "lsls r6, r5, #31",
        "beq 25f",
        "ldr r7, [r4]",
        "sxtb16 r8, r7, ror #8",
        "sxtb16 r7, r7",
        "str r8, [r2, #16]",
        "str r7, [r2]",
        "25:",
        "add r0, r10",
        "add r1, r11",
        "subs r3, #1",
        "bne 20b",
        "ldrd r0, r1, [sp]",
        "ldrd r2, r3, [sp, #24]",
        "add r0, r3",
        "adds r1, #4",
        "strd r0, r1, [sp]",
        "subs r2, #1",
        "str r2, [sp, #24]",
        "bne 10b",
        "add sp, #44",
        "pop {{r4-r11, pc}}",
        "15:",
        "rsb r5, r5, #4",
        "16:",
        "subs r5, #1",
        "ldrb r4, [r0, r5]",
        "strb r4, [r1, r5]",
        "bne 16b",
        "b 17b",
    )
}
