use std::path::{Path, PathBuf};

use serde::Serialize;
use tinyops_model::tflite;
use tinyops_store::Artifacts;

use super::{
    bom,
    facts::Facts,
    sign::{SIGNATURE, sign_folder, signing_key},
};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    model_ref::{ModelRef, title},
    record::output,
};

/// Write the network of a version as an int8 `.tflite` file, or all of it as a signed folder
///
/// The input of the `.tflite` are the standardised features: front end and scaler are not in it. The folder holds the
/// float and the int8 model, the payloads and signed capsules of the boards, the card, the bill of materials, and a
/// signature over all of them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tinyops models export fan@3 --out fan.tflite\n  tinyops models export fan@3 --folder fan-3"
)]
pub(super) struct Export {
    /// Model and version, such as `fan@3` [default: the project's]
    model: Option<ModelRef>,
    /// Write the network here
    #[arg(long, short, value_name = "FILE", required_unless_present = "folder")]
    out: Option<PathBuf>,
    /// Write everything here
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    folder: Option<PathBuf>,
    /// Private key in PEM to sign the folder with [default: .tinyops/model-signing.key]
    #[arg(long, value_name = "FILE", requires = "folder")]
    key: Option<PathBuf>,
}

/// `tinyops models export --json`
#[derive(Serialize)]
struct View {
    model: String,
    file: String,
    bytes: usize,
}

/// `tinyops models export --folder DIR --json`
#[derive(Serialize)]
struct FolderView {
    model: String,
    folder: String,
    files: Vec<String>,
    public_key: String,
}

pub(super) async fn run(context: &Context, args: &Export) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let facts = Facts::load(context, &db, &artifacts, args.model.as_ref()).await?;
    if let Some(folder) = &args.folder {
        return whole(context, &artifacts, &facts, folder, args.key.as_deref()).await;
    }
    let Some(out) = &args.out else {
        return Err(Failure::question(
            "`--out FILE` or `--folder DIR` says where to",
        ));
    };
    let graph = facts.model.body.graph().ok_or_else(|| {
        Failure::no(format!("{} has no network", title(&facts.row)))
            .hint("distances to clusters have no form as .tflite")
    })?;
    let bytes = tflite::export(graph).map_err(|error| Failure::of(Exit::No, &error))?;
    let file = out.display().to_string();
    context.write(out, &bytes)?;
    let view = View {
        model: title(&facts.row),
        file,
        bytes: bytes.len(),
    };
    let text = format!("{} as {}\n", view.model, view.file);
    context.terminal.answer(&view, || text);
    Ok(())
}

/// All that is known and kept of a version, in a folder that can be handed on and checked.
async fn whole(
    context: &Context,
    artifacts: &Artifacts,
    facts: &Facts,
    folder: &Path,
    key: Option<&Path>,
) -> Result<(), Failure> {
    let is_empty = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => true,
    };
    if !is_empty {
        return Err(
            Failure::question(format!("`{}` is not empty", folder.display())).hint(
                "what lies there already would be signed with the model; name another folder",
            ),
        );
    }
    let (key, public_key) = signing_key(context, key)?;
    let mut files: Vec<(String, Vec<u8>)> = vec![
        (
            "model.tinyops".to_owned(),
            artifacts.get(&facts.row.digest).await?,
        ),
        ("MODEL_CARD.md".to_owned(), facts.markdown().into_bytes()),
        (
            "bom.cdx.json".to_owned(),
            bom::text_of(&facts.bom()).into_bytes(),
        ),
    ];
    if let Some(float) = output(&facts.steps, "train", "trained") {
        files.push(("float.tinyops".to_owned(), artifacts.get(&float).await?));
    }
    // Distances to clusters have no form as .tflite, and some operators of ours have none there.
    let network = facts.model.body.graph().map(tflite::export);
    if let Some(Ok(network)) = network {
        files.push(("model.tflite".to_owned(), network));
    }
    let compiled = facts.steps.iter().filter(|step| step.name == "compile");
    for port in compiled.flat_map(|step| &step.outputs) {
        if let Some(board) = port.name.strip_prefix("payload/") {
            let bytes = artifacts.get(&port.digest).await?;
            files.push((format!("payloads/{board}.payload"), bytes));
        }
    }
    for capsule in &facts.capsules {
        let bytes = artifacts.get(&capsule.digest).await?;
        files.push((format!("capsules/{}.capsule", capsule.board), bytes));
    }
    for (name, bytes) in &files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| {
            Failure::environment(format!("cannot make `{}`", parent.display())).cause(&error)
        })?;
        context.write(&path, bytes)?;
    }
    sign_folder(context, folder, &folder.join(SIGNATURE), &key)?;
    let mut files: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    files.push(SIGNATURE.to_owned());
    files.sort();
    let view = FolderView {
        model: title(&facts.row),
        folder: folder.display().to_string(),
        files,
        public_key,
    };
    let detail = serde_json::json!({ "folder": view.folder, "files": view.files.len() });
    context
        .note_in_audit("model.export", &view.model, &detail)
        .await?;
    context.terminal.answer(&view, || {
        format!(
            "{} in {}, signed: {}\n`tinyops models verify {}` checks it\n",
            view.model,
            view.folder,
            view.files.join(", "),
            view.folder
        )
    });
    Ok(())
}
