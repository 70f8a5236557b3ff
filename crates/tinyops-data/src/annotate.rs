//! From what a file says to what the project knows: labels, groups, roles, units, rates.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::decode::side::{Entry, Side};
use crate::decode::{Findings, Recording};
use crate::finding::{Code, Finding};
use crate::pattern::{self, Captures};
use crate::resample::{resample, resample_label};
use crate::sample::{Channel, ImageSize, Label, Origin, Role, Sample, Segment};
use crate::spec::{Cut, Format, Missing, SourceSpec};

/// Files that are read together, and what their path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Index of the source.
    pub source: usize,
    /// The path; with `*` in the place of the channel, if there are several files.
    pub name: String,
    /// Channel (empty for one file) and path of each.
    pub files: Vec<(String, String)>,
    /// What the pattern captured, without `channel`.
    pub captures: Captures,
}

/// The side files of a source, with their paths.
#[derive(Default)]
pub(crate) struct SideFiles {
    pub(crate) label: Option<(String, Side)>,
    pub(crate) group: Option<(String, Side)>,
    pub(crate) names: BTreeMap<String, String>,
    pub(crate) key: Option<Vec<u8>>,
}

/// Turns the recordings of a job into samples. A recording with missing readings is left out or filled, as the source
/// says; decoders have reported them.
pub(crate) fn annotate(
    spec: &SourceSpec,
    format: Format,
    job: &Job,
    sides: &SideFiles,
    recordings: Vec<Recording>,
    findings: &mut Findings<'_>,
    samples: &mut Vec<Sample>,
) {
    let count = recordings.len();
    for (side, setting) in [(&sides.label, "label_file"), (&sides.group, "group_file")] {
        if let Some((path, Side::List(list))) = side
            && list.len() != count
        {
            let message = format!(
                "`{path}` ({setting}) has {} entries for {count} samples",
                list.len()
            );
            findings.push(
                Finding::error(Code::SideFile, message).hint("entries belong to samples in order"),
            );
        }
    }
    let whole = (0, usize::MAX);
    let (samples_limit, readings_limit) = match format {
        Format::Lines | Format::Idx => (row_limits(spec), whole),
        // Tables know their rows better, and have left them out already.
        Format::Table => (whole, whole),
        _ => (whole, row_limits(spec)),
    };
    let recordings = recordings.into_iter().enumerate();
    for (index, mut recording) in recordings.skip(samples_limit.0).take(samples_limit.1) {
        keep_rows(&mut recording, readings_limit);
        if !matches!(format, Format::Table | Format::Mat | Format::Lines) {
            choose_channels(&mut recording, &spec.channels, findings);
        }
        if recording.readings.is_empty() || !complete(&mut recording, spec.missing) {
            continue;
        }
        let Some(sample) = sample(spec, job, sides, index, recording, findings) else {
            continue;
        };
        match spec.cut {
            None => samples.push(sample),
            Some(cut) => cut_pieces(sample, cut, samples),
        }
    }
}

fn row_limits(spec: &SourceSpec) -> (usize, usize) {
    let size = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    (size(spec.rows_skip), spec.rows_max.map_or(usize::MAX, size))
}

fn keep_rows(recording: &mut Recording, (skip, take): (usize, usize)) {
    let width = recording.channels.len().max(1);
    let len = recording.readings.len();
    let start = skip.saturating_mul(width).min(len);
    let end = start.saturating_add(take.saturating_mul(width)).min(len);
    recording.readings.truncate(end);
    recording.readings.drain(..start);
}

fn choose_channels(recording: &mut Recording, wanted: &[String], findings: &mut Findings<'_>) {
    if wanted.is_empty() {
        return;
    }
    let width = recording.channels.len();
    let index_of = |name: &String| {
        recording
            .channels
            .iter()
            .position(|channel| channel.name == *name)
    };
    let mut indices = Vec::with_capacity(wanted.len());
    for name in wanted {
        match index_of(name) {
            Some(index) => indices.push(index),
            None => {
                let names: Vec<&str> = recording
                    .channels
                    .iter()
                    .map(|channel| channel.name.as_str())
                    .collect();
                let finding = Finding::error(
                    Code::MissingColumn,
                    format!("no channel is called `{name}`"),
                );
                findings.push(finding.hint(format!("channels are: {}", names.join(", "))));
                recording.readings.clear();
                return;
            }
        }
    }
    let frames = recording.readings.chunks_exact(width);
    let readings = frames.flat_map(|frame| indices.iter().map(|&index| frame[index]));
    recording.readings = readings.collect();
    recording.channels = indices
        .iter()
        .map(|&index| recording.channels[index].clone())
        .collect();
}

