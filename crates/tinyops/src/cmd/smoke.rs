use serde::Serialize;
use tinyops_compile::{Band, replay};
use tinyops_emulate::{EmulateError, Firmware, Machine, Memory, smoke};

use crate::{
    cmd::compile::stored_payload,
    context::Context,
    failure::{Exit, Failure},
    model_ref::{ModelRef, chosen, title},
};

/// Run a model's golden vectors on the executor, then on an emulated board with that board's memory
///
/// Exits with 1 if any output differs, with 3 if emulator or compiler are missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops smoke fan@3 --board arduino-nano-33-ble-sense")]
pub(crate) struct SmokeTest {
    /// Model and version, such as `fan@3` [default: the project's]
    model: Option<ModelRef>,
    /// Whose memory the emulated board is given: one that `tinyops boards` lists or the path of a board file
    #[arg(long)]
    board: String,
}

/// `tinyops smoke --json`
#[derive(Serialize)]
struct View {
    model: String,
    board: String,
    /// On this machine, by the code that devices run.
    executor: Verdict,
    /// On the emulated board.
    emulated: Verdict,
    /// The core that was emulated.
    core: &'static str,
    /// Why it is not the board's own, if it is not.
    stand_in: Option<String>,
    instructions_max: Option<u64>,
    arena_bytes: Option<u32>,
    /// Of it, up to the last that was written.
    arena_touched_bytes: Option<u32>,
    /// The same of each memory region.
    region_touched_bytes: Vec<u32>,
    /// The deepest stack of a window.
    stack_bytes: Option<u32>,
    /// The deepest stack until the model was loaded.
    install_stack_bytes: Option<u32>,
    /// Flash of the firmware, without the payload.
    flash_bytes: Option<u32>,
    payload_bytes: usize,
    /// From the instructions and what the board's file says of its core; none where a stand-in was emulated.
    latency_ms: Option<Band>,
    energy_mj: Option<Band>,
}

#[derive(Serialize)]
struct Verdict {
    /// `passes`, `differs` or `not run`.
    verdict: &'static str,
    reason: String,
}

impl Verdict {
    fn of(cases: usize, wrong: usize) -> Self {
        let passes = cases > 0 && wrong == 0;
        Self {
            verdict: if passes { "passes" } else { "differs" },
            reason: format!("{} of {cases} vectors equal", cases - wrong),
        }
    }
}

pub(crate) async fn run(context: &Context, args: &SmokeTest) -> Result<(), Failure> {
    let board = &context.board(&args.board)?;
    let (db, artifacts) = context.existing_store().await?;
    let model = chosen(context, &db, args.model.as_ref()).await?;
    let payload = stored_payload(&db, &artifacts, &model, &board.id)
        .await?
        .ok_or_else(|| {
            Failure::question(format!("{} was compiled for no board", title(&model)))
                .hint("`tinyops compile` says why it does not fit")
        })?;
    let replayed = replay(&payload).map_err(|error| Failure::of(Exit::No, &error))?;
    let mut wrong: Vec<usize> = replayed.differing.iter().map(|found| found.case).collect();
    wrong.dedup();
    let (machine, stand_in) = Machine::of_board(board);
    let mut view = View {
        model: title(&model),
        board: board.id.clone(),
        executor: Verdict::of(replayed.cases, wrong.len()),
        emulated: Verdict {
            verdict: "not run",
            reason: String::new(),
        },
        core: machine.core,
        stand_in,
        instructions_max: None,
        arena_bytes: None,
        arena_touched_bytes: None,
        region_touched_bytes: Vec::new(),
        stack_bytes: None,
        install_stack_bytes: None,
        flash_bytes: None,
        payload_bytes: payload.len(),
        latency_ms: None,
        energy_mj: None,
    };
    let memory = Memory::of(board);
    let emulated =
        tokio::task::spawn_blocking(move || smoke(&Firmware::find()?, machine, &payload, memory))
            .await;
    let emulated = emulated
        .map_err(|error| Failure::environment("the emulation stopped at a bug").cause(&error))?;
    let mut missing = None;
    match emulated {
        Ok(found) => {
            let wrong = found.cases.iter().filter(|case| case.difference.is_some());
            view.emulated = Verdict::of(found.cases.len(), wrong.count());
            view.instructions_max = Some(found.instructions_max());
            view.arena_bytes = Some(found.arena_bytes.iter().sum());
            view.arena_touched_bytes = Some(found.arena_touched_bytes.iter().sum());
            view.region_touched_bytes = found.arena_touched_bytes.clone();
            view.stack_bytes = Some(found.stack_bytes);
            view.install_stack_bytes = Some(found.install_stack_bytes);
            view.flash_bytes = Some(found.flash_bytes);
            if let Some((latency_ms, energy_mj)) = board.estimate(found.instructions_max()) {
                view.latency_ms = Some(latency_ms);
                view.energy_mj = Some(energy_mj);
            }
        }
        Err(error) => {
            view.emulated.reason = error.to_string();
            missing = Some(error);
        }
    }
    context.terminal.answer(&view, || text(&view));
    if view.executor.verdict == "differs" || view.emulated.verdict == "differs" {
        return Err(
            Failure::no(format!("{} differs from its golden vectors", view.model))
                .hint("a device would not take it; run the pipeline again"),
        );
    }
    match missing {
        None => Ok(()),
        Some(EmulateError::Missing { what, remedy }) => {
            Err(Failure::environment(format!("{what} is missing")).hint(remedy))
        }
        // It does not fit the board's memory, or hangs there: an answer, and not a good one.
        Some(
            error @ (EmulateError::Build { .. }
            | EmulateError::TooSmall { .. }
            | EmulateError::Timeout { .. }),
        ) => Err(Failure::of(Exit::No, &error)),
        Some(error) => Err(Failure::of(Exit::Environment, &error)),
    }
}

fn text(view: &View) -> String {
    let mut out = format!("{} on {}\n", view.model, view.board);
    for (place, verdict) in [("executor", &view.executor), ("emulated", &view.emulated)] {
        out += &format!("  {place:<10} {:<8} {}\n", verdict.verdict, verdict.reason);
    }
    if let Some(reason) = &view.stand_in {
        out += &format!("  {reason}\n");
    }
    if let (Some(instructions), Some(arena), Some(stack), Some(install), Some(flash)) = (
        view.instructions_max,
        view.arena_touched_bytes,
        view.stack_bytes,
        view.install_stack_bytes,
        view.flash_bytes,
    ) {
        out += &format!(
            "  {instructions} instructions a window at most on the {}\n",
            view.core
        );
        let regions: Vec<String> = view
            .region_touched_bytes
            .iter()
            .map(u32::to_string)
            .collect();
        let regions = match regions.len() {
            0 | 1 => String::new(),
            _ => format!(" ({})", regions.join(" + ")),
        };
        out += &format!(
            "  arena {arena} B{regions}, stack {stack} B to run and {install} B to install\n"
        );
        out += &format!(
            "  flash {flash} B of firmware and {} B of payload\n",
            view.payload_bytes
        );
    }
    if let (Some(ms), Some(mj)) = (view.latency_ms, view.energy_mj) {
        out += &format!(
            "  estimate: {:.3} ms ({:.3} to {:.3}), {:.4} mJ ({:.4} to {:.4}) to compute\n",
            ms.typical, ms.low, ms.high, mj.typical, mj.low, mj.high
        );
    }
    out
}
