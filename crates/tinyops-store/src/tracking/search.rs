//! Searches: conditions on columns, texts and metrics, an order, and a page.

use crate::StoreError;
use crate::column::Row;
use crate::db::Read;
use crate::statement::Statement;
use crate::tracking::pair::mark;

/// What a search is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entity {
    pub(crate) table: &'static str,
    /// What is read of each, with `e.` before each.
    pub(crate) columns: &'static str,
    pub(crate) tags: Option<&'static str>,
    pub(crate) params: Option<&'static str>,
    pub(crate) metrics: Option<&'static str>,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A column of texts.
    Text(&'static str),
    /// A column of whole numbers.
    Number(&'static str),
    /// A tag.
    Tag(String),
    /// A parameter.
    Param(String),
    /// The newest value of a metric.
    Metric(String),
    /// A column of the datasets that a run read.
    Dataset(&'static str),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Comparison {
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::Unequal => "<>",
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Greater => ">",
            Comparison::AtLeast => ">=",
        }
    }
}

/// What a field is held against.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// A number.
    Number(Comparison, f64),
    /// A text.
    Text(Comparison, String),
    /// A pattern in which `%` stands for any text and `_` for any character.
    Like {
        /// The pattern.
        pattern: String,
        /// Whether capitals are as good as small letters.
        ignore_case: bool,
    },
    /// One of these texts, or none of them.
    In {
        /// The texts.
        list: Vec<String>,
        /// None of them.
        negated: bool,
    },
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// It is not this text, or there is none.
    NotOrAbsent(String),
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What is looked at.
    pub field: Field,
    /// What it is held against.
    pub test: Test,
}

/// By what the found are sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What is looked at; whatever has none comes last.
    pub field: Field,
    /// The largest first.
    pub descending: bool,
}

/// A search: all conditions hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// By what the found are sorted, the first first.
    pub order: Vec<Order>,
    /// How many are left out before the page.
    pub offset: u64,
    /// How many a page has at most.
    pub limit: u32,
}

/// Columns that may hold nothing.
const NULLABLE: [&str; 1] = ["ended_at"];

/// The rows that a search finds.
pub(crate) async fn rows(
    on: &impl Read,
    entity: &Entity,
    search: &Search,
) -> Result<Vec<Row>, StoreError> {
    let mut statement = Statement::default();
    statement.select(entity, search);
    on.select(statement.sql.into(), statement.values).await
}

impl Statement {
    fn select(&mut self, entity: &Entity, search: &Search) {
        self.say("SELECT ");
        self.say(entity.columns);
        self.say(" FROM ");
        self.say(entity.table);
        self.say(" e");
        for (index, order) in search.order.iter().enumerate() {
            self.join(entity, index, &order.field);
        }
        for (index, condition) in search.conditions.iter().enumerate() {
            self.say(if index == 0 { " WHERE " } else { " AND " });
            self.condition(entity, condition);
        }
        self.say(" ORDER BY ");
        for (index, order) in search.order.iter().enumerate() {
            let by = match &order.field {
                Field::Text(column) | Field::Number(column) | Field::Dataset(column) => {
                    format!("e.{column}")
                }
                Field::Tag(_) | Field::Param(_) | Field::Metric(_) => format!("o{index}.value"),
            };
            let way = if order.descending { " DESC" } else { "" };
            // What is always there is left to the index that is in its order.
            let is_maybe_absent = match &order.field {
                Field::Text(column) | Field::Number(column) => NULLABLE.contains(column),
                _ => true,
            };
            if is_maybe_absent {
                self.say(&format!("({by} IS NULL), "));
            }
            self.say(&format!("{by}{way}, "));
        }
        self.say("e.id LIMIT ");
        self.bind(&search.limit);
        self.say(" OFFSET ");
        self.bind(&search.offset);
    }

    /// Brings the text or metric in by which is sorted.
    fn join(&mut self, entity: &Entity, index: usize, field: &Field) {
        let (Some(table), Some(key)) = (table_of(entity, field), key_of(field)) else {
            return;
        };
        self.say(&format!(
            " LEFT JOIN {table} o{index} ON o{index}.owner = e.id AND o{index}.key = "
        ));
        self.bind(key);
    }

