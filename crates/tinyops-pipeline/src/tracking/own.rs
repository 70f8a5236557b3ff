//! Runs of pipelines as tracked runs, and what they make as a family of logged models.
//!
//! | of the pipeline | is, to whoever tracks |
//! |---|---|
//! | project | an experiment of its name |
//! | run `7` | run `tinyops-7`: settings are parameters, what steps found is metrics, what they made is files |
//! | float model, int8 model, payload of a board | logged models that name the one they were made from |
//! | dataset | an input of the run |
//!
//! All is written in the transaction that writes the pipeline's own record, so that neither is ever there without the
//! other (ADR 0007); what a pipeline wrote, only a pipeline changes.

mod figures;

use std::collections::BTreeMap;

use tinyops_store::run::{self, Run, RunId, RunState};
use tinyops_store::step::{self, Port, Step, StepState};
use tinyops_store::tracking::Pair;
use tinyops_store::tracking::experiment::{self, Experiment};
use tinyops_store::tracking::file::{self as files, TrackedFile};
use tinyops_store::tracking::logged_model::{
    self, LoggedModel, LoggedModelStatus, ModelMetric, NewLoggedModel,
};
use tinyops_store::tracking::metric::{self, Sample};
use tinyops_store::tracking::run::{
    self as tracked, DatasetInput, Direction, ModelLink, NewTrackedRun, Status, TrackedRun,
};
use tinyops_store::{Artifacts, Db, Digest, Json, Read, StoreError, Timestamp, Tx};

use self::figures::{Variant, figures, params, word};
use super::limit::TAG_MAX;
use super::{Place, TrackingError};

/// What ids of tracked runs begin with that a pipeline wrote.
const RUN_MARK: &str = "tinyops-";
/// What tags begin with that a pipeline wrote.
const TAG_MARK: &str = "tinyops.";
/// From which model one was made: the id of a logged model.
pub const MADE_FROM_TAG: &str = "tinyops.made_from";
/// Whose place one takes whose head was solved anew, or which was fine-tuned: the id of a logged model.
pub const PARENT_TAG: &str = "tinyops.parent";
/// Which member of the family one is: `float`, `int8`, or `payload`.
pub const VARIANT_TAG: &str = "tinyops.variant";
/// For which board.
pub const BOARD_TAG: &str = "tinyops.board";
/// The digest of the bytes.
pub const DIGEST_TAG: &str = "tinyops.digest";
/// The registered version that one is, as `NAME@VERSION`.
pub const VERSION_TAG: &str = "tinyops.version";
/// Letters of a dataset's digest: the longest that clients take are 36.
const DATASET_DIGEST_LETTERS: usize = 32;
/// Outputs whose bytes are JSON.
const JSON_OUTPUTS: [&str; 4] = ["evaluation", "report", "split", "findings"];

/// The id of the tracked run of a pipeline's run.
#[must_use]
pub fn run_id(run: RunId) -> String {
    format!("{RUN_MARK}{run}")
}

/// The id of the logged model that these bytes are: the same bytes are the same model, whichever run made them.
#[must_use]
pub fn model_id(digest: &Digest) -> String {
    format!("m-{}", &digest.to_string()[..32])
}

/// Begins the tracked run of a run, in the transaction that begins the run; one that is there stays.
///
/// # Errors
/// When the records cannot be written.
pub(crate) async fn begin(tx: &Tx, run: &Run, settings: &Json) -> Result<(), StoreError> {
    let id = run_id(run.id);
    if tracked::get(tx, &id).await?.is_some() {
        return Ok(());
    }
    let experiment = match experiment::named(tx, &run.project).await? {
        Some(found) => found,
        None => experiment::add(tx, &run.project, "", run.started_at).await?,
    };
    let user = match run.trigger {
        Some(_) => "loop",
        None => "command line",
    };
    let new = NewTrackedRun {
        id,
        experiment: experiment.id,
        name: format!("{} {}", run.kind, run.id),
        user: user.to_owned(),
        status: Status::Running,
        started_at: run.started_at,
    };
    let made = tracked::add(tx, &new).await?;
    tracked::add_params(tx, made.row, &params(settings)).await?;
    let mut tags = vec![
        pair("mlflow.runName", &new.name),
        pair("mlflow.user", user),
        pair("mlflow.source.type", "PROJECT"),
        pair("mlflow.source.name", &run.project),
        pair("tinyops.project", &run.project),
        pair("tinyops.kind", &run.kind),
        pair("tinyops.code", &run.code),
        pair("tinyops.seed", &run.seed.to_string()),
        pair("tinyops.settings", &run.settings.to_string()),
        pair("tinyops.state", RunState::Running.word()),
    ];
    if let Some(commit) = run.code.strip_prefix("git:") {
        tags.push(pair("mlflow.source.git.commit", commit));
    }
    if let Some(trigger) = run.trigger {
        tags.push(pair("tinyops.trigger", &trigger.to_string()));
    }
    tracked::tag(tx, made.row, &tags).await
}

