mod chip;

use std::{
    io::BufRead as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tinyops_data::{finding::Report, ingest, ingest::Listing, spec::DataSpec};
use tinyops_device::{Answer, BlockSource, Config, Event, Prediction, Reporting, Sensor};
use tinyops_model::Model;
use tinyops_pipeline::Project;
use tinyops_store::model;
use tinyops_wire::summary::Format;
use tokio::sync::mpsc;

use self::chip::{Chip, Identity};
use crate::{
    cmd::serve::open_keys,
    context::{Context, now, store_failure},
    failure::{Exit, Failure},
    http,
    virtual_device::{BLOCK_BYTES, Down, Inbox, Line, Link, Response, Room, VirtualDevice, Way},
};

/// Be a device
#[derive(Debug, clap::Args)]
pub(crate) struct Device {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Run(Run),
}

/// Run one virtual device: the real agent, with a recording or standard input as its sensor
///
/// Registers with a server over HTTP (once), then speaks MQTT as any device, or the serial link to a gateway (`--line`):
/// reports go up, capsules come down.
/// Predictions are printed, one a line. Who it is, and what its flash holds, is kept in two files: the next run is the
/// same device after a power cut.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops device run --board esp-eye --replay data/m1/normal/take-1.csv"
)]
struct Run {
    /// Board that it plays
    #[arg(long, default_value = "arduino-nano-33-ble-sense")]
    board: String,
    /// Recording to replay, read as the project's first source says; without one, readings come from standard
    /// input: one reading of all channels a line, columns parted by comma or blank
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// How often the recording is replayed; 0 never ends
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Replay as fast as the sensor measures, not as fast as the machine can
    #[arg(long)]
    real_time: bool,
    /// Windows between two reports
    #[arg(long, default_value_t = 24)]
    report_every: u32,
    /// Who it is: a file with id and key, made where it is missing; its flash is kept beside it, in `FILE.flash`
    /// [default: .tinyops/device-BOARD.json in the project]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Devices that it is compared with, when it registers
    #[arg(long, default_value = "default")]
    cohort: String,
    /// Where the server's HTTP is [default: as `tinyops config` says]
    #[arg(long, value_name = "ADDRESS")]
    server: Option<SocketAddr>,
    /// Where the server's MQTT is [default: as `tinyops config` says]
    #[arg(long, value_name = "ADDRESS")]
    mqtt: Option<SocketAddr>,
    /// Gateway to speak to instead of MQTT, over the serial link in a TCP stream: where `tinyops gateway --listen` listens
    #[arg(long, value_name = "ADDRESS", conflicts_with = "mqtt")]
    line: Option<SocketAddr>,
}

/// One prediction, as `--json` prints it, one a line.
#[derive(Serialize)]
struct View<'a> {
    model: String,
    class: Option<&'a str>,
    confidence: Option<f32>,
    value: Option<f32>,
    is_alarm: Option<bool>,
}

pub(crate) async fn run(context: &Context, args: &Device) -> Result<(), Failure> {
    match &args.verb {
        Verb::Run(args) => live(context, args).await,
    }
}

