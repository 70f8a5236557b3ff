use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tinyops_fleet::{
    KeyFolder,
    keys::{Proposed, Role, Trust, hex_of, public_key},
};
use tinyops_server::hex;
use tinyops_store::{DigestBuilder, hello};
use tinyops_wire::{KeyId, VerifyingKey};

use crate::{
    cmd::serve::seed,
    context::Context,
    failure::{Exit, Failure},
    table::Table,
};

/// Make, show and replace the keys that say what devices run
///
/// A release key says what is a valid model, a director key what each device shall run now, root keys who these two
/// are. `serve` and `demo` make what is missing; docs/guide/keys.md says which key belongs where.
#[derive(Debug, clap::Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Show(Show),
    New(New),
    Rotate(Rotate),
    TakeBack(TakeBack),
    Sign(Sign),
    Install(Install),
    Export(Export),
}

/// Show the keys: which are here, how old they are, who may read them, and which devices know them
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops keys show --json")]
struct Show {}

/// Make all keys that are missing, and the first key set
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops keys new --roots 3 --threshold 2")]
struct New {
    /// How many root keys there are
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    roots: u8,
    /// How many of them it takes to sign a key set
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    threshold: u8,
}

/// Replace the release or director key; the old one stays valid beside the new one
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops keys rotate release")]
struct Rotate {
    /// `release` or `director`
    #[arg(value_parser = role)]
    role: Role,
    /// The public half, 64 hex digits, of a key that is made and kept elsewhere
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    public: Option<VerifyingKey>,
    /// Take the old key back at once: it has leaked
    #[arg(long)]
    take_back: bool,
}

/// Take a key back: it signs nothing any more
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops keys take-back 3fa1b2c4")]
struct TakeBack {
    /// The first 8 hex digits of the key's fingerprint, as `show` tells them
    #[arg(value_parser = key_id)]
    key: KeyId,
}

/// Sign a key set that others have proposed, with the root keys that are here
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops keys sign key-set.next.cose")]
struct Sign {
    /// The file; the signatures are added in it
    file: PathBuf,
}

/// Put a key set in force that enough root keys have signed; devices are told when they next speak
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops keys install key-set.next.cose")]
struct Install {
    /// The key set
    file: PathBuf,
    /// The root keys, for a server that has none yet: `roots.json` of the place where they were made
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
}

/// Write down what firmware carries: the root keys and the newest key set, all public
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops keys export --rust > src/trust.rs")]
struct Export {
    /// As Rust source
    #[arg(long)]
    rust: bool,
}

/// Where a key set waits for more signatures.
const PROPOSED: &str = "key-set.next.cose";

pub(crate) async fn run(context: &Context, args: &Keys) -> Result<(), Failure> {
    let folder = KeyFolder::new(&context.keys());
    match &args.verb {
        Verb::Show(_) => show(context, &folder).await,
        Verb::New(args) => {
            let made = new(context, &folder, args)?;
            let detail = serde_json::json!({ "roots": args.roots, "threshold": args.threshold });
            note(context, "keys.new", &made, detail).await
        }
        Verb::Rotate(args) => {
            let proposed = folder.rotate(args.role, args.public, args.take_back, &seed())?;
            let settled = settle(context, &folder, &proposed)?;
            let detail = serde_json::json!({
                "role": args.role.as_str(), "takes_back": args.take_back,
            });
            note(context, "keys.rotate", &settled, detail).await
        }
        Verb::TakeBack(args) => {
            let settled = settle(context, &folder, &folder.take_back(args.key)?)?;
            let detail = serde_json::json!({ "key": args.key.to_string() });
            note(context, "keys.take_back", &settled, detail).await
        }
        Verb::Sign(args) => {
            let signed = sign(context, &folder, args)?;
            note(context, "keys.sign", &signed, serde_json::json!({})).await
        }
        Verb::Install(args) => {
            let installed = install(context, &folder, args)?;
            note(context, "keys.install", &installed, serde_json::json!({})).await
        }
        Verb::Export(args) => export(context, &folder, args),
    }
}

