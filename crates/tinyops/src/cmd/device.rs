mod chip;
mod emulated;
mod enrol;
mod sensor;
mod upload;

use std::{
    io::BufRead as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tinyops_data::{finding::Report, ingest, ingest::Listing, spec::DataSpec};
use tinyops_device::{
    Answer, BlockSource, Budgets, Config, Event, Local, Masked, OwnHeadState, Prediction, Privacy,
    Reporting, Trial, annotate::Consent,
};
use tinyops_fleet::keys::Trust;
use tinyops_model::Model;
use tinyops_pipeline::Project;
use tinyops_store::{Readers, model, write_new};
use tinyops_wire::{
    DeviceId, DeviceKey, Digest, ModelId, enrolment::Enrolled, mask::MaskKey, noise::NoiseKey,
    summary::Format,
};
use tokio::sync::mpsc;

use self::{
    chip::Chip,
    enrol::{Asking, Credential},
};
use crate::{
    cmd::annotate::annotator_key,
    cmd::helper::noise,
    cmd::serve::{open_keys, seed},
    context::{Context, now, store_failure},
    endpoint::{Endpoint, Protocol},
    failure::{Exit, Failure},
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
    Enrol(Enrol),
    Run(Run),
    Upload(upload::Upload),
}

/// Who the device is, and how it becomes that.
#[derive(Debug, clap::Args)]
struct Who {
    /// Board that it plays
    #[arg(long, default_value = "arduino-nano-33-ble-sense")]
    board: String,
    /// Who it is: a file with id and key, made where it is missing; its flash is kept beside it, in `FILE.flash`
    /// [default: .tinyops/device-BOARD.json in the project]. Of an emulated board, the flash itself, which holds all of it
    /// [default: .tinyops/emulated-BOARD.flash]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// File with the class token by which it enrols
    #[arg(long, value_name = "FILE")]
    class_token: Option<PathBuf>,
    /// File with the claim by which it enrols, as `tinyops claims make` writes it
    #[arg(long, value_name = "FILE", conflicts_with = "class_token")]
    claim: Option<PathBuf>,
    /// The id that it asks for when it enrols, 16 hex digits
    #[arg(long)]
    id: Option<DeviceId>,
    /// Devices that it is compared with, when it enrols without a class token or claim
    #[arg(long, default_value = "default", conflicts_with_all = ["class_token", "claim"])]
    cohort: String,
    /// Where the server's HTTP is: HOST:PORT, or https://HOST:PORT [default: as `tinyops config` says]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Gateway to speak to instead of a server, over the serial link in a TCP stream, where `tinyops gateway --listen`
    /// listens: HOST:PORT, or tls://HOST:PORT
    #[arg(long, value_name = "URL")]
    line: Option<String>,
    /// PEM file of those who sign the server's certificate, for https, mqtts and tls
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Enrol a virtual device, and let it do nothing more
///
/// It makes its own key and enrols over HTTP, or over a gateway's line (`--line`), with a class token or a claim; where the
/// server asks nobody for a token, it lets itself be given one there. The key never travels. A device that is enrolled stays who it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops device enrol --board esp-eye --identity pump-7.json")]
struct Enrol {
    #[command(flatten)]
    who: Who,
}

/// Run one virtual device: the real agent, with a recording or standard input as its sensor
///
/// Enrols as `tinyops device enrol` does (once), then speaks MQTT as any device, or the serial link to a gateway
/// (`--line`): reports go up, capsules come down.
/// Predictions are printed, one a line. Who it is, and what its flash holds, is kept in two files: the next run is the
/// same device after a power cut.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops device run --board esp-eye --replay data/m1/normal/take-1.csv"
)]
struct Run {
    #[command(flatten)]
    who: Who,
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
    /// File with the key that it shares with a helper (`tinyops helper key`): it reports under masks, and never in the
    /// clear
    #[arg(long, value_name = "FILE", group = "hides")]
    mask_key_file: Option<PathBuf>,
    /// File with a secret of its own, made there at the first run: it reports under noise drawn from it, and never in the
    /// clear, where there is no helper. Whoever reads the file reads its reports
    #[arg(long, value_name = "FILE", group = "hides")]
    noise_key_file: Option<PathBuf>,
    /// Least noise that it reports under, in units of its own greatest weight in a sum
    #[arg(long, value_name = "Z", default_value_t = 20.0, requires = "hides", value_parser = noise)]
    noise_min: f64,
    /// Public key of the annotator who may see windows of it, 64 hex digits, or the file that holds it: it lets windows be
    /// chosen and sealed for nobody else, when the server asks for some
    #[arg(long, value_name = "KEY")]
    consent: Option<String>,
    /// How many windows may leave it in 30 days
    #[arg(long, value_name = "N", default_value_t = 16, requires = "consent")]
    windows_per_month: u16,
    /// Tell the server to delete the windows that it has of this device
    #[arg(long, conflicts_with = "consent")]
    withdraw_consent: bool,
    /// Where the server's MQTT is: HOST:PORT, or mqtts://HOST:PORT [default: as `tinyops config` says]
    #[arg(long, value_name = "URL", conflicts_with = "line")]
    mqtt: Option<String>,
    /// Run it as firmware in QEMU, on a Cortex-M4F with the board's memory: `--line` leads to a gateway, and without one its
    /// serial port is a terminal of this machine's, for `tinyops gateway --tty`. Stopping the command is a power cut
    #[arg(long, conflicts_with_all = ["mqtt", "hides", "consent", "withdraw_consent"])]
    emulated: bool,
    /// Cut its power in the middle of this operation of its flash, counted from the start: a word written or a page erased
    #[arg(long, value_name = "N", requires = "emulated")]
    cut_power_at: Option<u32>,
    /// Have its program hang at the first reading that the model with this id takes, until its watchdog bites
    #[arg(long, value_name = "MODEL", requires = "emulated")]
    hang_with: Option<ModelId>,
}

