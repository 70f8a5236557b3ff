//! Four pixels of a convolution against row after row of its filter.

use core::arch::naked_asm;
use core::cell::Cell;

use super::{ChannelTable, is_aligned};
use crate::layout::{BLOCK_PIXELS, QUAD};

/// What the assembly of [`convolve_block`] keeps at its stack pointer, in this order.
#[repr(C)]
struct ConvBlock {
    output: *const Cell<u8>,
    multipliers: *const [u8; 4],
    shifts: *const u8,
    biases: *const [u8; 4],
    zero_point: i32,
    patches: *const Cell<u8>,
    patches_end: *const Cell<u8>,
    start: usize,
    entry: usize,
    output_end: *const Cell<u8>,
    /// From the first pixel's output to that of the second, third and fourth.
    offsets: [usize; 3],
    /// 127 less the greatest result, 128 more than the least.
    clamp: [u32; 2],
    weights: *const u8,
}

/// Some channels of one to four pixels whose widened patches lie in `patches`.
///
/// `outputs` begins with the first channel of the first pixel; a pixel follows another after
/// `stride` bytes. `patches` holds, for each quad of taps, `(k0, k2)` of the four pixels and then
/// `(k1, k3)`.
pub(crate) fn convolve_block(
    patches: &[Cell<u8>],
    filter: &[u8],
    table: ChannelTable<'_>,
    (outputs, pixels, stride): (&[Cell<u8>], usize, usize),
    zero_point: i8,
    clamp: [i8; 2],
) {
    let channels = table.biases.len();
    let quads = patches.len() / (2 * BLOCK_PIXELS * QUAD);
    assert!(
        quads > 0
            && channels > 0
            && (1..=BLOCK_PIXELS).contains(&pixels)
            && outputs.len() >= (pixels - 1) * stride + channels
            && filter.len() == channels * quads * QUAD
            && table.multipliers.len() == channels
            && table.shifts.len() == channels
            && is_aligned(patches)
            && filter.as_ptr().addr().is_multiple_of(4),
        "the parts of a block fit together"
    );
    let offset = |pixel: usize| pixel.min(pixels - 1) * stride;
    let mut block = ConvBlock {
        output: outputs.as_ptr(),
        multipliers: table.multipliers.as_ptr(),
        shifts: table.shifts.as_ptr(),
        biases: table.biases.as_ptr(),
        zero_point: i32::from(zero_point),
        patches: patches.as_ptr(),
        patches_end: patches[quads * 2 * BLOCK_PIXELS * QUAD..].as_ptr(),
        start: quads,
        entry: 0,
        output_end: outputs[channels..].as_ptr(),
        offsets: [offset(1), offset(2), offset(3)],
        clamp: [
            (127 - i32::from(clamp[1])) as u32,
            (i32::from(clamp[0]) + 128) as u32,
        ],
        weights: filter.as_ptr(),
    };
    // SAFETY: the assembly reads `quads` quads of four patches, `channels` rows of as many quads,
    // and `channels` biases, multipliers and shifts; it writes `channels` bytes from each pixel's
    // offset on. All were just held against the slices' lengths, words against their alignment.
    // Cells may be written through a shared reference.
    unsafe { convolve_block_asm(&mut block) }
}

