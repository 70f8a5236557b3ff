//! Reports: every accepted frame as it came, once.
//!
//! A row is a *span*: reports of one device and model that were stored together and whose numbers lie within
//! `SPAN_NUMBERS`, so that a device that reported fifty times between two folds costs one row and one place in
//! the index. Their frames stand behind each other in the order of their numbers:
//!
//! ```text
//! offset  bytes
//!  0       1    the number, as its distance to the span's last
//!  1       4    when it came, in milliseconds after the span's first; signed
//!  5       2    length of the frame
//!  7       n    the frame
//! ```
//! All numbers are little-endian. A span of one report is its frame and nothing else.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashSet;

use crate::column::{Row, Value, values};
use crate::db::Read;
use crate::{DeviceId, ModelId, StoreError, Timestamp, Tx};

/// How many numbers a span reaches over at most.
const SPAN_NUMBERS: u32 = 256;

/// Bytes before each frame in a span of several.
const HEAD_BYTES: usize = 7;

/// One accepted report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// From whom.
    pub device: DeviceId,
    /// Its number in the device's stream.
    pub seq: u32,
    /// The model that made it.
    pub model: ModelId,
    /// When it was stored; the device's own clock is not trusted.
    pub received_at: Timestamp,
    /// The frame inside the envelope.
    pub frame: Cow<'a, [u8]>,
}

