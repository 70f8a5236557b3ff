//! Groups of opened envelopes as bytes: how they wait in the store's intake log.
//!
//! ```text
//! offset  bytes
//!  0       1    version 1
//! then, for each envelope, in the order in which they came:
//!  0       1    0 authentic, else why it was dropped: the code of the refusal
//!  1       8    the device; of one that was dropped, the device that it is counted against
//!  9       4    model       (authentic only, as all below)
//! 13       4    sequence number
//! 17       2    length of the frame
//! 19       n    the frame
//! ```
//! All numbers are little-endian. The tag is not kept: it was checked when the envelope came.

use tinyops_store::{DeviceId, ModelId};
use tinyops_wire::Envelope;
use tinyops_wire::envelope::Direction;

use crate::Refusal;

const VERSION: u8 = 1;
const AUTHENTIC: u8 = 0;

/// What is left to do for one envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// An authentic envelope with a known frame.
    Authentic(Envelope<'a>),
    /// One that was dropped, and whom it is counted against.
    Refused(Refusal, DeviceId),
}

/// A group that is being written.
#[derive(Debug)]
pub(crate) struct Entries {
    bytes: Vec<u8>,
    count: usize,
}

impl Entries {
    pub(crate) fn with_capacity(bytes: usize) -> Entries {
        let mut entries = Entries {
            bytes: Vec::with_capacity(bytes + 1),
            count: 0,
        };
        entries.bytes.push(VERSION);
        entries
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds an envelope; false if its frame is longer than the format holds.
    pub(crate) fn put(&mut self, entry: &Entry<'_>) -> bool {
        let bytes = &mut self.bytes;
        match entry {
            Entry::Authentic(envelope) => {
                let Ok(length) = u16::try_from(envelope.body.len()) else {
                    return false;
                };
                bytes.push(AUTHENTIC);
                bytes.extend(envelope.device.0.to_le_bytes());
                bytes.extend(envelope.model.0.to_le_bytes());
                bytes.extend(envelope.sequence.to_le_bytes());
                bytes.extend(length.to_le_bytes());
                bytes.extend_from_slice(envelope.body);
            }
            Entry::Refused(refusal, device) => {
                bytes.push(refusal.code());
                bytes.extend(device.0.to_le_bytes());
            }
        }
        self.count += 1;
        true
    }
}

/// The envelopes of a group; `None` for bytes that no version wrote.
pub(crate) fn read(group: &[u8]) -> Option<Vec<Entry<'_>>> {
    let (&VERSION, mut rest) = group.split_first()? else {
        return None;
    };
    let mut entries = Vec::new();
    while !rest.is_empty() {
        entries.push(take(&mut rest)?);
    }
    Some(entries)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let [kind] = array(rest)?;
    let device = DeviceId(u64::from_le_bytes(array(rest)?));
    if kind != AUTHENTIC {
        return Some(Entry::Refused(Refusal::of_code(kind)?, device));
    }
    let model = ModelId(u32::from_le_bytes(array(rest)?));
    let sequence = u32::from_le_bytes(array(rest)?);
    let length = usize::from(u16::from_le_bytes(array(rest)?));
    let (body, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Entry::Authentic(Envelope {
        direction: Direction::Up,
        device,
        model,
        sequence,
        body,
    }))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_comes_back_as_it_was_and_no_part_of_it_does() {
        let envelope = |sequence, body| {
            Entry::Authentic(Envelope {
                direction: Direction::Up,
                device: DeviceId(u64::MAX - 7),
                model: ModelId(0x0102_0304),
                sequence,
                body,
            })
        };
        let mut all = vec![envelope(u32::MAX, b"frame"), envelope(1, b"")];
        all.extend(Refusal::ALL.map(|refusal| Entry::Refused(refusal, DeviceId(3))));
        let mut entries = Entries::with_capacity(64);
        let mut ends = vec![1];
        for entry in &all {
            assert!(entries.put(entry));
            ends.push(entries.bytes.len());
        }
        assert_eq!(entries.count(), all.len());
        let bytes = entries.into_bytes();
        assert_eq!(read(&bytes).as_ref(), Some(&all));
        for end in 0..bytes.len() {
            let whole = ends.iter().position(|whole| *whole == end);
            let expected = whole.map(|count| all[..count].to_vec());
            assert_eq!(read(&bytes[..end]), expected, "{end}");
        }
        assert_eq!(read(b"\x02"), None, "a later version");
        assert_eq!(
            read(b"\x01\xee\0\0\0\0\0\0\0\0"),
            None,
            "an unknown refusal"
        );
        let long = vec![0; 1 << 16];
        assert!(!Entries::with_capacity(0).put(&envelope(1, &long)));
    }
}
