//! A delta: what makes a new image out of an old one, for a device that holds the old.
//!
//! An image is a capsule or a payload, but nothing here depends on that: a delta is a list of
//! *spans*, which make the new image from its first byte to its last. See `docs/formats/delta.md`;
//! deltas are written by `tinyops-compile`.
//!
//! [`Decoder`] holds no bytes of either image: each call of [`Decoder::fill`] is lent delta and old
//! image, and makes the next bytes of the new one.

mod coder;
mod model;

use core::fmt;

use crate::Digest;
use crate::bytes::Reader;
use coder::Coder;

pub use coder::{Probability, RANGE_LEAST};
pub use model::{CLASSES, LENGTHS, Magnitude, Model, RUN_LENGTHS, WIDE_BITS};

/// How a delta begins.
pub const MAGIC: [u8; 4] = *b"TOPD";
/// The version that is written and read.
pub const VERSION: u8 = 1;
/// Bytes before the coded spans.
pub const HEADER_BYTES: usize = 25;
/// Channels whose sums of residuals are kept apart; further ones share with the first.
pub const CHANNELS: usize = 128;

/// What a delta says before its spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First bytes of the digest of the old image; zeros if there is none.
    pub base: [u8; 8],
    /// First bytes of the digest of the new image.
    pub result: [u8; 8],
    /// Bytes of the new image.
    pub bytes: u32,
}

impl Header {
    /// Reads the header of a delta.
    ///
    /// # Errors
    /// [`DeltaError::Magic`], [`DeltaError::Version`] or [`DeltaError::Truncated`].
    pub fn parse(delta: &[u8]) -> Result<Header, DeltaError> {
        let mut reader = Reader::new(delta);
        if reader.array() != Some(MAGIC) {
            return Err(DeltaError::Magic);
        }
        let found = reader.u8().ok_or(DeltaError::Truncated)?;
        if found != VERSION {
            return Err(DeltaError::Version { found });
        }
        let mut header = || {
            Some(Header {
                base: reader.array()?,
                result: reader.array()?,
                bytes: reader.u32()?,
            })
        };
        header().ok_or(DeltaError::Truncated)
    }

    /// The bytes of the header.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5..13].copy_from_slice(&self.base);
        bytes[13..21].copy_from_slice(&self.result);
        bytes[21..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// The name by which a delta knows an old image.
    pub fn base_of(image: &[u8]) -> [u8; 8] {
        if image.is_empty() {
            return [0; 8];
        }
        Digest::of(image).prefix()
    }
}

/// How a span is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Its bytes are those of the old image.
    Skip = 0,
    /// Its numbers are those of the old image, each plus a residual.
    Delta = 1,
    /// Its numbers stand for themselves.
    Fresh = 2,
    /// Its bytes stand for themselves, eight bits each.
    Raw = 3,
}

impl Mode {
    fn reads_old(self) -> bool {
        matches!(self, Mode::Skip | Mode::Delta)
    }

    fn is_raw(self) -> bool {
        matches!(self, Mode::Skip | Mode::Raw)
    }
}

/// Where the weights of each output channel lie in a span: `inner` weights of a channel, then of
/// the next, for `channels` of them; that so many times; then the next channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Weights of a channel that lie together, at least 1.
    pub inner: u32,
    /// Channels that take turns, at least 1.
    pub channels: u32,
    /// How often they do, at least 1.
    pub times: u32,
}

impl Layout {
    /// The channel of a weight, and how many weights from there on are of the same.
    #[inline]
    pub fn channel(&self, index: u32) -> (u32, u32) {
        let turn = index / self.inner;
        let group = turn / self.channels / self.times;
        let channel = group
            .wrapping_mul(self.channels)
            .wrapping_add(turn % self.channels);
        (channel, self.inner - index % self.inner)
    }
}

