//! Settings of this program on this machine: flag over environment over file over default.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{context::PlaceArgs, failure::Failure};

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) from: String,
}

/// All settings.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) db: Setting,
    pub(crate) artifacts: Setting,
    pub(crate) http: Setting,
    pub(crate) mqtt: Setting,
}

/// `config.toml`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    db: Option<String>,
    artifacts: Option<String>,
    http: Option<String>,
    mqtt: Option<String>,
}

impl Settings {
    pub(crate) fn read(place: &PlaceArgs) -> Result<Self, Failure> {
        let path = file_path();
        let file = path.as_deref().map_or_else(|| Ok(File::default()), read)?;
        let from_file = path.map_or_else(String::new, |path| path.display().to_string());
        let settle = |key, flag: &Option<String>, variable: &str, file: Option<String>, default| {
            let (value, from) = if let Some(value) = flag {
                (value.clone(), format!("--{key}"))
            } else if let Ok(value) = env::var(variable) {
                (value, variable.to_owned())
            } else if let Some(value) = file {
                (value, from_file.clone())
            } else {
                (default, "default".to_owned())
            };
            Setting { key, value, from }
        };
        let store = place.project.join(".tinyops");
        let database = format!("sqlite:{}", store.join("tinyops.db").display());
        let folder = store.join("artifacts").display().to_string();
        Ok(Self {
            db: settle("db", &place.db, "TINYOPS_DB", file.db, database),
            artifacts: settle(
                "artifacts",
                &place.artifacts,
                "TINYOPS_ARTIFACTS",
                file.artifacts,
                folder,
            ),
            http: settle(
                "http",
                &None,
                "TINYOPS_HTTP",
                file.http,
                "127.0.0.1:8420".to_owned(),
            ),
            mqtt: settle(
                "mqtt",
                &None,
                "TINYOPS_MQTT",
                file.mqtt,
                "127.0.0.1:1883".to_owned(),
            ),
        })
    }

    /// In the order they are shown.
    pub(crate) fn all(&self) -> [&Setting; 4] {
        [&self.db, &self.artifacts, &self.http, &self.mqtt]
    }

    /// Whether the store is the project's own folder.
    pub(crate) fn is_local(&self) -> bool {
        self.db.from == "default" || self.artifacts.from == "default"
    }
}

/// `$XDG_CONFIG_HOME/tinyops/config.toml`, or under `~/.config`.
fn file_path() -> Option<PathBuf> {
    let folder = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")))?;
    Some(folder.join("tinyops").join("config.toml"))
}

fn read(path: &Path) -> Result<File, Failure> {
    let Ok(text) = fs::read_to_string(path) else {
        // No file is needed to start.
        return Ok(File::default());
    };
    toml::from_str(&text).map_err(|error| {
        Failure::question(format!("{}: {}", path.display(), error.message()))
            .hint("keys are `db`, `artifacts`, `http`, `mqtt`")
    })
}
