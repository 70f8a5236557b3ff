//! Ingest: the files of the sources become a dataset, named by the digest of its manifest.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::UNIX_EPOCH,
};

use serde::Serialize;
use tinyops_data::{
    dataset::Dataset,
    finding::{Code, Finding, Report, Severity},
    history::{self, History},
    ingest::{Listing, expand, ingest, ingest_with, matching},
    sample::Sample,
    spec::{DataSpec, SourceSpec, metadata_beside},
};
use tinyops_store::{Digest, dataset};
use walkdir::WalkDir;

use crate::{
    RunError, StepName,
    bench::{Bench, Done, Made},
    versions::{SourceVersion, versions_below},
};

/// The listed files of all sources.
#[derive(Clone)]
pub struct Shelf {
    spec: DataSpec,
    roots: Vec<PathBuf>,
    listings: Vec<Listing>,
    /// What tells one state of the files from another without reading them.
    marks: Vec<Mark>,
    /// The versions of tracked files that the sources read from.
    pointers: Vec<SourceVersion>,
    /// What people have said of labels, as it stands in the project's folder.
    labels: Option<Vec<u8>>,
    /// Decoded once in a run, and only if a step needs it.
    decoded: Arc<OnceLock<(Dataset, Report)>>,
}

/// A file is taken as unchanged while path, length and time of change are the same.
#[derive(Clone, Serialize)]
struct Mark {
    source: usize,
    path: String,
    bytes: u64,
    changed_ns: u128,
}

impl Mark {
    fn of(source: usize, path: String, about: &fs::Metadata) -> Mark {
        let changed_ns = about
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_nanos());
        Mark {
            source,
            path,
            bytes: about.len(),
            changed_ns,
        }
    }
}

#[derive(Serialize)]
struct Settings<'a> {
    spec: &'a DataSpec,
    marks: &'a [Mark],
    /// So that a model made of files which were tracked later still names their version.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pointers: &'a [SourceVersion],
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<String>,
}

impl Shelf {
    /// Lists the files below the root of every source. Hidden files and folders are left out.
    ///
    /// # Errors
    /// [`RunError::Variable`] and [`RunError::Source`].
    pub fn list(root: &Path, spec: &DataSpec) -> Result<Self, RunError> {
        let mut shelf = Self {
            spec: spec.clone(),
            roots: Vec::new(),
            listings: Vec::new(),
            marks: Vec::new(),
            pointers: Vec::new(),
            labels: fs::read(root.join(history::FILE_NAME)).ok(),
            decoded: Arc::default(),
        };
        for (source, settings) in spec.source.iter().enumerate() {
            let folder = source_root(root, settings)?;
            // The folder of uploads is made when the first one comes.
            let files = match settings.uploads && !folder.exists() {
                true => Vec::new(),
                false => shelf.list_source(source, &folder)?,
            };
            shelf.roots.push(folder);
            shelf.listings.push(Listing { files });
        }
        shelf.pointers = versions_below(root, &shelf.roots)?;
        Ok(shelf)
    }

    fn list_source(&mut self, source: usize, folder: &Path) -> Result<Vec<String>, RunError> {
        let found = files_below(folder).map_err(|error| RunError::Source {
            root: folder.to_path_buf(),
            source: error,
        })?;
        let mut files = Vec::with_capacity(found.len());
        for (path, about) in found {
            // What was said of a recording is read with it, and lies hidden beside it.
            let beside = metadata_beside(&path);
            self.marks.push(Mark::of(source, path.clone(), &about));
            if let Ok(about) = folder.join(&beside).metadata() {
                self.marks.push(Mark::of(source, beside, &about));
            }
            files.push(path);
        }
        Ok(files)
    }

    /// Tells one state of the files from another.
    #[must_use]
    pub fn mark(&self) -> Digest {
        let mut marks = serde_json::to_vec(&self.marks).expect("marks have string keys");
        marks.extend(self.labels.iter().flatten());
        Digest::of(&marks)
    }

    /// Whether no source has a file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Everything, read and decoded, with what was found on the way.
    #[must_use]
    pub fn decoded(&self) -> &(Dataset, Report) {
        self.decoded.get_or_init(|| {
            let mut report = Report::new();
            let mut read =
                |source: usize, path: &str| read_recording(&self.roots[source].join(path));
            let history = self.history(&mut report);
            let dataset = ingest_with(&self.spec, &self.listings, &history, &mut read, &mut report);
            (dataset, report)
        })
    }

