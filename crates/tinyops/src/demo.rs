//! The whole loop in one process: recordings in, a model on fifty fans, drift noticed there, the model
//! repaired from what the fans may tell, the fleet updated.
//!
//! Nothing is canned: if drift is not noticed, or the repair does not repair, the story says so.

mod fans;
mod folder;
mod life;
mod score;
mod ship;
mod story;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tinyops_fleet::{
    Event as FleetEvent, Fleet, Keyring, Policy,
    detector::DriftPolicy,
    plan::Plan as RolloutPlan,
    rollout::{Wish, sentence},
    round::RoundPolicy,
};
use tinyops_pipeline::{Job, Project, Reporter, Workshop, run as run_pipeline};
use tinyops_server::{Config, Event, Loops, Running, release, serve};
use tinyops_store::{Artifacts, Db, Timestamp, capsule};
use tinyops_wire::ModelId;
use tokio::sync::broadcast;

use crate::{
    cmd::{gateway::Local, serve::open_keys},
    context::{now, store_failure},
    failure::{Exit, Failure},
    term::Terminal,
};

use self::{
    fans::{Doors, Fans, HOUR_MS, Plan, State},
    folder::Mounting,
    story::Story,
};

pub(crate) use self::{ship::Shipped, story::Summary};

/// What a person may choose about the demo.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) fans: u32,
    pub(crate) http: SocketAddr,
    pub(crate) mqtt: SocketAddr,
}

/// Hours in a day of a fan.
const DAY: u32 = 24;
/// Days that the fleet runs as built before mountings begin to work loose.
const STEADY_DAYS: u32 = 16;
/// Days that a mounting takes to work loose.
const WEAR_DAYS: u32 = 2;
/// Days after which a phase that waits for the server is given up.
const PATIENCE_DAYS: u32 = 30;
/// Days that are measured at the end.
const AFTER_DAYS: u32 = 3;
/// How far mountings work loose.
const WEAR: f32 = 0.9;
/// Real time of an hour at least, so that the pages can be watched and the loops keep up.
const HOUR: Duration = Duration::from_millis(20);
/// Real time between two questions of the gateway.
const GATEWAY_POLL: Duration = Duration::from_millis(20);
/// The same while some of them are on slow links, whose uplinks take real time.
const SLOW_HOUR: Duration = Duration::from_millis(40);
/// Real time of an hour while the pipeline is at work: training and a fleet share two cores.
const BUSY_HOUR: Duration = Duration::from_millis(150);

/// A demo whose story is told, and whose server still answers.
pub(crate) struct Told<S> {
    pub(crate) summary: S,
    running: Running,
    /// Carries the fans on lines, if there are any.
    gateway: Option<Local>,
    fans: Fans,
    /// How worn the mountings are that wear.
    wear: f32,
}

impl<S> Told<S> {
    /// Lets the fans live on, a little slower, until `until` is done.
    pub(crate) async fn live_on(&mut self, until: impl Future<Output = ()>) {
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return,
                () = tokio::time::sleep(Duration::from_millis(500)) => {
                    self.fans.hour(self.wear).await;
                }
            }
        }
    }

    pub(crate) async fn stop(self) {
        self.fans.stop().await;
        drop(self.gateway);
        self.running.stop().await;
    }
}

/// Tells the story of a drift from the first recording to the last prediction.
pub(crate) async fn tell(wishes: &Wishes, terminal: Terminal) -> Result<Told<Summary>, Failure> {
    let story = Story::begin(terminal);
    story.head(format_args!(
        "{} fans, one model, and mountings that work loose",
        wishes.fans
    ));
    let mut opened = open(wishes, story, Links::Mqtt).await?;
    let summary = opened.play().await?;
    Ok(opened.told(summary, WEAR))
}

