use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};
use tinyops_compile::{
    Board, Ecosystem, Facts, Fit, Limits, Package, PackageError, Part, compile, compile_for, fit,
    model_of, package, payload,
};
use tinyops_fleet::KeyFolder;
use tinyops_model::{Model, tflite};
use tinyops_store::{Db, Digest, Readers, capsule, model, run, step, write_new};
use tinyops_wire::capsule::Unverified;

use crate::{
    cmd::compile::stored_payload,
    context::Context,
    failure::{Exit, Failure},
    model_ref::{ModelRef, chosen, title},
};

/// Pack a model for an ecosystem: sources that run it, a self test, an example, and the papers
///
/// The same model, arguments and version of TinyOps give the same bytes. Signed with the release key where there is one.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: tinyops package fan@3 --for c99\n          tinyops package fan.capsule --for c99 --out fan.zip\n          tinyops package --list"
)]
pub(crate) struct PackageArgs {
    /// Model and version, such as `fan@3`, or a file: a capsule, a payload, an int8 `.tflite` [default: the project's]
    model: Option<String>,
    /// The ecosystem; `--list` tells them
    #[arg(long = "for", value_name = "ECOSYSTEM", value_parser = ecosystem, required_unless_present = "list")]
    ecosystem: Option<Ecosystem>,
    /// A folder that is not there yet, or a file that ends in .zip or .pack [default: as the ecosystem calls it, here]
    #[arg(long, short, value_name = "DIR|FILE")]
    out: Option<PathBuf>,
    /// Board to estimate for, and to take the payload of [default: every board]
    #[arg(long)]
    board: Option<String>,
    /// What to bring besides: capsule, delta, slots, monitor; edge-impulse for sketches that call `run_classifier()`
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = part)]
    with: Vec<Part>,
    /// The package's name, from which its functions are called [default: the model's]
    #[arg(long)]
    name: Option<String>,
    /// The package's version [default: the model's, such as 3.0.0]
    #[arg(long, value_name = "X.Y.Z")]
    package_version: Option<String>,
    /// One sentence about the model
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Who answers for it, such as `Ada <ada@example.org>`
    #[arg(long)]
    author: Option<String>,
    /// Where it is told of
    #[arg(long)]
    url: Option<String>,
    /// The licence of the model itself, as SPDX names it, such as `CC-BY-4.0`
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
    /// Do not sign, even if there is a release key
    #[arg(long)]
    unsigned: bool,
    /// Tell the ecosystems
    #[arg(long, conflicts_with_all = ["ecosystem", "model"])]
    list: bool,
}

/// `tinyops package --list --json`
#[derive(Serialize)]
struct Listed {
    ecosystems: Vec<EcosystemView>,
}

#[derive(Serialize)]
struct EcosystemView {
    ecosystem: &'static str,
    what: &'static str,
}

/// `tinyops package --json`
#[derive(Serialize)]
struct View {
    model: String,
    ecosystem: &'static str,
    /// Where it was written.
    out: String,
    payload: String,
    files: Vec<FileView>,
    bytes: usize,
    /// SHA-256 of the list of all files' digests: two packages of one are the same.
    sums: String,
    /// The fingerprint of the key that signed it, if any did.
    signed_by: Option<String>,
    /// What whoever packs should know.
    notes: Vec<String>,
}

#[derive(Serialize)]
struct FileView {
    path: String,
    bytes: usize,
}

