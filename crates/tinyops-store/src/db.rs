//! The database handle and its transactions, the same over both engines.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use crate::StoreError;
use crate::column::{Row, Value};
#[cfg(feature = "postgres")]
use crate::postgres;
use crate::{migration, sqlite};

/// The records of one TinyOps installation. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Db {
    engine: Arc<Engine>,
}

enum Engine {
    Sqlite(sqlite::Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Postgres),
}

/// A transaction: what it writes is kept whole when [`Tx::commit`] returns, and not at all if it is dropped.
///
/// Transactions see each other as if they ran one after the other. Over SQLite they do: one holds the pen
/// at a time, so keep other waiting out of it, and read through the transaction, not through its [`Db`].
pub struct Tx {
    engine: TxEngine,
}

enum TxEngine {
    Sqlite(sqlite::Turn),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Session>),
}

/// Where reading functions read: a [`Db`] (what is committed) or a [`Tx`] (also what it wrote itself).
pub trait Read: Query {}
impl Read for Db {}
impl Read for Tx {}

/// A statement: one of the program's own, prepared once, or one put together for a search.
pub(crate) type Sql = Cow<'static, str>;

/// The reading half of both, out of reach of other crates: only this one speaks SQL.
pub trait Query: Sync {
    /// How the engine spells what the two spell differently.
    fn dialect(&self) -> migration::Dialect;

    /// All rows of one `SELECT`, whoever put it together.
    fn select(
        &self,
        sql: Sql,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// All rows of one `SELECT`.
    fn query(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send {
        self.select(Sql::Borrowed(sql), values)
    }

    /// The first row, if there is one.
    fn query_one(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, StoreError>> + Send {
        async move { Ok(self.query(sql, values).await?.into_iter().next()) }
    }
}

const URLS: &str = "`sqlite:PATH`, `sqlite::memory:` or `postgres://USER@HOST/NAME`";

impl Db {
    /// Opens the records at `url` and brings their schema up to date; SQLite's file is made if it is missing.
    ///
    /// `sqlite:PATH` (or a bare path), `sqlite::memory:` for tests, `postgres://USER:PASSWORD@HOST/NAME`.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::Permission`], [`StoreError::Damaged`], [`StoreError::Newer`],
    /// [`StoreError::Full`], [`StoreError::Unreachable`].
    pub async fn open(url: &str) -> Result<Db, StoreError> {
        let engine = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            #[cfg(feature = "postgres")]
            {
                Engine::Postgres(postgres::Postgres::open(url).await?)
            }
            #[cfg(not(feature = "postgres"))]
            return Err(StoreError::Url {
                url: "postgres://…".to_owned(),
                expected: "a build with the feature `postgres`",
            });
        } else if let Some((scheme, _)) = url
            .split_once("://")
            .filter(|(scheme, _)| *scheme != "sqlite")
        {
            return Err(StoreError::Url {
                url: format!("{scheme}://…"),
                expected: URLS,
            });
        } else {
            let path = url
                .strip_prefix("sqlite://")
                .or_else(|| url.strip_prefix("sqlite:"))
                .unwrap_or(url);
            if path.is_empty() {
                return Err(StoreError::Url {
                    url: url.to_owned(),
                    expected: URLS,
                });
            }
            Engine::Sqlite(sqlite::Sqlite::open(path).await?)
        };
        let db = Db {
            engine: Arc::new(engine),
        };
        migration::run(&db).await?;
        Ok(db)
    }

    /// Begins a transaction; `name` says what it is for in traces.
    pub async fn begin(&self, name: &'static str) -> Result<Tx, StoreError> {
        let engine = match &*self.engine {
            Engine::Sqlite(sqlite) => TxEngine::Sqlite(sqlite.begin(name).await?),
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => TxEngine::Postgres(Box::new(postgres.begin(name).await?)),
        };
        Ok(Tx { engine })
    }

    /// Begins a transaction that will add to the audit log.
    ///
    /// Every entry is chained to the one before, so that such transactions run one after the other: over PostgreSQL
    /// each waits here for those before it, instead of failing with a conflict in the end as most would. Over SQLite
    /// every transaction does so.
    pub async fn begin_audited(&self, name: &'static str) -> Result<Tx, StoreError> {
        let tx = self.begin(name).await?;
        #[cfg(feature = "postgres")]
        if let TxEngine::Postgres(session) = &tx.engine {
            // Before anything is read: what the transaction sees begins with its first query, behind the lock.
            session
                .batch("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE")
                .await?;
        }
        Ok(tx)
    }

    /// Where the records are, for a person: a path, or a URL without its password.
    pub fn place(&self) -> &str {
        match &*self.engine {
            Engine::Sqlite(sqlite) => sqlite.place(),
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.place(),
        }
    }
}

impl Query for Db {
    fn dialect(&self) -> migration::Dialect {
        match &*self.engine {
            Engine::Sqlite(_) => migration::Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => migration::Dialect::Postgres,
        }
    }

    async fn select(&self, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        match &*self.engine {
            Engine::Sqlite(sqlite) => sqlite.read(sql, values).await,
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.read(sql, values).await,
        }
    }
}

impl Tx {
    /// Makes everything written durable; returns when it is on the disk.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.engine {
            TxEngine::Sqlite(turn) => turn.commit().await,
            #[cfg(feature = "postgres")]
            TxEngine::Postgres(session) => session.commit().await,
        }
    }

    /// Runs one statement and returns how many rows it touched.
    pub(crate) async fn execute(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        let counts = self.execute_many(sql, vec![values]).await?;
        Ok(counts.into_iter().sum())
    }

    /// Runs one statement once per row of values, in one round trip.
    pub(crate) async fn execute_many(
        &self,
        sql: &'static str,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<u64>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match &self.engine {
            TxEngine::Sqlite(turn) => turn.execute_many(sql, rows).await,
            #[cfg(feature = "postgres")]
            TxEngine::Postgres(session) => session.execute_many(sql, rows).await,
        }
    }

    /// Runs one `SELECT` once per row of values, in one round trip; one answer per row of values.
    pub(crate) async fn query_many(
        &self,
        sql: &'static str,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        self.select_many(Sql::Borrowed(sql), rows).await
    }

    async fn select_many(
        &self,
        sql: Sql,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match &self.engine {
            TxEngine::Sqlite(turn) => turn.query_many(sql, rows).await,
            #[cfg(feature = "postgres")]
            TxEngine::Postgres(session) => session.query_many(sql, rows).await,
        }
    }

    /// Runs statements without parameters, as migrations are written.
    pub(crate) async fn batch(&self, sql: String) -> Result<(), StoreError> {
        match &self.engine {
            TxEngine::Sqlite(turn) => turn.batch(sql).await,
            #[cfg(feature = "postgres")]
            TxEngine::Postgres(session) => session.batch(&sql).await,
        }
    }
}

impl Query for Tx {
    fn dialect(&self) -> migration::Dialect {
        match &self.engine {
            TxEngine::Sqlite(_) => migration::Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            TxEngine::Postgres(_) => migration::Dialect::Postgres,
        }
    }

    async fn select(&self, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let answers = self.select_many(sql, vec![values]).await?;
        Ok(answers.into_iter().flatten().collect())
    }
}

/// Turns "no row was touched" into a conflict: the row's revision was not the one read.
pub(crate) fn touched(
    count: u64,
    entity: &'static str,
    key: impl ToString,
) -> Result<(), StoreError> {
    match count {
        0 => Err(StoreError::Conflict {
            entity,
            key: key.to_string(),
        }),
        _ => Ok(()),
    }
}
