//! The catalog: one search over data, models, runs, experiments and devices, ranked and in pages.
//!
//! Each kind is a `SELECT` of the same columns; a search is their union. What a caller says is in the values alone.

use crate::column::Row;
use crate::db::Read;
use crate::migration::Dialect;
use crate::statement::Statement;
use crate::tracking::pair::mark;
use crate::tracking::search::Comparison;
use crate::{Digest, StoreError, Timestamp};

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A dataset version.
    Data,
    /// A version of a model, of a pipeline or handed in by a client.
    Model,
    /// A run that is tracked, of a pipeline or of a client.
    Run,
    /// An experiment.
    Experiment,
    /// A device.
    Device,
    /// A cohort of devices.
    Cohort,
}

impl Kind {
    /// Every kind, in the order in which equals are told.
    pub const ALL: [Kind; 6] = [
        Kind::Model,
        Kind::Data,
        Kind::Experiment,
        Kind::Run,
        Kind::Cohort,
        Kind::Device,
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Data => "data",
            Kind::Model => "model",
            Kind::Run => "run",
            Kind::Experiment => "experiment",
            Kind::Device => "device",
            Kind::Cohort => "cohort",
        }
    }
}

/// One thing that must hold of whatever is found; a kind that has no such thing is not found.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A text that stands somewhere in it, capitals and small letters alike.
    Text(String),
    /// A tag, with a value or with any; both as they are written, letter for letter.
    Tag {
        /// Its key, whole.
        key: String,
        /// Its value, whole.
        value: Option<String>,
    },
    /// A metric: its newest value of a run, any of a model.
    Metric {
        /// Its key.
        key: String,
        /// How it is compared.
        comparison: Comparison,
        /// With what.
        number: f64,
    },
    /// Whose it is: who logged it, or handed it in.
    Owner(String),
    /// A class that it has: its whole name, capitals and small letters alike.
    Label(String),
}

/// What is asked for: all terms hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// What must hold.
    pub terms: Vec<Term>,
    /// Which kinds; all of them where none is named.
    pub kinds: Vec<Kind>,
    /// How many are left out before the page.
    pub offset: u64,
    /// How many a page has at most.
    pub limit: u32,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What it is.
    pub kind: Kind,
    /// What it is found again by: `fan@3`, the id of a run, the number of an experiment or a device, a cohort; empty for
    /// data, which has its digest.
    pub key: String,
    /// The digest of a dataset version.
    pub digest: Option<Digest>,
    /// What it is called.
    pub title: String,
    /// Whose it is; empty where nobody is known.
    pub owner: String,
    /// What else is known, in few words.
    pub about: String,
    /// When it was made.
    pub at: Timestamp,
}

/// A page of what was found, best first, and how many there are in all.
///
/// Best is what is called by the first text, then what begins with it, what has it in its name, and what has it elsewhere;
/// equals are newest first.
pub async fn search(on: &impl Read, search: &Search) -> Result<(Vec<Hit>, u64), StoreError> {
    let mut statement = Statement::default();
    let kinds = match search.kinds.is_empty() {
        true => &Kind::ALL[..],
        false => &search.kinds,
    };
    let is_asked = |kind: &&Kind| kinds.contains(kind);
    let first = search.terms.iter().find_map(|term| match term {
        Term::Text(text) => Some(text.as_str()),
        _ => None,
    });
    statement.say(
        "SELECT kind, item, digest, title, owner, about, at, COUNT(*) OVER () AS found FROM (",
    );
    for (index, kind) in Kind::ALL.iter().filter(is_asked).enumerate() {
        statement.say(if index == 0 { "" } else { " UNION ALL " });
        statement.source(on.dialect(), *kind, first, &search.terms);
    }
    statement.say(") hits ORDER BY rank, at DESC, kind, item, digest LIMIT ");
    statement.bind(&search.limit);
    statement.say(" OFFSET ");
    statement.bind(&search.offset);
    let rows = on.select(statement.sql.into(), statement.values).await?;
    let mut found = 0;
    let mut hits = Vec::with_capacity(rows.len());
    for row in rows {
        let mut row: Row = row.of("catalog entry");
        let number: i64 = row.take()?;
        hits.push(Hit {
            kind: usize::try_from(number)
                .ok()
                .and_then(|number| Kind::ALL.get(number).copied())
                .ok_or(StoreError::Closed)?,
            key: row.take()?,
            digest: row.take()?,
            title: row.take()?,
            owner: row.take()?,
            about: row.take()?,
            at: row.take()?,
        });
        found = row.take::<i64>()?;
    }
    if hits.is_empty() && search.offset > 0 {
        // Past the end no row says how many there are.
        let all = Search {
            offset: 0,
            limit: 1,
            ..search.clone()
        };
        return Ok((Vec::new(), Box::pin(self::search(on, &all)).await?.1));
    }
    Ok((hits, found.unsigned_abs()))
}