/// Tells the story of a bad model that a fleet on three kinds of links is offered.
pub(crate) async fn tell_of_shipping(
    wishes: &Wishes,
    terminal: Terminal,
) -> Result<Told<Shipped>, Failure> {
    let story = Story::begin(terminal);
    story.head(format_args!(
        "{} fans on three kinds of links, a good model and a bad one",
        wishes.fans
    ));
    let mut opened = open(wishes, story, Links::Mixed).await?;
    let summary = opened.ship().await?;
    Ok(opened.told(summary, 0.0))
}

/// How fans are linked to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    Mqtt,
    /// Half over MQTT, a quarter over a gateway's lines, a quarter over a LoRaWAN network.
    Mixed,
}

/// A fleet and its server, before anything has happened.
struct Opened {
    stage: Stage,
    workshop: Workshop,
    fleet: Fleet,
    keys: Keyring,
    running: Running,
    gateway: Option<Local>,
    doors: Doors,
    version: u32,
}

impl Opened {
    fn told<S>(self, summary: S, wear: f32) -> Told<S> {
        Told {
            summary,
            running: self.running,
            gateway: self.gateway,
            fans: self.stage.fans,
            wear,
        }
    }

    fn name(&self) -> &str {
        &self.workshop.project.project.name
    }

    /// Signs a version and starts its rollout.
    async fn send_out(&self, version: u32, plan: Option<RolloutPlan>) -> Result<(), Failure> {
        let (name, now) = (self.name(), (self.workshop.now)());
        release(&self.fleet, &self.keys, name, version, now)
            .await
            .map_err(|error| Failure::of(Exit::Environment, &error))?;
        let wish = Wish {
            plan,
            ..Wish::of(name, version)
        };
        self.fleet
            .start_rollout(&wish, "demo", now)
            .await
            .map_err(|error| Failure::of(Exit::Environment, &error))?;
        Ok(())
    }
}

/// Records, trains, and opens a server with a fleet that has no model yet.
async fn open(wishes: &Wishes, story: Story, links: Links) -> Result<Opened, Failure> {
    let workshop = set_up(wishes, &story).await?;
    let version = train(&workshop, &story, "the factory's model").await?;
    let clock = Arc::new(AtomicI64::new(now().0));
    let workshop = Workshop {
        now: {
            let clock = Arc::clone(&clock);
            Arc::new(move || Timestamp(clock.load(Ordering::Acquire)))
        },
        ..workshop
    };
    let keys = open_keys(&wishes.folder.join(".tinyops"))?;
    let fleet = Fleet::new(
        workshop.db.clone(),
        workshop.artifacts.clone(),
        policy(wishes.fans),
    )
    .with_keys(keys.clone());
    let running = serve(Config {
        http: wishes.http,
        mqtt: Some(wishes.mqtt),
        workshop: workshop.clone(),
        policy: policy(wishes.fans),
        keys: keys.clone(),
        key_folder: None,
        admin_token: wishes.folder.join(".tinyops").join("admin.token"),
        tls: None,
        helper: None,
        loops: Loops {
            enabled: true,
            tick: Duration::from_millis(50),
        },
    })
    .await
    .map_err(|error| Failure::of(Exit::Environment, &error).hint("`--port` chooses another"))?;
    story.head(format_args!("Dashboard: http://{}", running.http));
    let events = running.events();
    let gateway =
        match links {
            Links::Mqtt => None,
            Links::Mixed => Some(Local::open(running.http, GATEWAY_POLL).await.map_err(
                |error| Failure::environment("cannot open a gateway on loopback").cause(&error),
            )?),
        };
    let doors = Doors {
        mqtt: running.mqtt.expect("MQTT was asked for"),
        mixed: gateway
            .as_ref()
            .map(|gateway| (gateway.address, running.http)),
    };
    let plan = Plan {
        seed: wishes.seed,
        count: wishes.fans,
        doors,
        trust: keys.trust.clone(),
        clock,
    };
    let fans = Fans::start(&plan, &fleet)
        .await
        .map_err(|error| Failure::of(Exit::Environment, &error))?;
    match doors.mixed {
        None => story.say(format_args!(
            "{} virtual fans registered and connected over MQTT ({})",
            wishes.fans, doors.mqtt
        )),
        Some((lines, http)) => story.say(format_args!(
            "{} virtual fans registered: half over MQTT ({}), a quarter on lines of a gateway ({lines}), a quarter \
             over LoRaWAN (ChirpStack's events to {http})",
            wishes.fans, doors.mqtt
        )),
    }
    let stage = Stage {
        story,
        fans,
        events,
        busy: false,
        links,
    };
    Ok(Opened {
        stage,
        workshop,
        fleet,
        keys,
        running,
        gateway,
        doors,
        version,
    })
}