async fn live(context: &Context, args: &Run) -> Result<(), Failure> {
    let workshop = context.workshop().await?;
    let name = &workshop.project.project.name;
    let newest = model::latest(&workshop.db, name)
        .await
        .map_err(|error| store_failure(&error))?
        .ok_or_else(|| {
            Failure::question(format!("`{name}` has no registered model"))
                .hint("`tinyops run` makes one")
        })?;
    let bytes = workshop
        .artifacts
        .get(&newest.digest)
        .await
        .map_err(|error| store_failure(&error))?;
    let front_end = Model::decode(&bytes)
        .map_err(|error| Failure::of(Exit::Environment, &error))?
        .front_end;
    let sensor = Sensor {
        channel_count: front_end.channel_count,
        rate_hz: front_end.rate_hz,
        channels: &[],
    };
    // A device knows its board for as long as the program runs, as firmware does.
    let board = context.board(&args.board)?.id.leak();
    let server = address(args.server, &context.settings.http.value)?;
    let folder = context.root.join(".tinyops");
    let path = args
        .identity
        .clone()
        .unwrap_or_else(|| folder.join(format!("device-{board}.json")));
    let chip = Chip::open(&path, Room::LARGE)?;
    let (device, key) = match chip.identity()? {
        Some(found) => found,
        None => {
            let registered = register(server, board, &args.cohort).await?;
            chip.keep_identity(&registered)?;
            registered.read(&path)?
        }
    };
    let trust = open_keys(&folder)?.trust;
    let config = Config {
        device,
        key: key.clone(),
        roots: trust.roots,
        keys: trust.keys,
        board,
        sensor,
        reporting: Reporting {
            every_windows: args.report_every,
            every_ms: 0,
            format: Format::M6H8,
        },
        hop: 0,
        blocks: BlockSource::Server,
        block_bytes: BLOCK_BYTES,
        retry_after_ms: 10_000,
        tries: 3,
        trial_windows: 4,
    };
    let (way, (link, inbox)) = match args.line {
        Some(gateway) => {
            let (line, inbox) = Line::open(gateway);
            (gateway, (Way::Line(line), inbox))
        }
        None => {
            let mqtt = address(args.mqtt, &context.settings.mqtt.value)?;
            let (link, inbox) = Link::open(mqtt, device, &key);
            (mqtt, (Way::Mqtt(link), inbox))
        }
    };
    context
        .terminal
        .note(format_args!("device {device} speaks to {way}"));
    let readings = readings(args, &workshop.project, usize::from(sensor.channel_count))?;
    let mut body = Body {
        context,
        device: VirtualDevice::with_flash(config, Room::LARGE, Arc::new([]), chip.flash()),
        chip,
        name: format!("{name}@{}", newest.version),
        link,
        inbox,
    };
    let pace = args
        .real_time
        .then(|| Duration::from_secs_f32(1.0 / sensor.rate_hz.max(0.001)));
    body.live(readings, pace).await
}

struct Body<'a> {
    context: &'a Context,
    device: VirtualDevice,
    chip: Chip,
    /// The model that is expected.
    name: String,
    link: Way,
    inbox: Inbox,
}

impl Body<'_> {
    async fn live(
        &mut self,
        mut readings: mpsc::Receiver<Vec<f32>>,
        pace: Option<Duration>,
    ) -> Result<(), Failure> {
        let response = self.device.handle(now_ms(), Event::Boot);
        self.act(response).await?;
        // A capsule that is owed comes before the first reading, so that no window goes unscored.
        let patience = tokio::time::sleep(Duration::from_secs(10));
        tokio::pin!(patience);
        while self.device.model().is_none() {
            tokio::select! {
                Some(down) = self.inbox.recv() => self.down(&down).await?,
                () = &mut patience => {
                    self.context.terminal.note(format_args!(
                        "no model has come in 10 s; measuring all the same. `tinyops rollout start {}` offers one",
                        self.name
                    ));
                    break;
                }
            }
        }
        loop {
            tokio::select! {
                biased;
                Some(down) = self.inbox.recv() => self.down(&down).await?,
                reading = readings.recv() => match reading {
                    None => break,
                    Some(reading) => {
                        let response = self.device.handle(now_ms(), Event::Reading(&reading));
                        self.act(response).await?;
                        if let Some(pace) = pace {
                            tokio::time::sleep(pace).await;
                        }
                    }
                },
                _ = tokio::signal::ctrl_c() => break,
            }
        }
        let begun = std::time::Instant::now();
        while self.link.in_flight() > 0 && begun.elapsed() < Link::patience() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let traffic = self.device.traffic();
        self.context.terminal.note(format_args!(
            "{} messages and {} bytes up, {} bytes down, raw windows sent: {}",
            traffic.up_messages, traffic.up_bytes, traffic.down_bytes, traffic.raw_windows
        ));
        Ok(())
    }

    async fn down(&mut self, down: &Down) -> Result<(), Failure> {
        let response = self.device.handle(now_ms(), down.event());
        self.act(response).await
    }

    async fn act(&mut self, response: Response) -> Result<(), Failure> {
        // Before anything is sent, as on a board: no number may be used twice, even if this process is killed now.
        self.chip.keep(&mut self.device)?;
        for prediction in &response.predictions {
            self.print(prediction);
        }
        for uplink in response.uplinks {
            self.link.send(uplink).await;
        }
        Ok(())
    }

    fn print(&self, prediction: &Prediction) {
        let class = prediction.answer.class();
        let class = class.and_then(|class| self.device.class_name(class));
        let (confidence, value, is_alarm) = match prediction.answer {
            Answer::Class { confidence, .. } => (Some(confidence), None, None),
            Answer::Value(value) => (None, Some(value), None),
            Answer::Anomaly { score, is_alarm } => (None, Some(score), Some(is_alarm)),
        };
        let view = View {
            model: prediction.model.to_string(),
            class,
            confidence,
            value,
            is_alarm,
        };
        if self.context.terminal.json {
            let line = serde_json::to_string(&view).expect("views have string keys");
            self.context.terminal.line(line);
        } else {
            let said = match (class, value) {
                (Some(class), _) => format!("{class} {:.2}", confidence.unwrap_or_default()),
                (None, Some(value)) => format!("{value:.4}"),
                (None, None) => "–".to_owned(),
            };
            self.context
                .terminal
                .line(format_args!("{}  {said}", view.model));
        }
    }
}

