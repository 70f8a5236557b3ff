//! Rules that no compiler holds: file length, room names, nothing left open, device crates without `std`.

use crate::steps::{Answer, root};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file over this many lines has two subjects.
const LINES_MAX: usize = 800;

/// Module names that say nothing about what lives there.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "types", "misc"];

/// Crates that run on the device: no `std`, no allocator.
const DEVICE_CRATES: [&str; 5] = [
    "tinyops-dsp",
    "tinyops-nn",
    "tinyops-sketch",
    "tinyops-wire",
    "tinyops-device",
];

/// Fails with every breach of a house rule.
pub(crate) fn check() -> Answer {
    let mut faults = Vec::new();
    let mut sources = BTreeMap::new();
    for path in tracked()? {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            continue; // Not text, or deleted in the working tree.
        };
        if is_source(&path) {
            faults.extend(source_faults(&path, &text));
        }
        faults.extend(machine_paths(&path, &text));
        if path.extension().is_some_and(|end| end == "rs") {
            sources.insert(path, text);
        }
    }
    faults.extend(strays(&sources));
    for name in DEVICE_CRATES {
        faults.extend(device_faults(name));
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(faults.join("\n  "))
}

fn tracked() -> Result<Vec<PathBuf>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot start git: {error}"))?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect())
}

fn is_source(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let generated = path.components().any(|part| {
        let part = part.as_os_str();
        part == "testdata" || part == "generated"
    });
    matches!(extension, Some("rs" | "c" | "h" | "js" | "ts")) && !generated
}

fn source_faults(path: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let shown = path.display();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        faults.push(format!("{shown} has {lines} lines: split it by subject"));
    }
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) {
        faults.push(format!("{shown}: name the file after what it is"));
    }
    // Spelled in two halves, so that this file does not find itself.
    let open = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ig", "nore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    for (index, line) in text.lines().enumerate() {
        for word in open.iter().filter(|word| line.contains(**word)) {
            faults.push(format!("{shown}:{}: `{word}` is left open", index + 1));
        }
    }
    faults
}

/// Modules that no file names: nothing compiles them, so nothing else finds them.
fn strays(sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    // A file that is a program, a library or a test of its own.
    let is_root = |path: &Path| {
        let folder = path.parent().and_then(Path::file_name);
        let roots = ["bin", "tests", "examples", "benches", "targets"];
        let is_named = folder.is_some_and(|name| roots.iter().any(|root| name == *root));
        let stem = path.file_stem().unwrap_or_default();
        is_named || ["lib", "main", "build"].iter().any(|root| stem == *root)
    };
    let is_declared = |path: &Path| {
        // `a/b/mod.rs` is the module `b` of the folder `a`.
        let module = match path.file_stem().is_some_and(|stem| stem == "mod") {
            true => path.parent().unwrap_or(path).to_owned(),
            false => path.with_extension(""),
        };
        let (Some(folder), Some(name)) = (module.parent(), module.file_name()) else {
            return false;
        };
        let declared = format!("mod {};", name.to_string_lossy());
        let heads = ["mod.rs", "lib.rs", "main.rs"].map(|head| folder.join(head));
        let mut heads = heads.into_iter().chain([folder.with_extension("rs")]);
        let says = |text: &String| text.lines().any(|line| line.ends_with(&declared));
        let by_path = format!(
            "{}\"]",
            path.file_name().unwrap_or_default().to_string_lossy()
        );
        heads.any(|head| sources.get(&head).is_some_and(says))
            || sources.values().any(|text| {
                let mut lines = text.lines().map(str::trim_start);
                lines.any(|line| line.starts_with("#[path") && line.ends_with(&by_path))
            })
    };
    let strays = sources
        .keys()
        .filter(|path| !is_root(path) && !is_declared(path));
    strays
        .map(|path| format!("{}: no file has it as a module", path.display()))
        .collect()
}

fn machine_paths(path: &Path, text: &str) -> Vec<String> {
    let starts = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
    ];
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for start in starts {
            let bare = line.find(start).is_some_and(|at| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.' || c == '-')
            });
            if bare {
                faults.push(format!(
                    "{}:{}: a path of one machine",
                    path.display(),
                    index + 1
                ));
            }
        }
    }
    faults
}

fn device_faults(name: &str) -> Vec<String> {
    let library = root().join("crates").join(name).join("src/lib.rs");
    let text = std::fs::read_to_string(&library).unwrap_or_default();
    let mut faults = Vec::new();
    if !text.contains("no_std)]") && !text.contains("#![no_std]") {
        faults.push(format!("crates/{name}: a device crate is `no_std`"));
    }
    let manifest = root().join("crates").join(name).join("Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap_or_default();
    if manifest
        .lines()
        .any(|line| line.trim_start().starts_with("std ="))
    {
        faults.push(format!(
            "crates/{name}: a device crate has no `std` feature"
        ));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_nobody_names_is_a_stray() {
        let sources = [
            ("a/src/lib.rs", "mod b;\npub(crate) mod c;"),
            ("a/src/b.rs", "mod inner;"),
            ("a/src/b/inner.rs", ""),
            ("a/src/b/lost.rs", ""),
            ("a/src/c/mod.rs", "#[path = \"../d.rs\"]\nmod other;"),
            ("a/src/d.rs", ""),
            ("a/src/bin/tool.rs", ""),
            ("a/tests/it/main.rs", "mod e;"),
            ("a/tests/it/e.rs", ""),
            ("a/tests/it/b.rs", ""),
        ];
        let sources = sources.map(|(path, text)| (PathBuf::from(path), text.to_owned()));
        assert_eq!(
            strays(&sources.into()),
            [
                "a/src/b/lost.rs: no file has it as a module",
                "a/tests/it/b.rs: no file has it as a module"
            ]
        );
    }

    #[test]
    fn a_long_file_is_named() {
        let text = "x\n".repeat(LINES_MAX + 1);
        let faults = source_faults(Path::new("a.rs"), &text);
        assert_eq!(faults, ["a.rs has 801 lines: split it by subject"]);
    }

    #[test]
    fn a_path_of_one_machine_is_named_and_an_address_is_not() {
        let own = concat!("see /ho", "me/someone/x");
        assert_eq!(machine_paths(Path::new("a.md"), own).len(), 1);
        let url = concat!("https://example.org/ho", "me/x");
        assert!(machine_paths(Path::new("a.md"), url).is_empty());
    }
}
