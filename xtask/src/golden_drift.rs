//! Holds the drift detectors and two-sample statistics against those of established libraries:
//! `cargo xtask golden drift PATH…`.
//!
//! Reads any file in the formats of the project's `drift-golden` data folder: streams with what each of river's detectors
//! made of them, tests of KSWIN with what was drawn, pairs of samples with scipy's statistics, and what evidently and
//! nannyml make of the same pairs (which are read from `two_sample.json` beside such a file). Indices are held exactly,
//! statistics to 1e-9 relative, p values to 1e-6 (scipy's asymptotic
//! ones of the KS test to 5e-6); where a file rounds, to its digits.

mod streams;
mod two_sample;

use crate::tally::Tally;
use serde_json::Value;
use std::path::Path;

impl Tally {
    /// Counts a comparison that answers with what is wrong.
    fn check(&mut self, name: impl FnOnce() -> String, difference: Option<String>) {
        self.checked += 1;
        if let Some(difference) = difference {
            self.differences.push(format!("{}: {difference}", name()));
        }
    }

    /// Compares two numbers.
    fn number(&mut self, name: impl FnOnce() -> String, own: f64, golden: &Value, near: Near) {
        let difference = match golden.as_f64() {
            Some(golden) if near.is_met(own, golden) => None,
            Some(golden) => Some(format!("{own} instead of {golden}")),
            None => Some(format!("the file has {golden} where a number belongs")),
        };
        self.check(name, difference);
    }
}

/// How near two numbers must lie.
#[derive(Clone, Copy, Debug)]
enum Near {
    /// By so small a part of the greater, or of 1 if both are smaller than 1e-3 of it.
    Part(f64),
    /// By so much.
    Much(f64),
}

impl Near {
    fn is_met(self, own: f64, golden: f64) -> bool {
        let apart = (own - golden).abs();
        match self {
            Near::Part(part) => apart <= part * own.abs().max(golden.abs()).max(1e-3),
            Near::Much(much) => apart <= much,
        }
    }
}

/// Compares everything in a file.
///
/// # Errors
/// When the file cannot be read, is no JSON, or of no format that is known.
pub(crate) fn check_file(path: &Path, tally: &mut Tally) -> Result<(), String> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str::<Value>(&text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let file = read(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if file["sequences"].is_object() || file["errors"].is_string() {
        streams::check(&name, &file, tally);
        return Ok(());
    }
    if file["cases"].is_array() {
        two_sample::check(&name, &file, tally);
        return Ok(());
    }
    if file["values"].is_object() {
        let pairs = read(&path.with_file_name("two_sample.json"))?;
        return two_sample::check_library(&name, &file, &pairs, tally);
    }
    Err(format!(
        "{}: holds neither `sequences`, `errors`, `cases` nor `values`",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::data;

    #[test]
    fn what_established_libraries_say_is_what_is_said() {
        let folder = data("drift-golden");
        let Ok(files) = std::fs::read_dir(&folder) else {
            println!(
                "skipped: {} is not there; set TINYOPS_DATA",
                folder.display()
            );
            return;
        };
        let mut tally = Tally::default();
        for file in files {
            check_file(&file.unwrap().path(), &mut tally).unwrap();
        }
        assert!(tally.checked > 5_000, "{} checked", tally.checked);
        assert!(tally.differences.is_empty(), "{:#?}", tally.differences);
    }

    #[test]
    fn what_is_no_golden_file_is_said_to_be_none() {
        let place = std::env::temp_dir().join(format!("tinyops-drift-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let path = place.join("other.json");
        let mut tally = Tally::default();
        for (text, why) in [
            ("{}", "holds neither"),
            ("{", "EOF"),
            (r#"{"values":{"same":{}}}"#, "two_sample.json"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = check_file(&path, &mut tally).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        // An unknown detector, and one with a setting that is not known, differ rather than pass.
        let text = r#"{"errors":"0101","drift_at_index":{"ORACLE":[],"DDM(luck=1)":[],"DDM":[3],"EDDM":[]}}"#;
        std::fs::write(&path, text).unwrap();
        check_file(&path, &mut tally).unwrap();
        assert_eq!(
            (tally.checked, tally.differences.len()),
            (4, 3),
            "{tally:?}"
        );
        std::fs::remove_dir_all(&place).unwrap();
    }
}
