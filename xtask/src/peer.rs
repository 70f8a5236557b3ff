//! Peers from PyPI: a Python that has them, found or made in a folder of ours.

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
    let mut environment = Command::new("python3");
    environment.args(["-m", "venv"]).arg(folder.join("python"));
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

fn loads(python: &Path, imports: &str) -> bool {
    Command::new(python)
        .args(["-c", &format!("import {imports}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
