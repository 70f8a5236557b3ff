//! MATLAB 5 `.mat`: numeric variables, plain or compressed, of either byte order.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 116 | text |
//! | 124 | 2 | version, 0x0100 |
//! | 126 | 2 | `IM` little-endian, `MI` big-endian |
//! | 128 | 8 + n | elements: type, length, bytes, filled up to a multiple of 8 (but for compressed ones) |
//!
//! A matrix element holds elements: flags (class in the low byte), dimensions, name, values in column order. A type with
//! anything in its upper half is a small element: length above, type below, up to 4 bytes in place of the length.
//!
//! # Source
//! MathWorks, "MAT-File Format", version 5, chapter 1.

use std::collections::BTreeMap;

use super::gzip::unpack_zlib;
use super::{Findings, Recording};
use crate::finding::{Code, Finding};
use crate::pattern::Pattern;
use crate::sample::Channel;

/// Decodes the chosen variables of one file, side by side, as one recording.
///
/// A choice is the pattern of a variable's name, such as `X*_DE_time`, and may begin with a name for the channel:
/// `drive_end = X*_DE_time`. Without choices, all vectors of the greatest length are taken. Numbers (1 × 1) become
/// metadata; a leading letter and number, as in `X105RPM`, is left out of their name, since it is that of the file.
pub fn decode(bytes: &[u8], choices: &[String], findings: &mut Findings<'_>) -> Option<Recording> {
    let order = check_head(bytes, findings)?;
    let mut variables = Vec::new();
    read_elements(&bytes[128..], 128, order, &mut variables, findings);
    let columns = choose(&variables, choices, findings)?;
    let len = columns.first()?.values.len();
    if let Some(odd) = columns.iter().find(|column| column.values.len() != len) {
        let message = format!(
            "variable `{}` has {} readings, `{}` {len}",
            odd.variable,
            odd.values.len(),
            columns[0].variable
        );
        findings.push(
            Finding::error(Code::ChannelMismatch, message)
                .hint("name those of one rate in `channels`"),
        );
        return None;
    }
    if len == 0 {
        findings.push(Finding::error(
            Code::Empty,
            "the variables hold no readings",
        ));
        return None;
    }
    let mut readings = Vec::with_capacity(len * columns.len());
    for index in 0..len {
        readings.extend(columns.iter().map(|column| column.values[index] as f32));
    }
    let recording = Recording {
        channels: columns
            .iter()
            .map(|column| Channel {
                name: column.channel.clone(),
                unit: String::new(),
            })
            .collect(),
        readings,
        metadata: metadata(&variables),
        ..Recording::default()
    };
    findings.not_finite(&recording);
    Some(recording)
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// A numeric matrix: `rows * columns` values, column by column.
struct Variable {
    name: String,
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

struct Column<'a> {
    variable: &'a str,
    channel: String,
    values: &'a [f64],
}

fn check_head(bytes: &[u8], findings: &mut Findings<'_>) -> Option<Order> {
    let finding = if bytes.starts_with(b"MATLAB 7.3") || bytes.starts_with(b"\x89HDF") {
        Finding::error(Code::Unsupported, "the file is MAT 7.3").hint("save it with `save -v7`")
    } else if bytes.len() < 128 {
        Finding::error(Code::Truncated, "the file ends inside its header").hint("copy it again")
    } else {
        match &bytes[126..128] {
            b"IM" => return Some(Order::Little),
            b"MI" => return Some(Order::Big),
            _ => Finding::error(Code::Malformed, "the file does not begin like MAT 5")
                .hint("set `format` to what it is, or save it with `save -v7`"),
        }
    };
    findings.push(finding.at_offset(0));
    None
}

/// One element: its type, its bytes, and how many bytes it takes with its tag.
struct Element<'a> {
    kind: u32,
    body: &'a [u8],
    total: usize,
}

impl Order {
    fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    /// The element at the start of `bytes`; an error says how many bytes it lacks.
    fn element(self, bytes: &[u8]) -> Result<Element<'_>, usize> {
        let missing = 8usize.saturating_sub(bytes.len());
        let (Some(kind), Some(len)) = (self.word(bytes, 0), self.word(bytes, 4)) else {
            return Err(missing);
        };
        if kind >> 16 != 0 {
            let len = (kind >> 16).min(4) as usize;
            return Ok(Element {
                kind: kind & 0xffff,
                body: &bytes[4..4 + len],
                total: 8,
            });
        }
        let len = len as usize;
        let body = bytes
            .get(8..8 + len)
            .ok_or_else(|| (8 + len).saturating_sub(bytes.len()))?;
        let padded = if kind == COMPRESSED {
            len
        } else {
            len.next_multiple_of(8)
        };
        Ok(Element {
            kind,
            body,
            // The padding of the last element may be missing.
            total: (8 + padded).min(bytes.len()),
        })
    }
}

