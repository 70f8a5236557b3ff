//! The catalog: what a person types to find data, models, runs, experiments, devices and recordings.
//!
//! ```text
//! query := term*                          all of them hold
//! term  := kind:KIND                      data model run experiment device cohort recording; several: any of them
//!        | owner:NAME | label:CLASS
//!        | tag:KEY | tag:KEY=VALUE        tags, parameters, what marks a device, what a sender says of a recording
//!        | metric:KEY OP NUMBER           OP: > >= < <= = !=, no spaces around it
//!        | text                           anywhere in name, tags or what else is known
//! ```
//! What has spaces stands between double quotes: `"hall 1"`, `tag:site="hall 1"`.

use std::collections::BTreeMap;
use std::str::FromStr;

use tinyops_data::manifest::{Entry, Manifest};
use tinyops_store::catalog::{self, Hit, Kind, Search, Term};
use tinyops_store::tracking::search::Comparison;
use tinyops_store::upload::{self, Upload};
use tinyops_store::{Artifacts, Digest, Read, StoreError, dataset, project};

use crate::background::background;

/// Characters of a query at most.
pub const QUERY_MAX: usize = 1000;
/// Terms of a query at most.
pub const TERMS_MAX: usize = 20;
/// Entries of a page at most.
pub const PAGE_MAX: u32 = 500;

/// What a person asked for, understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    terms: Vec<Term>,
    kinds: Vec<Kind>,
    /// Whether records of the store are asked for, and whether recordings are.
    asks: (bool, bool),
}

/// Why a query is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// It is too long.
    #[error("a query has {QUERY_MAX} characters and {TERMS_MAX} terms at most")]
    TooLong,
    /// A quote is not closed.
    #[error("a double quote is not closed")]
    Quote,
    /// Not a kind.
    #[error("`{}` is no kind: {}", .0, KINDS.join(", "))]
    Kind(String),
    /// Nothing stands behind the colon.
    #[error("nothing stands behind `{0}:`")]
    Empty(&'static str),
    /// A metric without a comparison, or with what is no number.
    #[error("`metric:{0}` is no comparison with a number, such as `metric:macro_f1>0.9`")]
    Metric(String),
    /// A character that no record has.
    #[error("a query has no control characters")]
    Control,
}

/// The words after `kind:`.
pub const KINDS: [&str; 7] = [
    "data",
    "model",
    "run",
    "experiment",
    "device",
    "cohort",
    "recording",
];

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        if text.chars().count() > QUERY_MAX {
            return Err(QueryError::TooLong);
        }
        if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            return Err(QueryError::Control);
        }
        let mut query = Self::default();
        let mut names_recordings = false;
        let words = words(text)?;
        if words.len() > TERMS_MAX {
            return Err(QueryError::TooLong);
        }
        for word in words {
            match word.field() {
                Some(("kind", "recording")) => names_recordings = true,
                Some(("kind", kind)) => {
                    let known = Kind::ALL.into_iter().find(|known| known.word() == kind);
                    let kind = known.ok_or_else(|| QueryError::Kind(kind.to_owned()))?;
                    if !query.kinds.contains(&kind) {
                        query.kinds.push(kind);
                    }
                }
                Some(("owner", owner)) => query.terms.push(Term::Owner(some("owner", owner)?)),
                Some(("label", label)) => query.terms.push(Term::Label(some("label", label)?)),
                Some(("tag", tag)) => {
                    let (key, value) = match tag.split_once('=') {
                        Some((key, value)) => (key, Some(value.to_owned())),
                        None => (tag, None),
                    };
                    query.terms.push(Term::Tag {
                        key: some("tag", key)?,
                        value,
                    });
                }
                Some(("metric", metric)) => query.terms.push(metric_term(metric)?),
                _ => query.terms.push(Term::Text(word.text)),
            }
        }
        query.asks = match query.kinds.is_empty() && !names_recordings {
            // Without a word every recording there is would stand behind the newest records.
            true => (true, !query.terms.is_empty()),
            false => (!query.kinds.is_empty(), names_recordings),
        };
        Ok(query)
    }
}

