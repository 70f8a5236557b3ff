//! Experiments: what belongs together among runs.

use std::collections::BTreeMap;

use super::Lifecycle;
use super::pair::{EXPERIMENT_TAGS, Pair};
use super::search::{self, Entity, Search};
use crate::column::{Row, row_id, values};
use crate::db::{Query as _, Read};
use crate::{StoreError, Timestamp, Tx};

row_id! {
    /// The number of an experiment; 0 is the one that is always there.
    ExperimentId
}

/// One experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its number.
    pub id: ExperimentId,
    /// Its name, which no other has.
    pub name: String,
    /// Where its files are by the wish of whoever made it; empty for the server's own place.
    pub artifact_location: String,
    /// Whether it is in use.
    pub lifecycle: Lifecycle,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

pub(crate) const ENTITY: Entity = Entity {
    table: "experiments",
    columns: "e.id, e.name, e.artifact_location, e.lifecycle, e.created_at, e.updated_at",
    tags: Some(EXPERIMENT_TAGS.name),
    params: None,
    metrics: None,
};

/// Makes an experiment.
///
/// # Errors
/// [`StoreError::Exists`] if there is one of this name, in use or put away.
pub async fn add(
    tx: &Tx,
    name: &str,
    artifact_location: &str,
    now: Timestamp,
) -> Result<Experiment, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO experiments (name, artifact_location, lifecycle, created_at, updated_at)
             VALUES ($1, $2, 'active', $3, $3) ON CONFLICT (name) DO NOTHING
             RETURNING id, name, artifact_location, lifecycle, created_at, updated_at",
            values![name.to_owned(), artifact_location.to_owned(), now],
        )
        .await?;
    row.map(read).transpose()?.ok_or_else(|| taken(name))
}

/// Changes name, lifecycle and time of change.
///
/// # Errors
/// [`StoreError::Exists`] if another has this name.
pub async fn put(tx: &Tx, experiment: &Experiment) -> Result<(), StoreError> {
    let other = named(tx, &experiment.name).await?;
    if other.is_some_and(|other| other.id != experiment.id) {
        return Err(taken(&experiment.name));
    }
    tx.execute(
        "UPDATE experiments SET name = $2, lifecycle = $3, updated_at = $4 WHERE id = $1",
        values![
            experiment.id,
            experiment.name,
            experiment.lifecycle,
            experiment.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// One experiment by number.
pub async fn get(on: &impl Read, id: ExperimentId) -> Result<Option<Experiment>, StoreError> {
    let sql = "SELECT id, name, artifact_location, lifecycle, created_at, updated_at
               FROM experiments WHERE id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// One experiment by name, in use or put away.
pub async fn named(on: &impl Read, name: &str) -> Result<Option<Experiment>, StoreError> {
    let sql = "SELECT id, name, artifact_location, lifecycle, created_at, updated_at
               FROM experiments WHERE name = $1";
    on.query_one(sql, values![name.to_owned()])
        .await?
        .map(read)
        .transpose()
}

/// The experiments that a search finds.
pub async fn search(on: &impl Read, search: &Search) -> Result<Vec<Experiment>, StoreError> {
    let rows = search::rows(on, &ENTITY, search).await?;
    rows.into_iter().map(read).collect()
}

/// Sets tags.
pub async fn tag(tx: &Tx, id: ExperimentId, tags: &[Pair]) -> Result<(), StoreError> {
    EXPERIMENT_TAGS.put(tx, &id, tags).await
}

/// Removes a tag, and says whether it was there.
pub async fn untag(tx: &Tx, id: ExperimentId, key: &str) -> Result<bool, StoreError> {
    EXPERIMENT_TAGS.remove(tx, &id, key).await
}

/// The tags of many experiments.
pub async fn tags(
    on: &impl Read,
    ids: &[ExperimentId],
) -> Result<BTreeMap<ExperimentId, Vec<Pair>>, StoreError> {
    EXPERIMENT_TAGS.of(on, ids).await
}

fn taken(name: &str) -> StoreError {
    StoreError::Exists {
        entity: "experiment",
        key: name.to_owned(),
    }
}

fn read(row: Row) -> Result<Experiment, StoreError> {
    let mut row = row.of("experiment");
    Ok(Experiment {
        id: row.take()?,
        name: row.take()?,
        artifact_location: row.take()?,
        lifecycle: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}
