use serde::Serialize;
use tinyops_fleet::{
    FleetError,
    engine::{Finding, Progress, Tally},
    plan::{Install, Metric, Plan, Reward, Shadow, Strategy},
    refusal,
    rollout::{Wish, details, sentence},
    selector::Selector,
    window::Windows,
};
use tinyops_server::release;
use tinyops_store::{
    Db, Json,
    rollout::{self, RolloutId},
};

use crate::{
    cmd::serve::open_keys,
    context::{ACTOR, Context, moment, now},
    failure::{Exit, Failure},
    model_ref::{ModelRef, title},
    table::Table,
};

/// Bring a model version to the fleet, hold it, or take it back
///
/// Rollouts are recorded in the store; a running `tinyops serve` carries them out.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollout {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Start(Box<Start>),
    Ls(Ls),
    Show(Show),
    Pause(Change),
    Resume(Resume),
    Install(InstallNow),
    Revert(Revert),
    Back(Back),
}

/// Sign a version for every board it was compiled for, and offer it to the first devices
///
/// The release key is `.tinyops/release.key` in the project, or elsewhere (`tinyops release`).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: tinyops rollout start fan@3 --canary 0.1\n          \
    tinyops rollout start fan@3 --shadow 500 --canary 0.1\n          \
    tinyops rollout start fan@3 --waves 0.02,0.1,0.5,1 --in-flight 10 --where 'site = north and board != esp-eye'\n          \
    tinyops rollout start fan@3 --ab 0.5 --reward accuracy --days 14 --window 'sat,sun 22:00-05:00' --utc-offset +01:00"
)]
struct Start {
    /// Model and version, such as `fan@3`
    model: ModelRef,
    /// Devices, by board, cohort, id and labels, that come later too: `site = north and not board = esp-eye`
    #[arg(long = "where", value_name = "SELECTOR", default_value = "")]
    selector: String,
    /// A device belongs to the open rollout of the highest priority that it matches, of those to the oldest
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i64,
    /// Share of the devices that try it first; 1 is all at once
    #[arg(long, value_name = "SHARE", value_parser = share)]
    canary: Option<f64>,
    /// Shares of the devices that have it at the end of each wave
    #[arg(long, value_name = "SHARES", value_delimiter = ',', value_parser = share, conflicts_with = "canary")]
    waves: Vec<f64>,
    /// Share that gets it until the better version is known
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with_all = ["canary", "waves"])]
    ab: Option<f64>,
    /// As --ab, but the share follows the chance that it is the better one; each keeps this share at least
    #[arg(long, value_name = "FLOOR", value_parser = share, conflicts_with_all = ["canary", "waves", "ab"])]
    bandit: Option<f64>,
    /// What --ab and --bandit seek: accuracy (by outcomes) or confidence
    #[arg(long, default_value = "accuracy", value_parser = reward)]
    reward: Reward,
    /// How long --ab and --bandit wait for a difference
    #[arg(long, default_value_t = 14, value_name = "DAYS")]
    days: u32,
    /// First let devices score so many windows with it, beside the model that they go on answering with: it goes on to
    /// the first wave, or no further, and nobody has installed it
    #[arg(long, value_name = "WINDOWS", value_parser = clap::value_parser!(u16).range(1..))]
    shadow: Option<u16>,
    /// Share of the devices that do so; those whose firmware cannot wait for their wave
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "shadow")]
    shadow_share: Option<f64>,
    /// How long that may take before those that answered decide alone
    #[arg(long, value_name = "DAYS", requires = "shadow", value_parser = clap::value_parser!(u32).range(1..=3650))]
    shadow_days: Option<u32>,
    /// Devices that have their offer and have not answered, at most
    #[arg(long, value_name = "COUNT")]
    in_flight: Option<u32>,
    /// When devices may be told, such as `22:00-05:00` or `sat,sun 08:00-18:00`; may be given more than once
    #[arg(long, value_name = "WINDOW")]
    window: Vec<String>,
    /// What the clocks of the windows are ahead of UTC, such as `+01:00`
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    utc_offset: Option<String>,
    /// When they install it: at-once, window (they fetch it before, and install it in a --window), or later (they
    /// fetch it, and install it when `tinyops rollout install` says so)
    #[arg(long, value_name = "WHEN", value_parser = install)]
    install: Option<Install>,
    /// Chance of halting a good model, over all metrics together
    #[arg(long)]
    alpha: Option<f64>,
    /// Metrics that do not halt it, such as `labels` for a model that is meant to predict differently
    #[arg(long, value_name = "METRICS", value_delimiter = ',', value_parser = metric)]
    ignore: Vec<Metric>,
}

