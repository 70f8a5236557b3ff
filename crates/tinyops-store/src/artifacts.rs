//! Artifacts: immutable bytes, named by their digest.

mod parts;

pub use parts::{Incoming, Outgoing};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tinyops_wire::id::Digest;

use crate::StoreError;
use crate::file::{Readers, write_whole};

/// Where artifacts are kept. Cheap to clone; all clones share the place.
///
/// Write the artifact first, then the row that points to it: a crash then leaves an unused artifact, never a
/// row that points nowhere.
#[derive(Clone, Debug)]
pub struct Artifacts {
    place: Arc<Place>,
}

#[derive(Debug)]
enum Place {
    /// `FOLDER/ab/cdef…`: 256 folders keep a million artifacts listable.
    Folder(PathBuf),
    Memory(Mutex<BTreeMap<Digest, Arc<[u8]>>>),
}

const URLS: &str = "a folder, `file:PATH` or `memory:`";

impl Artifacts {
    /// Opens the artifacts at `url`: a folder (a path or `file:PATH`, made if it is missing), or `memory:`.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::Permission`], [`StoreError::Full`].
    pub async fn open(url: &str) -> Result<Artifacts, StoreError> {
        let place = match url.split_once(':') {
            Some(("memory", _)) => Place::Memory(Mutex::default()),
            Some(("file", path)) => folder(path.strip_prefix("//").unwrap_or(path)).await?,
            Some((scheme, rest)) if rest.starts_with("//") => {
                return Err(StoreError::Url {
                    url: format!("{scheme}://…"),
                    expected: URLS,
                });
            }
            _ if url.is_empty() => {
                return Err(StoreError::Url {
                    url: String::new(),
                    expected: URLS,
                });
            }
            _ => folder(url).await?,
        };
        Ok(Artifacts {
            place: Arc::new(place),
        })
    }

    /// Keeps `bytes` and returns their name; bytes that are there already are not written again.
    ///
    /// When it returns, the bytes are on the disk, whole.
    pub async fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        match &*self.place {
            Place::Folder(root) => {
                let (root, bytes) = (root.clone(), bytes.to_vec());
                on_blocking_thread(move || write(&root, &digest, &bytes)).await?;
            }
            Place::Memory(map) => {
                map.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(digest, bytes.into());
            }
        }
        Ok(digest)
    }

    /// The bytes under a name.
    ///
    /// # Errors
    /// [`StoreError::Missing`]; [`StoreError::DamagedArtifact`] if the bytes are not those that were put.
    pub async fn get(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let name = *digest;
        let bytes = match &*self.place {
            Place::Folder(root) => {
                let path = path_of(root, digest);
                on_blocking_thread(move || match std::fs::read(&path) {
                    Ok(bytes) => Ok(bytes),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        Err(missing(&name))
                    }
                    Err(error) => Err(StoreError::io(path.display(), "read an artifact", &error)),
                })
                .await?
            }
            Place::Memory(map) => {
                let map = map.lock().unwrap_or_else(PoisonError::into_inner);
                map.get(digest).ok_or_else(|| missing(digest))?.to_vec()
            }
        };
        match Digest::of(&bytes) {
            found if found == name => Ok(bytes),
            found => Err(StoreError::DamagedArtifact {
                digest: name,
                found,
            }),
        }
    }

    /// Whether there are bytes under a name.
    pub async fn exists(&self, digest: &Digest) -> Result<bool, StoreError> {
        match &*self.place {
            Place::Folder(root) => {
                let path = path_of(root, digest);
                on_blocking_thread(move || {
                    path.try_exists().map_err(|error| {
                        StoreError::io(path.display(), "look for an artifact", &error)
                    })
                })
                .await
            }
            Place::Memory(map) => Ok(map
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(digest)),
        }
    }

    /// How many bytes there are under a name; none where there are none.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        match &*self.place {
            Place::Folder(root) => {
                let path = path_of(root, digest);
                on_blocking_thread(move || match std::fs::metadata(&path) {
                    Ok(about) => Ok(Some(about.len())),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(StoreError::io(
                        path.display(),
                        "look for an artifact",
                        &error,
                    )),
                })
                .await
            }
            Place::Memory(map) => {
                let map = map.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(map.get(digest).map(|bytes| bytes.len() as u64))
            }
        }
    }

    /// The names of all artifacts, in order.
    pub async fn list(&self) -> Result<Vec<Digest>, StoreError> {
        match &*self.place {
            Place::Folder(root) => {
                let root = root.clone();
                on_blocking_thread(move || list(&root)).await
            }
            Place::Memory(map) => Ok(map
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .keys()
                .copied()
                .collect()),
        }
    }

    /// Forgets the bytes under a name; the caller knows that nothing points to them.
    pub async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        match &*self.place {
            Place::Folder(root) => {
                let path = path_of(root, digest);
                on_blocking_thread(move || match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(StoreError::io(path.display(), "remove an artifact", &error))
                    }
                    _ => Ok(()),
                })
                .await
            }
            Place::Memory(map) => {
                map.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(digest);
                Ok(())
            }
        }
    }

    /// Removes what processes left half-written that were killed at least `age` ago.
    pub async fn sweep(&self, age: Duration) -> Result<(), StoreError> {
        match &*self.place {
            Place::Folder(root) => {
                let root = root.clone();
                on_blocking_thread(move || sweep(&root, age)).await
            }
            Place::Memory(_) => Ok(()),
        }
    }
}

