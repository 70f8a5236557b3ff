//! What a run makes layer by layer, under the names that the network gives its tensors.

use std::collections::BTreeMap;
use std::ops::Range;

use tinyops_model::graph::{Graph, OpKind, Tensor};
use tinyops_nn::record::{Element, OpCode};
use tinyops_nn::{Isa, Line, Plan, Prepared, RunError};

use crate::constants::quantization;

/// The values of one layer: what one op of the network makes.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerValues {
    /// The tensor's name.
    pub name: String,
    /// The operator.
    pub kind: String,
    /// `[1, height, width, channels]`; `None` where nobody says.
    pub shape: Option<[u16; 4]>,
    /// Scale and zero point; `None` where nobody says.
    pub quantization: Option<(f32, i8)>,
    /// What the values are; `None` where nobody says.
    pub element: Option<Element>,
    /// Which of the network's channels these are, where some went.
    pub channels: Option<Vec<usize>>,
    /// Bytes that the run did not make, as no band of rows needs them; their values mean nothing.
    pub missing: Vec<Range<usize>>,
    /// The values.
    pub values: Values,
}

/// Values, or what is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// All of them, in order of memory.
    Bytes(Vec<u8>),
    /// How many there are and their checksum, as zlib computes it.
    Crc32 {
        /// How many.
        bytes: usize,
        /// The checksum.
        crc32: u32,
    },
}

impl Values {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Values::Bytes(values) => values.len(),
            Values::Crc32 { bytes, .. } => *bytes,
        }
    }

    /// The checksum.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        match self {
            Values::Bytes(values) => crc32(values),
            Values::Crc32 { crc32, .. } => *crc32,
        }
    }
}

/// What an op of a plan makes: values of a layer, from a byte of its tensor on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerPart {
    pub(crate) layer: usize,
    pub(crate) start: usize,
}

/// Which op of a plan makes which layer of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerMap {
    layers: Vec<Facts>,
    /// For each op of the plan.
    parts: Vec<Option<LayerPart>>,
    /// Where the values of each input lie in all inputs after each other.
    inputs: Vec<Range<usize>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Facts {
    name: String,
    kind: &'static str,
    shape: [u16; 4],
    quantization: (f32, i8),
    element: Element,
    channels: Option<Vec<usize>>,
    /// For a reshape, which has no op in a plan: the layer whose bytes it shows, or the input.
    shows: Option<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Input(usize),
    Layer(usize),
}

