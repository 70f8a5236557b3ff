//! Writes spans as a delta's coder reads them: the mirror of `tinyops_wire::delta::Decoder`.

use tinyops_wire::delta::{
    CHANNELS, EVEN_BITS, LENGTHS, Layout, Magnitude, Mode, Model, Probability, QUIET, QUOTIENT_MAX,
    QUOTIENTS, RANGE_LEAST, RUN_LENGTHS, Span,
};

/// Residuals of a byte by which the scale that a span begins with is chosen.
const SCALED: usize = 64;

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
        let distance = i64::from(span.old) - i64::from(self.old);
        // Only these read old bytes; for others the place goes on as expected.
        let moves = matches!(span.mode, Mode::Skip | Mode::Delta) && distance != 0;
        self.even_bits((span.mode as u32) << 1 | u32::from(moves), 3);
        self.number(span.bytes - 1);
        if moves {
            let moved = match distance < 0 {
                true => (!distance) << 1 | 1,
                false => distance << 1,
            };
            self.number(moved as u32);
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
        let has_more = span.layout.is_some() || span.zero_point != 0;
        let form = (u32::from(span.width) - 1) << 1 | u32::from(has_more);
        if span.width == 1 {
            let old = old.iter().copied().chain(std::iter::repeat(0));
            let residuals = new.iter().zip(old).map(|(&new, old)| match span.layout {
                // What is summed up is by how much the weight moved, which a byte may not hold.
                Some(_) => i16::from(new as i8) - i16::from(old as i8),
                None => i16::from(new.wrapping_sub(old) as i8),
            });
            let residuals: Vec<i16> = residuals.collect();
            let scale = self.scale_of(&residuals);
            self.even_bits(form << 5 | scale, 8);
            if let Some(layout) = span.layout {
                [layout.inner, layout.channels, layout.times]
                    .iter()
                    .for_each(|count| self.number(count.get() - 1));
                self.sums = [0; CHANNELS];
            }
            self.narrow(span.layout, &residuals, scale);
            return;
        }
        let width = usize::from(span.width);
        let residuals = new.chunks(width).enumerate().map(|(index, number)| {
            let old = old.get(index * width..).unwrap_or_default();
            let old = little_endian(&old[..width.min(old.len())]);
            let folded = i32::from(span.zero_point) * i32::from(self.sums[index % CHANNELS]);
            let residual = little_endian(number).wrapping_sub(old) as i32;
            // What the number has no bytes for is lost again when it is written.
            let unused = 32 - 8 * width as u32;
            let residual = residual.wrapping_add(folded) << unused >> unused;
            (residual << 1 ^ residual >> 31) as u32
        });
        let residuals: Vec<u32> = residuals.collect();
        let written = |scale: u32| {
            let mut fork = self.fork();
            fork.even_bits(form << 5 | scale, 8);
            if has_more {
                fork.even_bits(u32::from(span.zero_point as u8), 8);
            }
            residuals
                .iter()
                .for_each(|&folded| fork.wide(folded, scale));
            fork
        };
        let forks = (0..32).map(written);
        let least = forks.min_by(|a, b| a.cost().total_cmp(&b.cost()));
        self.join(least.expect("32 scales"));
    }

    /// The scale with which the first residuals take the fewest bits; later ones feel little of it.
    fn scale_of(&self, residuals: &[i16]) -> u32 {
        let first = &residuals[..residuals.len().min(SCALED)];
        let cost = |scale: u32| {
            let mut fork = self.fork();
            fork.narrow(None, first, scale);
            fork.cost()
        };
        let scales = (0..=Magnitude::SCALE_MAX).map(|scale| (scale, cost(scale)));
        let least = scales.min_by(|(_, a), (_, b)| a.total_cmp(b));
        least.expect("ten scales").0
    }

    fn narrow(&mut self, layout: Option<Layout>, residuals: &[i16], scale: u32) {
        let mut magnitude = Magnitude::of_scale(scale);
        let mut known_nonzero_until = 0;
        let mut index = 0;
        while index < residuals.len() {
            let row = magnitude.row();
            if row == QUIET && index >= known_nonzero_until {
                let zeros = residuals[index..].iter().take_while(|&&r| r == 0).count();
                self.run(zeros as u32);
                index += zeros;
                known_nonzero_until = index + 1;
                continue;
            }
            let residual = i32::from(residuals[index]);
            let amount = residual.unsigned_abs();
            if row != QUIET {
                self.split(
                    |model| &mut model.lengths[row][0],
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
                    |model| &mut model.lengths[row][1],
                    Probability::coarse_bound,
                    amount > 1,
                );
            }
            self.put_out();
            if amount > 1 {
                self.amount(row, amount);
            }
            magnitude.take(amount);
            if let Some(layout) = layout {
                let channel = layout.channel(index as u32) as usize % CHANNELS;
                self.sums[channel] = self.sums[channel].wrapping_add(residual as i16);
            }
            index += 1;
        }
    }

    fn amount(&mut self, row: usize, amount: u32) {
        let length = bits(amount) as usize;
        for more in 2..LENGTHS.min(length + 1) {
            self.bit(|model| &mut model.lengths[row][more], length > more);
        }
        let high = amount >> (length - 2) & 1;
        self.bit(|model| &mut model.tops()[3 * (length - 2)], high == 1);
        if length > 2 {
            let next = amount >> (length - 3) & 1;
            self.bit(
                |model| &mut model.tops()[3 * (length - 2) + 1 + high as usize],
                next == 1,
            );
            self.even_bits(amount, length as u32 - 3);
        }
    }

    fn run(&mut self, zeros: u32) {
        let length = bits(zeros);
        for more in 0..length.saturating_add(1).min(31) {
            let index = (more as usize).min(RUN_LENGTHS - 1);
            self.bit(|model| &mut model.runs()[index], length > more);
        }
        self.even_bits(zeros, length.saturating_sub(1));
    }

    fn wide(&mut self, folded: u32, scale: u32) {
        let quotient = (folded >> scale).min(QUOTIENT_MAX);
        for more in 0..QUOTIENT_MAX.min(quotient + 1) {
            let index = (more as usize).min(QUOTIENTS - 1);
            self.bit(|model| &mut model.quotients()[index], quotient > more);
        }
        match quotient < QUOTIENT_MAX {
            true => self.even_bits(folded, scale),
            false => self.even_bits(folded, 32),
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tinyops_wire::Digest;
    use tinyops_wire::delta::{Header, apply};

    use super::*;

    /// Four channels of eight weights, of which one in four moves by more than a byte tells, and biases that follow
    /// from them at a zero point of -128.
    #[test]
    fn biases_follow_from_weights_that_go_from_end_to_end() {
        let mut old: Vec<u8> = (0..32).map(|index| [130, 5, 250, 40][index % 4]).collect();
        let mut new: Vec<u8> = (0..32).map(|index| [120, 9, 248, 41][index % 4]).collect();
        for channel in 0..4_i32 {
            let weights = 8 * channel as usize..8 * channel as usize + 8;
            let sum = |of: &[u8]| -> i32 { of.iter().map(|&byte| i32::from(byte as i8)).sum() };
            let moved = sum(&new[weights.clone()]) - sum(&old[weights]);
            old.extend((1000 * channel).to_le_bytes());
            new.extend((1000 * channel + 128 * moved).to_le_bytes());
        }
        let weights = Span {
            mode: Mode::Delta,
            bytes: 32,
            width: 1,
            layout: Some(Layout {
                inner: NonZeroU32::new(8).expect("not 0"),
                channels: NonZeroU32::MIN,
                times: NonZeroU32::MIN,
            }),
            ..Span::NONE
        };
        let biases = Span {
            mode: Mode::Delta,
            bytes: 16,
            old: 32,
            width: 4,
            zero_point: -128,
            ..Span::NONE
        };
        let mut writer = Writer::new();
        writer.span(&weights, &new[..32], &old);
        let before = writer.cost();
        writer.span(&biases, &new[32..], &old);
        // Its head and zero point, and four zeros.
        let bits = writer.cost() - before;
        assert!(bits < 33.0, "{bits} bits");
        let header = Header {
            base: Header::base_of(&old),
            result: Digest::of(&new).prefix(),
            bytes: 48,
        };
        let delta = [&header.to_bytes()[..], &writer.finish()].concat();
        let mut out = [0; 48];
        assert_eq!(apply(&delta, &old, &mut out), Ok(48));
        assert_eq!(out[..], new);
    }
}
