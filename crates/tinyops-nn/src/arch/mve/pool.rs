//! One value for each channel of a window.

use core::arch::naked_asm;
use core::cell::Cell;

use super::Pixels;

/// What the assembly takes, in this order.
#[repr(C)]
struct Window {
    from: *const Cell<u8>,
    columns: usize,
    rows: usize,
    row_step: usize,
    pixel_step: usize,
    lanes: usize,
}

impl Window {
    fn of(pixels: Pixels<&[Cell<u8>]>, lanes: usize) -> Window {
        assert!(pixels.hold(lanes), "the window lies inside");
        Window {
            from: pixels.values.as_ptr(),
            columns: pixels.columns,
            rows: pixels.rows,
            row_step: pixels.row_step,
            pixel_step: pixels.pixel_step,
            lanes,
        }
    }
}

/// The sums of up to four channels.
pub(crate) fn sums(pixels: Pixels<&[Cell<u8>]>, channels: usize) -> [i32; 4] {
    let mut sums = [0; 4];
    let window = Window::of(pixels, channels.min(4));
    // SAFETY: reads so many bytes of every pixel, held to the length, and writes four words.
    unsafe { sums_asm(&window, &mut sums) }
    sums
}

/// The greatest values of up to sixteen channels, as many as there are outputs.
#[cfg(feature = "general-ops")]
pub(crate) fn greatest(pixels: Pixels<&[Cell<u8>]>, outputs: &[Cell<u8>]) {
    let window = Window::of(pixels, outputs.len().min(16));
    // SAFETY: reads so many bytes of every pixel, held to the length, and writes as many; cells
    // may be written through a shared reference.
    unsafe { greatest_asm(&window, outputs.as_ptr()) }
}

/// # Safety
/// The pointers hold what the fields say; there is a row and a column.
#[unsafe(naked)]
unsafe extern "C" fn sums_asm(window: *const Window, sums: *mut [i32; 4]) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r7, lr}}",
        "ldm r0, {{r2-r7}}",
        "vctp.32 r7",
        "vmov.i32 q0, #0",
        "1:",
        "mov r0, r2",
        "dls lr, r3",
        "2:",
        "vpst",
        "vldrbt.s32 q1, [r0]",
        "vadd.i32 q0, q0, q1",
        "add r0, r6",
        "le lr, 2b",
        "add r2, r5",
        "subs r4, #1",
        "bne 1b",
        "vstrw.32 q0, [r1]",
        "pop {{r4-r7, pc}}",
    )
}

/// # Safety
/// The pointers hold what the fields say; there is a row and a column.
#[cfg(feature = "general-ops")]
#[unsafe(naked)]
unsafe extern "C" fn greatest_asm(window: *const Window, outputs: *const Cell<u8>) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r7, lr}}",
        "ldm r0, {{r2-r7}}",
        "vctp.8 r7",
        "vmov.i8 q0, #0x80",
        "1:",
        "mov r0, r2",
        "dls lr, r3",
        "2:",
        "vpst",
        "vldrbt.u8 q1, [r0]",
        "vmax.s8 q0, q0, q1",
        "add r0, r6",
        "le lr, 2b",
        "add r2, r5",
        "subs r4, #1",
        "bne 1b",
        "vpst",
        "vstrbt.8 q0, [r1]",
        "pop {{r4-r7, pc}}",
    )
}
