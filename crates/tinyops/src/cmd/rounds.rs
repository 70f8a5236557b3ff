use tinyops_fleet::{Fleet, FleetError};
use tinyops_server::{RoundView, TriggerView, WithdrawnView};
use tinyops_store::round::{self, Round, RoundId};
use tinyops_store::{DeviceId, ModelId};

use crate::{
    cmd::serve::policy,
    context::{ACTOR, Context, moment, now, short},
    failure::{Exit, Failure},
    table::Table,
};

/// List the rounds in which devices tell sums of what they have learned, ask for one, and leave one
#[derive(Debug, clap::Args)]
pub(crate) struct Rounds {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Open(Open),
    Solve(Solve),
    Withdraw(Withdraw),
    Admit(Admit),
}

/// List the rounds, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rounds ls")]
struct Ls {
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// Ask the devices that run a model for their sums
///
/// They begin their sums anew, so that these are of the world as it is now, and are asked for them when labels have
/// had time to come. The running server does the rest; an alert that calls for statistics asks by itself.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops rounds open 11111111 --cohort hall-2 --why 'labels of the inspection are in'"
)]
struct Open {
    /// The model id, as reports carry it: 8 hex digits, printed by `tinyops monitor` and `tinyops alerts ls`
    model: ModelId,
    /// Only devices of this cohort
    #[arg(long)]
    cohort: Option<String>,
    /// Why, for the records
    #[arg(long, default_value = "")]
    why: String,
}

/// Ask for a head from the sum of a closed round as it is now
///
/// With the devices that have joined it late, and without those that have withdrawn. The running server answers it with a
/// run, whose gates are those of any.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rounds solve 3 --why 'twelve devices were late'")]
struct Solve {
    /// The round, as `tinyops rounds ls` numbers it
    round: i64,
    /// Why, for the records
    #[arg(long, default_value = "")]
    why: String,
}

/// Take a device's sums out of the rounds that keep them, and ask it for none any more
///
/// Each sum is made anew as if the device had never answered, and the one that it was in is deleted. If devices run a head
/// that was solved from it, a new one is asked for.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops rounds withdraw 0000000000000017 --why 'the owner asks for it'"
)]
struct Withdraw {
    /// The device
    device: DeviceId,
    /// Why, for the records
    #[arg(long, default_value = "")]
    why: String,
}

/// Let a device that has withdrawn take part in rounds again, from the next one on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops rounds admit 0000000000000017")]
struct Admit {
    /// The device
    device: DeviceId,
    /// Why, for the records
    #[arg(long, default_value = "")]
    why: String,
}

pub(crate) async fn run(context: &Context, args: &Rounds) -> Result<(), Failure> {
    match &args.verb {
        Verb::Ls(args) => ls(context, args).await,
        Verb::Open(args) => open(context, args).await,
        Verb::Solve(args) => solve(context, args).await,
        Verb::Withdraw(args) => withdraw(context, args).await,
        Verb::Admit(args) => admit(context, args).await,
    }
}

