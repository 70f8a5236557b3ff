//! Four pixels of a convolution against row after row of its filter.

use core::arch::naked_asm;
use core::cell::Cell;

use super::{ChannelTable, Patches, WIDE_QUAD, is_aligned};
use crate::layout::{BLOCK_PIXELS, QUAD};

/// What the assembly of [`ConvBlock::run`] keeps at its stack pointer, in this order.
#[repr(C)]
pub(crate) struct ConvBlock<'a> {
    output: *const Cell<u8>,
    table: *const u32,
    /// From the first pixel's output to that of the second, third and fourth.
    offsets: [usize; 3],
    zero_point: i32,
    output_end: *const Cell<u8>,
    patches: *const Cell<u8>,
    patches_end: *const Cell<u8>,
    start: usize,
    entry: usize,
    weights: *const u8,
    /// Whether the output's zero point is the least value and every shift is below 0.
    is_plain: usize,
    filter: &'a [u8],
}

/// Some channels of one to four pixels.
pub(crate) struct BlockPlace<'a> {
    /// From the first of the channels of the first pixel on.
    pub(crate) outputs: &'a [Cell<u8>],
    pub(crate) pixels: usize,
    /// From a pixel to the next one.
    pub(crate) stride: usize,
}

impl<'a> ConvBlock<'a> {
    /// Four pixels' patches, widened, against a filter of whole quads.
    ///
    /// `patches` holds, for each quad of taps, `(k0, k2)` of the four pixels and then `(k1, k3)`.
    pub(crate) fn new(patches: &'a [Cell<u8>], filter: &'a [u8], zero_point: i8) -> ConvBlock<'a> {
        let quads = patches.len() / WIDE_QUAD;
        assert!(
            quads > 0 && is_aligned(patches) && filter.as_ptr().addr().is_multiple_of(4),
            "a patch has a tap, and words are aligned"
        );
        ConvBlock {
            output: core::ptr::null(),
            table: core::ptr::null(),
            offsets: [0; 3],
            zero_point: i32::from(zero_point),
            output_end: core::ptr::null(),
            patches: patches.as_ptr(),
            patches_end: patches[quads * WIDE_QUAD..].as_ptr(),
            start: quads,
            entry: 0,
            weights: core::ptr::null(),
            is_plain: 0,
            filter,
        }
    }

    /// Computes the channels in `table`, of which the filter's row `first` is the first.
    pub(crate) fn run(&mut self, table: &ChannelTable, first: usize, place: BlockPlace<'_>) {
        let BlockPlace {
            outputs,
            pixels,
            stride,
        } = place;
        let channels = table.len();
        let row = self.start * QUAD;
        let weights = &self.filter[first * row..];
        assert!(
            channels > 0
                && weights.len() >= channels * row
                && (1..=BLOCK_PIXELS).contains(&pixels)
                && outputs.len() >= (pixels - 1) * stride + channels,
            "the parts of a block fit together"
        );
        self.prepare(table, first, pixels, stride);
        self.output = outputs.as_ptr();
        self.output_end = outputs[channels..].as_ptr();
        // SAFETY: the assembly reads `start` quads of four patches, `channels` rows of as many
        // quads, and the table's words; it writes `channels` bytes from each pixel's offset on. All
        // were held against the slices' lengths, words against their alignment. Cells may be
        // written through a shared reference.
        unsafe { convolve_block_asm(self) }
    }

    /// Computes all channels of whole blocks of pixels whose patches lie one after another in
    /// `input`, as the table has all channels; answers how many blocks.
    ///
    /// A block is written after it was read, so that the output may trail the input.
    pub(crate) fn run_pixels(
        &mut self,
        table: &ChannelTable,
        patches: &Patches<'_>,
        input: &[Cell<u8>],
        output: &[Cell<u8>],
    ) -> usize {
        let (channels, row) = (table.len(), self.start * QUAD);
        let block_bytes = BLOCK_PIXELS * channels;
        let blocks = output.len() / block_bytes;
        assert!(
            patches.wide().as_ptr() == self.patches
                && patches.row == row
                && input.len() >= blocks * BLOCK_PIXELS * row
                && self.filter.len() >= channels * row,
            "the parts of the blocks fit together"
        );
        self.prepare(table, 0, BLOCK_PIXELS, channels);
        self.output = output.as_ptr();
        for block in 0..blocks {
            self.output_end = self.output.wrapping_add(channels);
            let from = input.as_ptr().wrapping_add(block * BLOCK_PIXELS * row);
            // SAFETY: four patches of `row` bytes are read from each block's place in the input,
            // and `channels` bytes of four pixels are written from its place in the output, both
            // of which were held to their lengths; the rest is as in `run`.
            unsafe {
                patches.widen_from(from, 0, BLOCK_PIXELS);
                convolve_block_asm(self);
            }
            self.output = self.output.wrapping_add(block_bytes);
        }
        blocks
    }

    /// Takes up a table, the filter's row of its first channel, and where pixels lie.
    fn prepare(&mut self, table: &ChannelTable, first: usize, pixels: usize, stride: usize) {
        let offset = |pixel: usize| pixel.min(pixels - 1) * stride;
        self.offsets = [offset(1), offset(2), offset(3)];
        self.table = table.as_ptr();
        self.weights = self.filter[first * self.start * QUAD..].as_ptr();
        self.is_plain = usize::from(self.zero_point == -128 && table.is_low());
    }
}

