//! Rewrites take work away and change no bit.

use tinyops_compile::{Pass, compile_graph, rewrite};
use tinyops_model::build::Weights;
use tinyops_model::tflite::import;
use tinyops_model::{Activation, Conv, Graph, GraphBuilder, Op, OpKind, Padding, Quantization};

use crate::graphs::{len, op_by_op, run, touched_bytes};
use crate::networks::{Random, network};

/// The five reference networks, by key; none where the data is not there.
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
pub(crate) fn references() -> Vec<(&'static str, Graph)> {
    let data = std::env::var("TINYOPS_DATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let files = [
        ("kws", "kws_ref_model"),
        ("vww", "vww_96_int8"),
        ("ic", "pretrainedResnet_quant"),
        ("ad", "ad01_int8"),
        ("sww", "str_ww_ref_model"),
    ];
    let read = |(key, file)| {
        let path = format!("{data}/mlperf-tiny/{file}.tflite");
        let Ok(bytes) = std::fs::read(&path) else {
            eprintln!("skipped: {path} is not there; set TINYOPS_DATA");
            return None;
        };
        Some((key, import(&bytes).expect("a sound model")))
    };
    files.into_iter().filter_map(read).collect()
}

#[track_caller]
fn check_removed(key: &str, macs: [u64; 2], constant_bytes_at_most: u64) {
    for (name, graph) in references() {
        if name != key {
            continue;
        }
        let compiled = compile_graph(&graph, false).expect("compiles");
        assert_eq!(compiled.saved.macs_before, macs[0]);
        assert!(compiled.macs <= macs[1], "{key}: {}", compiled.macs);
        assert!(compiled.saved.constant_bytes <= constant_bytes_at_most);
    }
}

#[test]
fn half_of_the_person_detector_is_dead() {
    check_removed("vww", [7_489_664, 3_800_000], 35_000);
}

#[test]
fn all_of_the_keyword_spotter_lives() {
    check_removed("kws", [2_656_768, 2_656_768], 24_400);
}

#[test]
fn rewriting_twice_finds_nothing_more() {
    for seed in 0..200 {
        let graph = network(seed);
        if graph.check().is_err() {
            continue;
        }
        let once = rewrite(&graph);
        assert_eq!(once.graph.check(), Ok(()), "seed {seed}");
        assert_eq!(rewrite(&once.graph).rewrites, [], "seed {seed}");
    }
}

#[test]
fn random_networks_lose_all_kinds_of_work() {
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..400 {
        let graph = network(seed);
        if graph.check().is_err() {
            continue;
        }
        for rewritten in rewrite(&graph).rewrites {
            *counts.entry(format!("{:?}", rewritten.pass)).or_insert(0) += 1;
        }
    }
    let few = |pass: &str| counts.get(pass).copied().unwrap_or(0) < 3;
    let missing: Vec<_> = ["Identity", "Reshape", "Padding", "Activation", "Channels"]
        .into_iter()
        .filter(|pass| few(pass))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {counts:?}");
}

#[test]
fn padding_becomes_the_padding_of_what_reads_it() {
    let mut builder = GraphBuilder::new();
    let quantization = Some(Quantization::per_tensor(0.1, 3));
    let input = builder.input([1, 5, 5, 1], quantization.clone());
    let around = Padding::Explicit {
        top: 0,
        bottom: 1,
        left: 1,
        right: 1,
    };
    let padded = builder.pad(input, around);
    let weights = Weights::int8([1, 3, 3, 1], vec![1; 9], vec![0.1], vec![0], 0.01);
    let conv = Conv {
        stride: [2, 2],
        ..Conv::valid(Activation::None)
    };
    let output = builder.conv2d(padded, weights, conv, quantization.clone());
    let negative = builder.activate(output, Activation::Relu, quantization);
    let graph = builder.finish(&[negative]);
    let rewritten = rewrite(&graph);
    let passes: Vec<Pass> = rewritten.rewrites.iter().map(|r| r.pass).collect();
    assert_eq!(passes, [Pass::Padding, Pass::Activation]);
    let [
        Op {
            kind: OpKind::Conv2d(conv),
            ..
        },
    ] = &rewritten.graph.ops[..]
    else {
        panic!("{:?}", rewritten.graph.ops);
    };
    // The third row of windows would begin below the padded input, so the row after is not read.
    let read = Padding::Explicit {
        top: 0,
        bottom: 1,
        left: 1,
        right: 1,
    };
    assert_eq!((conv.padding, conv.activation), (read, Activation::Relu));
    assert_eq!(rewritten.graph.check(), Ok(()));
}

#[test]
fn arenas_and_plans_of_the_reference_networks() {
    let most = [
        ("kws", 8_640, 27_000),
        ("vww", 28_080, 66_000),
        ("ic", 34_112, 82_000),
        ("ad", 768, 272_000),
        ("sww", 4_224, 54_400),
    ];
    for (key, graph) in references() {
        let compiled = compile_graph(&graph, false).expect("compiles");
        let (_, arena_most, program_most) = most.into_iter().find(|most| most.0 == key).expect(key);
        assert!(
            compiled.arena_bytes <= arena_most,
            "{key}: {}",
            compiled.arena_bytes
        );
        assert!(
            compiled.program.len() <= program_most,
            "{key}: {}",
            compiled.program.len()
        );
        // A kernel for another core may use more of its scratch than the host's.
        let touched = touched_bytes(&compiled.program);
        assert!(
            touched == compiled.arena_bytes || key == "sww",
            "{key}: {touched}"
        );
    }
}

#[test]
fn the_reference_networks_give_what_their_ops_give_one_by_one() {
    for (key, graph) in references() {
        let compiled = compile_graph(&graph, false).expect("compiles");
        let input = Random::new(5).int8s(len(&graph, graph.inputs[0]));
        let (_, output) = run(&compiled.program, &input);
        let expected = op_by_op(&graph, &input).expect("it compiled whole");
        assert_eq!(output, expected[graph.outputs[0].0 as usize], "{key}");
    }
}
