//! The registry: names, versions, stages and aliases.
//!
//! Versions that clients hand in are moved by whoever may; those that a pipeline registered move by their gates, so that
//! nothing here takes them past one.

use tinyops_store::tracking::registry::{
    self, AliasChange, NewVersion, RegisteredModel, Version, VersionStage,
};
use tinyops_store::tracking::{Pair, logged_model, search::Search};
use tinyops_store::{Db, Json, Read, Timestamp, Tx, audit};

use super::filter::{self, Kind};
use super::limit::{
    KEY_MAX, MODEL_NAME_MAX, Page, REGISTRY_TAG_MAX, check_length, check_pairs, check_present,
};
use super::webhook::{or_null, owe, tags_of};
use super::{Place, TrackingError, write};

/// Letters of a description at most.
const DESCRIPTION_MAX: usize = 5000;

/// Who changes the registry, and when: what the audit log says.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Who.
    pub actor: &'a str,
    /// When.
    pub now: Timestamp,
}

impl By<'_> {
    async fn note(
        self,
        tx: &Tx,
        action: &str,
        subject: &str,
        detail: Json,
    ) -> Result<(), TrackingError> {
        Ok(audit::add(tx, self.now, self.actor, action, subject, &detail).await?)
    }
}

/// One registered name.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn get(on: &impl Read, name: &str) -> Result<RegisteredModel, TrackingError> {
    check_name(name)?;
    registry::get(on, name).await?.ok_or_else(|| {
        TrackingError::Missing(format!("Registered Model with name={name} not found"))
    })
}

/// One version.
///
/// # Errors
/// [`TrackingError::Missing`]; [`TrackingError::Invalid`] for a version that is no number.
pub async fn version(on: &impl Read, name: &str, number: &str) -> Result<Version, TrackingError> {
    check_name(name)?;
    let parsed: u32 = number.parse().map_err(|_| {
        TrackingError::Invalid(format!(
            "Parameter 'version' must be an integer, got '{number}'."
        ))
    })?;
    registry::version(on, name, parsed).await?.ok_or_else(|| {
        TrackingError::Missing(format!(
            "Model Version (name={name}, version={number}) not found"
        ))
    })
}

/// Registers a name.
///
/// # Errors
/// [`TrackingError::Invalid`], [`TrackingError::Exists`].
pub async fn create(
    db: &Db,
    name: &str,
    description: &str,
    tags: &[Pair],
    by: By<'_>,
) -> Result<RegisteredModel, TrackingError> {
    check_name(name)?;
    check_length("The description", description, DESCRIPTION_MAX)?;
    check_pairs("Registered model tag", tags, REGISTRY_TAG_MAX)?;
    write!(db.begin_audited("register a model's name"), |tx| {
        if registry::get(&tx, name).await?.is_some() {
            return Err(taken(name));
        }
        let made = registry::add(&tx, name, description, by.now).await?;
        registry::tag(&tx, made.row, tags).await?;
        by.note(&tx, "registered-model.create", name, Json::Null)
            .await?;
        let told = serde_json::json!({
            "name": name, "tags": tags_of(tags), "description": or_null(description),
        });
        owe(&tx, "registered_model", "created", told, by.now).await?;
        made
    })
}

/// Gives a name, and the versions under it, another one.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Exists`]; [`TrackingError::Forbidden`] if a pipeline registers under it.
pub async fn rename(
    db: &Db,
    name: &str,
    new_name: &str,
    by: By<'_>,
) -> Result<RegisteredModel, TrackingError> {
    check_name(new_name)?;
    write!(db.begin_audited("rename a registered model"), |tx| {
        let found = get(&tx, name).await?;
        check_handed(&tx, name, "renamed").await?;
        if registry::get(&tx, new_name).await?.is_some() {
            return Err(taken(new_name));
        }
        let renamed = registry::rename(&tx, &found, new_name, by.now).await?;
        let detail = Json::from_iter([("to", new_name)]);
        by.note(&tx, "registered-model.rename", name, detail)
            .await?;
        renamed
    })
}

