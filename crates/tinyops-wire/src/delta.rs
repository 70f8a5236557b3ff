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
use core::num::NonZeroU32;

use crate::Digest;
use coder::{Coder, Input, LACKING};

pub use coder::{EVEN_BITS, Probability, RANGE_LEAST};
pub use model::{CLASSES, LENGTHS, Magnitude, Model, QUIET, QUOTIENT_MAX, QUOTIENTS, RUN_LENGTHS};

/// How a delta begins.
pub const MAGIC: [u8; 4] = *b"TOPD";
/// The version that is written and read.
pub const VERSION: u8 = 2;
/// Bytes before the coded spans.
pub const HEADER_BYTES: usize = 25;
/// Channels whose sums of residuals are kept apart; further ones share with the first.
pub const CHANNELS: usize = 64;

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
        let header: &[u8; HEADER_BYTES] = delta.first_chunk().ok_or(DeltaError::Truncated)?;
        let (magic, rest) = header.split_at(4);
        if magic != MAGIC {
            return Err(DeltaError::Magic);
        }
        let (&[found], rest) = rest.split_first_chunk().ok_or(DeltaError::Truncated)?;
        if found != VERSION {
            return Err(DeltaError::Version { found });
        }
        let (&base, rest) = rest.split_first_chunk().ok_or(DeltaError::Truncated)?;
        let (&result, rest) = rest.split_first_chunk().ok_or(DeltaError::Truncated)?;
        let &bytes = rest.first_chunk().ok_or(DeltaError::Truncated)?;
        Ok(Header {
            base,
            result,
            bytes: u32::from_le_bytes(bytes),
        })
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

/// Where the weights of each output channel lie in a span: `inner` weights of a channel, then of
/// the next, for `channels` of them; that so many `times`; then the next channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Weights of a channel that lie together.
    pub inner: NonZeroU32,
    /// Channels that take turns.
    pub channels: NonZeroU32,
    /// How often they do.
    pub times: NonZeroU32,
}

