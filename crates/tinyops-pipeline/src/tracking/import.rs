//! Taking over what another server of this API has: ids, times and tags stay, and the same again changes nothing.
//!
//! Each record is written in a transaction of its own, so that an import that was cut off goes on where it was. What is
//! here and was not taken over from there is never changed.

use tinyops_store::tracking::experiment::{self, Experiment};
use tinyops_store::tracking::metric::{self, Sample};
use tinyops_store::tracking::registry::{self, AliasChange, NewVersion};
use tinyops_store::tracking::run::{self, TrackedRun};
use tinyops_store::tracking::{Pair, logged_model};
use tinyops_store::{Db, Json, Read, Timestamp, Tx, audit};

use super::foreign::{ForeignExperiment, ForeignModel, ForeignName, ForeignRun, ForeignVersion};
use super::limit::{
    EXPERIMENT_TAG_MAX, PARAM_MAX, REGISTRY_TAG_MAX, TAG_MAX, check_key, check_pairs,
};
use super::registry::{By, check_alias, check_name, check_source};
use super::run::{check_dataset, check_id, new_params, within_range};
use super::{Place, TrackingError, own, write};

/// The tag that says from which server a record was taken over.
pub const FROM_TAG: &str = "tinyops.imported_from";

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is here now.
    New,
    /// It was here, and is as it is there now.
    Renewed,
    /// It is here as it is there.
    Known,
}

/// The experiment here that one elsewhere becomes: that of its name, or a new one.
///
/// # Errors
/// [`TrackingError::Invalid`].
pub async fn take_experiment(
    db: &Db,
    from: &str,
    foreign: &ForeignExperiment,
) -> Result<(Experiment, Taken), TrackingError> {
    check_pairs("Experiment tag", &foreign.tags, EXPERIMENT_TAG_MAX)?;
    write!(db.begin("take an experiment over"), |tx| {
        match experiment::named(&tx, &foreign.name).await? {
            Some(found) => (found, Taken::Known),
            None => {
                let name = &foreign.name;
                let mut made = experiment::add(&tx, name, "", foreign.created_at).await?;
                made.lifecycle = foreign.lifecycle;
                made.updated_at = foreign.updated_at;
                experiment::put(&tx, &made).await?;
                let tags = marked(&foreign.tags, from);
                experiment::tag(&tx, made.id, &tags).await?;
                (made, Taken::New)
            }
        }
    })
}

/// Whether a run is here as it is there, by how far it is and when it ended.
///
/// # Errors
/// [`TrackingError::Exists`] if there is one of this id that was not taken over from there.
pub async fn knows_run(
    on: &impl Read,
    from: &str,
    foreign: &ForeignRun,
) -> Result<Taken, TrackingError> {
    let Some(found) = known_run(on, from, foreign).await? else {
        return Ok(Taken::New);
    };
    let is_same = found.status == foreign.run.status
        && found.ended_at == foreign.ended_at
        && found.lifecycle == foreign.lifecycle
        && found.name == foreign.run.name;
    // One that is at work logs on without a change of what is compared.
    match is_same && found.ended_at.is_some() {
        true => Ok(Taken::Known),
        false => Ok(Taken::Renewed),
    }
}

async fn known_run(
    on: &impl Read,
    from: &str,
    foreign: &ForeignRun,
) -> Result<Option<TrackedRun>, TrackingError> {
    let id = &foreign.run.id;
    check_id(id)?;
    own::check_run(id)?;
    let Some(found) = run::get(on, id).await? else {
        return Ok(None);
    };
    let data = run::data_of(on, std::slice::from_ref(&found)).await?;
    let mut tags = data.into_iter().flat_map(|data| data.tags);
    match tags.any(|tag| tag.key == FROM_TAG && tag.value == from) {
        true => Ok(Some(found)),
        false => Err(TrackingError::Exists(format!(
            "there is a run {id} here that was not taken over from {from}"
        ))),
    }
}

