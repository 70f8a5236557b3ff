//! A row of a depthwise convolution, four channels at a time.

use core::arch::naked_asm;
use core::cell::Cell;

use super::ChannelTable;
use crate::record::OpRecord;

/// The most taps of a depthwise filter that [`depthwise_row`] takes.
pub(crate) const TAPS_MAX: usize = 25;

/// The most pixels that [`depthwise_row`] takes at once.
pub(crate) const ROW_PIXELS_MAX: usize = 64;

/// The taps of some pixels of any row of a depthwise convolution.
pub(crate) struct RowTaps {
    /// From the first tap of the first row inside to each tap, ascending.
    offsets: [u32; TAPS_MAX],
    /// For each pixel 0 if all columns of its window lie inside; else bit 31 is set if the first
    /// tap's does, bit 30 for the second, and so on through all rows.
    masks: [u32; ROW_PIXELS_MAX],
    pixels: usize,
    kernel: [usize; 2],
    /// Bytes of an input row, of a pixel, and from one output pixel's window to the next one's.
    row_bytes: usize,
    channels: usize,
    pixel_step: usize,
    /// Rows from tap to tap.
    dilation: usize,
    /// Column of the first tap of the first pixel.
    left: i32,
}

impl RowTaps {
    /// No taps.
    pub(crate) fn new() -> RowTaps {
        RowTaps {
            offsets: [0; TAPS_MAX],
            masks: [0; ROW_PIXELS_MAX],
            pixels: 0,
            kernel: [0; 2],
            row_bytes: 0,
            channels: 0,
            pixel_step: 0,
            dilation: 0,
            left: 0,
        }
    }

    /// Becomes the taps of `pixels` outputs from column `first` on, over input rows of `width`
    /// pixels of `channels`; false where there are too many.
    #[inline(never)]
    pub(crate) fn aim(
        &mut self,
        op: &OpRecord,
        [width, channels]: [u16; 2],
        first: usize,
        pixels: usize,
    ) -> bool {
        let kernel = op.kernel.map(usize::from);
        let (width, channels) = (usize::from(width), usize::from(channels));
        let row_bytes = width * channels;
        let [down, along] = op.dilation.map(usize::from);
        let reach = (kernel[0] as u64 - 1) * down as u64 * row_bytes as u64;
        self.pixels = 0;
        if kernel[0] * kernel[1] > TAPS_MAX || pixels > ROW_PIXELS_MAX || reach > 1 << 30 {
            return false;
        }
        let mut places = self.offsets.iter_mut();
        for row in 0..kernel[0] {
            for (column, place) in places.by_ref().take(kernel[1]).enumerate() {
                *place = (row * down * row_bytes + column * along * channels) as u32;
            }
        }
        let stride = usize::from(op.stride[1]);
        let left = (first * stride) as i32 - i32::from(op.pad[1]);
        for (index, mask) in self.masks.iter_mut().take(pixels).enumerate() {
            let left = left + (index * stride) as i32;
            let last = left + ((kernel[1] - 1) * along) as i32;
            *mask = 0;
            if left >= 0 && last < width as i32 {
                continue;
            }
            let columns = (0..kernel[1]).fold(0u32, |bits, column| {
                let is_inside = (0..width as i32).contains(&(left + (column * along) as i32));
                bits | u32::from(is_inside) << (31 - column)
            });
            // The lowest bit belongs to no tap: it keeps the mask of a window outside from being 0.
            *mask = (0..kernel[0]).fold(1, |mask, row| mask | columns >> (row * kernel[1]));
        }
        self.pixels = pixels;
        self.kernel = kernel;
        self.row_bytes = row_bytes;
        self.channels = channels;
        self.pixel_step = stride * channels;
        self.dilation = down;
        self.left = left;
        true
    }
}

/// A row of a depthwise convolution.
pub(crate) struct DepthwiseRow<'a> {
    pub(crate) taps: &'a RowTaps,
    /// The input row of the first tap row inside.
    pub(crate) input_row: usize,
    /// First tap row inside, and one past the last.
    pub(crate) tap_rows: (usize, usize),
    /// `height × width × channels` weights.
    pub(crate) filter: &'a [u8],
    pub(crate) table: &'a ChannelTable,
    pub(crate) input: &'a [Cell<u8>],
    /// The row's pixels, one after another.
    pub(crate) output: &'a [Cell<u8>],
    /// Of input and output.
    pub(crate) zero_points: [i8; 2],
}

/// What [`depthwise_row_asm`] keeps at its stack pointer.
#[repr(C)]
struct RowBlock {
    input_step: usize,
    output_step: usize,
    mask: *const u32,
    list: *mut u32,
    input: *const Cell<u8>,
    output: *const Cell<u8>,
    table: *const u32,
    filter: *const u8,
    channels: usize,
    offsets: *const u32,
    taps_above: usize,
    taps_inside: usize,
    taps_below: usize,
    input_zero_point: i32,
    entry: usize,
    zero_point: i32,
    blocks: usize,
    input_zero_points: u32,
    masks: *const u32,
    masks_end: *const u32,
}

