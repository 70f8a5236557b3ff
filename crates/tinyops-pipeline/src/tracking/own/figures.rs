//! What the record of a step gives as figures of its run and of the models it is about, and settings as parameters.

use tinyops_store::step::Step;
use tinyops_store::tracking::Pair;
use tinyops_store::tracking::metric::Sample;
use tinyops_store::{Digest, Json};

use super::super::limit::{KEY_MAX, PARAM_MAX};
use super::{MADE_FROM_TAG, PARENT_TAG, output_of, sample};

/// A member of the family of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// As it was trained.
    Float,
    /// As every device computes it.
    Int8,
    /// What the capsule of a board carries.
    Payload(String),
}

impl Variant {
    /// Which one an output of a step is.
    pub(super) fn of_output(step: &str, output: &str) -> Option<Variant> {
        match (step, output.strip_prefix("payload/")) {
            ("train", _) if output == "trained" => Some(Variant::Float),
            ("quantize" | "resolve" | "tune", _) if output == "model" => Some(Variant::Int8),
            ("compile", Some(board)) => Some(Variant::Payload(board.to_owned())),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Variant::Float => "float",
            Variant::Int8 => "int8",
            Variant::Payload(_) => "payload",
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Variant::Payload(board) => word(board),
            other => other.kind().to_owned(),
        }
    }

    pub(super) fn file_name(&self) -> &'static str {
        match self {
            Variant::Float => "float.tinyops",
            Variant::Int8 => "model.tinyops",
            Variant::Payload(_) => "payload.tinyops",
        }
    }

    /// The inputs of a step that this was made from, and the tags that say so.
    pub(super) fn made_from(&self, step: &str) -> &'static [(&'static str, &'static str)] {
        match (self, step) {
            (Variant::Int8, "quantize") => &[("trained", MADE_FROM_TAG)],
            (Variant::Int8, "resolve") => &[("parent", PARENT_TAG)],
            (Variant::Int8, "tune") => &[("model", PARENT_TAG)],
            (Variant::Payload(_), _) => &[("model", MADE_FROM_TAG)],
            _ => &[],
        }
    }

    /// The bytes that a run has of it.
    pub(super) fn digest_in(&self, steps: &[Step]) -> Option<Digest> {
        match self {
            Variant::Float => output_of(steps, "train", "trained"),
            Variant::Int8 => ["quantize", "resolve", "tune"]
                .iter()
                .find_map(|step| output_of(steps, step, "model")),
            Variant::Payload(board) => output_of(steps, "compile", &format!("payload/{board}")),
        }
    }
}

/// What a step measured.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) of_run: Vec<Sample>,
    pub(super) of_models: Vec<(Variant, Vec<Sample>)>,
}

/// The figures of a step, by the names under which they are searched.
pub(super) fn figures(step: &Step) -> Figures {
    let detail = &step.detail;
    let at = step.changed_at.0;
    let mut found = Figures::default();
    let mut run = Pen {
        at,
        samples: Vec::new(),
    };
    run.put(format!("steps/{}/seconds", step.name), Some(step.seconds));
    run.numbers("system", &detail["host"]);
    match step.name.as_str() {
        "train" => history(&mut run, &detail["history"]),
        "evaluate" => {
            for (variant, key, before) in [
                (Variant::Int8, "int8", ""),
                (Variant::Float, "float", "float/"),
            ] {
                if detail[key].is_object() {
                    evaluation(&mut run, before, &detail[key]);
                    let mut of_model = Pen {
                        at,
                        samples: Vec::new(),
                    };
                    evaluation(&mut of_model, "", &detail[key]);
                    found.of_models.push((variant, of_model.samples));
                }
            }
            run.numbers("parity/int8", &detail["parity"]);
            let mut of_model = Pen {
                at,
                samples: Vec::new(),
            };
            of_model.numbers("parity", &detail["parity"]);
            found.of_models.push((Variant::Int8, of_model.samples));
        }
        "compile" => {
            for name in ["macs", "program_bytes", "arena_bytes", "payload_bytes"] {
                run.put(name.to_owned(), detail[name].as_f64());
            }
            for fit in boards(detail) {
                let board = fit["board"].as_str().unwrap_or_default();
                let mut of_board = Pen {
                    at,
                    samples: Vec::new(),
                };
                of_board.put("arena_bytes".to_owned(), detail["arena_bytes"].as_f64());
                for name in ["flash_bytes", "ram_bytes", "latency_ms", "energy_mj"] {
                    of_board.put(name.to_owned(), fit[name].as_f64());
                }
                run.below(&device(board), &of_board.samples);
                found
                    .of_models
                    .push((Variant::Payload(board.to_owned()), of_board.samples));
            }
        }
        "smoke" => {
            for measured in detail["measured"].as_array().into_iter().flatten() {
                let board = measured["board"].as_str().unwrap_or_default();
                let mut of_board = Pen {
                    at,
                    samples: Vec::new(),
                };
                of_board.numbers("", measured);
                run.below(&device(board), &of_board.samples);
                found
                    .of_models
                    .push((Variant::Payload(board.to_owned()), of_board.samples));
            }
        }
        "register" => {}
        name => run.numbers(name, detail),
    }
    found.of_run = run.samples;
    found
}

