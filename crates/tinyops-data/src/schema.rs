//! What the recordings of a project look like, inferred from them, kept as text in Git, and held against what comes later.
//!
//! ```text
//! version = 1
//! rate_hz = 100.0
//! rate_tolerance = 0.02
//! seconds = [2.56, 2.56]
//!
//! [[channel]]
//! name = "x"
//! unit = "g"
//! whole = false
//! range = [-1.4, 1.4]
//! held_max = 0.05
//! deciles = [-0.9, -0.6, -0.3, -0.1, 0.0, 0.1, 0.3, 0.6, 0.9]
//! drift_max = 0.25
//!
//! [[class]]
//! name = "blade"
//! share = 0.33
//! share_tolerance = 0.2
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use tinyops_sketch::distance::{Smoothing, psi, shares_of};

use crate::dataset::Dataset;
use crate::decode::format_of;
use crate::finding::{Code, Finding, Report};
use crate::sample::Sample;
use crate::spec::{DataSpec, Format};

/// Clocks differ by less, as a share of the rate.
const RATE_TOLERANCE: f64 = 0.02;
/// A range is wider than what was seen by so much of it, on either side.
const RANGE_MARGIN: f64 = 0.25;
/// How far the share of a class may move.
const SHARE_TOLERANCE: f64 = 0.2;
/// Distance from which a channel has drifted, nats: the usual reading of the index is that above a quarter something has
/// moved.
const DRIFT_MAX: f64 = 0.25;
/// A channel may repeat its reading so much more often than it did, as a share of all readings.
const HELD_MARGIN: f64 = 0.1;
/// Findings of one kind that are told of one recording; the others are counted.
const TOLD: u64 = 3;