/// Enters what became of a key set into the audit log, if there is one here.
async fn note(
    context: &Context,
    action: &str,
    view: &SetView,
    mut detail: serde_json::Value,
) -> Result<(), Failure> {
    detail["in_force"] = view.in_force.into();
    detail["signatures"] = view.signatures.into();
    let subject = format!("key set {}", view.key_set);
    context.note_in_audit(action, &subject, &detail).await
}

#[derive(Serialize)]
struct View {
    key_set: u32,
    threshold: u8,
    keys: Vec<KeyView>,
    /// How many devices hold which key set; none says it for a device of before key sets.
    devices: Vec<DevicesView>,
}

#[derive(Serialize)]
struct KeyView {
    role: &'static str,
    id: String,
    fingerprint: String,
    public: String,
    /// Where its private half is.
    place: Place,
    /// Whole days since its file was made; none for a key that is elsewhere.
    age_days: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    /// A file that its owner alone can read.
    File,
    /// A command in `signers.toml`.
    Command,
    /// Not here.
    Elsewhere,
}

#[derive(Serialize)]
struct DevicesView {
    key_set: Option<u32>,
    count: i64,
}

/// The keys of the key set in force and where they are.
pub(crate) fn keys_of(folder: &KeyFolder, trust: &Trust) -> Result<Vec<KeyViewParts>, Failure> {
    let roots = trust.roots.keys().map(|key| ("root", key));
    let release = trust
        .keys
        .release
        .keys()
        .iter()
        .map(|key| ("release", *key));
    let director = trust
        .keys
        .director
        .keys()
        .iter()
        .map(|key| ("director", *key));
    let mut found = Vec::new();
    for (role, key) in roots.chain(release).chain(director) {
        let names: Vec<String> = match role {
            "root" => ["root", "root-2", "root-3"].map(str::to_owned).to_vec(),
            _ => vec![
                role.to_owned(),
                format!("{role}-{}", key.id()),
                format!("{role}.next"),
            ],
        };
        let mut place = Place::Elsewhere;
        let mut file = None;
        for name in names {
            let signer = folder.signer(&name)?;
            if signer.is_some_and(|signer| signer.verifying_key() == key) {
                let path = folder.file(&name);
                place = if path.exists() {
                    Place::File
                } else {
                    Place::Command
                };
                file = path.exists().then_some(path);
                break;
            }
        }
        found.push(KeyViewParts {
            role,
            key,
            place,
            file,
        });
    }
    Ok(found)
}

/// One key and where it is.
pub(crate) struct KeyViewParts {
    pub(crate) role: &'static str,
    pub(crate) key: VerifyingKey,
    place: Place,
    pub(crate) file: Option<PathBuf>,
}

impl KeyViewParts {
    fn view(&self) -> KeyView {
        let mut fingerprint = DigestBuilder::new();
        fingerprint.update(&self.key.to_bytes());
        let age = self.file.as_deref().and_then(age);
        KeyView {
            role: self.role,
            id: self.key.id().to_string(),
            fingerprint: fingerprint.finish().to_string(),
            public: hex_of(&self.key),
            place: self.place.clone(),
            age_days: age.map(|age| age.as_secs() / 86_400),
        }
    }
}

fn age(path: &Path) -> Option<Duration> {
    let made = std::fs::metadata(path).ok()?.modified().ok()?;
    SystemTime::now().duration_since(made).ok()
}

async fn show(context: &Context, folder: &KeyFolder) -> Result<(), Failure> {
    let trust = trust(folder)?;
    // Where keys are made there may well be no store, and a look at them makes none.
    let has_store = !context.settings.is_local() || context.root.join("tinyops.toml").exists();
    let devices = match has_store {
        true => hello::by_key_set(&context.existing_store().await?.0).await?,
        false => Vec::new(),
    };
    let view = View {
        key_set: trust.keys.sequence,
        threshold: trust.roots.threshold(),
        keys: keys_of(folder, &trust)?
            .iter()
            .map(KeyViewParts::view)
            .collect(),
        devices: devices
            .into_iter()
            .map(|(key_set, count)| DevicesView { key_set, count })
            .collect(),
    };
    context.terminal.answer(&view, || text(&view));
    Ok(())
}

