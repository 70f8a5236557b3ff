mod webhook;

use tinyops_server::AlertView;
use tinyops_store::alert::{self, Alert, AlertId};

use crate::{
    context::{ACTOR, Context, moment, now},
    failure::Failure,
    table::Table,
};

/// List the drifts and faults that someone should see, say what is done about them, and whom else to tell
#[derive(Debug, clap::Args)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Ack(Ack),
    Mute(Mute),
    Resolve(Resolve),
    Webhook(webhook::Webhook),
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

/// Leave an alert alone for a while: it opens no round, asks for no training, and no webhook tells of it
///
/// It counts again by itself when the time is over.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops alerts mute 4 --hours 24 --reason 'maintenance until Friday'"
)]
struct Mute {
    /// Its number
    alert: AlertId,
    /// For how long
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=8760))]
    hours: u32,
    /// Why, for the records
    #[arg(long, default_value = "")]
    reason: String,
}

/// Say that an alert is over, and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops alerts resolve 4 --reason 'bearing replaced'")]
struct Resolve {
    /// Its number
    alert: AlertId,
    /// What was done, or found out
    #[arg(long)]
    reason: String,
}

/// Alerts listed with `--all`.
const LISTED: u32 = 1000;

pub(crate) async fn run(context: &Context, args: &Alerts) -> Result<(), Failure> {
    match &args.verb {
        Verb::Ls(args) => ls(context, args).await,
        Verb::Ack(args) => {
            let fleet = context.fleet().await?;
            let alert = fleet.acknowledge(args.alert, ACTOR, now()).await?;
            tell(context, alert);
            Ok(())
        }
        Verb::Mute(args) => {
            let fleet = context.fleet().await?;
            let until = now().plus_ms(i64::from(args.hours) * 3_600_000);
            let (id, reason) = (args.alert, &args.reason);
            let alert = fleet.mute(id, until, reason, ACTOR, now()).await?;
            tell(context, alert);
            Ok(())
        }
        Verb::Resolve(args) => {
            let fleet = context.fleet().await?;
            let (id, reason) = (args.alert, &args.reason);
            let alert = fleet.resolve(id, reason, ACTOR, now()).await?;
            tell(context, alert);
            Ok(())
        }
        Verb::Webhook(args) => webhook::run(context, args).await,
    }
}

fn tell(context: &Context, alert: Alert) {
    let state = state_of(&alert);
    let view = AlertView::from(alert);
    context
        .terminal
        .answer(&view, || format!("alert {} is {state}\n", view.alert));
}

/// The state of an alert in words.
fn state_of(alert: &Alert) -> String {
    match alert.muted_until {
        Some(until) if alert.is_muted(now()) => format!("muted until {}", moment(until)),
        _ => alert.state.to_string(),
    }
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
        "kind",
        "advice",
        "state",
        "opened (UTC)",
    ]);
    for alert in &alerts {
        table.row([
            alert.id.to_string(),
            alert.scope.key(),
            alert.model.to_string(),
            alert.kind.to_string(),
            alert.advice.clone(),
            state_of(alert),
            moment(alert.opened_at),
        ]);
    }
    let views: Vec<AlertView> = alerts.into_iter().map(AlertView::from).collect();
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
