//! How files lie in folders, for a pattern that matches none of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::decode::format_of;
use crate::leak::counted;
use crate::pattern::Pattern;

/// Prefixes of names beyond these are no labels.
const LABELS_MAX: usize = 64;

/// What to do about a pattern of a source's root that matches none of the `files` that no other takes: which one would,
/// where one is plain.
pub(crate) fn hint(root: &str, files: &[&str], is_alone: bool) -> String {
    if files.is_empty() && is_alone {
        return format!(
            "`{root}` is empty, or `exclude` leaves nothing of it: put recordings there, or set `root` to where they lie"
        );
    }
    if files.is_empty() {
        return "other patterns of the source take all files: leave it out".to_owned();
    }
    let of_known: Vec<&str> = files
        .iter()
        .copied()
        .filter(|file| format_of(file).is_some() && !is_hidden(file))
        .collect();
    let Some(most) = alike(&of_known) else {
        return format!(
            "there is no kind of recording among its {}, by their extensions: set `root` to where they lie",
            counted(files.len(), "file", "files")
        );
    };
    let example = most[0];
    match pattern_for(&most) {
        Some(pattern) => format!(
            "`files = [\"{pattern}\"]` would take {} of its {}, such as `{example}`",
            most.len(),
            counted(files.len(), "file", "files")
        ),
        None => format!(
            "there are {} such as `{example}`: check `root` and the pattern; names are case-sensitive",
            counted(most.len(), "file", "files")
        ),
    }
}

/// The largest set of files with the same extension and as many folders above them.
fn alike<'a>(files: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut sets: BTreeMap<(&str, usize), Vec<&str>> = BTreeMap::new();
    for file in files {
        let key = (extension(file), file.matches('/').count());
        sets.entry(key).or_default().push(file);
    }
    sets.into_values().max_by_key(Vec::len)
}

/// A pattern that takes all of these, and finds their labels where people put them: the folder that they lie in, under
/// that of the machine or person; or the letters that their names begin with.
fn pattern_for(files: &[&str]) -> Option<String> {
    let extension = extension(files.first()?);
    let text = match files[0].matches('/').count() {
        0 => format!("{{label:alpha}}*{extension}"),
        1 => format!("{{label}}/*{extension}"),
        2 => format!("{{group}}/{{label}}/*{extension}"),
        _ => return None,
    };
    let pattern = Pattern::new(&text).ok()?;
    let mut labels = BTreeSet::new();
    for file in files {
        labels.insert(pattern.matches(file)?.remove("label")?);
    }
    let is_telling = labels.len() <= LABELS_MAX && (labels.len() > 1 || text.contains('/'));
    is_telling.then_some(text)
}

/// From the last dot of the name on, `.gz` not counted.
fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    stem.rfind('.').map_or("", |dot| &name[dot..])
}

fn is_hidden(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint_of(files: &[&str]) -> String {
        hint("data", files, true)
    }

    #[test]
    fn the_pattern_that_would_take_most_files_is_said() {
        assert_eq!(
            hint_of(&["fan_0/1.csv", "fan_0/2.csv", "fan_1/1.csv", "README.txt"]),
            "`files = [\"{label}/*.csv\"]` would take 3 of its 4 files, such as `fan_0/1.csv`"
        );
        assert_eq!(
            hint_of(&["m1/worn/a.wav.gz", "m2/calm/b.wav.gz"]),
            "`files = [\"{group}/{label}/*.wav.gz\"]` would take 2 of its 2 files, such as `m1/worn/a.wav.gz`"
        );
        assert_eq!(
            hint_of(&["circle.1.json", "flick.2.json", ".cache/x/y.csv", ".a.csv"]),
            "`files = [\"{label:alpha}*.json\"]` would take 2 of its 4 files, such as `circle.1.json`"
        );
    }

    #[test]
    fn where_no_pattern_is_plain_the_files_are_named_alone() {
        // One word for all tells nothing, and neither do names that begin with a number.
        for files in [
            &["take.1.csv", "take.2.csv"][..],
            &["1_a.csv", "2_b.csv"],
            &["a/b/c/d.csv", "a/b/c/e.csv"],
        ] {
            let hint = hint_of(files);
            assert!(
                hint.starts_with(&format!("there are 2 files such as `{}`", files[0])),
                "{hint}"
            );
        }
        assert!(hint_of(&[]).starts_with("`data` is empty"));
        assert!(hint("data", &[], false).starts_with("other patterns of the source take all"));
        assert!(
            hint_of(&["a/x.pdf"]).starts_with("there is no kind of recording among its 1 file")
        );
    }
}