/// Says for people what a name is.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn describe(
    db: &Db,
    name: &str,
    description: &str,
    by: By<'_>,
) -> Result<RegisteredModel, TrackingError> {
    check_length("The description", description, DESCRIPTION_MAX)?;
    write!(db.begin_audited("describe a registered model"), |tx| {
        let mut found = get(&tx, name).await?;
        description.clone_into(&mut found.description);
        found.updated_at = by.now;
        registry::put(&tx, &found).await?;
        by.note(&tx, "registered-model.describe", name, Json::Null)
            .await?;
        found
    })
}

/// Forgets a name and the versions that were handed in.
///
/// # Errors
/// [`TrackingError::Missing`]; [`TrackingError::Forbidden`] if a pipeline registers under it.
pub async fn remove(db: &Db, name: &str, by: By<'_>) -> Result<(), TrackingError> {
    write!(db.begin_audited("remove a registered model"), |tx| {
        let found = get(&tx, name).await?;
        check_handed(&tx, name, "deleted").await?;
        registry::remove(&tx, &found).await?;
        by.note(&tx, "registered-model.delete", name, Json::Null)
            .await?;
    })
}

/// Sets a tag of a name.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn tag(db: &Db, name: &str, tag: Pair, by: By<'_>) -> Result<(), TrackingError> {
    let tags = [tag];
    check_pairs("Registered model tag", &tags, REGISTRY_TAG_MAX)?;
    write!(db.begin_audited("tag a registered model"), |tx| {
        let mut found = get(&tx, name).await?;
        found.updated_at = by.now;
        registry::put(&tx, &found).await?;
        registry::tag(&tx, found.row, &tags).await?;
        let detail = Json::from_iter([("key", tags[0].key.as_str())]);
        by.note(&tx, "registered-model.tag", name, detail).await?;
    })
}

/// Removes a tag of a name; one that is not there is no mistake.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn untag(db: &Db, name: &str, key: &str, by: By<'_>) -> Result<(), TrackingError> {
    write!(db.begin_audited("untag a registered model"), |tx| {
        let mut found = get(&tx, name).await?;
        found.updated_at = by.now;
        registry::put(&tx, &found).await?;
        registry::untag(&tx, found.row, key).await?;
        let detail = Json::from_iter([("key", key)]);
        by.note(&tx, "registered-model.untag", name, detail).await?;
    })
}

/// Hands a version in, under the next number of its name.
///
/// # Errors
/// [`TrackingError::Missing`] for a name or logged model that is not there; [`TrackingError::Invalid`].
pub async fn create_version(
    db: &Db,
    new: &NewVersion,
    description: &str,
    tags: &[Pair],
    by: By<'_>,
) -> Result<Version, TrackingError> {
    check_present("source", &new.source)?;
    check_source(&new.source)?;
    check_length("The description", description, DESCRIPTION_MAX)?;
    check_pairs("Model version tag", tags, REGISTRY_TAG_MAX)?;
    write!(db.begin_audited("hand a model version in"), |tx| {
        get(&tx, &new.name).await?;
        let mut new = new.clone();
        if !new.logged_model.is_empty() {
            let model = super::logged_model::get(&tx, &new.logged_model).await?;
            if new.run.is_empty() {
                new.run = model.source_run;
            }
        }
        let made = registry::add_version(&tx, &new, by.now).await?;
        registry::tag_version(&tx, &made, tags).await?;
        if !description.is_empty() {
            registry::describe_version(&tx, &made, description, by.now).await?;
        }
        let detail = Json::from_iter([("source", made.source.as_str())]);
        by.note(&tx, "model-version.create", &made.id, detail)
            .await?;
        let told = serde_json::json!({
            "name": made.name, "version": made.version.to_string(), "source": made.source,
            "run_id": or_null(&made.run), "tags": tags_of(tags), "description": or_null(description),
        });
        owe(&tx, "model_version", "created", told, by.now).await?;
        made
    })
}

/// Says for people what a version is.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn describe_version(
    db: &Db,
    name: &str,
    number: &str,
    description: &str,
    by: By<'_>,
) -> Result<Version, TrackingError> {
    check_length("The description", description, DESCRIPTION_MAX)?;
    write!(db.begin_audited("describe a model version"), |tx| {
        let found = touched(&tx, name, number, by).await?;
        registry::describe_version(&tx, &found, description, by.now).await?;
        by.note(&tx, "model-version.describe", &found.id, Json::Null)
            .await?;
        found
    })
}

