//! What another server of this API says of its records: documents in, records out, nothing believed unread.

use tinyops_store::tracking::experiment::ExperimentId;
use tinyops_store::tracking::logged_model::{
    LoggedModelData, LoggedModelStatus, ModelMetric, NewLoggedModel,
};
use tinyops_store::tracking::metric::{Point, Sample};
use tinyops_store::tracking::registry::VersionStage;
use tinyops_store::tracking::run::{
    DatasetInput, Direction, ModelLink, NewTrackedRun, RunData, Status,
};
use tinyops_store::tracking::{Lifecycle, Pair};
use tinyops_store::{Json, Timestamp};

/// Why a document is none of this API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{of} lacks `{field}`, or it is no {kind}")]
pub struct ForeignError {
    /// Of what: `run`, `run 240f…`.
    pub of: String,
    /// The field.
    pub field: &'static str,
    /// What it should be.
    pub kind: &'static str,
}

/// A page of records, and where the next one begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    /// The records.
    pub items: Vec<T>,
    /// What cannot be read of others: one broken record costs none of its neighbours.
    pub unread: Vec<ForeignError>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// An experiment elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignExperiment {
    /// Its id there, whose form is the other server's.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is in use.
    pub lifecycle: Lifecycle,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// What it is marked with.
    pub tags: Vec<Pair>,
}

/// A run elsewhere, with the newest point of each metric.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignRun {
    /// The run; its experiment is the one here.
    pub run: NewTrackedRun,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Whether it is in use.
    pub lifecycle: Lifecycle,
    /// Where its files are.
    pub files: String,
    /// All else.
    pub data: RunData,
}

/// A logged model elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignModel {
    /// The model; its experiment is the one here.
    pub model: NewLoggedModel,
    /// Whether it can be used.
    pub status: LoggedModelStatus,
    /// Why not.
    pub status_message: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Where its files are.
    pub files: String,
    /// All else.
    pub data: LoggedModelData,
}

/// A registered name elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignName {
    /// The name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// What it is marked with.
    pub tags: Vec<Pair>,
    /// Words for versions.
    pub aliases: Vec<(String, u32)>,
}

/// A version of a registered name elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignVersion {
    /// The name.
    pub name: String,
    /// The number.
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
    /// What it is, for people.
    pub description: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// What it is marked with.
    pub tags: Vec<Pair>,
    /// Whether its files are there.
    pub is_ready: bool,
}

/// The answer to `experiments/search`.
pub fn experiments(document: &Json) -> Listed<ForeignExperiment> {
    listed(document, "experiments", |of| {
        let of = Record::of("experiment", of);
        let created_at = of.moment("creation_time").unwrap_or_default();
        Ok(ForeignExperiment {
            id: of.text("experiment_id")?,
            name: of.text("name")?,
            lifecycle: of.lifecycle(),
            created_at,
            updated_at: of.moment("last_update_time").unwrap_or(created_at),
            tags: pairs(&of.json["tags"]),
        })
    })
}

/// The answer to `runs/search`, whose runs belong to `experiment` here.
pub fn runs(document: &Json, experiment: ExperimentId) -> Listed<ForeignRun> {
    listed(document, "runs", |json| run(json, experiment))
}

/// One run, as it stands under `run` in the answer to `runs/get`.
///
/// # Errors
/// [`ForeignError`].
pub fn run(json: &Json, experiment: ExperimentId) -> Result<ForeignRun, ForeignError> {
    let mut of = Record::of("run", &json["info"]);
    let id = of.text("run_id").or_else(|_| of.text("run_uuid"))?;
    of.name = format!("run {id}");
    let (data, inputs) = (&json["data"], &json["inputs"]);
    let links = |list: &Json, direction| {
        let link = move |json: &Json| {
            let of = Record::of("model of a run", json);
            Some(ModelLink {
                model: of.text("model_id").ok()?,
                direction,
                step: whole(&json["step"]).unwrap_or(0),
            })
        };
        rows(list).filter_map(link).collect::<Vec<_>>()
    };
    let mut models = links(&inputs["model_inputs"], Direction::Input);
    models.extend(links(&json["outputs"]["model_outputs"], Direction::Output));
    Ok(ForeignRun {
        run: NewTrackedRun {
            id,
            experiment,
            name: of.maybe("run_name"),
            user: of.maybe("user_id"),
            status: Status::of_word(&of.text("status")?).ok_or(of.lacks("status", "status"))?,
            started_at: of.moment("start_time").unwrap_or_default(),
        },
        ended_at: of.moment("end_time"),
        lifecycle: of.lifecycle(),
        files: of.maybe("artifact_uri"),
        data: RunData {
            params: pairs(&data["params"]),
            tags: pairs(&data["tags"]),
            metrics: samples(&data["metrics"], &of.name)?,
            datasets: rows(&inputs["dataset_inputs"]).map(dataset).collect(),
            models,
        },
    })
}

