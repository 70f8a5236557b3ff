//! Enrolment: how a device that made its own key becomes one of its server's, in one request and one answer.
//!
//! The device makes an X25519 key pair and sends the public half; the server answers with a public half that it made
//! for this answer alone. Both derive the same envelope key, which never travels and which nobody else can derive. What
//! lets a device in is shown beside it ([`Proof`]); that the answer is the server's, a director key has signed.
//!
//! ```text
//! request                                             answer
//!  0   1   version 1                                   0   1   version 1; bit 7 set
//!  1   1   proof: 1 token, 2 claim, 3 operator         1  32   server's public key (X25519)
//!  2   4   number of the device's key set             33   8   device id
//!  6   8   id that the device asks for; 0 for any     41   4   the device's uplink numbers begin here
//! 14  32   device's public key (X25519)               45   2   length k of a key set, 0 for none
//! 46  16   nonce                                      47   k   the server's signed key set
//! 62   1   length n of the board's class               .  64   Ed25519 signature of a director
//! 63   n   board's class                               .  16   seal
//!  .   8   token: its id
//!  .  16   token: tag
//!  .   2   claim: length m of its certificate
//!  .   m   claim: certificate
//!  .  64   claim: Ed25519 signature by the key in it
//! ```
//! `docs/formats/enrolment.md` says what tags, signatures and the seal cover, and how keys are derived.

use core::fmt;
use core::str::FromStr;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use x25519_dalek::{PublicKey as Point, SharedSecret, StaticSecret};

use crate::bytes::{Reader, Writer};
use crate::claim::{CLAIM_BYTES_MAX, ClaimError, SignedClaim};
use crate::key_set::{KEY_SET_BYTES_MAX, KeySetError, Roots, SignedKeySet};
use crate::manifest::TEXT_BYTES_MAX;
use crate::{DeviceId, DeviceKey, Digest, KeySet, SigningKey, VerifyingKey};

/// Longest request.
pub const REQUEST_BYTES_MAX: usize = BOARD_OFFSET + TEXT_BYTES_MAX + 2 + CLAIM_BYTES_MAX + 64;
/// Longest answer.
pub const ANSWER_BYTES_MAX: usize = KEY_SET_OFFSET + KEY_SET_BYTES_MAX + 64 + TAG_BYTES;

const VERSION: u8 = 1;
const DOWN: u8 = 0x80;
const TOKEN: u8 = 1;
const CLAIM: u8 = 2;
const OPERATOR: u8 = 3;
const BOARD_OFFSET: usize = 63;
const KEY_SET_OFFSET: usize = 47;
const TAG_BYTES: usize = 16;

const REQUEST_CONTEXT: &[u8] = b"tinyops enrolment request 1";
const ANSWER_CONTEXT: &[u8] = b"tinyops enrolment answer 1";
const TOKEN_CONTEXT: &[u8] = b"tinyops class token 1";
const DEVICE_KEY_CONTEXT: &[u8] = b"tinyops device key 1";
const SEAL_CONTEXT: &[u8] = b"tinyops enrolment seal 1";

/// What a director signs of an answer: context, digest of the request, and the answer up to its signature.
const SIGNED_BYTES_MAX: usize = ANSWER_CONTEXT.len() + 32 + KEY_SET_OFFSET + KEY_SET_BYTES_MAX;

/// The private half of the X25519 pair that one side makes for one enrolment. Shown nowhere.
#[derive(Clone)]
pub struct EnrolmentSecret(StaticSecret);

impl EnrolmentSecret {
    /// The key of 32 secret random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> EnrolmentSecret {
        EnrolmentSecret(StaticSecret::from(bytes))
    }

    /// The 32 bytes again: a device keeps them until the answer has come.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(Point::from(&self.0).to_bytes())
    }

    /// The secret that both sides share.
    fn agree(&self, other: &PublicKey) -> Result<SharedSecret, EnrolmentError> {
        let shared = self.0.diffie_hellman(&Point::from(other.0));
        // A point of small order makes the same secret, zero, with everybody.
        match shared.was_contributory() {
            true => Ok(shared),
            false => Err(EnrolmentError::PublicKey),
        }
    }
}

