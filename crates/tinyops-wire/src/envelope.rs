//! The envelope: who says it, about which model, in which order, and proof of it.
//!
//! ```text
//! offset  bytes
//!  0       1    version 1; bit 7 set on the way down to the device
//!  1       8    device id
//!  9       4    model id (the model that runs; 0 for none)
//! 13       4    sequence number, rising by at least 1 in each direction
//! 17       n    body: a frame on the way up, a downlink message on the way down
//! 17 + n   8    HMAC-SHA-256 over all the above under the device's key, its first 8 bytes
//! ```

use core::fmt;

use hmac::Mac;

use crate::bytes::{Reader, Writer};
use crate::{DeviceId, DeviceKey, ModelId};

/// Bytes around a body.
pub const OVERHEAD: usize = BODY_OFFSET + TAG_BYTES;

/// Where the body begins.
pub const BODY_OFFSET: usize = 17;

const TAG_BYTES: usize = 8;
const VERSION: u8 = 1;
const DOWN: u8 = 0x80;

/// A message and its sender, authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Which way it goes; a report cannot be sent back as a command.
    pub direction: Direction,
    /// The device that sends or receives it.
    pub device: DeviceId,
    /// The model that runs on the device.
    pub model: ModelId,
    /// Rises with every envelope of one device and direction; a lower or equal one is a replay.
    pub sequence: u32,
    /// A frame or a downlink message.
    pub body: &'a [u8],
}

/// Which way an envelope goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a device to its server.
    Up,
    /// From the server to a device.
    Down,
}

impl Envelope<'_> {
    /// Writes the envelope and its tag; answers how many bytes.
    ///
    /// # Errors
    /// [`EnvelopeError::Length`] if `out` has no room for the body and [`OVERHEAD`].
    pub fn seal(&self, key: &DeviceKey, out: &mut [u8]) -> Result<usize, EnvelopeError> {
        let body = out
            .get_mut(BODY_OFFSET..)
            .and_then(|rest| rest.get_mut(..self.body.len()));
        body.ok_or(EnvelopeError::Length)?
            .copy_from_slice(self.body);
        self.seal_in_place(self.body.len(), key, out)
    }

    /// Seals a body that already lies at [`BODY_OFFSET`] in `out`, where there is no room for a copy of it.
    ///
    /// The body of the envelope itself is not looked at.
    ///
    /// # Errors
    /// [`EnvelopeError::Length`] if `out` has no room for `body_bytes` and [`OVERHEAD`].
    pub fn seal_in_place(
        &self,
        body_bytes: usize,
        key: &DeviceKey,
        out: &mut [u8],
    ) -> Result<usize, EnvelopeError> {
        let total = body_bytes
            .checked_add(OVERHEAD)
            .ok_or(EnvelopeError::Length)?;
        let out = out.get_mut(..total).ok_or(EnvelopeError::Length)?;
        let head = Envelope { body: &[], ..*self };
        head.write(&mut Writer::new(out))
            .ok_or(EnvelopeError::Length)?;
        let (signed, tag) = out.split_at_mut(BODY_OFFSET + body_bytes);
        tag.copy_from_slice(&key.mac(&[signed]).finalize().into_bytes()[..TAG_BYTES]);
        Ok(total)
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let down = if self.direction == Direction::Down {
            DOWN
        } else {
            0
        };
        out.put(&[VERSION | down])?;
        out.put(&self.device.0.to_le_bytes())?;
        out.put(&self.model.0.to_le_bytes())?;
        out.put(&self.sequence.to_le_bytes())
    }
}

/// An envelope as it arrives: it says who sent it, and shows the rest only to who has the key.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    envelope: Envelope<'a>,
    signed: &'a [u8],
    tag: [u8; TAG_BYTES],
}

impl<'a> Sealed<'a> {
    /// Takes bytes that may be anything apart into an envelope that nobody has checked yet.
    ///
    /// # Errors
    /// [`EnvelopeError::Length`] or [`EnvelopeError::Version`].
    pub fn parse(bytes: &'a [u8]) -> Result<Sealed<'a>, EnvelopeError> {
        let (signed, tag) = bytes.split_last_chunk().ok_or(EnvelopeError::Length)?;
        let mut reader = Reader::new(signed);
        let version = reader.u8().ok_or(EnvelopeError::Length)?;
        if version & !DOWN != VERSION {
            return Err(EnvelopeError::Version {
                found: version & !DOWN,
            });
        }
        let direction = if version & DOWN == 0 {
            Direction::Up
        } else {
            Direction::Down
        };
        let envelope = read(direction, &mut reader).ok_or(EnvelopeError::Length)?;
        Ok(Sealed {
            envelope,
            signed,
            tag: *tag,
        })
    }

    /// The device that it claims to be from, or for: all that the choice of a key needs.
    pub fn device(&self) -> DeviceId {
        self.envelope.device
    }

    /// What it says, which nobody has checked: for who has no key and passes on, or withholds, what others will judge.
    pub fn claim(&self) -> Envelope<'a> {
        self.envelope
    }

    /// Checks the tag, in constant time, and hands out what is inside.
    ///
    /// # Errors
    /// [`EnvelopeError::Tag`] if the key did not seal these bytes, [`EnvelopeError::Direction`] if they go the other way.
    pub fn open(
        &self,
        key: &DeviceKey,
        direction: Direction,
    ) -> Result<Envelope<'a>, EnvelopeError> {
        key.mac(&[self.signed])
            .verify_truncated_left(&self.tag)
            .map_err(|_| EnvelopeError::Tag)?;
        if self.envelope.direction != direction {
            return Err(EnvelopeError::Direction);
        }
        Ok(self.envelope)
    }
}

fn read<'a>(direction: Direction, reader: &mut Reader<'a>) -> Option<Envelope<'a>> {
    Some(Envelope {
        direction,
        device: DeviceId(reader.u64()?),
        model: ModelId(reader.u32()?),
        sequence: reader.u32()?,
        body: reader.rest,
    })
}

/// Why bytes are not an envelope, or not from who they claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// It goes the other way.
    Direction,
    /// Too few bytes, or too little room.
    Length,
    /// The key did not seal these bytes.
    Tag,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u8,
    },
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnvelopeError::Direction => write!(f, "the envelope goes the other way"),
            EnvelopeError::Length => write!(f, "too few bytes for an envelope"),
            EnvelopeError::Tag => write!(f, "the tag does not belong to the device's key"),
            EnvelopeError::Version { found } => write!(f, "envelope version {found} is unknown"),
        }
    }
}

impl core::error::Error for EnvelopeError {}