/// How long a device without a model waits for one before it measures.
const MODEL_WITHIN: Duration = Duration::from_secs(10);

/// One prediction, as `--json` prints it, one a line.
#[derive(Serialize)]
struct View<'a> {
    model: String,
    class: Option<&'a str>,
    confidence: Option<f32>,
    value: Option<f32>,
    is_alarm: Option<bool>,
    /// Whether the device's own head said it, and not the one that it was given.
    is_own_head: bool,
}

/// How it reports: under masks or noise if it has a key for them.
fn privacy(args: &Run, shared: &DeviceKey) -> Result<Privacy, Failure> {
    let noise_tenths_min = (args.noise_min * 10.0).round() as u16;
    if let Some(file) = &args.noise_key_file {
        return Ok(Privacy::Local(Local {
            key: noise_key(file, shared)?,
            noise_tenths_min,
            budgets: Budgets::default(),
        }));
    }
    let Some(file) = &args.mask_key_file else {
        return Ok(Privacy::Plain);
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::question(format!("cannot read `{}`", file.display())).cause(&error)
    })?;
    let key: Digest = text.trim().parse().map_err(|_| {
        Failure::question(format!("`{}` holds no key: 64 hex digits", file.display()))
            .hint("`tinyops helper key ID` prints the key of a device")
    })?;
    Ok(Privacy::Masked(Masked {
        key: MaskKey(key.0),
        noise_tenths_min,
        budgets: Budgets::default(),
    }))
}

/// The secret in a file, which is made where there is none: by the device itself, and for nobody else.
fn noise_key(file: &Path, shared: &DeviceKey) -> Result<NoiseKey, Failure> {
    let shown = file.display();
    if !file.exists() {
        let secret = format!("{}\n", Digest(seed()));
        write_new(file, Readers::Owner, secret.as_bytes()).map_err(|error| {
            Failure::environment(format!("cannot write `{shown}`")).cause(&error)
        })?;
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::question(format!("cannot read `{shown}`")).cause(&error))?;
    let secret: Digest = text.trim().parse().map_err(|_| {
        Failure::question(format!("`{shown}` holds no secret: 64 hex digits"))
            .hint("name a file that is not there: the device makes a secret of its own in it")
    })?;
    NoiseKey::new(secret.0, shared).ok_or_else(|| {
        Failure::question(format!(
            "the secret in `{shown}` is none: the server has it, or anyone guesses it"
        ))
        .hint("name a file that is not there: the device makes a secret of its own in it")
    })
}

