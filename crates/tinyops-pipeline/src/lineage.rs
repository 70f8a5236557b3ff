//! From recordings to the models that learned from them: a row of a dataset, forward.

use std::collections::{BTreeMap, BTreeSet};

use tinyops_data::manifest::{Entry, Manifest};
use tinyops_store::dataset::{self, Dataset};
use tinyops_store::model::{self, Model};
use tinyops_store::{Artifacts, Db, Digest, StoreError, step};

/// Which recordings are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// A recording by its name in datasets, or by the end of its path; or a whole group, or label, of that name.
    Named(String),
    /// Those whose content has a digest that begins with these digits.
    Content(String),
    /// All of the dataset whose digest begins with these digits.
    Dataset(String),
}

impl Rows {
    fn holds(&self, dataset: &Dataset, entry: &Entry) -> bool {
        match self {
            Rows::Named(name) => {
                let is_end = |path: &str| path.ends_with(&format!("/{name}"));
                entry.name == *name || is_end(&entry.name) || entry.group == *name
            }
            Rows::Content(digits) => entry.content.to_string().starts_with(digits.as_str()),
            Rows::Dataset(digits) => dataset.digest.to_string().starts_with(digits.as_str()),
        }
    }
}

/// A recording as one version of a dataset holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Its name.
    pub name: String,
    /// Its label.
    pub label: String,
    /// Its group.
    pub group: String,
    /// The digest of its readings.
    pub content: Digest,
}

/// A version of a dataset with the recordings in it that are followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// The version.
    pub dataset: Dataset,
    /// The recordings, by name.
    pub recordings: Vec<Recording>,
}

/// The versions of datasets that hold recordings, oldest first.
///
/// # Errors
/// When records or artifacts cannot be read; a list of recordings that is gone is passed over.
pub async fn holding(
    db: &Db,
    artifacts: &Artifacts,
    rows: &Rows,
) -> Result<Vec<Holding>, StoreError> {
    let mut found = Vec::new();
    for version in dataset::all(db).await? {
        let Ok(bytes) = artifacts.get(&version.digest).await else {
            continue;
        };
        let Ok(manifest) = Manifest::decode(&String::from_utf8_lossy(&bytes)) else {
            continue;
        };
        let entries = manifest.entries.into_iter();
        let entries = entries.filter(|entry| rows.holds(&version, entry));
        let recordings: Vec<Recording> = entries.map(recording).collect();
        if !recordings.is_empty() {
            found.push(Holding {
                dataset: version,
                recordings,
            });
        }
    }
    Ok(found)
}

fn recording(entry: Entry) -> Recording {
    Recording {
        name: entry.name,
        label: entry.label,
        group: entry.group,
        content: entry.content,
    }
}

/// The versions of models that were made with one of these datasets, and those that were made from such a version.
///
/// A head that was solved anew, and a model that was fine-tuned, carry what their parent learned.
///
/// # Errors
/// When the records cannot be read.
pub async fn models_of(
    db: &Db,
    datasets: &BTreeSet<Digest>,
) -> Result<Vec<(Model, Option<Digest>)>, StoreError> {
    let mut models = model::list(db).await?;
    models.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    let mut found: Vec<(Model, Option<Digest>)> = Vec::new();
    let mut taken: BTreeSet<(String, u32)> = BTreeSet::new();
    // A parent has a smaller number, so that one pass meets it first.
    for model in models {
        let dataset = dataset_of(db, &model).await?;
        let is_made_with = dataset.is_some_and(|dataset| datasets.contains(&dataset));
        let is_heir = model
            .parent
            .is_some_and(|parent| taken.contains(&(model.name.clone(), parent)));
        if is_made_with || is_heir {
            taken.insert((model.name.clone(), model.version));
            found.push((model, dataset));
        }
    }
    Ok(found)
}

