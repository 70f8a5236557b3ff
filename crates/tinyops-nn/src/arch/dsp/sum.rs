//! The sum of some values of one channel.

use core::arch::asm;
use core::cell::Cell;

/// Sums so many rows and columns of values, `steps` bytes apart.
pub(crate) fn sum(
    values: &[Cell<u8>],
    [rows, columns]: [usize; 2],
    [row_step, step]: [usize; 2],
) -> i32 {
    let mut sum = 0;
    if rows == 0 || columns == 0 {
        return sum;
    }
    assert!(
        values.len() > (rows - 1) * row_step + (columns - 1) * step,
        "each value is there"
    );
    // SAFETY: reads a byte of each row and column, the last of which was held to the length.
    unsafe {
        asm!(
            "2:",
            "mov {at}, {row}",
            "mov {left}, {columns}",
            "3:",
            "ldrsb {value}, [{at}]",
            "add {at}, {step}",
            "add {sum}, {value}",
            "subs {left}, #1",
            "bne 3b",
            "add {row}, {row_step}",
            "subs {rows}, #1",
            "bne 2b",
            row = inout(reg) values.as_ptr() => _,
            rows = inout(reg) rows => _,
            columns = in(reg) columns,
            row_step = in(reg) row_step,
            step = in(reg) step,
            at = out(reg) _,
            left = out(reg) _,
            value = out(reg) _,
            sum = inout(reg) sum,
            options(nostack, readonly),
        );
    }
    sum
}
