//! Ops that change no value.

use tinyops_model::graph::{Graph, OpKind, Padding, Pool, TensorId};

use super::bounds::bounds;
use super::{Merged, is_kept, prune, readers};
use crate::constants::quantization;
use crate::lower::clamp;

/// Takes away one op whose result is its input, or that nobody reads.
pub(super) fn remove_identity(graph: &Graph) -> Option<Merged> {
    let is_unread = |tensor| readers(graph, tensor).next().is_none() && !is_kept(graph, tensor);
    let unread = graph.ops.iter().position(|op| is_unread(op.output));
    if let Some(index) = unread {
        return Some(without(graph, index));
    }
    // Bounds take a run of the network, so they are asked for only where an activation stands alone.
    let stands_alone = |kind: OpKind| matches!(kind, OpKind::Activate(_));
    let known = graph.ops.iter().any(|op| stands_alone(op.kind));
    let known = if known { bounds(graph) } else { Vec::new() };
    let changes_nothing = |index: &usize| {
        let op = &graph.ops[*index];
        let (input, output) = (graph.tensor(op.inputs[0]), graph.tensor(op.output));
        if input.shape != output.shape
            || quantization(input) != quantization(output)
            || is_kept(graph, op.output) && is_kept(graph, op.inputs[0])
        {
            return false;
        }
        match op.kind {
            OpKind::Activate(activation) => {
                let [least, greatest] = clamp(activation, output);
                let bounds = &known[op.inputs[0].0 as usize];
                let inside = |&value: &i8| least <= value && value <= greatest;
                bounds.least.iter().chain(&bounds.greatest).all(inside)
            }
            OpKind::MaxPool2d(pool) | OpKind::AveragePool2d(pool) => {
                let Pool {
                    window,
                    stride,
                    activation,
                    ..
                } = pool;
                let whole = clamp(activation, output) == [i8::MIN, i8::MAX];
                window == [1, 1] && stride == [1, 1] && whole
            }
            OpKind::Reshape => true,
            OpKind::Pad(padding) => {
                let Padding::Explicit {
                    top,
                    bottom,
                    left,
                    right,
                } = padding
                else {
                    return false;
                };
                [top, bottom, left, right] == [0; 4]
            }
            _ => false,
        }
    };
    let index = (0..graph.ops.len()).find(changes_nothing)?;
    let op = &graph.ops[index];
    Some(without(&renamed(graph, op.output, op.inputs[0]), index))
}

/// Takes away one reshape whose readers read values in order of memory, whatever the shape.
pub(super) fn remove_reshape(graph: &Graph) -> Option<Merged> {
    let is_free = |index: &usize| {
        let op = &graph.ops[*index];
        let reads_flat =
            |reader: usize| matches!(graph.ops[reader].kind, OpKind::Dense(_) | OpKind::Reshape);
        op.kind == OpKind::Reshape
            && !is_kept(graph, op.output)
            && readers(graph, op.output).all(reads_flat)
    };
    let index = (0..graph.ops.len()).find(is_free)?;
    let op = &graph.ops[index];
    Some(without(&renamed(graph, op.output, op.inputs[0]), index))
}

/// The graph without an op whose result nobody reads any more.
fn without(graph: &Graph, index: usize) -> Merged {
    let mut made = graph.clone();
    let op = made.ops.remove(index);
    Merged {
        tensor: graph.tensor(op.output).name.clone(),
        graph: prune(made),
    }
}

/// The graph in which everyone reads `to` instead of `from`.
fn renamed(graph: &Graph, from: TensorId, to: TensorId) -> Graph {
    let mut made = graph.clone();
    let inputs = made.ops.iter_mut().flat_map(|op| &mut op.inputs);
    let ends = made.outputs.iter_mut().chain(&mut made.embedding);
    let left = made
        .states
        .iter_mut()
        .filter_map(|state| state.after.as_mut());
    for tensor in inputs.chain(ends).chain(left) {
        if *tensor == from {
            *tensor = to;
        }
    }
    made
}
