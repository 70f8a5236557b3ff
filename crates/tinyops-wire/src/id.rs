//! Names of things: a digest for bytes, four bytes for a model, eight for a device, milliseconds for a moment.

use core::fmt;
use core::str::FromStr;

use sha2::{Digest as _, Sha256};

/// The SHA-256 of some bytes, which is their name everywhere in TinyOps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes `bytes` in one go.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The first `N` bytes, for places that cannot carry all 32.
    pub fn prefix<const N: usize>(&self) -> [u8; N] {
        const { assert!(N <= 32, "a digest has 32 bytes") };
        let mut head = [0; N];
        head.copy_from_slice(&self.0[..N]);
        head
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Digest, IdError> {
        parse_hex(text).map(Digest)
    }
}

/// Hashes bytes that arrive in pieces.
#[derive(Clone, Default)]
pub struct DigestBuilder(Sha256);

impl DigestBuilder {
    /// Starts with no bytes.
    pub fn new() -> DigestBuilder {
        DigestBuilder::default()
    }

    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything appended.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Which model made a prediction: the first four bytes of its capsule manifest's digest, little-endian.
///
/// Shown as eight hex digits, the same that open the digest when that is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(pub u32);

impl ModelId {
    /// The id that belongs to a manifest digest.
    pub fn of(manifest: &Digest) -> ModelId {
        ModelId(u32::from_le_bytes(manifest.prefix()))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0.swap_bytes())
    }
}

impl FromStr for ModelId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<ModelId, IdError> {
        parse_hex(text).map(|bytes| ModelId(u32::from_le_bytes(bytes)))
    }
}

/// One device, for life. Shown as 16 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u64);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<DeviceId, IdError> {
        parse_hex(text).map(|bytes| DeviceId(u64::from_be_bytes(bytes)))
    }
}

/// A moment: milliseconds since the start of 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This moment, `ms` milliseconds later (earlier if negative), at the ends of time if it would leave them.
    pub fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment.
    pub fn ms_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// The text has another number of hex digits than the id.
    Length {
        /// Digits that the id has.
        expected: usize,
        /// Bytes that the text has.
        found: usize,
    },
    /// A character is not a hex digit.
    NotHex {
        /// Where, counted in bytes from 0.
        index: usize,
    },
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdError::Length { expected, found } => {
                write!(
                    f,
                    "an id of {expected} hex digits, but the text has {found}"
                )
            }
            IdError::NotHex { index } => write!(f, "character {index} is not a hex digit"),
        }
    }
}

impl core::error::Error for IdError {}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return Err(IdError::Length {
            expected: 2 * N,
            found: text.len(),
        });
    }
    let mut bytes = [0; N];
    for (index, &character) in text.iter().enumerate() {
        let digit = match character {
            b'0'..=b'9' => character - b'0',
            b'a'..=b'f' => character - b'a' + 10,
            b'A'..=b'F' => character - b'A' + 10,
            _ => return Err(IdError::NotHex { index }),
        };
        bytes[index / 2] = bytes[index / 2] << 4 | digit;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_id_reads_like_the_start_of_its_digest() {
        let digest = Digest::of(b"abc");
        assert_eq!(
            digest.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let model = ModelId::of(&digest);
        assert_eq!(model.to_string(), "ba7816bf");
        assert_eq!("ba7816bf".parse(), Ok(model));
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn ids_are_read_strictly() {
        assert_eq!("00000000000000ff".parse(), Ok(DeviceId(255)));
        assert_eq!(DeviceId(255).to_string(), "00000000000000ff");
        assert_eq!(
            "ff".parse::<DeviceId>(),
            Err(IdError::Length {
                expected: 16,
                found: 2
            })
        );
        assert_eq!(
            "0000000g".parse::<ModelId>(),
            Err(IdError::NotHex { index: 7 })
        );
    }

    #[test]
    fn a_digest_in_pieces_is_the_digest_of_the_whole() {
        let mut builder = DigestBuilder::new();
        builder.update(b"a");
        builder.update(b"bc");
        assert_eq!(builder.finish(), Digest::of(b"abc"));
    }
}
