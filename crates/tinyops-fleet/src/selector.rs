//! Which devices a rollout is for: a predicate over what is known of a device, that also holds for devices to come.
//!
//! ```text
//! site = "north" and board != esp-eye
//! cohort in (hall, yard) or not has battery
//! ```
//! Keys are `board`, `cohort`, `id`, and the labels that a device was given (`tinyops devices add --tag
//! site=north`); a tag without `=` is a label whose value is empty. A device without a label differs from every
//! value of it. Words need no quotes if they have only letters, digits, `-`, `_`, `.` and `/`.

use std::fmt;

use tinyops_store::device::Device;

/// Nesting of parentheses and `not` at most.
const DEPTH_MAX: u32 = 32;

/// Bytes of a selector at most.
pub const SELECTOR_BYTES_MAX: usize = 1_000;

/// A predicate over devices; the empty one holds for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    text: String,
    test: Option<Test>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(String, Vec<String>),
    Has(String),
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector `{text}`, at character {at}: {problem}")]
pub struct SelectorError {
    /// The text.
    pub text: String,
    /// Where, from 1.
    pub at: usize,
    /// What was expected there.
    pub problem: String,
}

impl Selector {
    /// Holds for every device.
    pub fn all() -> Selector {
        Selector {
            text: String::new(),
            test: None,
        }
    }

    /// Reads a selector.
    ///
    /// # Errors
    /// [`SelectorError`] says where and what was expected.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let mut parser = Parser {
            text,
            tokens: tokens(text)?,
            next: 0,
            depth: 0,
        };
        if parser.tokens.is_empty() {
            return Ok(Selector::all());
        }
        let test = parser.any()?;
        match parser.peek() {
            None => Ok(Selector {
                text: text.trim().to_owned(),
                test: Some(test),
            }),
            Some(_) => Err(parser.error("expected `and`, `or` or the end")),
        }
    }

    /// Whether it holds for a device.
    pub fn matches(&self, device: &Device) -> bool {
        self.test.as_ref().is_none_or(|test| test.holds(device))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The cohort, if it is for exactly one.
    pub fn cohort(&self) -> Option<&str> {
        let of_test = |test: &'_ Test| match test {
            Test::In(key, values) if key == "cohort" && values.len() == 1 => Some(()),
            _ => None,
        };
        let found = match self.test.as_ref()? {
            Test::All(tests) => tests.iter().find(|test| of_test(test).is_some())?,
            test => test,
        };
        match found {
            Test::In(_, values) if of_test(found).is_some() => values.first().map(String::as_str),
            _ => None,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Test {
    fn holds(&self, device: &Device) -> bool {
        match self {
            Test::In(key, values) => {
                label(device, key).is_some_and(|found| values.contains(&found))
            }
            Test::Has(key) => label(device, key).is_some(),
            Test::Not(test) => !test.holds(device),
            Test::All(tests) => tests.iter().all(|test| test.holds(device)),
            Test::Any(tests) => tests.iter().any(|test| test.holds(device)),
        }
    }
}

/// The value of a device's label; the last of several wins.
fn label(device: &Device, key: &str) -> Option<String> {
    match key {
        "board" => Some(device.board.clone()),
        "cohort" => Some(device.cohort.clone()),
        "id" => Some(device.id.to_string()),
        _ => device.tags.iter().rev().find_map(|tag| {
            let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
            (name == key).then(|| value.to_owned())
        }),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, SelectorError> {
    let error = |at: usize, problem: &str| SelectorError {
        text: text.chars().take(80).collect(),
        at: at + 1,
        problem: problem.to_owned(),
    };
    if text.len() > SELECTOR_BYTES_MAX {
        return Err(error(SELECTOR_BYTES_MAX, "longer than 1,000 bytes"));
    }
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let begun = at;
        let token = match (chars[at], chars.get(at + 1)) {
            (c, _) if c.is_whitespace() => {
                at += 1;
                continue;
            }
            ('!', Some('=')) => Token::Sign("!="),
            ('=', Some('=')) => Token::Sign("=="),
            ('=', _) => Token::Sign("="),
            ('(', _) => Token::Sign("("),
            (')', _) => Token::Sign(")"),
            (',', _) => Token::Sign(","),
            (quote @ ('"' | '\''), _) => {
                let end = (at + 1..chars.len()).find(|end| chars[*end] == quote);
                let end = end.ok_or_else(|| error(begun, "this quote is not closed"))?;
                at = end + 1;
                tokens.push((begun, Token::Quoted(chars[begun + 1..end].iter().collect())));
                continue;
            }
            (c, _) if is_word(c) => {
                while at < chars.len() && is_word(chars[at]) {
                    at += 1;
                }
                tokens.push((begun, Token::Word(chars[begun..at].iter().collect())));
                continue;
            }
            _ => return Err(error(at, "no word begins with this; put it in quotes")),
        };
        at += match &token {
            Token::Sign(sign) => sign.len(),
            _ => 1,
        };
        tokens.push((begun, token));
    }
    Ok(tokens)
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: u32,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn error(&self, problem: &str) -> SelectorError {
        let end = self.text.chars().count();
        SelectorError {
            text: self.text.chars().take(80).collect(),
            at: self.tokens.get(self.next).map_or(end, |(at, _)| *at) + 1,
            problem: problem.to_owned(),
        }
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found =
            matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(found)) if *found == sign);
        self.next += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<Test, SelectorError> {
        let mut tests = vec![self.all()?];
        while self.takes_word("or") {
            tests.push(self.all()?);
        }
        Ok(one_or(tests, Test::Any))
    }

    fn all(&mut self) -> Result<Test, SelectorError> {
        let mut tests = vec![self.one()?];
        while self.takes_word("and") {
            tests.push(self.one()?);
        }
        Ok(one_or(tests, Test::All))
    }

    fn one(&mut self) -> Result<Test, SelectorError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("nested deeper than 32"));
        }
        let test = self.one_within()?;
        self.depth -= 1;
        Ok(test)
    }

    fn one_within(&mut self) -> Result<Test, SelectorError> {
        if self.takes_word("not") {
            return Ok(Test::Not(Box::new(self.one()?)));
        }
        if self.takes_sign("(") {
            let test = self.any()?;
            return match self.takes_sign(")") {
                true => Ok(test),
                false => Err(self.error("expected `)`")),
            };
        }
        if self.takes_word("has") {
            return Ok(Test::Has(self.key()?));
        }
        let key = self.key()?;
        if self.takes_sign("=") || self.takes_sign("==") {
            return Ok(Test::In(key, vec![self.value()?]));
        }
        if self.takes_sign("!=") {
            return Ok(Test::Not(Box::new(Test::In(key, vec![self.value()?]))));
        }
        if !self.takes_word("in") {
            return Err(self.error("expected `=`, `!=` or `in` after a key"));
        }
        if !self.takes_sign("(") {
            return Err(self.error("expected `(` after `in`"));
        }
        let mut values = vec![self.value()?];
        while self.takes_sign(",") {
            values.push(self.value()?);
        }
        match self.takes_sign(")") {
            true => Ok(Test::In(key, values)),
            false => Err(self.error("expected `,` or `)`")),
        }
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        const RESERVED: [&str; 5] = ["and", "or", "not", "in", "has"];
        match self.peek() {
            Some(Token::Word(word)) if !RESERVED.contains(&word.to_ascii_lowercase().as_str()) => {
                let word = word.clone();
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.error("expected a key such as `board`, `cohort` or a label")),
        }
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Some(Token::Word(value) | Token::Quoted(value)) => {
                let value = value.clone();
                self.next += 1;
                Ok(value)
            }
            _ => Err(self.error("expected a value, such as \"north\"")),
        }
    }
}