/// What recordings look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Of the text.
    pub version: u32,
    /// Readings per second and channel; 0 for images.
    pub rate_hz: f64,
    /// How far a recording's rate may be from it, as a share.
    pub rate_tolerance: f64,
    /// The shortest and the longest recording, seconds; of images readings.
    pub seconds: [f64; 2],
    /// What is measured, in the order of the readings.
    #[serde(default, rename = "channel")]
    pub channels: Vec<ChannelSchema>,
    /// The classes, sorted.
    #[serde(default, rename = "class")]
    pub classes: Vec<ClassSchema>,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSchema {
    /// Its name.
    pub name: String,
    /// Its unit; empty if not known.
    pub unit: String,
    /// Whether all readings are whole numbers.
    pub whole: bool,
    /// The least and the greatest reading that may come, in its unit.
    pub range: [f64; 2],
    /// Most readings that may be the same as the one before, as a share of a recording: those that were held where one was
    /// missing, or a sensor that hangs.
    pub held_max: f64,
    /// Nine numbers that divide the readings in ten parts, in its unit: what drift is told from.
    pub deciles: Vec<f64>,
    /// Population stability index of the tenths from which it has drifted, nats.
    pub drift_max: f64,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSchema {
    /// Its name.
    pub name: String,
    /// How many recordings hold it, as a share.
    pub share: f64,
    /// How far the share may move.
    pub share_tolerance: f64,
}

/// Why a text is no schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Not TOML, a key that is missing or unknown, a value of another kind.
    #[error("{0}")]
    Syntax(String),
    /// A newer TinyOps wrote it.
    #[error("it has version {0}, this TinyOps knows version 1")]
    Version(u32),
    /// A value that nothing can be held against.
    #[error("`{key}` of `{name}` is not usable: {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Of which channel or class, or of the whole.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl Schema {
    /// What a dataset looks like, with margins for what comes later; none of one without a sample.
    #[must_use]
    pub fn infer(dataset: &Dataset) -> Option<Schema> {
        let first = dataset.samples.first()?;
        let mut seconds = [f64::INFINITY, 0.0f64];
        for sample in &dataset.samples {
            seconds = [
                seconds[0].min(length(sample)),
                seconds[1].max(length(sample)),
            ];
        }
        let channels = first.channels.iter().enumerate();
        let channels = channels.map(|(index, channel)| {
            let mut all: Vec<f32> = dataset
                .samples
                .iter()
                .flat_map(|sample| readings(sample, index))
                .collect();
            all.sort_unstable_by(f32::total_cmp);
            let held = dataset.samples.iter().map(|sample| held(sample, index));
            let whole = all.iter().all(|reading| reading.fract() == 0.0);
            let (least, greatest) = (at(&all, 0.0), at(&all, 1.0));
            let margin = (greatest - least) * RANGE_MARGIN;
            ChannelSchema {
                name: channel.name.clone(),
                unit: channel.unit.clone(),
                whole,
                range: [brief(least - margin), brief(greatest + margin)],
                held_max: brief((held.fold(0.0, f64::max) + HELD_MARGIN).min(1.0)),
                deciles: (1..10)
                    .map(|tenth| brief(at(&all, f64::from(tenth) / 10.0)))
                    .collect(),
                drift_max: DRIFT_MAX,
            }
        });
        let counts = class_shares(dataset);
        let classes = counts.into_iter().map(|(name, share)| ClassSchema {
            name: name.to_owned(),
            share: brief(share),
            share_tolerance: SHARE_TOLERANCE,
        });
        Some(Schema {
            version: 1,
            rate_hz: brief(f64::from(first.rate_hz)),
            rate_tolerance: RATE_TOLERANCE,
            seconds: seconds.map(brief),
            channels: channels.collect(),
            classes: classes.collect(),
        })
    }

    /// The text: the same schema gives the same bytes, always.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = "# What recordings look like, for `tinyops data validate` and every run to hold new ones against.\n\
                        # `tinyops data schema infer` wrote it; loosen or tighten it by hand.\n"
            .to_owned();
        let number = |value: f64| toml::Value::Float(value).to_string();
        let string = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let list = |values: &[f64]| {
            let values: Vec<String> = values.iter().map(|value| number(*value)).collect();
            format!("[{}]", values.join(", "))
        };
        let written = (|| {
            writeln!(text, "version = {}", self.version)?;
            writeln!(text, "rate_hz = {}", number(self.rate_hz))?;
            writeln!(text, "rate_tolerance = {}", number(self.rate_tolerance))?;
            writeln!(text, "seconds = {}", list(&self.seconds))?;
            for channel in &self.channels {
                writeln!(text, "\n[[channel]]\nname = {}", string(&channel.name))?;
                writeln!(text, "unit = {}", string(&channel.unit))?;
                writeln!(text, "whole = {}", channel.whole)?;
                writeln!(text, "range = {}", list(&channel.range))?;
                writeln!(text, "held_max = {}", number(channel.held_max))?;
                writeln!(text, "deciles = {}", list(&channel.deciles))?;
                writeln!(text, "drift_max = {}", number(channel.drift_max))?;
            }
            for class in &self.classes {
                writeln!(text, "\n[[class]]\nname = {}", string(&class.name))?;
                writeln!(text, "share = {}", number(class.share))?;
                writeln!(text, "share_tolerance = {}", number(class.share_tolerance))?;
            }
            std::fmt::Result::Ok(())
        })();
        written.expect("a string takes any text");
        text
    }

    /// Reads a schema, as it was written or as somebody has changed it since.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn decode(text: &str) -> Result<Schema, SchemaError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let syntax = |error: toml::de::Error| {
            let row = error
                .span()
                .map(|span| text[..span.start].matches('\n').count() + 1);
            let row = row.map_or(String::new(), |row| format!("row {row}: "));
            SchemaError::Syntax(format!("{row}{}", error.message()))
        };
        match toml::from_str::<Version>(text).map_err(syntax)?.version {
            1 => {}
            newer => return Err(SchemaError::Version(newer)),
        }
        let schema: Schema = toml::from_str(text).map_err(syntax)?;
        match schema.fault() {
            None => Ok(schema),
            Some((key, name, expected)) => Err(SchemaError::Value {
                key,
                name,
                expected,
            }),
        }
    }

    fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let is_share = |value: f64| (0.0..=1.0).contains(&value);
        let is_pair = |[low, high]: [f64; 2]| low.is_finite() && high.is_finite() && low <= high;
        let whole = |key, expected| Some((key, "the schema".to_owned(), expected));
        if !self.rate_hz.is_finite() || self.rate_hz < 0.0 {
            return whole("rate_hz", "at least 0");
        }
        if !is_share(self.rate_tolerance) {
            return whole("rate_tolerance", "a share, from 0 to 1");
        }
        if !is_pair(self.seconds) {
            return whole("seconds", "two numbers, the smaller first");
        }
        for channel in &self.channels {
            let of = |key, expected| Some((key, channel.name.clone(), expected));
            if !is_pair(channel.range) {
                return of("range", "two numbers, the smaller first");
            }
            if !is_share(channel.held_max) {
                return of("held_max", "a share, from 0 to 1");
            }
            if channel.deciles.len() != 9 || !channel.deciles.is_sorted() {
                return of("deciles", "nine numbers that do not fall");
            }
            if channel.drift_max.is_nan() || channel.drift_max < 0.0 {
                return of("drift_max", "at least 0");
            }
        }
        for class in &self.classes {
            if !is_share(class.share) || !is_share(class.share_tolerance) {
                return Some(("share", class.name.clone(), "a share, from 0 to 1"));
            }
        }
        None
    }

    /// Holds a dataset against it: what is of another kind is an error, what has moved a warning.
    pub fn check(&self, dataset: &Dataset, spec: &DataSpec, report: &mut Report) {
        self.check_recordings(dataset, spec, report);
        self.check_balance(dataset, report);
        for (index, channel) in self.channels.iter().enumerate() {
            drift(index, channel, dataset, report);
        }
    }

    /// Holds each recording against it for itself, as those are that come to others.
    pub fn check_recordings(&self, dataset: &Dataset, spec: &DataSpec, report: &mut Report) {
        for sample in &dataset.samples {
            self.check_sample(sample, spec, report);
            for class in sample.label.classes() {
                if !self.classes.iter().any(|known| known.name == class) {
                    let message = format!("is of class `{class}`, which the schema does not know");
                    report.push(place(Finding::error(Code::SchemaClass, message), sample));
                }
            }
        }
    }

    fn check_sample(&self, sample: &Sample, spec: &DataSpec, report: &mut Report) {
        let rate = f64::from(sample.rate_hz);
        if (rate - self.rate_hz).abs() > self.rate_hz * self.rate_tolerance {
            let message = format!("has {rate} readings a second, not {}", self.rate_hz);
            report.push(place(Finding::error(Code::SchemaRate, message), sample));
        }
        let named = |channel: &str, unit: &str| match unit {
            "" => format!("`{channel}`"),
            unit => format!("`{channel}` in `{unit}`"),
        };
        let has = sample
            .channels
            .iter()
            .map(|channel| named(&channel.name, &channel.unit));
        let should = self
            .channels
            .iter()
            .map(|channel| named(&channel.name, &channel.unit));
        let (has, should): (Vec<String>, Vec<String>) = (has.collect(), should.collect());
        if has != should {
            let names = |channels: &[String]| match channels.is_empty() {
                true => "nothing".to_owned(),
                false => channels.join(", "),
            };
            let message = format!("measures {}, not {}", names(&has), names(&should));
            report.push(place(Finding::error(Code::SchemaChannel, message), sample));
            return;
        }
        let (length, [least, most]) = (length(sample), self.seconds);
        // A reading more or less is no other length.
        let slack = if rate > 0.0 { 1.0 / rate } else { 0.0 };
        if length < least - slack || length > most + slack {
            let message = format!("is {length:.3} s long, others have {least} to {most} s");
            report.push(place(Finding::warning(Code::SchemaLength, message), sample));
        }
        for (index, channel) in self.channels.iter().enumerate() {
            check_readings(index, channel, sample, spec, report);
        }
    }

    fn check_balance(&self, dataset: &Dataset, report: &mut Report) {
        let shares = class_shares(dataset);
        for class in &self.classes {
            let share = shares.get(class.name.as_str()).copied().unwrap_or(0.0);
            if share == 0.0 && class.share > 0.0 {
                let message = format!("no recording is of class `{}`", class.name);
                report.push(Finding::error(Code::SchemaClass, message));
            } else if (share - class.share).abs() > class.share_tolerance {
                let (share, was) = (share * 100.0, class.share * 100.0);
                let message = format!(
                    "{share:.0} % of the recordings are of class `{}`, not about {was:.0} %",
                    class.name
                );
                report.push(Finding::warning(Code::SchemaBalance, message));
            }
        }
    }
}

