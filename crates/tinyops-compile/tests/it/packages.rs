//! Packages: the same bytes for the same payload, sources that compile and prove themselves.

use std::path::Path;
use std::process::Command;

use tinyops_compile::{
    Ecosystem, Facts, Golden, Package, PackageError, Part, compile, package, payload,
};
use tinyops_model::{Body, Model, Task};

use crate::networks::{autoencoder, classifier, model};

/// Labels that would leave their literals, comments or lines if they could.
const HOSTILE: [&str; 2] = [
    "a \"b\" \\ ??/ */ //\n",
    "Lüfter\u{202e} %s ${X} `rm` <b>&amp;",
];

const WINDOW: [f32; 8] = [1.0, -2.0, 3.0, 0.5, -1.5, 2.5, 0.0, 4.0];

fn facts() -> Facts {
    Facts {
        name: "Fan-1".to_owned(),
        model_version: 3,
        package_version: "3.0.0".to_owned(),
        ..Facts::default()
    }
}

fn classifier_payload(labels: [&str; 2]) -> Vec<u8> {
    let model = Model {
        labels: labels.map(str::to_owned).into(),
        ..model(Body::Network(classifier()), Task::Classify)
    };
    payload_of(&model)
}

fn payload_of(model: &Model) -> Vec<u8> {
    payload(model, &compile(model).expect("compiles"), &[]).expect("writes")
}

/// A payload of each distance, with a golden score: that of features which become zeros.
fn distances() -> [Vec<u8>; 2] {
    let triangle = (1..=36).map(|at| if at % 5 == 1 { 2.0 } else { 0.125 });
    let far = Body::KMeans {
        centres: [vec![0.0; 8], vec![9.0; 8]].concat(),
        radii: vec![0.25, 1.0],
    };
    let strange = Body::Mahalanobis {
        mean: vec![0.0; 8],
        inverse_covariance: triangle.collect(),
    };
    [(far, -0.25), (strange, 0.0)].map(|(body, score)| {
        let model = model(body, Task::Anomaly);
        let golden = Golden::Score {
            features: [0.5, -0.5].repeat(4),
            score,
        };
        payload(&model, &compile(&model).expect("compiles"), &[golden]).expect("writes")
    })
}

fn made(ecosystem: Ecosystem, payload: &[u8]) -> Package {
    package(ecosystem, payload, &facts(), &[]).expect("packs")
}

fn write(package: &Package, folder: &Path) {
    for (path, bytes) in package.files() {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("has one")).expect("makes folders");
        std::fs::write(path, bytes).expect("writes");
    }
}

fn text<'a>(package: &'a Package, path: &str) -> &'a str {
    std::str::from_utf8(&package.files()[path]).expect("is text")
}

#[test]
fn the_same_payload_gives_the_same_bytes() {
    let payload = classifier_payload(["off", "on"]);
    for ecosystem in Ecosystem::ALL {
        let first = made(ecosystem, &payload);
        assert_eq!(first, made(ecosystem, &payload), "{}", ecosystem.name());
        assert_eq!(first.archive(), made(ecosystem, &payload).archive());
        // The order in which parts are asked for is no part of the question.
        let parts = [Part::Monitor, Part::Slots];
        let turned = [Part::Slots, Part::Monitor];
        let with = |parts: &[Part]| package(ecosystem, &payload, &facts(), parts).ok();
        assert_eq!(with(&parts), with(&turned));
        assert_eq!(with(&parts).is_some(), ecosystem != Ecosystem::Rust);
    }
}

