//! Sum of two tensors, four values at a time.

use core::arch::naked_asm;
use core::cell::Cell;
use core::ops::Range;

use crate::kernel::clamp_bytes;
use crate::quantize::Multiplier;

/// How an operand, or the sum of both, is rescaled, in the order in which [`add_asm`] takes it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Factor {
    shift: u32,
    doubled: u32,
    /// What is added to an operand before, or to the result after.
    offset: i32,
    zero: u32,
}

impl Factor {
    /// In place of one that comes later.
    pub(crate) const NONE: Factor = Factor {
        shift: 0,
        doubled: 0,
        offset: 0,
        zero: 0,
    };

    /// A factor below a half, or a half for an operand, as `Plan::load` has checked.
    pub(crate) fn new(multiplier: Multiplier, offset: i32) -> Factor {
        // A half is a multiplication by 1, then a shift by one, for there is no shift by none. The
        // addends have 20 low bits to spare, so that no rounding differs.
        let (shift, doubled) = match multiplier.shift {
            0 => (31, 0),
            shift => (shift, (multiplier.value as u32) << 1),
        };
        Factor {
            shift: u32::MAX << (shift & 31),
            doubled,
            offset,
            zero: 0,
        }
    }
}

/// Sums of a piece of three slices: two operands, and the sum's place. Factors are in this order
/// too.
pub(crate) fn add(
    factors: &[Factor; 3],
    places: &[&[Cell<u8>]; 3],
    Range { start, end }: Range<usize>,
    clamp: [i8; 2],
) {
    let [first, second, output] = places.map(|place| place[start..end].as_ptr());
    let count = end - start;
    let whole = count & !3;
    if whole > 0 {
        // SAFETY: each place has the piece, and so many bytes of it, a multiple of four. Cells may
        // be written through a shared reference.
        unsafe { add_asm(factors, first, second, output, output.wrapping_add(whole)) };
    }
    for at in start + whole..end {
        // One value, four times.
        let [first, second] = [0, 1].map(|index| u32::from(places[index][at].get()) * 0x0101_0101);
        let made = Cell::new(0u32);
        let [first, second, output] = [&raw const first, &raw const second, made.as_ptr()]
            .map(|word| word.cast::<Cell<u8>>());
        // SAFETY: four bytes each.
        unsafe { add_asm(factors, first, second, output, output.wrapping_add(4)) };
        places[2][at].set(made.get() as u8);
    }
    clamp_bytes(&places[2][start..end], clamp);
}

/// One addend more into a sum, from a byte of `r11`.
macro_rules! second_addend {
    ($sum:literal, $rotation:literal) => {
        concat!(
            "sxtab r12, r10, r11, ror #",
            $rotation,
            "\n",
            "lsl r12, r12, #20\n",
            "smmlar r12, r12, r9, r12\n",
            "add r12, r12, r12, asr #31\n",
            "smmlsr ",
            $sum,
            ", r12, r8, ",
            $sum,
            "\n",
        )
    };
}

/// The first addend of a sum, from a byte of `r11`.
macro_rules! first_addend {
    ($sum:literal, $rotation:literal) => {
        concat!(
            "sxtab ",
            $sum,
            ", r10, r11, ror #",
            $rotation,
            "\n",
            "lsl ",
            $sum,
            ", ",
            $sum,
            ", #20\n",
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
            ", r8, lr\n",
        )
    };
}

/// # Safety
/// Bytes of both inputs can be read, and of the output written to its end, a multiple of four.
#[unsafe(naked)]
unsafe extern "C" fn add_asm(
    factors: *const [Factor; 3],
    first: *const Cell<u8>,
    second: *const Cell<u8>,
    output: *const Cell<u8>,
    output_end: *const Cell<u8>,
) {
    // r1 r2 inputs, r3 output, r4-r7 sums, r8-r10 lr numbers, r11 four values, r12 one of them.
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
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
        "ldr r8, [sp, #36]",
        "cmp r3, r8",
        "bne 10b",
        "pop {{r4-r11, pc}}",
    )
}
