//! Steps: one node of a run, with its inputs and outputs by digest.

use crate::column::{Column, Row, Value, values, words};
use crate::db::Read;
use crate::run::RunId;
use crate::{Digest, Json, StoreError, Timestamp, Tx};

words! {
    /// How far a step is.
    StepState {
        /// Not begun.
        Waiting = "waiting",
        /// At work.
        Running = "running",
        /// Done here and now.
        Done = "done",
        /// Taken from an earlier run with the same key.
        Cached = "cached",
        /// Could not finish.
        Failed = "failed",
        /// Left out, since an earlier step failed or refused.
        Skipped = "skipped",
    }
}

/// A named artifact that goes into a step or comes out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What it is to the step: `dataset`, `model`, `settings`, ….
    pub name: String,
    /// Which bytes.
    pub digest: Digest,
}

/// One node of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Of which run.
    pub run: RunId,
    /// Its place in the run, from 0.
    pub index: u32,
    /// `ingest`, `train`, ….
    pub name: String,
    /// How far it is.
    pub state: StepState,
    /// The digest of everything that its outputs depend on: the key of the cache.
    pub key: Option<Digest>,
    /// What went in.
    pub inputs: Vec<Port>,
    /// What came out.
    pub outputs: Vec<Port>,
    /// How long it worked, in seconds.
    pub seconds: f64,
    /// Figures and findings for people.
    pub detail: Json,
    /// When this row was last written.
    pub changed_at: Timestamp,
}

/// Adds a step to a run, or replaces it.
pub async fn put(tx: &Tx, step: &Step) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO steps (run_id, step_index, name, state, cache_key, inputs, outputs, seconds, detail, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (run_id, name) DO UPDATE SET state = excluded.state, cache_key = excluded.cache_key,
           inputs = excluded.inputs, outputs = excluded.outputs, seconds = excluded.seconds,
           detail = excluded.detail, changed_at = excluded.changed_at",
        values![
            step.run, step.index, step.name, step.state, step.key, step.inputs, step.outputs, step.seconds,
            step.detail, step.changed_at
        ],
    )
    .await?;
    Ok(())
}

/// The steps of a run, in order.
pub async fn of_run(on: &impl Read, run: RunId) -> Result<Vec<Step>, StoreError> {
    let sql = "SELECT run_id, step_index, name, state, cache_key, inputs, outputs, seconds, detail, changed_at
               FROM steps WHERE run_id = $1 ORDER BY step_index, name";
    on.query(sql, values![run])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The newest step that was done with this key, whose outputs can be used again.
pub async fn cached(on: &impl Read, key: &Digest) -> Result<Option<Step>, StoreError> {
    let sql = "SELECT run_id, step_index, name, state, cache_key, inputs, outputs, seconds, detail, changed_at
               FROM steps WHERE cache_key = $1 AND state = 'done' ORDER BY run_id DESC LIMIT 1";
    on.query_one(sql, values![*key])
        .await?
        .map(read)
        .transpose()
}

fn read(row: Row) -> Result<Step, StoreError> {
    let mut row = row.of("step");
    Ok(Step {
        run: row.take()?,
        index: row.take()?,
        name: row.take()?,
        state: row.take()?,
        key: row.take()?,
        inputs: row.take()?,
        outputs: row.take()?,
        seconds: row.take()?,
        detail: row.take()?,
        changed_at: row.take()?,
    })
}

/// `[["name", "digest"], …]`
impl Column for Vec<Port> {
    fn put(&self) -> Value {
        self.iter()
            .map(|port| Json::from(vec![port.name.clone(), port.digest.to_string()]))
            .collect::<Json>()
            .put()
    }
    fn take(value: Value) -> Option<Vec<Port>> {
        let pairs: Vec<(String, String)> = serde_json::from_str(&String::take(value)?).ok()?;
        pairs
            .into_iter()
            .map(|(name, digest)| {
                Some(Port {
                    name,
                    digest: digest.parse().ok()?,
                })
            })
            .collect()
    }
}
