//! Tracked runs: begun, logged to, ended, searched.

use tinyops_store::tracking::logged_model::{self, ModelMetric};
use tinyops_store::tracking::metric::{self, Point, Sample};
use tinyops_store::tracking::run::{
    self, DatasetInput, Direction, ModelLink, NewTrackedRun, Status, TrackedRun,
};
use tinyops_store::tracking::search::{Condition, Field, Search, Test};
use tinyops_store::tracking::{Lifecycle, Pair};
use tinyops_store::{Db, Json, Read, Timestamp, Tx, audit};

use super::experiment::{self, View};
use super::filter::{self, Kind};
use super::limit::{
    DATASET_MAX, PARAM_MAX, Page, TAG_MAX, check_counts, check_key, check_length, check_pairs,
    check_present,
};
use super::{TrackingError, own, write};

/// The tag that carries a run's name.
const NAME_TAG: &str = "mlflow.runName";
/// The tag of a dataset's use that says what for.
pub(super) const CONTEXT_TAG: &str = "mlflow.data.context";
/// The tag in which a run's history of models stands, as clients before MLflow 3 write it.
const MODEL_HISTORY_TAG: &str = "mlflow.log-model.history";
/// Letters of an id at most.
const ID_MAX: usize = 256;

/// What is logged of a run in one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Points of metrics.
    pub metrics: Vec<Logged>,
    /// Parameters.
    pub params: Vec<Pair>,
    /// Tags.
    pub tags: Vec<Pair>,
}

/// A point of a metric, and of which model on which data.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// The metric and its point; an infinite value is kept as the largest.
    pub sample: Sample,
    /// The logged model that it is of; may be empty.
    pub model: String,
    /// The data that it was measured on; may be empty.
    pub dataset_name: String,
    /// Which version of the data; may be empty.
    pub dataset_digest: String,
}

impl Logged {
    /// A point of a run alone.
    pub fn of(key: String, at: i64, step: i64, value: f64) -> Logged {
        let point = Point { at, step, value };
        Logged {
            sample: Sample { key, point },
            model: String::new(),
            dataset_name: String::new(),
            dataset_digest: String::new(),
        }
    }
}

/// One run.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn get(on: &impl Read, id: &str) -> Result<TrackedRun, TrackingError> {
    run::get(on, id)
        .await?
        .ok_or_else(|| TrackingError::Missing(format!("Run with id={id} not found")))
}

/// One run that may be logged to.
async fn active(on: &impl Read, id: &str) -> Result<TrackedRun, TrackingError> {
    check_present("run_id", id)?;
    let found = get(on, id).await?;
    match found.lifecycle {
        Lifecycle::Active => Ok(found),
        Lifecycle::Deleted => Err(TrackingError::Invalid(format!(
            "The run {id} must be in the 'active' state. Current state is deleted."
        ))),
    }
}

/// Begins a run.
///
/// # Errors
/// [`TrackingError::Missing`] for an experiment that is not there; [`TrackingError::Invalid`].
pub async fn create(
    db: &Db,
    new: &NewTrackedRun,
    tags: &[Pair],
) -> Result<TrackedRun, TrackingError> {
    check_id(&new.id)?;
    check_pairs("Tag", tags, TAG_MAX)?;
    let mut new = new.clone();
    let mut tags = tags.to_vec();
    match tags.iter().find(|tag| tag.key == NAME_TAG) {
        Some(tag) if new.name.is_empty() || new.name == tag.value => {
            new.name.clone_from(&tag.value)
        }
        Some(tag) => {
            return Err(TrackingError::Invalid(format!(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='{}', mlflow.runName='{}').",
                new.name, tag.value
            )));
        }
        None => tags.push(Pair {
            key: NAME_TAG.to_owned(),
            value: new.name.clone(),
        }),
    }
    let id = new.experiment.to_string();
    write!(db.begin("begin a tracked run"), |tx| {
        let found = experiment::get(&tx, &id).await?;
        if found.lifecycle != Lifecycle::Active {
            return Err(TrackingError::Invalid(format!(
                "The experiment {id} must be in the 'active' state. Current state is deleted."
            )));
        }
        let made = run::add(&tx, &new).await?;
        run::tag(&tx, made.row, &tags).await?;
        made
    })
}

/// Says how far a run is, and what it is called.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn update(
    db: &Db,
    id: &str,
    status: Option<Status>,
    ended_at: Option<Timestamp>,
    name: Option<&str>,
) -> Result<TrackedRun, TrackingError> {
    own::check_run(id)?;
    write!(db.begin("update a tracked run"), |tx| {
        let mut found = active(&tx, id).await?;
        if let Some(status) = status {
            found.status = status;
        }
        if ended_at.is_some() {
            found.ended_at = ended_at;
        }
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            check_length("The run name", name, TAG_MAX)?;
            name.clone_into(&mut found.name);
            let tag = Pair {
                key: NAME_TAG.to_owned(),
                value: name.to_owned(),
            };
            run::tag(&tx, found.row, &[tag]).await?;
        }
        run::put(&tx, &found).await?;
        found
    })
}

