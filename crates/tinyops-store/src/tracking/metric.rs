//! Metrics: points by key. All are kept, as many in a row as came at once; the newest of each key is a row of its own.

use std::collections::BTreeMap;

use super::pair::rows_of;
use super::run::RunRow;
use crate::column::{Value, values};
use crate::db::Read;
use crate::{StoreError, Tx};

/// Bytes of a packed point: time, step and value, each of eight bytes, least first.
const POINT_BYTES: usize = 24;

/// One value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When, in milliseconds, by the clock of whoever logged it.
    pub at: i64,
    /// At which step.
    pub step: i64,
    /// What; may be NaN, is never infinite.
    pub value: f64,
}

/// A point of a named metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub key: String,
    /// The point.
    pub point: Point,
}

/// The newest point of a metric.
pub type Latest = Sample;

/// Adds points to a run; the newest of a key is that of the greatest step, then time, then value.
pub async fn add(tx: &Tx, run: RunRow, samples: &[Sample]) -> Result<(), StoreError> {
    let mut by_key: BTreeMap<&str, (Vec<u8>, Point)> = BTreeMap::new();
    for sample in samples {
        let point = sample.point;
        let (packed, newest) = by_key
            .entry(&sample.key)
            .or_insert_with(|| (Vec::new(), point));
        packed.extend(point.at.to_le_bytes());
        packed.extend(point.step.to_le_bytes());
        packed.extend(point.value.to_le_bytes());
        if order(&point) > order(newest) {
            *newest = point;
        }
    }
    let mut points = Vec::with_capacity(by_key.len());
    let mut newest = Vec::with_capacity(by_key.len());
    for (key, (packed, point)) in by_key {
        points.push(values![run, key.to_owned(), packed]);
        newest.push(vec![
            Value::Int(run.0),
            Value::Text(key.to_owned()),
            number(point.value),
            Value::Int(point.at),
            Value::Int(point.step),
        ]);
    }
    tx.execute_many(
        "INSERT INTO metric_points (owner, key, points) VALUES ($1, $2, $3)",
        points,
    )
    .await?;
    tx.execute_many(
        "INSERT INTO run_metrics (owner, key, value, at, step) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (owner, key) DO UPDATE SET value = excluded.value, at = excluded.at, step = excluded.step
         WHERE excluded.step > run_metrics.step
            OR (excluded.step = run_metrics.step AND excluded.at > run_metrics.at)
            OR (excluded.step = run_metrics.step AND excluded.at = run_metrics.at
                AND (run_metrics.value IS NULL OR excluded.value > run_metrics.value))",
        newest,
    )
    .await?;
    Ok(())
}

/// Forgets every point of a run.
pub async fn clear(tx: &Tx, run: RunRow) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM metric_points WHERE owner = $1",
        "DELETE FROM run_metrics WHERE owner = $1",
    ] {
        tx.execute(sql, values![run]).await?;
    }
    Ok(())
}

/// Every point of a run's metric by time, step and value; one that was logged twice is there once.
pub async fn history(on: &impl Read, run: RunRow, key: &str) -> Result<Vec<Point>, StoreError> {
    let sql = "SELECT points FROM metric_points WHERE owner = $1 AND key = $2";
    let mut points = Vec::new();
    for mut row in on.query(sql, values![run, key.to_owned()]).await? {
        let packed: Vec<u8> = row.take()?;
        points.extend(packed.chunks_exact(POINT_BYTES).map(unpack));
    }
    let rank = |point: &Point| (point.at, point.step, total(point.value));
    points.sort_by_key(rank);
    points.dedup_by_key(|point| rank(point));
    Ok(points)
}

/// The newest points of many runs, by key.
pub(crate) async fn latest_of(
    on: &impl Read,
    runs: &[i64],
) -> Result<BTreeMap<i64, Vec<Latest>>, StoreError> {
    let head = "SELECT owner, key, value, at, step FROM run_metrics WHERE owner IN";
    let mut found: BTreeMap<i64, Vec<Latest>> = BTreeMap::new();
    for row in rows_of(on, head, runs, "ORDER BY owner, key").await? {
        let mut row = row.of("metric");
        let owner = row.take()?;
        let key = row.take()?;
        let value = row.take()?;
        let (at, step) = (row.take()?, row.take()?);
        let latest = Latest {
            key,
            point: Point { at, step, value },
        };
        found.entry(owner).or_default().push(latest);
    }
    Ok(found)
}

/// NaN is NULL in both engines: it is neither more nor less than a number.
pub(crate) fn number(value: f64) -> Value {
    match value.is_nan() {
        true => Value::Null,
        false => Value::Real(value),
    }
}

fn order(point: &Point) -> (i64, i64, u64) {
    let value = if point.value.is_nan() {
        0
    } else {
        total(point.value)
    };
    (point.step, point.at, value)
}

/// Sorts as the numbers do: bits of IEEE 754, negative ones turned round.
fn total(value: f64) -> u64 {
    let bits = value.to_bits();
    match bits >> 63 {
        0 => bits | 1 << 63,
        _ => !bits,
    }
}

fn unpack(bytes: &[u8]) -> Point {
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
        word
    };
    Point {
        at: i64::from_le_bytes(word(0)),
        step: i64::from_le_bytes(word(1)),
        value: f64::from_le_bytes(word(2)),
    }
}