fn check_readings(
    index: usize,
    channel: &ChannelSchema,
    sample: &Sample,
    spec: &DataSpec,
    report: &mut Report,
) {
    let [least, greatest] = channel.range;
    let rows = rows_are_readings(sample, spec);
    let (mut outside, mut broken) = (0u64, 0u64);
    for (at, reading) in readings(sample, index).enumerate() {
        let value = f64::from(reading);
        let is_outside = value < least || value > greatest;
        let is_broken = channel.whole && reading.fract() != 0.0;
        let (count, code) = match (is_outside, is_broken) {
            (true, _) => (&mut outside, Code::SchemaRange),
            (_, true) => (&mut broken, Code::SchemaWhole),
            _ => continue,
        };
        *count += 1;
        if *count > TOLD {
            continue;
        }
        let name = &channel.name;
        let mut message = match code {
            Code::SchemaRange => {
                format!("`{name}` is {reading}, outside of {least} to {greatest}")
            }
            _ => format!("`{name}` is {reading}, not a whole number"),
        };
        let mut finding_at_row = None;
        match rows {
            true => finding_at_row = Some(sample.origin.row + at as u64),
            false => message = format!("reading {}: {message}", at + 1),
        }
        let finding = place(Finding::error(code, message), sample);
        report.push(match finding_at_row {
            Some(row) => finding.at_row(row),
            None => finding,
        });
    }
    for (count, code) in [(outside, Code::SchemaRange), (broken, Code::SchemaWhole)] {
        if count > TOLD {
            let message = format!(
                "{} more readings of `{}` like that",
                count - TOLD,
                channel.name
            );
            report.push(place(Finding::error(code, message), sample));
        }
    }
    let share = held(sample, index);
    if share > channel.held_max {
        let message = format!(
            "{:.0} % of `{}` repeat the reading before, at most {:.0} % did",
            share * 100.0,
            channel.name,
            channel.held_max * 100.0
        );
        report.push(place(Finding::warning(Code::SchemaHeld, message), sample));
    }
}

