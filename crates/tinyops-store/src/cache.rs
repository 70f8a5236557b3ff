//! Objects of dataset versions on this machine: files named by their digest, which the workspace shares where it can.
//!
//! ```text
//! FOLDER/objects/ab/cdef…   an object: read-only, whole, under the SHA-256 of its bytes
//! FOLDER/tmp/               what is half-written; whoever holds the lock may clear it
//! FOLDER/lock               held by whoever changes the cache or the workspace
//! ```
//! An object comes under its name by a link or a rename, after all of its bytes: a killed process leaves strays in `tmp`,
//! never half an object.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tinyops_wire::id::{Digest, DigestBuilder};

use crate::{Cause, StoreError};

/// How the names of half-written files in the workspace begin: nobody takes them for recordings.
pub const PART_PREFIX: &str = ".tinyops-part.";

/// Makes the names of half-written files differ within this process.
static PART: AtomicU64 = AtomicU64::new(0);

/// How a file in the workspace and its object share their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Two files, one set of blocks until either is written: what Btrfs, XFS and APFS can do.
    Reflink,
    /// One file with two names, read-only.
    Hardlink,
    /// Twice the bytes.
    Copy,
}

/// The folder of objects.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    /// In the order in which they are tried.
    links: Vec<Link>,
    /// Whether a way has turned out not to work here, in the order of `links`.
    failed: [AtomicBool; 3],
    /// Whether anything was written since the last [`Cache::sync`].
    dirty: AtomicBool,
}

/// The right to change cache and workspace; it ends with the process, too.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
}

impl Cache {
    /// The cache in a folder, which is made when something is kept; `links` are tried in their order, and at last a copy.
    #[must_use]
    pub fn open(root: &Path, links: &[Link]) -> Cache {
        let mut links = links.to_vec();
        links.retain(|link| *link != Link::Copy);
        links.truncate(2);
        links.push(Link::Copy);
        Cache {
            root: root.to_path_buf(),
            links,
            failed: Default::default(),
            dirty: AtomicBool::new(false),
        }
    }

