//! Pixels of a convolution: patches against rows of the filter.
//!
//! Three pixels and two channels make six sums at once, from five loads for six products of
//! vectors; what is left, pixels or channels, goes one pixel and four channels at a time.

use core::arch::naked_asm;
use core::cell::Cell;

use super::Table;

/// Pixels whose sums are made at once.
pub(crate) const PIXELS: usize = 3;

/// Some pixels whose inputs lie in one piece each, `taps` of them, one pixel after the other.
#[derive(Clone, Copy)]
pub(crate) struct Patches<'a> {
    pub(crate) values: &'a [Cell<u8>],
    pub(crate) taps: usize,
    pub(crate) pixels: usize,
}

/// A filter and what belongs to its rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Rows, each of the taps rounded up to whole quads.
    pub(crate) filter: &'a [u8],
    /// Four channels in each quad, but for those that do not fill one: each of these has a quad.
    pub(crate) table: &'a Table,
    pub(crate) channels: usize,
    pub(crate) zero_point: i8,
}

impl Rows<'_> {
    fn row(taps: usize) -> usize {
        taps.next_multiple_of(4)
    }

    fn are_whole(&self, taps: usize) -> bool {
        let bytes = self.channels.checked_mul(Rows::row(taps));
        taps > 0
            && bytes.is_some_and(|bytes| bytes <= self.filter.len())
            && self.table.quads() >= self.channels / 4 + self.channels % 4
    }
}

/// What the assembly for one pixel keeps at its stack pointer, in this order.
#[repr(C)]
struct Block {
    output: *const Cell<u8>,
    pixels: usize,
    patch: *const Cell<u8>,
    taps: usize,
    zero_point: i32,
    table_end: *const i32,
    table: *const i32,
    filter: *const u8,
    patch_step: usize,
    output_step: usize,
    /// From row to row.
    row: usize,
    /// From where the fourth row's loads have ended to the fifth row.
    next: isize,
}

/// What the assembly for three pixels keeps at its stack pointer, in this order.
#[repr(C)]
struct Triple {
    patches: [*const Cell<u8>; PIXELS],
    taps: usize,
    zero_point: i32,
    outputs: [*const Cell<u8>; PIXELS],
    table_end: *const i32,
    two_rows: usize,
    filter: *const u8,
    /// The table, less 16 bytes.
    table: *const i32,
    /// From the end of a row's loads to the next row.
    next: isize,
    /// From the end of a pixel's channels to the pixel three further.
    output_next: usize,
    rounds: usize,
    /// What is copied to the patches at the start of a round.
    source: *const Cell<u8>,
    copy: Copies,
}

/// Runs of bytes that a round copies to its patches, one after the other.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Copies {
    pub(crate) len: usize,
    /// Runs, and how often as many; bytes from one to the next where they come from.
    pub(crate) counts: [usize; 2],
    pub(crate) steps: [usize; 2],
}

impl Copies {
    const NONE: Copies = Copies {
        len: 0,
        counts: [0, 0],
        steps: [0, 0],
    };

    /// The bytes that a round writes, and those from the first to the last that all read.
    fn bytes(&self, rounds: usize) -> Option<[usize; 2]> {
        let count = self.counts[0].checked_mul(self.counts[1])?;
        let often = self.counts[1].checked_mul(rounds)?;
        let reach = |count: usize, step: usize| count.checked_sub(1)?.checked_mul(step);
        let read = reach(self.counts[0], self.steps[0])?
            .checked_add(reach(often, self.steps[1])?)?
            .checked_add(self.len)?;
        Some([count.checked_mul(self.len)?, read])
    }
}