#[test]
fn every_file_is_in_the_list_that_is_signed() {
    for ecosystem in Ecosystem::ALL {
        let mut package = made(ecosystem, &classifier_payload(["off", "on"]));
        let sums = String::from_utf8(package.sums().to_vec()).expect("is text");
        let listed: Vec<&str> = sums
            .lines()
            .skip(1)
            .map(|line| line.split_once("  ").expect("two columns").1)
            .collect();
        let there: Vec<&str> = package
            .files()
            .keys()
            .map(String::as_str)
            .filter(|path| *path != "SHA256SUMS")
            .collect();
        assert_eq!(listed, there, "{}", ecosystem.name());
        assert!(sums.starts_with("# TinyOps package 1: fan_1 3.0.0 for "));
        package.with_signature([7; 64], [9; 32]);
        assert_eq!(package.files()["SHA256SUMS.sig"], [7; 64]);
        for (path, bytes) in package.files() {
            let text = String::from_utf8_lossy(bytes);
            let home = env!("CARGO_MANIFEST_DIR");
            assert!(!text.contains(home), "{path} names this machine");
            assert!(path.is_ascii() && !path.starts_with('/') && !path.contains(".."));
        }
    }
}

#[test]
fn only_what_the_network_needs_comes_along() {
    let package = made(Ecosystem::C99, &classifier_payload(["off", "on"]));
    let has = |path: &str| {
        package
            .files()
            .contains_key(&format!("src/tinyops/src/{path}"))
    };
    for path in ["plan.c", "kernel/conv_2d.c", "dsp/raw.c", "exact.h"] {
        assert!(has(path), "{path}");
    }
    for path in [
        "kernel/lstm.c",
        "dsp/mfcc.c",
        "capsule/curve25519.c",
        "slots/slots.c",
        "operators_all.c",
    ] {
        assert!(!has(path), "{path}");
    }
    let payload = classifier_payload(["off", "on"]);
    let parts = [Part::Slots, Part::Monitor];
    let more = tinyops_compile::package(Ecosystem::C99, &payload, &facts(), &parts).expect("packs");
    for path in [
        "slots/slots.c",
        "delta/delta.c",
        "capsule/curve25519.c",
        "crc.c",
        "monitor/report.c",
    ] {
        assert!(
            more.files()
                .contains_key(&format!("src/tinyops/src/{path}")),
            "{path}"
        );
    }
    assert!(text(&more, "src/fan_1.h").contains("fan_1_baseline(size_t *len)"));
}

