//! Sum of two tensors, four values at a time.

use core::arch::naked_asm;
use core::cell::Cell;

use crate::quantize::Multiplier;

/// What [`add_asm`] takes, in this order.
#[repr(C)]
struct Addition {
    inputs: [*const Cell<u8>; 2],
    output: *const Cell<u8>,
    first: [i32; 2],
    second: [i32; 2],
    result: [i32; 2],
    shifts: [i32; 3],
    count: usize,
}

/// Sum of two tensors; false, with nothing done, for factors that no network has.
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
    let shifts = multipliers.map(|multiplier| i32::from(multiplier.shift));
    if shifts.iter().any(|shift| !(-31..=0).contains(shift)) || shifts[2] == 0 {
        return false;
    }
    let count = output.len();
    assert!(
        inputs.iter().all(|input| input.len() == count) && count > 0,
        "a sum has one shape"
    );
    let pair = |index: usize| [i32::from(zero_points[index]), multipliers[index].value];
    let addition = Addition {
        inputs: inputs.map(<[_]>::as_ptr),
        output: output.as_ptr(),
        first: pair(0),
        second: pair(1),
        result: pair(2),
        shifts: [shifts[0], shifts[1], 1 << (31 + shifts[2])],
        count,
    };
    // SAFETY: reads as many bytes of both inputs as it writes of the output, four at a time but
    // for the last, whose lanes beyond are left out. Cells may be written through a shared
    // reference.
    unsafe { add_asm(&addition) }
    super::clamp(output, clamp);
    true
}

/// A value of `$value`, less its zero point, with 20 bits more, rescaled.
macro_rules! addend {
    ($value:literal, $zero_point:literal, $multiplier:literal, $shifts:literal) => {
        concat!(
            "vsub.i32 ",
            $value,
            ", ",
            $value,
            ", ",
            $zero_point,
            "\n",
            "vshl.i32 ",
            $value,
            ", ",
            $value,
            ", #20\n",
            "vqrdmulh.s32 ",
            $value,
            ", ",
            $value,
            ", ",
            $multiplier,
            "\n",
            "vand q2, ",
            $value,
            ", ",
            $shifts,
            "\n",
            "vshr.s32 q2, q2, #31\n",
            "vadd.i32 ",
            $value,
            ", ",
            $value,
            ", q2\n",
            "vrshl.s32 ",
            $value,
            ", ",
            $value,
            ", ",
            $shifts,
            "\n",
        )
    };
}

/// # Safety
/// The pointers hold what the fields say.
#[unsafe(naked)]
unsafe extern "C" fn add_asm(addition: *const Addition) {
    // r1 r2 inputs, r3 output, r4-r9 zero points and multipliers, q4 q5 shifts of the inputs, q3
    // the result's factor, q6 its multiplier.
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d13}}",
        "ldm r0!, {{r1-r9}}",
        "ldm r0, {{r10, r11, r12, lr}}",
        "vdup.32 q4, r10",
        "vdup.32 q5, r11",
        "vdup.32 q3, r12",
        "vdup.32 q6, r9",
        "dlstp.32 lr, lr",
        "2:",
        "vldrb.s32 q0, [r1], #4",
        addend!("q0", "r4", "r5", "q4"),
        "vldrb.s32 q1, [r2], #4",
        addend!("q1", "r6", "r7", "q5"),
        "vadd.i32 q0, q0, q1",
        rescale!("q0", "q6", "q3", "q2", "r8"),
        "vstrb.32 q0, [r3], #4",
        "letp lr, 2b",
        "vpop {{d8-d13}}",
        "pop {{r4-r11, pc}}",
    )
}
