//! Peers from PyPI: a Python that has them, found or made in a folder of ours.

use crate::server::target;
use crate::steps::{Answer, cargo};
use crate::tools::is_everything_asked_for;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A Python in which `imports` load: the machine's own, or an environment in `folder` with `packages`, which is made if it
/// is not there.
///
/// # Errors
/// What could not be had.
pub(crate) fn python(folder: &Path, packages: &[&str], imports: &str) -> Result<PathBuf, String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let own = folder.join("python/bin/python3");
    for python in [Path::new("python3"), &own] {
        if loads(python, imports) {
            return Ok(python.to_path_buf());
        }
    }
    eprintln!(
        "installing {} into {}",
        packages.join(", "),
        folder.display()
    );
    // One that is broken is made anew; a link would be followed to where nothing may be any more.
    let place = folder.join("python");
    if place.is_symlink() {
        std::fs::remove_file(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    }
    let mut environment = Command::new("python3");
    environment.args(["-m", "venv", "--clear"]).arg(place);
    let mut install = Command::new(&own);
    install
        .args(["-m", "pip", "install", "--quiet"])
        .args(packages);
    for command in [&mut environment, &mut install] {
        let status = command.status().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("{command:?} ended with {status}"));
        }
    }
    match loads(&own, imports) {
        true => Ok(own),
        false => Err(format!("`import {imports}` fails")),
    }
}

/// The same for a check that is skipped, and says so, where there is no such Python.
///
/// # Errors
/// What could not be had, where everything is asked for.
pub(crate) fn python_or_skip(
    folder: &Path,
    packages: &[&str],
    imports: &str,
) -> Result<Option<PathBuf>, String> {
    let why = match python(folder, packages, imports) {
        Ok(python) => return Ok(Some(python)),
        Err(why) => why,
    };
    let told = format!("{why}; `pip install {}` brings them", packages.join(" "));
    if is_everything_asked_for() {
        return Err(told);
    }
    println!("skipped: {told}");
    Ok(None)
}

/// Runs a check that needs a Python with `packages`, kept in a folder of that name, and a development build of ours: it is
/// given where both are.
///
/// # Errors
/// What the check found wrong, or why nothing could be built.
pub(crate) fn check_with(
    folder: &str,
    packages: &[&str],
    imports: &str,
    check: impl FnOnce(&Path, &Path) -> Answer,
) -> Answer {
    let Some(python) = python_or_skip(&target().join(folder), packages, imports)? else {
        return Ok(());
    };
    cargo(&["build", "--quiet", "--package", "tinyops"])?;
    check(&python, &target().join("debug/tinyops"))
}

fn loads(python: &Path, imports: &str) -> bool {
    Command::new(python)
        .args(["-c", &format!("import {imports}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
