use serde::Serialize;
use tinyops_model::tflite::operators;

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
}

pub(crate) fn run(context: &Context, _: &Ops) -> Result<(), Failure> {
    let ops: Vec<OpView> = operators()
        .iter()
        .map(|operator| OpView {
            name: operator.name,
            accepted: operator.accepted,
        })
        .collect();
    let count = ops.iter().filter(|op| op.accepted.is_some()).count();
    let mut table = Table::new(["operator", "read for int8, batch 1"]);
    for op in &ops {
        let accepted = op.accepted.unwrap_or("no");
        table.row([op.name.to_owned(), accepted.to_owned()]);
    }
    let text = format!("{}{count} of {} are read\n", table.text(), ops.len());
    context.terminal.answer(&View { ops }, || text);
    Ok(())
}
