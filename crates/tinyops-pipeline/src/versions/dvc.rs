//! A DVC repository's outputs as versions of ours.

use std::fs;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use md5::{Digest as _, Md5};
use tinyops_data::dvc::{DvcFile, DvcOutput, LIST_BYTES_MAX, read, read_list};
use tinyops_data::pointer::{Pointer, Target};
use tinyops_data::tree::{Content, TREE_HEADER, TreeEntry};

use super::place::os_path;
use super::scan::Reading;
use super::walk::{Found, Stat};
use super::{Step, VersionError, Versions};

/// What came of a DVC repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Its outputs that are versions now.
    pub outputs: Vec<ImportedOutput>,
    /// Its outputs that are in Git (`cache: false`), and stay there.
    pub in_git: Vec<String>,
    /// Its outputs that are no versions, and why.
    pub skipped: Vec<(String, String)>,
}

/// One output that is a version now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedOutput {
    /// From the project's folder on.
    pub path: String,
    /// The digest that names the version.
    pub version: String,
    /// DVC's digest of it.
    pub md5: String,
    /// Files of it.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// Whether its files were brought into the workspace, where nothing was.
    pub brought: bool,
}

/// A DVC repository on this machine.
struct Repository {
    root: PathBuf,
    /// Where objects may lie, the newest layout first.
    caches: Vec<PathBuf>,
    /// What is in Git there: outputs with `cache: false`, of which `dvc.lock` says no word.
    in_git: Vec<PathBuf>,
}

impl Versions {
    /// Makes versions of what a DVC repository tracks: its outputs by `*.dvc` and `dvc.lock`, at the same paths in the
    /// project. Each file is held against DVC's digest. Nothing of the repository is changed: bytes are shared by reflinks, or
    /// copied.
    ///
    /// # Errors
    /// [`VersionError`]; an output that cannot be imported is told in [`Imported::skipped`].
    pub fn import_dvc(&self, folder: &Path, step: Step<'_>) -> Result<Imported, VersionError> {
        let repository = Repository::open(folder)?;
        let mut imported = Imported::default();
        let mut seen = 0;
        for (path, output) in repository.outputs(&mut imported.skipped)? {
            let Ok(below) = path.strip_prefix(&repository.root) else {
                let why = "it lies outside of the repository".to_owned();
                imported.skipped.push((output.path, why));
                continue;
            };
            let name = below.display().to_string();
            if repository.in_git.iter().any(|kept| kept.starts_with(below)) {
                imported.in_git.push(name);
                continue;
            }
            match self.import_output(&repository, below, &output, &mut |count| step(seen + count)) {
                Ok(one) => {
                    seen += one.files;
                    imported.outputs.push(one);
                }
                Err(Skip::Output(why)) => imported.skipped.push((name, why)),
                Err(Skip::All(error)) => return Err(error),
            }
        }
        self.cache.sync();
        Ok(imported)
    }

