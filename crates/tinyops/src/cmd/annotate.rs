mod recording;

use std::{io, path::PathBuf};

use serde::Serialize;
use tinyops_fleet::{
    FleetError,
    annotate::{AnnotationWish, HOURS_MAX, Unasked, Whom, bound_of},
};
use tinyops_server::AnnotationView;
use tinyops_store::{
    DeviceId, Digest, ModelId, Readers,
    annotation::{self, Annotation, AnnotationState},
    write_new,
};
use tinyops_wire::{
    annotation::{ORDER_WINDOWS_MAX, OpenWindow},
    sealing::{AnnotatorKey, AnnotatorSecret, ENCAPSULATED_BYTES, TAG_BYTES, open},
};

use self::recording::Shape;
use crate::{
    cmd::serve::seed,
    context::{ACTOR, Context, moment},
    failure::{Exit, Failure},
    table::Table,
};

/// Ask devices for the few windows that are worth a look, and open what they send
///
/// A device sends windows only if its owner has consented to this annotator's key, and only so many in a month. They are
/// sealed on the device: the server keeps bytes that it cannot read. docs/privacy.md says what leaves.
#[derive(Debug, clap::Args)]
pub(crate) struct Annotate {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Keys(Keys),
    Ask(Ask),
    Ls(Ls),
    Open(Open),
}

/// Make the annotator's pair of keys, or show its public half
#[derive(Debug, clap::Args)]
struct Keys {
    #[command(subcommand)]
    verb: KeysVerb,
}

#[derive(Debug, clap::Subcommand)]
enum KeysVerb {
    New(New),
    Show(Show),
}

/// Make a pair of keys: the private half in a file that its owner alone can read, the public half beside it in `FILE.pub`
///
/// Make it where windows are looked at, not where the server runs: whoever has both can read every window.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops annotate keys new --key ~/annotator.key")]
struct New {
    #[command(flatten)]
    key: KeyFile,
}

/// Show the public half, which devices are given and orders name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops annotate keys show --key ~/annotator.key")]
struct Show {
    #[command(flatten)]
    key: KeyFile,
}

/// Where the private half is.
#[derive(Debug, clap::Args)]
struct KeyFile {
    /// File with the private half [default: .tinyops/annotator.key in the project]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Order windows: of the next that come, few that lie far apart
///
/// A device chooses by its model's embedding, so that rare ones are among them, and says no where its owner has not
/// consented, or its month's quota is spent. A device with an open order is passed over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops annotate ask --cohort hall --count 8 --of 500")]
struct Ask {
    /// This device alone, 16 hex digits
    #[arg(long)]
    device: Option<DeviceId>,
    /// Devices that run this model, 8 hex digits
    #[arg(long)]
    model: Option<ModelId>,
    /// Devices of this cohort
    #[arg(long)]
    cohort: Option<String>,
    /// How many windows at most, from each device
    #[arg(long, default_value_t = ORDER_WINDOWS_MAX)]
    count: u8,
    /// Out of how many that come next
    #[arg(long = "of", value_name = "N", default_value_t = 500)]
    windows: u16,
    /// Hours in which devices may be told
    #[arg(long, default_value_t = 72, value_parser = clap::value_parser!(u32).range(1..=i64::from(HOURS_MAX)))]
    hours: u32,
    /// Whom they are sealed for: a public key, 64 hex digits, or the file that holds it
    /// [default: .tinyops/annotator.key.pub in the project]
    #[arg(long, value_name = "KEY")]
    annotator: Option<String>,
    /// Why, for the records
    #[arg(long, default_value = "")]
    why: String,
}

/// List the orders, newest first, and what devices said to them
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops annotate ls")]
struct Ls {
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// Open the windows that have come, and write each as a recording that the project's first source reads
///
/// It is written as plain CSV or WAV; where that source reads another format, or tables otherwise than with a header,
/// commas and every row, nothing is opened. They have no label. Look at them, then `tinyops data add FILE --label CLASS` puts each where the project finds it. What
/// came over a slow link has no readings, and is only listed. A window that is there already is left alone; one that does
/// not open, because its bytes have changed or it was sealed for another, ends the command.
///
/// This reads the store itself and not the server: with SQLite the key has to be where the server's folder can be read,
/// with PostgreSQL and S3 it can be on another machine that reaches both. The audit log tells of it, but not of who
/// fetches a sealed parcel over HTTP.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops annotate open to-label")]
struct Open {
    /// Folder that they are written to
    folder: PathBuf,
    /// Of this order alone
    #[arg(long)]
    order: Option<i64>,
    #[command(flatten)]
    key: KeyFile,
}

#[derive(Serialize)]
struct KeyView {
    annotator: String,
    id: String,
    file: PathBuf,
}

#[derive(Serialize)]
struct WindowView {
    order: i64,
    device: String,
    model: String,
    /// Its place among those that came after the order, from 0.
    number: u16,
    /// What the model said of it.
    class: Option<u8>,
    output: f32,
    /// None: it came without readings.
    file: Option<PathBuf>,
    /// What it was chosen by.
    vector: Vec<i8>,
}

pub(crate) async fn run(context: &Context, args: &Annotate) -> Result<(), Failure> {
    match &args.verb {
        Verb::Keys(args) => keys(context, args),
        Verb::Ask(args) => ask(context, args).await,
        Verb::Ls(args) => ls(context, args).await,
        Verb::Open(args) => open_windows(context, args).await,
    }
}

/// What the file of a private half begins with, so that it cannot be taken for a public one.
const SECRET_PREFIX: &str = "annotator-secret ";

/// A public key out of its 64 hex digits, or out of the file that holds them; the file of a private half is refused.
pub(crate) fn annotator_key(given: &str) -> Result<AnnotatorKey, Failure> {
    let parsed = |text: &str| text.trim().parse::<Digest>().map(|key| AnnotatorKey(key.0));
    parsed(given).or_else(|_| {
        let text = std::fs::read_to_string(given).map_err(|error| {
            Failure::question(format!(
                "`{given}` is no annotator's key, nor a file that can be read"
            ))
            .cause(&error)
            .hint("a public key has 64 hex digits; `tinyops annotate keys new` makes one")
        })?;
        if text.starts_with(SECRET_PREFIX) {
            return Err(Failure::question(format!(
                "`{given}` holds an annotator's private half, which is told to nobody"
            ))
            .hint(format!("name `{given}.pub`, its public half")));
        }
        parsed(&text).map_err(|_| {
            Failure::question(format!("`{given}` holds no annotator's key: 64 hex digits"))
        })
    })
}

impl KeyFile {
    fn path(&self, context: &Context) -> PathBuf {
        self.key
            .clone()
            .unwrap_or_else(|| context.keys().join("annotator.key"))
    }