fn some(field: &'static str, value: &str) -> Result<String, QueryError> {
    match value.is_empty() {
        true => Err(QueryError::Empty(field)),
        false => Ok(value.to_owned()),
    }
}

fn metric_term(text: &str) -> Result<Term, QueryError> {
    // The longer ones first: `>=` begins with `>`.
    const OPERATORS: [(&str, Comparison); 6] = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        ("!=", Comparison::Unequal),
        (">", Comparison::Greater),
        ("<", Comparison::Less),
        ("=", Comparison::Equal),
    ];
    let wrong = || QueryError::Metric(text.to_owned());
    let at = text.find(['>', '<', '=', '!']).ok_or_else(wrong)?;
    let (key, rest) = text.split_at(at);
    let (operator, comparison) = OPERATORS
        .into_iter()
        .find(|(operator, _)| rest.starts_with(operator))
        .ok_or_else(wrong)?;
    let number: f64 = rest[operator.len()..].parse().map_err(|_| wrong())?;
    if key.is_empty() || !number.is_finite() {
        return Err(wrong());
    }
    Ok(Term::Metric {
        key: key.to_owned(),
        comparison,
        number,
    })
}

/// One word of a query, quotes taken off.
struct Word {
    text: String,
    /// Where the first quote was, if it had one: a colon behind it is text.
    quoted_at: Option<usize>,
}

impl Word {
    /// What stands before and behind its first colon.
    fn field(&self) -> Option<(&str, &str)> {
        let at = self.text.find(':')?;
        match self.quoted_at {
            Some(quoted) if quoted <= at => None,
            _ => Some((&self.text[..at], &self.text[at + 1..])),
        }
    }
}

fn words(text: &str) -> Result<Vec<Word>, QueryError> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut is_quoted = false;
    for c in text.chars() {
        if c == '"' {
            is_quoted = !is_quoted;
            let word = word.get_or_insert_with(|| Word {
                text: String::new(),
                quoted_at: None,
            });
            word.quoted_at.get_or_insert(word.text.len());
        } else if c.is_whitespace() && !is_quoted {
            words.extend(word.take());
        } else {
            let word = word.get_or_insert_with(|| Word {
                text: String::new(),
                quoted_at: None,
            });
            word.text.push(c);
        }
    }
    if is_quoted {
        return Err(QueryError::Quote);
    }
    words.extend(word);
    // `""` looks for nothing.
    words.retain(|word| !word.text.is_empty());
    Ok(words)
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A record of the store.
    Record(Hit),
    /// A recording of the newest version of a project's data.
    Recording {
        /// The project.
        project: String,
        /// The version that it is in.
        version: Digest,
        /// It.
        entry: Entry,
    },
}

/// What is known of a recording, in few words: its label, its group where that is not itself, its project.
#[must_use]
pub fn about(entry: &Entry, project: &str) -> String {
    match entry.group == entry.name {
        true => format!("{}, in {project}", entry.label),
        false => format!("{}, group {}, in {project}", entry.label, entry.group),
    }
}

/// A page of what was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Records, best first, and behind them recordings, by name.
    pub found: Vec<Found>,
    /// How many there are in all.
    pub total: u64,
}

/// Finds what a query asks for.
///
/// # Errors
/// [`StoreError`].
pub async fn find(
    on: &impl Read,
    artifacts: &Artifacts,
    query: &Query,
    offset: u64,
    limit: u32,
) -> Result<Page, StoreError> {
    let limit = limit.min(PAGE_MAX);
    let search = Search {
        terms: query.terms.clone(),
        kinds: query.kinds.clone(),
        // What an engine counts with.
        offset: offset.min(i64::MAX as u64),
        limit,
    };
    let (asks_records, asks_recordings) = query.asks;
    let mut page = Page::default();
    if asks_records {
        let (hits, total) = catalog::search(on, &search).await?;
        page.found.extend(hits.into_iter().map(Found::Record));
        page.total = total;
    }
    if asks_recordings && query.suits_recordings() {
        let recordings = recordings(on, artifacts, query).await?;
        let room = limit as usize - page.found.len();
        let skipped = usize::try_from(offset.saturating_sub(page.total)).unwrap_or(usize::MAX);
        page.total += recordings.len() as u64;
        let shown = recordings.into_iter().skip(skipped).take(room);
        page.found.extend(shown);
    }
    Ok(page)
}

