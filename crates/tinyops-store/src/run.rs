//! Runs: one execution of a project's pipeline.

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read, touched};
use crate::trigger::TriggerId;
use crate::{Digest, Json, StoreError, Timestamp, Tx};

row_id! {
    /// The number of a run.
    RunId
}

words! {
    /// How far a run is.
    RunState {
        /// Made, but no step has begun.
        Waiting = "waiting",
        /// A step is at work, or the process was killed there.
        Running = "running",
        /// Every step is done and every gate passed.
        Done = "done",
        /// A gate said no: there is a model, and it may not go out.
        Refused = "refused",
        /// A step could not finish.
        Failed = "failed",
    }
}

/// One execution of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Whose pipeline.
    pub project: String,
    /// Which pipeline: `train`, `resolve-head`, ….
    pub kind: String,
    /// The trigger that asked for it, if no person did.
    pub trigger: Option<TriggerId>,
    /// The digest of the settings it ran with, kept as an artifact.
    pub settings: Digest,
    /// The version of TinyOps that ran it.
    pub code: String,
    /// The seed that everything random in it came from.
    pub seed: u64,
    /// How far it is.
    pub state: RunState,
    /// Metrics by name, and why it was refused or failed.
    pub detail: Json,
    /// When it was made.
    pub started_at: Timestamp,
    /// When it ended, whichever way.
    pub ended_at: Option<Timestamp>,
    /// Counts the changes to this row.
    pub revision: i64,
}

/// What is known of a run before it is numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Whose pipeline.
    pub project: String,
    /// Which pipeline.
    pub kind: String,
    /// The trigger that asked for it.
    pub trigger: Option<TriggerId>,
    /// The digest of its settings.
    pub settings: Digest,
    /// The version of TinyOps.
    pub code: String,
    /// The seed.
    pub seed: u64,
}

/// Adds a waiting run and numbers it.
pub async fn add(tx: &Tx, new: &NewRun, now: Timestamp) -> Result<Run, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO runs (project, kind, trigger_id, settings, code, seed, state, detail, started_at, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)
             RETURNING id, project, kind, trigger_id, settings, code, seed, state, detail, started_at, ended_at, revision",
            values![
                new.project, new.kind, new.trigger, new.settings, new.code, new.seed,
                RunState::Waiting, Json::Object(Default::default()), now
            ],
        )
        .await?;
    row.map(read).transpose()?.ok_or(StoreError::Closed)
}

/// Changes the state, detail and end of a run.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `run` was read.
pub async fn put(tx: &Tx, run: &mut Run) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE runs SET state = $1, detail = $2, ended_at = $3, revision = revision + 1
             WHERE id = $4 AND revision = $5",
            values![run.state, run.detail, run.ended_at, run.id, run.revision],
        )
        .await?;
    touched(count, "run", run.id)?;
    run.revision += 1;
    Ok(())
}

/// One run.
pub async fn get(on: &impl Read, id: RunId) -> Result<Option<Run>, StoreError> {
    let sql = "SELECT id, project, kind, trigger_id, settings, code, seed, state, detail, started_at, ended_at, revision
               FROM runs WHERE id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// The newest runs of all projects, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Run>, StoreError> {
    let sql = "SELECT id, project, kind, trigger_id, settings, code, seed, state, detail, started_at, ended_at, revision
               FROM runs ORDER BY id DESC LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Runs that say they are running: after a start of the server, those that a killed process left behind.
pub async fn running(on: &impl Read) -> Result<Vec<Run>, StoreError> {
    let sql = "SELECT id, project, kind, trigger_id, settings, code, seed, state, detail, started_at, ended_at, revision
               FROM runs WHERE state IN ('waiting', 'running') ORDER BY id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<Run, StoreError> {
    let mut row = row.of("run");
    Ok(Run {
        id: row.take()?,
        project: row.take()?,
        kind: row.take()?,
        trigger: row.take()?,
        settings: row.take()?,
        code: row.take()?,
        seed: row.take()?,
        state: row.take()?,
        detail: row.take()?,
        started_at: row.take()?,
        ended_at: row.take()?,
        revision: row.take()?,
    })
}
