//! Evaluate: the exact int8 artifact on the test split, with the float model beside it.

use serde::Serialize;
use tinyops_model::Model;
use tinyops_store::step::Port;
use tinyops_train::{Comparison, Costs, FeatureSet, Trained, evaluate};

use crate::{
    RunError, StepName,
    bench::{Bench, Made, listener},
    flow::Origin,
    step::validate::{json, parsed},
};

#[derive(Serialize)]
struct Settings<'a> {
    costs: &'a Costs,
    slices: &'a [String],
}

pub(crate) async fn step(
    bench: &mut Bench<'_>,
    origin: &Origin,
    model: &Port,
) -> Result<Comparison, RunError> {
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
    };
    let metric = project.project.metric;
    let work = {
        let (spec, slices) = (project.train.clone(), project.project.slices.clone());
        move |tell| {
            let set = FeatureSet::decode(&features)?;
            let model = read_model(&model)?;
            let float = float.as_deref().map(Trained::decode).transpose()?;
            let slices: Vec<&str> = slices.iter().map(String::as_str).collect();
            let comparison = evaluate(
                &model,
                float.as_ref(),
                &spec,
                &set.classes,
                &set.test,
                &slices,
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
                outputs: vec![("evaluation".to_owned(), json(&comparison))],
                detail: serde_json::to_value(&comparison).expect("evaluations have string keys"),
                summary,
            })
        }
    };
    let done = bench
        .step(StepName::Evaluate, &settings, inputs, work)
        .await?;
    parsed(&bench.bytes(&done.output("evaluation")?).await?)
}

/// A model from the bytes of its artifact.
pub(crate) fn read_model(bytes: &[u8]) -> Result<Model, RunError> {
    Model::decode(bytes).map_err(RunError::Model)
}