/// Moves a version to a stage; `archive` sends those that are there to the archive.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`]; [`TrackingError::Forbidden`] for a version of a pipeline,
/// which moves by its gates.
pub async fn transition(
    db: &Db,
    name: &str,
    number: &str,
    stage: &str,
    archive: bool,
    by: By<'_>,
) -> Result<Version, TrackingError> {
    let stage = stage_of(stage)?;
    let is_crowded = matches!(stage, VersionStage::Staging | VersionStage::Production);
    if archive && !is_crowded {
        return Err(TrackingError::Invalid(format!(
            "Model version transition cannot archive existing model versions because '{stage}' is not an Active stage. Valid stages are Staging, Production"
        )));
    }
    write!(db.begin_audited("move a model version"), |tx| {
        let mut found = version(&tx, name, number).await?;
        if found.is_own {
            return Err(TrackingError::Forbidden(format!(
                "{} was registered by a pipeline and moves by its gates: `tinyops models promote {}`",
                found.id, found.id
            )));
        }
        for mut other in registry::versions_of(&tx, name).await? {
            if archive && other.stage == stage && other.version != found.version && !other.is_own {
                other.stage = VersionStage::Archived;
                other.updated_at = by.now;
                registry::put_version(&tx, &other).await?;
            }
        }
        let detail = Json::from_iter([("from", found.stage.word()), ("to", stage.word())]);
        found.stage = stage;
        found.updated_at = by.now;
        registry::put_version(&tx, &found).await?;
        touch(&tx, name, by).await?;
        by.note(&tx, "model-version.stage", &found.id, detail)
            .await?;
        found
    })
}

/// Forgets a version that was handed in.
///
/// # Errors
/// [`TrackingError::Missing`]; [`TrackingError::Forbidden`] for a version of a pipeline.
pub async fn remove_version(
    db: &Db,
    name: &str,
    number: &str,
    by: By<'_>,
) -> Result<(), TrackingError> {
    write!(db.begin_audited("remove a model version"), |tx| {
        let found = version(&tx, name, number).await?;
        if found.is_own {
            return Err(own(&found.id, "deleted"));
        }
        registry::remove_version(&tx, &found).await?;
        touch(&tx, name, by).await?;
        by.note(&tx, "model-version.delete", &found.id, Json::Null)
            .await?;
    })
}

/// Sets a tag of a version.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn tag_version(
    db: &Db,
    name: &str,
    number: &str,
    tag: Pair,
    by: By<'_>,
) -> Result<(), TrackingError> {
    let tags = [tag];
    check_pairs("Model version tag", &tags, REGISTRY_TAG_MAX)?;
    write!(db.begin_audited("tag a model version"), |tx| {
        let found = touched(&tx, name, number, by).await?;
        registry::tag_version(&tx, &found, &tags).await?;
        let detail = Json::from_iter([("key", tags[0].key.as_str())]);
        by.note(&tx, "model-version.tag", &found.id, detail).await?;
        let told = serde_json::json!({
            "name": name, "version": number, "key": tags[0].key, "value": tags[0].value,
        });
        owe(&tx, "model_version_tag", "set", told, by.now).await?;
    })
}

/// Removes a tag of a version; one that is not there is no mistake.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn untag_version(
    db: &Db,
    name: &str,
    number: &str,
    key: &str,
    by: By<'_>,
) -> Result<(), TrackingError> {
    write!(db.begin_audited("untag a model version"), |tx| {
        let found = touched(&tx, name, number, by).await?;
        registry::untag_version(&tx, &found, key).await?;
        let detail = Json::from_iter([("key", key)]);
        by.note(&tx, "model-version.untag", &found.id, detail)
            .await?;
        let told = serde_json::json!({ "name": name, "version": number, "key": key });
        owe(&tx, "model_version_tag", "deleted", told, by.now).await?;
    })
}

/// Lets an alias point at a version.
///
/// # Errors
/// [`TrackingError::Missing`]; [`TrackingError::Invalid`] for an alias that means something else.
pub async fn set_alias(
    db: &Db,
    name: &str,
    alias: &str,
    number: &str,
    by: By<'_>,
) -> Result<(), TrackingError> {
    check_alias(alias)?;
    write!(db.begin_audited("point an alias"), |tx| {
        let found = version(&tx, name, number).await?;
        change_alias(&tx, name, alias, Some(found.version), by).await?;
    })
}

