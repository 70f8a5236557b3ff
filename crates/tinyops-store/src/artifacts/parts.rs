//! Artifacts that come and go part by part: one of any size takes the memory of a part.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tinyops_wire::id::{Digest, DigestBuilder};

use super::{Artifacts, Place, missing, on_blocking_thread, path_of};
use crate::StoreError;

/// Bytes that are read at once.
const PART_BYTES: usize = 1 << 20;
/// Where artifacts grow: its files begin with a dot, and the sweep takes those of killed processes away.
const GROWING: &str = "growing";

/// An artifact on its way in. Dropped before its end it leaves nothing.
pub struct Incoming {
    place: Arc<Place>,
    digest: DigestBuilder,
    bytes: u64,
    kept: Kept,
}

enum Kept {
    File(Option<File>, PathBuf),
    Memory(Vec<u8>),
}

/// An artifact on its way out.
pub struct Outgoing {
    name: Digest,
    digest: Option<DigestBuilder>,
    from: Source,
}

enum Source {
    File(Option<File>, PathBuf),
    Memory(Option<Arc<[u8]>>),
}

impl Artifacts {
    /// Begins to take an artifact whose bytes come part by part.
    ///
    /// # Errors
    /// [`StoreError::Permission`], [`StoreError::Full`].
    pub async fn receive(&self) -> Result<Incoming, StoreError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let kept = match &*self.place {
            Place::Folder(root) => {
                let count = COUNT.fetch_add(1, Ordering::Relaxed);
                let folder = root.join(GROWING);
                let path = folder.join(format!(".{}.{count}", std::process::id()));
                on_blocking_thread(move || {
                    let made = fs::create_dir_all(&folder).and_then(|()| File::create_new(&path));
                    match made {
                        Ok(file) => Ok(Kept::File(Some(file), path)),
                        Err(error) => Err(cannot_write(&path, &error)),
                    }
                })
                .await?
            }
            Place::Memory(_) => Kept::Memory(Vec::new()),
        };
        Ok(Incoming {
            place: Arc::clone(&self.place),
            digest: DigestBuilder::new(),
            bytes: 0,
            kept,
        })
    }

    /// Begins to give an artifact part by part.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub async fn read(&self, digest: &Digest) -> Result<Outgoing, StoreError> {
        let name = *digest;
        let from = match &*self.place {
            Place::Folder(root) => {
                let path = path_of(root, digest);
                on_blocking_thread(move || match File::open(&path) {
                    Ok(file) => Ok(Source::File(Some(file), path)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        Err(missing(&name))
                    }
                    Err(error) => Err(StoreError::io(path.display(), "read an artifact", &error)),
                })
                .await?
            }
            Place::Memory(map) => {
                let map = map
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let bytes = map.get(digest).ok_or_else(|| missing(digest))?;
                Source::Memory(Some(Arc::clone(bytes)))
            }
        };
        Ok(Outgoing {
            name,
            digest: Some(DigestBuilder::new()),
            from,
        })
    }
}

impl Incoming {
    /// Takes the next part.
    ///
    /// # Errors
    /// [`StoreError::Full`]; what came until then is gone when this is dropped.
    pub async fn write(&mut self, part: Vec<u8>) -> Result<(), StoreError> {
        self.bytes += part.len() as u64;
        match &mut self.kept {
            Kept::Memory(bytes) => {
                self.digest.update(&part);
                bytes.extend(part);
            }
            Kept::File(file, path) => {
                let mut open = file.take().ok_or(StoreError::Closed)?;
                let mut digest = std::mem::take(&mut self.digest);
                let path = path.clone();
                let (open, digest) = on_blocking_thread(move || {
                    digest.update(&part);
                    match open.write_all(&part) {
                        Ok(()) => Ok((open, digest)),
                        Err(error) => Err(cannot_write(&path, &error)),
                    }
                })
                .await?;
                (*file, self.digest) = (Some(open), digest);
            }
        }
        Ok(())
    }

    /// Ends it: its name, and how many bytes it has. They are on the disk then, whole.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Permission`].
    pub async fn finish(mut self) -> Result<(Digest, u64), StoreError> {
        let digest = std::mem::take(&mut self.digest).finish();
        match (&*self.place, &mut self.kept) {
            (Place::Folder(root), Kept::File(file, path)) => {
                let open = file.take().ok_or(StoreError::Closed)?;
                let (from, to) = (path.clone(), path_of(root, &digest));
                on_blocking_thread(move || {
                    let folder = to.parent().expect("an artifact lies in a fan-out folder");
                    let done = open.sync_all().and_then(|()| {
                        fs::create_dir_all(folder)?;
                        fs::rename(&from, &to)?;
                        File::open(folder)?.sync_all()
                    });
                    done.map_err(|error| cannot_write(&to, &error))
                })
                .await?;
            }
            (Place::Memory(map), Kept::Memory(bytes)) => {
                map.lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .insert(digest, std::mem::take(bytes).into());
            }
            _ => return Err(StoreError::Closed),
        }
        Ok((digest, self.bytes))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Kept::File(_, path) = &self.kept {
            // Gone already where it was finished.
            let _ = fs::remove_file(path);
        }
    }
}

impl Outgoing {
    /// The next part; none behind the last one.
    ///
    /// # Errors
    /// [`StoreError::DamagedArtifact`] behind the last part if they are not the bytes that were put: whoever reads learns
    /// that before the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(mut digest) = self.digest.take() else {
            return Ok(None);
        };
        let (part, digest) = match &mut self.from {
            Source::Memory(bytes) => {
                let part = bytes.take().map(|bytes| bytes.to_vec()).unwrap_or_default();
                digest.update(&part);
                (part, digest)
            }
            Source::File(file, path) => {
                let mut open = file.take().ok_or(StoreError::Closed)?;
                let path = path.clone();
                let (open, part, digest) = on_blocking_thread(move || {
                    let mut part = Vec::with_capacity(PART_BYTES);
                    let read = (&mut open).take(PART_BYTES as u64).read_to_end(&mut part);
                    read.map_err(|error| {
                        StoreError::io(path.display(), "read an artifact", &error)
                    })?;
                    digest.update(&part);
                    Ok((open, part, digest))
                })
                .await?;
                *file = Some(open);
                (part, digest)
            }
        };
        if !part.is_empty() {
            self.digest = Some(digest);
            return Ok(Some(part));
        }
        match digest.finish() {
            found if found == self.name => Ok(None),
            found => Err(StoreError::DamagedArtifact {
                digest: self.name,
                found,
            }),
        }
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::io(path.display(), "write an artifact", error)
}