/// A stretch of the new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// How it is made.
    pub mode: Mode,
    /// Its bytes.
    pub bytes: u32,
    /// Where its bytes lie in the old image, for [`Mode::Skip`] and [`Mode::Delta`].
    pub old: u32,
    /// Bytes of a number, 1 to 4; numbers are little-endian. For [`Mode::Delta`] and [`Mode::Fresh`].
    pub width: u8,
    /// For numbers of one byte: how their residuals add up by channel.
    pub layout: Option<Layout>,
    /// For wider numbers, which are one for each channel: what a channel's sum of residuals is
    /// multiplied by and taken from its number, as a zero point folded into a bias is.
    pub zero_point: i8,
}

/// Makes a new image from an old one and a delta.
///
/// It may be given up and begun anew at any time: what it makes depends on nothing else.
#[derive(Clone)]
pub struct Decoder {
    header: Header,
    model: Model,
    sums: [i16; CHANNELS],
    range: u32,
    code: u32,
    /// The next byte of the delta.
    at: u32,
    /// Bytes made.
    made: u32,
    span: Span,
    /// Bytes of the span that are made.
    done: u32,
    magnitude: Magnitude,
    /// Zeros that follow, if that is known, before a value that is not.
    run: Option<u32>,
    /// What is left of the number begun, from its lowest byte on.
    number: u32,
    number_bytes: u8,
}

impl Decoder {
    /// Begins with a delta and the name of the old image that the caller has ([`Header::base_of`]).
    ///
    /// # Errors
    /// Those of [`Header::parse`], and [`DeltaError::Base`] if the delta is for another old image.
    pub fn new(delta: &[u8], base: [u8; 8]) -> Result<Decoder, DeltaError> {
        let header = Header::parse(delta)?;
        if header.base != base {
            return Err(DeltaError::Base);
        }
        let code = delta
            .get(HEADER_BYTES..)
            .and_then(|coded| coded.first_chunk());
        let code = u32::from_be_bytes(*code.ok_or(DeltaError::Truncated)?);
        Ok(Decoder {
            header,
            model: Model::new(),
            sums: [0; CHANNELS],
            range: u32::MAX,
            code,
            at: HEADER_BYTES as u32 + 4,
            made: 0,
            span: Span {
                mode: Mode::Raw,
                bytes: 0,
                old: 0,
                width: 1,
                layout: None,
                zero_point: 0,
            },
            done: 0,
            magnitude: Magnitude::START,
            run: None,
            number: 0,
            number_bytes: 0,
        })
    }

    /// What the delta says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How many bytes are made.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Makes the next bytes of the new image; answers how many, which are fewer than `out` has
    /// only at its end. The delta and the old image are the same in every call.
    ///
    /// The work is bounded by the length of `out`, whatever the bytes. That all bytes are made
    /// does not say that they are the right ones: that says the digest of the new image.
    ///
    /// # Errors
    /// [`DeltaError::Span`], [`DeltaError::Truncated`], [`DeltaError::Trailing`] or, at the end,
    /// [`DeltaError::Damaged`].
    pub fn fill(&mut self, delta: &[u8], base: &[u8], out: &mut [u8]) -> Result<usize, DeltaError> {
        let coded = delta.get(self.at as usize..).unwrap_or_default();
        let mut coder = Coder {
            range: self.range,
            code: self.code,
            rest: coded.iter(),
            lacking: 0,
        };
        let mut filled = 0;
        while filled < out.len() && self.made < self.header.bytes {
            if self.done == self.span.bytes {
                self.next_span(&mut coder, base.len())?;
            }
            let left = (self.span.bytes - self.done) as usize;
            let count = left.min(out.len() - filled);
            let part = &mut out[filled..filled + count];
            let old = match self.span.mode.reads_old() {
                true => base.get(self.span.old as usize..).unwrap_or_default(),
                false => &[],
            };
            if self.span.mode.is_raw() {
                let old = old.get(self.done as usize..).unwrap_or_default();
                match old.get(..count) {
                    Some(old) => part.copy_from_slice(old),
                    None => part
                        .iter_mut()
                        .for_each(|byte| *byte = coder.even_bits(8) as u8),
                }
                self.done += count as u32;
            } else if self.span.width == 1 {
                self.bytes(&mut coder, old, part);
            } else {
                self.numbers(&mut coder, old, part);
            }
            filled += count;
            self.made += count as u32;
        }
        (self.range, self.code) = (coder.range, coder.code);
        self.at += (coded.len() - coder.rest.len()) as u32;
        if coder.lacking > 0 {
            return Err(DeltaError::Truncated);
        }
        if self.made == self.header.bytes {
            if !coder.rest.as_slice().is_empty() {
                return Err(DeltaError::Trailing);
            }
            // The encoder ends on the least code that means what it wrote.
            if coder.code != 0 {
                return Err(DeltaError::Damaged);
            }
        }
        Ok(filled)
    }