fn drift(index: usize, channel: &ChannelSchema, dataset: &Dataset, report: &mut Report) {
    let mut counts = [0u64; 10];
    let mut farthest: Option<(u64, &Sample)> = None;
    for sample in dataset
        .samples
        .iter()
        .filter(|sample| index < sample.channels.len())
    {
        let mut own = [0u64; 10];
        for reading in readings(sample, index) {
            own[tenth(channel, f64::from(reading))] += 1;
        }
        let excess = *own.iter().max().unwrap_or(&0);
        if farthest.is_none_or(|(most, _)| excess > most) {
            farthest = Some((excess, sample));
        }
        counts
            .iter_mut()
            .zip(own)
            .for_each(|(all, own)| *all += own);
    }
    if counts.iter().sum::<u64>() == 0 {
        return;
    }
    // Tenths that hold nothing, since many readings are the same, are expected to hold nothing.
    let mut expected = [0u64; 10];
    for part in 0..10usize {
        let (low, high) = (
            channel.deciles.get(part.wrapping_sub(1)),
            channel.deciles.get(part),
        );
        let middle = match (low, high) {
            (Some(low), Some(high)) => (low + high) / 2.0,
            (None, Some(high)) => high - high.abs().max(1.0) * 1e-6,
            (Some(low), None) => low + low.abs().max(1.0) * 1e-6,
            (None, None) => 0.0,
        };
        expected[tenth(channel, middle)] += 1000;
    }
    let (mut base, mut live) = ([0.0; 10], [0.0; 10]);
    shares_of(&expected, Smoothing::AddHalf, &mut base);
    shares_of(&counts, Smoothing::AddHalf, &mut live);
    let distance = psi(&base, &live);
    if distance > channel.drift_max {
        let message = format!(
            "`{}` is distributed otherwise than when the schema was made: index {distance:.2}, at most {}",
            channel.name, channel.drift_max
        );
        let finding = Finding::warning(Code::SchemaDrift, message);
        let finding = match farthest {
            Some((_, sample)) => place(finding, sample),
            None => finding,
        };
        report.push(finding.hint(
            "look at the file, which is farthest off; if this is how it is meant, `tinyops data schema infer --force`",
        ));
    }
}

