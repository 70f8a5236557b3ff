//! From listed files to a dataset: match, read, decode, label, check.

use std::collections::BTreeMap;
use std::io;

use crate::annotate::{Job, SideFiles, annotate, whole_of};
use crate::dataset::Dataset;
use crate::decode::{self, Findings, gzip, side};
use crate::finding::{Code, Finding, Report};
use crate::history::History;
use crate::layout;
use crate::natural;
use crate::pattern::{Captures, Pattern};
use crate::sample::Sample;
use crate::spec::{DataSpec, Format, SourceSpec, TOLD_BY_PATH, metadata_beside};
use crate::validate;

/// What the caller found in a source's root, all files below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Paths from the root on, with `/`, in any order.
    pub files: Vec<String>,
}

/// Reads one file: the index of the source, then the path from its root on.
pub type Read<'a> = dyn FnMut(usize, &str) -> io::Result<Vec<u8>> + 'a;

/// Reads all sources of a spec: the files that match, one recording after the other.
///
/// `listings` has one entry for each source. Everything that is wrong lands in the report; what could be read is in
/// the dataset, where all samples have the same channels and no reading is missing. With an error in the report the
/// dataset should not be trained on.
pub fn ingest(
    spec: &DataSpec,
    listings: &[Listing],
    read: &mut Read<'_>,
    report: &mut Report,
) -> Dataset {
    ingest_with(spec, listings, &History::default(), read, report)
}

/// As [`ingest`], with the labels that people have given since.
pub fn ingest_with(
    spec: &DataSpec,
    listings: &[Listing],
    history: &History,
    read: &mut Read<'_>,
    report: &mut Report,
) -> Dataset {
    if spec.source.is_empty() {
        let finding = Finding::error(Code::Setting, "no data source is named");
        report
            .push(finding.hint("add a `[[data.source]]` with `root` and `files` to tinyops.toml"));
    }
    let mut samples = Vec::new();
    for (index, source) in spec.source.iter().enumerate() {
        let files = listings
            .get(index)
            .map_or(&[][..], |listing| &listing.files);
        let mut read = |path: &str| read(index, path);
        read_source(index, source, files, &mut read, report, &mut samples);
    }
    name_apart(spec, &mut samples, report);
    let mut lost = Vec::new();
    history.apply(&mut samples, &mut lost);
    lost.into_iter().for_each(|finding| report.push(finding));
    validate::dataset(spec, samples, report)
}

/// The files of a source that match, each set of them one job: one file, or one for each channel.
///
/// This is what [`ingest`] would read, for a listing without reading.
pub fn matching(
    index: usize,
    source: &SourceSpec,
    files: &[String],
    report: &mut Report,
) -> Vec<Job> {
    let mut pattern = |text: &str| match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            report.push(Finding::error(
                Code::Setting,
                format!("source {index}: pattern `{text}`: {error}"),
            ));
            None
        }
    };
    let texts = source.patterns();
    let patterns: Vec<Pattern> = texts.iter().filter_map(|text| pattern(text)).collect();
    let excluded = source.exclude.iter().filter_map(|text| pattern(text));
    let excluded: Vec<Pattern> = excluded.collect();
    let mut files: Vec<&String> = files.iter().collect();
    files.sort_by(|a, b| natural::compare(a, b));
    files.dedup();

    let mut counts = vec![0; patterns.len()];
    let mut left: Vec<&str> = Vec::new();
    let mut jobs: Vec<Job> = Vec::new();
    // Files that differ in `{channel}` alone meet here.
    let mut joined: BTreeMap<(usize, Captures), usize> = BTreeMap::new();
    for path in files {
        if excluded
            .iter()
            .any(|pattern| pattern.matches(path).is_some())
        {
            continue;
        }
        let mut matches = patterns.iter().enumerate();
        let Some((which, mut captures)) =
            matches.find_map(|(which, pattern)| Some((which, pattern.matches(path)?)))
        else {
            left.push(path.as_str());
            continue;
        };
        counts[which] += 1;
        match captures.remove(CHANNEL) {
            None => jobs.push(Job {
                source: index,
                name: path.clone(),
                files: vec![(String::new(), path.clone())],
                captures,
            }),
            Some(channel) => {
                let job = *joined
                    .entry((which, captures.clone()))
                    .or_insert(jobs.len());
                if job == jobs.len() {
                    jobs.push(Job {
                        source: index,
                        name: patterns[which]
                            .replaced(path, CHANNEL, "*")
                            .unwrap_or_else(|| path.clone()),
                        files: Vec::new(),
                        captures,
                    });
                }
                jobs[job].files.push((channel, path.clone()));
            }
        }
    }
    for (text, count) in texts.iter().zip(counts) {
        if count == 0 && !source.uploads {
            let message = format!(
                "source {index}: no file in `{}` matches `{text}`",
                source.root
            );
            report.push(Finding::error(Code::NoFile, message).hint(layout::hint(
                &source.root,
                &left,
                jobs.is_empty(),
            )));
        }
    }
    if texts.is_empty() {
        let message = format!("source {index} names no files");
        report.push(
            Finding::error(Code::Setting, message)
                .hint("set `files`, such as `[\"{label}/*.csv\"]`"),
        );
    }
    jobs.truncate(source.files_max.unwrap_or(usize::MAX));
    jobs
}