/// Tells what a step found and made, in the transaction that records the step. `sizes` has the bytes of its outputs.
///
/// # Errors
/// When the records cannot be read or written.
pub(crate) async fn step(
    tx: &Tx,
    run: &Run,
    step: &Step,
    sizes: &BTreeMap<Digest, u64>,
) -> Result<(), StoreError> {
    let Some(mut tracked) = tracked::get(tx, &run_id(run.id)).await? else {
        return Ok(());
    };
    if tracked.status == Status::Killed && run.state == RunState::Running {
        // Its machine slept, and its lease ran out meanwhile.
        (tracked.status, tracked.ended_at) = (Status::Running, None);
        tracked::put(tx, &tracked).await?;
    }
    if step.state == StepState::Failed {
        let failed = pair("tinyops.failed_step", &step.name);
        return tracked::tag(tx, tracked.row, &[failed]).await;
    }
    let Some(experiment) = experiment::get(tx, tracked.experiment).await? else {
        return Ok(());
    };
    let place = Place::of(&experiment);
    let found = figures(step);
    metric::add(tx, tracked.row, &found.of_run).await?;
    let folder = place.of_run(&tracked);
    for port in &step.outputs {
        let name = file_name(&port.name);
        keep(
            tx,
            &format!("{folder}/{}/{name}", step.name),
            port,
            step,
            sizes,
        )
        .await?;
    }
    if step.name == "ingest"
        && let Some(dataset) = step.outputs.iter().find(|port| port.name == "dataset")
    {
        let input = dataset_input(run, dataset, &step.detail);
        tracked::add_datasets(tx, &tracked, &[input]).await?;
    }
    let mut links = Vec::new();
    for port in &step.outputs {
        let Some(variant) = Variant::of_output(&step.name, &port.name) else {
            continue;
        };
        let model = announce(tx, run, &experiment, step, port, &variant).await?;
        let uri = place.of_model(&model);
        let name = variant.file_name();
        keep(tx, &format!("{uri}/{name}"), port, step, sizes).await?;
        links.push(ModelLink {
            model: model.id,
            direction: Direction::Output,
            step: i64::from(step.index),
        });
    }
    tracked::add_models(tx, tracked.row, &links).await?;
    if let ("register", Some(version)) = (step.name.as_str(), step.detail["version"].as_u64()) {
        note_version(tx, run, &tracked, step, version).await?;
    }
    let all = step::of_run(tx, run.id).await?;
    let dataset = output_of(&all, "ingest", "dataset");
    for (variant, samples) in found.of_models {
        if let Some(digest) = variant.digest_in(&all)
            && let Some(model) = logged_model::get(tx, &model_id(&digest)).await?
        {
            let of_model = samples.into_iter().map(|sample| ModelMetric {
                sample,
                run: tracked.id.clone(),
                dataset_name: dataset.map(|_| run.project.clone()).unwrap_or_default(),
                dataset_digest: dataset.map(dataset_digest).unwrap_or_default(),
            });
            let of_model: Vec<ModelMetric> = of_model.collect();
            logged_model::add_metrics(tx, model.row, &of_model).await?;
        }
    }
    Ok(())
}

/// Ends the tracked run of a run, in the transaction that ends the run.
///
/// # Errors
/// When the records cannot be read or written.
pub(crate) async fn end(tx: &Tx, run: &Run) -> Result<(), StoreError> {
    let Some(mut tracked) = tracked::get(tx, &run_id(run.id)).await? else {
        return Ok(());
    };
    tracked.status = status_of(run.state);
    tracked.ended_at = run.ended_at;
    tracked::put(tx, &tracked).await?;
    let mut tags = vec![pair("tinyops.state", run.state.word())];
    if let Some(error) = run.detail["error"].as_str() {
        tags.push(pair("tinyops.error", error));
    }
    for gate in run.detail["gates"].as_array().into_iter().flatten() {
        let name = word(gate["gate"].as_str().unwrap_or_default());
        let verdict = gate["verdict"].as_str().unwrap_or_default();
        let why = gate["why"].as_str().unwrap_or_default();
        tags.push(pair(
            &format!("tinyops.gate.{name}"),
            &format!("{verdict}: {why}"),
        ));
    }
    tracked::tag(tx, tracked.row, &tags).await
}