    /// Takes the lock; `wait` says whether to wait for another process.
    ///
    /// # Errors
    /// [`StoreError::Busy`] with who holds it. Where a file system has no locks, nobody is kept out.
    pub fn lock(&self, wait: bool) -> Result<CacheLock, StoreError> {
        let path = self.root.join("lock");
        let explain = |error: io::Error| StoreError::io(path.display(), "lock the cache", &error);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = in_its_folder(&path, || options.open(&path)).map_err(explain)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if wait => file.lock().map_err(explain)?,
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = (&mut file).take(100).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process",
                    holder => holder,
                };
                return Err(StoreError::Busy {
                    place: self.root.display().to_string(),
                    source: Cause(format!("{holder} is at work in it")),
                });
            }
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let told = format!("process {}\n", std::process::id());
        // Only for people: who cannot write it holds the lock all the same.
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(told.as_bytes()));
        self.clear();
        Ok(CacheLock { _file: file })
    }

    /// Removes what killed processes left half-written.
    fn clear(&self) {
        for entry in fs::read_dir(self.root.join("tmp")).into_iter().flatten() {
            let _ = entry.map(|entry| fs::remove_file(entry.path()));
        }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an object lies, if it is there.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        object_path(&self.root, digest)
    }

    /// Whether an object is there.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        fs::symlink_metadata(self.path(digest)).is_ok_and(|about| about.is_file())
    }

    /// Opens an object to be read.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn read(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing(digest),
            _ => StoreError::io(path.display(), "read an object", &error),
        })
    }

    /// Keeps bytes that are nobody's file.
    ///
    /// # Errors
    /// As [`Cache::keep_file`].
    pub fn keep(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.holds(&digest, bytes) {
            self.put_copy(&digest, bytes, None)?;
        }
        Ok(digest)
    }

    /// Whether an object is there and holds these bytes, which its name is of. They are compared, which costs less than
    /// hashing it: an object that is damaged is replaced by whoever brings its bytes again, and never counts as kept.
    fn holds(&self, digest: &Digest, bytes: &[u8]) -> bool {
        let Ok(mut object) = File::open(self.path(digest)) else {
            return false;
        };
        let is_as_long = |about: fs::Metadata| about.len() == bytes.len() as u64;
        if !object.metadata().is_ok_and(is_as_long) {
            return false;
        }
        let mut block = vec![0; bytes.len().clamp(1, 1 << 16)];
        bytes.chunks(block.len()).all(|expected| {
            let found = &mut block[..expected.len()];
            object.read_exact(found).is_ok() && *found == *expected
        })
    }

    /// Keeps a file that was read into `bytes`: afterwards it and its object share their bytes, if a way is there.
    ///
    /// `is_own` says that the file is the workspace's, by its own name: then it may be one with its object, read-only. Of
    /// what is another tool's, or behind a symbolic link, only the bytes are taken.
    ///
    /// # Errors
    /// [`StoreError::Permission`], [`StoreError::Full`].
    pub fn keep_file(
        &self,
        from: &Path,
        file: &File,
        bytes: &[u8],
        is_own: bool,
    ) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        if let Ok(there) = fs::symlink_metadata(&path) {
            if same_file(&there, file) && there.len() == bytes.len() as u64 {
                // What was just read and hashed is the object.
                return Ok(digest);
            }
            if self.holds(&digest, bytes) {
                if is_own && self.first_link() == Link::Hardlink {
                    // The workspace has it twice: one set of bytes is enough.
                    let part = part_beside(from);
                    let linked = fs::hard_link(&path, &part).and_then(|()| fs::rename(&part, from));
                    if linked.is_err() {
                        // Of some recordings there are more than a file may have names.
                        let _ = fs::remove_file(&part);
                    }
                }
                return Ok(digest);
            }
            // What lies there is damaged: this file repairs it.
            let _ = fs::remove_file(&path);
        }
        for (index, link) in self.links.iter().enumerate() {
            if self.failed[index].load(Ordering::Relaxed) {
                continue;
            }
            let kept = match link {
                Link::Reflink => self.put_reflink(&path, file),
                Link::Hardlink if is_own => self.put_hardlink(&path, from, file),
                Link::Hardlink => continue,
                Link::Copy => {
                    self.put_copy(&digest, bytes, Some(file))?;
                    Ok(())
                }
            };
            match kept {
                Ok(()) => {
                    self.dirty.store(true, Ordering::Relaxed);
                    return Ok(digest);
                }
                Err(error) => self.note_failure(index, &error),
            }
        }
        unreachable!("a copy ends in an object or an error")
    }

    /// The way that files will be shared, as far as is known by now.
    fn first_link(&self) -> Link {
        let works = |(index, _): &(usize, &Link)| !self.failed[*index].load(Ordering::Relaxed);
        let first = self.links.iter().enumerate().find(works);
        first.map_or(Link::Copy, |(_, link)| *link)
    }

    /// A way that this file system lacks need not be tried for each file; one that this file alone forbids must be.
    fn note_failure(&self, index: usize, error: &io::Error) {
        let is_of_the_file = matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::TooManyLinks
        );
        if !is_of_the_file {
            self.failed[index].store(true, Ordering::Relaxed);
        }
    }

    fn put_reflink(&self, path: &Path, file: &File) -> io::Result<()> {
        let part = self.part();
        let made = in_its_folder(&part, || File::create_new(&part))
            .and_then(|new| {
                reflink(file, &new)?;
                protect(&new)
            })
            .and_then(|()| into_place(&part, path));
        if made.is_err() {
            let _ = fs::remove_file(&part);
        }
        made
    }

    fn put_hardlink(&self, path: &Path, from: &Path, file: &File) -> io::Result<()> {
        in_its_folder(path, || fs::hard_link(from, path))?;
        protect(file)
    }

    /// `of` is the file that the bytes are of, whose time the object keeps as a link would.
    fn put_copy(&self, digest: &Digest, bytes: &[u8], of: Option<&File>) -> Result<(), StoreError> {
        let mut writer = self.writer()?;
        let filled = writer.write_all(bytes).and_then(|()| writer.flush());
        let timed = filled.and_then(|()| match (of, &writer.file) {
            (Some(of), Some(own)) => own.get_ref().set_modified(of.metadata()?.modified()?),
            _ => Ok(()),
        });
        timed.map_err(|error| self.unwritten(&error))?;
        let written = writer.finish()?;
        debug_assert_eq!(written, *digest, "the bytes are those that were hashed");
        Ok(())
    }

    fn unwritten(&self, error: &io::Error) -> StoreError {
        StoreError::io(self.root.display(), "write an object", error)
    }

    /// An object that comes in pieces; it has its name when it is finished.
    ///
    /// # Errors
    /// [`StoreError::Permission`], [`StoreError::Full`].
    pub fn writer(&self) -> Result<ObjectWriter<'_>, StoreError> {
        let part = self.part();
        let file = in_its_folder(&part, || File::create_new(&part));
        let file = file.map_err(|error| self.unwritten(&error))?;
        Ok(ObjectWriter {
            cache: self,
            file: Some(BufWriter::with_capacity(1 << 16, file)),
            hash: DigestBuilder::new(),
            part,
        })
    }

    /// Puts a file into the workspace that holds what an object holds; the object is hashed on the way, so that nothing
    /// damaged leaves the cache. What was at the place is replaced, all at once.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::DamagedArtifact`], [`StoreError::Permission`], [`StoreError::Full`].
    pub fn place(&self, digest: &Digest, to: &Path) -> Result<(), StoreError> {
        let object = self.read(digest)?;
        let found = hash(&object).map_err(|error| self.unwritten(&error))?;
        if found != *digest {
            return Err(StoreError::DamagedArtifact {
                digest: *digest,
                found,
            });
        }
        let path = self.path(digest);
        let unplaced = |error: io::Error| StoreError::io(to.display(), "write a recording", &error);
        for (index, link) in self.links.iter().enumerate() {
            if self.failed[index].load(Ordering::Relaxed) {
                continue;
            }
            let placed = match link {
                Link::Hardlink => in_its_folder(to, || fs::hard_link(&path, to)).or_else(|error| {
                    match error.kind() {
                        io::ErrorKind::AlreadyExists => {
                            let part = part_beside(to);
                            let linked =
                                fs::hard_link(&path, &part).and_then(|()| into_place(&part, to));
                            // A rename of one name of a file to another of its names leaves both.
                            let _ = fs::remove_file(&part);
                            linked
                        }
                        _ => Err(error),
                    }
                }),
                Link::Reflink | Link::Copy => {
                    let part = part_beside(to);
                    let made = in_its_folder(&part, || File::create_new(&part))
                        .and_then(|mut new| {
                            (match link {
                                Link::Reflink => reflink(&object, &new),
                                _ => {
                                    let mut object = File::open(&path)?;
                                    io::copy(&mut object, &mut new).map(drop)
                                }
                            })
                            // As a hard link has it: what has not changed since it was kept shows that by its time.
                            .and_then(|()| new.set_modified(object.metadata()?.modified()?))
                        })
                        .and_then(|()| into_place(&part, to));
                    if made.is_err() {
                        let _ = fs::remove_file(&part);
                    }
                    made
                }
            };
            match placed {
                Ok(()) => return Ok(()),
                Err(error) if *link == Link::Copy => return Err(unplaced(error)),
                Err(error) => self.note_failure(index, &error),
            }
        }
        unreachable!("a copy ends in a file or an error")
    }

    /// What an object's bytes hash to; none if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Permission`], and what else the system says of reading it.
    pub fn found(&self, digest: &Digest) -> Result<Option<Digest>, StoreError> {
        let object = match self.read(digest) {
            Ok(object) => object,
            Err(StoreError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        hash(&object)
            .map(Some)
            .map_err(|error| StoreError::io(self.path(digest).display(), "read an object", &error))
    }

    /// The names and lengths of all objects, folder by folder.
    ///
    /// # Errors
    /// [`StoreError::Permission`].
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        list_objects(&self.root.join("objects"))
    }

    /// Forgets an object; the caller knows that nothing points to it.
    ///
    /// # Errors
    /// [`StoreError::Permission`].
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io(path.display(), "remove an object", &error))
            }
            _ => Ok(()),
        }
    }

    /// Waits until what was kept is on the disk: once for all objects, before anything points to them.
    pub fn sync(&self) {
        if self.dirty.swap(false, Ordering::Relaxed) {
            // Where it cannot be waited for, the system writes it within seconds all the same.
            #[cfg(target_os = "linux")]
            let _ = File::open(&self.root).map(|root| rustix::fs::syncfs(&root));
        }
    }

    fn part(&self) -> PathBuf {
        let count = PART.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.{count}", std::process::id());
        self.root.join("tmp").join(name)
    }
}

