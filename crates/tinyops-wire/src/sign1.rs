//! COSE_Sign1 (RFC 9052, tag 18) in the one encoding that is accepted here: Ed25519, attached payload.
//!
//! What is signed is `["Signature1", h'a10127', context, payload]`. The context (the external data of RFC 9052,
//! section 4.3) is not sent: it says what kind of thing the payload is, so that no signature over one kind can be
//! shown as one over another.

use minicbor::data::Tag;
use minicbor::decode::Decoder;
use minicbor::encode::write::Cursor;
use minicbor::encode::{Encoder, Write};

use crate::VerifyingKey;

const TAG: Tag = Tag::new(18);

/// The protected header `{1: -8}`: algorithm EdDSA.
pub(crate) const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x27];

/// Most bytes around a payload: tag, array, headers, both byte strings' heads, signature.
pub(crate) const OVERHEAD: usize = 1 + 1 + 4 + 1 + 2 + 2 + 64;

/// Most bytes around payload and context in what is signed: array, `Signature1`, header, both heads.
pub(crate) const SIGNED_OVERHEAD: usize = 1 + 11 + 4 + 2 + 2;

/// A payload and the signature over it, which nobody has checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) signature: [u8; 64],
}

impl<'a> Signed<'a> {
    /// Writes it; answers how many bytes, at most [`OVERHEAD`] more than the payload's.
    pub(crate) fn write(&self, out: &mut [u8]) -> Option<usize> {
        fn write<W: Write>(encoder: &mut Encoder<W>, signed: &Signed<'_>) -> Option<()> {
            encoder.tag(TAG).ok()?.array(4).ok()?;
            encoder.bytes(&PROTECTED).ok()?.map(0).ok()?;
            encoder.bytes(signed.payload).ok()?;
            encoder.bytes(&signed.signature).ok()?;
            Some(())
        }
        let mut encoder = Encoder::new(Cursor::new(out));
        write(&mut encoder, self)?;
        Some(encoder.writer().position())
    }

    /// Reads what is exactly as [`Signed::write`] writes it; `SCRATCH` bytes hold the longest.
    pub(crate) fn read<const SCRATCH: usize>(bytes: &'a [u8]) -> Option<Signed<'a>> {
        let mut decoder = Decoder::new(bytes);
        let is_sign1 = decoder.tag().ok()? == TAG && decoder.array().ok()? == Some(4);
        let is_eddsa = decoder.bytes().ok()? == PROTECTED && decoder.map().ok()? == Some(0);
        let payload = decoder.bytes().ok()?;
        let signature = decoder.bytes().ok()?.try_into().ok()?;
        let signed = Signed { payload, signature };
        let mut again = [0; SCRATCH];
        let written = signed.write(&mut again)?;
        (is_sign1 && is_eddsa && again[..written] == *bytes).then_some(signed)
    }

    /// Whether one of `keys` has signed it as a thing of this kind.
    pub(crate) fn is_by<const SCRATCH: usize>(
        &self,
        context: &[u8],
        keys: &[VerifyingKey],
    ) -> bool {
        let mut out = [0; SCRATCH];
        to_sign(context, self.payload, &mut out).is_some_and(|written| {
            keys.iter()
                .any(|key| key.verifies(&out[..written], &self.signature))
        })
    }
}

/// Writes what is to be signed; answers how many bytes.
pub(crate) fn to_sign(context: &[u8], payload: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut encoder = Encoder::new(Cursor::new(out));
    encoder.array(4).ok()?.str("Signature1").ok()?;
    encoder.bytes(&PROTECTED).ok()?.bytes(context).ok()?;
    encoder.bytes(payload).ok()?;
    Some(encoder.writer().position())
}
