use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use tinyops_compile::{
    Board, Compiled, Fit, Limits, OpCost, Pass, RamUse, Region, Saved, Shortfall, Smaller,
    compile_for, compile_with, fit, payload, prior_of,
};
use tinyops_model::Model;
use tinyops_store::{Artifacts, Db, Digest, model, step};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    model_ref::{ModelRef, chosen, title},
    table::Table,
};

/// Compile a model for one board: plan the memory, say whether it fits, write the payload of its capsule
///
/// The payload is not signed; `tinyops rollout start` signs and ships. Exits with 1 if the model does not fit.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops compile fan@3 --board esp-eye --svg arena.svg")]
pub(crate) struct Compile {
    /// Model and version, such as `fan@3` [default: the project's]
    model: Option<ModelRef>,
    /// Board to compile for, one that `tinyops boards` lists or the path of a board file
    #[arg(long)]
    board: String,
    /// Write the payload here
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draw the arena over time here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// `tinyops compile --json`
#[derive(Serialize)]
struct View<'a> {
    model: String,
    board: &'a str,
    fits: bool,
    fit: &'a Fit,
    /// Where the bytes are that do not fit, and what does; none if all do.
    shortfall: Option<&'a Shortfall>,
    program_bytes: usize,
    macs: u64,
    ram: RamUse,
    /// What of the arena lies in which memory region, in the order of the board's pieces of RAM.
    regions: &'a [Region],
    payload: String,
    payload_bytes: usize,
    /// Vectors that a device checks before it trusts the payload.
    golden_count: usize,
    ops: &'a [OpCost],
    /// What exact rewrites took away before.
    saved: &'a Saved,
}

pub(crate) async fn run(context: &Context, args: &Compile) -> Result<(), Failure> {
    let boards = context.boards()?;
    let board = &context.board(&args.board)?;
    let (db, artifacts) = context.existing_store().await?;
    let row = chosen(context, &db, args.model.as_ref()).await?;
    let decoded = Model::decode(&artifacts.get(&row.digest).await?).map_err(|error| {
        Failure::environment(format!("{} does not read back", title(&row))).cause(&error)
    })?;
    let mut compiled =
        compile_for(&decoded, board).map_err(|error| Failure::of(Exit::No, &error))?;
    // The payload of the run carries golden vectors of the test split, and what devices' own heads start from; without
    // one, there are none to carry.
    let stored = stored_payload(&db, &artifacts, &row, &board.id).await?;
    let prior = stored.as_deref().and_then(prior_of);
    let with_prior = |compiled: &mut Compiled| match &prior {
        Some(prior) => compiled.with_prior(prior.clone()),
        None => Ok(()),
    };
    with_prior(&mut compiled).map_err(|error| Failure::of(Exit::Environment, &error))?;
    let limits = limits(context);
    let fit = fit(&compiled, board, &limits);
    let mut shortfall = Shortfall::of(&compiled, board, &limits, &boards, |options| {
        let mut other = compile_with(&decoded, options).ok()?;
        with_prior(&mut other).ok()?;
        Some(other)
    });
    if let Some(shortfall) = &mut shortfall {
        let variants = variants(&db, &artifacts, &row, board, &limits).await?;
        shortfall.options.extend(variants);
    }
    // Of a run before the board's file had its pieces of RAM, it is for an arena in one.
    let region_count = compiled.memory.regions.len().max(1);
    let suits = |payload: &Vec<u8>| {
        tinyops_compile::replay(payload).is_ok_and(|replay| replay.region_count == region_count)
    };
    let payload = match stored.filter(suits) {
        Some(payload) => payload,
        None => payload(&decoded, &compiled, &[]).map_err(|error| Failure::of(Exit::No, &error))?,
    };
    let replay = tinyops_compile::replay(&payload)
        .map_err(|error| Failure::of(Exit::Environment, &error))?;
    if let Some(path) = &args.out {
        context.write(path, &payload)?;
    }
    if let Some(path) = &args.svg {
        context.write(path, compiled.memory.svg().as_bytes())?;
    }
    let view = View {
        model: title(&row),
        board: &board.id,
        fits: fit.fits(),
        fit: &fit,
        shortfall: shortfall.as_ref(),
        program_bytes: compiled.program.len(),
        macs: compiled.macs,
        ram: compiled.ram,
        regions: &compiled.memory.regions,
        payload: Digest::of(&payload).to_string(),
        payload_bytes: payload.len(),
        golden_count: replay.cases,
        ops: &compiled.ops,
        saved: &compiled.saved,
    };
    context.terminal.answer(&view, || text(&view, &compiled));
    if fit.fits() {
        return Ok(());
    }
    let failure = Failure::no(format!("{} does not fit board `{}`", view.model, board.id));
    let failure = fit.reasons.iter().fold(failure, |failure, reason| {
        failure.because(reason.to_string())
    });
    let (said, hint) = told(shortfall.as_ref());
    let failure = said.into_iter().fold(failure, Failure::because);
    Err(failure.hint(hint))
}

/// Where the bytes are, and which smaller options fit.
pub(crate) fn told(shortfall: Option<&Shortfall>) -> (Vec<String>, String) {
    let none = "a smaller window, fewer features or a smaller network take less";
    let Some(shortfall) = shortfall else {
        return (Vec::new(), none.to_owned());
    };
    let mut said = shortfall.places();
    said.extend(shortfall.in_vain.iter().cloned());
    let options: Vec<String> = shortfall.options.iter().map(ToString::to_string).collect();
    if options.is_empty() {
        return (said, format!("nothing smaller that was tried fits; {none}"));
    }
    (said, format!("what fits: {}", options.join("; ")))
}

