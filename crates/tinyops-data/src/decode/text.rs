//! Lines and cells of text files.

use std::borrow::Cow;

use crate::finding::{Code, Finding};

/// The lines of a text with their numbers, counted from 1; blank ones are left out.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> + Clone {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|&byte| byte == b'\n').enumerate();
    lines.filter_map(|(index, line)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.trim_ascii().is_empty()).then_some((index as u64 + 1, line))
    })
}

/// Why bytes are no text, if they are not.
pub(crate) fn not_text(bytes: &[u8]) -> Option<Finding> {
    let finding = |message: &str| Finding::error(Code::Malformed, message);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let finding = finding("the text is UTF-16").at_offset(0);
        return Some(finding.hint("save it as UTF-8"));
    }
    let head = &bytes[..bytes.len().min(4096)];
    let zero = head.iter().position(|&byte| byte == 0)?;
    let finding = finding("the file is binary, not text").at_offset(zero as u64);
    Some(finding.hint("set `format` to what it is"))
}

/// How cells of a line are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Blank stands for any run of blanks.
    pub(crate) delimiter: u8,
    /// Whether `0,5` is a number.
    pub(crate) decimal_comma: bool,
}

impl Dialect {
    /// Looks at some lines: the delimiter that divides them into equally many cells.
    pub(crate) fn sniff<'a>(
        lines: impl Iterator<Item = &'a [u8]> + Clone,
        wanted: Option<char>,
    ) -> Dialect {
        let delimiter = match wanted {
            Some(delimiter) => u8::try_from(delimiter).unwrap_or(b','),
            None => sniff_delimiter(lines.clone()),
        };
        let commas = |line: &'a [u8]| line.contains(&b',') && !line.contains(&b'.');
        let decimal_comma =
            delimiter != b',' && lines.clone().count() > 0 && lines.clone().skip(1).any(commas);
        Dialect {
            delimiter,
            decimal_comma,
        }
    }

    /// The cells of a line, without blanks around them and quotes.
    pub(crate) fn cells<'a>(self, line: &'a [u8]) -> Cells<'a> {
        Cells {
            rest: Some(line),
            delimiter: self.delimiter,
        }
    }

    /// The number in a cell: NaN for one that says that it is missing, none if it is something else.
    pub(crate) fn number(self, cell: &[u8]) -> Option<f64> {
        if is_missing(cell) {
            return Some(f64::NAN);
        }
        let text = std::str::from_utf8(cell).ok()?;
        let text = if self.decimal_comma && text.contains(',') {
            Cow::Owned(text.replacen(',', ".", 1))
        } else {
            Cow::Borrowed(text)
        };
        text.parse().ok()
    }
}

fn sniff_delimiter<'a>(lines: impl Iterator<Item = &'a [u8]> + Clone) -> u8 {
    let count = |line: &[u8], delimiter: u8| {
        let cells = Dialect {
            delimiter,
            decimal_comma: false,
        };
        cells.cells(line).count()
    };
    let width = |delimiter: u8| {
        lines
            .clone()
            .next()
            .map_or(0, |first| count(first, delimiter))
    };
    let same = |delimiter: u8| {
        lines
            .clone()
            .all(|line| count(line, delimiter) == width(delimiter))
    };
    // `;` and tab before `,`, which may be a decimal comma beside them; blanks last, since `a, b` has both.
    let divide: Vec<u8> = [b';', b'\t', b',', b' ']
        .into_iter()
        .filter(|&delimiter| width(delimiter) > 1)
        .collect();
    let even = divide.iter().find(|&&delimiter| same(delimiter));
    even.or(divide.first()).copied().unwrap_or(b',')
}

/// Whether a cell says that its value is missing.
pub(crate) fn is_missing(cell: &[u8]) -> bool {
    const WORDS: [&str; 7] = ["", "nan", "na", "n/a", "null", "none", "-"];
    WORDS
        .iter()
        .any(|word| cell.eq_ignore_ascii_case(word.as_bytes()))
}

/// The cells of one line.
#[derive(Clone)]
pub(crate) struct Cells<'a> {
    rest: Option<&'a [u8]>,
    delimiter: u8,
}

