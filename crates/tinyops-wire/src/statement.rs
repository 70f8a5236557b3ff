//! The director's statement: what one device shall run now, in a COSE_Sign1 of at most 135 bytes.
//!
//! A release key says which models are valid, for all devices and for good; a director key says which of them this
//! device shall run now. A device takes a capsule up only with both. What is signed is a CBOR map with ascending keys,
//! all there, in the context `tinyops statement`:
//!
//! ```text
//! key  claim
//!  1   statement version: 1
//!  2   device id
//!  3   digest of the manifest of the capsule, 32 bytes
//!  4   counter: rises with every statement for a device
//!  5   last uplink: void once the device has sent an envelope with a greater number
//! ```

use core::fmt;

use minicbor::decode::Decoder;
use minicbor::encode::write::Cursor;
use minicbor::encode::{Encoder, Error, Write};

use crate::sign1::{self, Signed};
use crate::{DeviceId, Digest, SigningKey, VerifyingKey};

/// Longest signed statement.
pub const STATEMENT_BYTES_MAX: usize = sign1::OVERHEAD + CLAIMS_BYTES_MAX;

const CONTEXT: &[u8] = b"tinyops statement";
const CLAIMS_BYTES_MAX: usize = 1 + 2 + 10 + 35 + 6 + 6;
const MESSAGE_BYTES_MAX: usize = sign1::SIGNED_OVERHEAD + CONTEXT.len() + CLAIMS_BYTES_MAX;
const VERSION: u32 = 1;
const CLAIMS: u64 = 5;

/// What one device shall run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which device.
    pub device: DeviceId,
    /// Digest of the manifest of the capsule that it shall run.
    pub manifest: Digest,
    /// Rises with every statement for the device; one that is not above the last taken up is old.
    pub counter: u32,
    /// The device takes it up only while its own next uplink number is not above this: time, as a device without a
    /// clock knows it.
    pub last_uplink: u32,
}

impl Statement {
    /// Signs the statement and writes it; answers how many bytes, at most [`STATEMENT_BYTES_MAX`].
    ///
    /// # Errors
    /// [`StatementError::Length`] for too little room.
    pub fn encode(&self, key: &SigningKey, out: &mut [u8]) -> Result<usize, StatementError> {
        self.encode_with(|message| Ok(key.sign(message)), out)
    }

    /// As [`Statement::encode`], for a key that is not here.
    ///
    /// # Errors
    /// As [`Statement::encode`], and those of `sign`. Whether the signature is right is not looked at.
    pub fn encode_with<E: From<StatementError>>(
        &self,
        sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
        out: &mut [u8],
    ) -> Result<usize, E> {
        let mut claims = [0; CLAIMS_BYTES_MAX];
        let claims_len = self.write(&mut claims).ok_or(StatementError::Length)?;
        let payload = &claims[..claims_len];
        let mut message = [0; MESSAGE_BYTES_MAX];
        let message_len =
            sign1::to_sign(CONTEXT, payload, &mut message).ok_or(StatementError::Length)?;
        let signature = sign(&message[..message_len])?;
        let signed = Signed { payload, signature };
        Ok(signed.write(out).ok_or(StatementError::Length)?)
    }

    /// Reads a statement that one of `keys` has signed, from bytes that may be anything.
    ///
    /// # Errors
    /// [`StatementError`], never a panic. There is one encoding of a statement.
    pub fn verify(bytes: &[u8], keys: &[VerifyingKey]) -> Result<Statement, StatementError> {
        let (statement, signed) = parse(bytes)?;
        if !signed.is_by::<MESSAGE_BYTES_MAX>(CONTEXT, keys) {
            return Err(StatementError::Signature);
        }
        Ok(statement)
    }

    /// Reads a statement without its signature: one that was verified before, by keys that still count.
    ///
    /// # Errors
    /// As [`Statement::verify`], but never [`StatementError::Signature`].
    pub fn read_verified(bytes: &[u8]) -> Result<Statement, StatementError> {
        parse(bytes).map(|(statement, _)| statement)
    }

    fn write(&self, out: &mut [u8]) -> Option<usize> {
        fn write<W: Write>(
            statement: &Statement,
            encoder: &mut Encoder<W>,
        ) -> Result<(), Error<W::Error>> {
            encoder.map(CLAIMS)?;
            encoder.u8(1)?.u32(VERSION)?;
            encoder.u8(2)?.u64(statement.device.0)?;
            encoder.u8(3)?.bytes(&statement.manifest.0)?;
            encoder.u8(4)?.u32(statement.counter)?;
            encoder.u8(5)?.u32(statement.last_uplink)?;
            Ok(())
        }
        let mut encoder = Encoder::new(Cursor::new(out));
        write(self, &mut encoder).ok()?;
        Some(encoder.writer().position())
    }
}

fn parse(bytes: &[u8]) -> Result<(Statement, Signed<'_>), StatementError> {
    let signed = Signed::read::<STATEMENT_BYTES_MAX>(bytes).ok_or(StatementError::Cose)?;
    let statement = read(signed.payload)?;
    let mut again = [0; CLAIMS_BYTES_MAX];
    let written = statement.write(&mut again).ok_or(StatementError::Cbor)?;
    if again[..written] != *signed.payload {
        return Err(StatementError::Cbor);
    }
    Ok((statement, signed))
}

fn read(bytes: &[u8]) -> Result<Statement, StatementError> {
    let cbor = |_| StatementError::Cbor;
    let mut decoder = Decoder::new(bytes);
    if decoder.map().map_err(cbor)? != Some(CLAIMS) || decoder.u8().map_err(cbor)? != 1 {
        return Err(StatementError::Cbor);
    }
    let version = decoder.u32().map_err(cbor)?;
    if version != VERSION {
        return Err(StatementError::Version { found: version });
    }
    claims(&mut decoder).ok_or(StatementError::Cbor)
}

/// What follows the version. Keys that are others are found by writing again.
fn claims(decoder: &mut Decoder<'_>) -> Option<Statement> {
    decoder.u8().ok()?;
    let device = DeviceId(decoder.u64().ok()?);
    decoder.u8().ok()?;
    let manifest = Digest(decoder.bytes().ok()?.try_into().ok()?);
    decoder.u8().ok()?;
    let counter = decoder.u32().ok()?;
    decoder.u8().ok()?;
    let last_uplink = decoder.u32().ok()?;
    Some(Statement {
        device,
        manifest,
        counter,
        last_uplink,
    })
}

/// Why bytes are not a statement to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatementError {
    /// What is signed is not the CBOR of a statement.
    Cbor,
    /// The bytes are not a COSE_Sign1 with EdDSA.
    Cose,
    /// Too little room.
    Length,
    /// None of the keys has signed it.
    Signature,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u32,
    },
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatementError::Cbor => write!(f, "what is signed is not the CBOR of a statement"),
            StatementError::Cose => write!(f, "the statement is not in a COSE_Sign1 with EdDSA"),
            StatementError::Length => write!(f, "too little room for a statement"),
            StatementError::Signature => write!(f, "no known key has signed the statement"),
            StatementError::Version { found } => write!(f, "statement version {found} is unknown"),
        }
    }
}

impl core::error::Error for StatementError {}