const CHANNEL: &str = "channel";

fn read_source(
    index: usize,
    source: &SourceSpec,
    files: &[String],
    read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    report: &mut Report,
    samples: &mut Vec<Sample>,
) {
    check_spec(index, source, report);
    let sides = read_sides(source, read, report);
    for mut job in matching(index, source, files, report) {
        if !order_channels(&mut job, source, report) {
            continue;
        }
        if source.uploads {
            take_metadata(&mut job, read, report);
        }
        let mut unpacked = Vec::with_capacity(job.files.len());
        for (channel, path) in &job.files {
            if let Some(bytes) = read_file(path, read, report) {
                unpacked.push((channel.clone(), bytes));
            }
        }
        if unpacked.len() < job.files.len() {
            continue;
        }
        let Some(format) = format(source, &job, &unpacked, report) else {
            continue;
        };
        let mut findings = Findings::new(&job.name, source.missing, report);
        let recordings = decode::decode(
            format,
            &unpacked,
            source,
            sides.key.as_deref(),
            &mut findings,
        );
        drop(unpacked);
        annotate(
            source,
            format,
            &job,
            &sides,
            recordings,
            &mut findings,
            samples,
        );
    }
}

/// Adds what the sender of an upload says of it to what its path says.
fn take_metadata(
    job: &mut Job,
    read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    report: &mut Report,
) {
    for (_, path) in &job.files {
        let beside = metadata_beside(path);
        let bytes = match read(&beside) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let message = format!("its metadata is not readable: {error}");
                report.push(Finding::warning(Code::Unreadable, message).in_file(&beside));
                continue;
            }
        };
        let told: BTreeMap<String, String> = match serde_json::from_slice(&bytes) {
            Ok(told) => told,
            Err(error) => {
                let message = format!("its metadata is no JSON object of texts: {error}");
                report.push(Finding::warning(Code::Malformed, message).in_file(&beside));
                continue;
            }
        };
        let told = told.into_iter();
        for (name, text) in told.filter(|(name, _)| !TOLD_BY_PATH.contains(&name.as_str())) {
            job.captures.entry(name).or_insert(text);
        }
    }
}

fn read_file(
    path: &str,
    read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    report: &mut Report,
) -> Option<Vec<u8>> {
    let bytes =
        match read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let finding = Finding::error(Code::TooLarge, error.to_string());
                report.push(finding.in_file(path).hint(
                    "split the recording into several files, or leave it out with `exclude`",
                ));
                return None;
            }
            Err(error) => {
                let finding = Finding::error(
                    Code::Unreadable,
                    format!("the file is not readable: {error}"),
                );
                report.push(
                    finding
                        .in_file(path)
                        .hint("check that it exists and may be read"),
                );
                return None;
            }
        };
    if !gzip::is_gzip(&bytes) {
        return Some(bytes);
    }
    let (bytes, finding) = gzip::unpack_gzip(&bytes);
    if let Some(finding) = finding {
        report.push(finding.in_file(path));
    }
    Some(bytes)
}