/// The rows' channels of some pixels, `output_step` bytes from one to the next.
pub(crate) fn convolve(
    patches: Patches<'_>,
    rows: Rows<'_>,
    (outputs, output_step): (&[Cell<u8>], usize),
) {
    let Patches {
        values,
        taps,
        pixels,
    } = patches;
    let row = Rows::row(taps);
    let (quads, single) = (rows.channels / 4, rows.channels % 4);
    let end = |step: usize, len: usize| pixels.checked_sub(1)?.checked_mul(step)?.checked_add(len);
    assert!(
        rows.are_whole(taps)
            && end(taps, taps).is_some_and(|end| end <= values.len())
            && end(output_step, rows.channels).is_some_and(|end| end <= outputs.len()),
        "the parts of a block fit together"
    );
    let run = |quad: usize, count: usize, first: usize, lanes: usize| {
        let row_step = if lanes == 4 { row } else { 0 };
        let words = rows.table.quads_at(quad, count);
        let block = Block {
            output: outputs[first..].as_ptr(),
            pixels,
            patch: values.as_ptr(),
            taps,
            zero_point: i32::from(rows.zero_point),
            table_end: words.end,
            table: words.start,
            filter: rows.filter[first * row..].as_ptr(),
            patch_step: taps,
            output_step,
            row: row_step,
            next: row_step as isize - taps.next_multiple_of(16) as isize,
        };
        // SAFETY: the assembly reads `taps` bytes of each pixel, as many of four rows for each
        // quad of the table (of one row where `row` is 0), and that quad; it writes four bytes
        // (or one) of each pixel for each quad. All were just held against the slices' lengths.
        // Cells may be written through a shared reference.
        unsafe {
            if rows.table.is_low() {
                convolve_low_asm(&block, lanes);
            } else {
                convolve_any_asm(&block, lanes);
            }
        }
    };
    if quads > 0 && pixels == PIXELS && rows.table.is_low() {
        let none = (values, Copies::NONE, 1);
        convolve_triples(
            values,
            rows,
            (taps, 4 * quads),
            (outputs, output_step),
            none,
        );
    } else if quads > 0 {
        run(0, quads, 0, 4);
    }
    for index in 0..single {
        run(quads + index, 1, 4 * quads + index, 1);
    }
}

/// All channels of as many threes of pixels as `outputs` holds, whose patches are copied to
/// `scratch` three at a time: so outputs may lie over what only they need.
///
/// There are four channels or a multiple, and all shifts are below 0.
pub(crate) fn convolve_copied(
    input: &[Cell<u8>],
    copies: Copies,
    scratch: &[Cell<u8>],
    rows: Rows<'_>,
    taps: usize,
    outputs: &[Cell<u8>],
) {
    let rounds = outputs.len() / rows.channels / PIXELS;
    if rounds == 0 {
        return;
    }
    let patches = taps.checked_mul(PIXELS);
    let is_inside = |[written, read]: [usize; 2]| {
        Some(written) == patches && written <= scratch.len() && read <= input.len()
    };
    assert!(
        rows.are_whole(taps)
            && rows.channels.is_multiple_of(4)
            && rows.table.is_low()
            && copies.bytes(rounds).is_some_and(is_inside),
        "the parts of a layer fit together"
    );
    let place = (outputs, rows.channels);
    let source = (input, copies, rounds);
    convolve_triples(scratch, rows, (taps, rows.channels), place, source);
}

/// Hands three patches over; what is read and written has been held to its length.
fn convolve_triples(
    values: &[Cell<u8>],
    rows: Rows<'_>,
    (taps, channels): (usize, usize),
    (outputs, output_step): (&[Cell<u8>], usize),
    (source, copy, rounds): (&[Cell<u8>], Copies, usize),
) {
    let row = Rows::row(taps);
    let words = rows.table.quads_at(0, channels / 4);
    let triple = Triple {
        patches: [0, 1, 2].map(|pixel| values[pixel * taps..].as_ptr()),
        taps,
        zero_point: i32::from(rows.zero_point),
        outputs: [0, 1, 2].map(|pixel| outputs[pixel * output_step..].as_ptr()),
        table_end: words.end.wrapping_byte_sub(16),
        two_rows: 2 * row,
        filter: rows.filter.as_ptr(),
        table: words.start.wrapping_byte_sub(16),
        next: row as isize - taps.next_multiple_of(16) as isize,
        output_next: PIXELS * output_step - channels,
        rounds,
        source: source.as_ptr(),
        copy,
    };
    // SAFETY: in each round the assembly copies runs to the patches; it reads `taps` bytes of each
    // patch, as many of four rows for each quad of the table, and that quad; it writes four bytes
    // of three pixels for each quad. The callers have held all of it against the slices' lengths.
    // Cells may be written through a shared reference.
    unsafe { convolve_triples_asm(&triple) }
}

