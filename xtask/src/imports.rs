//! Holds the import table of `docs/ARCHITECTURE.md` against what cargo says the crates depend on.
//!
//! The page is the single source: the table is read from it, so page and code cannot part.

use crate::steps::{Answer, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Fails when a crate imports what its row does not allow, or when table and workspace differ.
pub(crate) fn check() -> Answer {
    let page = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md"))
        .map_err(|error| format!("docs/ARCHITECTURE.md: {error}"))?;
    let allowed = table(&page)?;
    let actual = dependencies()?;
    let mut faults = Vec::new();
    for name in actual.keys().filter(|name| !allowed.contains_key(*name)) {
        faults.push(format!("crate `{name}` has no row in the import table"));
    }
    for (name, may) in &allowed {
        let Some(has) = actual.get(name) else {
            faults.push(format!(
                "the table lists `{name}`, the workspace has no such crate"
            ));
            continue;
        };
        for import in has.difference(may) {
            faults.push(format!(
                "`{name}` imports `{import}`, which its row does not allow"
            ));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(faults.join("\n  "))
}

/// Reads the rows `| n | tinyops-x | what | imports | never |` between the table's heading and the next.
fn table(page: &str) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, name, _, imports, ..] = cells.as_slice() else {
            continue;
        };
        if number.parse::<u32>().is_err() {
            continue;
        }
        let name = name.trim_matches('`');
        let may = if *imports == "all" {
            rows.keys().cloned().collect()
        } else {
            imports
                .split(',')
                .map(|word| word.split_whitespace().next().unwrap_or_default())
                .filter(|word| !word.is_empty() && *word != "—")
                .map(|word| format!("tinyops-{word}"))
                .collect()
        };
        for import in &may {
            if !rows.contains_key(import) {
                return Err(format!(
                    "row `{name}` imports `{import}`, which is not above it"
                ));
            }
        }
        rows.insert(name.to_owned(), may);
    }
    if rows.is_empty() {
        return Err("docs/ARCHITECTURE.md has no import table".to_owned());
    }
    Ok(rows)
}

/// Our crates and which of our crates each one depends on, tests left out.
fn dependencies() -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let metadata = metadata(&["--no-deps"])?;
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata lists no packages")?;
    let mut crates = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if name == "xtask" {
            continue;
        }
        let imports = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"].is_null() && dependency["path"].is_string())
            .filter_map(|dependency| dependency["name"].as_str())
            .map(str::to_owned)
            .collect();
        crates.insert(name.to_owned(), imports);
    }
    Ok(crates)
}

/// What `cargo metadata` says.
pub(crate) fn metadata(args: &[&str]) -> Result<Value, String> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1"])
        .args(args)
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "| # | Crate | What | May import | Never |\n|---|---|---|---|---|\n";

    #[test]
    fn rows_are_read_with_their_imports() {
        let page = format!(
            "{HEAD}| 1 | tinyops-dsp | filters | — | x |\n| 2 | tinyops-data | d | dsp (ids) | y |\n"
        );
        let rows = table(&page).unwrap();
        assert!(rows["tinyops-dsp"].is_empty());
        assert_eq!(
            rows["tinyops-data"].iter().collect::<Vec<_>>(),
            ["tinyops-dsp"]
        );
    }

    #[test]
    fn an_import_upward_is_refused() {
        let page = format!(
            "{HEAD}| 1 | tinyops-dsp | filters | nn | x |\n| 2 | tinyops-nn | n | — | y |\n"
        );
        assert_eq!(
            table(&page).unwrap_err(),
            "row `tinyops-dsp` imports `tinyops-nn`, which is not above it"
        );
    }

    #[test]
    fn the_binary_may_import_all_above() {
        let page = format!(
            "{HEAD}| 1 | tinyops-dsp | filters | — | x |\n| 2 | tinyops | bin | all | y |\n"
        );
        assert_eq!(table(&page).unwrap()["tinyops"].len(), 1);
    }
}
