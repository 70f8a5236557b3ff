//! Outcomes: truths that came later, joined on the device to the predictions that they judge.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{DeviceId, ModelId, StoreError, Timestamp, Tx};

/// One cell of a confusion matrix: windows of one true class to which the model had given one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of which device.
    pub device: DeviceId,
    /// The number of the report that told it, which makes a repeated one harmless.
    pub seq: u32,
    /// The model that predicted.
    pub model: ModelId,
    /// The class that it predicted.
    pub predicted: u32,
    /// The class that it turned out to be.
    pub actual: u32,
    /// How many windows.
    pub window_count: i64,
    /// When the report came.
    pub at: Timestamp,
}

/// One cell of the confusion matrix of a cohort and a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// In which cohort.
    pub cohort: String,
    /// By which model.
    pub model: ModelId,
    /// The class predicted.
    pub predicted: u32,
    /// The class that it was.
    pub actual: u32,
    /// How many windows.
    pub window_count: i64,
}

/// Judged windows of a cohort and a model in one span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it begins.
    pub begin: Timestamp,
    /// In which cohort.
    pub cohort: String,
    /// By which model.
    pub model: ModelId,
    /// Windows that the model had right.
    pub right: i64,
    /// Windows judged.
    pub judged: i64,
}

/// Judged windows of one device and model in one span of time: a cell of their confusion matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// When the span begins.
    pub begin: Timestamp,
    /// In which cohort.
    pub cohort: String,
    /// By which model.
    pub model: ModelId,
    /// Of which device.
    pub device: DeviceId,
    /// The class predicted.
    pub predicted: u32,
    /// The class that it was.
    pub actual: u32,
    /// How many windows.
    pub window_count: i64,
}

/// Adds outcomes; one with the same device, report and predicted class stays as it is.
pub async fn add_many(tx: &Tx, outcomes: &[Outcome]) -> Result<(), StoreError> {
    let rows = outcomes
        .iter()
        .map(|o| {
            values![
                o.device,
                o.seq,
                o.model,
                o.predicted,
                o.actual,
                o.window_count,
                o.at
            ]
        })
        .collect();
    tx.execute_many(
        "INSERT INTO outcomes (device, seq, model_id, predicted, actual, window_count, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (device, seq, predicted) DO NOTHING",
        rows,
    )
    .await?;
    Ok(())
}

/// The newest outcomes of all devices, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Outcome>, StoreError> {
    let sql = "SELECT device, seq, model_id, predicted, actual, window_count, at FROM outcomes
               ORDER BY at DESC, device, seq, predicted LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Confusion matrices since `since`, by cohort and model.
pub async fn tally(on: &impl Read, since: Timestamp) -> Result<Vec<Tally>, StoreError> {
    let sql =
        "SELECT d.cohort, o.model_id, o.predicted, o.actual, CAST(SUM(o.window_count) AS BIGINT)
               FROM outcomes o JOIN devices d ON d.id = o.device WHERE o.at >= $1
               GROUP BY d.cohort, o.model_id, o.predicted, o.actual
               ORDER BY d.cohort, o.model_id, o.predicted, o.actual";
    let rows = on.query(sql, values![since]).await?;
    let read = |row: Row| {
        let mut row = row.of("outcome tally");
        Ok(Tally {
            cohort: row.take()?,
            model: row.take()?,
            predicted: row.take()?,
            actual: row.take()?,
            window_count: row.take()?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Right and judged windows of one model since `since`, on all devices.
pub async fn judged(
    on: &impl Read,
    model: ModelId,
    since: Timestamp,
) -> Result<(i64, i64), StoreError> {
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN predicted = actual THEN window_count ELSE 0 END), 0) AS BIGINT),
                      CAST(COALESCE(SUM(window_count), 0) AS BIGINT)
               FROM outcomes WHERE model_id = $1 AND at >= $2";
    let row = on.query_one(sql, values![model, since]).await?;
    let mut row = row.ok_or(StoreError::Closed)?;
    Ok((row.take()?, row.take()?))
}

/// Right and judged windows since `since`, by spans of `span_ms` from the epoch, cohort and model.
///
/// # Panics
/// If `span_ms` is not positive.
pub async fn over_time(
    on: &impl Read,
    since: Timestamp,
    span_ms: i64,
) -> Result<Vec<Span>, StoreError> {
    assert!(span_ms > 0, "a span has a length");
    let sql = "SELECT (o.at / $1) * $1 AS span, d.cohort, o.model_id,
                      CAST(SUM(CASE WHEN o.predicted = o.actual THEN o.window_count ELSE 0 END) AS BIGINT),
                      CAST(SUM(o.window_count) AS BIGINT)
               FROM outcomes o JOIN devices d ON d.id = o.device WHERE o.at >= $2
               GROUP BY span, d.cohort, o.model_id ORDER BY span, d.cohort, o.model_id";
    let rows = on.query(sql, values![span_ms, since]).await?;
    let read = |row: Row| {
        let mut row = row.of("outcome span");
        Ok(Span {
            begin: row.take()?,
            cohort: row.take()?,
            model: row.take()?,
            right: row.take()?,
            judged: row.take()?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Confusion matrices since `since`, by spans of `span_ms` from the epoch, cohort, model and device.
///
/// # Panics
/// If `span_ms` is not positive.
pub async fn cells(
    on: &impl Read,
    since: Timestamp,
    span_ms: i64,
) -> Result<Vec<Cell>, StoreError> {
    assert!(span_ms > 0, "a span has a length");
    let sql =
        "SELECT (o.at / $1) * $1 AS span, d.cohort, o.model_id, o.device, o.predicted, o.actual,
                      CAST(SUM(o.window_count) AS BIGINT)
               FROM outcomes o JOIN devices d ON d.id = o.device WHERE o.at >= $2
               GROUP BY span, d.cohort, o.model_id, o.device, o.predicted, o.actual
               ORDER BY span, d.cohort, o.model_id, o.device, o.predicted, o.actual";
    let rows = on.query(sql, values![span_ms, since]).await?;
    let read = |row: Row| {
        let mut row = row.of("outcome cell");
        Ok(Cell {
            begin: row.take()?,
            cohort: row.take()?,
            model: row.take()?,
            device: row.take()?,
            predicted: row.take()?,
            actual: row.take()?,
            window_count: row.take()?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Right and judged windows since `since`, by device and model.
pub async fn by_device(
    on: &impl Read,
    since: Timestamp,
) -> Result<Vec<(DeviceId, ModelId, i64, i64)>, StoreError> {
    let sql = "SELECT device, model_id,
                      CAST(SUM(CASE WHEN predicted = actual THEN window_count ELSE 0 END) AS BIGINT),
                      CAST(SUM(window_count) AS BIGINT)
               FROM outcomes WHERE at >= $1 GROUP BY device, model_id ORDER BY device, model_id";
    let rows = on.query(sql, values![since]).await?;
    rows.into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?, row.take()?, row.take()?)))
        .collect()
}

fn read(row: Row) -> Result<Outcome, StoreError> {
    let mut row = row.of("outcome");
    Ok(Outcome {
        device: row.take()?,
        seq: row.take()?,
        model: row.take()?,
        predicted: row.take()?,
        actual: row.take()?,
        window_count: row.take()?,
        at: row.take()?,
    })
}