impl fmt::Debug for EnrolmentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrolmentSecret(secret)")
    }
}

/// The public half of such a pair, in its one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`EnrolmentError::PublicKey`] for a second encoding of a point: RFC 7748 would read it, and the same key would
    /// have two names. Points of small order are found when a secret is made with them.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<PublicKey, EnrolmentError> {
        // Less than the prime 2^255 - 19, which is 0x7f, 0xff thirty times, 0xed.
        let is_canonical = bytes[31] & 0x80 == 0
            && (bytes[31] != 0x7f
                || bytes[1..31].iter().any(|&byte| byte != 0xff)
                || bytes[0] < 0xed);
        match is_canonical {
            true => Ok(PublicKey(bytes)),
            false => Err(EnrolmentError::PublicKey),
        }
    }

    /// The 32 bytes of the key.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }
}

/// What lets devices of a class in: an id that is no secret, and a secret. As text, `tinyops_class_` and 80 hex digits.
#[derive(Clone, PartialEq, Eq)]
pub struct ClassToken {
    /// Which token.
    pub id: TokenId,
    secret: [u8; 32],
}

/// What class tokens begin with, so that one is known where it should not be.
pub const CLASS_TOKEN_PREFIX: &str = "tinyops_class_";

impl ClassToken {
    /// The token of these random bytes.
    pub fn new(id: TokenId, secret: [u8; 32]) -> ClassToken {
        ClassToken { id, secret }
    }

    /// The key that proves it, which is all that a server keeps: the token itself cannot be found from it.
    pub fn key(&self) -> TokenKey {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &self.secret)
            .expand_multi_info(&[TOKEN_CONTEXT, &self.id.0.to_le_bytes()], &mut key)
            .expect("32 bytes are few enough");
        TokenKey(key)
    }

    /// The secret, for whoever puts the token on its devices.
    pub fn secret(&self) -> [u8; 32] {
        self.secret
    }

    /// The text that its holder is given, which shows the secret.
    pub fn text(&self) -> impl fmt::Display + '_ {
        struct Text<'a>(&'a ClassToken);
        impl fmt::Display for Text<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{CLASS_TOKEN_PREFIX}{}", self.0.id)?;
                let mut bytes = self.0.secret.iter();
                bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        Text(self)
    }
}

impl FromStr for ClassToken {
    type Err = EnrolmentError;

    fn from_str(text: &str) -> Result<ClassToken, EnrolmentError> {
        let digits = text.trim().strip_prefix(CLASS_TOKEN_PREFIX);
        let (id, secret) = digits
            .and_then(|digits| digits.split_at_checked(16))
            .ok_or(EnrolmentError::TokenText)?;
        let secret: Digest = secret.parse().map_err(|_| EnrolmentError::TokenText)?;
        Ok(ClassToken::new(id.parse()?, secret.0))
    }
}

impl fmt::Debug for ClassToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClassToken({}, secret)", self.id)
    }
}

/// The name of a class token. Shown as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TokenId {
    type Err = EnrolmentError;

    fn from_str(text: &str) -> Result<TokenId, EnrolmentError> {
        let id: DeviceId = text.parse().map_err(|_| EnrolmentError::TokenText)?;
        Ok(TokenId(id.0))
    }
}

/// What proves a class token without showing it. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey(pub [u8; 32]);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(secret)")
    }
}

/// What a device asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Number of the key set that it goes by.
    pub key_set: u32,
    /// The id that it asks for, if it has one, such as a DevEUI; otherwise it is given one.
    pub device: Option<DeviceId>,
    /// Its public key.
    pub public: PublicKey,
    /// Random bytes.
    pub nonce: [u8; 16],
    /// Class of its board, 1 to 40 bytes.
    pub board: &'a str,
}

