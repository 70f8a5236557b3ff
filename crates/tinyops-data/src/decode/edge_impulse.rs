//! The Edge Impulse data acquisition format, as JSON and as CBOR, with its signature.
//!
//! ```text
//! { protected: { ver: "v1", alg: "HS256" | "none", iat? },
//!   signature: 64 hex digits,
//!   payload: { device_name?, device_type, interval_ms, sensors: [{ name, units }], values: [[x, y, z], …] } }
//! ```
//! `values` may be flat numbers if there is one sensor. A signature is the HMAC-SHA256 over the very bytes of the
//! message with 64 `0` in its place.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::Sha256;

use super::cbor::{CborError, Item, Reader};
use super::{Findings, Recording};
use crate::finding::{Code, DETAILED_PER_FILE, Finding};
use crate::sample::Channel;
use crate::spec::Format;

/// Decodes one message. With a key, one whose signature does not fit is refused.
pub fn decode(
    bytes: &[u8],
    format: Format,
    key: Option<&[u8]>,
    findings: &mut Findings<'_>,
) -> Option<Recording> {
    let message = match format {
        Format::EiCbor => read_cbor(bytes).map_err(|error| {
            let code = match error {
                CborError::End { .. } => Code::Truncated,
                CborError::Malformed { .. } | CborError::Deep { .. } => Code::Malformed,
            };
            Finding::error(code, error.to_string()).at_offset(error.offset() as u64)
        }),
        _ => serde_json::from_slice::<Message>(bytes).map_err(|error| {
            let code = if error.is_eof() {
                Code::Truncated
            } else {
                Code::Malformed
            };
            let message = format!("the message is not a sample: {error}");
            Finding::error(code, message).at_row(error.line() as u64)
        }),
    };
    let message = match message {
        Ok(message) => message,
        Err(finding) => {
            findings.push(finding.hint("export or record the sample again"));
            return None;
        }
    };
    if let Some(finding) = key.and_then(|key| refusal(bytes, &message, format, key)) {
        findings.push(finding);
        return None;
    }
    message.payload.recording(findings)
}

/// Whether `signature` (64 hex digits, as it stands last in `bytes`) is that of `bytes` under `key`.
///
/// Firmware made with the C SDK keeps 32 characters of a key, so a longer one may be cut there.
pub fn verify(bytes: &[u8], signature: &str, format: Format, key: &[u8]) -> bool {
    let Some(tag) = hex_bytes(signature) else {
        return false;
    };
    let place = bytes
        .windows(64)
        .rposition(|window| window == signature.as_bytes());
    let Some(place) = place else {
        return false;
    };
    // CBOR says the length of a text before it: 64, in one byte behind its head.
    if format == Format::EiCbor && !bytes[..place].ends_with(&[0x78, 0x40]) {
        return false;
    }
    let zeros = [b'0'; 64];
    let fits = |key: &[u8]| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
            return false;
        };
        let parts = [&bytes[..place], &zeros, &bytes[place + 64..]];
        parts.into_iter().for_each(|part| mac.update(part));
        mac.verify_slice(&tag).is_ok()
    };
    fits(key) || key.get(..SDK_KEY_CHARS).is_some_and(fits)
}

