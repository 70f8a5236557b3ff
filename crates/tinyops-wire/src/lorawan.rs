//! LoRaWAN: envelopes made short for payloads of 11 to 222 bytes, fragments of what is longer, bare blocks.
//!
//! ```text
//! port 71, whole message, 7 bytes around a body (11 with a model)
//!  0       1    version 1 << 4; bit 0: a model id follows
//!  1       2    sequence number, low half
//!  3       4    model id, if bit 0 is set
//!  ...     n    body: a frame on the way up, a downlink message on the way down
//!  ...     4    HMAC-SHA-256 under the device's key over "tinyops lorawan" and the whole envelope's head and body,
//!               its first 4 bytes
//! port 72, fragment of a message                       answer to fragments, the other way
//!  0       1    number of the message, 0 to 127          0  1  number | 0x80
//!  1       1    index                                    1  4  bitmap of the fragments that are missing
//!  2       1    index of the last
//!  3       n    bytes; all but the last equally many
//! port 73, down only: block of the capsule being fetched
//!  0       1    first byte of the capsule's digest
//!  1       2    where it belongs, in words of 4 bytes
//!  3       n    bytes
//! ```
//! What is left out both ends know: the device id is the DevEUI, the direction is the link's, the rest of the sequence number
//! follows from the newest seen, the model from what the device last said. The tag is over all of it, so a wrong guess is no
//! wrong report. Who has the key turns one form into the other. Specified in `docs/formats/lorawan.md`.

use hmac::Mac;

use crate::bytes::{Reader, Writer};
use crate::envelope::{Direction, Envelope, EnvelopeError};
use crate::{DeviceId, DeviceKey, ModelId};

/// Port of whole messages.
pub const PORT_MESSAGE: u8 = 71;
/// Port of fragments, and of the answers to them.
pub const PORT_FRAGMENT: u8 = 72;
/// Port of blocks.
pub const PORT_BLOCK: u8 = 73;

/// Bytes around a body without a model.
pub const OVERHEAD: usize = 7;
/// Bytes around a body with a model.
pub const OVERHEAD_WITH_MODEL: usize = OVERHEAD + 4;
/// Bytes before those of a fragment, and before those of a block.
pub const PART_OVERHEAD: usize = 3;
/// Fragments of one message.
pub const FRAGMENTS_MAX: usize = 32;
/// Bytes of a capsule that blocks over this link can reach.
pub const CAPSULE_BYTES_MAX: u32 = 4 << 16;

const VERSION: u8 = 1;
const WITH_MODEL: u8 = 1;
const TAG_BYTES: usize = 4;
const ANSWER: u8 = 0x80;

/// Writes an envelope's short form; answers how many bytes.
///
/// # Errors
/// [`EnvelopeError::Length`] if `out` has too little room.
pub fn seal(
    envelope: &Envelope<'_>,
    with_model: bool,
    key: &DeviceKey,
    out: &mut [u8],
) -> Result<usize, EnvelopeError> {
    let mut writer = Writer::new(out);
    write(envelope, with_model, key, &mut writer).ok_or(EnvelopeError::Length)?;
    Ok(writer.written())
}

fn write(
    envelope: &Envelope<'_>,
    with_model: bool,
    key: &DeviceKey,
    out: &mut Writer<'_>,
) -> Option<()> {
    out.put(&[VERSION << 4 | u8::from(with_model)])?;
    out.put(&(envelope.sequence as u16).to_le_bytes())?;
    if with_model {
        out.put(&envelope.model.0.to_le_bytes())?;
    }
    out.put(envelope.body)?;
    out.put(&mac(envelope, key).finalize().into_bytes()[..TAG_BYTES])
}

fn mac(envelope: &Envelope<'_>, key: &DeviceKey) -> hmac::Hmac<sha2::Sha256> {
    key.mac(&[
        b"tinyops lorawan",
        &[VERSION, u8::from(envelope.direction == Direction::Down)],
        &envelope.device.0.to_le_bytes(),
        &envelope.model.0.to_le_bytes(),
        &envelope.sequence.to_le_bytes(),
        envelope.body,
    ])
}

