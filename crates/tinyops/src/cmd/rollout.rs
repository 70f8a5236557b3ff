use serde::Serialize;
use tinyops_fleet::{FleetError, canary::Plan, rollout::Wish};
use tinyops_server::release;
use tinyops_store::{
    Db, Json,
    rollout::{self, RolloutId},
};

use crate::{
    cmd::serve::open_keys,
    context::{Context, moment, now},
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
    Start(Start),
    Ls(Ls),
    Show(Show),
    Pause(Change),
    Resume(Resume),
    Revert(Revert),
}

/// Sign a version for every board it was compiled for, and offer it to the first devices
///
/// The release key is `.tinyops/release.key` in the project, or elsewhere (`tinyops release`).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rollout start fan@3 --canary 0.1")]
struct Start {
    /// Model and version, such as `fan@3`
    model: ModelRef,
    /// Devices of this cohort only
    #[arg(long)]
    cohort: Option<String>,
    /// Share of the devices that try it first; 1 is all at once
    #[arg(long, value_name = "SHARE", value_parser = share)]
    canary: Option<f64>,
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

/// One rollout, as every command of this verb shows it.
#[derive(Serialize)]
struct View {
    rollout: i64,
    model: String,
    version: u32,
    previous: Option<u32>,
    cohort: Option<String>,
    state: &'static str,
    reason: Json,
    created_at_ms: i64,
    changed_at_ms: i64,
    /// How many devices stand where.
    deliveries: serde_json::Map<String, Json>,
}

impl View {
    async fn of(db: &Db, rollout: rollout::Rollout) -> Result<Self, Failure> {
        let tally = rollout::tally(db, rollout.id).await?;
        Ok(Self {
            rollout: rollout.id.0,
            model: rollout.model,
            version: rollout.version,
            previous: rollout.previous,
            cohort: rollout.cohort,
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
        format!(
            "rollout {} of {}@{}: {}; {}\n",
            self.rollout,
            self.model,
            self.version,
            self.state,
            self.counts()
        )
    }
}

pub(crate) async fn run(context: &Context, args: &Rollout) -> Result<(), Failure> {
    match &args.verb {
        Verb::Start(args) => start(context, args).await,
        Verb::Ls(_) => ls(context).await,
        Verb::Show(args) => show(context, args).await,
        Verb::Pause(args) => {
            let fleet = context.fleet().await?;
            let changed = fleet
                .pause_rollout(args.rollout, "command line", &args.why, now())
                .await?;
            tell(context, &fleet.db, changed).await
        }
        Verb::Resume(args) => {
            let fleet = context.fleet().await?;
            let changed = fleet
                .resume_rollout(args.rollout, "command line", now())
                .await?;
            tell(context, &fleet.db, changed).await
        }
        Verb::Revert(args) => {
            let fleet = context.fleet().await?;
            let plan = format!("rollout {} is taken back on every device", args.rollout);
            context.terminal.confirm(plan, args.yes)?;
            let changed = fleet
                .revert_rollout(args.rollout, "command line", &args.why, now())
                .await?;
            tell(context, &fleet.db, changed).await
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
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
    let plan = args.canary.map(|canary_share| Plan {
        canary_share,
        ..fleet.policy.rollout.clone()
    });
    let wish = Wish {
        model: &model.name,
        version: model.version,
        cohort: args.cohort.as_deref(),
        plan,
    };
    let started = fleet.start_rollout(&wish, "command line", now()).await;
    let (rollout, _) = started.map_err(|error| match error {
        FleetError::NoCapsule { .. } => Failure::of(Exit::Question, &error).hint(
            "`tinyops devices ls` shows boards and cohorts, `tinyops devices add` registers one; \
             `[boards] targets` says what a version is compiled for",
        ),
        error => error.into(),
    })?;
    context
        .terminal
        .note("`tinyops serve` carries it out, now or when it runs next");
    tell(context, &fleet.db, rollout).await
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

async fn show(context: &Context, args: &Show) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let rollout = rollout::get(&db, args.rollout).await?.ok_or_else(|| {
        Failure::question(format!("rollout {} does not exist", args.rollout))
            .hint("`tinyops rollout ls` lists those that do")
    })?;
    let mut table = Table::new(["device", "delivery", "target", "changed (UTC)"]);
    let mut members = Vec::new();
    for member in rollout::members(&db, args.rollout).await? {
        let target = member.target.map(|target| target.to_string());
        table.row([
            member.device.to_string(),
            member.delivery.to_string(),
            target.clone().unwrap_or_else(|| "–".to_owned()),
            moment(member.changed_at),
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
        if view
            .reason
            .as_object()
            .is_some_and(|reason| !reason.is_empty())
        {
            out += &format!("  because {}\n", view.reason);
        }
        out + &table.text()
    });
    Ok(())
}
