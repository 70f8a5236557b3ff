//! Sources for whoever has a build of their own.

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
    let files: Vec<&String> = own.keys().filter(|path| path.ends_with(".c")).collect();
    let listed = |before: &str, after: &str| {
        files.iter().fold(String::new(), |mut list, path| {
            let _ = writeln!(list, "{before}src/{path}{after}");
            list
        })
    };
    let made_lines = listed("  ", " \\");
    let cmake_lines = listed("  ", "");
    let version = &described.facts.package_version;
    let core_version = version.split(['-', '+']).next().unwrap_or(version);
    let texts = [
        ("title", described.title.as_str()),
        ("sentence", &plain(&described.sentence)),
        ("name", &described.identifier),
        ("upper", &described.identifier.to_uppercase()),
        ("verb", &verb(made.contents, described)),
        ("flags", &FLAGS.join(" ")),
        ("print", &print(made)),
        ("model_bytes", &model_bytes(made.contents).to_string()),
        ("core_version", core_version),
        ("verification", &verification(made)),
    ];
    let with = |more: &str, template: &str| {
        let mut texts = texts.to_vec();
        texts.push(("sources", more));
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

/// How a program on a host says its answer.
fn print(made: &Made<'_>) -> String {
    let text = match made.contents.decision.task {
        Task::Classify => {
            "\"%s %.4f\\n\", @{name}_class_names[answer.index], (double)answer.confidence"
        }
        Task::Regress => "\"%g\\n\", (double)answer.value",
        Task::Anomaly => "\"%g%s\\n\", (double)answer.score, answer.is_alarm ? \" alarm\" : \"\"",
    };
    let text = fill(text, &[("name", &made.described.identifier)]);
    format!("    (void)printf({text});\n")
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
