//! Files that are wrong in one way each: what is told of them, word for word.

use std::fmt::Write as _;
use std::path::PathBuf;

use tinyops_model::tflite::{ImportError, import};

fn folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/corpus/tflite-bad"
    ))
}

/// Everything that an importer says of a file.
fn told(bytes: &[u8]) -> Vec<String> {
    match import(bytes) {
        Ok(_) => vec!["is read".to_owned()],
        Err(ImportError::Unsupported(refusals)) => {
            refusals.iter().map(ToString::to_string).collect()
        }
        Err(ImportError::Graph(faults)) => faults.iter().map(ToString::to_string).collect(),
        Err(other) => vec![other.to_string()],
    }
}

#[test]
fn each_is_refused_with_its_reason() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the folder is in the repository")
        .map(|entry| entry.expect("reads").path())
        .filter(|path| path.extension().is_some_and(|end| end == "tflite"))
        .collect();
    files.sort();
    let mut all = String::new();
    for path in files {
        let bytes = std::fs::read(&path).expect("reads");
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        for line in told(&bytes) {
            let _ = writeln!(all, "{name}: {line}");
        }
    }
    let expected = std::fs::read_to_string(folder().join("refusals.txt")).unwrap_or_default();
    let pairs = all.lines().zip(expected.lines());
    for (actual, expected) in pairs {
        assert_eq!(actual, expected);
    }
    assert_eq!(all.lines().count(), expected.lines().count(), "{all}");
}

/// Whatever is cut away or set to an extreme: an answer, never a panic.
#[test]
fn parts_of_them_are_answered_too() {
    for entry in std::fs::read_dir(folder()).expect("the folder is in the repository") {
        let path = entry.expect("reads").path();
        let bytes = std::fs::read(&path).expect("reads");
        for len in (0..bytes.len()).step_by(bytes.len().div_ceil(60).max(1)) {
            let _ = import(&bytes[..len]);
        }
        for at in (8..bytes.len().min(4096)).step_by(3) {
            let mut changed = bytes.clone();
            let end = (at + 4).min(changed.len());
            for value in [0u32, 1, u32::MAX, 1 << 31] {
                changed[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                let _ = import(&changed);
            }
        }
    }
}
