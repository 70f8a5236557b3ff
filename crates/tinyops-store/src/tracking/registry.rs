//! The registry as the tracking API shows it: names, numbered versions, and aliases that point at them.
//!
//! A version was handed in by a client, or registered by a pipeline ([`crate::model`]); both are numbered by their name.

use std::collections::BTreeMap;

use super::pair::{OWNERS_MAX, Pair, REGISTERED_TAGS, VERSION_TAGS, places};
use super::search::{self, Entity, Search};
use crate::column::{Column as _, Row, row_id, values, words};
use crate::db::{Query as _, Read};
use crate::{StoreError, Timestamp, Tx};

row_id! {
    /// The number of a registered model's row; people name it by its name.
    RegisteredModelRow
}

words! {
    /// How far a version has come, in the tracking API's words.
    VersionStage {
        /// Registered, and no more.
        None = "None",
        /// Being tried.
        Staging = "Staging",
        /// In use.
        Production = "Production",
        /// Was in use once.
        Archived = "Archived",
    }
}

/// A name whose versions are numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredModel {
    /// The number of its row.
    pub row: RegisteredModelRow,
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// One version, whoever registered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `NAME@VERSION`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its number.
    pub version: u32,
    /// Where its files are.
    pub source: String,
    /// The run that made it; may be empty.
    pub run: String,
    /// The logged model that it is; may be empty.
    pub logged_model: String,
    /// Where the run can be seen; may be empty.
    pub run_link: String,
    /// Who handed it in; may be empty.
    pub user: String,
    /// How far it has come.
    pub stage: VersionStage,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// A pipeline registered it: it moves by its gates.
    pub is_own: bool,
}

/// A version before it is numbered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewVersion {
    /// Its name.
    pub name: String,
    /// Where its files are.
    pub source: String,
    /// The run that made it.
    pub run: String,
    /// The logged model that it is.
    pub logged_model: String,
    /// Where the run can be seen.
    pub run_link: String,
    /// Who hands it in.
    pub user: String,
}

/// One change of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasChange {
    /// Of which model.
    pub name: String,
    /// Which alias.
    pub alias: String,
    /// What it points at since; none where it was taken away.
    pub version: Option<u32>,
    /// Who changed it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

pub(crate) const MODELS: Entity = Entity {
    table: "registered_models",
    columns: "e.id, e.name, e.description, e.created_at, e.updated_at",
    tags: Some(REGISTERED_TAGS.name),
    params: None,
    metrics: None,
};

pub(crate) const VERSIONS: Entity = Entity {
    table: "model_versions",
    columns: "e.id, e.name, e.version, e.source, e.run_id, e.logged_model, e.run_link, e.user_id, e.stage, e.created_at, e.updated_at, e.own",
    tags: Some(VERSION_TAGS.name),
    params: None,
    metrics: None,
};

/// Makes a name.
///
/// # Errors
/// [`StoreError::Exists`] if it is there.
pub async fn add(
    tx: &Tx,
    name: &str,
    description: &str,
    now: Timestamp,
) -> Result<RegisteredModel, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO registered_models (name, description, last_version, created_at, updated_at)
             VALUES ($1, $2, 0, $3, $3) ON CONFLICT (name) DO NOTHING
             RETURNING id, name, description, created_at, updated_at",
            values![name.to_owned(), description.to_owned(), now],
        )
        .await?;
    row.map(read_model).transpose()?.ok_or_else(|| exists(name))
}

/// The next number of a name, which is made if it is missing.
pub(crate) async fn next_version(tx: &Tx, name: &str, now: Timestamp) -> Result<u32, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO registered_models (name, description, last_version, created_at, updated_at)
             VALUES ($1, '', 1, $2, $2)
             ON CONFLICT (name) DO UPDATE SET last_version = registered_models.last_version + 1, updated_at = $2
             RETURNING last_version",
            values![name.to_owned(), now],
        )
        .await?;
    row.ok_or(StoreError::Closed)?.take()
}

/// Changes the description and the time of change.
pub async fn put(tx: &Tx, model: &RegisteredModel) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE registered_models SET description = $2, updated_at = $3 WHERE id = $1",
        values![model.row, model.description, model.updated_at],
    )
    .await?;
    Ok(())
}

/// Gives a name and the versions that were handed in another one.
///
/// # Errors
/// [`StoreError::Exists`] if there is one of that name.
pub async fn rename(
    tx: &Tx,
    model: &RegisteredModel,
    name: &str,
    now: Timestamp,
) -> Result<RegisteredModel, StoreError> {
    if get(tx, name).await?.is_some() {
        return Err(exists(name));
    }
    let old = &model.name;
    let names = || values![name.to_owned(), old.clone()];
    tx.execute(
        "UPDATE registered_models SET name = $2, updated_at = $3 WHERE id = $1",
        values![model.row, name.to_owned(), now],
    )
    .await?;
    for sql in [
        "UPDATE handed_versions SET name = $1 WHERE name = $2",
        "UPDATE model_aliases SET name = $1 WHERE name = $2",
        "UPDATE alias_changes SET name = $1 WHERE name = $2",
    ] {
        tx.execute(sql, names()).await?;
    }
    let versions = versions_of(tx, name).await?;
    for version in versions {
        let ids = || values![version.id.clone(), format!("{old}@{}", version.version)];
        tx.execute(
            "UPDATE model_version_tags SET owner = $1 WHERE owner = $2",
            ids(),
        )
        .await?;
        tx.execute(
            "UPDATE model_version_notes SET id = $1 WHERE id = $2",
            ids(),
        )
        .await?;
    }
    get(tx, name).await?.ok_or(StoreError::Closed)
}