/// The answer to `metrics/get-history` of a run.
///
/// # Errors
/// [`ForeignError`].
pub fn history(document: &Json, run: &str) -> Result<Listed<Sample>, ForeignError> {
    Ok(Listed {
        items: samples(&document["metrics"], &format!("run {run}"))?,
        unread: Vec::new(),
        next: next(document),
    })
}

/// The answer to `logged-models/search`, whose models belong to `experiment` here.
pub fn logged_models(document: &Json, experiment: ExperimentId) -> Listed<ForeignModel> {
    listed(document, "models", |json| {
        let mut of = Record::of("logged model", &json["info"]);
        let id = of.text("model_id")?;
        of.name = format!("logged model {id}");
        let created_at = of.moment("creation_timestamp_ms").unwrap_or_default();
        let metrics = rows(&json["data"]["metrics"]).map(|json| {
            let metric = Record::of(&of.name, json);
            Ok(ModelMetric {
                sample: sample(json, &of.name)?,
                run: metric.maybe("run_id"),
                dataset_name: metric.maybe("dataset_name"),
                dataset_digest: metric.maybe("dataset_digest"),
            })
        });
        let metrics: Vec<ModelMetric> = metrics.collect::<Result<_, _>>()?;
        Ok(ForeignModel {
            model: NewLoggedModel {
                id,
                experiment,
                name: of.text("name")?,
                model_type: of.maybe("model_type"),
                source_run: of.maybe("source_run_id"),
            },
            status: LoggedModelStatus::of_word(&of.maybe("status"))
                .unwrap_or(LoggedModelStatus::Unspecified),
            status_message: of.maybe("status_message"),
            created_at,
            updated_at: of.moment("last_updated_timestamp_ms").unwrap_or(created_at),
            files: of.maybe("artifact_uri"),
            data: LoggedModelData {
                params: pairs(&json["data"]["params"]),
                tags: pairs(&of.json["tags"]),
                metrics,
            },
        })
    })
}

/// The answer to `registered-models/search`.
pub fn names(document: &Json) -> Listed<ForeignName> {
    listed(document, "registered_models", |json| {
        let of = Record::of("registered model", json);
        let created_at = of.moment("creation_timestamp").unwrap_or_default();
        let alias = |json: &Json| {
            let alias = Record::of("alias", json);
            let version = u32::try_from(whole(&json["version"])?).ok()?;
            Some((alias.text("alias").ok()?, version))
        };
        Ok(ForeignName {
            name: of.text("name")?,
            description: of.maybe("description"),
            created_at,
            updated_at: of.moment("last_updated_timestamp").unwrap_or(created_at),
            tags: pairs(&json["tags"]),
            aliases: rows(&json["aliases"]).filter_map(alias).collect(),
        })
    })
}

/// The answer to `model-versions/search`.
pub fn versions(document: &Json) -> Listed<ForeignVersion> {
    listed(document, "model_versions", |json| {
        let mut of = Record::of("model version", json);
        of.name = format!("model version {}@{}", of.text("name")?, of.maybe("version"));
        let created_at = of.moment("creation_timestamp").unwrap_or_default();
        let number = whole(&json["version"]).and_then(|number| u32::try_from(number).ok());
        Ok(ForeignVersion {
            name: of.text("name")?,
            version: number
                .filter(|number| *number > 0)
                .ok_or(of.lacks("version", "number"))?,
            source: of.maybe("source"),
            run: of.maybe("run_id"),
            logged_model: of.maybe("model_id"),
            run_link: of.maybe("run_link"),
            user: of.maybe("user_id"),
            stage: VersionStage::of_word(&of.maybe("current_stage")).unwrap_or(VersionStage::None),
            description: of.maybe("description"),
            created_at,
            updated_at: of.moment("last_updated_timestamp").unwrap_or(created_at),
            tags: pairs(&json["tags"]),
            is_ready: matches!(of.maybe("status").as_str(), "" | "READY"),
        })
    })
}