/// Whether no reading is missing, after those that may be filled are.
fn complete(recording: &mut Recording, missing: Missing) -> bool {
    let readings = &mut recording.readings;
    if readings.iter().all(|reading| reading.is_finite()) {
        return true;
    }
    if missing == Missing::Refuse {
        return false;
    }
    let width = recording.channels.len().max(1);
    let len = readings.len() / width;
    for channel in 0..width {
        let at = |index: usize| index * width + channel;
        let first = (0..len)
            .map(|index| readings[at(index)])
            .find(|reading| reading.is_finite());
        let Some(mut last) = first else {
            return false;
        };
        for index in 0..len {
            let reading = &mut readings[at(index)];
            if reading.is_finite() {
                last = *reading;
            } else {
                *reading = last;
            }
        }
    }
    true
}

fn sample(
    spec: &SourceSpec,
    job: &Job,
    sides: &SideFiles,
    index: usize,
    mut recording: Recording,
    findings: &mut Findings<'_>,
) -> Option<Sample> {
    let name = match recording.part.as_str() {
        "" => job.name.clone(),
        part => format!("{}#{part}", job.name),
    };
    let file = job
        .files
        .first()
        .map_or(job.name.as_str(), |(_, path)| path);
    let entry = sides
        .label
        .as_ref()
        .and_then(|(side_path, side)| side.of_file(file, side_path));
    let label = label(spec, job, sides, entry, index, &mut recording, findings);
    let group = group(spec, job, sides, index, &recording, &name, findings);
    if spec.scale != 1.0 {
        recording
            .readings
            .iter_mut()
            .for_each(|reading| *reading *= spec.scale);
    }
    let width = recording.channels.len();
    let image = recording.image.or_else(|| {
        let [height, width] = spec.image?;
        Some(ImageSize { height, width })
    });
    if let Some(size) = image
        && usize::from(size.height) * usize::from(size.width) * width != recording.readings.len()
    {
        let message = format!(
            "{} readings are no image of {} x {}",
            recording.readings.len(),
            size.height,
            size.width
        );
        findings.push(Finding::error(Code::Setting, message).at_row(recording.row));
        return None;
    }
    let rate_hz = match image {
        Some(_) => 0.0,
        None => spec.rate_hz.or(recording.rate_hz).unwrap_or(0.0),
    };
    doubt_settings(spec, &recording, findings);
    let mut sample = Sample {
        name,
        rate_hz,
        channels: with_units(recording.channels, &spec.units, findings)?,
        readings: recording.readings,
        image,
        label,
        group,
        role: spec
            .role
            .or(entry.and_then(|entry| entry.role))
            .or_else(|| category_role(job)),
        origin: Origin {
            source: job.source,
            file: job.name.clone(),
            row: recording.row,
            cut: None,
        },
        metadata: job
            .captures
            .clone()
            .into_iter()
            .chain(recording.metadata)
            .collect(),
    };
    change_rate(&mut sample, spec);
    Some(sample)
}

/// Rates that differ by less are rounded, or jitter of a clock.
const RATE_TOLERANCE: f32 = 0.02;

