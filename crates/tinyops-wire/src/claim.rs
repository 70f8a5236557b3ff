//! The claim certificate: an authority's word that whoever has a key may enrol as a device of a class, so often and
//! until then; a COSE_Sign1 of at most 254 bytes.
//!
//! A factory puts it on a device together with the private half of the key that it names. What is signed is a CBOR map
//! with ascending keys, all there, in the context `tinyops claim`:
//!
//! ```text
//! key  claim
//!  1   claim version: 1
//!  2   serial: the name of this claim at its server, text of 1 to 40 bytes
//!  3   class of the board, text of at most 40 bytes
//!  4   cohort that the device joins, text of at most 40 bytes
//!  5   Ed25519 key whose holder may enrol, 32 bytes
//!  6   most devices that it enrols, at least 1
//!  7   end, in seconds since the start of 1970, UTC; 0 for none
//! ```

use core::fmt;

use minicbor::decode::Decoder;
use minicbor::encode::write::Cursor;
use minicbor::encode::{Encoder, Error, Write};

use crate::manifest::TEXT_BYTES_MAX;
use crate::sign1::{self, Signed};
use crate::{SigningKey, Timestamp, VerifyingKey};

/// Longest claim certificate.
pub const CLAIM_BYTES_MAX: usize = sign1::OVERHEAD + CLAIMS_BYTES_MAX;

const CONTEXT: &[u8] = b"tinyops claim";
const CLAIMS_BYTES_MAX: usize = 1 + 2 + 3 * (1 + 2 + TEXT_BYTES_MAX) + 35 + 6 + 6;
const MESSAGE_BYTES_MAX: usize = sign1::SIGNED_OVERHEAD + CONTEXT.len() + CLAIMS_BYTES_MAX;
const VERSION: u32 = 1;
const CLAIMS: u64 = 7;

/// Who may enrol as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The name of this claim at its server, which counts and revokes by it: 1 to 40 bytes of UTF-8.
    pub serial: &'a str,
    /// Class of the board.
    pub board: &'a str,
    /// The cohort that the device joins.
    pub cohort: &'a str,
    /// Whoever has its other half may enrol.
    pub key: VerifyingKey,
    /// Most devices that it enrols, at least 1.
    pub uses: u32,
    /// When it ends, in seconds since the start of 1970, UTC; 0 for never.
    pub ends_s: u32,
}

impl Claim<'_> {
    /// Signs the claim and writes the certificate; answers how many bytes, at most [`CLAIM_BYTES_MAX`].
    ///
    /// # Errors
    /// [`ClaimError::Text`] for a text that is too long or an empty serial, [`ClaimError::Uses`] for no uses,
    /// [`ClaimError::Length`] for too little room.
    pub fn encode(&self, authority: &SigningKey, out: &mut [u8]) -> Result<usize, ClaimError> {
        self.check()?;
        let mut claims = [0; CLAIMS_BYTES_MAX];
        let claims_len = self.write(&mut claims).ok_or(ClaimError::Length)?;
        let payload = &claims[..claims_len];
        let mut message = [0; MESSAGE_BYTES_MAX];
        let message_len =
            sign1::to_sign(CONTEXT, payload, &mut message).ok_or(ClaimError::Length)?;
        let signed = Signed {
            payload,
            signature: authority.sign(&message[..message_len]),
        };
        signed.write(out).ok_or(ClaimError::Length)
    }

    /// Whether it has ended.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends_s != 0 && now.0 >= i64::from(self.ends_s) * 1000
    }

    fn check(&self) -> Result<(), ClaimError> {
        let texts = [self.serial, self.board, self.cohort];
        if self.serial.is_empty() || texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(ClaimError::Text);
        }
        match self.uses {
            0 => Err(ClaimError::Uses),
            _ => Ok(()),
        }
    }

    fn write(&self, out: &mut [u8]) -> Option<usize> {
        fn write<W: Write>(
            claim: &Claim<'_>,
            encoder: &mut Encoder<W>,
        ) -> Result<(), Error<W::Error>> {
            encoder.map(CLAIMS)?;
            encoder.u8(1)?.u32(VERSION)?;
            encoder.u8(2)?.str(claim.serial)?;
            encoder.u8(3)?.str(claim.board)?;
            encoder.u8(4)?.str(claim.cohort)?;
            encoder.u8(5)?.bytes(&claim.key.to_bytes())?;
            encoder.u8(6)?.u32(claim.uses)?;
            encoder.u8(7)?.u32(claim.ends_s)?;
            Ok(())
        }
        let mut encoder = Encoder::new(Cursor::new(out));
        write(self, &mut encoder).ok()?;
        Some(encoder.writer().position())
    }
}

