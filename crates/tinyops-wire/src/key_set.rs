//! The key set: who may say what is a valid model, and who may say what a device shall run; signed by root keys.
//!
//! It replaces the one before it whole: a key that is not in it signs nothing any more. It is a COSE_Sign (RFC 9052,
//! tag 98) with one signature per root key, in the order of the keys' ids, at most 391 bytes; each signs
//! `["Signature", h'', h'a10127', 'tinyops key set', payload]`, the payload being
//!
//! ```text
//! key  claim
//!  1   key set version: 1
//!  2   sequence number: rises with every key set
//!  3   release keys: one or two of 32 bytes
//!  4   director keys: one or two of 32 bytes
//! ```
//! Each signature's unprotected header is `{4: id}`, with the id of the root key that made it.

use core::fmt;

use minicbor::data::Tag;
use minicbor::decode::Decoder;
use minicbor::encode::write::Cursor;
use minicbor::encode::{Encoder, Error, Write};

use crate::key::KeyId;
use crate::sign1::PROTECTED;
use crate::{SigningKey, VerifyingKey};

/// Most keys of one role: two while one replaces the other.
pub const ROLE_KEYS_MAX: usize = 2;

/// Most root keys, and so most signatures.
pub const ROOT_KEYS_MAX: usize = 3;

/// Longest signed key set.
pub const KEY_SET_BYTES_MAX: usize =
    2 + 1 + 1 + 1 + 2 + CLAIMS_BYTES_MAX + 1 + ROOT_KEYS_MAX * SIGNATURE_BYTES;

const TAG: Tag = Tag::new(98);
const CONTEXT: &[u8] = b"tinyops key set";
const CLAIMS_BYTES_MAX: usize = 1 + 2 + 6 + 2 * (2 + ROLE_KEYS_MAX * 34);
/// Array, protected header, unprotected header, signature.
const SIGNATURE_BYTES: usize = 1 + 4 + 7 + 66;
/// Room for what each root key signs.
pub const MESSAGE_BYTES_MAX: usize = 1 + 10 + 1 + 4 + 1 + CONTEXT.len() + 2 + CLAIMS_BYTES_MAX;
const VERSION: u32 = 1;
const CLAIMS: u64 = 4;
const HEADER_KEY_ID: u8 = 4;

/// One or two keys of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleKeys {
    keys: [VerifyingKey; ROLE_KEYS_MAX],
    count: usize,
}

impl RoleKeys {
    /// A single key.
    pub fn one(key: VerifyingKey) -> RoleKeys {
        RoleKeys {
            keys: [key; 2],
            count: 1,
        }
    }

    /// Two keys, while one replaces the other; a key given twice counts once.
    pub fn two(first: VerifyingKey, second: VerifyingKey) -> RoleKeys {
        RoleKeys {
            keys: [first, second],
            count: if first == second { 1 } else { 2 },
        }
    }

    /// The keys.
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys[..self.count]
    }
}

/// Who may sign what, until a newer one comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// Rises with every key set; a device refuses one that is not above its own.
    pub sequence: u32,
    /// Who says what is a valid model.
    pub release: RoleKeys,
    /// Who says what a device shall run now.
    pub director: RoleKeys,
}

/// Who may sign key sets: at most [`ROOT_KEYS_MAX`] keys, and how many of them it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roots {
    keys: [Option<VerifyingKey>; ROOT_KEYS_MAX],
    threshold: u8,
}

impl Roots {
    /// Root keys, of which `threshold` have to sign; a key given twice counts once.
    ///
    /// `None` if there are none or more than [`ROOT_KEYS_MAX`], or fewer than the threshold, or the threshold is 0.
    pub fn new(keys: &[VerifyingKey], threshold: u8) -> Option<Roots> {
        let mut roots = Roots {
            keys: [None; ROOT_KEYS_MAX],
            threshold,
        };
        let mut count = 0;
        for key in keys {
            if !roots.keys().any(|known| known == *key) {
                *roots.keys.get_mut(count)? = Some(*key);
                count += 1;
            }
        }
        (threshold > 0 && usize::from(threshold) <= count).then_some(roots)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = VerifyingKey> {
        self.keys.into_iter().flatten()
    }

    /// How many of them have to sign.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }
}

/// A signature over a key set and the root key that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootSignature {
    /// Which root key.
    pub key: KeyId,
    /// Its signature.
    pub signature: [u8; 64],
}

impl RootSignature {
    /// Signs a key set's claims.
    ///
    /// # Errors
    /// [`KeySetError::Length`]: never for a sound key set.
    pub fn new(set: &KeySet, key: &SigningKey) -> Result<RootSignature, KeySetError> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let message_len = set.to_sign(&mut message)?;
        Ok(RootSignature {
            key: key.verifying_key().id(),
            signature: key.sign(&message[..message_len]),
        })
    }
}

impl KeySet {
    /// Writes what every root key signs; answers how many bytes.
    ///
    /// # Errors
    /// [`KeySetError::Length`] for room of fewer than [`MESSAGE_BYTES_MAX`] bytes.
    pub fn to_sign(&self, out: &mut [u8]) -> Result<usize, KeySetError> {
        let mut claims = [0; CLAIMS_BYTES_MAX];
        let claims_len = self.write(&mut claims).ok_or(KeySetError::Length)?;
        to_sign(&claims[..claims_len], out).ok_or(KeySetError::Length)
    }