/// Bytes on their way to be an object. Dropped before it is finished, it leaves nothing.
pub struct ObjectWriter<'a> {
    cache: &'a Cache,
    file: Option<BufWriter<File>>,
    hash: DigestBuilder,
    part: PathBuf,
}

impl std::fmt::Debug for ObjectWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ObjectWriter");
        shown.field("part", &self.part).finish_non_exhaustive()
    }
}

impl ObjectWriter<'_> {
    /// Gives the object its name.
    ///
    /// # Errors
    /// [`StoreError::Permission`], [`StoreError::Full`].
    pub fn finish(mut self) -> Result<Digest, StoreError> {
        let digest = std::mem::take(&mut self.hash).finish();
        self.settle(&digest)?;
        Ok(digest)
    }

    /// Gives the object its name if it is the one that was expected.
    ///
    /// # Errors
    /// [`StoreError::DamagedArtifact`], and then nothing is kept; as [`ObjectWriter::finish`].
    pub fn finish_as(mut self, digest: &Digest) -> Result<(), StoreError> {
        let found = std::mem::take(&mut self.hash).finish();
        if found != *digest {
            return Err(StoreError::DamagedArtifact {
                digest: *digest,
                found,
            });
        }
        self.settle(digest)
    }

    fn settle(&mut self, digest: &Digest) -> Result<(), StoreError> {
        let file = self.file.take().expect("it is taken once, at the end");
        let done = file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| protect(&file))
            .and_then(|()| into_place(&self.part, &self.cache.path(digest)));
        done.map_err(|error| self.cache.unwritten(&error))?;
        self.cache.dirty.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().expect("it is taken at the end");
        let count = file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for ObjectWriter<'_> {
    fn drop(&mut self) {
        // After a rename there is nothing under this name.
        let _ = fs::remove_file(&self.part);
    }
}

