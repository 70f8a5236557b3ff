//! The shim of `c/edge_impulse`: sketches in the shape that Edge Impulse's have compile over a package, and answer as it does.

use std::path::{Path, PathBuf};
use std::process::Command;

use tinyops_compile::{Ecosystem, Facts, compile, package, payload};
use tinyops_model::{Body, Task};

use crate::networks::{autoencoder, classifier, model};

/// What holds the shim to the package's own functions: whole windows, a closure, slices, errors, cancelling.
const CHECK: &str = include_str!("edge_impulse_check.cpp");

fn shim() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../c/edge_impulse")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes folders");
    for entry in std::fs::read_dir(from).expect("is there") {
        let entry = entry.expect("is there");
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).expect("copies");
        }
    }
}

/// Packs a model with the shim, compiles check and sketches with a compiler, and runs the check.
#[expect(clippy::print_stderr, reason = "a check that is skipped says so")]
fn check_with(compiler: &str, flags: &[&str], body: Body, task: Task, number: &str) {
    if Command::new(compiler).arg("--version").output().is_err() {
        eprintln!("skipped: {compiler} is missing");
        return;
    }
    let model = model(body, task);
    let payload = payload(&model, &compile(&model).expect("compiles"), &[]).expect("writes");
    let facts = Facts {
        name: "fan".to_owned(),
        model_version: 3,
        package_version: "3.0.0".to_owned(),
        ..Facts::default()
    };
    let package = package(Ecosystem::C99, &payload, &facts, &[]).expect("packs");
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for (path, bytes) in package.files() {
        let path = at.join(path);
        std::fs::create_dir_all(path.parent().expect("has one")).expect("makes folders");
        std::fs::write(path, bytes).expect("writes");
    }
    copy(&shim(), &at.join("src"));
    let template = std::fs::read_to_string(shim().join("tinyops_ei_model.h.in")).expect("reads");
    let header = [
        ("name", "fan"),
        ("upper", "FAN"),
        ("title", "fan 3"),
        ("task", number),
        ("sensor", "UNKNOWN"),
    ]
    .iter()
    .fold(template, |text, (what, by)| {
        text.replace(&format!("@{{{what}}}"), by)
    });
    assert!(!header.contains("@{"), "{header}");
    std::fs::write(at.join("src/tinyops_ei_model.h"), header).expect("writes");
    std::fs::copy(
        shim().join("inferencing.h.in"),
        at.join("src/model_inferencing.h"),
    )
    .expect("copies");
    std::fs::write(at.join("src/features.inc"), "0.5f, 1.0f").expect("writes");
    std::fs::write(at.join("check.cpp"), CHECK).expect("writes");
    let cpp = [
        "-x",
        "c++",
        "-std=c++11",
        "-Isrc",
        "-Wall",
        "-Wextra",
        "-Werror",
    ];
    let sources = package
        .files()
        .keys()
        .filter(|path| path.starts_with("src/") && path.ends_with(".c"));
    let built = Command::new(compiler)
        .args(cpp)
        .args(flags)
        .args([
            "check.cpp",
            "src/tinyops_ei.cpp",
            "src/tinyops_ei_porting.cpp",
        ])
        .args(sources)
        .args(["-o", "held"])
        .current_dir(at)
        .output()
        .expect("starts");
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    for sketch in [
        "static_buffer",
        "accelerometer_continuous",
        "microphone_continuous",
    ] {
        let built = Command::new(compiler)
            .args(cpp)
            .args(["-Wno-missing-field-initializers", "-Wno-type-limits", "-c"])
            .arg(format!("src/examples/{sketch}.ino"))
            .args(["-o", "sketch.o"])
            .current_dir(at)
            .output()
            .expect("starts");
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{sketch}: {errors}");
    }
    let ran = Command::new(at.join("held")).output().expect("starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}{errors}");
}

#[test]
fn a_classifier_answers_as_its_package() {
    let sanitized = [
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ];
    check_with(
        "clang++",
        &sanitized,
        Body::Network(classifier()),
        Task::Classify,
        "0",
    );
    check_with(
        "g++",
        &["-O1"],
        Body::Network(classifier()),
        Task::Classify,
        "0",
    );
}

#[test]
fn numbers_and_anomalies_answer_as_their_packages() {
    check_with(
        "g++",
        &["-O1"],
        Body::Network(classifier()),
        Task::Regress,
        "1",
    );
    check_with(
        "g++",
        &["-O1"],
        Body::Autoencoder(autoencoder()),
        Task::Anomaly,
        "2",
    );
}
