//! Runs of bytes: copied, filled, clamped.

use core::arch::naked_asm;
use core::cell::Cell;

/// Runs of bytes, and how far it is from one to the next where they come from and go to.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Runs {
    pub(crate) len: usize,
    pub(crate) count: usize,
    pub(crate) from_step: usize,
    pub(crate) to_step: usize,
}

impl Runs {
    /// One run.
    pub(crate) fn one(len: usize) -> Runs {
        Runs {
            len,
            count: 1,
            from_step: 0,
            to_step: 0,
        }
    }
}

/// Copies runs of bytes to a place apart from them.
#[inline(never)]
pub(crate) fn copy(to: &[Cell<u8>], from: &[Cell<u8>], runs: &Runs) {
    let fit = |step: usize, place: &[Cell<u8>]| {
        let last = runs
            .count
            .checked_sub(1)
            .and_then(|last| last.checked_mul(step));
        let end = last.and_then(|last| last.checked_add(runs.len));
        end.is_some_and(|end| end <= place.len())
    };
    assert!(
        fit(runs.to_step, to) && fit(runs.from_step, from),
        "the place is large enough"
    );
    // SAFETY: reads and writes `len` bytes for each run, held to the lengths; cells may be written
    // through a shared reference.
    unsafe { copy_asm(to.as_ptr(), from.as_ptr(), runs) }
}

/// # Safety
/// As [`copy`] says; the count is not 0.
#[unsafe(naked)]
unsafe extern "C" fn copy_asm(to: *const Cell<u8>, from: *const Cell<u8>, runs: *const Runs) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r7, lr}}",
        // r3 length, r4 runs, r5 r6 steps.
        "ldm r2, {{r3-r6}}",
        "1:",
        "mov r2, r0",
        "mov r7, r1",
        "wlstp.8 lr, r3, 3f",
        "2:",
        "vldrb.u8 q0, [r7], #16",
        "vstrb.8 q0, [r2], #16",
        "letp lr, 2b",
        "3:",
        "add r0, r6",
        "add r1, r5",
        "subs r4, #1",
        "bne 1b",
        "pop {{r4-r7, pc}}",
    )
}

/// Fills a place with a value.
pub(crate) fn fill(to: &[Cell<u8>], value: u8) {
    // SAFETY: writes as many bytes as there are; cells may be written through a shared reference.
    unsafe { fill_asm(to.as_ptr().cast_mut().cast(), to.len(), value) }
}

/// # Safety
/// There are `len` bytes that may be written.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn fill_asm(to: *mut u8, len: usize, value: u8) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4, lr}}",
        "vdup.8 q0, r2",
        "wlstp.8 lr, r1, 3f",
        "2:",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 2b",
        "3:",
        "pop {{r4, pc}}",
    )
}

/// Keeps values within a fused activation.
pub(crate) fn clamp(values: &[Cell<u8>], [least, greatest]: [i8; 2]) {
    if [least, greatest] != [i8::MIN, i8::MAX] {
        // SAFETY: reads and writes as many bytes as there are; cells may be written through a
        // shared reference.
        unsafe { clamp_asm(values.as_ptr(), values.len(), least, greatest) }
    }
}

/// # Safety
/// As [`clamp`] says.
#[unsafe(naked)]
unsafe extern "C" fn clamp_asm(values: *const Cell<u8>, len: usize, least: i8, greatest: i8) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4, lr}}",
        "vdup.8 q1, r2",
        "vdup.8 q2, r3",
        "wlstp.8 lr, r1, 3f",
        "2:",
        "vldrb.u8 q0, [r0]",
        "vmax.s8 q0, q0, q1",
        "vmin.s8 q0, q0, q2",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 2b",
        "3:",
        "pop {{r4, pc}}",
    )
}
