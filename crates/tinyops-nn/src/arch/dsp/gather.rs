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

    /// Copies a rectangle into a pixel's patch, or into the stage, from value `at` on.
    pub(crate) fn put(&self, values: &[Cell<u8>], rect: &Rect, pixel: usize, at: usize) {
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
                && pixel < BLOCK_PIXELS,
            "values and patch have each value"
        );
        let mut job = Move {
            from: values.as_ptr(),
            to: core::ptr::null(),
            len,
            rows,
            from_step,
            to_step,
        };
        if self.is_direct() {
            assert!(
                (at | len | to_step).is_multiple_of(QUAD),
                "a direct patch has whole quads"
            );
            job.to = self.wide[8 * at + 4 * pixel..].as_ptr();
            job.len = len / QUAD;
            job.to_step = 8 * to_step;
            // SAFETY: reads `len` quads of each row and writes as many places of one pixel's patch,
            // held to the lengths above. `wide` has four patches and is aligned, and so are the
            // places. Cells may be written through a shared reference.
            unsafe { widen_asm(&job) };
        } else {
            job.to = self.stage[at..].as_ptr();
            // SAFETY: reads `len` bytes of each row and writes as many of the stage, which is one
            // patch, held to the lengths above. Cells may be written through a shared reference.
            unsafe { copy_asm(&job) };
        }
    }

    /// Fills a pixel's patch, or the stage, with a value.
    pub(crate) fn fill(&self, value: i8, pixel: usize) {
        for places in self.stage.as_chunks::<QUAD>().0 {
            let place = places.as_ptr().cast::<u32>().cast_mut();
            let quad = u32::from(value as u8) * 0x0101_0101;
            // SAFETY: a quad of the stage, which lies behind `wide`, whole quads too. Volatile, so
            // that no MEMSET is made of it, which would be a function more.
            unsafe { place.write_volatile(quad) };
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
        if self.is_direct() {
            return;
        }
        let job = Move {
            from: self.stage.as_ptr(),
            to: self.wide[4 * pixel..][..self.row / QUAD].as_ptr(),
            len: self.row / QUAD,
            rows: 1,
            from_step: 0,
            to_step: 0,
        };
        assert!(pixel < BLOCK_PIXELS, "four pixels have patches");
        // SAFETY: the stage has a byte and the pixel's patch a place for each value.
        unsafe { widen_asm(&job) };
    }
}

/// Whole patches of four pixels at a time, each of which is some rows of values.
pub(crate) struct Fours<'a> {
    values: &'a [Cell<u8>],
    /// Bytes that are read from a patch's first on.
    reach: usize,
    job: FourJob,
}

impl<'a> Fours<'a> {
    /// `None` where rows are shorter than a quad.
    pub(crate) fn new(
        patches: &Patches<'a>,
        values: &'a [Cell<u8>],
        rect: &Rect,
    ) -> Option<Fours<'a>> {
        let &Rect {
            rows,
            len,
            from_step,
            ..
        } = rect;
        let taps = rows * len;
        assert!(
            rows > 0 && patches.row == taps.next_multiple_of(QUAD),
            "a patch has each row"
        );
        (len >= QUAD && from_step >= len).then(|| Fours {
            values,
            // The last quad is read whole.
            reach: (rows - 1) * from_step + len + (patches.row - taps),
            job: FourJob {
                from: [core::ptr::null(); BLOCK_PIXELS],
                rows,
                rest: len % QUAD,
                len,
                hop: from_step - len,
                wide: patches.wide.as_ptr(),
            },
        })
    }

    /// Widens the patches that begin with these values; false, with nothing done, where the values
    /// end before.
    pub(crate) fn put(&mut self, firsts: [usize; BLOCK_PIXELS]) -> bool {
        let are_there = firsts
            .iter()
            .all(|&first| first <= self.values.len() && self.values.len() - first >= self.reach);
        if are_there {
            // SAFETY: as it asks for.
            unsafe { self.widen(firsts) };
        }
        are_there
    }

    /// As [`Fours::put`], the first of which begins with value `first` and the others `step` after.
    #[inline(always)]
    pub(crate) fn put_run(&mut self, first: usize, step: usize) -> bool {
        let last = 3 * step + self.reach;
        let are_there = first <= self.values.len() && self.values.len() - first >= last;
        if are_there {
            // SAFETY: as it asks for, since the last patch is there.
            unsafe { self.widen([first, first + step, first + 2 * step, first + 3 * step]) };
        }
        are_there
    }

    /// # Safety
    /// There are `reach` values from each of these on.
    #[inline(always)]
    unsafe fn widen(&mut self, firsts: [usize; BLOCK_PIXELS]) {
        let from = |pixel: usize| self.values.as_ptr().wrapping_add(firsts[pixel]);
        self.job.from = [from(0), from(1), from(2), from(3)];
        // SAFETY: from each pixel's first value on `reach` bytes are read: all quads of each row,
        // where a row that is no whole quads lends its last bytes and the next row, which lies
        // behind, the other bytes of a quad, and of the last quad what its row does not have. Four
        // patches are written, which `wide` has place for and is aligned. Cells may be written
        // through a shared reference.
        unsafe { four_asm(&self.job) };
    }
}

/// What [`four_asm`] takes.
#[repr(C)]
struct FourJob {
    /// The first values of the four pixels.
    from: [*const Cell<u8>; BLOCK_PIXELS],
    rows: usize,
    /// Bytes of the first row behind its last whole quad.
    rest: usize,
    len: usize,
    /// From a row's end to the next one.
    hop: usize,
    wide: *const Cell<u8>,
}

