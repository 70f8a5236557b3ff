//! Forget: what versions keep of files that are erased leaves the cache and the remotes.
//!
//! Meant is what any version that is known here holds at the path of an erased file, and the same bytes wherever they lie,
//! unless a file that stays has them, too. Of a long recording the pieces go that no other file shares.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tinyops_data::pointer::{Pointer, Target};
use tinyops_data::tree::{Content, Kept, TREE_HEADER, TreeEntry, shown};
use tinyops_store::remote::Remote;
use tinyops_store::{Digest, StoreError};

use super::collect::Needed;
use super::place::pointer_beside;
use super::scan::Reading;
use super::walk::{Found, Stat};
use super::{SourceVersion, VersionError, Versions, git};

/// What versions keep of files that are to be erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Tracked paths of the workspace whose versions hold such files: they get one without them.
    pub paths: Vec<String>,
    /// Digests that name versions with such files.
    pub versions: BTreeSet<String>,
    /// Objects that nothing but such files needs.
    pub objects: BTreeSet<Digest>,
    /// How many of the objects the cache has.
    pub cached: u64,
    /// Their length.
    pub cached_bytes: u64,
    /// What may hold such files, too: versions whose lists the cache lacks, by their digests, and pointers that cannot be
    /// read, by their names.
    pub unknown: Vec<String>,
    /// Those of the objects that are whole files, or lists of pieces, with which it is.
    files: BTreeMap<Digest, Kept>,
    /// The same as `paths`, as the system has them.
    renewed: BTreeSet<Vec<u8>>,
    /// Where the files lie, from the project on.
    erased: BTreeSet<Vec<u8>>,
    /// Lists that the cache lacks, which a remote may have.
    lists: BTreeSet<Digest>,
}

impl Traces {
    /// Whether versions keep nothing of the files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.objects.is_empty()
    }

    /// In the order in which they may go: while a piece is there, the list that names it is.
    fn in_order(&self) -> impl Iterator<Item = &Digest> {
        let is_list = |digest: &&Digest| self.files.get(*digest) == Some(&Kept::Chunks);
        let others = self.objects.iter().filter(move |digest| !is_list(digest));
        others.chain(self.objects.iter().filter(is_list))
    }

    /// Whether a version has a file no more.
    fn takes(&self, path: &[u8], content: &Content) -> bool {
        self.erased.contains(path) || self.files.contains_key(&content.digest)
    }
}

/// What is done with each file of a version: its path from the project on, where that is known, and what it holds.
type Visit<'a> = &'a mut dyn FnMut(Option<&[u8]>, Content) -> Result<(), VersionError>;

/// One version, with the path that it is of where that is known.
struct Version {
    path: Option<Vec<u8>>,
    target: Target,
    bytes: u64,
    is_here: bool,
}