impl<'a> Iterator for Cells<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?.trim_ascii_start_unless(self.delimiter);
        if let Some(quoted) = rest.strip_prefix(b"\"")
            && let Some(end) = quoted.iter().position(|&byte| byte == b'"')
        {
            let behind = &quoted[end + 1..];
            let next = behind.iter().position(|&byte| is_end(byte, self.delimiter));
            self.rest = next.map(|next| &behind[next + 1..]);
            return Some(&quoted[..end]);
        }
        let end = rest.iter().position(|&byte| is_end(byte, self.delimiter));
        let cell = &rest[..end.unwrap_or(rest.len())];
        self.rest = end.map(|end| &rest[end + 1..]);
        if self.delimiter == b' ' {
            // Blanks at the end of a line divide nothing.
            self.rest = self
                .rest
                .map(<[u8]>::trim_ascii_start)
                .filter(|rest| !rest.is_empty());
        }
        Some(cell.trim_ascii())
    }
}

fn is_end(byte: u8, delimiter: u8) -> bool {
    byte == delimiter || (delimiter == b' ' && byte == b'\t')
}

trait TrimUnless {
    /// Without blanks at the start, but for a tab that divides cells.
    fn trim_ascii_start_unless(&self, delimiter: u8) -> &Self;
}

impl TrimUnless for [u8] {
    fn trim_ascii_start_unless(&self, delimiter: u8) -> &[u8] {
        let blanks = self.iter().take_while(|&&byte| {
            byte.is_ascii_whitespace() && !(byte == b'\t' && delimiter == b'\t')
        });
        &self[blanks.count()..]
    }
}

/// A cell as text, whatever its bytes.
pub(crate) fn text(cell: &[u8]) -> String {
    String::from_utf8_lossy(cell).into_owned()
}

/// A cell as it is shown to a person: its first 40 characters, without line feeds and escapes.
pub(crate) fn shown(cell: &[u8]) -> String {
    let text = String::from_utf8_lossy(&cell[..cell.len().min(160)]);
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, delimiter: char, cells: &[&str]) {
        let lines = lines(text.as_bytes()).map(|(_, line)| line);
        let dialect = Dialect::sniff(lines.clone(), None);
        assert_eq!(char::from(dialect.delimiter), delimiter, "{text:?}");
        let first = lines.clone().next().unwrap_or_default();
        let found: Vec<&str> = dialect
            .cells(first)
            .map(|cell| std::str::from_utf8(cell).expect("test text"))
            .collect();
        assert_eq!(found, cells, "{text:?}");
    }

    #[test]
    fn delimiters() {
        check("1, 2, 3\n4, 5, 6\n", ',', &["1", "2", "3"]);
        check("1 2  3 \n4 5 6\n", ' ', &["1", "2", "3"]);
        check("1\t2\t\n4\t5\t6\n", '\t', &["1", "2", ""]);
        check("1,5;2,5\n3,5;4,5\n", ';', &["1,5", "2,5"]);
        check("a,,\"b, c\",d\n", ',', &["a", "", "b, c", "d"]);
        check("5\n6\n", ',', &["5"]);
        check("", ',', &[""]);
    }

    #[test]
    fn numbers() {
        let dot = Dialect {
            delimiter: b',',
            decimal_comma: false,
        };
        let comma = Dialect {
            delimiter: b';',
            decimal_comma: true,
        };
        assert_eq!(dot.number(b"-1.5e3"), Some(-1500.0));
        assert_eq!(dot.number(b"1,5"), None);
        assert_eq!(comma.number(b"1,5"), Some(1.5));
        assert_eq!(comma.number(b"1.5"), Some(1.5));
        assert_eq!(dot.number(b"abc"), None);
        assert_eq!(dot.number(b"0x10"), None);
        assert!(dot.number(b"").is_some_and(f64::is_nan));
        assert!(dot.number(b"N/A").is_some_and(f64::is_nan));
        assert_eq!(dot.number(b"inf"), Some(f64::INFINITY));
    }
}
