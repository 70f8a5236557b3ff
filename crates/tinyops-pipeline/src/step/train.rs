//! Train: a model in floating point.

use tinyops_store::Json;
use tinyops_train::{FeatureSet, QuantizeSpec, TrainSpec, Trained, fit};

use crate::{
    RunError, StepName,
    bench::{Bench, Done, Made, listener},
};

pub(crate) async fn step(bench: &mut Bench<'_>, featurized: &Done) -> Result<Done, RunError> {
    let spec = bench.workshop.project.train.clone();
    // How it is rounded is the next step's, and changes nothing here.
    let settings = TrainSpec {
        quantize: QuantizeSpec::default(),
        ..spec.clone()
    };
    let features = bench.bytes(&featurized.output("features")?).await?;
    let work = move |tell| {
        let set = FeatureSet::decode(&features)?;
        let mut report = listener(tell);
        let trained: Trained = fit(&spec, &set, &mut report)?;
        let summary = match trained.history.last() {
            Some(last) => format!(
                "{} epochs, last loss {:.4}",
                trained.history.len(),
                last.loss
            ),
            None => "solved in one pass".to_owned(),
        };
        let history: Vec<Json> = trained
            .history
            .iter()
            .enumerate()
            .map(|(index, epoch)| {
                serde_json::json!({
                    "epoch": index + 1,
                    "loss": epoch.loss,
                    "validation_loss": epoch.validation_loss,
                    "metric": epoch.metric,
                })
            })
            .collect();
        Ok(Made {
            detail: serde_json::json!({ "history": history }),
            outputs: vec![("trained".to_owned(), trained.encode())],
            summary,
        })
    };
    bench
        .step(
            StepName::Train,
            &settings,
            vec![featurized.port("features")?],
            work,
        )
        .await
}
