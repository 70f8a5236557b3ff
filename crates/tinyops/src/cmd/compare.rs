use std::path::PathBuf;

use serde::Serialize;
use tinyops_compile::{Case, Comparison, Verdict, compare};

use crate::{context::Context, failure::Failure};

mod input;
mod side;
mod text;

use input::Inputs;
use side::{Form, Side};

/// Compare two runs of a network layer by layer, and name the first layer that differs
///
/// Either side is a `.tflite`, model, plan or golden file, a registered model such as `pump@3`, or the other side's
/// network elsewhere: `board:NAME` on that emulated board, `host:NAME` by an instruction set of this machine such as
/// `avx2`. Exits with 1 if they differ.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: tinyops compare net.tflite net.cases.json\n          tinyops compare pump@3 --board arduino-nano-33-ble-sense"
)]
pub(crate) struct Compare {
    /// The one side
    #[arg(value_name = "A")]
    a: String,
    /// The other side
    #[arg(value_name = "B", required_unless_present = "board")]
    b: Option<String>,
    /// The other side is A's network on this emulated board
    #[arg(long, conflicts_with = "b")]
    board: Option<String>,
    /// Inputs: `.npy` of int8 or float32, the cases of a golden file, or raw int8 bytes
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// How many random inputs to make where no file gives any
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    random: u32,
    /// The first seed of the random inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the inputs whose name has this in it
    #[arg(long, value_name = "WORDS")]
    case: Option<String>,
    /// Bear differences of so many steps
    #[arg(long, default_value_t = 0, value_name = "STEPS")]
    tolerance: u32,
    /// Run every layer as the network has it, also on a board: no rewrites, nothing fused
    #[arg(long)]
    as_written: bool,
}

/// `tinyops compare --json`
#[derive(Serialize)]
struct View {
    a: SideView,
    b: SideView,
    inputs: InputsView,
    tolerance: u32,
    differs: bool,
    layers: Comparison,
}

#[derive(Serialize)]
struct SideView {
    name: String,
    /// What ran, or who made the values.
    what: String,
    /// The plan as shipped against the network as written, on this machine.
    shipped: Option<ShippedView>,
}

/// What is left of a network in the plan that a device gets, and whether it is the same.
#[derive(Serialize)]
struct ShippedView {
    same: usize,
    gone: Vec<String>,
    /// The first layer that is not the same: a fault of the compiler.
    differs: Option<String>,
}

#[derive(Serialize)]
struct InputsView {
    from: String,
    names: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: &Compare) -> Result<(), Failure> {
    let board = args.board.as_ref().map(|board| format!("board:{board}"));
    let words = [Some(&args.a), args.b.as_ref().or(board.as_ref())];
    let [a, b] = words.map(|words| words.map_or("", String::as_str));
    let a = Side::read(context, a).await?;
    let b = Side::read(context, b).await?;
    let (a, b) = Side::with_networks(a, b)?;
    let form = if args.as_written {
        Form::AsWritten
    } else {
        Form::of(&a, &b)
    };
    let mut inputs = Inputs::choose(args, &a, &b)?;
    if let Some(words) = &args.case {
        inputs.keep(words)?;
    }
    let (cases_a, cases_b) = (a.run(&inputs, form).await?, b.run(&inputs, form).await?);
    let tolerance = args.tolerance.max(a.tolerance()).max(b.tolerance());
    let view = View {
        a: view_of(&a, form, &inputs)?,
        b: view_of(&b, form, &inputs)?,
        inputs: InputsView {
            from: inputs.from.clone(),
            names: inputs.names().map(str::to_owned).collect(),
        },
        tolerance,
        differs: false,
        layers: compare(&cases_a, &cases_b, tolerance),
    };
    answer(context, view)
}

fn answer(context: &Context, mut view: View) -> Result<(), Failure> {
    let compared = view.layers.rows.iter();
    let compared = compared.filter(|row| !matches!(row.verdict, Verdict::OnlyA | Verdict::OnlyB));
    if compared.count() == 0 {
        return Err(Failure::question(format!(
            "`{}` and `{}` have no layer in common",
            view.a.name, view.b.name
        ))
        .hint("layers are paired by the tensor's name, else by operator and count of values"));
    }
    let sides = [&view.a, &view.b].into_iter();
    let broken = sides
        .filter_map(|side| Some((side, side.shipped.as_ref()?.differs.as_ref()?)))
        .map(|(side, layer)| format!("{}: the shipped plan makes another `{layer}`", side.name))
        .next();
    view.differs = view.layers.first.is_some() || broken.is_some();
    context.terminal.answer(&view, || text::text(&view));
    if let Some(broken) = broken {
        return Err(Failure::no(broken)
            .hint("this is a fault of TinyOps: please report it with the network"));
    }
    match view.layers.first.map(|first| &view.layers.rows[first]) {
        None => Ok(()),
        Some(row) => {
            let (a, b, kind) = (&view.a.name, &view.b.name, &row.kind);
            let layer = super::import::brief(&row.layer);
            Err(
                Failure::no(format!("{a} and {b} differ, first in `{layer}` ({kind})"))
                    .hint(text::advice(row)),
            )
        }
    }
}

fn view_of(side: &Side, form: Form, inputs: &Inputs) -> Result<SideView, Failure> {
    Ok(SideView {
        name: side.name().to_owned(),
        what: side.what(form),
        shipped: side.shipped(form, inputs)?,
    })
}

/// What of the layers as written is left in the shipped plan.
fn left(written: &[Case], shipped: &[Case]) -> ShippedView {
    let found = compare(written, shipped, 0);
    let name = |row: &tinyops_compile::Row| row.layer.clone();
    let of = |verdict: Verdict| found.rows.iter().filter(move |row| row.verdict == verdict);
    ShippedView {
        same: of(Verdict::Same).count(),
        gone: of(Verdict::OnlyA).map(name).collect(),
        differs: found.first.map(|first| name(&found.rows[first])),
    }
}