fn text(view: &View) -> String {
    let mut table = Table::new(["role", "key", "public half", "private half", "age"]);
    for key in &view.keys {
        let place = match key.place {
            Place::File => "here, its owner's alone",
            Place::Command => "behind a command",
            Place::Elsewhere => "elsewhere",
        };
        let age = key
            .age_days
            .map_or("-".to_owned(), |days| format!("{days} d"));
        table.row([
            key.role.to_owned(),
            key.id.clone(),
            key.public.clone(),
            place.to_owned(),
            age,
        ]);
    }
    let roots = view.keys.iter().filter(|key| key.role == "root").count();
    let mut text = format!(
        "Key set {}; {} of {roots} root keys sign the next\n\n{}",
        view.key_set,
        view.threshold,
        table.text()
    );
    for devices in &view.devices {
        text += &match devices.key_set {
            Some(0) => format!("  {} devices have lost theirs\n", devices.count),
            Some(key_set) => format!("  {} devices hold key set {key_set}\n", devices.count),
            None => format!("  {} devices know no key sets\n", devices.count),
        };
    }
    text
}

fn trust(folder: &KeyFolder) -> Result<Trust, Failure> {
    folder.trust()?.ok_or_else(|| {
        Failure::question("there is no key set here")
            .hint("`tinyops keys new` makes one, `tinyops keys install FILE --roots FILE` takes one from elsewhere")
    })
}

fn new(context: &Context, folder: &KeyFolder, args: &New) -> Result<SetView, Failure> {
    if folder.trust()?.is_some() {
        return Err(Failure::question("there is a key set here already")
            .hint("`tinyops keys rotate` replaces a key"));
    }
    if args.threshold > args.roots {
        return Err(Failure::question(format!(
            "of {} root keys {} cannot be asked for",
            args.roots, args.threshold
        )));
    }
    let keyring = folder.make(usize::from(args.roots), args.threshold, seed)?;
    for parts in keys_of(folder, &keyring.trust)? {
        if let Some(file) = parts.file {
            let shown = file.display();
            context.terminal.note(format_args!(
                "{} key {}: {shown}",
                parts.role,
                parts.key.id()
            ));
        }
    }
    context
        .terminal
        .note("take the root keys away before a fleet matters: docs/guide/keys.md");
    tell(context, &keyring.trust)
}

#[derive(Serialize)]
struct SetView {
    key_set: u32,
    in_force: bool,
    signatures: u8,
    threshold: u8,
    /// Where it waits for more signatures.
    file: Option<String>,
}

fn tell(context: &Context, trust: &Trust) -> Result<SetView, Failure> {
    let view = SetView {
        key_set: trust.keys.sequence,
        in_force: true,
        signatures: trust.roots.threshold(),
        threshold: trust.roots.threshold(),
        file: None,
    };
    context
        .terminal
        .answer(&view, || format!("Key set {} is in force\n", view.key_set));
    context
        .terminal
        .note("a server that runs here takes it up within a second");
    Ok(view)
}

/// Puts a key set in force, or says who has to sign it yet.
fn settle(context: &Context, folder: &KeyFolder, proposed: &Proposed) -> Result<SetView, Failure> {
    if proposed.found >= proposed.needed {
        return tell(context, &folder.install(&proposed.signed)?);
    }
    wait(context, &context.keys().join(PROPOSED), proposed)
}

fn wait(context: &Context, path: &Path, proposed: &Proposed) -> Result<SetView, Failure> {
    context.write(path, &proposed.signed)?;
    let view = SetView {
        key_set: proposed.set.sequence,
        in_force: false,
        signatures: proposed.found,
        threshold: proposed.needed,
        file: Some(path.display().to_string()),
    };
    context.terminal.answer(&view, || {
        format!(
            "Key set {} has {} root signatures, and it takes {}\n",
            view.key_set, view.signatures, view.threshold
        )
    });
    context.terminal.note(format_args!(
        "`tinyops keys sign FILE` adds those of other root keys, `tinyops keys install FILE` puts it in force"
    ));
    Ok(view)
}