pub(crate) async fn run(context: &Context, args: &Device) -> Result<(), Failure> {
    match &args.verb {
        Verb::Enrol(args) => enrol_only(context, &args.who).await,
        Verb::Run(args) => live(context, args).await,
        Verb::Upload(args) => {
            let (_, enrolled) = become_known(context, &args.who).await?;
            upload::run(context, args, enrolled).await
        }
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
    let sensor = sensor::of(
        &workshop.project,
        front_end.channel_count,
        front_end.rate_hz,
    );
    let board = context.board(&args.who.board)?;
    let expected = format!("{name}@{}", newest.version);
    if args.emulated {
        let readings = readings(args, &workshop.project, usize::from(sensor.channel_count))?;
        return emulated::run(context, args, (&board, sensor), expected, readings).await;
    }
    // A device knows its board for as long as the program runs, as firmware does.
    let ram_bytes = board.ram_free_bytes();
    let board = board.id.leak();
    let chip = chip(context, &args.who, board)?;
    let ca = args.who.ca.as_deref();
    let server = http(context, &args.who)?;
    let gateway = gateway(&args.who)?;
    let speaks_to = match &gateway {
        Some(gateway) => gateway.clone(),
        None => {
            let mqtt = args.mqtt.as_ref().unwrap_or(&context.settings.mqtt.value);
            Endpoint::parse(Protocol::Mqtt, mqtt, ca)?
        }
    };
    Endpoint::check_ca(ca, &[&server, &speaks_to])?;
    let trust = open_keys(&context.keys())?.trust;
    let Enrolled {
        device,
        key,
        first_uplink,
    } = enrolled(&args.who, board, &chip, (&server, gateway.as_ref()), &trust).await?;
    let config = Config {
        device,
        key: key.clone(),
        first_uplink,
        roots: trust.roots,
        keys: trust.keys,
        board,
        sensor,
        reporting: Reporting {
            every_windows: args.report_every,
            every_ms: 0,
            format: Format::M6H8,
        },
        privacy: privacy(args, &key)?,
        hop: 0,
        blocks: BlockSource::Server,
        block_bytes: BLOCK_BYTES,
        retry_after_ms: 10_000,
        tries: 3,
        trial_windows: 4,
    };
    if speaks_to.tls().is_some() {
        // What no repetition could heal is said at once, instead of trying on for ever.
        believable(&speaks_to).await?;
    }
    context
        .terminal
        .note(format_args!("device {device} speaks to {speaks_to}"));
    let (link, inbox) = match gateway {
        Some(_) => {
            let (line, inbox) = Line::open(speaks_to);
            (Way::Line(line), inbox)
        }
        None => {
            let (link, inbox) = Link::open(&speaks_to, device, &key);
            (Way::Mqtt(link), inbox)
        }
    };
    let consent = match &args.consent {
        Some(key) => Some(Consent {
            annotator: annotator_key(key)?,
            windows_per_month: args.windows_per_month,
        }),
        None => None,
    };
    let readings = readings(args, &workshop.project, usize::from(sensor.channel_count))?;
    let mut body = Body {
        context,
        device: VirtualDevice::with_flash(config, Room::LARGE, Arc::new([]), chip.flash())
            .metered(ram_bytes),
        chip,
        name: expected,
        link,
        inbox,
        refused: 0,
        own_head: OwnHeadState::Off,
    };
    if args.withdraw_consent {
        body.device.agent().withdraw_consent();
    }
    if let Some(consent) = consent {
        body.device.agent().give_consent(consent);
    }
    let pace = args
        .real_time
        .then(|| Duration::from_secs_f32(1.0 / sensor.rate_hz.max(0.001)));
    body.live(readings, pace).await
}

/// The files of the device.
fn chip(context: &Context, who: &Who, board: &str) -> Result<Chip, Failure> {
    let usual = || context.keys().join(format!("device-{board}.json"));
    Chip::open(&who.identity.clone().unwrap_or_else(usual), Room::LARGE)
}

/// Refuses a server whose certificate proves nothing; one that is away for now may come.
async fn believable(server: &Endpoint) -> Result<(), Failure> {
    match server.connect().await {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(Failure::environment(format!("no connection to {server}")).cause(&error))
        }
        _ => Ok(()),
    }
}

/// The server's HTTP.
fn http(context: &Context, who: &Who) -> Result<Endpoint, Failure> {
    let text = who.server.as_ref().unwrap_or(&context.settings.http.value);
    Endpoint::parse(Protocol::Http, text, who.ca.as_deref())
}

/// The gateway's line, if it speaks over one.
fn gateway(who: &Who) -> Result<Option<Endpoint>, Failure> {
    let parse = |text| Endpoint::parse(Protocol::Line, text, who.ca.as_deref());
    who.line.as_deref().map(parse).transpose()
}

/// Lets the device enrol, if it has not before.
async fn enrolled(
    who: &Who,
    board: &str,
    chip: &Chip,
    (server, gateway): (&Endpoint, Option<&Endpoint>),
    trust: &Trust,
) -> Result<Enrolled, Failure> {
    let asking = Asking {
        server,
        gateway,
        board,
        device: who.id,
        trust,
        credential: credential(who)?,
        cohort: &who.cohort,
    };
    asking.identity(chip).await
}

/// What lets the device in, if it was given something.
fn credential(who: &Who) -> Result<Option<Credential>, Failure> {
    match (&who.class_token, &who.claim) {
        (Some(path), _) => Credential::token(path).map(Some),
        (None, Some(path)) => Credential::claim(path).map(Some),
        (None, None) => Ok(None),
    }
}

async fn enrol_only(context: &Context, who: &Who) -> Result<(), Failure> {
    let (board, enrolled) = become_known(context, who).await?;
    let view = serde_json::json!({ "device": enrolled.device.to_string(), "board": board });
    context
        .terminal
        .answer(&view, || format!("{}\n", enrolled.device));
    Ok(())
}