const _: () = assert!(core::mem::offset_of!(FourJob, rows) == 16);

/// What [`widen_asm`] and [`copy_asm`] take.
#[repr(C)]
struct Move {
    from: *const Cell<u8>,
    to: *const Cell<u8>,
    /// Of a row, in quads or bytes.
    len: usize,
    rows: usize,
    from_step: usize,
    to_step: usize,
}

/// # Safety
/// The pointers hold what the fields say; no count is 0, and rows are a quad long or more.
#[unsafe(naked)]
unsafe extern "C" fn four_asm(job: *const FourJob) {
    // r0-r3 where the pixels' values are, r4-r7 a quad of each, r8-r11 at work, r12 patches, lr
    // quads of the row. On the stack: rows, what is left of this one, length, hop.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "add r12, r0, #16",
        "ldm.w r0, {{r0, r1, r2, r3}}",
        "ldm.w r12, {{r8, r9, r10, r11, r12}}",
        "push {{r8-r11}}",
        "lsr lr, r10, #2",
        "10:",
        "ldr r4, [r0], #4",
        "ldr r5, [r1], #4",
        "ldr r6, [r2], #4",
        "ldr r7, [r3], #4",
        "12:",
        "sxtb16 r8, r4",
        "sxtb16 r9, r5",
        "sxtb16 r10, r6",
        "sxtb16 r11, r7",
        "stm.w r12!, {{r8, r9, r10, r11}}",
        "sxtb16 r8, r4, ror #8",
        "sxtb16 r9, r5, ror #8",
        "sxtb16 r10, r6, ror #8",
        "sxtb16 r11, r7, ror #8",
        "stm.w r12!, {{r8, r9, r10, r11}}",
        "subs lr, #1",
        "bne 10b",
        "ldm.w sp, {{r8, r9, r10, r11}}",
        "subs r8, #1",
        "beq 30f",
        "add r10, r9",
        "lsr lr, r10, #2",
        "and r10, #3",
        "strd r8, r10, [sp]",
        "cmp r9, #0",
        "beq 20f",
        // A quad of this row's last bytes and the next one's first: GE is set for those.
        "ldr r4, [r0]",
        "ldr r5, [r1]",
        "ldr r6, [r2]",
        "ldr r7, [r3]",
        "add r0, r11",
        "add r1, r11",
        "add r2, r11",
        "add r3, r11",
        "mov r8, #0xF0000",
        "lsl r8, r8, r9",
        "msr APSR_g, r8",
        "ldr r8, [r0], #4",
        "ldr r9, [r1], #4",
        "ldr r10, [r2], #4",
        "ldr r11, [r3], #4",
        "sel r4, r8, r4",
        "sel r5, r9, r5",
        "sel r6, r10, r6",
        "sel r7, r11, r7",
        "b 12b",
        "20:",
        "add r0, r11",
        "add r1, r11",
        "add r2, r11",
        "add r3, r11",
        "b 10b",
        // The last row: what is left of it is a quad with bytes that meet weights of 0.
        "30:",
        "cmp r9, #0",
        "beq 31f",
        "movs r4, #1",
        "movs r5, #0",
        "strd r4, r5, [sp]",
        "mov lr, #1",
        "b 10b",
        "31:",
        "add sp, #16",
        "pop {{r4-r11, pc}}",
    )
}

/// Widens rows of quads into a pixel's patch.
///
/// # Safety
/// The pointers hold what the fields say; no count is 0.
#[unsafe(naked)]
unsafe extern "C" fn widen_asm(what: *const Move) {
    // r0 from, r1 to, r2 quads, r3 rows, r4 r5 steps; r6-r9 r12 lr at work.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r9, lr}}",
        "ldm.w r0, {{r0, r1, r2, r3, r4, r5}}",
        "20:",
        "mov r6, r2",
        "mov r7, r0",
        "mov r8, r1",
        "22:",
        "ldr r9, [r7], #4",
        "subs r6, #1",
        "sxtb16 r12, r9, ror #8",
        "sxtb16 r9, r9",
        "str r12, [r8, #16]",
        "str r9, [r8], #32",
        "bne 22b",
        "add r0, r4",
        "add r1, r5",
        "subs r3, #1",
        "bne 20b",
        "pop {{r4-r9, pc}}",
    )
}

/// Copies rows of bytes.
///
/// # Safety
/// The pointers hold what the fields say; no count is 0.
#[unsafe(naked)]
unsafe extern "C" fn copy_asm(what: *const Move) {
    // r0 from, r1 to, r2 bytes less 4, r3 rows, r4 r5 steps; r6-r9 at work.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r9, lr}}",
        "ldm.w r0, {{r0, r1, r2, r3, r4, r5}}",
        "subs r2, #4",
        // Words, and then the last word once more from its end; where there is none, bytes.
        "12:",
        "add r6, r0, r2",
        "add r7, r1, r2",
        "rsbs r8, r2, #0",
        "bgt 15f",
        "beq 14f",
        "13:",
        "ldr r9, [r6, r8]",
        "str r9, [r7, r8]",
        "adds r8, #4",
        "bmi 13b",
        "14:",
        "ldr r9, [r6]",
        "str r9, [r7]",
        "17:",
        "add r0, r4",
        "add r1, r5",
        "subs r3, #1",
        "bne 12b",
        "pop {{r4-r9, pc}}",
        "15:",
        "rsb r8, r8, #4",
        "16:",
        "subs r8, #1",
        "ldrb r9, [r0, r8]",
        "strb r9, [r1, r8]",
        "bne 16b",
        "b 17b",
    )
}
