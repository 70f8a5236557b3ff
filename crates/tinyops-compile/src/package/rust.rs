//! A crate for projects in Rust, with the runtime's crates beside it, since no registry has them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tinyops_wire::section::Task;

use super::escape::{bytes_of, float, toml_string};
use super::papers::{self, version};
use super::rust_program;
use super::sources::{DSP_FILES, NN_FILES};
use super::template::Texts;
use super::vectors::{Input, Vector};
use super::{Made, Package, PackageError};

const LIB: &str = include_str!("texts/rust_lib.rs.in");
const GOLDEN: &str = include_str!("texts/rust_golden.rs.in");
const TEST: &str = include_str!("texts/rust_test.rs.in");
const EXAMPLE: &str = include_str!("texts/rust_example.rs.in");
const README: &str = include_str!("texts/rust_README.md.in");
/// The version of `libm` that the runtime was tested with.
pub(super) const LIBM: &str = "0.2";

pub(super) fn package(made: &Made<'_>) -> Result<Package, PackageError> {
    if !made.parts.is_empty() {
        return Err(PackageError::NoParts);
    }
    let contents = made.contents;
    let mut files = BTreeMap::new();
    for (name, sources) in [("tinyops-dsp", DSP_FILES), ("tinyops-nn", NN_FILES)] {
        for (path, text) in sources {
            files.insert(format!("crates/{name}/{path}"), text.as_bytes().to_vec());
        }
        files.insert(
            format!("crates/{name}/Cargo.toml"),
            runtime_manifest(name).into_bytes(),
        );
    }
    let texts = texts(made);
    let mut put = |path: &str, bytes: Vec<u8>| files.insert(path.to_owned(), bytes);
    put("Cargo.toml", manifest(made).into_bytes());
    put("src/lib.rs", texts.fill(LIB));
    put("src/golden.rs", texts.fill(GOLDEN));
    put("src/program.bin", contents.program_bytes.to_vec());
    put("src/front_end.bin", contents.front_end_bytes.to_vec());
    put("tests/golden.rs", texts.fill(TEST));
    put("examples/stdin.rs", texts.fill(EXAMPLE));
    put("README.md", texts.fill(README));
    let mut package = Package {
        files,
        folder: format!("{}-rust", made.described.identifier),
        archive: None,
    };
    package.prove(made, "vectors");
    Ok(package)
}

/// The method that takes a window.
fn verb(made: &Made<'_>) -> &'static str {
    match made.contents.decision.task {
        Task::Classify => "classify",
        Task::Regress => "regress",
        Task::Anomaly => "score",
    }
}

fn texts(made: &Made<'_>) -> Texts {
    let contents = made.contents;
    let front_end = &contents.front_end;
    let list =
        |values: &mut dyn Iterator<Item = f32>| values.map(float).collect::<Vec<_>>().join(", ");
    let own = Texts::of(made).with(rust_program::texts(made));
    own.with([
        ("verb", verb(made).to_owned()),
        ("digest", contents.digest.to_string()),
        (
            "model_version",
            made.described.facts.model_version.to_string(),
        ),
        ("window", front_end.window_len.to_string()),
        ("readings", front_end.reading_count().to_string()),
        ("rate", float(front_end.rate_hz)),
        ("features", front_end.feature_count().to_string()),
        ("scratch", front_end.scratch_len().to_string()),
        ("groups", contents.scaler.groups().to_string()),
        ("mean", list(&mut contents.scaler.means())),
        ("inv_std", list(&mut contents.scaler.inv_sds())),
        ("classes", classes(made)),
        ("answer_type", answer_type(made).to_owned()),
        ("read", read(made)),
        ("vectors", made.vectors.len().to_string()),
        ("rows", made.vectors.iter().map(row).collect()),
        ("rust_version", env!("CARGO_PKG_RUST_VERSION").to_owned()),
    ])
}

fn classes(made: &Made<'_>) -> String {
    let labels = &made.contents.labels;
    if made.contents.decision.task != Task::Classify {
        return String::new();
    }
    let mut out = format!(
        "/// The classes, in the order of the scores.\npub const CLASSES: [&str; {}] = [\n",
        labels.len()
    );
    for label in labels {
        let _ = writeln!(out, "    {label:?},");
    }
    out + "];\n"
}

fn answer_type(made: &Made<'_>) -> &'static str {
    match made.contents.decision.task {
        Task::Classify => {
            "/// Which class a window is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Which class: `CLASSES[index]` is its name.
    pub index: usize,
    /// Confidence in it, 0 to 1.
    pub confidence: f32,
    /// Whether the confidence reaches the least that the model asks for.
    pub is_sure: bool,
    /// The score of each class.
    pub scores: [f32; CLASSES.len()],
}
"
        }
        Task::Regress => {
            "/// A number, in the unit of the training labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// The number.
    pub value: f32,
}
"
        }
        Task::Anomaly => {
            "/// How unusual a window is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// The score; greater is stranger.
    pub score: f32,
    /// Whether it exceeds the model's threshold.
    pub is_alarm: bool,
}
"
        }
    }
}

