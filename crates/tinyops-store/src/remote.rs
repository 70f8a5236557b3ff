//! Where objects are shared with others: a folder that all of them reach, or a bucket that speaks S3.
//!
//! The objects lie under the same names as in the cache. All of it is synchronous: the caller has threads.

mod http;
mod s3;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tinyops_wire::id::{Digest, DigestBuilder};

use crate::StoreError;
use crate::cache::{Cache, list_objects, object_path};

static PART: AtomicU64 = AtomicU64::new(0);

/// A place for objects outside of this machine.
#[derive(Debug)]
pub struct Remote {
    url: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    S3(Box<s3::Bucket>),
}

const URLS: &str = "a folder, `file:PATH` or `s3://BUCKET/PREFIX`";

impl Remote {
    /// Opens the remote at `url`: a folder (a path or `file:PATH`, made if it is missing), or `s3://BUCKET/PREFIX`.
    ///
    /// A bucket is asked with the keys that `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` hold, or the profile of
    /// `~/.aws/credentials` that `AWS_PROFILE` names; without any, unsigned. `AWS_REGION` and `AWS_ENDPOINT_URL` say
    /// where it is. Nothing is asked yet.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::Permission`].
    pub fn open(url: &str) -> Result<Remote, StoreError> {
        let unknown = || StoreError::Url {
            // The user's part of a URL may hold a password.
            url: url
                .split_once("://")
                .map_or(url, |(scheme, _)| scheme)
                .to_owned(),
            expected: URLS,
        };
        let place = match url.split_once(':') {
            Some(("s3", rest)) => {
                let rest = rest.strip_prefix("//").ok_or_else(unknown)?;
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                Place::S3(Box::new(
                    s3::Bucket::open(bucket, prefix).ok_or_else(unknown)?,
                ))
            }
            Some(("file", path)) => Place::Folder(path.strip_prefix("//").unwrap_or(path).into()),
            Some((_, rest)) if rest.starts_with("//") => return Err(unknown()),
            _ if url.is_empty() => return Err(unknown()),
            _ => Place::Folder(url.into()),
        };
        if let Place::Folder(folder) = &place {
            let objects = folder.join("objects");
            fs::create_dir_all(&objects)
                .map_err(|error| StoreError::io(objects.display(), "make the remote", &error))?;
        }
        Ok(Remote {
            url: url.to_owned(),
            place,
        })
    }

    /// The URL that it was opened by.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Requests that may be under way at once without one waiting for the other.
    #[must_use]
    pub fn lanes(&self) -> usize {
        match self.place {
            Place::Folder(_) => 1,
            Place::S3(_) => 8,
        }
    }

    /// Whether an object is there.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Permission`].
    pub fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        match &self.place {
            Place::Folder(folder) => {
                let path = object_path(folder, digest);
                path.try_exists()
                    .map_err(|error| StoreError::io(path.display(), "look for an object", &error))
            }
            Place::S3(bucket) => bucket.has(digest),
        }
    }

    /// The names of all objects.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Permission`].
    pub fn list(&self) -> Result<Vec<Digest>, StoreError> {
        match &self.place {
            Place::Folder(folder) => {
                let objects = list_objects(&folder.join("objects"))?;
                Ok(objects.into_iter().map(|(digest, _)| digest).collect())
            }
            Place::S3(bucket) => bucket.list(),
        }
    }

    /// Brings an object of the cache there. It is hashed on the way: nothing damaged is shared.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::DamagedArtifact`], [`StoreError::Unreachable`],
    /// [`StoreError::Permission`], [`StoreError::Full`].
    pub fn push(&self, cache: &Cache, digest: &Digest) -> Result<(), StoreError> {
        let mut object = cache.read(digest)?;
        match &self.place {
            Place::Folder(folder) => push_to_folder(folder, digest, &mut object),
            Place::S3(bucket) => {
                let mut bytes = Vec::new();
                object.read_to_end(&mut bytes).map_err(|error| {
                    StoreError::io(cache.path(digest).display(), "read an object", &error)
                })?;
                intact(digest, Digest::of(&bytes))?;
                bucket.put(digest, &bytes)
            }
        }
    }

    /// Removes an object; one that is not there is removed. Of a bucket that keeps versions of its objects, older ones stay.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Permission`].
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        match &self.place {
            Place::Folder(folder) => {
                let path = object_path(folder, digest);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(StoreError::io(path.display(), "remove an object", &error))
                    }
                    _ => Ok(()),
                }
            }
            Place::S3(bucket) => bucket.remove(digest),
        }
    }

    /// Brings an object into the cache; it has its name there when its bytes are those of the name.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::DamagedArtifact`], [`StoreError::Unreachable`],
    /// [`StoreError::Permission`], [`StoreError::Full`].
    pub fn pull(&self, cache: &Cache, digest: &Digest) -> Result<u64, StoreError> {
        let mut writer = cache.writer()?;
        let count = match &self.place {
            Place::Folder(folder) => {
                let path = object_path(folder, digest);
                let explain = |error: io::Error| match error.kind() {
                    io::ErrorKind::NotFound => missing(digest),
                    _ => StoreError::io(path.display(), "read an object", &error),
                };
                let mut object = File::open(&path).map_err(explain)?;
                io::copy(&mut object, &mut writer).map_err(explain)?
            }
            Place::S3(bucket) => bucket.get(digest, &mut writer)?,
        };
        writer.finish_as(digest)?;
        Ok(count)
    }
}

/// Copies beside the place, hashes on the way, and gives the name at the end: two who push at once do no harm.
fn push_to_folder(folder: &Path, digest: &Digest, object: &mut File) -> Result<(), StoreError> {
    let path = object_path(folder, digest);
    let count = PART.fetch_add(1, Ordering::Relaxed);
    let part = path.with_file_name(format!(".part.{}.{count}", std::process::id()));
    let copied = (|| {
        fs::create_dir_all(path.parent().expect("an object lies in a folder"))?;
        let mut file = File::create_new(&part)?;
        let mut hash = DigestBuilder::new();
        let mut block = vec![0; 1 << 18];
        loop {
            match object.read(&mut block)? {
                0 => break,
                count => {
                    hash.update(&block[..count]);
                    file.write_all(&block[..count])?;
                }
            }
        }
        // A name stands for whole objects, also after a power cut.
        file.sync_all()?;
        Ok(hash.finish())
    })();
    let pushed = copied
        .map_err(|error| StoreError::io(path.display(), "write an object", &error))
        .and_then(|found| intact(digest, found))
        .and_then(|()| {
            fs::rename(&part, &path)
                .map_err(|error| StoreError::io(path.display(), "write an object", &error))
        });
    if pushed.is_err() {
        let _ = fs::remove_file(&part);
    }
    pushed
}

fn intact(digest: &Digest, found: Digest) -> Result<(), StoreError> {
    match found == *digest {
        true => Ok(()),
        false => Err(StoreError::DamagedArtifact {
            digest: *digest,
            found,
        }),
    }
}

fn missing(digest: &Digest) -> StoreError {
    StoreError::Missing {
        entity: "object",
        key: digest.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_remote_is_refused_without_its_password() {
        for url in [
            "",
            "gs://bucket",
            "s3:bucket",
            "s3://",
            "http://user:secret@host/x",
        ] {
            let refused = Remote::open(url).expect_err(url).to_string();
            assert!(!refused.contains("secret"), "{refused}");
            assert!(refused.contains("s3://BUCKET/PREFIX"), "{refused}");
        }
    }
}
