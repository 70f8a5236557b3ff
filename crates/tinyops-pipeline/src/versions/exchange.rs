//! Push and pull: objects to and from where others have them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tinyops_data::pointer::Target;
use tinyops_data::tree::{Content, Kept};
use tinyops_store::remote::Remote;
use tinyops_store::{Digest, StoreError};

use super::place::Tracked;
use super::{Step, VersionError, Versions};

/// What a push did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Tracked paths that are on the remote now.
    pub paths: Vec<String>,
    /// Objects that were brought there.
    pub pushed: u64,
    /// Objects that were there.
    pub present: u64,
    /// Files of the versions that were erased: they stay away.
    pub erased: u64,
}

/// What a pull did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Tracked paths that the cache has whole now.
    pub paths: Vec<String>,
    /// Objects that were brought from there.
    pub pulled: u64,
    /// Their length.
    pub pulled_bytes: u64,
    /// Objects that were in the cache.
    pub present: u64,
    /// Objects of the cache that were damaged and have been replaced.
    pub repaired: Vec<String>,
    /// Files of the versions that were erased: they stay away.
    pub erased: u64,
}

/// From so many objects on the remote is asked once for all that it has.
const LIST_FROM: usize = 200;
/// Files that a refusal names.
const SHOWN: usize = 5;

impl Versions {
    /// Brings what the remote lacks of tracked paths there: all without any given.
    ///
    /// A list comes after what it names, so a version whose list is there is there whole, and what was brought before a
    /// push broke off is not brought again.
    ///
    /// # Errors
    /// [`VersionError::NotCached`], or what the remote says.
    pub fn push(
        &self,
        given: &[PathBuf],
        remote: &Remote,
        step: Step<'_>,
    ) -> Result<Pushed, VersionError> {
        let mut done = Pushed::default();
        let mut there: Option<BTreeSet<Digest>> = None;
        for tracked in self.selected(given)? {
            let digest = tracked.pointer.target.digest();
            if !remote.has(&digest)? {
                let ([files, lists], erased) = self.objects_of(&tracked)?;
                done.erased += erased;
                if files.len() >= LIST_FROM && there.is_none() && remote.lanes() > 1 {
                    there = Some(remote.list()?.into_iter().collect());
                }
                for objects in [files, lists] {
                    let brought = AtomicU64::new(0);
                    let present = AtomicU64::new(0);
                    in_lanes(remote.lanes(), &objects, &|digest: &Digest| {
                        let has = match &there {
                            Some(there) => there.contains(digest),
                            None => remote.has(digest)?,
                        };
                        if has {
                            present.fetch_add(1, Ordering::Relaxed);
                        } else {
                            remote.push(&self.cache, digest)?;
                            brought.fetch_add(1, Ordering::Relaxed);
                        }
                        step(brought.load(Ordering::Relaxed) + present.load(Ordering::Relaxed));
                        Ok(())
                    })?;
                    done.pushed += brought.into_inner();
                    done.present += present.into_inner();
                }
                // The last of all: it says that the rest is there.
                if matches!(tracked.pointer.target, Target::Folder(_)) {
                    remote.push(&self.cache, &digest)?;
                    done.pushed += 1;
                }
            } else {
                done.present += 1;
            }
            self.note_pushed(remote.url(), &digest);
            done.paths.push(tracked.name());
        }
        Ok(done)
    }

