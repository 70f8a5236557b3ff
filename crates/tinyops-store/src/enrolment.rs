//! Enrolments: which request made which device, and what it was answered. All of it is public.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{DeviceId, Digest, StoreError, Timestamp, Tx};

/// One enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The device's public key, which enrols once.
    pub public: [u8; 32],
    /// The digest of the request.
    pub request: Digest,
    /// The device.
    pub device: DeviceId,
    /// What was answered.
    pub answer: Vec<u8>,
    /// What let it in: `class token 3fa1…`, `claim S-0042`, or who vouched for it.
    pub proof: String,
    /// When.
    pub at: Timestamp,
}

/// Adds an enrolment.
///
/// # Errors
/// [`StoreError::Exists`] if the key has enrolled before.
pub async fn add(tx: &Tx, enrolment: &Enrolment) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "INSERT INTO enrolments (public_key, request, device, answer, proof, at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (public_key) DO NOTHING",
            values![
                enrolment.public,
                enrolment.request,
                enrolment.device,
                enrolment.answer,
                enrolment.proof,
                enrolment.at
            ],
        )
        .await?;
    match count {
        0 => Err(StoreError::Exists {
            entity: "enrolment",
            key: Digest(enrolment.public).to_string(),
        }),
        _ => Ok(()),
    }
}

/// The enrolment of a public key.
pub async fn of_key(on: &impl Read, public: &[u8; 32]) -> Result<Option<Enrolment>, StoreError> {
    let sql = "SELECT public_key, request, device, answer, proof, at FROM enrolments WHERE public_key = $1";
    on.query_one(sql, values![*public])
        .await?
        .map(read)
        .transpose()
}

/// The newest enrolment of a device.
pub async fn of_device(on: &impl Read, device: DeviceId) -> Result<Option<Enrolment>, StoreError> {
    let sql = "SELECT public_key, request, device, answer, proof, at FROM enrolments
               WHERE device = $1 ORDER BY at DESC LIMIT 1";
    on.query_one(sql, values![device])
        .await?
        .map(read)
        .transpose()
}

/// Lets a device that is known enrol once more, until then.
pub async fn permit(tx: &Tx, device: DeviceId, until: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO enrolment_permits (device, valid_until) VALUES ($1, $2)
         ON CONFLICT (device) DO UPDATE SET valid_until = excluded.valid_until",
        values![device, until],
    )
    .await?;
    Ok(())
}

/// Until when a device may enrol once more, if it was allowed to.
pub async fn permitted_until(
    on: &impl Read,
    device: DeviceId,
) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT valid_until FROM enrolment_permits WHERE device = $1";
    let row = on.query_one(sql, values![device]).await?;
    row.map(|mut row| row.take()).transpose()
}

/// Takes the permission away: it is used, or the device is revoked.
pub async fn end_permit(tx: &Tx, device: DeviceId) -> Result<(), StoreError> {
    let sql = "DELETE FROM enrolment_permits WHERE device = $1";
    tx.execute(sql, values![device]).await?;
    Ok(())
}

fn read(row: Row) -> Result<Enrolment, StoreError> {
    let mut row = row.of("enrolment");
    Ok(Enrolment {
        public: row.take()?,
        request: row.take()?,
        device: row.take()?,
        answer: row.take()?,
        proof: row.take()?,
        at: row.take()?,
    })
}
