//! What a delta's coder knows of the numbers it codes: how large they were lately.

use super::coder::{Input, Probability};
use super::{CHANNELS, Layout};

/// Values by how large those before them were.
pub const CLASSES: usize = 11;
/// Amounts from here on count as this one, which keeps magnitudes below the last class' end.
const AMOUNT_MAX: u32 = 63;
/// Lengths of a byte's residual: it is at most 128, which has eight bits.
pub const LENGTHS: usize = 8;
/// Lengths of the runs of zeros that adapt on their own.
pub const RUN_LENGTHS: usize = 12;
/// Bits of a length of a wide number.
pub const WIDE_BITS: u32 = 5;

/// How likely it is at first that a length is greater, in parts of 65,536, from far below the
/// average of its class to far above it.
const GREATER: [u16; 8] = [63536, 61636, 58336, 51736, 40036, 22936, 4936, 336];

/// How large the values before were, in parts of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Magnitude(u32);

impl Magnitude {
    /// Where every span begins.
    pub const START: Magnitude = Magnitude(64);

    /// 0 where all were zero for a while, then one more for each doubling.
    #[inline(always)]
    pub fn class(self) -> usize {
        (32 - (self.0 >> 2).leading_zeros()) as usize
    }

    /// Takes in one more value by its amount.
    #[inline(always)]
    pub fn take(&mut self, amount: u32) {
        self.0 = (7 * self.0 + (amount.min(AMOUNT_MAX) << 6)) >> 3;
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
    /// To be reset.
    pub const NONE: Model = Model {
        lengths: [[Probability::new(0); LENGTHS]; CLASSES],
        tops: [[Probability::new(0); 3]; LENGTHS - 1],
        runs: [Probability::new(0); RUN_LENGTHS],
        wide: [Probability::new(0); 1 << WIDE_BITS],
    };

    /// What is known before any number: lengths as if the amounts fell off exponentially.
    pub fn reset(&mut self) {
        let even = self.tops.as_flattened_mut().iter_mut();
        even.chain(&mut self.runs)
            .chain(&mut self.wide)
            .for_each(|probability| *probability = Probability::EVEN);
        for (class, lengths) in self.lengths.iter_mut().enumerate() {
            for (length, probability) in lengths.iter_mut().enumerate() {
                // How the length compares with what the class has on average.
                let step = (length + GREATER.len()).saturating_sub(class);
                *probability = Probability::new(GREATER[step.min(GREATER.len() - 1)]);
            }
        }
    }
}

/// The signed number of an amount: negative if `is_negative`.
#[inline(always)]
fn signed(amount: u32, is_negative: bool) -> i32 {
    let mask = 0_u32.wrapping_sub(u32::from(is_negative));
    ((amount ^ mask).wrapping_sub(mask)) as i32
}

/// The sums of residuals by channel, and whose the bytes of a span are.
pub(super) struct Sums<'s> {
    pub(super) layout: &'s Layout,
    pub(super) sums: &'s mut [i16; CHANNELS],
}

/// Where the decoding of residuals of one byte stands.
#[derive(Clone, Copy)]
pub(super) struct Narrow {
    pub(super) magnitude: Magnitude,
    /// Zeros that follow before a value that is not, if that is known.
    pub(super) run: Option<u32>,
}

impl Narrow {
    /// Before any span.
    pub(super) const NONE: Narrow = Narrow {
        magnitude: Magnitude(0),
        run: None,
    };

    /// Where every span begins.
    pub(super) const START: Narrow = Narrow {
        magnitude: Magnitude::START,
        run: None,
    };

    /// Adds a residual to each byte, the first of which is the `index`-th of its span, and to the sum of its channel.
    pub(super) fn add(
        &mut self,
        input: &mut Input<'_>,
        model: &mut Model,
        sums: &mut Sums<'_>,
        mut index: u32,
        mut out: &mut [u8],
    ) {
        while !out.is_empty() {
            let (channel, together) = sums.layout.channel(index);
            let count = out.len().min(together as usize);
            let (part, rest) = out.split_at_mut(count);
            let sum = self.add_together(input, model, part);
            let of_channel = &mut sums.sums[channel as usize % CHANNELS];
            *of_channel = of_channel.wrapping_add(sum as i16);
            out = rest;
            index += count as u32;
        }
    }

