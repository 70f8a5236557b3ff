//! Logged models: announced, finished, marked, searched.

use tinyops_store::tracking::logged_model::{self, LoggedModel, LoggedModelStatus, NewLoggedModel};
use tinyops_store::tracking::search::{Condition, Field, Search, Test};
use tinyops_store::tracking::{Lifecycle, Pair};
use tinyops_store::{Db, Read, Timestamp};

use super::filter::{self, Kind};
use super::limit::{KEY_MAX, PARAM_MAX, Page, TAG_MAX, check_length, check_pairs};
use super::{TrackingError, experiment, own, write};

/// One logged model.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn get(on: &impl Read, id: &str) -> Result<LoggedModel, TrackingError> {
    logged_model::get(on, id)
        .await?
        .ok_or_else(|| TrackingError::Missing(format!("Logged model with ID '{id}' not found.")))
}

/// Announces a model whose files are to come.
///
/// # Errors
/// [`TrackingError::Missing`] for an experiment that is not there; [`TrackingError::Invalid`].
pub async fn create(
    db: &Db,
    new: &NewLoggedModel,
    params: &[Pair],
    tags: &[Pair],
    now: Timestamp,
) -> Result<LoggedModel, TrackingError> {
    if new.name.contains(['/', ':', '.', '%', '"', '\'']) || new.name.trim().is_empty() {
        return Err(TrackingError::Invalid(format!(
            "Invalid model name ({}) provided. Model name must be a non-empty string and cannot contain the following characters: ('/', ':', '.', '%', '\"', \"'\")",
            new.name
        )));
    }
    check_length("The model's name", &new.name, KEY_MAX)?;
    check_pairs("Param", params, PARAM_MAX)?;
    check_pairs("Tag", tags, TAG_MAX)?;
    own::check_run(&new.source_run)?;
    let id = new.experiment.to_string();
    write!(db.begin("announce a logged model"), |tx| {
        let found = experiment::get(&tx, &id).await?;
        if found.lifecycle != Lifecycle::Active {
            return Err(TrackingError::Invalid(format!(
                "The experiment {id} must be in the 'active' state. Current state is deleted."
            )));
        }
        let made = logged_model::add(&tx, new, now).await?;
        logged_model::add_params(&tx, made.row, params).await?;
        logged_model::tag(&tx, made.row, tags).await?;
        made
    })
}

/// Says whether a model can be used.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn finish(
    db: &Db,
    id: &str,
    status: LoggedModelStatus,
    now: Timestamp,
) -> Result<LoggedModel, TrackingError> {
    write!(db.begin("finish a logged model"), |tx| {
        let mut found = get(&tx, id).await?;
        own::check_model(&found)?;
        found.status = status;
        found.updated_at = now;
        logged_model::put(&tx, &found).await?;
        found
    })
}

/// Forgets a model; its files stay where they are.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn remove(db: &Db, id: &str) -> Result<(), TrackingError> {
    write!(db.begin("forget a logged model"), |tx| {
        let found = get(&tx, id).await?;
        own::check_model(&found)?;
        logged_model::remove(&tx, &found).await?;
    })
}

/// Adds parameters.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn add_params(db: &Db, id: &str, params: &[Pair]) -> Result<(), TrackingError> {
    check_pairs("Param", params, PARAM_MAX)?;
    write!(db.begin("add parameters of a logged model"), |tx| {
        let found = get(&tx, id).await?;
        own::check_model(&found)?;
        logged_model::add_params(&tx, found.row, params).await?;
    })
}

/// Sets tags.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn tag(db: &Db, id: &str, tags: &[Pair]) -> Result<(), TrackingError> {
    check_pairs("Tag", tags, TAG_MAX)?;
    write!(db.begin("tag a logged model"), |tx| {
        let found = get(&tx, id).await?;
        own::check_model(&found)?;
        logged_model::tag(&tx, found.row, tags).await?;
    })
}

/// Removes a tag.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn untag(db: &Db, id: &str, key: &str) -> Result<(), TrackingError> {
    write!(db.begin("untag a logged model"), |tx| {
        let found = get(&tx, id).await?;
        own::check_model(&found)?;
        if !logged_model::untag(&tx, found.row, key).await? {
            return Err(TrackingError::Missing(format!(
                "No tag with key '{key}' found for model with ID '{id}'."
            )));
        }
    })
}

/// The logged models that a client searches, with one more than the page has if another page follows.
///
/// # Errors
/// [`TrackingError::Invalid`] for a filter or an order that cannot be.
pub async fn search(
    on: &impl Read,
    experiments: &[String],
    filter: &str,
    order: &[String],
    page: Page,
) -> Result<Vec<LoggedModel>, TrackingError> {
    let mut conditions = vec![Condition {
        field: Field::Number("experiment"),
        test: Test::In {
            list: experiments.to_vec(),
            negated: false,
        },
    }];
    conditions.extend(filter::conditions(Kind::LoggedModels, filter)?);
    let search = Search {
        conditions,
        order: filter::orders(Kind::LoggedModels, order)?,
        offset: page.offset,
        limit: page.and_one(),
    };
    Ok(logged_model::search(on, &search).await?)
}
