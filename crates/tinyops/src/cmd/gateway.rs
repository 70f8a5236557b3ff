mod at;
mod backoff;
mod ble;
mod csv;
mod dap;
mod h4;
mod hub;
mod line;
mod record;
mod smp;
mod upstream;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;
use tinyops_server::{StreamListener, Tls};
use tokio::task::JoinSet;

use self::{
    ble::Radio,
    dap::{DapFlags, Desks, TaskStatus},
    hub::{Counters, Hub},
    line::{Framing, Lines, Place},
    upstream::Upstream,
};
use crate::{
    context::{Context, now},
    endpoint::{Endpoint, Protocol, read_token},
    failure::Failure,
    listening::{TlsFlags, hangups, stop_asked},
};

/// Between two looks at the files of the certificate.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Carry devices on serial lines and TCP streams to a server
///
/// A pipe: it takes envelopes off its lines, brings them to the server over HTTP, and puts what the server owes the
/// devices back on the line on which each was last heard. It has no device's key, so it can neither read proofs nor make them.
/// Envelopes wait in memory while the server is away (`--queue-kib`, the oldest go first), and are lost if the gateway
/// itself is stopped then.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example: tinyops gateway --tty /dev/ttyACM0 --tty /dev/ttyUSB0 --server https://hall.example:8420 --ca ca.pem"
)]
pub(crate) struct Gateway {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Serial port with devices, 8N1 without flow control; may be given several times
    #[arg(long, value_name = "PATH")]
    tty: Vec<PathBuf>,
    /// Speed of the serial ports, in bits a second
    #[arg(long, default_value_t = 115_200)]
    baud: u32,
    /// TCP stream with devices to connect to, such as a terminal server or an emulator: HOST:PORT, or tls://HOST:PORT; may
    /// be given several times
    #[arg(long, value_name = "URL")]
    tcp: Vec<String>,
    /// Bluetooth LE controller through which boards are reached: hci0, a serial port or HOST:PORT that speaks HCI (H4); may be
    /// given several times
    #[arg(long, value_name = "RADIO")]
    ble: Vec<String>,
    /// Speed of controllers on serial ports, in bits a second
    #[arg(long, default_value_t = 1_000_000)]
    ble_baud: u32,
    /// Where devices connect over TCP; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    tls: TlsFlags,
    /// Lines are consoles that speak SMP (mcumgr), asked for envelopes in a group of their own
    #[arg(long)]
    smp: bool,
    /// Where the server's HTTP is: HOST:PORT, or https://HOST:PORT [default: as `tinyops config` says]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// PEM file of those who sign the server's certificate, for https, or that of a terminal server, for tls
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with the token that the server asks of gateways when it is not on loopback
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Memory for envelopes that wait, in KiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(4..=1_048_576))]
    queue_kib: u32,
    #[command(flatten)]
    dap: DapFlags,
    /// Milliseconds between two questions what devices are owed
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..))]
    poll_ms: u64,
    /// Seconds between two lines about how it goes; 0 for only one at the end
    #[arg(long, default_value_t = 60)]
    status_seconds: u64,
}

/// Boards that record, in place of devices that report.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    Csv(Box<csv::Csv>),
    At(Box<at::At>),
}

/// How it goes, as `--json` prints it, one a line.
#[derive(Serialize)]
struct Status {
    /// Addresses at which devices can connect.
    listening: Vec<SocketAddr>,
    /// Lines that are open now.
    lines: usize,
    /// Devices heard on them.
    devices: usize,
    /// Envelopes that wait for the server, and their bytes.
    waiting: usize,
    waiting_bytes: usize,
    #[serde(flatten)]
    counters: Counters,
    /// Tasks whose aggregators reports go to as shares.
    dap: Vec<TaskStatus>,
}

