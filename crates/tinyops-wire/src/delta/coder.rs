//! The binary range coder of a delta: adaptive bits and plain ones, read from bytes.

/// Below this the range takes in another byte.
pub const RANGE_LEAST: u32 = 1 << 24;

/// How likely a bit is 0, as two estimates that forget at different speeds; the coder takes their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probability {
    fast: u16,
    slow: u16,
}

impl Probability {
    /// Both bits are as likely.
    pub const EVEN: Probability = Probability::new(1 << 15);

    /// A 0 in `of_65536` of 65,536 cases.
    pub const fn new(of_65536: u16) -> Probability {
        Probability {
            fast: of_65536,
            slow: of_65536,
        }
    }

    /// The part of `range` that stands for 0: at least one 1,024th of it, never all.
    #[inline(always)]
    pub fn bound(self, range: u32) -> u32 {
        (range >> 17) * (u32::from(self.fast) + u32::from(self.slow))
    }

    /// Learns from a bit.
    #[inline(always)]
    pub fn learn(&mut self, bit: bool) {
        if bit {
            self.fast -= self.fast >> 4;
            self.slow -= self.slow >> 7;
        } else {
            self.fast += !self.fast >> 4;
            self.slow += !self.slow >> 7;
        }
    }
}

/// Reads bits.
pub(super) struct Coder<'d> {
    pub(super) range: u32,
    pub(super) code: u32,
    pub(super) rest: core::slice::Iter<'d, u8>,
    /// Bytes that were asked for after the last.
    pub(super) lacking: u32,
}

impl Coder<'_> {
    /// One bit, and what there is to learn from it.
    #[inline(always)]
    pub(super) fn bit(&mut self, probability: &mut Probability) -> bool {
        let bound = probability.bound(self.range);
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        probability.learn(bit);
        self.take_in();
        bit
    }

    /// A bit that is as often 0 as 1.
    #[inline(always)]
    pub(super) fn even_bit(&mut self) -> bool {
        self.range >>= 1;
        let bit = self.code >= self.range;
        if bit {
            self.code -= self.range;
        }
        self.take_in();
        bit
    }

    /// So many even bits, at most 31, the highest first.
    pub(super) fn even_bits(&mut self, count: u32) -> u32 {
        (0..count).fold(0, |bits, _| bits << 1 | u32::from(self.even_bit()))
    }

    /// A number below 2³¹: its length in five bits, then what is below its highest bit.
    pub(super) fn number(&mut self) -> u32 {
        let length = self.even_bits(5);
        self.below(length)
    }

    /// The number of which only the bits below its highest, at `length - 1`, are still to be read.
    pub(super) fn below(&mut self, length: u32) -> u32 {
        match length.checked_sub(1) {
            Some(below) => 1 << below | self.even_bits(below),
            None => 0,
        }
    }

    #[inline(always)]
    fn take_in(&mut self) {
        while self.range < RANGE_LEAST {
            self.take_byte();
        }
    }

    #[inline(always)]
    fn take_byte(&mut self) {
        let byte = match self.rest.next() {
            Some(&byte) => byte,
            None => {
                self.lacking += 1;
                0
            }
        };
        self.range <<= 8;
        self.code = self.code << 8 | u32::from(byte);
    }
}
