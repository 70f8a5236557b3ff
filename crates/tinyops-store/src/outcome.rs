//! Outcomes: labels that came later, joined to the prediction that they judge.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{DeviceId, ModelId, StoreError, Timestamp, Tx};

/// One judged prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of which device.
    pub device: DeviceId,
    /// Its number in the device's stream, which makes a repeated outcome harmless.
    pub seq: u32,
    /// The model that predicted.
    pub model: ModelId,
    /// The class that it predicted; `None` if it was unsure.
    pub predicted: Option<u32>,
    /// The class that it turned out to be.
    pub actual: u32,
    /// When the label came.
    pub at: Timestamp,
}

/// How many predictions of one kind turned out how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// In which cohort.
    pub cohort: String,
    /// By which model.
    pub model: ModelId,
    /// The class predicted.
    pub predicted: Option<u32>,
    /// The class that it was.
    pub actual: u32,
    /// How often.
    pub count: i64,
}

/// Adds outcomes; one with the same device and number stays as it is.
pub async fn add_many(tx: &Tx, outcomes: &[Outcome]) -> Result<(), StoreError> {
    let rows = outcomes
        .iter()
        .map(|o| values![o.device, o.seq, o.model, o.predicted, o.actual, o.at])
        .collect();
    tx.execute_many(
        "INSERT INTO outcomes (device, seq, model_id, predicted, actual, at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (device, seq) DO NOTHING",
        rows,
    )
    .await?;
    Ok(())
}

/// The newest outcomes of all devices, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Outcome>, StoreError> {
    let sql = "SELECT device, seq, model_id, predicted, actual, at FROM outcomes ORDER BY at DESC, device, seq LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Counts of predicted against actual classes since `since`, by cohort and model.
pub async fn tally(on: &impl Read, since: Timestamp) -> Result<Vec<Tally>, StoreError> {
    let sql = "SELECT d.cohort, o.model_id, o.predicted, o.actual, COUNT(*)
               FROM outcomes o JOIN devices d ON d.id = o.device WHERE o.at >= $1
               GROUP BY d.cohort, o.model_id, o.predicted, o.actual
               ORDER BY d.cohort, o.model_id, o.predicted, o.actual";
    let rows = on.query(sql, values![since]).await?;
    rows.into_iter()
        .map(|row| {
            let mut row = row.of("outcome tally");
            Ok(Tally {
                cohort: row.take()?,
                model: row.take()?,
                predicted: row.take()?,
                actual: row.take()?,
                count: row.take()?,
            })
        })
        .collect()
}

/// Right and judged predictions per device of one model since `since`.
pub async fn by_device(
    on: &impl Read,
    model: ModelId,
    since: Timestamp,
) -> Result<Vec<(DeviceId, i64, i64)>, StoreError> {
    let sql = "SELECT device, SUM(CASE WHEN predicted = actual THEN 1 ELSE 0 END), COUNT(*)
               FROM outcomes WHERE model_id = $1 AND at >= $2 GROUP BY device ORDER BY device";
    let rows = on.query(sql, values![model, since]).await?;
    rows.into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?, row.take()?)))
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
        at: row.take()?,
    })
}