impl Versions {
    /// Whether anything was ever kept: there is a cache, or a pointer in the workspace or in what Git has.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn keep_something(&self) -> Result<bool, VersionError> {
        if self.cache.root().is_dir() {
            return Ok(true);
        }
        let (here, unread) = self.pointers_anywhere()?;
        if !here.is_empty() || !unread.is_empty() {
            return Ok(true);
        }
        if !git::is_repository(&self.root) {
            return Ok(false);
        }
        let (of_git, unread) = git::pointers_everywhere(&self.root, true)?;
        Ok(!of_git.is_empty() || !unread.is_empty())
    }

    /// Finds what versions keep of these files of the workspace, tracked there or not; nothing is changed. `pinned` are
    /// versions that models were made from. Lists that the cache lacks are brought from `remotes`: with any, the caller
    /// holds the lock.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn traces(
        &self,
        files: &BTreeSet<PathBuf>,
        pinned: &[SourceVersion],
        remotes: &[Remote],
    ) -> Result<Traces, VersionError> {
        loop {
            let traces = self.traces_here(files, pinned)?;
            let mut has_come = false;
            for (digest, remote) in traces
                .lists
                .iter()
                .flat_map(|digest| remotes.iter().map(move |remote| (digest, remote)))
            {
                match remote.pull(&self.cache, digest) {
                    Ok(_) => has_come = true,
                    Err(StoreError::Missing { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // A list of files names lists of pieces, which may be missing as well.
            if !has_come {
                return Ok(traces);
            }
        }
    }

    fn traces_here(
        &self,
        files: &BTreeSet<PathBuf>,
        pinned: &[SourceVersion],
    ) -> Result<Traces, VersionError> {
        let mut traces = Traces::default();
        // What is erased: whole paths from the project on, and what lies there now.
        let mut contents = BTreeSet::new();
        for file in files {
            let Ok(path) = self.relative(file) else {
                continue; // It lies outside of the project.
            };
            contents.extend(self.held(file)?.map(|content| content.digest));
            traces.erased.insert(path);
        }
        let forgotten = self.forgotten()?;
        let all = self.all_versions(pinned, &mut traces)?;
        // Bytes that a file of the workspace has that stays are not only of who is erased.
        let mut staying = BTreeSet::new();
        for version in all.iter().filter(|version| version.is_here) {
            let erased = &traces.erased;
            let lists = &mut traces.lists;
            self.entries(version, lists, &mut |path, content| {
                if path.is_some_and(|path| !erased.contains(path)) {
                    staying.insert(content.digest);
                }
                Ok(())
            })?;
        }
        // Also what was noted as erased before, by a call that was cut off.
        let mut erased = Needed::default();
        let mut others = Needed::besides(forgotten.clone());
        let mut candidates = BTreeMap::new();
        for version in &all {
            let mut has_some = false;
            let (paths, lists) = (&traces.erased, &mut traces.lists);
            self.entries(version, lists, &mut |path, content| {
                let is_erased = path.is_some_and(|path| paths.contains(path))
                    || contents.contains(&content.digest) && !staying.contains(&content.digest);
                has_some |= is_erased;
                match is_erased {
                    true => {
                        candidates.insert(content.digest, content.kept);
                        self.need_content(content.kept, &content.digest, &mut erased)
                    }
                    false => self.need_content(content.kept, &content.digest, &mut others),
                }
            })?;
            if !has_some {
                continue;
            }
            traces.versions.insert(version.target.digest().to_string());
            if let Some(path) = version.path.as_ref().filter(|_| version.is_here) {
                traces.paths.push(shown(path).into_owned());
                traces.renewed.insert(path.clone());
            }
        }
        let objects = erased.objects.difference(&others.objects);
        traces.objects = objects.copied().collect();
        candidates.retain(|digest, _| traces.objects.contains(digest));
        traces.files = candidates;
        for digest in &traces.objects {
            if let Ok(about) = fs::metadata(self.cache.path(digest)) {
                traces.cached += 1;
                traces.cached_bytes += about.len();
            }
        }
        // A list of pieces that is not here: whose pieces they are is not known either.
        erased.unknown.retain(|digest| !forgotten.is_gone(digest));
        traces.lists.extend(erased.unknown);
        traces.lists.extend(others.unknown);
        traces
            .unknown
            .extend(traces.lists.iter().map(Digest::to_string));
        traces.paths.sort();
        traces.paths.dedup();
        traces.unknown.sort();
        traces.unknown.dedup();
        Ok(traces)
    }

    /// What a file of the workspace holds; none if it is not there.
    pub(super) fn held(&self, file: &Path) -> Result<Option<Content>, VersionError> {
        let about = match fs::metadata(file) {
            Ok(about) if about.is_file() => about,
            _ => return Ok(None),
        };
        let found = Found {
            path: file.file_name().unwrap_or_default().as_encoded_bytes(),
            full: file,
            stat: Stat::of(&about),
            is_own: false,
        };
        Ok(Some(self.content(&found, Reading::Look)?.0))
    }

    /// Every version that is known: of pointers here and in Git's whole history, and those that models were made from.
    fn all_versions(
        &self,
        pinned: &[SourceVersion],
        traces: &mut Traces,
    ) -> Result<Vec<Version>, VersionError> {
        let (here, unread) = self.pointers_anywhere()?;
        traces.unknown.extend(unread);
        let mut all: Vec<Version> = here
            .into_iter()
            .map(|(path, pointer)| Version {
                path: Some(path),
                target: pointer.target,
                bytes: pointer.bytes,
                is_here: true,
            })
            .collect();
        if git::is_repository(&self.root) {
            let (of_git, unread) = git::pointers_everywhere(&self.root, true)?;
            traces.unknown.extend(unread);
            for of in of_git {
                let (target, bytes) = (of.pointer.target, of.pointer.bytes);
                let version = |path| Version {
                    path,
                    target,
                    bytes,
                    is_here: false,
                };
                // One of another folder of the repository may hold the same bytes.
                match of.paths.is_empty() {
                    true => all.push(version(None)),
                    false => all.extend(of.paths.into_iter().map(|path| version(Some(path)))),
                }
            }
        }
        let forgotten = self.forgotten()?;
        for source in pinned {
            let Ok(digest) = source.version.parse::<Digest>() else {
                continue;
            };
            match self.named(&digest)? {
                None if forgotten.is_gone(&digest) => {}
                Some(target) => all.push(Version {
                    path: Some(source.path.clone().into_bytes()),
                    target,
                    bytes: 0,
                    is_here: false,
                }),
                None => {
                    traces.lists.insert(digest);
                }
            }
        }
        Ok(all)
    }

    /// Visits the files of a version, each with its path from the project on; of one whose list is not here, none.
    fn entries(
        &self,
        version: &Version,
        unknown: &mut BTreeSet<Digest>,
        visit: Visit<'_>,
    ) -> Result<(), VersionError> {
        if let Target::File(kept, digest) = version.target {
            let content = Content {
                kept,
                digest,
                bytes: version.bytes,
            };
            return visit(version.path.as_deref(), content);
        }
        let mut wanted = match self.listed(&version.target) {
            Err(VersionError::Store(StoreError::Missing { .. })) => {
                unknown.insert(version.target.digest());
                return Ok(());
            }
            wanted => wanted?,
        };
        while let Some(entry) = wanted.read()? {
            let full = version.path.as_ref().map(|path| {
                let parts = [path.as_slice(), &entry.path];
                parts.join(&b'/')
            });
            visit(full.as_deref(), entry.content)?;
        }
        Ok(())
    }

    /// Removes what only erased files need, from the remotes first: while the cache has it, the same call finds it again.
    /// Before, it is noted that these objects are gone on purpose. The caller holds the lock.
    ///
    /// # Errors
    /// What cache or remote say; the same call again goes on where it stopped.
    pub fn forget(&self, traces: &Traces, remotes: &[Remote]) -> Result<(), VersionError> {
        self.note_forgotten(&traces.files.keys().copied().collect())?;
        for remote in remotes {
            for digest in traces.in_order() {
                remote.remove(digest)?;
            }
        }
        for digest in traces.in_order() {
            self.cache.remove(digest)?;
        }
        Ok(())
    }

    /// Writes versions of tracked paths without what is erased, and with all else that they have, whatever the workspace
    /// holds; one that has nothing left is tracked no longer. The caller holds the lock.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn renew(&self, traces: &Traces) -> Result<(), VersionError> {
        for path in &traces.renewed {
            let Some(tracked) = self.tracked(path)? else {
                continue;
            };
            let rest = match tracked.pointer.content() {
                Some(content) if traces.takes(path, &content) => None,
                Some(_) => continue,
                None => self.without(traces, path, &tracked.pointer.target)?,
            };
            match rest {
                Some(pointer) => {
                    self.point(&tracked.base, &pointer)?;
                }
                None => {
                    let pointer = pointer_beside(&tracked.base);
                    fs::remove_file(&pointer)
                        .map_err(|error| VersionError::io("remove", &pointer, error))?;
                }
            }
        }
        Ok(())
    }

    /// A version of a folder without what is erased; none if nothing is left.
    fn without(
        &self,
        traces: &Traces,
        path: &[u8],
        target: &Target,
    ) -> Result<Option<Pointer>, VersionError> {
        let cache_path = self.cache.root();
        let unkept = |error: io::Error| VersionError::io("write to", cache_path, error);
        let mut wanted = self.listed(target)?;
        let mut tree = self.cache.writer()?;
        tree.write_all(TREE_HEADER.as_bytes()).map_err(unkept)?;
        let (mut files, mut bytes, mut line) = (0, 0, String::new());
        while let Some(entry) = wanted.read()? {
            let full = [path, entry.path.as_slice()].join(&b'/');
            if traces.takes(&full, &entry.content) {
                continue;
            }
            line.clear();
            TreeEntry::write_to(&entry, &mut line);
            tree.write_all(line.as_bytes()).map_err(unkept)?;
            files += 1;
            bytes += entry.content.bytes;
        }
        if files == 0 {
            return Ok(None);
        }
        let target = Target::Folder(tree.finish()?);
        self.cache.sync();
        Ok(Some(Pointer {
            target,
            files,
            bytes,
            origin: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::LinkChoice;
    use super::super::collect::Removal;
    use super::*;

    /// A project whose one long recording is tracked at a path, with its other version, whose list differs, at another.
    struct Place {
        folder: tempfile::TempDir,
        versions: Versions,
    }

    const LONG: &str = "ana.raw";

    impl Place {
        fn new() -> Place {
            let folder = tempfile::tempdir().expect("a folder");
            let versions = Versions::open(folder.path(), LinkChoice::Copy).expect("opens");
            let place = Place { folder, versions };
            let mut state = 1u64;
            let mut bytes: Vec<u8> = Vec::new();
            while bytes.len() < 33 << 20 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                bytes.extend_from_slice(&state.to_be_bytes()[..6]);
            }
            fs::write(place.path(LONG), &bytes).expect("writes");
            fs::write(place.path("other.csv"), "x\n1\n").expect("writes");
            for name in [LONG, "other.csv"] {
                place
                    .versions
                    .add(&place.path(name), &|_| {})
                    .expect("adds");
            }
            // Reading it each time would take long; its path says what it is.
            fs::remove_file(place.path(LONG)).expect("removes");
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn traces(&self, remotes: &[Remote]) -> Traces {
            let files = BTreeSet::from([self.path(LONG)]);
            self.versions.traces(&files, &[], remotes).expect("looks")
        }

        /// Every file of a folder, to be brought back later.
        fn saved(&self) -> Vec<(PathBuf, PathBuf)> {
            let safe = tempfile::tempdir_in(self.folder.path().parent().expect("a folder"));
            let safe = safe.expect("a folder").keep();
            let objects = self.versions.cache.list().expect("lists");
            let paths = objects
                .iter()
                .map(|(digest, _)| self.versions.cache.path(digest));
            let pointer = self.path("ana.raw.tinyops");
            paths
                .chain([pointer])
                .enumerate()
                .map(|(at, path)| {
                    let copy = safe.join(at.to_string());
                    fs::copy(&path, &copy).expect("copies");
                    (path, copy)
                })
                .collect()
        }
    }

    #[test]
    fn an_erasure_that_is_cut_off_anywhere_is_ended_by_the_same_call() {
        let place = Place::new();
        let saved = place.saved();
        let whole = place.traces(&[]);
        let order: Vec<Digest> = whole.in_order().copied().collect();
        assert!(order.len() > 10, "{} objects", order.len());
        let list = order.last().expect("some");
        assert_eq!(
            whole.files.get(list),
            Some(&Kept::Chunks),
            "the list is last"
        );
        for (at, stuck) in order.iter().enumerate() {
            for (path, copy) in &saved {
                let _ = fs::remove_file(path);
                fs::hard_link(copy, path).expect("brings back");
            }
            for list in [".tinyopsforgotten", ".tinyops/cache/forgotten"] {
                let _ = fs::remove_file(place.path(list));
            }
            let traces = place.traces(&[]);
            // What cannot be removed stands for a kill right there.
            let path = place.versions.cache.path(stuck);
            fs::remove_file(&path).expect("removes");
            fs::create_dir(&path).expect("makes");
            place
                .versions
                .forget(&traces, &[])
                .expect_err("it is cut off");
            let left = order[at..].iter().filter(|digest| *digest != stuck);
            for digest in left {
                assert!(place.versions.cache.has(digest), "{at}: {digest}");
            }
            fs::remove_dir(&path).expect("removes");
            let (_, copy) = saved.iter().find(|(of, _)| *of == path).expect("saved");
            fs::hard_link(copy, &path).expect("brings back");
            let traces = place.traces(&[]);
            assert_eq!(traces.unknown, [""; 0], "{at}");
            place.versions.forget(&traces, &[]).expect("goes on");
            place.versions.renew(&traces).expect("renews");
            assert!(!place.path("ana.raw.tinyops").exists());
            assert_eq!(place.versions.objects().expect("lists"), 1, "{at}");
        }
        let safe = saved[0].1.parent().expect("a folder");
        fs::remove_dir_all(safe).expect("removes");
    }

    #[test]
    fn a_list_that_was_erased_is_missed_by_nobody() {
        let place = Place::new();
        let pointer = fs::read(place.path("ana.raw.tinyops")).expect("there");
        let remote = place.path("shared");
        let remote = Remote::open(&remote.display().to_string()).expect("opens");
        place.versions.push(&[], &remote, &|_| {}).expect("pushes");
        let remotes = [remote];
        let traces = place.traces(&remotes);
        place.versions.forget(&traces, &remotes).expect("forgets");
        assert_eq!(remotes[0].list().expect("lists").len(), 1);
        place.versions.renew(&traces).expect("renews");
        // A version of before, as a branch has it.
        fs::write(place.path("ana.raw.tinyops"), pointer).expect("writes");
        let collect = || place.versions.collect(&[], false, Removal::Known);
        let collected = collect().expect("collects");
        assert_eq!((collected.kept, collected.unneeded), (1, 0));
        assert_eq!(collected.unknown, [""; 0]);
        let done = place
            .versions
            .checkout(&[], false, &|_| {})
            .expect("brings");
        assert_eq!((done.erased, done.unchanged), (1, 1));
        let done = place.versions.pull(&[], &remotes[0], false, &|_| {});
        assert_eq!(done.expect("pulls").erased, 1);
        let done = place.versions.push(&[], &remotes[0], &|_| {});
        assert_eq!(done.expect("pushes").erased, 1);
        assert!(
            place
                .versions
                .verify(&[], &|_| {})
                .expect("reads")
                .is_sound()
        );
        // Also where the list that Git shares is that of before.
        fs::remove_file(place.path(".tinyopsforgotten")).expect("removes");
        collect().expect("collects");
        let done = place.versions.pull(&[], &remotes[0], false, &|_| {});
        assert_eq!(done.expect("pulls").erased, 1);
        // Without either it is lost.
        fs::remove_file(place.path(".tinyops/cache/forgotten")).expect("removes");
        assert!(matches!(collect(), Err(VersionError::Unknown(_))));
        assert!(matches!(
            place.versions.pull(&[], &remotes[0], false, &|_| {}),
            Err(VersionError::Lost { count: 1, .. })
        ));
    }
}