/// List the rollouts, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rollout ls")]
struct Ls {}

/// Show one rollout and how far each device is
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rollout show 2")]
struct Show {
    /// Its number
    rollout: RolloutId,
}

/// Hold a rollout: nobody new is offered anything
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rollout pause 2 --why \"wait for the night\"")]
struct Change {
    /// Its number
    rollout: RolloutId,
    /// For those who ask later
    #[arg(long, default_value = "")]
    why: String,
}

/// Let a held rollout go on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rollout resume 2")]
struct Resume {
    /// Its number
    rollout: RolloutId,
}

/// Let devices install what they have fetched and keep, of a rollout that was started with `--install later`
///
/// Those that come later install it when they have fetched it. Maintenance windows hold for it, if there are any.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rollout install 2")]
struct InstallNow {
    /// Its number
    rollout: RolloutId,
}

/// Take every device of a rollout back to what it ran before
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rollout revert 2 --why \"false alarms\" --yes")]
struct Revert {
    /// Its number
    rollout: RolloutId,
    /// For those who ask later
    #[arg(long, default_value = "")]
    why: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Take the fleet back from a model's newest version to the last good one
///
/// Every rollout of that version that is open or done is taken back: its devices go back to what they ran before.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rollout back fan --why \"false alarms\" --yes")]
struct Back {
    /// The model, such as `fan`
    model: String,
    /// For those who ask later
    #[arg(long, default_value = "")]
    why: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// One rollout, as every command of this verb shows it.
#[derive(Serialize)]
struct View {
    rollout: i64,
    model: String,
    version: u32,
    previous: Option<u32>,
    selector: String,
    priority: i64,
    state: &'static str,
    strategy: &'static str,
    /// Whether devices score windows with it, and none may install it yet.
    shadowing: bool,
    /// What it shows, or showed, beside the model that runs; null of a rollout without that.
    shadow: Option<Tally>,
    /// From 1.
    wave: u32,
    waves: u32,
    /// When devices install it: `at-once`, `window` or `later`.
    install: &'static str,
    /// Whether they wait for `tinyops rollout install`.
    waits: bool,
    reason: Json,
    /// The reason in a sentence.
    sentence: String,
    /// What each metric shows: effect, interval, evidence, and the evidence that halts.
    findings: Json,
    created_at_ms: i64,
    changed_at_ms: i64,
    /// How many devices stand where.
    deliveries: serde_json::Map<String, Json>,
}

impl View {
    async fn of(db: &Db, rollout: rollout::Rollout) -> Result<Self, Failure> {
        let tally = rollout::tally(db, rollout.id).await?;
        let (plan, progress) = details(&rollout)?;
        let is_open = matches!(
            rollout.state,
            rollout::RolloutState::Running | rollout::RolloutState::Paused
        );
        Ok(Self {
            sentence: sentence(&rollout),
            strategy: plan.strategy.word(),
            wave: (progress.wave + 1).min(plan.strategy.wave_count()),
            waves: plan.strategy.wave_count(),
            install: plan.install.word(),
            waits: plan.install == Install::Later && !progress.is_released && is_open,
            shadowing: is_open && plan.shadow.is_some() && !progress.is_shadowed,
            findings: serde_json::json!(findings(&progress)),
            shadow: progress.shadow,
            rollout: rollout.id.0,
            model: rollout.model,
            version: rollout.version,
            previous: rollout.previous,
            selector: rollout.selector,
            priority: rollout.priority,
            state: rollout.state.word(),
            reason: rollout.reason,
            created_at_ms: rollout.created_at.0,
            changed_at_ms: rollout.changed_at.0,
            deliveries: tally
                .into_iter()
                .map(|(delivery, count)| (delivery.word().to_owned(), count.into()))
                .collect(),
        })
    }