fn sign(context: &Context, folder: &KeyFolder, args: &Sign) -> Result<SetView, Failure> {
    let proposed = folder.sign(&read(&args.file)?)?;
    for (role, keys) in [
        ("release", proposed.set.release),
        ("director", proposed.set.director),
    ] {
        for key in keys.keys() {
            context
                .terminal
                .note(format_args!("{role} key {}: {}", key.id(), hex_of(key)));
        }
    }
    wait(context, &args.file, &proposed)
}

fn install(context: &Context, folder: &KeyFolder, args: &Install) -> Result<SetView, Failure> {
    if let Some(roots) = &args.roots {
        std::fs::create_dir_all(context.keys()).map_err(|error| {
            Failure::environment(format!("cannot make `{}`", context.keys().display()))
                .cause(&error)
        })?;
        folder.install_roots(&read(roots)?)?;
    }
    let signed = read(&args.file)?;
    let trust = folder.install(&signed)?;
    let proposed = context.keys().join(PROPOSED);
    if std::fs::read(&proposed).is_ok_and(|bytes| bytes == signed) {
        // It is in force: nobody has to sign it any more.
        let _ = std::fs::remove_file(&proposed);
    }
    tell(context, &trust)
}

#[derive(Serialize)]
struct ExportView {
    threshold: u8,
    roots: Vec<String>,
    key_set: u32,
    release: Vec<String>,
    director: Vec<String>,
    signed: String,
}

fn export(context: &Context, folder: &KeyFolder, args: &Export) -> Result<(), Failure> {
    let trust = trust(folder)?;
    let hexes = |keys: &[VerifyingKey]| keys.iter().map(hex_of).collect::<Vec<_>>();
    let roots: Vec<VerifyingKey> = trust.roots.keys().collect();
    let view = ExportView {
        threshold: trust.roots.threshold(),
        roots: hexes(&roots),
        key_set: trust.keys.sequence,
        release: hexes(trust.keys.release.keys()),
        director: hexes(trust.keys.director.keys()),
        signed: hex(&trust.signed),
    };
    context.terminal.answer(&view, || match args.rust {
        true => rust(&trust, &roots),
        false => serde_json::to_string_pretty(&view).expect("texts and numbers are JSON") + "\n",
    });
    Ok(())
}

/// What firmware makes its `roots` and `keys` of.
fn rust(trust: &Trust, roots: &[VerifyingKey]) -> String {
    let bytes = |bytes: &[u8], margin: &str| {
        let lines = bytes.chunks(16).map(|line| {
            let line: Vec<String> = line.iter().map(|byte| format!("0x{byte:02x}")).collect();
            format!("{margin}{},\n", line.join(", "))
        });
        lines.collect::<String>()
    };
    let mut text = format!(
        "//! Whom this firmware believes: written by `tinyops keys export --rust`.\n\n\
         /// Of the root keys, how many have to sign a key set.\n\
         pub const THRESHOLD: u8 = {};\n\n\
         /// Root keys: `Roots::new` of each `VerifyingKey::from_bytes`.\n\
         pub const ROOTS: [[u8; 32]; {}] = [\n",
        trust.roots.threshold(),
        roots.len()
    );
    for root in roots {
        text += &format!("    [\n{}    ],\n", bytes(&root.to_bytes(), "        "));
    }
    text + &format!(
        "];\n\n/// Key set {}: `SignedKeySet::parse(&KEY_SET)?.set`.\n\
         pub const KEY_SET: [u8; {}] = [\n{}];\n",
        trust.keys.sequence,
        trust.signed.len(),
        bytes(&trust.signed, "    ")
    )
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::of(Exit::Question, &error).because(format!("`{}`", path.display()))
    })
}

fn role(text: &str) -> Result<Role, String> {
    match text {
        "release" => Ok(Role::Release),
        "director" => Ok(Role::Director),
        _ => Err("`release` or `director`; root keys change with the firmware".to_owned()),
    }
}

fn key_id(text: &str) -> Result<KeyId, String> {
    let wrong = || "8 hex digits, as `tinyops keys show` tells them".to_owned();
    let number = u32::from_str_radix(text, 16).map_err(|_| wrong())?;
    if text.len() != 8 {
        return Err(wrong());
    }
    Ok(KeyId(number.to_be_bytes()))
}