/// A claim certificate taken apart, which nobody has vouched for yet.
#[derive(Clone, Copy, Debug)]
pub struct SignedClaim<'a> {
    /// What it says.
    pub claim: Claim<'a>,
    signed: Signed<'a>,
}

impl<'a> SignedClaim<'a> {
    /// Takes a claim certificate apart, from bytes that may be anything.
    ///
    /// # Errors
    /// [`ClaimError`], never a panic. There is one encoding of a claim.
    pub fn parse(bytes: &'a [u8]) -> Result<SignedClaim<'a>, ClaimError> {
        let signed = Signed::read::<CLAIM_BYTES_MAX>(bytes).ok_or(ClaimError::Cose)?;
        let claim = read(signed.payload)?;
        claim.check()?;
        let mut again = [0; CLAIMS_BYTES_MAX];
        let written = claim.write(&mut again).ok_or(ClaimError::Cbor)?;
        if again[..written] != *signed.payload {
            return Err(ClaimError::Cbor);
        }
        Ok(SignedClaim { claim, signed })
    }

    /// Whether this authority has signed it.
    pub fn is_by(&self, authority: &VerifyingKey) -> bool {
        self.signed
            .is_by::<MESSAGE_BYTES_MAX>(CONTEXT, core::slice::from_ref(authority))
    }
}

fn read(bytes: &[u8]) -> Result<Claim<'_>, ClaimError> {
    let cbor = |_| ClaimError::Cbor;
    let mut decoder = Decoder::new(bytes);
    if decoder.map().map_err(cbor)? != Some(CLAIMS) || decoder.u8().map_err(cbor)? != 1 {
        return Err(ClaimError::Cbor);
    }
    let version = decoder.u32().map_err(cbor)?;
    if version != VERSION {
        return Err(ClaimError::Version { found: version });
    }
    claims(&mut decoder).ok_or(ClaimError::Cbor)?
}

/// What follows the version. Keys that are others are found by writing again.
fn claims<'a>(decoder: &mut Decoder<'a>) -> Option<Result<Claim<'a>, ClaimError>> {
    let mut text = || {
        decoder.u8().ok()?;
        decoder.str().ok()
    };
    let (serial, board, cohort) = (text()?, text()?, text()?);
    decoder.u8().ok()?;
    let key = VerifyingKey::from_bytes(decoder.bytes().ok()?.try_into().ok()?);
    decoder.u8().ok()?;
    let uses = decoder.u32().ok()?;
    decoder.u8().ok()?;
    let ends_s = decoder.u32().ok()?;
    let claim = |key| Claim {
        serial,
        board,
        cohort,
        key,
        uses,
        ends_s,
    };
    Some(key.map(claim).map_err(|_| ClaimError::Key))
}

/// Why bytes are not a claim certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimError {
    /// What is signed is not the CBOR of a claim.
    Cbor,
    /// The bytes are not a COSE_Sign1 with EdDSA.
    Cose,
    /// The key that it names is none, or one under which anybody could sign.
    Key,
    /// Too little room.
    Length,
    /// A text is too long, or the serial is empty.
    Text,
    /// It enrols nobody.
    Uses,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u32,
    },
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimError::Cbor => write!(f, "what is signed is not the CBOR of a claim"),
            ClaimError::Cose => write!(f, "the claim is not in a COSE_Sign1 with EdDSA"),
            ClaimError::Key => write!(f, "the claim names no sound Ed25519 key"),
            ClaimError::Length => write!(f, "too little room for a claim"),
            ClaimError::Text => write!(
                f,
                "a serial has 1 to {TEXT_BYTES_MAX} bytes, a board class or cohort at most {TEXT_BYTES_MAX}"
            ),
            ClaimError::Uses => write!(f, "the claim enrols no device"),
            ClaimError::Version { found } => write!(f, "claim version {found} is unknown"),
        }
    }
}

impl core::error::Error for ClaimError {}
