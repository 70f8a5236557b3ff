//! SQLite: one writing thread, a few reading connections, and commits that share an fsync.
//!
//! Transactions take turns on the writing connection. A commit is answered only after the file is synced, but
//! the next transaction need not wait for that: while others stand in line, their transactions join the open
//! one as savepoints, and one `COMMIT` makes them all durable. Alone, a transaction is synced at once.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Statement};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::column::{Row, Value};
use crate::db::Sql;
use crate::{Cause, StoreError};

/// How many commits share an fsync at most.
const GROUP_COMMITS_MAX: usize = 1_000;
/// How long the first commit of a group waits for the others at most.
const GROUP_WAIT_MAX: Duration = Duration::from_millis(5);
/// How long the next in line may take to send its first statement before the group is closed without it.
const NEXT_WAIT_MAX: Duration = Duration::from_micros(500);
/// What the writing connection may keep of the file: the rows of some thousand devices that report all the time.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// Pages in the write-ahead log after which it is brought into the file: one that is written again and again until
/// then is brought over once.
const CHECKPOINT_PAGES: i64 = 4096;
/// Reading connections at most; more readers wait.
const READERS_MAX: usize = 4;
/// How long another process may hold the file before [`StoreError::Busy`].
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// One SQLite database.
pub(crate) struct Sqlite {
    place: String,
    memory: bool,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Option<std::thread::JoinHandle<()>>,
    turn: Arc<Semaphore>,
    in_line: Arc<AtomicUsize>,
    readers: Arc<Mutex<Vec<Connection>>>,
    reading: Arc<Semaphore>,
}

/// The right to write, held by one transaction at a time.
pub(crate) struct Turn {
    jobs: mpsc::Sender<Job>,
    /// Given back after the last job of this transaction is sent, so jobs of two never mix.
    permit: Option<OwnedSemaphorePermit>,
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writing thread is asked to do. At most a handful stand in its channel: one transaction has the
/// turn, and it waits for each answer.
enum Job {
    Begin(&'static str),
    Execute(&'static str, Vec<Vec<Value>>, Answer<Vec<u64>>),
    Query(Sql, Vec<Vec<Value>>, Answer<Vec<Vec<Row>>>),
    Batch(String, Answer<()>),
    Commit(Answer<()>),
    Rollback,
}

impl Sqlite {
    pub(crate) async fn open(path: &str) -> Result<Sqlite, StoreError> {
        let path = path.to_owned();
        on_blocking_thread(move || Sqlite::open_now(&path)).await?
    }

    fn open_now(path: &str) -> Result<Sqlite, StoreError> {
        let memory = path == ":memory:";
        if !memory
            && let Some(folder) = Path::new(path)
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(|error| {
                StoreError::io(folder.display(), "make the store's folder", &error)
            })?;
        }
        let connection = connect(path)
            .and_then(|connection| {
                connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
                connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
                Ok(connection)
            })
            .map_err(|error| explain(path, "open the store", &error))?;
        let (jobs, queue) = mpsc::channel();
        let in_line = Arc::new(AtomicUsize::new(0));
        let pen = Pen {
            place: path.to_owned(),
            connection,
            in_line: in_line.clone(),
            writing: false,
            failed: None,
            group: Vec::new(),
            group_since: Instant::now(),
        };
        let writer = std::thread::Builder::new()
            .name("store writer".to_owned())
            .spawn(move || pen.run(&queue))
            .map_err(|error| StoreError::io(path, "start the store's thread", &error))?;
        Ok(Sqlite {
            place: path.to_owned(),
            memory,
            jobs: Mutex::new(Some(jobs)),
            writer: Some(writer),
            turn: Arc::new(Semaphore::new(1)),
            in_line,
            readers: Arc::default(),
            reading: Arc::new(Semaphore::new(READERS_MAX)),
        })
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) async fn begin(&self, name: &'static str) -> Result<Turn, StoreError> {
        let jobs = lock(&self.jobs).clone().ok_or(StoreError::Closed)?;
        let place_in_line = InLine::join(&self.in_line);
        let permit = self
            .turn
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        jobs.send(Job::Begin(name))
            .map_err(|_| StoreError::Closed)?;
        drop(place_in_line);
        Ok(Turn {
            jobs,
            permit: Some(permit),
        })
    }

    pub(crate) async fn read(&self, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        if self.memory {
            // A second connection would open a second, empty database.
            let jobs = lock(&self.jobs).clone().ok_or(StoreError::Closed)?;
            let (answer, answered) = oneshot::channel();
            jobs.send(Job::Query(sql, vec![values], answer))
                .map_err(|_| StoreError::Closed)?;
            let answers = answered.await.map_err(|_| StoreError::Closed)??;
            return Ok(answers.into_iter().flatten().collect());
        }
        let permit = self
            .reading
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let (place, readers) = (self.place.clone(), self.readers.clone());
        on_blocking_thread(move || {
            let _permit = permit;
            let free = lock(&readers).pop();
            let connection = match free {
                Some(connection) => connection,
                None => {
                    connect(&place).map_err(|error| explain(&place, "open the store", &error))?
                }
            };
            let rows = query_rows(&connection, &sql, std::slice::from_ref(&values))
                .map(|rows| rows.into_iter().flatten().collect())
                .map_err(|error| explain(&place, "read", &error));
            lock(&readers).push(connection);
            rows
        })
        .await?
    }
}

impl Drop for Sqlite {
    /// Waits for the writing thread, so that the file is free when the last handle is gone.
    fn drop(&mut self) {
        lock(&self.jobs).take();
        lock(&self.readers).clear();
        if let Some(writer) = self.writer.take() {
            // A panic there was already answered as `Closed`.
            let _ = writer.join();
        }
    }
}

impl Turn {
    pub(crate) async fn execute_many(
        &self,
        sql: &'static str,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<u64>, StoreError> {
        self.ask(|answer| Job::Execute(sql, rows, answer)).await
    }

