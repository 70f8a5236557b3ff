//! Rows `tracking` of `cargo xtask bench manage`: the tracking API of a release build beside MLflow's own server.
//!
//! Both are asked the same over the same connections. What counts is the processor time of the server's process, since
//! machines that measure are seldom idle; the wall time stands beside it.

mod client;

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::client::Client;
use crate::figure::Row;
use crate::peer;
use crate::processor::children_seconds;
use crate::server::{self, Process, Server, target};

/// What a server of MLflow needs.
const PACKAGES: [&str; 1] = ["mlflow>=3,<4"];
const READY_S_MAX: f64 = 0.3;
const MEMORY_MAX: u64 = 60_000_000;
const METRICS_A_SECOND_MIN: f64 = 2_000.0;
const BATCHED_A_SECOND_MIN: f64 = 200_000.0;
const FOUND_100_MS_MAX: f64 = 20.0;
const FOUND_1000_MS_MAX: f64 = 100.0;
const START_MS_MAX: f64 = 20.0;
/// Clients side by side, and calls of each.
const CLIENTS: usize = 8;
const CALLS: usize = 500;
const BATCHES: usize = 50;
/// Starts of our server, of which the fastest counts: others are at work on machines that measure.
const STARTS: usize = 5;
/// Starts of a command.
const COMMANDS: u32 = 20;
/// Runs that are searched.
const RUNS: usize = 10_000;
/// The middle of so many searches counts.
const SEARCHES: usize = 15;

/// One server, ours or the peer's.
struct Tracker {
    process: Process,
    http: SocketAddr,
    ready_s: f64,
    ready_cpu_s: f64,
    memory: f64,
}

/// What is measured of one.
struct Figures {
    ready_s: f64,
    ready_cpu_s: f64,
    memory: f64,
    /// Calls for a second of processor time, and of the clock.
    metrics: [f64; 2],
    batched: [f64; 2],
    /// Milliseconds of processor time, and of the clock.
    found_100: [f64; 2],
    found_1000: [f64; 2],
}

/// The tracking API under load and search.
pub(super) fn tracking() -> Result<Vec<Row>, String> {
    let binary = server::build()?;
    let project = server::fresh_project(&binary, "bench-tracking")?;
    // The first start makes the store.
    drop(Server::start(&binary, &project, &[])?);
    let own = {
        let (mut ready_s, mut ready_cpu_s) = (f64::MAX, f64::MAX);
        for _ in 0..STARTS {
            let server = Server::start(&binary, &project, &[])?;
            ready_s = ready_s.min(server.ready_s);
            ready_cpu_s = ready_cpu_s.min(server.process.cpu()?.as_secs_f64());
        }
        let server = Server::start(&binary, &project, &[])?;
        std::thread::sleep(Duration::from_secs(2));
        let tracker = Tracker {
            memory: server.process.memory()?,
            ready_cpu_s,
            http: server.http,
            ready_s,
            process: server.process,
        };
        measure(&tracker, &fill)?
    };
    let peer = peers();
    let told = |figure: &dyn Fn(&Figures) -> String| match &peer {
        Ok(peer) => figure(peer),
        Err(why) => format!("skipped: {why}"),
    };
    let rate = |name, least: f64, of: fn(&Figures) -> [f64; 2]| {
        let text = |[cpu, wall]: [f64; 2]| format!("{cpu:.0} a CPU-second, {wall:.0} a second");
        Row {
            name,
            goal: format!("≥ {least:.0} a CPU-second"),
            own: text(of(&own)),
            peer: told(&|peer| text(of(peer))),
            holds: of(&own)[0] >= least,
        }
    };
    let time = |name, most: f64, of: fn(&Figures) -> [f64; 2]| {
        let text = |[cpu, wall]: [f64; 2]| format!("{cpu:.1} ms CPU, {wall:.1} ms");
        Row {
            name,
            goal: format!("≤ {most:.0} ms CPU"),
            own: text(of(&own)),
            peer: told(&|peer| text(of(peer))),
            holds: of(&own)[0] <= most,
        }
    };
    Ok(vec![
        Row {
            name: "tracking: seconds to the first answer, best of 5",
            goal: format!("≤ {READY_S_MAX}"),
            own: format!("{:.2} ({:.2} CPU)", own.ready_s, own.ready_cpu_s),
            peer: told(&|peer| format!("{:.1} ({:.1} CPU)", peer.ready_s, peer.ready_cpu_s)),
            holds: own.ready_s <= READY_S_MAX,
        },
        Row::at_most(
            "tracking: bytes of memory, idle",
            Some(MEMORY_MAX),
            own.memory as u64,
            told(&|peer| format!("{:.0} MB, of one worker", peer.memory / 1e6)),
        ),
        rate(
            "tracking: log-metric, durable, 8 clients",
            METRICS_A_SECOND_MIN,
            |of| of.metrics,
        ),
        rate(
            "tracking: metrics by log-batch of 1,000",
            BATCHED_A_SECOND_MIN,
            |of| of.batched,
        ),
        time(
            "tracking: filter and order of 10,000 runs, 100 rows",
            FOUND_100_MS_MAX,
            |of| of.found_100,
        ),
        time(
            "tracking: 1,000 rows of 10,000 runs",
            FOUND_1000_MS_MAX,
            |of| of.found_1000,
        ),
    ])
}