    fn counts(&self) -> String {
        let counts = self.deliveries.iter();
        let counts = counts.map(|(delivery, count)| format!("{count} {delivery}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    fn text(&self) -> String {
        let mut out = format!(
            "rollout {} of {}@{}: {}{}; {}\n",
            self.rollout,
            self.model,
            self.version,
            self.state,
            match self.waves {
                _ if self.shadowing => format!(" (shadow, then {})", self.strategy),
                1 => String::new(),
                waves => format!(" ({}, wave {} of {waves})", self.strategy, self.wave),
            },
            self.counts()
        );
        if !self.selector.is_empty() {
            out += &format!("  for {}\n", self.selector);
        }
        if self.waits {
            out += &format!(
                "  its devices keep what they have fetched until `tinyops rollout install {}`\n",
                self.rollout
            );
        }
        if !self.sentence.is_empty() {
            out += &format!("  because {}\n", self.sentence);
        }
        if let Some(shadow) = &self.shadow {
            out += &beside(shadow);
        }
        out
    }
}

/// The findings of the shadow phase, if there was one, and of the waves.
fn findings(progress: &Progress) -> Vec<&Finding> {
    let shadow = progress.shadow_findings.iter();
    shadow.chain(&progress.findings).collect()
}

/// How a candidate does beside the model that runs.
fn beside(shadow: &Tally) -> String {
    let Tally {
        devices,
        can,
        told,
        done,
        windows,
        ..
    } = shadow;
    let mut out = format!("  {can} of {devices} devices can score with two models");
    if can < devices {
        out += "; the others wait for their wave";
    }
    out += &format!("\n  {done} of {told} have scored their windows, {windows} in all");
    if let Some(agreement) = shadow.agreement {
        out += &format!("; the two agree on {:.1} %", agreement * 100.0);
    }
    out += "\n";
    if let Some((active, candidate)) = shadow.accuracy {
        let judged: u64 = shadow.pairs.iter().sum();
        out += &format!(
            "  of {judged} labelled windows it had {:.1} % right, the model that runs {:.1} %\n",
            candidate * 100.0,
            active * 100.0
        );
    }
    out
}

pub(crate) async fn run(context: &Context, args: &Rollout) -> Result<(), Failure> {
    match &args.verb {
        Verb::Start(args) => start(context, args).await,
        Verb::Ls(_) => ls(context).await,
        Verb::Show(args) => show(context, args).await,
        Verb::Pause(args) => {
            let fleet = context.fleet().await?;
            let changed = fleet
                .pause_rollout(args.rollout, ACTOR, &args.why, now())
                .await?;
            tell(context, &fleet.db, changed).await
        }
        Verb::Resume(args) => {
            let fleet = context.fleet().await?;
            let changed = fleet.resume_rollout(args.rollout, ACTOR, now()).await?;
            tell(context, &fleet.db, changed).await
        }
        Verb::Install(args) => {
            let fleet = context.fleet().await?;
            let changed = fleet
                .install_rollout(args.rollout, ACTOR, now())
                .await
                .map_err(|error| match error {
                    FleetError::NothingWaits(_) => question(error)
                        .hint("`tinyops rollout start --install later` makes devices wait for it"),
                    error => error.into(),
                })?;
            tell(context, &fleet.db, changed).await
        }
        Verb::Back(args) => back(context, args).await,
        Verb::Revert(args) => {
            let fleet = context.fleet().await?;
            let plan = format!("rollout {} is taken back on every device", args.rollout);
            context.terminal.confirm(plan, args.yes)?;
            let changed = fleet
                .revert_rollout(args.rollout, ACTOR, &args.why, now())
                .await?;
            tell(context, &fleet.db, changed).await
        }
    }
}

fn reward(text: &str) -> Result<Reward, String> {
    match text {
        "accuracy" => Ok(Reward::Accuracy),
        "confidence" => Ok(Reward::Confidence),
        _ => Err("it is accuracy or confidence".to_owned()),
    }
}

fn install(text: &str) -> Result<Install, String> {
    let known = [Install::AtOnce, Install::Window, Install::Later];
    let found = known.into_iter().find(|install| install.word() == text);
    found.ok_or_else(|| "it is at-once, window or later".to_owned())
}

fn metric(text: &str) -> Result<Metric, String> {
    let known = tinyops_fleet::plan::METRICS.map(|(metric, _)| metric);
    let found = known.into_iter().find(|metric| metric.word() == text);
    found.ok_or_else(|| format!("the metrics are {}", known.map(Metric::word).join(", ")))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("a share is a number above 0, 1 at most".to_owned()),
    }
}

impl Start {
    fn plan(&self, fleet: &Plan) -> Result<Plan, FleetError> {
        let (reward, within_ms) = (self.reward, i64::from(self.days) * 24 * 3_600_000);
        let mut plan = fleet.clone();
        if let Some(share) = self.canary {
            plan.strategy = Strategy::Canary { share };
        } else if !self.waves.is_empty() {
            let waves = self.waves.clone();
            plan.strategy = Strategy::Staged { waves };
        } else if let Some(share) = self.ab {
            plan.strategy = Strategy::Ab {
                share,
                reward,
                within_ms,
            };
        } else if let Some(floor) = self.bandit {
            plan.strategy = Strategy::Bandit {
                floor,
                reward,
                within_ms,
            };
        }
        if let Some(windows) = self.shadow {
            let before = plan.shadow.take().unwrap_or_default();
            let days = self
                .shadow_days
                .map(|days| i64::from(days) * 24 * 3_600_000);
            plan.shadow = Some(Shadow {
                windows,
                share: self.shadow_share.unwrap_or(before.share),
                within_ms: days.unwrap_or(before.within_ms),
                ..before
            });
        }
        if !self.window.is_empty() {
            plan.windows = Windows::parse(&self.window, self.utc_offset.as_deref())?;
        }
        plan.install = self.install.unwrap_or(plan.install);
        plan.in_flight_max = self.in_flight.unwrap_or(plan.in_flight_max);
        plan.alpha = self.alpha.unwrap_or(plan.alpha);
        plan.halt_on.retain(|metric| !self.ignore.contains(metric));
        plan.check()?;
        Ok(plan)
    }
}

async fn tell(context: &Context, db: &Db, rollout: rollout::Rollout) -> Result<(), Failure> {
    let view = View::of(db, rollout).await?;
    context.terminal.answer(&view, || view.text());
    Ok(())
}

async fn start(context: &Context, args: &Start) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let model = args.model.resolve(&fleet.db).await?;
    let plan = args.plan(&fleet.policy.rollout).map_err(question)?;
    Selector::parse(&args.selector).map_err(|error| question(error.into()))?;
    let keys = open_keys(&context.keys())?;
    let capsules = release(&fleet, &keys, &model.name, model.version, now()).await?;
    for capsule in &capsules {
        context.terminal.note(format_args!(
            "{} for {}: model id {}, {} bytes",
            title(&model),
            capsule.board,
            capsule.id,
            capsule.bytes
        ));
    }
    let wish = Wish {
        model: &model.name,
        version: model.version,
        selector: &args.selector,
        priority: args.priority,
        plan: Some(plan),
    };
    let started = fleet.start_rollout(&wish, ACTOR, now()).await;
    let (rollout, _) = started.map_err(|error| match error {
        FleetError::NoCapsule { .. } => Failure::of(Exit::Question, &error).hint(
            "`tinyops devices ls` shows boards and cohorts, `tinyops devices add` registers one; \
             `[boards] targets` says what a version is compiled for",
        ),
        FleetError::Underway(_) => Failure::of(Exit::Question, &error).hint(
            "`tinyops rollout revert` ends that one, and a higher `--priority` takes its devices over",
        ),
        error => error.into(),
    })?;
    context
        .terminal
        .note("`tinyops serve` carries it out, now or when it runs next");
    tell(context, &fleet.db, rollout).await
}

fn question(error: FleetError) -> Failure {
    Failure::of(Exit::Question, &error)
}

async fn back(context: &Context, args: &Back) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let plan = format!(
        "every device goes back from the newest version of {}",
        args.model
    );
    context.terminal.confirm(plan, args.yes)?;
    let taken_back = fleet
        .take_back(&args.model, ACTOR, &args.why, now())
        .await
        .map_err(|error| match error {
            FleetError::NothingToTakeBack(_) => {
                question(error).hint("`tinyops rollout ls` lists the rollouts")
            }
            error => error.into(),
        })?;
    let mut views = Vec::new();
    for rollout in taken_back {
        views.push(View::of(&fleet.db, rollout).await?);
    }
    context
        .terminal
        .note("`tinyops serve` tells the devices, now or when it runs next");
    let text = || views.iter().map(View::text).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "rollouts": views }), text);
    Ok(())
}

