use serde::Serialize;
use tinyops_model::tflite::{operators, runs_int16};

use crate::{context::Context, failure::Failure, table::Table};

/// List TensorFlow Lite's operators, and what of each is read
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops ops --json")]
pub(crate) struct Ops {}

#[derive(Serialize)]
struct View {
    ops: Vec<OpView>,
}

#[derive(Serialize)]
struct OpView {
    name: &'static str,
    /// What is read of it; null where nothing is.
    accepted: Option<&'static str>,
    /// Whether it is read over int16 activations too.
    int16: bool,
}

pub(crate) fn run(context: &Context, _: &Ops) -> Result<(), Failure> {
    let ops: Vec<OpView> = operators()
        .iter()
        .map(|operator| OpView {
            name: operator.name,
            accepted: operator.accepted,
            int16: runs_int16(operator.name),
        })
        .collect();
    let count = ops.iter().filter(|op| op.accepted.is_some()).count();
    let int16_count = ops.iter().filter(|op| op.int16).count();
    let mut table = Table::new(["operator", "int16", "read for int8"]);
    for op in &ops {
        let accepted = op.accepted.unwrap_or("no");
        let int16 = if op.int16 { "too" } else { "" };
        let cells = [op.name, int16, accepted];
        table.row(cells.map(str::to_owned));
    }
    let text = format!(
        "{}{count} of {} are read, {int16_count} of them with int16 activations too\n",
        table.text(),
        ops.len()
    );
    context.terminal.answer(&View { ops }, || text);
    Ok(())
}
