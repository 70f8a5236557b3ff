//! Quantize: the int8 model that every later step, and every device, uses.

use tinyops_train::{FeatureSet, Trained, quantize};

use crate::{
    RunError, StepName,
    bench::{Bench, Done, Made, listener},
};

pub(crate) async fn step(
    bench: &mut Bench<'_>,
    featurized: &Done,
    trained: &Done,
) -> Result<Done, RunError> {
    let project = &bench.workshop.project;
    let (name, spec) = (project.project.name.clone(), project.train.clone());
    let features = bench.bytes(&featurized.output("features")?).await?;
    let float = bench.bytes(&trained.output("trained")?).await?;
    let inputs = vec![featurized.port("features")?, trained.port("trained")?];
    let settings = (name.clone(), spec.clone());
    let work = move |tell| {
        let set = FeatureSet::decode(&features)?;
        let float = Trained::decode(&float)?;
        let mut report = listener(tell);
        let model = quantize(&name, &spec, &float, &set, &mut report)?;
        let bytes = model.encode();
        Ok(Made {
            summary: format!(
                "{} parameters, {} bytes of model",
                float.parameter_count(),
                bytes.len()
            ),
            detail: serde_json::json!({
                "parameters": float.parameter_count(),
                "labels": model.labels,
                "threshold": model.decision.threshold,
                "min_confidence": model.decision.min_confidence,
            }),
            outputs: vec![("model".to_owned(), bytes)],
        })
    };
    bench
        .step(StepName::Quantize, &settings, inputs, work)
        .await
}