async fn set_up(wishes: &Wishes, story: &Story) -> Result<Workshop, Failure> {
    let folder = &wishes.folder;
    folder::prepare(folder)?;
    let recorded = {
        let (folder, seed) = (folder.clone(), wishes.seed);
        let record =
            tokio::task::spawn_blocking(move || folder::record(&folder, seed, Mounting::Right));
        record
            .await
            .map_err(|error| Failure::environment("recording stopped").cause(&error))??
    };
    story.say(format_args!(
        "Recorded {} machines on a test bench: {} files, {:.0} s of vibration, in {}",
        recorded.machines,
        recorded.files,
        recorded.seconds,
        folder.join("recordings").display()
    ));
    let project = Project::load(folder).map_err(|error| Failure::of(Exit::Question, &error))?;
    let (db, artifacts) = open_store(folder).await?;
    Ok(Workshop {
        root: folder.clone(),
        project,
        db,
        artifacts,
        now: Arc::new(now),
    })
}

async fn open_store(folder: &Path) -> Result<(Db, Artifacts), Failure> {
    let store = folder.join(".tinyops");
    std::fs::create_dir_all(&store).map_err(|error| {
        Failure::environment(format!("cannot make `{}`", store.display())).cause(&error)
    })?;
    let db = Db::open(&format!("sqlite:{}", store.join("tinyops.db").display()))
        .await
        .map_err(|error| store_failure(&error))?;
    let artifacts = Artifacts::open(&store.join("artifacts").display().to_string())
        .await
        .map_err(|error| store_failure(&error))?;
    Ok((db, artifacts))
}

async fn train(workshop: &Workshop, story: &Story, what: &str) -> Result<u32, Failure> {
    let reporter: Reporter = story.reporter();
    let outcome = run_pipeline(workshop, &Job::Full { until: None }, None, &reporter)
        .await
        .map_err(|error| Failure::of(Exit::Environment, &error))?;
    outcome.version.ok_or_else(|| {
        let why = outcome
            .gates
            .iter()
            .find(|gate| gate.verdict == tinyops_pipeline::Verdict::Fail)
            .map_or_else(String::new, |gate| {
                format!("{}: {}", gate.name, gate.reason)
            });
        Failure::no(format!("{what} did not pass its gates")).because(why)
    })
}

/// The fleet's rules, for a story of weeks.
fn policy(fans: u32) -> Policy {
    const DAY_MS: i64 = DAY as i64 * HOUR_MS;
    Policy {
        drift: DriftPolicy {
            baseline_reports: 14,
            ..DriftPolicy::default()
        },
        rollout: RolloutPlan {
            reports: 1,
            silent_after_ms: 4 * DAY_MS,
            wave_within_ms: 6 * DAY_MS,
            ..RolloutPlan::default()
        },
        round: RoundPolicy {
            gather_ms: 5 * DAY_MS,
            within_ms: 2 * DAY_MS,
            settle_ms: DAY_MS / 2,
            device_count_min: (fans / 4).max(2),
            total_window_count_min: 200,
            again_after_ms: 10 * DAY_MS,
            ..RoundPolicy::default()
        },
        ..Policy::default()
    }
}

/// The fleet and what is heard of the server, while the story is played.
struct Stage {
    story: Story,
    fans: Fans,
    events: broadcast::Receiver<Event>,
    /// The pipeline is at work.
    busy: bool,
    links: Links,
}

