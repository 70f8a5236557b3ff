//! Taking over what another server of this API has: ids, times and tags stay, and the same again changes nothing.
//!
//! Each record is written in a transaction of its own, so that an import that was cut off goes on where it was. What is
//! here and was not taken over from there is never changed: tags that were set here stay, and an alias that was moved here
//! stays where it is. A record that changed there since it was taken over becomes as it is there in everything else.

use serde::{Deserialize, Serialize};
use tinyops_store::tracking::Pair;
use tinyops_store::tracking::experiment::ExperimentId;
use tinyops_store::tracking::experiment::{self, Experiment};
use tinyops_store::tracking::logged_model::{self, LoggedModel};
use tinyops_store::tracking::metric::{self, Sample};
use tinyops_store::tracking::registry::{self, AliasChange, NewVersion, RegisteredModel, Version};
use tinyops_store::tracking::run::{self, TrackedRun};
use tinyops_store::{Db, Digest, Json, Read, Timestamp, Tx, audit};

use super::foreign::{ForeignExperiment, ForeignModel, ForeignName, ForeignRun, ForeignVersion};
use super::limit::{
    EXPERIMENT_TAG_MAX, PARAM_MAX, REGISTRY_TAG_MAX, TAG_MAX, check_key, check_pairs,
};
use super::registry::{By, check_alias, check_name, check_source};
use super::run::{check_dataset, check_id, new_params, within_range};
use super::{Place, TrackingError, own, write};

/// The tag that says from which server a record was taken over.
pub const FROM_TAG: &str = "tinyops.imported_from";
/// The tag that says how it was there then: a mark of all that was told of it, and the keys of its tags.
pub const STATE_TAG: &str = "tinyops.imported_state";

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
                let tags = Tags::of(&[], &foreign.tags, from, mark(foreign));
                experiment::tag(&tx, made.id, &tags.set).await?;
                (made, Taken::New)
            }
        }
    })
}

/// Whether a run is here as it is there, by all that its server tells of it without its points and files.
///
/// # Errors
/// [`TrackingError::Exists`] if there is one of this id that was not taken over from there.
pub async fn knows_run(
    on: &impl Read,
    from: &str,
    foreign: &ForeignRun,
) -> Result<Taken, TrackingError> {
    let Some((_, tags)) = known_run(on, from, foreign).await? else {
        return Ok(Taken::New);
    };
    let is_same = State::of(&tags).mark == mark_of_run(foreign);
    // One that is at work may log points that are not the newest, and files, of which its server tells nothing here.
    match is_same && foreign.ended_at.is_some() {
        true => Ok(Taken::Known),
        false => Ok(Taken::Renewed),
    }
}

