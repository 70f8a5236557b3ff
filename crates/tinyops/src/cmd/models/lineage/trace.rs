//! From a name to everything that is known of where it came from and where it went.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tinyops_store::{
    Artifacts, Db, DeviceId, Digest, ModelId, StoreError,
    capsule::{self, Capsule},
    lineage,
    model::{self, Model},
    presence,
    run::{self, Run},
    step::{self, Step, StepState},
};

use crate::{
    context::now,
    failure::Failure,
    model_ref::{ModelRef, title},
    record::{manifest, output},
};

/// `tinyops models lineage --json`
#[derive(Serialize)]
pub(super) struct View {
    /// What was asked about.
    pub(super) asked: String,
    /// What that is: `model id`, `device`, `capsule`, `model`, `payload` or `source`.
    pub(super) kind: &'static str,
    /// The version.
    pub(super) model: ModelView,
    /// The signed forms of it, and who carries each.
    pub(super) capsules: Vec<CapsuleView>,
    /// What made it; none for an imported model.
    pub(super) run: Option<RunView>,
    /// The fleet's sums that its head was solved from.
    pub(super) statistics: Option<StatisticsView>,
    /// The recordings it was trained and tested on.
    pub(super) dataset: Option<DatasetView>,
    /// Other versions that were made with what was asked about.
    pub(super) others: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct ModelView {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) stage: &'static str,
    pub(super) digest: String,
    /// The version whose head was solved anew, or which was fine-tuned.
    pub(super) parent: Option<u32>,
    pub(super) created_at_ms: i64,
}

#[derive(Serialize)]
pub(super) struct CapsuleView {
    /// What reports carry.
    pub(super) model_id: String,
    pub(super) board: String,
    pub(super) sequence: u32,
    pub(super) bytes: u32,
    pub(super) digest: String,
    pub(super) manifest: String,
    pub(super) payload: String,
    pub(super) signed_at_ms: i64,
    /// Active devices whose newest report carries it.
    pub(super) devices: Vec<DeviceView>,
}

#[derive(Serialize)]
pub(super) struct DeviceView {
    pub(super) device: String,
    pub(super) cohort: String,
}

#[derive(Serialize)]
pub(super) struct RunView {
    pub(super) run: i64,
    pub(super) kind: String,
    pub(super) state: &'static str,
    pub(super) code: String,
    pub(super) seed: u64,
    /// The artifact that holds its `tinyops.toml`.
    pub(super) settings: String,
    pub(super) started_at_ms: i64,
    pub(super) seconds: Option<f64>,
    pub(super) steps: Vec<StepView>,
}

#[derive(Serialize)]
pub(super) struct StepView {
    pub(super) step: String,
    pub(super) state: &'static str,
    /// The run that did the work, where this one took it from the store.
    pub(super) done_in_run: i64,
    /// How long the work took, there.
    pub(super) seconds: f64,
    pub(super) summary: String,
    pub(super) outputs: Vec<OutputView>,
}

#[derive(Serialize)]
pub(super) struct OutputView {
    pub(super) name: String,
    pub(super) digest: String,
}