impl Query {
    /// Whether a recording can have what is asked for: it has no metric and no owner.
    fn suits_recordings(&self) -> bool {
        let suits = |term: &Term| matches!(term, Term::Text(_) | Term::Label(_) | Term::Tag { .. });
        self.terms.iter().all(suits)
    }

    /// `told` is what a sender says of it.
    fn holds_for(&self, project: &str, entry: &Entry, told: Option<&Told>) -> bool {
        let told = || told.into_iter().flatten();
        let has = |text: &str| {
            let text = text.to_lowercase();
            [project, &entry.name, &entry.group, &entry.label]
                .into_iter()
                .chain(told().map(|(_, value)| value.as_str()))
                .any(|place| place.to_lowercase().contains(&text))
        };
        self.terms.iter().all(|term| match term {
            Term::Text(text) => has(text),
            Term::Label(label) => {
                classes(&entry.label).any(|class| class.eq_ignore_ascii_case(label))
            }
            Term::Tag { key, value } => told().any(|(name, text)| {
                name == key && value.as_ref().is_none_or(|value| value == text)
            }),
            _ => false,
        })
    }
}

/// What a sender says of a recording: texts by name.
type Told = BTreeMap<String, String>;

/// What senders say of uploads to a project, by the names that recordings have in a dataset; the folder of a source may
/// stand before.
async fn told_of_uploads(
    on: &impl Read,
    project: &str,
) -> Result<BTreeMap<String, Told>, StoreError> {
    let kept = upload::kept(on, project).await?;
    let told = |upload: Upload| {
        let told: Told = serde_json::from_value(upload.new.metadata).ok()?;
        (!told.is_empty()).then_some((upload.new.path, told))
    };
    Ok(kept.into_iter().filter_map(told).collect())
}

/// The classes of a manifest's label: `class NAME`, or `segments FROM-TO NAME, …`.
fn classes(label: &str) -> impl Iterator<Item = &str> {
    let segments = label.strip_prefix("segments ");
    let of_segments = segments.into_iter().flat_map(|of| of.split(", "));
    let named = of_segments.filter_map(|segment| Some(segment.split_once(' ')?.1));
    label.strip_prefix("class ").into_iter().chain(named)
}