    fn next_span(&mut self, coder: &mut Coder<'_>, base_bytes: usize) -> Result<(), DeltaError> {
        // Spans lie side by side in the old image too, where nothing else is said.
        let expected = self.span.old.wrapping_add(self.span.bytes);
        let mode = match coder.even_bits(2) {
            0 => Mode::Skip,
            1 => Mode::Delta,
            2 => Mode::Fresh,
            _ => Mode::Raw,
        };
        let bytes = coder.number().wrapping_add(1);
        let mut span = Span {
            mode,
            bytes,
            old: expected,
            width: 1,
            layout: None,
            zero_point: 0,
        };
        if coder.even_bit() {
            let distance = coder.number();
            span.old = match coder.even_bit() {
                true => expected.wrapping_sub(distance),
                false => expected.wrapping_add(distance),
            };
        }
        if !mode.is_raw() {
            span.width = coder.even_bits(2) as u8 + 1;
            let has_more = coder.even_bit();
            if has_more && span.width == 1 {
                let mut next = || coder.number().wrapping_add(1);
                span.layout = Some(Layout {
                    inner: next(),
                    channels: next(),
                    times: next(),
                });
                self.sums = [0; CHANNELS];
            } else if has_more {
                span.zero_point = coder.even_bits(8) as i8;
            }
        }
        let old_end = u64::from(span.old) + u64::from(bytes);
        let is_sound = bytes <= self.header.bytes - self.made
            && (!mode.reads_old() || old_end <= base_bytes as u64)
            && bytes.is_multiple_of(u32::from(span.width));
        if coder.lacking > 0 {
            return Err(DeltaError::Truncated);
        }
        if !is_sound {
            return Err(DeltaError::Span { offset: self.made });
        }
        (self.span, self.done) = (span, 0);
        (self.magnitude, self.run) = (Magnitude::START, None);
        Ok(())
    }

    /// Numbers of one byte.
    fn bytes(&mut self, coder: &mut Coder<'_>, old: &[u8], mut out: &mut [u8]) {
        let mut old = old.get(self.done as usize..).unwrap_or_default();
        while !out.is_empty() {
            let (channel, together) = match &self.span.layout {
                Some(layout) => layout.channel(self.done),
                None => (0, u32::MAX),
            };
            let count = out.len().min(together as usize);
            let (part, rest) = out.split_at_mut(count);
            let (old_part, old_rest) = old.split_at_checked(count).unwrap_or_default();
            let sum = residuals(
                coder,
                &mut self.model,
                &mut self.magnitude,
                &mut self.run,
                old_part,
                part,
            );
            let sums = &mut self.sums[channel as usize % CHANNELS];
            *sums = sums.wrapping_add(sum as i16);
            (out, old) = (rest, old_rest);
            self.done += count as u32;
        }
    }

    /// Numbers of more bytes, one of which may have been begun.
    fn numbers(&mut self, coder: &mut Coder<'_>, old: &[u8], out: &mut [u8]) {
        let width = u32::from(self.span.width);
        for byte in out {
            if self.number_bytes == 0 {
                let index = self.done / width;
                let sum = self.sums[index as usize % CHANNELS];
                let folded = i32::from(self.span.zero_point) * i32::from(sum);
                let mut number = model::wide(coder, &mut self.model).wrapping_sub(folded) as u32;
                let old = old.get(self.done as usize..).unwrap_or_default();
                for (index, &byte) in old.iter().take(width as usize).enumerate() {
                    number = number.wrapping_add(u32::from(byte) << (8 * index));
                }
                self.number = number;
                self.number_bytes = self.span.width;
            }
            *byte = self.number as u8;
            self.number >>= 8;
            self.number_bytes -= 1;
            self.done += 1;
        }
    }
}

