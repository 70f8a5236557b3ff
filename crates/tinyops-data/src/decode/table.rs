//! Rows of columns: CSV and its kin, with or without header, with columns for time, label, group, value and sample.

use std::collections::BTreeMap;

use super::text::{self, Dialect};
use super::{Findings, Recording};
use crate::finding::{Code, Finding};
use crate::sample::{Channel, Label, Segment};
use crate::spec::{SourceSpec, TimeUnit};

/// Lines that a guess about a table looks at.
const SNIFFED: usize = 16;

/// More columns than this are a sample a row, not a reading a row.
const COLUMNS_MAX: usize = 4096;

/// Decodes one table: one recording, or one for each run of equal values in the sample column.
pub fn decode(bytes: &[u8], spec: &SourceSpec, findings: &mut Findings<'_>) -> Vec<Recording> {
    if let Some(finding) = text::not_text(bytes) {
        findings.push(finding);
        return Vec::new();
    }
    let mut lines = text::lines(bytes).filter(|(_, line)| !line.starts_with(b"#"));
    let head: Vec<(u64, &[u8])> = lines.clone().take(SNIFFED).collect();
    if head.is_empty() {
        findings.push(Finding::error(Code::Empty, "the file holds no row"));
        return Vec::new();
    }
    let dialect = Dialect::sniff(head.iter().map(|(_, line)| *line), spec.delimiter);
    let rows: Vec<Vec<&[u8]>> = head
        .iter()
        .map(|(_, line)| dialect.cells(line).collect())
        .collect();
    let has_header = spec.header.unwrap_or_else(|| is_header(dialect, &rows));
    if has_header {
        lines.next();
    }
    let Some(table) = Table::new(dialect, &rows, has_header, spec, findings) else {
        return Vec::new();
    };
    let rows_max = spec.rows_max.unwrap_or(u64::MAX);
    let lines = lines
        .skip(usize::try_from(spec.rows_skip).unwrap_or(usize::MAX))
        .take(usize::try_from(rows_max).unwrap_or(usize::MAX));
    let parts = table.read(lines, findings);
    if parts.is_empty() {
        findings.push(Finding::error(Code::Empty, "no row of readings is left"));
    }
    parts
        .into_iter()
        .map(|part| table.recording(part, findings))
        .collect()
}

/// A first row is a header if a number stands below one of its words.
fn is_header(dialect: Dialect, rows: &[Vec<&[u8]>]) -> bool {
    let is_word = |cell: &[u8]| dialect.number(cell).is_none();
    let Some((first, rest)) = rows.split_first() else {
        return false;
    };
    if rest.is_empty() {
        return first.iter().all(|cell| is_word(cell));
    }
    let below = |index: usize| rest.iter().filter_map(move |row| row.get(index));
    first.iter().enumerate().any(|(index, cell)| {
        is_word(cell) && below(index).any(|cell| !is_word(cell) && !text::is_missing(cell))
    })
}

/// Which column is what.
struct Table<'s> {
    dialect: Dialect,
    width: usize,
    channels: Vec<(usize, String)>,
    time: Option<(usize, String)>,
    label: Option<usize>,
    target: Option<usize>,
    group: Option<usize>,
    sample: Option<usize>,
    spec: &'s SourceSpec,
}

/// The rows of one recording, as they are read.
#[derive(Default)]
struct Part {
    name: Option<String>,
    row: u64,
    readings: Vec<f32>,
    times: Vec<f64>,
    /// The row of each time.
    rows: Vec<u64>,
    labels: Vec<Segment>,
    targets: Vec<f32>,
    group: Option<String>,
    len: usize,
}

