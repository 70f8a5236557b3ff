//! The binary range coder of a delta: adaptive bits and even ones, read from bytes.

use core::num::NonZeroU32;

/// Below this the range takes in another byte.
pub const RANGE_LEAST: u32 = 1 << 24;

/// Even bits that are read at once.
pub const EVEN_BITS: u32 = 8;

/// How likely a bit is 1, as two estimates that forget at different speeds; the coder takes their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probability {
    fast: u16,
    slow: u16,
}

impl Probability {
    /// Both bits are as likely.
    pub const EVEN: Probability = Probability::new(1 << 15);

    /// A 1 in so many of 65,536 cases.
    pub const fn new(of_65536: u16) -> Probability {
        Probability {
            fast: of_65536,
            slow: of_65536,
        }
    }

    /// The part of `range` that stands for 1: at least one 1,024th of it, never all.
    #[inline(always)]
    pub fn bound(self, range: u32) -> u32 {
        (range >> 17) * (u32::from(self.fast) + u32::from(self.slow))
    }

    /// [`Self::bound`] of a range that may have only 14 bits: in 512ths, of which it is 1 to 511.
    #[inline(always)]
    pub fn coarse_bound(self, range: u32) -> u32 {
        (range >> 9) * ((u32::from(self.fast) + u32::from(self.slow) + 128) >> 8)
    }

    /// Learns from a bit.
    #[inline(always)]
    pub fn learn(&mut self, bit: bool) {
        let (fast, slow) = (u32::from(self.fast), u32::from(self.slow));
        if bit {
            self.fast = (fast + ((65_536 - fast) >> 5)) as u16;
            self.slow = (slow + ((65_536 - slow) >> 7)) as u16;
        } else {
            self.fast = (fast - (fast >> 5)) as u16;
            self.slow = (slow - (slow >> 7)) as u16;
        }
    }
}

/// Where the coder is. A value, not a place in memory: the loop over weights keeps it in registers.
#[derive(Clone, Copy)]
pub(super) struct Coder {
    pub(super) range: u32,
    pub(super) code: u32,
}

/// The coder and the delta that it reads.
pub(super) struct Input<'d> {
    pub(super) coder: Coder,
    pub(super) delta: &'d [u8],
    /// The next byte of the delta; [`LACKING`] once one after its last was asked for.
    pub(super) at: u32,
}

/// A place that no delta reaches.
pub(super) const LACKING: u32 = u32::MAX;

// Where code counts for more than time.
impl Input<'_> {
    /// How many bits are 1 before one that is 0, at most `most`; each has a probability of its own
    /// as far as there are.
    #[inline(never)]
    pub(super) fn ones(&mut self, probabilities: &mut [Probability], most: u32) -> u32 {
        let mut coder = self.coder;
        let mut ones = 0;
        while ones < most {
            let index = (ones as usize).min(probabilities.len().saturating_sub(1));
            let Some(probability) = probabilities.get_mut(index) else {
                break;
            };
            let bound = probability.bound(coder.range);
            let bit = coder.code < bound;
            probability.learn(bit);
            if bit {
                coder.range = bound;
            } else {
                coder.code -= bound;
                coder.range -= bound;
            }
            coder = self.filled_up(coder);
            if !bit {
                break;
            }
            ones += 1;
        }
        self.coder = coder;
        ones
    }

    /// So many even bits, at most 32, the highest first.
    #[inline(never)]
    pub(super) fn even_bits(&mut self, mut count: u32) -> u32 {
        let mut bits = 0;
        while count > 0 {
            let now = count.min(EVEN_BITS);
            let mut coder = self.coder;
            coder.range >>= now;
            // The encoder never goes beyond the last: what the division leaves over stands for nothing.
            let part = (coder.code / coder.range.max(1)).min((1 << now) - 1);
            coder.code -= part * coder.range;
            self.coder = self.filled_up(coder);
            bits = bits << now | part;
            count -= now;
        }
        bits
    }

    /// A number below 2³¹ and 1 more: its length in five bits, then what is below its highest bit.
    #[inline(never)]
    pub(super) fn count(&mut self) -> NonZeroU32 {
        let length = self.even_bits(5);
        NonZeroU32::MIN.saturating_add(self.below(length))
    }

    /// The number of which only the bits below its highest, at `length - 1`, are still to be read.
    #[inline(never)]
    pub(super) fn below(&mut self, length: u32) -> u32 {
        match length.checked_sub(1) {
            Some(below) => 1 << below | self.even_bits(below),
            None => 0,
        }
    }

    /// The coder, when it has taken in bytes until its range is large enough.
    #[inline(always)]
    pub(super) fn filled_up(&mut self, coder: Coder) -> Coder {
        match coder.range < RANGE_LEAST {
            true => self.fill_up(coder),
            false => coder,
        }
    }

    #[inline(never)]
    fn fill_up(&mut self, mut coder: Coder) -> Coder {
        loop {
            let mut byte = 0;
            match self.delta.get(self.at as usize) {
                Some(&next) => {
                    byte = next;
                    self.at += 1;
                }
                None => self.at = LACKING,
            }
            coder.range <<= 8;
            coder.code = coder.code << 8 | u32::from(byte);
            if coder.range >= RANGE_LEAST {
                return coder;
            }
        }
    }
}