    pub(crate) async fn query_many(
        &self,
        sql: Sql,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        self.ask(|answer| Job::Query(sql, rows, answer)).await
    }

    pub(crate) async fn batch(&self, sql: String) -> Result<(), StoreError> {
        self.ask(|answer| Job::Batch(sql, answer)).await
    }

    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs
            .send(Job::Commit(answer))
            .map_err(|_| StoreError::Closed)?;
        // The next transaction may begin while this one waits for the disk.
        self.permit = None;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs
            .send(job(answer))
            .map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.permit.is_some() {
            // If the thread is gone, so is what this transaction wrote.
            let _ = self.jobs.send(Job::Rollback);
        }
    }
}

/// Counts someone who stands in line for the turn.
struct InLine(Arc<AtomicUsize>);

impl InLine {
    fn join(in_line: &Arc<AtomicUsize>) -> InLine {
        in_line.fetch_add(1, Ordering::SeqCst);
        InLine(in_line.clone())
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The writing thread's side.
struct Pen {
    place: String,
    connection: Connection,
    in_line: Arc<AtomicUsize>,
    /// Whether a transaction has the turn.
    writing: bool,
    /// What went wrong in that transaction, which then can only be rolled back.
    failed: Option<StoreError>,
    /// Commits that wait for the disk.
    group: Vec<Answer<()>>,
    group_since: Instant,
}

impl Pen {
    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        loop {
            let job = if self.writing || self.group.is_empty() {
                queue.recv().ok()
            } else if self.group_is_due() {
                self.sync_group();
                continue;
            } else {
                match queue.recv_timeout(NEXT_WAIT_MAX) {
                    Ok(job) => Some(job),
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        self.sync_group();
                        continue;
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => None,
                }
            };
            match job {
                Some(job) => self.work(job),
                None => break self.sync_group(),
            }
        }
    }

    fn group_is_due(&self) -> bool {
        self.in_line.load(Ordering::SeqCst) == 0
            || self.group.len() >= GROUP_COMMITS_MAX
            || self.group_since.elapsed() >= GROUP_WAIT_MAX
    }

    /// Someone who stopped waiting for an answer loses only the answer, so a failed `send` means nothing.
    fn work(&mut self, job: Job) {
        match job {
            Job::Begin(name) => {
                tracing::trace!(name, "transaction begins");
                self.writing = true;
                let begun = match self.group.is_empty() {
                    true => self
                        .connection
                        .execute_batch("BEGIN IMMEDIATE; SAVEPOINT turn"),
                    false => self.connection.execute_batch("SAVEPOINT turn"),
                };
                self.failed = begun
                    .err()
                    .map(|error| explain(&self.place, "begin a transaction", &error));
            }
            Job::Execute(sql, rows, answer) => {
                let counts = self.attempt("write", |connection| {
                    let mut statement = connection.prepare_cached(&numbered(sql))?;
                    rows.iter()
                        .map(|row| Ok(statement.execute(rusqlite::params_from_iter(row))? as u64))
                        .collect()
                });
                let _ = answer.send(counts);
            }
            Job::Query(sql, rows, answer) => {
                let answers =
                    self.attempt("read", |connection| query_rows(connection, &sql, &rows));
                let _ = answer.send(answers);
            }
            Job::Batch(sql, answer) => {
                let done = self.attempt("change the schema", |connection| {
                    connection.execute_batch(&sql)
                });
                let _ = answer.send(done);
            }
            Job::Commit(answer) => {
                self.writing = false;
                if let Some(error) = self.failed.take() {
                    self.undo();
                    let _ = answer.send(Err(error));
                    return;
                }
                match self.connection.execute_batch("RELEASE turn") {
                    Ok(()) => {
                        if self.group.is_empty() {
                            self.group_since = Instant::now();
                        }
                        self.group.push(answer);
                    }
                    Err(error) => {
                        let error = explain(&self.place, "commit", &error);
                        self.undo();
                        let _ = answer.send(Err(error));
                    }
                }
            }
            Job::Rollback => {
                self.writing = false;
                self.failed = None;
                self.undo();
            }
        }
    }

    fn attempt<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if self.writing
            && let Some(error) = &self.failed
        {
            return Err(error.clone());
        }
        work(&self.connection).map_err(|error| {
            let error = explain(&self.place, doing, &error);
            // A full disk or a failed write makes SQLite roll back everything, the waiting commits too.
            if self.connection.is_autocommit() {
                self.fail_group(&error);
            }
            if self.writing {
                self.failed = Some(error.clone());
            }
            error
        })
    }

