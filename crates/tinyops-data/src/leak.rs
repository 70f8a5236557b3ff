//! Signs that training data stands in test under another name.

use std::collections::{BTreeMap, BTreeSet};

use tinyops_wire::id::Digest;

use crate::dataset::Dataset;
use crate::finding::{Code, Finding, Report};
use crate::sample::Sample;
use crate::similar;
use crate::split::Split;

/// Names shown of those that leak; the others are counted.
const SHOWN: usize = 6;

/// Reports what stands both in training or validation and in test: a group, pieces of a recording, files of a family
/// of names, the same readings.
pub(crate) fn check(dataset: &Dataset, split: &Split, report: &mut Report) {
    let known = || split.train.iter().chain(&split.validation);
    let sides = Sides {
        known: known().map(|&index| &dataset.samples[index]).collect(),
        test: split
            .test
            .iter()
            .map(|&index| &dataset.samples[index])
            .collect(),
    };
    if sides.known.is_empty() || sides.test.is_empty() {
        return;
    }
    groups(&sides, report);
    recordings(&sides, report);
    families(dataset, &sides, report);
    duplicates(&sides, report);
    similar(&sides, report);
}

struct Sides<'a> {
    known: Vec<&'a Sample>,
    test: Vec<&'a Sample>,
}

impl<'a> Sides<'a> {
    /// What both sides have in common, with an example of each.
    fn both<K: Ord>(
        &self,
        key: impl Fn(&'a Sample) -> Option<K>,
    ) -> BTreeMap<K, (&'a Sample, &'a Sample)> {
        let mut known = BTreeMap::new();
        for sample in &self.known {
            if let Some(key) = key(sample) {
                known.entry(key).or_insert(*sample);
            }
        }
        let mut both = BTreeMap::new();
        for sample in &self.test {
            if let Some((key, first)) = key(sample).and_then(|key| known.remove_entry(&key)) {
                both.insert(key, (first, *sample));
            }
        }
        both
    }
}

fn groups(sides: &Sides<'_>, report: &mut Report) {
    // Pieces of one recording are told below.
    let both = sides.both(|sample| sample.origin.cut.is_none().then_some(sample.group.as_str()));
    if !both.is_empty() {
        let message = format!(
            "{} on both sides of the split: {}",
            counted(both.len(), "group stands", "groups stand"),
            list(both.keys().copied())
        );
        report.push(Finding::warning(Code::LeakGroup, message).hint(
            "what is learned of the person or machine itself raises the score; split `by = \"group\"` without fixed roles",
        ));
    }
}

fn recordings(sides: &Sides<'_>, report: &mut Report) {
    let both = sides.both(|sample| Some((sample.origin.source, sample.origin.file.as_str())));
    if !both.is_empty() {
        let message = format!(
            "pieces of {} on both sides of the split: {}",
            counted(both.len(), "recording stand", "recordings stand"),
            list(both.keys().map(|(_, file)| *file))
        );
        report.push(Finding::warning(Code::LeakRecording, message).hint(
            "neighbours in time look alike, so the test is easier than new data; test on another recording",
        ));
    }
}

fn families(dataset: &Dataset, sides: &Sides<'_>, report: &mut Report) {
    // Groups of several samples say that the project knows what belongs together.
    let group_count = dataset.groups().len();
    let grouped = group_count < dataset.samples.len();
    let mut spread: BTreeMap<String, [BTreeSet<&str>; 2]> = BTreeMap::new();
    for sample in &dataset.samples {
        if let Some(family) = family(&sample.origin.file) {
            let [groups, classes] = spread.entry(family).or_default();
            groups.insert(&sample.group);
            classes.extend(sample.label.classes());
        }
    }
    // `take-1.csv` of every machine in every condition: a word for a file, not a name of an object.
    let is_word = |family: &str| {
        spread.get(family).is_some_and(|[groups, classes]| {
            group_count > 1
                && groups.len() == group_count
                && classes.len() > 1
                && classes.len() == dataset.classes.len()
        })
    };
    let key = |sample: &Sample| {
        let family = family(&sample.origin.file)?;
        let is_class = sample.label.classes().any(|class| class == family);
        // Then the name says what it is, not where it comes from.
        (!(grouped && (is_class || is_word(&family)))).then_some(family)
    };
    // Pieces of the same file have been told already.
    let both: Vec<_> = sides
        .both(key)
        .into_iter()
        .filter(|(_, (known, test))| known.origin.file != test.origin.file)
        .collect();
    let Some((_, (known, test))) = both.first() else {
        return;
    };
    let message = format!(
        "{} on both sides of the split; by the names, each is of one object or session: {} (such as `{}` and `{}`)",
        counted(
            both.len(),
            "family of files stands",
            "families of files stand"
        ),
        list(both.iter().map(|(family, _)| family.as_str())),
        known.origin.file,
        test.origin.file
    );
    report.push(Finding::warning(Code::LeakFamily, message).hint(
        "a score on another take of the same object says little about a new one: name the object as `group`, \
         such as `group = \"{fault}{diameter}\"`, or accept `leak-family`",
    ));
}

fn duplicates(sides: &Sides<'_>, report: &mut Report) {
    let digest = |sample: &Sample| -> Option<Digest> { Some(sample.content_digest()) };
    for (known, test) in sides.both(digest).into_values() {
        let message = format!("holds the same readings as `{}` in training", known.name);
        let finding = Finding::warning(Code::LeakDuplicate, message).in_file(&test.origin.file);
        let finding = if test.origin.row > 0 {
            finding.at_row(test.origin.row)
        } else {
            finding
        };
        report.push(finding.hint("leave one of the two out"));
    }
}

/// Readings that are shifted or rescaled ones of the other side. Pieces of a file, and the same readings, have been told.
fn similar(sides: &Sides<'_>, report: &mut Report) {
    let all: Vec<&Sample> = sides.known.iter().chain(&sides.test).copied().collect();
    for (first, second, share) in similar::pairs(&all) {
        let (known, test) = (all[first], all[second]);
        let is_across = first < sides.known.len() && second >= sides.known.len();
        let is_piece =
            known.origin.source == test.origin.source && known.origin.file == test.origin.file;
        if !is_across || is_piece || known.content_digest() == test.content_digest() {
            continue;
        }
        let message = format!(
            "is almost the same as `{}` in training, shifted or rescaled: they share {:.0} % of their shapes",
            known.name,
            share * 100.0
        );
        let finding = Finding::warning(Code::LeakSimilar, message).in_file(&test.origin.file);
        let finding = match test.origin.row {
            0 => finding,
            row => finding.at_row(row),
        };
        report.push(finding.hint("leave one of the two out, or give both one group"));
    }
}

/// What the name of a file says about its origin: the name without its trailing numbers, or its folder if nothing is
/// left. `OR007@6_0_130.mat` and `OR007@6_3_133.mat` are one family. None if the name carries no number.
pub(crate) fn family(file: &str) -> Option<String> {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let (stem, has_id) = stem(name);
    let mut rest = stem;
    while let Some((before, token)) = last_token(rest) {
        if !is_index(token) {
            break;
        }
        rest = before;
    }
    let family = match rest {
        "" => folder,
        rest if rest == stem && !has_id => return None,
        rest => rest,
    };
    Some(family.to_owned()).filter(|family| !family.is_empty())
}

/// The name before its first extension, and whether an id of an export follows: `circle.json.6600enq7.json`.
fn stem(name: &str) -> (&str, bool) {
    const EXTENSIONS: [&str; 10] = [
        ".ingestion-",
        ".json",
        ".cbor",
        ".csv",
        ".tsv",
        ".wav",
        ".mat",
        ".txt",
        ".dat",
        ".idx",
    ];
    let ends = EXTENSIONS
        .iter()
        .filter_map(|extension| name.find(extension));
    let end = ends.min().unwrap_or(name.len());
    (
        &name[..end],
        name[end..].trim_end_matches(".gz").len() > ".json".len(),
    )
}

/// The last part of a name, and what stands before it and its separator.
fn last_token(name: &str) -> Option<(&str, &str)> {
    if name.is_empty() {
        return None;
    }
    Some(name.rsplit_once(['_', '-', '.', ' ']).unwrap_or(("", name)))
}

/// Whether a part of a name counts takes: a number, a letter and a number (`w1`, `take12`), or an id of an export.
fn is_index(token: &str) -> bool {
    let digits = token.bytes().rev().take_while(u8::is_ascii_digit).count();
    let letters = token.len() - digits;
    let counts = digits > 0
        && letters <= 5
        && token
            .bytes()
            .take(letters)
            .all(|byte| byte.is_ascii_lowercase());
    let is_plain = token
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    let is_id = is_plain && token.len() >= 5 && token.bytes().any(|byte| byte.is_ascii_digit());
    counts || is_id || token.is_empty()
}

pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let mut names: Vec<&str> = names.collect::<BTreeSet<_>>().into_iter().collect();
    names.truncate(SHOWN);
    let rest = count.saturating_sub(SHOWN);
    let list = names.join(", ");
    if rest > 0 {
        format!("{list} and {rest} more")
    } else {
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_family(file: &str, expected: Option<&str>) {
        assert_eq!(family(file).as_deref(), expected, "{file}");
    }

    #[test]
    fn families_of_names() {
        check_family("OR007@6_0_130.mat", Some("OR007@6"));
        check_family(
            "training/circle.json.6600enq7.ingestion-5758845749-fvlcj.json",
            Some("circle"),
        );
        check_family("resigned/circle.01.cbor", Some("circle"));
        check_family(
            "training/fall.4tgf3qgq.ingestion-5d794bbc4d-7rc5s.json",
            Some("fall"),
        );
        check_family(
            "ei-json/normal.00000001.wav.2ukq29u7.ingestion-x.json",
            Some("normal"),
        );
        check_family("on/0a7c2a8d_nohash_3_w1.wav", Some("0a7c2a8d_nohash"));
        check_family("recordings/7_jackson_12.wav", Some("7_jackson"));
        check_family("fan_0_high_0_weight/0003.csv", Some("fan_0_high_0_weight"));
        check_family("0003.csv", None);
        check_family("walk.csv", None);
        check_family("train/body_acc_x_train.txt.gz", None);
    }
}