/// Offsets of the fields of [`Block`] are written out; this holds them to it.
const _: () = {
    assert!(core::mem::offset_of!(Block, patch) == 8);
    assert!(core::mem::offset_of!(Block, zero_point) == 16);
    assert!(core::mem::offset_of!(Block, table) == 24);
    assert!(core::mem::offset_of!(Block, patch_step) == 32);
    assert!(core::mem::offset_of!(Block, row) == 40);
    assert!(size_of::<Block>() == 48);
};

/// The function, with its own way to rescale the sums in `q0`: table at `r11`, zero point in `r0`.
macro_rules! convolve_asm {
    ($name:ident, $($rescale:expr),*) => {
        /// # Safety
        /// The block's pointers hold what its fields say.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(block: *const Block, lanes: usize) {
            // r0 r2 r4 r12 sums, r1 r3 r5 r7 rows, r8 patch, r9 to the next rows, r10 from row to
            // row, r11 table, r6 output.
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r4-r11, lr}}",
                "sub sp, #48",
                "vctp.32 r1",
                "ldm r0, {{r1-r12}}",
                "stm sp, {{r1-r12}}",
                // The next pixel.
                "10:",
                "ldr r6, [sp]",
                "ldrd r11, r1, [sp, #24]",
                "ldrd r10, r9, [sp, #40]",
                // The next four channels.
                "20:",
                "ldrd r0, r2, [r11], #8",
                "ldrd r4, r12, [r11], #8",
                "add r3, r1, r10",
                "add r5, r3, r10",
                "add r7, r5, r10",
                "ldrd r8, lr, [sp, #8]",
                "dlstp.8 lr, lr",
                "30:",
                "vldrb.u8 q0, [r8], #16",
                "vldrb.u8 q1, [r1], #16",
                "vmladava.s8 r0, q0, q1",
                "vldrb.u8 q2, [r3], #16",
                "vmladava.s8 r2, q0, q2",
                "vldrb.u8 q1, [r5], #16",
                "vmladava.s8 r4, q0, q1",
                "vldrb.u8 q2, [r7], #16",
                "vmladava.s8 r12, q0, q2",
                "letp lr, 30b",
                "add r1, r7, r9",
                "vmov q0[2], q0[0], r0, r4",
                "vmov q0[3], q0[1], r2, r12",
                "ldrd r0, r2, [sp, #16]",
                $($rescale,)*
                "vpst",
                "vstrbt.32 q0, [r6], #4",
                "cmp r11, r2",
                "bne 20b",
                "ldrd r0, r1, [sp]",
                "ldr r2, [sp, #8]",
                "ldrd r3, r4, [sp, #32]",
                "add r0, r4",
                "add r2, r3",
                "subs r1, #1",
                "str r2, [sp, #8]",
                "strd r0, r1, [sp]",
                "bne 10b",
                "add sp, #48",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

convolve_asm!(
    convolve_low_asm,
    "vldrw.u32 q1, [r11], #16",
    "vldrw.u32 q2, [r11], #16",
    rescale!("q0", "q1", "q2", "q3", "r0")
);
convolve_asm!(
    convolve_any_asm,
    "vldrw.u32 q1, [r11], #16",
    "vldrw.u32 q2, [r11], #16",
    rescale_any!("q0", "q1", "q2", "q3", "r0")
);

/// Offsets of the fields of [`Triple`] are written out; this holds them to it.
const _: () = {
    assert!(core::mem::offset_of!(Triple, zero_point) == 16);
    assert!(core::mem::offset_of!(Triple, outputs) == 20);
    assert!(core::mem::offset_of!(Triple, table_end) == 32);
    assert!(core::mem::offset_of!(Triple, filter) == 40);
    assert!(core::mem::offset_of!(Triple, next) == 48);
    assert!(core::mem::offset_of!(Triple, rounds) == 56);
    assert!(core::mem::offset_of!(Triple, copy) == 64);
    assert!(size_of::<Triple>() == 84);
};

