//! Texts by key: parameters and tags of whatever has them.

use std::collections::BTreeMap;

use crate::column::{Column, Value, values};
use crate::db::Read;
use crate::{Digest, StoreError, Tx};

/// Owners asked for in one statement.
pub(crate) const OWNERS_MAX: usize = 500;

/// A parameter or a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Its name.
    pub key: String,
    /// Its text.
    pub value: String,
}

/// A table of pairs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    put: &'static str,
    remove: &'static str,
    clear: &'static str,
}

macro_rules! tables {
    ($($table:ident = $name:literal,)*) => { $(
        pub(crate) const $table: Table = Table {
            name: $name,
            put: concat!(
                "INSERT INTO ", $name, " (owner, key, value, mark) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (owner, key) DO UPDATE SET value = excluded.value, mark = excluded.mark"
            ),
            remove: concat!("DELETE FROM ", $name, " WHERE owner = $1 AND key = $2"),
            clear: concat!("DELETE FROM ", $name, " WHERE owner = $1"),
        };
    )* };
}

tables! {
    EXPERIMENT_TAGS = "experiment_tags",
    RUN_PARAMS = "run_params",
    RUN_TAGS = "run_tags",
    LOGGED_PARAMS = "logged_model_params",
    LOGGED_TAGS = "logged_model_tags",
    REGISTERED_TAGS = "registered_model_tags",
    VERSION_TAGS = "model_version_tags",
}

impl Table {
    /// Sets pairs of one owner; the last of one key stands.
    pub(crate) async fn put(
        self,
        tx: &Tx,
        owner: &impl Column,
        pairs: &[Pair],
    ) -> Result<(), StoreError> {
        let rows = pairs
            .iter()
            .map(|pair| values![owner.put(), pair.key, pair.value, mark(&pair.value)]);
        tx.execute_many(self.put, rows.collect()).await?;
        Ok(())
    }

    /// Removes a pair, and says whether it was there.
    pub(crate) async fn remove(
        self,
        tx: &Tx,
        owner: &impl Column,
        key: &str,
    ) -> Result<bool, StoreError> {
        let values = values![owner.put(), key.to_owned()];
        Ok(tx.execute(self.remove, values).await? > 0)
    }

    /// Removes every pair of one owner.
    pub(crate) async fn clear(self, tx: &Tx, owner: &impl Column) -> Result<(), StoreError> {
        tx.execute(self.clear, values![owner.put()]).await?;
        Ok(())
    }

    /// The pairs of many owners, by key.
    pub(crate) async fn of<O: Column + Ord>(
        self,
        on: &impl Read,
        owners: &[O],
    ) -> Result<BTreeMap<O, Vec<Pair>>, StoreError> {
        let mut found: BTreeMap<O, Vec<Pair>> = BTreeMap::new();
        for owners in owners.chunks(OWNERS_MAX) {
            let sql = format!(
                "SELECT owner, key, value FROM {} WHERE owner IN ({}) ORDER BY owner, key",
                self.name,
                places(owners.len()),
            );
            let values = owners.iter().map(Column::put).collect();
            for mut row in on.select(sql.into(), values).await? {
                let owner = row.take()?;
                let pair = Pair {
                    key: row.take()?,
                    value: row.take()?,
                };
                found.entry(owner).or_default().push(pair);
            }
        }
        Ok(found)
    }
}

/// Eight bytes of a text's digest, by which it is found whatever its length.
pub(crate) fn mark(text: &str) -> i64 {
    let digest = Digest::of(text.as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&digest.0[..8]);
    i64::from_le_bytes(head)
}

/// `$1, $2, …`, as many as asked for.
pub(crate) fn places(count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    for index in 1..=count {
        if index > 1 {
            text.push(',');
        }
        text.push('$');
        text.push_str(&index.to_string());
    }
    text
}

/// Many owners' rows of a statement that ends in `IN (`, in the order that `tail` says.
pub(crate) async fn rows_of(
    on: &impl Read,
    head: &str,
    owners: &[i64],
    tail: &str,
) -> Result<Vec<crate::column::Row>, StoreError> {
    let mut found = Vec::new();
    for owners in owners.chunks(OWNERS_MAX) {
        let sql = format!("{head} ({}) {tail}", places(owners.len()));
        let values: Vec<Value> = owners.iter().map(Column::put).collect();
        found.extend(on.select(sql.into(), values).await?);
    }
    Ok(found)
}
