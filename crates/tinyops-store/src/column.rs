//! Values of a row, the same for both engines, and the words that rows are read and written with.

use tinyops_wire::id::{DeviceId, Digest, ModelId, Timestamp};

use crate::{Json, StoreError};

/// One stored value. Integers are 64 bit, texts UTF-8; ids, states and details are one of these.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A type that a column holds.
pub(crate) trait Column: Sized {
    fn put(&self) -> Value;
    fn take(value: Value) -> Option<Self>;
}

/// One row of an answer, taken column by column in the order of the `SELECT`.
#[derive(Debug)]
pub struct Row {
    entity: &'static str,
    index: usize,
    values: std::vec::IntoIter<Value>,
}

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Row {
        Row {
            entity: "the answer",
            index: 0,
            values: values.into_iter(),
        }
    }

    /// Names what the row is, for the error.
    pub(crate) fn of(mut self, entity: &'static str) -> Row {
        self.entity = entity;
        self
    }

    /// The next column.
    pub(crate) fn take<T: Column>(&mut self) -> Result<T, StoreError> {
        let index = self.index;
        self.index += 1;
        self.values
            .next()
            .and_then(T::take)
            .ok_or(StoreError::Column {
                entity: self.entity,
                index,
            })
    }
}

/// The values of a statement, in the order of its placeholders.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::column::Column::put(&$value)),*] };
}
pub(crate) use values;

impl Column for Value {
    fn put(&self) -> Value {
        self.clone()
    }
    fn take(value: Value) -> Option<Value> {
        Some(value)
    }
}

impl Column for i64 {
    fn put(&self) -> Value {
        Value::Int(*self)
    }
    fn take(value: Value) -> Option<i64> {
        match value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }
}

impl Column for u32 {
    fn put(&self) -> Value {
        Value::Int(i64::from(*self))
    }
    fn take(value: Value) -> Option<u32> {
        i64::take(value).and_then(|value| u32::try_from(value).ok())
    }
}

/// All 64 bits, kept as the `i64` of the same bits: the engines know no unsigned integers.
impl Column for u64 {
    fn put(&self) -> Value {
        Value::Int(i64::from_ne_bytes(self.to_ne_bytes()))
    }
    fn take(value: Value) -> Option<u64> {
        i64::take(value).map(|value| u64::from_ne_bytes(value.to_ne_bytes()))
    }
}

impl Column for bool {
    fn put(&self) -> Value {
        Value::Int(i64::from(*self))
    }
    fn take(value: Value) -> Option<bool> {
        i64::take(value).map(|value| value != 0)
    }
}

impl Column for f64 {
    fn put(&self) -> Value {
        Value::Real(*self)
    }
    fn take(value: Value) -> Option<f64> {
        match value {
            Value::Real(value) => Some(value),
            Value::Int(value) => Some(value as f64),
            // SQLite stores NaN as NULL.
            Value::Null => Some(f64::NAN),
            _ => None,
        }
    }
}

impl Column for String {
    fn put(&self) -> Value {
        Value::Text(self.clone())
    }
    fn take(value: Value) -> Option<String> {
        match value {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }
}

impl Column for Vec<u8> {
    fn put(&self) -> Value {
        Value::Bytes(self.clone())
    }
    fn take(value: Value) -> Option<Vec<u8>> {
        match value {
            Value::Bytes(value) => Some(value),
            _ => None,
        }
    }
}

impl Column for [u8; 32] {
    fn put(&self) -> Value {
        Value::Bytes(self.to_vec())
    }
    fn take(value: Value) -> Option<[u8; 32]> {
        Vec::take(value).and_then(|bytes| bytes.try_into().ok())
    }
}

impl Column for Digest {
    fn put(&self) -> Value {
        self.0.put()
    }
    fn take(value: Value) -> Option<Digest> {
        Column::take(value).map(Digest)
    }
}

impl Column for ModelId {
    fn put(&self) -> Value {
        self.0.put()
    }
    fn take(value: Value) -> Option<ModelId> {
        u32::take(value).map(ModelId)
    }
}

impl Column for DeviceId {
    fn put(&self) -> Value {
        self.0.put()
    }
    fn take(value: Value) -> Option<DeviceId> {
        u64::take(value).map(DeviceId)
    }
}

impl Column for Timestamp {
    fn put(&self) -> Value {
        Value::Int(self.0)
    }
    fn take(value: Value) -> Option<Timestamp> {
        i64::take(value).map(Timestamp)
    }
}

impl Column for Json {
    fn put(&self) -> Value {
        Value::Text(self.to_string())
    }
    fn take(value: Value) -> Option<Json> {
        String::take(value).and_then(|text| serde_json::from_str(&text).ok())
    }
}

/// A short list of words, kept as JSON.
impl Column for Vec<String> {
    fn put(&self) -> Value {
        Value::Text(Json::from(self.as_slice()).to_string())
    }
    fn take(value: Value) -> Option<Vec<String>> {
        String::take(value).and_then(|text| serde_json::from_str(&text).ok())
    }
}

impl<T: Column> Column for Option<T> {
    fn put(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::put)
    }
    fn take(value: Value) -> Option<Option<T>> {
        match value {
            Value::Null => Some(None),
            value => T::take(value).map(Some),
        }
    }
}

/// Declares the number of a row.
macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<$name, std::num::ParseIntError> {
                text.parse().map($name)
            }
        }

        impl $crate::column::Column for $name {
            fn put(&self) -> $crate::column::Value {
                self.0.put()
            }
            fn take(value: $crate::column::Value) -> Option<$name> {
                i64::take(value).map($name)
            }
        }
    };
}
pub(crate) use row_id;

/// Declares a state that is stored as a word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$case_doc])* $case,)* }

        impl $name {
            /// Every case, in order.
            pub const ALL: &'static [$name] = &[$($name::$case),*];

            /// The word that is stored and shown.
            pub fn word(self) -> &'static str {
                match self { $($name::$case => $word,)* }
            }

            /// The case of a stored word.
            pub fn of_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$case),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl $crate::column::Column for $name {
            fn put(&self) -> $crate::column::Value {
                $crate::column::Value::Text(self.word().to_owned())
            }
            fn take(value: $crate::column::Value) -> Option<$name> {
                String::take(value).and_then(|word| $name::of_word(&word))
            }
        }
    };
}
pub(crate) use words;