/// What a source says counts, but where the file says otherwise itself one of the two is wrong.
fn doubt_settings(spec: &SourceSpec, recording: &Recording, findings: &mut Findings<'_>) {
    let mut doubt = |message: String, hint: &str| {
        let finding = Finding::warning(Code::Setting, message).hint(hint);
        findings.push(match recording.row {
            0 => finding,
            row => finding.at_row(row),
        });
    };
    if let (Some(set), Some(told)) = (spec.rate_hz, recording.rate_hz)
        && recording.image.is_none()
        // A column that is named beside a rate orders the readings; cycles are no seconds.
        && spec.time_column.is_none()
        && (set / told - 1.0).abs() > RATE_TOLERANCE
    {
        doubt(
            format!("`rate_hz` is {set}, and the file says {told} Hz"),
            "leave `rate_hz` out if the file is right; `resample_hz` changes the rate of the readings",
        );
    }
    let unit_of = |index: usize| match &spec.units[..] {
        [one] => Some(one),
        units => units.get(index),
    };
    let told = recording.channels.iter().enumerate();
    let mut told = told.filter(|(_, channel)| !channel.unit.is_empty());
    if spec.units.is_empty() {
        if let Some((_, channel)) = told.next().filter(|_| spec.scale != 1.0) {
            let message = format!(
                "`scale` is {}, and the file says that `{}` is in `{}`, which it is no more",
                spec.scale, channel.name, channel.unit
            );
            doubt(
                message,
                "say with `units` what the readings are in behind the factor",
            );
        }
        return;
    }
    // A factor makes another unit of that which the file names.
    let other = told.find_map(|(index, channel)| {
        let set = unit_of(index).filter(|set| **set != channel.unit)?;
        (spec.scale == 1.0).then_some((set, channel))
    });
    if let Some((set, channel)) = other {
        let message = format!(
            "`units` says `{set}`, and the file says that `{}` is in `{}`",
            channel.name, channel.unit
        );
        doubt(
            message,
            "leave `units` out if the file is right; `scale` turns one unit into another",
        );
    }
}

/// What the capture `category` says, as uploads have it. What trains may validate as well: the split decides.
fn category_role(job: &Job) -> Option<Role> {
    let category = job.captures.get("category")?.as_str();
    matches!(category, "testing" | "anomaly").then_some(Role::Test)
}

fn with_units(
    mut channels: Vec<Channel>,
    units: &[String],
    findings: &mut Findings<'_>,
) -> Option<Vec<Channel>> {
    match units {
        [] => {}
        [unit] => channels
            .iter_mut()
            .for_each(|channel| channel.unit.clone_from(unit)),
        units if units.len() == channels.len() => {
            let pairs = channels.iter_mut().zip(units);
            pairs.for_each(|(channel, unit)| channel.unit.clone_from(unit));
        }
        units => {
            let message = format!("{} units for {} channels", units.len(), channels.len());
            findings.push(
                Finding::error(Code::Setting, message)
                    .hint("name one unit for all, or one for each"),
            );
            return None;
        }
    }
    Some(channels)
}

fn change_rate(sample: &mut Sample, spec: &SourceSpec) {
    let from_hz = f64::from(sample.rate_hz);
    let to_hz = match spec.resample_hz {
        Some(to_hz) => f64::from(to_hz),
        None => from_hz / f64::from(spec.decimate.max(1)),
    };
    let usable = from_hz > 0.0 && to_hz > 0.0 && to_hz.is_finite();
    // A hundredfold rate is a wrong setting, not a wish, and would not fit into memory.
    if !usable || from_hz == to_hz || to_hz > 100.0 * from_hz {
        return;
    }
    let len = sample.len();
    sample.readings = resample(&sample.readings, sample.channels.len(), from_hz, to_hz);
    sample.label = resample_label(std::mem::take(&mut sample.label), len, from_hz, to_hz);
    sample.rate_hz = to_hz as f32;
}

fn label(
    spec: &SourceSpec,
    job: &Job,
    sides: &SideFiles,
    entry: Option<&Entry>,
    index: usize,
    recording: &mut Recording,
    findings: &mut Findings<'_>,
) -> Label {
    let len = recording.readings.len() / recording.channels.len().max(1);
    let label = match std::mem::take(&mut recording.label) {
        Label::None => match (&sides.label, entry) {
            (Some((_, Side::List(list))), _) => {
                list.get(index).cloned().map_or(Label::None, Label::Class)
            }
            (Some(_), Some(entry)) if !entry.spans.is_empty() => spans(&entry.spans, len),
            (Some(_), Some(entry)) => entry.label.clone().map_or(Label::None, Label::Class),
            (Some(_), None) => Label::None,
            (None, _) => {
                text_of(&spec.label, "label", job, findings).map_or(Label::None, Label::Class)
            }
        },
        label => label,
    };
    let named = |class: String| sides.names.get(&class).cloned().unwrap_or(class);
    match label {
        Label::Class(class) => Label::Class(named(class)),
        Label::Segments(segments) => {
            let segments = segments.into_iter().map(|segment| Segment {
                class: named(segment.class),
                ..segment
            });
            Label::Segments(segments.collect())
        }
        label => label,
    }
}

