//! One pixel against four rows of a filter at a time.

use core::arch::naked_asm;
use core::cell::Cell;
use core::mem::MaybeUninit;

use crate::layout::{GROUP_ROWS, QUAD};

/// Quads of values that are widened once for all rows; those after them are widened for each group.
const WIDE_QUADS: usize = 160;

/// What [`dense_asm`] takes, and keeps at its stack pointer.
#[repr(C)]
struct DenseRows {
    output: *mut u8,
    doubled_multiplier: u32,
    factor: u32,
    biases: *const [u8; 4],
    zero_point: i32,
    values: *const Cell<u8>,
    values_end: *const Cell<u8>,
    wide_quads: usize,
    output_end: *mut u8,
    weights: *const u8,
    /// Where four sums go instead of being rescaled; null otherwise.
    sums: *mut [i32; 4],
    /// Place for `wide_quads` quads of 16-bit numbers.
    wide: *mut u32,
}

/// Whole groups of four rows of a dense filter, rescaled by one multiplier and a shift
/// below 0: as many outputs as biases.
pub(crate) fn dense(
    values: &[Cell<u8>],
    filter: &[u8],
    biases: &[[u8; 4]],
    (multiplier, shift): (u32, i8),
    output: &[Cell<u8>],
    zero_point: i8,
) {
    let quads = values.len() / QUAD;
    let outputs = output.len();
    assert!(
        quads > 0
            && outputs > 0
            && outputs.is_multiple_of(GROUP_ROWS)
            && biases.len() == outputs
            && filter.len() >= outputs * quads * QUAD
            && filter.as_ptr().addr().is_multiple_of(4)
            && biases.as_ptr().addr().is_multiple_of(4),
        "the parts of a dense layer fit together"
    );
    let mut wide = [const { MaybeUninit::<u32>::uninit() }; 2 * WIDE_QUADS];
    let mut rows = DenseRows {
        output: output.as_ptr().cast::<u8>().cast_mut(),
        doubled_multiplier: multiplier << 1,
        factor: u32::MAX << ((32 + i32::from(shift)) & 31),
        biases: biases.as_ptr(),
        zero_point: i32::from(zero_point),
        values: values.as_ptr(),
        values_end: values[quads * QUAD..].as_ptr(),
        wide_quads: quads.min(WIDE_QUADS),
        output_end: output[outputs..].as_ptr().cast::<u8>().cast_mut(),
        weights: filter.as_ptr(),
        sums: core::ptr::null_mut(),
        wide: wide.as_mut_ptr().cast(),
    };
    // SAFETY: the assembly reads `quads` words of values, widens as many as `wide` holds, and reads, for each group of four outputs, as
    // many words of four rows and four biases, and writes the outputs: all held to the lengths.
    // Cells may be written through a shared reference.
    unsafe { dense_asm(&mut rows) }
}

/// The sums of one group of four rows over whole quads of values, without biases; 0 for a group
/// that ends before.
pub(crate) fn dense_sums(values: &[Cell<u8>], group: &[u8]) -> [i32; GROUP_ROWS] {
    let quads = values.len() / QUAD;
    let mut sums = [0; GROUP_ROWS];
    if quads == 0 || group.len() < GROUP_ROWS * quads * QUAD {
        return sums;
    }
    assert!(
        group.as_ptr().addr().is_multiple_of(4),
        "weights are read as words"
    );
    let no_biases = [[0; 4]; GROUP_ROWS];
    let mut wide = [const { MaybeUninit::<u32>::uninit() }; 2];
    let mut rows = DenseRows {
        output: core::ptr::null_mut(),
        doubled_multiplier: 0,
        factor: 0,
        biases: no_biases.as_ptr(),
        zero_point: 0,
        values: values.as_ptr(),
        values_end: values[quads * QUAD..].as_ptr(),
        wide_quads: 1,
        output_end: core::ptr::null_mut(),
        weights: group.as_ptr(),
        sums: &mut sums,
        wide: wide.as_mut_ptr().cast(),
    };
    // SAFETY: as above; `no_biases` is read as words and `[u8; 4]` may lie anywhere, which is why
    // it is read by LDR, that takes any address; the sums go to `sums` alone.
    unsafe { dense_asm(&mut rows) }
    sums
}

