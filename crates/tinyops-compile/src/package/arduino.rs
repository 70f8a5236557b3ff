//! A library for the Arduino IDE and arduino-cli.
//!
//! Every file below `src` is compiled, with nothing but `src` on the include path and no flag of ours.
//!
//! # Source
//! Arduino, "Library specification", revision 2.2; the rules of arduino-lint, as far as they need no network.

use super::model_c::sources;
use super::template::{Texts, answer_text};
use super::{Made, Package, Part, edge_impulse};

const EXAMPLE: &str = include_str!("texts/arduino_example.ino.in");
const README: &str = include_str!("texts/arduino_README.md.in");
/// Windows from a sensor, for whatever takes a sketch.
pub(super) const SAMPLING: &str = include_str!("texts/sampling.ino.in");

/// Cores of 32 bits that an index knows; those of 8 bits have no double precision.
const ARCHITECTURES: &str = "apollo3,esp32,esp8266,mbed,mbed_edge,mbed_giga,mbed_nano,mbed_nicla,mbed_opta,mbed_portenta,\
mbed_rp2040,nrf52,renesas_portenta,renesas_uno,rp2040,sam,samd,silabs,stm32,zephyr";

pub(super) fn package(made: &Made<'_>) -> Package {
    let described = made.described;
    let name = &described.identifier;
    let own = sources(made.contents, made.vectors, described, made.parts);
    let mut package = Package::of_sources(made, own);
    package.archive = Some(format!("{name}.zip"));
    package.prove(made, "extras");
    let texts = texts(made);
    let mut put = |path: String, bytes: Vec<u8>| package.files.insert(path, bytes);
    put(
        "library.properties".to_owned(),
        properties(made).into_bytes(),
    );
    put("keywords.txt".to_owned(), keywords(made).into_bytes());
    put("README.md".to_owned(), texts.fill(README));
    put(
        format!("examples/{name}_serial/{name}_serial.ino"),
        texts.fill(EXAMPLE),
    );
    put(
        format!("examples/{name}_sampling/{name}_sampling.ino"),
        texts.fill(SAMPLING),
    );
    if made.parts.contains(&Part::EdgeImpulse) {
        let (sketch, window) = edge_impulse::sketch(made.contents, described);
        let folder = format!("examples/{name}_edge_impulse");
        put(
            format!("{folder}/{name}_edge_impulse.ino"),
            sketch.into_bytes(),
        );
        put(format!("{folder}/features.inc"), window.into_bytes());
    }
    package
}

/// What sketches ask for.
pub(super) fn texts(made: &Made<'_>) -> Texts {
    let print = answer_text(made, |what, _| {
        format!("  Serial.print({what});\n  Serial.print(\" \");\n")
    });
    Texts::of(made).with([("print", print + "  Serial.println();\n")])
}

/// What the library says of itself, a field a line. Whoever is not stated is said to be so: the index asks for a person.
fn properties(made: &Made<'_>) -> String {
    let described = made.described;
    let facts = described.facts;
    let author = facts.author.as_deref().unwrap_or("not stated");
    let mut includes = format!("{}.h", described.identifier);
    if made.parts.contains(&Part::EdgeImpulse) {
        includes = edge_impulse::header(described);
    }
    let fields = [
        ("name", described.identifier.as_str()),
        ("version", &facts.package_version),
        ("author", author),
        ("maintainer", author),
        ("sentence", &format!("{}.", described.sentence)),
        (
            "paragraph",
            &format!(
                "The model {}, with the runtime that runs it, a self test and examples.",
                described.title
            ),
        ),
        ("category", "Data Processing"),
        ("url", facts.url.as_deref().unwrap_or("about:blank")),
        ("architectures", ARCHITECTURES),
        ("includes", &includes),
        ("license", &super::papers::licence(made)),
    ];
    fields
        .iter()
        .map(|(field, value)| format!("{field}={value}\n"))
        .collect()
}

/// What an editor colours: types, functions, constants, each after a tab.
fn keywords(made: &Made<'_>) -> String {
    let name = &made.described.identifier;
    let upper = name.to_uppercase();
    let kinds: [(&str, Vec<String>); 3] = [
        (
            "KEYWORD1",
            ["model", "answer", "report"]
                .map(|word| format!("{name}_{word}"))
                .into(),
        ),
        (
            "KEYWORD2",
            ["begin", "selftest", "extract", "quantize", "run", "read"]
                .map(|word| format!("{name}_{word}"))
                .into_iter()
                .chain([super::model_c::verb(made.contents, made.described)])
                .collect(),
        ),
        (
            "LITERAL1",
            ["OK", "READINGS", "WINDOW", "CHANNELS", "RATE_HZ", "VECTORS"]
                .map(|word| format!("{upper}_{word}"))
                .into(),
        ),
    ];
    let lines = kinds
        .iter()
        .flat_map(|(kind, words)| words.iter().map(move |word| format!("{word}\t{kind}\n")));
    lines.collect()
}
