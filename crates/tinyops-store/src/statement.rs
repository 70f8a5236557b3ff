//! Statements that are put together at run time.

use crate::column::{Column, Value};

/// A statement as it is put together; what callers say is in its values only.
#[derive(Default)]
pub(crate) struct Statement {
    /// Its text so far.
    pub(crate) sql: String,
    /// What stands at its places, in order.
    pub(crate) values: Vec<Value>,
}

impl Statement {
    /// Adds text of ours.
    pub(crate) fn say(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    /// Adds a place for a value.
    pub(crate) fn bind(&mut self, value: &impl Column) {
        self.values.push(value.put());
        let place = format!("${}", self.values.len());
        self.sql.push_str(&place);
    }
}