/// The short form of an envelope as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Short<'a> {
    sequence_low: u16,
    model: Option<ModelId>,
    body: &'a [u8],
    tag: [u8; TAG_BYTES],
}

/// What both ends know and no short form says.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The way that the link goes.
    pub direction: Direction,
    /// The device: its DevEUI.
    pub device: DeviceId,
    /// The model that it was last known to run; 0 on the way down.
    pub model: ModelId,
    /// The newest sequence number of that direction; 0 before the first.
    pub sequence: u32,
}

impl<'a> Short<'a> {
    /// Takes bytes that may be anything apart into a short form that nobody has checked yet.
    ///
    /// # Errors
    /// [`EnvelopeError::Length`] or [`EnvelopeError::Version`].
    pub fn parse(bytes: &'a [u8]) -> Result<Short<'a>, EnvelopeError> {
        let (signed, tag) = bytes
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(EnvelopeError::Length)?;
        let mut reader = Reader::new(signed);
        let head = reader.u8().ok_or(EnvelopeError::Length)?;
        if head >> 4 != VERSION || head & 0xf & !WITH_MODEL != 0 {
            return Err(EnvelopeError::Version { found: head });
        }
        let sequence_low = reader.u16().ok_or(EnvelopeError::Length)?;
        let model = match head & WITH_MODEL {
            0 => None,
            _ => Some(ModelId(reader.u32().ok_or(EnvelopeError::Length)?)),
        };
        Ok(Short {
            sequence_low,
            model,
            body: reader.rest,
            tag: *tag,
        })
    }

    /// Checks the tag, in constant time, and hands out the whole envelope.
    ///
    /// # Errors
    /// [`EnvelopeError::Tag`] if the key did not seal this with what is known.
    pub fn open(&self, known: &Known, key: &DeviceKey) -> Result<Envelope<'a>, EnvelopeError> {
        let envelope = Envelope {
            direction: known.direction,
            device: known.device,
            model: self.model.unwrap_or(known.model),
            sequence: whole_sequence(self.sequence_low, known.sequence),
            body: self.body,
        };
        mac(&envelope, key)
            .verify_truncated_left(&self.tag)
            .map_err(|_| EnvelopeError::Tag)?;
        Ok(envelope)
    }
}

/// The number with this low half that is nearest to the newest one: up to 32,768 above, or 32,767 below it.
pub fn whole_sequence(low: u16, newest: u32) -> u32 {
    let ahead = low.wrapping_sub(newest as u16) as i16;
    // The farthest number both ways is taken as ahead: more numbers are skipped than come late.
    let ahead = if ahead == i16::MIN {
        -i32::from(ahead)
    } else {
        i32::from(ahead)
    };
    newest
        .checked_add_signed(ahead)
        .unwrap_or_else(|| newest.wrapping_add(u32::from(low.wrapping_sub(newest as u16))))
}

/// The fragments of a message, each ready for its port, for payloads of `room` bytes.
///
/// `None` if there is no room for a byte, or the message needs more than [`FRAGMENTS_MAX`].
pub fn fragments(
    message: &[u8],
    number: u8,
    room: usize,
) -> Option<impl Iterator<Item = Fragment<'_>>> {
    let part = room
        .checked_sub(PART_OVERHEAD)
        .filter(|&part| part > 0 && !message.is_empty())?;
    let last = message.len().div_ceil(part) - 1;
    if last >= FRAGMENTS_MAX {
        return None;
    }
    let fragment = move |(index, bytes)| Fragment {
        number: number & !ANSWER,
        index,
        last: last as u8,
        bytes,
    };
    Some((0..).zip(message.chunks(part)).map(fragment))
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Number of the message, below 128.
    pub number: u8,
    /// Which part of it.
    pub index: u8,
    /// Which part is the last.
    pub last: u8,
    /// The part.
    pub bytes: &'a [u8],
}