/// Which tenth a reading falls in.
fn tenth(channel: &ChannelSchema, reading: f64) -> usize {
    channel
        .deciles
        .partition_point(|decile| *decile < reading)
        .min(9)
}

/// Adds where a sample came from.
fn place(finding: Finding, sample: &Sample) -> Finding {
    let finding = finding.in_file(&sample.origin.file);
    match sample.origin.row {
        0 => finding,
        row => finding.at_row(row),
    }
}

/// Whether the readings of a sample are rows of its file, one each.
fn rows_are_readings(sample: &Sample, spec: &DataSpec) -> bool {
    let Some(source) = spec.source.get(sample.origin.source) else {
        return false;
    };
    let format = match source.format {
        Format::Auto => format_of(&sample.origin.file),
        format => Some(format),
    };
    format == Some(Format::Table)
        && sample.origin.row > 0
        && sample.origin.cut.is_none()
        && source.decimate <= 1
        && source.resample_hz.is_none()
        && source.sample_column.is_none()
}

fn readings(sample: &Sample, channel: usize) -> impl Iterator<Item = f32> {
    let step = sample.channels.len().max(1);
    sample.readings.iter().skip(channel).step_by(step).copied()
}

/// How many readings are the same as the one before, as a share.
fn held(sample: &Sample, channel: usize) -> f64 {
    let same = readings(sample, channel)
        .zip(readings(sample, channel).skip(1))
        .filter(|(before, after)| before == after)
        .count();
    same as f64 / sample.len().saturating_sub(1).max(1) as f64
}

fn length(sample: &Sample) -> f64 {
    match sample.duration_s() {
        0.0 => sample.len() as f64,
        seconds => seconds,
    }
}

/// How many samples hold each class, as a share of all.
fn class_shares(dataset: &Dataset) -> BTreeMap<&str, f64> {
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    for sample in &dataset.samples {
        let mut classes: Vec<&str> = sample.label.classes().collect();
        classes.sort_unstable();
        classes.dedup();
        for class in classes {
            *counts.entry(class).or_default() += 1.0;
        }
    }
    let total = dataset.samples.len().max(1) as f64;
    counts.values_mut().for_each(|count| *count /= total);
    counts
}

/// The value below which a share of sorted readings lies.
fn at(sorted: &[f32], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (share * last as f64).round() as usize;
    sorted.get(index).map_or(0.0, |reading| f64::from(*reading))
}