    /// Brings what the cache lacks of tracked paths from the remote: all without any given. With `repair`, what it has is
    /// read, and what is damaged is brought again.
    ///
    /// # Errors
    /// [`VersionError::Lost`] with files whose objects are nowhere, after all others were brought; or what the remote says.
    pub fn pull(
        &self,
        given: &[PathBuf],
        remote: &Remote,
        repair: bool,
        step: Step<'_>,
    ) -> Result<Pulled, VersionError> {
        let done = Mutex::new(Pulled::default());
        let lost: Mutex<(u64, Vec<String>)> = Mutex::default();
        let seen = AtomicU64::new(0);
        let forgotten = self.forgotten()?;
        let bring = |digest: &Digest, name: &str| -> Result<bool, StoreError> {
            step(seen.fetch_add(1, Ordering::Relaxed) + 1);
            let mut is_damaged = false;
            let is_there = match repair {
                false => self.cache.has(digest),
                true => {
                    let found = self.cache.found(digest)?;
                    is_damaged = found.is_some_and(|found| found != *digest);
                    found == Some(*digest)
                }
            };
            let told = || done.lock().expect("nobody panics with it");
            if is_there {
                told().present += 1;
                return Ok(true);
            }
            match remote.pull(&self.cache, digest) {
                Ok(bytes) => {
                    let mut told = told();
                    told.pulled += 1;
                    told.pulled_bytes += bytes;
                    if is_damaged {
                        told.repaired.push(digest.to_string());
                    }
                    Ok(true)
                }
                Err(StoreError::Missing {
                    entity: "object", ..
                }) => {
                    if forgotten.is_gone(digest) {
                        done.lock().expect("nobody panics with it").erased += 1;
                        return Ok(false);
                    }
                    let mut lost = lost.lock().expect("nobody panics with it");
                    lost.0 += 1;
                    if lost.1.len() < SHOWN {
                        lost.1.push(name.to_owned());
                    }
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        };
        for tracked in self.selected(given)? {
            let name = tracked.name();
            if matches!(tracked.pointer.target, Target::Folder(digest) if !bring(&digest, &name)?) {
                continue;
            }
            let mut wanted = self.wanted(&tracked)?;
            let mut block: Vec<(Content, String)> = Vec::new();
            loop {
                let entry = wanted.read()?;
                let is_end = entry.is_none();
                match entry {
                    Some(entry) if forgotten.is_refused(&entry.content.digest) => {
                        done.lock().expect("nobody panics with it").erased += 1;
                    }
                    Some(entry) => block.push((entry.content, tracked.file_name(&entry.path))),
                    None => {}
                }
                if is_end || block.len() >= 4096 {
                    in_lanes(remote.lanes(), &block, &|(content, name)| {
                        if !bring(&content.digest, name)? || content.kept == Kept::File {
                            return Ok(());
                        }
                        for (digest, _) in self.recipe(&content.digest)?.chunks {
                            bring(&digest, name)?;
                        }
                        Ok(())
                    })?;
                    block.clear();
                }
                if is_end {
                    break;
                }
            }
            self.note_pushed(remote.url(), &tracked.pointer.target.digest());
            done.lock().expect("nobody panics with it").paths.push(name);
        }
        self.cache.sync();
        match lost.into_inner().expect("nobody panics with it") {
            (0, _) => Ok(done.into_inner().expect("nobody panics with it")),
            (count, examples) => Err(VersionError::Lost { count, examples }),
        }
    }

    /// The objects of a tracked path: first those that name no others, then the lists of pieces. Besides, how many of its
    /// files were erased.
    fn objects_of(&self, tracked: &Tracked) -> Result<([Vec<Digest>; 2], u64), VersionError> {
        let (mut files, mut lists) = (BTreeSet::new(), BTreeSet::new());
        let (forgotten, mut erased) = (self.forgotten()?, 0);
        let mut missing = 0;
        let not_cached = |count| VersionError::NotCached {
            path: tracked.name(),
            count,
        };
        let mut wanted = match self.wanted(tracked) {
            Err(VersionError::Store(StoreError::Missing { .. })) => return Err(not_cached(1)),
            wanted => wanted?,
        };
        while let Some(entry) = wanted.read()? {
            if self.is_erased(&forgotten, &entry.content)? {
                erased += 1;
                continue;
            }
            let lacking = self.missing_of(&entry.content)?;
            missing += lacking;
            if lacking > 0 {
                continue;
            }
            match entry.content.kept {
                Kept::File => {
                    files.insert(entry.content.digest);
                }
                Kept::Chunks => {
                    let recipe = self.recipe(&entry.content.digest)?;
                    files.extend(recipe.chunks.into_iter().map(|(digest, _)| digest));
                    lists.insert(entry.content.digest);
                }
            }
        }
        match missing {
            0 => Ok(([files, lists].map(|set| set.into_iter().collect()), erased)),
            count => Err(not_cached(count)),
        }
    }

    fn pushed_path(&self, url: &str) -> PathBuf {
        let mut name = Digest::of(url.as_bytes()).to_string();
        name.truncate(32);
        self.cache.root().join("pushed").join(name)
    }

    /// The versions that a remote is known to have whole.
    pub(super) fn pushed(&self, url: &str) -> BTreeSet<Digest> {
        let text = fs::read_to_string(self.pushed_path(url)).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Notes that a remote has a version whole; it is only told by status, so that nothing depends on it.
    fn note_pushed(&self, url: &str, digest: &Digest) {
        if self.pushed(url).contains(digest) {
            return;
        }
        let path = self.pushed_path(url);
        let noted = fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| {
            let mut file = fs::File::options().create(true).append(true).open(&path)?;
            writeln!(file, "{digest}")
        });
        if let Err(error) = noted {
            tracing::debug!(%error, "that it was pushed is not noted");
        }
    }
}

/// Does something with each item, several at once; the first error ends it.
fn in_lanes<T: Sync>(
    lanes: usize,
    items: &[T],
    act: &(dyn Fn(&T) -> Result<(), VersionError> + Sync),
) -> Result<(), VersionError> {
    if lanes < 2 || items.len() < 2 {
        return items.iter().try_for_each(act);
    }
    let next = AtomicU64::new(0);
    let failed: Mutex<Option<VersionError>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..lanes.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let item = usize::try_from(index)
                        .ok()
                        .and_then(|index| items.get(index));
                    let Some(item) = item else {
                        return;
                    };
                    if let Err(error) = act(item) {
                        failed
                            .lock()
                            .expect("nobody panics with it")
                            .get_or_insert(error);
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
    match failed.into_inner().expect("nobody panics with it") {
        None => Ok(()),
        Some(error) => Err(error),
    }
}
