//! Tracked runs: what one training, or one evaluation, was given and came to.

use std::collections::BTreeMap;

use super::Lifecycle;
use super::experiment::ExperimentId;
use super::metric;
use super::pair::{Pair, RUN_PARAMS, RUN_TAGS, rows_of};
use super::search::{self, Entity, Search};
use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read};
use crate::{StoreError, Timestamp, Tx};

row_id! {
    /// The number of a tracked run's row; people and programs name it by its id.
    RunRow
}

words! {
    /// How far a tracked run is, by its own word.
    Status {
        /// At work.
        Running = "RUNNING",
        /// To begin later.
        Scheduled = "SCHEDULED",
        /// Done.
        Finished = "FINISHED",
        /// Could not finish.
        Failed = "FAILED",
        /// Was stopped.
        Killed = "KILLED",
    }
}

words! {
    /// Which way a model and a run belong together.
    Direction {
        /// The run read the model.
        Input = "input",
        /// The run made it.
        Output = "output",
    }
}

/// One tracked run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedRun {
    /// The number of its row.
    pub row: RunRow,
    /// Its id: letters, digits, `_` and `-`.
    pub id: String,
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// What people call it; several may have one name.
    pub name: String,
    /// Who began it.
    pub user: String,
    /// How far it is.
    pub status: Status,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Whether it is in use.
    pub lifecycle: Lifecycle,
}

/// A tracked run before it is numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTrackedRun {
    /// Its id.
    pub id: String,
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// What people call it.
    pub name: String,
    /// Who begins it.
    pub user: String,
    /// How far it is.
    pub status: Status,
    /// When it began.
    pub started_at: Timestamp,
}

/// Data that a run read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInput {
    /// Its name.
    pub name: String,
    /// What tells one version from another.
    pub digest: String,
    /// What kind of place it is from.
    pub source_type: String,
    /// The place.
    pub source: String,
    /// Its columns, as its maker writes them; may be empty.
    pub schema: String,
    /// Its figures, as its maker writes them; may be empty.
    pub profile: String,
    /// What for: `training`, `validation`; may be empty.
    pub context: String,
    /// Further tags of this use.
    pub tags: Vec<Pair>,
}

/// A model that a run read or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLink {
    /// The model's id.
    pub model: String,
    /// Which way.
    pub direction: Direction,
    /// At which step.
    pub step: i64,
}

/// All that is known of a run beside its row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunData {
    /// What it was given.
    pub params: Vec<Pair>,
    /// What it is marked with.
    pub tags: Vec<Pair>,
    /// The newest point of each metric.
    pub metrics: Vec<metric::Latest>,
    /// The data that it read.
    pub datasets: Vec<DatasetInput>,
    /// The models that it read and made.
    pub models: Vec<ModelLink>,
}

pub(crate) const ENTITY: Entity = Entity {
    table: "tracked_runs",
    columns: "e.id, e.run_id, e.experiment, e.name, e.user_id, e.status, e.started_at, e.ended_at, e.lifecycle",
    tags: Some(RUN_TAGS.name),
    params: Some(RUN_PARAMS.name),
    metrics: Some("run_metrics"),
};

/// Makes a run.
///
/// # Errors
/// [`StoreError::Exists`] if its id was given before.
pub async fn add(tx: &Tx, new: &NewTrackedRun) -> Result<TrackedRun, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO tracked_runs (run_id, experiment, name, user_id, status, started_at, lifecycle)
             VALUES ($1, $2, $3, $4, $5, $6, 'active') ON CONFLICT (run_id) DO NOTHING
             RETURNING id, run_id, experiment, name, user_id, status, started_at, ended_at, lifecycle",
            values![new.id, new.experiment, new.name, new.user, new.status, new.started_at],
        )
        .await?;
    row.map(read)
        .transpose()?
        .ok_or_else(|| StoreError::Exists {
            entity: "run",
            key: new.id.clone(),
        })
}

/// Changes name, status, end and lifecycle.
pub async fn put(tx: &Tx, run: &TrackedRun) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tracked_runs SET name = $2, status = $3, ended_at = $4, lifecycle = $5 WHERE id = $1",
        values![run.row, run.name, run.status, run.ended_at, run.lifecycle],
    )
    .await?;
    Ok(())
}

/// One run by its id.
pub async fn get(on: &impl Read, id: &str) -> Result<Option<TrackedRun>, StoreError> {
    let sql =
        "SELECT id, run_id, experiment, name, user_id, status, started_at, ended_at, lifecycle
               FROM tracked_runs WHERE run_id = $1";
    on.query_one(sql, values![id.to_owned()])
        .await?
        .map(read)
        .transpose()
}

/// The runs that a search finds.
pub async fn search(on: &impl Read, search: &Search) -> Result<Vec<TrackedRun>, StoreError> {
    let rows = search::rows(on, &ENTITY, search).await?;
    rows.into_iter().map(read).collect()
}

/// The parameters of a run.
pub async fn params_of(on: &impl Read, run: RunRow) -> Result<Vec<Pair>, StoreError> {
    let mut found = RUN_PARAMS.of(on, &[run]).await?;
    Ok(found.remove(&run).unwrap_or_default())
}

/// Adds parameters; whoever calls has seen that none changes.
pub async fn add_params(tx: &Tx, run: RunRow, params: &[Pair]) -> Result<(), StoreError> {
    RUN_PARAMS.put(tx, &run, params).await
}

/// Sets tags.
pub async fn tag(tx: &Tx, run: RunRow, tags: &[Pair]) -> Result<(), StoreError> {
    RUN_TAGS.put(tx, &run, tags).await
}