/// Takes an alias away; one that is not there is no mistake.
///
/// # Errors
/// [`TrackingError::Missing`] for a name that is not there.
pub async fn remove_alias(
    db: &Db,
    name: &str,
    alias: &str,
    by: By<'_>,
) -> Result<(), TrackingError> {
    write!(db.begin_audited("remove an alias"), |tx| {
        get(&tx, name).await?;
        let is_there = aliases(&tx, name)
            .await?
            .iter()
            .any(|(word, _)| word == alias);
        if is_there {
            change_alias(&tx, name, alias, None, by).await?;
        }
    })
}

async fn change_alias(
    tx: &Tx,
    name: &str,
    alias: &str,
    version: Option<u32>,
    by: By<'_>,
) -> Result<(), TrackingError> {
    let change = AliasChange {
        name: name.to_owned(),
        alias: alias.to_owned(),
        version,
        actor: by.actor.to_owned(),
        at: by.now,
    };
    registry::set_alias(tx, &change).await?;
    touch(tx, name, by).await?;
    let mut detail = serde_json::Map::from_iter([("alias".to_owned(), Json::from(alias))]);
    detail.insert("version".to_owned(), Json::from(version));
    by.note(tx, "registered-model.alias", name, Json::Object(detail))
        .await?;
    let (action, told) = match version {
        Some(version) => (
            "created",
            serde_json::json!({ "name": name, "alias": alias, "version": version.to_string() }),
        ),
        None => (
            "deleted",
            serde_json::json!({ "name": name, "alias": alias }),
        ),
    };
    Ok(owe(tx, "model_version_alias", action, told, by.now).await?)
}

/// The version that an alias points at.
///
/// # Errors
/// [`TrackingError::Missing`]; [`TrackingError::Invalid`] for an alias that points nowhere.
pub async fn by_alias(on: &impl Read, name: &str, alias: &str) -> Result<Version, TrackingError> {
    get(on, name).await?;
    let found = aliases(on, name).await?;
    let number = found.iter().find(|(word, _)| word == alias);
    let number = number.ok_or_else(|| {
        TrackingError::Invalid(format!("Registered model alias {alias} not found."))
    })?;
    version(on, name, &number.1.to_string()).await
}

/// The aliases of a name.
///
/// # Errors
/// [`TrackingError::Store`].
pub async fn aliases(on: &impl Read, name: &str) -> Result<Vec<(String, u32)>, TrackingError> {
    Ok(tinyops_store::model::aliases(on, name).await?)
}

/// The newest version of each of these stages; of every stage without any.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn latest(
    on: &impl Read,
    name: &str,
    stages: &[String],
) -> Result<Vec<Version>, TrackingError> {
    get(on, name).await?;
    let mut wanted = Vec::new();
    for stage in stages {
        wanted.push(stage_of(stage)?);
    }
    let mut newest: Vec<Version> = Vec::new();
    for found in registry::versions_of(on, name).await? {
        newest.retain(|other| other.stage != found.stage);
        newest.push(found);
    }
    newest.retain(|found| wanted.is_empty() || wanted.contains(&found.stage));
    Ok(newest)
}

/// The names that a client searches, with one more than the page has if another page follows.
///
/// # Errors
/// [`TrackingError::Invalid`] for a filter or an order that cannot be.
pub async fn search(
    on: &impl Read,
    filter: &str,
    order: &[String],
    page: Page,
) -> Result<Vec<RegisteredModel>, TrackingError> {
    let search = search_of(Kind::RegisteredModels, filter, order, page)?;
    Ok(registry::search(on, &search).await?)
}

/// The versions that a client searches, with one more than the page has if another page follows.
///
/// # Errors
/// [`TrackingError::Invalid`] for a filter or an order that cannot be.
pub async fn search_versions(
    on: &impl Read,
    filter: &str,
    order: &[String],
    page: Page,
) -> Result<Vec<Version>, TrackingError> {
    let search = search_of(Kind::ModelVersions, filter, order, page)?;
    Ok(registry::search_versions(on, &search).await?)
}