    /// When the newest file with recordings of a class was changed, in Unix milliseconds, by class.
    #[must_use]
    pub fn newest(&self) -> BTreeMap<String, i64> {
        let marks = self.marks.iter();
        let changed: BTreeMap<(usize, &str), u128> = marks
            .map(|mark| ((mark.source, mark.path.as_str()), mark.changed_ns))
            .collect();
        let mut newest = BTreeMap::new();
        for sample in &self.decoded().0.samples {
            let origin = &sample.origin;
            let Some(at_ns) = changed.get(&(origin.source, origin.file.as_str())) else {
                continue;
            };
            let at_ms = i64::try_from(at_ns / 1_000_000).unwrap_or(i64::MAX);
            for class in sample.label.classes() {
                let newest = newest.entry(class.to_owned()).or_insert(at_ms);
                *newest = at_ms.max(*newest);
            }
        }
        newest
    }

    fn history(&self, report: &mut Report) -> History {
        let Some(bytes) = &self.labels else {
            return History::default();
        };
        History::decode(&String::from_utf8_lossy(bytes)).unwrap_or_else(|error| {
            let message = format!("the history of labels is not read: {}", error.what);
            let finding = Finding::error(Code::SideFile, message).in_file(history::FILE_NAME);
            let finding = finding.at_row(error.row as u64);
            report.push(finding.hint("mend the line, or take it out"));
            History::default()
        })
    }

    /// The dataset under the name that ingest gave it.
    ///
    /// # Errors
    /// [`RunError::Changed`] if the files are no longer what they were then.
    pub fn dataset(&self, version: &Digest) -> Result<&Dataset, RunError> {
        let (dataset, _) = self.decoded();
        if dataset.manifest().digest() == *version {
            Ok(dataset)
        } else {
            Err(RunError::Changed)
        }
    }
}

