//! What clients send: JSON bodies and query strings of one shape, as protobuf's JSON has it.
//!
//! Whole numbers may come as texts, numbers that JSON lacks as `"NaN"` and `"Infinity"`; what is not known is passed by.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tinyops_store::tracking::Pair;

use super::error::{Code, MlflowError};
use crate::app::App;

/// The arguments of a call: of the body, or of the query where there is none.
pub(super) struct Input<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Input<T> {
    type Rejection = MlflowError;

    async fn from_request(request: Request, state: &App) -> Result<Input<T>, MlflowError> {
        if request.method() == Method::GET {
            let query = request.uri().query().unwrap_or_default();
            return of_query(query).map(Input);
        }
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_json = kind
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|cause| MlflowError::new(Code::BadRequest, cause.body_text()))?;
        if body.is_empty() {
            return of_query(&query).map(Input);
        }
        if !is_json {
            return Err(MlflowError::new(
                Code::BadRequest,
                "Bad Request. Content-Type must be application/json.",
            ));
        }
        serde_json::from_slice(&body).map(Input).map_err(wrong)
    }
}

fn of_query<T: DeserializeOwned>(query: &str) -> Result<T, MlflowError> {
    let mut fields = Map::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = Value::String(value.into_owned());
        match fields.get_mut(&*key) {
            None => {
                fields.insert(key.into_owned(), value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    serde_json::from_value(Value::Object(fields)).map_err(wrong)
}

fn wrong(cause: serde_json::Error) -> MlflowError {
    MlflowError::invalid(format!("Invalid request: {cause}"))
}

/// A key and a text.
#[derive(Debug, Deserialize)]
pub(super) struct PairInput {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
}

/// Pairs as the store has them.
pub(super) fn pairs(inputs: Vec<PairInput>) -> Vec<Pair> {
    let pair = |input: PairInput| Pair {
        key: input.key,
        value: input.value,
    };
    inputs.into_iter().map(pair).collect()
}

/// A whole number, as one or as a text.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = i64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<i64, E> {
            Ok(value)
        }

        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<i64, E> {
            i64::try_from(value).map_err(E::custom)
        }

        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<i64, E> {
            match value.fract() == 0.0 && value.abs() < 9e15 {
                true => Ok(value as i64),
                false => Err(E::custom(format_args!("{value} is no whole number"))),
            }
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<i64, E> {
            let wrong = |_| E::custom(format_args!("'{text}' is no whole number"));
            text.trim().parse().map_err(wrong)
        }
    }
    from.deserialize_any(Whole)
}

/// A whole number that may be left out.
pub(super) fn maybe_whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    struct Of(#[serde(deserialize_with = "whole")] i64);
    Ok(Option::<Of>::deserialize(from)?.map(|of| of.0))
}

/// A number, as one or as a text; `NaN` and `Infinity` are texts.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    struct Number;
    impl Visitor<'_> for Number {
        type Value = f64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number")
        }

        fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
            Ok(value)
        }

        fn visit_i64<E>(self, value: i64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
            Ok(value as f64)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
            let wrong = |_| E::custom(format_args!("'{text}' is no number"));
            text.trim().parse().map_err(wrong)
        }
    }
    from.deserialize_any(Number)
}

/// A list of texts, or one of them alone.
pub(super) fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Array(list) => list
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Ok(text),
                other => Err(D::Error::custom(format_args!("{other} is no text"))),
            })
            .collect(),
        other => Err(D::Error::custom(format_args!(
            "{other} is no list of texts"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Asked {
        #[serde(default, deserialize_with = "maybe_whole")]
        max_results: Option<i64>,
        #[serde(default, deserialize_with = "texts")]
        order_by: Vec<String>,
    }

    #[test]
    fn queries_have_lists_and_numbers() {
        let asked: Asked = of_query("max_results=5&order_by=a+ASC&order_by=b&who=knows").unwrap();
        assert_eq!(asked.max_results, Some(5));
        assert_eq!(asked.order_by, ["a ASC", "b"]);
        let asked: Asked = of_query("order_by=name").unwrap();
        assert_eq!((asked.max_results, asked.order_by.len()), (None, 1));
        let wrong = of_query::<Asked>("max_results=many").unwrap_err();
        assert!(format!("{wrong:?}").contains("'many' is no whole number"));
    }

    #[test]
    fn numbers_that_json_lacks_are_texts() {
        #[derive(Deserialize)]
        struct Of(#[serde(deserialize_with = "number")] f64);
        let of = |text: &str| serde_json::from_str::<Of>(text).map(|of| of.0);
        assert_eq!(of("1").unwrap(), 1.0);
        assert_eq!(of("\"-Infinity\"").unwrap(), f64::NEG_INFINITY);
        assert!(of("\"NaN\"").unwrap().is_nan());
        assert!(of("\"x\"").is_err());
        assert!(of("true").is_err());
    }
}
