//! CSV as named columns of numbers or words: a table that is no recording.
//!
//! # Source
//! RFC 4180 for quotes; `;` and tabs part cells as well.

use super::text;

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Every cell is a number; NaN where one holds nothing.
    Numbers(Vec<f64>),
    /// Some cell is no number; empty where one holds nothing.
    Words(Vec<String>),
}

/// Reads a header and rows: the columns by name, in their order.
///
/// # Errors
/// What is wrong, and in which line.
pub fn read(bytes: &[u8]) -> Result<Vec<(String, Column)>, String> {
    let rows = std::str::from_utf8(bytes)
        .map_err(|error| format!("byte {} is no UTF-8", error.valid_up_to()))?;
    let rows = rows.strip_prefix('\u{feff}').unwrap_or(rows);
    let first = rows.lines().next().unwrap_or_default();
    let delimiter = [',', ';', '\t']
        .into_iter()
        .max_by_key(|delimiter| (first.matches(*delimiter).count(), *delimiter == ','))
        .unwrap_or(',');
    let mut rows = Rows {
        rest: rows,
        delimiter,
        line: 0,
    };
    let names = rows.next_row()?.ok_or("it holds no row")?;
    let mut names: Vec<String> = names
        .into_iter()
        .map(|cell| cell.trim().to_owned())
        .collect();
    if let Some(twice) = (1..names.len()).find(|&index| names[..index].contains(&names[index])) {
        return Err(format!("the header names `{}` twice", names[twice]));
    }
    let after_header = (rows.rest, rows.line);
    let mut numbers: Vec<Option<Vec<f64>>> = vec![Some(Vec::new()); names.len()];
    let mut count = 0;
    while let Some(cells) = rows.next_row()? {
        if cells.len() != names.len() {
            let (found, wanted) = (cells.len(), names.len());
            return Err(format!(
                "line {} has {found} cells where the header has {wanted}",
                rows.line
            ));
        }
        for (cell, column) in cells.iter().zip(&mut numbers) {
            if let Some(values) = column {
                match number(cell.trim(), delimiter) {
                    Some(value) => values.push(value),
                    None => *column = None,
                }
            }
        }
        count += 1;
    }
    if count == 0 {
        return Err("it holds no row below its header".to_owned());
    }
    // A column in which no cell is a number, though none is a word, is one of words that are missing.
    for column in &mut numbers {
        if column
            .as_ref()
            .is_some_and(|values| values.iter().all(|value| value.is_nan()))
        {
            *column = None;
        }
    }
    let mut words: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    if numbers.iter().any(Option::is_none) {
        (rows.rest, rows.line) = after_header;
        while let Some(cells) = rows.next_row()? {
            for ((cell, words), numbers) in cells.iter().zip(&mut words).zip(&numbers) {
                if numbers.is_none() {
                    let word = cell.trim();
                    words.push(if is_missing(word) { "" } else { word }.to_owned());
                }
            }
        }
    }
    let columns = names.drain(..).zip(numbers.into_iter().zip(words));
    Ok(columns
        .map(|(name, (numbers, words))| {
            (name, numbers.map_or(Column::Words(words), Column::Numbers))
        })
        .collect())
}

fn is_missing(cell: &str) -> bool {
    cell == "?" || text::is_missing(cell.as_bytes())
}

/// The number of a cell; no number of one that holds nothing, and nothing of a word.
fn number(cell: &str, delimiter: char) -> Option<f64> {
    if let Ok(number) = cell.parse() {
        return Some(number);
    }
    if is_missing(cell) {
        return Some(f64::NAN);
    }
    // Where cells are split by semicolons, commas are decimal points.
    match delimiter == ';' && cell.contains(',') {
        true => cell.replace(',', ".").parse().ok(),
        false => None,
    }
}

/// Rows of RFC 4180.
struct Rows<'t> {
    rest: &'t str,
    delimiter: char,
    /// The line that the last row began at.
    line: usize,
}

