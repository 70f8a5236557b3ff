use std::{env, path::Path};

use serde::Serialize;
use tinyops_emulate::{Firmware, MACHINES, Toolchain};
use tinyops_fleet::KeyFolder;

use crate::{context::Context, failure::Failure};

/// Look for what TinyOps needs on this machine, and say what is missing and what it is for
///
/// Nothing but the store is needed to train, serve and simulate; the emulator is for the smoke step. Exits with
/// 3 if the store cannot be used.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {}

#[derive(Serialize)]
struct View {
    healthy: bool,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    what: &'static str,
    found: bool,
    needed: bool,
    detail: String,
}

pub(crate) async fn run(context: &Context, _: &Doctor) -> Result<(), Failure> {
    let checks = vec![
        store(context).await,
        keys(context),
        optional("targets of the emulated boards", targets()),
        optional(
            "firmware of the emulated board",
            Firmware::find().map(|_| "found".to_owned()),
        ),
        program(
            "qemu-system-arm",
            "`apt-get install qemu-system-arm`, for the smoke step",
        ),
        program(
            "chromium",
            "`apt-get install chromium`, for screenshots of the pages",
        ),
    ];
    let healthy = checks.iter().all(|check| check.found || !check.needed);
    let view = View { healthy, checks };
    context.terminal.answer(&view, || {
        view.checks
            .iter()
            .map(|check| {
                let word = match (check.found, check.needed) {
                    (true, _) => "ok",
                    (false, true) => "MISSING",
                    (false, false) => "absent",
                };
                format!("  {word:<8} {:<32} {}\n", check.what, check.detail)
            })
            .collect()
    });
    if healthy {
        Ok(())
    } else {
        Err(Failure::environment("something that is needed is missing"))
    }
}

/// How the targets of all machines are had, or the first that is missing.
fn targets() -> Result<String, tinyops_emulate::EmulateError> {
    let mut installed = 0;
    for machine in &MACHINES {
        installed += usize::from(Toolchain::find(machine)? == Toolchain::Installed);
    }
    Ok(match installed {
        count if count == MACHINES.len() => "installed".to_owned(),
        _ => "Debian's cargo-web builds `core` for them".to_owned(),
    })
}

async fn store(context: &Context) -> Check {
    // A look into the store must not make one in a folder that is no project's.
    let detail = if context.settings.is_local() && !context.root.join("tinyops.toml").exists() {
        Ok("made by the first run in a project folder".to_owned())
    } else {
        match context.store().await {
            Ok((db, _)) => Ok(db.place().to_owned()),
            Err(failure) => Err(failure.render(false)),
        }
    };
    Check {
        what: "store",
        found: detail.is_ok(),
        needed: true,
        detail: detail.unwrap_or_else(|failure| failure),
    }
}

/// Whether the keys that are here can be used: sound, their owner's alone, and in the key set.
fn keys(context: &Context) -> Check {
    let folder = KeyFolder::new(&context.keys());
    let detail = folder
        .trust()
        .map_err(Failure::from)
        .and_then(|trust| match trust {
            None => Ok("made by the first `tinyops serve`".to_owned()),
            Some(trust) => {
                let keyring = folder.open(trust)?;
                let at_risk = folder.roots_here()?.len();
                let release = match keyring.release {
                    Some(_) => "release key here",
                    None => "release key elsewhere",
                };
                Ok(format!(
                    "key set {}, director and {release}, {at_risk} root keys here",
                    keyring.trust.keys.sequence
                ))
            }
        });
    Check {
        what: "keys",
        found: detail.is_ok(),
        needed: true,
        detail: detail.unwrap_or_else(|failure| failure.render(false)),
    }
}

fn optional(what: &'static str, found: Result<String, impl std::fmt::Display>) -> Check {
    Check {
        what,
        found: found.is_ok(),
        needed: false,
        detail: found.unwrap_or_else(|error| error.to_string()),
    }
}

fn program(what: &'static str, remedy: &str) -> Check {
    let found = env::var_os("PATH").and_then(|paths| {
        env::split_paths(&paths)
            .map(|folder| folder.join(what))
            .find(|path| Path::new(path).is_file())
    });
    Check {
        what,
        found: found.is_some(),
        needed: false,
        detail: found.map_or_else(|| remedy.to_owned(), |path| path.display().to_string()),
    }
}