    /// Writes the key set with its signatures, in the order of their keys' ids; answers how many bytes, at most
    /// [`KEY_SET_BYTES_MAX`].
    ///
    /// # Errors
    /// [`KeySetError::Length`] for too little room, no signature or too many, [`KeySetError::Cose`] for two by one key.
    pub fn encode(
        &self,
        signatures: &[RootSignature],
        out: &mut [u8],
    ) -> Result<usize, KeySetError> {
        let mut claims = [0; CLAIMS_BYTES_MAX];
        let claims_len = self.write(&mut claims).ok_or(KeySetError::Length)?;
        let mut list = Signatures::default();
        for signature in signatures {
            list.insert(*signature)?;
        }
        if list.count == 0 {
            return Err(KeySetError::Length);
        }
        write_cose(&claims[..claims_len], list.as_slice(), out).ok_or(KeySetError::Length)
    }

    fn write(&self, out: &mut [u8]) -> Option<usize> {
        fn write<W: Write>(set: &KeySet, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
            encoder.map(CLAIMS)?;
            encoder.u8(1)?.u32(VERSION)?;
            encoder.u8(2)?.u32(set.sequence)?;
            for (name, role) in [(3, &set.release), (4, &set.director)] {
                encoder.u8(name)?.array(role.count as u64)?;
                for key in role.keys() {
                    encoder.bytes(&key.to_bytes())?;
                }
            }
            Ok(())
        }
        let mut encoder = Encoder::new(Cursor::new(out));
        write(self, &mut encoder).ok()?;
        Some(encoder.writer().position())
    }
}

/// A key set taken apart, which nobody has vouched for yet.
#[derive(Clone, Copy, Debug)]
pub struct SignedKeySet<'a> {
    /// Who it says may sign what.
    pub set: KeySet,
    claims: &'a [u8],
    signatures: Signatures,
}

impl<'a> SignedKeySet<'a> {
    /// Takes a signed key set apart, from bytes that may be anything.
    ///
    /// # Errors
    /// [`KeySetError`], never a panic. There is one encoding of a key set and its signatures.
    pub fn parse(bytes: &'a [u8]) -> Result<SignedKeySet<'a>, KeySetError> {
        let (claims, signatures) = read_cose(bytes).ok_or(KeySetError::Cose)?;
        let mut again = [0; KEY_SET_BYTES_MAX];
        let written =
            write_cose(claims, signatures.as_slice(), &mut again).ok_or(KeySetError::Cose)?;
        if again[..written] != *bytes {
            return Err(KeySetError::Cose);
        }
        let set = read(claims)?;
        let written = set.write(&mut again).ok_or(KeySetError::Cbor)?;
        if again[..written] != *claims {
            return Err(KeySetError::Cbor);
        }
        Ok(SignedKeySet {
            set,
            claims,
            signatures,
        })
    }

    /// The signatures, whoever made them.
    pub fn signatures(&self) -> &[RootSignature] {
        self.signatures.as_slice()
    }

    /// How many of the root keys have signed it.
    pub fn count_signed(&self, roots: &Roots) -> u8 {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let Some(written) = to_sign(self.claims, &mut message) else {
            return 0;
        };
        let has_signed = |key: &VerifyingKey| {
            let mut signatures = self.signatures.as_slice().iter();
            signatures.any(|found| {
                found.key == key.id() && key.verifies(&message[..written], &found.signature)
            })
        };
        // Every root key is asked once, so that no key counts twice, whatever ids the signatures bear.
        roots.keys().filter(has_signed).count() as u8
    }

    /// Checks that enough root keys have signed it.
    ///
    /// # Errors
    /// [`KeySetError::Signatures`].
    pub fn verify(&self, roots: &Roots) -> Result<KeySet, KeySetError> {
        let found = self.count_signed(roots);
        let needed = roots.threshold;
        if found < needed {
            return Err(KeySetError::Signatures { found, needed });
        }
        Ok(self.set)
    }
}

/// Signatures in the order of their keys' ids, one a key.
#[derive(Clone, Copy, Debug)]
struct Signatures {
    list: [RootSignature; ROOT_KEYS_MAX],
    count: usize,
}

impl Default for Signatures {
    fn default() -> Signatures {
        let none = RootSignature {
            key: KeyId([0; 4]),
            signature: [0; 64],
        };
        Signatures {
            list: [none; ROOT_KEYS_MAX],
            count: 0,
        }
    }
}

impl Signatures {
    fn as_slice(&self) -> &[RootSignature] {
        &self.list[..self.count]
    }