impl<'s> Table<'s> {
    fn new(
        dialect: Dialect,
        rows: &[Vec<&[u8]>],
        has_header: bool,
        spec: &'s SourceSpec,
        findings: &mut Findings<'_>,
    ) -> Option<Table<'s>> {
        let width = rows.first().map_or(0, Vec::len);
        if width > COLUMNS_MAX {
            let message = format!("a row has {width} columns");
            let finding = Finding::error(Code::Unsupported, message).at_row(1);
            findings.push(finding.hint("set `format = \"lines\"` if a row is a sample"));
            return None;
        }
        let names = names(rows, has_header, spec, width);
        let mut missing = false;
        let mut column = |wanted: &Option<String>, setting: &str, findings: &mut Findings<'_>| {
            let wanted = wanted.as_ref()?;
            let index = index_of(&names, wanted);
            if index.is_none() {
                missing = true;
                findings.push(no_column(wanted, setting, &names));
            }
            index
        };
        let label = column(&spec.label_column, "label_column", findings);
        let target = column(&spec.target_column, "target_column", findings);
        let group = column(&spec.group_column, "group_column", findings);
        let sample = column(&spec.sample_column, "sample_column", findings);
        let time = column(&spec.time_column, "time_column", findings).or_else(|| {
            let is_chosen = |name: &String| index_of(&spec.channels, name).is_some();
            let mut names = names.iter();
            names.position(|name| is_time(name) && !is_chosen(name))
        });
        let taken = [label, target, group, sample, time];
        // Names for a headerless table may be those of its channels alone.
        let free = (0..width).filter(|index| !taken.contains(&Some(*index)));
        let channels: Vec<(usize, String)> = if spec.channels.is_empty() {
            free.map(|index| (index, names[index].clone())).collect()
        } else if !has_header
            && spec.columns.is_empty()
            && free.clone().count() == spec.channels.len()
        {
            free.zip(spec.channels.iter().cloned()).collect()
        } else {
            let find = |wanted: &String| {
                let index = index_of(&names, wanted);
                if index.is_none() {
                    missing = true;
                    findings.push(no_column(wanted, "channels", &names));
                }
                Some((index?, wanted.clone()))
            };
            spec.channels.iter().filter_map(find).collect()
        };
        if channels.is_empty() && !missing {
            findings.push(Finding::error(
                Code::MissingColumn,
                "no column is left for readings",
            ));
        }
        (!missing && !channels.is_empty()).then(|| Table {
            dialect,
            width,
            channels,
            time: time.map(|index| (index, names[index].clone())),
            label,
            target,
            group,
            sample,
            spec,
        })
    }

    fn read<'a>(
        &self,
        lines: impl Iterator<Item = (u64, &'a [u8])>,
        findings: &mut Findings<'_>,
    ) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut cells: Vec<&[u8]> = Vec::new();
        for (row, line) in lines {
            cells.clear();
            cells.extend(self.dialect.cells(line));
            if cells.len() != self.width {
                let message = format!(
                    "{} columns, the first row has {}; the row is left out",
                    cells.len(),
                    self.width
                );
                let finding = Finding::error(Code::RowWidth, message).at_row(row);
                findings.push(finding.hint("a line may be cut off; mend or remove it"));
                continue;
            }
            let name = self.sample.map(|index| cells[index]);
            let begins = match parts.last() {
                None => true,
                Some(part) => name.is_some_and(|name| {
                    part.name.as_deref() != Some(&*String::from_utf8_lossy(name))
                }),
            };
            if begins {
                parts.push(Part {
                    name: name.map(text::text),
                    row,
                    group: self.group.map(|index| text::text(cells[index])),
                    ..Part::default()
                });
            }
            if let Some(part) = parts.last_mut() {
                self.read_row(&cells, row, part, findings);
            }
        }
        parts
    }

    fn read_row(&self, cells: &[&[u8]], row: u64, part: &mut Part, findings: &mut Findings<'_>) {
        for (index, name) in &self.channels {
            let reading = self.number(cells[*index], name, row, findings);
            part.readings.push(reading as f32);
        }
        if let Some((index, name)) = &self.time {
            let time = self.number(cells[*index], name, row, findings);
            part.times.push(time);
            part.rows.push(row);
        }
        if let Some(index) = self.target {
            let target = self.number(cells[index], "target", row, findings);
            part.targets.push(target as f32);
        }
        if let Some(index) = self.label {
            let cell = cells[index];
            match part.labels.last_mut() {
                Some(last) if last.class.as_bytes() == cell && last.range.end == part.len => {
                    last.range.end += 1
                }
                // A row without a label stands in no segment.
                _ if cell.is_empty() => {}
                _ => part.labels.push(Segment {
                    range: part.len..part.len + 1,
                    class: text::text(cell),
                }),
            }
        }
        part.len += 1;
    }

    fn number(&self, cell: &[u8], column: &str, row: u64, findings: &mut Findings<'_>) -> f64 {
        match self.dialect.number(cell) {
            Some(number) if number.is_finite() => number,
            Some(number) => {
                let what = if cell.is_empty() {
                    "empty".to_owned()
                } else {
                    format!("`{}`", text::shown(cell))
                };
                let finding =
                    Finding::error(Code::NotFinite, format!("column `{column}` is {what}"));
                findings.missing(
                    finding
                        .at_row(row)
                        .hint("mend the file, or set `missing = \"hold\"`"),
                );
                number
            }
            None => {
                let message = format!(
                    "`{}` in column `{column}` is not a number",
                    text::shown(cell)
                );
                let finding = Finding::error(Code::NotANumber, message).at_row(row);
                findings.push(finding.hint("mend the file, or leave the column out of `channels`"));
                f64::NAN
            }
        }
    }

    fn recording(&self, part: Part, findings: &mut Findings<'_>) -> Recording {
        let rate_hz = match &self.time {
            Some((_, name)) if part.len > 1 => self.rate(name, &part, findings),
            _ => None,
        };
        let channels = self.channels.iter().map(|(_, name)| Channel {
            name: name.clone(),
            unit: String::new(),
        });
        let label = match &part.labels[..] {
            _ if self.target.is_some() => Label::Values(part.targets),
            [] => Label::None,
            [only] if only.range == (0..part.len) => Label::Class(only.class.clone()),
            _ => Label::Segments(part.labels),
        };
        Recording {
            part: part.name.unwrap_or_default(),
            row: part.row,
            rate_hz,
            channels: channels.collect(),
            readings: part.readings,
            image: None,
            label,
            group: part.group,
            metadata: BTreeMap::new(),
        }
    }

    /// The mean rate, and what is wrong with the times.
    fn rate(&self, name: &str, part: &Part, findings: &mut Findings<'_>) -> Option<f32> {
        let times = &part.times;
        let mut steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if let Some(back) = steps.iter().position(|step| *step < 0.0) {
            let count = steps.iter().filter(|step| **step < 0.0).count();
            let message = format!("column `{name}` goes back {count} times, first here");
            findings.push(
                Finding::warning(Code::Time, message)
                    .at_row(part.rows[back + 1])
                    .hint("sort the rows, or cut the file where the clock was set"),
            );
        }
        steps.sort_by(f64::total_cmp);
        let median = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
        let unit = self
            .spec
            .time_unit
            .unwrap_or_else(|| guess_unit(name, times[0], median));
        let per_second = match unit {
            TimeUnit::S => 1.0,
            TimeUnit::Ms => 1e3,
            TimeUnit::Us => 1e6,
            TimeUnit::Ns => 1e9,
        };
        let longest = steps.last().copied().unwrap_or(0.0);
        if median > 0.0 && longest > 10.0 * median {
            let message = format!(
                "column `{name}` leaves a gap of {:.3} s, {:.0} times its usual step",
                longest / per_second,
                longest / median
            );
            let at = times
                .windows(2)
                .position(|pair| pair[1] - pair[0] == longest)
                .unwrap_or(0);
            findings.push(Finding::warning(Code::Time, message).at_row(part.rows[at + 1]));
        }
        let span_s = (times[times.len() - 1] - times[0]) / per_second;
        let rate_hz = ((times.len() - 1) as f64 / span_s) as f32;
        if rate_hz.is_finite() && rate_hz > 0.0 {
            return Some(rate_hz);
        }
        let message = format!("column `{name}` spans {span_s} s, which gives no rate");
        findings.push(
            Finding::warning(Code::Time, message)
                .at_row(part.row)
                .hint("set `rate_hz` in the source"),
        );
        None
    }
}

