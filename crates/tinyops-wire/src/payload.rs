//! The payload of a capsule: sections with ids, read in place.
//!
//! ```text
//! offset  bytes
//!  0       4    "TOPP"
//!  4       2    version 1
//!  6       2    number of sections
//!  8       16   per section, ids ascending: id u16, zero u16, offset u32, length u32, CRC-32 u32
//!  ...          each section at a multiple of 16 bytes from the start, zeros between
//! ```

use core::fmt;
use core::ops::Range;

use crate::bytes::{Reader, Writer};
use crate::crc::crc32;

/// Where every section begins: a multiple of this many bytes.
pub const ALIGN: usize = 16;

/// Most sections of a payload.
pub const SECTIONS_MAX: usize = 16;

const MAGIC: [u8; 4] = *b"TOPP";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 8;
const ENTRY_BYTES: usize = 16;

/// What a section holds; its format is in [`crate::section`] and `docs/formats/capsule.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum SectionId {
    /// What makes the scores, as `tinyops_nn::Program` reads it: a plan (`docs/formats/plan.md`) or a distance.
    Program = 1,
    /// Settings of the front end, as `tinyops_dsp::FrontEnd::encode` writes them.
    FrontEnd = 2,
    /// Means and inverse spreads of the features.
    Scaler = 3,
    /// Names of the classes.
    Labels = 4,
    /// What training saw, as `tinyops_sketch::Baseline::encode` writes it.
    Baseline = 5,
    /// Task, body and thresholds.
    Decision = 6,
    /// Inputs with the outputs that the device must reproduce.
    Golden = 7,
    /// What the readings were measured in, as far as it is known; left out where nothing is.
    Sensor = 8,
    /// What the factory's windows say of a head, as `tinyops_nn::head::Prior` writes it; left out where devices do not
    /// solve heads of their own.
    Prior = 9,
    /// Where the factory's embeddings lie, as `tinyops_nn::EmbeddingDistance` writes it; left out where the baseline does
    /// not watch them.
    Embedding = 10,
}

/// A payload whose structure has been checked: every section lies inside and has the right CRC.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    bytes: &'a [u8],
    section_count: usize,
}

impl<'a> Payload<'a> {
    /// Checks bytes that may be anything.
    ///
    /// # Errors
    /// [`PayloadError`], never a panic.
    pub fn parse(bytes: &'a [u8]) -> Result<Payload<'a>, PayloadError> {
        let mut reader = Reader::new(bytes);
        if reader.array() != Some(MAGIC) {
            return Err(PayloadError::Magic);
        }
        let version = reader.u16().ok_or(PayloadError::Length)?;
        if version != VERSION {
            return Err(PayloadError::Version { found: version });
        }
        let section_count = usize::from(reader.u16().ok_or(PayloadError::Length)?);
        if section_count > SECTIONS_MAX {
            return Err(PayloadError::Sections);
        }
        let payload = Payload {
            bytes,
            section_count,
        };
        let mut end = HEADER_BYTES + ENTRY_BYTES * section_count;
        let mut last_id = 0;
        for index in 0..section_count {
            let entry = payload.entry(index).ok_or(PayloadError::Length)?;
            if entry.id <= last_id
                || !entry.range.start.is_multiple_of(ALIGN)
                || entry.range.start < end
            {
                return Err(PayloadError::Sections);
            }
            let section = bytes.get(entry.range.clone()).ok_or(PayloadError::Length)?;
            if crc32(section) != entry.crc {
                return Err(PayloadError::Crc { id: entry.id });
            }
            (last_id, end) = (entry.id, entry.range.end);
        }
        if end == bytes.len() {
            Ok(payload)
        } else {
            Err(PayloadError::Length)
        }
    }

    /// The bytes of a section, if the payload has it.
    pub fn section(&self, id: SectionId) -> Option<&'a [u8]> {
        self.bytes.get(self.section_range(id)?)
    }