/// Adds reports; says for each whether it was new. A report with the same device and sequence number stays as it is.
pub async fn add_many(tx: &Tx, reports: &[Report<'_>]) -> Result<Vec<bool>, StoreError> {
    let number = |place: usize| (reports[place].device, reports[place].seq);
    let mut order: Vec<usize> = (0..reports.len()).collect();
    // The order is stable: of those with one number, the first that came is kept.
    order.sort_by_key(|place| number(*place));
    order.dedup_by_key(|place| number(*place));
    let mut spans = Vec::new();
    let mut rest = order.as_slice();
    while let Some(&first) = rest.first() {
        let joins = |place: &&usize| may_join(&reports[first], &reports[**place]);
        let count = rest.iter().take_while(joins).count().max(1);
        let (span, after) = rest.split_at(count);
        spans.push(span);
        rest = after;
    }
    let ranges = spans
        .iter()
        .map(|span| {
            let (first, last) = (&reports[span[0]], &reports[span[span.len() - 1]]);
            reaching(first.device, first.seq, last.seq)
        })
        .collect();
    let sql =
        "SELECT device, last_seq, model_id, received_at, report_count, frames FROM report_spans
               WHERE device = $1 AND last_seq BETWEEN $2 AND $3";
    let stored = tx.query_many(sql, ranges).await?;
    let mut is_new = vec![false; reports.len()];
    let mut rows = Vec::with_capacity(spans.len());
    for (span, stored) in spans.iter().zip(stored) {
        let mut known = HashSet::new();
        for row in stored {
            known.extend(read(row)?.iter().map(|report| report.seq));
        }
        let fresh: Vec<&Report<'_>> = span
            .iter()
            .filter(|&&place| {
                is_new[place] = known.insert(reports[place].seq);
                is_new[place]
            })
            .map(|&place| &reports[place])
            .collect();
        rows.extend(row(&fresh));
    }
    tx.execute_many(
        "INSERT INTO report_spans (device, last_seq, model_id, received_at, report_count, frames)
         VALUES ($1, $2, $3, $4, $5, $6)",
        rows,
    )
    .await?;
    Ok(is_new)
}

/// One report.
pub async fn get(
    on: &impl Read,
    device: DeviceId,
    seq: u32,
) -> Result<Option<Report<'static>>, StoreError> {
    let sql =
        "SELECT device, last_seq, model_id, received_at, report_count, frames FROM report_spans
               WHERE device = $1 AND last_seq BETWEEN $2 AND $3";
    for row in on.query(sql, reaching(device, seq, seq)).await? {
        let found = read(row)?.into_iter().find(|report| report.seq == seq);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// A device's newest reports, newest first.
pub async fn of_device(
    on: &impl Read,
    device: DeviceId,
    limit: u32,
) -> Result<Vec<Report<'static>>, StoreError> {
    // Each span has the report that it is ordered by, so no newer one is in a span beyond these.
    let sql =
        "SELECT device, last_seq, model_id, received_at, report_count, frames FROM report_spans
               WHERE device = $1 ORDER BY last_seq DESC LIMIT $2";
    let mut reports = Vec::new();
    for row in on.query(sql, values![device, limit]).await? {
        reports.extend(read(row)?);
    }
    reports.sort_by_key(|report| Reverse(report.seq));
    reports.truncate(limit as usize);
    Ok(reports)
}

/// How many reports are stored.
pub async fn count(on: &impl Read) -> Result<i64, StoreError> {
    let sql = "SELECT CAST(COALESCE(SUM(report_count), 0) AS BIGINT) FROM report_spans";
    match on.query_one(sql, vec![]).await? {
        Some(mut row) => row.take(),
        None => Ok(0),
    }
}

/// The spans that may hold a number from `first` to `last`: a device and where a span may end.
fn reaching(device: DeviceId, first: u32, last: u32) -> Vec<Value> {
    let end = i64::from(last) + i64::from(SPAN_NUMBERS) - 1;
    values![device, first, end]
}

/// Whether a report may stand in the span that begins with another, whose number is not higher.
fn may_join(first: &Report<'_>, report: &Report<'_>) -> bool {
    let fits = |report: &Report<'_>| u16::try_from(report.frame.len()).is_ok();
    (report.device, report.model) == (first.device, first.model)
        && report.seq - first.seq < SPAN_NUMBERS
        && later_ms(first, report).is_some()
        && fits(first)
        && fits(report)
}

/// How much later than another a report came; `None` if that is weeks.
fn later_ms(first: &Report<'_>, report: &Report<'_>) -> Option<i32> {
    let later = report.received_at.0.checked_sub(first.received_at.0)?;
    i32::try_from(later).ok()
}

/// The row of reports that may stand in one span, ordered by their numbers; none of none.
fn row(span: &[&Report<'_>]) -> Option<Vec<Value>> {
    let (first, last) = (span.first()?, span.last()?);
    let mut frames = Vec::new();
    match span {
        [alone] => frames.extend_from_slice(&alone.frame),
        _ => {
            let bytes = span.iter().map(|report| HEAD_BYTES + report.frame.len());
            frames.reserve_exact(bytes.sum());
            for report in span {
                // All three fit: `may_join` saw to it.
                frames.push((last.seq - report.seq) as u8);
                frames.extend(later_ms(first, report)?.to_le_bytes());
                frames.extend((report.frame.len() as u16).to_le_bytes());
                frames.extend_from_slice(&report.frame);
            }
        }
    }
    let mut row = values![
        first.device,
        last.seq,
        first.model,
        first.received_at,
        span.len() as i64
    ];
    row.push(Value::Bytes(frames));
    Some(row)
}

/// The reports of a row, ordered by their numbers.
fn read(row: Row) -> Result<Vec<Report<'static>>, StoreError> {
    let mut row = row.of("span of reports");
    let (device, last_seq, model) = (row.take()?, row.take()?, row.take()?);
    let received_at: Timestamp = row.take()?;
    let count: i64 = row.take()?;
    let frames: Vec<u8> = row.take()?;
    let report = |seq, received_at, frame: Vec<u8>| Report {
        device,
        seq,
        model,
        received_at,
        frame: Cow::Owned(frame),
    };
    if count == 1 {
        return Ok(vec![report(last_seq, received_at, frames)]);
    }
    let mut reports = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    let mut rest = frames.as_slice();
    while !rest.is_empty() {
        let told = take(&mut rest).and_then(|(before_last, later_ms, frame)| {
            let seq = last_seq.checked_sub(u32::from(before_last))?;
            let at = received_at.0.checked_add(i64::from(later_ms))?;
            Some(report(seq, Timestamp(at), frame.to_vec()))
        });
        reports.push(told.ok_or(StoreError::Column {
            entity: "span of reports",
            index: 5,
        })?);
    }
    Ok(reports)
}

/// The next report of a span of several: how far before the last, how much later than the first, its frame.
fn take<'a>(rest: &mut &'a [u8]) -> Option<(u8, i32, &'a [u8])> {
    let (head, after) = rest.split_first_chunk::<HEAD_BYTES>()?;
    let &[before_last, a, b, c, d, low, high] = head;
    let (frame, after) = after.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
    *rest = after;
    Some((before_last, i32::from_le_bytes([a, b, c, d]), frame))
}
