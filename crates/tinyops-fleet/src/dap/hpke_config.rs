//! The keys of an aggregator, as it publishes them at `hpke_config`: foreign bytes.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, OpModeS};

use super::message::Reader;

const X25519_HKDF_SHA256: u16 = 0x0020;
const HKDF_SHA256: u16 = 0x0001;
/// Most of what is not understood is told of at most so many.
const TOLD_MAX: usize = 8;

/// What a share is encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aead {
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

/// A key of an aggregator that shares can be sealed for: X25519, HKDF-SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpkeConfig {
    /// What the aggregator calls it.
    pub id: u8,
    /// What is sealed with.
    pub aead: Aead,
    /// The public key.
    pub public_key: [u8; 32],
}

/// Why an aggregator's answer has no key to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HpkeConfigError {
    /// The bytes are no `HpkeConfigList`.
    #[error("the answer is no list of HPKE configurations")]
    Malformed,
    /// The list has none.
    #[error("the list of HPKE configurations is empty")]
    Empty,
    /// Two have one id, and nobody could say for which a report is.
    #[error("two HPKE configurations have the id {0}")]
    Twice(u8),
    /// None has algorithms that this build knows.
    #[error(
        "no HPKE configuration is of X25519 (0x0020), HKDF-SHA-256 (0x0001) and AES-GCM or ChaCha20-Poly1305; they are of {0}"
    )]
    Unknown(String),
    /// Its algorithms are known and its key is none.
    #[error("the key of HPKE configuration {0} is no key of X25519")]
    Key(u8),
}

impl HpkeConfig {
    /// The first of a list that can be used: aggregators name first what they like best.
    ///
    /// # Errors
    /// [`HpkeConfigError`], never a panic, whatever the bytes are.
    pub fn choose(list: &[u8]) -> Result<HpkeConfig, HpkeConfigError> {
        let mut whole = Reader(list);
        let body = whole.medium().filter(|_| whole.is_empty());
        let mut rest = Reader(body.ok_or(HpkeConfigError::Malformed)?);
        if rest.is_empty() {
            return Err(HpkeConfigError::Empty);
        }
        let mut seen = [false; 256];
        let mut chosen = None;
        let (mut unknown, mut bad_key) = (Vec::new(), None);
        while !rest.is_empty() {
            let (id, suite, key) = one(&mut rest).ok_or(HpkeConfigError::Malformed)?;
            if std::mem::replace(&mut seen[usize::from(id)], true) {
                return Err(HpkeConfigError::Twice(id));
            }
            match (suite_of(suite), public_key(key)) {
                (Some(aead), Some(public_key)) => {
                    chosen = chosen.or(Some(HpkeConfig {
                        id,
                        aead,
                        public_key,
                    }));
                }
                (Some(_), None) => bad_key = bad_key.or(Some(id)),
                (None, _) => unknown.push(suite),
            }
        }
        match (chosen, bad_key) {
            (Some(chosen), _) => Ok(chosen),
            (None, Some(id)) => Err(HpkeConfigError::Key(id)),
            (None, None) => Err(HpkeConfigError::Unknown(told(&unknown))),
        }
    }
}

type Suite = (u16, u16, u16);

fn one<'b>(rest: &mut Reader<'b>) -> Option<(u8, Suite, &'b [u8])> {
    let id = rest.u8()?;
    let suite = (rest.u16()?, rest.u16()?, rest.u16()?);
    let key = rest.medium()?;
    (!key.is_empty()).then_some((id, suite, key))
}

fn suite_of(suite: Suite) -> Option<Aead> {
    match suite {
        (X25519_HKDF_SHA256, HKDF_SHA256, 1) => Some(Aead::Aes128Gcm),
        (X25519_HKDF_SHA256, HKDF_SHA256, 2) => Some(Aead::Aes256Gcm),
        (X25519_HKDF_SHA256, HKDF_SHA256, 3) => Some(Aead::ChaCha20Poly1305),
        _ => None,
    }
}

/// A key of 32 bytes that shares a secret: one of small order shares none.
fn public_key(bytes: &[u8]) -> Option<[u8; 32]> {
    let key = <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(bytes).ok()?;
    hpke::setup_sender::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, &key, b"")
        .ok()?;
    bytes.try_into().ok()
}

fn told(suites: &[Suite]) -> String {
    let shown: Vec<String> = suites
        .iter()
        .take(TOLD_MAX)
        .map(|(kem, kdf, aead)| format!("{kem:#06x}, {kdf:#06x}, {aead:#06x}"))
        .collect();
    let more = suites.len().saturating_sub(TOLD_MAX);
    match more {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}