/// The run of that id and its tags.
async fn known_run(
    on: &impl Read,
    from: &str,
    foreign: &ForeignRun,
) -> Result<Option<(TrackedRun, Vec<Pair>)>, TrackingError> {
    let id = &foreign.run.id;
    check_id(id)?;
    own::check_run(id)?;
    let Some(found) = run::get(on, id).await? else {
        return Ok(None);
    };
    let data = run::data_of(on, std::slice::from_ref(&found)).await?;
    let tags: Vec<Pair> = data.into_iter().flat_map(|data| data.tags).collect();
    match is_from(&tags, from) {
        true => Ok(Some((found, tags))),
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
        let (mut here, before) = match known {
            Some((found, tags)) => {
                metric::clear(&tx, found.row).await?;
                (found, tags)
            }
            None => (run::add(&tx, &foreign.run).await?, Vec::new()),
        };
        here.name.clone_from(&foreign.run.name);
        here.status = foreign.run.status;
        here.ended_at = foreign.ended_at;
        here.lifecycle = foreign.lifecycle;
        run::put(&tx, &here).await?;
        let tags = Tags::of(&before, &data.tags, from, mark_of_run(foreign));
        for key in &tags.gone {
            run::untag(&tx, here.row, key).await?;
        }
        run::tag(&tx, here.row, &tags.set).await?;
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
    let Some((_, tags)) = known_model(on, from, foreign).await? else {
        return Ok(Taken::New);
    };
    Ok(match State::of(&tags).mark == mark_of_model(foreign) {
        true => Taken::Known,
        false => Taken::Renewed,
    })
}

/// The logged model of that id and its tags.
async fn known_model(
    on: &impl Read,
    from: &str,
    foreign: &ForeignModel,
) -> Result<Option<(LoggedModel, Vec<Pair>)>, TrackingError> {
    let id = &foreign.model.id;
    check_id(id)?;
    own::check_run(&foreign.model.source_run)?;
    let Some(found) = logged_model::get(on, id).await? else {
        return Ok(None);
    };
    own::check_model(&found)?;
    let data = logged_model::data_of(on, std::slice::from_ref(&found)).await?;
    let tags: Vec<Pair> = data.into_iter().flat_map(|data| data.tags).collect();
    match is_from(&tags, from) {
        true => Ok(Some((found, tags))),
        false => Err(TrackingError::Exists(format!(
            "there is a logged model {id} here that was not taken over from {from}"
        ))),
    }
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
            let mut before = Vec::new();
            if let Some((old, tags)) = known_model(&tx, from, foreign).await? {
                logged_model::remove(&tx, &old).await?;
                before = tags;
            }
            let tags = Tags::of(&before, &data.tags, from, mark_of_model(foreign));
            before.retain(|tag| !tags.gone.contains(&tag.key));
            let mut made = logged_model::add(&tx, &foreign.model, foreign.created_at).await?;
            made.status = foreign.status;
            made.status_message.clone_from(&foreign.status_message);
            made.updated_at = foreign.updated_at;
            logged_model::put(&tx, &made).await?;
            logged_model::add_params(&tx, made.row, &data.params).await?;
            logged_model::tag(&tx, made.row, &before).await?;
            logged_model::tag(&tx, made.row, &tags.set).await?;
            logged_model::add_metrics(&tx, made.row, &data.metrics).await?;
        }
        taken
    })
}

/// What became of a registered name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenName {
    /// What became of it and its versions.
    pub taken: Taken,
    /// Aliases that point elsewhere there and were left as they are.
    pub left: Vec<LeftAlias>,
}

/// An alias that was moved here since it was taken over, or points at a version that this project made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAlias {
    /// The word.
    pub alias: String,
    /// The version that it points at there; none where it is gone.
    pub there: Option<u32>,
    /// The version that it points at here; none where it is gone.
    pub here: Option<u32>,
}

/// Whether a registered name and its versions are here as they are there.
///
/// # Errors
/// [`TrackingError::Exists`] if there is one of this name, or a version of its number, that was not taken over from there.
pub async fn knows_name(
    on: &impl Read,
    from: &str,
    foreign: &ForeignName,
    versions: &[ForeignVersion],
) -> Result<Taken, TrackingError> {
    let Some((_, tags)) = known_name(on, from, foreign).await? else {
        return Ok(Taken::New);
    };
    let mut is_same = State::of(&tags).mark == mark(foreign);
    for version in versions {
        is_same &= knows_version(on, from, version).await? == Taken::Known;
    }
    Ok(match is_same {
        true => Taken::Known,
        false => Taken::Renewed,
    })
}

/// The registered model of that name and its tags.
async fn known_name(
    on: &impl Read,
    from: &str,
    foreign: &ForeignName,
) -> Result<Option<(RegisteredModel, Vec<Pair>)>, TrackingError> {
    let name = &foreign.name;
    check_name(name)?;
    let Some(found) = registry::get(on, name).await? else {
        return Ok(None);
    };
    let tags = registry::tags(on, &[found.row]).await?;
    let tags: Vec<Pair> = tags.into_values().flatten().collect();
    match is_from(&tags, from) {
        true => Ok(Some((found, tags))),
        false => Err(TrackingError::Exists(format!(
            "there is a registered model `{name}` here that was not taken over from {from}"
        ))),
    }
}