/// Computes channels `first..first + 4 · blocks` of the row's pixels, the first of which is the
/// table's channel `known`. Every shift is below 0.
pub(crate) fn depthwise_row(row: &DepthwiseRow<'_>, first: usize, known: usize, blocks: usize) {
    let taps = row.taps;
    let end = first + 4 * blocks;
    let (above, below) = row.tap_rows;
    let last_row = row.input_row + (below - above - 1) * taps.dilation;
    assert!(
        blocks > 0
            && taps.pixels > 0
            && above < below
            && below <= taps.kernel[0]
            && end <= taps.channels
            && (last_row + 1) * taps.row_bytes <= row.input.len()
            && row.filter.len() >= taps.kernel[0] * taps.kernel[1] * taps.channels
            && row.table.len() >= known + 4 * blocks
            && row.table.is_low()
            && row.output.len() >= taps.pixels * taps.channels,
        "the parts of a row fit together"
    );
    let mut list = [0u32; 4 + 3 * TAPS_MAX + 8];
    let zero_point = row.zero_points[0];
    let input = row.input[row.input_row * taps.row_bytes..].as_ptr();
    let masks = taps.masks[..taps.pixels].as_ptr_range();
    let mut block = RowBlock {
        input_step: taps.pixel_step,
        output_step: taps.channels,
        mask: masks.start,
        list: list.as_mut_ptr(),
        input: input.wrapping_offset(taps.left as isize * taps.channels as isize + first as isize),
        output: row.output[first..].as_ptr(),
        table: row.table.as_ptr().wrapping_add(3 * known),
        filter: row.filter[first..].as_ptr(),
        channels: taps.channels,
        offsets: taps.offsets.as_ptr(),
        taps_above: above * taps.kernel[1],
        taps_inside: (below - above) * taps.kernel[1],
        taps_below: (taps.kernel[0] - below) * taps.kernel[1],
        input_zero_point: i32::from(zero_point),
        entry: 0,
        zero_point: i32::from(row.zero_points[1]),
        blocks,
        input_zero_points: u32::from(i16::from(zero_point) as u16) * 0x1_0001,
        masks: masks.start,
        masks_end: masks.end,
    };
    // SAFETY: for each block of four channels the assembly reads a word of every tap's weights,
    // three words of the table's four channels; a word of every tap inside of every
    // pixel, whose row was just held to the input and whose column `RowTaps::aim` held to the
    // row; and writes four bytes of every pixel. The list takes TAPS_MAX taps. Cells may be
    // written through a shared reference.
    unsafe { depthwise_row_asm(&mut block) }
}

const _: () = {
    assert!(core::mem::offset_of!(RowBlock, table) == 24);
    assert!(core::mem::offset_of!(RowBlock, offsets) == 36);
    assert!(core::mem::offset_of!(RowBlock, input_zero_point) == 52);
    assert!(core::mem::offset_of!(RowBlock, input_zero_points) == 68);
    assert!(size_of::<RowBlock>() == 80);
};

/// One tap of four channels: 8 instructions for 4 products, 32 bytes.
macro_rules! tap {
    () => {
        "
        ldm.w r0!, {{r2, r8, r9}}
        ldr.w r2, [r1, r2]
        sxtb16 r3, r2
        sxtb16 r2, r2, ror #8
        smlabb r4, r3, r8, r4
        smlatt r6, r3, r8, r6
        smlabb r5, r2, r9, r5
        smlatt r7, r2, r9, r7
        "
    };
}