    fn read(&self, context: &Context) -> Result<AnnotatorSecret, Failure> {
        let path = self.path(context);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::question(format!("cannot read `{}`", path.display()))
                .cause(&error)
                .hint("`tinyops annotate keys new` makes a key; `--key FILE` names another")
        })?;
        text.strip_prefix(SECRET_PREFIX)
            .and_then(|digits| digits.trim().parse::<Digest>().ok())
            .map(|secret| AnnotatorSecret(secret.0))
            .ok_or_else(|| {
                Failure::question(format!(
                    "`{}` holds no private half of an annotator's keys: `{SECRET_PREFIX}` and 64 hex digits",
                    path.display()
                ))
            })
    }
}

fn public_file(path: &std::path::Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn keys(context: &Context, args: &Keys) -> Result<(), Failure> {
    let (file, secret) = match &args.verb {
        KeysVerb::New(args) => {
            let path = args.key.path(context);
            let secret = AnnotatorSecret::from_seed(&seed());
            if args.key.key.is_none() {
                std::fs::create_dir_all(context.keys()).map_err(|error| {
                    Failure::environment(format!("cannot make `{}`", context.keys().display()))
                        .cause(&error)
                })?;
            }
            let private = format!("{SECRET_PREFIX}{}\n", Digest(secret.0));
            let public = format!("{}\n", Digest(secret.key().0));
            let files = [
                (path.clone(), Readers::Owner, private),
                (public_file(&path), Readers::Usual, public),
            ];
            let present = |file: &std::path::Path| {
                Failure::question(format!("`{}` is there already", file.display())).hint(
                    "windows that were sealed for it open with it alone; `--key FILE` makes another",
                )
            };
            // Both before either is written: half a pair would be of no use, and in the way.
            if let Some((file, ..)) = files.iter().find(|(file, ..)| file.exists()) {
                return Err(present(file));
            }
            for (file, readers, text) in files {
                write_new(&file, readers, text.as_bytes()).map_err(|error| {
                    let failure = match error.kind() {
                        io::ErrorKind::AlreadyExists => present(&file),
                        _ => Failure::environment(format!("cannot write `{}`", file.display())),
                    };
                    failure.cause(&error)
                })?;
            }
            (path, secret)
        }
        KeysVerb::Show(args) => (args.key.path(context), args.key.read(context)?),
    };
    let view = KeyView {
        annotator: Digest(secret.key().0).to_string(),
        id: secret.key().id().to_string(),
        file,
    };
    context
        .terminal
        .answer(&view, || format!("{}\n", view.annotator));
    Ok(())
}

async fn ask(context: &Context, args: &Ask) -> Result<(), Failure> {
    let annotator = match &args.annotator {
        Some(given) => annotator_key(given)?,
        None => {
            let usual = public_file(&context.keys().join("annotator.key"));
            annotator_key(&usual.display().to_string())?
        }
    };
    let whom = Whom {
        device: args.device,
        model: args.model,
        cohort: args.cohort.clone(),
    };
    let wish = AnnotationWish {
        annotator,
        count: args.count,
        windows: args.windows,
        within_ms: i64::from(args.hours) * 3_600_000,
        why: &args.why,
    };
    let fleet = context.fleet().await?;
    let orders = fleet
        .ask_windows(&whom, &wish, ACTOR, crate::context::now())
        .await?;
    let views: Vec<AnnotationView> = orders.into_iter().map(AnnotationView::from).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "orders": views }), || {
            format!(
                "{} devices are asked for {} of their next {} windows, sealed for {}\n",
                views.len(),
                args.count,
                args.windows,
                annotator.id()
            )
        });
    Ok(())
}