/// The board, and who the device is; it enrols if it has not before.
async fn become_known(context: &Context, who: &Who) -> Result<(String, Enrolled), Failure> {
    let board = context.board(&who.board)?.id;
    std::fs::create_dir_all(context.keys()).map_err(|error| {
        Failure::environment(format!("cannot make `{}`", context.keys().display())).cause(&error)
    })?;
    let chip = chip(context, who, &board)?;
    let trust = open_keys(&context.keys())?.trust;
    let server = http(context, who)?;
    let gateway = gateway(who)?;
    let spoken_to: Vec<&Endpoint> = [&server].into_iter().chain(&gateway).collect();
    Endpoint::check_ca(who.ca.as_deref(), &spoken_to)?;
    let enrolled = enrolled(who, &board, &chip, (&server, gateway.as_ref()), &trust).await?;
    Ok((board, enrolled))
}

struct Body<'a> {
    context: &'a Context,
    device: VirtualDevice,
    chip: Chip,
    /// The model that is expected.
    name: String,
    link: Way,
    inbox: Inbox,
    /// Refusals that a person was told of.
    refused: u64,
    /// What a person was told of its own head.
    own_head: OwnHeadState,
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
        let patience = tokio::time::sleep(MODEL_WITHIN);
        tokio::pin!(patience);
        while self.device.model().is_none() {
            tokio::select! {
                Some(down) = self.inbox.recv() => self.down(&down).await?,
                () = &mut patience => {
                    note_no_model(self.context, &self.name);
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
        // Whoever has asked for windows asks for their bytes now.
        while self.device.agent().has_chosen() {
            match tokio::time::timeout(Link::patience(), self.inbox.recv()).await {
                Ok(Some(down)) => self.down(&down).await?,
                Ok(None) | Err(_) => break,
            }
        }
        let traffic = self.device.traffic();
        self.context.terminal.note(format_args!(
            "{} messages and {} bytes up, {} bytes down, raw windows sent: {}",
            traffic.up_messages, traffic.up_bytes, traffic.down_bytes, traffic.raw_windows
        ));
        if traffic.sealed_parts > 0 {
            self.context.terminal.note(format_args!(
                "{} messages with windows sealed for the annotator; {} more windows may leave it this month",
                traffic.sealed_parts,
                self.device.agent().windows_left()
            ));
        }
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
        let refused = self.device.refused();
        if refused > self.refused {
            self.refused = refused;
            self.context.terminal.note(format_args!(
                "refused what the server asks for ({refused} so far): more than this device may tell, such as reports in the \
                 clear or under less noise than `--noise-min`, or more than it has room for"
            ));
        }
        let own_head = self.device.own_head();
        if own_head != self.own_head {
            self.own_head = own_head;
            if let Some(said) = said_of(own_head) {
                self.context.terminal.note(said);
            }
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
            is_own_head: prediction.is_own_head,
        };
        view.print(self.context);
    }
}

impl View<'_> {
    fn print(&self, context: &Context) {
        if context.terminal.json {
            let line = serde_json::to_string(self).expect("views have string keys");
            context.terminal.line(line);
            return;
        }
        let said = match (self.class, self.value) {
            (Some(class), _) => format!("{class} {:.2}", self.confidence.unwrap_or_default()),
            (None, Some(value)) => format!("{value:.4}"),
            (None, None) => "–".to_owned(),
        };
        let own = if self.is_own_head { "  own head" } else { "" };
        context
            .terminal
            .line(format_args!("{}  {said}{own}", self.model));
    }
}

/// A device measures without a model, and a person is told how it comes to one.
fn note_no_model(context: &Context, name: &str) {
    context.terminal.note(format_args!(
        "no model has come in 10 s; measuring all the same. `tinyops rollout start {name}` offers one"
    ));
}

/// What is told of a device's own head, where it is news.
fn said_of(state: OwnHeadState) -> Option<String> {
    let held = |trial: Trial| {
        format!(
            "held out, it is right about {} of {} labelled windows and answers {} of {} golden vectors as before; the \
             installed one is right about {}",
            trial.own_right, trial.windows, trial.golden_alike, trial.golden, trial.installed_right
        )
    };
    match state {
        OwnHeadState::NoPrior => Some(
            "no head of its own: the capsule brings no prior, which takes `personal_head = true` under `[repair]` and a \
             model made since"
                .to_owned(),
        ),
        OwnHeadState::NoRoom { needed_bytes } => Some(format!(
            "no head of its own: it takes {needed_bytes} bytes more of memory and flash than the device has for it"
        )),
        OwnHeadState::Installed(trial) => {
            Some(format!("answers by the installed head: {}", held(trial)))
        }
        OwnHeadState::Own(trial) => Some(format!("answers by a head of its own: {}", held(trial))),
        _ => None,
    }
}

fn now_ms() -> u64 {
    now().0.try_into().unwrap_or(0)
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
