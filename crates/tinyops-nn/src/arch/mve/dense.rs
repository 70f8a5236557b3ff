//! A dense layer: its input against a group of four interleaved rows at a time.

use core::arch::naked_asm;
use core::cell::Cell;

use super::Table;
use crate::layout::{GROUP_ROWS, QUAD};

/// What the assembly keeps at its stack pointer, in this order.
#[repr(C)]
struct Block {
    values: *const Cell<u8>,
    /// Rounds of sixteen values.
    rounds: usize,
    /// Values that are left, and quads of them.
    values_left: usize,
    quads_left: usize,
    zero_point: i32,
    table_end: *const i32,
    filter: *const u8,
    table: *const i32,
    output: *const Cell<u8>,
}

/// The outputs of a dense layer whose channels are the table's.
pub(crate) fn dense(
    values: &[Cell<u8>],
    filter: &[u8],
    table: &Table,
    output: &[Cell<u8>],
    zero_point: i8,
) {
    let group_bytes = values.len().next_multiple_of(QUAD) * GROUP_ROWS;
    let groups = output.len().div_ceil(GROUP_ROWS);
    assert!(
        groups > 0
            && !values.is_empty()
            && groups
                .checked_mul(group_bytes)
                .is_some_and(|bytes| bytes <= filter.len())
            && filter.as_ptr().addr().is_multiple_of(4)
            && table.quads() >= groups,
        "the parts of a dense layer fit together"
    );
    let whole = output.len() / GROUP_ROWS;
    let run = |first: usize, count: usize, lanes: usize| {
        let words = table.quads_at(first, count);
        let block = Block {
            values: values.as_ptr(),
            rounds: values.len() / 16,
            values_left: values.len() % 16,
            quads_left: (values.len() % 16).div_ceil(QUAD),
            zero_point: i32::from(zero_point),
            table_end: words.end,
            filter: filter[first * group_bytes..].as_ptr(),
            table: words.start,
            output: output[first * GROUP_ROWS..].as_ptr(),
        };
        // SAFETY: the assembly reads all values, and as many quads of four rows for each quad of
        // the table, and that quad; it writes four bytes (or `lanes`) for each. All were just held
        // against the slices' lengths, words against their alignment. Cells may be written through
        // a shared reference.
        unsafe {
            if table.is_low() {
                dense_low_asm(&block, lanes);
            } else {
                dense_any_asm(&block, lanes);
            }
        }
    };
    if whole > 0 {
        run(0, whole, GROUP_ROWS);
    }
    if whole < groups {
        run(whole, 1, output.len() % GROUP_ROWS);
    }
}

/// Offsets of the fields of [`Block`] are written out; this holds them to it.
const _: () = {
    assert!(core::mem::offset_of!(Block, values_left) == 8);
    assert!(core::mem::offset_of!(Block, zero_point) == 16);
    assert!(core::mem::offset_of!(Block, filter) == 24);
    assert!(size_of::<Block>() == 36);
};

/// The function, with its own way to rescale the sums in `q0`: table at `r11`, zero point in `r0`.
macro_rules! dense_asm {
    ($name:ident, $($rescale:expr),*) => {
        /// # Safety
        /// The block's pointers hold what its fields say.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(block: *const Block, lanes: usize) {
            // r0 r2 r4 r12 sums, r1 weights, r8 values, r9 lanes, r11 table, r6 output.
            naked_asm!(
                ".cpu cortex-m55",
                "push {{r4-r11, lr}}",
                "sub sp, #28",
                "vpush {{d8-d11}}",
                "mov r9, r1",
                "ldm r0!, {{r2-r8}}",
                "add r1, sp, #32",
                "stm r1, {{r2-r8}}",
                "ldrd r11, r6, [r0]",
                "mov r1, r8",
                // Words of four rows lie 16 bytes apart.
                "mov r2, #0",
                "vidup.u32 q4, r2, #8",
                "vadd.i32 q4, q4, q4",
                "20:",
                "ldrd r8, lr, [sp, #32]",
                "ldrd r0, r2, [r11], #8",
                "ldrd r4, r12, [r11], #8",
                "wls lr, lr, 40f",
                "30:",
                "vld40.32 {{q0, q1, q2, q3}}, [r1]",
                "vld41.32 {{q0, q1, q2, q3}}, [r1]",
                "vld42.32 {{q0, q1, q2, q3}}, [r1]",
                "vld43.32 {{q0, q1, q2, q3}}, [r1]!",
                "vldrb.u8 q5, [r8], #16",
                "vmladava.s8 r0, q5, q0",
                "vmladava.s8 r2, q5, q1",
                "vmladava.s8 r4, q5, q2",
                "vmladava.s8 r12, q5, q3",
                "le lr, 30b",
                "40:",
                "ldrd r3, r5, [sp, #40]",
                "cbz r3, 50f",
                "vctp.8 r3",
                "vpst",
                "vldrbt.u8 q5, [r8]",
                "vctp.32 r5",
                "vpst",
                "vldrwt.u32 q0, [r1, q4]",
                "add r3, r1, #4",
                "vpst",
                "vldrwt.u32 q1, [r3, q4]",
                "add r3, #4",
                "vpst",
                "vldrwt.u32 q2, [r3, q4]",
                "add r3, #4",
                "vpst",
                "vldrwt.u32 q3, [r3, q4]",
                "add r1, r1, r5, lsl #4",
                "vmladava.s8 r0, q5, q0",
                "vmladava.s8 r2, q5, q1",
                "vmladava.s8 r4, q5, q2",
                "vmladava.s8 r12, q5, q3",
                "50:",
                "vmov q0[2], q0[0], r0, r4",
                "vmov q0[3], q0[1], r2, r12",
                "ldrd r0, r2, [sp, #48]",
                $($rescale,)*
                "vctp.32 r9",
                "vpst",
                "vstrbt.32 q0, [r6], #4",
                "cmp r11, r2",
                "bne 20b",
                "vpop {{d8-d11}}",
                "add sp, #28",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

dense_asm!(
    dense_low_asm,
    "vldrw.u32 q1, [r11], #16",
    "vldrw.u32 q2, [r11], #16",
    rescale!("q0", "q1", "q2", "q3", "r0")
);
dense_asm!(
    dense_any_asm,
    "vldrw.u32 q1, [r11], #16",
    "vldrw.u32 q2, [r11], #16",
    rescale_any!("q0", "q1", "q2", "q3", "r0")
);
