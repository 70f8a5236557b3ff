mod approve;
mod bom;
mod card;
mod export;
mod facts;
mod lineage;
mod log;
mod sign;
mod slices;

use serde::Serialize;
use tinyops_pipeline::promotion::{self, Way};
use tinyops_pipeline::tracking::family::{Member, family};
use tinyops_server::StandingView;
use tinyops_store::{
    Json, Tx, audit,
    model::{self, Model, Stage},
    presence,
};

use crate::{
    context::{ACTOR, Context, moment, now, short},
    failure::Failure,
    model_ref::{ModelRef, title},
    table::Table,
};

/// List, judge and trace the models of the registry
#[derive(Debug, clap::Args)]
pub(crate) struct Models {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Show(Show),
    Log(log::Log),
    Approve(approve::Approve),
    Promote(Promote),
    Rollback(Rollback),
    Lineage(lineage::Lineage),
    Card(card::Card),
    Bom(bom::Bom),
    Export(export::Export),
    Sign(sign::Sign),
    Verify(sign::Verify),
}

/// List the registered versions, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models ls")]
struct Ls {}

/// Show one version with its figures and its capsules
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models show fan@3")]
struct Show {
    /// Model and version, such as `fan@3` or `fan@production` [default: the project's]
    model: Option<ModelRef>,
}

/// Make a version the one that devices should run
///
/// Changes the registry only: `tinyops rollout start` brings it to devices. Exits with 1 where a slice of the project
/// falls behind the version in production.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models promote fan@3 --yes")]
struct Promote {
    /// Model and version, such as `fan@3`
    model: ModelRef,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Make the version that was in production before the one in production again
///
/// Changes the registry only: `tinyops rollout revert` takes devices back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models rollback fan --yes")]
struct Rollback {
    /// The model's name
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// One version, as every command of this verb shows it.
#[derive(Serialize)]
struct View {
    name: String,
    version: u32,
    stage: &'static str,
    digest: String,
    run: Option<i64>,
    parent: Option<u32>,
    created_at_ms: i64,
    metrics: Json,
}

impl View {
    fn of(model: Model) -> Self {
        Self {
            name: model.name,
            version: model.version,
            stage: model.stage.word(),
            digest: model.digest.to_string(),
            run: model.run.map(|run| run.0),
            parent: model.parent,
            created_at_ms: model.created_at.0,
            metrics: model.metrics,
        }
    }
}

#[derive(Serialize)]
struct CapsuleView {
    model_id: String,
    board: String,
    sequence: u32,
    bytes: u32,
    digest: String,
    created_at_ms: i64,
    device_count: usize,
}

pub(crate) async fn run(context: &Context, args: &Models) -> Result<(), Failure> {
    match &args.verb {
        Verb::Ls(_) => ls(context).await,
        Verb::Show(args) => show(context, args).await,
        Verb::Log(args) => log::run(context, args).await,
        Verb::Approve(args) => approve::run(context, args).await,
        Verb::Promote(args) => promote(context, args).await,
        Verb::Rollback(args) => rollback(context, args).await,
        Verb::Lineage(args) => lineage::run(context, args).await,
        Verb::Card(args) => card::run(context, args).await,
        Verb::Bom(args) => bom::run(context, args).await,
        Verb::Export(args) => export::run(context, args).await,
        Verb::Sign(args) => sign::run(context, args).await,
        Verb::Verify(args) => sign::check(context, args).await,
    }
}

async fn ls(context: &Context) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let models = model::list(&db).await?;
    let mut table = Table::new(["model", "stage", "int8", "float", "run", "registered (UTC)"]);
    for model in &models {
        let figure = |name: &str| {
            let value = model.metrics[name].as_f64();
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
        };
        let main = main_figure(&model.metrics);
        table.row([
            title(model),
            model.stage.to_string(),
            figure(main),
            figure(&format!("float_{main}")),
            model
                .run
                .map_or_else(|| "–".to_owned(), |run| run.to_string()),
            moment(model.created_at),
        ]);
    }
    let text = if table.is_empty() {
        "  no model is registered; `tinyops run` makes one, if it passes its gates\n".to_owned()
    } else {
        table.text()
    };
    let models: Vec<View> = models.into_iter().map(View::of).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "models": models }), || text);
    Ok(())
}

/// The figure that speaks for a model: accuracy, else AUC, else RMSE.
fn main_figure(metrics: &Json) -> &'static str {
    ["accuracy", "auc", "rmse"]
        .into_iter()
        .find(|name| metrics[*name].is_number())
        .unwrap_or("accuracy")
}