/// What a stretch of time waits for.
enum Heard {
    RolloutDone,
    RolloutHalted(String),
    RoundOpened,
    RoundClosed,
    RunEnded(Option<u32>),
}

impl Opened {
    async fn play(&mut self) -> Result<Summary, Failure> {
        let begun = Instant::now();
        let (name, version) = (self.name().to_owned(), self.version);
        let mut summary = Summary::new(&name, version);

        // The first model goes out.
        self.send_out(version, None).await?;
        let workshop = &self.workshop;
        let stage = &mut self.stage;
        stage
            .story
            .say(format_args!("Shipping {name}@{version} to a canary first"));
        if !stage
            .wait_for_rollout(&mut summary, "the first rollout", 0.0)
            .await
        {
            return Ok(stage.end(summary, begun).await);
        }
        let first = model_id(workshop, version).await;

        // A steady time, which gives every device its own baseline.
        let steady_from = stage.fans.hour;
        stage.live(STEADY_DAYS * DAY, |_| 0.0).await;
        let before = stage.score(steady_from, stage.fans.hour, first);
        summary.before = before;
        summary.false_alarms = stage.story.alerts();
        stage.story.say(format_args!(
            "Day {}: the model is right on {} of all windows",
            stage.fans.hour / DAY,
            before.fleet.text()
        ));

        // Half of the mountings work loose.
        let wear_from = stage.fans.hour;
        stage
            .story
            .head("The mountings of every second fan begin to work loose");
        let mut noticed = false;
        for hour in 0..WEAR_DAYS * DAY {
            let wear = WEAR * (hour + 1) as f32 / (WEAR_DAYS * DAY) as f32;
            noticed |= stage
                .hour(wear)
                .await
                .iter()
                .any(|heard| matches!(heard, Heard::RoundOpened));
        }
        let worn_from = stage.fans.hour;
        if !noticed {
            noticed = stage
                .until(WEAR, |heard| matches!(heard, Heard::RoundOpened))
                .await
                .is_some();
        }
        if !noticed {
            summary.during = stage.score(worn_from, stage.fans.hour, first);
            summary.failure = Some("the drift was not noticed".to_owned());
            return Ok(stage.end(summary, begun).await);
        }
        summary.days_to_alert = Some(f64::from(stage.fans.hour - wear_from) / f64::from(DAY));

        // The repair: sums of labelled embeddings, a new head, the same gates, a second rollout.
        if stage
            .until(WEAR, |heard| matches!(heard, Heard::RoundClosed))
            .await
            .is_none()
        {
            summary.failure = Some("no round of statistics was closed".to_owned());
            summary.during = stage.score(worn_from, stage.fans.hour, first);
            return Ok(stage.end(summary, begun).await);
        }
        let repaired = stage
            .until(WEAR, |heard| matches!(heard, Heard::RunEnded(_)))
            .await;
        summary.during = stage.score(worn_from, stage.fans.hour, first);
        let Some(Heard::RunEnded(Some(repaired))) = repaired else {
            summary.failure = Some("the pipeline made no repaired model".to_owned());
            return Ok(stage.end(summary, begun).await);
        };
        summary.repaired_version = Some(repaired);
        if !stage
            .wait_for_rollout(&mut summary, "the second rollout", WEAR)
            .await
        {
            return Ok(stage.end(summary, begun).await);
        }
        let second = model_id(workshop, repaired).await;
        let after_from = stage.fans.hour;
        stage.live(AFTER_DAYS * DAY, |_| WEAR).await;
        summary.after = stage.score(after_from, stage.fans.hour, second);
        Ok(stage.end(summary, begun).await)
    }
}