/// Where the files of a version are.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn download_uri(
    on: &impl Read,
    name: &str,
    number: &str,
) -> Result<String, TrackingError> {
    let found = version(on, name, number).await?;
    let of_model = match found.source.strip_prefix("models:/") {
        Some(id) if id.starts_with("m-") => logged_model::get(on, id).await?,
        _ => None,
    };
    Ok(match of_model {
        Some(model) => Place::of_id(on, model.experiment).await?.of_model(&model),
        None => found.source,
    })
}

fn search_of(
    kind: Kind,
    filter: &str,
    order: &[String],
    page: Page,
) -> Result<Search, TrackingError> {
    Ok(Search {
        conditions: filter::conditions(kind, filter)?,
        order: filter::orders(kind, order)?,
        offset: page.offset,
        limit: page.and_one(),
    })
}

/// A version, whose name was changed just now.
async fn touched(tx: &Tx, name: &str, number: &str, by: By<'_>) -> Result<Version, TrackingError> {
    let mut found = version(tx, name, number).await?;
    found.updated_at = by.now;
    registry::put_version(tx, &found).await?;
    touch(tx, name, by).await?;
    Ok(found)
}

async fn touch(tx: &Tx, name: &str, by: By<'_>) -> Result<(), TrackingError> {
    let mut model = get(tx, name).await?;
    model.updated_at = by.now;
    Ok(registry::put(tx, &model).await?)
}

async fn check_handed(on: &impl Read, name: &str, done: &str) -> Result<(), TrackingError> {
    let versions = registry::versions_of(on, name).await?;
    match versions.iter().any(|version| version.is_own) {
        true => Err(own(name, done)),
        false => Ok(()),
    }
}

fn own(what: &str, done: &str) -> TrackingError {
    TrackingError::Forbidden(format!(
        "{what} was registered by a pipeline of TinyOps, and devices may run it: it is not {done} here"
    ))
}

fn taken(name: &str) -> TrackingError {
    TrackingError::Exists(format!("Registered Model (name={name}) already exists."))
}

fn stage_of(text: &str) -> Result<VersionStage, TrackingError> {
    let found = VersionStage::ALL
        .iter()
        .find(|stage| stage.word().eq_ignore_ascii_case(text));
    found.copied().ok_or_else(|| {
        TrackingError::Invalid(format!(
            "Invalid Model Version stage: {text}. Value must be one of None, Staging, Production, Archived."
        ))
    })
}

pub(super) fn check_name(name: &str) -> Result<(), TrackingError> {
    if name.trim().is_empty() {
        return Err(TrackingError::Invalid(
            "Missing value for required parameter 'name'.".to_owned(),
        ));
    }
    check_length("The model's name", name, MODEL_NAME_MAX)?;
    match name.contains(['/', ':']) || matches!(name, "." | "..") {
        true => Err(TrackingError::Invalid(format!(
            "Invalid name: '{name}'. Model names cannot contain '/' or ':'."
        ))),
        false => Ok(()),
    }
}

/// Files of a version are at the server, or with a run or logged model of it: never at a place of this machine.
pub(super) fn check_source(source: &str) -> Result<(), TrackingError> {
    let has_parent = source.split(['/', '\\']).any(|part| part == "..");
    let scheme = source.split_once(":/").map(|(scheme, _)| scheme);
    let is_local = scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case("file"));
    match has_parent || is_local {
        true => Err(TrackingError::Invalid(format!(
            "Invalid model version source: '{source}'. It must be a `runs:/`, `models:/` or `mlflow-artifacts:/` URI, or one of a remote store, without '..'."
        ))),
        false => Ok(()),
    }
}

pub(super) fn check_alias(alias: &str) -> Result<(), TrackingError> {
    check_present("alias", alias)?;
    check_length("The alias", alias, KEY_MAX + 5)?;
    let reserved = |why: &str| Err(TrackingError::Invalid(why.to_owned()));
    if !alias
        .chars()
        .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    {
        return reserved(&format!(
            "Invalid alias name: '{alias}'. Letters, digits, underscores and dashes."
        ));
    }
    let small = alias.to_ascii_lowercase();
    if small == "latest" {
        return reserved("'latest' alias name (case insensitive) is reserved.");
    }
    match small.strip_prefix('v') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            reserved(&format!("Version alias name '{alias}' is reserved."))
        }
        _ => Ok(()),
    }
}