const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

fn read_elements(
    mut bytes: &[u8],
    mut offset: u64,
    order: Order,
    variables: &mut Vec<Variable>,
    findings: &mut Findings<'_>,
) {
    while !bytes.is_empty() {
        let element = match order.element(bytes) {
            Ok(element) => element,
            Err(missing) => {
                let message = format!("a variable lacks {missing} bytes");
                findings.push(
                    Finding::error(Code::Truncated, message)
                        .at_offset(offset)
                        .hint("copy the file again"),
                );
                return;
            }
        };
        match element.kind {
            MATRIX => read_matrix(element.body, offset, order, variables, findings),
            COMPRESSED => {
                let (unpacked, finding) = unpack_zlib(element.body);
                if let Some(finding) = finding {
                    findings.push(finding.at_offset(offset));
                } else if let Ok(inner) = order.element(&unpacked)
                    && inner.kind == MATRIX
                {
                    // One level: a compressed element holds one matrix, so nothing nests.
                    read_matrix(inner.body, offset, order, variables, findings);
                } else {
                    let message = "a compressed variable holds no matrix";
                    findings.push(Finding::error(Code::Malformed, message).at_offset(offset));
                }
            }
            _ => {}
        }
        bytes = &bytes[element.total..];
        offset += element.total as u64;
    }
}

fn read_matrix(
    body: &[u8],
    offset: u64,
    order: Order,
    variables: &mut Vec<Variable>,
    findings: &mut Findings<'_>,
) {
    match matrix(body, order) {
        Ok(Some(variable)) => variables.push(variable),
        // Text, structures and cells hold no readings.
        Ok(None) => {}
        Err(message) => findings.push(Finding::error(Code::Malformed, message).at_offset(offset)),
    }
}

fn matrix(body: &[u8], order: Order) -> Result<Option<Variable>, String> {
    let mut rest = body;
    let mut next = |what: &str| {
        let element = order
            .element(rest)
            .map_err(|_| format!("the {what} of a variable is cut off"))?;
        rest = &rest[element.total..];
        Ok::<_, String>(element)
    };
    let flags = next("flags")?;
    let class = order
        .word(flags.body, 0)
        .ok_or("the flags of a variable are cut off")?
        & 0xff;
    if !(6..=15).contains(&class) {
        return Ok(None);
    }
    let sizes = next("size")?;
    let sizes: Vec<usize> = (0..sizes.body.len() / 4)
        .filter_map(|index| order.word(sizes.body, 4 * index).map(|size| size as usize))
        .collect();
    let name = next("name")?;
    let name = String::from_utf8_lossy(name.body).into_owned();
    let values = next("body")?;
    let values = numbers(values.kind, values.body, order).ok_or_else(|| {
        format!(
            "variable `{name}` holds values of unknown type {}",
            values.kind
        )
    })?;
    let rows = sizes.first().copied().unwrap_or(0);
    let columns = sizes
        .iter()
        .skip(1)
        .try_fold(1usize, |columns, &size| columns.checked_mul(size));
    let promised = columns.and_then(|columns| columns.checked_mul(rows));
    match (columns, promised) {
        (Some(columns), Some(promised)) if promised == values.len() => Ok(Some(Variable {
            name,
            rows,
            columns,
            values,
        })),
        _ => Err(format!(
            "variable `{name}` of size {sizes:?} holds {} values",
            values.len()
        )),
    }
}

