//! Checkout: the workspace becomes what its pointers say.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tinyops_data::tree::{Content, Kept, TreeEntry};
use tinyops_store::cache::PART_PREFIX;
use tinyops_store::{Digest, DigestBuilder, StoreError};

use super::index::{IndexWriter, Noted};
use super::place::Tracked;
use super::scan::Difference;
use super::walk::Stat;
use super::{Step, VersionError, Versions};

/// What a checkout did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedOut {
    /// Tracked paths that were looked at.
    pub paths: Vec<String>,
    /// Files that were written.
    pub written: u64,
    /// Files that were removed, since the versions do not have them.
    pub removed: u64,
    /// Files that were as they should be.
    pub unchanged: u64,
    /// Files that the versions have and that were erased since: they stay away.
    pub erased: u64,
}

/// Examples that a refusal names.
const SHOWN: usize = 5;

/// What is done with a file of a version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// It lies there as it should.
    Leave,
    Write,
    /// It was erased.
    Omit,
}

/// What has to be done to one tracked path.
struct Plan {
    /// One for each row of the version.
    deeds: Vec<Deed>,
    removes: Vec<PathBuf>,
}

impl Versions {
    /// Brings tracked paths to the versions of their pointers: all without any given.
    ///
    /// What would be lost (a file that is kept nowhere, and is other than its version or not in it) stops it before
    /// anything is touched, unless `force` says that it may go.
    ///
    /// # Errors
    /// [`VersionError::Unsaved`], [`VersionError::NotCached`], or what the system says.
    pub fn checkout(
        &self,
        given: &[PathBuf],
        force: bool,
        step: Step<'_>,
    ) -> Result<CheckedOut, VersionError> {
        let selected = self.selected(given)?;
        // What changes from here on is read again, so that nothing is noted that nobody has seen.
        let now_ns = self.now_ns()?;
        let mut plans = Vec::with_capacity(selected.len());
        let (mut unsaved, mut unsaved_count) = (Vec::new(), 0);
        for tracked in &selected {
            let mut note = |path: &[u8]| {
                unsaved_count += 1;
                if unsaved.len() < SHOWN {
                    unsaved.push(tracked.file_name(path));
                }
            };
            plans.push(self.plan(tracked, force, &mut note)?);
        }
        if unsaved_count > 0 {
            return Err(VersionError::Unsaved {
                count: unsaved_count,
                examples: unsaved,
            });
        }
        let mut done = CheckedOut::default();
        for (tracked, plan) in selected.iter().zip(plans) {
            self.carry_out(tracked, &plan, now_ns, &mut done, step)?;
            done.paths.push(tracked.name());
        }
        Ok(done)
    }

    fn plan(
        &self,
        tracked: &Tracked,
        force: bool,
        unsaved: &mut dyn FnMut(&[u8]),
    ) -> Result<Plan, VersionError> {
        let not_cached = |count| VersionError::NotCached {
            path: tracked.name(),
            count,
        };
        let mut plan = Plan {
            deeds: Vec::new(),
            removes: Vec::new(),
        };
        let mut missing = 0;
        let forgotten = self.forgotten()?;
        let compared = self.compare(tracked, &mut |difference| {
            let found = match &difference {
                Difference::None(_) => None,
                Difference::Added(found) | Difference::Changed(found, _) => Some(*found),
                Difference::Deleted(_) => None,
            };
            if let Some(found) = found
                && !force
                && !self.is_kept(&found.noted.content)?
            {
                unsaved(found.path);
            }
            let is_erased = match &difference {
                Difference::Changed(_, entry) | Difference::Deleted(entry) => {
                    self.is_erased(&forgotten, &entry.content)?
                }
                Difference::None(_) | Difference::Added(_) => false,
            };
            if let Difference::Deleted(entry) = &difference
                && !force
                && !is_erased
                && self.is_hidden_and_other(tracked, entry)?
            {
                unsaved(&entry.path);
            }
            match difference {
                Difference::None(_) => plan.deeds.push(Deed::Leave),
                Difference::Added(found) => plan.removes.push(found.full.to_path_buf()),
                Difference::Changed(found, _) if is_erased => {
                    plan.removes.push(found.full.to_path_buf());
                    plan.deeds.push(Deed::Omit);
                }
                Difference::Deleted(_) if is_erased => plan.deeds.push(Deed::Omit),
                Difference::Changed(_, entry) | Difference::Deleted(entry) => {
                    plan.deeds.push(Deed::Write);
                    missing += self.missing_of(&entry.content)?;
                }
            }
            Ok(())
        });
        match compared {
            Err(VersionError::Store(StoreError::Missing { .. })) => Err(not_cached(1)),
            Err(error) => Err(error),
            Ok(()) if missing > 0 => Err(not_cached(missing)),
            Ok(()) => Ok(plan),
        }
    }

    /// Whether a file that is left out of versions lies where one of the version belongs, and is kept nowhere.
    fn is_hidden_and_other(
        &self,
        tracked: &Tracked,
        entry: &TreeEntry,
    ) -> Result<bool, VersionError> {
        let full = tracked.full(&entry.path)?;
        let lies_there = fs::symlink_metadata(&full).is_ok_and(|about| about.is_file());
        let content = match lies_there {
            true => self.held(&full)?,
            false => None,
        };
        match content {
            Some(content) => Ok(!self.is_kept(&content)?),
            None => Ok(false),
        }
    }