/// The answer to fragments: those that did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Number of the message, below 128.
    pub number: u8,
    /// Bit `i` stands for fragment `i`; none for a message that is whole.
    pub bitmap: u32,
}

/// What comes over the fragments' port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A part of a message of the other end.
    Fragment(Fragment<'a>),
    /// What the other end lacks of ours.
    Missing(Missing),
}

impl<'a> Part<'a> {
    /// Reads what came; `None` if it is neither.
    pub fn decode(payload: &'a [u8]) -> Option<Part<'a>> {
        let mut reader = Reader::new(payload);
        let head = reader.u8()?;
        let number = head & !ANSWER;
        if head & ANSWER != 0 {
            let bitmap = reader.u32()?;
            let missing = Part::Missing(Missing { number, bitmap });
            return reader.rest.is_empty().then_some(missing);
        }
        let (index, last) = (reader.u8()?, reader.u8()?);
        let bytes = reader.rest;
        let is_sound = index <= last && usize::from(last) < FRAGMENTS_MAX && !bytes.is_empty();
        is_sound.then_some(Part::Fragment(Fragment {
            number,
            index,
            last,
            bytes,
        }))
    }

    /// Writes it; answers how many bytes, or `None` for too little room.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        match self {
            Part::Fragment(fragment) => {
                writer.put(&[fragment.number, fragment.index, fragment.last])?;
                writer.put(fragment.bytes)?;
            }
            Part::Missing(missing) => {
                writer.put(&[missing.number | ANSWER])?;
                writer.put(&missing.bitmap.to_le_bytes())?;
            }
        }
        Some(writer.written())
    }
}

/// Puts fragments together, in any order, again and again: one message of up to `N` bytes at a time.
#[derive(Clone, Debug)]
pub struct Assembler<const N: usize> {
    bytes: [u8; N],
    number: Option<u8>,
    last: u8,
    has: u32,
    /// Bytes of every fragment but the last, once one has come.
    part: usize,
    /// Bytes of the last one, which waits at the end of `bytes` until it is known where it belongs.
    tail: usize,
}

impl<const N: usize> Default for Assembler<N> {
    fn default() -> Assembler<N> {
        Assembler::new()
    }
}

impl<const N: usize> Assembler<N> {
    /// Nothing has come yet.
    pub const fn new() -> Assembler<N> {
        Assembler {
            bytes: [0; N],
            number: None,
            last: 0,
            has: 0,
            part: 0,
            tail: 0,
        }
    }

    /// Takes a fragment; the message, if this was the last that it lacked.
    ///
    /// A fragment of another message makes room for that one. A message that is whole is given once.
    pub fn push(&mut self, fragment: Fragment<'_>) -> Option<&[u8]> {
        if self.number != Some(fragment.number) || self.last != fragment.last {
            self.number = Some(fragment.number);
            (self.last, self.has, self.part, self.tail) = (fragment.last, 0, 0, 0);
        }
        let bit = 1 << fragment.index;
        if self.has & bit != 0 {
            return None;
        }
        let len = fragment.bytes.len();
        if fragment.index == fragment.last {
            let at = N.checked_sub(len)?;
            if fragment.last > 0 && self.part * usize::from(fragment.last) > at {
                return None;
            }
            self.bytes[at..].copy_from_slice(fragment.bytes);
            self.tail = len;
        } else {
            if self.part != 0 && self.part != len {
                return None;
            }
            // All of them and the tail must have room, whichever comes first.
            if len * usize::from(fragment.last) > N - self.tail {
                return None;
            }
            self.part = len;
            let at = usize::from(fragment.index) * len;
            self.bytes[at..at + len].copy_from_slice(fragment.bytes);
        }
        self.has |= bit;
        if self.missing()?.bitmap != 0 {
            return None;
        }
        let head = self.part * usize::from(self.last);
        self.bytes.copy_within(N - self.tail.., head);
        Some(&self.bytes[..head + self.tail])
    }