/// Takes a registered name over with the versions that are given: its description, tags and aliases.
///
/// Their files are here already, so that no alias points at nothing.
///
/// # Errors
/// [`TrackingError::Invalid`]; [`TrackingError::Exists`] as [`knows_name`].
pub async fn take_name(
    db: &Db,
    from: &str,
    foreign: &ForeignName,
    versions: &[ForeignVersion],
    by: By<'_>,
) -> Result<TakenName, TrackingError> {
    let name = &foreign.name;
    check_pairs("Registered model tag", &foreign.tags, REGISTRY_TAG_MAX)?;
    for (alias, _) in &foreign.aliases {
        check_alias(alias)?;
    }
    write!(db.begin_audited("take a registered model over"), |tx| {
        let taken = knows_name(&tx, from, foreign, versions).await?;
        let mut left = Vec::new();
        if taken != Taken::Known {
            let (mut here, before) = match known_name(&tx, from, foreign).await? {
                Some(found) => found,
                None => {
                    let made = registry::add(&tx, name, "", foreign.created_at);
                    (made.await?, Vec::new())
                }
            };
            for version in versions {
                take_version(&tx, from, version).await?;
            }
            left = take_aliases(&tx, from, foreign, by.now).await?;
            here.description.clone_from(&foreign.description);
            here.updated_at = foreign.updated_at;
            registry::put(&tx, &here).await?;
            let tags = Tags::of(&before, &foreign.tags, from, mark(foreign));
            for key in &tags.gone {
                registry::untag(&tx, here.row, key).await?;
            }
            registry::tag(&tx, here.row, &tags.set).await?;
            let detail = serde_json::json!({ "from": from, "versions": versions.len() });
            let action = "registered-model.import";
            audit::add(&tx, by.now, by.actor, action, name, &detail).await?;
        }
        TakenName { taken, left }
    })
}

/// Lets aliases point where they point there, and answers with those that were left alone: whoever moved one here knows
/// why, and one of a version that this project made moves by its gates.
async fn take_aliases(
    tx: &Tx,
    from: &str,
    foreign: &ForeignName,
    now: Timestamp,
) -> Result<Vec<LeftAlias>, TrackingError> {
    let name = &foreign.name;
    let actor = format!("import of {from}");
    let history = registry::alias_history(tx, name).await?;
    // Whoever moved it last, were it away.
    let mover = |alias: &str| {
        let change = history.iter().rev().find(|change| change.alias == alias);
        change.map(|change| change.actor.as_str())
    };
    let own = |version: &Option<Version>| version.as_ref().is_some_and(|of| of.is_own);
    let aliases = tinyops_store::model::aliases(tx, name).await?;
    let there = foreign.aliases.iter();
    let mut wanted: Vec<(&String, Option<u32>)> = there
        .map(|(alias, version)| (alias, Some(*version)))
        .collect();
    for (alias, _) in &aliases {
        let is_told = wanted.iter().any(|(told, _)| *told == alias);
        if !is_told && mover(alias) == Some(actor.as_str()) {
            wanted.push((alias, None));
        }
    }
    let mut left = Vec::new();
    for (alias, there) in wanted {
        let here = aliases.iter().find(|(known, _)| known == alias);
        let here = here.map(|(_, version)| *version);
        if here == there {
            continue;
        }
        let mut ends = [None, None];
        for (end, version) in ends.iter_mut().zip([here, there]) {
            if let Some(version) = version {
                *end = registry::version(tx, name, version).await?;
            }
        }
        let is_moved_here = mover(alias).is_some_and(|mover| mover != actor);
        let points_at_nothing = there.is_some() && ends[1].is_none();
        if is_moved_here || points_at_nothing || ends.iter().any(own) {
            left.push(LeftAlias {
                alias: alias.clone(),
                there,
                here,
            });
            continue;
        }
        let change = AliasChange {
            name: name.clone(),
            alias: alias.clone(),
            version: there,
            actor: actor.clone(),
            at: now,
        };
        registry::set_alias(tx, &change).await?;
    }
    Ok(left)
}

async fn knows_version(
    on: &impl Read,
    from: &str,
    foreign: &ForeignVersion,
) -> Result<Taken, TrackingError> {
    let Some((_, tags)) = known_version(on, from, foreign).await? else {
        return Ok(Taken::New);
    };
    Ok(match State::of(&tags).mark == mark_of_version(foreign) {
        true => Taken::Known,
        false => Taken::Renewed,
    })
}

/// The version of that number and its tags.
async fn known_version(
    on: &impl Read,
    from: &str,
    foreign: &ForeignVersion,
) -> Result<Option<(Version, Vec<Pair>)>, TrackingError> {
    let ForeignVersion { name, version, .. } = foreign;
    let Some(found) = registry::version(on, name, *version).await? else {
        return Ok(None);
    };
    let tags = registry::version_tags(on, std::slice::from_ref(&found.id)).await?;
    let tags: Vec<Pair> = tags.into_values().flatten().collect();
    match !found.is_own && is_from(&tags, from) {
        true => Ok(Some((found, tags))),
        false => Err(TrackingError::Exists(format!(
            "{name}@{version} here is another than that of {from}"
        ))),
    }
}

