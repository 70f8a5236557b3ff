//! The capsule: a signed manifest and the payload that it vouches for.
//!
//! ```text
//! offset  bytes
//!  0       4    "TOPC"
//!  4       1    version 1
//!  5       1    number of signatures: 1, the release key's (a director's is apart, see `statement`)
//!  6       2    length of the COSE_Sign1
//!  8       n    COSE_Sign1 (RFC 9052, tag 18): EdDSA, the manifest as its payload
//!  ...          zeros up to a multiple of 16 bytes
//!  ...          the payload (see `payload`)
//! ```

use core::fmt;

use crate::bytes::Reader;
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestError};
use crate::payload::{ALIGN, Payload, PayloadError};
use crate::sign1::{self, Signed};
use crate::{Digest, ModelId, SigningKey, VerifyingKey};

const MAGIC: [u8; 4] = *b"TOPC";
const VERSION: u8 = 1;
const SIGNATURES: u8 = 1;
const HEADER_BYTES: usize = 8;
const COSE_BYTES_MAX: usize = sign1::OVERHEAD + MANIFEST_BYTES_MAX;
/// A capsule has been signed without a context since version 1.
const CONTEXT: [u8; 0] = [];

/// Most bytes of a capsule before its payload.
pub const HEAD_BYTES_MAX: usize = (HEADER_BYTES + COSE_BYTES_MAX).next_multiple_of(ALIGN);

/// A capsule whose signature and digest have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Capsule<'a> {
    /// What it is.
    pub manifest: Manifest<'a>,
    /// Digest of the manifest's bytes.
    pub manifest_digest: Digest,
    /// What is in it.
    pub payload: Payload<'a>,
    /// Where the payload begins.
    pub payload_offset: usize,
}

impl<'a> Capsule<'a> {
    /// Checks a capsule all the way: structure, signature under one of `keys`, payload digest, sections.
    ///
    /// # Errors
    /// [`CapsuleError`], never a panic, whatever the bytes.
    pub fn verify(bytes: &'a [u8], keys: &[VerifyingKey]) -> Result<Capsule<'a>, CapsuleError> {
        Unverified::parse(bytes)?.verify(keys)
    }

    /// The id that this model's reports carry.
    pub fn model(&self) -> ModelId {
        ModelId::of(&self.manifest_digest)
    }
}

/// A capsule taken apart, which nobody has vouched for yet.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a> {
    /// What it claims to be.
    pub manifest: Manifest<'a>,
    signed: Signed<'a>,
    payload_bytes: &'a [u8],
    payload_offset: usize,
}

impl<'a> Unverified<'a> {
    /// Takes a capsule apart; bytes after its payload are refused.
    ///
    /// # Errors
    /// [`CapsuleError`], never a panic.
    pub fn parse(bytes: &'a [u8]) -> Result<Unverified<'a>, CapsuleError> {
        let mut reader = Reader::new(bytes);
        if reader.array() != Some(MAGIC) {
            return Err(CapsuleError::Magic);
        }
        let [version, signatures] = reader.array().ok_or(CapsuleError::Length)?;
        if version != VERSION || signatures != SIGNATURES {
            return Err(CapsuleError::Version { found: version });
        }
        let cose_bytes = usize::from(reader.u16().ok_or(CapsuleError::Length)?);
        let cose = reader.take(cose_bytes).ok_or(CapsuleError::Length)?;
        let signed = Signed::read::<COSE_BYTES_MAX>(cose).ok_or(CapsuleError::Cose)?;
        let manifest = Manifest::decode(signed.payload).map_err(CapsuleError::Manifest)?;
        let payload_offset = (HEADER_BYTES + cose_bytes).next_multiple_of(ALIGN);
        let padding = reader.take(payload_offset - HEADER_BYTES - cose_bytes);
        if padding
            .ok_or(CapsuleError::Length)?
            .iter()
            .any(|&byte| byte != 0)
        {
            return Err(CapsuleError::Cose);
        }
        let payload_bytes = reader.rest;
        if payload_bytes.len() != manifest.payload_bytes as usize {
            return Err(CapsuleError::Length);
        }
        Ok(Unverified {
            manifest,
            signed,
            payload_bytes,
            payload_offset,
        })
    }

    /// The id that its reports would carry.
    pub fn model(&self) -> ModelId {
        ModelId::of(&self.manifest_digest())
    }

    /// The bytes that the manifest should be of.
    pub fn payload(&self) -> &'a [u8] {
        self.payload_bytes
    }

    /// Digest of the manifest's bytes, which a director's statement names.
    pub fn manifest_digest(&self) -> Digest {
        Digest::of(self.signed.payload)
    }

