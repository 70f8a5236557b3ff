//! What is known before a network runs.

use tinyops_model::graph::{Data, Graph, Op, OpKind, Tensor, TensorId};

use super::{Merged, is_kept, maker, only_reader, prune};
use crate::compiled::{Options, compile_graph_with};
use tinyops_nn::Plan;

/// An op over constants alone becomes a constant: its own kernel computes it here. And what takes
/// a constant as its second operand takes it without an op between.
pub(super) fn fold(graph: &Graph) -> Option<Merged> {
    (0..graph.ops.len()).find_map(|index| {
        let op = &graph.ops[index];
        match op.kind {
            OpKind::Constant => into_operand(graph, index),
            _ => computed(graph, index),
        }
    })
}

/// The values of an activation that an op makes of a constant.
fn known(graph: &Graph, tensor: TensorId) -> Option<&[i8]> {
    let (_, op) = maker(graph, tensor)?;
    match (op.kind, &graph.tensor(op.inputs[0]).data) {
        (OpKind::Constant, Some(Data::Int8(values))) => Some(values),
        _ => None,
    }
}

fn computed(graph: &Graph, index: usize) -> Option<Merged> {
    let op = &graph.ops[index];
    let activations = op.inputs.iter().copied();
    let activations: Vec<TensorId> = activations
        .filter(|&id| graph.tensor(id).data.is_none())
        .collect();
    let [input] = activations[..] else {
        return None;
    };
    if is_kept(graph, op.output) {
        return None;
    }
    let values = known(graph, input)?;
    let alone = Graph {
        tensors: graph.tensors.clone(),
        ops: vec![op.clone()],
        inputs: vec![input],
        outputs: vec![op.output],
        embedding: None,
        states: Vec::new(),
    };
    let compiled = compile_graph_with(&prune(alone), &Options::default()).ok()?;
    let plan = Plan::load(&compiled.program).ok()?;
    let mut arena = vec![0; plan.arena_bytes()];
    for (place, &value) in arena[plan.input().range()].iter_mut().zip(values) {
        *place = value as u8;
    }
    plan.run(&mut arena).ok()?;
    let made = arena[plan.output().range()].iter();
    let output = graph.tensor(op.output);
    let constant = Tensor {
        data: Some(Data::Int8(made.map(|&byte| byte as i8).collect())),
        ..output.clone()
    };
    let mut made = graph.clone();
    made.ops[index] = Op {
        kind: OpKind::Constant,
        inputs: vec![TensorId(made.tensors.len() as u32)],
        output: op.output,
    };
    made.tensors.push(constant);
    Some(Merged {
        tensor: output.name.clone(),
        graph: prune(made),
    })
}

fn into_operand(graph: &Graph, index: usize) -> Option<Merged> {
    let op = &graph.ops[index];
    let reader = only_reader(graph, op.output)?;
    let reads = &graph.ops[reader];
    let takes = matches!(reads.kind, OpKind::Binary { .. } | OpKind::Product(_));
    let constant = graph.tensor(op.inputs[0]);
    if !takes || reads.inputs[1] != op.output || constant.shape != graph.tensor(op.output).shape {
        return None;
    }
    let mut made = graph.clone();
    made.ops[reader].inputs[1] = op.inputs[0];
    made.ops.remove(index);
    Some(Merged {
        tensor: graph.tensor(op.output).name.clone(),
        graph: prune(made),
    })
}