/// Text of a part of a name: what clients take in names, and no slash.
pub(super) fn word(text: &str) -> String {
    let usual = |c: char| match c.is_alphanumeric() || "_-. :".contains(c) {
        true => c,
        false => '_',
    };
    let word: String = text.chars().take(KEY_MAX / 2).map(usual).collect();
    match word.as_str() {
        "" | "." | ".." => "_".to_owned(),
        _ => word,
    }
}

/// Settings as parameters: `train.epochs`, lists as JSON.
pub(super) fn params(settings: &Json) -> Vec<Pair> {
    let mut pairs = Vec::new();
    flatten("", settings, &mut pairs);
    pairs
}

fn flatten(before: &str, settings: &Json, pairs: &mut Vec<Pair>) {
    let value = match settings {
        Json::Null => return,
        Json::Object(fields) => {
            for (name, value) in fields {
                let key = match before {
                    "" => word(name),
                    before => format!("{before}.{}", word(name)),
                };
                flatten(&key, value, pairs);
            }
            return;
        }
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    pairs.push(Pair {
        key: before.chars().take(KEY_MAX).collect(),
        value: value.chars().take(PARAM_MAX).collect(),
    });
}

/// Metrics of one moment.
struct Pen {
    at: i64,
    samples: Vec<Sample>,
}

impl Pen {
    fn put(&mut self, key: String, value: Option<f64>) {
        self.put_at(key, value, 0);
    }

    fn put_at(&mut self, key: String, value: Option<f64>, step: i64) {
        if let Some(value) = value {
            let key = key.chars().take(KEY_MAX).collect();
            self.samples.push(sample(key, value, self.at, step));
        }
    }

    /// Every number of an object.
    fn numbers(&mut self, before: &str, from: &Json) {
        for (name, value) in from.as_object().into_iter().flatten() {
            let key = match before {
                "" => word(name),
                before => format!("{before}/{}", word(name)),
            };
            self.put(key, value.as_f64());
        }
    }

    fn below(&mut self, before: &str, samples: &[Sample]) {
        for sample in samples {
            self.put(format!("{before}/{}", sample.key), Some(sample.point.value));
        }
    }
}

fn device(board: &str) -> String {
    format!("device/{}", word(board))
}

/// The boards that are told of: those asked for, or all that it fits where none is.
fn boards(detail: &Json) -> impl Iterator<Item = &Json> {
    let fits = detail["boards"].as_array();
    let any = !fits.is_some_and(|fits| fits.iter().any(|fit| fit["is_target"] == true));
    let is_told = move |fit: &&Json| match any {
        true => fit["fits"] == true,
        false => fit["is_target"] == true,
    };
    fits.into_iter().flatten().filter(is_told)
}

fn history(run: &mut Pen, history: &Json) {
    for epoch in history.as_array().into_iter().flatten() {
        let step = epoch["epoch"].as_i64().unwrap_or(0);
        for (name, key) in [
            ("loss", "loss"),
            ("validation_loss", "validation_loss"),
            ("metric", "validation_metric"),
        ] {
            run.put_at(key.to_owned(), epoch[name].as_f64(), step);
        }
    }
}

fn evaluation(to: &mut Pen, before: &str, found: &Json) {
    for name in [
        "windows",
        "accuracy",
        "macro_f1",
        "rmse",
        "mean_absolute_error",
    ] {
        to.put(format!("{before}{name}"), found[name].as_f64());
    }
    to.put(format!("{before}auc"), found["roc"]["auc"].as_f64());
    let cost = found["operation"]["expected_cost"].as_f64();
    to.put(format!("{before}expected_cost"), cost);
    for class in found["per_class"].as_array().into_iter().flatten() {
        let label = word(class["label"].as_str().unwrap_or_default());
        for name in ["precision", "recall", "f1", "auc"] {
            to.put(
                format!("{before}class/{label}/{name}"),
                class[name].as_f64(),
            );
        }
    }
    for slice in found["slices"].as_array().into_iter().flatten() {
        let key = word(slice["key"].as_str().unwrap_or_default());
        let value = word(slice["value"].as_str().unwrap_or_default());
        to.put(
            format!("{before}slice/{key}/{value}"),
            slice["metric"].as_f64(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tinyops_store::Timestamp;
    use tinyops_store::run::RunId;
    use tinyops_store::step::StepState;

    fn step(name: &str, detail: Json) -> Step {
        Step {
            run: RunId(1),
            index: 0,
            name: name.to_owned(),
            state: StepState::Done,
            key: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            seconds: 2.0,
            detail,
            changed_at: Timestamp(9),
        }
    }

    #[track_caller]
    fn check(name: &str, detail: Json, expected: &[(&str, i64, f64)]) {
        let found = figures(&step(name, detail)).of_run;
        let found: Vec<_> = found
            .iter()
            .map(|sample| (sample.key.as_str(), sample.point.step, sample.point.value))
            .collect();
        assert_eq!(found[0], (format!("steps/{name}/seconds").as_str(), 0, 2.0));
        assert_eq!(&found[1..], expected);
    }

    #[test]
    fn what_steps_found() {
        check(
            "train",
            json!({ "history": [{ "epoch": 1, "loss": 0.5, "metric": 0.75 }, { "epoch": 2, "loss": 0.25 }] }),
            &[
                ("loss", 1, 0.5),
                ("validation_metric", 1, 0.75),
                ("loss", 2, 0.25),
            ],
        );
        check(
            "evaluate",
            json!({
                "int8": { "accuracy": 0.5, "per_class": [{ "label": "a/b", "f1": 0.25 }],
                    "slices": [{ "key": "group", "value": "m=1", "metric": 0.125 }] },
                "float": { "accuracy": 0.75 },
                "parity": { "max_error": 0.0625 },
            }),
            &[
                ("accuracy", 0, 0.5),
                ("class/a_b/f1", 0, 0.25),
                ("slice/group/m_1", 0, 0.125),
                ("float/accuracy", 0, 0.75),
                ("parity/int8/max_error", 0, 0.0625),
            ],
        );
        let board = |name: &str, is_target: bool| json!({ "board": name, "is_target": is_target, "fits": true, "ram_bytes": 7 });
        check(
            "compile",
            json!({ "arena_bytes": 5, "boards": [board("esp-eye", true), board("other", false)] }),
            &[
                ("arena_bytes", 0, 5.0),
                ("device/esp-eye/arena_bytes", 0, 5.0),
                ("device/esp-eye/ram_bytes", 0, 7.0),
            ],
        );
        check(
            "ingest",
            json!({ "samples": 3, "classes": ["a"] }),
            &[("ingest/samples", 0, 3.0)],
        );
    }

    #[test]
    fn settings_become_parameters() {
        let settings = json!({ "train": { "epochs": 3, "costs": { "miss": 2.5 } }, "slices": ["a"], "none": null });
        let found: Vec<_> = params(&settings)
            .into_iter()
            .map(|pair| (pair.key, pair.value))
            .collect();
        let expected = [
            ("slices", "[\"a\"]"),
            ("train.costs.miss", "2.5"),
            ("train.epochs", "3"),
        ];
        assert_eq!(
            found,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
    }
}
