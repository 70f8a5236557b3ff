//! PostgreSQL: a few connections, serializable transactions; the server groups commits by itself.

use std::error::Error as _;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use futures_util::future::try_join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Statement};

use crate::column::{Row, Value};
use crate::db::Sql;
use crate::{Cause, StoreError};

/// Connections at most; more transactions wait.
const CONNECTIONS_MAX: usize = 8;

/// One PostgreSQL database.
pub(crate) struct Postgres {
    pool: Arc<Pool>,
}

struct Pool {
    place: String,
    config: Config,
    free: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// A connection and the statements that it has prepared.
struct Connection {
    client: Client,
    statements: Mutex<std::collections::HashMap<&'static str, Statement>>,
}

/// One transaction on a connection of its own.
pub(crate) struct Session {
    pool: Arc<Pool>,
    /// Gone once it is committed.
    open: Option<(Connection, OwnedSemaphorePermit)>,
}

impl Postgres {
    pub(crate) async fn open(url: &str) -> Result<Postgres, StoreError> {
        let config = Config::from_str(url).map_err(|_| StoreError::Url {
            url: without_password(url),
            expected: "`postgres://USER:PASSWORD@HOST/NAME`",
        })?;
        let pool = Pool {
            place: without_password(url),
            config,
            free: Mutex::default(),
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        };
        let connection = pool.connect().await?;
        lock(&pool.free).push(connection);
        Ok(Postgres {
            pool: Arc::new(pool),
        })
    }

    pub(crate) fn place(&self) -> &str {
        &self.pool.place
    }

    pub(crate) async fn begin(&self, name: &'static str) -> Result<Session, StoreError> {
        let (connection, permit) = self.pool.take().await?;
        tracing::trace!(name, "transaction begins");
        // As if one ran after the other: what SQLite gives by its single writer.
        let begun = connection
            .client
            .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
            .await;
        begun.map_err(|error| self.pool.explain("begin a transaction", &error))?;
        Ok(Session {
            pool: self.pool.clone(),
            open: Some((connection, permit)),
        })
    }

    pub(crate) async fn read(&self, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let (connection, _permit) = self.pool.take().await?;
        let statement = self.pool.prepare(&connection, sql).await?;
        let rows = self
            .pool
            .query(&connection.client, &statement, &values)
            .await?;
        lock(&self.pool.free).push(connection);
        Ok(rows)
    }
}

impl Session {
    pub(crate) async fn execute_many(
        &self,
        sql: &'static str,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<u64>, StoreError> {
        let connection = self.connection();
        let statement = self.pool.prepare(connection, sql.into()).await?;
        // Sent one behind the other without waiting: one round trip for all.
        let counts = rows
            .iter()
            .map(|row| connection.client.execute_raw(&statement, row));
        try_join_all(counts)
            .await
            .map_err(|error| self.pool.explain("write", &error))
    }

    pub(crate) async fn query_many(
        &self,
        sql: Sql,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let connection = self.connection();
        let statement = self.pool.prepare(connection, sql).await?;
        try_join_all(
            rows.iter()
                .map(|row| self.pool.query(&connection.client, &statement, row)),
        )
        .await
    }

    pub(crate) async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        let done = self.connection().client.batch_execute(sql).await;
        done.map_err(|error| self.pool.explain("change the schema", &error))
    }

    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        // A transaction in which a statement failed answers COMMIT with a rollback, and without an error.
        let rows = self
            .connection()
            .client
            .simple_query("SELECT 1; COMMIT")
            .await;
        rows.map_err(|error| self.pool.explain("commit", &error))?;
        if let Some((connection, permit)) = self.open.take() {
            lock(&self.pool.free).push(connection);
            drop(permit);
        }
        Ok(())
    }

    fn connection(&self) -> &Connection {
        let (connection, _) = self
            .open
            .as_ref()
            .expect("a session keeps its connection until it is committed");
        connection
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some((connection, permit)) = self.open.take() else {
            return;
        };
        // Without a runtime the connection closes, which rolls back as well.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let pool = self.pool.clone();
            runtime.spawn(async move {
                if connection.client.batch_execute("ROLLBACK").await.is_ok() {
                    lock(&pool.free).push(connection);
                }
                drop(permit);
            });
        }
    }
}