/// What lets a device in.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// A class token.
    Token(&'a ClassToken),
    /// A claim certificate, and the private half of the key that it names.
    Claim {
        /// The certificate.
        certificate: &'a [u8],
        /// The key.
        key: &'a SigningKey,
    },
    /// Nothing: an operator carries the request to the server and vouches for it.
    Operator,
}

impl Request<'_> {
    /// Writes the request with its proof; answers how many bytes, at most [`REQUEST_BYTES_MAX`].
    ///
    /// # Errors
    /// [`EnrolmentError::Length`] for too little room, a board's class that is empty or too long, or a
    /// certificate that is too long.
    pub fn encode(&self, proof: Proof<'_>, out: &mut [u8]) -> Result<usize, EnrolmentError> {
        let mut writer = Writer::new(out);
        self.write(proof, &mut writer)
            .ok_or(EnrolmentError::Length)?;
        let signed_len = writer.written();
        let (signed, rest) = out.split_at_mut(signed_len);
        let tag_len = match proof {
            Proof::Token(token) => {
                let tag = request_tag(&token.key(), signed).finalize().into_bytes();
                let room = rest.get_mut(..TAG_BYTES).ok_or(EnrolmentError::Length)?;
                room.copy_from_slice(&tag[..TAG_BYTES]);
                TAG_BYTES
            }
            Proof::Claim { key, .. } => {
                let mut message = [0; REQUEST_CONTEXT.len() + REQUEST_BYTES_MAX];
                let message = joined(&[REQUEST_CONTEXT, signed], &mut message)
                    .ok_or(EnrolmentError::Length)?;
                let room = rest.get_mut(..64).ok_or(EnrolmentError::Length)?;
                room.copy_from_slice(&key.sign(message));
                64
            }
            Proof::Operator => 0,
        };
        Ok(signed_len + tag_len)
    }

    /// All that tag or signature cover.
    fn write(&self, proof: Proof<'_>, out: &mut Writer<'_>) -> Option<()> {
        if self.board.is_empty() || self.board.len() > TEXT_BYTES_MAX {
            return None;
        }
        let kind = match proof {
            Proof::Token(_) => TOKEN,
            Proof::Claim { .. } => CLAIM,
            Proof::Operator => OPERATOR,
        };
        out.put(&[VERSION, kind])?;
        out.put(&self.key_set.to_le_bytes())?;
        out.put(&self.device.unwrap_or_default().0.to_le_bytes())?;
        out.put(&self.public.0)?;
        out.put(&self.nonce)?;
        out.put(&[self.board.len() as u8])?;
        out.put(self.board.as_bytes())?;
        match proof {
            Proof::Token(token) => out.put(&token.id.0.to_le_bytes()),
            Proof::Claim { certificate, .. } if certificate.len() <= CLAIM_BYTES_MAX => {
                out.put(&(certificate.len() as u16).to_le_bytes())?;
                out.put(certificate)
            }
            Proof::Claim { .. } => None,
            Proof::Operator => Some(()),
        }
    }
}

/// What a request shows, which nobody has checked yet.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// That its sender knows a class token.
    Token(TokenId),
    /// That its sender has the key of a claim.
    Claim(SignedClaim<'a>),
    /// Nothing.
    Nothing,
}

/// A request as it arrives: it says what it wants, and proves it to who has the token's key.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// What it asks for.
    pub request: Request<'a>,
    /// What it shows.
    pub shown: Shown<'a>,
    bytes: &'a [u8],
    signed: &'a [u8],
    proof: &'a [u8],
}

