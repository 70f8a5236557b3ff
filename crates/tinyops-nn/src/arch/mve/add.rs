//! Sum of two tensors, four values at a time.

use core::arch::naked_asm;
use core::cell::Cell;
use core::ops::Range;

use crate::quantize::Multiplier;

/// How an operand, or the sum of both, is rescaled.
#[derive(Clone, Copy)]
pub(crate) struct Factor {
    multiplier: Multiplier,
    /// What is added to an operand before, or to the result after.
    offset: i32,
}

impl Factor {
    /// In place of one that comes later.
    pub(crate) const NONE: Factor = Factor {
        multiplier: Multiplier { value: 0, shift: 0 },
        offset: 0,
    };

    /// A factor below a half, or a half for an operand, as `Plan::load` has checked.
    pub(crate) fn new(multiplier: Multiplier, offset: i32) -> Factor {
        Factor { multiplier, offset }
    }
}

/// What [`add_asm`] takes, in this order.
#[repr(C)]
struct Piece {
    places: [*const Cell<u8>; 3],
    /// Offset and multiplier of each.
    numbers: [[i32; 2]; 3],
    shifts: [i32; 3],
    count: usize,
}

/// Sums of a piece of three slices: two operands, and the sum's place. Factors are in this order
/// too.
pub(crate) fn add(
    factors: &[Factor; 3],
    places: &[&[Cell<u8>]; 3],
    piece: Range<usize>,
    clamp: [i8; 2],
) {
    let places = places.map(|place| &place[piece.clone()]);
    let count = piece.len();
    if count == 0 {
        return;
    }
    let shifts = [0, 1, 2].map(|index| i32::from(factors[index].multiplier.shift));
    let piece = Piece {
        places: places.map(<[_]>::as_ptr),
        numbers: [0, 1, 2].map(|index| {
            let Factor { multiplier, offset } = &factors[index];
            [*offset, multiplier.value]
        }),
        shifts: [shifts[0], shifts[1], 1 << ((31 + shifts[2]) & 31)],
        count,
    };
    // SAFETY: reads as many bytes of both inputs as it writes of the output, four at a time but
    // for the last, whose lanes beyond are left out. Cells may be written through a shared
    // reference.
    unsafe { add_asm(&piece) }
    super::clamp(places[2], clamp);
}

/// A value of `$value` and its offset, with 20 bits more, rescaled.
macro_rules! addend {
    ($value:literal, $offset:literal, $multiplier:literal, $shifts:literal) => {
        concat!(
            "vadd.i32 ",
            $value,
            ", ",
            $value,
            ", ",
            $offset,
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
unsafe extern "C" fn add_asm(piece: *const Piece) {
    // r1 r2 inputs, r3 output, r4-r9 offsets and multipliers, q4 q5 shifts of the inputs, q3
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
