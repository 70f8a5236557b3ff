//! Erasing what is known of a person or a device: which recordings, versions, models and devices it touches, and how it
//! is done.
//!
//! What can be erased here is: files of recordings, uploads, what versions keep of them in the cache and in remotes, what
//! was featurized of them. What cannot be called back is
//! marked: a model that was made from them is never promoted or released again, and the audit log tells what went.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tinyops_data::{
    ingest,
    manifest::{Entry, Manifest},
    sample::Sample,
    spec::metadata_beside,
};
use tinyops_store::{
    DeviceId, Digest, ModelId, StoreError, Timestamp, audit, capsule, dataset, model,
    model::{Model, Stage},
    presence,
    remote::Remote,
    run, step, upload,
    upload::Upload,
};

use crate::{
    RunError, Shelf, Workshop,
    background::background,
    source_root,
    versions::{self, Traces, VersionError, Versions},
};

/// Under this name a model's figures say that recordings of it were erased.
const MARK: &str = "erased";

/// Whose recordings are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of a group: a person, a machine, a session.
    Group(String),
    /// Those that a device made, by the name that it calls itself.
    Device(String),
    /// These, by their names in the dataset.
    Recordings(BTreeSet<String>),
    /// Those whose consent has ended.
    Expired,
}

/// What erasing would touch.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Names of recordings.
    pub recordings: BTreeSet<String>,
    /// Their files: where each is, and what its source calls it.
    pub files: BTreeMap<PathBuf, String>,
    /// Files that hold recordings of others as well, which cannot be erased as files.
    pub shared: BTreeSet<String>,
    /// Uploads that brought them.
    pub uploads: Vec<Upload>,
    /// Dataset versions that list them.
    pub versions: Vec<Digest>,
    /// Models that were made from those.
    pub models: Vec<Model>,
    /// What devices were sent of these models, and which run it now.
    pub capsules: Vec<Carried>,
    /// Artifacts with what was computed from their readings.
    pub artifacts: Vec<Digest>,
    /// What versions of tracked files keep of them.
    pub traces: Traces,
}

/// A capsule of a model that is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Its id.
    pub model_id: ModelId,
    /// The model, as `fan@3`.
    pub model: String,
    /// For which board.
    pub board: String,
    /// The devices whose newest report carries it.
    pub devices: Vec<DeviceId>,
}

