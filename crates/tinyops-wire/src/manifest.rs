//! The manifest: what a capsule is, in a CBOR map of at most 180 bytes.
//!
//! The claims are those of a SUIT manifest (RFC 9124), without its command sequences: one component,
//! one image. Keys ascend, every key is there, integers and lengths are as short as they can be.
//!
//! ```text
//! key  claim
//!  1   manifest version: 1
//!  2   sequence number: rises with every release, never falls on a device
//!  3   class of the board, text of at most 40 bytes
//!  4   payload digest, 32 bytes
//!  5   payload size in bytes
//!  6   program digest, 32 bytes: of the section PROGRAM
//!  7   model name, text of at most 40 bytes
//!  8   model version
//! ```

use core::fmt;

use minicbor::decode::Decoder;
use minicbor::encode::write::Cursor;
use minicbor::encode::{Encoder, Error};

use crate::Digest;

/// Longest manifest.
pub const MANIFEST_BYTES_MAX: usize = 180;

/// Longest board class and model name, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 40;

const VERSION: u32 = 1;
const CLAIMS: u64 = 8;

/// What a capsule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// Rises with every release; a device refuses one that is not above its last confirmed one.
    pub sequence: u32,
    /// The class of boards that it is for.
    pub board: &'a str,
    /// Digest of the payload.
    pub payload_digest: Digest,
    /// Size of the payload.
    pub payload_bytes: u32,
    /// Digest of the program in it: equal for capsules that differ in thresholds or baseline alone.
    pub program_digest: Digest,
    /// Name of the model.
    pub name: &'a str,
    /// Version of the model in the registry.
    pub version: u32,
}

impl<'a> Manifest<'a> {
    /// Writes the manifest; answers how many bytes.
    ///
    /// # Errors
    /// [`ManifestError::Text`] for a name or class that is too long, [`ManifestError::Length`] for too little room.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, ManifestError> {
        if self.board.len() > TEXT_BYTES_MAX || self.name.len() > TEXT_BYTES_MAX {
            return Err(ManifestError::Text);
        }
        let mut encoder = Encoder::new(Cursor::new(out));
        self.write(&mut encoder)
            .map_err(|_| ManifestError::Length)?;
        Ok(encoder.writer().position())
    }

    fn write<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
    ) -> Result<(), Error<W::Error>> {
        encoder.map(CLAIMS)?;
        encoder.u8(1)?.u32(VERSION)?;
        encoder.u8(2)?.u32(self.sequence)?;
        encoder.u8(3)?.str(self.board)?;
        encoder.u8(4)?.bytes(&self.payload_digest.0)?;
        encoder.u8(5)?.u32(self.payload_bytes)?;
        encoder.u8(6)?.bytes(&self.program_digest.0)?;
        encoder.u8(7)?.str(self.name)?;
        encoder.u8(8)?.u32(self.version)?;
        Ok(())
    }

    /// Reads a manifest from bytes that may be anything.
    ///
    /// # Errors
    /// [`ManifestError`], never a panic. What reads well is also written so: there is one encoding.
    pub fn decode(bytes: &'a [u8]) -> Result<Manifest<'a>, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::Length);
        }
        let manifest = read(bytes)?;
        let mut again = [0; MANIFEST_BYTES_MAX];
        let written = manifest.encode(&mut again)?;
        if again[..written] == *bytes {
            Ok(manifest)
        } else {
            Err(ManifestError::Cbor)
        }
    }
}

fn read(bytes: &[u8]) -> Result<Manifest<'_>, ManifestError> {
    let mut decoder = Decoder::new(bytes);
    let cbor = |_| ManifestError::Cbor;
    if decoder.map().map_err(cbor)? != Some(CLAIMS) {
        return Err(ManifestError::Cbor);
    }
    let mut key = 0;
    let mut next = |decoder: &mut Decoder<'_>| {
        key += 1;
        if decoder.u8().map_err(cbor)? == key {
            Ok(())
        } else {
            Err(ManifestError::Cbor)
        }
    };
    next(&mut decoder)?;
    let version = decoder.u32().map_err(cbor)?;
    if version != VERSION {
        return Err(ManifestError::Version { found: version });
    }
    next(&mut decoder)?;
    let sequence = decoder.u32().map_err(cbor)?;
    next(&mut decoder)?;
    let board = decoder.str().map_err(cbor)?;
    next(&mut decoder)?;
    let payload_digest = digest(&mut decoder)?;
    next(&mut decoder)?;
    let payload_bytes = decoder.u32().map_err(cbor)?;
    next(&mut decoder)?;
    let program_digest = digest(&mut decoder)?;
    next(&mut decoder)?;
    let name = decoder.str().map_err(cbor)?;
    next(&mut decoder)?;
    let version = decoder.u32().map_err(cbor)?;
    Ok(Manifest {
        sequence,
        board,
        payload_digest,
        payload_bytes,
        program_digest,
        name,
        version,
    })
}

fn digest(decoder: &mut Decoder<'_>) -> Result<Digest, ManifestError> {
    let bytes = decoder.bytes().map_err(|_| ManifestError::Cbor)?;
    bytes
        .try_into()
        .map(Digest)
        .map_err(|_| ManifestError::Cbor)
}

/// Why bytes or claims are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestError {
    /// The bytes are not the CBOR of a manifest.
    Cbor,
    /// More than [`MANIFEST_BYTES_MAX`] bytes, or too little room.
    Length,
    /// A name or class is longer than [`TEXT_BYTES_MAX`] bytes.
    Text,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u32,
    },
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManifestError::Cbor => write!(f, "the bytes are not the CBOR of a manifest"),
            ManifestError::Length => {
                write!(f, "a manifest has at most {MANIFEST_BYTES_MAX} bytes")
            }
            ManifestError::Text => {
                write!(
                    f,
                    "a model name or board class has at most {TEXT_BYTES_MAX} bytes"
                )
            }
            ManifestError::Version { found } => write!(f, "manifest version {found} is unknown"),
        }
    }
}

impl core::error::Error for ManifestError {}