async fn folder(path: &str) -> Result<Place, StoreError> {
    let root = PathBuf::from(path);
    let made = root.clone();
    on_blocking_thread(move || {
        std::fs::create_dir_all(&made)
            .map_err(|error| StoreError::io(made.display(), "make the folder of artifacts", &error))
    })
    .await?;
    Ok(Place::Folder(root))
}

fn path_of(root: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    root.join(&name[..2]).join(&name[2..])
}

/// Writes an artifact that is not there yet.
fn write(root: &Path, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
    let path = path_of(root, digest);
    // A name is only there with all its bytes; a shorter file is damage from outside and is written anew.
    if std::fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
        return Ok(());
    }
    let folder = path.parent().expect("an artifact lies in a fan-out folder");
    let written = std::fs::create_dir_all(folder);
    let written = written.and_then(|()| write_whole(&path, Readers::Usual, bytes));
    written.map_err(|error| StoreError::io(path.display(), "write an artifact", &error))
}

fn list(root: &Path) -> Result<Vec<Digest>, StoreError> {
    let mut digests = Vec::new();
    for path in files(root)? {
        let mut name = path.components().rev().map(|part| part.as_os_str());
        let (tail, head) = (
            name.next().unwrap_or_default(),
            name.next().unwrap_or_default(),
        );
        // Temporary files of a killed process do not parse.
        digests.extend(
            format!("{}{}", head.to_string_lossy(), tail.to_string_lossy()).parse::<Digest>(),
        );
    }
    digests.sort_unstable();
    Ok(digests)
}

fn sweep(root: &Path, age: Duration) -> Result<(), StoreError> {
    for path in files(root)? {
        let is_temporary = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // Another process may have finished or removed the file meanwhile; what cannot be told is left.
        let is_old = || {
            let changed = path.metadata().and_then(|about| about.modified()).ok()?;
            Some(changed.elapsed().ok()? >= age)
        };
        if is_temporary && is_old() == Some(true) {
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Everything in the fan-out folders, whole or half-written.
fn files(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let explain =
        |error: std::io::Error| StoreError::io(root.display(), "list the artifacts", &error);
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root).map_err(explain)? {
        let folder = folder.map_err(explain)?;
        if !folder.file_type().map_err(explain)?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder.path()).map_err(explain)? {
            files.push(file.map_err(explain)?.path());
        }
    }
    Ok(files)
}

fn missing(digest: &Digest) -> StoreError {
    StoreError::Missing {
        entity: "artifact",
        key: digest.to_string(),
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Closed)?
}