impl<'a> Received<'a> {
    /// Takes a request apart, from bytes that may be anything.
    ///
    /// # Errors
    /// [`EnrolmentError`], never a panic. There is one encoding of a request.
    pub fn parse(bytes: &'a [u8]) -> Result<Received<'a>, EnrolmentError> {
        let length = || EnrolmentError::Length;
        let mut reader = Reader::new(bytes);
        let version = reader.u8().ok_or_else(length)?;
        if version != VERSION {
            return Err(EnrolmentError::Version { found: version });
        }
        let kind = reader.u8().ok_or_else(length)?;
        let key_set = reader.u32().ok_or_else(length)?;
        let device = DeviceId(reader.u64().ok_or_else(length)?);
        let public = PublicKey::from_bytes(reader.array().ok_or_else(length)?)?;
        let nonce = reader.array().ok_or_else(length)?;
        let board_len = reader.u8().ok_or_else(length)?;
        let board = reader.take(board_len.into()).ok_or_else(length)?;
        let board = core::str::from_utf8(board).map_err(|_| EnrolmentError::Board)?;
        if board.is_empty() || board.len() > TEXT_BYTES_MAX {
            return Err(EnrolmentError::Board);
        }
        let (shown, proof_len) = match kind {
            TOKEN => (
                Shown::Token(TokenId(reader.u64().ok_or_else(length)?)),
                TAG_BYTES,
            ),
            CLAIM => {
                let claim_len = reader.u16().ok_or_else(length)?;
                let claim = reader.take(claim_len.into()).ok_or_else(length)?;
                (Shown::Claim(SignedClaim::parse(claim)?), 64)
            }
            OPERATOR => (Shown::Nothing, 0),
            found => return Err(EnrolmentError::Proof { found }),
        };
        let proof = reader.rest;
        if proof.len() != proof_len {
            return Err(EnrolmentError::Length);
        }
        Ok(Received {
            request: Request {
                key_set,
                device: (device != DeviceId(0)).then_some(device),
                public,
                nonce,
                board,
            },
            shown,
            bytes,
            signed: &bytes[..bytes.len() - proof_len],
            proof,
        })
    }

    /// The request's name: the same bytes are the same request.
    pub fn digest(&self) -> Digest {
        Digest::of(self.bytes)
    }

    /// Whether whoever made the request knows the class token of this key; compared in constant time.
    pub fn is_by_token(&self, key: &TokenKey) -> bool {
        matches!(self.shown, Shown::Token(_))
            && request_tag(key, self.signed)
                .verify_truncated_left(self.proof)
                .is_ok()
    }

    /// Whether whoever made the request has the key that its claim names. Whether an authority has signed the claim is
    /// for [`SignedClaim::is_by`] to say.
    pub fn is_by_claimed_key(&self) -> bool {
        let Shown::Claim(claim) = &self.shown else {
            return false;
        };
        let mut message = [0; REQUEST_CONTEXT.len() + REQUEST_BYTES_MAX];
        let message = joined(&[REQUEST_CONTEXT, self.signed], &mut message);
        let signature = self.proof.try_into();
        match (message, signature) {
            (Some(message), Ok(signature)) => claim.claim.key.verifies(message, signature),
            _ => false,
        }
    }

    /// Writes the answer that lets the device in; answers how many bytes, at most [`ANSWER_BYTES_MAX`], and the key
    /// that server and device share from now on.
    ///
    /// `secret` must be of fresh random bytes; `sign` signs with a director key.
    ///
    /// # Errors
    /// [`EnrolmentError::PublicKey`] if the device's key has a small order, [`EnrolmentError::Length`] for too little
    /// room or a key set that is too long, and those of `sign`.
    pub fn answer<E: From<EnrolmentError>>(
        &self,
        secret: &EnrolmentSecret,
        granted: Granted<'_>,
        sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
        out: &mut [u8],
    ) -> Result<(usize, DeviceKey), E> {
        let shared = secret.agree(&self.request.public)?;
        let mut writer = Writer::new(out);
        granted
            .write(&secret.public(), &mut writer)
            .ok_or(EnrolmentError::Length)?;
        let signed_len = writer.written();
        let request = self.digest();
        let mut message = [0; SIGNED_BYTES_MAX];
        let parts: [&[u8]; 3] = [ANSWER_CONTEXT, &request.0, &out[..signed_len]];
        let message = joined(&parts, &mut message).ok_or(EnrolmentError::Length)?;
        let signature = sign(message)?;
        let total = signed_len + 64 + TAG_BYTES;
        let out = out.get_mut(..total).ok_or(EnrolmentError::Length)?;
        out[signed_len..signed_len + 64].copy_from_slice(&signature);
        let keys = derive(&shared, &request, &secret.public(), granted.device);
        let (sealed, seal) = out.split_at_mut(signed_len + 64);
        seal.copy_from_slice(&seal_of(&keys.seal, sealed).finalize().into_bytes()[..TAG_BYTES]);
        Ok((total, keys.device))
    }
}

/// What an enrolled device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted<'a> {
    /// Its id, for life.
    pub device: DeviceId,
    /// Its uplink numbers begin here: above those of a device that had the id before.
    pub first_uplink: u32,
    /// The server's signed key set, for a device that has an older one; empty for none.
    pub key_set: &'a [u8],
}

