//! Rewrites of a graph that change no bit of its outputs.
//!
//! Each pass is a function from a graph to a smaller one, and says what it did. Inputs, outputs
//! and the embedding keep their shapes and values.

mod activations;
pub(crate) mod bounds;
mod channels;
mod constants;
mod identities;
mod padding;

use std::collections::BTreeMap;

use serde::Serialize;
use tinyops_model::graph::{Graph, Op, State, Tensor, TensorId};

/// A graph after all rewrites, and what they did.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewritten {
    /// The graph that gives the same bytes with less.
    pub graph: Graph,
    /// What was done, in order.
    pub rewrites: Vec<Rewrite>,
    /// Which channels are left of tensors that lost some, by the tensor's name; not where two
    /// tensors have one name.
    pub channels: BTreeMap<String, Vec<usize>>,
}

/// One thing that was rewritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// Which pass.
    pub pass: Pass,
    /// The name of the tensor that was made there.
    pub tensor: String,
    /// How many channels, values or ops went.
    pub count: usize,
}

/// A kind of rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pass {
    /// What is known before a run is computed before.
    Constant,
    /// An op that changes nothing went.
    Identity,
    /// A reshape went, as what reads it reads the values in order of memory.
    Reshape,
    /// Zeros around an input became the padding of the convolution that reads them.
    Padding,
    /// An activation became part of the op before it.
    Activation,
    /// Channels that cannot matter went.
    Channels,
    /// A sum became part of the convolution before it: the plan has both, the graph too.
    Sum,
}

/// Rewrites a quantized graph that has passed its check until nothing is left to do. A graph with
/// int16 values stays as it is.
#[must_use]
pub fn rewrite(graph: &Graph) -> Rewritten {
    let mut rewritten = Rewritten::untouched(graph);
    // What the passes know of bounds and clamps is that of int8.
    if !graph.has_int16() {
        while rewritten.round() {}
    }
    rewritten
}

impl Rewritten {
    /// A graph as it is.
    pub(crate) fn untouched(graph: &Graph) -> Rewritten {
        Rewritten {
            graph: graph.clone(),
            rewrites: Vec::new(),
            channels: BTreeMap::new(),
        }
    }

    /// One round of all passes; whether any did something. Each takes an op or a channel away, so
    /// there is an end.
    fn round(&mut self) -> bool {
        let before = self.rewrites.len();
        let one_by_one: [(Pass, Step); 5] = [
            (Pass::Constant, constants::fold),
            (Pass::Identity, identities::remove_identity),
            (Pass::Reshape, identities::remove_reshape),
            (Pass::Padding, padding::merge),
            (Pass::Activation, activations::merge),
        ];
        for (pass, step) in one_by_one {
            while let Some(Merged { graph, tensor }) = step(&self.graph) {
                self.graph = graph;
                let count = 1;
                self.rewrites.push(Rewrite {
                    pass,
                    tensor,
                    count,
                });
            }
        }
        if let Some((graph, removed)) = channels::eliminate(&self.graph) {
            for (tensor, kept) in removed {
                let tensor = self.graph.tensor(tensor);
                self.rewrites.push(Rewrite {
                    pass: Pass::Channels,
                    tensor: tensor.name.clone(),
                    count: usize::from(tensor.shape[3]) - kept.len(),
                });
                let before = self.channels.remove(&tensor.name);
                let of_name = |other: &&Tensor| other.name == tensor.name && other.data.is_none();
                if self.graph.tensors.iter().filter(of_name).count() > 1 {
                    continue;
                }
                let kept = match before {
                    Some(before) => kept.iter().map(|&channel| before[channel]).collect(),
                    None => kept,
                };
                self.channels.insert(tensor.name.clone(), kept);
            }
            self.graph = graph;
        }
        self.rewrites.len() > before
    }
}

/// Takes one op away if it can.
type Step = fn(&Graph) -> Option<Merged>;

/// A graph with one op less, and the name of what that op made.
struct Merged {
    graph: Graph,
    tensor: String,
}

/// The only reader of a tensor that nobody else needs: the index of its op.
pub(crate) fn only_reader(graph: &Graph, tensor: TensorId) -> Option<usize> {
    if is_kept(graph, tensor) {
        return None;
    }
    let mut readers = readers(graph, tensor);
    let first = readers.next()?;
    readers.next().is_none().then_some(first)
}

/// Each op that reads a tensor, once for each time it does.
fn readers(graph: &Graph, tensor: TensorId) -> impl Iterator<Item = usize> {
    let indexes = graph.ops.iter().enumerate();
    indexes.flat_map(move |(index, op)| {
        let times = op.inputs.iter().filter(|&&input| input == tensor).count();
        std::iter::repeat_n(index, times)
    })
}

/// Whether someone outside the graph reads or writes the tensor.
fn is_kept(graph: &Graph, tensor: TensorId) -> bool {
    let ends = graph.inputs.iter().chain(&graph.outputs);
    ends.chain(&graph.embedding).any(|&kept| kept == tensor)
        || of_states(graph).any(|kept| kept == tensor)
}

/// What the last run left, and what this one leaves.
fn of_states(graph: &Graph) -> impl Iterator<Item = TensorId> {
    let states = graph.states.iter();
    states.flat_map(|state| [Some(state.before), state.after].into_iter().flatten())
}

/// The op that makes a tensor.
fn maker(graph: &Graph, tensor: TensorId) -> Option<(usize, &Op)> {
    let mut ops = graph.ops.iter().enumerate();
    ops.find(|(_, op)| op.output == tensor)
}

/// Drops the tensors that nothing names any more.
fn prune(graph: Graph) -> Graph {
    let mut is_used = vec![false; graph.tensors.len()];
    let of_ops = graph
        .ops
        .iter()
        .flat_map(|op| op.inputs.iter().chain([&op.output]));
    let ends = graph.inputs.iter().chain(&graph.outputs);
    for tensor in of_ops.chain(ends).chain(&graph.embedding) {
        is_used[tensor.0 as usize] = true;
    }
    for tensor in of_states(&graph) {
        is_used[tensor.0 as usize] = true;
    }
    let mut renamed = Vec::with_capacity(is_used.len());
    let mut count = 0;
    for &used in &is_used {
        renamed.push(TensorId(count));
        count += u32::from(used);
    }
    let rename = |tensor: &TensorId| renamed[tensor.0 as usize];
    let all = |tensors: &[TensorId]| tensors.iter().map(rename).collect::<Vec<_>>();
    Graph {
        ops: graph
            .ops
            .iter()
            .map(|op| Op {
                kind: op.kind,
                inputs: all(&op.inputs),
                output: rename(&op.output),
            })
            .collect(),
        inputs: all(&graph.inputs),
        outputs: all(&graph.outputs),
        embedding: graph.embedding.as_ref().map(rename),
        states: graph
            .states
            .iter()
            .map(|state| State {
                before: rename(&state.before),
                after: state.after.as_ref().map(rename),
            })
            .collect(),
        tensors: graph
            .tensors
            .into_iter()
            .zip(is_used)
            .filter_map(|(tensor, used)| used.then_some(tensor))
            .collect(),
    }
}
