//! An activation that stands alone, as part of the op before it.

use tinyops_model::graph::{Activation, Conv, Graph, OpKind, Pool};

use super::{Merged, maker, only_reader, prune};
use crate::constants::quantization;

/// Merges one activation into the op that makes its input, where both have one scale and zero
/// point: then the activation is a clamp, and a clamp after a clamp is one.
pub(super) fn merge(graph: &Graph) -> Option<Merged> {
    (0..graph.ops.len()).find_map(|index| merge_from(graph, index))
}

fn merge_from(graph: &Graph, index: usize) -> Option<Merged> {
    let op = &graph.ops[index];
    let OpKind::Activate(second) = op.kind else {
        return None;
    };
    let between = op.inputs[0];
    if quantization(graph.tensor(between)) != quantization(graph.tensor(op.output))
        || only_reader(graph, between) != Some(index)
    {
        return None;
    }
    let (made_by, before) = maker(graph, between)?;
    let kind = match before.kind {
        OpKind::Conv2d(conv) => OpKind::Conv2d(Conv {
            activation: both(conv.activation, second),
            ..conv
        }),
        OpKind::DepthwiseConv2d(conv) => OpKind::DepthwiseConv2d(Conv {
            activation: both(conv.activation, second),
            ..conv
        }),
        OpKind::Dense(first) => OpKind::Dense(both(first, second)),
        OpKind::Add(first) => OpKind::Add(both(first, second)),
        OpKind::MaxPool2d(pool) => OpKind::MaxPool2d(Pool {
            activation: both(pool.activation, second),
            ..pool
        }),
        OpKind::AveragePool2d(pool) => OpKind::AveragePool2d(Pool {
            activation: both(pool.activation, second),
            ..pool
        }),
        _ => return None,
    };
    let mut made = graph.clone();
    made.ops[made_by].kind = kind;
    made.ops[made_by].output = op.output;
    made.ops.remove(index);
    Some(Merged {
        tensor: graph.tensor(between).name.clone(),
        graph: prune(made),
    })
}

fn both(first: Activation, second: Activation) -> Activation {
    match (first, second) {
        (Activation::Relu6, _) | (_, Activation::Relu6) => Activation::Relu6,
        (Activation::Relu, _) | (_, Activation::Relu) => Activation::Relu,
        _ => Activation::None,
    }
}
