//! Evaluate: the exact int8 artifact on the test split, with the float model beside it.

use serde::Serialize;
use tinyops_model::Model;
use tinyops_store::{Digest, step::Port};
use tinyops_train::{Asked, Comparison, Costs, FeatureSet, Metric, Trained, evaluate};

use crate::{
    Project, RunError, StepName,
    bench::{Bench, Made, listener},
    flow::Origin,
    step::validate::{json, parsed},
};

#[derive(Serialize)]
struct Settings<'a> {
    costs: &'a Costs,
    slices: &'a [String],
    metric: Metric,
    slice_windows_min: u32,
}

pub(crate) async fn step(
    bench: &mut Bench<'_>,
    origin: &Origin,
    model: &Port,
) -> Result<(Comparison, Digest), RunError> {
    let project = bench.workshop.project.clone();
    let mut inputs = vec![model.clone(), origin.featurized.port("features")?];
    let features = bench.bytes(&origin.featurized.output("features")?).await?;
    let model = bench.bytes(&model.digest).await?;
    let float = match &origin.trained {
        Some(trained) => {
            inputs.push(trained.port("trained")?);
            Some(bench.bytes(&trained.output("trained")?).await?)
        }
        None => None,
    };
    let settings = Settings {
        costs: &project.train.costs,
        slices: &project.project.slices,
        metric: project.project.metric,
        slice_windows_min: project.gates.slice_windows_min,
    };
    let metric = project.project.metric;
    let work = {
        let project = project.clone();
        move |tell| {
            let set = FeatureSet::decode(&features)?;
            let model = read_model(&model)?;
            let float = float.as_deref().map(Trained::decode).transpose()?;
            let (comparison, predictions) = evaluate(
                &model,
                float.as_ref(),
                &project.train,
                &set.classes,
                &set.test,
                asked(&project),
                &mut listener(tell),
            )?;
            let figure = |evaluation| metric.of(evaluation).unwrap_or(f64::NAN);
            let word = metric.word();
            let windows = comparison.int8.windows;
            let int8 = figure(&comparison.int8);
            let summary = match &comparison.float {
                Some(float) => format!(
                    "int8 {word} {int8:.4}, float {:.4}, on {windows} windows",
                    figure(float)
                ),
                None => format!("int8 {word} {int8:.4} on {windows} windows"),
            };
            Ok(Made {
                outputs: vec![
                    ("evaluation".to_owned(), json(&comparison)),
                    (PREDICTIONS.to_owned(), predictions.encode()),
                ],
                detail: serde_json::to_value(&comparison).expect("evaluations have string keys"),
                summary,
            })
        }
    };
    let done = bench
        .step(StepName::Evaluate, &settings, inputs, work)
        .await?;
    let comparison = parsed(&bench.bytes(&done.output("evaluation")?).await?)?;
    Ok((comparison, done.output(PREDICTIONS)?))
}

/// The name of what the model said of each test window.
pub(crate) const PREDICTIONS: &str = "predictions";

/// What a project asks of an evaluation.
pub(crate) fn asked(project: &Project) -> Asked<'_> {
    Asked {
        metric: project.project.metric,
        slices: &project.project.slices,
        slice_windows_min: project.gates.slice_windows_min as usize,
    }
}

/// A model from the bytes of its artifact.
pub(crate) fn read_model(bytes: &[u8]) -> Result<Model, RunError> {
    Model::decode(bytes).map_err(RunError::Model)
}