impl<'t> Rows<'t> {
    /// The cells of the next row that is not empty.
    fn next_row(&mut self) -> Result<Option<Vec<std::borrow::Cow<'t, str>>>, String> {
        use std::borrow::Cow;
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            self.line += 1;
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            let line = self.rest[..end].trim_end_matches('\r');
            if !line.contains('"') {
                self.rest = self.rest.get(end + 1..).unwrap_or_default();
                if line.trim().is_empty() {
                    continue;
                }
                return Ok(Some(
                    line.split(self.delimiter).map(Cow::Borrowed).collect(),
                ));
            }
            return self.quoted().map(Some);
        }
    }

    fn quoted(&mut self) -> Result<Vec<std::borrow::Cow<'t, str>>, String> {
        let begun = self.line;
        let mut cells = Vec::new();
        let mut cell = String::new();
        let mut is_inside = false;
        let mut characters = self.rest.char_indices().peekable();
        let mut end = self.rest.len();
        while let Some((at, character)) = characters.next() {
            match (character, is_inside) {
                ('"', true) if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                    characters.next();
                    cell.push('"');
                }
                ('"', _) => is_inside = !is_inside,
                ('\n', false) => {
                    end = at + 1;
                    break;
                }
                (character, false) if character == self.delimiter => {
                    cells.push(std::mem::take(&mut cell).into());
                }
                (character, _) => {
                    self.line += usize::from(character == '\n');
                    cell.push(character);
                }
            }
        }
        if is_inside {
            return Err(format!("line {begun} opens a quote that nothing closes"));
        }
        self.rest = &self.rest[end..];
        cells.push(cell.trim_end_matches('\r').to_owned().into());
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_words_and_what_is_missing_are_told_apart() {
        let text =
            "\u{feff}a;b;c\r\n1,5;\"x; \"\"y\"\"\";NA\r\n;z;\r\n\r\n-2e3;\"two\nlines\";null\r\n";
        let table = read(text.as_bytes()).unwrap();
        let [(_, a), (_, b), (_, c)] = &table[..] else {
            panic!("{table:?}");
        };
        let Column::Numbers(a) = a else {
            panic!("{a:?}")
        };
        assert!(a[0] == 1.5 && a[1].is_nan() && a[2] == -2000.0, "{a:?}");
        let words = |words: [&str; 3]| Column::Words(words.map(str::to_owned).to_vec());
        assert_eq!(*b, words(["x; \"y\"", "z", "two\nlines"]));
        assert_eq!(*c, words(["", "", ""]));
    }

    #[test]
    fn what_is_no_table_is_told_with_its_line() {
        for (text, expected) in [
            (&b""[..], "no row"),
            (b"a,b\n", "below its header"),
            (b"a,b\n1,2\n3\n", "line 3 has 1 cells"),
            (b"a,a\n1,2\n", "`a` twice"),
            (b"a,b\n1,\"2\n", "line 2 opens a quote"),
            (b"a,b\n1,\xff\n", "byte 6"),
        ] {
            let problem = read(text).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    /// Whatever is done to a table, its columns are as long as each other, or it is refused.
    #[test]
    fn a_table_with_any_byte_changed_is_read_or_refused() {
        let sound =
            b"\xef\xbb\xbfa;b;c\r\n1,5;\"x; \"\"y\"\"\";NA\r\n;z;\r\n-2e3;\"two\nlines\";null\r\n";
        let mut refused = 0;
        for at in 0..sound.len() {
            for byte in [0, b'\n', b'\r', b'"', b';', b',', b'\t', b'9', 0x80, 0xff] {
                let mut bytes = sound.to_vec();
                bytes[at] = byte;
                for bytes in [&bytes[..], &bytes[..at]] {
                    let Ok(table) = read(bytes) else {
                        refused += 1;
                        continue;
                    };
                    let len = |column: &Column| match column {
                        Column::Numbers(numbers) => numbers.len(),
                        Column::Words(words) => words.len(),
                    };
                    let first = len(&table[0].1);
                    assert!(first > 0 && table.iter().all(|(_, column)| len(column) == first));
                }
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
