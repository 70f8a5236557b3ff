//! The bodies of the DDI, in JSON or CBOR.
//!
//! Clients differ in what they add (`id`, `time`), so fields that are not known are passed over, and a field that a
//! client may leave out is optional. Written after the DDI API's reference of Eclipse hawkBit.

use std::collections::BTreeMap;
use std::convert::Infallible;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tinyops_store::Json;

/// Bytes of a body at most.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Nesting of a CBOR body at most.
const DEPTH_MAX: u32 = 16;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/json`
    Json,
    /// `application/cbor`
    Cbor,
}

/// Why a body is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It has more than [`BODY_BYTES_MAX`] bytes.
    #[error("the body has more than {BODY_BYTES_MAX} bytes")]
    Length,
    /// It cannot be read.
    #[error("the body is not {form}: {problem}")]
    Syntax {
        /// What it should be.
        form: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It can be read, and lacks a field or has a wrong value in one.
    #[error("the body: {0}")]
    Field(String),
}

/// What a device says of an action.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Feedback {
    /// How far it is.
    pub status: Status,
}

/// How far an action is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// What the device does.
    pub execution: Execution,
    /// How that ended.
    pub result: Outcome,
    /// A number of the client's own.
    #[serde(default)]
    pub code: Option<i64>,
    /// Sentences.
    #[serde(default)]
    pub details: Option<Vec<String>>,
}

/// What a device does about an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are hawkBit's")]
pub enum Execution {
    Closed,
    Proceeding,
    Canceled,
    Scheduled,
    Rejected,
    Resumed,
    Downloaded,
    Download,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    /// Well, not, or not yet.
    pub finished: Finished,
}

/// Whether an execution has ended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are hawkBit's")]
pub enum Finished {
    Success,
    Failure,
    None,
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConfigData {
    /// What becomes of what it said before.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Names and values.
    pub data: BTreeMap<String, String>,
}

/// What becomes of the attributes that a device gave before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They stay, unless they are given anew.
    #[default]
    Merge,
    /// They go.
    Replace,
    /// Those that are named go.
    Remove,
}

/// Whether the user of a device consents to an action.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Confirmation {
    /// Yes or no.
    pub confirmation: Consent,
    /// Sentences.
    #[serde(default)]
    pub details: Option<Vec<String>>,
}

/// A user's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are hawkBit's")]
pub enum Consent {
    Confirmed,
    Denied,
}

/// Who consents to all that comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AutoConfirm {
    /// Who.
    pub initiator: Option<String>,
    /// Why.
    pub remark: Option<String>,
}

/// What a device has, however it came there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AssignedVersion {
    /// The model.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Reads a body.
///
/// # Errors
/// [`BodyError`], never a panic.
pub fn read<T: DeserializeOwned>(form: Form, bytes: &[u8]) -> Result<T, BodyError> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(BodyError::Length);
    }
    let value: Json = match form {
        Form::Json => serde_json::from_slice(bytes).map_err(|error| BodyError::Syntax {
            form: "JSON",
            problem: error.to_string(),
        })?,
        Form::Cbor => from_cbor(bytes)?,
    };
    serde_json::from_value(value).map_err(|error| BodyError::Field(error.to_string()))
}

/// Writes an answer.
pub fn write(form: Form, value: &Json) -> Vec<u8> {
    match form {
        Form::Json => value.to_string().into_bytes(),
        Form::Cbor => {
            let mut encoder = Encoder::new(Out(Vec::new()));
            to_cbor(value, &mut encoder).expect("memory takes all that is written to it");
            encoder.into_writer().0
        }
    }
}

struct Out(Vec<u8>);

impl minicbor::encode::Write for Out {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn to_cbor(
    value: &Json,
    encoder: &mut Encoder<Out>,
) -> Result<(), minicbor::encode::Error<Infallible>> {
    match value {
        Json::Null => encoder.null()?,
        Json::Bool(value) => encoder.bool(*value)?,
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => encoder.u64(value)?,
            (None, Some(value)) => encoder.i64(value)?,
            (None, None) => encoder.f64(number.as_f64().unwrap_or(f64::NAN))?,
        },
        Json::String(text) => encoder.str(text)?,
        Json::Array(values) => {
            encoder.array(values.len() as u64)?;
            return values.iter().try_for_each(|value| to_cbor(value, encoder));
        }
        Json::Object(fields) => {
            encoder.map(fields.len() as u64)?;
            for (name, value) in fields {
                encoder.str(name)?;
                to_cbor(value, encoder)?;
            }
            return Ok(());
        }
    };
    Ok(())
}

/// The JSON that a CBOR document stands for: texts for keys, no byte strings, no tags.
fn from_cbor(bytes: &[u8]) -> Result<Json, BodyError> {
    let mut decoder = Decoder::new(bytes);
    let value = item(&mut decoder, DEPTH_MAX).map_err(|problem| BodyError::Syntax {
        form: "CBOR",
        problem: format!("{problem}, at byte {}", decoder.position()),
    })?;
    match decoder.position() == bytes.len() {
        true => Ok(value),
        false => Err(BodyError::Syntax {
            form: "CBOR",
            problem: format!("more follows at byte {}", decoder.position()),
        }),
    }
}

fn item(decoder: &mut Decoder<'_>, depth: u32) -> Result<Json, String> {
    let say = |error: minicbor::decode::Error| error.to_string();
    let kind = decoder.datatype().map_err(say)?;
    Ok(match kind {
        Type::Null | Type::Undefined => {
            decoder.skip().map_err(say)?;
            Json::Null
        }
        Type::Bool => decoder.bool().map_err(say)?.into(),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.u64().map_err(say)?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64().map_err(say)?.into(),
        Type::F32 => f64::from(decoder.f32().map_err(say)?).into(),
        Type::F64 => decoder.f64().map_err(say)?.into(),
        Type::String | Type::StringIndef => {
            let mut text = String::new();
            for part in decoder.str_iter().map_err(say)? {
                text.push_str(part.map_err(say)?);
            }
            text.into()
        }
        Type::Array | Type::ArrayIndef => {
            let depth = deeper(depth)?;
            let count = decoder.array().map_err(say)?;
            let mut values = Vec::new();
            while !at_end(decoder, count, values.len())? {
                values.push(item(decoder, depth)?);
            }
            values.into()
        }
        Type::Map | Type::MapIndef => {
            let depth = deeper(depth)?;
            let count = decoder.map().map_err(say)?;
            let mut fields = serde_json::Map::new();
            let mut read = 0;
            while !at_end(decoder, count, read)? {
                let Json::String(name) = item(decoder, 0)? else {
                    return Err("a key is no text".to_owned());
                };
                fields.insert(name, item(decoder, depth)?);
                read += 1;
            }
            fields.into()
        }
        other => return Err(format!("{other} has no place here")),
    })
}

fn deeper(depth: u32) -> Result<u32, String> {
    depth
        .checked_sub(1)
        .ok_or_else(|| format!("nested deeper than {DEPTH_MAX}"))
}

/// Whether a list has all its members; one without a count ends with a break, which is taken.
fn at_end(decoder: &mut Decoder<'_>, count: Option<u64>, read: usize) -> Result<bool, String> {
    match count {
        Some(count) => Ok(read as u64 >= count),
        None => {
            let kind = decoder.datatype().map_err(|error| error.to_string())?;
            if kind == Type::Break {
                decoder.skip().map_err(|error| error.to_string())?;
            }
            Ok(kind == Type::Break)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            // Eighths: the JSON reader rounds the longest numbers in their last digit.
            any::<i32>().prop_map(|eighths| Json::from(f64::from(eighths) / 8.0)),
            ".{0,40}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                prop::collection::btree_map(".{0,8}", inner, 0..6)
                    .prop_map(|fields| Json::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn both_forms_carry_the_same(value in json()) {
            for form in [Form::Json, Form::Cbor] {
                let bytes = write(form, &value);
                prop_assert_eq!(&read::<Json>(form, &bytes).unwrap(), &value);
                for end in 0..bytes.len().min(200) {
                    let _ = read::<Json>(form, &bytes[..end]);
                }
            }
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<Feedback>(Form::Cbor, &bytes);
            let _ = read::<Feedback>(Form::Json, &bytes);
        }
    }

    /// Bodies as clients write them: RAUC's updater, SWUpdate, the crate `hawkbit`.
    #[test]
    fn bodies_of_clients() {
        let rauc = json!({"id": "7", "time": "20261129T041000", "status": {
            "result": {"finished": "success"}, "execution": "closed", "details": ["Software bundle installed successfully."]}});
        let swupdate = json!({"id": 7, "time": "20261129T041000", "status": {
            "result": {"progress": {"cnt": 1, "of": 2}, "finished": "none"}, "execution": "proceeding", "details": [" "]}});
        let crate_hawkbit = json!({"id": "7", "status": {
            "execution": "downloaded", "result": {"finished": "none", "progress": {"what": 1}}, "details": []}});
        for (body, execution, finished) in [
            (rauc, Execution::Closed, Finished::Success),
            (swupdate, Execution::Proceeding, Finished::None),
            (crate_hawkbit, Execution::Downloaded, Finished::None),
        ] {
            for form in [Form::Json, Form::Cbor] {
                let read: Feedback = read(form, &write(form, &body)).unwrap();
                assert_eq!(read.status.execution, execution);
                assert_eq!(read.status.result.finished, finished);
            }
        }
        let config = json!({"time": "20261129T041000", "status": {"result": {"finished": "success"}, "execution": "closed"},
            "data": {"product": "Terminator"}});
        let config: ConfigData = read(Form::Json, &write(Form::Json, &config)).unwrap();
        assert_eq!((config.mode, config.data.len()), (None, 1));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |form, bytes: &[u8], problem: &str| {
            let error = read::<Feedback>(form, bytes).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        };
        check(Form::Json, b"{", "not JSON");
        check(Form::Json, b"{}", "missing field `status`");
        let other = br#"{"status": {"execution": "done", "result": {"finished": "none"}}}"#;
        check(Form::Json, other, "unknown variant `done`");
        check(Form::Json, &[b' '; BODY_BYTES_MAX + 1], "more than 65536");
        check(Form::Cbor, b"", "not CBOR");
        check(Form::Cbor, &[0xa1, 0x01, 0x02], "a key is no text");
        check(Form::Cbor, &[0x41, 0x00], "has no place here");
        check(Form::Cbor, &[0xa0, 0x00], "more follows at byte 1");
        check(Form::Cbor, &[0x81; 40], "nested deeper than 16");
        check(
            Form::Cbor,
            &[0x9b, 255, 255, 255, 255, 255, 255, 255, 255],
            "not CBOR",
        );
    }
}
