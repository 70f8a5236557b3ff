//! What a sender says of its recordings, in headers.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::Value;

use super::error::IngestError;

/// Pairs of metadata at most.
const PAIRS_MAX: usize = 64;
/// Bytes of a name or value in them at most.
const PAIR_BYTES_MAX: usize = 1024;

/// The headers of a request.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// `x-file-name`
    pub name: Option<String>,
    /// `x-label`
    pub label: Option<String>,
    /// `x-no-label`
    pub is_unlabelled: bool,
    /// `x-metadata`
    pub metadata: BTreeMap<String, String>,
    /// `x-disallow-duplicates`
    pub refuse_duplicates: bool,
    /// `x-add-date-id`
    pub is_dated: bool,
}

impl Told {
    pub(super) fn of(headers: &HeaderMap) -> Result<Told, IngestError> {
        let text = |name: &'static str| -> Result<Option<String>, IngestError> {
            let Some(value) = headers.get(name) else {
                return Ok(None);
            };
            let text = std::str::from_utf8(value.as_bytes());
            let text = text.map_err(|_| IngestError::header(name, "is no UTF-8"))?;
            Ok(Some(percent_decoded(text)).filter(|text| !text.is_empty()))
        };
        let is_set = |name: &'static str| -> Result<bool, IngestError> {
            match text(name)?.as_deref() {
                None | Some("0" | "false") => Ok(false),
                Some("1" | "true") => Ok(true),
                Some(_) => Err(IngestError::header(name, "is 1 or true, 0 or false")),
            }
        };
        Ok(Told {
            name: text("x-file-name")?,
            label: text("x-label")?,
            is_unlabelled: is_set("x-no-label")?,
            metadata: match headers.get("x-metadata") {
                Some(value) => metadata(value.as_bytes())?,
                None => BTreeMap::new(),
            },
            refuse_duplicates: is_set("x-disallow-duplicates")?,
            is_dated: is_set("x-add-date-id")?,
        })
    }
}

fn metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, IngestError> {
    const NAME: &str = "x-metadata";
    let text = String::from_utf8_lossy(bytes);
    // Uploaders send the object as it is, or percent-encoded where it holds more than ASCII.
    let object =
        serde_json::from_str(&text).or_else(|_| serde_json::from_str(&percent_decoded(&text)));
    let Ok(Value::Object(object)) = object else {
        return Err(IngestError::header(NAME, "is no JSON object"));
    };
    if object.len() > PAIRS_MAX {
        return Err(IngestError::header(NAME, "has more than 64 entries"));
    }
    let mut pairs = BTreeMap::new();
    for (name, value) in object {
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            _ => return Err(IngestError::header(NAME, "has a value that is no text")),
        };
        if name.len() > PAIR_BYTES_MAX || value.len() > PAIR_BYTES_MAX {
            return Err(IngestError::header(
                NAME,
                "has an entry of more than 1024 bytes",
            ));
        }
        pairs.insert(name, value);
    }
    Ok(pairs)
}

/// The text behind `%XX`; as it is where that is no UTF-8, or where a `%` stands for itself.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let decoded = match (first, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match decoded {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents() {
        for (text, expected) in [
            ("up", "up"),
            ("hand%20up", "hand up"),
            ("%C3%BCber", "über"),
            ("100%", "100%"),
            ("%", "%"),
            ("%g0%2", "%g0%2"),
            ("%FF", "%FF"),
        ] {
            assert_eq!(percent_decoded(text), expected);
        }
    }
}