/// How long commands take that have next to nothing to do.
pub(super) fn start_up() -> Result<Vec<Row>, String> {
    let binary = server::build()?;
    let project = server::fresh_project(&binary, "bench-start-up")?;
    drop(Server::start(&binary, &project, &[])?);
    let mut worst = (0.0, 0.0, "");
    for command in [
        "--version",
        "boards",
        "ops",
        "config",
        "repairs ls",
        "models ls",
        "devices ls",
        "rollout ls",
        "alerts ls",
        "search-catalog fan",
    ] {
        let mut best = f64::MAX;
        let before = children_seconds()?;
        for _ in 0..COMMANDS {
            let begun = Instant::now();
            let status = Command::new(&binary)
                .args(command.split(' '))
                .current_dir(&project)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .map_err(|error| error.to_string())?;
            // No is an answer, too: nothing is found in an empty store.
            if !matches!(status.code(), Some(0 | 1)) {
                return Err(format!("`tinyops {command}` ended with {status}"));
            }
            best = f64::min(best, begun.elapsed().as_secs_f64() * 1e3);
        }
        let cpu = (children_seconds()? - before) * 1e3 / f64::from(COMMANDS);
        if cpu > worst.0 {
            worst = (cpu, best, command);
        }
    }
    let (cpu, best, command) = worst;
    Ok(vec![Row {
        name: "start of a command, the slowest of ten, mean of 20",
        goal: format!("≤ {START_MS_MAX:.0} ms CPU"),
        own: format!("{cpu:.1} ms CPU, best {best:.1} ms (`{command}`)"),
        peer: peers_start()?,
        holds: cpu <= START_MS_MAX,
    }])
}

fn measure(
    tracker: &Tracker,
    fill: &dyn Fn(&Tracker, &str) -> Result<(), String>,
) -> Result<Figures, String> {
    let mut client = Client::open(tracker.http)?;
    let experiment = client.post("experiments/create", &json!({ "name": "bench" }))?;
    let experiment = text(&experiment["experiment_id"])?;
    let run = new_run(&mut client, &experiment)?;
    let metrics = paced(tracker, CLIENTS * CALLS, || {
        log_one_by_one(tracker.http, &run)
    })?;
    // MLflow's server ends a connection on which nothing was said for five seconds, so that each part opens its own.
    let mut client = Client::open(tracker.http)?;
    let batched = paced(tracker, BATCHES * 1000, || {
        for batch in 0..BATCHES {
            let metric = |index: usize| {
                json!({
                    "key": format!("m{}", index % 10), "value": index as f64 / 7.0,
                    "timestamp": 1_700_000_000_000_u64 + index as u64, "step": batch * 100 + index / 10,
                })
            };
            let metrics: Vec<Value> = (0..1000).map(metric).collect();
            client.post(
                "runs/log-batch",
                &json!({ "run_id": run, "metrics": metrics }),
            )?;
        }
        Ok(())
    })?;
    drop(client);
    fill(tracker, &experiment)?;
    let mut client = Client::open(tracker.http)?;
    let mut search = |body: Value, rows: usize| -> Result<[f64; 2], String> {
        let (mut cpu, mut wall) = (Vec::new(), Vec::new());
        for _ in 0..SEARCHES {
            let (before, begun) = (tracker.process.cpu()?, Instant::now());
            let found = client.post("runs/search", &body)?;
            wall.push(begun.elapsed().as_secs_f64() * 1e3);
            cpu.push((tracker.process.cpu()? - before).as_secs_f64() * 1e3);
            let count = found["runs"].as_array().map_or(0, Vec::len);
            if count != rows {
                return Err(format!("{count} runs were found instead of {rows}"));
            }
        }
        Ok([middle(cpu), middle(wall)])
    };
    let filter = "metrics.m1 > 0.25 and params.p1 = 'v1' and tags.t1 LIKE 'a%'";
    let found_100 = search(
        json!({ "experiment_ids": [experiment], "filter": filter, "order_by": ["metrics.m2 DESC"], "max_results": 100 }),
        100,
    )?;
    let found_1000 = search(
        json!({ "experiment_ids": [experiment], "max_results": 1000 }),
        1000,
    )?;
    Ok(Figures {
        ready_s: tracker.ready_s,
        ready_cpu_s: tracker.ready_cpu_s,
        memory: tracker.memory,
        metrics,
        batched,
        found_100,
        found_1000,
    })
}

