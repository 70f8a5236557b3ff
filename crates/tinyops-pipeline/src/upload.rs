//! Recordings that come over the network: read as a run would read them, then kept where the project's pattern finds
//! them.
//!
//! An [`Inlet`] takes the bytes as they come and writes them to the disk; [`Inlet::keep`] checks them, gives the file
//! its name and indexes it. What is kept are the bytes that came, so that a signature can be checked again.

mod name;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tinyops_data::{
    decode::format_of,
    finding::{Code, Finding, Report, Severity},
    ingest::{Listing, ingest},
    pattern::{Captures, Pattern, PlaceError},
    spec::{DataSpec, Format, SourceSpec, metadata_beside},
};
use tinyops_store::{
    DeviceId, Digest, DigestBuilder, Json, Readers, StoreError, Timestamp, move_new,
    upload::{self, Category, NewUpload, Upload},
    write_whole,
};

use self::name::{date_id, file_name, leading_word, with_suffix};
use crate::{RunError, Workshop, read_recording, source_root};

/// Bytes of one recording at most.
pub const BYTES_MAX: u64 = 128 << 20;
/// Bytes of a recording that are held before they are written.
const HELD_BYTES: usize = 1 << 20;
/// Bytes of a label or of a device's name at most.
const WORD_BYTES_MAX: usize = 128;

/// What a sender says of a recording.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Who sends it, as the audit log calls them.
    pub actor: String,
    /// What it is for.
    pub category: Category,
    /// What the file is called, as it was sent.
    pub name: String,
    /// What it shows.
    pub label: Labelling,
    /// What else is known of it.
    pub metadata: BTreeMap<String, String>,
    /// Bytes that are here already are refused.
    pub refuse_duplicates: bool,
    /// The time is put behind the name.
    pub is_dated: bool,
    /// What the people around it agreed to, and until when.
    pub consent: Option<(String, Option<Timestamp>)>,
}

/// What a device has signed of a recording, checked by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which device.
    pub device: DeviceId,
    /// Its counter, which must be above the newest that was kept.
    pub counter: u64,
    /// The digest that the bytes must have.
    pub digest: Digest,
    /// How many bytes they must be.
    pub bytes: u64,
}

/// How a recording is labelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labelling {
    /// So.
    As(String),
    /// By the name of its file: the letters, digits, blanks, `_` and `-` that it begins with.
    ByName,
    /// Not at all.
    Not,
}

/// Why a recording was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// No source takes uploads.
    #[error(
        "the project takes no uploads: add a `[[data.source]]` with `uploads = true` and `root = \"uploads\"` to its \
         tinyops.toml"
    )]
    NoSource,
    /// More bytes than one recording may have.
    #[error("a recording has at most {} MiB", BYTES_MAX >> 20)]
    TooLarge,
    /// The bytes are of no format that is read, or have errors.
    #[error("{0}")]
    Unsound(Box<Finding>),
    /// A label or a name of a device that cannot be the name of a folder.
    #[error(
        "{what} `{word}` cannot be kept: it is empty, longer than 128 bytes, begins with a dot, or holds `/`, `\\`, a brace or a control character"
    )]
    Word {
        /// `label` or `device_name`.
        what: &'static str,
        /// What it is.
        word: String,
    },
    /// The project's own classes do not have this one.
    #[error("label `{0}` is none of the project's classes")]
    Class(String),
    /// The pattern of the source says of no place what the sender says.
    #[error("the patterns of the source that takes uploads have no place for it: {0}")]
    Unplaced(&'static str),
    /// The same bytes are here, and the sender wants no second.
    #[error("An item with this hash already exists (ids: {0})")]
    Duplicate(String),
    /// The bytes are not those that were signed.
    #[error("the payload is not the one whose digest was signed")]
    Digest,
    /// There are more or fewer bytes than were signed.
    #[error("the payload does not have the {signed} bytes that were signed: {came} came")]
    Length {
        /// As many as the envelope says.
        signed: u64,
        /// As many as came, or as many as had come when they were too many.
        came: u64,
    },
    /// The device's counter has not risen.
    #[error("counter {counter} of this device is not above the newest that was kept")]
    Replayed {
        /// What it said.
        counter: u64,
    },
    /// The disk took it not.
    #[error("the recording could not be written")]
    Disk(#[from] io::Error),
    /// The folder of the source is not told.
    #[error(transparent)]
    Folder(#[from] RunError),
    /// The index could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UploadError {
    /// Whether there is no room left for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Disk(error) => matches!(error.kind(), StorageFull | QuotaExceeded),
            Self::Store(error) => matches!(error, StoreError::Full { .. }),
            _ => false,
        }
    }
}