/// A file elsewhere, or a folder of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignFile {
    /// Its path, as the listing tells it.
    pub path: String,
    /// A folder, with files of its own.
    pub is_folder: bool,
    /// How long a file is, where the listing tells.
    pub bytes: Option<u64>,
}

/// A listing of files.
///
/// # Errors
/// [`ForeignError`].
pub fn files(document: &Json) -> Result<Vec<ForeignFile>, ForeignError> {
    let file = |json: &Json| {
        let of = Record::of("file", json);
        let bytes = whole(&json["file_size"]).and_then(|bytes| u64::try_from(bytes).ok());
        Ok(ForeignFile {
            path: of.text("path")?,
            is_folder: json["is_dir"].as_bool().unwrap_or(false),
            bytes,
        })
    };
    rows(&document["files"]).map(file).collect()
}

/// One record, and what it is called where it lacks something.
struct Record<'a> {
    name: String,
    json: &'a Json,
}

impl<'a> Record<'a> {
    fn of(name: &str, json: &'a Json) -> Self {
        Record {
            name: name.to_owned(),
            json,
        }
    }

    fn lacks(&self, field: &'static str, kind: &'static str) -> ForeignError {
        ForeignError {
            of: self.name.clone(),
            field,
            kind,
        }
    }

    fn text(&self, field: &'static str) -> Result<String, ForeignError> {
        match self.maybe(field) {
            text if text.is_empty() => Err(self.lacks(field, "text")),
            text => Ok(text),
        }
    }

    fn maybe(&self, field: &str) -> String {
        match &self.json[field] {
            Json::String(text) => text.clone(),
            Json::Number(number) => number.to_string(),
            _ => String::new(),
        }
    }

    fn moment(&self, field: &str) -> Option<Timestamp> {
        whole(&self.json[field]).map(Timestamp)
    }

    fn lifecycle(&self) -> Lifecycle {
        Lifecycle::of_word(&self.maybe("lifecycle_stage")).unwrap_or(Lifecycle::Active)
    }
}

fn listed<T>(
    document: &Json,
    field: &str,
    each: impl Fn(&Json) -> Result<T, ForeignError>,
) -> Listed<T> {
    let mut listed = Listed {
        items: Vec::new(),
        unread: Vec::new(),
        next: next(document),
    };
    for row in rows(&document[field]) {
        match each(row) {
            Ok(item) => listed.items.push(item),
            Err(error) => listed.unread.push(error),
        }
    }
    listed
}

fn next(document: &Json) -> Option<String> {
    let token = document["next_page_token"].as_str();
    token.filter(|token| !token.is_empty()).map(str::to_owned)
}

/// The members of a list; none where there is no list, as answers leave out what is empty.
fn rows(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().into_iter().flatten()
}

fn pairs(list: &Json) -> Vec<Pair> {
    let pair = |json: &Json| {
        let of = Record::of("pair", json);
        Some(Pair {
            key: of.text("key").ok()?,
            value: of.maybe("value"),
        })
    };
    rows(list).filter_map(pair).collect()
}

fn samples(list: &Json, of: &str) -> Result<Vec<Sample>, ForeignError> {
    rows(list).map(|json| sample(json, of)).collect()
}

fn sample(json: &Json, of: &str) -> Result<Sample, ForeignError> {
    let record = Record::of(of, json);
    Ok(Sample {
        key: record.text("key")?,
        point: Point {
            at: whole(&json["timestamp"]).unwrap_or(0),
            step: whole(&json["step"]).unwrap_or(0),
            value: value(&json["value"]).ok_or(record.lacks("value", "number"))?,
        },
    })
}

/// A number; what JSON has no number for comes as a text.
fn value(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        },
        _ => None,
    }
}

