//! The checksums of sections, journal records and frames on lines.

/// Bits that the table of CRC-32 takes at a time: 64 bytes of flash on a device, a kilobyte where there is plenty.
const BITS: u32 = if cfg!(target_pointer_width = "64") {
    8
} else {
    4
};

/// Bytes that are taken at a time, each through a table of its own, where there is room for those.
const AT_ONCE: usize = 8;

/// CRC-32 as in IEEE 802.3 and zlib: reflected polynomial 0xedb88320.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32_of(&[bytes])
}

/// CRC-32 of parts that follow each other.
///
/// # Source
/// Eight bytes at a time: Kounavis and Berry, 2005, "A systematic approach to building high performance software-based
/// CRC generators".
pub fn crc32_of(parts: &[&[u8]]) -> u32 {
    const TABLE: [u32; 1 << BITS] = {
        let mut table = [0; 1 << BITS];
        let mut index = 0;
        while index < table.len() {
            let mut crc = index as u32;
            let mut bit = 0;
            while bit < BITS {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xedb8_8320
                } else {
                    crc >> 1
                };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    /// What a byte makes of the sum when so many zeros follow it; used where the table above takes a byte at a time.
    const BEFORE_ZEROS: [[u32; 1 << BITS]; AT_ONCE] = {
        let mut tables = [TABLE; AT_ONCE];
        let mut zeros = 1;
        while zeros < AT_ONCE {
            let mut index = 0;
            while index < TABLE.len() {
                let crc = tables[zeros - 1][index];
                tables[zeros][index] = crc >> BITS ^ TABLE[crc as usize % TABLE.len()];
                index += 1;
            }
            zeros += 1;
        }
        tables
    };
    let step =
        |crc: u32, bits: u8| crc >> BITS ^ TABLE[usize::from(crc as u8 ^ bits) % TABLE.len()];
    let mut crc = !0;
    for &part in parts {
        let mut rest = part;
        if BITS == 8 {
            let (chunks, behind) = part.as_chunks::<AT_ONCE>();
            for chunk in chunks {
                let mixed = u64::from_le_bytes(*chunk) ^ u64::from(crc);
                let tables = BEFORE_ZEROS.iter().rev();
                let bytes = tables.zip(mixed.to_le_bytes());
                crc = bytes.fold(0, |crc, (table, byte)| {
                    crc ^ table[usize::from(byte) % table.len()]
                });
            }
            rest = behind;
        }
        for &byte in rest {
            crc = step(crc, byte);
            if BITS == 4 {
                crc = step(crc, byte >> 4);
            }
        }
    }
    !crc
}

/// CRC-16 as SMP's console wants it: polynomial 0x1021, not reflected, from 0 (XMODEM).
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        let mut crc = crc ^ u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc32_of(&[b"1234", b"", b"56789"]), 0xcbf4_3926);
    }
    #[test]
    fn it_is_that_of_one_bit_after_the_other() {
        let bytes: Vec<u8> = (0..200_u32)
            .map(|index| ((index * index) >> 3) as u8)
            .collect();
        let slow = |bytes: &[u8]| {
            !bytes.iter().fold(!0_u32, |crc, &byte| {
                (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                    (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
                })
            })
        };
        for len in 0..bytes.len() {
            let (whole, cut) = (&bytes[..len], len / 3);
            assert_eq!(crc32(whole), slow(whole), "{len} bytes");
            let parts = [&whole[..cut], &whole[cut..]];
            assert_eq!(crc32_of(&parts), slow(whole), "{cut} of {len} bytes");
        }
    }
}
