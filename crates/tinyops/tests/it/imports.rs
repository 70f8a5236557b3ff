//! Networks from elsewhere: read and surveyed, or refused with every reason.

use serde_json::json;

use crate::workplace::Workplace;

/// A golden network of one operator.
fn network(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/golden/tflite");
    format!("{folder}/{name}.tflite")
}

#[test]
fn a_network_is_surveyed_and_written() {
    let place = Workplace::empty();
    let file = network("depthwise_multiplier");
    let plan = place.path("net.plan").display().to_string();
    let answer = place.check(&["import", &file, "--plan", &plan, "--json"], 0);
    let view = answer.json();
    assert_eq!(view["layers"][0]["kind"], "DEPTHWISE_CONV_2D");
    assert_eq!(view["output"], json!([1, 2, 3, 12]));
    assert_eq!(view["macs"], 2 * 3 * 12 * 9);
    let bytes = std::fs::read(&plan).expect("written");
    assert_eq!(view["plan_bytes"], bytes.len());
    assert!(
        view["boards"]
            .as_array()
            .is_some_and(|boards| !boards.is_empty())
    );
}

#[test]
fn what_is_no_network_is_refused() {
    let place = Workplace::empty();
    place.write("notes.txt", "not a network at all");
    let path = place.path("notes.txt").display().to_string();
    let answer = place.check(&["import", &path], 1);
    assert!(
        answer.stderr.contains("not a .tflite file"),
        "{}",
        answer.stderr
    );
    assert_eq!(answer.stdout, "");
}

#[test]
fn operators_are_listed_with_what_is_read() {
    let view = Workplace::empty().check(&["ops", "--json"], 0).json();
    let ops = view["ops"].as_array().expect("a list");
    let accepted = |name: &str| {
        let op = ops.iter().find(|op| op["name"] == name);
        op.expect("in the schema")["accepted"].is_string()
    };
    assert!(accepted("CONV_2D") && accepted("TRANSPOSE_CONV"));
    assert!(!accepted("SVDF") && !accepted("CUSTOM"));
}