/// How many a second of processor time, and of the clock.
fn paced(
    tracker: &Tracker,
    count: usize,
    work: impl FnOnce() -> Result<(), String>,
) -> Result<[f64; 2], String> {
    let (before, begun) = (tracker.process.cpu()?, Instant::now());
    work()?;
    let (cpu, wall) = (tracker.process.cpu()? - before, begun.elapsed());
    Ok([cpu, wall].map(|time| count as f64 / time.as_secs_f64()))
}

fn log_one_by_one(http: SocketAddr, run: &str) -> Result<(), String> {
    let one = |client: usize| -> Result<(), String> {
        let mut connection = Client::open(http)?;
        for step in 0..CALLS {
            let metric = json!({
                "run_id": run, "run_uuid": run, "key": format!("c{client}"), "value": step as f64 / 3.0,
                "timestamp": 1_700_000_000_000_u64 + step as u64, "step": step,
            });
            connection.post("runs/log-metric", &metric)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || one(client)))
            .collect();
        for client in clients {
            client
                .join()
                .map_err(|_| "a client panicked".to_owned())??;
        }
        Ok(())
    })
}

fn new_run(client: &mut Client, experiment: &str) -> Result<String, String> {
    let run = json!({ "experiment_id": experiment, "start_time": 1_700_000_000_000_u64 });
    let made = client.post("runs/create", &run)?;
    text(&made["run"]["info"]["run_id"])
}

/// Runs as they are searched: ten metrics, ten parameters, two tags.
fn fill_some(
    tracker: &Tracker,
    experiment: &str,
    runs: std::ops::Range<usize>,
) -> Result<(), String> {
    let mut client = Client::open(tracker.http)?;
    for index in runs {
        let run = new_run(&mut client, experiment)?;
        let metric = |key: usize| {
            json!({
                "key": format!("m{key}"), "value": ((index * 7919 + key * 104_729) % 10_007) as f64 / 10_007.0,
                "timestamp": 1_700_000_000_000_u64 + index as u64, "step": 0,
            })
        };
        let pair = |letter: &str, key: usize, value: usize| {
            json!({
                "key": format!("{letter}{key}"), "value": format!("v{value}"),
            })
        };
        let body = json!({
            "run_id": run,
            "metrics": (0..10).map(metric).collect::<Vec<_>>(),
            "params": (0..10).map(|key| pair("p", key, (index + key) % 5)).collect::<Vec<_>>(),
            "tags": [{ "key": "t1", "value": if index % 3 == 0 { "b" } else { "ab" } }, { "key": "t2", "value": index.to_string() }],
        });
        client.post("runs/log-batch", &body)?;
    }
    Ok(())
}

fn fill(tracker: &Tracker, experiment: &str) -> Result<(), String> {
    std::thread::scope(|scope| {
        let each = RUNS / CLIENTS;
        let part = |client: usize| {
            move || fill_some(tracker, experiment, client * each..(client + 1) * each)
        };
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(part(client)))
            .collect();
        for client in clients {
            client
                .join()
                .map_err(|_| "a client panicked".to_owned())??;
        }
        Ok(())
    })
}