fn one_or(mut tests: Vec<Test>, join: impl Fn(Vec<Test>) -> Test) -> Test {
    match tests.len() {
        1 => tests.remove(0),
        _ => join(tests),
    }
}

#[cfg(test)]
mod tests {
    use tinyops_store::device::DeviceState;
    use tinyops_store::{DeviceId, DeviceKey, Timestamp};

    use super::*;

    fn device(board: &str, cohort: &str, tags: &[&str]) -> Device {
        Device {
            id: DeviceId(0x4d2),
            key: DeviceKey([0; 32]),
            board: board.to_owned(),
            cohort: cohort.to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            state: DeviceState::Active,
            enrolled_at: Timestamp(0),
            revision: 0,
        }
    }

    #[test]
    fn a_selector_holds_for_what_it_says() {
        let north = device("esp-eye", "hall", &["site=north", "battery", "site=south"]);
        let check = |text: &str, expected: bool| {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.matches(&north), expected, "{text}");
            // What was read once is read again.
            assert_eq!(Selector::parse(selector.text()).unwrap(), selector);
        };
        check("", true);
        check("  ", true);
        check("board = esp-eye", true);
        check("board == \"esp-eye\"", true);
        check("board != \"x\" and cohort = hall", true);
        check("site = north", false);
        check("site = south", true);
        check("site in (north, 'south')", true);
        check("floor != 3", true);
        check("has battery and not has floor", true);
        check("battery = \"\"", true);
        check("id = 00000000000004d2", true);
        // `and` binds more tightly than `or`.
        check("cohort = hall or cohort = yard and board = x", true);
        check("(cohort = hall or cohort = yard) and board = x", false);
        check("NOT cohort = hall OR board = esp-eye", true);
    }

    #[test]
    fn a_bad_selector_says_where_it_is_bad() {
        let check = |text: &str, at: usize, problem: &str| {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.at == at && error.problem.contains(problem), "{error}");
        };
        check("board", 6, "expected `=`");
        check("board = ", 9, "expected a value");
        check("board = x y", 11, "expected `and`");
        check("board = \"x", 9, "not closed");
        check("(board = x", 11, "expected `)`");
        check("board in x", 10, "expected `(`");
        check("and = x", 1, "expected a key");
        check("board ~ x", 7, "no word begins");
        check("board ! x", 7, "no word begins");
        check(&"(".repeat(40), 33, "nested");
        check(&"not ".repeat(40), 129, "nested");
        check(&"x".repeat(1_001), 1_001, "longer");
    }

    #[test]
    fn one_cohort_is_known_as_such() {
        let cohort = |text: &str| Selector::parse(text).unwrap().cohort().map(str::to_owned);
        assert_eq!(
            cohort("cohort = hall and board = x").as_deref(),
            Some("hall")
        );
        assert_eq!(cohort("cohort = hall").as_deref(), Some("hall"));
        assert_eq!(cohort("cohort in (hall, yard)"), None);
        assert_eq!(cohort("not cohort = hall"), None);
        assert_eq!(cohort("cohort = hall or board = x"), None);
    }
}
