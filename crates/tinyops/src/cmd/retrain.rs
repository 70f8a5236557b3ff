use tinyops_server::{RunWish, TriggerView, WishError, ask_for_run};
use tinyops_store::{
    run,
    trigger::{self, Trigger},
};

use crate::{
    context::{ACTOR, Context, moment, store_failure},
    failure::{Exit, Failure},
    table::Table,
};

/// Ask the server for a run of the pipeline, and see what was asked for and what came of it
#[derive(Debug, clap::Args)]
pub(crate) struct Retrain {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ask(Ask),
    Ls(Ls),
}

/// Ask for a run: the running server does it when its turn comes
///
/// What passes every gate is registered, and goes out to devices only if `[retrain] rollout` of the project says so. To run
/// the pipeline here and now, `tinyops run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops retrain ask --why 'the recordings of the new pump are in'"
)]
struct Ask {
    /// Why, for the records
    #[arg(long, default_value = "")]
    why: String,
    /// Names the wish: asking again under it asks for nothing new
    #[arg(long)]
    key: Option<String>,
}

/// List what was asked of the pipeline, newest first: why, by whom, and what came of it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops retrain ls")]
struct Ls {
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

pub(crate) async fn run(context: &Context, args: &Retrain) -> Result<(), Failure> {
    match &args.verb {
        Verb::Ask(args) => ask(context, args).await,
        Verb::Ls(args) => ls(context, args).await,
    }
}

async fn ask(context: &Context, args: &Ask) -> Result<(), Failure> {
    let workshop = context.workshop().await?;
    let wish = RunWish {
        actor: ACTOR,
        reason: &args.why,
        key: args.key.as_deref(),
    };
    let asked = ask_for_run(&workshop, wish)
        .await
        .map_err(|error| match &error {
            WishError::Store(error) => store_failure(error),
            WishError::NoData | WishError::Sources(_) => Failure::of(Exit::Question, &error)
                .hint("put recordings where the `[[data.source]]` of tinyops.toml looks"),
            _ => Failure::of(Exit::Question, &error),
        })?;
    let text = format!(
        "trigger {} is {}; `tinyops serve` on this store does the run, `tinyops retrain ls` says how it goes\n",
        asked.id, asked.state
    );
    context.terminal.answer(&TriggerView::from(asked), || text);
    Ok(())
}

async fn ls(context: &Context, args: &Ls) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let triggers = trigger::list(&db, args.limit).await?;
    let mut table = Table::new([
        "trigger",
        "pipeline",
        "because of",
        "state",
        "since (UTC)",
        "run",
        "outcome",
    ]);
    for trigger in &triggers {
        let outcome = match trigger.run {
            Some(id) => run::get(&db, id).await?.map(|run| outcome(&run)),
            None => None,
        };
        let view = TriggerView::from(trigger.clone());
        table.row([
            trigger.id.to_string(),
            trigger.kind.clone(),
            match view.why.as_str() {
                "" => view.cause,
                why => format!("{}: {why}", view.cause),
            },
            trigger.state.to_string(),
            moment(trigger.created_at),
            trigger.run.map_or_else(String::new, |run| run.to_string()),
            said(trigger).or(outcome).unwrap_or_default(),
        ]);
    }
    let views: Vec<TriggerView> = triggers.into_iter().map(TriggerView::from).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "triggers": views }), || {
            if views.is_empty() {
                "  nothing was ever asked of the pipeline\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}

/// Why it led to nothing so far.
fn said(trigger: &Trigger) -> Option<String> {
    let why = trigger.detail["failed"].as_str()?;
    Some(match trigger.state {
        trigger::TriggerState::Waiting => {
            format!("{why}; again at {} UTC", moment(trigger.not_before))
        }
        _ => why.to_owned(),
    })
}

/// How many of the gates that were asked a run has passed.
fn outcome(run: &run::Run) -> String {
    let gates = run.detail["gates"].as_array().into_iter().flatten();
    let asked: Vec<bool> = gates.filter_map(|gate| gate["passed"].as_bool()).collect();
    let passed = asked.iter().filter(|passed| **passed).count();
    format!("{}, {passed} of {} gates passed", run.state, asked.len())
}