impl LayerMap {
    pub(crate) fn of(
        graph: &Graph,
        parts: Vec<Option<LayerPart>>,
        channels: &BTreeMap<String, Vec<usize>>,
    ) -> LayerMap {
        let facts = |tensor: &Tensor, kind: &'static str| Facts {
            name: tensor.name.clone(),
            kind,
            shape: tensor.shape,
            quantization: quantization(tensor),
            element: tensor.element(),
            // A name that two tensors have says nothing of either.
            channels: channels
                .get(&tensor.name)
                .filter(|kept| kept.len() == usize::from(tensor.shape[3]))
                .cloned(),
            shows: None,
        };
        let layers = graph.ops.iter().map(|op| {
            let mut layer = facts(graph.tensor(op.output), op.kind.name());
            if op.kind == OpKind::Reshape {
                let maker = graph
                    .ops
                    .iter()
                    .position(|before| before.output == op.inputs[0]);
                let input = graph.inputs.iter().position(|&input| input == op.inputs[0]);
                let maker = maker.map(Source::Layer);
                layer.shows = maker.or(input.map(Source::Input));
            }
            layer
        });
        let mut end = 0;
        let inputs = graph.inputs.iter().map(|&input| {
            let tensor = graph.tensor(input);
            let values = tensor
                .shape
                .iter()
                .map(|&dim| usize::from(dim))
                .product::<usize>();
            let start = end;
            end += values * tensor.element().bytes();
            start..end
        });
        LayerMap {
            inputs: inputs.collect(),
            layers: layers.collect(),
            parts,
        }
    }

    /// The layers of a plan without a network to name them: one for each op.
    #[must_use]
    pub fn of_plan(plan: &Plan<'_>) -> LayerMap {
        let ops = (0..plan.op_count()).filter_map(|index| plan.op(index));
        let layers = ops.enumerate().filter_map(|(index, op)| {
            let made = plan.tensor(op.output)?;
            let kind = match op.code {
                OpCode::Conv2d if op.is_dense(made.shape) => "FULLY_CONNECTED",
                OpCode::Conv2d => "CONV_2D",
                OpCode::DepthwiseConv2d => "DEPTHWISE_CONV_2D",
                OpCode::MaxPool2d => "MAX_POOL_2D",
                OpCode::AveragePool2d => "AVERAGE_POOL_2D",
                OpCode::Mean => "MEAN",
                OpCode::Add => "ADD",
                OpCode::Softmax => "SOFTMAX",
                OpCode::Lookup => "TABLE",
                OpCode::Pad => "PAD",
                OpCode::Copy => "COPY",
                OpCode::Binary => "BINARY",
                OpCode::Reduce => "REDUCE",
                OpCode::ResizeBilinear => "RESIZE_BILINEAR",
                OpCode::Constant => "CONSTANT",
                OpCode::Product => "BATCH_MATMUL",
                OpCode::Extreme => "ARG_MAX",
                OpCode::Normalize => "L2_NORMALIZATION",
                OpCode::Svdf => "SVDF",
                OpCode::Lstm => "UNIDIRECTIONAL_SEQUENCE_LSTM",
            };
            Some(Facts {
                name: format!("op {index}"),
                kind,
                shape: made.shape,
                quantization: (made.scale, made.zero_point),
                element: made.element,
                channels: None,
                shows: None,
            })
        });
        let layers: Vec<Facts> = layers.collect();
        // What goes into a sum is never there.
        let is_there = |layer: usize| plan.op(layer).is_some_and(|op| !op.goes_into_sum());
        let parts =
            (0..layers.len()).map(|layer| is_there(layer).then_some(LayerPart { layer, start: 0 }));
        LayerMap {
            parts: parts.collect(),
            layers,
            inputs: Vec::new(),
        }
    }

    /// Whether a plan that was compiled elsewhere has the ops of one that was compiled here, so that
    /// its layers have the same names.
    #[must_use]
    pub fn suits(own: &Plan<'_>, other: &Plan<'_>) -> bool {
        let ops = |plan: &Plan<'_>| -> Vec<_> {
            let ops = (0..plan.op_count()).filter_map(|index| plan.op(index));
            let shape = |index: u16| plan.tensor(index).map(|tensor| tensor.shape);
            ops.map(|op| (op.code, op.inputs.map(shape), shape(op.output)))
                .collect()
        };
        let inputs = |plan: &Plan<'_>| plan.inputs().map(|view| view.shape).collect::<Vec<_>>();
        inputs(own) == inputs(other) && ops(own) == ops(other)
    }

    /// Runs a plan and keeps what each op makes, before a later one takes its bytes. `input` has the
    /// bytes of all inputs after each other.
    ///
    /// # Errors
    /// [`RunError`].
    ///
    /// # Panics
    /// If the input has another length than the plan's.
    pub fn trace(&self, plan: &Plan<'_>, input: &[u8]) -> Result<Vec<LayerValues>, RunError> {
        let all = self.trace_with(plan, Isa::Portable, &[input], false)?;
        Ok(all.into_iter().flatten().collect())
    }

    /// [`LayerMap::trace`] of several inputs with the kernels of an instruction set. In a stream
    /// each goes on where the one before ended.
    ///
    /// # Errors
    /// [`RunError`].
    ///
    /// # Panics
    /// As [`LayerMap::trace`].
    pub fn trace_with(
        &self,
        plan: &Plan<'_>,
        isa: Isa,
        inputs: &[&[u8]],
        is_stream: bool,
    ) -> Result<Vec<Vec<LayerValues>>, RunError> {
        let mut memory = vec![Line::ZERO; plan.prepared_lines(isa)];
        let prepared = (isa != Isa::Portable).then(|| {
            let prepared = plan.prepare(isa, &mut memory);
            prepared.expect("as many lines as were asked for")
        });
        let work_lines = prepared.as_ref().map_or(0, Prepared::work_lines);
        let mut work = vec![Line::ZERO; work_lines];
        let mut arena = vec![0; plan.arena_bytes()];
        let mut all = Vec::with_capacity(inputs.len());
        for (number, &input) in inputs.iter().enumerate() {
            if number == 0 || !is_stream {
                plan.reset(&mut arena)?;
            }
            let mut rest = input;
            for view in plan.inputs() {
                let (one, others) = rest.split_at(view.bytes());
                arena[view.range()].copy_from_slice(one);
                rest = others;
            }
            assert!(rest.is_empty(), "the inputs have so many values");
            let mut made = Vec::with_capacity(plan.op_count());
            let observe = |index: usize, arena: &[u8]| {
                let output = plan.op(index).and_then(|op| plan.tensor(op.output));
                let output = output.expect("an op that ran has an output");
                made.push(arena[output.range()].to_vec());
            };
            match &prepared {
                None => plan.run_observed(&mut arena, observe)?,
                Some(prepared) => prepared.run_observed(&mut arena, &mut work, observe)?,
            }
            all.push(self.gather(input, &made));
        }
        Ok(all)
    }

    /// The layers of what each op of the plan has made, in order.
    #[must_use]
    pub fn gather(&self, input: &[u8], made: &[Vec<u8>]) -> Vec<LayerValues> {
        let mut values: Vec<Vec<u8>> = self.layers.iter().map(Facts::zeros).collect();
        let mut is_made: Vec<Vec<Range<usize>>> = vec![Vec::new(); values.len()];
        for (part, made) in self.parts.iter().zip(made) {
            let Some(part) = part else { continue };
            let place = values[part.layer].get_mut(part.start..);
            let place = place.and_then(|place| place.get_mut(..made.len()));
            if let Some(place) = place {
                place.copy_from_slice(made);
                is_made[part.layer].push(part.start..part.start + made.len());
            }
        }
        for (index, layer) in self.layers.iter().enumerate() {
            match layer.shows {
                // A layer shows one before it.
                Some(Source::Layer(before)) => {
                    values[index] = values[before].clone();
                    is_made[index] = is_made[before].clone();
                }
                Some(Source::Input(number)) => {
                    let range = self.inputs[number].clone();
                    let shown = input.get(range).unwrap_or_default();
                    values[index] = shown.to_vec();
                    is_made[index] = std::iter::once(0..shown.len()).collect();
                }
                None => {}
            }
        }
        let layers = self.layers.iter().zip(values).zip(is_made);
        layers
            .map(|((facts, values), made)| LayerValues {
                missing: gaps(made, values.len()),
                ..facts.with(values)
            })
            .collect()
    }
}

impl Facts {
    fn zeros(&self) -> Vec<u8> {
        let values: usize = self.shape.iter().map(|&dim| usize::from(dim)).product();
        vec![0; values * self.element.bytes()]
    }

    fn with(&self, values: Vec<u8>) -> LayerValues {
        LayerValues {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            shape: Some(self.shape),
            quantization: Some(self.quantization),
            element: Some(self.element),
            channels: self.channels.clone(),
            missing: Vec::new(),
            values: Values::Bytes(values),
        }
    }
}

/// What some ranges leave out of the first `len` places.
fn gaps(mut made: Vec<Range<usize>>, len: usize) -> Vec<Range<usize>> {
    made.sort_by_key(|range| range.start);
    let mut gaps = Vec::new();
    let mut end = 0;
    for range in made.into_iter().chain(std::iter::once(len..len)) {
        if range.start > end {
            gaps.push(end..range.start);
        }
        end = end.max(range.end);
    }
    gaps
}

/// The checksum of zlib, PNG and Ethernet.
///
/// # Source
/// ISO 3309: polynomial 0xEDB88320 reflected, all ones before and after.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            let carry = 0xEDB8_8320 & (crc & 1).wrapping_neg();
            crc >> 1 ^ carry
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