/// Removes a tag, and says whether it was there.
pub async fn untag(tx: &Tx, run: RunRow, key: &str) -> Result<bool, StoreError> {
    RUN_TAGS.remove(tx, &run, key).await
}

/// Notes data that a run read; the same again adds what is new about its use.
pub async fn add_datasets(
    tx: &Tx,
    run: &TrackedRun,
    datasets: &[DatasetInput],
) -> Result<(), StoreError> {
    for input in datasets {
        tx.execute(
            "INSERT INTO tracked_datasets (experiment, name, digest, source_type, source, schema, profile)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (experiment, name, digest) DO NOTHING",
            values![
                run.experiment,
                input.name,
                input.digest,
                input.source_type,
                input.source,
                input.schema,
                input.profile
            ],
        )
        .await?;
        let tags: BTreeMap<&str, &str> = input
            .tags
            .iter()
            .map(|tag| (tag.key.as_str(), tag.value.as_str()))
            .collect();
        tx.execute(
            "INSERT INTO run_datasets (run, dataset, context, tags)
             SELECT $1, id, $5, $6 FROM tracked_datasets WHERE experiment = $2 AND name = $3 AND digest = $4
             ON CONFLICT (run, dataset) DO UPDATE SET context = excluded.context, tags = excluded.tags",
            values![
                run.row,
                run.experiment,
                input.name,
                input.digest,
                input.context,
                crate::Json::from_iter(tags)
            ],
        )
        .await?;
    }
    Ok(())
}

/// Notes models that a run read or made.
pub async fn add_models(tx: &Tx, run: RunRow, links: &[ModelLink]) -> Result<(), StoreError> {
    let rows = links
        .iter()
        .map(|link| values![run, link.model, link.direction, link.step]);
    tx.execute_many(
        "INSERT INTO run_models (run, model_id, direction, step) VALUES ($1, $2, $3, $4)
         ON CONFLICT (run, model_id, direction) DO UPDATE SET step = excluded.step",
        rows.collect(),
    )
    .await?;
    Ok(())
}

/// All that is known of many runs, in their order.
pub async fn data_of(on: &impl Read, runs: &[TrackedRun]) -> Result<Vec<RunData>, StoreError> {
    let rows: Vec<RunRow> = runs.iter().map(|run| run.row).collect();
    let numbers: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let mut params = RUN_PARAMS.of(on, &rows).await?;
    let mut tags = RUN_TAGS.of(on, &rows).await?;
    let mut metrics = metric::latest_of(on, &numbers).await?;
    let mut datasets = datasets_of(on, &numbers).await?;
    let mut models = models_of(on, &numbers).await?;
    let data = rows.iter().map(|row| RunData {
        params: params.remove(row).unwrap_or_default(),
        tags: tags.remove(row).unwrap_or_default(),
        metrics: metrics.remove(&row.0).unwrap_or_default(),
        datasets: datasets.remove(&row.0).unwrap_or_default(),
        models: models.remove(&row.0).unwrap_or_default(),
    });
    Ok(data.collect())
}

async fn datasets_of(
    on: &impl Read,
    runs: &[i64],
) -> Result<BTreeMap<i64, Vec<DatasetInput>>, StoreError> {
    let head = "SELECT d.run, t.name, t.digest, t.source_type, t.source, t.schema, t.profile, d.context, d.tags
                FROM run_datasets d JOIN tracked_datasets t ON t.id = d.dataset WHERE d.run IN";
    let mut found: BTreeMap<i64, Vec<DatasetInput>> = BTreeMap::new();
    for row in rows_of(on, head, runs, "ORDER BY d.run, t.id").await? {
        let mut row = row.of("dataset of a run");
        let run = row.take()?;
        let input = DatasetInput {
            name: row.take()?,
            digest: row.take()?,
            source_type: row.take()?,
            source: row.take()?,
            schema: row.take()?,
            profile: row.take()?,
            context: row.take()?,
            tags: tags_of(&row.take::<crate::Json>()?),
        };
        found.entry(run).or_default().push(input);
    }
    Ok(found)
}

fn tags_of(json: &crate::Json) -> Vec<Pair> {
    let pairs = json.as_object().into_iter().flatten();
    let pair = |(key, value): (&String, &crate::Json)| Pair {
        key: key.clone(),
        value: value.as_str().unwrap_or_default().to_owned(),
    };
    pairs.map(pair).collect()
}

async fn models_of(
    on: &impl Read,
    runs: &[i64],
) -> Result<BTreeMap<i64, Vec<ModelLink>>, StoreError> {
    let head = "SELECT run, model_id, direction, step FROM run_models WHERE run IN";
    let mut found: BTreeMap<i64, Vec<ModelLink>> = BTreeMap::new();
    for row in rows_of(on, head, runs, "ORDER BY run, step, model_id").await? {
        let mut row = row.of("model of a run");
        let run = row.take()?;
        let link = ModelLink {
            model: row.take()?,
            direction: row.take()?,
            step: row.take()?,
        };
        found.entry(run).or_default().push(link);
    }
    Ok(found)
}

fn read(row: Row) -> Result<TrackedRun, StoreError> {
    let mut row = row.of("run");
    Ok(TrackedRun {
        row: row.take()?,
        id: row.take()?,
        experiment: row.take()?,
        name: row.take()?,
        user: row.take()?,
        status: row.take()?,
        started_at: row.take()?,
        ended_at: row.take()?,
        lifecycle: row.take()?,
    })
}
