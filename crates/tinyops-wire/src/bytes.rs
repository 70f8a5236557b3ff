//! Little-endian reading and writing over borrowed bytes, shared by the formats of this crate.

/// The unread rest of some bytes; every read answers `None` at their end.
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn f32(&mut self) -> Option<f32> {
        self.array().map(f32::from_le_bytes)
    }

    /// A zigzag varint: seven bits a byte, least significant first, at most ten bytes.
    pub(crate) fn varint(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }
}

/// The room not written yet; every write answers `None` when there is too little.
pub(crate) struct Writer<'a> {
    rest: &'a mut [u8],
    written: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Writer<'a> {
        Writer {
            rest: out,
            written: 0,
        }
    }

    pub(crate) fn written(&self) -> usize {
        self.written
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let (head, rest) = core::mem::take(&mut self.rest).split_at_mut_checked(bytes.len())?;
        head.copy_from_slice(bytes);
        self.rest = rest;
        self.written += bytes.len();
        Some(())
    }

    pub(crate) fn varint(&mut self, value: i64) -> Option<()> {
        let (bytes, count) = varint(value);
        self.put(&bytes[..count])
    }
}

/// The bytes of a zigzag varint and how many there are.
pub(crate) fn varint(value: i64) -> ([u8; 10], usize) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = [0; 10];
    let mut count = 0;
    loop {
        let bits = (rest & 0x7f) as u8;
        rest >>= 7;
        bytes[count] = if rest == 0 { bits } else { bits | 0x80 };
        count += 1;
        if rest == 0 {
            return (bytes, count);
        }
    }
}

/// Bits one after the other, least significant first.
pub(crate) struct BitWriter<'a> {
    bytes: &'a mut [u8],
    position: usize,
}

impl<'a> BitWriter<'a> {
    /// Over bytes that are all zero.
    pub(crate) fn new(bytes: &'a mut [u8]) -> BitWriter<'a> {
        BitWriter { bytes, position: 0 }
    }

    /// Adds the low `count` bits; the caller has made room.
    pub(crate) fn put(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            let is_set = (value >> bit & 1) as u8;
            self.bytes[self.position / 8] |= is_set << (self.position % 8);
            self.position += 1;
        }
    }
}

/// What [`BitWriter`] wrote.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, position: 0 }
    }

    /// The next `count` bits, 32 at most; the caller has checked that they are there.
    #[inline]
    pub(crate) fn take(&mut self, count: u32) -> u32 {
        let (first, shift) = (self.position / 8, self.position % 8);
        self.position += count as usize;
        let bytes = self.bytes[first..self.position.div_ceil(8)].iter().rev();
        let word = bytes.fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
        (word >> shift & ((1 << count) - 1)) as u32
    }
}
