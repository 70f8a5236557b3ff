//! What of a model makes its embedding, so that two heads on one body can be told from two bodies.

use std::collections::HashSet;

use super::encode_graph;
use crate::bytes::Writer;
use crate::graph::{Graph, Tensor, TensorId};
use crate::model::{Body, Model};

impl Model {
    /// Bytes of everything that makes the embedding, and of what its classes are called: two models with the same bytes
    /// embed every window alike, and what was learnt from embeddings of one holds for the other. Names of the model and
    /// its tensors, the head, thresholds and baseline are not in them.
    ///
    /// `None` for a model without an embedding.
    ///
    /// # Panics
    /// As [`Model::encode`].
    #[must_use]
    pub fn embedding_bytes(&self) -> Option<Vec<u8>> {
        let Body::Network(graph) = &self.body else {
            return None;
        };
        let body = body_of(graph)?;
        let mut out = Writer::default();
        self.encode_features(&mut out);
        encode_graph(&body, &mut out);
        out.count(self.labels.len());
        self.labels.iter().for_each(|label| out.text(label));
        Some(out.bytes)
    }
}

/// The graph without what the embedding does not depend on; tensors keep their numbers.
fn body_of(graph: &Graph) -> Option<Graph> {
    let embedding = graph.embedding?;
    // What a run leaves for the next is made by ops that may come later than what reads it.
    let states = graph
        .states
        .iter()
        .flat_map(|state| [Some(state.before), state.after]);
    let ends = [embedding].into_iter().chain(states.flatten());
    let mut needed: HashSet<TensorId> = ends.chain(graph.inputs.iter().copied()).collect();
    let mut ops = Vec::new();
    for op in graph.ops.iter().rev() {
        if needed.contains(&op.output) {
            needed.extend(&op.inputs);
            ops.push(op.clone());
        }
    }
    ops.reverse();
    let tensors = graph.tensors.iter().enumerate().map(|(at, tensor)| Tensor {
        name: String::new(),
        ..match needed.contains(&TensorId(at as u32)) {
            true => tensor.clone(),
            false => Tensor {
                name: String::new(),
                shape: [0; 4],
                quantization: None,
                data: None,
            },
        }
    });
    Some(Graph {
        tensors: tensors.collect(),
        ops,
        inputs: graph.inputs.clone(),
        outputs: vec![embedding],
        embedding: Some(embedding),
        states: graph.states.clone(),
    })
}