/// Says of the tracked runs of a project whose processes are gone that they were stopped; one that comes back runs again.
///
/// # Errors
/// When the records cannot be read or written.
pub async fn settle(db: &Db, project: &str, now: Timestamp) -> Result<(), StoreError> {
    for run in run::open_of(db, project).await? {
        if run.state_at(now) != RunState::Interrupted {
            continue;
        }
        let tx = db.begin("say that a run was stopped").await?;
        // Read again in here: it may have ended, or gone on, since.
        let is_open = run::get(&tx, run.id).await?.is_some_and(|run| {
            run.ended_at.is_none() && run.state_at(now) == RunState::Interrupted
        });
        let Some(mut tracked) = tracked::get(&tx, &run_id(run.id)).await? else {
            continue;
        };
        if is_open && tracked.status == Status::Running {
            tracked.status = Status::Killed;
            tracked.ended_at = run.lease_until;
            tracked::put(&tx, &tracked).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

/// Writes the tracked runs of runs that were made before there were any, and says how many.
///
/// # Errors
/// When the records cannot be read or written.
pub async fn catch_up(db: &Db, artifacts: &Artifacts) -> Result<usize, StoreError> {
    let missing = run::untracked(db, RUN_MARK).await?;
    for run in &missing {
        let settings = artifacts.get(&run.settings).await.unwrap_or_default();
        let settings: Option<toml::Value> =
            toml::from_str(&String::from_utf8_lossy(&settings)).ok();
        let settings = settings.and_then(|settings| serde_json::to_value(settings).ok());
        let steps = step::of_run(db, run.id).await?;
        let outputs = steps.iter().flat_map(|step| &step.outputs);
        let sizes = sizes_of(artifacts, outputs).await?;
        let tx = db.begin("track a run of before").await?;
        begin(&tx, run, &settings.unwrap_or_default()).await?;
        for row in &steps {
            step(&tx, run, row, &sizes).await?;
        }
        if run.ended_at.is_some() {
            end(&tx, run).await?;
        }
        tx.commit().await?;
    }
    Ok(missing.len())
}

/// The bytes of artifacts; one that is gone is left out.
///
/// # Errors
/// When the artifacts cannot be looked at.
pub(crate) async fn sizes_of(
    artifacts: &Artifacts,
    ports: impl Iterator<Item = &Port>,
) -> Result<BTreeMap<Digest, u64>, StoreError> {
    let mut sizes = BTreeMap::new();
    for port in ports {
        if let Some(bytes) = artifacts.size(&port.digest).await? {
            sizes.insert(port.digest, bytes);
        }
    }
    Ok(sizes)
}

/// That a run is none of a pipeline.
pub(super) fn check_run(id: &str) -> Result<(), TrackingError> {
    match id.starts_with(RUN_MARK) {
        true => Err(TrackingError::Forbidden(format!(
            "Run {id} was recorded by a pipeline of TinyOps: it may be tagged, and nothing else of it changes"
        ))),
        false => Ok(()),
    }
}

/// That tags of a run are none that a pipeline wrote.
pub(super) fn check_tags(id: &str, keys: &[&str]) -> Result<(), TrackingError> {
    let is_own = |key: &&str| key.starts_with(TAG_MARK);
    match id.starts_with(RUN_MARK) && keys.iter().any(is_own) {
        true => Err(TrackingError::Forbidden(format!(
            "Tags `{TAG_MARK}…` of run {id} are a pipeline's own"
        ))),
        false => Ok(()),
    }
}

/// That a logged model is none of a pipeline.
pub(super) fn check_model(model: &LoggedModel) -> Result<(), TrackingError> {
    match model.source_run.starts_with(RUN_MARK) {
        true => Err(TrackingError::Forbidden(format!(
            "Logged model {} was made by a pipeline of TinyOps and does not change",
            model.id
        ))),
        false => Ok(()),
    }
}

/// That a file, or a folder with all below it, is none of a pipeline and no more than one run's or model's.
///
/// # Errors
/// [`TrackingError::Forbidden`].
pub async fn check_file(on: &impl Read, path: &str) -> Result<(), TrackingError> {
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("models"), Some(id)) => match logged_model::get(on, id).await? {
            Some(model) => check_model(&model),
            None => Ok(()),
        },
        (Some("models") | None, None) => Err(TrackingError::Forbidden(format!(
            "`{path}` holds files of many runs"
        ))),
        (Some(id), _) => check_run(id),
        (None, Some(_)) => Ok(()),
    }
}

fn status_of(state: RunState) -> Status {
    match state {
        RunState::Waiting => Status::Scheduled,
        RunState::Running => Status::Running,
        // A gate that says no has done its work: the figures stand, and the tags say which.
        RunState::Done | RunState::Refused => Status::Finished,
        RunState::Failed => Status::Failed,
        RunState::Interrupted => Status::Killed,
    }
}

fn dataset_input(run: &Run, dataset: &Port, detail: &Json) -> DatasetInput {
    let context = pair("mlflow.data.context", "training");
    DatasetInput {
        name: run.project.clone(),
        digest: dataset_digest(dataset.digest),
        source_type: "tinyops".to_owned(),
        source: serde_json::json!({ "digest": dataset.digest.to_string(), "project": run.project })
            .to_string(),
        schema: String::new(),
        profile: serde_json::json!({
            "samples": detail["samples"], "seconds": detail["seconds"], "rate_hz": detail["rate_hz"],
            "classes": detail["classes"], "class_counts": detail["class_counts"],
        })
        .to_string(),
        context: context.value.clone(),
        tags: vec![context],
    }
}

fn dataset_digest(digest: Digest) -> String {
    digest.to_string()[..DATASET_DIGEST_LETTERS].to_owned()
}

/// The logged model that an output is, made if it is not there.
async fn announce(
    tx: &Tx,
    run: &Run,
    experiment: &Experiment,
    step: &Step,
    port: &Port,
    variant: &Variant,
) -> Result<LoggedModel, StoreError> {
    let id = model_id(&port.digest);
    if let Some(found) = logged_model::get(tx, &id).await? {
        return Ok(found);
    }
    let new = NewLoggedModel {
        id,
        experiment: experiment.id,
        name: format!("{}-{}", word(&run.project), variant.name()).replace(['.', ':'], "_"),
        model_type: format!("{RUN_MARK}{}", variant.kind()),
        source_run: run_id(run.id),
    };
    let mut model = logged_model::add(tx, &new, step.changed_at).await?;
    model.status = LoggedModelStatus::Ready;
    logged_model::put(tx, &model).await?;
    let mut tags = vec![
        pair(VARIANT_TAG, variant.kind()),
        pair(DIGEST_TAG, &port.digest.to_string()),
        pair("tinyops.project", &run.project),
    ];
    if let Variant::Payload(board) = variant {
        tags.push(pair(BOARD_TAG, board));
    }
    for (input, tag) in variant.made_from(&step.name) {
        if let Some(source) = step.inputs.iter().find(|port| port.name == *input) {
            tags.push(pair(tag, &model_id(&source.digest)));
        }
    }
    logged_model::tag(tx, model.row, &tags).await?;
    Ok(model)
}

/// Names the version that a run registered, with the run and with the model.
async fn note_version(
    tx: &Tx,
    run: &Run,
    tracked: &TrackedRun,
    step: &Step,
    version: u64,
) -> Result<(), StoreError> {
    let tag = pair(VERSION_TAG, &format!("{}@{version}", run.project));
    tracked::tag(tx, tracked.row, std::slice::from_ref(&tag)).await?;
    let Some(model) = step.inputs.iter().find(|port| port.name == "model") else {
        return Ok(());
    };
    if let Some(model) = logged_model::get(tx, &model_id(&model.digest)).await? {
        let versions = serde_json::json!([{ "name": run.project, "version": version.to_string() }]);
        let registered = pair("mlflow.modelVersions", &versions.to_string());
        logged_model::tag(tx, model.row, &[tag, registered]).await?;
    }
    Ok(())
}

/// Gives an artifact a name among the files of experiments.
async fn keep(
    tx: &Tx,
    uri: &str,
    port: &Port,
    step: &Step,
    sizes: &BTreeMap<Digest, u64>,
) -> Result<(), StoreError> {
    // An experiment whose files are elsewhere, by its maker's wish, has none of ours.
    let (Some(path), Some(bytes)) = (
        uri.strip_prefix("mlflow-artifacts:/"),
        sizes.get(&port.digest),
    ) else {
        return Ok(());
    };
    let file = TrackedFile {
        path: path.to_owned(),
        digest: port.digest,
        bytes: *bytes,
        changed_at: step.changed_at,
    };
    files::put(tx, &file).await
}

fn file_name(output: &str) -> String {
    match output {
        output if JSON_OUTPUTS.contains(&output) => format!("{output}.json"),
        output => output.to_owned(),
    }
}

fn output_of(steps: &[Step], step: &str, output: &str) -> Option<Digest> {
    let step = steps.iter().find(|found| found.name == step)?;
    let port = step.outputs.iter().find(|port| port.name == output)?;
    Some(port.digest)
}

fn pair(key: &str, value: &str) -> Pair {
    Pair {
        key: key.to_owned(),
        value: value.chars().take(TAG_MAX).collect(),
    }
}

/// A point of a metric at the end of a step.
fn sample(key: String, value: f64, at: i64, step: i64) -> Sample {
    let point = metric::Point { at, step, value };
    Sample { key, point }
}