/// Spans of a side file, whose last reading is included, cut to the recording and to each other.
fn spans(spans: &[(usize, usize, String)], len: usize) -> Label {
    let mut sorted: Vec<_> = spans.iter().collect();
    sorted.sort_by_key(|(start, _, _)| *start);
    let mut end = 0;
    let mut segments = Vec::with_capacity(sorted.len());
    for (first, last, class) in sorted {
        let range = (*first).max(end)..last.saturating_add(1).min(len);
        if !range.is_empty() {
            end = range.end;
            segments.push(Segment {
                range,
                class: class.clone(),
            });
        }
    }
    Label::Segments(segments)
}

fn group(
    spec: &SourceSpec,
    job: &Job,
    sides: &SideFiles,
    index: usize,
    recording: &Recording,
    name: &str,
    findings: &mut Findings<'_>,
) -> String {
    let file = job
        .files
        .first()
        .map_or(job.name.as_str(), |(_, path)| path);
    let from_side = sides
        .group
        .as_ref()
        .and_then(|(side_path, side)| match side {
            Side::List(list) => list.get(index).cloned(),
            Side::ByName(_) => side.of_file(file, side_path)?.label.clone(),
        });
    let known = recording.group.clone().or(from_side);
    let known = known.or_else(|| match &spec.group {
        // What a sender may say of an upload, this one has not said.
        Some(template) if spec.uploads => pattern::fill(template, &job.captures).ok(),
        template => text_of(template, "group", job, findings),
    });
    known.unwrap_or_else(|| {
        // Rows of one file may overlap or follow each other, engines in one do not.
        if spec.sample_column.is_some() {
            name.to_owned()
        } else {
            job.name.clone()
        }
    })
}

/// Stands between the name of a recording that was cut and the role of the piece.
const CUT: char = '@';

/// The name of the recording that a piece was cut from; none of another name.
pub(crate) fn whole_of(name: &str) -> Option<&str> {
    let (whole, role) = name.rsplit_once(CUT)?;
    matches!(role, "train" | "validation" | "test").then_some(whole)
}

/// A setting with captures filled in, or else the capture of its name.
fn text_of(
    template: &Option<String>,
    setting: &str,
    job: &Job,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let Some(template) = template else {
        return job.captures.get(setting).cloned();
    };
    match pattern::fill(template, &job.captures) {
        Ok(text) => Some(text),
        Err(name) => {
            let message =
                format!("`{setting}` asks for `{name}`, which the pattern does not capture");
            findings.push(Finding::error(Code::Setting, message));
            None
        }
    }
}

fn cut_pieces(sample: Sample, cut: Cut, samples: &mut Vec<Sample>) {
    let len = sample.len();
    let place = |share: f32| ((f64::from(share) * len as f64).round() as usize).min(len);
    let gap =
        (f64::from(cut.gap_ms.max(0.0)) * f64::from(sample.rate_hz) / 1000.0).round() as usize;
    let train_end = place(cut.train);
    let validation_end = place(cut.train + cut.validation).max(train_end);
    let pieces = [
        (Role::Train, 0..train_end),
        (
            Role::Validation,
            train_end.saturating_add(gap).min(len)..validation_end,
        ),
        (Role::Test, validation_end.saturating_add(gap).min(len)..len),
    ];
    for (role, range) in pieces {
        if !range.is_empty() {
            samples.push(piece(&sample, role, range));
        }
    }
}

fn piece(sample: &Sample, role: Role, range: Range<usize>) -> Sample {
    let width = sample.channels.len();
    let label = match &sample.label {
        Label::Segments(segments) => {
            let cut = segments.iter().map(|segment| Segment {
                range: segment.range.start.clamp(range.start, range.end) - range.start
                    ..segment.range.end.clamp(range.start, range.end) - range.start,
                class: segment.class.clone(),
            });
            Label::Segments(cut.filter(|segment| !segment.range.is_empty()).collect())
        }
        Label::Values(values) => {
            Label::Values(values.get(range.clone()).unwrap_or_default().to_vec())
        }
        label => label.clone(),
    };
    Sample {
        name: format!("{}{CUT}{}", sample.name, role.as_str()),
        rate_hz: sample.rate_hz,
        channels: sample.channels.clone(),
        readings: sample.readings[range.start * width..range.end * width].to_vec(),
        image: sample.image,
        label,
        group: sample.group.clone(),
        role: Some(role),
        origin: Origin {
            cut: Some(range),
            ..sample.origin.clone()
        },
        metadata: sample.metadata.clone(),
    }
}
