//! A report: a measurement split in two, each half sealed for its aggregator.
//!
//! ```text
//! UploadRequest   reports, one behind the other
//! Report          id 16, time u64, public extensions u16 (none),
//!                 public share behind u32,
//!                 twice, leader's and helper's: config id u8, encapsulated key behind u16, ciphertext behind u32
//! sealed          private extensions u16 (none), input share behind u32
//! bound to it     task id 32, TaskConfiguration, id, time, extensions, public share behind u32
//! ```

use std::fmt;

use hpke::aead::{AesGcm128, AesGcm256, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, HpkeError, OpModeS, Serializable as _};
use prio::codec::{CodecError, Encode as _};
use prio::vdaf::prio3::Prio3;
use prio::vdaf::{Client, VdafError};

use super::VERSION;
use super::hpke_config::{Aead, HpkeConfig};
use super::measurement::Measurement;
use super::message::Writer;
use super::task::{Task, Vdaf};

/// Bytes of a report's id.
pub const REPORT_ID_BYTES: usize = 16;

/// Which report: 16 random bytes, of which no two reports have the same. Shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReportId(pub [u8; REPORT_ID_BYTES]);

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReportId({self})")
    }
}

/// Why a measurement cannot be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It is outside of the task's law, or of another kind.
    #[error("the measurement is not one of the task's")]
    Measurement,
    /// The task has parameters that no such proof has, or nothing random was to be had.
    #[error("the measurement cannot be split as the task's `vdaf` says: {0}")]
    Vdaf(#[from] VdafError),
    /// A share has no bytes.
    #[error("a share cannot be written: {0}")]
    Share(#[from] CodecError),
    /// An aggregator's key shares no secret.
    #[error("nothing can be sealed for HPKE configuration {0}: {1}")]
    Key(u8, HpkeError),
}

/// A measurement in its parts, as bytes: nothing can be told from either half alone.
struct Shares {
    public: Vec<u8>,
    leader: Vec<u8>,
    helper: Vec<u8>,
}

/// Splits a measurement, with its proof, and seals each half: a `Report`, ready to be uploaded.
///
/// `time` is in the task's units. The same id is never used for two measurements.
///
/// # Errors
/// [`SealError`].
pub fn seal(
    task: &Task,
    id: ReportId,
    time: u64,
    measurement: &Measurement,
    (leader, helper): (&HpkeConfig, &HpkeConfig),
) -> Result<Vec<u8>, SealError> {
    let shares = split(task, id, measurement)?;
    let aad = aad(task, id, time, &shares.public);
    let mut out = Writer::default();
    metadata(&mut out, id, time);
    out.long(&shares.public);
    for (config, role, share) in [(leader, 2, &shares.leader), (helper, 3, &shares.helper)] {
        let mut plain = Writer::default();
        plain.u16(0);
        plain.long(share);
        let (key, sealed) = sealed(config, &info(role), &plain.0, &aad)?;
        out.u8(config.id);
        out.medium(&key);
        out.long(&sealed);
    }
    Ok(out.0)
}

/// What is bound to both halves: `InputShareAad`.
pub fn aad(task: &Task, id: ReportId, time: u64, public_share: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.fixed(&task.id.0);
    out.fixed(&task.configuration());
    metadata(&mut out, id, time);
    out.long(public_share);
    out.0
}

/// What a half is sealed under: from a client (1) to the leader (2) or the helper (3).
pub fn info(role: u8) -> Vec<u8> {
    [VERSION.as_bytes(), b" input share", &[1, role]].concat()
}

fn metadata(out: &mut Writer, id: ReportId, time: u64) {
    out.fixed(&id.0);
    out.u64(time);
    out.u16(0);
}

fn split(task: &Task, id: ReportId, measurement: &Measurement) -> Result<Shares, SealError> {
    if !measurement.fits(&task.vdaf) {
        return Err(SealError::Measurement);
    }
    match (task.vdaf, measurement) {
        (
            Vdaf::Prio3Histogram {
                length,
                chunk_length,
            },
            Measurement::Bucket(bucket),
        ) => {
            let vdaf = Prio3::new_histogram(2, length as usize, chunk_length as usize)?;
            parts(&vdaf, task, id, bucket)
        }
        (
            Vdaf::Prio3SumVec {
                length,
                max_measurement,
                chunk_length,
            },
            Measurement::Vector(values),
        ) => {
            let largest = u128::from(max_measurement);
            let vdaf = Prio3::new_sum_vec(2, largest, length as usize, chunk_length as usize)?;
            let values = values.iter().map(|&value| u128::from(value)).collect();
            parts(&vdaf, task, id, &values)
        }
        _ => Err(SealError::Measurement),
    }
}

fn parts<V: Client<REPORT_ID_BYTES>>(
    vdaf: &V,
    task: &Task,
    id: ReportId,
    measurement: &V::Measurement,
) -> Result<Shares, SealError> {
    let (public, halves) = vdaf.shard(&task.context(), measurement, &id.0)?;
    let [leader, helper] = halves.as_slice() else {
        return Err(SealError::Measurement);
    };
    Ok(Shares {
        public: public.get_encoded()?,
        leader: leader.get_encoded()?,
        helper: helper.get_encoded()?,
    })
}

/// Encapsulated key and ciphertext.
fn sealed(
    config: &HpkeConfig,
    info: &[u8],
    plain: &[u8],
    aad: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), SealError> {
    let sealed = match config.aead {
        Aead::Aes128Gcm => with::<AesGcm128>(config, info, plain, aad),
        Aead::Aes256Gcm => with::<AesGcm256>(config, info, plain, aad),
        Aead::ChaCha20Poly1305 => with::<ChaCha20Poly1305>(config, info, plain, aad),
    };
    sealed.map_err(|error| SealError::Key(config.id, error))
}

fn with<A: hpke::aead::Aead>(
    config: &HpkeConfig,
    info: &[u8],
    plain: &[u8],
    aad: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), HpkeError> {
    type Scheme = X25519HkdfSha256;
    let key = <Scheme as hpke::Kem>::PublicKey::from_bytes(&config.public_key)?;
    let (sent, sealed) =
        hpke::single_shot_seal::<A, HkdfSha256, Scheme>(&OpModeS::Base, &key, info, plain, aad)?;
    Ok((sent.to_bytes().to_vec(), sealed))
}