/// Forgets a name, its tags and aliases, and the versions that were handed in.
pub async fn remove(tx: &Tx, model: &RegisteredModel) -> Result<(), StoreError> {
    for version in versions_of(tx, &model.name).await? {
        remove_version(tx, &version).await?;
    }
    REGISTERED_TAGS.clear(tx, &model.row).await?;
    for sql in [
        "DELETE FROM model_aliases WHERE name = $1",
        "DELETE FROM alias_changes WHERE name = $1",
        "DELETE FROM registered_models WHERE name = $1",
    ] {
        tx.execute(sql, values![model.name]).await?;
    }
    Ok(())
}

/// One name.
pub async fn get(on: &impl Read, name: &str) -> Result<Option<RegisteredModel>, StoreError> {
    let sql = "SELECT id, name, description, created_at, updated_at FROM registered_models WHERE name = $1";
    on.query_one(sql, values![name.to_owned()])
        .await?
        .map(read_model)
        .transpose()
}

/// The names that a search finds.
pub async fn search(on: &impl Read, search: &Search) -> Result<Vec<RegisteredModel>, StoreError> {
    let rows = search::rows(on, &MODELS, search).await?;
    rows.into_iter().map(read_model).collect()
}

/// Sets tags of a name.
pub async fn tag(tx: &Tx, model: RegisteredModelRow, tags: &[Pair]) -> Result<(), StoreError> {
    REGISTERED_TAGS.put(tx, &model, tags).await
}

/// Removes a tag of a name, and says whether it was there.
pub async fn untag(tx: &Tx, model: RegisteredModelRow, key: &str) -> Result<bool, StoreError> {
    REGISTERED_TAGS.remove(tx, &model, key).await
}

/// The tags of many names.
pub async fn tags(
    on: &impl Read,
    models: &[RegisteredModelRow],
) -> Result<BTreeMap<RegisteredModelRow, Vec<Pair>>, StoreError> {
    REGISTERED_TAGS.of(on, models).await
}

/// Adds a version that a client hands in, under the next number of its name.
pub async fn add_version(tx: &Tx, new: &NewVersion, now: Timestamp) -> Result<Version, StoreError> {
    let number = next_version(tx, &new.name, now).await?;
    add_under(tx, new, number, now).await
}

/// Adds a version under the number that it has elsewhere; those that are handed in later are numbered after it.
///
/// # Errors
/// [`StoreError::Exists`] if a version of this number was handed in.
pub async fn add_numbered(
    tx: &Tx,
    new: &NewVersion,
    number: u32,
    now: Timestamp,
) -> Result<Version, StoreError> {
    if version(tx, &new.name, number).await?.is_some() {
        return Err(StoreError::Exists {
            entity: "model version",
            key: format!("{}@{number}", new.name),
        });
    }
    tx.execute(
        "UPDATE registered_models SET last_version = $2 WHERE name = $1 AND last_version < $2",
        values![new.name, number],
    )
    .await?;
    add_under(tx, new, number, now).await
}

async fn add_under(
    tx: &Tx,
    new: &NewVersion,
    number: u32,
    now: Timestamp,
) -> Result<Version, StoreError> {
    tx.execute(
        "INSERT INTO handed_versions (name, version, source, run_id, logged_model, run_link, user_id, stage, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'None', $8, $8)",
        values![
            new.name,
            number,
            new.source,
            new.run,
            new.logged_model,
            new.run_link,
            new.user,
            now
        ],
    )
    .await?;
    version(tx, &new.name, number)
        .await?
        .ok_or(StoreError::Closed)
}

