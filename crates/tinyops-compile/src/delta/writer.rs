//! Writes spans as a delta's coder reads them: the mirror of `tinyops_wire::delta::Decoder`.

use tinyops_wire::delta::{
    CHANNELS, EVEN_BITS, LENGTHS, Layout, Magnitude, Mode, Model, Probability, RANGE_LEAST,
    RUN_LENGTHS, Span, WIDE_BITS,
};

/// The state after some spans, and the bytes that they gave since it was last emptied of them.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    model: Model,
    sums: [i16; CHANNELS],
    low: u64,
    range: u32,
    /// The last byte, which a carry may still raise; none before the first.
    last: Option<u8>,
    /// Bytes of ones after it, which a carry would turn over.
    ones: u64,
    /// Where the next span's bytes would lie in the old image.
    old: u32,
    /// No residual was written that its form has no room for.
    pub(super) is_exact: bool,
}

impl Writer {
    pub(super) fn new() -> Writer {
        let mut model = Model::NONE;
        model.reset();
        Writer {
            bytes: Vec::new(),
            model,
            sums: [0; CHANNELS],
            low: 0,
            range: u32::MAX,
            last: None,
            ones: 0,
            old: 0,
            is_exact: true,
        }
    }

    /// The same state, without bytes.
    pub(super) fn fork(&self) -> Writer {
        Writer {
            bytes: Vec::new(),
            model: self.model.clone(),
            ..*self
        }
    }

    /// Bits since the fork, to the fraction of one; comparable among forks of one writer.
    pub(super) fn cost(&self) -> f64 {
        let bytes = self.bytes.len() as u64 + self.ones;
        8.0 * bytes as f64 - f64::from(self.range).log2()
    }

