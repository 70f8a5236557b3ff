//! The way to one aggregator: its keys, and uploads if it is the leader.

use std::{
    fmt, io,
    path::Path,
    time::{Duration, Instant},
};

use tinyops_fleet::dap::{
    Fate, HPKE_CONFIG_TYPE, HpkeConfig, HpkeConfigError, Problem, ReportId, Task, UPLOAD_TYPE,
    UploadProblem, is_type, read_upload,
};

use crate::{
    endpoint::{Endpoint, Protocol},
    failure::Failure,
    http,
};

/// How long keys are used whose aggregator does not say.
const KEYS_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long they are used at least, and at most, whatever it says.
const KEYS_FOR_LEAST: Duration = Duration::from_secs(60);
const KEYS_FOR_MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// One of a task's two.
pub(super) struct Aggregator {
    role: &'static str,
    endpoint: Endpoint,
    /// Path of its resources, with a slash at its end.
    base: String,
    keys: Option<(HpkeConfig, Instant)>,
}

/// Why nothing came of an exchange with an aggregator.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the {0} cannot be reached: {1}")]
    Unreachable(&'static str, io::Error),
    #[error("the {0} tells no keys: it answered {1}, {2}")]
    Keys(&'static str, u16, Problem),
    #[error("the {0} tells no keys: {HPKE_CONFIG_TYPE} was asked for, and it answered {1}")]
    KeysType(&'static str, String),
    #[error("the {0}'s keys cannot be used: {1}")]
    HpkeConfig(&'static str, HpkeConfigError),
    #[error(transparent)]
    Upload(#[from] UploadProblem),
}

impl Aggregator {
    /// Takes the address of an aggregator apart. Nothing is asked yet.
    pub(super) fn new(
        role: &'static str,
        url: &str,
        ca: Option<&Path>,
    ) -> Result<Aggregator, Failure> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let endpoint = Endpoint::parse(Protocol::Http, &format!("{scheme}://{authority}"), ca)?;
        let path = path.trim_end_matches('/');
        let base = match path {
            "" => "/".to_owned(),
            path => format!("/{path}/"),
        };
        Ok(Aggregator {
            role,
            endpoint,
            base,
            keys: None,
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its key, asked for anew when it has grown old.
    pub(super) async fn key(&mut self) -> Result<HpkeConfig, Trouble> {
        if let Some((key, until)) = &self.keys
            && Instant::now() < *until
        {
            return Ok(*key);
        }
        let path = format!("{}hpke_config", self.base);
        let answer = http::get(&self.endpoint, &path).await;
        let answer = answer.map_err(|error| Trouble::Unreachable(self.role, error))?;
        if answer.status != 200 {
            let problem = Problem::read(&answer.body);
            return Err(Trouble::Keys(self.role, answer.status, problem));
        }
        let found = answer.header("content-type").unwrap_or_default();
        if !is_type(found, HPKE_CONFIG_TYPE) {
            let found = match found {
                "" => "without a content type".to_owned(),
                found => format!("with {}", shown(found)),
            };
            return Err(Trouble::KeysType(self.role, found));
        }
        let key = HpkeConfig::choose(&answer.body);
        let key = key.map_err(|error| Trouble::HpkeConfig(self.role, error))?;
        let lasts = max_age(answer.header("cache-control").unwrap_or_default());
        self.keys = Some((key, Instant::now() + lasts));
        Ok(key)
    }

    /// It is said not to have the key that was used: the next is asked for.
    pub(super) fn forget_key(&mut self) {
        self.keys = None;
    }

    /// Uploads reports, each as [`tinyops_fleet::dap::seal`] made it.
    pub(super) async fn upload(
        &self,
        task: &Task,
        reports: &[(ReportId, Vec<u8>)],
    ) -> Result<Vec<Fate>, Trouble> {
        let body: Vec<u8> = reports
            .iter()
            .flat_map(|(_, report)| report)
            .copied()
            .collect();
        let path = format!("{}tasks/{}/reports", self.base, task.id);
        let answer = http::post_bytes(&self.endpoint, &path, UPLOAD_TYPE, &body).await;
        let answer = answer.map_err(|error| Trouble::Unreachable(self.role, error))?;
        let ids: Vec<ReportId> = reports.iter().map(|(id, _)| *id).collect();
        let said = (
            answer.status,
            answer.header("content-type"),
            &answer.body[..],
        );
        Ok(read_upload(said, &ids)?)
    }
}

impl fmt::Display for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.endpoint, self.base)
    }
}

/// How long an answer may be used, as `Cache-Control` says.
fn max_age(cache_control: &str) -> Duration {
    let directives = cache_control.split(',').map(str::trim);
    let told = directives
        .filter_map(|directive| directive.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("max-age"))
        .and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok());
    told.map_or(KEYS_FOR, Duration::from_secs)
        .clamp(KEYS_FOR_LEAST, KEYS_FOR_MOST)
}

/// A header's value for a person: printable, and not long.
fn shown(value: &str) -> String {
    let shown = value.chars().take(80);
    shown
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_lie_below_the_address_whatever_its_end() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
            ("http://[::1]/dap/v1", "http://[::1]:80/dap/v1/"),
            ("http://localhost:1/dap/", "http://localhost:1/dap/"),
        ] {
            let aggregator = Aggregator::new("leader", url, None).unwrap();
            assert_eq!(aggregator.to_string(), expected);
        }
        assert!(Aggregator::new("leader", "https://leader.example/", None).is_err());
    }

    #[test]
    fn keys_are_used_for_as_long_as_their_aggregator_says() {
        let seconds = |text: &str| max_age(text).as_secs();
        assert_eq!(seconds("public, max-age=86400"), 86_400);
        assert_eq!(seconds("Max-Age=\"3600\""), 3600);
        assert_eq!(seconds("max-age=0"), 60);
        assert_eq!(seconds("max-age=99999999999"), 7 * 86_400);
        for none in ["", "no-store", "max-age", "max-age=soon"] {
            assert_eq!(seconds(none), 86_400, "{none}");
        }
    }
}
