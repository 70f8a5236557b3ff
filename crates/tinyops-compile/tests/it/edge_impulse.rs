//! The shim of `c/edge_impulse`: sketches in the shape that Edge Impulse's have compile over a package, and answer as it does.

use std::path::{Path, PathBuf};
use std::process::Command;

use tinyops_compile::{Ecosystem, Facts, PackageError, Part, compile, package, payload};
use tinyops_model::{Body, Task};

use crate::networks::{autoencoder, classifier, model};

/// What holds the shim to the package's own functions: whole windows, a closure, slices, errors, cancelling.
const CHECK: &str = include_str!("edge_impulse_check.cpp");

/// Sketches for a library that is called `model`.
fn sketches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../c/edge_impulse/examples")
}

fn facts() -> Facts {
    Facts {
        name: "fan".to_owned(),
        model_version: 3,
        package_version: "3.0.0".to_owned(),
        ..Facts::default()
    }
}

/// Packs a model with the shim, compiles check and sketches with a compiler, and runs the check.
#[expect(clippy::print_stderr, reason = "a check that is skipped says so")]
fn check_with(compiler: &str, flags: &[&str], body: Body, task: Task) {
    if Command::new(compiler).arg("--version").output().is_err() {
        eprintln!("skipped: {compiler} is missing");
        return;
    }
    let model = model(body, task);
    let payload = payload(&model, &compile(&model).expect("compiles"), &[]).expect("writes");
    let package =
        package(Ecosystem::Arduino, &payload, &facts(), &[Part::EdgeImpulse]).expect("packs");
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for (path, bytes) in package.files() {
        let path = at.join(path);
        std::fs::create_dir_all(path.parent().expect("has one")).expect("makes folders");
        std::fs::write(path, bytes).expect("writes");
    }
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
    std::fs::create_dir(at.join("sketches")).expect("makes a folder");
    std::fs::write(at.join("sketches/features.inc"), "0.5f, 1.0f").expect("writes");
    for sketch in [
        "static_buffer",
        "accelerometer_continuous",
        "microphone_continuous",
    ] {
        let text = std::fs::read_to_string(sketches().join(format!("{sketch}.ino")));
        let text = text
            .expect("is there")
            .replace("model_inferencing", "fan_inferencing");
        std::fs::write(at.join(format!("sketches/{sketch}.ino")), text).expect("writes");
    }
    for sketch in [
        "sketches/static_buffer",
        "sketches/accelerometer_continuous",
        "sketches/microphone_continuous",
        "examples/fan_edge_impulse/fan_edge_impulse",
    ] {
        let built = Command::new(compiler)
            .args(cpp)
            .args(["-Wno-missing-field-initializers", "-Wno-type-limits", "-c"])
            .arg(format!("{sketch}.ino"))
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
    );
    check_with("g++", &["-O1"], Body::Network(classifier()), Task::Classify);
}

#[test]
fn numbers_and_anomalies_answer_as_their_packages() {
    check_with("g++", &["-O1"], Body::Network(classifier()), Task::Regress);
    check_with(
        "g++",
        &["-O1"],
        Body::Autoencoder(autoencoder()),
        Task::Anomaly,
    );
}

#[test]
fn only_who_compiles_cpp_takes_the_calls() {
    let model = model(Body::Network(classifier()), Task::Classify);
    let payload = payload(&model, &compile(&model).expect("compiles"), &[]).expect("writes");
    for ecosystem in Ecosystem::ALL {
        let packed = package(ecosystem, &payload, &facts(), &[Part::EdgeImpulse]);
        let is_right = match ecosystem {
            Ecosystem::Arduino | Ecosystem::Platformio => {
                packed.is_ok_and(|packed| packed.files().contains_key("src/fan_inferencing.h"))
            }
            Ecosystem::Rust => matches!(packed, Err(PackageError::NoParts)),
            _ => matches!(packed, Err(PackageError::NoShim { .. })),
        };
        assert!(is_right, "{}", ecosystem.name());
    }
}
