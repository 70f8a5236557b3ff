//! Experiments: made, renamed, put away, brought back.

use tinyops_store::tracking::experiment::{self, Experiment, ExperimentId};
use tinyops_store::tracking::search::{Comparison, Condition, Field, Search, Test};
use tinyops_store::tracking::{Lifecycle, Pair};
use tinyops_store::{Db, Json, Read, Timestamp, audit};

use super::filter::{self, Kind};
use super::limit::{
    EXPERIMENT_NAME_MAX, EXPERIMENT_TAG_MAX, Page, check_length, check_pairs, check_present,
};
use super::{TrackingError, write};

/// Which records a search looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Those in use.
    #[default]
    Active,
    /// Those put away.
    Deleted,
    /// Both.
    All,
}

impl View {
    /// What must hold of a record in view.
    pub(crate) fn condition(self) -> Option<Condition> {
        let lifecycle = match self {
            View::Active => Lifecycle::Active,
            View::Deleted => Lifecycle::Deleted,
            View::All => return None,
        };
        Some(Condition {
            field: Field::Text("lifecycle"),
            test: Test::Text(Comparison::Equal, lifecycle.word().to_owned()),
        })
    }
}

/// The experiment of this number.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn get(on: &impl Read, id: &str) -> Result<Experiment, TrackingError> {
    let missing = || TrackingError::Missing(format!("No Experiment with id={id} exists"));
    let number: ExperimentId = id.parse().map_err(|_| missing())?;
    experiment::get(on, number).await?.ok_or_else(missing)
}

/// Makes an experiment.
///
/// # Errors
/// [`TrackingError::Invalid`], [`TrackingError::Exists`].
pub async fn create(
    db: &Db,
    name: &str,
    artifact_location: &str,
    tags: &[Pair],
    now: Timestamp,
) -> Result<Experiment, TrackingError> {
    check_name(name)?;
    check_pairs("Experiment tag", tags, EXPERIMENT_TAG_MAX)?;
    write!(db.begin("make an experiment"), |tx| {
        if let Some(found) = experiment::named(&tx, name).await? {
            return Err(taken(&found));
        }
        let made = experiment::add(&tx, name, artifact_location, now).await?;
        experiment::tag(&tx, made.id, tags).await?;
        made
    })
}

/// Gives an experiment another name.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`], [`TrackingError::Exists`].
pub async fn rename(db: &Db, id: &str, name: &str, now: Timestamp) -> Result<(), TrackingError> {
    check_name(name)?;
    write!(db.begin("rename an experiment"), |tx| {
        let mut found = get(&tx, id).await?;
        if found.lifecycle != Lifecycle::Active {
            return Err(TrackingError::Invalid(format!(
                "Cannot rename experiment {id}: it is deleted"
            )));
        }
        if let Some(other) = experiment::named(&tx, name).await?
            && other.id != found.id
        {
            return Err(taken(&other));
        }
        name.clone_into(&mut found.name);
        found.updated_at = now;
        experiment::put(&tx, &found).await?;
    })
}

/// Puts an experiment away, or brings it back.
///
/// # Errors
/// [`TrackingError::Missing`]; [`TrackingError::Invalid`] if it is so already, and for the one that is always there.
pub async fn set_lifecycle(
    db: &Db,
    id: &str,
    lifecycle: Lifecycle,
    actor: &str,
    now: Timestamp,
) -> Result<(), TrackingError> {
    write!(db.begin_audited("put an experiment away"), |tx| {
        let mut found = get(&tx, id).await?;
        if found.lifecycle == lifecycle {
            return Err(TrackingError::Missing(format!(
                "No Experiment with id={id} exists that is not {lifecycle}"
            )));
        }
        found.lifecycle = lifecycle;
        found.updated_at = now;
        experiment::put(&tx, &found).await?;
        let action = match lifecycle {
            Lifecycle::Active => "experiment.restore",
            Lifecycle::Deleted => "experiment.delete",
        };
        let detail = Json::from_iter([("name", found.name.as_str())]);
        audit::add(&tx, now, actor, action, id, &detail).await?;
    })
}

/// Sets a tag.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn tag(db: &Db, id: &str, tag: Pair, now: Timestamp) -> Result<(), TrackingError> {
    check_pairs(
        "Experiment tag",
        std::slice::from_ref(&tag),
        EXPERIMENT_TAG_MAX,
    )?;
    let tags = [tag];
    write!(db.begin("tag an experiment"), |tx| {
        let mut found = get(&tx, id).await?;
        found.updated_at = now;
        experiment::put(&tx, &found).await?;
        experiment::tag(&tx, found.id, &tags).await?;
    })
}

/// Removes a tag.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn untag(db: &Db, id: &str, key: &str, now: Timestamp) -> Result<(), TrackingError> {
    write!(db.begin("untag an experiment"), |tx| {
        let mut found = get(&tx, id).await?;
        if !experiment::untag(&tx, found.id, key).await? {
            return Err(TrackingError::Missing(format!(
                "No tag with key '{key}' on experiment {id}"
            )));
        }
        found.updated_at = now;
        experiment::put(&tx, &found).await?;
    })
}

/// The experiments that a client searches, with one more than the page has if another page follows.
///
/// # Errors
/// [`TrackingError::Invalid`] for a filter or an order that cannot be.
pub async fn search(
    on: &impl Read,
    filter: &str,
    order: &[String],
    view: View,
    page: Page,
) -> Result<Vec<Experiment>, TrackingError> {
    let mut conditions = filter::conditions(Kind::Experiments, filter)?;
    conditions.extend(view.condition());
    let search = Search {
        conditions,
        order: filter::orders(Kind::Experiments, order)?,
        offset: page.offset,
        limit: page.and_one(),
    };
    Ok(experiment::search(on, &search).await?)
}

fn check_name(name: &str) -> Result<(), TrackingError> {
    check_present("name", name.trim())?;
    check_length("The experiment name", name, EXPERIMENT_NAME_MAX)
}

fn taken(found: &Experiment) -> TrackingError {
    let name = &found.name;
    TrackingError::Exists(match found.lifecycle {
        Lifecycle::Active => format!("Experiment(name={name}) already exists."),
        Lifecycle::Deleted => format!(
            "Experiment(name={name}) already exists in deleted state. You can restore the experiment, or choose another name."
        ),
    })
}