/// Offsets of the fields of [`ConvBlock`] are written out; this holds them to it.
const _: () = {
    assert!(core::mem::offset_of!(ConvBlock<'_>, zero_point) == 20);
    assert!(core::mem::offset_of!(ConvBlock<'_>, output_end) == 24);
    assert!(core::mem::offset_of!(ConvBlock<'_>, patches) == 28);
    assert!(core::mem::offset_of!(ConvBlock<'_>, start) == 36);
    assert!(core::mem::offset_of!(ConvBlock<'_>, weights) == 44);
    assert!(core::mem::offset_of!(ConvBlock<'_>, is_plain) == 48);
};

/// Two quads of one row against four patches: 25 instructions for 32 products.
macro_rules! two_quads {
    () => {
        "
        ldrd r8, r9, [r1], #8
        ldm.w r0!, {{r2, r3, r10, r11}}
        sxtb16 r12, r8
        smlad r4, r2, r12, r4
        smlad r5, r3, r12, r5
        smlad r6, r10, r12, r6
        smlad r7, r11, r12, r7
        ldm.w r0!, {{r2, r3, r10, r11}}
        sxtb16 r12, r8, ror #8
        smlad r4, r2, r12, r4
        smlad r5, r3, r12, r5
        smlad r6, r10, r12, r6
        smlad r7, r11, r12, r7
        ldm.w r0!, {{r2, r3, r10, r11}}
        sxtb16 r12, r9
        smlad r4, r2, r12, r4
        smlad r5, r3, r12, r5
        smlad r6, r10, r12, r6
        smlad r7, r11, r12, r7
        ldm.w r0!, {{r2, r3, r10, r11}}
        sxtb16 r12, r9, ror #8
        smlad r4, r2, r12, r4
        smlad r5, r3, r12, r5
        smlad r6, r10, r12, r6
        smlad r7, r11, r12, r7
        "
    };
}

/// One pixel's sum, rescaled for a shift in `r10` of 0 or more.
macro_rules! rescale_upwards {
    ($x:literal) => {
        concat!(
            "lsl ", $x, ", ", $x, ", r10\n", "smmlar ", $x, ", ", $x, ", r12, ", $x, "\n", "qadd ",
            $x, ", ", $x, ", lr\n", "ssat ", $x, ", #8, ", $x, "\n",
        )
    };
}

/// # Safety
/// The block's pointers hold what its fields say.
#[unsafe(naked)]
unsafe extern "C" fn convolve_block_asm(block: *const ConvBlock<'_>) {
    // r0 patches, r1 weights, r2 r3 r10 r11 inputs, r4-r7 sums of the four pixels, r8 r9 weights,
    // r12 widened weights, lr end of the patches. The block lies at the stack pointer, so that one
    // LDM brings what the end of a channel needs.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "sub sp, #48",
        "ldm r0!, {{r1, r2, r4-r9}}",
        "stm sp, {{r1, r2, r4-r9}}",
        "ldm r0, {{r4, r5, r6, r7, r9}}",
        // An odd quad goes first, then a part of the four-fold loop, then whole rounds of it.
        "lsr r3, r5, #1",
        "adr r6, 30f",
        "cbz r3, 12f",
        "sub r3, #1",
        "and r3, r3, #3",
        "rsb r3, r3, #3",
        "mov r8, #100",
        "adr r6, 20f",
        "mla r6, r3, r8, r6",
        "12:",
        "orr r6, r6, #1",
        "adr r8, 10f",
        "orr r8, r8, #1",
        "tst r5, #1",
        "it eq",
        "moveq r8, r6",
        "mov r1, r7",
        // With the least zero point a negative sum is the least result, however it is rounded.
        "adr r7, 50f",
        "adr r3, 31f",
        "cmp r9, #0",
        "it ne",
        "movne r7, r3",
        "orr r7, r7, #1",
        "add r12, sp, #32",
        "mov r5, r8",
        "stm r12, {{r4, r5, r6, r7}}",
        "ldr r4, [r2], #8",
        "str r2, [sp, #4]",
        "mov r5, r4",
        "mov r6, r4",
        "mov r7, r4",
        "ldrd r0, lr, [sp, #28]",
        "bx r8",
        // One quad.
        ".p2align 2",
        "10:",
        "ldr r8, [r1], #4",
        "ldm.w r0!, {{r2, r3, r10, r11}}",
        "sxtb16 r12, r8",
        "smlad r4, r2, r12, r4",
        "smlad r5, r3, r12, r5",
        "smlad r6, r10, r12, r6",
        "smlad r7, r11, r12, r7",
        "ldm.w r0!, {{r2, r3, r10, r11}}",
        "sxtb16 r12, r8, ror #8",
        "smlad r4, r2, r12, r4",
        "smlad r5, r3, r12, r5",
        "smlad r6, r10, r12, r6",
        "smlad r7, r11, r12, r7",
        "ldr pc, [sp, #40]",
        ".p2align 2",
        "20:",
        two_quads!(),
        two_quads!(),
        two_quads!(),
        two_quads!(),
        ".p2align 2",
        "30:",
        "cmp r0, lr",
        "bne 20b",
        // r0 output, r2 table, r3 r8 r9 offsets, r10 factor, r11 the next bias, r12 2m, lr zero point.
        "ldm sp, {{r0, r2, r3, r8, r9, lr}}",
        "ldm.w r2!, {{r10, r11, r12}}",
        "ldr pc, [sp, #44]",
        ".p2align 2",
        "31:",
        rescale_plain!("r4"),
        rescale_plain!("r5"),
        rescale_plain!("r6"),
        rescale_plain!("r7"),
        "32:",
        "strb r7, [r0, r9]",
        "strb r6, [r0, r8]",
        "strb r5, [r0, r3]",
        "strb r4, [r0], #1",
        "strd r0, r2, [sp]",
        "ldr r12, [sp, #24]",
        "mov r4, r11",
        "mov r5, r11",
        "mov r6, r11",
        "mov r7, r11",
        "cmp r0, r12",
        "ldrd r0, lr, [sp, #28]",
        "beq 40f",
        "ldr pc, [sp, #36]",
        "40:",
        "add sp, #48",
        "pop {{r4-r11, pc}}",
        // Other zero points, and shifts that are rare.
        ".p2align 2",
        "50:",
        "cmp r10, #0",
        "bge 51f",
        rescale!("r4"),
        rescale!("r5"),
        rescale!("r6"),
        rescale!("r7"),
        "b 32b",
        "51:",
        rescale_upwards!("r4"),
        rescale_upwards!("r5"),
        rescale_upwards!("r6"),
        rescale_upwards!("r7"),
        "b 32b",
    )
}
