//! Words of people in the languages of packages: a label may hold anything.

use std::fmt::Write as _;

/// A string literal of C and C++: what is neither a plain letter nor a plain sign stands as three octal digits, which end by
/// themselves, and question marks make no trigraph.
pub(super) fn c_string(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | b'?' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push('"');
    out
}

/// Text for a comment, a heading or a line of a plain file: one line, and nothing in it that ends a comment or begins markup.
pub(super) fn plain(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " -_.,:;@()+=%".contains(c);
    text.chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect()
}

/// A string of JSON, which is one of YAML too.
pub(super) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A string of TOML.
pub(super) fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Bytes as hex digits, two for each.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text of XML, inside an element or a quoted attribute. What XML 1.0 has no character for becomes a blank.
pub(super) fn xml(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&apos;",
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A number of single precision as C, C++ and Rust read it back to the same bits. Infinity becomes the greatest number.
pub(super) fn float(value: f32) -> String {
    let value = value.clamp(f32::MIN, f32::MAX);
    format!("{value:?}")
}

/// Replaces each `@{name}` of a template by its text.
///
/// # Panics
/// Where a template asks for what it is not given.
pub(super) fn fill(template: &str, texts: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("@{") {
        out += before;
        let (name, after) = after.split_once('}').expect("a template closes its names");
        let found = texts.iter().find(|(known, _)| *known == name);
        out += found
            .unwrap_or_else(|| panic!("a template asks for `{name}`"))
            .1;
        rest = after;
    }
    out + rest
}

/// Bytes as the elements of an array, so many a line.
pub(super) fn bytes_of(bytes: &[u8]) -> String {
    const PER_LINE: usize = 24;
    let mut out = String::new();
    for line in bytes.chunks(PER_LINE) {
        out += "    ";
        for byte in line {
            let _ = write!(out, "{byte},");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_leave_their_literals() {
        for (text, expected) in [
            ("idle", r#""idle""#),
            (r#"a "b" \n"#, r#""a \"b\" \\n""#),
            ("??/ ??'", r#""\?\?/ \?\?'""#),
            ("é1", r#""\303\2511""#),
            ("*/\n%s", r#""*/\012%s""#),
        ] {
            assert_eq!(c_string(text), expected, "{text:?}");
        }
        assert_eq!(plain("a*/b\n`c` <d>"), "a__b__c_ _d_");
        assert_eq!(xml("a<b & \"c\"\u{1}"), "a&lt;b &amp; &quot;c&quot; ");
    }

    #[test]
    fn numbers_come_back() {
        for value in [
            0.0f32,
            -0.0,
            0.1,
            1e-7,
            f32::MIN_POSITIVE / 8.0,
            16_777_217.0,
            f32::MAX,
        ] {
            assert_eq!(
                float(value).parse::<f32>().unwrap().to_bits(),
                value.to_bits()
            );
        }
        assert_eq!(float(f32::INFINITY), float(f32::MAX));
    }

    #[test]
    fn templates_are_filled() {
        let texts = [("name", "fan"), ("count", "3")];
        assert_eq!(
            fill("@{name} has @{count} @{name}s", &texts),
            "fan has 3 fans"
        );
    }
}