/// Puts a run away, or brings it back.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn set_lifecycle(
    db: &Db,
    id: &str,
    lifecycle: Lifecycle,
    actor: &str,
    now: Timestamp,
) -> Result<(), TrackingError> {
    own::check_run(id)?;
    write!(db.begin_audited("put a tracked run away"), |tx| {
        let mut found = get(&tx, id).await?;
        found.lifecycle = lifecycle;
        run::put(&tx, &found).await?;
        let action = match lifecycle {
            Lifecycle::Active => "tracked-run.restore",
            Lifecycle::Deleted => "tracked-run.delete",
        };
        let detail = Json::from_iter([("name", found.name.as_str())]);
        audit::add(&tx, now, actor, action, id, &detail).await?;
    })
}

/// Logs a batch: whole, or not at all.
///
/// # Errors
/// [`TrackingError::Missing`]; [`TrackingError::Invalid`] where something is too long or too many, and for a parameter
/// that has another value.
pub async fn log(db: &Db, id: &str, batch: &Batch) -> Result<(), TrackingError> {
    check_counts(batch.metrics.len(), batch.params.len(), batch.tags.len())?;
    for logged in &batch.metrics {
        check_key("Metric", &logged.sample.key)?;
    }
    check_pairs("Param", &batch.params, PARAM_MAX)?;
    check_pairs("Tag", &batch.tags, TAG_MAX)?;
    if !batch.metrics.is_empty() || !batch.params.is_empty() {
        own::check_run(id)?;
    }
    let keys: Vec<&str> = batch.tags.iter().map(|tag| tag.key.as_str()).collect();
    own::check_tags(id, &keys)?;
    let samples: Vec<Sample> = batch
        .metrics
        .iter()
        .map(|logged| within_range(&logged.sample))
        .collect();
    write!(db.begin("log to a tracked run"), |tx| {
        let mut found = active(&tx, id).await?;
        if !batch.params.is_empty() {
            let new = new_params(&tx, &found, &batch.params).await?;
            run::add_params(&tx, found.row, &new).await?;
        }
        if !samples.is_empty() {
            metric::add(&tx, found.row, &samples).await?;
            log_of_models(&tx, id, &batch.metrics).await?;
        }
        if !batch.tags.is_empty() {
            run::tag(&tx, found.row, &batch.tags).await?;
            if let Some(tag) = batch.tags.iter().rfind(|tag| tag.key == NAME_TAG) {
                found.name.clone_from(&tag.value);
                run::put(&tx, &found).await?;
            }
        }
    })
}

/// The parameters that are new; one that is there stays as it was.
pub(super) async fn new_params(
    tx: &Tx,
    run: &TrackedRun,
    params: &[Pair],
) -> Result<Vec<Pair>, TrackingError> {
    let known = run::params_of(tx, run.row).await?;
    let mut new: Vec<Pair> = Vec::new();
    for pair in params {
        let other = known.iter().chain(&new).find(|other| other.key == pair.key);
        match other {
            None => new.push(pair.clone()),
            Some(other) if other.value == pair.value => {}
            Some(other) => {
                return Err(TrackingError::Invalid(format!(
                    "Changing param values is not allowed. Param with key='{}' was already logged with value='{}' for run ID='{}'. Attempted logging new value '{}'.",
                    pair.key, other.value, run.id, pair.value
                )));
            }
        }
    }
    Ok(new)
}