#[derive(Serialize)]
pub(super) struct StatisticsView {
    pub(super) digest: String,
    pub(super) device_count: Option<u64>,
    pub(super) window_count: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct DatasetView {
    /// Its version.
    pub(super) digest: String,
    /// Folders that the names of recordings start from, as `tinyops.toml` has them.
    pub(super) sources: Vec<String>,
    pub(super) train: usize,
    pub(super) validation: usize,
    pub(super) test: usize,
    pub(super) recordings: Vec<RecordingView>,
}

#[derive(Serialize)]
pub(super) struct RecordingView {
    /// The file, and after `#` the row or part of it.
    pub(super) name: String,
    /// `train`, `validation`, `test`, or none if it was left out.
    pub(super) part: Option<&'static str>,
    pub(super) label: String,
    pub(super) group: String,
    pub(super) readings: usize,
    /// The digest of its readings.
    pub(super) content: String,
}

/// What a name led to.
pub(super) struct Found {
    kind: &'static str,
    model: Model,
    others: Vec<String>,
}

impl Found {
    fn one(kind: &'static str, model: Model) -> Self {
        Self {
            kind,
            model,
            others: Vec::new(),
        }
    }
}

/// Finds the version that a name stands for.
pub(super) async fn find(db: &Db, name: &str) -> Result<Found, Failure> {
    if let Ok(id) = name.parse::<ModelId>()
        && let Some(capsule) = capsule::get(db, id).await?
    {
        return Ok(Found::one("model id", of_capsule(db, &capsule).await?));
    }
    if let Ok(id) = name.parse::<DeviceId>()
        && let Some(presence) = presence::get(db, id).await?
    {
        let model = presence.model.ok_or_else(|| {
            Failure::no(format!(
                "device `{id}` has not yet said which model it runs"
            ))
        })?;
        let capsule = capsule::get(db, model).await?.ok_or_else(|| {
            Failure::no(format!(
                "device `{id}` runs `{model}`, which was not signed here"
            ))
        })?;
        return Ok(Found::one("device", of_capsule(db, &capsule).await?));
    }
    let is_hex = name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && let Some(found) = by_digest(db, &name.to_ascii_lowercase()).await? {
        return Ok(found);
    }
    let wanted: ModelRef = name.parse().expect("every text is a reference");
    match wanted.resolve(db).await {
        Ok(model) => Ok(Found::one("model", model)),
        Err(_) if is_hex => Err(
            Failure::question(format!("nothing here is called `{name}`")).hint(
                "`tinyops models ls` and `tinyops models show` list digests and model ids; \
                 `--db URL` looks into another store",
            ),
        ),
        Err(failure) => Err(failure),
    }
}

async fn of_capsule(db: &Db, capsule: &Capsule) -> Result<Model, Failure> {
    let found = model::get(db, &capsule.model, capsule.version).await?;
    found.ok_or_else(|| {
        Failure::question(format!(
            "capsule `{}` is of {}@{}, which is not registered",
            capsule.id, capsule.model, capsule.version
        ))
    })
}

/// A digest, or the first digits of one: of a model, of a capsule, its manifest or payload, or of anything that a
/// model was made from.
async fn by_digest(db: &Db, digits: &str) -> Result<Option<Found>, Failure> {
    let is_it = |digest: &Digest| digest.to_string().starts_with(digits);
    let models = model::list(db).await?;
    if let Some(model) = models.iter().find(|model| is_it(&model.digest)) {
        return Ok(Some(Found::one("model", model.clone())));
    }
    let mut names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    names.dedup();
    for name in names {
        for capsule in capsule::of_model(db, name).await? {
            let kind = if is_it(&capsule.digest) || is_it(&capsule.manifest_digest) {
                "capsule"
            } else if is_it(&capsule.payload) {
                "payload"
            } else {
                continue;
            };
            return Ok(Some(Found::one(kind, of_capsule(db, &capsule).await?)));
        }
    }
    // Newest first, so that the answer is about the newest model that was made with it.
    let mut made: Vec<Model> = Vec::new();
    for model in models {
        let edges = lineage::ancestors(db, &model.digest).await?;
        if edges.iter().any(|edge| is_it(&edge.from)) {
            made.push(model);
        }
    }
    made.sort_by_key(|model| std::cmp::Reverse(model.created_at));
    let mut made = made.into_iter();
    Ok(made.next().map(|model| Found {
        kind: "source",
        model,
        others: made.map(|other| title(&other)).collect(),
    }))
}

/// Follows a version back to its recordings and on to its devices.
pub(super) async fn trace(
    db: &Db,
    artifacts: &Artifacts,
    asked: &str,
    found: Found,
) -> Result<View, Failure> {
    let Found {
        kind,
        model,
        others,
    } = found;
    let mut view = View {
        asked: asked.to_owned(),
        kind,
        capsules: capsules(db, &model).await?,
        run: None,
        statistics: None,
        dataset: None,
        others,
        model: ModelView {
            name: model.name,
            version: model.version,
            stage: model.stage.word(),
            digest: model.digest.to_string(),
            parent: model.parent,
            created_at_ms: model.created_at.0,
        },
    };
    let Some(id) = model.run else {
        return Ok(view);
    };
    let Some(run) = run::get(db, id).await? else {
        return Ok(view);
    };
    let steps = step::of_run(db, id).await?;
    view.statistics = statistics(&steps);
    view.dataset = dataset(artifacts, &run, &steps).await?;
    view.run = Some(run_view(db, run, steps).await?);
    Ok(view)
}

async fn capsules(db: &Db, model: &Model) -> Result<Vec<CapsuleView>, StoreError> {
    let mut views = Vec::new();
    for capsule in capsule::of_model(db, &model.name).await? {
        if capsule.version != model.version {
            continue;
        }
        let devices = presence::running(db, capsule.id).await?;
        views.push(CapsuleView {
            model_id: capsule.id.to_string(),
            board: capsule.board,
            sequence: capsule.sequence,
            bytes: capsule.bytes,
            digest: capsule.digest.to_string(),
            manifest: capsule.manifest_digest.to_string(),
            payload: capsule.payload.to_string(),
            signed_at_ms: capsule.created_at.0,
            devices: devices
                .into_iter()
                .map(|(device, cohort)| DeviceView {
                    device: device.to_string(),
                    cohort,
                })
                .collect(),
        });
    }
    Ok(views)
}

async fn run_view(db: &Db, run: Run, steps: Vec<Step>) -> Result<RunView, StoreError> {
    let mut views = Vec::with_capacity(steps.len());
    for step in steps {
        let (mut done_in_run, mut seconds) = (run.id, step.seconds);
        if step.state == StepState::Cached
            && let Some(key) = &step.key
            && let Some(done) = step::cached(db, key).await?
        {
            (done_in_run, seconds) = (done.run, done.seconds);
        }
        views.push(StepView {
            step: step.name,
            state: step.state.word(),
            done_in_run: done_in_run.0,
            seconds,
            summary: step.detail["summary"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            outputs: step
                .outputs
                .into_iter()
                .map(|port| OutputView {
                    name: port.name,
                    digest: port.digest.to_string(),
                })
                .collect(),
        });
    }
    let state = run.state_at(now()).word();
    Ok(RunView {
        run: run.id.0,
        kind: run.kind,
        state,
        code: run.code,
        seed: run.seed,
        settings: run.settings.to_string(),
        started_at_ms: run.started_at.0,
        seconds: run
            .ended_at
            .map(|end| end.ms_since(run.started_at) as f64 / 1000.0),
        steps: views,
    })
}

fn statistics(steps: &[Step]) -> Option<StatisticsView> {
    let resolve = steps.iter().find(|step| step.name == "resolve")?;
    let port = resolve
        .inputs
        .iter()
        .find(|port| port.name == "statistics")?;
    Some(StatisticsView {
        digest: port.digest.to_string(),
        device_count: resolve.detail["devices"].as_u64(),
        window_count: resolve.detail["windows"].as_u64(),
    })
}

/// Which recording stands on which side, as the validate step keeps it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Split {
    train: Vec<String>,
    validation: Vec<String>,
    test: Vec<String>,
}

async fn dataset(
    artifacts: &Artifacts,
    run: &Run,
    steps: &[Step],
) -> Result<Option<DatasetView>, Failure> {
    let Some(version) = output(steps, "ingest", "dataset") else {
        return Ok(None);
    };
    let manifest = manifest(artifacts, &version).await?;
    let split: Split = match output(steps, "validate", "split") {
        Some(digest) => serde_json::from_slice(&artifacts.get(&digest).await?).unwrap_or_default(),
        None => Split::default(),
    };
    let parts: HashMap<&str, &'static str> = [
        ("train", &split.train),
        ("validation", &split.validation),
        ("test", &split.test),
    ]
    .into_iter()
    .flat_map(|(part, names)| names.iter().map(move |name| (name.as_str(), part)))
    .collect();
    let recordings = manifest
        .entries
        .into_iter()
        .map(|entry| RecordingView {
            part: parts.get(entry.name.as_str()).copied(),
            name: entry.name,
            label: entry.label,
            group: entry.group,
            readings: entry.len,
            content: entry.content.to_string(),
        })
        .collect();
    Ok(Some(DatasetView {
        digest: version.to_string(),
        sources: sources(artifacts, run).await,
        train: split.train.len(),
        validation: split.validation.len(),
        test: split.test.len(),
        recordings,
    }))
}

/// The roots of the sources in the settings that the run had.
async fn sources(artifacts: &Artifacts, run: &Run) -> Vec<String> {
    let Ok(bytes) = artifacts.get(&run.settings).await else {
        return Vec::new();
    };
    // Read as plain TOML: an older or newer program may have had other keys.
    let Ok(settings) = String::from_utf8_lossy(&bytes).parse::<toml::Table>() else {
        return Vec::new();
    };
    let sources = settings
        .get("data")
        .and_then(|data| data.get("source")?.as_array());
    let roots = sources.into_iter().flatten().map(|source| {
        let root = source.get("root").and_then(toml::Value::as_str);
        root.unwrap_or(".").to_owned()
    });
    roots.collect()
}
