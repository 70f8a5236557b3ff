//! Networks from elsewhere: read and surveyed, or refused with every reason.

use serde_json::json;

use tinyops_model::build::Weights;
use tinyops_model::graph::Pool;
use tinyops_model::{Activation, Conv, GraphBuilder, Padding, Quantization, tflite};

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
    assert_eq!(view["outputs"], json!([[1, 2, 3, 12]]));
    assert_eq!(view["macs"], 2 * 3 * 12 * 9);
    let bytes = std::fs::read(&plan).expect("written");
    assert_eq!(view["plan_bytes"], bytes.len());
    assert!(
        view["boards"]
            .as_array()
            .is_some_and(|boards| !boards.is_empty())
    );
}

/// A large picture through a convolution and a pool: too much for every board but in bands.
fn large() -> Vec<u8> {
    let mut builder = GraphBuilder::new();
    let quantization = || Some(Quantization::per_tensor(0.1, 3));
    let input = builder.input([1, 320, 320, 1], quantization());
    let weights = Weights::int8([8, 3, 3, 1], vec![1; 72], vec![0.01; 8], vec![0; 8], 0.1);
    let conv = builder.conv2d(input, weights, Conv::same(Activation::Relu), quantization());
    builder.name(conv, "edges");
    let pool = Pool {
        window: [8, 8],
        stride: [8, 8],
        padding: Padding::Valid,
        activation: Activation::None,
    };
    let output = builder.max_pool2d(conv, pool);
    builder.name(output, "least");
    let mut wide = vec![0; 2 * 12_800];
    wide[0] = 1;
    let weights = Weights::int8([2, 1, 1, 12_800], wide, vec![0.01], vec![0; 2], 0.1);
    let scores = builder.dense(output, weights, Activation::None, quantization());
    builder.name(scores, "scores");
    tflite::export(&builder.finish(&[scores])).expect("every op has a form")
}

#[test]
fn a_network_that_fits_no_board_says_where_and_what_would() {
    let place = Workplace::empty();
    std::fs::write(place.path("large.tflite"), large()).expect("the folder is there");
    let answer = place.check(&["import", "large.tflite"], 0);
    insta::assert_snapshot!(answer.stdout);
}

/// The network, its model and its plan say the same of the same lines, by whatever instructions.
#[test]
fn a_network_predicts_from_its_file() {
    let place = Workplace::empty();
    let file = network("depthwise_multiplier");
    let (model, plan) = ("net.model", "net.plan");
    place.check(&["import", &file, "--out", model, "--plan", plan], 0);
    let width = place.check(&["import", &file, "--json"], 0).json()["inputs"][0]
        .as_array()
        .expect("a shape")
        .iter()
        .filter_map(serde_json::Value::as_u64)
        .product::<u64>();
    let line = |seed: u64| {
        let values = (0..width).map(|index| format!("{:.2}", ((index * seed) % 17) as f64 / 9.0));
        values.collect::<Vec<_>>().join(",")
    };
    let lines: Vec<String> = (1..40).map(line).collect();
    place.write("field/a.csv", &lines.join("\n"));
    let said = |more: &[&str]| {
        let mut args = vec!["predict", "field", "--lines", "--json", "--model"];
        args.extend(more);
        place.check(&args, 0).json()["recordings"].clone()
    };
    let expected = said(&[&file]);
    assert_eq!(expected.as_array().map(Vec::len), Some(39));
    let first = &expected[0]["windows"][0];
    assert_eq!(first["answer"], "values");
    assert_eq!(first["values"].as_array().map(Vec::len), Some(72));
    for more in [
        &[model][..],
        &[plan],
        &[&file, "--instructions", "portable"],
    ] {
        assert_eq!(said(more), expected, "{more:?}");
    }
    let missing = place.check(&["predict", "field", "--model", "no/such.tflite"], 2);
    assert!(
        missing.stderr.contains("no/such.tflite"),
        "{}",
        missing.stderr
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
    assert!(accepted("SVDF") && !accepted("CUSTOM"));
}