/// How something is erased.
#[derive(Clone, Copy, Debug)]
pub struct Erasure<'a> {
    /// Whether it goes although of some versions it is not known what they hold.
    pub anyway: bool,
    /// Who does it.
    pub actor: &'a str,
    /// Whose recordings these are, in the words of the audit log.
    pub subject: &'a str,
    /// What it is done for.
    pub why: &'a str,
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// Recordings of others are in the same files.
    #[error("`{0}` holds recordings of others as well")]
    Shared(String),
    /// A file cannot be removed; what comes before it in the plan is gone.
    #[error("cannot remove `{}`", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The recordings cannot be listed.
    #[error(transparent)]
    Shelf(#[from] RunError),
    /// What versions keep cannot be looked at or removed.
    #[error(transparent)]
    Versions(#[from] VersionError),
    /// The records cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What versions of the dataset have listed of them. They know names and groups, and nothing of devices and consent.
async fn listed_before(workshop: &Workshop, whose: &Whose) -> Result<Vec<Entry>, StoreError> {
    let is_meant = |entry: &Entry| match whose {
        Whose::Group(group) => entry.group == *group,
        Whose::Recordings(names) => names.contains(&entry.name),
        Whose::Device(_) | Whose::Expired => false,
    };
    let mut listed = Vec::new();
    if matches!(whose, Whose::Device(_) | Whose::Expired) {
        return Ok(listed);
    }
    let project = &workshop.project.project.name;
    for version in dataset::list(&workshop.db, project).await? {
        if let Some(manifest) = manifest_of(workshop, &version.digest).await?.flatten() {
            listed.extend(manifest.entries.into_iter().filter(is_meant));
        }
    }
    Ok(listed)
}

/// The list of a version of the dataset: none if it is gone, nothing in it if it cannot be read.
async fn manifest_of(
    workshop: &Workshop,
    version: &Digest,
) -> Result<Option<Option<Manifest>>, StoreError> {
    match workshop.artifacts.get(version).await {
        Err(StoreError::Missing { .. }) => Ok(None),
        bytes => {
            let text = String::from_utf8(bytes?).ok();
            Ok(Some(text.and_then(|text| Manifest::decode(&text).ok())))
        }
    }
}

/// Whether recordings that a model was made from were erased since.
#[must_use]
pub fn is_marked(model: &Model) -> bool {
    model.metrics.get(MARK).is_some()
}

impl Plan {
    /// Whether there is nothing to erase.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recordings.is_empty() && self.uploads.is_empty()
    }

    /// Finds what erasing would touch; nothing is changed.
    ///
    /// # Errors
    /// [`EraseError`].
    pub async fn of(
        workshop: &Workshop,
        whose: &Whose,
        now: Timestamp,
    ) -> Result<Self, EraseError> {
        let versions = kept_versions(workshop).await?;
        Self::find(workshop, whose, versions.as_ref(), &Arc::default(), now).await
    }

    /// Finds it, and brings lists that the cache lacks from `remotes`: with any, the caller holds the cache's lock.
    async fn find(
        workshop: &Workshop,
        whose: &Whose,
        versions: Option<&Arc<Versions>>,
        remotes: &Arc<Vec<Remote>>,
        now: Timestamp,
    ) -> Result<Self, EraseError> {
        let mut plan = Plan::default();
        let project = &workshop.project.project.name;
        let kept = upload::kept(&workshop.db, project).await?;
        let data = &workshop.project.data;
        let taker = data.source.iter().position(|source| source.uploads);
        let mut roots = Vec::new();
        for source in &data.source {
            roots.push(source_root(&workshop.root, source)?);
        }
        let is_expired = |upload: &Upload| upload.new.consent_until.is_some_and(|at| at <= now);
        // A row of before several projects could be told apart is of this one where its file is.
        let is_own = |upload: &Upload| {
            let path = || taker.map(|taker| roots[taker].join(&upload.new.path));
            upload.new.project.is_some() || path().is_some_and(|path| path.exists())
        };
        let by_upload = |upload: &Upload| match whose {
            Whose::Device(device) => upload.new.device.as_ref() == Some(device) && is_own(upload),
            Whose::Expired => is_expired(upload) && is_own(upload),
            Whose::Group(_) | Whose::Recordings(_) => false,
        };
        let uploaded: BTreeSet<&str> = kept
            .iter()
            .filter(|upload| by_upload(upload))
            .map(|upload| upload.new.path.as_str())
            .collect();
        let is_meant = |sample: &Sample| {
            let came = Some(sample.origin.source) == taker;
            let by_path = came && uploaded.contains(sample.origin.file.as_str());
            by_path
                || match whose {
                    Whose::Group(group) => sample.group == *group,
                    Whose::Device(device) => ["device_name", "device"]
                        .iter()
                        .any(|key| sample.metadata.get(*key) == Some(device)),
                    Whose::Recordings(names) => names.contains(&sample.name),
                    Whose::Expired => false,
                }
        };
        let shelf = Shelf::list(&workshop.root, data)?;
        let (dataset, _) = shelf.decoded();
        let mut others: BTreeSet<PathBuf> = BTreeSet::new();
        let mut contents = BTreeSet::new();
        for sample in &dataset.samples {
            let path = roots[sample.origin.source].join(&sample.origin.file);
            if is_meant(sample) {
                plan.recordings.insert(sample.name.clone());
                contents.insert(sample.content_digest());
                plan.files.insert(path, sample.origin.file.clone());
            } else {
                others.insert(path);
            }
        }
        for path in &others {
            if let Some(file) = plan.files.remove(path) {
                plan.shared.insert(file);
            }
        }
        // Recordings of before, or what they were before: only versions know of them.
        let mut past = BTreeSet::new();
        let mut is_found = true;
        for entry in listed_before(workshop, whose).await? {
            let files = ingest::files_of(data, &entry.name).into_iter();
            let places: BTreeMap<PathBuf, &str> = files
                .map(|(source, file)| (roots[source].join(file), file))
                .collect();
            // Of two places nobody knows which it was: the other may be somebody else's.
            let is_plain = places.len() == 1;
            is_found &= is_plain || plan.recordings.contains(&entry.name);
            for (path, file) in places.into_iter().filter(|_| is_plain) {
                if others.contains(&path) {
                    continue;
                }
                if path.is_file() {
                    // It is no recording any more.
                    plan.files.insert(path.clone(), file.to_owned());
                }
                past.insert(path);
            }
            contents.insert(entry.content);
            plan.recordings.insert(entry.name);
        }
        // What came and is no recording any more (another pattern, a finding) goes as well.
        if let Some(root) = taker.map(|taker| &roots[taker]) {
            for path in &uploaded {
                let file = root.join(path);
                if file.exists() && !others.contains(&file) {
                    plan.files.insert(file, (*path).to_owned());
                }
            }
            plan.uploads = kept
                .into_iter()
                .filter(|upload| {
                    let path = root.join(&upload.new.path);
                    plan.files.contains_key(&path) || past.contains(&path) || by_upload(upload)
                })
                .collect();
        }
        // What was said of them, which any source reads.
        let beside = |(path, file): (&PathBuf, &String)| {
            let beside = metadata_beside(file);
            let name = beside.rsplit('/').next().unwrap_or(&beside);
            (path.with_file_name(name), beside.clone())
        };
        let told: Vec<_> = plan.files.iter().map(beside).collect();
        let told = told.into_iter().filter(|(path, _)| path.exists());
        plan.files.extend(told);
        plan.trace(workshop, &contents).await?;
        past.extend(plan.files.keys().cloned());
        if let Some(versions) = versions.filter(|_| !past.is_empty()) {
            let pinned = versions::pinned(&workshop.db, &workshop.project.project.name).await?;
            let files = past;
            let (versions, remotes) = (Arc::clone(versions), Arc::clone(remotes));
            plan.traces = background(move || versions.traces(&files, &pinned, &remotes))
                .await
                .expect("looking at versions does not panic")?;
        }
        if is_found && plan.is_carried_out() {
            // Versions of the dataset go on naming them; there is nothing left of them.
            plan.recordings.clear();
        }
        Ok(plan)
    }

    /// Whether all that there was is gone: no bytes are left, and the models are marked.
    fn is_carried_out(&self) -> bool {
        self.files.is_empty()
            && self.shared.is_empty()
            && self.uploads.is_empty()
            && self.artifacts.is_empty()
            && self.traces.is_empty()
            && self.traces.unknown.is_empty()
            && self.models.iter().all(is_marked)
    }

    /// Follows recordings to versions, models, capsules and devices.
    async fn trace(
        &mut self,
        workshop: &Workshop,
        contents: &BTreeSet<Digest>,
    ) -> Result<(), StoreError> {
        let db = &workshop.db;
        let project = &workshop.project.project.name;
        for version in dataset::list(db, project).await? {
            let Some(manifest) = manifest_of(workshop, &version.digest).await? else {
                continue;
            };
            let lists = |manifest: Manifest| {
                let mut entries = manifest.entries.into_iter();
                entries.any(|entry| contents.contains(&entry.content))
            };
            // Of a list that cannot be read nobody knows whom it does not name.
            if manifest.is_none_or(lists) {
                self.versions.push(version.digest);
            }
        }
        let texts: BTreeSet<String> = self.versions.iter().map(Digest::to_string).collect();
        let is_of = |model: &Model| {
            let version = model.metrics["dataset"].as_str();
            version.is_some_and(|version| texts.contains(version))
        };
        let all = model::list(db).await?;
        self.models = all.into_iter().filter(is_of).collect();
        for model in &self.models {
            for capsule in capsule::of_model(db, &model.name).await? {
                if capsule.version != model.version {
                    continue;
                }
                let running = presence::running(db, capsule.id).await?;
                self.capsules.push(Carried {
                    model_id: capsule.id,
                    model: format!("{}@{}", model.name, model.version),
                    board: capsule.board,
                    devices: running.into_iter().map(|(device, _)| device).collect(),
                });
            }
        }
        let mut artifacts = BTreeSet::new();
        for run in run::list(db, u32::MAX >> 1).await? {
            let steps = step::of_run(db, run.id).await?;
            let outputs = || steps.iter().flat_map(|step| &step.outputs);
            let is_touched = outputs()
                .any(|port| port.name == "dataset" && self.versions.contains(&port.digest));
            if is_touched {
                let computed = outputs().filter(|port| port.name == "features");
                artifacts.extend(computed.map(|port| port.digest));
            }
        }
        for digest in artifacts {
            if workshop.artifacts.exists(&digest).await? {
                self.artifacts.push(digest);
            }
        }
        Ok(())
    }

    /// Finds what erasing touches while nobody else changes versions, erases it, and says what that was: nothing, if
    /// nothing is known of them. What versions keep goes from `remotes`, too.
    ///
    /// First it is noted and the models are marked, then the bytes go, also those that versions keep in the cache and in
    /// the remotes, so that a crash leaves nothing that looks sound; what is left then is found by the same call again.
    ///
    /// # Errors
    /// [`EraseError::Shared`], and [`EraseError::Versions`] where another process has the cache, or where of a version it is
    /// not known what it holds ([`VersionError::Unknown`]), before anything is changed.
    pub async fn carry_out(
        workshop: &Workshop,
        whose: &Whose,
        remotes: Vec<Remote>,
        erasure: Erasure<'_>,
        now: Timestamp,
    ) -> Result<Plan, EraseError> {
        let versions = kept_versions(workshop).await?;
        let _lock = versions.as_ref().map(|of| of.lock(false)).transpose()?;
        let remotes = Arc::new(remotes);
        let plan = Self::find(workshop, whose, versions.as_ref(), &remotes, now).await?;
        if let Some(file) = plan.shared.first() {
            return Err(EraseError::Shared(file.clone()));
        }
        if plan.is_empty() {
            return Ok(plan);
        }
        let unknown = &plan.traces.unknown;
        if !unknown.is_empty() && !erasure.anyway {
            return Err(VersionError::Unknown(unknown.clone()).into());
        }
        plan.note(workshop, erasure, &remotes, now).await?;
        if let Some(versions) = versions {
            let (traces, remotes) = (plan.traces.clone(), Arc::clone(&remotes));
            let forgetting = move || {
                versions.forget(&traces, &remotes)?;
                versions.renew(&traces)
            };
            background(forgetting)
                .await
                .expect("removing objects does not panic")?;
        }
        // The recordings last: while they are there, the same command finds what it has not come to.
        for digest in &plan.artifacts {
            workshop.artifacts.remove(digest).await?;
        }
        for path in plan.files.keys() {
            remove(path)?;
        }
        // Whose consent has ended, and what a device brought, is known by these rows alone: they go after the files.
        let tx = workshop.db.begin("forget erased uploads").await?;
        for upload in &plan.uploads {
            upload::erase(&tx, upload.id, now).await?;
        }
        tx.commit().await?;
        Ok(plan)
    }

    /// Marks the models and what came before projects could be told apart, and writes down in the audit log what goes.
    async fn note(
        &self,
        workshop: &Workshop,
        erasure: Erasure<'_>,
        remotes: &[Remote],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = workshop.db.begin_audited("erase recordings").await?;
        for model in &self.models {
            let mut model = model.clone();
            if let Some(metrics) = model.metrics.as_object_mut() {
                let count = self.recordings.len();
                let mark = serde_json::json!({ "at_ms": now.0, "recordings": count });
                metrics.insert(MARK.to_owned(), mark);
            }
            // What runs in the field goes on until its successor is there; nothing goes out from it any more.
            if model.stage != Stage::Production {
                model.stage = Stage::Rejected;
            }
            model::put(&tx, &mut model).await?;
        }
        // Its file says whose it is, and goes before it: after a crash in between the row must say that itself.
        for upload in &self.uploads {
            upload::claim(&tx, upload.id, &workshop.project.project.name).await?;
        }
        let models: Vec<String> = self
            .models
            .iter()
            .map(|model| format!("{}@{}", model.name, model.version))
            .collect();
        let digests = self
            .uploads
            .iter()
            .map(|upload| upload.new.digest.to_string());
        let detail = serde_json::json!({
            "why": erasure.why,
            "recordings": self.recordings.len(),
            "files": self.files.len(),
            "uploads": digests.collect::<Vec<_>>(),
            "versions": self.versions.iter().map(Digest::to_string).collect::<Vec<_>>(),
            "models": models,
            "objects": self.traces.objects.len(),
            "unknown_versions": self.traces.unknown,
            "remotes": remotes.iter().map(Remote::url).collect::<Vec<_>>(),
        });
        audit::add(
            &tx,
            now,
            erasure.actor,
            "data.erase",
            erasure.subject,
            &detail,
        )
        .await?;
        tx.commit().await
    }
}

/// The versions of a project that keeps some, or kept some once.
async fn kept_versions(workshop: &Workshop) -> Result<Option<Arc<Versions>>, VersionError> {
    let versions = Versions::open(&workshop.root, workshop.project.versions.link)?;
    let looking = move || {
        versions
            .keep_something()
            .map(|any| any.then(|| versions.into()))
    };
    background(looking)
        .await
        .expect("looking for versions does not panic")
}

fn remove(path: &Path) -> Result<(), EraseError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(EraseError::Remove {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use tinyops_store::{
        Artifacts, Db,
        upload::{Category, NewUpload},
    };

    use super::*;
    use crate::Project;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const SETTINGS: &str = "[[data.source]]\nroot = \"uploads\"\nuploads = true\nrate_hz = 100\n";

    async fn workshop(root: &Path) -> Workshop {
        let artifacts = root.join("artifacts").display().to_string();
        Workshop {
            root: root.to_owned(),
            project: Project::parse(SETTINGS, Path::new("tinyops.toml")).expect("parses"),
            db: Db::open("sqlite::memory:").await.expect("opens"),
            artifacts: Artifacts::open(&artifacts).await.expect("opens"),
            now: Arc::new(|| NOW),
        }
    }

    /// A recording that came before projects could be told apart.
    async fn bring(workshop: &Workshop, path: &str) {
        let file = workshop.root.join("uploads").join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("makes");
        fs::write(file, "x\n1\n2\n").expect("writes");
        let new = NewUpload {
            project: None,
            actor: "phone".to_owned(),
            category: Category::Training,
            path: path.to_owned(),
            digest: Digest::of(path.as_bytes()),
            bytes: 6,
            label: Some("up".to_owned()),
            device: Some("d".to_owned()),
            device_type: None,
            is_signed: false,
            metadata: serde_json::json!({}),
            purpose: None,
            consent_until: None,
        };
        let tx = workshop.db.begin("test").await.expect("begins");
        upload::add(&tx, &new, NOW).await.expect("adds");
        tx.commit().await.expect("commits");
    }

    #[tokio::test]
    async fn a_row_of_before_projects_is_found_again_after_a_crash_that_left_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let workshop = workshop(folder.path()).await;
        bring(&workshop, "training/up/d/a.csv").await;
        let device = Whose::Device("d".to_owned());
        let erasure = Erasure {
            anyway: false,
            actor: "ann",
            subject: "device d",
            why: "asked",
        };
        let plan = Plan::of(&workshop, &device, NOW).await.expect("plans");
        assert_eq!((plan.files.len(), plan.uploads.len()), (1, 1));
        // As far as a process comes that dies once the file is gone and before its row is.
        let noted = plan.note(&workshop, erasure, &[], NOW).await;
        noted.expect("notes");
        for path in plan.files.keys() {
            remove(path).expect("removes");
        }
        let left = Plan::carry_out(&workshop, &device, Vec::new(), erasure, NOW).await;
        assert_eq!(left.expect("carries out").uploads.len(), 1);
        let kept = upload::kept(&workshop.db, "model").await.expect("lists");
        assert_eq!(kept, []);
    }
}