fn names(rows: &[Vec<&[u8]>], has_header: bool, spec: &SourceSpec, width: usize) -> Vec<String> {
    (0..width)
        .map(|index| match (spec.columns.get(index), has_header) {
            (Some(name), _) => name.clone(),
            (None, true) => text::text(rows[0][index]),
            (None, false) => index.to_string(),
        })
        .collect()
}

/// A column by its name, or by its index if no column is called so.
fn index_of(names: &[String], wanted: &str) -> Option<usize> {
    let by_name = names.iter().position(|name| name == wanted);
    by_name.or_else(|| wanted.parse().ok().filter(|index| *index < names.len()))
}

fn no_column(wanted: &str, setting: &str, names: &[String]) -> Finding {
    let some: Vec<&str> = names.iter().map(String::as_str).take(12).collect();
    let finding = Finding::error(
        Code::MissingColumn,
        format!("no column is called `{wanted}` ({setting})"),
    );
    finding.hint(format!("columns are: {}", some.join(", ")))
}

fn is_time(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "timestamp",
        "time",
        "t",
        "time_s",
        "time_ms",
        "time_us",
        "timestamp_s",
        "timestamp_ms",
        "timestamp_us",
        "ts",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// By the end of its name, or by its size: since 1970, or steps below one.
fn guess_unit(name: &str, first: f64, step: f64) -> TimeUnit {
    let name = name.to_ascii_lowercase();
    for (suffix, unit) in [
        ("_ns", TimeUnit::Ns),
        ("_us", TimeUnit::Us),
        ("_ms", TimeUnit::Ms),
        ("_s", TimeUnit::S),
    ] {
        if name.ends_with(suffix) {
            return unit;
        }
    }
    // The year 2001 is 1e9 s, 1e12 ms, 1e15 us, 1e18 ns.
    match first {
        first if first > 1e17 => TimeUnit::Ns,
        first if first > 1e14 => TimeUnit::Us,
        first if first > 1e11 => TimeUnit::Ms,
        first if first > 1e9 => TimeUnit::S,
        // From a start at zero: a step of a second and more is rare, one below a millisecond is audio.
        _ if step < 1.0 => TimeUnit::S,
        _ => TimeUnit::Ms,
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