pub(crate) async fn run(context: &Context, args: &PackageArgs) -> Result<(), Failure> {
    let Some(ecosystem) = args.ecosystem else {
        list(context);
        return Ok(());
    };
    let source = match args.model.as_deref().filter(|given| is_file(given)) {
        Some(file) => of_file(context, args, Path::new(file))?,
        None => of_registry(context, args).await?,
    };
    let mut notes = source.notes;
    let facts = facts(args, source.facts);
    let mut made = package(ecosystem, &source.payload, &facts, &args.with)
        .map_err(|error| refused(&source.title, &error))?;
    let signed_by = match args.unsigned {
        true => None,
        false => sign(context, &mut made)?,
    };
    if signed_by.is_none() && !args.unsigned {
        notes.push("the package is not signed: there is no release key here".to_owned());
    }
    if facts.licence.is_none() {
        notes.push("the model's licence is not stated: `--licence` states it".to_owned());
    }
    let out = write(args.out.as_deref(), &made)?;
    let files = made.files().iter().map(|(path, bytes)| FileView {
        path: path.clone(),
        bytes: bytes.len(),
    });
    let view = View {
        model: source.title,
        ecosystem: ecosystem.name(),
        out: out.display().to_string(),
        payload: Digest::of(&source.payload).to_string(),
        bytes: made.files().values().map(Vec::len).sum(),
        files: files.collect(),
        sums: Digest::of(made.sums()).to_string(),
        signed_by,
        notes,
    };
    if let Some(key) = &view.signed_by {
        let detail = serde_json::json!({
            "ecosystem": view.ecosystem, "payload": view.payload, "sums": view.sums, "release_key": key,
        });
        let note = context.note_in_audit("package.sign", &view.model, &detail);
        note.await?;
    }
    context.terminal.answer(&view, || text(&view));
    Ok(())
}

fn list(context: &Context) {
    let ecosystems = Ecosystem::ALL.map(|one| EcosystemView {
        ecosystem: one.name(),
        what: one.what(),
    });
    let view = Listed {
        ecosystems: ecosystems.into(),
    };
    context.terminal.answer(&view, || {
        let line = |one: &EcosystemView| format!("{:<12} {}\n", one.ecosystem, one.what);
        view.ecosystems.iter().map(line).collect()
    });
}

fn text(view: &View) -> String {
    let mut out = format!(
        "{} for {}: {} files, {} bytes in {}\n  payload {}\n",
        view.model,
        view.ecosystem,
        view.files.len(),
        view.bytes,
        view.out,
        &view.payload[..12]
    );
    if let Some(key) = &view.signed_by {
        out += &format!("  signed with release key {key}\n");
    }
    for note in &view.notes {
        out += &format!("  note: {note}\n");
    }
    out
}

/// A payload to pack, and what is known of it.
struct Source {
    title: String,
    payload: Vec<u8>,
    facts: Facts,
    notes: Vec<String>,
}

/// Whether a person means a file: one that is there, or whose ending says so.
fn is_file(given: &str) -> bool {
    let path = Path::new(given);
    let ends = ["capsule", "payload", "tflite", "unsigned"];
    path.is_file()
        || path
            .extension()
            .is_some_and(|end| ends.iter().any(|known| end == *known))
}

