//! Moving a capsule in blocks: named by digest and offset, asked for by bitmap, over any link.
//!
//! The device asks; whoever has the bytes (server, gateway, file) answers with blocks in any order. A
//! block names the capsule by the first eight bytes of its digest, so a late block of another
//! transfer lands nowhere. Nothing here is trusted: the whole is checked against the digest at the end.

use crate::Digest;
use crate::bytes::{Reader, Writer};
use crate::frame::{VERSION, kind};

/// Blocks that one request can ask for.
pub const REQUEST_BLOCKS: u32 = 32;

/// How many blocks of `block_bytes` a link carries in one of its messages, with room for `room` bytes of a capsule; at least 1.
pub const fn blocks_joined(room: usize, block_bytes: u16) -> u16 {
    if block_bytes == 0 {
        return 1;
    }
    let whole = room / block_bytes as usize;
    let most = (u16::MAX / block_bytes) as usize;
    match if whole < most { whole } else { most } {
        0 => 1,
        joined => joined as u16,
    }
}

/// Blocks of a capsule that a device lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRequest {
    /// First eight bytes of the capsule's digest.
    pub digest: [u8; 8],
    /// Offset of the first block of the bitmap, in bytes.
    pub offset: u32,
    /// Bytes of every block but the last of the capsule.
    pub block_bytes: u16,
    /// Bit `i` asks for the block at `offset + i * block_bytes`.
    pub wanted: u32,
}

impl BlockRequest {
    /// Offsets of the blocks asked for, ascending.
    pub fn offsets(self) -> impl Iterator<Item = u32> {
        (0..REQUEST_BLOCKS)
            .filter(move |bit| self.wanted >> bit & 1 == 1)
            .filter_map(move |bit| {
                self.offset
                    .checked_add(bit.checked_mul(u32::from(self.block_bytes))?)
            })
    }

    /// The answer to this request: every block asked for, cut out of the whole capsule.
    pub fn cut(self, capsule: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
        self.offsets().filter_map(move |offset| {
            let rest = capsule.get(offset as usize..)?;
            let block = &rest[..rest.len().min(usize::from(self.block_bytes))];
            (!block.is_empty()).then_some((offset, block))
        })
    }

    /// Whether the request is about the capsule of this digest.
    pub fn is_of(&self, capsule: &Digest) -> bool {
        self.digest == capsule.prefix()
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<BlockRequest> {
        Some(BlockRequest {
            digest: reader.array()?,
            offset: reader.u32()?,
            block_bytes: reader.u16()?,
            wanted: reader.u32()?,
        })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.put(&[kind::BLOCK_REQUEST | VERSION << 4])?;
        out.put(&self.digest)?;
        out.put(&self.offset.to_le_bytes())?;
        out.put(&self.block_bytes.to_le_bytes())?;
        out.put(&self.wanted.to_le_bytes())
    }
}

/// Which blocks have arrived, one bit each, in memory lent by the caller.
#[derive(Debug)]
pub struct BlockMap<'a> {
    bits: &'a mut [u8],
    total_bytes: u32,
    block_bytes: u16,
}

impl<'a> BlockMap<'a> {
    /// A map over `bits` as they are: cleared for a new transfer, or kept from an interrupted one.
    ///
    /// `None` if the map is too small for the blocks, or a block has no bytes.
    pub fn new(bits: &'a mut [u8], total_bytes: u32, block_bytes: u16) -> Option<BlockMap<'a>> {
        if block_bytes == 0 {
            return None;
        }
        let map = BlockMap {
            bits,
            total_bytes,
            block_bytes,
        };
        (map.block_count() as usize <= 8 * map.bits.len()).then_some(map)
    }

    /// Blocks in all.
    pub fn block_count(&self) -> u32 {
        self.total_bytes.div_ceil(u32::from(self.block_bytes))
    }

    /// The index of the block at `offset` if one of `len` bytes belongs there.
    pub fn index_of(&self, offset: u32, len: usize) -> Option<u32> {
        let block_bytes = u32::from(self.block_bytes);
        let expected = block_bytes.min(self.total_bytes.checked_sub(offset)?);
        let fits = offset.is_multiple_of(block_bytes) && expected > 0 && len == expected as usize;
        fits.then_some(offset / block_bytes)
    }

    /// Whether a block has arrived.
    pub fn has(&self, index: u32) -> bool {
        self.bits[index as usize / 8] >> (index % 8) & 1 == 1
    }

    /// Notes that a block has arrived.
    pub fn set(&mut self, index: u32) {
        self.bits[index as usize / 8] |= 1 << (index % 8);
    }

    /// How many blocks a request brings that have not arrived.
    pub fn missing_of(&self, request: &BlockRequest) -> u32 {
        let block_bytes = u32::from(self.block_bytes);
        let joined = u32::from(request.block_bytes) / block_bytes;
        let blocks = request.offsets().flat_map(|offset| {
            let first = offset / block_bytes;
            first..self.block_count().min(first + joined)
        });
        blocks.filter(|&index| !self.has(index)).count() as u32
    }

    /// The first blocks that have not arrived, as a request; `None` when all have.
    pub fn request(&self, digest: &Digest) -> Option<BlockRequest> {
        self.request_joined(digest, 1)
    }

    /// The same for a link that carries `joined` blocks in one: bit `i` asks for `joined` blocks if one of them is missing.
    ///
    /// Blocks of a map stay as small as the narrowest link needs them, so that a transfer goes on over any other.
    ///
    /// # Panics
    /// If `joined` is 0, or so many blocks have more than 65,535 bytes.
    pub fn request_joined(&self, digest: &Digest, joined: u16) -> Option<BlockRequest> {
        assert!(joined > 0, "a block of the link is some blocks of the map");
        let bytes = joined
            .checked_mul(self.block_bytes)
            .expect("a block of the link has fewer than 65,536 bytes");
        let joined = u32::from(joined);
        let first = (0..self.block_count()).find(|&index| !self.has(index))?;
        let end = self.block_count().min(first + REQUEST_BLOCKS * joined);
        let wanted = (first..end)
            .filter(|&index| !self.has(index))
            .fold(0, |wanted, index| wanted | 1 << ((index - first) / joined));
        Some(BlockRequest {
            digest: digest.prefix(),
            offset: first * u32::from(self.block_bytes),
            block_bytes: bytes,
            wanted,
        })
    }
}
