//! What the peers make of two files: detools in every mode, and xz of the new one alone.

use crate::bench_device::grouped;
use crate::peer;
use crate::steps::root;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// From PyPI.
const DETOOLS: &str = "detools==0.53.0";

/// A Python that has detools.
pub(super) struct Peers {
    python: PathBuf,
}

/// Bytes of each mode's patch, and of xz.
pub(super) struct Sizes(BTreeMap<String, u64>);

impl Peers {
    /// Finds it, or installs it into an environment of our own.
    pub(super) fn find() -> Result<Peers, String> {
        let python = peer::python(&folder(), &[DETOOLS], "detools")?;
        Ok(Peers { python })
    }

    /// Sizes of the patches from one file to another.
    pub(super) fn sizes(&self, old: &[u8], new: &[u8]) -> Result<Sizes, String> {
        let paths = ["old", "new"].map(|name| folder().join(name));
        for (path, bytes) in paths.iter().zip([old, new]) {
            std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let output = Command::new(&self.python)
            .arg(root().join("xtask/peers/detools_sizes.py"))
            .args(&paths)
            .stderr(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = |line: &str| {
            let (name, bytes) = line.split_once(' ')?;
            Some((name.to_owned(), bytes.parse().ok()?))
        };
        let sizes: Option<BTreeMap<String, u64>> = text.lines().map(line).collect();
        let is_whole = |sizes: &BTreeMap<_, _>| sizes.contains_key("xz") && sizes.len() > 4;
        let sizes = sizes.filter(|sizes| output.status.success() && is_whole(sizes));
        sizes.map(Sizes).ok_or("detools told no sizes".to_owned())
    }

    /// Bytes of a file under xz.
    pub(super) fn xz(&self, file: &[u8]) -> Result<u64, String> {
        Ok(self.sizes(file, file)?.xz())
    }
}

impl Sizes {
    fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(u64::MAX)
    }

    pub(super) fn xz(&self) -> u64 {
        self.of("xz")
    }

    fn best_mode(&self) -> (&str, u64) {
        let modes = self.0.iter().filter(|(name, _)| *name != "xz");
        let least = modes.min_by_key(|(_, bytes)| **bytes);
        least.map_or(("none", u64::MAX), |(name, bytes)| (name, *bytes))
    }

    /// Bytes of the best mode of detools.
    pub(super) fn best(&self) -> u64 {
        self.best_mode().1
    }

    /// The modes that matter, for people.
    pub(super) fn told(&self) -> String {
        let (best, bytes) = self.best_mode();
        format!(
            "detools crle {}, heatshrink {}, lzma {}; best: {best} {}",
            grouped(self.of("sequential-crle")),
            grouped(self.of("sequential-heatshrink")),
            grouped(self.of("sequential-lzma")),
            grouped(bytes)
        )
    }
}

fn folder() -> PathBuf {
    root().join("target/bench-ship")
}
