//! What the sources hold that no model has learned from yet.

use std::collections::BTreeSet;

use tinyops_data::manifest::{Entry, Manifest};
use tinyops_store::{
    Digest, StoreError,
    model::{self, Model, Stage},
    run,
};

use crate::{RunError, Shelf, Workshop, background::background};

/// How the manifest says that a recording has no label.
const UNLABELLED: &str = "none";

/// What a count of recordings is since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// The version whose recordings are known, such as `fan@3`; none before there is one.
    pub version: Option<String>,
    /// The dataset versions that are known, by digest.
    pub datasets: Vec<Digest>,
}

/// Recordings that are labelled, and were not, or otherwise, in what they are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// How many.
    pub count: u64,
    /// The manifest of the sources as they are, kept as an artifact.
    pub dataset: Digest,
}

/// Since when recordings are new: since those that the model in production was trained on, or the newest where none is.
///
/// # Errors
/// [`StoreError`].
pub async fn since_model(workshop: &Workshop) -> Result<Since, StoreError> {
    let (db, name) = (&workshop.db, &workshop.project.project.name);
    let production = model::in_stage(db, name, Stage::Production).await?;
    let mut known = match production {
        Some(model) => Some(model),
        None => model::latest(db, name).await?,
    };
    // A head that was solved anew has learned from devices: its recordings are those of the model below it.
    while let Some(model) = &known
        && let Some(parent) = model.parent
        && is_resolved(workshop, model).await?
    {
        known = model::get(db, name, parent).await?;
    }
    let dataset = known.as_ref().and_then(|model| {
        let text = model.metrics["dataset"].as_str()?;
        text.parse().ok()
    });
    Ok(Since {
        version: known.map(|model| format!("{name}@{}", model.version)),
        datasets: dataset.into_iter().collect(),
    })
}

async fn is_resolved(workshop: &Workshop, model: &Model) -> Result<bool, StoreError> {
    let run = match model.run {
        Some(id) => run::get(&workshop.db, id).await?,
        None => None,
    };
    Ok(run.is_some_and(|run| run.kind == "resolve-head"))
}

/// Tells one state of the sources from another without reading the recordings.
///
/// # Errors
/// [`RunError::Source`], [`RunError::Variable`].
pub async fn mark_of_sources(workshop: &Workshop) -> Result<Digest, RunError> {
    let (root, spec) = (workshop.root.clone(), workshop.project.data.clone());
    let listed = tokio::task::spawn_blocking(move || Shelf::list(&root, &spec)).await;
    let shelf = listed.unwrap_or(Err(RunError::NoSource))?;
    Ok(shelf.mark())
}

/// Reads the recordings, and counts those that are labelled and in none of the known datasets as they are now.
///
/// # Errors
/// [`RunError`] where the sources cannot be listed or records not be read.
pub async fn count_fresh(workshop: &Workshop, since: &Since) -> Result<Fresh, RunError> {
    let mut known = Vec::new();
    for digest in &since.datasets {
        // One that somebody has cleaned away tells nothing.
        if workshop.artifacts.exists(digest).await? {
            known.push(workshop.artifacts.get(digest).await?);
        }
    }
    let (root, spec) = (workshop.root.clone(), workshop.project.data.clone());
    let counted = background(move || {
        let shelf = Shelf::list(&root, &spec)?;
        let manifest = shelf.decoded().0.manifest();
        let known: Vec<Manifest> = known
            .iter()
            .filter_map(|bytes| Manifest::decode(str::from_utf8(bytes).ok()?).ok())
            .collect();
        Ok::<_, RunError>((count(&manifest, &known), manifest.encode()))
    });
    let counted = counted.await.ok_or(RunError::Panicked {
        step: crate::StepName::Ingest,
    })?;
    let (count, manifest) = counted?;
    let dataset = workshop.artifacts.put(manifest.as_bytes()).await?;
    Ok(Fresh { count, dataset })
}

/// By what a recording says and how it is labelled, not by its name: one that was moved is not new.
fn count(manifest: &Manifest, known: &[Manifest]) -> u64 {
    let key = |entry: &Entry| (entry.content, entry.label.clone());
    let known: BTreeSet<_> = known
        .iter()
        .flat_map(|manifest| manifest.entries.iter().map(key))
        .collect();
    let fresh = manifest.entries.iter();
    let fresh = fresh.filter(|entry| entry.label != UNLABELLED && !known.contains(&key(entry)));
    fresh.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(entries: &[(&str, u8, &str)]) -> Manifest {
        let entries = entries.iter().map(|(name, content, label)| Entry {
            name: (*name).to_owned(),
            content: Digest::of(&[*content]),
            len: 64,
            label: (*label).to_owned(),
            group: String::new(),
            role: None,
        });
        Manifest {
            entries: entries.collect(),
        }
    }

    #[test]
    fn what_is_labelled_and_was_not_is_new() {
        let known = manifest(&[("a", 1, "class on"), ("b", 2, "none"), ("c", 3, "class on")]);
        let now = manifest(&[
            ("a", 1, "class on"),
            ("b", 2, "class off"),      // labelled since
            ("c", 3, "class off"),      // labelled otherwise
            ("d", 4, "none"),           // not labelled
            ("e", 5, "class on"),       // added
            ("moved/a", 1, "class on"), // known
        ]);
        assert_eq!(count(&now, std::slice::from_ref(&known)), 3);
        assert_eq!(count(&now, &[]), 5, "nothing is known without a model");
        assert_eq!(count(&now, &[known, now.clone()]), 0);
    }
}