    /// Adds a residual to each byte; answers their sum.
    #[inline(always)]
    fn add_together(&mut self, input: &mut Input<'_>, model: &mut Model, out: &mut [u8]) -> i32 {
        let mut coder = input.coder;
        let mut magnitude = self.magnitude;
        let mut sum = 0_i32;
        let mut out = out.iter_mut();
        while !out.as_slice().is_empty() {
            let class = magnitude.class();
            let Some(lengths) = model.lengths.get_mut(class) else {
                break;
            };
            // What is left for values other than 0.
            let mut range = coder.range;
            if class > 0 {
                let bound = lengths[0].bound(range);
                let is_zero = coder.code >= bound;
                lengths[0].learn(!is_zero);
                if is_zero {
                    coder.code -= bound;
                    coder.range -= bound;
                    coder = input.filled_up(coder);
                    magnitude.take(0);
                    out.next();
                    continue;
                }
                range = bound;
            } else {
                let zeros = match self.run.take() {
                    Some(zeros) => zeros as usize,
                    None => {
                        input.coder = coder;
                        let zeros = run(input, &mut model.runs);
                        coder = input.coder;
                        range = coder.range;
                        zeros as usize
                    }
                };
                let left = out.len();
                if zeros >= left {
                    self.run = Some((zeros - left) as u32);
                    break;
                }
                if zeros > 0 {
                    out.nth(zeros - 1);
                }
            }
            // The sign, and whether the amount is more than 1.
            range >>= 1;
            let is_negative = coder.code >= range;
            if is_negative {
                coder.code -= range;
            }
            let bound = lengths[1].coarse_bound(range);
            let is_longer = coder.code < bound;
            lengths[1].learn(is_longer);
            let mut amount = 1;
            if is_longer {
                coder.range = bound;
                input.coder = input.filled_up(coder);
                amount = longer(input, &mut lengths[2..], &mut model.tops);
                coder = input.coder;
            } else {
                coder.code -= bound;
                coder.range = range - bound;
                coder = input.filled_up(coder);
            }
            magnitude.take(amount);
            let residual = signed(amount, is_negative);
            sum = sum.wrapping_add(residual);
            if let Some(byte) = out.next() {
                *byte = byte.wrapping_add(residual as u8);
            }
        }
        input.coder = coder;
        self.magnitude = magnitude;
        sum
    }
}

/// How many zeros follow, before a value that is not.
#[inline(never)]
fn run(input: &mut Input<'_>, runs: &mut [Probability]) -> u32 {
    let length = input.ones(runs, 31);
    input.below(length as u32)
}

/// The amount of a byte's residual that is more than 1.
#[inline(never)]
fn longer(
    input: &mut Input<'_>,
    lengths: &mut [Probability],
    tops: &mut [[Probability; 3]; LENGTHS - 1],
) -> u32 {
    let below = input.ones(lengths, LENGTHS - 2);
    let [first, second @ ..] = &mut tops[below];
    let high = input.bit(first);
    let mut amount = 2 | u32::from(high);
    let mut left = below as u32;
    if left > 0 {
        left -= 1;
        amount = amount << 1 | u32::from(input.bit(&mut second[usize::from(high)]));
    }
    amount << left | input.even_bits(left)
}

/// A wide residual.
#[inline(never)]
pub(super) fn wide(input: &mut Input<'_>, wide: &mut [Probability; 1 << WIDE_BITS]) -> i32 {
    let mut node = 1;
    while node < wide.len() {
        node = node << 1 | usize::from(input.bit(&mut wide[node]));
    }
    // The bits below the highest, and the sign.
    let length = (node - wide.len()) as u32;
    if length == 0 {
        return 0;
    }
    let bits = input.even_bits(length);
    signed(1 << (length - 1) | bits >> 1, bits & 1 == 1)
}