/// Changes the stage and time of change of a version that was handed in.
pub async fn put_version(tx: &Tx, version: &Version) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE handed_versions SET stage = $3, updated_at = $4 WHERE name = $1 AND version = $2",
        values![
            version.name,
            version.version,
            version.stage,
            version.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// Forgets a version that was handed in, and what points at it.
pub async fn remove_version(tx: &Tx, version: &Version) -> Result<(), StoreError> {
    VERSION_TAGS.clear(tx, &version.id).await?;
    tx.execute(
        "DELETE FROM model_version_notes WHERE id = $1",
        values![version.id],
    )
    .await?;
    let of_version = values![version.name, version.version];
    tx.execute(
        "DELETE FROM model_aliases WHERE name = $1 AND version = $2",
        of_version.clone(),
    )
    .await?;
    tx.execute(
        "DELETE FROM handed_versions WHERE name = $1 AND version = $2",
        of_version,
    )
    .await?;
    Ok(())
}

/// One version, whoever registered it.
pub async fn version(
    on: &impl Read,
    name: &str,
    version: u32,
) -> Result<Option<Version>, StoreError> {
    let sql = "SELECT id, name, version, source, run_id, logged_model, run_link, user_id, stage, created_at, updated_at, own
               FROM model_versions WHERE name = $1 AND version = $2";
    on.query_one(sql, values![name.to_owned(), version])
        .await?
        .map(read_version)
        .transpose()
}

/// Every version of a name, oldest first.
pub async fn versions_of(on: &impl Read, name: &str) -> Result<Vec<Version>, StoreError> {
    let sql = "SELECT id, name, version, source, run_id, logged_model, run_link, user_id, stage, created_at, updated_at, own
               FROM model_versions WHERE name = $1 ORDER BY version";
    let rows = on.query(sql, values![name.to_owned()]).await?;
    rows.into_iter().map(read_version).collect()
}

/// The versions that a search finds.
pub async fn search_versions(on: &impl Read, search: &Search) -> Result<Vec<Version>, StoreError> {
    let rows = search::rows(on, &VERSIONS, search).await?;
    rows.into_iter().map(read_version).collect()
}

/// Sets tags of a version.
pub async fn tag_version(tx: &Tx, version: &Version, tags: &[Pair]) -> Result<(), StoreError> {
    VERSION_TAGS.put(tx, &version.id, tags).await
}

/// Removes a tag of a version, and says whether it was there.
pub async fn untag_version(tx: &Tx, version: &Version, key: &str) -> Result<bool, StoreError> {
    VERSION_TAGS.remove(tx, &version.id, key).await
}

/// The tags of many versions, by `NAME@VERSION`.
pub async fn version_tags(
    on: &impl Read,
    ids: &[String],
) -> Result<BTreeMap<String, Vec<Pair>>, StoreError> {
    VERSION_TAGS.of(on, ids).await
}

/// Says for people what a version is.
pub async fn describe_version(
    tx: &Tx,
    version: &Version,
    description: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO model_version_notes (id, description, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET description = excluded.description, updated_at = excluded.updated_at",
        values![version.id, description.to_owned(), now],
    )
    .await?;
    Ok(())
}

/// What many versions are, for people, by `NAME@VERSION`.
pub async fn descriptions(
    on: &impl Read,
    ids: &[String],
) -> Result<BTreeMap<String, String>, StoreError> {
    let mut found = BTreeMap::new();
    for ids in ids.chunks(OWNERS_MAX) {
        let sql = format!(
            "SELECT id, description FROM model_version_notes WHERE id IN ({})",
            places(ids.len())
        );
        let values = ids.iter().map(|id| id.put()).collect();
        for mut row in on.select(sql.into(), values).await? {
            found.insert(row.take()?, row.take()?);
        }
    }
    Ok(found)
}

/// Lets an alias point at a version, or at nothing any more, and remembers who said so.
pub async fn set_alias(tx: &Tx, change: &AliasChange) -> Result<(), StoreError> {
    let of_alias = || values![change.name, change.alias];
    match change.version {
        Some(version) => {
            crate::model::put_alias(tx, &change.name, &change.alias, version).await?;
        }
        None => {
            tx.execute(
                "DELETE FROM model_aliases WHERE name = $1 AND alias = $2",
                of_alias(),
            )
            .await?;
        }
    }
    tx.execute(
        "INSERT INTO alias_changes (name, alias, version, actor, at) VALUES ($1, $2, $3, $4, $5)",
        values![
            change.name,
            change.alias,
            change.version,
            change.actor,
            change.at
        ],
    )
    .await?;
    Ok(())
}

/// Every change of a name's aliases, oldest first.
pub async fn alias_history(on: &impl Read, name: &str) -> Result<Vec<AliasChange>, StoreError> {
    let sql =
        "SELECT name, alias, version, actor, at FROM alias_changes WHERE name = $1 ORDER BY id";
    let rows = on.query(sql, values![name.to_owned()]).await?;
    rows.into_iter()
        .map(|row| {
            let mut row = row.of("change of an alias");
            Ok(AliasChange {
                name: row.take()?,
                alias: row.take()?,
                version: row.take()?,
                actor: row.take()?,
                at: row.take()?,
            })
        })
        .collect()
}

fn exists(name: &str) -> StoreError {
    StoreError::Exists {
        entity: "registered model",
        key: name.to_owned(),
    }
}

fn read_model(row: Row) -> Result<RegisteredModel, StoreError> {
    let mut row = row.of("registered model");
    Ok(RegisteredModel {
        row: row.take()?,
        name: row.take()?,
        description: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}

fn read_version(row: Row) -> Result<Version, StoreError> {
    let mut row = row.of("model version");
    Ok(Version {
        id: row.take()?,
        name: row.take()?,
        version: row.take()?,
        source: row.take()?,
        run: row.take()?,
        logged_model: row.take()?,
        run_link: row.take()?,
        user: row.take()?,
        stage: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
        is_own: row.take()?,
    })
}
