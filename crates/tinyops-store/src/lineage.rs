//! Lineage: which bytes were made from which.

use std::collections::BTreeSet;

use crate::column::{Row, values};
use crate::db::Read;
use crate::run::RunId;
use crate::{Digest, StoreError, Tx};

/// One edge: `to` was made from `from`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// What went in.
    pub from: Digest,
    /// What came out.
    pub to: Digest,
    /// How: the name of the step, or of the relation (`recording`, `capsule`, …).
    pub kind: String,
    /// The run that did it.
    pub run: Option<RunId>,
}

/// Adds edges; those that are there already stay.
pub async fn add(tx: &Tx, edges: &[Edge]) -> Result<(), StoreError> {
    let rows = edges
        .iter()
        .map(|edge| values![edge.from, edge.to, edge.kind, edge.run])
        .collect();
    tx.execute_many(
        "INSERT INTO lineage (from_digest, to_digest, kind, run_id) VALUES ($1, $2, $3, $4)
         ON CONFLICT (from_digest, to_digest, kind) DO NOTHING",
        rows,
    )
    .await?;
    Ok(())
}

/// What `digest` was made from, one edge back.
pub async fn made_from(on: &impl Read, digest: &Digest) -> Result<Vec<Edge>, StoreError> {
    let sql = "SELECT from_digest, to_digest, kind, run_id FROM lineage WHERE to_digest = $1 ORDER BY kind, from_digest";
    on.query(sql, values![*digest])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// What was made from `digest`, one edge on.
pub async fn made_into(on: &impl Read, digest: &Digest) -> Result<Vec<Edge>, StoreError> {
    let sql = "SELECT from_digest, to_digest, kind, run_id FROM lineage WHERE from_digest = $1 ORDER BY kind, to_digest";
    on.query(sql, values![*digest])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// All edges on the ways from `digest` back to its sources, nearest first.
pub async fn ancestors(on: &impl Read, digest: &Digest) -> Result<Vec<Edge>, StoreError> {
    let mut edges = Vec::new();
    let mut seen = BTreeSet::from([*digest]);
    let mut frontier = vec![*digest];
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for digest in frontier {
            for edge in made_from(on, &digest).await? {
                if seen.insert(edge.from) {
                    next.push(edge.from);
                }
                edges.push(edge);
            }
        }
        frontier = next;
    }
    Ok(edges)
}

/// All edges on the ways from `digest` on to everything made with it, nearest first.
pub async fn descendants(on: &impl Read, digest: &Digest) -> Result<Vec<Edge>, StoreError> {
    let mut edges = Vec::new();
    let mut seen = BTreeSet::from([*digest]);
    let mut frontier = vec![*digest];
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for digest in frontier {
            for edge in made_into(on, &digest).await? {
                if seen.insert(edge.to) {
                    next.push(edge.to);
                }
                edges.push(edge);
            }
        }
        frontier = next;
    }
    Ok(edges)
}

fn read(row: Row) -> Result<Edge, StoreError> {
    let mut row = row.of("edge");
    Ok(Edge {
        from: row.take()?,
        to: row.take()?,
        kind: row.take()?,
        run: row.take()?,
    })
}