/// Refuses, before a recording is read, one that could not be kept: its device's counter has not risen, or it is too long.
///
/// [`Inlet::keep`] asks again, in the transaction that uses the counter up.
///
/// # Errors
/// [`UploadError::Replayed`], [`UploadError::TooLarge`], [`UploadError::Store`].
pub async fn admit(workshop: &Workshop, envelope: &Envelope) -> Result<(), UploadError> {
    let counter = envelope.counter;
    let newest = upload::newest_counter(&workshop.db, envelope.device).await?;
    if i64::try_from(counter).is_err() || newest.is_some_and(|newest| counter <= newest) {
        return Err(UploadError::Replayed { counter });
    }
    match envelope.bytes > BYTES_MAX {
        true => Err(UploadError::TooLarge),
        false => Ok(()),
    }
}

/// A recording on its way in: a hidden file beside those that are kept. Dropped, it leaves nothing.
pub struct Inlet {
    source: SourceSpec,
    root: PathBuf,
    file: Arc<File>,
    path: PathBuf,
    digest: DigestBuilder,
    /// What has come and is not written yet.
    held: Vec<u8>,
    bytes: u64,
    envelope: Option<Envelope>,
}

impl Drop for Inlet {
    fn drop(&mut self) {
        // It is not there any more if it was kept.
        let _ = fs::remove_file(&self.path);
    }
}

