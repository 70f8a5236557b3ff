//! Text with one sample a line, its readings one after the other; a file for each channel.
//!
//! The way of `uci-har-raw`: line 17 of `body_acc_x_train.txt` and of its eight siblings is one window.

use super::text::{self, Dialect};
use super::{Findings, Recording};
use crate::finding::{Code, Finding};
use crate::sample::{Channel, Label};
use crate::spec::SourceSpec;

/// Decodes one file for each channel: names of channels and text. The cell at the index `label_column`, if it is set, is
/// the label of its row.
pub fn decode(
    files: &[(String, Vec<u8>)],
    spec: &SourceSpec,
    findings: &mut Findings<'_>,
) -> Vec<Recording> {
    let label_index = match spec.label_column.as_deref().map(str::parse::<usize>) {
        None => None,
        Some(Ok(index)) => Some(index),
        Some(Err(_)) => {
            let message = "`label_column` is not an index, and rows that are samples have no names";
            findings.push(Finding::error(Code::Setting, message).hint("count columns from 0"));
            return Vec::new();
        }
    };
    if let Some(finding) = files.iter().find_map(|(_, bytes)| text::not_text(bytes)) {
        findings.push(finding);
        return Vec::new();
    }
    let channels: Vec<Channel> = files
        .iter()
        .enumerate()
        .map(|(index, (name, _))| Channel {
            name: if name.is_empty() {
                index.to_string()
            } else {
                name.clone()
            },
            unit: String::new(),
        })
        .collect();
    let mut streams: Vec<_> = files
        .iter()
        .map(|(_, bytes)| {
            let lines = text::lines(bytes);
            let dialect = Dialect::sniff(lines.clone().take(16).map(|(_, line)| line), None);
            (dialect, lines)
        })
        .collect();
    let mut recordings = Vec::new();
    let mut columns: Vec<Vec<f32>> = vec![Vec::new(); files.len()];
    loop {
        let mut row = 0;
        let mut ended = 0;
        let mut broken = false;
        let mut label = Label::None;
        for (((dialect, lines), column), channel) in
            streams.iter_mut().zip(&mut columns).zip(&channels)
        {
            column.clear();
            let Some((line_row, line)) = lines.next() else {
                ended += 1;
                continue;
            };
            row = line_row;
            for (index, cell) in dialect.cells(line).enumerate() {
                if Some(index) == label_index {
                    label = Label::Class(text::text(cell));
                    continue;
                }
                let number = number(*dialect, cell, row, &channel.name, findings);
                broken |= number.is_none();
                column.push(number.unwrap_or(f64::NAN) as f32);
            }
        }
        if ended == streams.len() {
            return recordings;
        }
        if ended > 0 {
            let message = format!("{ended} of {} channels end before this row", streams.len());
            findings.push(
                Finding::error(Code::Truncated, message)
                    .at_row(row)
                    .hint("copy the files again"),
            );
            return recordings;
        }
        let len = columns[0].len();
        if let Some(odd) = columns.iter().position(|column| column.len() != len) {
            let message = format!(
                "channel `{}` has {} readings, channel `{}` {len}; the row is left out",
                channels[odd].name,
                columns[odd].len(),
                channels[0].name
            );
            findings.push(Finding::error(Code::RowWidth, message).at_row(row));
            // Rows keep their place, so that side files still fit.
            columns.iter_mut().for_each(Vec::clear);
        }
        if broken {
            columns.iter_mut().for_each(Vec::clear);
        }
        let len = columns[0].len();
        let mut readings = Vec::with_capacity(len * columns.len());
        for index in 0..len {
            readings.extend(columns.iter().map(|column| column[index]));
        }
        recordings.push(Recording {
            part: format!("{:05}", recordings.len() + 1),
            row,
            channels: channels.clone(),
            readings,
            label,
            ..Recording::default()
        });
    }
}

fn number(
    dialect: Dialect,
    cell: &[u8],
    row: u64,
    channel: &str,
    findings: &mut Findings<'_>,
) -> Option<f64> {
    let number = dialect.number(cell);
    match number {
        None => {
            let message = format!(
                "`{}` in channel `{channel}` is not a number",
                text::shown(cell)
            );
            findings.push(Finding::error(Code::NotANumber, message).at_row(row));
        }
        Some(value) if !value.is_finite() => {
            let message = format!(
                "a reading of channel `{channel}` is `{}`",
                text::shown(cell)
            );
            findings.missing(Finding::error(Code::NotFinite, message).at_row(row));
        }
        Some(_) => {}
    }
    number
}
