//! Sum of two tensors, four values at a time.

use core::arch::naked_asm;
use core::cell::Cell;

use crate::quantize::Multiplier;

/// What [`add_asm`] takes.
#[repr(C)]
struct Addition {
    first: [u32; 4],
    second: [u32; 4],
    result: [u32; 4],
    output_end: *const Cell<u8>,
    output: *const Cell<u8>,
    inputs: [*const Cell<u8>; 2],
}

/// Sum of two tensors; false, with nothing done, for factors or a clamp that no network has.
///
/// The arguments are those of the portable kernel: multipliers and zero points of first input,
/// second input, result.
pub(crate) fn add(
    inputs: [&[Cell<u8>]; 2],
    output: &[Cell<u8>],
    multipliers: [Multiplier; 3],
    zero_points: [i8; 3],
    clamp: [i8; 2],
) -> bool {
    // A half is a multiplication by 1, then a shift by one, for there is no shift by none. The
    // addends have 20 low bits to spare, so that no rounding differs.
    let doubled = |multiplier: Multiplier| match (multiplier.value, multiplier.shift) {
        (0x4000_0000, 0) => Some([0, u32::MAX << 31]),
        (value, -31..=-1) if value >= 1 << 30 => {
            let factor = u32::MAX << ((32 + i32::from(multiplier.shift)) & 31);
            Some([(value as u32) << 1, factor])
        }
        _ => None,
    };
    let factors = multipliers.map(doubled);
    let [Some(first), Some(second), Some(result)] = factors else {
        return false;
    };
    let count = output.len();
    if clamp != [i8::MIN, i8::MAX] || !count.is_multiple_of(4) || multipliers[2].shift == 0 {
        return false;
    }
    assert!(
        inputs.iter().all(|input| input.len() == count) && count > 0,
        "a sum has one shape"
    );
    let lifted = |zero_point: i8| (i32::from(zero_point) << 20) as u32;
    let addition = Addition {
        first: [lifted(zero_points[0]), first[0], first[1], 0],
        second: [lifted(zero_points[1]), second[0], second[1], 0],
        result: [result[1], result[0], i32::from(zero_points[2]) as u32, 0],
        output_end: output.as_ptr_range().end,
        output: output.as_ptr(),
        inputs: inputs.map(<[_]>::as_ptr),
    };
    // SAFETY: reads as many bytes of both inputs as it writes of the output, four at a time, which
    // their length allows. Cells may be written through a shared reference.
    unsafe { add_asm(&addition) }
    true
}

/// One addend more into a sum, from a byte of `r11`.
macro_rules! second_addend {
    ($sum:literal, $rotation:literal) => {
        concat!(
            "sxtb.w r12, r11, ror #",
            $rotation,
            "\n",
            "rsb r12, r8, r12, lsl #20\n",
            "smmlar r12, r12, r9, r12\n",
            "add r12, r12, r12, asr #31\n",
            "smmlsr ",
            $sum,
            ", r12, r10, ",
            $sum,
            "\n",
        )
    };
}

/// The first addend of a sum, from a byte of `r11`.
macro_rules! first_addend {
    ($sum:literal, $rotation:literal) => {
        concat!(
            "sxtb.w ",
            $sum,
            ", r11, ror #",
            $rotation,
            "\n",
            "rsb ",
            $sum,
            ", r8, ",
            $sum,
            ", lsl #20\n",
            "smmlar ",
            $sum,
            ", ",
            $sum,
            ", r9, ",
            $sum,
            "\n",
            "add ",
            $sum,
            ", ",
            $sum,
            ", ",
            $sum,
            ", asr #31\n",
            "smmlsr ",
            $sum,
            ", ",
            $sum,
            ", r10, lr\n",
        )
    };
}

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn add_asm(addition: *const Addition) {
    // r1 r2 inputs, r3 output, r4-r7 sums, r8-r10 lr numbers, r11 four values, r12 one of them.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "ldrd r3, r1, [r0, #52]",
        "ldr r2, [r0, #60]",
        "10:",
        "ldm.w r0, {{r8, r9, r10, lr}}",
        "ldr r11, [r1], #4",
        first_addend!("r4", "0"),
        first_addend!("r5", "8"),
        first_addend!("r6", "16"),
        first_addend!("r7", "24"),
        "add r12, r0, #16",
        "ldm.w r12, {{r8, r9, r10}}",
        "ldr r11, [r2], #4",
        second_addend!("r4", "0"),
        second_addend!("r5", "8"),
        second_addend!("r6", "16"),
        second_addend!("r7", "24"),
        "add lr, r0, #32",
        "ldm.w lr, {{r10, r12, lr}}",
        rescale!("r4"),
        rescale!("r5"),
        rescale!("r6"),
        rescale!("r7"),
        "strb r4, [r3], #1",
        "strb r5, [r3], #1",
        "strb r6, [r3], #1",
        "strb r7, [r3], #1",
        "ldr r8, [r0, #48]",
        "cmp r3, r8",
        "bne 10b",
        "pop {{r4-r11, pc}}",
    )
}