    fn import_output(
        &self,
        repository: &Repository,
        below: &Path,
        output: &DvcOutput,
        step: &mut dyn FnMut(u64),
    ) -> Result<ImportedOutput, Skip> {
        let md5 = match &output.md5 {
            _ if !output.is_cached => return Err(Skip::Output("DVC does not keep it".to_owned())),
            None => return Err(Skip::Output("DVC has not made it yet".to_owned())),
            Some(md5) => md5,
        };
        let path = self.relative(&self.root.join(below))?;
        let base = self.base(&path)?;
        self.refuse_overlap(&path)?;
        let origin = Some(format!("dvc md5 {md5}"));
        let forgotten = self.forgotten()?;
        let keep = |below: &Path, md5: &str| {
            let content = self.import_file(repository, below, md5, output.is_legacy)?;
            match forgotten.is_refused(&content.digest) {
                false => Ok(content),
                true => Err(Skip::Output(format!(
                    "`{}` was erased: `.tinyopsforgotten` names it",
                    below.display()
                ))),
            }
        };
        let pointer = if md5.ends_with(".dir") {
            let list = repository.object(md5).ok_or_else(|| {
                Skip::Output(
                    "its list of files is not in DVC's cache: `dvc fetch` brings it".to_owned(),
                )
            })?;
            let mut bytes = Vec::new();
            fs::File::open(&list)
                .and_then(|file| file.take(LIST_BYTES_MAX).read_to_end(&mut bytes))
                .map_err(|error| VersionError::io("read", &list, error))?;
            let files = read_list(&bytes).map_err(|error| Skip::Output(error.to_string()))?;
            let mut tree = self.cache.writer().map_err(VersionError::from)?;
            let mut text = TREE_HEADER.to_owned();
            let unkept = |error| VersionError::io("write to", self.cache.root(), error);
            let (mut count, mut bytes) = (0, 0);
            for (path, md5) in files {
                let content = keep(&below.join(os_path(&path)?), &md5)?;
                TreeEntry { path, content }.write_to(&mut text);
                tree.write_all(text.as_bytes()).map_err(unkept)?;
                text.clear();
                count += 1;
                bytes += content.bytes;
                step(count);
            }
            tree.write_all(text.as_bytes()).map_err(unkept)?;
            Pointer {
                target: Target::Folder(tree.finish().map_err(VersionError::from)?),
                files: count,
                bytes,
                origin,
            }
        } else {
            let content = keep(below, md5)?;
            step(1);
            Pointer {
                origin,
                ..Pointer::to_file(content)
            }
        };
        self.cache.sync();
        let folder = base.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|error| VersionError::io("make", folder, error))?;
        self.keep_out_of_git(&base)?;
        self.point(&base, &pointer)?;
        // What lies there may hold changes; status tells them.
        let brought = fs::symlink_metadata(&base).is_err();
        if brought {
            self.checkout(&[base], false, &|_| {})?;
        }
        Ok(ImportedOutput {
            path: tinyops_data::tree::shown(&path).into_owned(),
            version: pointer.target.digest().to_string(),
            md5: md5.clone(),
            files: pointer.files,
            bytes: pointer.bytes,
            brought,
        })
    }

    /// Keeps a file that DVC's cache has, or the repository's workspace, if its digest is the one that DVC noted; `is_legacy`
    /// says that it may be that of a text.
    fn import_file(
        &self,
        repository: &Repository,
        below: &Path,
        md5: &str,
        is_legacy: bool,
    ) -> Result<Content, Skip> {
        let cached = repository.object(md5);
        let from = cached.unwrap_or_else(|| repository.root.join(below));
        let explain = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Skip::Output(format!(
                "`{}` is neither in DVC's cache nor in its workspace: `dvc fetch` brings it",
                below.display()
            )),
            _ => VersionError::io("read", &from, error).into(),
        };
        let mut file = fs::File::open(&from).map_err(explain)?;
        let [found, of_text] = digests(&mut file).map_err(explain)?;
        let noted = md5.to_ascii_lowercase();
        if noted != found && !(is_legacy && noted == of_text) {
            let path = below.display();
            return Err(Skip::Output(format!(
                "`{path}` is damaged: its MD5 is {found}, not {md5}"
            )));
        }
        let about = fs::symlink_metadata(&from).map_err(explain)?;
        let read = Found {
            path: from.file_name().unwrap_or_default().as_encoded_bytes(),
            full: &from,
            stat: Stat::of(&about),
            // Its bytes are taken, by a reflink where there are any; the file itself stays DVC's.
            is_own: false,
        };
        Ok(self.content(&read, Reading::Keep)?.0)
    }
}

/// The digests by which DVC may name a file: of its bytes, and, as before version 3, of a text's bytes with each CR LF taken
/// for LF. Both are the same of what is no text.
///
/// # Source
/// `file_md5` and `istextfile` of DVC 2: a text is what has no zero byte and few others than ASCII in its first 512, and a
/// CR and LF on both sides of a mebibyte stay two.
fn digests(file: &mut impl Read) -> io::Result<[String; 2]> {
    const BLOCK_BYTES: u64 = 1 << 20;
    let (mut plain, mut of_text) = (Md5::new(), Md5::new());
    let (mut block, mut lines) = (Vec::new(), Vec::new());
    let mut is_text = None;
    loop {
        block.clear();
        (&mut *file).take(BLOCK_BYTES).read_to_end(&mut block)?;
        if block.is_empty() {
            break;
        }
        plain.update(&block);
        if !*is_text.get_or_insert_with(|| is_text_to_dvc(&block[..block.len().min(512)])) {
            of_text.update(&block);
            continue;
        }
        lines.clear();
        for (at, byte) in block.iter().enumerate() {
            if *byte != b'\r' || block.get(at + 1) != Some(&b'\n') {
                lines.push(*byte);
            }
        }
        of_text.update(&lines);
    }
    Ok([plain, of_text].map(|hash| {
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }))
}

/// Whether DVC 2 takes a file for a text that begins so.
fn is_text_to_dvc(head: &[u8]) -> bool {
    let is_odd = |byte: &&u8| !matches!(byte, 32..127 | b'\n' | b'\r' | b'\t' | 8 | 12);
    let odd = head.iter().filter(is_odd).count();
    // At most three in ten.
    !head.contains(&0) && 10 * odd <= 3 * head.len()
}

/// Why an output is not imported, or none is.
enum Skip {
    Output(String),
    All(VersionError),
}

