//! What is wrong with samples together: rates, channels, labels, duplicates, silence, balance.

use std::collections::{BTreeMap, BTreeSet};

use crate::dataset::Dataset;
use crate::finding::{Code, Finding, Report};
use crate::natural;
use crate::pattern::Pattern;
use crate::sample::{Label, Sample, Segment};
use crate::spec::{DataSpec, Short, WindowSpec};
use crate::window::{WindowError, Windowing};

/// Rates that differ by less are jitter of a clock, not another rate.
const RATE_TOLERANCE: f32 = 0.02;

/// How much rarer than another a class may be without a word.
const IMBALANCE: f64 = 10.0;

/// So many readings in a row at the extreme of all data are a clipped signal.
const CLIPPED_RUN: usize = 4;

/// Makes a dataset of samples, and reports what is wrong with it. Samples whose channels or units differ from most are
/// left out, as are those whose label maps to nothing.
pub(crate) fn dataset(spec: &DataSpec, mut samples: Vec<Sample>, report: &mut Report) -> Dataset {
    map_labels(spec, &mut samples, report);
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    keep_common_channels(&mut samples, report);
    rates(&samples, report);
    let classes = classes(spec, &samples, report);
    duplicates(&samples, report);
    signals(&samples, report);
    let dataset = Dataset { samples, classes };
    balance(&dataset, report);
    windows(&spec.window, &dataset, report);
    if dataset.samples.is_empty() && !report.has_errors() {
        report.push(Finding::error(Code::Empty, "no sample was read"));
    }
    dataset
}

/// Adds where a sample came from.
fn at(finding: Finding, sample: &Sample) -> Finding {
    let finding = finding.in_file(&sample.origin.file);
    if sample.origin.row > 0 {
        finding.at_row(sample.origin.row)
    } else {
        finding
    }
}

fn map_labels(spec: &DataSpec, samples: &mut Vec<Sample>, report: &mut Report) {
    let mut patterns = Vec::new();
    for (key, name) in &spec.label_map {
        match Pattern::new(key) {
            Ok(pattern) => patterns.push((pattern, name)),
            Err(error) => {
                report.push(Finding::error(
                    Code::Setting,
                    format!("label_map: `{key}`: {error}"),
                ));
            }
        }
    }
    if patterns.is_empty() {
        return;
    }
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut mapped = |class: String| -> Option<String> {
        let exact = spec.label_map.get_key_value(&class);
        let by_pattern = || {
            let mut keys = spec.label_map.keys().zip(&patterns);
            keys.find_map(|(key, (pattern, name))| pattern.matches(&class).map(|_| (key, *name)))
        };
        let Some((key, name)) = exact.or_else(by_pattern) else {
            return Some(class);
        };
        used.insert(key);
        Some(name.clone()).filter(|name| !name.is_empty())
    };
    samples.retain_mut(|sample| match std::mem::take(&mut sample.label) {
        Label::Class(class) => match mapped(class) {
            Some(class) => {
                sample.label = Label::Class(class);
                true
            }
            None => false,
        },
        Label::Segments(segments) => {
            let mut kept: Vec<Segment> = Vec::with_capacity(segments.len());
            for segment in segments {
                let Some(class) = mapped(segment.class) else {
                    continue;
                };
                match kept.last_mut() {
                    Some(last) if last.class == class && last.range.end == segment.range.start => {
                        last.range.end = segment.range.end;
                    }
                    _ => kept.push(Segment { class, ..segment }),
                }
            }
            sample.label = Label::Segments(kept);
            true
        }
        label => {
            sample.label = label;
            true
        }
    });
    for key in spec
        .label_map
        .keys()
        .filter(|key| !used.contains(key.as_str()))
    {
        report.push(Finding::warning(
            Code::UnknownLabel,
            format!("label_map: no label is called `{key}`"),
        ));
    }
}

fn keep_common_channels(samples: &mut Vec<Sample>, report: &mut Report) {
    let key = |sample: &Sample| (sample.channels.clone(), sample.image.is_some());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let text = |sample: &Sample| {
        let (channels, is_image) = key(sample);
        let channels = channels
            .iter()
            .map(|channel| format!("{} [{}]", channel.name, channel.unit));
        let channels: Vec<String> = channels.collect();
        format!(
            "{}{}",
            channels.join(", "),
            if is_image { ", image" } else { "" }
        )
    };
    for sample in samples.iter() {
        *counts.entry(text(sample)).or_default() += 1;
    }
    if counts.len() < 2 {
        return;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    let Some(common) = counts
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(text, _)| text)
    else {
        return;
    };
    samples.retain(|sample| {
        let found = text(sample);
        if found != common {
            let message =
                format!("channels are {found}, most samples have {common}; the sample is left out");
            let hint = "set `channels`, `units` and `scale` of its source so that all agree";
            report.push(at(
                Finding::error(Code::ChannelMismatch, message).hint(hint),
                sample,
            ));
        }
        found == common
    });
}

