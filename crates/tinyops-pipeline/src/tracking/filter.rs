//! The filter and order grammar of searches, as MLflow's clients write it.
//!
//! ```text
//! filter := cmp ( AND cmp )*
//! cmp    := key op literal | key [I]LIKE 'text' | key IS [NOT] NULL | key [NOT] IN ( 'a', 'b' )
//! key    := [ entity '.' ] name          name bare, `backticked` or "quoted"
//! op     := = | != | < | <= | > | >=
//! ```
//! A key without entity is an attribute. There is no OR, no NOT and no grouping.

use tinyops_store::tracking::search::{Comparison, Condition, Field, Order, Test};

use super::TrackingError;

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Experiments.
    Experiments,
    /// Tracked runs.
    Runs,
    /// Logged models.
    LoggedModels,
    /// Registered names.
    RegisteredModels,
    /// Versions of registered names.
    ModelVersions,
}

/// Clients hide prompts, which nobody keeps here, by asking for models that are not marked as one.
const PROMPT_MARK: &str = "mlflow.prompt.is_prompt";

impl Kind {
    /// Attributes by the names that clients use, and the columns that they are.
    fn attributes(self) -> &'static [(&'static str, Field)] {
        use Field::{Number, Text};
        match self {
            Kind::Experiments => &[
                ("name", Text("name")),
                ("experiment_id", Number("id")),
                ("creation_time", Number("created_at")),
                ("last_update_time", Number("updated_at")),
            ],
            Kind::Runs => &[
                ("run_id", Text("run_id")),
                ("run_name", Text("name")),
                ("run name", Text("name")),
                ("status", Text("status")),
                ("user_id", Text("user_id")),
                ("start_time", Number("started_at")),
                ("created", Number("started_at")),
                ("end_time", Number("ended_at")),
            ],
            Kind::LoggedModels => &[
                ("name", Text("name")),
                ("model_id", Text("model_id")),
                ("model_type", Text("model_type")),
                ("status", Text("status")),
                ("source_run_id", Text("source_run_id")),
                ("experiment_id", Number("experiment")),
                ("creation_time", Number("created_at")),
                ("creation_timestamp", Number("created_at")),
                ("creation_timestamp_ms", Number("created_at")),
                ("last_updated_timestamp", Number("updated_at")),
                ("last_updated_timestamp_ms", Number("updated_at")),
            ],
            Kind::RegisteredModels => &[
                ("name", Text("name")),
                ("creation_timestamp", Number("created_at")),
                ("timestamp", Number("updated_at")),
                ("last_updated_timestamp", Number("updated_at")),
            ],
            Kind::ModelVersions => &[
                ("name", Text("name")),
                ("run_id", Text("run_id")),
                ("source_path", Text("source")),
                ("version_number", Number("version")),
                ("version", Number("version")),
                ("creation_timestamp", Number("created_at")),
                ("last_updated_timestamp", Number("updated_at")),
            ],
        }
    }

    /// The field that `entity.name` is.
    fn field(self, entity: Option<&str>, name: String) -> Result<Field, TrackingError> {
        let has_figures = matches!(self, Kind::Runs | Kind::LoggedModels);
        match entity.unwrap_or("attribute") {
            "attribute" | "attributes" | "attr" | "run" => self.attribute(&name),
            "tag" | "tags" => Ok(Field::Tag(name)),
            "metric" | "metrics" if has_figures => Ok(Field::Metric(name)),
            "param" | "params" | "parameter" | "parameters" if has_figures => {
                Ok(Field::Param(name))
            }
            "dataset" | "datasets" if self == Kind::Runs => match name.as_str() {
                "name" => Ok(Field::Dataset("name")),
                "digest" => Ok(Field::Dataset("digest")),
                "context" => Ok(Field::Dataset("context")),
                _ => Err(TrackingError::Invalid(format!(
                    "Invalid dataset key '{name}' specified. Valid keys are 'name', 'digest', 'context'"
                ))),
            },
            other => Err(TrackingError::Invalid(format!(
                "Invalid entity type '{other}' in the filter or order: {}",
                match has_figures {
                    true => "attributes, metrics, params and tags can be searched",
                    false => "attributes and tags can be searched",
                }
            ))),
        }
    }

    fn attribute(self, name: &str) -> Result<Field, TrackingError> {
        let known = self.attributes();
        let small = name.to_ascii_lowercase();
        match known.iter().find(|(word, _)| *word == small) {
            Some((_, field)) => Ok(field.clone()),
            None => {
                let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
                Err(TrackingError::Invalid(format!(
                    "Invalid attribute key '{name}' specified. Valid keys are '{}'",
                    words.join("', '")
                )))
            }
        }
    }
}