impl Granted<'_> {
    fn write(&self, server: &PublicKey, out: &mut Writer<'_>) -> Option<()> {
        if self.key_set.len() > KEY_SET_BYTES_MAX {
            return None;
        }
        out.put(&[VERSION | DOWN])?;
        out.put(&server.0)?;
        out.put(&self.device.0.to_le_bytes())?;
        out.put(&self.first_uplink.to_le_bytes())?;
        out.put(&(self.key_set.len() as u16).to_le_bytes())?;
        out.put(self.key_set)
    }
}

/// What a device has after its enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// Its id, for life.
    pub device: DeviceId,
    /// The secret that it shares with its server.
    pub key: DeviceKey,
    /// Its uplink numbers begin here.
    pub first_uplink: u32,
}

/// Reads the answer to a device's own request, from bytes that may be anything.
///
/// `roots` and `keys` are those of the device's firmware: a director key of `keys`, or of a newer key set that comes
/// with the answer, has to have signed it.
///
/// # Errors
/// [`EnrolmentError`], never a panic.
pub fn open(
    secret: &EnrolmentSecret,
    request: &[u8],
    answer: &[u8],
    roots: &Roots,
    keys: &KeySet,
) -> Result<Enrolled, EnrolmentError> {
    let length = || EnrolmentError::Length;
    let mut reader = Reader::new(answer);
    let version = reader.u8().ok_or_else(length)?;
    if version != VERSION | DOWN {
        return Err(EnrolmentError::Version { found: version });
    }
    let server = PublicKey::from_bytes(reader.array().ok_or_else(length)?)?;
    let device = DeviceId(reader.u64().ok_or_else(length)?);
    let first_uplink = reader.u32().ok_or_else(length)?;
    let set_len = reader.u16().ok_or_else(length)?;
    let set = reader.take(set_len.into()).ok_or_else(length)?;
    let signed = &answer[..answer.len() - reader.rest.len()];
    let signature: [u8; 64] = reader.array().ok_or_else(length)?;
    let sealed = &answer[..answer.len() - reader.rest.len()];
    let seal = reader.rest;
    if seal.len() != TAG_BYTES {
        return Err(EnrolmentError::Length);
    }
    let newer = match set.is_empty() {
        true => *keys,
        false => {
            let set = SignedKeySet::parse(set).and_then(|set| set.verify(roots))?;
            if set.sequence <= keys.sequence {
                return Err(EnrolmentError::KeySetOld);
            }
            set
        }
    };
    let request = Digest::of(request);
    let mut message = [0; SIGNED_BYTES_MAX];
    let message = joined(&[ANSWER_CONTEXT, &request.0, signed], &mut message).ok_or_else(length)?;
    let is_by = |key: &VerifyingKey| key.verifies(message, &signature);
    if !newer.director.keys().iter().any(is_by) {
        return Err(EnrolmentError::Signature);
    }
    let shared = secret.agree(&server)?;
    let derived = derive(&shared, &request, &server, device);
    seal_of(&derived.seal, sealed)
        .verify_truncated_left(seal)
        .map_err(|_| EnrolmentError::Seal)?;
    Ok(Enrolled {
        device,
        key: derived.device,
        first_uplink,
    })
}

