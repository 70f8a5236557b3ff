use std::path::{Path, PathBuf};

use serde::Serialize;
use tinyops_pipeline::openlineage;
use tinyops_server::{LineageGraph, NodeKind, lineage};
use tinyops_store::{Db, run, step};

use crate::{
    context::{Context, now},
    failure::Failure,
    table::Table,
};

/// Rows of a kind that are shown without `--all`.
const SHOWN_MAX: usize = 8;

/// Follow recordings to every device that carries what was learned from them, and devices back to their recordings
///
/// Takes a recording (its name, or the end of its path), a group of recordings, a digest or its first six digits, a
/// model, the 8 digits of a model id in a device's report, or the 16 of a device. `tinyops models lineage` says more of
/// one model: its run, its steps, its code.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops lineage m3/worn/0.csv")]
pub(crate) struct Lineage {
    /// Recording, group, digest, `fan@3`, model id, or device
    #[arg(required_unless_present = "events")]
    names: Vec<String>,
    /// Write what every run read and made instead, as events of OpenLineage, one a line; `-` is stdout
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    events: Option<PathBuf>,
    /// List everything, not only the first of each kind
    #[arg(long)]
    all: bool,
}

/// `tinyops lineage --json`
#[derive(Serialize)]
struct View {
    lineages: Vec<LineageGraph>,
}

pub(crate) async fn run(context: &Context, args: &Lineage) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    if let Some(file) = &args.events {
        return events(context, &db, file).await;
    }
    let mut lineages = Vec::new();
    for name in &args.names {
        let graph = lineage(&db, &artifacts, name).await?;
        if graph.nodes.is_empty() {
            return Err(Failure::question(format!("nothing here is called `{name}`")).hint(
                "`tinyops data show` lists recordings, `tinyops models ls` models, `tinyops devices ls` devices; \
                 `--db URL` looks into another store",
            ));
        }
        lineages.push(graph);
    }
    let view = View { lineages };
    context.terminal.answer(&view, || {
        let texts: Vec<String> = view
            .lineages
            .iter()
            .map(|graph| text(graph, args.all))
            .collect();
        texts.join("\n")
    });
    Ok(())
}

/// The events of all runs, oldest first.
async fn events(context: &Context, db: &Db, file: &Path) -> Result<(), Failure> {
    let mut runs = run::list(db, u32::MAX).await?;
    runs.sort_by_key(|run| run.id.0);
    let mut lines = String::new();
    for mut run in runs {
        run.state = run.state_at(now());
        let steps = step::of_run(db, run.id).await?;
        for event in openlineage::events(&run, &steps) {
            lines += &format!("{event}\n");
        }
    }
    match file == Path::new("-") {
        true => lines.lines().for_each(|line| context.terminal.line(line)),
        false => context.write(file, lines.as_bytes())?,
    }
    Ok(())
}

fn text(graph: &LineageGraph, all: bool) -> String {
    let counts: Vec<String> = NodeKind::ALL
        .iter()
        .map(|kind| {
            let count = graph.count(*kind);
            let s = if count == 1 { "" } else { "s" };
            format!("{count} {}{s}", kind.word())
        })
        .collect();
    let mut out = format!(
        "{} ({}): {}\n\n",
        graph.asked,
        graph.kind,
        counts.join(", ")
    );
    let mut table = Table::new(["what", "name", "about it"]);
    for kind in NodeKind::ALL {
        let nodes = || graph.nodes.iter().filter(|node| node.kind == kind);
        let shown = if all { usize::MAX } else { SHOWN_MAX };
        for node in nodes().take(shown) {
            table.row([
                kind.word().to_owned(),
                node.name.clone(),
                node.detail.clone(),
            ]);
        }
        let rest = nodes().count().saturating_sub(shown);
        if rest > 0 {
            table.row([
                kind.word().to_owned(),
                format!("and {rest} more"),
                "`--all` lists them".to_owned(),
            ]);
        }
    }
    out += &table.text();
    if graph.count(NodeKind::Device) == 0 {
        out += "\n  no device runs what was made of it\n";
    }
    out
}
