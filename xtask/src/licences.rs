//! Licences and sources of what we build on: cargo-deny where it is installed, else the same
//! `deny.toml` read here (licence expressions and registries; no advisories, which need the network).

use crate::imports::metadata;
use crate::steps::{Answer, cargo, root};
use std::process::{Command, Stdio};

/// Fails with every dependency whose licence is not allowed or whose source is not the registry.
pub(crate) fn check() -> Answer {
    let installed = Command::new("cargo")
        .args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if installed {
        return cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"]);
    }
    println!(
        "cargo-deny is not installed (`cargo install cargo-deny`): checking deny.toml's licences and sources here"
    );
    own_check()
}

fn own_check() -> Answer {
    let text = std::fs::read_to_string(root().join("deny.toml"))
        .map_err(|error| format!("deny.toml: {error}"))?;
    let settings: toml::Table = text
        .parse()
        .map_err(|error| format!("deny.toml: {error}"))?;
    let allowed = licensees(settings.get("licenses"), "licenses")?;
    let exceptions = exceptions(&settings)?;
    let metadata = metadata(&[])?;
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let source = package["source"].as_str();
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            faults.push(format!("`{name}` does not come from the registry"));
        }
        let Some(licence) = package["license"].as_str() else {
            faults.push(format!("`{name}` names no licence"));
            continue;
        };
        let own = exceptions.iter().filter(|(excepted, _)| excepted == name);
        let mut all = allowed.clone();
        all.extend(own.flat_map(|(_, more)| more.iter().cloned()));
        match permits(licence, &all) {
            Ok(true) => {}
            Ok(false) => faults.push(format!(
                "`{name}` is under `{licence}`, which deny.toml does not allow"
            )),
            Err(error) => faults.push(format!("`{name}`: licence `{licence}`: {error}")),
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(faults.join("\n  "))
}

/// What single packages may be under besides.
fn exceptions(settings: &toml::Table) -> Result<Vec<(String, Vec<spdx::Licensee>)>, String> {
    let list = settings
        .get("licenses")
        .and_then(|licences| licences.get("exceptions"))
        .and_then(toml::Value::as_array);
    let one = |exception: &toml::Value| {
        let package = exception.get("crate").and_then(toml::Value::as_str);
        let package = package.ok_or("deny.toml has an exception for no crate")?;
        let more = licensees(Some(exception), "licenses.exceptions")?;
        Ok((package.to_owned(), more))
    };
    list.into_iter().flatten().map(one).collect()
}

fn licensees(of: Option<&toml::Value>, place: &str) -> Result<Vec<spdx::Licensee>, String> {
    let list = of
        .and_then(|licences| licences.get("allow"))
        .and_then(toml::Value::as_array)
        .ok_or_else(|| format!("deny.toml has no {place}.allow"))?;
    list.iter()
        .filter_map(toml::Value::as_str)
        .map(|name| {
            spdx::Licensee::parse(name).map_err(|error| format!("deny.toml: {name}: {error}"))
        })
        .collect()
}

fn permits(expression: &str, allowed: &[spdx::Licensee]) -> Result<bool, String> {
    let expression = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX)
        .map_err(|error| error.reason.to_string())?;
    Ok(expression.evaluate(|need| allowed.iter().any(|licence| licence.satisfies(need))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_licence(expression: &str, expected: bool) {
        let allowed = [spdx::Licensee::parse("MIT").unwrap()];
        assert_eq!(permits(expression, &allowed), Ok(expected), "{expression}");
    }

    #[test]
    fn an_exception_is_for_one_package() {
        let settings = "[[licenses.exceptions]]\ncrate = \"prio\"\nallow = [\"MPL-2.0\"]";
        let exceptions = exceptions(&settings.parse().unwrap()).unwrap();
        assert_eq!(exceptions.len(), 1);
        assert_eq!(exceptions[0].0, "prio");
        assert_eq!(permits("MPL-2.0", &exceptions[0].1), Ok(true));
        assert_eq!(permits("MIT AND MPL-2.0", &exceptions[0].1), Ok(false));
    }

    #[test]
    fn expressions() {
        check_licence("MIT OR Apache-2.0", true);
        check_licence("MIT AND Apache-2.0", false);
        check_licence("GPL-3.0-only", false);
        check_licence("MIT/Apache-2.0", true);
    }
}