/// What both sides derive from the secret that they share.
struct Derived {
    device: DeviceKey,
    seal: [u8; 32],
}

/// HKDF-SHA-256: the request's digest is the salt, the server's key and the id are in the context beside its words.
fn derive(
    shared: &SharedSecret,
    request: &Digest,
    server: &PublicKey,
    device: DeviceId,
) -> Derived {
    let hkdf = Hkdf::<Sha256>::new(Some(&request.0), shared.as_bytes());
    let key = |context: &[u8]| {
        let mut key = [0; 32];
        hkdf.expand_multi_info(&[context, &server.0, &device.0.to_le_bytes()], &mut key)
            .expect("32 bytes are few enough");
        key
    };
    Derived {
        device: DeviceKey(key(DEVICE_KEY_CONTEXT)),
        seal: key(SEAL_CONTEXT),
    }
}

fn request_tag(key: &TokenKey, signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    mac.update(REQUEST_CONTEXT);
    mac.update(signed);
    mac
}

fn seal_of(key: &[u8; 32], sealed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(sealed);
    mac
}

/// The parts one behind the other; `None` for too little room.
fn joined<'a>(parts: &[&[u8]], out: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut writer = Writer::new(out);
    parts.iter().try_for_each(|part| writer.put(part))?;
    let written = writer.written();
    Some(&out[..written])
}

/// Why bytes are not an enrolment, or not from who they claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// The board's class is empty, too long or no text.
    Board,
    /// The claim certificate is none.
    Claim(ClaimError),
    /// The key set in the answer is none, or too few root keys have signed it.
    KeySet(KeySetError),
    /// The key set in the answer is not newer than the device's own.
    KeySetOld,
    /// Too few or too many bytes, or too little room.
    Length,
    /// A kind of proof that this build does not know.
    Proof {
        /// The kind found.
        found: u8,
    },
    /// An X25519 key in a second encoding, or of small order.
    PublicKey,
    /// The answer's seal belongs to another key or another request.
    Seal,
    /// No director key has signed the answer to this request.
    Signature,
    /// A text that is no class token.
    TokenText,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u8,
    },
}

impl From<ClaimError> for EnrolmentError {
    fn from(error: ClaimError) -> EnrolmentError {
        EnrolmentError::Claim(error)
    }
}

impl From<KeySetError> for EnrolmentError {
    fn from(error: KeySetError) -> EnrolmentError {
        EnrolmentError::KeySet(error)
    }
}

impl fmt::Display for EnrolmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnrolmentError::Board => {
                write!(
                    f,
                    "a board class is text of 1 to {TEXT_BYTES_MAX} bytes of UTF-8"
                )
            }
            EnrolmentError::Claim(error) => error.fmt(f),
            EnrolmentError::KeySet(error) => error.fmt(f),
            EnrolmentError::KeySetOld => {
                write!(f, "the answer's key set is not newer than the device's")
            }
            EnrolmentError::Length => write!(f, "the bytes have another length than an enrolment"),
            EnrolmentError::Proof { found } => write!(f, "proof of kind {found} is unknown"),
            EnrolmentError::PublicKey => write!(
                f,
                "the X25519 key has a small order or is not in its canonical encoding"
            ),
            EnrolmentError::Seal => {
                write!(f, "the answer's seal does not belong to this enrolment")
            }
            EnrolmentError::Signature => {
                write!(
                    f,
                    "no director key that the device believes has signed this answer"
                )
            }
            EnrolmentError::TokenText => write!(
                f,
                "a class token is `{CLASS_TOKEN_PREFIX}` and 80 hex digits"
            ),
            EnrolmentError::Version { found } => {
                write!(f, "enrolment version {found} is unknown")
            }
        }
    }
}

impl core::error::Error for EnrolmentError {}