fn numbers(kind: u32, body: &[u8], order: Order) -> Option<Vec<f64>> {
    let width = match kind {
        1 | 2 => 1,
        3 | 4 => 2,
        5..=7 => 4,
        9 | 12 | 13 => 8,
        _ => return None,
    };
    let word = |bytes: &[u8]| match order {
        Order::Little => bytes
            .iter()
            .rev()
            .fold(0u64, |word, &byte| word << 8 | u64::from(byte)),
        Order::Big => bytes
            .iter()
            .fold(0u64, |word, &byte| word << 8 | u64::from(byte)),
    };
    let number = |word: u64| match kind {
        1 => f64::from(word as u8 as i8),
        3 => f64::from(word as u16 as i16),
        5 => f64::from(word as u32 as i32),
        7 => f64::from(f32::from_bits(word as u32)),
        9 => f64::from_bits(word),
        12 => word as i64 as f64,
        _ => word as f64,
    };
    Some(
        body.chunks_exact(width)
            .map(|bytes| number(word(bytes)))
            .collect(),
    )
}

fn choose<'a>(
    variables: &'a [Variable],
    choices: &[String],
    findings: &mut Findings<'_>,
) -> Option<Vec<Column<'a>>> {
    let vectors: Vec<&Variable> = variables
        .iter()
        .filter(|variable| variable.values.len() != 1)
        .collect();
    let names = || {
        let names: Vec<&str> = vectors
            .iter()
            .map(|variable| variable.name.as_str())
            .take(12)
            .collect();
        format!("the file holds: {}", names.join(", "))
    };
    if choices.is_empty() {
        let longest = vectors.iter().map(|variable| variable.longer_side()).max();
        let columns: Vec<Column<'_>> = vectors
            .iter()
            .filter(|variable| Some(variable.longer_side()) == longest)
            .flat_map(|variable| variable.split(&variable.name))
            .collect();
        if columns.is_empty() {
            let finding = Finding::error(Code::MissingColumn, "the file holds no numeric vector");
            findings.push(finding);
        }
        return Some(columns);
    }
    let mut columns = Vec::new();
    for choice in choices {
        let (channel, text) = match choice.split_once('=') {
            Some((channel, pattern)) => (channel.trim().to_owned(), pattern.trim()),
            None => (channel_name(choice), choice.as_str()),
        };
        let pattern = match Pattern::new(text) {
            Ok(pattern) => pattern,
            Err(error) => {
                findings.push(Finding::error(Code::Setting, error.to_string()));
                return None;
            }
        };
        let matching: Vec<&&Variable> = vectors
            .iter()
            .filter(|variable| pattern.matches(&variable.name).is_some())
            .collect();
        match matching[..] {
            [variable] => columns.extend(variable.split(&channel)),
            [] => {
                let message = format!("no variable is called `{text}`");
                findings.push(Finding::error(Code::MissingColumn, message).hint(names()));
                return None;
            }
            _ => {
                let message = format!("{} variables are called `{text}`", matching.len());
                findings.push(Finding::error(Code::MissingColumn, message).hint(names()));
                return None;
            }
        }
    }
    Some(columns)
}

/// `DE_time` for `X*_DE_time`: what the files have in common.
fn channel_name(pattern: &str) -> String {
    let behind = pattern.rsplit('*').next().unwrap_or(pattern);
    let name = behind.trim_matches('_');
    if name.is_empty() {
        pattern.to_owned()
    } else {
        name.to_owned()
    }
}

impl Variable {
    fn longer_side(&self) -> usize {
        self.rows.max(self.columns)
    }

    /// One column for a vector, standing or lying; one for each column of a matrix.
    fn split<'a>(&'a self, channel: &str) -> Vec<Column<'a>> {
        let column = |channel: String, values: &'a [f64]| Column {
            variable: &self.name,
            channel,
            values,
        };
        // A matrix wider than long is refused by its equal lengths; 64 columns are more than any sensor has.
        if self.rows <= 1 || self.columns <= 1 || self.columns > 64 {
            return vec![column(channel.to_owned(), &self.values)];
        }
        let columns = self.values.chunks_exact(self.rows).enumerate();
        columns
            .map(|(index, values)| column(format!("{channel}{index}"), values))
            .collect()
    }
}

fn metadata(variables: &[Variable]) -> BTreeMap<String, String> {
    let numbers = variables
        .iter()
        .filter(|variable| variable.values.len() == 1);
    numbers
        .map(|variable| {
            (
                metadata_name(&variable.name),
                variable.values[0].to_string(),
            )
        })
        .collect()
}

fn metadata_name(name: &str) -> String {
    let numbered = name
        .strip_prefix(|c: char| c.is_ascii_alphabetic())
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_'))
        .filter(|rest| !rest.is_empty());
    numbered.unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
#[path = "mat_tests.rs"]
mod tests;