/// The rollouts that are listed.
const LISTED: u32 = 100;

async fn ls(context: &Context) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let mut views = Vec::new();
    let mut table = Table::new(["rollout", "model", "state", "begun (UTC)", "devices"]);
    for rollout in rollout::list(&db, LISTED).await? {
        let created_at = rollout.created_at;
        let view = View::of(&db, rollout).await?;
        table.row([
            view.rollout.to_string(),
            format!("{}@{}", view.model, view.version),
            view.state.to_owned(),
            moment(created_at),
            view.counts(),
        ]);
        views.push(view);
    }
    context
        .terminal
        .answer(&serde_json::json!({ "rollouts": views }), || table.text());
    Ok(())
}

/// What a device said when it did not install.
fn said(detail: &Json) -> String {
    let number = detail["number"].as_u64().unwrap_or(0);
    let reason = detail["reason"].as_str();
    reason.map_or_else(String::new, |reason| refusal::told(reason, number))
}

async fn show(context: &Context, args: &Show) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let rollout = rollout::get(&db, args.rollout).await?.ok_or_else(|| {
        Failure::question(format!("rollout {} does not exist", args.rollout))
            .hint("`tinyops rollout ls` lists those that do")
    })?;
    let mut table = Table::new(["device", "delivery", "target", "changed (UTC)", "said"]);
    let mut members = Vec::new();
    for member in rollout::members(&db, args.rollout).await? {
        let target = member.target.map(|target| target.to_string());
        table.row([
            member.device.to_string(),
            member.delivery.to_string(),
            target.clone().unwrap_or_else(|| "–".to_owned()),
            moment(member.changed_at),
            said(&member.detail),
        ]);
        members.push(serde_json::json!({
            "device": member.device.to_string(),
            "delivery": member.delivery.word(),
            "target": target,
            "changed_at_ms": member.changed_at.0,
            "detail": member.detail,
        }));
    }
    let view = View::of(&db, rollout).await?;
    let whole = serde_json::json!({ "rollout": view, "members": members });
    context.terminal.answer(&whole, || {
        let mut out = view.text();
        for finding in view.findings.as_array().into_iter().flatten() {
            out += &format!(
                "  {}: {}\n",
                finding["metric"].as_str().unwrap_or_default(),
                finding["sentence"].as_str().unwrap_or_default()
            );
        }
        out + &table.text()
    });
    Ok(())
}
