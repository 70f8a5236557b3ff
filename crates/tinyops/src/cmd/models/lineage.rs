mod text;
mod trace;

use crate::{context::Context, failure::Failure};

/// Trace a model back to its run, code and recordings, and on to the devices that carry it
///
/// Takes what is at hand: the 8 digits of a model id in a device's report, the 16 of a device, a digest (or its
/// first digits), or a version's name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models lineage 3fa1b2c4")]
pub(super) struct Lineage {
    /// Model id, device, digest, or `fan@3`
    name: String,
    /// List every recording and device, not only the first
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(context: &Context, args: &Lineage) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let asked = trace::find(&db, &args.name).await?;
    let view = trace::trace(&db, &artifacts, &args.name, asked).await?;
    context
        .terminal
        .answer(&view, || text::text(&view, args.all));
    Ok(())
}