/// Multiplier and factor of one channel into the list.
macro_rules! rescale_to_list {
    () => {
        "
        ldr r2, [r8, #16]
        ldr r3, [r8, #8]
        add r8, #12
        stm r0!, {{r2, r3}}
        "
    };
}

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_row_asm(block: *mut RowBlock) {
    // While the list is made: r0 list, r1 weights, r2 from tap to tap, r4-r7 sums, r12 zero point.
    // At the taps: r0 list, r1 input, r2 r3 values, r4-r7 sums, r8 r9 weights, r10 entry of the
    // taps, r11 zero point, r12 output, lr end of the taps.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "sub sp, #80",
        "ldm r0!, {{r1-r12}}",
        "stm sp, {{r1-r12}}",
        "ldm r0, {{r1-r8}}",
        "add r0, sp, #48",
        "stm r0, {{r1-r8}}",
        // The first round of taps does what does not fill a round of nine.
        "ldr r8, [sp, #44]",
        "sub r8, #1",
        "mov r9, #9",
        "udiv r3, r8, r9",
        "mls r8, r3, r9, r8",
        "rsb r8, r8, #8",
        "adr r10, 20f",
        "add r10, r10, r8, lsl #5",
        "orr r10, r10, #1",
        "str r10, [sp, #56]",
        // The next four channels.
        "10:",
        "ldr r3, [sp, #24]",
        "ldr r4, [r3]",
        "ldr r5, [r3, #12]",
        "ldr r6, [r3, #24]",
        "ldr r7, [r3, #36]",
        "ldr r0, [sp, #12]",
        "ldrd r1, r2, [sp, #28]",
        "ldr r12, [sp, #52]",
        "ldr r8, [sp, #40]",
        "cmp r8, #0",
        "beq 14f",
        "13:",
        "ldr r9, [r1]",
        "add r1, r2",
        "sxtb16 r10, r9",
        "sxtb16 r9, r9, ror #8",
        "smlabb r4, r10, r12, r4",
        "smlatb r6, r10, r12, r6",
        "smlabb r5, r9, r12, r5",
        "smlatb r7, r9, r12, r7",
        "subs r8, #1",
        "bne 13b",
        "14:",
        "add r0, #16",
        "ldr r8, [sp, #44]",
        "ldr r11, [sp, #36]",
        "15:",
        "ldr r9, [r1]",
        "add r1, r2",
        "ldr r3, [r11], #4",
        "sxtb16 r10, r9, ror #8",
        "sxtb16 r9, r9",
        "stm r0!, {{r3, r9, r10}}",
        "subs r8, #1",
        "bne 15b",
        "mov lr, r0",
        "ldr r8, [sp, #48]",
        "cmp r8, #0",
        "beq 17f",
        "16:",
        "ldr r9, [r1]",
        "add r1, r2",
        "sxtb16 r10, r9",
        "sxtb16 r9, r9, ror #8",
        "smlabb r4, r10, r12, r4",
        "smlatb r6, r10, r12, r6",
        "smlabb r5, r9, r12, r5",
        "smlatb r7, r9, r12, r7",
        "subs r8, #1",
        "bne 16b",
        "17:",
        "ldr r3, [sp, #12]",
        "stm r3, {{r4, r5, r6, r7}}",
        "ldr r8, [sp, #24]",
        rescale_to_list!(),
        rescale_to_list!(),
        rescale_to_list!(),
        rescale_to_list!(),
        "str r8, [sp, #24]",
        "ldr r10, [sp, #56]",
        "ldr r11, [sp, #60]",
        "ldr r8, [sp, #72]",
        "ldrd r1, r12, [sp, #16]",
        // The next pixel.
        "18:",
        "ldr r3, [r8], #4",
        "str r8, [sp, #8]",
        "ldr r0, [sp, #12]",
        "ldm.w r0!, {{r4, r5, r6, r7}}",
        "cbz r3, 19f",
        "b 30f",
        "19:",
        "bx r10",
        ".p2align 2",
        "20:",
        tap!(),
        tap!(),
        tap!(),
        tap!(),
        tap!(),
        tap!(),
        tap!(),
        tap!(),
        tap!(),
        "cmp r0, lr",
        "bne 20b",
        "b 22f",
        // A pixel some of whose taps lie outside.
        "30:",
        "mov r10, r3",
        "ldr r11, [sp, #68]",
        "31:",
        "ldm.w r0!, {{r2, r8, r9}}",
        "lsls r10, r10, #1",
        "bcc 32f",
        "ldr.w r2, [r1, r2]",
        "sxtb16 r3, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r3, r8, r4",
        "smlatt r6, r3, r8, r6",
        "smlabb r5, r2, r9, r5",
        "smlatt r7, r2, r9, r7",
        "cmp r0, lr",
        "bne 31b",
        "b 33f",
        "32:",
        "smlabb r4, r11, r8, r4",
        "smlatt r6, r11, r8, r6",
        "smlabb r5, r11, r9, r5",
        "smlatt r7, r11, r9, r7",
        "cmp r0, lr",
        "bne 31b",
        "33:",
        "ldr r10, [sp, #56]",
        "ldr r11, [sp, #60]",
        "22:",
        "ldm.w r0!, {{r2, r3, r8, r9}}",
        "smmlar r4, r4, r2, r4",
        "smmlar r5, r5, r8, r5",
        "add r4, r4, r4, asr #31",
        "add r5, r5, r5, asr #31",
        "smmlsr r4, r4, r3, r11",
        "smmlsr r5, r5, r9, r11",
        "ldm.w r0, {{r2, r3, r8, r9}}",
        "smmlar r6, r6, r2, r6",
        "smmlar r7, r7, r8, r7",
        "add r6, r6, r6, asr #31",
        "add r7, r7, r7, asr #31",
        "smmlsr r6, r6, r3, r11",
        "smmlsr r7, r7, r9, r11",
        "ssat r4, #8, r4",
        "ssat r5, #8, r5",
        "ssat r6, #8, r6",
        "ssat r7, #8, r7",
        "strb r4, [r12]",
        "strb r5, [r12, #1]",
        "strb r6, [r12, #2]",
        "strb r7, [r12, #3]",
        "ldm.w sp, {{r2, r3, r8}}",
        "ldr r9, [sp, #76]",
        "add r1, r2",
        "add r12, r3",
        "cmp r8, r9",
        "bne 18b",
        "ldrd r0, r1, [sp, #16]",
        "ldr r2, [sp, #28]",
        "ldr r3, [sp, #64]",
        "add r0, #4",
        "add r1, #4",
        "add r2, #4",
        "strd r0, r1, [sp, #16]",
        "str r2, [sp, #28]",
        "subs r3, #1",
        "str r3, [sp, #64]",
        "bne 10b",
        "add sp, #80",
        "pop {{r4-r11, pc}}",
    )
}
