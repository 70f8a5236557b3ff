//! Rows `endpoint` of `cargo xtask bench ship`: the MQTT endpoint under load, next to mosquitto.
//!
//! Both are processes of their own, and the same clients publish the same sealed reports to them with QoS 1. The peer
//! passes them to nobody and stores nothing; ours has checked, stored and judged a report before it acknowledges it.

mod fleet;
mod load;

use super::Row;
use crate::server::{self, Process, Server};
use crate::steps::Answer;
use fleet::Reporter;
use load::{Pace, Seen};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tinyops_store::{StoreError, report};
use tokio::runtime::Runtime;

/// Connections of the loads.
const MANY: usize = 5_000;
const SOME: usize = 1_000;
/// Bytes of memory that one idle connection may take.
const CONNECTION_BYTES_MAX: f64 = 3_000.0;
/// Microseconds of processor time that one message may take.
const MESSAGE_US_MAX: f64 = 12.0;
/// Messages a second from [`MANY`] connections, and the time that 99 % are acknowledged within.
const RATE: f64 = 2_000.0;
const P99_MS_MAX: f64 = 50.0;
const DURING: Duration = Duration::from_secs(8);
/// Trials that kill a server, and the connections of each.
const KILLS: u32 = 1_000;
const KILLED: usize = 50;
/// Servers of their own that are killed side by side, since a trial mostly waits.
const SIDE_BY_SIDE: u32 = 4;

/// Memory and processor time of a connection and a message, next to mosquitto where that is installed.
pub(super) fn load() -> Result<Vec<Row>, String> {
    let runtime = runtime()?;
    let binary = server::build()?;
    let project = server::fresh_project(&binary, "bench-endpoint")?;
    // The first start makes the store.
    drop(Server::start(&binary, &project, &["--no-loops"])?);
    let reporters = runtime.block_on(fleet::register(&project, MANY))?;
    let peer = runtime.block_on(peer(&reporters));
    let server = Server::start(&binary, &project, &[])?;
    let own = runtime.block_on(measure(&server.process, server.mqtt, &reporters))?;
    type Figure = (&'static str, f64, fn(&Figures) -> f64);
    let figures: [Figure; 6] = [
        (
            "endpoint: bytes of memory a connection",
            CONNECTION_BYTES_MAX,
            |of| of.connection_bytes,
        ),
        (
            "endpoint: µs CPU a message, 1,000 at one in flight",
            MESSAGE_US_MAX,
            |of| of.message_us,
        ),
        ("endpoint: messages a second of that", f64::INFINITY, |of| {
            of.rate
        }),
        (
            "endpoint: ms to 99 % of acks, 2,000/s from 5,000",
            P99_MS_MAX,
            |of| of.p99_ms,
        ),
        ("endpoint: ms to half of them", f64::INFINITY, |of| {
            of.p50_ms
        }),
        ("endpoint: µs CPU a message of that", f64::INFINITY, |of| {
            of.paced_us
        }),
    ];
    let row = |(name, most, figure): Figure| Row {
        name,
        goal: match most.is_finite() {
            true => format!("{most:.0} at most"),
            false => "–".to_owned(),
        },
        own: format!("{:.1}", figure(&own)),
        peer: match &peer {
            Ok(peer) => format!("mosquitto, storing nothing: {:.1}", figure(peer)),
            Err(reason) => format!("mosquitto: {reason}"),
        },
        holds: figure(&own) <= most,
    };
    Ok(figures.into_iter().map(row).collect())
}

/// Reports that were acknowledged and are not in the store of a server that was killed.
pub(super) fn kills() -> Result<Vec<Row>, String> {
    let binary = server::build()?;
    let killed = Mutex::new(Killed::default());
    let (begun, killed_ref) = (Instant::now(), &killed);
    std::thread::scope(|scope| {
        let lane = |lane| {
            let binary = &binary;
            scope.spawn(move || runtime()?.block_on(kill(binary, lane, killed_ref)))
        };
        let lanes: Vec<_> = (0..SIDE_BY_SIDE).map(lane).collect();
        let ended = lanes.into_iter().map(|lane| match lane.join() {
            Ok(ended) => ended,
            Err(_) => Err("a trial panicked".to_owned()),
        });
        ended.collect::<Result<(), String>>()
    })?;
    let killed = killed.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{KILLS} kills took {:.0} s", begun.elapsed().as_secs_f64());
    Ok(vec![Row {
        name: "endpoint: acknowledged reports lost in 1,000 `kill -9`",
        goal: "0".to_owned(),
        own: format!(
            "{} of {}, {} of them in the intake log",
            killed.lost, killed.acknowledged, killed.waiting
        ),
        peer: "mosquitto and rumqttd acknowledge what is not stored".to_owned(),
        holds: killed.lost == 0 && killed.acknowledged > 0,
    }])
}

fn runtime() -> Result<Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.worker_threads(1).enable_all().build();
    built.map_err(|error| error.to_string())
}

