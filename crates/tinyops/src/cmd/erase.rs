//! `tinyops erase`: what is known of a person or a device goes.

use std::{collections::BTreeSet, fmt::Write as _};

use serde::Serialize;
use tinyops_pipeline::{
    erase::{EraseError, Erasure, Plan, Whose},
    versions::VersionError,
};
use tinyops_store::remote::Remote;

use crate::{
    cmd::data::{counted, remote_url, sized},
    context::{ACTOR, Context, now},
    failure::{Exit, Failure},
    model_ref::title,
};

/// Names of a kind that a person is shown; `--json` has them all.
const LISTED: usize = 10;

/// Erase the recordings of a person, a machine or a device, and say what was made from them
///
/// Without `--yes` it only says what would go: files and uploads, the dataset versions and models that were made from
/// them, the devices that run these, and the objects that versions of `tinyops data` keep of them. With it files, uploads,
/// objects in the cache and on the remote and what was featurized are removed, tracked folders get a version without them,
/// and the models are never promoted or released again: train anew, and roll out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops erase --group m3 --why 'asked for on 12 Nov' --yes")]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["group", "device", "recording", "expired"]))]
pub(crate) struct Erase {
    /// Those of a group: a person, a machine, a session
    #[arg(long)]
    group: Option<String>,
    /// Those of a device, by the name that it calls itself in what it uploads
    #[arg(long)]
    device: Option<String>,
    /// This one, by its name as `tinyops data show` lists it; may be given several times
    #[arg(long)]
    recording: Vec<String>,
    /// Those whose consent has ended
    #[arg(long)]
    expired: bool,
    /// Why, for the audit log
    #[arg(long, default_value = "")]
    why: String,
    /// A remote that has versions of them, too; may be given several times [default: that of `tinyops data push`]
    #[arg(long, value_name = "URL")]
    remote: Vec<String>,
    /// Leave every remote as it is
    #[arg(long, conflicts_with = "remote")]
    no_remote: bool,
    /// Erase, and do not only say what would go
    #[arg(long, short)]
    yes: bool,
    /// Erase although of some versions it is not known what they hold
    #[arg(long, requires = "yes")]
    force: bool,
}

/// `tinyops erase --json`
#[derive(Serialize)]
struct View<'a> {
    erased: bool,
    recordings: &'a BTreeSet<String>,
    files: Vec<String>,
    uploads: Vec<i64>,
    shared_files: &'a BTreeSet<String>,
    versions: Vec<String>,
    models: Vec<ModelView>,
    capsules: Vec<CapsuleView>,
    artifacts: usize,
    tracked: &'a [String],
    tracked_versions: &'a BTreeSet<String>,
    objects: Vec<String>,
    cached: u64,
    cached_bytes: u64,
    remotes: &'a [String],
    unknown_versions: &'a [String],
}

#[derive(Serialize)]
struct ModelView {
    model: String,
    stage: &'static str,
}

#[derive(Serialize)]
struct CapsuleView {
    model_id: String,
    model: String,
    board: String,
    devices: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: &Erase) -> Result<(), Failure> {
    let (whose, subject) = match (&args.group, &args.device, args.expired) {
        (Some(group), _, _) => (Whose::Group(group.clone()), format!("group {group}")),
        (_, Some(device), _) => (Whose::Device(device.clone()), format!("device {device}")),
        (_, _, true) => (Whose::Expired, "expired".to_owned()),
        _ => {
            let names: BTreeSet<String> = args.recording.iter().cloned().collect();
            let subject = match args.recording.as_slice() {
                [one] => format!("recording {one}"),
                _ => format!("{} recordings", names.len()),
            };
            (Whose::Recordings(names), subject)
        }
    };
    let workshop = context.workshop().await?;
    let urls = match args.no_remote {
        true => Vec::new(),
        false if args.remote.is_empty() => remote_url(context)?.into_iter().collect(),
        false => args.remote.clone(),
    };
    let found = match args.yes {
        false => Plan::of(&workshop, &whose, now()).await,
        true => {
            let remotes = urls.iter().map(|url| Remote::open(url));
            let remotes = remotes.collect::<Result<Vec<_>, _>>()?;
            let erasure = Erasure {
                anyway: args.force,
                actor: ACTOR,
                subject: &subject,
                why: &args.why,
            };
            Plan::carry_out(&workshop, &whose, remotes, erasure, now()).await
        }
    };
    let plan = found.map_err(failure)?;
    if plan.is_empty() && plan.shared.is_empty() {
        return match args.expired {
            true => {
                context.terminal.answer(&view(&plan, &[], false), || {
                    "  no consent has ended\n".to_owned()
                });
                Ok(())
            }
            false => Err(Failure::question(format!("nothing is known of {subject}"))
                .hint("`tinyops data show` lists groups, `tinyops data uploads` devices")),
        };
    }
    let urls = match plan.traces.objects.is_empty() {
        true => Vec::new(),
        false => urls,
    };
    context.terminal.answer(&view(&plan, &urls, args.yes), || {
        text(&plan, &subject, &urls, args.yes)
    });
    Ok(())
}

