//! What a delta's coder knows of the numbers it codes: how large they were lately.

use super::coder::{Coder, Probability};

/// Values by how large those before them were.
pub const CLASSES: usize = 11;
/// Lengths of a byte's residual: it is at most 128, which has eight bits.
pub const LENGTHS: usize = 8;
/// Lengths of the runs of zeros that adapt on their own.
pub const RUN_LENGTHS: usize = 12;
/// Bits of a length of a wide number.
pub const WIDE_BITS: u32 = 5;

/// How likely it is at first that a length is no longer, in parts of 65,536, from far below the average of its class to
/// far above it.
const FALL: [u16; 8] = [2000, 3900, 7200, 13800, 25500, 42600, 60600, 65200];

/// How large the values before were, in parts of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Magnitude(u32);

impl Magnitude {
    /// Where every span begins.
    pub const START: Magnitude = Magnitude(64);

    /// 0 where all were zero for a while, then one more for each doubling.
    #[inline(always)]
    pub fn class(self) -> usize {
        (32 - (self.0 >> 2).leading_zeros()).min(CLASSES as u32 - 1) as usize
    }

    /// Takes in one more value by its amount.
    #[inline(always)]
    pub fn take(&mut self, amount: u32) {
        self.0 = (7 * self.0 + (amount << 6)) >> 3;
    }
}

/// Every probability that adapts.
#[derive(Clone, Debug)]
pub struct Model {
    /// Whether a byte's residual has more bits than so many, by class.
    pub lengths: [[Probability; LENGTHS]; CLASSES],
    /// The two bits below the highest, by length less 2.
    pub tops: [[Probability; 3]; LENGTHS - 1],
    /// Whether the length of a run of zeros is more than so much.
    pub runs: [Probability; RUN_LENGTHS],
    /// The length of a wide number, a binary tree from its highest bit on.
    pub wide: [Probability; 1 << WIDE_BITS],
}

impl Model {
    /// What is known before any number: lengths as if the amounts fell off exponentially.
    pub fn new() -> Model {
        let mut model = Model {
            lengths: [[Probability::EVEN; LENGTHS]; CLASSES],
            tops: [[Probability::EVEN; 3]; LENGTHS - 1],
            runs: [Probability::EVEN; RUN_LENGTHS],
            wide: [Probability::EVEN; 1 << WIDE_BITS],
        };
        for (class, lengths) in model.lengths.iter_mut().enumerate() {
            for (length, probability) in lengths.iter_mut().enumerate() {
                // How the length compares with what the class has on average.
                let step = (length + FALL.len()).saturating_sub(class);
                *probability = Probability::new(FALL[step.min(FALL.len() - 1)]);
            }
        }
        model
    }
}

impl Default for Model {
    fn default() -> Model {
        Model::new()
    }
}

/// The signed number of an amount: negative if `is_negative`.
#[inline(always)]
pub(super) fn signed(amount: u32, is_negative: bool) -> i32 {
    let mask = 0_u32.wrapping_sub(u32::from(is_negative));
    ((amount ^ mask).wrapping_sub(mask)) as i32
}

/// How many zeros follow, before a value that is not.
pub(super) fn run(coder: &mut Coder<'_>, model: &mut Model) -> u32 {
    let mut length = 0;
    while length < 31 && coder.bit(&mut model.runs[(length as usize).min(RUN_LENGTHS - 1)]) {
        length += 1;
    }
    coder.below(length)
}

/// The amount of a byte's residual that is more than 1.
#[inline(never)]
pub(super) fn amount(coder: &mut Coder<'_>, model: &mut Model, class: usize) -> u32 {
    let mut length = 2;
    while length < LENGTHS && coder.bit(&mut model.lengths[class.min(CLASSES - 1)][length]) {
        length += 1;
    }
    let tops = &mut model.tops[length - 2];
    let high = coder.bit(&mut tops[0]);
    let mut amount = 2 | u32::from(high);
    let mut left = length as u32 - 2;
    if left > 0 {
        let bit = coder.bit(&mut tops[1 + usize::from(high)]);
        amount = amount << 1 | u32::from(bit);
        left -= 1;
    }
    amount << left | coder.even_bits(left)
}

/// A wide residual.
pub(super) fn wide(coder: &mut Coder<'_>, model: &mut Model) -> i32 {
    let mut node = 1;
    for _ in 0..WIDE_BITS {
        node = node << 1 | usize::from(coder.bit(&mut model.wide[node & ((1 << WIDE_BITS) - 1)]));
    }
    let amount = coder.below(node as u32 & ((1 << WIDE_BITS) - 1));
    let is_negative = amount != 0 && coder.even_bit();
    signed(amount, is_negative)
}
