use std::path::{Path, PathBuf};

use serde::Serialize;
use tinyops_fleet::{KeyFolder, sign::sign_capsule};
use tinyops_server::{admit, requests};
use tinyops_wire::capsule::Unverified;

use crate::{
    cmd::serve::open_keys,
    context::{ACTOR, Context, now},
    failure::{Exit, Failure},
    model_ref::ModelRef,
};

/// Sign releases where the release key is, which need not be the server
///
/// `request` on the server writes what there is to sign, `sign` signs it where the key is, `import` takes it in again.
/// Where the key is on the server, `rollout start` does all three.
#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Request(Request),
    Sign(Sign),
    Import(Import),
}

/// Write a capsule with an empty signature for each board that a version was compiled for
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops release request pump@3 --out requests")]
struct Request {
    /// The model, its version or stage
    model: ModelRef,
    /// The folder for the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// Sign capsules with the release key that is here, after showing what each is
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops release sign requests/*.unsigned")]
struct Sign {
    /// The requests; each gives a file beside it that ends in `.capsule`
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Take in capsules that were signed elsewhere
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops release import requests/*.capsule")]
struct Import {
    /// The capsules
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct View {
    capsules: Vec<CapsuleView>,
}

#[derive(Serialize)]
struct CapsuleView {
    file: String,
    model: String,
    version: u32,
    board: String,
    sequence: u32,
    bytes: usize,
    payload: String,
    /// The id that its reports carry.
    model_id: String,
}

impl CapsuleView {
    fn of(file: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        let claimed = Unverified::parse(bytes).map_err(|error| {
            Failure::of(Exit::Question, &error).because(format!("`{}`", file.display()))
        })?;
        let manifest = claimed.manifest;
        Ok(Self {
            file: file.display().to_string(),
            model: manifest.name.to_owned(),
            version: manifest.version,
            board: manifest.board.to_owned(),
            sequence: manifest.sequence,
            bytes: bytes.len(),
            payload: manifest.payload_digest.to_string(),
            model_id: claimed.model().to_string(),
        })
    }
}

pub(crate) async fn run(context: &Context, args: &Release) -> Result<(), Failure> {
    let capsules = match &args.verb {
        Verb::Request(args) => request(context, args).await?,
        Verb::Sign(args) => sign(context, args)?,
        Verb::Import(args) => import(context, args).await?,
    };
    let view = View { capsules };
    context.terminal.answer(&view, || {
        let line = |capsule: &CapsuleView| {
            format!(
                "  {}  {}@{} for {}, number {}, model id {}, payload {}\n",
                capsule.file,
                capsule.model,
                capsule.version,
                capsule.board,
                capsule.sequence,
                capsule.model_id,
                &capsule.payload[..12]
            )
        };
        view.capsules.iter().map(line).collect()
    });
    Ok(())
}

async fn request(context: &Context, args: &Request) -> Result<Vec<CapsuleView>, Failure> {
    let fleet = context.fleet().await?;
    let model = args.model.resolve(&fleet.db).await?;
    let keys = open_keys(&context.keys())?;
    let requests = requests(&fleet, &keys, &model.name, model.version).await?;
    if requests.is_empty() {
        context
            .terminal
            .note("every board has a capsule that devices take");
    }
    std::fs::create_dir_all(&args.out).map_err(|error| {
        Failure::environment(format!("cannot make `{}`", args.out.display())).cause(&error)
    })?;
    let mut views = Vec::new();
    for (board, bytes) in requests {
        let name = format!("{}-{}-{board}.unsigned", model.name, model.version);
        let path = args.out.join(name);
        context.write(&path, &bytes)?;
        views.push(CapsuleView::of(&path, &bytes)?);
    }
    Ok(views)
}

fn sign(context: &Context, args: &Sign) -> Result<Vec<CapsuleView>, Failure> {
    let signer = KeyFolder::new(&context.keys())
        .signer("release")?
        .ok_or_else(|| {
            Failure::question(format!(
                "there is no release key in `{}`",
                context.keys().display()
            ))
            .hint("`--project DIR` works in the folder of the key; `signers.toml` names a command")
        })?;
    let mut views = Vec::new();
    for file in &args.files {
        let request = read(file)?;
        // Whoever signs sees what before it is signed.
        let shown = CapsuleView::of(file, &request)?;
        context.terminal.note(format_args!(
            "signing {}@{} for {} with key {}",
            shown.model,
            shown.version,
            shown.board,
            signer.verifying_key().id()
        ));
        let signed = sign_capsule(&signer, &request)?;
        let path = file.with_extension("capsule");
        context.write(&path, &signed)?;
        views.push(CapsuleView::of(&path, &signed)?);
    }
    Ok(views)
}

async fn import(context: &Context, args: &Import) -> Result<Vec<CapsuleView>, Failure> {
    let keys = open_keys(&context.keys())?;
    let fleet = context.fleet().await?.with_keys(keys);
    let mut views = Vec::new();
    for file in &args.files {
        let bytes = read(file)?;
        admit(&fleet, &bytes, ACTOR, now())
            .await
            .map_err(|error| Failure::from(error).because(format!("`{}`", file.display())))?;
        views.push(CapsuleView::of(file, &bytes)?);
    }
    Ok(views)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::of(Exit::Question, &error).because(format!("`{}`", path.display()))
    })
}
