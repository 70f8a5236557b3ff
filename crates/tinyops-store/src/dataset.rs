//! Dataset versions: immutable, named by the digest of their manifest.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{Digest, Json, StoreError, Timestamp, Tx};

/// One version of a project's data.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The digest of its manifest, which is an artifact.
    pub digest: Digest,
    /// The project that it belongs to.
    pub project: String,
    /// How many samples the manifest lists.
    pub sample_count: i64,
    /// Figures for people: classes, groups, seconds, findings.
    pub detail: Json,
    /// When it was first made.
    pub created_at: Timestamp,
}

/// Adds a dataset version; one that is there already stays as it is.
pub async fn put(tx: &Tx, dataset: &Dataset) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO datasets (digest, project, sample_count, detail, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (project, digest) DO NOTHING",
        values![dataset.digest, dataset.project, dataset.sample_count, dataset.detail, dataset.created_at],
    )
    .await?;
    Ok(())
}

/// One dataset version of any project by digest.
pub async fn get(on: &impl Read, digest: &Digest) -> Result<Option<Dataset>, StoreError> {
    let sql =
        "SELECT digest, project, sample_count, detail, created_at FROM datasets WHERE digest = $1";
    on.query_one(sql, values![*digest])
        .await?
        .map(read)
        .transpose()
}

/// A project's dataset versions, newest first.
pub async fn list(on: &impl Read, project: &str) -> Result<Vec<Dataset>, StoreError> {
    let sql = "SELECT digest, project, sample_count, detail, created_at FROM datasets
               WHERE project = $1 ORDER BY created_at DESC, digest";
    on.query(sql, values![project.to_owned()])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The dataset versions of every project, oldest first.
pub async fn all(on: &impl Read) -> Result<Vec<Dataset>, StoreError> {
    let sql = "SELECT digest, project, sample_count, detail, created_at FROM datasets ORDER BY created_at, digest";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<Dataset, StoreError> {
    let mut row = row.of("dataset");
    Ok(Dataset {
        digest: row.take()?,
        project: row.take()?,
        sample_count: row.take()?,
        detail: row.take()?,
        created_at: row.take()?,
    })
}
