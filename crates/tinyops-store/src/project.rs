//! Projects: one goal, one `tinyops.toml`.

use crate::column::values;
use crate::db::Read;
use crate::{Digest, Json, StoreError, Timestamp, Tx};

/// One project.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its name, unique in the store.
    pub name: String,
    /// The digest of its `tinyops.toml`, kept as an artifact.
    pub settings: Digest,
    /// What pages and loops need of the settings: goal, costs, policies.
    pub detail: Json,
    /// When it was first seen.
    pub created_at: Timestamp,
}

/// Adds a project, or replaces its settings.
pub async fn put(tx: &Tx, project: &Project) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO projects (name, settings, detail, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, detail = excluded.detail",
        values![
            project.name,
            project.settings,
            project.detail,
            project.created_at
        ],
    )
    .await?;
    Ok(())
}

/// One project by name.
pub async fn get(on: &impl Read, name: &str) -> Result<Option<Project>, StoreError> {
    let sql = "SELECT name, settings, detail, created_at FROM projects WHERE name = $1";
    on.query_one(sql, values![name.to_owned()])
        .await?
        .map(read)
        .transpose()
}

/// All projects by name.
pub async fn list(on: &impl Read) -> Result<Vec<Project>, StoreError> {
    let sql = "SELECT name, settings, detail, created_at FROM projects ORDER BY name";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

fn read(row: crate::column::Row) -> Result<Project, StoreError> {
    let mut row = row.of("project");
    Ok(Project {
        name: row.take()?,
        settings: row.take()?,
        detail: row.take()?,
        created_at: row.take()?,
    })
}