    /// What is lacking of the newest message, for an answer.
    pub fn missing(&self) -> Option<Missing> {
        let all = u32::MAX >> (31 - u32::from(self.last));
        Some(Missing {
            number: self.number?,
            bitmap: all & !self.has,
        })
    }
}

/// Writes a block for its port; `None` for too little room, or a place that this link cannot name.
pub fn encode_block(digest: &[u8; 8], offset: u32, bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    let word = u16::try_from(offset / 4)
        .ok()
        .filter(|_| offset.is_multiple_of(4))?;
    let mut writer = Writer::new(out);
    writer.put(&digest[..1])?;
    writer.put(&word.to_le_bytes())?;
    writer.put(bytes)?;
    Some(writer.written())
}

/// Reads a block of the capsule with this digest: where it belongs, and its bytes.
pub fn decode_block<'a>(digest: &[u8; 8], payload: &'a [u8]) -> Option<(u32, &'a [u8])> {
    let mut reader = Reader::new(payload);
    let is_of = reader.u8()? == digest[0];
    let offset = u32::from(reader.u16()?) * 4;
    (is_of && !reader.rest.is_empty()).then_some((offset, reader.rest))
}

/// Largest payload of a downlink in answer to an uplink at this spreading factor, in EU868 and in US915.
///
/// # Source
/// LoRaWAN Regional Parameters RP002-1.0.4, maximum payload without repeater and with an empty FOpt, the lower of the two
/// regions; with repeater they are the same up to SF8.
pub const fn downlink_bytes_max(spreading_factor: u8) -> usize {
    match spreading_factor {
        0..=8 => 222,
        9 => 115,
        _ => 51,
    }
}

/// Time on air of a frame, in microseconds: explicit header, CRC, preamble of 8 symbols, coding rate 4/5.
///
/// # Units
/// `phy_bytes` counts the whole frame: a LoRaWAN payload and 13 bytes around it. Bandwidth in hertz.
///
/// # Source
/// Semtech, 2013, AN1200.13 "LoRa modem designer's guide", section 4.
pub fn airtime_us(phy_bytes: usize, spreading_factor: u8, bandwidth_hz: u32) -> u64 {
    let factor = i64::from(spreading_factor.clamp(6, 12));
    let bandwidth = i64::from(bandwidth_hz.max(1));
    let symbol_us = (1_000_000 << factor) / bandwidth;
    let slow = i64::from(symbol_us > 16_000);
    let bits = 8 * phy_bytes as i64 - 4 * factor + 28 + 16;
    let blocks = (bits + 4 * (factor - 2 * slow) - 1).div_euclid(4 * (factor - 2 * slow));
    let symbols = 8 + 5 * blocks.max(0);
    // The preamble lasts a quarter of a symbol longer than 12 symbols.
    ((symbol_us * (49 + 4 * symbols)) / 4) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn airtimes_are_those_of_the_designers_guide() {
        // 51 + 13 bytes at SF12, 125 kHz; 23 at SF7 (both by the formula, worked by hand).
        assert_eq!(airtime_us(64, 12, 125_000), 2_793_472);
        assert_eq!(airtime_us(23, 7, 125_000), 61_696);
    }

    #[test]
    fn numbers_are_the_nearest() {
        for (low, newest, whole) in [
            (1, 0, 1),
            (0, 0, 0),
            (0xffff, 0, 0xffff),
            (2, 0xffff, 0x1_0002),
            (0xfffe, 0x1_0002, 0xfffe),
            (5, 0x7_0005, 0x7_0005),
            (0x8005, 0x7_0005, 0x7_8005),
            (0, u32::MAX, 0),
        ] {
            assert_eq!(whole_sequence(low, newest), whole, "{low:#x} {newest:#x}");
        }
    }
}
