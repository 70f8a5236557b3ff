//! The registry: versions of models, their figures, stages and aliases.

use crate::column::{Row, values, words};
use crate::db::{Query as _, Read, touched};
use crate::run::RunId;
use crate::tracking::registry::next_version;
use crate::{Digest, Json, StoreError, Timestamp, Tx};

words! {
    /// How far a model version has come.
    Stage {
        /// Registered, and no more.
        Candidate = "candidate",
        /// On a part of the fleet.
        Canary = "canary",
        /// What devices should run.
        Production = "production",
        /// Was in production once.
        Archived = "archived",
        /// Failed a gate, or was reverted.
        Rejected = "rejected",
    }
}

/// One version of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its family, such as `fan`.
    pub name: String,
    /// Counts up from 1 within the name.
    pub version: u32,
    /// Of which project.
    pub project: String,
    /// The digest of the encoded model, which is an artifact.
    pub digest: Digest,
    /// The run that made it; an imported model has none.
    pub run: Option<RunId>,
    /// The version that it was made from, as a re-solved head is.
    pub parent: Option<u32>,
    /// Figures by name.
    pub metrics: Json,
    /// How far it has come.
    pub stage: Stage,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Counts the changes to this row.
    pub revision: i64,
}

/// What is known of a model before it is numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewModel {
    /// Its family.
    pub name: String,
    /// Of which project.
    pub project: String,
    /// The digest of the encoded model.
    pub digest: Digest,
    /// The run that made it.
    pub run: Option<RunId>,
    /// The version that it was made from.
    pub parent: Option<u32>,
    /// Figures by name.
    pub metrics: Json,
}

/// Registers the next version of a name; versions that clients of the tracking API hand in are numbered with them.
pub async fn add(tx: &Tx, new: &NewModel, now: Timestamp) -> Result<Model, StoreError> {
    let version = next_version(tx, &new.name, now).await?;
    let row = tx
        .query_one(
            "INSERT INTO models (name, version, project, digest, run_id, parent, metrics, stage, created_at, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)
             RETURNING name, version, project, digest, run_id, parent, metrics, stage, created_at, revision",
            values![new.name, version, new.project, new.digest, new.run, new.parent, new.metrics, Stage::Candidate, now],
        )
        .await?;
    row.map(read).transpose()?.ok_or(StoreError::Closed)
}

/// Changes the metrics and the stage of a version.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `model` was read.
pub async fn put(tx: &Tx, model: &mut Model) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE models SET metrics = $1, stage = $2, revision = revision + 1
             WHERE name = $3 AND version = $4 AND revision = $5",
            values![
                model.metrics,
                model.stage,
                model.name,
                model.version,
                model.revision
            ],
        )
        .await?;
    touched(
        count,
        "model",
        format_args!("{}@{}", model.name, model.version),
    )?;
    model.revision += 1;
    Ok(())
}

/// One version.
pub async fn get(on: &impl Read, name: &str, version: u32) -> Result<Option<Model>, StoreError> {
    let sql = "SELECT name, version, project, digest, run_id, parent, metrics, stage, created_at, revision
               FROM models WHERE name = $1 AND version = $2";
    on.query_one(sql, values![name.to_owned(), version])
        .await?
        .map(read)
        .transpose()
}

/// The newest version of a name in any stage.
pub async fn latest(on: &impl Read, name: &str) -> Result<Option<Model>, StoreError> {
    let sql = "SELECT name, version, project, digest, run_id, parent, metrics, stage, created_at, revision
               FROM models WHERE name = $1 ORDER BY version DESC LIMIT 1";
    on.query_one(sql, values![name.to_owned()])
        .await?
        .map(read)
        .transpose()
}

/// The newest version of a name in one stage.
pub async fn in_stage(
    on: &impl Read,
    name: &str,
    stage: Stage,
) -> Result<Option<Model>, StoreError> {
    let sql = "SELECT name, version, project, digest, run_id, parent, metrics, stage, created_at, revision
               FROM models WHERE name = $1 AND stage = $2 ORDER BY version DESC LIMIT 1";
    on.query_one(sql, values![name.to_owned(), stage])
        .await?
        .map(read)
        .transpose()
}

/// The versions that a run made, oldest first.
pub async fn of_run(on: &impl Read, run: RunId) -> Result<Vec<Model>, StoreError> {
    let sql = "SELECT name, version, project, digest, run_id, parent, metrics, stage, created_at, revision
               FROM models WHERE run_id = $1 ORDER BY name, version";
    let rows = on.query(sql, values![run]).await?;
    rows.into_iter().map(read).collect()
}

/// All versions with this digest; the same bytes may be registered twice.
pub async fn by_digest(on: &impl Read, digest: &Digest) -> Result<Vec<Model>, StoreError> {
    let sql = "SELECT name, version, project, digest, run_id, parent, metrics, stage, created_at, revision
               FROM models WHERE digest = $1 ORDER BY name, version";
    on.query(sql, values![*digest])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// All versions, by name and newest first.
pub async fn list(on: &impl Read) -> Result<Vec<Model>, StoreError> {
    let sql = "SELECT name, version, project, digest, run_id, parent, metrics, stage, created_at, revision
               FROM models ORDER BY name, version DESC";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Points an alias of a name at a version.
pub async fn put_alias(tx: &Tx, name: &str, alias: &str, version: u32) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO model_aliases (name, alias, version) VALUES ($1, $2, $3)
         ON CONFLICT (name, alias) DO UPDATE SET version = excluded.version",
        values![name.to_owned(), alias.to_owned(), version],
    )
    .await?;
    Ok(())
}

/// The version that an alias of a name points at.
pub async fn by_alias(
    on: &impl Read,
    name: &str,
    alias: &str,
) -> Result<Option<Model>, StoreError> {
    let sql = "SELECT m.name, m.version, m.project, m.digest, m.run_id, m.parent, m.metrics, m.stage, m.created_at, m.revision
               FROM models m JOIN model_aliases a ON a.name = m.name AND a.version = m.version
               WHERE a.name = $1 AND a.alias = $2";
    on.query_one(sql, values![name.to_owned(), alias.to_owned()])
        .await?
        .map(read)
        .transpose()
}

/// The aliases of a name and the versions they point at.
pub async fn aliases(on: &impl Read, name: &str) -> Result<Vec<(String, u32)>, StoreError> {
    let sql = "SELECT alias, version FROM model_aliases WHERE name = $1 ORDER BY alias";
    let rows = on.query(sql, values![name.to_owned()]).await?;
    rows.into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

fn read(row: Row) -> Result<Model, StoreError> {
    let mut row = row.of("model");
    Ok(Model {
        name: row.take()?,
        version: row.take()?,
        project: row.take()?,
        digest: row.take()?,
        run: row.take()?,
        parent: row.take()?,
        metrics: row.take()?,
        stage: row.take()?,
        created_at: row.take()?,
        revision: row.take()?,
    })
}
