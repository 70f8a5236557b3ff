//! A library for PlatformIO.
//!
//! # Source
//! PlatformIO, "library.json", manifest of a library package.

use serde_json::json;

use super::model_c::sources;
use super::papers::{self, FLAGS};
use super::template::{Texts, answer_text};
use super::{Made, Package, Part, arduino, edge_impulse};

const MAIN: &str = include_str!("texts/platformio_main.c.in");
const README: &str = include_str!("texts/platformio_README.md.in");
const TEST: &str = include_str!("texts/platformio_test.c.in");

pub(super) fn package(made: &Made<'_>) -> Package {
    let described = made.described;
    let name = &described.identifier;
    let own = sources(made.contents, made.vectors, described, made.parts);
    let mut package = Package::of_sources(made, own);
    package.folder = format!("{name}-platformio");
    package.prove(made, "vectors");
    let print = answer_text(made, |what, format| {
        format!("      printf(\"{format} \", {what});\n")
    });
    let print = print + "      printf(\"\\n\");\n";
    let texts = Texts::of(made).with([("print", print)]);
    let mut put = |path: String, bytes: Vec<u8>| package.files.insert(path, bytes);
    put("library.json".to_owned(), library(made).into_bytes());
    put("README.md".to_owned(), texts.fill(README));
    put(
        format!("examples/{name}_sampling/{name}_sampling.ino"),
        arduino::texts(made).fill(arduino::SAMPLING),
    );
    put(format!("examples/{name}_stdio/main.c"), texts.fill(MAIN));
    put("test/test_golden/test_main.c".to_owned(), texts.fill(TEST));
    package
}

fn library(made: &Made<'_>) -> String {
    let described = made.described;
    let facts = described.facts;
    let name = &described.identifier;
    let (person, mail) = match facts.author.as_deref() {
        Some(author) => papers::person(author),
        None => ("not stated", None),
    };
    let mut author = json!({ "name": person });
    if let Some(mail) = mail {
        author["email"] = json!(mail);
    }
    let mut headers = vec![format!("{name}.h")];
    if made.parts.contains(&Part::EdgeImpulse) {
        headers.push(edge_impulse::header(described));
    }
    let mut library = json!({
        "name": name,
        "version": facts.package_version,
        "description": format!("{}.", described.sentence),
        "keywords": ["tinyml", "machine learning", "inference"],
        "authors": [author],
        "frameworks": "*",
        "platforms": "*",
        "headers": headers,
        "build": { "flags": FLAGS, "srcDir": "src", "includeDir": "src" },
        "examples": [
            {
                "name": format!("{name}_stdio"),
                "base": format!("examples/{name}_stdio"),
                "files": ["main.c"],
            },
            {
                "name": format!("{name}_sampling"),
                "base": format!("examples/{name}_sampling"),
                "files": [format!("{name}_sampling.ino")],
            },
        ],
    });
    // PlatformIO takes what SPDX lists, and no reference of a package's own.
    if facts.licence.is_some() {
        library["license"] = json!(papers::licence(made));
    }
    if let Some(url) = &facts.url {
        library["homepage"] = json!(url);
    }
    serde_json::to_string_pretty(&library).expect("a value of JSON has a text") + "\n"
}