    fn condition(&mut self, entity: &Entity, condition: &Condition) {
        match &condition.field {
            Field::Text(column) | Field::Number(column) => {
                self.test(&format!("e.{column}"), condition);
            }
            Field::Dataset(column) => {
                self.say(
                    "EXISTS (SELECT 1 FROM run_datasets d JOIN tracked_datasets t ON t.id = d.dataset
                     WHERE d.run = e.id AND ",
                );
                let table = if *column == "context" { "d" } else { "t" };
                self.test(&format!("{table}.{column}"), condition);
                self.say(")");
            }
            field => {
                let (Some(table), Some(key)) = (table_of(entity, field), key_of(field)) else {
                    // No record of this kind has such a thing.
                    return self.say("1 = 0");
                };
                if let Test::Text(Comparison::Equal, text) = &condition.test
                    && !matches!(field, Field::Metric(_))
                {
                    // By the index of texts: few rows are left for what must be looked at one by one.
                    self.say(&format!(
                        "e.id IN (SELECT c.owner FROM {table} c WHERE c.key = "
                    ));
                    self.bind(key);
                    self.say(" AND c.mark = ");
                    self.bind(&mark(text));
                    self.say(" AND c.value = ");
                    self.bind(text);
                    return self.say(")");
                }
                let is_negated = matches!(condition.test, Test::Absent | Test::NotOrAbsent(_));
                self.say(if is_negated { "NOT " } else { "" });
                self.say(&format!(
                    "EXISTS (SELECT 1 FROM {table} c WHERE c.owner = e.id AND c.key = "
                ));
                self.bind(key);
                match &condition.test {
                    Test::Absent | Test::Present => {}
                    Test::NotOrAbsent(text) if !matches!(field, Field::Metric(_)) => {
                        self.say(" AND c.mark = ");
                        self.bind(&mark(text));
                        self.say(" AND c.value = ");
                        self.bind(text);
                    }
                    _ => {
                        self.say(" AND ");
                        self.test("c.value", condition);
                    }
                }
                self.say(")");
            }
        }
    }

    fn test(&mut self, place: &str, condition: &Condition) {
        let is_whole = matches!(condition.field, Field::Number(_));
        match &condition.test {
            Test::Number(comparison, number) => {
                self.say(&format!("{place} {} ", comparison.sql()));
                match is_whole {
                    true => self.bind(&whole(*comparison, *number)),
                    false => self.bind(number),
                }
            }
            Test::Text(comparison, text) => {
                self.say(&format!("{place} {} ", comparison.sql()));
                self.bind(text);
            }
            Test::NotOrAbsent(text) => {
                self.say(&format!("{place} <> "));
                self.bind(text);
            }
            Test::Like {
                pattern,
                ignore_case,
            } => {
                // Capitals count in both engines, and a backslash is a backslash.
                let pattern = pattern.replace('\\', "\\\\");
                match ignore_case {
                    true => {
                        self.say(&format!("LOWER({place}) LIKE LOWER("));
                        self.bind(&pattern);
                        self.say(")");
                    }
                    false => {
                        self.say(&format!("{place} LIKE "));
                        self.bind(&pattern);
                    }
                }
                self.say(" ESCAPE '\\'");
            }
            Test::In { list, negated } => {
                if list.is_empty() {
                    return self.say(if *negated { "1 = 1" } else { "1 = 0" });
                }
                let not = if *negated { "NOT " } else { "" };
                self.say(&format!("{place} {not}IN ("));
                for (index, text) in list.iter().enumerate() {
                    self.say(if index == 0 { "" } else { ", " });
                    match is_whole {
                        true => self.bind(&text.parse().unwrap_or(i64::MIN)),
                        false => self.bind(text),
                    }
                }
                self.say(")");
            }
            Test::Absent => self.say(&format!("{place} IS NULL")),
            Test::Present => self.say(&format!("{place} IS NOT NULL")),
        }
    }
}

/// The whole number that a comparison with `number` is as good as.
fn whole(comparison: Comparison, number: f64) -> i64 {
    // The cast keeps what is too large at the largest.
    match comparison {
        Comparison::Less | Comparison::AtLeast => number.ceil() as i64,
        Comparison::AtMost | Comparison::Greater => number.floor() as i64,
        Comparison::Equal | Comparison::Unequal if number.fract() != 0.0 => i64::MIN,
        Comparison::Equal | Comparison::Unequal => number as i64,
    }
}

fn table_of(entity: &Entity, field: &Field) -> Option<&'static str> {
    match field {
        Field::Tag(_) => entity.tags,
        Field::Param(_) => entity.params,
        Field::Metric(_) => entity.metrics,
        Field::Text(_) | Field::Number(_) | Field::Dataset(_) => None,
    }
}

fn key_of(field: &Field) -> Option<&String> {
    match field {
        Field::Tag(key) | Field::Param(key) | Field::Metric(key) => Some(key),
        Field::Text(_) | Field::Number(_) | Field::Dataset(_) => None,
    }
}
