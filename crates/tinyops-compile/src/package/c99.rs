//! Sources for whoever has a build of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use tinyops_wire::section::Task;

use super::escape::{fill, plain};
use super::model_c::{model_bytes, sources, verb};
use super::papers::{FLAGS, verification};
use super::vectors::{Input, Vector};
use super::{Made, Package};

const MAIN: &str = include_str!("texts/c99_main.c.in");
const SELFTEST: &str = include_str!("texts/c99_selftest.c.in");
const MAKEFILE: &str = include_str!("texts/c99_Makefile.in");
const CMAKE: &str = include_str!("texts/c99_CMakeLists.txt.in");
const README: &str = include_str!("texts/c99_README.md.in");

pub(super) fn package(made: &Made<'_>) -> Package {
    let described = made.described;
    let own = sources(made.contents, made.vectors, described, made.parts);
    let made_lines = listed(&own, "  src/", " \\");
    let cmake_lines = listed(&own, "  src/", "");
    let texts = texts_of(made);
    let print = answer_text(made, |what, format| {
        format!("    (void)printf(\"{format} \", {what});\n")
    }) + "    (void)printf(\"\\n\");\n";
    let with = |more: &str, template: &str| {
        let mut texts: Vec<(&str, &str)> = texts
            .iter()
            .map(|(key, text)| (*key, text.as_str()))
            .collect();
        texts.extend([("sources", more), ("print", &print)]);
        fill(template, &texts).into_bytes()
    };
    let mut package = Package {
        files: own
            .iter()
            .map(|(path, bytes)| (format!("src/{path}"), bytes.clone()))
            .collect(),
        folder: format!("{}-c99", described.identifier),
        archive: None,
    };
    let mut put = |path: &str, bytes: Vec<u8>| package.files.insert(path.to_owned(), bytes);
    put("example/main.c", with("", MAIN));
    put("check/selftest.c", with("", SELFTEST));
    put(
        "Makefile",
        with(made_lines.trim_end_matches(" \\\n"), MAKEFILE),
    );
    put("CMakeLists.txt", with(cmake_lines.trim_end(), CMAKE));
    put("README.md", with("", README));
    put("vectors/payload.bin", made.payload.to_vec());
    put("vectors/vectors.json", vectors_json(made.vectors));
    package
}

/// The C files among some, a line each between two texts.
pub(super) fn listed(files: &BTreeMap<String, Vec<u8>>, before: &str, after: &str) -> String {
    let sources = files.keys().filter(|path| path.ends_with(".c"));
    sources
        .map(|path| format!("{before}{path}{after}\n"))
        .collect()
}

/// What every template may ask for.
pub(super) fn texts_of(made: &Made<'_>) -> Vec<(&'static str, String)> {
    let described = made.described;
    let version = &described.facts.package_version;
    let core_version = version.split(['-', '+']).next().unwrap_or(version);
    vec![
        ("title", described.title.clone()),
        ("sentence", plain(&described.sentence)),
        ("name", described.identifier.clone()),
        ("upper", described.identifier.to_uppercase()),
        ("verb", verb(made.contents, described)),
        ("flags", FLAGS.join(" ")),
        (
            "channels",
            made.contents.front_end.channel_count.to_string(),
        ),
        ("model_bytes", model_bytes(made.contents).to_string()),
        ("version", version.clone()),
        ("core_version", core_version.to_owned()),
        ("verification", verification(made)),
    ]
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

/// The vectors for programs: hex digits, and seeds where they are drawn.
pub(super) fn vectors_json(vectors: &[Vector]) -> Vec<u8> {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let rows = vectors.iter().map(|vector| {
        let input = match &vector.input {
            Input::Tensor(bytes) => json!({ "tensor": hex(bytes) }),
            Input::Window(readings) => json!({ "window": readings }),
            Input::DrawnTensor(seed) => json!({ "tensor_from_seed": seed }),
            Input::DrawnWindow { seed, amplitude } => {
                json!({ "window_from_seed": seed, "amplitude": amplitude })
            }
        };
        json!({
            "input": input,
            "features_crc32": vector.features_crc,
            "input_crc32": vector.input_crc,
            "output": hex(&vector.output),
        })
    });
    let rows: Vec<Value> = rows.collect();
    let text = serde_json::to_string_pretty(&rows).expect("a value of JSON has a text");
    (text + "\n").into_bytes()
}