/// Makes bytes by adding residuals to old ones, or to 0; answers the sum of the residuals.
fn residuals(
    coder: &mut Coder<'_>,
    model: &mut Model,
    magnitude: &mut Magnitude,
    run: &mut Option<u32>,
    old: &[u8],
    out: &mut [u8],
) -> i32 {
    let mut sum = 0_i32;
    let mut old = old.iter();
    let mut out = out.iter_mut();
    while !out.as_slice().is_empty() {
        let class = magnitude.class();
        let is_zero = if class == 0 {
            let zeros = run.take().unwrap_or_else(|| model::run(coder, model));
            let now = (zeros as usize).min(out.len());
            for byte in out.by_ref().take(now) {
                *byte = old.next().copied().unwrap_or(0);
            }
            if out.as_slice().is_empty() {
                *run = Some(zeros - now as u32);
                return sum;
            }
            false
        } else {
            !coder.bit(&mut model.lengths[class][0])
        };
        let Some(byte) = out.next() else { return sum };
        let mut value = i32::from(old.next().copied().unwrap_or(0));
        if is_zero {
            magnitude.take(0);
        } else {
            let is_negative = coder.even_bit();
            let mut amount = 1;
            if coder.bit(&mut model.lengths[class][1]) {
                amount = model::amount(coder, model, class);
            }
            magnitude.take(amount);
            let residual = model::signed(amount, is_negative);
            sum = residual.wrapping_add(sum);
            value += residual;
        }
        *byte = value as u8;
    }
    sum
}

/// Makes the whole new image into `out`, and holds it against the delta's digest; answers how many bytes.
///
/// # Errors
/// [`DeltaError`]; `out` then holds nothing of use.
pub fn apply(delta: &[u8], base: &[u8], out: &mut [u8]) -> Result<usize, DeltaError> {
    let mut decoder = Decoder::new(delta, Header::base_of(base))?;
    let bytes = decoder.header.bytes as usize;
    let out = out.get_mut(..bytes).ok_or(DeltaError::Room {
        needed: decoder.header.bytes,
    })?;
    decoder.fill(delta, base, out)?;
    match Digest::of(out).prefix() == decoder.header.result {
        true => Ok(bytes),
        false => Err(DeltaError::Result),
    }
}

/// Why bytes are not a delta of this image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeltaError {
    /// The delta is for another old image.
    Base,
    /// Some bytes are not those that were written.
    Damaged,
    /// The bytes begin otherwise.
    Magic,
    /// What the delta makes is not what it promised.
    Result,
    /// The new image has more bytes than there is room for.
    Room {
        /// Bytes of the new image.
        needed: u32,
    },
    /// A span leaves the new image or the old one, or is no whole number of its numbers.
    Span {
        /// Where in the new image it would begin.
        offset: u32,
    },
    /// Bytes are left over.
    Trailing,
    /// The bytes end before the delta does.
    Truncated,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u8,
    },
}

impl fmt::Display for DeltaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeltaError::Base => write!(f, "the delta is for another capsule than the one here"),
            DeltaError::Damaged => write!(f, "the delta's bytes are damaged"),
            DeltaError::Magic => write!(f, "the bytes are not a delta"),
            DeltaError::Result => write!(f, "the delta does not make what it promises"),
            DeltaError::Room { needed } => {
                write!(
                    f,
                    "the delta makes {needed} bytes, for which there is no room"
                )
            }
            DeltaError::Span { offset } => {
                write!(
                    f,
                    "the delta's span at byte {offset} leaves one of the capsules"
                )
            }
            DeltaError::Trailing => write!(f, "bytes follow the delta"),
            DeltaError::Truncated => write!(f, "the bytes end before the delta does"),
            DeltaError::Version { found } => write!(f, "delta version {found} is unknown"),
        }
    }
}

impl core::error::Error for DeltaError {}
