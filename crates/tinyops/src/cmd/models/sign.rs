use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tinyops_store::{Digest, DigestBuilder, Readers, write_new};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    model_signature::{IGNORED, Key, PublicKey, Said, Signed, sign, verify},
};

/// The signature of a folder, inside it.
pub(super) const SIGNATURE: &str = "model.sig";
/// The key that models of a project are signed with, in its `.tinyops`.
const KEY: &str = "model-signing.key";
/// Its public half, beside it.
const PUBLIC: &str = "model-signing.pub";

/// Sign the files of a folder, as OpenSSF Model Signing does: `model_signing verify key` checks it
///
/// Without a key one on P-256 is made: `.tinyops/model-signing.key`, and `.tinyops/model-signing.pub` to hand on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models sign fan-3/")]
pub(super) struct Sign {
    /// The folder
    folder: PathBuf,
    /// Private key in PEM, on P-256 or P-384
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Write the signature here [default: model.sig in the folder]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

/// Check that a folder holds what was signed; exit 1 if a file was changed, added or taken away
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models verify fan-3/ --key fan.pub")]
pub(super) struct Verify {
    /// The folder
    folder: PathBuf,
    /// Public key in PEM [default: .tinyops/model-signing.pub]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The signature [default: model.sig in the folder]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

/// `tinyops models sign --json`
#[derive(Serialize)]
struct SignView {
    folder: String,
    signature: String,
    public_key: String,
    file_count: usize,
}

/// `tinyops models verify --json`
#[derive(Serialize)]
struct VerifyView {
    folder: String,
    model: String,
    file_count: usize,
    is_as_signed: bool,
    changed: Vec<String>,
    added: Vec<String>,
    missing: Vec<String>,
}

pub(super) async fn run(context: &Context, args: &Sign) -> Result<(), Failure> {
    let signature = args.signature.clone();
    let signature = signature.unwrap_or_else(|| args.folder.join(SIGNATURE));
    let (key, public_key) = signing_key(context, args.key.as_deref())?;
    let file_count = sign_folder(context, &args.folder, &signature, &key)?;
    let view = SignView {
        folder: args.folder.display().to_string(),
        signature: signature.display().to_string(),
        public_key,
        file_count,
    };
    let detail = serde_json::json!({ "files": file_count, "signature": view.signature });
    let note = context.note_in_audit("model.sign", &view.folder, &detail);
    note.await?;
    context.terminal.answer(&view, || {
        format!(
            "{} files signed; `tinyops models verify {}` or `model_signing verify key {} --signature {} --public_key {}` \
             checks them\n",
            view.file_count, view.folder, view.folder, view.signature, view.public_key
        )
    });
    Ok(())
}

/// The key to sign with, and where its public half is; both are made where nobody names one and none is there.
pub(super) fn signing_key(
    context: &Context,
    named: Option<&Path>,
) -> Result<(Key, String), Failure> {
    let own = context.keys().join(KEY);
    let path = named.unwrap_or(&own);
    if named.is_none() && !own.exists() {
        make_folder(&context.keys())?;
        let made = write_new(&own, Readers::Owner, Key::new_pem().as_bytes());
        made.map_err(|error| cannot("write", &own).cause(&error))?;
        context.terminal.note(format_args!(
            "made {}: whoever has it can sign as you",
            own.display()
        ));
    }
    let key = Key::of_pem(&read(path)?).map_err(|error| {
        Failure::of(Exit::Question, &error).hint(format!("the key file is `{}`", path.display()))
    })?;
    let public = match named {
        None => context.keys().join(PUBLIC),
        Some(path) => path.with_extension("pub"),
    };
    if !public.exists() {
        context.write(&public, key.public_pem().as_bytes())?;
    }
    Ok((key, public.display().to_string()))
}

/// Signs what lies in a folder, and says how many files that are.
pub(super) fn sign_folder(
    context: &Context,
    folder: &Path,
    signature: &Path,
    key: &Key,
) -> Result<usize, Failure> {
    let ignored: Vec<String> = IGNORED.iter().map(|path| (*path).to_owned()).collect();
    let files = files_of(folder, signature, &ignored)?;
    if files.is_empty() {
        return Err(Failure::question(format!(
            "`{}` holds no file to sign",
            folder.display()
        )));
    }
    let said = Said {
        name: name_of(folder),
        files,
        ignored,
    };
    let bundle = sign(key, &said).map_err(|error| Failure::of(Exit::Question, &error))?;
    context.write(signature, bundle.as_bytes())?;
    Ok(said.files.len())
}

pub(super) async fn check(context: &Context, args: &Verify) -> Result<(), Failure> {
    let key = args.key.clone();
    let key = key.unwrap_or_else(|| context.keys().join(PUBLIC));
    let signature = args.signature.clone();
    let signature = signature.unwrap_or_else(|| args.folder.join(SIGNATURE));
    let key = PublicKey::of_pem(&read(&key)?).map_err(|error| {
        Failure::of(Exit::Question, &error).hint(format!("the key file is `{}`", key.display()))
    })?;
    let text = read(&signature)?;
    let said = verify(&String::from_utf8_lossy(&text), &key).map_err(|error| {
        Failure::of(Exit::No, &error).hint(format!("the signature is `{}`", signature.display()))
    })?;
    let found = files_of(&args.folder, &signature, &said.ignored)?;
    let digest_of = |files: &[Signed], path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.map(|file| file.digest)
    };
    let mut view = VerifyView {
        folder: args.folder.display().to_string(),
        model: said.name.clone(),
        file_count: said.files.len(),
        is_as_signed: false,
        changed: Vec::new(),
        added: Vec::new(),
        missing: Vec::new(),
    };
    for file in &said.files {
        match digest_of(&found, &file.path) {
            None => view.missing.push(file.path.clone()),
            Some(digest) if digest != file.digest => view.changed.push(file.path.clone()),
            Some(_) => {}
        }
    }
    let added = found
        .iter()
        .filter(|file| digest_of(&said.files, &file.path).is_none());
    view.added = added.map(|file| file.path.clone()).collect();
    let lists = [
        ("changed", &view.changed),
        ("added", &view.added),
        ("missing", &view.missing),
    ];
    let wrong: Vec<String> = lists
        .iter()
        .flat_map(|(word, paths)| paths.iter().map(move |path| format!("{word}: {path}")))
        .collect();
    view.is_as_signed = wrong.is_empty();
    context.terminal.answer(&view, || match wrong.as_slice() {
        [] => format!("{}: {} files as signed\n", view.folder, view.file_count),
        wrong => format!("  {}\n", wrong.join("\n  ")),
    });
    match wrong.len() {
        0 => Ok(()),
        count => Err(Failure::no(format!(
            "{count} files of `{}` are not as signed",
            args.folder.display()
        ))),
    }
}

/// Every file below a folder by its path there, without the signature and what is left out.
fn files_of(folder: &Path, signature: &Path, ignored: &[String]) -> Result<Vec<Signed>, Failure> {
    let mut files = Vec::new();
    let signature = signature.canonicalize().ok();
    let mut open = vec![(folder.to_path_buf(), String::new())];
    while let Some((folder, before)) = open.pop() {
        let entries =
            fs::read_dir(&folder).map_err(|error| cannot("list", &folder).cause(&error))?;
        for entry in entries {
            let entry = entry.map_err(|error| cannot("list", &folder).cause(&error))?;
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(Failure::question(format!(
                    "the name of `{}` is no text",
                    path.display()
                )));
            };
            let name = format!("{before}{name}");
            if ignored.contains(&name)
                || (signature.is_some() && path.canonicalize().ok() == signature)
            {
                continue;
            }
            let kind = entry.file_type();
            let kind = kind.map_err(|error| cannot("look at", &path).cause(&error))?;
            if kind.is_symlink() {
                return Err(Failure::question(format!(
                    "`{}` is a symbolic link: what it points to may change under the signature",
                    path.display()
                )));
            }
            match kind.is_dir() {
                true => open.push((path, format!("{name}/"))),
                false => files.push(Signed {
                    digest: digest_of_file(&path)?,
                    path: name,
                }),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Read part by part: a model may be larger than memory.
fn digest_of_file(path: &Path) -> Result<Digest, Failure> {
    use std::io::Read as _;
    let mut file = fs::File::open(path).map_err(|error| cannot("read", path).cause(&error))?;
    let mut builder = DigestBuilder::new();
    let mut part = vec![0; 1 << 16];
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(builder.finish()),
            Ok(count) => builder.update(&part[..count]),
            Err(error) => return Err(cannot("read", path).cause(&error)),
        }
    }
}

fn name_of(folder: &Path) -> String {
    let absolute = folder
        .canonicalize()
        .unwrap_or_else(|_| folder.to_path_buf());
    let name = absolute
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "model".to_owned())
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| cannot("make", folder).cause(&error))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        Failure::question(format!("cannot read `{}`", path.display())).cause(&error)
    })
}

fn cannot(verb: &str, path: &Path) -> Failure {
    Failure::environment(format!("cannot {verb} `{}`", path.display()))
}
