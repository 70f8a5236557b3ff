use serde::Serialize;
use tinyops_store::{
    Json,
    alert::{self, Alert, AlertId},
};

use crate::{
    context::{Context, moment, now},
    failure::Failure,
    table::Table,
};

/// List the drifts and faults that someone should see, and say that they are seen
#[derive(Debug, clap::Args)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Ack(Ack),
    Resolve(Resolve),
}

/// List the alerts that stand, newest first
///
/// Exits with 1 under `--check` if any stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops alerts ls --check")]
struct Ls {
    /// Also those that are over
    #[arg(long)]
    all: bool,
    /// Exit with 1 if any stands, for scripts
    #[arg(long)]
    check: bool,
}

/// Say that someone knows of an alert
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops alerts ack 4")]
struct Ack {
    /// Its number
    alert: AlertId,
}

/// Say that an alert is over
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops alerts resolve 4")]
struct Resolve {
    /// Its number
    alert: AlertId,
}

/// One alert.
#[derive(Serialize)]
struct View {
    alert: i64,
    /// A device's 16 digits, or `cohort:NAME@MODEL-ID`.
    scope: String,
    /// The model id that was running.
    model: String,
    advice: String,
    state: &'static str,
    actor: String,
    detail: Json,
    opened_at_ms: i64,
    changed_at_ms: i64,
}

impl View {
    fn of(alert: Alert) -> Self {
        Self {
            alert: alert.id.0,
            scope: alert.scope.key(),
            model: alert.model.to_string(),
            advice: alert.advice,
            state: alert.state.word(),
            actor: alert.actor,
            detail: alert.detail,
            opened_at_ms: alert.opened_at.0,
            changed_at_ms: alert.changed_at.0,
        }
    }
}

/// Alerts listed with `--all`.
const LISTED: u32 = 1000;

pub(crate) async fn run(context: &Context, args: &Alerts) -> Result<(), Failure> {
    match &args.verb {
        Verb::Ls(args) => ls(context, args).await,
        Verb::Ack(args) => {
            let fleet = context.fleet().await?;
            let alert = fleet.acknowledge(args.alert, "command line", now()).await?;
            tell(context, alert);
            Ok(())
        }
        Verb::Resolve(args) => {
            let fleet = context.fleet().await?;
            let alert = fleet.resolve(args.alert, "command line", now()).await?;
            tell(context, alert);
            Ok(())
        }
    }
}

fn tell(context: &Context, alert: Alert) {
    let view = View::of(alert);
    context.terminal.answer(&view, || {
        format!("alert {} is {}\n", view.alert, view.state)
    });
}

async fn ls(context: &Context, args: &Ls) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let standing = alert::standing(&db).await?;
    let count = standing.len();
    let alerts = if args.all {
        alert::list(&db, LISTED).await?
    } else {
        standing
    };
    let mut table = Table::new([
        "alert",
        "about",
        "model id",
        "advice",
        "state",
        "opened (UTC)",
    ]);
    for alert in &alerts {
        table.row([
            alert.id.to_string(),
            alert.scope.key(),
            alert.model.to_string(),
            alert.advice.clone(),
            alert.state.to_string(),
            moment(alert.opened_at),
        ]);
    }
    let views: Vec<View> = alerts.into_iter().map(View::of).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "alerts": views }), || {
            if views.is_empty() {
                "  no alert stands\n".to_owned()
            } else {
                table.text()
            }
        });
    if args.check && count > 0 {
        return Err(Failure::no(format!("{count} alerts stand"))
            .hint("`tinyops alerts ack` says that someone knows"));
    }
    Ok(())
}