/// Notes with logged models what was measured of them.
async fn log_of_models(tx: &Tx, run: &str, metrics: &[Logged]) -> Result<(), TrackingError> {
    let mut ids: Vec<&str> = metrics.iter().map(|logged| logged.model.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids.into_iter().filter(|id| !id.is_empty()) {
        let model = super::logged_model::get(tx, id).await?;
        let of_model = metrics.iter().filter(|logged| logged.model == id);
        let of_model = of_model.map(|logged| ModelMetric {
            sample: within_range(&logged.sample),
            run: run.to_owned(),
            dataset_name: logged.dataset_name.clone(),
            dataset_digest: logged.dataset_digest.clone(),
        });
        logged_model::add_metrics(tx, model.row, &of_model.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Adds what an older client says of a model to the run's history of models, a tag.
///
/// # Errors
/// [`TrackingError::Missing`]; [`TrackingError::Invalid`] for what is no JSON, and for a history that gets too long.
pub async fn note_model(db: &Db, id: &str, model: &str) -> Result<(), TrackingError> {
    let model: Json = serde_json::from_str(model)
        .map_err(|cause| TrackingError::Invalid(format!("Malformed model info: {cause}")))?;
    own::check_run(id)?;
    write!(db.begin("note a model of a tracked run"), |tx| {
        let found = active(&tx, id).await?;
        let data = run::data_of(&tx, std::slice::from_ref(&found)).await?;
        let mut tags = data.into_iter().flat_map(|data| data.tags);
        let history = tags.find(|tag| tag.key == MODEL_HISTORY_TAG);
        let history = history.and_then(|tag| serde_json::from_str(&tag.value).ok());
        let mut history: Vec<Json> = history.unwrap_or_default();
        history.push(model.clone());
        let tag = Pair {
            key: MODEL_HISTORY_TAG.to_owned(),
            value: Json::from(history).to_string(),
        };
        check_pairs("Tag", std::slice::from_ref(&tag), TAG_MAX)?;
        run::tag(&tx, found.row, &[tag]).await?;
    })
}

/// Removes a tag.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn untag(db: &Db, id: &str, key: &str) -> Result<(), TrackingError> {
    own::check_tags(id, &[key])?;
    write!(db.begin("untag a tracked run"), |tx| {
        let found = active(&tx, id).await?;
        if !run::untag(&tx, found.row, key).await? {
            return Err(TrackingError::Missing(format!(
                "No tag with name: {key} in run with id {id}"
            )));
        }
    })
}

/// Notes what a run read: data and models.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn log_inputs(
    db: &Db,
    id: &str,
    datasets: &[DatasetInput],
    models: &[String],
) -> Result<(), TrackingError> {
    let mut datasets = datasets.to_vec();
    for input in &mut datasets {
        check_dataset(input)?;
        let context = input.tags.iter().find(|tag| tag.key == CONTEXT_TAG);
        input.context = context.map(|tag| tag.value.clone()).unwrap_or_default();
    }
    let links = models.iter().map(|model| ModelLink {
        model: model.clone(),
        direction: Direction::Input,
        step: 0,
    });
    let links: Vec<ModelLink> = links.collect();
    own::check_run(id)?;
    write!(db.begin("note what a run read"), |tx| {
        let found = active(&tx, id).await?;
        run::add_datasets(&tx, &found, &datasets).await?;
        run::add_models(&tx, found.row, &links).await?;
    })
}

/// Notes models that a run made, each with its step.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn log_outputs(db: &Db, id: &str, models: &[(String, i64)]) -> Result<(), TrackingError> {
    let links = models.iter().map(|(model, step)| ModelLink {
        model: model.clone(),
        direction: Direction::Output,
        step: *step,
    });
    let links: Vec<ModelLink> = links.collect();
    own::check_run(id)?;
    write!(db.begin("note what a run made"), |tx| {
        let found = active(&tx, id).await?;
        run::add_models(&tx, found.row, &links).await?;
    })
}

/// The runs that a client searches, with one more than the page has if another page follows.
///
/// # Errors
/// [`TrackingError::Invalid`] for a filter or an order that cannot be.
pub async fn search(
    on: &impl Read,
    experiments: &[String],
    filter: &str,
    order: &[String],
    view: View,
    page: Page,
) -> Result<Vec<TrackedRun>, TrackingError> {
    let mut conditions = vec![Condition {
        field: Field::Number("experiment"),
        test: Test::In {
            list: experiments.to_vec(),
            negated: false,
        },
    }];
    conditions.extend(view.condition());
    conditions.extend(filter::conditions(Kind::Runs, filter)?);
    let search = Search {
        conditions,
        order: filter::orders(Kind::Runs, order)?,
        offset: page.offset,
        limit: page.and_one(),
    };
    Ok(run::search(on, &search).await?)
}

/// Every point of a metric; none where neither run nor metric is known.
pub async fn history(on: &impl Read, id: &str, key: &str) -> Result<Vec<Point>, TrackingError> {
    match run::get(on, id).await? {
        Some(found) => Ok(metric::history(on, found.row, key).await?),
        None => Ok(Vec::new()),
    }
}

/// The largest number stands for what is infinite.
pub(super) fn within_range(sample: &Sample) -> Sample {
    let mut sample = sample.clone();
    let value = &mut sample.point.value;
    if value.is_infinite() {
        *value = f64::MAX.copysign(*value);
    }
    sample
}

pub(super) fn check_dataset(input: &DatasetInput) -> Result<(), TrackingError> {
    let texts = [&input.name, &input.digest, &input.schema, &input.profile];
    for (text, (what, most)) in texts.into_iter().zip(DATASET_MAX) {
        check_length(&format!("The dataset's {what}"), text, most)?;
    }
    for (what, text) in [
        ("name", &input.name),
        ("digest", &input.digest),
        ("source_type", &input.source_type),
        ("source", &input.source),
    ] {
        check_present(what, text)?;
    }
    Ok(())
}

pub(super) fn check_id(id: &str) -> Result<(), TrackingError> {
    let mut letters = id.chars();
    let is_id = id.len() <= ID_MAX
        && letters.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match is_id {
        true => Ok(()),
        false => Err(TrackingError::Invalid(format!("Invalid run ID: '{id}'"))),
    }
}