    fn insert(&mut self, new: RootSignature) -> Result<(), KeySetError> {
        if self.as_slice().iter().any(|known| known.key == new.key) {
            return Err(KeySetError::Cose);
        }
        let place = self.list.get_mut(self.count).ok_or(KeySetError::Length)?;
        *place = new;
        self.count += 1;
        self.list[..self.count].sort_unstable_by_key(|signature| signature.key);
        Ok(())
    }
}

/// What a root key signs: the `Sig_structure` of RFC 9052, section 4.4, with the body's protected header empty.
fn to_sign(claims: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut encoder = Encoder::new(Cursor::new(out));
    encoder.array(5).ok()?.str("Signature").ok()?;
    encoder.bytes(&[]).ok()?.bytes(&PROTECTED).ok()?;
    encoder.bytes(CONTEXT).ok()?.bytes(claims).ok()?;
    Some(encoder.writer().position())
}

fn write_cose(claims: &[u8], signatures: &[RootSignature], out: &mut [u8]) -> Option<usize> {
    let mut encoder = Encoder::new(Cursor::new(out));
    encoder.tag(TAG).ok()?.array(4).ok()?;
    encoder.bytes(&[]).ok()?.map(0).ok()?.bytes(claims).ok()?;
    encoder.array(signatures.len() as u64).ok()?;
    for signature in signatures {
        encoder.array(3).ok()?.bytes(&PROTECTED).ok()?;
        encoder.map(1).ok()?.u8(HEADER_KEY_ID).ok()?;
        encoder.bytes(&signature.key.0).ok()?;
        encoder.bytes(&signature.signature).ok()?;
    }
    Some(encoder.writer().position())
}

/// Claims and signatures; what is not as `write_cose` writes it is found by writing again.
fn read_cose(bytes: &[u8]) -> Option<(&[u8], Signatures)> {
    let mut decoder = Decoder::new(bytes);
    if decoder.tag().ok()? != TAG || decoder.array().ok()? != Some(4) {
        return None;
    }
    decoder.bytes().ok()?;
    decoder.map().ok()?;
    let claims = decoder.bytes().ok()?;
    let count = decoder.array().ok()??;
    let mut signatures = Signatures::default();
    if count == 0 || count > ROOT_KEYS_MAX as u64 {
        return None;
    }
    for _ in 0..count {
        decoder.array().ok()?;
        decoder.bytes().ok()?;
        decoder.map().ok()?;
        decoder.u8().ok()?;
        let signature = RootSignature {
            key: KeyId(decoder.bytes().ok()?.try_into().ok()?),
            signature: decoder.bytes().ok()?.try_into().ok()?,
        };
        signatures.insert(signature).ok()?;
    }
    Some((claims, signatures))
}

fn read(bytes: &[u8]) -> Result<KeySet, KeySetError> {
    let cbor = |_| KeySetError::Cbor;
    let mut decoder = Decoder::new(bytes);
    if decoder.map().map_err(cbor)? != Some(CLAIMS) || decoder.u8().map_err(cbor)? != 1 {
        return Err(KeySetError::Cbor);
    }
    let version = decoder.u32().map_err(cbor)?;
    if version != VERSION {
        return Err(KeySetError::Version { found: version });
    }
    decoder.u8().map_err(cbor)?;
    let sequence = decoder.u32().map_err(cbor)?;
    decoder.u8().map_err(cbor)?;
    let release = read_role(&mut decoder)?;
    decoder.u8().map_err(cbor)?;
    let director = read_role(&mut decoder)?;
    Ok(KeySet {
        sequence,
        release,
        director,
    })
}

fn read_role(decoder: &mut Decoder<'_>) -> Result<RoleKeys, KeySetError> {
    let cbor = |_| KeySetError::Cbor;
    let count = decoder.array().map_err(cbor)?.ok_or(KeySetError::Cbor)?;
    let mut next = || {
        let bytes = decoder.bytes().map_err(cbor)?;
        let bytes = bytes.try_into().map_err(|_| KeySetError::Cbor)?;
        VerifyingKey::from_bytes(bytes).map_err(|_| KeySetError::Key)
    };
    match count {
        1 => Ok(RoleKeys::one(next()?)),
        2 => Ok(RoleKeys::two(next()?, next()?)),
        _ => Err(KeySetError::Cbor),
    }
}

/// Why bytes are not a key set to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySetError {
    /// What is signed is not the CBOR of a key set.
    Cbor,
    /// The bytes are not a COSE_Sign with EdDSA, one signature a key.
    Cose,
    /// One of its keys is none, or one under which anybody can sign.
    Key,
    /// Too little room, or too few or too many signatures.
    Length,
    /// Too few of the root keys have signed it.
    Signatures {
        /// How many have.
        found: u8,
        /// How many it takes.
        needed: u8,
    },
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u32,
    },
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySetError::Cbor => write!(f, "what is signed is not the CBOR of a key set"),
            KeySetError::Cose => write!(f, "the key set is not in a COSE_Sign with EdDSA"),
            KeySetError::Key => write!(f, "the key set holds an unsound public key"),
            KeySetError::Length => write!(f, "the key set has one to {ROOT_KEYS_MAX} signatures"),
            KeySetError::Signatures { found, needed } => {
                write!(f, "{found} of {needed} root signatures that it takes")
            }
            KeySetError::Version { found } => write!(f, "key set version {found} is unknown"),
        }
    }
}

impl core::error::Error for KeySetError {}
