//! Keys: one secret per device for its reports, one pair per signer for what devices are given.

use core::fmt;

use ed25519_dalek::Signer;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Digest;

/// The secret that a device shares with its server. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceKey(pub [u8; 32]);

impl DeviceKey {
    /// Seed of the dither in this device's summaries, which its server takes away again.
    pub fn dither_seed(&self) -> u64 {
        let tag = self.mac(&[b"tinyops dither"]).finalize().into_bytes();
        u64::from_le_bytes(core::array::from_fn(|index| tag[index]))
    }

    pub(crate) fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(secret)")
    }
}

/// Signs capsules, statements or key sets (Ed25519). Shown nowhere.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key that grows from 32 secret random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> SigningKey {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Its public half, which devices carry.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key().to_bytes())
    }

    /// Signs what one of [`crate::capsule`], [`crate::statement`] and [`crate::key_set`] says is to be signed.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(secret)")
    }
}

/// Checks signatures (Ed25519, strict).
///
/// It holds the 32 bytes alone, as a device has several and little memory; the point is found anew for every
/// signature, which is a tenth of the work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`KeyError`] for bytes that are no point of the curve, for the few points of small order (all zeros among
    /// them) under which anybody can sign, and for a second encoding of a point that has a canonical one.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<VerifyingKey, KeyError> {
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        // RFC 8032, 5.1.3: the first 255 bits are less than the field's prime. Of the 19 that are not, those
        // that are points and not weak would be a second name of the same key.
        let is_canonical = bytes[0] < 0xed
            || bytes[1..31].iter().any(|&byte| byte != 0xff)
            || bytes[31] & 0x7f != 0x7f;
        if !is_canonical {
            return Err(KeyError::NotCanonical);
        }
        Ok(VerifyingKey(*bytes))
    }

    /// The 32 bytes of the key.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// What a key is called where 32 bytes are too many: the first four bytes of their SHA-256.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(&self.0).prefix())
    }

    /// Whether the key's other half has signed this message.
    ///
    /// Strict: RFC 8032 without cofactor, a scalar below the group's order, a first half of the signature that
    /// is canonical and not of small order.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        ed25519_dalek::VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.id())
    }
}

/// The first four bytes of the SHA-256 of a public key: enough to tell one signer's few keys apart, and no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why bytes are not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// They are no point of the curve.
    NotAPoint,
    /// They are another encoding of a point than the canonical one.
    NotCanonical,
    /// The point has a small order: anybody could sign.
    Weak,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::NotAPoint => "the bytes are not an Ed25519 public key",
            KeyError::NotCanonical => {
                "the bytes are not the canonical encoding of an Ed25519 public key"
            }
            KeyError::Weak => "the Ed25519 public key has a small order, so anybody could sign",
        })
    }
}

impl core::error::Error for KeyError {}