/// Where an object lies in a cache, or in a remote that is a folder.
pub(crate) fn object_path(root: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    let mut path = root.join("objects");
    path.push(&name[..2]);
    path.push(&name[2..]);
    path
}

/// The names and lengths of the objects in a folder of objects.
pub(crate) fn list_objects(root: &Path) -> Result<Vec<(Digest, u64)>, StoreError> {
    let explain = |error: io::Error| StoreError::io(root.display(), "list the objects", &error);
    let mut objects = Vec::new();
    let folders = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(objects),
        folders => folders.map_err(explain)?,
    };
    for folder in folders {
        let folder = folder.map_err(explain)?;
        let head = folder.file_name();
        if head.len() != 2 || !folder.file_type().map_err(explain)?.is_dir() {
            continue;
        }
        for object in fs::read_dir(folder.path()).map_err(explain)? {
            let object = object.map_err(explain)?;
            let tail = object.file_name();
            let name = format!("{}{}", head.to_string_lossy(), tail.to_string_lossy());
            if let Ok(digest) = name.parse() {
                objects.push((digest, object.metadata().map_err(explain)?.len()));
            }
        }
    }
    objects.sort_unstable();
    Ok(objects)
}

/// A name of our own beside a place in the workspace.
fn part_beside(to: &Path) -> PathBuf {
    let count = PART.fetch_add(1, Ordering::Relaxed);
    to.with_file_name(format!("{PART_PREFIX}{}.{count}", std::process::id()))
}

/// Does what takes the folder of a path, and makes that first if it is missing.
fn in_its_folder<T>(path: &Path, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match act() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            act()
        }
        done => done,
    }
}