/// A widened quad in `r2` and `r3` against four rows: 17 instructions for 16 products.
macro_rules! quad_of_four_rows {
    () => {
        "
        ldm.w r1!, {{r8, r9, r10, r11}}
        sxtb16 r12, r8
        sxtb16 r8, r8, ror #8
        smlad r4, r2, r12, r4
        smlad r4, r3, r8, r4
        sxtb16 r12, r9
        sxtb16 r9, r9, ror #8
        smlad r5, r2, r12, r5
        smlad r5, r3, r9, r5
        sxtb16 r12, r10
        sxtb16 r10, r10, ror #8
        smlad r6, r2, r12, r6
        smlad r6, r3, r10, r6
        sxtb16 r12, r11
        sxtb16 r11, r11, ror #8
        smlad r7, r2, r12, r7
        smlad r7, r3, r11, r7
        "
    };
}

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn dense_asm(rows: *mut DenseRows) {
    // r0 values, r1 weights, r2 r3 widened values, r4-r7 sums, r8-r11 weights, r12 widened
    // weights, lr end of the values.
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, #52",
        "ldm r0!, {{r4-r11}}",
        "stm sp, {{r4-r11}}",
        "ldm r0, {{r4-r7}}",
        "mov r1, r5",
        // What is widened once, and where it ends.
        "mov r2, r7",
        "8:",
        "ldr r3, [r9], #4",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "strd r12, r3, [r7], #8",
        "subs r11, #1",
        "bne 8b",
        "str r9, [sp, #20]",
        "str r7, [sp, #28]",
        "str r4, [sp, #32]",
        "str r6, [sp, #40]",
        "str r2, [sp, #44]",
        // An odd quad goes first: where that is, the first round begins in its middle.
        "sub r7, r2",
        "adr r2, 11f",
        "tst r7, #8",
        "it ne",
        "addne r2, #72",
        "orr r2, r2, #1",
        "str r2, [sp, #48]",
        "ldr r8, [sp, #12]",
        "10:",
        "ldr r4, [r8], #4",
        "ldr r5, [r8], #4",
        "ldr r6, [r8], #4",
        "ldr r7, [r8], #4",
        "str r8, [sp, #12]",
        "ldr r0, [sp, #44]",
        "ldr lr, [sp, #28]",
        "ldr pc, [sp, #48]",
        ".p2align 2",
        "11:",
        "ldrd r2, r3, [r0], #8",
        quad_of_four_rows!(),
        "ldrd r2, r3, [r0], #8",
        quad_of_four_rows!(),
        "cmp r0, lr",
        "bne 11b",
        "ldrd r0, lr, [sp, #20]",
        "cmp r0, lr",
        "beq 30f",
        "20:",
        "ldr r2, [r0], #4",
        "sxtb16 r3, r2, ror #8",
        "sxtb16 r2, r2",
        quad_of_four_rows!(),
        "cmp r0, lr",
        "bne 20b",
        "30:",
        "ldr r12, [sp, #40]",
        "cmp r12, #0",
        "bne 40f",
        // r0 output, r12 2m, r10 factor, r8 biases, lr zero point.
        "ldm sp, {{r0, r2, r3, r8, lr}}",
        "mov r12, r2",
        "mov r10, r3",
        rescale!("r4"),
        rescale!("r5"),
        rescale!("r6"),
        rescale!("r7"),
        "strb r4, [r0], #1",
        "strb r5, [r0], #1",
        "strb r6, [r0], #1",
        "strb r7, [r0], #1",
        "ldr r2, [sp, #32]",
        "str r0, [sp]",
        "cmp r0, r2",
        "bne 10b",
        "b 50f",
        "40:",
        "stm r12, {{r4-r7}}",
        "50:",
        "add sp, #52",
        "pop {{r4-r11, pc}}",
    )
}