fn read_sides(
    source: &SourceSpec,
    read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    report: &mut Report,
) -> SideFiles {
    let mut bytes = |path: &Option<String>| {
        let path = path.as_deref()?;
        Some((path.to_owned(), read_file(path, read, report)?))
    };
    let label = bytes(&source.label_file);
    let group = bytes(&source.group_file);
    let names = bytes(&source.label_names);
    let key = bytes(&source.hmac_key_file);
    let mut side = |file: Option<(String, Vec<u8>)>| {
        let (path, bytes) = file?;
        let mut findings = Findings::new(&path, source.missing, report);
        let side = side::decode(&bytes, &mut findings);
        Some((path, side))
    };
    SideFiles {
        label: side(label),
        group: side(group),
        names: names
            .map(|(_, bytes)| side::decode_names(&bytes))
            .unwrap_or_default(),
        key: key.map(|(_, bytes)| bytes.trim_ascii_end().to_vec()),
    }
}

/// Puts the files of a joined job into the order of `channels`; whether all are there.
fn order_channels(job: &mut Job, source: &SourceSpec, report: &mut Report) -> bool {
    if source.channels.is_empty() || job.files.iter().all(|(channel, _)| channel.is_empty()) {
        return true;
    }
    let mut ordered = Vec::with_capacity(source.channels.len());
    for wanted in &source.channels {
        match job.files.iter().find(|(channel, _)| channel == wanted) {
            Some(file) => ordered.push(file.clone()),
            None => {
                let finding = Finding::error(
                    Code::MissingColumn,
                    format!("no file for channel `{wanted}`"),
                );
                report.push(finding.in_file(&job.name));
            }
        }
    }
    job.files = ordered;
    job.files.len() == source.channels.len()
}

fn format(
    source: &SourceSpec,
    job: &Job,
    files: &[(String, Vec<u8>)],
    report: &mut Report,
) -> Option<Format> {
    let (channel, bytes) = files.first()?;
    let joined = !channel.is_empty();
    let format = match source.format {
        Format::Auto if joined => Some(Format::Lines),
        Format::Auto => by_bytes(bytes).or_else(|| decode::format_of(&job.name)),
        format => Some(format),
    };
    let finding = match format {
        Some(Format::Lines) => return format,
        Some(_) if joined => {
            let finding = Finding::error(
                Code::Setting,
                "files of `{channel}` are joined line by line only",
            );
            finding.hint("set `format = \"lines\"`, or use another name than `channel`")
        }
        Some(format) => return Some(format),
        None => Finding::error(
            Code::Unsupported,
            "the format is not known by the name of the file",
        )
        .hint("set `format`, or leave the file out with `exclude`"),
    };
    report.push(finding.in_file(&job.name));
    None
}

/// Formats that begin like no other, whatever the file is called.
fn by_bytes(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [b'R', b'I', b'F', b'F', ..] => Some(Format::Wav),
        _ if bytes.starts_with(b"MATLAB") => Some(Format::Mat),
        _ => None,
    }
}