fn rates(samples: &[Sample], report: &mut Report) {
    let Some(first) = samples.iter().find(|sample| sample.rate_hz > 0.0) else {
        let mut series = samples.iter().filter(|sample| sample.image.is_none());
        if let Some(sample) = series.next() {
            let message = "no sampling rate is known";
            report.push(at(
                Finding::error(Code::MissingRate, message).hint("set `rate_hz` in the source"),
                sample,
            ));
        }
        return;
    };
    for sample in samples.iter().filter(|sample| sample.image.is_none()) {
        if sample.rate_hz <= 0.0 {
            let message = "no sampling rate is known";
            report.push(at(
                Finding::error(Code::MissingRate, message).hint("set `rate_hz` in the source"),
                sample,
            ));
        } else if (sample.rate_hz / first.rate_hz - 1.0).abs() > RATE_TOLERANCE {
            let message = format!(
                "the rate is {} Hz, that of `{}` is {} Hz",
                sample.rate_hz, first.name, first.rate_hz
            );
            let hint = "set `decimate` or `resample_hz` in the source: a model would learn the rate, not the signal";
            report.push(at(
                Finding::error(Code::RateMismatch, message).hint(hint),
                sample,
            ));
        }
    }
}

fn classes(spec: &DataSpec, samples: &[Sample], report: &mut Report) -> Vec<String> {
    let found: BTreeSet<&str> = samples
        .iter()
        .flat_map(|sample| sample.label.classes())
        .collect();
    let valued = samples
        .iter()
        .any(|sample| matches!(sample.label, Label::Value(_) | Label::Values(_)));
    if !found.is_empty() || valued || !spec.classes.is_empty() {
        for sample in samples {
            let unlabelled = match &sample.label {
                Label::None => true,
                Label::Segments(segments) => segments.is_empty(),
                Label::Class(_) | Label::Value(_) | Label::Values(_) => false,
            };
            if unlabelled {
                let hint = "label it, or leave it out with `exclude`";
                report.push(at(
                    Finding::warning(Code::MissingLabel, "the sample has no label").hint(hint),
                    sample,
                ));
            }
        }
    }
    if spec.classes.is_empty() {
        let mut classes: Vec<String> = found.into_iter().map(str::to_owned).collect();
        classes.sort_by(|a, b| natural::compare(a, b));
        return classes;
    }
    for sample in samples {
        let unknown: BTreeSet<&str> = sample
            .label
            .classes()
            .filter(|class| !spec.classes.iter().any(|known| known == class))
            .collect();
        for class in unknown {
            let message = format!("label `{class}` is not among the classes");
            let hint = format!(
                "classes are: {}; rename or drop it with `label_map`",
                spec.classes.join(", ")
            );
            report.push(at(
                Finding::error(Code::UnknownLabel, message).hint(hint),
                sample,
            ));
        }
    }
    for class in spec
        .classes
        .iter()
        .filter(|class| !found.contains(class.as_str()))
    {
        report.push(Finding::warning(
            Code::MissingClass,
            format!("no sample is of class `{class}`"),
        ));
    }
    spec.classes.clone()
}

fn duplicates(samples: &[Sample], report: &mut Report) {
    let mut known: BTreeMap<_, &Sample> = BTreeMap::new();
    for sample in samples {
        match known.entry(sample.content_digest()) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(sample);
            }
            std::collections::btree_map::Entry::Occupied(entry) => {
                let first = entry.get();
                let message = format!("holds the same readings as `{}`", first.name);
                let finding = if first.label == sample.label {
                    Finding::warning(Code::Duplicate, message)
                } else {
                    Finding::warning(Code::Duplicate, format!("{message}, under another label"))
                };
                report.push(at(
                    finding.hint("leave one of the two out with `exclude`"),
                    sample,
                ));
            }
        }
    }
}

/// What one channel does over all samples.
struct Extent {
    low: f32,
    high: f32,
}

fn signals(samples: &[Sample], report: &mut Report) {
    let Some(first) = samples.first() else {
        return;
    };
    if first.image.is_some() {
        return;
    }
    for (index, channel) in first.channels.iter().enumerate() {
        let extents: Vec<Extent> = samples.iter().map(|sample| extent(sample, index)).collect();
        let still = |extent: &&Extent| extent.low >= extent.high;
        let still_count = extents.iter().filter(still).count();
        if still_count > 0 {
            let at_index = extents
                .iter()
                .position(|extent| still(&extent))
                .unwrap_or(0);
            let message = format!(
                "channel `{}` never changes in {still_count} of {} samples, such as `{}`",
                channel.name,
                samples.len(),
                samples[at_index].name
            );
            let finding = if still_count == samples.len() {
                Finding::warning(Code::Constant, message)
                    .hint("leave it out of `channels`: it says nothing")
            } else {
                Finding::note(Code::Constant, message)
                    .hint("check whether the sensor was connected")
            };
            report.push(finding);
        }
        clipped(samples, index, &extents, report);
    }
}

