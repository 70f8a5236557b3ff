//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the names of half-written files differ within this process.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Whoever the process's mask allows; a file that is there keeps its own rights.
    Usual,
    /// Its owner alone.
    Owner,
}

/// Writes `bytes` to a file that is there whole or not at all.
///
/// # Errors
/// As [`write_whole_with`].
pub fn write_whole(path: &Path, readers: Readers, bytes: &[u8]) -> io::Result<()> {
    write_whole_with(path, readers, |file| file.write_all(bytes))
}

/// Lets `fill` write beside the place, syncs, renames, syncs the folder: a crash or a full disk leaves the old
/// file, the new one, or the old one and a stray whose name begins with a dot, never half a file under the name.
///
/// A link is followed. What is no file (a terminal, a pipe) is written to as it is.
///
/// # Errors
/// What the system says; what was half-written is gone then.
pub fn write_whole_with(
    path: &Path,
    readers: Readers,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let there = fs::metadata(&path).ok();
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        return fill(&mut File::options().write(true).open(&path)?);
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let temporary = beside(folder, &path);
    let written = (|| {
        let mut file = create(&temporary, readers)?;
        if let (Readers::Usual, Some(there)) = (readers, &there) {
            file.set_permissions(there.permissions())?;
        }
        fill(&mut file)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // The disk may be full: give back what the half-written file holds.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes `bytes` to a file that was not there, whole or not at all.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], and then it is left as it is; what the system says, and then it is not there.
pub fn write_new(path: &Path, readers: Readers, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let temporary = beside(folder, path);
    let written = (|| {
        let mut file = create(&temporary, readers)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        move_new(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Gives a file of the same file system, whose bytes are on the disk, a name that nothing has.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], and then both are left as they are; what the system says.
pub fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    // A link is made only where nothing is. Some file systems have none.
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !to.exists() => {
            fs::rename(from, to)
        }
        Err(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(()) => fs::remove_file(from),
    }?;
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// A name of our own in the folder; hidden, so that nobody takes it for what it will be.
fn beside(folder: &Path, path: &Path) -> PathBuf {
    let count = TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(16).collect();
    folder.join(format!(".{short}.{}.{count}", std::process::id()))
}

fn create(path: &Path, readers: Readers) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = readers;
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("reads").file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).to_string_lossy().into())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_that_breaks_off_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("net.plan");
        write_whole(&path, Readers::Usual, b"old").expect("writes");
        let broken = write_whole_with(&path, Readers::Usual, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the power went"))
        });
        assert!(broken.is_err());
        assert_eq!(fs::read(&path).expect("there"), b"old");
        write_whole(&path, Readers::Usual, b"new").expect("writes");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        assert_eq!(names(folder.path()), ["net.plan"]);
    }

    #[test]
    fn a_new_file_is_new() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("root.key");
        write_new(&path, Readers::Owner, b"first").expect("writes");
        let again = write_new(&path, Readers::Owner, b"second").expect_err("it is there");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("there"), b"first");
        let nowhere = folder.path().join("no/folder/root.key");
        assert!(write_new(&nowhere, Readers::Owner, b"third").is_err());
        assert_eq!(names(folder.path()), ["root.key"]);
    }

    #[cfg(unix)]
    #[test]
    fn rights_links_and_pipes_are_kept() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("key"), folder.path().join("link"));
        let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        write_whole(&path, Readers::Owner, b"secret").expect("writes");
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
        symlink(&path, &link).expect("makes a link");
        write_whole(&link, Readers::Usual, b"other").expect("writes");
        assert!(link.is_symlink());
        assert_eq!(
            (fs::read(&path).expect("there"), mode()),
            (b"other".to_vec(), 0o640)
        );
        write_whole(Path::new("/dev/null"), Readers::Usual, b"gone").expect("writes");
        assert!(!fs::metadata("/dev/null").expect("there").is_file());
    }
}