/// The peer's server, one worker without its jobs, measured in the same way.
fn peers() -> Result<Figures, String> {
    let folder = target().join("mlflow-server");
    let python = peers_python()?;
    let store = folder.join("store");
    let _ = fs::remove_dir_all(&store);
    fs::create_dir_all(&store).map_err(|error| error.to_string())?;
    let database = store.join("mlflow.db");
    let tracker = start_peer(&python, &database)?;
    // So many runs over its API would take minutes: some are logged, the others are copies of them in its database.
    let fill = |tracker: &Tracker, experiment: &str| {
        fill_some(tracker, experiment, 0..RUNS / 50)?;
        copies(&python, &database, experiment)
    };
    measure(&tracker, &fill)
}

fn start_peer(python: &Path, database: &Path) -> Result<Tracker, String> {
    let fault = |error: std::io::Error| error.to_string();
    let free = TcpListener::bind("127.0.0.1:0").map_err(fault)?;
    let http = free.local_addr().map_err(fault)?;
    drop(free);
    let begun = Instant::now();
    let uri = format!("sqlite:///{}", database.display());
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "uvicorn",
            "--host",
            "127.0.0.1",
            "--log-level",
            "critical",
            "--port",
        ])
        .arg(http.port().to_string())
        .arg("mlflow.server.fastapi_app:app")
        .env("_MLFLOW_SERVER_FILE_STORE", &uri)
        .env("_MLFLOW_SERVER_REGISTRY_STORE", &uri)
        .env("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
        .env(
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION",
            database.with_extension("artifacts"),
        )
        .env("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
        .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .stdout(Stdio::null());
    let process = Process::start(&mut command)?;
    while TcpStream::connect(http).is_err() {
        if begun.elapsed() > Duration::from_secs(240) {
            return Err("MLflow's server does not answer".to_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // The first call makes its tables.
    Client::open(http)?.post("experiments/search", &json!({ "max_results": 1 }))?;
    Ok(Tracker {
        ready_s: begun.elapsed().as_secs_f64(),
        ready_cpu_s: process.cpu()?.as_secs_f64(),
        memory: process.memory()?,
        process,
        http,
    })
}

/// Copies the peer's runs in its own database until there are as many as ours.
fn copies(python: &Path, database: &Path, experiment: &str) -> Result<(), String> {
    let script = r#"
import sqlite3, sys
database, experiment, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = sqlite3.connect(database, timeout=60)
owners = [row[0] for row in store.execute("SELECT DISTINCT run_uuid FROM tags WHERE key = 't1'")]
tables = ["runs", "metrics", "latest_metrics", "params", "tags"]
columns = {table: [row[1] for row in store.execute(f"PRAGMA table_info({table})")] for table in tables}
for copy in range(1, wanted // len(owners)):
    for table in tables:
        names = columns[table]
        values = ", ".join("substr(run_uuid, 5) || ?" if name == "run_uuid" else name for name in names)
        owned = "SELECT run_uuid FROM tags WHERE key = 't1' AND length(run_uuid) = 32 AND run_uuid NOT LIKE '%x%'"
        store.execute(f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} WHERE run_uuid IN ({owned})", (f"x{copy:03}",))
store.commit()
"#;
    let mut child = Command::new(python)
        .args([
            "-",
            &database.display().to_string(),
            experiment,
            &RUNS.to_string(),
        ])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut input = child.stdin.take().ok_or("no pipe to Python")?;
    let written = input.write_all(script.as_bytes());
    drop(input);
    let status = child.wait().map_err(|error| error.to_string())?;
    match (written, status.success()) {
        (Ok(()), true) => Ok(()),
        _ => Err(format!("the peer's runs could not be copied: {status}")),
    }
}

/// What the peers' commands take.
fn peers_start() -> Result<String, String> {
    let peers = [("mlflow", peers_python()), ("dvc", super::versions::dvc())];
    let mut told = Vec::new();
    for (module, python) in peers {
        let python = match python {
            Ok(python) => python,
            Err(why) => {
                told.push(format!("{module} skipped: {why}"));
                continue;
            }
        };
        let before = children_seconds()?;
        let status = Command::new(python)
            .args(["-m", module, "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let cpu = (children_seconds()? - before) * 1e3;
        told.push(match status {
            Ok(status) if status.success() => format!("{module} {cpu:.0} ms CPU"),
            _ => format!("{module} skipped: `{module} --version` fails"),
        });
    }
    Ok(told.join(", "))
}

/// A Python with the peer's server.
fn peers_python() -> Result<PathBuf, String> {
    peer::python(
        &target().join("mlflow-server"),
        &PACKAGES,
        "mlflow.server, uvicorn, sqlalchemy, fastapi",
    )
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn text(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("{value} is no text"))
}