/// Takes a run over with every point of its metrics; one that was taken over before becomes as it is there now.
///
/// Its files are here already: whoever calls has put them at the place that the run has here.
///
/// # Errors
/// [`TrackingError::Invalid`] for what cannot be kept, by its key; [`TrackingError::Exists`] as [`knows_run`].
pub async fn take_run(
    db: &Db,
    from: &str,
    foreign: &ForeignRun,
    points: &[Sample],
) -> Result<Taken, TrackingError> {
    let data = &foreign.data;
    for sample in points {
        check_key("Metric", &sample.key)?;
    }
    check_pairs("Param", &data.params, PARAM_MAX)?;
    check_pairs("Tag", &data.tags, TAG_MAX)?;
    for input in &data.datasets {
        check_dataset(input)?;
    }
    let points: Vec<Sample> = points.iter().map(within_range).collect();
    write!(db.begin("take a run over"), |tx| {
        let known = known_run(&tx, from, foreign).await?;
        let taken = match known {
            Some(_) => Taken::Renewed,
            None => Taken::New,
        };
        let mut here = match known {
            Some(found) => {
                metric::clear(&tx, found.row).await?;
                found
            }
            None => run::add(&tx, &foreign.run).await?,
        };
        here.name.clone_from(&foreign.run.name);
        here.status = foreign.run.status;
        here.ended_at = foreign.ended_at;
        here.lifecycle = foreign.lifecycle;
        run::put(&tx, &here).await?;
        run::tag(&tx, here.row, &marked(&data.tags, from)).await?;
        let params = new_params(&tx, &here, &data.params).await?;
        run::add_params(&tx, here.row, &params).await?;
        metric::add(&tx, here.row, &points).await?;
        run::add_datasets(&tx, &here, &data.datasets).await?;
        run::add_models(&tx, here.row, &data.models).await?;
        taken
    })
}

/// Whether a logged model is here as it is there.
///
/// # Errors
/// [`TrackingError::Exists`] if there is one of this id that was not taken over from there.
pub async fn knows_model(
    on: &impl Read,
    from: &str,
    foreign: &ForeignModel,
) -> Result<Taken, TrackingError> {
    let id = &foreign.model.id;
    check_id(id)?;
    own::check_run(&foreign.model.source_run)?;
    let Some(found) = logged_model::get(on, id).await? else {
        return Ok(Taken::New);
    };
    own::check_model(&found)?;
    let data = logged_model::data_of(on, std::slice::from_ref(&found)).await?;
    let mut tags = data.into_iter().flat_map(|data| data.tags);
    if !tags.any(|tag| tag.key == FROM_TAG && tag.value == from) {
        return Err(TrackingError::Exists(format!(
            "there is a logged model {id} here that was not taken over from {from}"
        )));
    }
    let is_same = found.updated_at == foreign.updated_at && found.status == foreign.status;
    Ok(match is_same {
        true => Taken::Known,
        false => Taken::Renewed,
    })
}

/// Takes a logged model over, whose files are at its place here already.
///
/// # Errors
/// [`TrackingError::Invalid`] for what cannot be kept, by its key; [`TrackingError::Exists`] as [`knows_model`].
pub async fn take_model(
    db: &Db,
    from: &str,
    foreign: &ForeignModel,
) -> Result<Taken, TrackingError> {
    let data = &foreign.data;
    check_pairs("Param", &data.params, PARAM_MAX)?;
    check_pairs("Tag", &data.tags, TAG_MAX)?;
    write!(db.begin("take a logged model over"), |tx| {
        let taken = knows_model(&tx, from, foreign).await?;
        if taken != Taken::Known {
            if let Some(old) = logged_model::get(&tx, &foreign.model.id).await? {
                logged_model::remove(&tx, &old).await?;
            }
            let mut made = logged_model::add(&tx, &foreign.model, foreign.created_at).await?;
            made.status = foreign.status;
            made.status_message.clone_from(&foreign.status_message);
            made.updated_at = foreign.updated_at;
            logged_model::put(&tx, &made).await?;
            logged_model::add_params(&tx, made.row, &data.params).await?;
            logged_model::tag(&tx, made.row, &marked(&data.tags, from)).await?;
            logged_model::add_metrics(&tx, made.row, &data.metrics).await?;
        }
        taken
    })
}

/// Takes a registered name over: its description and tags where it is new, and its aliases where they point elsewhere.
///
/// Its versions are here already, so that no alias points at nothing.
///
/// # Errors
/// [`TrackingError::Invalid`]; [`TrackingError::Exists`] if there is one of this name that was not taken over from there.
pub async fn take_name(
    db: &Db,
    from: &str,
    foreign: &ForeignName,
    versions: &[ForeignVersion],
    by: By<'_>,
) -> Result<Taken, TrackingError> {
    let name = &foreign.name;
    check_name(name)?;
    check_pairs("Registered model tag", &foreign.tags, REGISTRY_TAG_MAX)?;
    for (alias, _) in &foreign.aliases {
        check_alias(alias)?;
    }
    write!(db.begin_audited("take a registered model over"), |tx| {
        let (mut here, mut taken) = match registry::get(&tx, name).await? {
            None => {
                let made = registry::add(&tx, name, &foreign.description, foreign.created_at);
                (made.await?, Taken::New)
            }
            Some(found) => {
                let tags = registry::tags(&tx, &[found.row]).await?;
                let mut tags = tags.into_values().flatten();
                if !tags.any(|tag| tag.key == FROM_TAG && tag.value == from) {
                    return Err(TrackingError::Exists(format!(
                        "there is a registered model `{name}` here that was not taken over from {from}"
                    )));
                }
                (found, Taken::Known)
            }
        };
        let mut count = 0;
        for version in versions {
            let was = take_version(&tx, from, version).await?;
            count += u32::from(was != Taken::Known);
        }
        let aliases = tinyops_store::model::aliases(&tx, name).await?;
        for (alias, version) in &foreign.aliases {
            let is_there = aliases.contains(&(alias.clone(), *version));
            if is_there || registry::version(&tx, name, *version).await?.is_none() {
                continue;
            }
            count += 1;
            let change = AliasChange {
                name: name.clone(),
                alias: alias.clone(),
                version: Some(*version),
                actor: by.actor.to_owned(),
                at: by.now,
            };
            registry::set_alias(&tx, &change).await?;
        }
        if taken == Taken::New || count > 0 || here.updated_at != foreign.updated_at {
            taken = match taken {
                Taken::Known => Taken::Renewed,
                taken => taken,
            };
            here.description.clone_from(&foreign.description);
            here.updated_at = foreign.updated_at;
            registry::put(&tx, &here).await?;
            registry::tag(&tx, here.row, &marked(&foreign.tags, from)).await?;
            let detail = serde_json::json!({ "from": from, "changes": count });
            let action = "registered-model.import";
            audit::add(&tx, by.now, by.actor, action, name, &detail).await?;
        }
        taken
    })
}