/// What the network's output says, as the agent reads it (`tinyops_device::Scorer`).
fn read(made: &Made<'_>) -> String {
    let decision = &made.contents.decision;
    let head = "    fn read(&self, memory: &Memory) -> Result<Answer, Error> {\n";
    let values = "        let output = self.plan.output();
        let mut values = output.values(&memory.arena.0[output.range()]);\n";
    let body = match decision.task {
        Task::Classify => {
            let values = values.replace("let mut values", "let values");
            let choice = match made.contents.labels.len() {
                2 if decision.threshold > 0.0 => format!(
                    "        for (score, value) in scores.iter_mut().zip(values) {{
            *score = output.real(value);
        }}
        let index = usize::from(scores[1] >= {});\n",
                    float(decision.threshold)
                ),
                _ => "        let (mut index, mut best) = (0, i32::MIN);
        for (class, value) in values.enumerate() {
            scores[class] = output.real(value);
            // Of equal scores the first wins.
            if value > best {
                (index, best) = (class, value);
            }
        }\n"
                .to_owned(),
            };
            format!(
                "{values}        let mut scores = [0.0; CLASSES.len()];
{choice}        let confidence = scores[index].clamp(0.0, 1.0);
        Ok(Answer {{
            index,
            confidence,
            is_sure: confidence >= {},
            scores,
        }})\n",
                float(decision.min_confidence)
            )
        }
        Task::Regress => format!(
            "{values}        let value = values.next().map_or(0.0, |value| output.real(value));
        Ok(Answer {{ value }})\n"
        ),
        Task::Anomaly if made.contents.plan().is_none() => format!(
            "        let score = memory.score;
        Ok(Answer {{
            score,
            is_alarm: score > {},
        }})\n",
            float(decision.threshold)
        ),
        Task::Anomaly => format!(
            "        let score = tinyops_nn::distance::reconstruction_error(&self.plan, &memory.arena.0[..])?;
        Ok(Answer {{
            score,
            is_alarm: score > {},
        }})\n",
            float(decision.threshold)
        ),
    };
    format!("{head}{body}    }}\n")
}

/// Numbers, twelve a line.
fn lines(values: &[f32]) -> String {
    let texts: Vec<String> = values.iter().copied().map(float).collect();
    let lines: Vec<String> = texts.chunks(12).map(|line| line.join(",")).collect();
    lines.join(",\n    ")
}

fn row(vector: &Vector) -> String {
    let input = match &vector.input {
        Input::Tensor(bytes) => format!("Input::Tensor(&[\n{}])", bytes_of(bytes)),
        Input::Window(readings) => {
            format!("Input::Window(&[\n    {}])", lines(readings))
        }
        Input::Features(features) => {
            format!("Input::Features(&[\n    {}])", lines(features))
        }
        Input::DrawnTensor(seed) => format!("Input::DrawnTensor({seed})"),
        Input::DrawnWindow { seed, amplitude } => {
            format!("Input::DrawnWindow({seed}, {})", float(*amplitude))
        }
    };
    format!(
        "    Vector {{\n        input: {input},\n        features_crc: {:#010x},\n        input_crc: {:#010x},\n        output: &[\n{}],\n    }},\n",
        vector.features_crc.unwrap_or(0),
        vector.input_crc,
        bytes_of(&vector.output)
    )
}

/// The features of the runtime that a model needs: without the others the linker has less to leave out.
fn features(made: &Made<'_>) -> Vec<&'static str> {
    let operators = made.contents.operators();
    let mut features = Vec::new();
    let is_wide = operators.iter().any(|(_, is_wide)| *is_wide);
    if is_wide || operators.iter().any(|(code, _)| !is_plain(*code)) {
        features.push("general-ops");
    }
    if is_wide {
        features.push("int16");
    }
    if made
        .contents
        .plan()
        .is_some_and(|plan| plan.regions().count() > 1)
    {
        features.push("regions");
    }
    features
}

/// Whether the runtime has an op without its feature `general-ops`.
fn is_plain(code: tinyops_nn::record::OpCode) -> bool {
    use tinyops_nn::record::OpCode;
    matches!(
        code,
        OpCode::Conv2d
            | OpCode::DepthwiseConv2d
            | OpCode::AveragePool2d
            | OpCode::Add
            | OpCode::Softmax
    )
}

fn manifest(made: &Made<'_>) -> String {
    let described = made.described;
    let facts = described.facts;
    let mut out = format!(
        "[package]\nname = {}\nversion = {}\nedition = \"2024\"\nrust-version = {}\ndescription = {}\nlicense = {}\nreadme = \"README.md\"\nkeywords = [\"tinyml\", \"embedded\", \"no-std\"]\ncategories = [\"embedded\", \"no-std\", \"science\"]\n",
        toml_string(&described.identifier),
        toml_string(&facts.package_version),
        toml_string(env!("CARGO_PKG_RUST_VERSION")),
        toml_string(&format!("{}.", described.sentence)),
        toml_string(&papers::licence(made)),
    );
    if let Some(author) = &facts.author {
        let _ = writeln!(out, "authors = [{}]", toml_string(author));
    }
    if let Some(url) = &facts.url {
        let _ = writeln!(out, "homepage = {}", toml_string(url));
    }
    let features: Vec<String> = features(made)
        .iter()
        .map(|name| format!("{name:?}"))
        .collect();
    let _ = write!(
        out,
        "\n[dependencies]\ntinyops-dsp = {{ path = \"crates/tinyops-dsp\", version = \"{version}\" }}\ntinyops-nn = {{ path = \"crates/tinyops-nn\", version = \"{version}\", default-features = false, features = [{}] }}\n",
        features.join(", "),
        version = version(),
    );
    out
}

fn runtime_manifest(name: &str) -> String {
    let features = match name {
        "tinyops-nn" => {
            "\n[features]\ndefault = [\"general-ops\", \"int16\", \"regions\"]\ngeneral-ops = []\nmve = []\nint16 = [\"general-ops\"]\nregions = []\n"
        }
        _ => "",
    };
    format!(
        "[package]\nname = \"{name}\"\nversion = \"{}\"\nedition = \"2024\"\nrust-version = \"{}\"\nlicense = \"MIT OR Apache-2.0\"\npublish = false\n{features}\n[dependencies]\nlibm = \"{LIBM}\"\n",
        version(),
        env!("CARGO_PKG_RUST_VERSION"),
    )
}