/// The HMAC-SHA256 of these parts, one after the other, in hex digits as messages have it.
pub(crate) fn tag(key: &[u8], parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length does");
    parts.iter().for_each(|part| mac.update(part));
    let tag = mac.finalize().into_bytes();
    tag.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Characters of a key that the C SDK keeps.
const SDK_KEY_CHARS: usize = 32;

fn hex_bytes(text: &str) -> Option<[u8; 32]> {
    // Lower case only, as the format says.
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let digest: tinyops_wire::id::Digest = text.parse().ok()?;
    text.bytes().all(is_hex).then_some(digest.0)
}

fn refusal(bytes: &[u8], message: &Message, format: Format, key: &[u8]) -> Option<Finding> {
    let what = match message.protected.alg.as_str() {
        "HS256" if verify(bytes, &message.signature, format, key) => return None,
        "HS256" => "the signature does not fit the bytes".to_owned(),
        other => format!("the sample is signed with `{other}`, but a key is set"),
    };
    let finding = Finding::error(Code::Signature, what);
    Some(
        finding
            .hint("the file was changed, or signed with another key than that of `hmac_key_file`"),
    )
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    protected: Protected,
    signature: String,
    payload: Payload,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Protected {
    ver: String,
    alg: String,
    iat: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    device_name: Option<String>,
    device_type: Option<String>,
    interval_ms: Option<f64>,
    sensors: Vec<Sensor>,
    values: Values,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sensor {
    name: String,
    units: String,
}

impl Payload {
    fn recording(self, findings: &mut Findings<'_>) -> Option<Recording> {
        let width = self.sensors.len();
        if self.sensors.is_empty() || self.values.rows == 0 {
            let what = if width == 0 { "sensors" } else { "values" };
            findings.push(Finding::error(
                Code::Empty,
                format!("the sample has no {what}"),
            ));
            return None;
        }
        if self.values.width != width {
            let message = format!("{width} sensors, but rows of {} values", self.values.width);
            findings.push(Finding::error(Code::RowWidth, message));
            return None;
        }
        self.values.report(findings);
        let rate_hz = self
            .interval_ms
            .map(|interval_ms| (1000.0 / interval_ms) as f32);
        let rate_hz = rate_hz.filter(|rate_hz| rate_hz.is_finite() && *rate_hz > 0.0);
        if rate_hz.is_none() {
            let message = match self.interval_ms {
                Some(interval_ms) => format!("an interval of {interval_ms} ms is no rate"),
                None => "the sample has no interval_ms".to_owned(),
            };
            findings.push(
                Finding::error(Code::MissingRate, message).hint("set `rate_hz` in the source"),
            );
        }
        let mut readings = self.values.readings;
        let mut channels = Vec::with_capacity(width);
        for (index, sensor) in self.sensors.into_iter().enumerate() {
            // 16-bit audio, at the scale that a WAV file has here.
            let is_audio = sensor.units == "wav";
            if is_audio {
                readings
                    .iter_mut()
                    .skip(index)
                    .step_by(width)
                    .for_each(|reading| *reading /= 32_768.0);
            }
            channels.push(Channel {
                name: sensor.name,
                unit: if is_audio {
                    "FS".to_owned()
                } else {
                    sensor.units
                },
            });
        }
        let metadata = [
            ("device_name", self.device_name),
            ("device_type", self.device_type),
        ];
        let metadata = metadata
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Some(Recording {
            row: 1,
            rate_hz,
            channels,
            readings,
            metadata: metadata.collect(),
            ..Recording::default()
        })
    }
}

/// Rows of numbers, of which those that are not as wide as the first are left out.
#[derive(Debug, Default)]
struct Values {
    readings: Vec<f32>,
    width: usize,
    rows: u64,
    odd: Flaws,
    wrong: Flaws,
    row: Vec<f32>,
}

/// Rows with something wrong: the first of them, and how many more there were.
#[derive(Debug, Default)]
struct Flaws {
    first: Vec<(u64, String)>,
    count: usize,
}

impl Flaws {
    fn push(&mut self, row: u64, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < DETAILED_PER_FILE {
            self.first.push((row, what()));
        }
    }

    fn report(&self, finding: impl Fn(String) -> Finding, findings: &mut Findings<'_>) {
        for (row, what) in &self.first {
            findings.push(finding(what.clone()).at_row(*row));
        }
        let more = self.count - self.first.len();
        if more > 0 {
            findings.push(finding(format!("and {more} more values like these")));
        }
    }
}

impl Values {
    fn push_number(&mut self, number: f64) {
        if !number.is_finite() {
            self.wrong
                .push(self.rows + 1, || format!("a value is {number}"));
        }
        self.row.push(number as f32);
    }

    fn push_wrong(&mut self, what: &str) {
        self.wrong
            .push(self.rows + 1, || format!("a value is {what}, not a number"));
        self.row.push(f32::NAN);
    }

    fn end_row(&mut self) {
        self.rows += 1;
        if self.rows == 1 {
            self.width = self.row.len();
        }
        if self.row.len() == self.width {
            self.readings.append(&mut self.row);
        } else {
            let (found, width) = (self.row.len(), self.width);
            self.odd.push(self.rows, || {
                format!("{found} values, the first row has {width}; the row is left out")
            });
            self.row.clear();
        }
    }

    fn report(&self, findings: &mut Findings<'_>) {
        self.odd
            .report(|what| Finding::error(Code::RowWidth, what), findings);
        self.wrong
            .report(|what| Finding::error(Code::NotANumber, what), findings);
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
        deserializer.deserialize_seq(Rows(Values::default()))
    }
}

struct Rows(Values);

impl<'de> Visitor<'de> for Rows {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<Values, A::Error> {
        while rows
            .next_element_seed(Cell {
                values: &mut self.0,
                deep: false,
            })?
            .is_some()
        {
            self.0.end_row();
        }
        Ok(self.0)
    }
}

/// One number, or at the outer level a row of them. Anything else is noted, not refused.
struct Cell<'a> {
    values: &'a mut Values,
    deep: bool,
}

impl<'de> de::DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a row of numbers")
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.values.push_number(number);
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.values.push_wrong("a truth value");
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.values.push_wrong("text");
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.values.push_wrong("null");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.values.push_wrong("a map");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        if self.deep {
            while row.next_element::<IgnoredAny>()?.is_some() {}
            self.values.push_wrong("a list");
            return Ok(());
        }
        let values = self.values;
        while row
            .next_element_seed(Cell { values, deep: true })?
            .is_some()
        {}
        Ok(())
    }
}