/// Four digits: a schema is read by people, and its last digits say nothing.
fn brief(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::sample::{Channel, Label, Origin};

    fn sample(name: &str, class: &str, scale: f32) -> Sample {
        let readings =
            (0..256u16).map(|at| ((f32::from(at) * 0.7).sin() * scale * 100.0).round() / 100.0);
        Sample {
            name: name.to_owned(),
            rate_hz: 100.0,
            channels: vec![Channel {
                name: "x".to_owned(),
                unit: "g".to_owned(),
            }],
            readings: readings.collect(),
            image: None,
            label: Label::Class(class.to_owned()),
            group: name.to_owned(),
            role: None,
            origin: Origin {
                file: format!("{name}.csv"),
                row: 2,
                ..Origin::default()
            },
            metadata: BTreeMap::new(),
        }
    }

    fn dataset() -> Dataset {
        let classes = ["blade", "normal"];
        let samples = (0..8).map(|at| sample(&format!("r{at}"), classes[at % 2], 1.0));
        Dataset {
            samples: samples.collect(),
            classes: classes.map(str::to_owned).to_vec(),
        }
    }

    fn table() -> DataSpec {
        toml::from_str("[[source]]\nroot = '.'\nfiles = ['*.csv']\nrate_hz = 100.0\n")
            .expect("a spec")
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Dataset), expected: &[&str]) {
        let schema = Schema::infer(&dataset()).expect("samples");
        let mut changed = dataset();
        change(&mut changed);
        let mut report = Report::new();
        schema.check(&changed, &table(), &mut report);
        let found: Vec<String> = report.findings.iter().map(|f| f.to_string()).collect();
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}\n{expected}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }

    #[test]
    fn a_schema_is_text_that_reads_back_and_holds_what_it_was_made_of() {
        let schema = Schema::infer(&dataset()).expect("samples");
        assert_eq!(Schema::decode(&schema.encode()), Ok(schema.clone()));
        insta::assert_snapshot!(schema.encode());
        check(|_| {}, &[]);
        assert_eq!(Schema::infer(&Dataset::default()), None);
    }

    #[test]
    fn each_kind_of_change_is_found_with_file_and_row() {
        check(
            |changed| changed.samples[3].readings[10] = 40.0,
            &["error[schema-range]: r3.csv, row 12: `x` is 40, outside of -1.5 to 1.5"],
        );
        check(
            |changed| changed.samples[2].channels[0].unit = "m/s2".to_owned(),
            &["error[schema-channel]: r2.csv, row 2: measures `x` in `m/s2`, not `x` in `g`"],
        );
        check(
            |changed| changed.samples[1].rate_hz = 50.0,
            &[
                "error[schema-rate]: r1.csv, row 2: has 50 readings a second, not 100",
                "schema-length",
            ],
        );
        check(
            |changed| changed.samples[1].label = Label::Class("worn".to_owned()),
            &["error[schema-class]: r1.csv, row 2: is of class `worn`"],
        );
        check(
            |changed| {
                changed
                    .samples
                    .iter_mut()
                    .for_each(|s| s.label = Label::Class("blade".into()))
            },
            &[
                "schema-balance",
                "error[schema-class]: no recording is of class `normal`",
            ],
        );
        check(
            |changed| changed.samples[0].readings[40..200].fill(0.5),
            &["warning[schema-held]: r0.csv, row 2: 62 % of `x` repeat"],
        );
        check(
            |changed| {
                changed
                    .samples
                    .iter_mut()
                    .for_each(|s| s.readings.iter_mut().for_each(|v| *v = *v * 0.1 + 0.9))
            },
            &["warning[schema-drift]: r0.csv, row 2: `x` is distributed otherwise"],
        );
        check(
            |changed| changed.samples[5].readings.truncate(100),
            &["warning[schema-length]: r5.csv"],
        );
    }

    #[test]
    fn many_readings_like_that_are_counted() {
        let schema = Schema::infer(&dataset()).expect("samples");
        let mut changed = dataset();
        changed.samples[0].readings[..50].fill(9.0);
        let mut report = Report::new();
        schema.check(&changed, &table(), &mut report);
        let told: Vec<_> = report.of(Code::SchemaRange).collect();
        assert_eq!(told.len(), 4);
        assert!(
            told[3].message.contains("47 more readings"),
            "{}",
            told[3].message
        );
        assert!(report.count(Severity::Error) == 4);
    }

    #[test]
    fn what_is_no_schema_says_why() {
        let text = Schema::infer(&dataset()).expect("samples").encode();
        let why = |text: &str| Schema::decode(text).unwrap_err().to_string();
        assert!(why("version = 2\n").contains("version 2"));
        assert!(why(&text.replace("whole", "integer")).contains("row 11: unknown field"));
        assert!(
            why(&text.replace("range = [", "range = [9.0, -9.0] # ")).contains("`range` of `x`")
        );
        assert!(
            why(&text.replace("rate_tolerance = 0.02", "rate_tolerance = nan")).contains("a share")
        );
        assert!(why("").contains("version"));
    }
}