impl Layout {
    /// The channel of a weight.
    #[inline(always)]
    pub fn channel(&self, index: u32) -> u32 {
        let turn = index / self.inner;
        let group = turn / self.channels / self.times;
        group
            .wrapping_mul(self.channels.get())
            .wrapping_add(turn % self.channels)
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

impl Span {
    /// No bytes, at the start of the old image.
    pub const NONE: Span = Span {
        mode: Mode::Skip,
        bytes: 0,
        old: 0,
        width: 0,
        layout: None,
        zero_point: 0,
    };
}

/// Makes a new image from an old one and a delta.
///
/// It may be given up and begun anew at any time: what it makes depends on nothing else.
#[derive(Clone)]
#[repr(C)]
pub struct Decoder {
    model: Model,
    sums: [i16; CHANNELS],
    coder: Coder,
    /// The next byte of the delta.
    at: u32,
    /// Bytes of the new image.
    bytes: u32,
    /// Bytes made.
    made: u32,
    span: Span,
    /// Bytes of the span that are made.
    done: u32,
    /// How large the residuals of the span are, as a power of two.
    scale: u32,
    magnitude: Magnitude,
    /// Zeros that follow before a value that is not, if that is known.
    run: Option<u32>,
    /// What is still to be added to the number begun, from its next byte on.
    number: i32,
}

impl Decoder {
    /// A decoder that makes nothing yet; all its bytes are 0, so that a static one takes no flash.
    pub const IDLE: Decoder = Decoder {
        model: Model::NONE,
        sums: [0; CHANNELS],
        coder: Coder { range: 0, code: 0 },
        at: 0,
        bytes: 0,
        made: 0,
        span: Span::NONE,
        done: 0,
        scale: 0,
        magnitude: Magnitude::NONE,
        run: None,
        number: 0,
    };

    /// Begins with a delta and the name of the old image that the caller has ([`Header::base_of`]),
    /// whatever was made before.
    ///
    /// # Errors
    /// Those of [`Header::parse`], and [`DeltaError::Base`] if the delta is for another old image.
    pub fn begin(&mut self, delta: &[u8], base: [u8; 8]) -> Result<Header, DeltaError> {
        let header = Header::parse(delta)?;
        if header.base != base {
            return Err(DeltaError::Base);
        }
        let coded = delta.get(HEADER_BYTES..).unwrap_or_default();
        let code = coded.first_chunk().ok_or(DeltaError::Truncated)?;
        let code = u32::from_be_bytes(*code);
        *self = Decoder::IDLE;
        self.model.reset();
        self.coder = Coder {
            range: u32::MAX,
            code,
        };
        self.at = HEADER_BYTES as u32 + 4;
        self.bytes = header.bytes;
        Ok(header)
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
        let mut input = Input {
            coder: self.coder,
            delta,
            at: self.at,
        };
        let wanted = out.len().min((self.bytes - self.made) as usize);
        let mut rest = out.get_mut(..wanted).unwrap_or_default();
        while !rest.is_empty() {
            if self.done == self.span.bytes {
                self.next_span(&mut input, base.len())?;
            }
            let count = rest.len().min((self.span.bytes - self.done) as usize);
            let (part, others) = rest.split_at_mut(count);
            rest = others;
            let old = match self.span.mode {
                Mode::Skip | Mode::Delta => base.get(self.span.old as usize..),
                Mode::Fresh | Mode::Raw => None,
            };
            let old = old.and_then(|old| old.get(self.done as usize..));
            match old.and_then(|old| old.get(..count)) {
                Some(old) => part.copy_from_slice(old),
                None => part.fill(0),
            }
            match self.span.mode {
                Mode::Skip => {}
                Mode::Raw => part
                    .iter_mut()
                    .for_each(|byte| *byte = input.even_bits(8) as u8),
                _ if self.span.width > 1 => self.add_wide(&mut input, part),
                _ => self.add_narrow(&mut input, part),
            }
            self.done += count as u32;
            self.made += count as u32;
        }
        self.coder = input.coder;
        self.at = input.at;
        if self.at == LACKING {
            return Err(DeltaError::Truncated);
        }
        if self.made == self.bytes {
            if self.at as usize != delta.len() {
                return Err(DeltaError::Trailing);
            }
            // The encoder ends on the least code that means what it wrote.
            if self.coder.code != 0 {
                return Err(DeltaError::Damaged);
            }
        }
        Ok(wanted)
    }

    fn next_span(&mut self, input: &mut Input<'_>, base_bytes: usize) -> Result<(), DeltaError> {
        let head = input.even_bits(3);
        let mode = match head >> 1 {
            0 => Mode::Skip,
            1 => Mode::Delta,
            2 => Mode::Fresh,
            _ => Mode::Raw,
        };
        let bytes = input.count().get();
        // Spans lie side by side in the old image too, where nothing else is said.
        let mut old = self.span.old.wrapping_add(self.span.bytes);
        if head & 1 == 1 {
            // The distance and, as its lowest bit, whether it leads back.
            let moved = input.count().get() - 1;
            let back = 0_u32.wrapping_sub(moved & 1);
            old = old.wrapping_add((moved >> 1) ^ back);
        }
        let mut span = Span {
            mode,
            bytes,
            old,
            width: 1,
            layout: None,
            zero_point: 0,
        };
        if matches!(mode, Mode::Delta | Mode::Fresh) {
            let form = input.even_bits(8);
            self.scale = form & 31;
            let form = form >> 5;
            span.width = (form >> 1) as u8 + 1;
            if form == 1 {
                span.layout = Some(Layout {
                    inner: input.count(),
                    channels: input.count(),
                    times: input.count(),
                });
                self.sums = [0; CHANNELS];
            } else if form & 1 == 1 {
                span.zero_point = input.even_bits(8) as i8;
            }
        }
        if input.at == LACKING {
            return Err(DeltaError::Truncated);
        }
        let reads_old = matches!(mode, Mode::Skip | Mode::Delta);
        let old_end = span.old.checked_add(span.bytes);
        if span.bytes > self.bytes - self.made
            || reads_old && old_end.is_none_or(|end| end as usize > base_bytes)
        {
            return Err(DeltaError::Span { offset: self.made });
        }
        (self.span, self.done) = (span, 0);
        (self.magnitude, self.run) = (Magnitude::of_scale(self.scale), None);
        Ok(())
    }

    /// Adds residuals to numbers of one byte, and to the sums of their channels.
    #[inline(never)]
    fn add_narrow(&mut self, input: &mut Input<'_>, out: &mut [u8]) {
        let mut coder = input.coder;
        let mut magnitude = self.magnitude;
        let end = self.done + out.len() as u32;
        let mut out = out.iter_mut();
        while !out.as_slice().is_empty() {
            let row = magnitude.row();
            // One test tells the classes in which a 0 is a bit: nearly all values are of these.
            let lengths;
            if let Some(changing) = self.model.lengths[..QUIET].get_mut(row) {
                lengths = changing;
                magnitude.fade();
                let bound = lengths[0].bound(coder.range);
                let is_zero = coder.code >= bound;
                lengths[0].learn(!is_zero);
                if is_zero {
                    coder.code -= bound;
                    coder.range -= bound;
                    coder = input.filled_up(coder);
                    out.next();
                    continue;
                }
                // What is left for values other than 0.
                coder.range = bound;
            } else if row > QUIET {
                // A scale that no encoder writes.
                break;
            } else {
                lengths = &mut self.model.lengths[QUIET];
                let zeros = match self.run.take() {
                    Some(zeros) => zeros as usize,
                    None => {
                        input.coder = coder;
                        let length = input.ones(model::runs_of(&mut self.model.others), 31);
                        let zeros = input.below(length);
                        coder = input.coder;
                        zeros as usize
                    }
                };
                let here = zeros.min(out.len());
                if let Some(before) = here.checked_sub(1) {
                    out.nth(before);
                    self.run = Some((zeros - here) as u32);
                    continue;
                }
            }
            // The sign, and whether the amount is more than 1.
            coder.range >>= 1;
            let is_negative = coder.code >= coder.range;
            if is_negative {
                coder.code -= coder.range;
            }
            let bound = lengths[1].coarse_bound(coder.range);
            let is_longer = coder.code < bound;
            lengths[1].learn(is_longer);
            let mut residual = 1 - 2 * i32::from(is_negative);
            if is_longer {
                coder.range = bound;
                input.coder = input.filled_up(coder);
                let amount = model::longer(input, &mut lengths[2..], &mut self.model.others);
                coder = input.coder;
                magnitude.add(amount);
                residual *= amount as i32;
            } else {
                coder.code -= bound;
                coder.range -= bound;
                coder = input.filled_up(coder);
                magnitude.add(1);
            }
            if let Some(layout) = &self.span.layout {
                let channel = layout.channel(end - out.len() as u32);
                let of_channel = &mut self.sums[channel as usize % CHANNELS];
                *of_channel = of_channel.wrapping_add(residual as i16);
            }
            if let Some(byte) = out.next() {
                *byte = byte.wrapping_add(residual as u8);
            }
        }
        input.coder = coder;
        self.magnitude = magnitude;
    }

    /// Adds residuals to numbers of more bytes, one of which may have been begun.
    fn add_wide(&mut self, input: &mut Input<'_>, out: &mut [u8]) {
        let width = NonZeroU32::MIN.saturating_add(u32::from(self.span.width) - 1);
        for (index, byte) in (self.done..).zip(out) {
            if index % width == 0 {
                let sum = self.sums[(index / width) as usize % CHANNELS];
                let folded = i32::from(self.span.zero_point) * i32::from(sum);
                self.number =
                    model::wide(input, self.model.quotients(), self.scale).wrapping_sub(folded);
            }
            // A carry goes to the next byte.
            let sum = self.number.wrapping_add(i32::from(*byte));
            *byte = sum as u8;
            self.number = sum >> 8;
        }
    }
}

/// Makes the whole new image into `out`, and holds it against the delta's digest; answers how many bytes.
///
/// # Errors
/// [`DeltaError`]; `out` then holds nothing of use.
pub fn apply(delta: &[u8], base: &[u8], out: &mut [u8]) -> Result<usize, DeltaError> {
    let mut decoder = Decoder::IDLE;
    let header = decoder.begin(delta, Header::base_of(base))?;
    let needed = header.bytes;
    let out = out
        .get_mut(..needed as usize)
        .ok_or(DeltaError::Room { needed })?;
    decoder.fill(delta, base, out)?;
    match Digest::of(out).prefix() == header.result {
        true => Ok(needed as usize),
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
    /// A span leaves the new image or the old one.
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
