//! `tinyops alerts webhook`: who is told of alerts over HTTP.

use std::path::PathBuf;

use tinyops_fleet::{
    enrol::Entropy,
    webhook::{Proof, receivers},
};
use tinyops_server::{AddedWebhook, DeliveryView, WebhookView, trusting};
use tinyops_store::webhook;

use crate::{
    context::{ACTOR, Context, moment, now},
    endpoint::{no_authority, read_token},
    failure::Failure,
    table::Table,
};

/// Add, list, test and remove the receivers that a running server tells of alerts; see what they were sent
#[derive(Debug, clap::Args)]
pub(super) struct Webhook {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Add(Add),
    Ls(Ls),
    Test(Test),
    Remove(Remove),
    Log(Log),
}

/// Tell a receiver of alerts from now on, or of lineage; the secret that signs what it gets is shown this once
///
/// docs/guide/alerts.md says what is sent and how a receiver checks it, docs/guide/registry.md what lineage is.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops alerts webhook add pager https://pager.example/hooks/tinyops"
)]
struct Add {
    /// What it is called
    name: String,
    /// Where it listens: `http://` or `https://`
    url: String,
    /// A PEM file of whoever signs its certificate [default: whom this machine trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Tell it what runs read and made, as events of OpenLineage, instead of alerts
    #[arg(long)]
    lineage: bool,
    /// The token in this file is what a receiver of lineage asks for
    #[arg(long, value_name = "FILE", requires = "lineage")]
    token_file: Option<PathBuf>,
}

/// List the receivers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops alerts webhook ls")]
struct Ls {}

/// Have the server send a receiver an event that tells of nothing
///
/// `tinyops alerts webhook log` says what came of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops alerts webhook test pager")]
struct Test {
    /// Its name
    name: String,
}

/// Tell a receiver of nothing any more, nor of what it is still owed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops alerts webhook remove pager --yes")]
struct Remove {
    /// Its name
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// List what receivers were sent or are owed, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops alerts webhook log --limit 20")]
struct Log {
    /// Rows at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

pub(super) async fn run(context: &Context, args: &Webhook) -> Result<(), Failure> {
    match &args.verb {
        Verb::Add(args) => add(context, args).await,
        Verb::Ls(_) => ls(context).await,
        Verb::Test(args) => {
            let fleet = context.fleet().await?;
            let delivery = fleet.test_webhook(&args.name, ACTOR, now()).await?;
            let view = DeliveryView::from(delivery);
            context.terminal.answer(&view, || {
                format!(
                    "delivery {} waits for the server; `tinyops alerts webhook log` says what comes of it\n",
                    view.delivery
                )
            });
            Ok(())
        }
        Verb::Remove(args) => {
            let fleet = context.fleet().await?;
            let plan = format!("webhook {} is told of nothing any more", args.name);
            context.terminal.confirm(&plan, args.yes)?;
            fleet.remove_webhook(&args.name, ACTOR, now()).await?;
            let view = serde_json::json!({ "name": args.name, "state": "removed" });
            context.terminal.answer(&view, || format!("{plan}\n"));
            Ok(())
        }
        Verb::Log(args) => log(context, args).await,
    }
}

async fn add(context: &Context, args: &Add) -> Result<(), Failure> {
    let authorities = match &args.ca {
        None => String::new(),
        Some(file) => authorities(file)?,
    };
    let fleet = context.fleet().await?;
    let proof = match args.lineage {
        false => Proof::Signature(Entropy::from_system()),
        true => Proof::Token(args.token_file.as_deref().map(read_token).transpose()?),
    };
    let (name, url) = (&args.name, &args.url);
    let hook = fleet
        .add_webhook(name, url, &authorities, proof, ACTOR, now())
        .await?;
    let view = AddedWebhook::from(hook);
    context.terminal.answer(&view, || match args.lineage {
        false => format!("{}\n", view.secret),
        true => format!("{} is told of every run from now on\n", args.name),
    });
    Ok(())
}

/// The text of a PEM file that holds certificates.
fn authorities(file: &std::path::Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::question(format!("cannot read `{}`", file.display())).cause(&error)
    })?;
    trusting(text.as_bytes()).map_err(|problem| no_authority(file, problem))?;
    Ok(text)
}

async fn ls(context: &Context) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let hooks = receivers(&db).await?;
    let mut table = Table::new(["name", "told of", "URL", "added (UTC)", "by"]);
    for hook in &hooks {
        table.row([
            hook.name.clone(),
            hook.kind.to_string(),
            hook.url.clone(),
            moment(hook.created_at),
            hook.created_by.clone(),
        ]);
    }
    let views: Vec<WebhookView> = hooks.into_iter().map(WebhookView::from).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "webhooks": views }), || {
            if views.is_empty() {
                "  nobody is told of alerts; `tinyops alerts webhook add` changes that\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}

async fn log(context: &Context, args: &Log) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let deliveries = webhook::deliveries(&db, args.limit).await?;
    let header = [
        "delivery",
        "webhook",
        "event",
        "state",
        "attempts",
        "answer",
        "since (UTC)",
    ];
    let mut table = Table::new(header);
    for delivery in &deliveries {
        table.row([
            delivery.id.to_string(),
            delivery.webhook.clone(),
            delivery.event.clone(),
            delivery.state.to_string(),
            delivery.attempt_count.to_string(),
            delivery.answer.clone(),
            moment(delivery.created_at),
        ]);
    }
    let views: Vec<DeliveryView> = deliveries.into_iter().map(DeliveryView::from).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "deliveries": views }), || {
            if views.is_empty() {
                "  nothing was sent, and nothing waits\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}
