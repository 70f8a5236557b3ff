//! Problem documents (RFC 9457): what a server says of why it did not do what was asked. Foreign bytes.

use std::fmt;

use serde::Deserialize;

/// Longest text of a document that is told on.
const TEXT_MAX: usize = 240;
/// What the types of the protocol begin with.
const URN: &str = "urn:ietf:params:ppm:dap:error:";

/// What a server said of a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The token of the protocol's own kinds, such as `unrecognizedTask`; empty for any other.
    pub token: String,
    /// What it said in words, printable and not long; empty if nothing.
    pub text: String,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "type")]
    kind: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

impl Problem {
    /// Reads bytes that may be anything: what is no document has a problem without words.
    pub fn read(bytes: &[u8]) -> Problem {
        let Ok(document) = serde_json::from_slice::<Document>(bytes) else {
            return Problem::default();
        };
        let kind = document.kind.unwrap_or_default();
        let text = [document.title, document.detail]
            .into_iter()
            .flatten()
            .map(|text| printable(&text))
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        Problem {
            token: kind.strip_prefix(URN).map(printable).unwrap_or_default(),
            text,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.token.as_str(), self.text.as_str()) {
            ("", "") => f.write_str("no reason given"),
            (token, "") => f.write_str(token),
            ("", text) => f.write_str(text),
            (token, text) => write!(f, "{token}: {text}"),
        }
    }
}

/// A text that nothing in it can move a terminal's cursor, in one line.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let mut out: String = text.chars().take(TEXT_MAX).map(shown).collect();
    out.truncate(out.trim_end().len());
    out
}