/// Recordings of the newest version of each project's data that a query holds for, by name.
async fn recordings(
    on: &impl Read,
    artifacts: &Artifacts,
    query: &Query,
) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    for project in project::list(on).await? {
        let versions = dataset::list(on, &project.name).await?;
        let Some(newest) = versions.into_iter().next() else {
            continue;
        };
        if !artifacts.exists(&newest.digest).await? {
            continue;
        }
        let bytes = artifacts.get(&newest.digest).await?;
        let query = query.clone();
        let name = project.name;
        let told = told_of_uploads(on, &name).await?;
        let listed = background(move || {
            let told_of = |name: &str| {
                let below = || told.get(name.split_once('/')?.1);
                told.get(name).or_else(below)
            };
            let manifest = Manifest::decode(&String::from_utf8_lossy(&bytes)).ok()?;
            let entries = manifest.entries.into_iter();
            let of_query =
                entries.filter(|entry| query.holds_for(&name, entry, told_of(&entry.name)));
            let found = of_query.map(|entry| Found::Recording {
                project: name.clone(),
                version: newest.digest,
                entry,
            });
            Some(found.collect::<Vec<_>>())
        });
        found.extend(listed.await.flatten().unwrap_or_default());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, terms: &[Term], kinds: &[Kind], asks: (bool, bool)) {
        let query: Query = text.parse().unwrap();
        assert_eq!(query.terms, terms, "{text}");
        assert_eq!(query.kinds, kinds, "{text}");
        assert_eq!(query.asks, asks, "{text}");
    }

    fn text(text: &str) -> Term {
        Term::Text(text.to_owned())
    }

    fn tag(key: &str, value: Option<&str>) -> Term {
        Term::Tag {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    fn metric(key: &str, comparison: Comparison, number: f64) -> Term {
        Term::Metric {
            key: key.to_owned(),
            comparison,
            number,
        }
    }

    #[test]
    fn terms_and_kinds() {
        check("", &[], &[], (true, false));
        check(
            "  fan  hall ",
            &[text("fan"), text("hall")],
            &[],
            (true, true),
        );
        check("\"hall 1\"", &[text("hall 1")], &[], (true, true));
        check("kind:run", &[], &[Kind::Run], (true, false));
        check("kind:recording worn", &[text("worn")], &[], (false, true));
        check(
            "kind:model kind:recording label:worn",
            &[Term::Label("worn".to_owned())],
            &[Kind::Model],
            (true, true),
        );
        check(
            "tag:site=\"hall 1\" tag:team owner:ana",
            &[
                tag("site", Some("hall 1")),
                tag("team", None),
                Term::Owner("ana".to_owned()),
            ],
            &[],
            (true, true),
        );
        check(
            "metric:macro_f1>=0.9 metric:loss<1e-3",
            &[
                metric("macro_f1", Comparison::AtLeast, 0.9),
                metric("loss", Comparison::Less, 1e-3),
            ],
            &[],
            (true, true),
        );
        // A colon that is quoted, or behind a word that is no field, is text.
        check("\"kind:run\"", &[text("kind:run")], &[], (true, true));
        check("12:30", &[text("12:30")], &[], (true, true));
    }

    #[track_caller]
    fn check_refused(text: &str, why: &str) {
        let error = text.parse::<Query>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }

    #[test]
    fn what_is_not_understood_is_told() {
        check_refused("kind:robot", "`robot` is no kind: data, model");
        check_refused("owner:", "nothing stands behind `owner:`");
        check_refused("tag:=x", "nothing stands behind `tag:`");
        check_refused("metric:acc", "`metric:acc` is no comparison");
        check_refused("metric:acc>high", "`metric:acc>high`");
        check_refused("metric:>0.5", "`metric:>0.5`");
        check_refused("metric:acc>inf", "`metric:acc>inf`");
        check_refused("metric:acc!0.5", "`metric:acc!0.5`");
        check_refused("\"open", "not closed");
        check_refused("a\0b", "control");
        check_refused(&"x".repeat(QUERY_MAX + 1), "1000 characters");
        check_refused(&"x ".repeat(TERMS_MAX + 1), "20 terms");
    }

    #[test]
    fn a_recording_is_found_by_name_group_and_label() {
        let entry = Entry {
            name: "hall-1/worn/monday.csv".to_owned(),
            content: Digest([0; 32]),
            len: 10,
            label: "segments 0-5 calm, 5-10 badly worn".to_owned(),
            group: "hall-1".to_owned(),
            role: None,
        };
        for (query, holds) in [
            ("MONDAY", true),
            ("fan hall-1", true),
            ("label:calm", true),
            ("label:\"badly worn\"", true),
            ("label:worn", false),
            ("tuesday", false),
            ("north", true),
            ("tag:site", true),
            ("tag:site=north", true),
            ("tag:site=nort", false),
            ("tag:sit", false),
            ("tag:take", false),
        ] {
            let query: Query = query.parse().unwrap();
            let told = Told::from([("site".to_owned(), "north".to_owned())]);
            assert_eq!(
                query.holds_for("fan", &entry, Some(&told)),
                holds,
                "{query:?}"
            );
        }
        let owned: Query = "owner:ana".parse().unwrap();
        assert!(!owned.suits_recordings());
    }

    proptest::proptest! {
        #[test]
        fn no_query_stops_the_reader(text in "[ -~äß\u{0}\n\"]{0,80}") {
            let _ = text.parse::<Query>();
        }
    }
}