impl Pool {
    async fn take(&self) -> Result<(Connection, OwnedSemaphorePermit), StoreError> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        loop {
            let free = lock(&self.free).pop();
            match free {
                Some(connection) if connection.client.is_closed() => {}
                Some(connection) => return Ok((connection, permit)),
                None => return Ok((self.connect().await?, permit)),
            }
        }
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        let (client, connection) =
            self.config
                .connect(NoTls)
                .await
                .map_err(|error| StoreError::Unreachable {
                    place: self.place.clone(),
                    source: cause(&error),
                })?;
        // Ends when the client is dropped or the server closes the connection.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "the database connection broke");
            }
        });
        Ok(Connection {
            client,
            statements: Mutex::default(),
        })
    }

    /// Prepares a statement; one of the program's own is kept, one put together for a search is not.
    async fn prepare(&self, connection: &Connection, sql: Sql) -> Result<Statement, StoreError> {
        if let Some(statement) = lock(&connection.statements).get(&*sql) {
            return Ok(statement.clone());
        }
        let statement = connection
            .client
            .prepare(&sql)
            .await
            .map_err(|error| self.explain("prepare", &error))?;
        if let Sql::Borrowed(sql) = sql {
            lock(&connection.statements).insert(sql, statement.clone());
        }
        Ok(statement)
    }

    async fn query(
        &self,
        client: &Client,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let parameters: Vec<&(dyn ToSql + Sync)> = values
            .iter()
            .map(|value| value as &(dyn ToSql + Sync))
            .collect();
        let rows = client
            .query(statement, &parameters)
            .await
            .map_err(|error| self.explain("read", &error))?;
        rows.iter().map(|row| self.read_row(row)).collect()
    }

    fn read_row(&self, row: &tokio_postgres::Row) -> Result<Row, StoreError> {
        let values = (0..row.len()).map(|index| {
            let value = match *row.columns()[index].type_() {
                Type::INT8 => row
                    .try_get::<_, Option<i64>>(index)
                    .map(|value| value.map(Value::Int)),
                Type::INT4 => row
                    .try_get::<_, Option<i32>>(index)
                    .map(|value| value.map(|value| Value::Int(value.into()))),
                Type::FLOAT8 => row
                    .try_get::<_, Option<f64>>(index)
                    .map(|value| value.map(Value::Real)),
                Type::BYTEA => row
                    .try_get::<_, Option<Vec<u8>>>(index)
                    .map(|value| value.map(Value::Bytes)),
                _ => row
                    .try_get::<_, Option<String>>(index)
                    .map(|value| value.map(Value::Text)),
            };
            value
                .map(|value| value.unwrap_or(Value::Null))
                .map_err(|error| self.explain("read", &error))
        });
        values
            .collect::<Result<Vec<Value>, StoreError>>()
            .map(Row::new)
    }

    fn explain(&self, doing: &'static str, error: &tokio_postgres::Error) -> StoreError {
        let place = self.place.clone();
        let source = cause(error);
        match error.code() {
            Some(code)
                if *code == SqlState::T_R_SERIALIZATION_FAILURE
                    || *code == SqlState::T_R_DEADLOCK_DETECTED =>
            {
                StoreError::Conflict {
                    entity: "transaction",
                    key: doing.to_owned(),
                }
            }
            Some(code) if *code == SqlState::DISK_FULL || *code == SqlState::OUT_OF_MEMORY => {
                StoreError::Full { place, source }
            }
            Some(code)
                if *code == SqlState::INSUFFICIENT_PRIVILEGE
                    || *code == SqlState::READ_ONLY_SQL_TRANSACTION =>
            {
                StoreError::Permission { place, source }
            }
            Some(_) => StoreError::Engine { doing, source },
            None => StoreError::Unreachable { place, source },
        }
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(value) if *ty == Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
            Value::Int(value) => value.to_sql(ty, out),
            Value::Real(value) => value.to_sql(ty, out),
            Value::Text(text) => text.to_sql(ty, out),
            Value::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::INT8 | Type::INT4 | Type::FLOAT8 | Type::TEXT | Type::BYTEA
        )
    }

    to_sql_checked!();
}

/// The error and what the server said about it.
fn cause(error: &tokio_postgres::Error) -> Cause {
    Cause(match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "postgres://…".to_owned();
    };
    match rest.rsplit_once('@') {
        Some((user, host)) => format!(
            "{scheme}://{}@{host}",
            user.split(':').next().unwrap_or_default()
        ),
        None => url.to_owned(),
    }
}

/// A poisoned lock guards nothing half-changed here: every critical section is one push, pop or insert.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