/// Where one kind is kept, and what is looked at in it.
struct Source {
    /// `item`, `digest`, `title`, `owner`, `about`, `at`.
    columns: [&'static str; 6],
    from: &'static str,
    /// What a text is looked for in, besides the title.
    texts: &'static [&'static str],
    /// Tables of tags, and what their `owner` is.
    tags: &'static [(&'static str, &'static str)],
    /// Tables of metrics with `m`, joined to the row.
    metrics: &'static [&'static str],
    /// A text of JSON, and the list in it that names classes.
    labels: Option<(&'static str, &'static str)>,
    /// A column that is a JSON list of `key=value`.
    marks: Option<&'static str>,
    has_owner: bool,
}

fn source_of(kind: Kind) -> Source {
    let nothing = Source {
        columns: [""; 6],
        from: "",
        texts: &[],
        tags: &[],
        metrics: &[],
        labels: None,
        marks: None,
        has_owner: false,
    };
    const NONE: &str = "CAST(NULL AS BYTEA)";
    match kind {
        Kind::Data => Source {
            columns: [
                "''",
                "e.digest",
                "e.project",
                "''",
                "CAST(e.sample_count AS TEXT) || ' recordings'",
                "e.created_at",
            ],
            from: "datasets e",
            texts: &["e.detail"],
            labels: Some(("e.detail", "classes")),
            ..nothing
        },
        Kind::Model => Source {
            columns: [
                "e.id",
                NONE,
                "e.id",
                "COALESCE(NULLIF(e.user_id, ''), r.user_id, '')",
                "COALESCE(p.stage, e.stage)",
                "e.created_at",
            ],
            from:
                "model_versions e LEFT JOIN tracked_runs r ON r.run_id = e.run_id AND e.run_id <> ''
                   LEFT JOIN models p ON p.name = e.name AND p.version = e.version
                   LEFT JOIN registered_models g ON g.name = e.name
                   LEFT JOIN model_version_notes n ON n.id = e.id",
            texts: &[
                "COALESCE(p.stage, e.stage)",
                "COALESCE(p.project, '')",
                "COALESCE(g.description, '')",
                "COALESCE(n.description, '')",
            ],
            tags: &[
                ("model_version_tags", "e.id"),
                ("registered_model_tags", "g.id"),
            ],
            metrics: &[
                "run_metrics m WHERE m.owner = r.id",
                "logged_models l JOIN logged_model_metrics m ON m.owner = l.id
                 WHERE l.model_id = e.logged_model AND e.logged_model <> ''",
            ],
            labels: Some((
                "(SELECT MAX(c.detail) FROM capsules c WHERE c.model = e.name AND c.version = e.version)",
                "labels",
            )),
            has_owner: true,
            ..nothing
        },
        Kind::Run => Source {
            columns: [
                "e.run_id",
                NONE,
                "e.name",
                "e.user_id",
                "x.name || ', ' || LOWER(e.status)",
                "e.started_at",
            ],
            from: "tracked_runs e JOIN experiments x ON x.id = e.experiment AND e.lifecycle = 'active'",
            texts: &["e.run_id", "x.name", "e.status"],
            tags: &[("run_tags", "e.id"), ("run_params", "e.id")],
            metrics: &["run_metrics m WHERE m.owner = e.id"],
            has_owner: true,
            ..nothing
        },
        Kind::Experiment => Source {
            columns: [
                "CAST(e.id AS TEXT)",
                NONE,
                "e.name",
                "''",
                "''",
                "e.updated_at",
            ],
            from: "experiments e",
            tags: &[("experiment_tags", "e.id")],
            ..nothing
        },
        Kind::Device => Source {
            columns: [
                "CAST(e.id AS TEXT)",
                NONE,
                "CAST(e.id AS TEXT)",
                "''",
                "e.board || ' in ' || e.cohort || ', ' || e.state",
                "e.enrolled_at",
            ],
            from: "devices e",
            texts: &["e.board", "e.cohort", "e.tags", "e.state"],
            marks: Some("e.tags"),
            ..nothing
        },
        Kind::Cohort => Source {
            columns: [
                "e.cohort",
                NONE,
                "e.cohort",
                "''",
                "CAST(e.devices AS TEXT) || ' devices'",
                "e.at",
            ],
            from: "(SELECT cohort, COUNT(*) AS devices, MAX(enrolled_at) AS at FROM devices GROUP BY cohort) e",
            ..nothing
        },
    }
}

