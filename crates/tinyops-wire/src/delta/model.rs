//! What a delta's coder knows of the numbers it codes: how large they were lately.

use super::coder::{Input, Probability};

/// Values by how large those before them were.
pub const CLASSES: usize = 10;
/// The row of the lowest class, 0: there runs of zeros are counted.
pub const QUIET: usize = CLASSES - 1;
/// Lengths of a byte's residual: from one number of eight bits to another it is at most 255.
pub const LENGTHS: usize = 8;
/// Lengths of the runs of zeros that adapt on their own.
pub const RUN_LENGTHS: usize = 8;
/// Quotients of wide residuals that adapt on their own.
pub const QUOTIENTS: usize = 12;
/// Probabilities of the bits below the highest.
const TOPS: usize = 3 * (LENGTHS - 1);
const OTHERS: usize = TOPS + RUN_LENGTHS + QUOTIENTS;
/// The quotient that says that the whole residual follows.
pub const QUOTIENT_MAX: u32 = 20;

/// How likely it is at first that a length is greater, in parts of 65,536: that it is greater than 0 in the highest
/// class, than 1 there or than 0 in the class below, and so on.
const GREATER: [u16; CLASSES + LENGTHS - 1] = [
    63536, 63536, 63536, 61636, 58336, 51736, 40036, 22936, 4936, 336, 336, 336, 336, 336, 336,
    336, 336,
];

/// How large the values before were, in parts of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Magnitude(u32);

impl Magnitude {
    /// Before any span.
    pub const NONE: Magnitude = Magnitude(0);

    /// The greatest scale that has a class.
    pub const SCALE_MAX: u32 = 9;

    /// Where a span of this scale begins.
    #[inline(always)]
    pub fn of_scale(scale: u32) -> Magnitude {
        Magnitude(4 << (scale & 31))
    }

    /// The row of [`Model::lengths`]: [`QUIET`] where all were zero for a while, then one less for
    /// each doubling; a row there is where the scale was at most [`Self::SCALE_MAX`].
    #[inline(always)]
    pub fn row(self) -> usize {
        self.0.leading_zeros().wrapping_sub(20) as usize
    }

    /// Takes in one more value by its amount, of which what is above 63 does not count.
    pub fn take(&mut self, amount: u32) {
        self.fade();
        self.add(amount);
    }

    /// The first half of [`Self::take`], which is all of it for a 0.
    #[inline(always)]
    pub(super) fn fade(&mut self) {
        self.0 -= self.0 >> 3;
    }

    /// The second half of [`Self::take`].
    #[inline(always)]
    pub(super) fn add(&mut self, amount: u32) {
        self.0 += amount.min(63) << 3;
    }
}

/// Every probability that adapts; what is needed most lies first.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Model {
    /// Whether a byte's residual has more bits than so many, from the highest class to the lowest.
    pub lengths: [[Probability; LENGTHS]; CLASSES],
    /// Everything else, part by part.
    pub(super) others: [Probability; OTHERS],
}

impl Model {
    /// To be reset.
    pub const NONE: Model = Model {
        lengths: [[Probability::new(0); LENGTHS]; CLASSES],
        others: [Probability::new(0); OTHERS],
    };

    /// What is known before any number: lengths as if the amounts fell off exponentially.
    pub fn reset(&mut self) {
        self.others.fill(Probability::EVEN);
        // How a length compares with what its class has on average.
        for (lengths, greater) in self.lengths.iter_mut().zip(GREATER.windows(LENGTHS)) {
            for (probability, &greater) in lengths.iter_mut().zip(greater) {
                *probability = Probability::new(greater);
            }
        }
    }

    /// The two bits below the highest: three for each length, less 2.
    pub fn tops(&mut self) -> &mut [Probability] {
        &mut self.others[..TOPS]
    }

    /// Whether the length of a run of zeros is more than so much.
    pub fn runs(&mut self) -> &mut [Probability] {
        runs_of(&mut self.others)
    }

    /// Whether the quotient of a wide residual is more than so much.
    pub fn quotients(&mut self) -> &mut [Probability] {
        &mut self.others[TOPS + RUN_LENGTHS..]
    }
}

pub(super) fn runs_of(others: &mut [Probability]) -> &mut [Probability] {
    others.get_mut(TOPS..TOPS + RUN_LENGTHS).unwrap_or_default()
}

/// The amount of a byte's residual that is more than 1.
#[inline(never)]
pub(super) fn longer(
    input: &mut Input<'_>,
    lengths: &mut [Probability],
    others: &mut [Probability; OTHERS],
) -> u32 {
    let mut left = input.ones(lengths, LENGTHS as u32 - 2);
    let mut top = 3 * left as usize;
    let mut amount = 2;
    for _ in 0..left.min(1) + 1 {
        let Some(probability) = others.get_mut(top) else {
            return 0;
        };
        let bit = input.ones(core::slice::from_mut(probability), 1);
        amount |= bit;
        top += 1 + bit as usize;
        amount <<= 1;
    }
    amount >>= 1;
    left = left.saturating_sub(1);
    amount << left | input.even_bits(left)
}

/// A wide residual: its quotient by a power of two, and the rest.
#[inline(never)]
pub(super) fn wide(input: &mut Input<'_>, quotients: &mut [Probability], scale: u32) -> i32 {
    let quotient = input.ones(quotients, QUOTIENT_MAX);
    let folded = match quotient < QUOTIENT_MAX {
        true => quotient.wrapping_shl(scale) | input.even_bits(scale),
        false => input.even_bits(32),
    };
    // Signs lie in the lowest bit.
    (folded >> 1) as i32 ^ -((folded & 1) as i32)
}