impl Stage {
    /// Waits until a rollout is done; if it is not, the summary says why.
    async fn wait_for_rollout(&mut self, summary: &mut Summary, what: &str, wear: f32) -> bool {
        let heard = self
            .until(wear, |heard| {
                matches!(heard, Heard::RolloutDone | Heard::RolloutHalted(_))
            })
            .await;
        match heard {
            Some(Heard::RolloutDone) => true,
            Some(Heard::RolloutHalted(why)) => {
                summary.failure = Some(format!("{what} was halted: {why}"));
                false
            }
            _ => {
                summary.failure = Some(format!("{what} did not end"));
                false
            }
        }
    }

    /// Lets hours pass.
    async fn live(&mut self, hours: u32, wear: impl Fn(u32) -> f32) {
        for hour in 0..hours {
            self.hour(wear(hour)).await;
        }
    }

    /// Lets hours pass until something is heard; none when patience ends.
    async fn until(&mut self, wear: f32, is_it: impl Fn(&Heard) -> bool) -> Option<Heard> {
        for _ in 0..PATIENCE_DAYS * DAY {
            let heard = self.hour(wear).await;
            if let Some(found) = heard.into_iter().find(|heard| is_it(heard)) {
                return Some(found);
            }
        }
        None
    }

    /// Lets one hour pass and tells what was heard in it.
    async fn hour(&mut self, wear: f32) -> Vec<Heard> {
        let begun = Instant::now();
        self.fans.hour(wear).await;
        if self.fans.hour.is_multiple_of(DAY / 4) {
            self.fans.settle().await;
        }
        let pace = match (self.busy, self.links) {
            (true, _) => BUSY_HOUR,
            (false, Links::Mixed) => SLOW_HOUR,
            (false, Links::Mqtt) => HOUR,
        };
        if let Some(rest) = pace.checked_sub(begun.elapsed()) {
            tokio::time::sleep(rest).await;
        }
        let mut heard = Vec::new();
        loop {
            match self.events.try_recv() {
                Ok(event) => heard.extend(self.hear(event)),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return heard,
            }
        }
    }

    fn hear(&mut self, event: Event) -> Option<Heard> {
        let day = self.fans.hour / DAY;
        match event {
            Event::Fleet(event) => {
                self.story.fleet(day, &event);
                match event {
                    FleetEvent::RoundOpened(_) => Some(Heard::RoundOpened),
                    FleetEvent::RoundClosed { .. } => Some(Heard::RoundClosed),
                    FleetEvent::RolloutDone(_) => Some(Heard::RolloutDone),
                    FleetEvent::RolloutHalted(rollout) => {
                        Some(Heard::RolloutHalted(sentence(&rollout)))
                    }
                    _ => None,
                }
            }
            Event::RunStarted { .. } => {
                self.busy = true;
                self.story.say(format_args!(
                    "Day {day}: the pipeline solves a new head from the sums"
                ));
                None
            }
            Event::RunEnded { version, why, .. } => {
                self.busy = false;
                match (version, why) {
                    (Some(version), None) => self.story.say(format_args!(
                        "Day {day}: version {version} has the new head, which has passed every gate"
                    )),
                    (_, why) => self.story.say(format_args!(
                        "Day {day}: the pipeline made no new version: {}",
                        why.unwrap_or_default()
                    )),
                }
                Some(Heard::RunEnded(version))
            }
            _ => None,
        }
    }

    fn score(&self, from: u32, to: u32, model: Option<ModelId>) -> score::Phase {
        self.fans
            .score
            .lock()
            .expect("a score is pushed whole")
            .phase(from..to, model)
    }

    async fn end(&mut self, mut summary: Summary, begun: Instant) -> Summary {
        let states: Vec<State> = self.fans.settle().await;
        summary.close(&states, self.fans.hour, begun.elapsed());
        summary
    }
}

/// What reports of a version's capsule carry.
async fn model_id(workshop: &Workshop, version: u32) -> Option<ModelId> {
    let name = &workshop.project.project.name;
    let capsule = capsule::for_board(&workshop.db, name, version, folder::BOARD).await;
    capsule.ok().flatten().map(|capsule| capsule.id)
}
