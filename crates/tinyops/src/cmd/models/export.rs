use std::path::PathBuf;

use serde::Serialize;
use tinyops_model::{Model, tflite};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    model_ref::{ModelRef, chosen, title},
};

/// Write the network of a version as an int8 `.tflite` file
///
/// Its input are the standardised features: front end and scaler are not in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models export fan@3 --out fan.tflite")]
pub(super) struct Export {
    /// Model and version, such as `fan@3` [default: the project's]
    model: Option<ModelRef>,
    /// Write it here
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

/// `tinyops models export --json`
#[derive(Serialize)]
struct View {
    model: String,
    file: String,
    bytes: usize,
}

pub(super) async fn run(context: &Context, args: &Export) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let row = chosen(context, &db, args.model.as_ref()).await?;
    let model = Model::decode(&artifacts.get(&row.digest).await?).map_err(|error| {
        Failure::environment(format!("{} does not read back", title(&row))).cause(&error)
    })?;
    let graph = model.body.graph().ok_or_else(|| {
        Failure::no(format!("{} has no network", title(&row)))
            .hint("distances to clusters have no form as .tflite")
    })?;
    let bytes = tflite::export(graph).map_err(|error| Failure::of(Exit::No, &error))?;
    let file = args.out.display().to_string();
    context.write(&args.out, &bytes)?;
    let view = View {
        model: title(&row),
        file,
        bytes: bytes.len(),
    };
    let text = format!("{} as {}\n", view.model, view.file);
    context.terminal.answer(&view, || text);
    Ok(())
}
