//! Some pixels of a row of a depthwise convolution, four channels at a time.
//!
//! The input rows under the filter go three by three, and each three become a strip of columns. A
//! column has, for each of four channels, the values of its first two rows as one 16-bit pair, and
//! the four values of the third row as two pairs: six words, made once for all pixels that see the
//! column. The weights of a column lie likewise, so that a pixel takes `SMLAD` for two rows and one
//! multiply for the third.
//!
//! Where pixels share no columns, or a filter is too large, a pixel goes tap by tap.

use core::arch::naked_asm;
use core::cell::Cell;
use core::mem::MaybeUninit;

use super::ChannelTable;
use crate::kernel::taps_inside;

/// Rows of a strip.
const TRIPLE: usize = 3;
/// The most strips, and so a third of the most rows of a filter.
const TRIPLES_MAX: usize = 5;
/// Words of a column.
const COLUMN_WORDS: usize = 6;
/// Bytes of a column.
const COLUMN_BYTES: usize = 4 * COLUMN_WORDS;
/// Columns for weights and strips together.
const COLUMNS_MAX: usize = 56;
/// Columns that biases and multipliers of four channels take.
const LIST_COLUMNS: usize = 2;

/// A filter over channels, and what lies under it.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub(crate) input: &'a [Cell<u8>],
    /// Height, width, channels of the input.
    pub(crate) shape: [usize; 3],
    /// Height and width of the filter.
    pub(crate) kernel: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Columns from a pixel to the next one.
    pub(crate) stride: usize,
    /// `height × width × channels` weights.
    pub(crate) filter: &'a [u8],
    /// Of input and output.
    pub(crate) zero_points: [i8; 2],
}

/// A layer that can be computed.
pub(crate) struct Depthwise<'a> {
    layer: Layer<'a>,
    /// How many pixels one strip has room for; 0 where pixels go alone, tap by tap.
    strip_pixels: usize,
}

/// Some channels of some pixels of a row.
pub(crate) struct RowPart<'a> {
    /// Row and column under the first pixel's first tap.
    pub(crate) at: [i32; 2],
    /// All channels of the pixels, one after another.
    pub(crate) output: &'a [Cell<u8>],
    /// Every shift is below 0.
    pub(crate) table: &'a ChannelTable,
    /// The first channel, and which of the table it is.
    pub(crate) first: usize,
    pub(crate) known: usize,
    /// How many times four channels.
    pub(crate) blocks: usize,
}

/// Three rows, and which of them are outside the input (bits 0 to 2) or the filter (bits 4 to 6).
#[derive(Clone, Copy)]
#[repr(C)]
struct Triple {
    rows: [*const Cell<u8>; TRIPLE],
    flags: usize,
}

/// What [`row_asm`] keeps at its stack pointer.
#[repr(C)]
struct RowBlock {
    tail: usize,
    output: *const Cell<u8>,
    output_step: usize,
    column_step: isize,
    zero_point: i32,
    output_end: *const Cell<u8>,
    list: *mut u32,
    columns: *mut u32,
    table: *const u32,
    filter: *const u8,
    filter_step: usize,
    kernel_width: usize,
    triples: *const Triple,
    triples_end: *const Triple,
    /// How many columns lie outside, before those inside and after them.
    columns_before: usize,
    columns_after: usize,
    /// Bytes back from the end of the columns inside to their first.
    columns_back: isize,
    channel: usize,
    input_zero_points: u32,
    weights_end: *mut u32,
    triple_step: isize,
    later_columns: usize,
    blocks: usize,
    output_bytes: usize,
    /// Where the list of taps ends that `columns` begins, or null.
    taps_end: *mut u32,
    /// Four times.
    input_zero_point: u32,
}

const _: () = {
    assert!(core::mem::offset_of!(RowBlock, output_end) == 20);
    assert!(core::mem::offset_of!(RowBlock, filter_step) == 40);
    assert!(core::mem::offset_of!(RowBlock, columns_before) == 56);
    assert!(core::mem::offset_of!(RowBlock, weights_end) == 76);
    assert!(core::mem::offset_of!(RowBlock, taps_end) == 96);
    assert!(size_of::<RowBlock>() == 104 && size_of::<Triple>() == 16);
};

