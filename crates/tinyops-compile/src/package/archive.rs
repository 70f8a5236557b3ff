//! A package as one file.

use std::collections::BTreeMap;

use tinyops_wire::crc::crc32;

/// 1 January 1980, midnight: the least that the format can say. A package knows no other time.
const DATE: u16 = 1 << 5 | 1;
/// Every reader of archives reads what version 2.0 says.
const VERSION: u16 = 20;
/// Made on Unix, where the upper half of the attributes holds the permissions.
const MADE_BY: u16 = 3 << 8 | VERSION;
/// A file that all may read and its owner write.
const ATTRIBUTES: u32 = 0o100_644 << 16;

/// Writes files into a ZIP archive under a top folder (none for an empty name), in order of their paths, not compressed.
///
/// The same files give the same bytes. Paths are ASCII, and the archive is shorter than 4 GiB: what a microcontroller's flash
/// holds, and the sources for it, are.
///
/// # Source
/// PKWARE, APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.
pub(super) fn zip(folder: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (path, bytes) in files {
        let name = if folder.is_empty() {
            path.clone()
        } else {
            format!("{folder}/{path}")
        };
        let offset = len32(&out);
        let len = len32(bytes);
        let mut shared = Vec::new();
        put16(&mut shared, VERSION);
        put16(&mut shared, 0); // Flags.
        put16(&mut shared, 0); // Stored.
        put16(&mut shared, 0); // Midnight.
        put16(&mut shared, DATE);
        put32(&mut shared, crc32(bytes));
        put32(&mut shared, len);
        put32(&mut shared, len);
        put16(&mut shared, len16(&name));
        put16(&mut shared, 0); // No extra field.

        put32(&mut out, 0x0403_4b50);
        out.extend(&shared);
        out.extend(name.as_bytes());
        out.extend(bytes);

        put32(&mut directory, 0x0201_4b50);
        put16(&mut directory, MADE_BY);
        directory.extend(&shared);
        put16(&mut directory, 0); // No comment.
        put16(&mut directory, 0); // The first disk.
        put16(&mut directory, 0); // Internal attributes.
        put32(&mut directory, ATTRIBUTES);
        put32(&mut directory, offset);
        directory.extend(name.as_bytes());
    }
    let (begin, len) = (len32(&out), len32(&directory));
    let count = u16::try_from(files.len()).expect("a package has some hundred files");
    out.extend(&directory);
    put32(&mut out, 0x0605_4b50);
    put32(&mut out, 0); // One disk.
    put16(&mut out, count);
    put16(&mut out, count);
    put32(&mut out, len);
    put32(&mut out, begin);
    put16(&mut out, 0); // No comment.
    out
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend(value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

fn len32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a package is shorter than 4 GiB")
}

fn len16(name: &str) -> u16 {
    u16::try_from(name.len()).expect("paths are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_of_one_file_is_as_the_format_says() {
        let files = BTreeMap::from([("a.txt".to_owned(), b"hello".to_vec())]);
        let bytes = zip("top", &files);
        // Local header, 30 bytes, name and content; directory entry, 46 bytes, and name; end, 22 bytes.
        assert_eq!(bytes.len(), 30 + 9 + 5 + 46 + 9 + 22);
        assert_eq!(&bytes[..4], b"PK\x03\x04");
        assert_eq!(&bytes[30..44], b"top/a.txthello");
        // CRC-32 of `hello`, as `crc32` of any archiver says it.
        assert_eq!(bytes[14..18], 0x3610_a686u32.to_le_bytes());
        assert_eq!(&bytes[44..48], b"PK\x01\x02");
        assert_eq!(bytes[bytes.len() - 6..][..4], 44u32.to_le_bytes());
    }
}
