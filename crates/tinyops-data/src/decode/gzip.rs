//! Packed files, unpacked within bounds.

use std::io::Read as _;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::finding::{Code, Finding};

/// Unpacked bytes are bounded by this many times the packed ones: text of readings packs 3 to 10 times, constant
/// columns some 100 times, a bomb 1000 times.
const RATIO_MAX: usize = 200;

/// What any input may unpack to, however small it is.
const BYTES_MIN: usize = 16 << 20;

/// Whether these bytes are gzip by their first two.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Unpacks gzip, several members too. Returns what could be unpacked, and what is wrong with the rest.
pub fn unpack_gzip(bytes: &[u8]) -> (Vec<u8>, Option<Finding>) {
    bounded(MultiGzDecoder::new(bytes), bytes.len())
}

/// Unpacks zlib, as [`unpack_gzip`].
pub(crate) fn unpack_zlib(bytes: &[u8]) -> (Vec<u8>, Option<Finding>) {
    bounded(ZlibDecoder::new(bytes), bytes.len())
}

fn bounded(decoder: impl std::io::Read, packed_bytes: usize) -> (Vec<u8>, Option<Finding>) {
    let most = packed_bytes.saturating_mul(RATIO_MAX).max(BYTES_MIN);
    let mut unpacked = Vec::new();
    let outcome = decoder.take(most as u64 + 1).read_to_end(&mut unpacked);
    if unpacked.len() > most {
        let message = format!("{packed_bytes} packed bytes unpack to more than {most}");
        let finding = Finding::error(Code::TooLarge, message);
        return (
            Vec::new(),
            Some(finding.hint("unpack the file yourself, if it is what it should be")),
        );
    }
    let finding = outcome.err().map(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Code::Truncated,
            _ => Code::Malformed,
        };
        let message = format!(
            "the packed bytes break off after {} unpacked ones: {error}",
            unpacked.len()
        );
        Finding::error(code, message).hint("copy the file again")
    });
    (unpacked, finding)
}

#[cfg(test)]
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes any bytes");
    encoder.finish().expect("memory takes any bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_cut_and_hostile() {
        let bytes: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
        let packed = pack(&bytes);
        assert!(is_gzip(&packed));
        assert_eq!(unpack_gzip(&packed), (bytes.clone(), None));

        let (part, finding) = unpack_gzip(&packed[..packed.len() / 2]);
        assert!(bytes.starts_with(&part));
        assert_eq!(finding.map(|finding| finding.code), Some(Code::Truncated));

        let bomb = pack(&vec![0; 40 << 20]);
        let (part, finding) = unpack_gzip(&bomb);
        assert!(part.is_empty());
        assert_eq!(finding.map(|finding| finding.code), Some(Code::TooLarge));
    }
}