/// The conditions that a filter states.
///
/// # Errors
/// [`TrackingError::Invalid`] with the place that was not understood.
pub fn conditions(kind: Kind, filter: &str) -> Result<Vec<Condition>, TrackingError> {
    let mut reader = Reader::new(filter)?;
    let mut conditions = Vec::new();
    while !reader.is_done() {
        if !conditions.is_empty() && !reader.word("AND") {
            return Err(reader.wrong("`AND` between comparisons"));
        }
        conditions.push(reader.comparison(kind)?);
    }
    Ok(conditions)
}

/// The order that a client asks for, and behind it the usual one.
///
/// # Errors
/// [`TrackingError::Invalid`] with the clause that was not understood.
pub fn orders(kind: Kind, clauses: &[String]) -> Result<Vec<Order>, TrackingError> {
    let mut orders = Vec::new();
    for clause in clauses {
        let mut reader = Reader::new(clause)?;
        let field = reader.key(kind)?;
        let descending = reader.word("DESC");
        if !descending {
            reader.word("ASC");
        }
        if !reader.is_done() {
            return Err(TrackingError::Invalid(format!(
                "Invalid order_by clause '{clause}': `key`, `key ASC` or `key DESC`"
            )));
        }
        orders.push(Order { field, descending });
    }
    let usual: &[(&'static str, bool)] = match kind {
        Kind::Experiments => &[("creation_time", true), ("experiment_id", true)],
        Kind::Runs => &[("start_time", true), ("run_id", false)],
        Kind::LoggedModels => &[("creation_timestamp", true)],
        Kind::RegisteredModels => &[("name", false)],
        Kind::ModelVersions => &[
            ("last_updated_timestamp", true),
            ("name", false),
            ("version_number", true),
        ],
    };
    for (name, descending) in usual {
        let field = kind.attribute(name)?;
        if orders.iter().all(|order| order.field != field) {
            orders.push(Order {
                field,
                descending: *descending,
            });
        }
    }
    Ok(orders)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// Letters, digits and what else a bare key or number may have.
    Bare(String),
    /// What stands between quotes, and which they are.
    Quoted(String, char),
    Operator(&'static str),
    Dot,
    Open,
    Close,
    Comma,
}

const OPERATORS: [&str; 7] = ["!=", "<>", "<=", ">=", "=", "<", ">"];

struct Reader {
    text: String,
    tokens: Vec<Token>,
    next: usize,
}

impl Reader {
    fn new(text: &str) -> Result<Reader, TrackingError> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first.is_whitespace() {
                rest = &rest[first.len_utf8()..];
                continue;
            }
            if let Some(operator) = OPERATORS.iter().find(|word| rest.starts_with(**word)) {
                tokens.push(Token::Operator(operator));
                rest = &rest[operator.len()..];
                continue;
            }
            let single = match first {
                '.' => Some(Token::Dot),
                '(' => Some(Token::Open),
                ')' => Some(Token::Close),
                ',' => Some(Token::Comma),
                _ => None,
            };
            if let Some(token) = single {
                tokens.push(token);
                rest = &rest[1..];
            } else if matches!(first, '\'' | '"' | '`') {
                let (quoted, behind) = quoted(&rest[1..], first).ok_or_else(|| {
                    TrackingError::Invalid(format!(
                        "Invalid filter '{text}': a quote is not closed"
                    ))
                })?;
                tokens.push(Token::Quoted(quoted, first));
                rest = behind;
            } else {
                let end = rest
                    .find(|c: char| c.is_whitespace() || "()',\"`=<>!".contains(c))
                    .unwrap_or(rest.len());
                if end == 0 {
                    return Err(TrackingError::Invalid(format!(
                        "Invalid filter '{text}': `{first}` says nothing here"
                    )));
                }
                // Dots of a number belong to it, those of a key part it.
                let bare = &rest[..end];
                match bare.parse::<f64>().is_ok() {
                    true => tokens.push(Token::Bare(bare.to_owned())),
                    false => {
                        for (index, part) in bare.split('.').enumerate() {
                            if index > 0 {
                                tokens.push(Token::Dot);
                            }
                            if !part.is_empty() {
                                tokens.push(Token::Bare(part.to_owned()));
                            }
                        }
                    }
                }
                rest = &rest[end..];
            }
        }
        Ok(Reader {
            text: text.to_owned(),
            tokens,
            next: 0,
        })
    }

    fn is_done(&self) -> bool {
        self.next >= self.tokens.len()
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    /// Passes a word by, if it is there.
    fn word(&mut self, word: &str) -> bool {
        let is_there =
            matches!(self.peek(), Some(Token::Bare(bare)) if bare.eq_ignore_ascii_case(word));
        self.next += usize::from(is_there);
        is_there
    }

    fn wrong(&self, expected: &str) -> TrackingError {
        let found = match self.peek() {
            None => "its end".to_owned(),
            Some(Token::Bare(text) | Token::Quoted(text, _)) => format!("`{text}`"),
            Some(Token::Operator(word)) => format!("`{word}`"),
            Some(Token::Dot) => "`.`".to_owned(),
            Some(Token::Open) => "`(`".to_owned(),
            Some(Token::Close) => "`)`".to_owned(),
            Some(Token::Comma) => "`,`".to_owned(),
        };
        TrackingError::Invalid(format!(
            "Invalid filter '{}': expected {expected}, found {found}",
            self.text
        ))
    }

    fn key(&mut self, kind: Kind) -> Result<Field, TrackingError> {
        const KEY: &str = "a key such as `metrics.accuracy`";
        let mut parts = Vec::new();
        loop {
            match self.peek() {
                Some(Token::Bare(text)) => parts.push(text.clone()),
                Some(Token::Quoted(text, '`' | '"')) => parts.push(text.clone()),
                _ => return Err(self.wrong(KEY)),
            }
            self.next += 1;
            match self.peek() {
                Some(Token::Dot) => self.next += 1,
                _ => break,
            }
        }
        match parts.len() {
            1 => kind.field(None, parts.remove(0)),
            _ => {
                let entity = parts.remove(0).to_ascii_lowercase();
                kind.field(Some(&entity), parts.join("."))
            }
        }
    }

    fn comparison(&mut self, kind: Kind) -> Result<Condition, TrackingError> {
        let field = self.key(kind)?;
        let is_number = matches!(field, Field::Number(_) | Field::Metric(_));
        let test = if self.word("IS") {
            let is_negated = self.word("NOT");
            if !self.word("NULL") {
                return Err(self.wrong("`NULL`"));
            }
            match is_negated {
                true => Test::Present,
                false => Test::Absent,
            }
        } else if self.word("NOT") {
            if !self.word("IN") {
                return Err(self.wrong("`IN`"));
            }
            self.list(true)?
        } else if self.word("IN") {
            self.list(false)?
        } else if self.word("LIKE") {
            self.pattern(is_number, false)?
        } else if self.word("ILIKE") {
            self.pattern(is_number, true)?
        } else {
            self.compared(&field, is_number)?
        };
        Ok(Condition {
            test: in_words_of(kind, &field, test),
            field,
        })
    }

    fn compared(&mut self, field: &Field, is_number: bool) -> Result<Test, TrackingError> {
        let comparison = match self.peek() {
            Some(Token::Operator("=")) => Comparison::Equal,
            Some(Token::Operator("!=" | "<>")) => Comparison::Unequal,
            Some(Token::Operator("<")) => Comparison::Less,
            Some(Token::Operator("<=")) => Comparison::AtMost,
            Some(Token::Operator(">")) => Comparison::Greater,
            Some(Token::Operator(">=")) => Comparison::AtLeast,
            _ => return Err(self.wrong("a comparison")),
        };
        let is_order = !matches!(comparison, Comparison::Equal | Comparison::Unequal);
        if is_order && !is_number {
            return Err(self.wrong("`=`, `!=`, `LIKE`, `ILIKE`, `IN` or `IS NULL` for a text"));
        }
        self.next += 1;
        if is_number {
            let number = match self.peek() {
                Some(Token::Bare(text)) => text.parse::<f64>().ok(),
                // Versions and ids are texts to clients.
                Some(Token::Quoted(text, _)) if matches!(field, Field::Number(_)) => {
                    text.parse::<f64>().ok()
                }
                _ => None,
            };
            let number = number.filter(|number| number.is_finite());
            let number = number.ok_or_else(|| self.wrong("a number"))?;
            self.next += 1;
            return Ok(Test::Number(comparison, number));
        }
        let text = self.text_literal()?;
        match field {
            Field::Tag(key) if key == PROMPT_MARK && comparison == Comparison::Unequal => {
                Ok(Test::NotOrAbsent(text))
            }
            _ => Ok(Test::Text(comparison, text)),
        }
    }

    fn pattern(&mut self, is_number: bool, ignore_case: bool) -> Result<Test, TrackingError> {
        if is_number {
            return Err(self.wrong("a comparison of numbers"));
        }
        Ok(Test::Like {
            pattern: self.text_literal()?,
            ignore_case,
        })
    }

    fn list(&mut self, negated: bool) -> Result<Test, TrackingError> {
        if self.peek() != Some(&Token::Open) {
            return Err(self.wrong("`(`"));
        }
        self.next += 1;
        let mut list = Vec::new();
        loop {
            list.push(self.text_literal()?);
            match self.take() {
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(Test::In { list, negated }),
                _ => {
                    self.next -= 1;
                    return Err(self.wrong("`,` or `)`"));
                }
            }
        }
    }

    fn text_literal(&mut self) -> Result<String, TrackingError> {
        match self.peek() {
            Some(Token::Quoted(text, '\'' | '"')) => {
                let text = text.clone();
                self.next += 1;
                Ok(text)
            }
            _ => Err(self.wrong("a text in quotes")),
        }
    }
}

/// What stands before the closing quote (a doubled one is one of the text), and what follows.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut rest = text;
    loop {
        let end = rest.find(quote)?;
        found.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(quote) {
            Some(behind) => {
                found.push(quote);
                rest = behind;
            }
            None => return Some((found, rest)),
        }
    }
}

