//! The databases that the suite runs on: SQLite in a folder and in memory, and PostgreSQL where there is one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use tinyops_store::Db;

/// Runs a test on a fresh database of every back end.
pub(crate) fn on_every_backend<F, T>(test: T)
where
    F: Future<Output = ()>,
    T: Fn(Db, String) -> F,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let folder = TempDir::new().unwrap();
        let mut urls = vec![
            format!("sqlite:{}", folder.path().join("made/records.db").display()),
            "sqlite::memory:".to_owned(),
        ];
        let server = postgres_url();
        if let Some(server) = &server {
            urls.push(fresh_database(server).await);
        }
        for url in urls {
            let db = Db::open(&url).await.unwrap();
            test(db, url).await;
        }
    });
}

/// A PostgreSQL server: `TINYOPS_TEST_POSTGRES`, or one started from Debian's packages; `None` says why.
fn postgres_url() -> Option<String> {
    if let Ok(url) = std::env::var("TINYOPS_TEST_POSTGRES") {
        return Some(url);
    }
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    match SERVER.get_or_init(Server::start) {
        Ok(server) => Some(server.url.clone()),
        Err(why) => {
            #[expect(clippy::print_stderr, reason = "a skipped back end must show")]
            {
                eprintln!(
                    "PostgreSQL skipped: {why}; set TINYOPS_TEST_POSTGRES=postgres://… or install `postgresql`"
                );
            }
            None
        }
    }
}

async fn fresh_database(server: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("tinyops_test_{}_{count}", std::process::id());
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    client
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    let (base, options) = server
        .split_once('?')
        .map_or((server, String::new()), |(b, o)| (b, format!("?{o}")));
    let base = base
        .trim_end_matches(|c: char| c != '/')
        .trim_end_matches('/');
    format!("{base}/{name}{options}")
}

/// A server of our own in a temporary folder, reached by a socket in it.
struct Server {
    url: String,
    child: Child,
    _folder: TempDir,
}

impl Server {
    fn start() -> Result<Server, String> {
        let bin = newest_install().ok_or("no /usr/lib/postgresql/*/bin")?;
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let data = folder.path().join("data");
        let as_postgres = is_root();
        if as_postgres {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(folder.path())
                .status();
            if !owned.is_ok_and(|status| status.success()) {
                return Err("running as root, and there is no user `postgres`".to_owned());
            }
        }
        let command = |program: &str| {
            let program = bin.join(program);
            if !as_postgres {
                return Command::new(program);
            }
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        };
        let made = command("initdb")
            .args([
                "--auth=trust",
                "--username=tinyops",
                "--encoding=UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("initdb: {error}"))?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let child = command("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("postgres: {error}"))?;
        let socket = folder.path().join(".s.PGSQL.5432");
        let begun = std::time::Instant::now();
        while !socket.exists() {
            if begun.elapsed().as_secs() > 120 {
                return Err("the server did not start within two minutes".to_owned());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let host = folder.path().display().to_string().replace('/', "%2F");
        let url = format!("postgres://tinyops@{host}/postgres");
        let server = Server {
            url,
            child,
            _folder: folder,
        };
        server.await_answer(begun)?;
        stop_with_this_process(&server.child);
        Ok(server)
    }

    fn await_answer(&self, begun: std::time::Instant) -> Result<(), String> {
        let url = self.url.clone();
        let asking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                while begun.elapsed().as_secs() < 120 {
                    if tokio_postgres::connect(&url, tokio_postgres::NoTls)
                        .await
                        .is_ok()
                    {
                        return Ok(());
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                Err("the server did not answer within two minutes".to_owned())
            })
        });
        asking.join().unwrap()
    }
}

/// A static is never dropped, so a small watcher ends the server when this process is gone.
fn stop_with_this_process(server: &Child) {
    let script = format!(
        "while kill -0 {} 2>/dev/null; do sleep 0.2; done; kill {}",
        std::process::id(),
        server.id()
    );
    let watcher = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    drop(watcher);
}

fn newest_install() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin: &PathBuf| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|found| found.uid() == 0)
}
