//! The logistic function and the hyperbolic tangent in 16 bits.

/// Values of the table of a logistic function or a hyperbolic tangent.
pub(crate) const SIGMOID_TABLE: usize = 256;

/// The logistic function of an argument in parts of 12,288 or, where `is_tanh`, the hyperbolic
/// tangent, as `2 · logistic(2x) - 1`: interpolated between the values at every 24th of the
/// argument, in parts of 32,768.
///
/// # Source
/// TFLM, `reference_integer_ops::Logistic` and `Tanh` for `int16_t`.
pub(crate) fn squash(argument: i32, table: &[[u8; 2]], is_tanh: bool) -> i32 {
    let bits = if is_tanh { 8 } else { 9 };
    let magnitude = argument.unsigned_abs();
    let place = (magnitude >> bits) as usize;
    let entry = |at: usize| i32::from(u16::from_le_bytes(table[at]));
    let of_magnitude = if place < SIGMOID_TABLE - 1 {
        let fraction = (magnitude & ((1 << bits) - 1)) as i32;
        (entry(place) << bits) + fraction * (entry(place + 1) - entry(place))
    } else if is_tanh {
        0xFFFF << 8
    } else {
        0x7FFF << 10
    };
    let is_negative = argument < 0;
    if is_tanh {
        let from_half = of_magnitude - (1 << 23);
        let signed = if is_negative {
            -from_half - 1
        } else {
            from_half
        };
        (signed + (1 << 7)) >> 8
    } else if is_negative {
        ((1 << 25) - of_magnitude + (1 << 9) - 1) >> 10
    } else {
        (of_magnitude + (1 << 9)) >> 10
    }
}