fn read_cbor(bytes: &[u8]) -> Result<Message, CborError> {
    let mut reader = Reader::new(bytes);
    let mut message = Message::default();
    read_map(&mut reader, &mut |key, item, reader| match key {
        "protected" => read_fields(reader, item, &mut |key, item, reader| {
            match (key, &item) {
                ("ver", Item::Text(text)) => message.protected.ver = (*text).to_owned(),
                ("alg", Item::Text(text)) => message.protected.alg = (*text).to_owned(),
                ("iat", Item::Number(number)) => message.protected.iat = Some(*number),
                _ => reader.skip(&item)?,
            }
            Ok(())
        }),
        "payload" => read_fields(reader, item, &mut |key, item, reader| {
            let payload = &mut message.payload;
            match (key, &item) {
                ("device_name", Item::Text(text)) => payload.device_name = Some((*text).to_owned()),
                ("device_type", Item::Text(text)) => payload.device_type = Some((*text).to_owned()),
                ("interval_ms", Item::Number(number)) => payload.interval_ms = Some(*number),
                ("sensors", Item::Array(count)) => payload.sensors = read_sensors(reader, *count)?,
                ("values", Item::Array(count)) => payload.values = read_values(reader, *count)?,
                _ => reader.skip(&item)?,
            }
            Ok(())
        }),
        "signature" => match item {
            Item::Text(text) => {
                message.signature = text.to_owned();
                Ok(())
            }
            other => reader.skip(&other),
        },
        _ => reader.skip(&item),
    })?;
    Ok(message)
}

type Field<'f, 'a> = dyn FnMut(&'a str, Item<'a>, &mut Reader<'a>) -> Result<(), CborError> + 'f;

fn read_map<'a>(reader: &mut Reader<'a>, field: &mut Field<'_, 'a>) -> Result<(), CborError> {
    let offset = reader.offset();
    match reader.item()? {
        item @ Item::Map(_) => read_fields(reader, item, field),
        _ => Err(CborError::Malformed { offset }),
    }
}

/// Hands over each key that is text with the head of its value; a value that is no map is skipped.
fn read_fields<'a>(
    reader: &mut Reader<'a>,
    map: Item<'a>,
    field: &mut Field<'_, 'a>,
) -> Result<(), CborError> {
    let Item::Map(count) = map else {
        return reader.skip(&map);
    };
    let mut left = count;
    while take_one(&mut left) {
        let key = reader.item()?;
        if key == Item::Break && count.is_none() {
            return Ok(());
        }
        reader.skip(&key)?;
        let value = reader.item()?;
        match key {
            Item::Text(key) => field(key, value, reader)?,
            _ => reader.skip(&value)?,
        }
    }
    Ok(())
}

fn take_one(left: &mut Option<u64>) -> bool {
    match left {
        None => true,
        Some(0) => false,
        Some(count) => {
            *count -= 1;
            true
        }
    }
}

fn read_sensors(reader: &mut Reader<'_>, count: Option<u64>) -> Result<Vec<Sensor>, CborError> {
    let mut sensors = Vec::new();
    let mut left = count;
    while take_one(&mut left) {
        let item = reader.item()?;
        if item == Item::Break && count.is_none() {
            break;
        }
        let mut sensor = Sensor::default();
        read_fields(reader, item, &mut |key, item, reader| {
            match (key, &item) {
                ("name", Item::Text(text)) => sensor.name = (*text).to_owned(),
                ("units", Item::Text(text)) => sensor.units = (*text).to_owned(),
                _ => reader.skip(&item)?,
            }
            Ok(())
        })?;
        sensors.push(sensor);
    }
    Ok(sensors)
}

fn read_values(reader: &mut Reader<'_>, count: Option<u64>) -> Result<Values, CborError> {
    let mut values = Values::default();
    let mut left = count;
    while take_one(&mut left) {
        match reader.item()? {
            Item::Break if count.is_none() => break,
            Item::Array(width) => {
                let mut left = width;
                while take_one(&mut left) {
                    let item = reader.item()?;
                    if item == Item::Break && width.is_none() {
                        break;
                    }
                    read_cell(reader, &item, &mut values)?;
                }
            }
            item => read_cell(reader, &item, &mut values)?,
        }
        values.end_row();
    }
    Ok(values)
}

fn read_cell(
    reader: &mut Reader<'_>,
    item: &Item<'_>,
    values: &mut Values,
) -> Result<(), CborError> {
    match item {
        Item::Number(number) => values.push_number(*number),
        Item::Null => values.push_wrong("null"),
        Item::Bool(_) => values.push_wrong("a truth value"),
        Item::Break => {
            return Err(CborError::Malformed {
                offset: reader.offset(),
            });
        }
        other => {
            reader.skip(other)?;
            values.push_wrong("text, a list or a map");
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "edge_impulse_tests.rs"]
mod tests;