fn failure(error: EraseError) -> Failure {
    if let EraseError::Versions(VersionError::Unknown(versions)) = &error {
        let unknown = versions.iter().take(LISTED);
        return unknown
            .fold(Failure::of(Exit::No, &error), |failure, version| {
                failure.because(format!("what {version} holds"))
            })
            .hint(
                "nothing was erased: `--remote URL` names a remote that has their lists, `--force` erases without \
                 knowing what they hold",
            );
    }
    match error {
        EraseError::Store(error) => error.into(),
        EraseError::Versions(error) => error.into(),
        EraseError::Shared(_) => Failure::of(Exit::Question, &error).hint(
            "nothing was erased: take their rows out of the file by hand, or erase the others, too",
        ),
        EraseError::Remove { .. } => Failure::of(Exit::Environment, &error)
            .hint("the same command again goes on where it stopped"),
        error => Failure::of(Exit::Question, &error),
    }
}

fn view<'a>(plan: &'a Plan, remotes: &'a [String], erased: bool) -> View<'a> {
    View {
        erased,
        recordings: &plan.recordings,
        files: plan.files.values().cloned().collect(),
        uploads: plan.uploads.iter().map(|upload| upload.id.0).collect(),
        shared_files: &plan.shared,
        versions: plan.versions.iter().map(ToString::to_string).collect(),
        models: plan
            .models
            .iter()
            .map(|model| ModelView {
                model: title(model),
                stage: model.stage.word(),
            })
            .collect(),
        capsules: plan
            .capsules
            .iter()
            .map(|carried| CapsuleView {
                model_id: carried.model_id.to_string(),
                model: carried.model.clone(),
                board: carried.board.clone(),
                devices: carried.devices.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        artifacts: plan.artifacts.len(),
        tracked: &plan.traces.paths,
        tracked_versions: &plan.traces.versions,
        objects: plan
            .traces
            .objects
            .iter()
            .map(ToString::to_string)
            .collect(),
        cached: plan.traces.cached,
        cached_bytes: plan.traces.cached_bytes,
        remotes,
        unknown_versions: &plan.traces.unknown,
    }
}

fn text(plan: &Plan, subject: &str, remotes: &[String], erased: bool) -> String {
    let mut out = format!("{subject}\n");
    let verb = if erased { "erased" } else { "would go" };
    let _ = writeln!(
        out,
        "  {verb}: {} in {}, {}, {} with their features",
        counted(plan.recordings.len() as u64, "recording"),
        counted(plan.files.len() as u64, "file"),
        counted(plan.uploads.len() as u64, "upload"),
        counted(plan.artifacts.len() as u64, "artifact")
    );
    for name in plan.recordings.iter().take(LISTED) {
        let _ = writeln!(out, "    - {name}");
    }
    if plan.recordings.len() > LISTED {
        let _ = writeln!(out, "    - and {} more", plan.recordings.len() - LISTED);
    }
    versions_text(&mut out, plan, remotes, erased);
    for file in plan.shared.iter().take(LISTED) {
        let _ = writeln!(
            out,
            "  `{file}` holds recordings of others as well: it cannot go as a file"
        );
    }
    let _ = writeln!(
        out,
        "  listed by {}, learned by {}:",
        counted(plan.versions.len() as u64, "dataset version"),
        counted(plan.models.len() as u64, "model")
    );
    for model in &plan.models {
        let stage = model.stage.word();
        let _ = writeln!(out, "    {} ({stage})", title(model));
    }
    for carried in plan
        .capsules
        .iter()
        .filter(|carried| !carried.devices.is_empty())
    {
        let (count, board) = (carried.devices.len(), &carried.board);
        let _ = writeln!(out, "    {} devices ({board}) run {}", count, carried.model);
    }
    if erased && !plan.traces.objects.is_empty() {
        out += "  next: commit the new pointers and `.tinyopsforgotten`, which keeps others from bringing it back, \
                `tinyops data push`, and let others pull\n";
    } else if erased && !plan.traces.paths.is_empty() {
        out +=
            "  next: the pointers are new; commit them, `tinyops data push`, and let others pull\n";
    }
    if !plan.models.is_empty() {
        out += "  next: `tinyops run` trains without them, `tinyops rollout start` sends it to the devices\n";
    }
    if !erased {
        out += "  nothing was changed; `--yes` erases\n";
    }
    out
}

/// What versions of tracked files keep, and where it goes from.
fn versions_text(out: &mut String, plan: &Plan, remotes: &[String], erased: bool) {
    let traces = &plan.traces;
    for version in traces.unknown.iter().take(LISTED) {
        let then = match erased {
            true => "it may keep some of them still",
            false => "`--yes` looks on the remote, and stops where that has it not",
        };
        let _ = writeln!(out, "  not known here: what {version} holds; {then}");
    }
    if traces.is_empty() {
        return;
    }
    let verb = if erased { "gone" } else { "would go" };
    let of = match traces.paths.is_empty() {
        true => "the past".to_owned(),
        false => traces.paths.join(", "),
    };
    let _ = writeln!(
        out,
        "  kept by {} of {of}: {} {verb} from the cache ({})",
        counted(traces.versions.len() as u64, "version"),
        counted(traces.cached, "object"),
        sized(traces.cached_bytes)
    );
    for object in traces.objects.iter().take(LISTED) {
        let _ = writeln!(out, "    - {object}");
    }
    if traces.objects.len() > LISTED {
        let _ = writeln!(out, "    - and {} more", traces.objects.len() - LISTED);
    }
    for remote in remotes {
        let _ = writeln!(out, "  and from {remote}, as far as they are there");
    }
    if remotes.is_empty() && !traces.objects.is_empty() {
        *out += "  no remote is looked at; `--remote URL` names one\n";
    }
}