/// A whole number; those of 64 bits may come as texts.
fn whole(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| json.as_str()?.parse().ok())
}

fn dataset(json: &Json) -> DatasetInput {
    let of = Record::of("dataset", &json["dataset"]);
    let tags = pairs(&json["tags"]);
    let context = tags
        .iter()
        .find(|tag| tag.key == super::run::CONTEXT_TAG)
        .map(|tag| tag.value.clone());
    DatasetInput {
        name: of.maybe("name"),
        digest: of.maybe("digest"),
        source_type: of.maybe("source_type"),
        source: of.maybe("source"),
        schema: of.maybe("schema"),
        profile: of.maybe("profile"),
        context: context.unwrap_or_default(),
        tags,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_is_read_as_the_api_writes_it() {
        let document = json!({ "runs": [{
            "info": {
                "run_uuid": "24f0", "run_id": "24f0", "experiment_id": "4", "run_name": "baseline", "user_id": "root",
                "status": "FINISHED", "start_time": 1_795_368_538_117_i64, "end_time": "1795368544980",
                "artifact_uri": "mlflow-artifacts:/4/24f0/artifacts", "lifecycle_stage": "deleted",
            },
            "data": {
                "metrics": [
                    { "key": "acc", "value": 0.9, "timestamp": 5, "step": 1 },
                    { "key": "odd", "value": "NaN", "timestamp": "6", "step": "2" },
                ],
                "params": [{ "key": "lr", "value": "0.001" }],
                "tags": [{ "key": "board", "value": "esp-eye" }, { "key": "empty" }],
            },
            "inputs": { "dataset_inputs": [{
                "tags": [{ "key": "mlflow.data.context", "value": "training" }],
                "dataset": { "name": "fan", "digest": "d1", "source_type": "code", "source": "{}" },
            }] },
            "outputs": { "model_outputs": [{ "model_id": "m-1", "step": 3 }] },
        }], "next_page_token": "p2" });
        let found = runs(&document, ExperimentId(9));
        assert_eq!(found.next.as_deref(), Some("p2"));
        let [run] = &found.items[..] else {
            panic!("one run")
        };
        assert_eq!(
            (run.run.id.as_str(), run.run.experiment, run.run.status),
            ("24f0", ExperimentId(9), Status::Finished)
        );
        assert_eq!(run.ended_at, Some(Timestamp(1_795_368_544_980)));
        assert_eq!(run.lifecycle, Lifecycle::Deleted);
        assert!(run.data.metrics[1].point.value.is_nan() && run.data.metrics[1].point.step == 2);
        assert_eq!(run.data.tags[1].value, "");
        assert_eq!(run.data.datasets[0].context, "training");
        assert_eq!(
            (run.data.models[0].direction, run.data.models[0].step),
            (Direction::Output, 3)
        );
    }

    #[test]
    fn what_lacks_its_name_is_told_by_what_it_is_of() {
        let told = |error: ForeignError| error.to_string();
        let run = |id: &str, status: &str| json!({ "info": { "run_id": id, "status": status } });
        let broken = json!({ "runs": [run("24f0", "DONE"), run("24f1", "FINISHED"), {}] });
        let mut found = runs(&broken, ExperimentId(0));
        assert_eq!(found.items.len(), 1);
        assert_eq!(found.items[0].run.id, "24f1");
        assert_eq!(
            found.unread.drain(..).map(told).collect::<Vec<_>>(),
            [
                "run 24f0 lacks `status`, or it is no status",
                "run lacks `run_uuid`, or it is no text"
            ]
        );
        let error = history(&json!({ "metrics": [{ "key": "a", "value": [] }] }), "24f0");
        assert_eq!(
            told(error.unwrap_err()),
            "run 24f0 lacks `value`, or it is no number"
        );
        let unread = names(&json!({ "registered_models": [{}] })).unread;
        assert_eq!(unread.len(), 1);
        let unread =
            versions(&json!({ "model_versions": [{ "name": "a", "version": "0" }] })).unread;
        assert_eq!(unread.len(), 1);
        assert_eq!(experiments(&json!({})).items, []);
        assert_eq!(files(&json!([1, 2])).unwrap(), []);
    }
}
