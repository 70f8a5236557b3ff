//! Logged models: files of one model, with parameters, tags and metrics of its own.

use std::collections::BTreeMap;

use super::experiment::ExperimentId;
use super::metric::{Sample, number};
use super::pair::{LOGGED_PARAMS, LOGGED_TAGS, Pair, rows_of};
use super::search::{self, Entity, Search};
use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read};
use crate::{StoreError, Timestamp, Tx};

row_id! {
    /// The number of a logged model's row; programs name it by its id.
    LoggedModelRow
}

words! {
    /// Whether a logged model can be used.
    LoggedModelStatus {
        /// Its files are on the way.
        Pending = "LOGGED_MODEL_PENDING",
        /// It can.
        Ready = "LOGGED_MODEL_READY",
        /// Its files did not come.
        UploadFailed = "LOGGED_MODEL_UPLOAD_FAILED",
        /// Nobody said.
        Unspecified = "LOGGED_MODEL_STATUS_UNSPECIFIED",
    }
}

/// One logged model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedModel {
    /// The number of its row.
    pub row: LoggedModelRow,
    /// Its id: `m-` and 32 hex digits.
    pub id: String,
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// What people call it.
    pub name: String,
    /// What kind of model, by its maker; may be empty.
    pub model_type: String,
    /// The run that made it; may be empty.
    pub source_run: String,
    /// Whether it can be used.
    pub status: LoggedModelStatus,
    /// Why not.
    pub status_message: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// A logged model before it is numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLoggedModel {
    /// Its id.
    pub id: String,
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// What people call it.
    pub name: String,
    /// What kind of model.
    pub model_type: String,
    /// The run that makes it.
    pub source_run: String,
}

/// A value of a logged model's metric, and what it was measured on.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelMetric {
    /// The metric's name and point.
    pub sample: Sample,
    /// The run that measured it.
    pub run: String,
    /// The data that it was measured on; may be empty.
    pub dataset_name: String,
    /// Which version of the data; may be empty.
    pub dataset_digest: String,
}

/// All that is known of a logged model beside its row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoggedModelData {
    /// What it was made with.
    pub params: Vec<Pair>,
    /// What it is marked with.
    pub tags: Vec<Pair>,
    /// What was measured of it.
    pub metrics: Vec<ModelMetric>,
}

pub(crate) const ENTITY: Entity = Entity {
    table: "logged_models",
    columns: "e.id, e.model_id, e.experiment, e.name, e.model_type, e.source_run_id, e.status, e.status_message, e.created_at, e.updated_at",
    tags: Some(LOGGED_TAGS.name),
    params: Some(LOGGED_PARAMS.name),
    metrics: Some("logged_model_metrics"),
};

/// Makes a logged model whose files are to come.
///
/// # Errors
/// [`StoreError::Exists`] if its id was given before.
pub async fn add(tx: &Tx, new: &NewLoggedModel, now: Timestamp) -> Result<LoggedModel, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO logged_models (model_id, experiment, name, model_type, source_run_id, status, status_message, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, '', $7, $7) ON CONFLICT (model_id) DO NOTHING
             RETURNING id, model_id, experiment, name, model_type, source_run_id, status, status_message, created_at, updated_at",
            values![
                new.id,
                new.experiment,
                new.name,
                new.model_type,
                new.source_run,
                LoggedModelStatus::Pending,
                now
            ],
        )
        .await?;
    row.map(read)
        .transpose()?
        .ok_or_else(|| StoreError::Exists {
            entity: "logged model",
            key: new.id.clone(),
        })
}