pub(crate) async fn run(context: &Context, args: &Gateway) -> Result<(), Failure> {
    match &args.verb {
        None => {}
        Some(Verb::Csv(args)) => return csv::run(context, args).await,
        Some(Verb::At(args)) => return at::run(context, args).await,
    }
    let tty = args.tty.iter().map(|path| {
        let path = path.clone();
        Place::Tty(path, args.baud)
    });
    let ca = args.ca.as_deref();
    let parse = |text: &String| Endpoint::parse(Protocol::Line, text, ca);
    let tcp: Vec<Endpoint> = args.tcp.iter().map(parse).collect::<Result<_, _>>()?;
    let places: Vec<Place> = tty.chain(tcp.iter().cloned().map(Place::Tcp)).collect();
    let radio = |text: &String| Radio::parse(text, args.ble_baud, || parse(text));
    let radios: Vec<Radio> = args.ble.iter().map(radio).collect::<Result<_, _>>()?;
    if places.is_empty() && args.listen.is_empty() && radios.is_empty() {
        return Err(Failure::question("no line is given").hint(
            "`--tty /dev/ttyACM0` opens a serial port, `--tcp HOST:PORT` connects, `--listen ADDRESS` accepts, `--ble hci0` reaches boards in the air",
        ));
    }
    let server = args.server.as_ref().unwrap_or(&context.settings.http.value);
    let server = Endpoint::parse(Protocol::Http, server, ca)?;
    let connects: Vec<&Endpoint> = std::iter::once(&server).chain(&tcp).collect();
    Endpoint::check_ca(ca, &connects)?;
    let tls = tls(args)?;
    let desks = args.dap.open(ca)?;
    let hub = Arc::new(Hub::new(args.queue_kib as usize * 1024, desks));
    let framing = if args.smp {
        Framing::Smp
    } else {
        Framing::Cobs
    };
    let lines = Lines {
        framing,
        hub: Arc::clone(&hub),
        server: server.clone(),
    };
    let mut tasks = JoinSet::new();
    let mut listening = Vec::new();
    for address in &args.listen {
        let bound = StreamListener::bind(*address, tls.as_ref()).await;
        let listener = bound.map_err(|error| {
            Failure::environment(format!("cannot listen on {address}"))
                .cause(&error)
                .hint("choose another port, or stop what uses it")
        })?;
        listening.push(listener.address());
        tasks.spawn(line::accept(listener, lines.clone()));
    }
    for place in places {
        tasks.spawn(line::keep(place, lines.clone()));
    }
    for radio in radios {
        tasks.spawn(ble::keep(radio, lines.clone()));
    }
    let upstream = Upstream {
        server: server.clone(),
        token: args.token_file.as_deref().map(read_token).transpose()?,
        poll: Duration::from_millis(args.poll_ms),
    };
    let carrying = Arc::clone(&hub);
    tasks.spawn(async move { upstream.keep(carrying).await });
    for desk in hub.desks().into_iter().flat_map(Desks::each) {
        tasks.spawn(async move { desk.keep().await });
    }
    context.terminal.note(format_args!(
        "carries to {server}; Ctrl-C stops the gateway"
    ));
    let stopped = stop_asked();
    let looks = hangups(|| tls.iter().for_each(Tls::reload));
    tokio::pin!(stopped, looks);
    // The first line says where it listens, the last how it went.
    say(context, &status(&hub, &listening));
    loop {
        let pause = match args.status_seconds {
            0 => Duration::from_secs(u64::from(u32::MAX)),
            seconds => Duration::from_secs(seconds),
        };
        tokio::select! {
            () = &mut stopped => break,
            () = &mut looks => {}
            () = tokio::time::sleep(pause) => say(context, &status(&hub, &listening)),
        }
    }
    tasks.abort_all();
    let last = status(&hub, &listening);
    say(context, &last);
    if last.waiting > 0 {
        context.terminal.note(format_args!(
            "{} envelopes waited for the server and are lost",
            last.waiting
        ));
    }
    Ok(())
}

/// What lines that devices connect to speak, if it is TLS.
fn tls(args: &Gateway) -> Result<Option<Tls>, Failure> {
    let Some(files) = args.tls.files() else {
        return Ok(None);
    };
    if args.listen.is_empty() {
        return Err(Failure::question(
            "`--tls-cert` is for lines that devices connect to, and there is none",
        )
        .hint("`--listen ADDRESS` makes one; `--tcp tls://HOST:PORT` connects through TLS"));
    }
    let tls = Tls::open(&files, Arc::new(now), LOOK_EVERY);
    tls.map(Some)
        .map_err(|error| Failure::environment("TLS cannot be offered").cause(&error))
}

/// A gateway in this process, whose lines are TCP streams on loopback; dropped, it is gone.
pub(crate) struct Local {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Local {
    /// Opens one that carries to the HTTP of a server in this process.
    pub(crate) async fn open(server: SocketAddr, poll: Duration) -> std::io::Result<Local> {
        let listener = StreamListener::bind(([127, 0, 0, 1], 0).into(), None).await?;
        let address = listener.address();
        let hub = Arc::new(Hub::new(1024 * 1024, None));
        let server = Endpoint::plain(Protocol::Http, server);
        let lines = Lines {
            framing: Framing::Cobs,
            hub: Arc::clone(&hub),
            server: server.clone(),
        };
        let upstream = Upstream {
            server,
            token: None,
            poll,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(line::accept(listener, lines));
        tasks.spawn(async move { upstream.keep(hub).await });
        Ok(Local {
            address,
            _tasks: tasks,
        })
    }
}

fn status(hub: &Hub, listening: &[SocketAddr]) -> Status {
    let (counters, lines, devices, waiting, waiting_bytes) = hub.figures();
    Status {
        listening: listening.to_vec(),
        lines,
        devices,
        waiting,
        waiting_bytes,
        counters,
        dap: hub.desks().map(Desks::status).unwrap_or_default(),
    }
}

fn say(context: &Context, status: &Status) {
    let counters = &status.counters;
    if context.terminal.json {
        let line = serde_json::to_string(status).expect("views have string keys");
        context.terminal.line(line);
    } else {
        for address in &status.listening {
            context.terminal.note(format_args!("listens on {address}"));
        }
        context.terminal.line(format_args!(
            "{} lines, {} devices; up {} ({} stored, {} refused, {} dropped, {} wait), down {} ({} undelivered); {} enrolled; {} damaged frames, {} failed exchanges",
            status.lines,
            status.devices,
            counters.up,
            counters.stored,
            counters.refused,
            counters.dropped,
            status.waiting,
            counters.down,
            counters.undelivered,
            counters.enrolled,
            counters.damaged,
            counters.failures,
        ));
        for task in &status.dap {
            context.terminal.line(format_args!("{task}"));
        }
    }
}