    /// Refuses a place that a link would lead elsewhere, which a walk does not see where the link is left out of versions.
    fn lies_in_folders(&self, tracked: &Tracked, full: &Path) -> Result<(), VersionError> {
        let above = full.ancestors().skip(1);
        for folder in above.take_while(|above| above.starts_with(&tracked.base)) {
            if folder.is_symlink() {
                return Err(VersionError::Link {
                    path: folder.display().to_string(),
                    why: "; what is tracked lies in folders",
                });
            }
        }
        Ok(())
    }

    /// Whether the cache has all of a file.
    fn is_kept(&self, content: &Content) -> Result<bool, VersionError> {
        Ok(self.missing_of(content)? == 0)
    }

    /// How many objects of a file the cache lacks.
    pub(super) fn missing_of(&self, content: &Content) -> Result<u64, VersionError> {
        if !self.cache.has(&content.digest) {
            return Ok(1);
        }
        if content.kept == Kept::File {
            return Ok(0);
        }
        let recipe = self.recipe(&content.digest)?;
        let lacks = |(digest, _): &&(Digest, u64)| !self.cache.has(digest);
        Ok(recipe.chunks.iter().filter(lacks).count() as u64)
    }

    fn carry_out(
        &self,
        tracked: &Tracked,
        plan: &Plan,
        now_ns: i64,
        done: &mut CheckedOut,
        step: Step<'_>,
    ) -> Result<(), VersionError> {
        // Before anything is written: a file may stand where a folder has to be.
        for path in &plan.removes {
            fs::remove_file(path).map_err(|error| VersionError::io("remove", path, error))?;
            let mut folder = path.parent();
            while let Some(above) = folder.filter(|above| above.starts_with(&tracked.base)) {
                if *above == tracked.base || fs::remove_dir(above).is_err() {
                    break;
                }
                folder = above.parent();
            }
            done.removed += 1;
        }
        let index_path = self.index_path(&tracked.path);
        let unwritten = |error| VersionError::io("write", &index_path, error);
        let mut index = IndexWriter::create(&index_path).map_err(unwritten)?;
        let mut wanted = self.wanted(tracked)?;
        let mut deeds = plan.deeds.iter();
        while let Some(entry) = wanted.read()? {
            let full = tracked.full(&entry.path)?;
            match deeds.next().copied().unwrap_or(Deed::Write) {
                Deed::Write => {
                    self.lies_in_folders(tracked, &full)?;
                    self.bring(tracked, &entry, &full)?;
                    done.written += 1;
                    step(done.written);
                }
                Deed::Leave => done.unchanged += 1,
                Deed::Omit => {
                    done.erased += 1;
                    continue;
                }
            }
            let about =
                fs::metadata(&full).map_err(|error| VersionError::io("look at", &full, error))?;
            let noted = Noted::at(entry.content, Stat::of(&about), now_ns);
            index.add(&entry.path, &noted).map_err(unwritten)?;
        }
        index.finish().map_err(unwritten)
    }

    fn bring(&self, tracked: &Tracked, entry: &TreeEntry, to: &Path) -> Result<(), VersionError> {
        match entry.content.kept {
            Kept::File => Ok(self.cache.place(&entry.content.digest, to)?),
            Kept::Chunks => self.assemble(tracked, entry, to),
        }
    }

    /// Puts a large file together of its pieces, each of which is checked, and the whole at the end.
    fn assemble(
        &self,
        tracked: &Tracked,
        entry: &TreeEntry,
        to: &Path,
    ) -> Result<(), VersionError> {
        let recipe = self.recipe(&entry.content.digest)?;
        let folder = to.parent().unwrap_or(Path::new("."));
        let part = folder.join(format!("{PART_PREFIX}{}", std::process::id()));
        let explain = |error| VersionError::io("write", to, error);
        fs::create_dir_all(folder).map_err(explain)?;
        let assembled = (|| {
            let mut file = fs::File::create(&part).map_err(explain)?;
            let mut whole = DigestBuilder::new();
            let mut piece = Vec::new();
            for (digest, _) in &recipe.chunks {
                piece.clear();
                io::Read::read_to_end(&mut self.cache.read(digest)?, &mut piece)
                    .map_err(explain)?;
                let found = Digest::of(&piece);
                if found != *digest {
                    return Err(VersionError::Store(StoreError::DamagedArtifact {
                        digest: *digest,
                        found,
                    }));
                }
                whole.update(&piece);
                file.write_all(&piece).map_err(explain)?;
            }
            if whole.finish() != recipe.whole || recipe.bytes() != entry.content.bytes {
                return Err(VersionError::Assembled(tracked.file_name(&entry.path)));
            }
            // As what is linked has it: the time says when it was kept.
            let kept = fs::metadata(self.cache.path(&entry.content.digest));
            let kept = kept.and_then(|about| about.modified()).map_err(explain)?;
            file.set_modified(kept).map_err(explain)?;
            fs::rename(&part, to).map_err(explain)
        })();
        if assembled.is_err() {
            let _ = fs::remove_file(&part);
        }
        assembled
    }
}