/// What was measured of one endpoint.
struct Figures {
    connection_bytes: f64,
    message_us: f64,
    rate: f64,
    paced_us: f64,
    p50_ms: f64,
    p99_ms: f64,
}

async fn measure(
    process: &Process,
    address: SocketAddr,
    reporters: &[Reporter],
) -> Result<Figures, String> {
    // What every connection shares is there once one has been served.
    let (first, _) = load::publish(
        load::connect(address, reporters[..1].to_vec()).await?,
        Pace::OneInFlight,
        Duration::from_millis(200),
    )
    .await;
    let before = process.memory()?;
    let mut clients = first;
    clients.extend(load::connect(address, reporters[1..].to_vec()).await?);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let connection_bytes = (process.memory()? - before) / (reporters.len() - 1) as f64;
    let cpu = process.cpu()?;
    let (mut clients, mut paced) = load::publish(clients, Pace::PerSecond(RATE), DURING).await;
    unbroken(&paced)?;
    let paced_us = micros(process.cpu()? - cpu, &paced);
    clients.truncate(SOME);
    let cpu = process.cpu()?;
    let (_, closed) = load::publish(clients, Pace::OneInFlight, DURING).await;
    unbroken(&closed)?;
    let message_us = micros(process.cpu()? - cpu, &closed);
    Ok(Figures {
        connection_bytes,
        message_us,
        rate: closed.latencies.len() as f64 / closed.elapsed.as_secs_f64(),
        paced_us,
        p50_ms: paced.quantile_ms(0.5),
        p99_ms: paced.quantile_ms(0.99),
    })
}

fn micros(cpu: Duration, seen: &Seen) -> f64 {
    cpu.as_secs_f64() * 1e6 / seen.latencies.len() as f64
}

fn unbroken(seen: &Seen) -> Answer {
    match seen.broken {
        0 => Ok(()),
        count => Err(format!("{count} connections broke under the load")),
    }
}

/// Measures mosquitto, if it is here.
async fn peer(reporters: &[Reporter]) -> Result<Figures, String> {
    let folder = server::target().join("bench-endpoint-peer");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| error.to_string())?;
    let settings = folder.join("mosquitto.conf");
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n",
        address.port()
    );
    std::fs::write(&settings, text).map_err(|error| error.to_string())?;
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(&settings).stdout(Stdio::null());
    let process = Process::start(&mut command)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            return Err("it does not listen".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    measure(&process, address, reporters).await
}

/// What the trials showed.
#[derive(Default)]
struct Killed {
    trials: u32,
    acknowledged: usize,
    /// Reports that were in the intake log alone when their server was killed.
    waiting: usize,
    lost: usize,
}

/// Kills a server in the middle of a load, again and again, and looks for every acknowledged report in the store.
async fn kill(binary: &Path, lane: u32, all: &Mutex<Killed>) -> Answer {
    let project = server::fresh_project(binary, &format!("bench-endpoint-killed-{lane}"))?;
    drop(Server::start(binary, &project, &["--no-loops"])?);
    let mut reporters = fleet::register(&project, KILLED).await?;
    for trial in (lane..KILLS).step_by(SIDE_BY_SIDE as usize) {
        let server = Server::start(binary, &project, &[])?;
        let clients = load::connect(server.mqtt, reporters).await?;
        let during = Duration::from_secs(60);
        let load = tokio::spawn(load::publish(clients, Pace::OneInFlight, during));
        // The golden ratio spreads the moments evenly over 10 to 510 ms: before the first fold and after it.
        let moment = (f64::from(trial) * 0.618_033_988_749_894_9).fract();
        tokio::time::sleep(Duration::from_secs_f64(0.010 + 0.5 * moment)).await;
        drop(server);
        let (clients, seen) = load.await.map_err(|error| error.to_string())?;
        let fault = |error: StoreError| error.to_string();
        let db = fleet::open(&project).await?;
        let (before, waiting) = (
            report::count(&db).await.map_err(fault)?,
            fleet::fold(&db).await?,
        );
        let after = report::count(&db).await.map_err(fault)?;
        if after - before > waiting as i64 {
            return Err(format!(
                "{waiting} reports waited and {} came",
                after - before
            ));
        }
        let mut lost = 0;
        for (device, sequence) in &seen.acknowledged {
            let found = report::get(&db, *device, *sequence).await.map_err(fault)?;
            lost += usize::from(found.is_none());
        }
        reporters = clients.into_iter().map(|client| client.reporter).collect();
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.trials += 1;
        all.acknowledged += seen.acknowledged.len();
        all.waiting += waiting;
        all.lost += lost;
        if all.trials.is_multiple_of(50) || lost > 0 {
            println!(
                "killed {} of {KILLS} times, {} reports acknowledged, {} of them in the intake log, {} lost",
                all.trials, all.acknowledged, all.waiting, all.lost
            );
        }
    }
    Ok(())
}
