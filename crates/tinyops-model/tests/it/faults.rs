//! Everything that is wrong with a graph, told at once.

use tinyops_model::{
    Activation, Conv, Data, Graph, GraphBuilder, OpKind, Padding, Pool, Quantization, TensorId,
};

use crate::samples::{every_op, quantization, weights};

#[track_caller]
fn check(change: impl FnOnce(&mut Graph), expected: &[&str]) {
    let mut graph = every_op();
    graph.check().expect("sound before the change");
    change(&mut graph);
    let faults = graph.check().expect_err("not sound after it");
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, expected);
}

fn op_of(graph: &mut Graph, name: &str) -> usize {
    let found = graph.ops.iter().position(|op| op.kind.name() == name);
    found.expect("the sample has every op")
}

#[test]
fn ends() {
    check(|graph| graph.outputs.clear(), &["the graph has no output"]);
    check(
        |graph| graph.outputs.push(TensorId(999)),
        &["the output list names tensor %999, which is not there"],
    );
    check(
        |graph| graph.embedding = Some(TensorId(1000)),
        &["the embedding names tensor %1000, which is not there"],
    );
}

#[test]
fn order() {
    check(
        |graph| {
            let reader = op_of(graph, "MEAN");
            graph.ops.swap(reader, reader + 1);
        },
        &["op 7 RESHAPE reads tensor %12, which nothing has made"],
    );
    check(
        |graph| {
            let output = graph.inputs[0];
            graph.ops[1].output = output;
        },
        &[
            "tensor %0 `input`: is made twice, or is a constant that something makes",
            "op 2 DEPTHWISE_CONV_2D reads tensor %4, which nothing has made",
        ],
    );
}

#[test]
fn tensors() {
    check(
        |graph| graph.tensors[0].quantization = Some(Quantization::per_tensor(f32::NAN, 0)),
        &[
            "tensor %0 `input`: has a scale that is not a positive number",
            "op 0 PAD: needs one scale and zero point for input and output",
        ],
    );
    check(
        |graph| graph.tensors[2].data = Some(Data::Int8(vec![0; 5])),
        &["tensor %2 `filter`: has another count of numbers than its shape"],
    );
}

#[test]
fn several_at_once() {
    check(
        |graph| {
            let dense = op_of(graph, "FULLY_CONNECTED");
            let filter = graph.ops[dense].inputs[1].0 as usize;
            graph.tensors[filter].shape = [3, 1, 1, 9];
            graph.tensors[filter].data = Some(Data::Int8(vec![1; 27]));
            let softmax = graph.outputs[0].0 as usize;
            graph.tensors[softmax].quantization = quantization(0);
            let pool = op_of(graph, "MAX_POOL_2D");
            graph.ops[pool].kind = OpKind::MaxPool2d(Pool {
                window: [99, 1],
                stride: [0, 1],
                padding: Padding::Valid,
                activation: Activation::None,
            });
        },
        &[
            "op 3 MAX_POOL_2D: has a stride, dilation or window of 0",
            "op 3 MAX_POOL_2D: has a window larger than its padded input",
            "op 3 MAX_POOL_2D: makes shape [1, 0, 13, 8], its output has [1, 2, 6, 8]",
            "op 9 FULLY_CONNECTED: reads 9 values, gets 8",
            "op 10 SOFTMAX: needs an output of scale 1/256 and zero point -128",
        ],
    );
}

#[test]
fn the_builder_works_out_shapes() {
    let mut builder = GraphBuilder::new();
    let input = builder.input([1, 1, 128, 3], quantization(0));
    let strided = Conv {
        stride: [1, 2],
        ..Conv::same(Activation::Relu)
    };
    let conv = builder.conv2d(input, weights([8, 1, 5, 3], 8), strided, quantization(-128));
    assert_eq!(builder.shape(conv), [1, 1, 64, 8]);
    let valid = builder.conv2d(
        conv,
        weights([4, 1, 3, 8], 4),
        Conv::valid(Activation::None),
        quantization(0),
    );
    assert_eq!(builder.shape(valid), [1, 1, 62, 4]);
    let graph = builder.finish(&[valid]);
    graph.check().expect("sound");
    assert_eq!(graph.macs(), 64 * 8 * 15 + 62 * 4 * 24);
    assert!(graph.is_quantized());
}