impl Inlet {
    /// Begins a recording in the folder of the source that takes uploads; `envelope` is what a device has signed of it,
    /// if one has.
    ///
    /// # Errors
    /// [`UploadError::NoSource`], [`UploadError::Folder`], [`UploadError::Disk`].
    pub async fn open(
        workshop: &Workshop,
        envelope: Option<Envelope>,
    ) -> Result<Self, UploadError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let sources = &workshop.project.data.source;
        let source = sources.iter().find(|source| source.uploads);
        let source = source.ok_or(UploadError::NoSource)?.clone();
        let root = source_root(&workshop.root, &source)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!(".upload.{}.{number}", std::process::id()));
        let begin = {
            let (root, path) = (root.clone(), path.clone());
            move || fs::create_dir_all(&root).and_then(|()| File::create(&path))
        };
        Ok(Self {
            source,
            root,
            file: Arc::new(on_disk(begin).await?),
            path,
            digest: DigestBuilder::new(),
            held: Vec::new(),
            bytes: 0,
            envelope,
        })
    }

    /// Takes the next bytes; a mebibyte at a time goes to the disk.
    ///
    /// # Errors
    /// [`UploadError::TooLarge`], [`UploadError::Length`], [`UploadError::Disk`].
    pub async fn take(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > BYTES_MAX {
            return Err(UploadError::TooLarge);
        }
        if let Some(signed) = self.envelope.map(|signed| signed.bytes)
            && self.bytes > signed
        {
            let came = self.bytes;
            return Err(UploadError::Length { signed, came });
        }
        self.held.extend_from_slice(bytes);
        match self.held.len() >= HELD_BYTES {
            true => self.write().await,
            false => Ok(()),
        }
    }

    /// Hashes and writes what is held, away from the threads that serve others.
    async fn write(&mut self) -> Result<(), UploadError> {
        let mut held = std::mem::take(&mut self.held);
        let mut digest = std::mem::take(&mut self.digest);
        let file = Arc::clone(&self.file);
        (self.held, self.digest) = on_disk(move || {
            digest.update(&held);
            (&*file).write_all(&held)?;
            held.clear();
            Ok((held, digest))
        })
        .await?;
        Ok(())
    }

    /// Checks what came, as a run would read it, and keeps it: on the disk and indexed once this returns.
    ///
    /// The same bytes under the same name are one recording, however often they are sent.
    ///
    /// # Errors
    /// [`UploadError`]; then nothing is kept.
    pub async fn keep(
        mut self,
        workshop: &Workshop,
        delivery: Delivery,
    ) -> Result<Upload, UploadError> {
        self.write().await?;
        // One at a time from the name to the index: whose file another has found there must not take it away again. It
        // also bounds how many recordings are read whole to check them.
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let turn = TURN.lock().await;
        let now = (workshop.now)();
        let data = workshop.project.data.clone();
        // The turn goes along: the check goes on where a sender hangs up.
        let placing = move || (self.place(&data, &delivery, now), turn);
        let (placed, _turn) = tokio::task::spawn_blocking(placing)
            .await
            .expect("a check does not panic");
        placed?.index(workshop, now).await
    }

    fn place(
        mut self,
        data: &DataSpec,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Placed, UploadError> {
        self.file.sync_all()?;
        let digest = std::mem::take(&mut self.digest).finish();
        let envelope = self.envelope;
        if let Some(signed) = envelope {
            if signed.bytes != self.bytes {
                return Err(UploadError::Length {
                    signed: signed.bytes,
                    came: self.bytes,
                });
            }
            if signed.digest != digest {
                return Err(UploadError::Digest);
            }
        }
        let bytes = read_recording(&self.path)?;
        let name = file_name(&delivery.name, &bytes)?;
        let label = match &delivery.label {
            Labelling::As(label) => Some(label.clone()),
            Labelling::ByName => leading_word(&name),
            Labelling::Not => None,
        };
        if let Some(label) = &label {
            check_word("label", label)?;
            check_class(data, label)?;
        }
        let sample = sound(&self.source, &self.root, data, &name, label.clone(), bytes)?;
        let told = sample.get("device_name").filter(|name| !name.is_empty());
        // What a device's key has signed is of that device, whatever the payload says.
        let device = match envelope {
            Some(signed) => Some(signed.device.to_string()),
            None => told.cloned(),
        };
        if let Some(device) = &device {
            check_word("device_name", device)?;
        }
        let dated = match delivery.is_dated {
            true => with_suffix(&name, &date_id(now)),
            false => name,
        };
        let told = match delivery.metadata.is_empty() {
            true => None,
            false => {
                Some(serde_json::to_vec(&delivery.metadata).expect("metadata has string keys"))
            }
        };
        let (path, is_new) = self.settle(
            &Known {
                name: &dated,
                category: delivery.category,
                label: label.as_deref(),
                device: device.as_deref(),
            },
            &digest,
            told.as_deref(),
        )?;
        let is_message = matches!(format_of(&path), Some(Format::EiJson | Format::EiCbor));
        let (purpose, consent_until) = match &delivery.consent {
            Some((purpose, until)) => (Some(purpose.clone()), *until),
            None => (None, None),
        };
        Ok(Placed {
            file: self.root.join(&path),
            metadata: self.root.join(metadata_beside(&path)),
            is_new,
            refuse_duplicates: delivery.refuse_duplicates,
            envelope,
            new: NewUpload {
                project: None,
                actor: delivery.actor.clone(),
                category: delivery.category,
                path,
                digest,
                bytes: self.bytes,
                label,
                device,
                device_type: sample.get("device_type").cloned(),
                is_signed: envelope.is_some() || is_message && self.source.hmac_key_file.is_some(),
                metadata: Json::from_iter(delivery.metadata.clone()),
                purpose,
                consent_until,
            },
        })
    }

    /// Gives the file its name, and says whether nothing was there under it. Where another recording has the name, some
    /// digits of the digest are put behind it.
    ///
    /// What its sender says of it comes first: whoever finds the recording finds that, too, after a crash as well.
    fn settle(
        &self,
        known: &Known<'_>,
        digest: &Digest,
        told: Option<&[u8]>,
    ) -> Result<(String, bool), UploadError> {
        let digits = digest.to_string();
        for more in [0, 8, 16, 64] {
            let name = match more {
                0 => known.name.to_owned(),
                more => with_suffix(known.name, &digits[..more]),
            };
            let path = place_of(
                &self.source,
                &Known {
                    name: &name,
                    ..*known
                },
            )?;
            let to = self.root.join(&path);
            let beside = self.root.join(metadata_beside(&path));
            fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
            if fs::symlink_metadata(&to).is_err() {
                tell(&beside, told)?;
                match move_new(&self.path, &to) {
                    Ok(()) => return Ok((path, true)),
                    Err(error) => {
                        // Of one that another process has just put there it does not tell.
                        let _ = fs::remove_file(&beside);
                        if error.kind() != io::ErrorKind::AlreadyExists {
                            return Err(error.into());
                        }
                    }
                }
            }
            if fs::metadata(&to)?.len() == self.bytes
                && Digest::of(&read_recording(&to)?) == *digest
            {
                if told.is_some() && !beside.exists() {
                    tell(&beside, told)?;
                }
                return Ok((path, false));
            }
        }
        Err(UploadError::Unplaced("its name is taken"))
    }
}