/// The newest versions of the project that fit.
async fn variants(
    db: &Db,
    artifacts: &Artifacts,
    row: &model::Model,
    board: &Board,
    limits: &Limits,
) -> Result<Vec<Smaller>, Failure> {
    const VERSIONS: usize = 20;
    let others = model::list(db).await?.into_iter();
    let others = others.filter(|other| other.project == row.project && other.digest != row.digest);
    let mut found = Vec::new();
    for other in others.take(VERSIONS) {
        // What does not read back or compile is no way out.
        let Ok(bytes) = artifacts.get(&other.digest).await else {
            continue;
        };
        let Some(compiled) = Model::decode(&bytes)
            .ok()
            .and_then(|model| compile_for(&model, board).ok())
        else {
            continue;
        };
        let taken = fit(&compiled, board, limits);
        if taken.fits() {
            found.push(Smaller::Model {
                model: title(&other),
                ram_bytes: taken.ram_bytes,
                flash_bytes: taken.flash_bytes,
            });
        }
    }
    Ok(found)
}

/// The payload that the model's own run made, for this board, or for another whose RAM is in one
/// piece: it is the same for all of those.
pub(crate) async fn stored_payload(
    db: &Db,
    artifacts: &Artifacts,
    model: &model::Model,
    board: &str,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(run) = model.run else {
        return Ok(None);
    };
    let steps = step::of_run(db, run).await?;
    let ports: Vec<_> = steps
        .iter()
        .filter(|step| step.name == "compile")
        .flat_map(|step| &step.outputs)
        .filter(|port| port.name.starts_with("payload/"))
        .collect();
    let own = ports
        .iter()
        .find(|port| port.name.strip_prefix("payload/") == Some(board));
    if let Some(port) = own {
        return Ok(Some(artifacts.get(&port.digest).await?));
    }
    for port in ports {
        let payload = artifacts.get(&port.digest).await?;
        if tinyops_compile::replay(&payload).is_ok_and(|replay| replay.region_count == 1) {
            return Ok(Some(payload));
        }
    }
    Ok(None)
}

/// The project's limits, where there is a project.
fn limits(context: &Context) -> Limits {
    let Ok(project) = context.project() else {
        return Limits::default();
    };
    Limits {
        flash_bytes: project.boards.flash_bytes_max,
        ram_bytes: project.boards.ram_bytes_max,
        latency_ms: project.boards.latency_ms_max,
        energy_mj: project.boards.energy_mj_max,
    }
}

fn text(view: &View<'_>, compiled: &Compiled) -> String {
    let fit = view.fit;
    let word = if view.fits { "fits" } else { "does NOT fit" };
    let mut out = format!("{} {word} {}\n", view.model, view.board);
    let mut table = Table::new(["", "takes", "left"]);
    let bytes = |bytes: u32| format!("{bytes} B");
    table.row([
        "RAM".to_owned(),
        bytes(fit.ram_bytes),
        bytes(fit.ram_free_bytes),
    ]);
    for piece in &fit.ram_pieces {
        table.row([
            format!("  {} ({})", piece.name, piece.speed.name()),
            bytes(piece.bytes()),
            bytes(piece.free_bytes),
        ]);
    }
    table.row([
        "flash, two slots".to_owned(),
        bytes(fit.flash_bytes),
        bytes(fit.flash_free_bytes),
    ]);
    out += &table.text();
    let _ = writeln!(
        out,
        "  latency {:.2} ms ({:.2} to {:.2}), energy {:.3} mJ ({:.3} to {:.3}): estimates",
        fit.latency_ms.typical,
        fit.latency_ms.low,
        fit.latency_ms.high,
        fit.energy_mj.typical,
        fit.energy_mj.low,
        fit.energy_mj.high,
    );
    let _ = writeln!(
        out,
        "  program {} B, {} multiply-accumulates\n  payload {} B with {} golden vectors\n  {}",
        view.program_bytes, view.macs, view.payload_bytes, view.golden_count, view.payload,
    );
    if !compiled.prior.is_empty() {
        let _ = writeln!(
            out,
            "  of it a prior of devices' own heads, {} B; {} B of RAM and the last pages of flash are for these",
            compiled.prior.len(),
            compiled.ram.own_head_bytes,
        );
    }
    out += &saved_text(&compiled.saved, compiled.macs);
    if !compiled.memory.placed.is_empty() {
        let _ = writeln!(out, "\n{}", compiled.memory.text().trim_end());
    }
    out
}

/// What the rewrites did, if they did anything.
fn saved_text(saved: &Saved, macs: u64) -> String {
    if saved.rewrites.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "  rewritten, the same to the bit: {} multiply-accumulates were {}, {} B of filters and biases were {}\n",
        macs, saved.macs_before, saved.constant_bytes, saved.constant_bytes_before,
    );
    let passes = [
        (Pass::Channels, "channels that cannot matter went"),
        (Pass::Padding, "paddings became part of what reads them"),
        (Pass::Activation, "activations became part of the op before"),
        (Pass::Sum, "sums became part of the convolution before"),
        (Pass::Constant, "ops over constants were computed before"),
        (Pass::Identity, "ops that change nothing went"),
        (Pass::Reshape, "reshapes went"),
    ];
    for (pass, what) in passes {
        let of_pass = saved.rewrites.iter().filter(|done| done.pass == pass);
        let count: usize = of_pass.map(|done| done.count).sum();
        if count > 0 {
            let _ = writeln!(out, "    {count} {what}");
        }
    }
    out
}