fn into_place(part: &Path, path: &Path) -> io::Result<()> {
    let placed = in_its_folder(path, || fs::rename(part, path));
    if placed.is_err() {
        let _ = fs::remove_file(part);
    }
    placed
}

/// Nobody writes to an object by accident.
fn protect(file: &File) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    #[cfg(unix)]
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o444);
    #[cfg(not(unix))]
    permissions.set_readonly(true);
    file.set_permissions(permissions)
}

#[cfg(target_os = "linux")]
fn reflink(from: &File, to: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

#[cfg(not(target_os = "linux"))]
fn reflink(_: &File, _: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
fn same_file(there: &fs::Metadata, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata()
        .is_ok_and(|own| own.ino() == there.ino() && own.dev() == there.dev())
}

#[cfg(not(unix))]
fn same_file(_: &fs::Metadata, _: &File) -> bool {
    false
}

/// Hashes an open file from where it stands to its end.
fn hash(file: &File) -> io::Result<Digest> {
    let length = file.metadata()?.len();
    let size = usize::try_from(length + 1).unwrap_or(usize::MAX);
    let mut block = vec![0; size.clamp(1, 1 << 18)];
    let mut hash = DigestBuilder::new();
    let mut file = file;
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hash.finish()),
            Ok(count) => hash.update(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
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

    struct Place {
        folder: tempfile::TempDir,
        cache: Cache,
    }

    impl Place {
        fn new(links: &[Link]) -> Place {
            let folder = tempfile::tempdir().expect("a folder");
            let cache = Cache::open(&folder.path().join("cache"), links);
            Place { folder, cache }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn keep(&self, name: &str, bytes: &[u8]) -> Digest {
            let path = self.path(name);
            fs::write(&path, bytes).expect("writes");
            self.keep_again(name)
        }

        fn keep_again(&self, name: &str) -> Digest {
            let path = self.path(name);
            let file = File::open(&path).expect("opens");
            let bytes = fs::read(&path).expect("reads");
            let kept = self.cache.keep_file(&path, &file, &bytes, true);
            kept.expect("keeps")
        }

        #[cfg(unix)]
        fn names(&self, path: &Path) -> u64 {
            use std::os::unix::fs::MetadataExt as _;
            fs::metadata(path).expect("there").nlink()
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_hard_link_keeps_one_set_of_bytes() {
        let place = Place::new(&[Link::Hardlink]);
        let digest = place.keep("a.wav", b"tone");
        assert_eq!(digest, Digest::of(b"tone"));
        assert_eq!(place.names(&place.path("a.wav")), 2);
        // The same recording under another name becomes a third name.
        place.keep("b.wav", b"tone");
        assert_eq!(place.names(&place.path("a.wav")), 3);
        place.keep_again("b.wav");
        assert_eq!(place.names(&place.path("a.wav")), 3);
        let to = place.path("deep/er/c.wav");
        place.cache.place(&digest, &to).expect("places");
        assert_eq!(fs::read(&to).expect("there"), b"tone");
        assert_eq!(place.names(&to), 4);
        let rights = fs::metadata(&to).expect("there").permissions();
        assert!(rights.readonly());
    }

    #[test]
    fn a_copy_stands_alone_and_replaces_what_was_there() {
        let place = Place::new(&[Link::Copy]);
        let digest = place.keep("a.wav", b"tone");
        fs::write(place.path("a.wav"), b"other").expect("the workspace stays writable");
        place
            .cache
            .place(&digest, &place.path("a.wav"))
            .expect("places");
        assert_eq!(fs::read(place.path("a.wav")).expect("there"), b"tone");
        let left = fs::read_dir(place.folder.path()).expect("lists").count();
        assert_eq!(left, 2, "no half-written file is left");
    }

    #[test]
    fn a_damaged_object_goes_nowhere_and_a_sound_file_repairs_it() {
        for link in [Link::Copy, Link::Hardlink] {
            let place = Place::new(&[link]);
            let digest = place.keep("a.wav", b"tone");
            let object = place.cache.path(&digest);
            fs::remove_file(&object).expect("removes");
            fs::write(&object, b"tune").expect("writes");
            let refused = place.cache.place(&digest, &place.path("b.wav"));
            assert!(matches!(refused, Err(StoreError::DamagedArtifact { .. })));
            assert!(!place.path("b.wav").exists());
            assert_ne!(place.cache.found(&digest).expect("reads"), Some(digest));
            fs::remove_file(&object).expect("removes");
            assert_eq!(place.cache.found(&digest).expect("reads"), None);
            place.keep_again("a.wav");
            assert_eq!(place.cache.found(&digest).expect("reads"), Some(digest));
        }
    }

    #[test]
    fn a_damaged_object_of_the_right_length_is_not_kept() {
        let long = [7; 200_000];
        for link in [Link::Copy, Link::Hardlink] {
            for bytes in [&b"tone"[..], &long] {
                let place = Place::new(&[link]);
                let digest = place.keep("a.wav", bytes);
                let object = place.cache.path(&digest);
                let damage = || {
                    let mut other = bytes.to_vec();
                    *other.last_mut().expect("some") ^= 1;
                    fs::remove_file(&object).expect("removes");
                    fs::write(&object, other).expect("writes");
                    assert_ne!(place.cache.found(&digest).expect("reads"), Some(digest));
                };
                damage();
                assert_eq!(place.cache.keep(bytes).expect("keeps"), digest);
                assert_eq!(place.cache.found(&digest).expect("reads"), Some(digest));
                damage();
                assert_eq!(place.keep("b.wav", bytes), digest);
                assert_eq!(place.cache.found(&digest).expect("reads"), Some(digest));
            }
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_file_of_another_tool_stays_as_it_is() {
        use std::os::unix::fs::MetadataExt as _;
        for link in [Link::Copy, Link::Hardlink] {
            let place = Place::new(&[link]);
            let path = place.path("theirs.wav");
            fs::write(&path, b"tone").expect("writes");
            let about = || {
                let about = fs::metadata(&path).expect("there");
                (
                    about.ino(),
                    about.nlink(),
                    about.mode(),
                    about.mtime_nsec(),
                    about.ctime_nsec(),
                )
            };
            let before = about();
            for _ in 0..2 {
                let file = File::open(&path).expect("opens");
                let kept = place.cache.keep_file(&path, &file, b"tone", false);
                assert_eq!(kept.expect("keeps"), Digest::of(b"tone"));
                assert_eq!(about(), before);
            }
        }
    }

    #[test]
    fn what_is_not_finished_is_no_object() {
        let place = Place::new(&[]);
        let mut writer = place.cache.writer().expect("begins");
        writer.write_all(b"half").expect("writes");
        drop(writer);
        let mut writer = place.cache.writer().expect("begins");
        writer.write_all(b"other").expect("writes");
        let refused = writer.finish_as(&Digest::of(b"half"));
        assert!(matches!(refused, Err(StoreError::DamagedArtifact { .. })));
        assert_eq!(place.cache.list().expect("lists"), []);
        // A killed process cleans up after nothing; the next one that takes the lock does.
        fs::write(place.cache.part(), b"stray").expect("writes");
        let lock = place.cache.lock(false).expect("free");
        assert_eq!(
            fs::read_dir(place.path("cache/tmp"))
                .expect("lists")
                .count(),
            0
        );
        let second = Cache::open(&place.path("cache"), &[]);
        let busy = second.lock(false).expect_err("held");
        assert!(matches!(busy, StoreError::Busy { .. }), "{busy}");
        drop(lock);
        second.lock(false).expect("free again");
    }

    #[test]
    fn objects_are_listed_and_removed() {
        let place = Place::new(&[Link::Copy]);
        let kept = [place.keep("a", b"a"), place.keep("b", b"bb")];
        let mut expected = [(kept[0], 1), (kept[1], 2)];
        expected.sort_unstable();
        assert_eq!(place.cache.list().expect("lists"), expected);
        place.cache.remove(&kept[0]).expect("removes");
        place.cache.remove(&kept[0]).expect("is gone already");
        assert!(!place.cache.has(&kept[0]) && place.cache.has(&kept[1]));
    }
}
