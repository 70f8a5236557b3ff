//! `tinyops import dvc`: a DVC repository's recordings become versions of ours.

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use tinyops_pipeline::versions::Versions;
use tokio::task::block_in_place;

use crate::{
    cmd::data::{counted, sized},
    context::Context,
    failure::Failure,
};

/// Make versions of what a DVC repository tracks, beside DVC's own files
///
/// Reads `*.dvc`, `dvc.lock`, `.dvc/config` and DVC's cache (of version 3 and before), holds each file against DVC's
/// digest, and writes a pointer for each output at the same path in the project. Bytes are shared with DVC's cache where
/// the file system can, and files keep their times. Exits with 1 if an output could not be taken over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops init && tinyops import dvc && tinyops data status")]
pub(super) struct Dvc {
    /// The repository [default: the project's folder]
    folder: Option<PathBuf>,
    /// Wait for another process that works on the project's versions
    #[arg(long)]
    wait: bool,
}

/// `tinyops import dvc --json`
#[derive(Serialize)]
struct View {
    outputs: Vec<OutputView>,
    in_git: Vec<String>,
    skipped: Vec<SkippedView>,
}

#[derive(Serialize)]
struct OutputView {
    path: String,
    version: String,
    md5: String,
    files: u64,
    bytes: u64,
    brought: bool,
}

#[derive(Serialize)]
struct SkippedView {
    path: String,
    why: String,
}

pub(super) fn run(context: &Context, args: &Dvc) -> Result<(), Failure> {
    let link = context.project()?.versions.link;
    let versions = Versions::open(&context.root, link)?;
    let folder = args.folder.as_ref().unwrap_or(&context.root);
    let imported = block_in_place(|| {
        let _lock = versions.lock(args.wait)?;
        let bar = context.terminal.bar("import", 0);
        versions.import_dvc(folder, &|done| bar.at(done))
    })?;
    let outputs = imported.outputs.into_iter().map(|output| OutputView {
        path: output.path,
        version: output.version,
        md5: output.md5,
        files: output.files,
        bytes: output.bytes,
        brought: output.brought,
    });
    let skipped = imported
        .skipped
        .into_iter()
        .map(|(path, why)| SkippedView { path, why });
    let view = View {
        outputs: outputs.collect(),
        in_git: imported.in_git,
        skipped: skipped.collect(),
    };
    context.terminal.answer(&view, || text(&view));
    match view.skipped.len() {
        0 => Ok(()),
        count => Err(
            Failure::no(format!("{count} outputs could not be taken over"))
                .hint("mend what is said of each, and import again: what was taken over stays"),
        ),
    }
}

fn text(view: &View) -> String {
    let mut out = String::new();
    for output in &view.outputs {
        let _ = writeln!(
            out,
            "  {}: version {}, {}, {}",
            output.path,
            &output.version[..12],
            counted(output.files, "file"),
            sized(output.bytes)
        );
    }
    for path in &view.in_git {
        let _ = writeln!(out, "  {path}: in Git, and stays there");
    }
    for skipped in &view.skipped {
        let _ = writeln!(out, "  NOT {}: {}", skipped.path, skipped.why);
    }
    let _ = writeln!(
        out,
        "  {} taken over, {} not; pointers lie beside the files, DVC's own are as they were",
        view.outputs.len(),
        view.skipped.len()
    );
    out
}