/// Two channels of three pixels: the sums begin with the biases at two places of the table, and
/// become two lanes of `q5`, `q6` and `q7`.
macro_rules! two_channels {
    ($first:literal, $second:literal, $lane:literal, $other:literal) => {
        concat!(
            "ldr r0, [r11, #",
            $first,
            "]\n",
            "ldr r6, [r11, #",
            $second,
            "]\n",
            "ldm sp, {{r1, r3, r5, lr}}\n",
            "mov r2, r0\n",
            "mov r4, r0\n",
            "mov r8, r6\n",
            "mov r10, r6\n",
            "dlstp.8 lr, lr\n",
            "30:\n",
            "vldrb.u8 q0, [r1], #16\n",
            "vldrb.u8 q3, [r7], #16\n",
            "vmladava.s8 r0, q0, q3\n",
            "vldrb.u8 q1, [r3], #16\n",
            "vmladava.s8 r2, q1, q3\n",
            "vldrb.u8 q2, [r5], #16\n",
            "vmladava.s8 r4, q2, q3\n",
            "vldrb.u8 q4, [r9], #16\n",
            "vmladava.s8 r6, q0, q4\n",
            "vmladava.s8 r8, q1, q4\n",
            "vmladava.s8 r10, q2, q4\n",
            "letp lr, 30b\n",
            "vmov q5[",
            $other,
            "], q5[",
            $lane,
            "], r0, r6\n",
            "vmov q6[",
            $other,
            "], q6[",
            $lane,
            "], r2, r8\n",
            "vmov q7[",
            $other,
            "], q7[",
            $lane,
            "], r4, r10\n",
        )
    };
}

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn convolve_triples_asm(triple: *const Triple) {
    // r0 r2 r4 r6 r8 r10 sums, r1 r3 r5 patches, r7 r9 rows, r11 table, r12 to the next row.
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "sub sp, #84",
        "ldm r0!, {{r1-r12}}",
        "stm sp, {{r1-r12}}",
        "ldm r0, {{r1-r9}}",
        "add r0, sp, #48",
        "stm r0, {{r1-r9}}",
        // The next three pixels. r1 source, r2 length, r3 runs, r4 how often, r5 r6 steps.
        "10:",
        "add r0, sp, #60",
        "ldm r0, {{r1-r6}}",
        "ldr r7, [sp]",
        "cbz r4, 13f",
        "11:",
        "mov r8, r1",
        "mov r9, r3",
        "12:",
        "mov r10, r8",
        "mov r11, r7",
        "dlstp.8 lr, r2",
        "14:",
        "vldrb.u8 q0, [r10], #16",
        "vstrb.8 q0, [r11], #16",
        "letp lr, 14b",
        "add r7, r2",
        "add r8, r5",
        "subs r9, #1",
        "bne 12b",
        "add r1, r6",
        "subs r4, #1",
        "bne 11b",
        "str r1, [sp, #60]",
        "13:",
        "ldrd r7, r11, [sp, #40]",
        "ldr r12, [sp, #48]",
        // The next four channels: the first and third, then the second and fourth.
        "20:",
        "ldr r9, [sp, #36]",
        "add r9, r7",
        two_channels!("16", "24", "0", "2"),
        "add r7, r12",
        "add r9, r12",
        two_channels!("20", "28", "1", "3"),
        "vldrw.u32 q0, [r11, #32]!",
        "vldrw.u32 q1, [r11, #16]!",
        "ldrd r0, r2, [sp, #16]",
        "ldrd r4, r6, [sp, #24]",
        rescale!("q5", "q0", "q1", "q2", "r0"),
        rescale!("q6", "q0", "q1", "q2", "r0"),
        rescale!("q7", "q0", "q1", "q2", "r0"),
        "vstrb.32 q5, [r2], #4",
        "vstrb.32 q6, [r4], #4",
        "vstrb.32 q7, [r6], #4",
        "str r2, [sp, #20]",
        "strd r4, r6, [sp, #24]",
        "add r7, r9, r12",
        "ldr r8, [sp, #32]",
        "cmp r11, r8",
        "bne 20b",
        "ldr r0, [sp, #52]",
        "add r2, r0",
        "add r4, r0",
        "add r6, r0",
        "str r2, [sp, #20]",
        "strd r4, r6, [sp, #24]",
        "ldr r0, [sp, #56]",
        "subs r0, #1",
        "str r0, [sp, #56]",
        "bne 10b",
        "add sp, #84",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
    )
}
