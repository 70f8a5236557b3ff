//! Patterns of paths that name what they match: `{digit}_{speaker}_{index}.wav`.
//!
//! | piece | takes |
//! |---|---|
//! | `*` | any characters of one folder or file name, also none |
//! | `**/` | any folders, also none |
//! | `?` | one character of a name |
//! | `{name}` | one or more characters of a name, as few as possible |
//! | `{name:alpha}`, `{name:digit}` | all letters, digits that follow, at least one |
//! | `{name:path}` | one or more characters, across folders |

use std::collections::BTreeMap;
use std::ops::Range;

/// What the named pieces of a pattern matched.
pub type Captures = BTreeMap<String, String>;

/// A pattern, ready to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A `{` without `}`, or a `}` without `{`.
    #[error("`{0}` has a brace without its other half")]
    Brace(String),
    /// A capture with another name than letters, digits and `_`.
    #[error("`{0}` is not a name of a capture")]
    Name(String),
    /// A capture of an unknown kind.
    #[error("`{0}` is not one of `alpha`, `digit`, `path`")]
    Kind(String),
    /// The same capture twice.
    #[error("capture `{0}` stands twice")]
    Twice(String),
}

/// Why a pattern does not say where a file goes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// A folder is named by a capture that has no value.
    #[error("a folder is named by its {0}, which is not said")]
    Unnamed(String),
    /// A folder may be called anything.
    #[error("the pattern does not say how a folder is called")]
    Wild,
    /// A value that cannot be the name of a folder.
    #[error("`{0}` cannot be a part of a path")]
    Value(String),
    /// There is no such capture in the pattern.
    #[error("the pattern has no `{{{0}}}`")]
    NoCapture(String),
    /// The name of the file is not one that the pattern finds.
    #[error("the pattern does not find a file called `{0}`")]
    Name(String),
    /// The name of the file says something else.
    #[error("the pattern reads {name} `{took}` in `{path}`")]
    Differs {
        /// The capture.
        name: String,
        /// What it took.
        took: String,
        /// Of which path.
        path: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(char),
    One,
    Star,
    Folders,
    Capture(String, Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Alpha,
    Digit,
    Path,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`], with the part that is wrong.
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let mut pieces = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let mut rest = text.strip_prefix("./").unwrap_or(text);
        while let Some(character) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("**/") {
                pieces.push(Piece::Folders);
                rest = after;
                continue;
            }
            rest = &rest[character.len_utf8()..];
            pieces.push(match character {
                '*' => Piece::Star,
                '?' => Piece::One,
                '}' => return Err(PatternError::Brace(text.to_owned())),
                '{' => {
                    let Some((inside, after)) = rest.split_once('}') else {
                        return Err(PatternError::Brace(text.to_owned()));
                    };
                    rest = after;
                    let (name, kind) = capture(inside)?;
                    if names.contains(&name) {
                        return Err(PatternError::Twice(name));
                    }
                    names.push(name.clone());
                    Piece::Capture(name, kind)
                }
                other => Piece::Literal(other),
            });
        }
        Ok(Pattern { pieces })
    }

    /// The names of the captures, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Capture(name, _) => Some(name.as_str()),
            Piece::Literal(_) | Piece::One | Piece::Star | Piece::Folders => None,
        })
    }

    /// What the captures took, if the whole of `path` matches.
    pub fn matches(&self, path: &str) -> Option<Captures> {
        let path: Vec<char> = path.chars().collect();
        let spans = self.spans(&path)?;
        let captures = spans.into_iter().map(|(name, span)| {
            let text: String = path[span].iter().collect();
            (name.to_owned(), text)
        });
        Some(captures.collect())
    }

    /// The path with `with` in the place of what the capture `name` took, if the whole of it matches.
    pub fn replaced(&self, path: &str, name: &str, with: &str) -> Option<String> {
        let path: Vec<char> = path.chars().collect();
        let spans = self.spans(&path)?;
        let (_, span) = spans.into_iter().find(|(known, _)| *known == name)?;
        let (before, after) = (&path[..span.start], &path[span.end..]);
        let characters = before.iter().copied().chain(with.chars());
        Some(characters.chain(after.iter().copied()).collect())
    }

    /// Where a file called `name` goes so that the pattern finds it there with these values: folders are called after
    /// them, the name stays, and `**` is no folder at all.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn place(&self, name: &str, values: &Captures) -> Result<String, PlaceError> {
        for (known, value) in values {
            let is_part = !value.is_empty()
                && !value.starts_with('.')
                && !value.contains(['/', '\\'])
                && !value.contains(char::is_control);
            if !is_part {
                return Err(PlaceError::Value(value.clone()));
            }
            if !self.names().any(|name| name == known) {
                return Err(PlaceError::NoCapture(known.clone()));
            }
        }
        let last = self
            .pieces
            .iter()
            .rposition(|piece| matches!(piece, Piece::Literal('/') | Piece::Folders))
            .map_or(0, |index| index + 1);
        let mut path = String::new();
        for piece in &self.pieces[..last] {
            match piece {
                Piece::Literal(character) => path.push(*character),
                Piece::Capture(capture, _) => {
                    let value = values.get(capture);
                    path += value.ok_or_else(|| PlaceError::Unnamed(capture.clone()))?;
                }
                Piece::Folders => {}
                Piece::One | Piece::Star => return Err(PlaceError::Wild),
            }
        }
        path += name;
        let took = self.matches(&path);
        let took = took.ok_or_else(|| PlaceError::Name(name.to_owned()))?;
        for (name, took) in took {
            if values.get(&name).is_some_and(|value| *value != took) {
                return Err(PlaceError::Differs { name, took, path });
            }
        }
        Ok(path)
    }

    /// Where each capture begins and ends.
    fn spans(&self, path: &[char]) -> Option<Vec<(&str, Range<usize>)>> {
        let mut search = Search {
            pieces: &self.pieces,
            path,
            dead: vec![false; (self.pieces.len() + 1) * (path.len() + 1)],
            ends: vec![0; self.pieces.len()],
        };
        if !search.run() {
            return None;
        }
        let mut spans = Vec::new();
        let mut start = 0;
        for (piece, &end) in self.pieces.iter().zip(&search.ends) {
            if let Piece::Capture(name, _) = piece {
                spans.push((name.as_str(), start..end));
            }
            start = end;
        }
        Some(spans)
    }
}

fn capture(inside: &str) -> Result<(String, Kind), PatternError> {
    let (name, kind) = inside.split_once(':').unwrap_or((inside, ""));
    let kind = match kind {
        "" => Kind::Name,
        "alpha" => Kind::Alpha,
        "digit" => Kind::Digit,
        "path" => Kind::Path,
        other => return Err(PatternError::Kind(other.to_owned())),
    };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_name {
        Ok((name.to_owned(), kind))
    } else {
        Err(PatternError::Name(name.to_owned()))
    }
}

/// Backtracking with a memory of dead ends: each pair of piece and place is left at most once, so that no pattern
/// takes more than `pieces * path²` steps.
struct Search<'a> {
    pieces: &'a [Piece],
    path: &'a [char],
    dead: Vec<bool>,
    ends: Vec<usize>,
}

impl Search<'_> {
    fn run(&mut self) -> bool {
        // The next place to try for each piece that has begun; no recursion, for a path may be long.
        let mut open: Vec<Option<usize>> = Vec::with_capacity(self.pieces.len());
        let mut at = 0;
        loop {
            let index = open.len();
            let place = index * (self.path.len() + 1) + at;
            let found = !self.dead[place] && index == self.pieces.len() && at == self.path.len();
            if found {
                return true;
            }
            let first = if self.dead[place] {
                None
            } else {
                self.first_end(index, at)
            };
            if let Some(end) = first {
                self.ends[index] = end;
                open.push(Some(at));
                at = end;
                continue;
            }
            self.dead[place] = true;
            // Back to the last piece that can take more.
            loop {
                let Some(Some(start)) = open.pop() else {
                    return false;
                };
                let index = open.len();
                if let Some(end) = self.longer_end(index, start, self.ends[index]) {
                    self.ends[index] = end;
                    open.push(Some(start));
                    at = end;
                    break;
                }
                self.dead[index * (self.path.len() + 1) + start] = true;
            }
        }
    }

    /// The nearest end of piece `index` begun at `start`.
    fn first_end(&self, index: usize, start: usize) -> Option<usize> {
        match self.pieces.get(index)? {
            Piece::Literal(wanted) => (self.path.get(start)? == wanted).then_some(start + 1),
            Piece::One => (*self.path.get(start)? != '/').then_some(start + 1),
            Piece::Star | Piece::Folders => Some(start),
            Piece::Capture(_, kind) => {
                let mut end = start;
                while self.path.get(end).is_some_and(|&c| kind.takes(c)) {
                    end += 1;
                    if !kind.takes_all() {
                        break;
                    }
                }
                (end > start).then_some(end)
            }
        }
    }

    /// The nearest end of piece `index` behind `end`.
    fn longer_end(&self, index: usize, start: usize, end: usize) -> Option<usize> {
        match &self.pieces[index] {
            Piece::Literal(_) | Piece::One => None,
            Piece::Star => (*self.path.get(end)? != '/').then_some(end + 1),
            Piece::Capture(_, kind) => {
                (!kind.takes_all() && kind.takes(*self.path.get(end)?)).then_some(end + 1)
            }
            Piece::Folders => {
                let at_folder = start == 0 || self.path[start - 1] == '/';
                let slash = self.path[end..].iter().position(|&c| c == '/')?;
                at_folder.then_some(end + slash + 1)
            }
        }
    }
}

impl Kind {
    fn takes(self, character: char) -> bool {
        match self {
            Kind::Name => character != '/',
            Kind::Alpha => character.is_alphabetic(),
            Kind::Digit => character.is_ascii_digit(),
            Kind::Path => true,
        }
    }

    fn takes_all(self) -> bool {
        matches!(self, Kind::Alpha | Kind::Digit)
    }
}

/// Puts captures into a template such as `{fault}{diameter}`.
///
/// # Errors
/// The name of a capture that is not there, or the template if its braces do not close.
pub fn fill(template: &str, captures: &Captures) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').ok_or_else(|| template.to_owned())?;
        text += before;
        text += captures.get(name).ok_or_else(|| name.to_owned())?;
        rest = behind;
    }
    Ok(text + rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: Option<&str>) {
        let captures = Pattern::new(pattern).expect("a pattern").matches(path);
        let text = captures.map(|captures| {
            let pairs: Vec<String> = captures.iter().map(|(k, v)| format!("{k}={v}")).collect();
            pairs.join(" ")
        });
        assert_eq!(text.as_deref(), expected, "{pattern} on {path}");
    }

    #[track_caller]
    fn check_place(pattern: &str, name: &str, values: &[(&str, &str)], expected: &str) {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let place = Pattern::new(pattern)
            .expect("a pattern")
            .place(name, &values);
        let place = place.unwrap_or_else(|error| error.to_string());
        assert_eq!(place, expected, "{name} by {pattern}");
    }

    #[test]
    fn places() {
        let fan = "{group}/{label}/*.csv";
        let both = [("group", "m1"), ("label", "worn")];
        check_place(fan, "a.csv", &both, "m1/worn/a.csv");
        check_place("{label}/**/*.csv", "a.csv", &both[1..], "worn/a.csv");
        check_place("{label}_{group}.wav", "worn_m1.wav", &both, "worn_m1.wav");
        check_place(
            fan,
            "a.wav",
            &both,
            "the pattern does not find a file called `a.wav`",
        );
        check_place(
            fan,
            "a.csv",
            &both[1..],
            "a folder is named by its group, which is not said",
        );
        check_place(
            "{label}_{group}.wav",
            "sound_m1.wav",
            &both,
            "the pattern reads label `sound` in `sound_m1.wav`",
        );
        check_place("*.csv", "a.csv", &both, "the pattern has no `{group}`");
        check_place(
            "*/a.csv",
            "a.csv",
            &[],
            "the pattern does not say how a folder is called",
        );
        check_place(
            fan,
            "a.csv",
            &[("group", "../x")],
            "`../x` cannot be a part of a path",
        );
    }

    #[test]
    fn paths() {
        check("{label}/*.csv", "walk/01.csv", Some("label=walk"));
        check("{label}/*.csv", "a/b/01.csv", None);
        check("{label}/*.csv", "walk/01.csv.gz", None);
        check("**/{name}.wav", "a/b/c.wav", Some("name=c"));
        check("**/{name}.wav", "c.wav", Some("name=c"));
        check("a/**/c", "a/b/b/c", Some(""));
        check("a/**/c", "a/bc", None);
        check("**", "a", Some(""));
        check("*", "a/b", None);
        check("?.txt", "ä.txt", Some(""));
        check("{p:path}.txt", "a/b.txt", Some("p=a/b"));
        check(
            "{digit}_{speaker}_{index}.wav",
            "7_jackson_12.wav",
            Some("digit=7 index=12 speaker=jackson"),
        );
        let bearing = "{fault:alpha}{diameter:digit}*_{load}_{number}.mat";
        check(
            bearing,
            "OR007@6_3_133.mat",
            Some("diameter=007 fault=OR load=3 number=133"),
        );
        check(
            bearing,
            "IR021_0_209.mat",
            Some("diameter=021 fault=IR load=0 number=209"),
        );
        check(bearing, "Normal_0_97_first_half_48k.mat", None);
        check(
            "train/Inertial Signals/{channel}_train.txt.gz",
            "train/Inertial Signals/body_acc_x_train.txt.gz",
            Some("channel=body_acc_x"),
        );
    }

    #[test]
    fn what_is_no_pattern() {
        let error = |text| Pattern::new(text).expect_err("wrong");
        assert_eq!(error("{a"), PatternError::Brace("{a".into()));
        assert_eq!(error("a}"), PatternError::Brace("a}".into()));
        assert_eq!(error("{}"), PatternError::Name(String::new()));
        assert_eq!(error("{a:hex}"), PatternError::Kind("hex".into()));
        assert_eq!(error("{a}{a}"), PatternError::Twice("a".into()));
    }

    #[test]
    fn templates() {
        let captures = Captures::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(fill("x{a}-{b}", &captures), Ok("x1-2".into()));
        assert_eq!(fill("plain", &captures), Ok("plain".into()));
        assert_eq!(fill("{c}", &captures), Err("c".into()));
        assert_eq!(fill("{a", &captures), Err("{a".into()));
    }

    #[test]
    fn a_hostile_pattern_ends() {
        let pattern = Pattern::new(&"{a}*".replace("{a}", "*").repeat(30)).expect("a pattern");
        assert_eq!(pattern.matches(&format!("{}/", "a".repeat(2000))), None);
    }

    proptest! {
        #[test]
        fn a_literal_path_matches_itself_alone(path in "[a-c/_.0-9]{1,20}", other in "[a-c/_.0-9]{1,20}") {
            prop_assume!(!path.starts_with("./"));
            let pattern = Pattern::new(&path).expect("a pattern");
            prop_assert!(pattern.matches(&path).is_some());
            prop_assert_eq!(pattern.matches(&other).is_some(), path == other);
        }
    }
}
