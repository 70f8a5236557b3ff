//! Packages from the command line: of a model, of a capsule's payload, signed and not, and what is refused.

use crate::workplace::Workplace;

const ECOSYSTEMS: [&str; 7] = [
    "c99",
    "arduino",
    "esp-idf",
    "zephyr",
    "cmsis-pack",
    "platformio",
    "rust",
];

#[test]
fn a_model_is_packed_for_every_ecosystem() {
    let place = Workplace::fans();
    place.check(&["run"], 0);
    let listed = place.check(&["package", "--list", "--json"], 0).json();
    let listed = listed["ecosystems"].as_array().expect("a list").clone();
    assert_eq!(listed.len(), ECOSYSTEMS.len());
    for ecosystem in ECOSYSTEMS {
        assert!(listed.iter().any(|one| one["ecosystem"] == ecosystem));
        let [first, second] = ["a", "b"].map(|which| format!("{which}-{ecosystem}.zip"));
        let answer = place.check(
            &["package", "--for", ecosystem, "--out", &first, "--json"],
            0,
        );
        let answer = answer.json();
        assert_eq!(answer["ecosystem"], ecosystem);
        assert!(answer["signed_by"].is_null());
        place.check(&["package", "--for", ecosystem, "--out", &second], 0);
        let read = |file: &str| std::fs::read(place.path(file)).expect("was written");
        assert_eq!(read(&first), read(&second), "{ecosystem}");
    }

    // A folder, of the payload alone, with the release key that is there now.
    place.check(&["keys", "new"], 0);
    place.check(
        &["compile", "--board", "esp-eye", "--out", "fan.payload"],
        0,
    );
    let answer = place.check(
        &[
            "package",
            "fan.payload",
            "--for",
            "c99",
            "--package-version",
            "2.1.0",
            "--json",
        ],
        0,
    );
    let answer = answer.json();
    assert!(answer["signed_by"].is_string(), "{answer}");
    let folder = place.path("fan-c99");
    assert_eq!(
        std::fs::read(folder.join("SHA256SUMS.sig"))
            .expect("is there")
            .len(),
        64
    );
    let header = std::fs::read_to_string(folder.join("src/fan.h")).expect("is there");
    assert!(header.contains("fan_classify"), "{header}");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).expect("is there");
    assert!(manifest.contains("\"version\": \"2.1.0\""), "{manifest}");

    // It is never written over.
    let again = place.check(&["package", "fan.payload", "--for", "c99"], 2);
    assert!(
        again.stderr.contains("`fan-c99` is there already"),
        "{}",
        again.stderr
    );
    std::fs::create_dir(place.path("empty")).expect("makes a folder");
    place.check(
        &["package", "fan.payload", "--for", "c99", "--out", "empty"],
        2,
    );

    // What is cut short says what it says elsewhere, and leaves nothing behind.
    let payload = std::fs::read(place.path("fan.payload")).expect("is there");
    std::fs::write(place.path("cut.payload"), &payload[..payload.len() / 2]).expect("writes");
    let cut = place.check(
        &["package", "cut.payload", "--for", "c99", "--out", "cut"],
        2,
    );
    assert!(
        cut.stderr.contains("the payload does not parse"),
        "{}",
        cut.stderr
    );
    let named = [
        "package",
        "fan.payload",
        "--for",
        "c99",
        "--name",
        "扇",
        "--out",
        "cut",
    ];
    let named = place.check(&named, 2);
    assert!(named.stderr.contains("hint: `--name`"), "{}", named.stderr);
    assert!(!place.path("cut").exists());
}

#[test]
fn a_network_of_a_file_is_estimated_for_boards() {
    let place = Workplace::empty();
    let network = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/golden/tflite/abs_same.tflite"
    );
    for (out, board, count) in [("one", &["--board", "esp-eye"][..], 1), ("all", &[], 2)] {
        let args = ["package", network, "--for", "c99", "--out", out];
        place.check(&[&args[..], board].concat(), 0);
        let manifest = place.path(out).join("manifest.json");
        let manifest = std::fs::read(manifest).expect("is there");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("is JSON");
        let estimates = manifest["estimates"].as_array().expect("a list");
        let boards: Vec<&str> = estimates
            .iter()
            .filter_map(|one| one["board"].as_str())
            .collect();
        assert!(
            boards.len() >= count && boards.contains(&"esp-eye"),
            "{boards:?}"
        );
        assert_eq!(boards.len() == 1, count == 1, "{boards:?}");
    }
}

#[test]
fn what_cannot_be_packed_is_named() {
    let place = Workplace::empty();
    let answer = place.check(&["package", "fan", "--for", "arduinno"], 2);
    for ecosystem in ECOSYSTEMS {
        assert!(answer.stderr.contains(ecosystem), "{}", answer.stderr);
    }
    let answer = place.check(&["package", "none.capsule", "--for", "c99"], 2);
    assert!(
        answer.stderr.contains("cannot read `none.capsule`"),
        "{}",
        answer.stderr
    );
    place.write("text.tflite", "no network");
    let answer = place.check(&["package", "text.tflite", "--for", "c99"], 2);
    assert!(answer.stderr.contains("`text.tflite`"), "{}", answer.stderr);
    let answer = place.check(&["package", "fan", "--for", "c99", "--with", "agent"], 2);
    assert!(answer.stderr.contains("slots"), "{}", answer.stderr);
}
