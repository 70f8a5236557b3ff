//! The shape of a document: which keys with which kinds of values, one a line.

use serde_json::Value;

/// Objects whose keys are data, not shape.
const FREE: [&str; 4] = ["metrics", "detail", "deliveries", "reason"];

pub(crate) fn shape(value: &Value) -> String {
    let mut lines = Vec::new();
    walk("", value, &mut lines);
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

fn walk(path: &str, value: &Value, lines: &mut Vec<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(items) => {
            for item in items {
                walk(&format!("{path}[]"), item, lines);
            }
            if !items.is_empty() {
                return;
            }
            "[]"
        }
        Value::Object(fields) => {
            if FREE.iter().any(|free| path.ends_with(free)) {
                lines.push(format!("{path}: object"));
                return;
            }
            for (key, field) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                walk(&format!("{path}{dot}{key}"), field, lines);
            }
            return;
        }
    };
    lines.push(format!("{path}: {kind}"));
}