async fn ls(context: &Context, args: &Ls) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let orders = annotation::list(&db, args.limit).await?;
    let mut table = Table::new([
        "order",
        "device",
        "annotator",
        "windows",
        "state",
        "left",
        "asked (UTC)",
    ]);
    for order in &orders {
        let left = order
            .quota_left
            .map_or("–".to_owned(), |left| left.to_string());
        table.row([
            order.id.to_string(),
            order.asked.device.to_string(),
            AnnotatorKey(order.asked.annotator).id().to_string(),
            format!("{} of {}", order.chosen, order.asked.count),
            state_of(order),
            left,
            moment(order.made_at),
        ]);
    }
    let views: Vec<AnnotationView> = orders.into_iter().map(AnnotationView::from).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "orders": views }), || {
            if views.is_empty() {
                "  no device was asked for windows\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}

fn state_of(order: &Annotation) -> String {
    let is_late = order.asked.expires_at <= crate::context::now();
    match order.state {
        AnnotationState::Refused => format!("refused: {}", order.reason),
        AnnotationState::Asked if is_late => "was not there in time".to_owned(),
        state => state.to_string(),
    }
}

async fn open_windows(context: &Context, args: &Open) -> Result<(), Failure> {
    let secret = args.key.read(context)?;
    let shape = Shape::of(context.project_if_any()?.as_ref(), &context.root)?;
    let fleet = context.fleet().await?;
    let mut orders = annotation::list(&fleet.db, u32::MAX >> 1).await?;
    orders.retain(|order| {
        order.parcel.is_some()
            && order.asked.annotator == secret.key().0
            && args.order.is_none_or(|number| number == order.id.0)
    });
    orders.reverse();
    let mut views = Vec::new();
    let (mut written, mut present) = (0, 0);
    for order in &orders {
        let (order, mut parcel) = match fleet.parcel(order.id).await {
            Ok(found) => found,
            Err(FleetError::Annotation(gone @ Unasked::Gone(_))) => {
                context.terminal.note(gone);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let len = open(&secret, &bound_of(&order), &mut parcel).map_err(|error| {
            Failure::of(Exit::Question, &error)
                .because(format!(
                    "order {} of device {}",
                    order.id, order.asked.device
                ))
                .hint("nothing of it was written; ask the device again")
        })?;
        if views.is_empty() {
            std::fs::create_dir_all(&args.folder).map_err(|error| {
                Failure::environment(format!("cannot make `{}`", args.folder.display()))
                    .cause(&error)
            })?;
        }
        let detail = serde_json::json!({
            "device": order.asked.device.to_string(), "windows": order.chosen,
        });
        let subject = order.id.to_string();
        context
            .note_in_audit("annotation.open", &subject, &detail)
            .await?;
        let windows = parcel[ENCAPSULATED_BYTES..].chunks_exact(len + TAG_BYTES);
        for (window, place) in windows.zip(1..) {
            let window = OpenWindow::decode(&window[..len]).ok_or_else(|| {
                Failure::question(format!(
                    "order {}: a window that this version cannot read",
                    order.id
                ))
            })?;
            let readings: Vec<f32> = window.readings().collect();
            let mut file = None;
            if !readings.is_empty() {
                let name = format!(
                    "{}-{}-{place}.{}",
                    order.asked.device,
                    order.id,
                    shape.extension()
                );
                let path = args.folder.join(name);
                let bytes = shape.write(&window.head, &readings);
                match write_new(&path, Readers::Owner, &bytes) {
                    Ok(()) => written += 1,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => present += 1,
                    Err(error) => {
                        return Err(Failure::environment(format!(
                            "cannot write `{}`",
                            path.display()
                        ))
                        .cause(&error));
                    }
                }
                file = Some(path);
            }
            views.push(WindowView {
                order: order.id.0,
                device: order.asked.device.to_string(),
                model: order.asked.model.to_string(),
                number: window.head.number,
                class: window.head.class,
                output: window.head.output,
                file,
                vector: window.vector.iter().map(|byte| *byte as i8).collect(),
            });
        }
    }
    let text = || {
        let slow = views.len() - written - present;
        let mut text = format!("  {written} windows written to {}", args.folder.display());
        if present > 0 {
            text += &format!(", {present} were there");
        }
        if slow > 0 {
            text += &format!("; {slow} came over a slow link, without readings");
        }
        text + "\n  `tinyops data add FILE --label CLASS --group DEVICE` puts one among the project's recordings\n"
    };
    context
        .terminal
        .answer(&serde_json::json!({ "windows": views }), text);
    Ok(())
}