    /// Takes back what the transaction with the turn wrote, and only that.
    fn undo(&mut self) {
        let undone = match (self.connection.is_autocommit(), self.group.is_empty()) {
            (true, _) => return,
            (false, true) => self.connection.execute_batch("ROLLBACK"),
            (false, false) => self
                .connection
                .execute_batch("ROLLBACK TO turn; RELEASE turn"),
        };
        if let Err(error) = undone {
            let error = explain(&self.place, "roll back", &error);
            self.fail_group(&error);
        }
    }

    fn sync_group(&mut self) {
        if self.group.is_empty() {
            return;
        }
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => {
                for answer in self.group.drain(..) {
                    let _ = answer.send(Ok(()));
                }
            }
            Err(error) => {
                let error = explain(&self.place, "commit", &error);
                self.fail_group(&error);
            }
        }
    }

    fn fail_group(&mut self, error: &StoreError) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the store cannot roll back");
        }
        for answer in self.group.drain(..) {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

fn connect(path: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_prepared_statement_cache_capacity(128);
    // FULL: an acknowledged report is on the disk, not in a cache. The WAL makes that one fsync per commit.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
         PRAGMA case_sensitive_like = ON;",
    )?;
    Ok(connection)
}

/// Runs a `SELECT` once per row of values.
fn query_rows(
    connection: &Connection,
    sql: &Sql,
    rows: &[Vec<Value>],
) -> rusqlite::Result<Vec<Vec<Row>>> {
    match sql {
        Sql::Borrowed(sql) => {
            let mut statement = connection.prepare_cached(&numbered(sql))?;
            rows.iter().map(|row| query(&mut statement, row)).collect()
        }
        // Hardly the same twice: it would only push others out.
        Sql::Owned(sql) => {
            let mut statement = connection.prepare(&numbered(sql))?;
            rows.iter().map(|row| query(&mut statement, row)).collect()
        }
    }
}

fn query(statement: &mut Statement<'_>, values: &[Value]) -> rusqlite::Result<Vec<Row>> {
    let column_count = statement.column_count();
    let mut found = statement.query(rusqlite::params_from_iter(values))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let mut values = Vec::with_capacity(column_count);
        for index in 0..column_count {
            values.push(match row.get_ref(index)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(value) => Value::Int(value),
                ValueRef::Real(value) => Value::Real(value),
                ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
            });
        }
        rows.push(Row::new(values));
    }
    Ok(rows)
}

/// `$1` is a name to SQLite, numbered by first use; `?1` is the number that PostgreSQL means by `$1`.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Real(value) => ValueRef::Real(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn explain(place: &str, doing: &'static str, error: &rusqlite::Error) -> StoreError {
    let place = place.to_owned();
    let source = Cause(error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { place, source },
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            StoreError::Permission { place, source }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { place, source }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Busy { place, source }
        }
        _ => StoreError::Engine { doing, source },
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Closed)
}

/// A poisoned lock guards nothing half-changed here: every critical section is one push, pop or take.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