fn of_file(context: &Context, args: &PackageArgs, path: &Path) -> Result<Source, Failure> {
    let file = path.display().to_string();
    let bytes = fs::read(path)
        .map_err(|error| Failure::question(format!("cannot read `{file}`")).cause(&error))?;
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut facts = Facts {
        name: stem,
        ..Facts::default()
    };
    let mut notes = Vec::new();
    let payload = if bytes.starts_with(b"TOPC") {
        let claimed = Unverified::parse(&bytes)
            .map_err(|error| Failure::of(Exit::Question, &error).because(format!("`{file}`")))?;
        let checked = claimed
            .verify_payload()
            .map_err(|error| Failure::of(Exit::Question, &error).because(format!("`{file}`")))?;
        facts.name = checked.manifest.name.to_owned();
        facts.model_version = checked.manifest.version;
        facts.capsule = Some(Digest::of(&bytes).to_string());
        notes.push(format!(
            "the signature of `{file}` was not checked: a device checks it against its own keys"
        ));
        checked.payload.bytes().to_vec()
    } else if bytes.starts_with(b"TOPP") {
        bytes
    } else {
        let imported = tflite::import_with_ends(&bytes).map_err(|error| {
            Failure::of(Exit::Question, &error)
                .because(format!("`{file}` is neither capsule nor payload"))
                .hint("`tinyops import` says more of a `.tflite`")
        })?;
        let unfit = |error: &(dyn std::error::Error + 'static)| Failure::of(Exit::No, error);
        let model = model_of(&facts.name, imported.graph).map_err(|error| unfit(&error))?;
        let compiled = compile(&model).map_err(|error| unfit(&error))?;
        notes.push("a network alone: readings are its input, classes have numbers".to_owned());
        facts.estimates = estimates(&model, &boards(context, args)?);
        facts.provenance = json!({ "tflite": Digest::of(&bytes).to_string() });
        payload(&model, &compiled, &[]).map_err(|error| unfit(&error))?
    };
    if args.board.is_some() && facts.estimates.is_empty() {
        notes.push(
            "nothing is estimated for a board: what was compiled holds no graph to place on one"
                .to_owned(),
        );
    }
    Ok(Source {
        title: file,
        payload,
        facts,
        notes,
    })
}

/// The boards to estimate for.
fn boards(context: &Context, args: &PackageArgs) -> Result<Vec<Board>, Failure> {
    match &args.board {
        Some(board) => Ok(vec![context.board(board)?]),
        None => Ok(context.boards()?.iter().cloned().collect()),
    }
}

/// What a model takes of boards; none of one that it cannot be compiled for.
fn estimates(model: &Model, boards: &[Board]) -> Vec<Fit> {
    let estimate = |board: &Board| {
        let compiled = compile_for(model, board).ok()?;
        Some(fit(&compiled, board, &Limits::default()))
    };
    boards.iter().filter_map(estimate).collect()
}

async fn of_registry(context: &Context, args: &PackageArgs) -> Result<Source, Failure> {
    let wish: Option<ModelRef> = args
        .model
        .as_deref()
        .map(|given| given.parse().unwrap_or_else(|never| match never {}));
    let boards = boards(context, args)?;
    let (db, artifacts) = context.existing_store().await?;
    let row = chosen(context, &db, wish.as_ref()).await?;
    let decoded = Model::decode(&artifacts.get(&row.digest).await?).map_err(|error| {
        Failure::environment(format!("{} does not read back", title(&row))).cause(&error)
    })?;
    let wanted = args.board.as_ref().map_or("", |_| boards[0].id.as_str());
    let mut notes = Vec::new();
    let bytes = match stored_payload(&db, &artifacts, &row, wanted).await? {
        Some(bytes) => bytes,
        None => {
            notes.push(
                "no payload was made of this version: the self test has drawn vectors only"
                    .to_owned(),
            );
            let compiled = compile(&decoded).map_err(|error| Failure::of(Exit::No, &error))?;
            payload(&decoded, &compiled, &[]).map_err(|error| Failure::of(Exit::No, &error))?
        }
    };
    let signed = capsule::by_payload(&db, &Digest::of(&bytes)).await?;
    Ok(Source {
        title: title(&row),
        facts: Facts {
            name: row.name.clone(),
            model_version: row.version,
            capsule: signed.map(|capsule| capsule.digest.to_string()),
            estimates: estimates(&decoded, &boards),
            provenance: provenance(&db, &row).await?,
            ..Facts::default()
        },
        payload: bytes,
        notes,
    })
}

/// Where a version comes from, as far as its run says; of what is measured in time, nothing.
async fn provenance(db: &Db, row: &model::Model) -> Result<Value, Failure> {
    let mut out = json!({
        "project": row.project,
        "model": row.digest.to_string(),
        "parent": row.parent,
        "metrics": row.metrics,
    });
    if let Some(id) = row.run
        && let Some(run) = run::get(db, id).await?
    {
        let steps = step::of_run(db, id).await?;
        let steps = steps.iter().map(|step| {
            let ports = step
                .outputs
                .iter()
                .map(|port| (port.name.clone(), json!(port.digest.to_string())));
            (step.name.clone(), Value::Object(ports.collect()))
        });
        out["run"] = json!({
            "kind": run.kind,
            "code": run.code,
            "seed": run.seed,
            "settings": run.settings.to_string(),
            "made": Value::Object(steps.collect()),
        });
    }
    Ok(out)
}

/// What a person states goes before what the registry knows.
fn facts(args: &PackageArgs, known: Facts) -> Facts {
    let version = args.package_version.clone();
    Facts {
        package_version: version.unwrap_or_else(|| format!("{}.0.0", known.model_version)),
        name: args.name.clone().unwrap_or(known.name),
        description: args.description.clone(),
        author: args.author.clone(),
        url: args.url.clone(),
        licence: args.licence.clone(),
        ..known
    }
}

/// Signs the list of digests with the release key, if there is one here; answers with its fingerprint.
fn sign(context: &Context, made: &mut Package) -> Result<Option<String>, Failure> {
    let Some(signer) = KeyFolder::new(&context.keys()).signer("release")? else {
        return Ok(None);
    };
    let signature = signer.sign(made.sums())?;
    let key = signer.verifying_key();
    made.with_signature(signature, key.to_bytes());
    Ok(Some(key.id().to_string()))
}

/// Writes the package where nothing is yet: whole or not at all.
fn write(out: Option<&Path>, made: &Package) -> Result<PathBuf, Failure> {
    let usual = made.archive_name().unwrap_or(made.folder());
    let out = out.map_or_else(|| PathBuf::from(usual), Path::to_path_buf);
    let ends = ["zip", "pack"];
    let is_archive = out
        .extension()
        .is_some_and(|end| ends.iter().any(|known| end == *known));
    let shown = out.display();
    if fs::symlink_metadata(&out).is_ok() {
        return Err(Failure::question(format!("`{shown}` is there already"))
            .hint("`--out` names another place; a package is never written over"));
    }
    let cannot = |error: &std::io::Error| {
        Failure::environment(format!("cannot write `{shown}`")).cause(error)
    };
    if is_archive {
        write_new(&out, Readers::Usual, &made.archive()).map_err(|error| cannot(&error))?;
        return Ok(out);
    }
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let half = out.with_file_name(format!(".{name}.half-written"));
    let written = write_folder(&half, made).and_then(|()| fs::rename(&half, &out));
    if let Err(error) = written {
        let _ = fs::remove_dir_all(&half);
        return Err(cannot(&error));
    }
    Ok(out)
}

fn write_folder(folder: &Path, made: &Package) -> std::io::Result<()> {
    // What is left of a write that was interrupted.
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    for (path, bytes) in made.files() {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// Why there is no package, and what to do.
fn refused(title: &str, error: &PackageError) -> Failure {
    let failure = |exit| Failure::of(exit, error).because(format!("of {title}"));
    match error {
        PackageError::InputsOrOutputs => {
            failure(Exit::No).hint("`tinyops import --plan` writes the plan, which `c/` runs as it is")
        }
        PackageError::NoKernel { .. } => {
            failure(Exit::No).hint("`--for rust` packs it")
        }
        PackageError::NoParts => {
            failure(Exit::Question).hint("leave `--with` out: a project in Rust takes the crate tinyops-device")
        }
        PackageError::NoShim { .. } => failure(Exit::Question)
            .hint("`--for arduino` and `--for platformio` do; elsewhere take the folder `c/edge_impulse` by hand"),
        PackageError::Differs { .. } => {
            failure(Exit::No).hint("a device would not take it; run the pipeline again")
        }
        PackageError::Name { .. } => failure(Exit::Question).hint(
            "`--name` gives another: 1 to 40 ASCII letters and digits, with `_`, `-` or `.` between them",
        ),
        PackageError::Version { .. } => {
            failure(Exit::Question).hint("`--package-version 1.0.0` states one")
        }
        _ => failure(Exit::Question),
    }
}

fn ecosystem(text: &str) -> Result<Ecosystem, String> {
    Ecosystem::named(text).ok_or_else(|| {
        let known = Ecosystem::ALL.map(Ecosystem::name);
        format!("packages are for {}", known.join(", "))
    })
}

fn part(text: &str) -> Result<Part, String> {
    Part::named(text).ok_or_else(|| {
        let known = Part::ALL.map(Part::name);
        format!("parts are {}", known.join(", "))
    })
}