/// One recording of a file as its source calls it, without reading the others; none if it is not there.
///
/// Its label is that of path, column and side file: what the history says of it is not looked at.
///
/// # Errors
/// [`RunError::Variable`] and [`RunError::Source`].
pub fn one_recording(
    root: &Path,
    spec: &DataSpec,
    file: &str,
    name: &str,
) -> Result<Option<Sample>, RunError> {
    let mut roots = Vec::new();
    for source in &spec.source {
        roots.push(source_root(root, source)?);
    }
    for (index, source) in spec.source.iter().enumerate() {
        let explain = |error| RunError::Source {
            root: roots[index].clone(),
            source: error,
        };
        // Where channels lie in files of their own, the star stands for those.
        let files = match file.contains('*') {
            true => files_below(&roots[index]).map_err(explain)?,
            false => match roots[index].join(file).metadata() {
                Ok(about) => vec![(file.to_owned(), about)],
                Err(_) => continue,
            },
        };
        let paths: Vec<String> = files.into_iter().map(|(path, _)| path).collect();
        let jobs = matching(index, source, &paths, &mut Report::new());
        let Some(job) = jobs.into_iter().find(|job| job.name == file) else {
            continue;
        };
        let mut listings = vec![Listing::default(); roots.len()];
        listings[index].files = job.files.into_iter().map(|(_, path)| path).collect();
        let mut read = |source: usize, path: &str| read_recording(&roots[source].join(path));
        let dataset = ingest(spec, &listings, &mut read, &mut Report::new());
        let found = dataset
            .samples
            .into_iter()
            .find(|sample| sample.name == name);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The folder that a source reads, with the variables of its `root` replaced; it need not exist.
///
/// # Errors
/// [`RunError::Variable`].
pub fn source_root(project: &Path, source: &SourceSpec) -> Result<PathBuf, RunError> {
    let lookup = |name: &str| std::env::var(name).ok();
    let folder = expand(&source.root, &lookup).map_err(|variable| RunError::Variable {
        root: source.root.clone(),
        variable,
    })?;
    Ok(project.join(folder))
}

/// Reads a file of recordings whole.
///
/// # Errors
/// What the system says; [`io::ErrorKind::FileTooLarge`] beyond 1 GiB, which no decoder should be given.
pub fn read_recording(path: &Path) -> io::Result<Vec<u8>> {
    const BYTES_MAX: u64 = 1 << 30;
    let bytes = fs::metadata(path)?.len();
    if bytes > BYTES_MAX {
        let message = format!("it has {bytes} bytes, more than the {BYTES_MAX} of one file");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    fs::read(path)
}

/// The files below a folder, by their paths from it on, with `/`. Hidden files and folders are left out.
///
/// # Errors
/// What the system says of the first folder or file that cannot be listed.
pub fn files_below(folder: &Path) -> io::Result<Vec<(String, fs::Metadata)>> {
    let mut files = Vec::new();
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(|entry| {
        entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
    }) {
        let (path, about) = match entry {
            Ok(entry) if !entry.file_type().is_file() => continue,
            Ok(entry) => (entry.path().to_path_buf(), entry.metadata()?),
            // A link to nowhere is listed, so that reading it tells which one it is.
            Err(error) => match error.path().map(|path| (path, path.symlink_metadata())) {
                Some((path, Ok(about)))
                    if about.is_symlink() && error.loop_ancestor().is_none() =>
                {
                    (path.to_path_buf(), about)
                }
                _ => return Err(error.into()),
            },
        };
        let below = path
            .strip_prefix(folder)
            .expect("a walk stays below its root");
        let path = below
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect::<Vec<_>>()
            .join("/");
        files.push((path, about));
    }
    Ok(files)
}

pub(crate) async fn step(bench: &mut Bench<'_>, shelf: &Shelf) -> Result<Done, RunError> {
    let settings = Settings {
        spec: &shelf.spec,
        marks: &shelf.marks,
        pointers: &shelf.pointers,
        labels: shelf
            .labels
            .as_ref()
            .map(|labels| Digest::of(labels).to_string()),
    };
    let work = {
        let shelf = shelf.clone();
        move |_| {
            let (dataset, report) = shelf.decoded();
            let summary = format!(
                "{} recordings, {} classes, {} groups",
                dataset.samples.len(),
                dataset.classes.len(),
                dataset.groups().len()
            );
            let detail = serde_json::json!({
                "samples": dataset.samples.len(),
                "classes": dataset.classes,
                "class_counts": dataset.class_counts(),
                "groups": dataset.groups(),
                "rate_hz": dataset.rate_hz(),
                "seconds": dataset.samples.iter().map(|sample| sample.duration_s()).sum::<f64>(),
                "errors": report.count(Severity::Error),
                "warnings": report.count(Severity::Warning),
                "pointers": shelf.pointers,
            });
            let findings = serde_json::to_vec(report).expect("a report has string keys");
            Ok(Made {
                outputs: vec![
                    (
                        "dataset".to_owned(),
                        dataset.manifest().encode().into_bytes(),
                    ),
                    ("findings".to_owned(), findings),
                ],
                detail,
                summary,
            })
        }
    };
    let done = bench
        .step(StepName::Ingest, &settings, Vec::new(), work)
        .await?;
    let version = dataset::Dataset {
        digest: done.output("dataset")?,
        project: bench.workshop.project.project.name.clone(),
        sample_count: done.detail["samples"].as_i64().unwrap_or(0),
        detail: done.detail.clone(),
        created_at: (bench.workshop.now)(),
    };
    let tx = bench.workshop.db.begin("keep a dataset version").await?;
    dataset::put(&tx, &version).await?;
    tx.commit().await?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_recording_marks_it_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let beside = folder.path().join("data/.a.csv.metadata.json");
        fs::create_dir(folder.path().join("data")).expect("makes");
        fs::write(folder.path().join("data/a.csv"), "x\n1\n").expect("writes");
        let source = SourceSpec {
            root: "data".to_owned(),
            files: vec!["*.csv".to_owned()],
            ..SourceSpec::default()
        };
        let spec = DataSpec {
            source: vec![source],
            ..DataSpec::default()
        };
        let mark = || Shelf::list(folder.path(), &spec).expect("lists").mark();
        let mut seen = vec![mark()];
        for told in [r#"{"site":"north"}"#, r#"{"site":"south-east"}"#] {
            fs::write(&beside, told).expect("writes");
            let now = mark();
            assert!(!seen.contains(&now), "{told}");
            seen.push(now);
        }
        fs::remove_file(&beside).expect("removes");
        assert_eq!(mark(), seen[0]);
    }
}