    /// Takes over what a fork has written.
    pub(super) fn join(&mut self, fork: Writer) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.extend(&fork.bytes);
        *self = Writer { bytes, ..fork };
    }

    /// All bytes, the last four of the coder among them.
    pub(super) fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        self.bytes
    }

    /// Writes a span of these new bytes.
    pub(super) fn span(&mut self, span: &Span, new: &[u8], old: &[u8]) {
        self.even_bits(span.mode as u32, 2);
        self.number(span.bytes - 1);
        let distance = i64::from(span.old) - i64::from(self.old);
        // Only these read old bytes; for others the place goes on as expected.
        let moves = matches!(span.mode, Mode::Skip | Mode::Delta) && distance != 0;
        self.even_bits(u32::from(moves), 1);
        if moves {
            self.number(distance.unsigned_abs() as u32);
            self.even_bits(u32::from(distance < 0), 1);
            self.old = span.old;
        }
        self.old = self.old.wrapping_add(span.bytes);
        let old = match span.mode {
            Mode::Delta => &old[span.old as usize..][..new.len()],
            _ => &[],
        };
        match span.mode {
            Mode::Skip => {}
            Mode::Raw => new
                .iter()
                .for_each(|&byte| self.even_bits(u32::from(byte), 8)),
            Mode::Delta | Mode::Fresh => self.residuals(span, new, old),
        }
    }

    fn residuals(&mut self, span: &Span, new: &[u8], old: &[u8]) {
        self.even_bits(u32::from(span.width) - 1, 2);
        if span.width == 1 {
            let (layout, has_channels) = (span.layout, span.layout != Layout::ONE);
            self.even_bits(u32::from(has_channels), 1);
            if has_channels {
                [layout.inner, layout.channels, layout.times]
                    .iter()
                    .for_each(|count| self.number(count - 1));
                self.sums = [0; CHANNELS];
            }
            self.narrow(span, new, old);
            return;
        }
        self.even_bits(u32::from(span.zero_point != 0), 1);
        if span.zero_point != 0 {
            self.even_bits(u32::from(span.zero_point as u8), 8);
        }
        let width = usize::from(span.width);
        for (index, number) in new.chunks_exact(width).enumerate() {
            let old = old.get(index * width..).unwrap_or_default();
            let old = little_endian(&old[..width.min(old.len())]);
            let folded = i32::from(span.zero_point) * i32::from(self.sums[index % CHANNELS]);
            let residual = little_endian(number).wrapping_sub(old) as i32;
            let residual = residual.wrapping_add(folded);
            // What the number has no bytes for is lost again when it is written.
            let unused = 32 - 8 * width as u32;
            self.wide(residual << unused >> unused);
        }
    }

    fn narrow(&mut self, span: &Span, new: &[u8], old: &[u8]) {
        let old = old.iter().copied().chain(std::iter::repeat(0));
        let residuals = new.iter().zip(old);
        let residuals: Vec<i8> = residuals.map(|(n, o)| n.wrapping_sub(o) as i8).collect();
        let mut magnitude = Magnitude::START;
        let mut known_nonzero_until = 0;
        let mut index = 0;
        while index < residuals.len() {
            let class = magnitude.class();
            if class == 0 && index >= known_nonzero_until {
                let zeros = residuals[index..].iter().take_while(|&&r| r == 0).count();
                self.run(zeros as u32);
                index += zeros;
                known_nonzero_until = index + 1;
                continue;
            }
            let residual = i32::from(residuals[index]);
            let amount = residual.unsigned_abs();
            if class > 0 {
                self.split(
                    |model| &mut model.lengths[class][0],
                    Probability::bound,
                    amount > 0,
                );
            }
            if amount > 0 {
                // With the bit before and the one after the sign shares what the coder takes in.
                self.range >>= 1;
                if residual < 0 {
                    self.low += u64::from(self.range);
                }
                self.split(
                    |model| &mut model.lengths[class][1],
                    Probability::coarse_bound,
                    amount > 1,
                );
            }
            self.put_out();
            if amount > 1 {
                self.amount(class, amount);
            }
            magnitude.take(amount);
            let channel = span.layout.channel(index as u32).0 as usize % CHANNELS;
            self.sums[channel] = self.sums[channel].wrapping_add(residual as i16);
            index += 1;
        }
    }

    fn amount(&mut self, class: usize, amount: u32) {
        let length = bits(amount) as usize;
        for more in 2..LENGTHS.min(length + 1) {
            self.bit(|model| &mut model.lengths[class][more], length > more);
        }
        let high = amount >> (length - 2) & 1;
        self.bit(|model| &mut model.tops[length - 2][0], high == 1);
        if length > 2 {
            let next = amount >> (length - 3) & 1;
            self.bit(
                |model| &mut model.tops[length - 2][1 + high as usize],
                next == 1,
            );
            self.even_bits(amount, length as u32 - 3);
        }
    }

    fn run(&mut self, zeros: u32) {
        let length = bits(zeros);
        for more in 0..length.saturating_add(1).min(31) {
            let index = (more as usize).min(RUN_LENGTHS - 1);
            self.bit(|model| &mut model.runs[index], length > more);
        }
        self.even_bits(zeros, length.saturating_sub(1));
    }

    fn wide(&mut self, residual: i32) {
        let amount = residual.unsigned_abs();
        let length = bits(amount);
        self.is_exact &= length < 1 << WIDE_BITS;
        let mut node = 1;
        for place in (0..WIDE_BITS).rev() {
            let bit = length >> place & 1;
            self.bit(|model| &mut model.wide[node], bit == 1);
            node = (node << 1 | bit as usize) & ((1 << WIDE_BITS) - 1);
        }
        if self.is_exact {
            let bits = (amount ^ 1 << (length.max(1) - 1)) << 1 | u32::from(residual < 0);
            self.even_bits(bits, length);
        }
    }

    fn number(&mut self, number: u32) {
        let length = bits(number);
        self.even_bits(length, 5);
        self.even_bits(number, length.saturating_sub(1));
    }

    fn bit(&mut self, of: impl FnOnce(&mut Model) -> &mut Probability, bit: bool) {
        self.split(of, Probability::bound, bit);
        self.put_out();
    }

    /// Takes one part of the range, and puts out nothing yet.
    fn split(
        &mut self,
        of: impl FnOnce(&mut Model) -> &mut Probability,
        bound: fn(Probability, u32) -> u32,
        bit: bool,
    ) {
        let probability = of(&mut self.model);
        let bound = bound(*probability, self.range);
        probability.learn(bit);
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
    }

    /// The lowest `count` bits of a number, the highest first.
    fn even_bits(&mut self, number: u32, count: u32) {
        let mut left = count;
        while left > 0 {
            let now = left.min(EVEN_BITS);
            left -= now;
            let part = number >> left & ((1 << now) - 1);
            self.range >>= now;
            self.low += u64::from(part) * u64::from(self.range);
            self.put_out();
        }
    }

    fn put_out(&mut self) {
        while self.range < RANGE_LEAST {
            self.range <<= 8;
            self.shift();
        }
    }

    /// Moves a byte out of the low end of the range, as soon as no carry can reach it any more.
    fn shift(&mut self) {
        let carry = (self.low >> 32) as u8;
        let top = (self.low >> 24) as u8;
        if carry == 0 && top == 0xff {
            self.ones += 1;
        } else {
            self.bytes
                .extend(self.last.map(|last| last.wrapping_add(carry)));
            let ones = 0xff_u8.wrapping_add(carry);
            self.bytes
                .extend(std::iter::repeat_n(ones, self.ones as usize));
            (self.last, self.ones) = (Some(top), 0);
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }
}

fn bits(number: u32) -> u32 {
    32 - number.leading_zeros()
}

fn little_endian(bytes: &[u8]) -> u32 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |number, &byte| number << 8 | u32::from(byte))
}
