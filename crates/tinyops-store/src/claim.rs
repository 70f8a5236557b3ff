//! Claim certificates: the authorities whose certificates count, and how often each certificate was used.

use crate::column::{Row, values};
use crate::db::{Read, touched};
use crate::{StoreError, Timestamp, Tx};

/// Whoever signs claim certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// What people call it; never given twice.
    pub name: String,
    /// Its Ed25519 public key.
    pub public: [u8; 32],
    /// Since when it counts.
    pub created_at: Timestamp,
    /// Who said so.
    pub created_by: String,
    /// Since when nothing that it signed counts, if so.
    pub revoked_at: Option<Timestamp>,
}

/// What is known of a certificate: nothing until it is used or revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its serial.
    pub serial: String,
    /// Devices that it has enrolled.
    pub use_count: u32,
    /// When it last enrolled one, if it has.
    pub used_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// Adds an authority.
///
/// # Errors
/// [`StoreError::Exists`] if the name was ever given.
pub async fn add_authority(tx: &Tx, authority: &Authority) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "INSERT INTO claim_authorities (name, public_key, created_at, created_by, revoked_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING",
            values![
                authority.name,
                authority.public,
                authority.created_at,
                authority.created_by,
                authority.revoked_at
            ],
        )
        .await?;
    match count {
        0 => Err(StoreError::Exists {
            entity: "claim authority",
            key: authority.name.clone(),
        }),
        _ => Ok(()),
    }
}

/// All authorities, oldest first.
pub async fn authorities(on: &impl Read) -> Result<Vec<Authority>, StoreError> {
    let sql = "SELECT name, public_key, created_at, created_by, revoked_at FROM claim_authorities ORDER BY created_at, name";
    let read = |row: Row| {
        let mut row = row.of("claim authority");
        Ok(Authority {
            name: row.take()?,
            public: row.take()?,
            created_at: row.take()?,
            created_by: row.take()?,
            revoked_at: row.take()?,
        })
    };
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Ends an authority: nothing that it signed counts any more.
///
/// # Errors
/// [`StoreError::Conflict`] if there is none of this name, or it is revoked already.
pub async fn revoke_authority(tx: &Tx, name: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE claim_authorities SET revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL";
    let count = tx.execute(sql, values![name.to_owned(), now]).await?;
    touched(count, "claim authority", name)
}

/// One certificate, if it was ever used or revoked.
pub async fn get(on: &impl Read, serial: &str) -> Result<Option<Claim>, StoreError> {
    let sql = "SELECT serial, use_count, used_at, revoked_at FROM claims WHERE serial = $1";
    on.query_one(sql, values![serial.to_owned()])
        .await?
        .map(read)
        .transpose()
}

/// The certificates that were used or revoked, by serial.
pub async fn list(on: &impl Read) -> Result<Vec<Claim>, StoreError> {
    let sql = "SELECT serial, use_count, used_at, revoked_at FROM claims ORDER BY serial";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Counts one more device of a certificate.
pub async fn count_use(tx: &Tx, serial: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO claims (serial, use_count, used_at) VALUES ($1, 1, $2)
         ON CONFLICT (serial) DO UPDATE SET use_count = claims.use_count + 1, used_at = excluded.used_at",
        values![serial.to_owned(), now],
    )
    .await?;
    Ok(())
}

/// Ends a certificate, used or not.
///
/// # Errors
/// [`StoreError::Conflict`] if it is revoked already.
pub async fn revoke(tx: &Tx, serial: &str, now: Timestamp) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "INSERT INTO claims (serial, use_count, revoked_at) VALUES ($1, 0, $2)
             ON CONFLICT (serial) DO UPDATE SET revoked_at = excluded.revoked_at WHERE claims.revoked_at IS NULL",
            values![serial.to_owned(), now],
        )
        .await?;
    touched(count, "claim", serial)
}

fn read(row: Row) -> Result<Claim, StoreError> {
    let mut row = row.of("claim");
    Ok(Claim {
        serial: row.take()?,
        use_count: row.take()?,
        used_at: row.take()?,
        revoked_at: row.take()?,
    })
}