async fn show(context: &Context, args: &Show) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let model = crate::model_ref::chosen(context, &db, args.model.as_ref()).await?;
    let mut capsules = Vec::new();
    let signed = tinyops_store::capsule::of_model(&db, &model.name).await?;
    for capsule in signed {
        if capsule.version != model.version {
            continue;
        }
        let running = presence::running(&db, capsule.id).await?;
        capsules.push(CapsuleView {
            model_id: capsule.id.to_string(),
            board: capsule.board,
            sequence: capsule.sequence,
            bytes: capsule.bytes,
            digest: capsule.digest.to_string(),
            created_at_ms: capsule.created_at.0,
            device_count: running.len(),
        });
    }
    let standing = StandingView::from(promotion::standing(&db, &model).await?);
    let family: Vec<MemberView> = family(&db, &model.digest)
        .await?
        .into_iter()
        .map(MemberView::from)
        .collect();
    let aliases: Vec<String> = model::aliases(&db, &model.name)
        .await?
        .into_iter()
        .filter(|(_, version)| *version == model.version)
        .map(|(alias, _)| alias)
        .collect();
    let evaluation = slices::evaluation(&db, &artifacts, &model).await?;
    let mut text = show_text(&model, &capsules);
    text += &family_text(&family);
    if let Some(evaluation) = &evaluation {
        text += &super::run::slices_text(evaluation, 0);
    }
    text += &standing_text(&standing, &aliases);
    let evaluation = evaluation.unwrap_or_default();
    let view = serde_json::json!({
        "model": View::of(model), "capsules": capsules,
        "slices": evaluation.slices, "fairness": evaluation.fairness,
        "variants": family, "standing": standing, "aliases": aliases,
    });
    context.terminal.answer(&view, || text);
    Ok(())
}

fn show_text(model: &Model, capsules: &[CapsuleView]) -> String {
    let mut out = format!(
        "{} ({})\n  digest      {}\n  registered  {} UTC\n",
        title(model),
        model.stage,
        model.digest,
        moment(model.created_at)
    );
    if let Some(run) = model.run {
        out += &format!("  run         {run}\n");
    }
    if let Some((what, of)) = descent(model) {
        out += &format!("  {what:<11} {of}\n");
    }
    let mut table = Table::new(["figure", "value"]);
    for (name, value) in model.metrics.as_object().into_iter().flatten() {
        if let Some(value) = value.as_f64() {
            let is_count = name.ends_with("_bytes") || name == "windows";
            let digits = if is_count { 0 } else { 4 };
            table.row([name.clone(), format!("{value:.digits$}")]);
        }
    }
    if !table.is_empty() {
        out += &format!("\n{}", table.text());
    }
    let mut table = Table::new(["model id", "board", "bytes", "sequence", "devices"]);
    for capsule in capsules {
        table.row([
            capsule.model_id.clone(),
            capsule.board.clone(),
            capsule.bytes.to_string(),
            capsule.sequence.to_string(),
            capsule.device_count.to_string(),
        ]);
    }
    if table.is_empty() {
        out += "\n  no capsule is signed; `tinyops rollout start` signs and ships\n";
    } else {
        out += &format!("\n{}", table.text());
    }
    out
}

/// A variant of a version.
#[derive(Serialize)]
struct MemberView {
    variant: String,
    board: Option<String>,
    digest: String,
    model_id: String,
    made_from: Option<String>,
    metrics: std::collections::BTreeMap<String, f64>,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            variant: member.variant,
            board: member.board,
            digest: member.digest,
            model_id: member.model_id,
            made_from: member.made_from,
            metrics: member.figures,
        }
    }
}

fn family_text(family: &[MemberView]) -> String {
    if family.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        "variant",
        "digest",
        "accuracy",
        "same class",
        "largest error",
        "arena B",
        "flash B",
        "ms",
        "mJ",
    ]);
    for member in family {
        let figure = |key: &str, digits: usize| {
            let value = member.metrics.get(key);
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        table.row([
            match &member.board {
                Some(board) => format!("{} {board}", member.variant),
                None => member.variant.clone(),
            },
            member.digest.chars().take(12).collect(),
            figure("accuracy", 4),
            figure("parity/agreement", 4),
            figure("parity/max_error", 5),
            figure("arena_bytes", 0),
            figure("flash_bytes", 0),
            figure("latency_ms", 2),
            figure("energy_mj", 3),
        ]);
    }
    format!("\n{}", table.text())
}