/// Clients say `READY` of a logged model whose status is `LOGGED_MODEL_READY`.
fn in_words_of(kind: Kind, field: &Field, test: Test) -> Test {
    if kind != Kind::LoggedModels || *field != Field::Text("status") {
        return test;
    }
    let whole = |text: String| match text.starts_with("LOGGED_MODEL_") {
        true => text,
        false => format!("LOGGED_MODEL_{text}"),
    };
    match test {
        Test::Text(comparison, text) => Test::Text(comparison, whole(text)),
        Test::In { list, negated } => Test::In {
            list: list.into_iter().map(whole).collect(),
            negated,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(filter: &str) -> Condition {
        let mut found = conditions(Kind::Runs, filter).unwrap();
        assert_eq!(found.len(), 1, "{filter}");
        found.remove(0)
    }

    #[test]
    fn every_form_of_a_comparison() {
        let text = |field, comparison, text: &str| Condition {
            field,
            test: Test::Text(comparison, text.to_owned()),
        };
        assert_eq!(
            one("params.arch = 'ds.cnn'"),
            text(Field::Param("arch".to_owned()), Comparison::Equal, "ds.cnn")
        );
        assert_eq!(
            one("tags.`mlflow.user` != \"ana\""),
            text(
                Field::Tag("mlflow.user".to_owned()),
                Comparison::Unequal,
                "ana"
            )
        );
        assert_eq!(
            one("tags.mlflow.user='it''s'"),
            text(
                Field::Tag("mlflow.user".to_owned()),
                Comparison::Equal,
                "it's"
            )
        );
        assert_eq!(
            one("metrics.\"val acc\">=-1e-3"),
            Condition {
                field: Field::Metric("val acc".to_owned()),
                test: Test::Number(Comparison::AtLeast, -1e-3),
            }
        );
        assert_eq!(
            one("attributes.status = 'FINISHED'"),
            text(Field::Text("status"), Comparison::Equal, "FINISHED")
        );
        assert_eq!(
            one("`Run Name` LIKE '%a_b'"),
            Condition {
                field: Field::Text("name"),
                test: Test::Like {
                    pattern: "%a_b".to_owned(),
                    ignore_case: false
                },
            }
        );
        assert_eq!(
            one("run_id IN ('a', 'b')"),
            Condition {
                field: Field::Text("run_id"),
                test: Test::In {
                    list: vec!["a".to_owned(), "b".to_owned()],
                    negated: false
                },
            }
        );
        assert_eq!(
            one("datasets.context not in ('train')").field,
            Field::Dataset("context")
        );
        assert_eq!(one("params.x is null").test, Test::Absent);
        assert_eq!(one("params.x IS NOT NULL").test, Test::Present);
        assert_eq!(one("start_time > 17").field, Field::Number("started_at"));
        let both = conditions(
            Kind::Runs,
            "metrics.a < 1 AND params.b = 'x' and end_time <= 9",
        );
        assert_eq!(both.unwrap().len(), 3);
        assert_eq!(conditions(Kind::Runs, "  ").unwrap(), []);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (kind, filter, why) in [
            (Kind::Runs, "acc > 1", "Invalid attribute key 'acc'"),
            (
                Kind::Runs,
                "metrics.a > 'x'",
                "expected a number, found `x`",
            ),
            (Kind::Runs, "params.a > 'x'", "for a text"),
            (
                Kind::Runs,
                "params.a = 3",
                "expected a text in quotes, found `3`",
            ),
            (Kind::Runs, "params.a = 'x", "a quote is not closed"),
            (
                Kind::Runs,
                "params.a = 'x' OR params.b = 'y'",
                "expected `AND`",
            ),
            (Kind::Runs, "(params.a = 'x')", "expected a key"),
            (Kind::Runs, "metrics.a = nan", "expected a number"),
            (
                Kind::Runs,
                "params.a IN ('x'",
                "expected `,` or `)`, found its end",
            ),
            (Kind::Runs, "params.a IN ()", "expected a text in quotes"),
            (Kind::Runs, "params.", "expected a key"),
            (Kind::Runs, "things.a = 'x'", "Invalid entity type 'things'"),
            (
                Kind::Runs,
                "datasets.rows = 'x'",
                "Invalid dataset key 'rows'",
            ),
            (
                Kind::Experiments,
                "metrics.a > 1",
                "Invalid entity type 'metrics'",
            ),
            (
                Kind::RegisteredModels,
                "status = 'x'",
                "Invalid attribute key",
            ),
            (Kind::Runs, "!", "says nothing here"),
        ] {
            let error = conditions(kind, filter).unwrap_err().to_string();
            assert!(error.contains(why), "{filter}: {error}");
        }
        let wrong = orders(Kind::Runs, &["metrics.a UP".to_owned()]).unwrap_err();
        assert!(wrong.to_string().contains("metrics.a UP"), "{wrong}");
    }

    #[test]
    fn an_order_ends_in_the_usual_one() {
        let asked = orders(
            Kind::Runs,
            &["metrics.acc DESC".to_owned(), "start_time".to_owned()],
        )
        .unwrap();
        let fields: Vec<(Field, bool)> = asked
            .into_iter()
            .map(|order| (order.field, order.descending))
            .collect();
        assert_eq!(
            fields,
            [
                (Field::Metric("acc".to_owned()), true),
                (Field::Number("started_at"), false),
                (Field::Text("run_id"), false),
            ]
        );
    }

    #[test]
    fn models_without_a_mark_are_no_prompts() {
        let found = conditions(
            Kind::RegisteredModels,
            "name ILIKE 'kws%' AND tag.`mlflow.prompt.is_prompt` != 'true'",
        );
        assert_eq!(found.unwrap()[1].test, Test::NotOrAbsent("true".to_owned()));
    }
}
