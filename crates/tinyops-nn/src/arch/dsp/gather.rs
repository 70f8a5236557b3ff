//! Brings inputs into one piece, and from int8 to 16 bits.

use core::arch::{asm, naked_asm};
use core::cell::Cell;

use super::is_aligned;
use crate::layout::QUAD;

/// Widens runs of int8 values into widened patches.
///
/// Each of `runs` runs has `quads` quads; from one to the next it is `from_step` bytes in `values`
/// and `to_step` in `patch`, which begins at the first run's place of the first quad.
pub(crate) fn widen(
    values: &[Cell<u8>],
    patch: &[Cell<u8>],
    (runs, quads): (usize, usize),
    (from_step, to_step): (usize, usize),
) {
    if runs == 0 || quads == 0 {
        return;
    }
    assert!(
        values.len() >= (runs - 1) * from_step + quads * QUAD
            && patch.len() + 12 >= (runs - 1) * to_step + quads * 32
            && to_step.is_multiple_of(4)
            && is_aligned(patch),
        "the patch has a place for each quad"
    );
    // SAFETY: reads `quads` words of every run and writes two words of every 32 bytes from each
    // run's place on, the last of which ends 12 bytes before its 32 do: held to the lengths, whose
    // products cannot wrap as both slices lie in one arena. Cells may be written through a shared
    // reference.
    unsafe {
        widen_asm(
            values.as_ptr(),
            patch.as_ptr(),
            quads,
            runs,
            from_step,
            to_step,
        )
    }
}

/// # Safety
/// As [`widen`] says.
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

/// Fills one pixel's places of so many quads with a value.
pub(crate) fn widen_value(value: i8, quads: usize, patch: &[Cell<u8>]) {
    assert!(
        patch.len() + 12 >= quads * 32 && is_aligned(patch),
        "the patch has a place for each quad"
    );
    let pair = u32::from(i16::from(value) as u16) * 0x1_0001;
    for quad in 0..quads {
        for half in [0, 16] {
            // SAFETY: inside the patch, by the assertion, and aligned as the patch is.
            unsafe {
                patch
                    .as_ptr()
                    .add(quad * 32 + half)
                    .cast::<u32>()
                    .cast_mut()
                    .write(pair);
            }
        }
    }
}

/// Copies runs of `len` values, `step` bytes from one to the next, into one piece.
#[inline(never)]
pub(crate) fn copy(to: &[Cell<u8>], from: &[Cell<u8>], (runs, len): (usize, usize), step: usize) {
    if runs == 0 || len == 0 {
        return;
    }
    assert!(
        to.len() >= runs * len && from.len() >= (runs - 1) * step + len,
        "the place is large enough"
    );
    // SAFETY: reads and writes `len` bytes for each run, held to the lengths; cells may be written
    // through a shared reference.
    unsafe {
        asm!(
            "2:",
            "mov {f}, {from}",
            "cmp {len}, #4",
            "blo 4f",
            // Words, and then the last word once more from its end.
            "add {last}, {from}, {len}",
            "sub {last}, #4",
            "3:",
            "ldr {t}, [{f}], #4",
            "str {t}, [{to}], #4",
            "cmp {f}, {last}",
            "blo 3b",
            "sub {f}, {last}, {f}",
            "add {to}, {f}",
            "ldr {t}, [{last}]",
            "str {t}, [{to}], #4",
            "b 5f",
            "4:",
            "add {last}, {from}, {len}",
            "6:",
            "ldrb {t}, [{f}], #1",
            "strb {t}, [{to}], #1",
            "cmp {f}, {last}",
            "blo 6b",
            "5:",
            "add {from}, {step}",
            "subs {runs}, #1",
            "bne 2b",
            from = inout(reg) from.as_ptr() => _,
            to = inout(reg) to.as_ptr() => _,
            len = in(reg) len,
            step = in(reg) step,
            runs = inout(reg) runs => _,
            last = out(reg) _,
            f = out(reg) _,
            t = out(reg) _,
            options(nostack),
        );
    }
}