impl Statement {
    fn source(&mut self, dialect: Dialect, kind: Kind, first: Option<&str>, terms: &[Term]) {
        let source = source_of(kind);
        let number = Kind::ALL.iter().position(|known| *known == kind);
        let [item, digest, title, owner, about, at] = source.columns;
        self.say(&format!(
            "SELECT CAST({} AS BIGINT) AS kind, {item} AS item, {digest} AS digest, {title} AS title, {owner} AS owner,
             {about} AS about, {at} AS at, ",
            number.unwrap_or_default()
        ));
        self.rank(title, first);
        self.say(&format!(" AS rank FROM {}", source.from));
        for (index, term) in terms.iter().enumerate() {
            self.say(if index == 0 { " WHERE " } else { " AND " });
            self.term(dialect, &source, term);
        }
        if kind == Kind::Experiment {
            self.say(if terms.is_empty() { " WHERE " } else { " AND " });
            self.say("e.lifecycle = 'active'");
        }
    }

    fn rank(&mut self, title: &str, first: Option<&str>) {
        let Some(first) = first else {
            return self.say("0");
        };
        self.say(&format!("CASE WHEN LOWER({title}) = LOWER("));
        self.bind(&first.to_owned());
        self.say(") THEN 0 WHEN ");
        self.like(title, &format!("{}%", escaped(first)));
        self.say(" THEN 1 WHEN ");
        self.like(title, &format!("%{}%", escaped(first)));
        self.say(" THEN 2 ELSE 3 END");
    }

    fn like(&mut self, place: &str, pattern: &str) {
        self.say(&format!("LOWER({place}) LIKE LOWER("));
        self.bind(&pattern.to_owned());
        self.say(") ESCAPE '\\'");
    }