async fn take_version(
    tx: &Tx,
    from: &str,
    foreign: &ForeignVersion,
) -> Result<Taken, TrackingError> {
    let ForeignVersion { name, version, .. } = foreign;
    check_source(&foreign.source)?;
    check_pairs("Model version tag", &foreign.tags, REGISTRY_TAG_MAX)?;
    let (mut here, taken) = match registry::version(tx, name, *version).await? {
        Some(found) if found.is_own || found.created_at != foreign.created_at => {
            return Err(TrackingError::Exists(format!(
                "{name}@{version} here is another than that of {from}"
            )));
        }
        Some(found) if found.updated_at == foreign.updated_at => return Ok(Taken::Known),
        Some(found) => (found, Taken::Renewed),
        None => {
            let new = NewVersion {
                name: name.clone(),
                source: foreign.source.clone(),
                run: foreign.run.clone(),
                logged_model: foreign.logged_model.clone(),
                run_link: foreign.run_link.clone(),
                user: foreign.user.clone(),
            };
            let made = registry::add_numbered(tx, &new, *version, foreign.created_at);
            (made.await?, Taken::New)
        }
    };
    here.stage = foreign.stage;
    here.updated_at = foreign.updated_at;
    registry::put_version(tx, &here).await?;
    registry::tag_version(tx, &here, &marked(&foreign.tags, from)).await?;
    if !foreign.description.is_empty() {
        registry::describe_version(tx, &here, &foreign.description, foreign.updated_at).await?;
    }
    Ok(taken)
}

/// Where the files of a version are here: with its logged model or its run, or at the remote store that it names.
///
/// # Errors
/// [`TrackingError::Invalid`] for files at a place of the other machine that belong to no run and no logged model.
pub async fn source_here(
    on: &impl Read,
    foreign: &ForeignVersion,
) -> Result<String, TrackingError> {
    let source = foreign.source.trim_end_matches('/');
    let model = match source.strip_prefix("models:/") {
        Some(id) if id.starts_with("m-") => id,
        _ => &foreign.logged_model,
    };
    if !model.is_empty() && logged_model::get(on, model).await?.is_some() {
        return Ok(format!("models:/{model}"));
    }
    if let Some(found) = run::get(on, &foreign.run).await? {
        let run = &foreign.run;
        let parts = [format!("runs:/{run}/"), format!("/{run}/artifacts/")];
        let inner = parts.iter().find_map(|part| source.split_once(&**part));
        if let Some((_, inner)) = inner {
            let place = Place::of_id(on, found.experiment).await?;
            return Ok(format!("{}/{inner}", place.of_run(&found)));
        }
    }
    check_source(source).map_err(|_| {
        TrackingError::Invalid(format!(
            "its files are at `{source}` of the other machine, with no run and no logged model that was taken over"
        ))
    })?;
    Ok(source.to_owned())
}

fn marked(tags: &[Pair], from: &str) -> Vec<Pair> {
    let mut tags = tags.to_vec();
    tags.retain(|tag| tag.key != FROM_TAG);
    tags.push(Pair {
        key: FROM_TAG.to_owned(),
        value: from.to_owned(),
    });
    tags
}

/// Notes in the audit log what was taken over.
///
/// # Errors
/// [`TrackingError::Store`].
pub async fn note(
    db: &Db,
    from: &str,
    counts: &Json,
    actor: &str,
    now: Timestamp,
) -> Result<(), TrackingError> {
    write!(db.begin_audited("note an import"), |tx| {
        audit::add(&tx, now, actor, "tracking.import", from, counts).await?;
    })
}