fn now_ms() -> u64 {
    now().0.try_into().unwrap_or(0)
}

fn address(flag: Option<SocketAddr>, setting: &str) -> Result<SocketAddr, Failure> {
    flag.map_or_else(
        || {
            setting
                .parse()
                .map_err(|_| Failure::question(format!("`{setting}` is no address")))
        },
        Ok,
    )
}

/// `POST /api/v1/devices`, the one request a device makes over HTTP.
async fn register(server: SocketAddr, board: &str, cohort: &str) -> Result<Identity, Failure> {
    let unreachable = |error: std::io::Error| {
        Failure::environment(format!("no server answers at {server}"))
            .cause(&error)
            .hint("`tinyops serve` starts one, `--server ADDRESS` looks elsewhere")
    };
    let wish = serde_json::json!({ "board": board, "cohort": cohort });
    let answer = http::post(&server.to_string(), "/api/v1/devices", None, &wish)
        .await
        .map_err(unreachable)?;
    serde_json::from_value(answer.body).map_err(|_| {
        Failure::environment("the server did not register the device")
            .because(format!("it answered {}", answer.status))
    })
}

/// Readings from the recording, or from standard input, on a thread of their own.
fn readings(
    args: &Run,
    project: &Project,
    channel_count: usize,
) -> Result<mpsc::Receiver<Vec<f32>>, Failure> {
    let (sender, receiver) = mpsc::channel(1024);
    match &args.replay {
        Some(path) => {
            let recording = recording(path, project)?;
            let times = args.times;
            std::thread::spawn(move || {
                let mut round = 0;
                while times == 0 || round < times {
                    for reading in recording.chunks_exact(channel_count) {
                        if sender.blocking_send(reading.to_vec()).is_err() {
                            return;
                        }
                    }
                    round += 1;
                }
            });
        }
        None => {
            std::thread::spawn(move || {
                for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                    let numbers: Vec<f32> = line
                        .split([',', ' ', '\t'])
                        .filter_map(|word| word.trim().parse().ok())
                        .collect();
                    // A line that is no reading (a header, a comment) is passed over.
                    if numbers.len() == channel_count && sender.blocking_send(numbers).is_err() {
                        return;
                    }
                }
            });
        }
    }
    Ok(receiver)
}

/// The readings of one file, read as the project's first source says.
fn recording(path: &Path, project: &Project) -> Result<Vec<f32>, Failure> {
    let mut source = project.data.source.first().cloned().unwrap_or_default();
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    source.files = vec![name.clone()];
    source.label = Some("replayed".to_owned());
    source.group = None;
    (source.label_file, source.group_file) = (None, None);
    (source.role, source.cut) = (None, None);
    let spec = DataSpec {
        source: vec![source],
        ..DataSpec::default()
    };
    let mut report = Report::new();
    let mut read = |_, _: &str| tinyops_pipeline::read_recording(path);
    let listing = Listing { files: vec![name] };
    let dataset = ingest::ingest(&spec, &[listing], &mut read, &mut report);
    let readings: Vec<f32> = dataset
        .samples
        .iter()
        .flat_map(|sample| sample.readings.iter().copied())
        .collect();
    if readings.is_empty() {
        return Err(
            Failure::question(format!("`{}` gives no readings", path.display()))
                .because(report.to_string()),
        );
    }
    Ok(readings)
}
