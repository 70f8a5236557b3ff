//! Two runs of a network, layer by layer, as a person compares them.

use std::fs;

use serde_json::{Value, json};
use tinyops_compile::{Options, Values, compile_graph_with};
use tinyops_model::build::Weights;
use tinyops_model::{Activation, Conv, Graph, GraphBuilder, Quantization, tflite};
use tinyops_nn::Plan;

use crate::{shape::shape, workplace::Workplace};

/// A convolution, a lone activation, a dense layer and a softmax; `weight` is one of the filter's.
fn network(weight: i8) -> Graph {
    let mut builder = GraphBuilder::new();
    let quantization = || Some(Quantization::per_tensor(0.1, 3));
    let input = builder.input([1, 4, 4, 2], quantization());
    builder.name(input, "picture");
    let mut filter: Vec<i8> = (0..54).map(|index| (index * 37 % 101) as i8 - 50).collect();
    filter[7] = weight;
    let weights = Weights::int8([3, 3, 3, 2], filter, vec![0.01; 3], vec![5, -9, 40], 0.1);
    let conv = builder.conv2d(input, weights, Conv::same(Activation::None), quantization());
    builder.name(conv, "conv");
    let relu = builder.activate(conv, Activation::Relu, quantization());
    builder.name(relu, "relu");
    let filter: Vec<i8> = (0..144).map(|index| (index * 53 % 89) as i8 - 44).collect();
    let weights = Weights::int8([3, 1, 1, 48], filter, vec![0.002], vec![0, 7, -7], 0.1);
    let dense = builder.dense(relu, weights, Activation::None, quantization());
    builder.name(dense, "dense");
    let output = builder.softmax(dense);
    builder.name(output, "scores");
    builder.finish(&[output])
}

/// A folder with two networks that differ in one weight.
fn place() -> Workplace {
    let place = Workplace::empty();
    for (name, weight) in [("net.tflite", 1), ("other.tflite", 90)] {
        let bytes = tflite::export(&network(weight)).expect("every op has a form");
        fs::write(place.path(name), bytes).expect("the folder is there");
    }
    place
}

/// The golden file of the first network for one input, and each of its layers.
fn golden() -> Value {
    let graph = network(1);
    let options = Options {
        as_written: true,
        ..Options::default()
    };
    let compiled = compile_graph_with(&graph, &options).expect("compiles");
    let plan = Plan::load(&compiled.program).expect("loads");
    let input: Vec<u8> = (0..32).map(|index| (index * 11) as u8).collect();
    let layers = compiled.layers.trace(&plan, &input).expect("runs");
    let bytes = |values: &Values| match values {
        Values::Bytes(bytes) => base64(bytes),
        Values::Crc32 { .. } => unreachable!("a run knows its values"),
    };
    let told: Vec<Value> = layers
        .iter()
        .map(
            |layer| json!({"tensor": layer.name, "op": layer.kind, "values": bytes(&layer.values)}),
        )
        .collect();
    let output = bytes(&layers.last().expect("four layers").values);
    let case =
        json!({"name": "ramp", "inputs": [base64(&input)], "outputs": [output], "layers": told});
    json!({"model": "net.tflite", "tolerance": 0, "cases": [case]})
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let digit = move |index: u32| char::from(DIGITS[(bits >> (18 - 6 * index) & 63) as usize]);
        let count = chunk.len() as u32 + 1;
        (0..4).map(move |index| if index < count { digit(index) } else { '=' })
    });
    digits.collect()
}

#[test]
fn a_network_and_its_golden_outputs_are_equal() {
    let place = place();
    place.write("net.cases.json", &golden().to_string());
    let answer = place.check(&["compare", "net.tflite", "net.cases.json"], 0);
    insta::assert_snapshot!("equal", answer.stdout);
    let other = place
        .check(&["compare", "net.cases.json", "other.tflite", "--json"], 1)
        .json();
    assert_eq!(other["layers"]["rows"][0]["verdict"], "differs");
}

#[test]
fn a_stream_goes_on_where_the_case_before_ended() {
    let place = place();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/golden/tflite");
    let golden = format!("{folder}/lstm.cases.json");
    for side in ["host:portable", &format!("{folder}/lstm.tflite")] {
        place.check(&["compare", &golden, side], 0);
    }
    let by_case = ["compare", &golden, "host:portable", "--case", "lstm 2"];
    place.check(&by_case, 0);
}

#[test]
fn the_first_layer_that_differs_is_named() {
    let place = place();
    let mut file = golden();
    // The first value of the dense layer, and what the softmax makes of it, are other ones.
    file["cases"][0]["layers"][2]["values"] = json!(base64(&[99, 4, 5]));
    file["cases"][0]["outputs"][0] = json!(base64(&[1, 2, 3]));
    place.write("net.cases.json", &file.to_string());
    let answer = place.check(&["compare", "net.tflite", "net.cases.json"], 1);
    insta::assert_snapshot!("differs", format!("{}\n{}", answer.stdout, answer.stderr));
    let view = place
        .check(&["compare", "net.tflite", "net.cases.json", "--json"], 1)
        .json();
    insta::assert_snapshot!("shape", shape(&view));
    assert_eq!(view["layers"]["first"], 3);
    assert_eq!(view["layers"]["rows"][3]["element"]["b"], 99);
}

