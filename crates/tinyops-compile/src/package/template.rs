//! What the templates of every ecosystem ask for, and how they are filled.

use std::collections::BTreeMap;

use tinyops_wire::section::Task;

use super::Made;
use super::escape::{fill, plain};
use super::model_c::{model_bytes, verb};
use super::papers::{FLAGS, verification};

/// Texts by the names under which templates ask for them.
pub(super) struct Texts(Vec<(&'static str, String)>);

impl Texts {
    /// What every ecosystem's may ask for.
    pub(super) fn of(made: &Made<'_>) -> Texts {
        let described = made.described;
        let version = &described.facts.package_version;
        let core_version = version.split(['-', '+']).next().unwrap_or(version);
        Texts(vec![
            ("title", described.title.clone()),
            ("sentence", plain(&described.sentence)),
            ("name", described.identifier.clone()),
            ("upper", described.identifier.to_uppercase()),
            ("verb", verb(made.contents, described)),
            ("flags", FLAGS.join(" ")),
            ("period_us", period_us(made).to_string()),
            (
                "channels",
                made.contents.front_end.channel_count.to_string(),
            ),
            ("model_bytes", model_bytes(made.contents).to_string()),
            ("version", version.clone()),
            ("core_version", core_version.to_owned()),
            ("verification", verification(made)),
        ])
    }

    /// The same, and an ecosystem's own; these count where both are called alike.
    pub(super) fn with<const N: usize>(mut self, own: [(&'static str, String); N]) -> Texts {
        self.0.splice(0..0, own);
        self
    }

    /// A template with its names replaced.
    pub(super) fn fill(&self, template: &str) -> Vec<u8> {
        let texts: Vec<(&str, &str)> = self
            .0
            .iter()
            .map(|(key, text)| (*key, text.as_str()))
            .collect();
        fill(template, &texts).into_bytes()
    }
}

/// From one reading of a channel to the next, in microseconds; 0 where time plays no part.
fn period_us(made: &Made<'_>) -> u32 {
    let rate_hz = made.contents.front_end.rate_hz;
    match rate_hz > 0.0 {
        true => (1e6 / f64::from(rate_hz)).round() as u32,
        false => 0,
    }
}

/// The C files among some, a line each between two texts.
pub(super) fn listed(files: &BTreeMap<String, Vec<u8>>, before: &str, after: &str) -> String {
    let sources = files.keys().filter(|path| path.ends_with(".c"));
    sources
        .map(|path| format!("{before}{path}{after}\n"))
        .collect()
}

/// How an example says its answer: each expression of C with the format that `printf` takes for it.
pub(super) fn answer_text(made: &Made<'_>, say: impl Fn(&str, &str) -> String) -> String {
    match made.contents.decision.task {
        Task::Classify => {
            let name = format!("{}_class_names[answer.index]", made.described.identifier);
            say(&name, "%s") + &say("(double)answer.confidence", "%.4f")
        }
        Task::Regress => say("(double)answer.value", "%g"),
        Task::Anomaly => {
            say("(double)answer.score", "%g") + &say("answer.is_alarm ? \"alarm\" : \"\"", "%s")
        }
    }
}
