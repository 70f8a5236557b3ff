use tinyops_server::RepairView;
use tinyops_store::{Timestamp, repair};

use crate::{
    context::{ACTOR, Context, moment, now},
    failure::Failure,
    table::Table,
};

/// List what is done about drifts, rung by rung, and end one
///
/// A running server begins a repair when alerts call for one: features moved back on the devices, heads of their own, a
/// round of sums, windows for an annotator and a full training, each where the project allows it (`[repair]`) and the one
/// before was not enough.
#[derive(Debug, clap::Args)]
pub(crate) struct Repairs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Show(Show),
    End(End),
}

/// List the repairs, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops repairs ls")]
struct Ls {
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// Show every step of a repair
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops repairs show 4")]
struct Show {
    /// Its number
    repair: i64,
}

/// End a repair: no further rung is tried; what it has sent out stays as it is
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops repairs end 4 --why 'the fans are being replaced'")]
struct End {
    /// Its number
    repair: i64,
    /// Why, for the records
    #[arg(long)]
    why: String,
}

pub(crate) async fn run(context: &Context, args: &Repairs) -> Result<(), Failure> {
    match &args.verb {
        Verb::Ls(args) => ls(context, args).await,
        Verb::Show(args) => show(context, args).await,
        Verb::End(args) => end(context, args).await,
    }
}

async fn ls(context: &Context, args: &Ls) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let repairs = repair::list(&db, args.limit).await?;
    let views: Vec<RepairView> = repairs.iter().map(RepairView::of).collect();
    let mut table = Table::new([
        "repair",
        "model id",
        "level",
        "it is",
        "doing",
        "bytes",
        "because",
        "began (UTC)",
    ]);
    for view in &views {
        table.row([
            view.repair.to_string(),
            view.model.0.to_string(),
            view.level.map_or("–".to_owned(), |level| level.to_string()),
            view.state.clone(),
            view.doing.clone(),
            view.device_bytes.to_string(),
            view.why.clone(),
            moment(Timestamp(view.opened_at_ms)),
        ]);
    }
    context
        .terminal
        .answer(&serde_json::json!({ "repairs": views }), || {
            if views.is_empty() {
                "  no alert has called for a repair that the project allows\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}

async fn show(context: &Context, args: &Show) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let found = repair::get(&db, repair::RepairId(args.repair)).await?;
    let found = found.ok_or_else(|| {
        Failure::question(format!("repair {} does not exist", args.repair))
            .hint("`tinyops repairs ls` lists them")
    })?;
    let view = RepairView::of(&found);
    context.terminal.answer(&view, || text(&view));
    Ok(())
}

async fn end(context: &Context, args: &End) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let id = repair::RepairId(args.repair);
    let ended = fleet.stop_repair(id, ACTOR, &args.why, now()).await?;
    let view = RepairView::of(&ended);
    context.terminal.answer(&view, || text(&view));
    Ok(())
}

fn text(view: &RepairView) -> String {
    let mut table = Table::new(["at (UTC)", "level", "what"]);
    for step in &view.steps {
        table.row([
            moment(Timestamp(step.at_ms)),
            step.level.map_or("–".to_owned(), |level| level.to_string()),
            step.what.clone(),
        ]);
    }
    // Of a record that cannot be read there is nothing but why; one that can may only have no step yet.
    if !view.is_read() {
        return format!(
            "repair {} of {} ({}) is {}: {}\n",
            view.repair, view.name, view.model.0, view.state, view.doing
        );
    }
    let target = view
        .target
        .map_or("–".to_owned(), |share| format!("{share:.4}"));
    format!(
        "repair {} of {} ({}) is {}; {target} asked, {} bytes a device\n\n{}",
        view.repair,
        view.name,
        view.model.0,
        view.state,
        view.device_bytes,
        table.text()
    )
}