#[test]
fn two_networks_are_compared_over_random_inputs_that_are_told() {
    let place = place();
    let view = place
        .check(&["compare", "net.tflite", "other.tflite", "--json"], 1)
        .json();
    let names = view["inputs"]["names"].as_array().expect("a list");
    assert_eq!(names[0], "uniform seed 1");
    assert_eq!(names.len(), 7);
    assert_eq!(view["layers"]["rows"][0]["layer"], "conv");
    assert_eq!(view["layers"]["rows"][0]["verdict"], "differs");
    let same = place
        .check(
            &[
                "compare",
                "net.tflite",
                "net.tflite",
                "--random",
                "2",
                "--json",
            ],
            0,
        )
        .json();
    assert_eq!(same["differs"], false);
    assert_eq!(
        same["a"]["shipped"]["gone"],
        json!(["conv", "relu in a row"]),
        "in the epilogue, and read as it lies"
    );
}

#[test]
fn a_plan_takes_the_names_of_its_network() {
    let place = place();
    place.check(
        &[
            "import",
            "net.tflite",
            "--plan",
            "net.plan",
            "--out",
            "net.model",
        ],
        0,
    );
    let view = place
        .check(&["compare", "net.plan", "net.tflite", "--json"], 0)
        .json();
    assert_eq!(view["layers"]["rows"][0]["layer"], "relu");
    let view = place
        .check(&["compare", "net.plan", "net.model", "--json"], 0)
        .json();
    assert_eq!(view["layers"]["rows"][2]["layer"], "scores");
}

#[test]
fn inputs_come_from_files_too() {
    let place = place();
    fs::write(place.path("two.bin"), vec![7u8; 64]).expect("the folder is there");
    let args = [
        "compare",
        "net.tflite",
        "net.tflite",
        "--input",
        "two.bin",
        "--json",
    ];
    let view = place.check(&args, 0).json();
    assert_eq!(view["inputs"]["names"], json!(["two.bin 0", "two.bin 1"]));
    fs::write(place.path("two.bin"), [7u8; 33]).expect("the folder is there");
    let answer = place.check(&args[..5], 2);
    assert!(
        answer.stderr.contains("33 bytes, an input 32"),
        "{}",
        answer.stderr
    );
}

#[test]
fn what_cannot_be_compared_says_so() {
    let place = place();
    place.write("notes.txt", "no network");
    for (a, b, why) in [
        ("net.tflite", "gone.tflite", "no file `gone.tflite`"),
        ("net.tflite", "notes.txt", "no network, model, plan"),
        ("notes.json", "net.tflite", "no file"),
    ] {
        let answer = place.check(&["compare", a, b], 2);
        assert!(answer.stderr.contains(why), "{a} {b}: {}", answer.stderr);
    }
    let answer = place.check(&["compare", "net.tflite"], 2);
    assert_eq!(answer.stdout, "");
}

#[test]
fn a_network_is_the_same_by_every_instruction_set_of_this_machine() {
    let place = place();
    let isas = tinyops_nn::Isa::available().map(tinyops_nn::Isa::name);
    for isa in isas {
        let host = format!("host:{isa}");
        let view = place
            .check(&["compare", "net.tflite", &host, "--json"], 0)
            .json();
        assert_eq!(view["layers"]["rows"][0]["verdict"], "same", "{isa}");
    }
    let answer = place.check(&["compare", "net.tflite", "host:z80"], 2);
    assert!(
        answer.stderr.contains("it has: portable"),
        "{}",
        answer.stderr
    );
    let answer = place.check(&["compare", "board:m4f", "host:portable"], 2);
    assert!(
        answer.stderr.contains("no network to run"),
        "{}",
        answer.stderr
    );
}

#[test]
fn the_emulated_board_makes_every_layer_that_this_machine_makes() {
    let place = place();
    let answer = place.run(&[
        "compare",
        "net.tflite",
        "--board",
        "m4f",
        "--random",
        "1",
        "--json",
    ]);
    if answer.code == 3 {
        #[expect(clippy::print_stderr, reason = "a skipped test must show")]
        {
            eprintln!("board skipped: {}", answer.stderr);
        }
        return;
    }
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let view = answer.json();
    let layers: Vec<&Value> = view["layers"]["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .collect();
    assert_eq!(layers.len(), 3);
    assert!(
        layers.iter().all(|row| row["verdict"] == "same"),
        "{layers:?}"
    );
}