/// Builds a package's sources with a compiler and runs its self test; says so and passes where there is no compiler.
#[expect(clippy::print_stderr, reason = "a check that is skipped says so")]
fn check_on_host(compiler: &str, language: &[&str], payload: &[u8], parts: &[Part]) {
    if Command::new(compiler).arg("--version").output().is_err() {
        eprintln!("skipped: {compiler} is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let package = package(Ecosystem::C99, payload, &facts(), parts).expect("packs");
    write(&package, folder.path());
    let files = package.files().keys();
    let sources = files.filter(|path| path.starts_with("src/") && path.ends_with(".c"));
    let strict = [
        "-pedantic",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Wshadow",
        "-Werror",
    ];
    let built = Command::new(compiler)
        .args(language)
        .args(strict)
        .args(["-O1", "-Isrc", "check/selftest.c"])
        .args(sources)
        .args(["-o", "selftest"])
        .current_dir(folder.path())
        .output()
        .expect("starts");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let ran = Command::new(folder.path().join("selftest"))
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}{errors}");
    let count = said.split(' ').next().expect("a number");
    assert!(count.parse::<usize>().expect("a number") >= 8, "{said}");
}

#[test]
fn sources_prove_themselves_as_c_and_as_cpp() {
    let payload = classifier_payload(HOSTILE);
    let sanitized = [
        "-std=c99",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ];
    check_on_host("clang", &sanitized, &payload, &[]);
    let agent = [Part::Capsule, Part::Delta, Part::Slots, Part::Monitor];
    check_on_host("gcc", &["-std=c99"], &payload, &agent);
    check_on_host("g++", &["-x", "c++", "-std=c++11"], &payload, &[]);
    let anomaly = payload_of(&model(Body::Autoencoder(autoencoder()), Task::Anomaly));
    check_on_host("gcc", &["-std=c99"], &anomaly, &[]);
    for payload in distances() {
        check_on_host("clang", &sanitized, &payload, &[Part::Monitor]);
    }
    let value = payload_of(&model(Body::Network(classifier()), Task::Regress));
    check_on_host("gcc", &["-std=c99"], &value, &[]);
}

/// Every ecosystem carries a distance, and none of it what runs networks.
#[test]
fn a_distance_goes_everywhere_without_a_network() {
    for payload in distances() {
        for ecosystem in Ecosystem::ALL {
            let package = made(ecosystem, &payload);
            let files = package.files();
            let manifest: serde_json::Value =
                serde_json::from_slice(&files["manifest.json"]).expect("is JSON");
            assert!(manifest["network"].is_null(), "{manifest}");
            assert_eq!(manifest["distance"]["features"], 8);
            assert_eq!(manifest["memory"]["arena_bytes"], 0);
            assert_eq!(manifest["vectors"]["recorded"], 1);
            if ecosystem == Ecosystem::Rust {
                let lib = text(&package, "src/lib.rs");
                assert!(
                    lib.contains("Distance::load") && !lib.contains("arena"),
                    "{lib}"
                );
                continue;
            }
            assert!(files.keys().any(|path| path.ends_with("/distance.c")));
            let is_network =
                |path: &&String| path.ends_with("/plan.c") || path.contains("/kernel/");
            assert_eq!(files.keys().find(is_network), None, "{}", ecosystem.name());
        }
    }
}

#[test]
fn recorded_vectors_come_before_drawn_ones() {
    let model = model(Body::Network(classifier()), Task::Classify);
    let compiled = compile(&model).expect("compiles");
    let window = |output: Vec<u8>| Golden::Window {
        readings: WINDOW.to_vec(),
        output,
    };
    let payload = |golden: &[Golden]| payload(&model, &compiled, golden).expect("writes");
    // Any output will do to learn the right one.
    let wrong = package(
        Ecosystem::C99,
        &payload(&[window(vec![0, 0])]),
        &facts(),
        &[],
    );
    assert!(
        matches!(wrong, Err(PackageError::Differs { vector: 0 })),
        "{wrong:?}"
    );
}

#[test]
fn what_no_package_can_be_made_of_is_refused() {
    let payload = classifier_payload(["off", "on"]);
    let with = |change: fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        package(Ecosystem::C99, &payload, &facts, &[])
            .expect_err("is refused")
            .to_string()
    };
    assert_eq!(
        with(|facts| facts.name = "扇".to_owned()),
        "`扇` gives no name that a C program can use"
    );
    assert_eq!(
        with(|facts| facts.package_version = "3".to_owned()),
        "`3` is no version of three numbers, such as 1.0.0"
    );
    assert_eq!(
        with(|facts| facts.author = Some("a\nversion=9".to_owned())),
        "the author holds a line break or another control character"
    );
    for len in [0, 7, payload.len() / 2, payload.len() - 1] {
        let cut = package(Ecosystem::C99, &payload[..len], &facts(), &[]);
        assert!(
            matches!(cut, Err(PackageError::Payload(_))),
            "{len}: {cut:?}"
        );
    }
}

