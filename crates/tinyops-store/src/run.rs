//! Runs: one execution of a project's pipeline.
//!
//! Whoever works on a run holds a lease on it and renews it. A run whose lease ran out is interrupted, whatever
//! its row says: its process was killed, or its machine is gone.

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
        /// A step is at work, as long as the lease holds: see [`Run::state_at`].
        Running = "running",
        /// Every step is done and every gate passed.
        Done = "done",
        /// A gate said no: there is a model, and it may not go out.
        Refused = "refused",
        /// A step could not finish.
        Failed = "failed",
        /// Its process ended in the middle; the next run went on from the steps that were done.
        Interrupted = "interrupted",
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
    /// Who works on it, for people: process, machine and folder.
    pub owner: Option<String>,
    /// Until when the owner need not be heard of; `None` once the run has ended.
    pub lease_until: Option<Timestamp>,
    /// Counts the changes to this row.
    pub revision: i64,
}

impl Run {
    /// How far the run is at `now`: one that is not over, and whose lease ran out, is interrupted.
    pub fn state_at(&self, now: Timestamp) -> RunState {
        match self.state {
            RunState::Waiting | RunState::Running
                if self.lease_until.is_none_or(|until| until < now) =>
            {
                RunState::Interrupted
            }
            state => state,
        }
    }
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
    /// Who works on it.
    pub owner: String,
    /// Until when the owner need not be heard of.
    pub lease_until: Timestamp,
}

/// Adds a waiting run and numbers it.
pub async fn add(tx: &Tx, new: &NewRun, now: Timestamp) -> Result<Run, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO runs (project, kind, trigger_id, settings, code, seed, state, detail, started_at, owner, lease_until, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)
             RETURNING id, project, kind, trigger_id, settings, code, seed, state, detail, started_at, ended_at, owner, lease_until, revision",
            values![
                new.project, new.kind, new.trigger, new.settings, new.code, new.seed,
                RunState::Waiting, Json::Object(Default::default()), now,
                new.owner, new.lease_until
            ],
        )
        .await?;
    row.map(read).transpose()?.ok_or(StoreError::Closed)
}

/// Changes the state, detail, end and lease of a run.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `run` was read.
pub async fn put(tx: &Tx, run: &mut Run) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE runs SET state = $1, detail = $2, ended_at = $3, lease_until = $4, revision = revision + 1
             WHERE id = $5 AND revision = $6",
            values![run.state, run.detail, run.ended_at, run.lease_until, run.id, run.revision],
        )
        .await?;
    touched(count, "run", run.id)?;
    run.revision += 1;
    Ok(())
}

/// Says that the owner of a run is still at work on it.
///
/// # Errors
/// [`StoreError::Conflict`] if another process has taken the run over.
pub async fn renew(tx: &Tx, run: &Run, until: Timestamp) -> Result<(), StoreError> {
    // No change of the revision: the owner, who alone renews, need not read the row again.
    let count = tx
        .execute(
            "UPDATE runs SET lease_until = $1 WHERE id = $2 AND revision = $3",
            values![until, run.id, run.revision],
        )
        .await?;
    touched(count, "run", run.id)
}

/// One run.
pub async fn get(on: &impl Read, id: RunId) -> Result<Option<Run>, StoreError> {
    let sql = "SELECT id, project, kind, trigger_id, settings, code, seed, state, detail, started_at, ended_at, owner, lease_until, revision
               FROM runs WHERE id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// The newest runs of all projects, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Run>, StoreError> {
    let sql = "SELECT id, project, kind, trigger_id, settings, code, seed, state, detail, started_at, ended_at, owner, lease_until, revision
               FROM runs ORDER BY id DESC LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The runs of a project that are not over by their rows: at work, or left behind by a killed process.
pub async fn open_of(on: &impl Read, project: &str) -> Result<Vec<Run>, StoreError> {
    let sql = "SELECT id, project, kind, trigger_id, settings, code, seed, state, detail, started_at, ended_at, owner, lease_until, revision
               FROM runs WHERE project = $1 AND state IN ('waiting', 'running') ORDER BY id";
    on.query(sql, values![project.to_owned()])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The runs of which no tracked run tells whose id is `mark` and the run's number, oldest first.
pub async fn untracked(on: &impl Read, mark: &str) -> Result<Vec<Run>, StoreError> {
    let sql = "SELECT id, project, kind, trigger_id, settings, code, seed, state, detail, started_at, ended_at, owner, lease_until, revision
               FROM runs WHERE NOT EXISTS (SELECT 1 FROM tracked_runs t WHERE t.run_id = CAST($1 AS TEXT) || runs.id) ORDER BY id";
    on.query(sql, values![mark.to_owned()])
        .await?
        .into_iter()
        .map(read)
        .collect()
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
        owner: row.take()?,
        lease_until: row.take()?,
        revision: row.take()?,
    })
}