async fn ls(context: &Context, args: &Ls) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let rounds = round::list(&db, args.limit).await?;
    let mut table = Table::new([
        "round",
        "model id",
        "cohort",
        "state",
        "devices",
        "windows",
        "until (UTC)",
        "sum",
    ]);
    for round in &rounds {
        let (windows, least) = (&round.detail["windows"], &round.detail["windows_min"]);
        table.row([
            round.id.to_string(),
            round.model.to_string(),
            round.cohort.clone().unwrap_or_else(|| "all".to_owned()),
            round.state.to_string(),
            devices(round),
            match (windows.as_u64(), least.as_u64()) {
                (Some(windows), _) => windows.to_string(),
                // Under masks nobody counts them.
                (None, Some(least)) => format!("{least} at least"),
                (None, None) => String::new(),
            },
            moment(round.deadline),
            round.statistics.as_ref().map_or_else(String::new, short),
        ]);
    }
    let views: Vec<RoundView> = rounds.into_iter().map(RoundView::from).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "rounds": views }), || {
            if views.is_empty() {
                "  no round was ever opened\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}

/// How many devices are in it, how many of them were late, and how many have left.
fn devices(round: &Round) -> String {
    let mut text = format!("{} of {}", round.device_count, round.device_count_min);
    for (name, word) in [("late", "late"), ("withdrawn", "left")] {
        if let Some(count) = round.detail[name].as_u64() {
            text += &format!(", {count} {word}");
        }
    }
    text
}

async fn solve(context: &Context, args: &Solve) -> Result<(), Failure> {
    let fleet = fleet(context).await?;
    let asked = fleet
        .solve_round(RoundId(args.round), &args.why, ACTOR, now())
        .await;
    let trigger = asked.map_err(|error| match error {
        FleetError::NoRound(_) => {
            Failure::of(Exit::Question, &error).hint("`tinyops rounds ls` lists them")
        }
        FleetError::NoSum(_) => Failure::of(Exit::Question, &error)
            .hint("one that is closed has a sum, if enough devices are left in it"),
        error => error.into(),
    })?;
    let text = format!(
        "trigger {}: a head is to be solved from the sum of round {}; the running server does it\n",
        trigger.id, args.round
    );
    context
        .terminal
        .answer(&TriggerView::from(trigger), || text);
    Ok(())
}

async fn withdraw(context: &Context, args: &Withdraw) -> Result<(), Failure> {
    let fleet = fleet(context).await?;
    let withdrawn = fleet
        .withdraw_sums(args.device, &args.why, ACTOR, now())
        .await?;
    let mut text = format!("device {} takes part in no round any more\n", args.device);
    for round in &withdrawn.left {
        text += &match round.statistics {
            Some(_) => format!(
                "  round {}: summed anew without it, of {} devices\n",
                round.id, round.device_count
            ),
            None => format!(
                "  round {}: {} devices are left, too few for a sum; it is deleted\n",
                round.id, round.device_count
            ),
        };
    }
    for trigger in &withdrawn.triggers {
        text += &format!(
            "  trigger {}: devices run a head that was solved with it, and a new one is asked for\n",
            trigger.id
        );
    }
    if withdrawn.left.is_empty() {
        text += "  no sum that it could be taken out of is kept\n";
    }
    context
        .terminal
        .answer(&WithdrawnView::from(withdrawn), || text);
    Ok(())
}

async fn admit(context: &Context, args: &Admit) -> Result<(), Failure> {
    let fleet = fleet(context).await?;
    fleet
        .admit_sums(args.device, &args.why, ACTOR, now())
        .await
        .map_err(|error| match error {
            FleetError::NotWithdrawn(_) => Failure::of(Exit::Question, &error),
            error => error.into(),
        })?;
    let view = serde_json::json!({ "device": args.device.to_string() });
    context.terminal.answer(&view, || {
        format!("device {} takes part from the next round on\n", args.device)
    });
    Ok(())
}

/// The fleet of the store, judged as the project says, if it is at hand.
async fn fleet(context: &Context) -> Result<Fleet, Failure> {
    let (db, artifacts) = context.existing_store().await?;
    // A store without its project at hand is judged by the server, at its next turn.
    let policy = context.project_if_any()?.map(|project| policy(&project));
    Ok(Fleet::new(db, artifacts, policy.unwrap_or_default()))
}

async fn open(context: &Context, args: &Open) -> Result<(), Failure> {
    let fleet = fleet(context).await?;
    let cohort = args.cohort.as_deref();
    let round = fleet
        .open_round(args.model, cohort, ACTOR, &args.why, now())
        .await
        .map_err(|error| match error {
            FleetError::NoModel(_) => Failure::of(Exit::Question, &error)
                .hint("`tinyops monitor` says which ones devices run"),
            FleetError::NoStatistics => Failure::of(Exit::Question, &error),
            error => error.into(),
        })?;
    let text = format!(
        "round {} is {}: devices are asked for their sums at {} UTC, and until {} UTC\n",
        round.id,
        round.state,
        moment(round.gather_at),
        moment(round.deadline)
    );
    context.terminal.answer(&RoundView::from(round), || text);
    Ok(())
}