/// Offsets of the fields of [`ConvBlock`] are written out; this holds them to it.
const _: () = {
    assert!(core::mem::offset_of!(ConvBlock, patches) == 20);
    assert!(core::mem::offset_of!(ConvBlock, start) == 28);
    assert!(core::mem::offset_of!(ConvBlock, output_end) == 36);
    assert!(core::mem::offset_of!(ConvBlock, offsets) == 40);
    assert!(core::mem::offset_of!(ConvBlock, clamp) == 52);
    assert!(core::mem::offset_of!(ConvBlock, weights) == 60);
    assert!(size_of::<ConvBlock>() == 64);
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

/// One pixel's sum, rescaled for a shift in `r9` of 0 or more.
macro_rules! rescale_upwards {
    ($x:literal) => {
        concat!(
            "lsl ", $x, ", ", $x, ", r9\n", "smmlar ", $x, ", ", $x, ", r12, ", $x, "\n", "qadd ",
            $x, ", ", $x, ", lr\n", "ssat ", $x, ", #8, ", $x, "\n",
        )
    };
}

/// Keeps the low byte at most 127 less `r2` and at least `r3` more than -128.
macro_rules! clamp {
    ($x:literal) => {
        concat!(
            "qadd8 ", $x, ", ", $x, ", r2\n", "qsub8 ", $x, ", ", $x, ", r2\n", "qsub8 ", $x, ", ",
            $x, ", r3\n", "qadd8 ", $x, ", ", $x, ", r3\n",
        )
    };
}

/// # Safety
/// The block's pointers hold what its fields say.
#[unsafe(naked)]
unsafe extern "C" fn convolve_block_asm(block: *mut ConvBlock) {
    // r0 patches, r1 weights, r2 r3 r10 r11 inputs, r4-r7 sums of the four pixels, r8 r9 weights,
    // r12 widened weights, lr end of the patches. The block lies at the stack pointer, so that one
    // LDM brings what the end of a channel needs.
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, #64",
        "ldm r0!, {{r4-r11}}",
        "stm sp, {{r4-r11}}",
        "ldm r0, {{r4-r11}}",
        "add r12, sp, #32",
        "stm r12, {{r4-r11}}",
        // An odd quad goes first, then a part of the four-fold loop, then whole rounds of it.
        "ldr r2, [sp, #28]",
        "lsr r3, r2, #1",
        "adr r4, 30f",
        "cbz r3, 12f",
        "sub r3, #1",
        "and r3, r3, #3",
        "rsb r3, r3, #3",
        "mov r5, #100",
        "adr r4, 20f",
        "mla r4, r3, r5, r4",
        "12:",
        "orr r4, r4, #1",
        "adr r5, 10f",
        "orr r5, r5, #1",
        "tst r2, #1",
        "it eq",
        "moveq r5, r4",
        "strd r5, r4, [sp, #28]",
        "ldr r1, [sp, #60]",
        "ldr r8, [sp, #12]",
        "b 40f",
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
        "ldr pc, [sp, #32]",
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
        // r0 output, r2 multipliers, r3 shifts, r8 biases, lr zero point.
        "ldm sp, {{r0, r2, r3, r8, lr}}",
        "ldr r12, [r2], #4",
        "ldrsb r9, [r3], #1",
        "strd r2, r3, [sp, #4]",
        "lsl r12, r12, #1",
        "cmp r9, #0",
        "bge 50f",
        "add r9, r9, #32",
        "mov r10, #-1",
        "lsl r10, r10, r9",
        rescale!("r4"),
        rescale!("r5"),
        rescale!("r6"),
        rescale!("r7"),
        "32:",
        "ldrd r2, r3, [sp, #52]",
        "orrs r11, r2, r3",
        "bne 60f",
        "34:",
        "ldrd r9, r10, [sp, #40]",
        "ldr r11, [sp, #48]",
        "strb r7, [r0, r11]",
        "strb r6, [r0, r10]",
        "strb r5, [r0, r9]",
        "strb r4, [r0], #1",
        "ldr r9, [sp, #36]",
        "cmp r0, r9",
        "beq 70f",
        "str r0, [sp]",
        // The next channel.
        "40:",
        "ldr r4, [r8], #4",
        "str r8, [sp, #12]",
        "mov r5, r4",
        "mov r6, r4",
        "mov r7, r4",
        "ldrd r0, lr, [sp, #20]",
        "ldr pc, [sp, #28]",
        // Shifts that are rare.
        "50:",
        rescale_upwards!("r4"),
        rescale_upwards!("r5"),
        rescale_upwards!("r6"),
        rescale_upwards!("r7"),
        "b 32b",
        "60:",
        clamp!("r4"),
        clamp!("r5"),
        clamp!("r6"),
        clamp!("r7"),
        "b 34b",
        "70:",
        "add sp, #64",
        "pop {{r4-r11, pc}}",
    )
}