impl From<VersionError> for Skip {
    fn from(error: VersionError) -> Self {
        match error {
            // The output's own fault.
            VersionError::Outside(_) | VersionError::Path { .. } | VersionError::Overlap { .. } => {
                Skip::Output(error.to_string())
            }
            other => Skip::All(other),
        }
    }
}

impl Repository {
    fn open(folder: &Path) -> Result<Repository, VersionError> {
        let root = folder
            .canonicalize()
            .map_err(|error| VersionError::io("find", folder, error))?;
        let dvc = root.join(".dvc");
        if !dvc.is_dir() {
            return Err(VersionError::Path {
                path: folder.display().to_string(),
                why: "it is no DVC repository: it has no folder `.dvc`",
            });
        }
        let mut cache = dvc.join("cache");
        for name in ["config", "config.local"] {
            let text = fs::read_to_string(dvc.join(name)).unwrap_or_default();
            if let Some(dir) = cache_dir(&text) {
                // From the file's own folder on.
                cache = dvc.join(dir);
            }
        }
        Ok(Repository {
            in_git: super::git::kept_by_git(&root)?,
            root,
            caches: vec![cache.join("files").join("md5"), cache],
        })
    }

    fn object(&self, md5: &str) -> Option<PathBuf> {
        let (head, tail) = md5.split_at_checked(2)?;
        self.caches
            .iter()
            .map(|cache| cache.join(head).join(tail))
            .find(|path| path.is_file())
    }

    /// All outputs with their places, sorted; a file that is none of DVC's is told.
    fn outputs(
        &self,
        skipped: &mut Vec<(String, String)>,
    ) -> Result<Vec<(PathBuf, DvcOutput)>, VersionError> {
        let mut outputs = Vec::new();
        let walk = WalkBuilder::new(&self.root)
            .ignore(false)
            .git_global(false)
            .require_git(false)
            .build();
        for entry in walk {
            let entry = entry.map_err(|error| VersionError::walk(&self.root, &error))?;
            let path = entry.path();
            let is_own = path.extension().is_some_and(|end| end == "dvc")
                || path.file_name().is_some_and(|name| name == "dvc.lock");
            if !is_own || !path.is_file() {
                continue;
            }
            let text =
                fs::read_to_string(path).map_err(|error| VersionError::io("read", path, error))?;
            match read(&text) {
                Ok(DvcFile {
                    folder,
                    outputs: found,
                }) => {
                    let from = path.parent().unwrap_or(&self.root).join(folder);
                    let place = |output: DvcOutput| {
                        (super::place::without_dots(&from.join(&output.path)), output)
                    };
                    outputs.extend(found.into_iter().map(place));
                }
                Err(error) => skipped.push((path.display().to_string(), error.to_string())),
            }
        }
        outputs.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(outputs)
    }
}

/// `dir` under `[cache]`.
fn cache_dir(config: &str) -> Option<String> {
    let mut is_cache = false;
    let mut found = None;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            is_cache = line == "[cache]";
        } else if is_cache
            && let Some(("dir", value)) = line
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
        {
            found = Some(value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests as DVC's own rule gives them, written down in Python.
    #[test]
    fn digests_of_texts_are_those_of_dvc_2() {
        let mut split = vec![b'a'; (1 << 20) - 1];
        split.extend_from_slice(b"\r\nb\r\n");
        for (bytes, plain, of_text) in [
            (
                &b"x\r\n1\r\n2\n3\r"[..],
                "926d5aa12943109f5b9be0b022283581",
                "61d38cf7b5b39cac901f0da0838748e6",
            ),
            (
                b"caf\xe9, na\xefve\r\n",
                "4deafd60b193a325b66cf46ee27ada68",
                "7db926e96718772ac5c7c4e768571b54",
            ),
            (
                &split,
                "e0bc301cdd0940f2de68d786f8e52418",
                "deb8178cc400550795d42d701b97846d",
            ),
            // A zero byte, and too many letters that are not ASCII.
            (
                b"x\r\n\0\r\n",
                "462901d6729f6544d075a56e53dd2a76",
                "462901d6729f6544d075a56e53dd2a76",
            ),
            (
                b"\xe4\xf6\xfc\r\n\xe4\xf6\xfc\r\n\xe4\xf6\xfc\r\n",
                "6c68c2a9a817c07840576fb4af2f0abb",
                "6c68c2a9a817c07840576fb4af2f0abb",
            ),
            (
                b"",
                "d41d8cd98f00b204e9800998ecf8427e",
                "d41d8cd98f00b204e9800998ecf8427e",
            ),
        ] {
            let found = digests(&mut &bytes[..]).expect("reads");
            assert_eq!(found, [plain, of_text]);
        }
    }
}
