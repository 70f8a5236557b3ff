//! Featurize: windows of every part of the split, through the front end that the device runs too.

use serde::Serialize;
use tinyops_data::{spec::WindowSpec, window::Windowing};
use tinyops_train::{AugmentSpec, FeatureSet, FrontEndSpec};

use crate::{
    RunError, StepName,
    bench::{Bench, Done, Made, listener},
    step::{
        ingest::Shelf,
        validate::{NamedSplit, parsed},
    },
};

#[derive(Serialize)]
struct Settings<'a> {
    window: &'a WindowSpec,
    front_end: &'a FrontEndSpec,
    augment: &'a AugmentSpec,
    seed: u64,
}

pub(crate) async fn step(
    bench: &mut Bench<'_>,
    shelf: &Shelf,
    ingested: &Done,
    validated: &Done,
) -> Result<Done, RunError> {
    let project = bench.workshop.project.clone();
    let version = ingested.output("dataset")?;
    let split: NamedSplit = parsed(&bench.bytes(&validated.output("split")?).await?)?;
    let settings = Settings {
        window: &project.data.window,
        front_end: &project.train.front_end,
        augment: &project.train.augment,
        seed: project.train.seed,
    };
    let inputs = vec![ingested.port("dataset")?, validated.port("split")?];
    let work = {
        let (shelf, project) = (shelf.clone(), project.clone());
        move |tell| {
            let dataset = shelf.dataset(&version)?;
            let windowing = Windowing::new(&project.data.window, dataset)?;
            let split = split.in_dataset(dataset);
            let mut report = listener(tell);
            let set = FeatureSet::build(&project.train, dataset, &windowing, &split, &mut report)?;
            let summary = format!(
                "{} windows of {} readings, {} features each",
                set.train.count() + set.validation.count() + set.test.count(),
                windowing.len,
                set.train.width()
            );
            let detail = serde_json::json!({
                "window_len": windowing.len,
                "hop": windowing.hop,
                "feature_count": set.train.width(),
                "train": set.train.count(),
                "validation": set.validation.count(),
                "test": set.test.count(),
            });
            Ok(Made {
                outputs: vec![("features".to_owned(), set.encode())],
                detail,
                summary,
            })
        }
    };
    bench
        .step(StepName::Featurize, &settings, inputs, work)
        .await
}