/// The dataset that a version was made with.
///
/// # Errors
/// When the records cannot be read.
pub async fn dataset_of(db: &Db, model: &Model) -> Result<Option<Digest>, StoreError> {
    if let Some(digest) = model.metrics["dataset"].as_str() {
        return Ok(digest.parse().ok());
    }
    let Some(run) = model.run else {
        return Ok(None);
    };
    let steps = step::of_run(db, run).await?;
    let ingest = steps.iter().find(|step| step.name == "ingest");
    let outputs = ingest.into_iter().flat_map(|step| &step.outputs);
    Ok(outputs
        .into_iter()
        .find(|port| port.name == "dataset")
        .map(|port| port.digest))
}

/// How many recordings of each label there are.
#[must_use]
pub fn labels_of(recordings: &[Recording]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for recording in recordings {
        *counts.entry(recording.label.as_str()).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_store::model::NewModel;
    use tinyops_store::{Json, Timestamp};

    const NOW: Timestamp = Timestamp(7);

    fn entry(name: &str, group: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            content: Digest::of(name.as_bytes()),
            len: 1,
            label: "worn".to_owned(),
            group: group.to_owned(),
            role: None,
        }
    }

    #[tokio::test]
    async fn a_recording_is_followed_to_every_model_that_learned_from_it() {
        let db = Db::open("sqlite::memory:").await.unwrap();
        let artifacts = Artifacts::open("memory:").await.unwrap();
        let mut datasets = Vec::new();
        let tx = db.begin("test").await.unwrap();
        for entries in [
            vec![entry("m1/a.csv", "m1")],
            vec![entry("m1/a.csv", "m1"), entry("m2/b.csv", "m2")],
        ] {
            let text = Manifest { entries }.encode();
            let digest = artifacts.put(text.as_bytes()).await.unwrap();
            let version = Dataset {
                digest,
                project: "fan".to_owned(),
                sample_count: 1,
                detail: Json::Null,
                created_at: NOW,
            };
            dataset::put(&tx, &version).await.unwrap();
            datasets.push(digest);
        }
        // Of the first, of the second, a new head of the second, and of other data.
        let made = [
            (Some(datasets[0]), None),
            (Some(datasets[1]), None),
            (None, Some(2)),
            (Some(Digest::of(b"other")), None),
        ];
        for (dataset, parent) in made {
            let new = NewModel {
                name: "fan".to_owned(),
                project: "fan".to_owned(),
                digest: Digest::of(format!("{dataset:?}{parent:?}").as_bytes()),
                run: None,
                parent,
                metrics: match dataset {
                    Some(dataset) => serde_json::json!({ "dataset": dataset.to_string() }),
                    None => Json::Null,
                },
            };
            model::add(&tx, &new, NOW).await.unwrap();
        }
        tx.commit().await.unwrap();
        let follow = async |rows: Rows| {
            let found = holding(&db, &artifacts, &rows).await.unwrap();
            let digests = found.iter().map(|holding| holding.dataset.digest).collect();
            let models = models_of(&db, &digests).await.unwrap();
            let models: Vec<u32> = models.into_iter().map(|(model, _)| model.version).collect();
            (found.len(), models)
        };
        for name in ["m1/a.csv", "a.csv", "m1"] {
            assert_eq!(
                follow(Rows::Named(name.to_owned())).await,
                (2, vec![1, 2, 3]),
                "{name}"
            );
        }
        assert_eq!(follow(Rows::Named("m2".to_owned())).await, (1, vec![2, 3]));
        assert_eq!(follow(Rows::Named("none".to_owned())).await, (0, vec![]));
        let content = Digest::of(b"m2/b.csv").to_string();
        assert_eq!(
            follow(Rows::Content(content[..8].to_owned())).await,
            (1, vec![2, 3])
        );
        let dataset = datasets[0].to_string();
        assert_eq!(
            follow(Rows::Dataset(dataset[..8].to_owned())).await,
            (1, vec![1])
        );
    }
}
