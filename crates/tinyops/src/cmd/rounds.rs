use tinyops_fleet::{Fleet, FleetError};
use tinyops_server::RoundView;
use tinyops_store::{ModelId, round};

use crate::{
    cmd::serve::policy,
    context::{ACTOR, Context, moment, now, short},
    failure::{Exit, Failure},
    table::Table,
};

/// List the rounds in which devices tell sums of what they have learned, and ask for one
#[derive(Debug, clap::Args)]
pub(crate) struct Rounds {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Open(Open),
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

pub(crate) async fn run(context: &Context, args: &Rounds) -> Result<(), Failure> {
    match &args.verb {
        Verb::Ls(args) => ls(context, args).await,
        Verb::Open(args) => open(context, args).await,
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
            format!("{} of {}", round.device_count, round.device_count_min),
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

async fn open(context: &Context, args: &Open) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    // A store without its project at hand is judged by the server, at its next turn.
    let policy = context.project_if_any()?.map(|project| policy(&project));
    let fleet = Fleet::new(db, artifacts, policy.unwrap_or_default());
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