/// Changes status and time of change.
pub async fn put(tx: &Tx, model: &LoggedModel) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE logged_models SET status = $2, status_message = $3, updated_at = $4 WHERE id = $1",
        values![
            model.row,
            model.status,
            model.status_message,
            model.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// Forgets a logged model; its files stay.
pub async fn remove(tx: &Tx, model: &LoggedModel) -> Result<(), StoreError> {
    LOGGED_PARAMS.clear(tx, &model.row).await?;
    LOGGED_TAGS.clear(tx, &model.row).await?;
    let of_row = values![model.row];
    tx.execute(
        "DELETE FROM logged_model_metrics WHERE owner = $1",
        of_row.clone(),
    )
    .await?;
    tx.execute("DELETE FROM logged_models WHERE id = $1", of_row)
        .await?;
    Ok(())
}

/// One logged model by its id.
pub async fn get(on: &impl Read, id: &str) -> Result<Option<LoggedModel>, StoreError> {
    let sql = "SELECT id, model_id, experiment, name, model_type, source_run_id, status, status_message, created_at, updated_at
               FROM logged_models WHERE model_id = $1";
    on.query_one(sql, values![id.to_owned()])
        .await?
        .map(read)
        .transpose()
}

/// The logged models that a search finds.
pub async fn search(on: &impl Read, search: &Search) -> Result<Vec<LoggedModel>, StoreError> {
    let rows = search::rows(on, &ENTITY, search).await?;
    rows.into_iter().map(read).collect()
}

/// Sets parameters.
pub async fn add_params(tx: &Tx, model: LoggedModelRow, params: &[Pair]) -> Result<(), StoreError> {
    LOGGED_PARAMS.put(tx, &model, params).await
}

/// Sets tags.
pub async fn tag(tx: &Tx, model: LoggedModelRow, tags: &[Pair]) -> Result<(), StoreError> {
    LOGGED_TAGS.put(tx, &model, tags).await
}

/// Removes a tag, and says whether it was there.
pub async fn untag(tx: &Tx, model: LoggedModelRow, key: &str) -> Result<bool, StoreError> {
    LOGGED_TAGS.remove(tx, &model, key).await
}

/// Notes what a run measured of a model; the newest value of each metric, run and dataset stands.
pub async fn add_metrics(
    tx: &Tx,
    model: LoggedModelRow,
    metrics: &[ModelMetric],
) -> Result<(), StoreError> {
    let rows = metrics.iter().map(|metric| {
        let point = &metric.sample.point;
        values![
            model,
            metric.sample.key,
            number(point.value),
            point.at,
            point.step,
            metric.run,
            metric.dataset_name,
            metric.dataset_digest
        ]
    });
    tx.execute_many(
        "INSERT INTO logged_model_metrics (owner, key, value, at, step, run_id, dataset_name, dataset_digest)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (owner, key, run_id, dataset_name, dataset_digest)
         DO UPDATE SET value = excluded.value, at = excluded.at, step = excluded.step
         WHERE excluded.step > logged_model_metrics.step
            OR (excluded.step = logged_model_metrics.step AND excluded.at >= logged_model_metrics.at)",
        rows.collect(),
    )
    .await?;
    Ok(())
}

/// All that is known of many logged models, in their order.
pub async fn data_of(
    on: &impl Read,
    models: &[LoggedModel],
) -> Result<Vec<LoggedModelData>, StoreError> {
    let rows: Vec<LoggedModelRow> = models.iter().map(|model| model.row).collect();
    let numbers: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let mut params = LOGGED_PARAMS.of(on, &rows).await?;
    let mut tags = LOGGED_TAGS.of(on, &rows).await?;
    let mut metrics = metrics_of(on, &numbers).await?;
    let data = rows.iter().map(|row| LoggedModelData {
        params: params.remove(row).unwrap_or_default(),
        tags: tags.remove(row).unwrap_or_default(),
        metrics: metrics.remove(&row.0).unwrap_or_default(),
    });
    Ok(data.collect())
}

async fn metrics_of(
    on: &impl Read,
    models: &[i64],
) -> Result<BTreeMap<i64, Vec<ModelMetric>>, StoreError> {
    let head = "SELECT owner, key, value, at, step, run_id, dataset_name, dataset_digest
                FROM logged_model_metrics WHERE owner IN";
    let mut found: BTreeMap<i64, Vec<ModelMetric>> = BTreeMap::new();
    for row in rows_of(on, head, models, "ORDER BY owner, key, at").await? {
        let mut row = row.of("metric of a logged model");
        let owner = row.take()?;
        let key = row.take()?;
        let value = row.take()?;
        let (at, step) = (row.take()?, row.take()?);
        let metric = ModelMetric {
            sample: Sample {
                key,
                point: super::metric::Point { at, step, value },
            },
            run: row.take()?,
            dataset_name: row.take()?,
            dataset_digest: row.take()?,
        };
        found.entry(owner).or_default().push(metric);
    }
    Ok(found)
}

fn read(row: Row) -> Result<LoggedModel, StoreError> {
    let mut row = row.of("logged model");
    Ok(LoggedModel {
        row: row.take()?,
        id: row.take()?,
        experiment: row.take()?,
        name: row.take()?,
        model_type: row.take()?,
        source_run: row.take()?,
        status: row.take()?,
        status_message: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}