fn check_spec(index: usize, source: &SourceSpec, report: &mut Report) {
    let mut wrong = |message: String, hint: &str| {
        let message = format!("source {index}: {message}");
        report.push(Finding::error(Code::Setting, message).hint(hint));
    };
    let positive = |value: Option<f32>| value.is_none_or(|value| value.is_finite() && value > 0.0);
    if !positive(source.rate_hz) || !positive(source.resample_hz) {
        wrong(
            "a rate is not above 0".to_owned(),
            "rates are in readings per second",
        );
    }
    if source.decimate == 0 {
        wrong(
            "`decimate` is 0".to_owned(),
            "1 keeps every reading, 4 one in four",
        );
    }
    if source.decimate > 1 && source.resample_hz.is_some() {
        wrong(
            "`decimate` and `resample_hz` are both set".to_owned(),
            "set one of them",
        );
    }
    if !source.scale.is_finite() || source.scale == 0.0 {
        wrong(
            format!("`scale` is {}", source.scale),
            "a factor such as 0.001",
        );
    }
    if let Some(cut) = source.cut {
        let rest = 1.0 - cut.train - cut.validation;
        let shares = [cut.train, cut.validation, rest];
        if shares.iter().any(|share| !(-1e-6..=1.0).contains(share))
            || cut.gap_ms.is_nan()
            || cut.gap_ms < 0.0
        {
            wrong(
                "`cut` has shares that are no shares".to_owned(),
                "such as `cut = { train = 0.6 }`",
            );
        }
        if source.role.is_some() {
            wrong(
                "`cut` and `role` are both set".to_owned(),
                "set one of them",
            );
        }
    }
}

/// Where the file of a recording may lie that has one of its own, by the name that [`ingest`] gave it: the index of the
/// source, and the path from its root on. Nowhere if the file holds several recordings, or several files hold it.
#[must_use]
pub fn files_of<'a>(spec: &DataSpec, name: &'a str) -> Vec<(usize, &'a str)> {
    let name = whole_of(name).unwrap_or(name);
    let name = match name.rsplit_once('~') {
        Some((first, count)) if count.bytes().all(|byte| byte.is_ascii_digit()) => first,
        _ => name,
    };
    if name.contains(['#', '*']) {
        return Vec::new();
    }
    let several = has_several_roots(spec);
    let under = |source: &SourceSpec| match several {
        true => name.strip_prefix(folder_of(source))?.strip_prefix('/'),
        false => Some(name),
    };
    let sources = spec.source.iter().enumerate();
    sources
        .filter_map(|(index, source)| Some((index, under(source)?)))
        .collect()
}

fn has_several_roots(spec: &DataSpec) -> bool {
    let mut pairs = spec.source.windows(2);
    pairs.any(|pair| pair[0].root != pair[1].root)
}

/// The folder that names of several roots begin with.
fn folder_of(source: &SourceSpec) -> &str {
    let root = source.root.trim_end_matches('/');
    root.rsplit('/').next().unwrap_or(root)
}

/// Makes names unique: with their root's name where there are several roots, with a number where that is not enough.
fn name_apart(spec: &DataSpec, samples: &mut [Sample], report: &mut Report) {
    if has_several_roots(spec) {
        for sample in samples.iter_mut() {
            let folder = folder_of(&spec.source[sample.origin.source]);
            sample.name = format!("{folder}/{}", sample.name);
        }
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for sample in samples.iter_mut() {
        let count = taken.entry(sample.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            let finding = Finding::warning(
                Code::Duplicate,
                format!("`{}` comes more than once", sample.name),
            );
            report.push(
                finding
                    .in_file(&sample.origin.file)
                    .hint("two sources take the same file"),
            );
            sample.name = format!("{}~{count}", sample.name);
        }
    }
}

/// Replaces `$VAR`, `${VAR}` and `${VAR:-otherwise}` by what `lookup` knows.
///
/// # Errors
/// The name of a variable that is not set and has no `otherwise`.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded += before;
        let braced = after
            .strip_prefix('{')
            .and_then(|inside| inside.split_once('}'));
        let (name, otherwise, behind) = match braced {
            Some((inside, behind)) => match inside.split_once(":-") {
                Some((name, otherwise)) => (name, Some(otherwise), behind),
                None => (inside, None, behind),
            },
            None => {
                let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let (name, behind) = after.split_at(end.unwrap_or(after.len()));
                (name, None, behind)
            }
        };
        let value = lookup(name).filter(|value| !value.is_empty());
        match (value, otherwise) {
            (Some(value), _) => expanded += &value,
            (None, Some(otherwise)) => expanded += otherwise,
            (None, None) => return Err(name.to_owned()),
        }
        rest = behind;
    }
    Ok(expanded + rest)
}

#[cfg(test)]
#[path = "ingest_tests.rs"]
mod tests;