/// What is known of a recording that has to have a place.
#[derive(Clone, Copy)]
struct Known<'a> {
    name: &'a str,
    category: Category,
    label: Option<&'a str>,
    device: Option<&'a str>,
}

/// Writes what a sender says of a recording; what was told of another of that name is not told of one of which nothing is.
fn tell(beside: &Path, told: Option<&[u8]>) -> io::Result<()> {
    match told {
        Some(told) => write_whole(beside, Readers::Usual, told),
        None => match fs::remove_file(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// Does what waits for the disk on a thread that may wait.
async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, UploadError> {
    let done = tokio::task::spawn_blocking(act).await;
    Ok(done.expect("a write does not panic")?)
}

/// A recording under its name, not yet indexed.
struct Placed {
    file: PathBuf,
    /// What its sender says of it, if anything.
    metadata: PathBuf,
    is_new: bool,
    refuse_duplicates: bool,
    envelope: Option<Envelope>,
    new: NewUpload,
}

impl Placed {
    async fn index(self, workshop: &Workshop, now: Timestamp) -> Result<Upload, UploadError> {
        let indexed = self.indexed(workshop, now).await;
        if indexed.is_err() && self.is_new {
            // Nobody was told that it is here.
            let _ = fs::remove_file(&self.file);
            let _ = fs::remove_file(&self.metadata);
        }
        indexed
    }

    async fn indexed(&self, workshop: &Workshop, now: Timestamp) -> Result<Upload, UploadError> {
        let project = &workshop.project.project.name;
        let tx = workshop.db.begin("index an upload").await?;
        if let Some(Envelope {
            device, counter, ..
        }) = self.envelope
            && !upload::count_on(&tx, device, counter).await?
        {
            return Err(UploadError::Replayed { counter });
        }
        let same = upload::of_digest(&tx, project, &self.new.digest).await?;
        if self.refuse_duplicates && !same.is_empty() {
            let ids: Vec<String> = same.iter().map(|upload| upload.id.to_string()).collect();
            return Err(UploadError::Duplicate(ids.join(", ")));
        }
        let there = same
            .into_iter()
            .find(|there| there.new.path == self.new.path);
        let kept = match there {
            Some(there) => there,
            None => {
                let new = NewUpload {
                    project: Some(project.clone()),
                    ..self.new.clone()
                };
                upload::add(&tx, &new, now).await?
            }
        };
        tx.commit().await?;
        Ok(kept)
    }
}

/// Reads the recording as a run would, by itself, and returns its metadata.
fn sound(
    source: &SourceSpec,
    root: &Path,
    data: &DataSpec,
    name: &str,
    label: Option<String>,
    bytes: Vec<u8>,
) -> Result<BTreeMap<String, String>, UploadError> {
    let alone = SourceSpec {
        files: vec!["*".to_owned()],
        exclude: Vec::new(),
        label,
        label_file: None,
        group: None,
        group_file: None,
        ..source.clone()
    };
    let spec = DataSpec {
        source: vec![alone],
        classes: Vec::new(),
        ..data.clone()
    };
    let listing = Listing {
        files: vec![name.to_owned()],
    };
    let mut bytes = Some(bytes);
    let mut read = |_: usize, path: &str| match (path == name).then(|| bytes.take()).flatten() {
        Some(bytes) => Ok(bytes),
        // A side file of the source; its place on this machine is nobody's business.
        None => read_recording(&root.join(path)),
    };
    let mut report = Report::new();
    let dataset = ingest(&spec, &[listing], &mut read, &mut report);
    let error = |finding: &&Finding| finding.severity == Severity::Error;
    if let Some(finding) = report.findings.iter().find(error) {
        return Err(UploadError::Unsound(Box::new(finding.clone())));
    }
    match dataset.samples.into_iter().next() {
        Some(sample) => Ok(sample.metadata),
        None => {
            let finding = Finding::error(Code::Empty, "the file holds no recording");
            Err(UploadError::Unsound(Box::new(finding.in_file(name))))
        }
    }
}

/// Where a recording goes so that the patterns of its source find it with what is known of it, and with nothing else.
fn place_of(source: &SourceSpec, known: &Known<'_>) -> Result<String, UploadError> {
    let Known {
        name,
        category,
        label,
        device,
    } = *known;
    let texts = source.patterns();
    let patterns: Vec<Pattern> = texts
        .iter()
        .filter_map(|text| Pattern::new(text).ok())
        .collect();
    let mut why = "none says where its label or category goes";
    for (index, pattern) in patterns.iter().enumerate() {
        let has = |wanted: &str| pattern.names().any(|name| name == wanted);
        if has("label") != label.is_some() {
            continue;
        }
        if !has("category") && category != Category::Training {
            continue;
        }
        let of_device = ["device", "group"].into_iter().find(|name| has(name));
        let known = [
            has("category").then_some(("category", category.word())),
            label.map(|label| ("label", label)),
            of_device.zip(device),
        ];
        let known = known.into_iter().flatten();
        let values: Captures = known
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        match pattern.place(name, &values) {
            Ok(path) => {
                let first = patterns
                    .iter()
                    .position(|known| known.matches(&path).is_some());
                if first == Some(index) {
                    return Ok(path);
                }
                why = "an earlier pattern takes it for something else";
            }
            Err(PlaceError::Name(_)) => why = "none finds a file of this name",
            Err(_) => {}
        }
    }
    Err(UploadError::Unplaced(why))
}

fn check_word(what: &'static str, word: &str) -> Result<(), UploadError> {
    let is_sound = !word.is_empty()
        && word.len() <= WORD_BYTES_MAX
        && !word.starts_with('.')
        && !word.contains(['/', '\\', '{', '}'])
        && !word.contains(char::is_control);
    if is_sound {
        return Ok(());
    }
    let plain = word
        .chars()
        .filter(|c| !c.is_control())
        .take(WORD_BYTES_MAX);
    Err(UploadError::Word {
        what,
        word: plain.collect(),
    })
}

fn check_class(data: &DataSpec, label: &str) -> Result<(), UploadError> {
    let is_known = data.classes.is_empty()
        || !data.label_map.is_empty()
        || data.classes.iter().any(|class| class == label);
    if is_known {
        return Ok(());
    }
    Err(UploadError::Class(label.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_place(
        source: &SourceSpec,
        label: Option<&str>,
        device: Option<&str>,
        expected: Option<&str>,
    ) {
        let known = Known {
            name: "a.json",
            category: Category::Testing,
            label,
            device,
        };
        let found = place_of(source, &known);
        assert_eq!(found.ok().as_deref(), expected);
    }

    #[test]
    fn places_say_what_is_known_and_nothing_else() {
        let source = SourceSpec {
            uploads: true,
            ..SourceSpec::default()
        };
        check_place(&source, None, None, Some("testing/_/a.json"));
        check_place(&source, None, Some("ac:7"), Some("testing/_/ac:7/a.json"));
        check_place(&source, Some("up"), None, Some("testing/up/a.json"));
        check_place(&source, Some("up"), Some("d"), Some("testing/up/d/a.json"));
        check_place(&source, Some("_"), None, None);
        let of = |files: &[&str]| SourceSpec {
            files: files.iter().map(|&file| file.to_owned()).collect(),
            ..source.clone()
        };
        // Without `{category}`, what tests would train.
        check_place(&of(&["{label}/*.json"]), Some("up"), None, None);
        let grouped = of(&["{category}/{label}/{group}/*.json"]);
        check_place(&grouped, Some("up"), Some("d"), Some("testing/up/d/a.json"));
        check_place(&grouped, Some("up"), None, None);
        check_place(&of(&["{category}/{label}/*.csv"]), Some("up"), None, None);
    }
}