impl<'a> Depthwise<'a> {
    /// `None` for a filter that is too large.
    pub(crate) fn new(layer: Layer<'a>) -> Option<Depthwise<'a>> {
        let [height, width] = layer.kernel;
        let [input_height, input_width, channels] = layer.shape;
        assert!(
            layer.input.len() >= input_height * input_width * channels
                && layer.filter.len() >= height * width * channels,
            "the parts of a layer fit together"
        );
        let triples = height.div_ceil(TRIPLE);
        let columns = COLUMNS_MAX.saturating_sub(LIST_COLUMNS + triples * width) / triples;
        let shares = layer.dilation[1] == 1 && input_width > 1 && triples <= TRIPLES_MAX;
        let strip_pixels = match columns.checked_sub(width) {
            Some(others) if shares => others / layer.stride + 1,
            _ => 0,
        };
        let taps_max = COLUMN_WORDS * (COLUMNS_MAX - LIST_COLUMNS);
        (strip_pixels > 0 || height * width <= taps_max).then_some(Depthwise {
            layer,
            strip_pixels,
        })
    }

    /// How many pixels of a row go at once.
    pub(crate) fn pixels_max(&self) -> usize {
        self.strip_pixels.max(1)
    }

    /// Computes a part of a row of not more than [`Depthwise::pixels_max`] pixels.
    #[inline(never)]
    pub(crate) fn run(&self, part: &RowPart<'_>) {
        let layer = &self.layer;
        let [height, width, channels] = layer.shape;
        let [taps_down, taps_along] = layer.kernel;
        let [step_down, step_along] = layer.dilation;
        let pixels = part.output.len() / channels;
        assert!(
            part.blocks > 0
                && (1..=self.pixels_max()).contains(&pixels)
                && part.first + 4 * part.blocks <= channels
                && part.table.len() >= part.known + 4 * part.blocks
                && part.table.is_low(),
            "the parts of a row fit together"
        );
        let columns = (pixels - 1) * layer.stride + taps_along;
        let (before, end) = taps_inside(part.at[1], columns as u16, step_along as u8, width);
        // Only columns inside are read, and those lie before this place of a row; of a row outside
        // it is the first row's values that are read, and meet weights of 0.
        let last = (part.at[1] as isize + end as isize) * channels as isize;
        let input = layer.input.as_ptr();
        let mut triples = [Triple {
            rows: [input.wrapping_offset(last); TRIPLE],
            flags: 0x77,
        }; TRIPLES_MAX];
        let mut buffer = [const { MaybeUninit::<u32>::uninit() }; COLUMN_WORDS * COLUMNS_MAX];
        let is_strip = self.strip_pixels > 0;
        let (mut count, mut taps) = (0, 0);
        let mut filter_step = channels;
        if is_strip {
            count = taps_down.div_ceil(TRIPLE);
            filter_step *= taps_along;
        }
        for tap in 0..taps_down {
            let y = (part.at[0] + (tap * step_down) as i32) as usize;
            let is_line = y < height;
            let line = input.wrapping_add(y.wrapping_mul(width * channels));
            if is_strip {
                let (triple, row) = (&mut triples[tap / TRIPLE], tap % TRIPLE);
                triple.flags &= !(0x10 << row);
                if is_line {
                    triple.flags &= !(1 << row);
                    triple.rows[row] = line.wrapping_offset(last);
                }
                continue;
            }
            for along in 0..taps_along {
                let x = (part.at[1] + (along * step_along) as i32) as usize;
                let place = line.wrapping_add(x.wrapping_mul(channels)).addr();
                let place = if is_line && x < width { place } else { 0 };
                buffer[COLUMN_WORDS * LIST_COLUMNS + taps].write(place as u32);
                taps += 1;
            }
        }
        let list: *mut u32 = buffer.as_mut_ptr().cast();
        // Four biases, the weights, four factors and multipliers, and then strips or taps.
        let weights_end = list.wrapping_add(4 + COLUMN_WORDS * count * taps_along);
        let under = weights_end.wrapping_add(8);
        let [strip, filter_width] = [columns, taps_along].map(|n| (n * COLUMN_BYTES) as isize);
        let mut block = RowBlock {
            tail: 0,
            output: part.output[part.first..].as_ptr(),
            output_step: channels,
            column_step: (layer.stride * COLUMN_BYTES) as isize
                - (count as isize - 1) * strip
                - filter_width,
            zero_point: i32::from(layer.zero_points[1]),
            output_end: part
                .output
                .as_ptr()
                .wrapping_add(pixels * channels + part.first),
            list,
            columns: under,
            table: part.table.as_ptr().wrapping_add(3 * part.known),
            filter: layer.filter[part.first..].as_ptr(),
            filter_step,
            kernel_width: taps_along,
            triples: triples.as_ptr(),
            triples_end: triples[count..].as_ptr(),
            columns_before: before,
            columns_after: columns - end,
            columns_back: -(((end - before) * channels) as isize),
            channel: part.first,
            input_zero_points: u32::from(i16::from(layer.zero_points[0]) as u16) * 0x1_0001,
            weights_end,
            triple_step: strip - filter_width,
            later_columns: if is_strip {
                (taps_along - 1) / 3 * 3
            } else {
                0
            },
            blocks: part.blocks,
            output_bytes: pixels * channels,
            taps_end: if is_strip {
                core::ptr::null_mut()
            } else {
                under.wrapping_add(taps)
            },
            input_zero_point: u32::from(layer.zero_points[0] as u8) * 0x0101_0101,
        };
        // SAFETY: for each block of four channels the assembly reads a word of each tap's weights
        // and the table's words, and of each row inside the input a word of every column inside,
        // or of every tap inside; it writes the list and the strips, to which `new` holds
        // the pixels, and four bytes of every pixel. Cells may be written through a shared
        // reference.
        unsafe { row_asm(&mut block) }
    }
}

/// Three words of four values, in `r8` to `r10`, as the six words of a column, to `r0`.
macro_rules! put_column {
    () => {
        "
        sxtb16 r6, r8
        sxtb16 r12, r9
        sxtb16 r7, r8, ror #8
        sxtb16 lr, r9, ror #8
        pkhtb r8, r12, r6, asr #16
        pkhbt r6, r6, r12, lsl #16
        pkhtb r9, lr, r7, asr #16
        pkhbt r7, r7, lr, lsl #16
        sxtb16 r11, r10, ror #8
        sxtb16 r10, r10
        stm.w r0!, {{r6, r7, r8, r9, r10, r11}}
        "
    };
}

/// One column of a pixel: 12 instructions for 12 products, 48 bytes.
macro_rules! column {
    () => {
        "
        ldm.w r0!, {{r2, r3, r8, r9}}
        ldm.w r1!, {{r10, r11, r12, lr}}
        smlad r4, r2, r10, r4
        smlad r5, r3, r11, r5
        smlad r6, r8, r12, r6
        smlad r7, r9, lr, r7
        ldrd r2, r3, [r0], #8
        ldrd r10, r11, [r1], #8
        smlabb r4, r2, r10, r4
        smlabb r5, r3, r11, r5
        smlatt r6, r2, r10, r6
        smlatt r7, r3, r11, r7
        "
    };
}

/// A row's four weights, for one that may be outside: then they go into the biases.
macro_rules! row_outside {
    ($outside:literal, $beyond:literal, $weights:literal, $place:literal) => {
        concat!(
            "tst r4, #",
            $outside,
            "\n",
            "itt eq\n",
            "ldreq.w ",
            $weights,
            ", ",
            $place,
            "\n",
            "beq 1f\n",
            "mov ",
            $weights,
            ", #0\n",
            "tst r4, #",
            $beyond,
            "\n",
            "bne 1f\n",
            "ldr.w r6, ",
            $place,
            "\n",
            "bl 62f\n",
            "1:\n",
        )
    };
}

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn row_asm(block: *mut RowBlock) {
    // The block lies at the stack pointer; after it, from 104 on: where a pixel's taps begin in the
    // code, where it ends, columns left, the triple.
    // At the pixels: r0 columns, r1 weights, r2 r3 r8 r9 values, r4-r7 sums, r10-r12 lr weights.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "sub sp, #124",
        "ldm r0!, {{r1-r12, lr}}",
        "stm sp, {{r1-r12, lr}}",
        "ldm r0, {{r1-r12, lr}}",
        "add r0, sp, #52",
        "stm r0, {{r1-r12, lr}}",
        // r9 columns after the first up to three of a triple, r12 end of taps. With the least zero
        // point a negative sum is the least result, however it is rounded.
        "ldr r0, [sp, #16]",
        "adr r2, 24f",
        "adr r3, 26f",
        "cmn r0, #128",
        "it eq",
        "moveq r2, r3",
        "orr r2, r2, #1",
        "ldr r4, [sp, #44]",
        "sub r4, r4, r9",
        "mov r5, #48",
        "adr r3, 22f",
        "mls r3, r4, r5, r3",
        "adr r5, 50f",
        "cmp r12, #0",
        "it ne",
        "movne r3, r5",
        "orr r3, r3, #1",
        "strd r3, r2, [sp, #104]",
        "str r9, [sp, #112]",
        "ldrd r4, r5, [sp, #48]",
        "sub r5, r4",
        "cmp r5, #16",
        "it le",
        "cmple r9, #0",
        "itt gt",
        "adrgt r2, 40f",
        "orrgt r2, r2, #1",
        "str r2, [sp]",
        // The next four channels: r0 list, r1 weights, r2 to the next row, r3 to the next column.
        "10:",
        "ldr r3, [sp, #32]",
        "ldr r4, [r3]",
        "ldr r5, [r3, #12]",
        "ldr r6, [r3, #24]",
        "ldr r7, [r3, #36]",
        "ldr r0, [sp, #24]",
        "stm r0!, {{r4, r5, r6, r7}}",
        "ldrd r1, r2, [sp, #36]",
        "ldr r3, [sp, #8]",
        "ldr r6, [sp, #48]",
        "11:",
        "ldr r7, [sp, #52]",
        "cmp r6, r7",
        "beq 13f",
        "ldr r4, [r6, #12]",
        "str r6, [sp, #116]",
        "ldr r5, [sp, #44]",
        "12:",
        "cmp r4, #0",
        "bne 60f",
        "ldr.w r8, [r1]",
        "ldr.w r9, [r1, r2]",
        "ldr.w r10, [r1, r2, lsl #1]",
        "18:",
        "add r1, r3",
        put_column!(),
        "subs r5, #1",
        "bne 12b",
        "add r1, r1, r2, lsl #1",
        "ldr r6, [sp, #116]",
        "adds r6, #16",
        "b 11b",
        "13:",
        "ldr r3, [sp, #32]",
        "add r3, #8",
        "ldm.w r3!, {{r6, r7, r8}}",
        "ldm.w r3!, {{r9, r10, r11}}",
        "stm.w r0!, {{r6, r8, r9, r11}}",
        "ldm.w r3!, {{r6, r7, r8}}",
        "ldm.w r3!, {{r9, r10, r11}}",
        "stm.w r0!, {{r6, r8, r9, r11}}",
        "sub r3, #8",
        "str r3, [sp, #32]",
        // The strips, after the list: r1-r3 rows, r4 place in them, r5 to the next column.
        "ldr r6, [sp, #48]",
        "14:",
        "ldr r7, [sp, #52]",
        "cmp r6, r7",
        "beq 19f",
        "str r6, [sp, #116]",
        "ldrd r2, r5, [sp, #56]",
        "cmp r2, #0",
        "it ne",
        "blne 64f",
        "ldr r6, [sp, #116]",
        "ldrd r4, r7, [sp, #64]",
        "ldm r6, {{r1, r2, r3}}",
        "ldr r5, [sp, #8]",
        "cmp r4, #0",
        "beq 17f",
        "add r1, r7",
        "add r2, r7",
        "add r3, r7",
        "16:",
        "ldr.w r8, [r1, r4]",
        "ldr.w r9, [r2, r4]",
        "ldr.w r10, [r3, r4]",
        "adds r4, r5",
        put_column!(),
        "bne 16b",
        "17:",
        "ldr r2, [sp, #60]",
        "cmp r2, #0",
        "it ne",
        "blne 64f",
        "ldr r6, [sp, #116]",
        "adds r6, #16",
        "b 14b",
        "19:",
        // The next pixel.
        "ldr r0, [sp, #28]",
        "20:",
        "ldr r1, [sp, #24]",
        "ldm r1!, {{r4, r5, r6, r7}}",
        "ldr pc, [sp, #104]",
        ".p2align 2",
        "21:",
        column!(),
        column!(),
        column!(),
        ".p2align 2",
        "22:",
        // r2 where to go, r10 output, r11 r12 steps of output and columns, lr zero point.
        "ldm.w sp, {{r2, r10, r11, r12, lr}}",
        "bx r2",
        ".p2align 2",
        "24:",
        "ldm.w r1!, {{r2, r3, r8, r9}}",
        "smmlar r4, r4, r3, r4",
        "smmlar r5, r5, r9, r5",
        "add r4, r4, r4, asr #31",
        "add r5, r5, r5, asr #31",
        "smmlsr r4, r4, r2, lr",
        "smmlsr r5, r5, r8, lr",
        "ldm.w r1, {{r2, r3, r8, r9}}",
        "smmlar r6, r6, r3, r6",
        "smmlar r7, r7, r9, r7",
        "add r6, r6, r6, asr #31",
        "add r7, r7, r7, asr #31",
        "b 28f",
        ".p2align 2",
        "26:",
        "ldm.w r1!, {{r2, r3, r8, r9}}",
        "smmlar r4, r4, r3, r4",
        "smmlar r5, r5, r9, r5",
        "smmlsr r4, r4, r2, lr",
        "smmlsr r5, r5, r8, lr",
        "ldm.w r1, {{r2, r3, r8, r9}}",
        "smmlar r6, r6, r3, r6",
        "smmlar r7, r7, r9, r7",
        "28:",
        "smmlsr r6, r6, r2, lr",
        "smmlsr r7, r7, r8, lr",
        "ssat r4, #8, r4",
        "ssat r5, #8, r5",
        "ssat r6, #8, r6",
        "ssat r7, #8, r7",
        "strb r4, [r10]",
        "strb r5, [r10, #1]",
        "strb r6, [r10, #2]",
        "strb r7, [r10, #3]",
        "add r10, r11",
        "ldr r2, [sp, #20]",
        "str r10, [sp, #4]",
        "add r0, r12",
        "cmp r10, r2",
        "bne 20b",
        // To the next channels of the first pixel.
        "ldrd r1, r3, [sp, #88]",
        "adds r2, #4",
        "str r2, [sp, #20]",
        "subs r2, r3",
        "str r2, [sp, #4]",
        "ldr r2, [sp, #36]",
        "ldr r3, [sp, #68]",
        "adds r2, #4",
        "adds r3, #4",
        "str r2, [sp, #36]",
        "str r3, [sp, #68]",
        "subs r1, #1",
        "str r1, [sp, #88]",
        "bne 10b",
        "add sp, #124",
        "pop {{r4-r11, pc}}",
        // Three more columns of a triple, the next triple, or the end of a pixel.
        ".p2align 2",
        "40:",
        "ldr r2, [sp, #112]",
        "subs r2, #3",
        "itt ge",
        "strge r2, [sp, #112]",
        "bge 21b",
        "ldr r2, [sp, #84]",
        "str r2, [sp, #112]",
        "ldrd r2, r3, [sp, #76]",
        "cmp r1, r2",
        "ittt ne",
        "addne r0, r3",
        "ldrne r2, [sp, #104]",
        "bxne r2",
        "ldr pc, [sp, #108]",
        // A pixel tap by tap: r0 taps, r2 to the next weights, r9 channel, r12 weights.
        ".p2align 2",
        "50:",
        "ldrd r12, r2, [sp, #36]",
        "ldr r9, [sp, #68]",
        "ldr lr, [sp, #96]",
        "51:",
        "ldr r3, [r0], #4",
        "ldr.w r10, [r12]",
        "add r12, r2",
        "cbz r3, 53f",
        "ldr.w r3, [r3, r9]",
        "52:",
        "sxtb16 r8, r3",
        "sxtb16 r3, r3, ror #8",
        "sxtb16 r11, r10",
        "sxtb16 r10, r10, ror #8",
        "smlabb r4, r8, r11, r4",
        "smlabb r5, r3, r10, r5",
        "smlatt r6, r8, r11, r6",
        "smlatt r7, r3, r10, r7",
        "cmp r0, lr",
        "bne 51b",
        "b 22b",
        "53:",
        "ldr r3, [sp, #100]",
        "b 52b",
        // A column with rows outside.
        "60:",
        row_outside!("1", "16", "r8", "[r1]"),
        row_outside!("2", "32", "r9", "[r1, r2]"),
        row_outside!("4", "64", "r10", "[r1, r2, lsl #1]"),
        "b 18b",
        // Four weights, in r6, times the zero point into the biases.
        "62:",
        "str r5, [sp, #120]",
        "ldr r5, [sp, #24]",
        "ldr r12, [sp, #72]",
        "sxtb16 r7, r6",
        "sxtb16 r6, r6, ror #8",
        "ldr r11, [r5]",
        "smlabb r11, r7, r12, r11",
        "str r11, [r5]",
        "ldr r11, [r5, #4]",
        "smlabb r11, r6, r12, r11",
        "str r11, [r5, #4]",
        "ldr r11, [r5, #8]",
        "smlatb r11, r7, r12, r11",
        "str r11, [r5, #8]",
        "ldr r11, [r5, #12]",
        "smlatb r11, r6, r12, r11",
        "str r11, [r5, #12]",
        "ldr r5, [sp, #120]",
        "bx lr",
        // Columns of zero points, as many as r2 says.
        "64:",
        "cbz r2, 66f",
        "ldr r6, [sp, #72]",
        "mov r7, r6",
        "mov r8, r6",
        "mov r9, r6",
        "mov r10, r6",
        "mov r11, r6",
        "65:",
        "stm.w r0!, {{r6, r7, r8, r9, r10, r11}}",
        "subs r2, #1",
        "bne 65b",
        "66:",
        "bx lr",
    )
}