async fn take_version(tx: &Tx, from: &str, foreign: &ForeignVersion) -> Result<(), TrackingError> {
    check_source(&foreign.source)?;
    check_pairs("Model version tag", &foreign.tags, REGISTRY_TAG_MAX)?;
    if knows_version(tx, from, foreign).await? == Taken::Known {
        return Ok(());
    }
    let (mut here, before) = match known_version(tx, from, foreign).await? {
        Some(found) => found,
        None => {
            let new = NewVersion {
                name: foreign.name.clone(),
                source: foreign.source.clone(),
                run: foreign.run.clone(),
                logged_model: foreign.logged_model.clone(),
                run_link: foreign.run_link.clone(),
                user: foreign.user.clone(),
            };
            let made = registry::add_numbered(tx, &new, foreign.version, foreign.created_at);
            (made.await?, Vec::new())
        }
    };
    here.stage = foreign.stage;
    here.updated_at = foreign.updated_at;
    registry::put_version(tx, &here).await?;
    let tags = Tags::of(&before, &foreign.tags, from, mark_of_version(foreign));
    for key in &tags.gone {
        registry::untag_version(tx, &here, key).await?;
    }
    registry::tag_version(tx, &here, &tags.set).await?;
    if !(before.is_empty() && foreign.description.is_empty()) {
        registry::describe_version(tx, &here, &foreign.description, foreign.updated_at).await?;
    }
    Ok(())
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

fn is_from(tags: &[Pair], from: &str) -> bool {
    tags.iter()
        .any(|tag| tag.key == FROM_TAG && tag.value == from)
}

/// How a record was there when it was taken over, as [`STATE_TAG`] keeps it.
#[derive(Default, Serialize, Deserialize)]
struct State {
    mark: String,
    keys: Vec<String>,
}

impl State {
    /// Of the tags that a record has here; one that says nothing is none, and the record is taken over again.
    fn of(tags: &[Pair]) -> State {
        let tag = tags.iter().find(|tag| tag.key == STATE_TAG);
        tag.and_then(|tag| serde_json::from_str(&tag.value).ok())
            .unwrap_or_default()
    }
}

/// What becomes of the tags of a record that is taken over.
struct Tags {
    set: Vec<Pair>,
    /// Keys that came from there and are gone there; what was set here is not among them.
    gone: Vec<String>,
}

impl Tags {
    fn of(before: &[Pair], there: &[Pair], from: &str, mark: String) -> Tags {
        let mut set = there.to_vec();
        set.retain(|tag| tag.key != FROM_TAG && tag.key != STATE_TAG);
        let keys: Vec<String> = set.iter().map(|tag| tag.key.clone()).collect();
        let mut gone = State::of(before).keys;
        gone.retain(|key| !keys.contains(key));
        let state = serde_json::to_string(&State { mark, keys });
        let own = [
            (FROM_TAG, from.to_owned()),
            (STATE_TAG, state.unwrap_or_default()),
        ];
        set.extend(own.map(|(key, value)| Pair {
            key: key.to_owned(),
            value,
        }));
        Tags { set, gone }
    }
}

/// A short name for all that is known of a record there: where it differs, something changed.
fn mark(of: &impl std::fmt::Debug) -> String {
    let digest = Digest::of(format!("{of:?}").as_bytes());
    digest.to_string()[..16].to_owned()
}

fn mark_of_run(foreign: &ForeignRun) -> String {
    let mut foreign = foreign.clone();
    // The number of its experiment is of this place, and not known before that is made.
    foreign.run.experiment = ExperimentId(0);
    mark(&foreign)
}

fn mark_of_model(foreign: &ForeignModel) -> String {
    let mut foreign = foreign.clone();
    foreign.model.experiment = ExperimentId(0);
    mark(&foreign)
}

fn mark_of_version(foreign: &ForeignVersion) -> String {
    // Where its files are is told anew for this place.
    let there = ForeignVersion {
        source: String::new(),
        logged_model: String::new(),
        ..foreign.clone()
    };
    mark(&there)
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
