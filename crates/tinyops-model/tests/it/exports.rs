//! What is written as `.tflite` reads back as the network that it was.

use tinyops_model::build::Weights;
use tinyops_model::tflite::{ExportError, export, import};
use tinyops_model::{Activation, Conv, Graph, GraphBuilder, OpKind};

use crate::samples::{every_op, quantization, weights};

fn kinds(graph: &Graph) -> Vec<&'static str> {
    graph.ops.iter().map(|op| op.kind.name()).collect()
}

#[test]
fn every_op_reads_back() {
    let graph = every_op();
    let bytes = export(&graph).expect("every op of a trained network has words");
    let again = import(&bytes).expect("reads");
    // A dense layer reads a row, so a reshape goes before it; nothing else changes.
    let mut expected = kinds(&graph);
    let dense = expected
        .iter()
        .position(|kind| *kind == "FULLY_CONNECTED")
        .expect("there is one");
    expected.insert(dense, "RESHAPE");
    assert_eq!(kinds(&again), expected);
    assert_eq!(again.macs(), graph.macs());
    assert_eq!(again.constant_bytes(), graph.constant_bytes());
    for (before, after) in graph.ops.iter().zip(again.ops.iter().take(dense)) {
        assert_eq!(before.kind, after.kind);
        for (&before, &after) in before.inputs.iter().zip(&after.inputs) {
            assert_eq!(graph.tensor(before), again.tensor(after));
        }
    }
    assert_eq!(
        export(&again).expect("sound"),
        export(&again).expect("sound")
    );
}

#[test]
fn explicit_padding_becomes_an_operator() {
    let mut builder = GraphBuilder::new();
    let input = builder.input([1, 5, 5, 2], quantization(3));
    let padding = tinyops_model::Padding::Explicit {
        top: 1,
        bottom: 0,
        left: 0,
        right: 2,
    };
    let conv = Conv {
        padding,
        ..Conv::valid(Activation::None)
    };
    let output = builder.conv2d(input, weights([4, 3, 3, 2], 4), conv, quantization(0));
    let graph = builder.finish(&[output]);
    let again = import(&export(&graph).expect("sound")).expect("reads");
    assert_eq!(again.ops[0].kind, OpKind::Pad(padding));
    assert_eq!(
        again.ops[1].kind,
        OpKind::Conv2d(Conv::valid(Activation::None))
    );
}

#[test]
fn what_has_no_words_is_named() {
    let mut builder = GraphBuilder::new();
    let input = builder.input([1, 1, 1, 2], None);
    let dense = Weights::float([1, 1, 1, 2], vec![1.0, 2.0], vec![0.0]);
    let output = builder.dense(input, dense, Activation::None, None);
    let refused = export(&builder.finish(&[output]));
    assert!(matches!(refused, Err(ExportError::NotQuantized(name)) if name == "input"));
}