    fn term(&mut self, dialect: Dialect, source: &Source, term: &Term) {
        match term {
            Term::Text(text) => {
                let pattern = format!("%{}%", escaped(text));
                self.say("(");
                self.like(source.columns[2], &pattern);
                for place in source.texts {
                    self.say(" OR ");
                    self.like(place, &pattern);
                }
                if let Some(number) = hex(text).filter(|_| source.marks.is_some()) {
                    self.say(" OR e.id = ");
                    self.bind(&number);
                }
                for (table, owner) in source.tags {
                    self.say(&format!(
                        " OR EXISTS (SELECT 1 FROM {table} t WHERE t.owner = {owner} AND "
                    ));
                    self.like("t.value", &pattern);
                    self.say(")");
                }
                self.say(")");
            }
            Term::Tag { key, value } => self.tag(dialect, source, key, value.as_deref()),
            Term::Metric {
                key,
                comparison,
                number,
            } => {
                self.any(source.metrics, |statement, from| {
                    statement.say(&format!("EXISTS (SELECT 1 FROM {from} AND m.key = "));
                    statement.bind(key);
                    statement.say(&format!(" AND m.value {} ", comparison.sql()));
                    statement.bind(number);
                    statement.say(")");
                });
            }
            Term::Owner(owner) => match source.has_owner {
                true => {
                    self.say(&format!("LOWER({}) = LOWER(", source.columns[3]));
                    self.bind(owner);
                    self.say(")");
                }
                false => self.say("1 = 0"),
            },
            Term::Label(label) => match source.labels {
                Some((text, list)) => {
                    let of = members(dialect, text, Some(list));
                    self.say(&format!(
                        "EXISTS (SELECT 1 FROM {of} WHERE LOWER(t.value) = LOWER("
                    ));
                    self.bind(label);
                    self.say("))");
                }
                None => self.say("1 = 0"),
            },
        }
    }

    fn tag(&mut self, dialect: Dialect, source: &Source, key: &str, value: Option<&str>) {
        if let Some(place) = source.marks {
            let of = members(dialect, place, None);
            self.say(&format!("EXISTS (SELECT 1 FROM {of} WHERE t.value = "));
            match value {
                Some(value) => self.bind(&format!("{key}={value}")),
                None => {
                    self.bind(&key.to_owned());
                    let begin = format!("{key}=");
                    let length = begin.chars().count();
                    self.say(&format!(" OR SUBSTR(t.value, 1, {length}) = "));
                    self.bind(&begin);
                }
            }
            return self.say(")");
        }
        self.any(source.tags, |statement, (table, owner)| {
            statement.say(&format!(
                "EXISTS (SELECT 1 FROM {table} t WHERE t.owner = {owner} AND t.key = "
            ));
            statement.bind(&key.to_owned());
            if let Some(value) = value {
                statement.say(" AND t.mark = ");
                statement.bind(&mark(value));
                statement.say(" AND t.value = ");
                statement.bind(&value.to_owned());
            }
            statement.say(")");
        });
    }

    /// That one of some places has it; a kind without such places is not found.
    fn any<T: Copy>(&mut self, places: &[T], each: impl Fn(&mut Self, T)) {
        if places.is_empty() {
            return self.say("1 = 0");
        }
        self.say("(");
        for (index, place) in places.iter().enumerate() {
            self.say(if index == 0 { "" } else { " OR " });
            each(self, *place);
        }
        self.say(")");
    }
}

/// The entries of a list of texts in JSON, as rows `t.value`: the whole of a text, or what it has under a name.
fn members(dialect: Dialect, text: &str, name: Option<&str>) -> String {
    match dialect {
        Dialect::Sqlite => {
            let of = name.map_or_else(String::new, |name| format!(" -> '{name}'"));
            format!("json_each({text}{of}) t")
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            let of = name.map_or_else(String::new, |name| format!(" -> '{name}'"));
            // What is no list has no entries; a text with the character 0 is none that this engine can look into.
            format!(
                "jsonb_array_elements_text(CASE WHEN strpos({text}, '\\u0000') > 0 THEN '[]'
                   WHEN jsonb_typeof(CAST({text} AS jsonb){of}) = 'array' THEN CAST({text} AS jsonb){of} ELSE '[]' END) t(value)"
            )
        }
    }
}

/// A text as a pattern that stands for itself alone.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}

/// The number of a device whose id this is.
fn hex(text: &str) -> Option<i64> {
    let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| is_id)?;
    Some(number as i64)
}