fn extent(sample: &Sample, channel: usize) -> Extent {
    let readings = sample
        .readings
        .iter()
        .skip(channel)
        .step_by(sample.channels.len());
    readings.fold(
        Extent {
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
        },
        |extent, &reading| Extent {
            low: extent.low.min(reading),
            high: extent.high.max(reading),
        },
    )
}

fn clipped(samples: &[Sample], channel: usize, extents: &[Extent], report: &mut Report) {
    let low = extents
        .iter()
        .map(|extent| extent.low)
        .fold(f32::INFINITY, f32::min);
    let high = extents
        .iter()
        .map(|extent| extent.high)
        .fold(f32::NEG_INFINITY, f32::max);
    let mut clipped: Vec<(&Sample, usize)> = Vec::new();
    for (sample, extent) in samples.iter().zip(extents) {
        // Only who reaches the extreme of all can be clipped; who never changes has been told already.
        if extent.low < extent.high && (extent.low == low || extent.high == high) {
            let count = clipped_count(sample, channel, low, high);
            // A channel with two values alone is a switch.
            if count > 0 && count < sample.len() / 2 {
                clipped.push((sample, count));
            }
        }
    }
    let Some((worst, count)) = clipped.iter().max_by_key(|(_, count)| *count) else {
        return;
    };
    let message = format!(
        "channel `{}` stays at its extremes ({low}, {high}) in {} of {} samples, in `{}` for {count} readings",
        worst.channels[channel].name,
        clipped.len(),
        samples.len(),
        worst.name
    );
    let finding = Finding::warning(Code::Clipped, message).in_file(&worst.origin.file);
    report.push(finding.hint("the sensor's range may be too small; set it wider and record again"));
}

/// Readings in runs of at least [`CLIPPED_RUN`] at an extreme.
fn clipped_count(sample: &Sample, channel: usize, low: f32, high: f32) -> usize {
    let readings = sample
        .readings
        .iter()
        .skip(channel)
        .step_by(sample.channels.len());
    let (mut count, mut run, mut last) = (0, 0, f32::NAN);
    for &reading in readings {
        let extreme = reading == low || reading == high;
        run = match (extreme, reading == last) {
            (false, _) => 0,
            (true, true) => run + 1,
            (true, false) => 1,
        };
        if run == CLIPPED_RUN {
            count += CLIPPED_RUN;
        } else if run > CLIPPED_RUN {
            count += 1;
        }
        last = reading;
    }
    count
}

fn balance(dataset: &Dataset, report: &mut Report) {
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in &dataset.samples {
        match &sample.label {
            Label::Class(class) => *totals.entry(class).or_default() += sample.len(),
            Label::Segments(segments) => {
                for segment in segments {
                    *totals.entry(&segment.class).or_default() += segment.range.len();
                }
            }
            Label::None | Label::Value(_) | Label::Values(_) => {}
        }
    }
    let most = totals.iter().max_by_key(|(_, total)| **total);
    let least = totals.iter().min_by_key(|(_, total)| **total);
    let (Some((most, most_total)), Some((least, least_total))) = (most, least) else {
        return;
    };
    let ratio = *most_total as f64 / (*least_total).max(1) as f64;
    if ratio > IMBALANCE {
        let message = format!("class `{most}` has {ratio:.0} times as many readings as `{least}`");
        let hint =
            format!("record more of `{least}`; accuracy alone will look better than the model is");
        report.push(Finding::warning(Code::Imbalance, message).hint(hint));
    }
}

fn windows(spec: &WindowSpec, dataset: &Dataset, report: &mut Report) {
    let windowing = match Windowing::new(spec, dataset) {
        Ok(windowing) => windowing,
        // That nothing was read has been said.
        Err(_) if dataset.samples.is_empty() => return,
        Err(WindowError::NoRate) if report.of(Code::MissingRate).next().is_some() => return,
        Err(error) => {
            let hint = match error {
                WindowError::Unequal { .. } => "set `len` or `ms` in `[data.window]`",
                WindowError::NoRate => "set `rate_hz` in the source, or `len` in place of `ms`",
                _ => "mend `[data.window]`",
            };
            report.push(Finding::error(Code::Setting, format!("window: {error}")).hint(hint));
            return;
        }
    };
    if windowing.short != Short::Drop {
        return;
    }
    for sample in dataset
        .samples
        .iter()
        .filter(|sample| sample.len() < windowing.len)
    {
        let message = format!(
            "{} readings are shorter than a window of {}; the sample is not used",
            sample.len(),
            windowing.len
        );
        let hint =
            "set `short = \"zeros\"` or `\"repeat\"` in `[data.window]`, or a shorter window";
        report.push(at(
            Finding::warning(Code::TooShort, message).hint(hint),
            sample,
        ));
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
