//! What clients get: lists and texts that are empty are left out, NaN is the text that JSON lacks.

use serde::{Serialize, Serializer};
use tinyops_pipeline::tracking::Place;
use tinyops_store::Timestamp;
use tinyops_store::tracking::Pair;
use tinyops_store::tracking::experiment::Experiment;
use tinyops_store::tracking::logged_model::{LoggedModel, LoggedModelData, ModelMetric};
use tinyops_store::tracking::metric::{Latest, Point};
use tinyops_store::tracking::registry::{RegisteredModel, Version};
use tinyops_store::tracking::run::{DatasetInput, Direction, RunData, TrackedRun};

/// An answer that says no more than that it is done.
#[derive(Serialize)]
pub(super) struct Done {}

#[derive(Serialize)]
pub(super) struct PairView {
    key: String,
    value: String,
}

pub(super) fn pairs(pairs: Vec<Pair>) -> Vec<PairView> {
    let view = |pair: Pair| PairView {
        key: pair.key,
        value: pair.value,
    };
    pairs.into_iter().map(view).collect()
}

#[derive(Serialize)]
pub(super) struct ExperimentView {
    experiment_id: String,
    name: String,
    artifact_location: String,
    lifecycle_stage: &'static str,
    last_update_time: i64,
    creation_time: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<PairView>,
}

impl ExperimentView {
    pub(super) fn of(experiment: Experiment, tags: Vec<Pair>) -> ExperimentView {
        ExperimentView {
            artifact_location: Place::of(&experiment).uri().to_owned(),
            experiment_id: experiment.id.to_string(),
            name: experiment.name,
            lifecycle_stage: experiment.lifecycle.word(),
            last_update_time: experiment.updated_at.0,
            creation_time: experiment.created_at.0,
            tags: pairs(tags),
        }
    }
}

#[derive(Serialize)]
pub(super) struct RunView {
    info: RunInfoView,
    data: RunDataView,
    inputs: InputsView,
    outputs: OutputsView,
}

#[derive(Serialize)]
pub(super) struct RunInfoView {
    run_uuid: String,
    experiment_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    run_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_id: String,
    status: &'static str,
    start_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    artifact_uri: String,
    lifecycle_stage: &'static str,
    run_id: String,
}

impl RunInfoView {
    pub(super) fn of(run: TrackedRun, place: &Place) -> RunInfoView {
        RunInfoView {
            artifact_uri: place.of_run(&run),
            run_uuid: run.id.clone(),
            experiment_id: run.experiment.to_string(),
            run_name: run.name,
            user_id: run.user,
            status: run.status.word(),
            start_time: run.started_at.0,
            end_time: run.ended_at.map(|at| at.0),
            lifecycle_stage: run.lifecycle.word(),
            run_id: run.id,
        }
    }
}

#[derive(Serialize)]
struct RunDataView {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<PairView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<PairView>,
}

#[derive(Serialize)]
struct InputsView {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dataset_inputs: Vec<DatasetInputView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_inputs: Vec<ModelInputView>,
}

#[derive(Serialize)]
struct OutputsView {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_outputs: Vec<ModelOutputView>,
}

#[derive(Serialize)]
struct ModelInputView {
    model_id: String,
}

#[derive(Serialize)]
struct ModelOutputView {
    model_id: String,
    step: i64,
}

#[derive(Serialize)]
struct DatasetInputView {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<PairView>,
    dataset: DatasetView,
}

#[derive(Serialize)]
struct DatasetView {
    name: String,
    digest: String,
    source_type: String,
    source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    schema: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    profile: String,
}

impl From<DatasetInput> for DatasetInputView {
    fn from(input: DatasetInput) -> DatasetInputView {
        DatasetInputView {
            tags: pairs(input.tags),
            dataset: DatasetView {
                name: input.name,
                digest: input.digest,
                source_type: input.source_type,
                source: input.source,
                schema: input.schema,
                profile: input.profile,
            },
        }
    }
}

impl RunView {
    pub(super) fn of(run: TrackedRun, data: RunData, place: &Place) -> RunView {
        let (read, made): (Vec<_>, Vec<_>) = data
            .models
            .into_iter()
            .partition(|link| link.direction == Direction::Input);
        let input = |link: tinyops_store::tracking::run::ModelLink| ModelInputView {
            model_id: link.model,
        };
        let output = |link: tinyops_store::tracking::run::ModelLink| ModelOutputView {
            model_id: link.model,
            step: link.step,
        };
        RunView {
            info: RunInfoView::of(run, place),
            data: RunDataView {
                metrics: data.metrics.into_iter().map(MetricView::from).collect(),
                params: pairs(data.params),
                tags: pairs(data.tags),
            },
            inputs: InputsView {
                dataset_inputs: data.datasets.into_iter().map(Into::into).collect(),
                model_inputs: read.into_iter().map(input).collect(),
            },
            outputs: OutputsView {
                model_outputs: made.into_iter().map(output).collect(),
            },
        }
    }
}

