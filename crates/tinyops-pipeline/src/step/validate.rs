//! Validate: every finding about the recordings, and the split that training and test keep to.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tinyops_data::{
    dataset::Dataset,
    finding::{Code, Report, Severity},
    schema::Schema,
    spec::SplitSpec,
    split::{Split, split},
};

use crate::{
    RunError, StepName,
    bench::{Bench, Done, Made},
    sensor::{Lines, SensorSection},
    step::ingest::Shelf,
};

/// A split by the names of its samples, as it is kept.
#[derive(Serialize, Deserialize)]
pub(crate) struct NamedSplit {
    train: Vec<String>,
    validation: Vec<String>,
    test: Vec<String>,
}

impl NamedSplit {
    fn of(split: &Split, dataset: &Dataset) -> Self {
        let names = |part: &[usize]| {
            part.iter()
                .map(|&index| dataset.samples[index].name.clone())
                .collect()
        };
        Self {
            train: names(&split.train),
            validation: names(&split.validation),
            test: names(&split.test),
        }
    }

    /// The same split by index; names that the dataset lacks are left out.
    pub(crate) fn in_dataset(&self, dataset: &Dataset) -> Split {
        let indices = |names: &[String]| {
            names
                .iter()
                .filter_map(|name| {
                    dataset
                        .samples
                        .binary_search_by(|sample| sample.name.as_str().cmp(name))
                        .ok()
                })
                .collect()
        };
        Split {
            train: indices(&self.train),
            validation: indices(&self.validation),
            test: indices(&self.test),
        }
    }
}

/// The file in the project's folder that says what recordings look like.
pub const SCHEMA_FILE: &str = "schema.toml";

#[derive(Serialize)]
struct Settings<'a> {
    split: &'a SplitSpec,
    accept: &'a [Code],
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a Schema>,
    /// What no recording may contradict, and its lines, so that findings name those which they have now.
    #[serde(skip_serializing_if = "Option::is_none")]
    sensor: Option<(&'a SensorSection, Lines)>,
}

/// The schema of the project in a folder, if it has one.
///
/// # Errors
/// [`RunError::Schema`] and [`RunError::SchemaRead`].
pub fn schema_of(root: &Path) -> Result<Option<Schema>, RunError> {
    let path = root.join(SCHEMA_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RunError::SchemaRead { path, source }),
    };
    let schema = Schema::decode(&text);
    schema
        .map(Some)
        .map_err(|source| RunError::Schema { path, source })
}

/// Splits, and gives the whole report of ingest and split.
pub(crate) async fn step(
    bench: &mut Bench<'_>,
    shelf: &Shelf,
    ingested: &Done,
) -> Result<(Done, Report), RunError> {
    let spec = bench.workshop.project.data.clone();
    let version = ingested.output("dataset")?;
    let findings: Report = parsed(&bench.bytes(&ingested.output("findings")?).await?)?;
    let schema = schema_of(&bench.workshop.root)?;
    let sensor = bench.workshop.project.sensor.clone();
    let sensor = sensor.map(|section| (section, Lines::below(&bench.workshop.root)));
    let settings = Settings {
        split: &spec.split,
        accept: &spec.accept,
        schema: schema.as_ref(),
        sensor: sensor.as_ref().map(|(section, lines)| (section, *lines)),
    };
    let inputs = vec![ingested.port("dataset")?, ingested.port("findings")?];
    let work = {
        let (shelf, spec, schema, sensor) =
            (shelf.clone(), spec.clone(), schema.clone(), sensor.clone());
        move |_| {
            let dataset = shelf.dataset(&version)?;
            let mut report = Report::new();
            report.append(findings);
            if let Some(schema) = &schema {
                schema.check(dataset, &spec, &mut report);
            }
            let split = split(dataset, &spec.split, &mut report);
            report.accept(&spec.accept);
            // Behind what is accepted: no capsule can say two things of one sensor.
            if let Some((section, lines)) = &sensor {
                section.check(dataset, lines, &mut report);
            }
            let summary = format!(
                "{} train, {} validation, {} test recordings; {} errors, {} warnings",
                split.train.len(),
                split.validation.len(),
                split.test.len(),
                report.count(Severity::Error),
                report.count(Severity::Warning),
            );
            let named = NamedSplit::of(&split, dataset);
            Ok(Made {
                outputs: vec![
                    ("split".to_owned(), json(&named)),
                    ("report".to_owned(), json(&report)),
                ],
                detail: serde_json::json!({
                    "train": split.train.len(),
                    "validation": split.validation.len(),
                    "test": split.test.len(),
                    "findings": {
                        "error": report.count(Severity::Error),
                        "warning": report.count(Severity::Warning),
                        "info": report.count(Severity::Note),
                    },
                    "report": report.to_string(),
                }),
                summary,
            })
        }
    };
    let done = bench
        .step(StepName::Validate, &settings, inputs, work)
        .await?;
    let report = parsed(&bench.bytes(&done.output("report")?).await?)?;
    Ok((done, report))
}

/// A value as the bytes of an artifact.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("artifacts have string keys")
}

/// A value from the bytes of an artifact.
pub(crate) fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, RunError> {
    serde_json::from_slice(bytes).map_err(|source| RunError::Artifact {
        what: std::any::type_name::<T>(),
        source,
    })
}