/// What arduino-lint refuses, as far as it needs no network.
#[test]
fn an_arduino_library_keeps_to_the_rules() {
    let facts = Facts {
        author: Some("Ada <ada@example.org>".to_owned()),
        url: Some("https://example.org/fan".to_owned()),
        ..facts()
    };
    let payload = classifier_payload(HOSTILE);
    let package = package(Ecosystem::Arduino, &payload, &facts, &[]).expect("packs");
    assert_eq!(package.archive_name(), Some("fan_1.zip"));
    let properties = text(&package, "library.properties");
    let fields: Vec<(&str, &str)> = properties
        .lines()
        .map(|line| line.split_once('=').expect("field=value"))
        .collect();
    let field = |name: &str| {
        let found: Vec<&str> = fields
            .iter()
            .filter(|(field, _)| *field == name)
            .map(|(_, value)| *value)
            .collect();
        assert_eq!(found.len(), 1, "{name} stands once");
        found[0]
    };
    let name = field("name");
    assert!(name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_alphanumeric()));
    assert!(!name.to_lowercase().contains("arduino"));
    assert!(
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.- ".contains(c))
    );
    assert_eq!(field("version"), "3.0.0");
    for one in ["author", "maintainer", "sentence", "paragraph", "license"] {
        assert!(!field(one).trim().is_empty(), "{one}");
    }
    assert_ne!(field("sentence"), field("paragraph"));
    assert!(field("url").starts_with("https://"));
    assert_eq!(field("category"), "Data Processing");
    assert!(!field("architectures").contains(' ') && !field("architectures").contains("avr"));
    // A header of the library's name, in `src`, where the recursive layout wants all sources.
    assert_eq!(field("includes"), "fan_1.h");
    assert!(package.files().contains_key("src/fan_1.h"));
    for path in package.files().keys() {
        let is_source = path.ends_with(".c") || path.ends_with(".h") || path.ends_with(".cpp");
        assert!(!is_source || path.starts_with("src/"), "{path}");
        assert!(!path.ends_with(".S") && !path.ends_with(".exe"), "{path}");
    }
    for line in text(&package, "keywords.txt").lines() {
        let (word, kind) = line.split_once('\t').expect("a tab between");
        assert!(!word.contains(' ') && ["KEYWORD1", "KEYWORD2", "LITERAL1"].contains(&kind));
    }
    for example in ["fan_1_serial", "fan_1_sampling"] {
        let sketch = text(&package, &format!("examples/{example}/{example}.ino"));
        assert!(sketch.contains("#include <fan_1.h>"), "{example}");
    }
}

#[test]
fn a_platformio_library_names_its_people() {
    let facts = Facts {
        author: Some("Ada <ada@example.org>".to_owned()),
        ..facts()
    };
    let payload = classifier_payload(["off", "on"]);
    let package = package(Ecosystem::Platformio, &payload, &facts, &[]).expect("packs");
    let library: serde_json::Value =
        serde_json::from_str(text(&package, "library.json")).expect("is JSON");
    assert_eq!(library["authors"][0]["name"], "Ada");
    assert_eq!(library["authors"][0]["email"], "ada@example.org");
    assert_eq!(library["headers"], serde_json::json!(["fan_1.h"]));
    for example in library["examples"].as_array().expect("a list") {
        let base = example["base"].as_str().expect("a path");
        let file = example["files"][0].as_str().expect("a path");
        // Folder and sketch are called alike.
        assert!(!file.ends_with(".ino") || base.ends_with(file.trim_end_matches(".ino")));
        assert!(package.files().contains_key(&format!("{base}/{file}")));
    }
}

/// Every file that a build file of the package names is there, and every C file is named.
#[test]
fn build_files_name_what_is_there() {
    let payload = classifier_payload(HOSTILE);
    for (ecosystem, file, before) in [
        (Ecosystem::C99, "CMakeLists.txt", ""),
        (Ecosystem::C99, "Makefile", ""),
        (Ecosystem::EspIdf, "CMakeLists.txt", ""),
        (Ecosystem::Zephyr, "zephyr/CMakeLists.txt", "../"),
        (Ecosystem::CmsisPack, "TinyOps.fan_1.pdsc", ""),
    ] {
        let package = made(ecosystem, &payload);
        let text = text(&package, file);
        let words = text.split(|c: char| c.is_whitespace() || "\"<>=()".contains(c));
        let prefix = format!("{before}src/");
        let named: std::collections::BTreeSet<String> = words
            .filter(|word| word.starts_with(&prefix) && word.ends_with(".c"))
            .map(|word| word[before.len()..].to_owned())
            .collect();
        let there = package
            .files()
            .keys()
            .filter(|path| path.starts_with("src/") && path.ends_with(".c"));
        let there: std::collections::BTreeSet<String> = there.cloned().collect();
        assert_eq!(named, there, "{file}");
        assert!(there.len() > 15);
    }
}