    /// Where a section lies in the payload.
    pub fn section_range(&self, id: SectionId) -> Option<Range<usize>> {
        let entries = (0..self.section_count).filter_map(|index| self.entry(index));
        entries
            .into_iter()
            .find(|entry| entry.id == id as u16)
            .map(|entry| entry.range)
    }

    /// All bytes of the payload.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn entry(&self, index: usize) -> Option<Entry> {
        let mut reader = Reader::new(self.bytes.get(HEADER_BYTES + ENTRY_BYTES * index..)?);
        let (id, zero) = (reader.u16()?, reader.u16()?);
        let (offset, length) = (reader.u32()? as usize, reader.u32()? as usize);
        let range = offset..offset.checked_add(length)?;
        (zero == 0).then_some(Entry {
            id,
            range,
            crc: reader.u32()?,
        })
    }
}

struct Entry {
    id: u16,
    range: Range<usize>,
    crc: u32,
}

/// Bytes that [`encode`] writes for sections of these lengths.
pub fn encoded_len(section_lens: impl ExactSizeIterator<Item = usize>) -> usize {
    let head = HEADER_BYTES + ENTRY_BYTES * section_lens.len();
    section_lens.fold(head, |end, len| end.next_multiple_of(ALIGN) + len)
}

/// Writes a payload of these sections, in ascending order of their ids; answers how many bytes.
///
/// # Errors
/// [`PayloadError::Sections`] if ids do not ascend or are too many, [`PayloadError::Length`] if `out`
/// is shorter than [`encoded_len`].
pub fn encode(sections: &[(SectionId, &[u8])], out: &mut [u8]) -> Result<usize, PayloadError> {
    if sections.len() > SECTIONS_MAX || !sections.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(PayloadError::Sections);
    }
    let total = encoded_len(sections.iter().map(|(_, bytes)| bytes.len()));
    let out = out.get_mut(..total).ok_or(PayloadError::Length)?;
    u32::try_from(total).map_err(|_| PayloadError::Length)?;
    out.fill(0);
    write(sections, out).ok_or(PayloadError::Length)?;
    Ok(total)
}

fn write(sections: &[(SectionId, &[u8])], out: &mut [u8]) -> Option<()> {
    let (head, _) = out.split_at_mut_checked(HEADER_BYTES + ENTRY_BYTES * sections.len())?;
    let mut end = head.len();
    let mut head = Writer::new(head);
    head.put(&MAGIC)?;
    head.put(&VERSION.to_le_bytes())?;
    head.put(&(sections.len() as u16).to_le_bytes())?;
    for (id, bytes) in sections {
        let offset = end.next_multiple_of(ALIGN);
        head.put(&(*id as u16).to_le_bytes())?;
        head.put(&[0, 0])?;
        head.put(&(offset as u32).to_le_bytes())?;
        head.put(&(bytes.len() as u32).to_le_bytes())?;
        head.put(&crc32(bytes).to_le_bytes())?;
        end = offset + bytes.len();
    }
    end = HEADER_BYTES + ENTRY_BYTES * sections.len();
    for (_, bytes) in sections {
        let offset = end.next_multiple_of(ALIGN);
        end = offset + bytes.len();
        out.get_mut(offset..end)?.copy_from_slice(bytes);
    }
    Some(())
}

/// Why bytes are not a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// A section does not have the bytes that it was written with.
    Crc {
        /// Id of the section.
        id: u16,
    },
    /// Too few bytes, bytes left over, or too little room.
    Length,
    /// The bytes begin otherwise.
    Magic,
    /// Sections overlap, repeat, are out of order or too many.
    Sections,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u16,
    },
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadError::Crc { id } => write!(f, "section {id} is damaged"),
            PayloadError::Length => write!(f, "the bytes and the payload differ in length"),
            PayloadError::Magic => write!(f, "the bytes are not a capsule payload"),
            PayloadError::Sections => write!(f, "sections overlap, repeat or are out of order"),
            PayloadError::Version { found } => write!(f, "payload version {found} is unknown"),
        }
    }
}

impl core::error::Error for PayloadError {}