fn standing_text(standing: &StandingView, aliases: &[String]) -> String {
    let mut out = String::new();
    if !aliases.is_empty() {
        out += &format!("\n  aliases     {}\n", aliases.join(", "));
    }
    for approval in &standing.approvals {
        out += &format!(
            "  approved    by {} ({}): {}\n",
            approval.actor, approval.role, approval.why
        );
    }
    for reason in &standing.reasons {
        out += &format!("  kept back   {reason}\n");
    }
    out
}

#[derive(Serialize)]
struct Move {
    model: String,
    version: u32,
    stage: &'static str,
}

async fn promote(context: &Context, args: &Promote) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let model = args.model.resolve(&db).await?;
    if model.stage == Stage::Rejected {
        return Err(Failure::no(format!("{} was rejected", title(&model)))
            .hint("a version that failed a gate or was reverted stays out; run again"));
    }
    let reasons = promotion::may_go_out(&db, &model, Way::Production).await?;
    if !reasons.is_empty() {
        let failure = Failure::no(format!("{} may not be promoted", title(&model)));
        let failure = reasons.into_iter().fold(failure, Failure::because);
        return Err(failure
            .hint("`tinyops models approve` says yes, `tinyops run` makes a version that passes"));
    }
    let before = model::in_stage(&db, &model.name, Stage::Production)
        .await?
        .filter(|before| before.version != model.version);
    if let Some(before) = &before {
        slices::check(context, &db, &artifacts, (&model, before)).await?;
    }
    let plan = match &before {
        Some(before) => format!("{} takes the place of {}", title(&model), title(before)),
        None => format!("{} goes into production", title(&model)),
    };
    context.terminal.confirm(&plan, args.yes)?;
    let mut moves = vec![(model, Stage::Production)];
    moves.extend(before.map(|before| (before, Stage::Archived)));
    let moves = apply(context, &db, "model.promote", moves).await?;
    context
        .terminal
        .answer(&serde_json::json!({ "moves": moves }), || {
            format!("{plan}\n")
        });
    Ok(())
}

async fn rollback(context: &Context, args: &Rollback) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let current = model::in_stage(&db, &args.name, Stage::Production)
        .await?
        .ok_or_else(|| {
            Failure::question(format!("no version of `{}` is in production", args.name))
                .hint("`tinyops models ls` shows the stages")
        })?;
    let before = model::list(&db)
        .await?
        .into_iter()
        .find(|model| {
            model.name == args.name
                && model.version < current.version
                && model.stage == Stage::Archived
        })
        .ok_or_else(|| {
            Failure::no(format!(
                "nothing was in production before {}",
                title(&current)
            ))
        })?;
    let plan = format!(
        "{} takes the place of {}, which is rejected",
        title(&before),
        title(&current)
    );
    context.terminal.confirm(&plan, args.yes)?;
    let moves = vec![(current, Stage::Rejected), (before, Stage::Production)];
    let moves = apply(context, &db, "model.rollback", moves).await?;
    context
        .terminal
        .answer(&serde_json::json!({ "moves": moves }), || {
            format!("{plan}\n")
        });
    Ok(())
}

/// What a version was made from, where that is another one: the word, and what was done to it.
fn descent(model: &Model) -> Option<(&'static str, String)> {
    let parent = format!("{}@{}", model.name, model.parent?);
    Some(match model.metrics["tune"]["delta_bytes"].as_u64() {
        Some(bytes) => ("tuned from", format!("{parent}, by an update of {bytes} B")),
        None => ("head of", format!("{parent}, solved anew")),
    })
}

/// Moves versions between stages in one transaction, and notes who did it.
async fn apply(
    context: &Context,
    db: &tinyops_store::Db,
    action: &'static str,
    moves: Vec<(Model, Stage)>,
) -> Result<Vec<Move>, Failure> {
    let tx = db.begin_audited(action).await?;
    let mut done = Vec::with_capacity(moves.len());
    for (mut model, stage) in moves {
        model.stage = stage;
        model::put(&tx, &mut model).await?;
        note(&tx, action, &model).await?;
        done.push(Move {
            model: model.name,
            version: model.version,
            stage: stage.word(),
        });
    }
    tx.commit().await?;
    context
        .terminal
        .note("the registry is changed; devices run what their rollout says");
    Ok(done)
}

async fn note(tx: &Tx, action: &str, model: &Model) -> Result<(), tinyops_store::StoreError> {
    let detail = serde_json::json!({ "stage": model.stage.word(), "digest": short(&model.digest) });
    audit::add(tx, now(), ACTOR, action, &title(model), &detail).await
}