#[test]
fn yaml_and_xml_hold_words_of_people() {
    let facts = Facts {
        description: Some("Says \"off\": or <on> & 'more' # \\".to_owned()),
        author: Some("A: \"B\" <ab@example.org>".to_owned()),
        url: Some("https://example.org/?a=1&b=2".to_owned()),
        licence: Some("CC-BY-4.0".to_owned()),
        ..facts()
    };
    let payload = classifier_payload(HOSTILE);
    let of = |ecosystem| package(ecosystem, &payload, &facts, &[]).expect("packs");
    let component = of(Ecosystem::EspIdf);
    let manifest = text(&component, "idf_component.yml");
    assert!(
        manifest.contains("description: \"Says \\\"off\\\": or <on> & 'more' # \\\\.\"\n"),
        "{manifest}"
    );
    assert!(manifest.contains("license: \"CC-BY-4.0 AND (MIT OR Apache-2.0) AND SunPro AND MIT\""));
    let pack = of(Ecosystem::CmsisPack);
    let pdsc = text(&pack, "TinyOps.fan_1.pdsc");
    assert!(
        pdsc.contains("<url>https://example.org/?a=1&amp;b=2/</url>"),
        "{pdsc}"
    );
    assert!(pdsc.contains("or &lt;on&gt; &amp; &apos;more&apos;"));
    assert_eq!(pack.archive_name(), Some("TinyOps.fan_1.3.0.0.pack"));
    assert_eq!(pack.folder(), "", "a pack has no top folder");
    let module = of(Ecosystem::Zephyr);
    assert!(text(&module, "zephyr/module.yml").starts_with("name: fan_1\nbuild:\n"));
    for path in [
        "samples/classify/sample.yaml",
        "tests/golden/testcase.yaml",
        "zephyr/Kconfig",
    ] {
        assert!(module.files().contains_key(path), "{path}");
    }
    let krate = of(Ecosystem::Rust);
    let manifest: toml::Table = text(&krate, "Cargo.toml").parse().expect("is TOML");
    assert_eq!(manifest["package"]["name"].as_str(), Some("fan_1"));
    assert_eq!(
        manifest["package"]["authors"][0].as_str(),
        facts.author.as_deref()
    );
}

/// The crates of the runtime have the features and the dependency that they have here.
#[test]
fn a_crate_brings_the_runtime_as_it_is() {
    let package = made(Ecosystem::Rust, &classifier_payload(["off", "on"]));
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["tinyops-dsp", "tinyops-nn"] {
        let theirs: toml::Table = text(&package, &format!("crates/{name}/Cargo.toml"))
            .parse()
            .expect("is TOML");
        let own = std::fs::read_to_string(ours.join(name).join("Cargo.toml")).expect("reads");
        let own: toml::Table = own.parse().expect("is TOML");
        assert_eq!(theirs.get("features"), own.get("features"), "{name}");
        let keys = |table: &toml::Table| -> Vec<String> {
            table["dependencies"]
                .as_table()
                .expect("a table")
                .keys()
                .cloned()
                .collect()
        };
        assert_eq!(keys(&theirs), keys(&own), "{name}");
    }
    // Of two classes by a threshold nothing is looked for that goes unused: crates compile without a warning.
    let lib = text(&package, "src/lib.rs");
    assert!(
        lib.contains("usize::from(scores[1] >= ") && !lib.contains("best"),
        "{lib}"
    );
    let payload = classifier_payload(["off", "on"]);
    let refused = tinyops_compile::package(Ecosystem::Rust, &payload, &facts(), &[Part::Slots]);
    assert!(matches!(refused, Err(PackageError::NoParts)), "{refused:?}");
}
