//! A field of a line of text whose fields stand between tabs: what would break the line is written `\t`, `\n`, `\r`, `\\`.

/// A field as it is written.
pub(crate) fn escaped(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    for character in field.chars() {
        match character {
            '\t' => text += "\\t",
            '\n' => text += "\\n",
            '\r' => text += "\\r",
            '\\' => text += "\\\\",
            other => text.push(other),
        }
    }
    text
}

/// Reads what [`escaped`] wrote; none for what it would not have written.
pub(crate) fn unescaped(field: &str) -> Option<String> {
    let mut text = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next()? {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            // Text that went through a machine with other line ends.
            '\r' => return None,
            other => other,
        });
    }
    Some(text)
}