    /// Checks the signature, then the payload's digest, then its sections.
    ///
    /// # Errors
    /// [`CapsuleError::Signature`], [`CapsuleError::Digest`] or [`CapsuleError::Payload`].
    pub fn verify(self, keys: &[VerifyingKey]) -> Result<Capsule<'a>, CapsuleError> {
        if !self.signed.is_by::<SIGNED_BYTES_MAX>(&CONTEXT, keys) {
            return Err(CapsuleError::Signature);
        }
        self.verify_payload()
    }

    /// Checks all but the signature, for a capsule that was verified under a key of its time and is known by its
    /// digest since.
    ///
    /// # Errors
    /// [`CapsuleError::Digest`] or [`CapsuleError::Payload`].
    pub fn verify_payload(self) -> Result<Capsule<'a>, CapsuleError> {
        if Digest::of(self.payload_bytes) != self.manifest.payload_digest {
            return Err(CapsuleError::Digest);
        }
        Ok(Capsule {
            manifest: self.manifest,
            manifest_digest: self.manifest_digest(),
            payload: Payload::parse(self.payload_bytes).map_err(CapsuleError::Payload)?,
            payload_offset: self.payload_offset,
        })
    }
}

/// Writes a signed capsule of at most `payload.len() + HEAD_BYTES_MAX` bytes; answers how many.
///
/// The manifest's payload digest and size are taken from `payload`, whatever it says.
///
/// # Errors
/// [`CapsuleError::Manifest`] or [`CapsuleError::Payload`] if either is not sound, [`CapsuleError::Length`] for too little room.
pub fn encode(
    manifest: &Manifest<'_>,
    payload: &[u8],
    key: &SigningKey,
    out: &mut [u8],
) -> Result<usize, CapsuleError> {
    encode_with(manifest, payload, |message| Ok(key.sign(message)), out)
}

/// As [`encode`], for a key that is not here: `sign` answers with the Ed25519 signature over the bytes it is given.
///
/// # Errors
/// As [`encode`], and those of `sign`. Whether the signature is right is not looked at: verify what comes out.
pub fn encode_with<E: From<CapsuleError>>(
    manifest: &Manifest<'_>,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
    out: &mut [u8],
) -> Result<usize, E> {
    Payload::parse(payload).map_err(CapsuleError::Payload)?;
    let payload_bytes = u32::try_from(payload.len()).map_err(|_| CapsuleError::Length)?;
    let payload_digest = Digest::of(payload);
    let mut manifest_bytes = [0; MANIFEST_BYTES_MAX];
    let manifest_len = Manifest {
        payload_bytes,
        payload_digest,
        ..*manifest
    }
    .encode(&mut manifest_bytes)
    .map_err(CapsuleError::Manifest)?;
    let manifest_bytes = &manifest_bytes[..manifest_len];
    let mut message = [0; SIGNED_BYTES_MAX];
    let message_len =
        sign1::to_sign(&CONTEXT, manifest_bytes, &mut message).ok_or(CapsuleError::Cose)?;
    let signed = Signed {
        payload: manifest_bytes,
        signature: sign(&message[..message_len])?,
    };
    let mut cose = [0; COSE_BYTES_MAX];
    let cose_len = signed.write(&mut cose).ok_or(CapsuleError::Cose)?;
    let payload_offset = (HEADER_BYTES + cose_len).next_multiple_of(ALIGN);
    let out = out
        .get_mut(..payload_offset + payload.len())
        .ok_or(CapsuleError::Length)?;
    out.fill(0);
    out[..4].copy_from_slice(&MAGIC);
    out[4..6].copy_from_slice(&[VERSION, SIGNATURES]);
    out[6..8].copy_from_slice(&(cose_len as u16).to_le_bytes());
    out[HEADER_BYTES..][..cose_len].copy_from_slice(&cose[..cose_len]);
    out[payload_offset..].copy_from_slice(payload);
    Ok(out.len())
}

/// Room for the `Sig_structure` of a manifest of the largest size.
const SIGNED_BYTES_MAX: usize = sign1::SIGNED_OVERHEAD + CONTEXT.len() + MANIFEST_BYTES_MAX;

/// Why bytes are not a capsule to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CapsuleError {
    /// What holds the manifest is not a COSE_Sign1 with EdDSA.
    Cose,
    /// The payload is not the one that was signed.
    Digest,
    /// Too few bytes, bytes left over, or too little room.
    Length,
    /// The bytes begin otherwise.
    Magic,
    /// The manifest is not sound.
    Manifest(ManifestError),
    /// The payload is not sound.
    Payload(PayloadError),
    /// None of the keys has signed it.
    Signature,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u8,
    },
}

impl fmt::Display for CapsuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CapsuleError::Cose => write!(f, "the manifest is not in a COSE_Sign1 with EdDSA"),
            CapsuleError::Digest => write!(f, "the payload is not the one that was signed"),
            CapsuleError::Length => write!(f, "the bytes and the capsule differ in length"),
            CapsuleError::Magic => write!(f, "the bytes are not a capsule"),
            CapsuleError::Manifest(_) => write!(f, "the capsule's manifest is not sound"),
            CapsuleError::Payload(_) => write!(f, "the capsule's payload is not sound"),
            CapsuleError::Signature => write!(f, "no known key has signed the capsule"),
            CapsuleError::Version { found } => write!(f, "capsule version {found} is unknown"),
        }
    }
}

impl core::error::Error for CapsuleError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            CapsuleError::Manifest(source) => Some(source),
            CapsuleError::Payload(source) => Some(source),
            _ => None,
        }
    }
}