#[derive(Serialize)]
pub(super) struct MetricView {
    key: String,
    #[serde(serialize_with = "number")]
    value: f64,
    timestamp: i64,
    step: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    dataset_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dataset_digest: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    model_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    run_id: String,
}

impl MetricView {
    pub(super) fn point(key: &str, point: Point) -> MetricView {
        MetricView {
            key: key.to_owned(),
            value: point.value,
            timestamp: point.at,
            step: point.step,
            dataset_name: String::new(),
            dataset_digest: String::new(),
            model_id: String::new(),
            run_id: String::new(),
        }
    }

    fn of_model(metric: ModelMetric, model: &str) -> MetricView {
        MetricView {
            dataset_name: metric.dataset_name,
            dataset_digest: metric.dataset_digest,
            model_id: model.to_owned(),
            run_id: metric.run,
            ..MetricView::point(&metric.sample.key, metric.sample.point)
        }
    }
}

impl From<Latest> for MetricView {
    fn from(latest: Latest) -> MetricView {
        MetricView::point(&latest.key, latest.point)
    }
}

fn number<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    match value.is_nan() {
        true => to.serialize_str("NaN"),
        false => to.serialize_f64(*value),
    }
}

#[derive(Serialize)]
pub(super) struct LoggedModelView {
    info: LoggedModelInfoView,
    data: LoggedModelDataView,
}

#[derive(Serialize)]
struct LoggedModelInfoView {
    model_id: String,
    experiment_id: String,
    name: String,
    creation_timestamp_ms: i64,
    last_updated_timestamp_ms: i64,
    artifact_uri: String,
    status: &'static str,
    model_type: String,
    source_run_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    status_message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<PairView>,
}

#[derive(Serialize)]
struct LoggedModelDataView {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<PairView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricView>,
}

impl LoggedModelView {
    pub(super) fn of(model: LoggedModel, data: LoggedModelData, place: &Place) -> LoggedModelView {
        let metrics = data.metrics.into_iter();
        let metrics = metrics.map(|metric| MetricView::of_model(metric, &model.id));
        LoggedModelView {
            data: LoggedModelDataView {
                metrics: metrics.collect(),
                params: pairs(data.params),
            },
            info: LoggedModelInfoView {
                artifact_uri: place.of_model(&model),
                model_id: model.id,
                experiment_id: model.experiment.to_string(),
                name: model.name,
                creation_timestamp_ms: model.created_at.0,
                last_updated_timestamp_ms: model.updated_at.0,
                status: model.status.word(),
                model_type: model.model_type,
                source_run_id: model.source_run,
                status_message: model.status_message,
                tags: pairs(data.tags),
            },
        }
    }
}

#[derive(Serialize)]
pub(super) struct RegisteredModelView {
    name: String,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    latest_versions: Vec<VersionView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<PairView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<AliasView>,
}

#[derive(Serialize)]
struct AliasView {
    alias: String,
    version: String,
}

impl RegisteredModelView {
    pub(super) fn of(
        model: RegisteredModel,
        tags: Vec<Pair>,
        aliases: Vec<(String, u32)>,
        latest_versions: Vec<VersionView>,
    ) -> RegisteredModelView {
        let alias = |(alias, version): (String, u32)| AliasView {
            alias,
            version: version.to_string(),
        };
        RegisteredModelView {
            name: model.name,
            creation_timestamp: model.created_at.0,
            last_updated_timestamp: model.updated_at.0,
            description: model.description,
            latest_versions,
            tags: pairs(tags),
            aliases: aliases.into_iter().map(alias).collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct VersionView {
    name: String,
    version: String,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_id: String,
    current_stage: &'static str,
    description: String,
    source: String,
    run_id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<PairView>,
    run_link: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    model_id: String,
}

impl VersionView {
    pub(super) fn of(
        version: Version,
        description: String,
        tags: Vec<Pair>,
        aliases: Vec<String>,
    ) -> VersionView {
        VersionView {
            name: version.name,
            version: version.version.to_string(),
            creation_timestamp: version.created_at.0,
            last_updated_timestamp: version.updated_at.0,
            user_id: version.user,
            current_stage: version.stage.word(),
            description,
            source: version.source,
            run_id: version.run,
            status: "READY",
            tags: pairs(tags),
            run_link: version.run_link,
            aliases,
            model_id: version.logged_model,
        }
    }
}

/// A moment that a client told, or now.
pub(super) fn moment(told: Option<i64>, now: Timestamp) -> Timestamp {
    told.map_or(now, Timestamp)
}
