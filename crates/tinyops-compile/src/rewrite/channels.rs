//! Channels that cannot matter: what makes them, reads them and stores them goes.
//!
//! A channel of an activation goes if nothing that is needed depends on it. A convolution does not
//! depend on a channel whose weights are all 0, nor on one that the input cannot change and whose
//! share of the sum is the same at every pixel: that share goes into the bias. Padding is the
//! reason why "the same at every pixel" has to be looked at and not only the channel itself.
//! Channels that an op carries through one by one stay or go together.

use std::collections::HashSet;

use tinyops_model::graph::{Data, Graph, Op, OpKind, Quantization, Tensor, TensorId};

use super::bounds::{Bounds, bounds};
use super::prune;
use crate::constants::{Channels, filter_values, quantization};
use crate::geometry::Windows;
use crate::lower::clamp;

/// Channels that the kernels take at a time.
const QUAD: usize = 4;

/// A tensor, and the channels that are left of it.
pub(super) type Left = (TensorId, Vec<usize>);

/// The graph without the channels that cannot matter, and those that are left of each tensor that
/// lost some; `None` if all matter.
pub(super) fn eliminate(graph: &Graph) -> Option<(Graph, Vec<Left>)> {
    let bounds = bounds(graph);
    let filters: Vec<Option<FilterUse>> = graph
        .ops
        .iter()
        .map(|op| FilterUse::of(graph, op, &bounds))
        .collect();
    let kept = Search::new(graph, &filters).kept();
    let lost_some = |&tensor: &usize| {
        let Tensor { shape, data, .. } = &graph.tensors[tensor];
        data.is_none() && kept[tensor].len() < usize::from(shape[3])
    };
    let removed: Vec<Left> = (0..graph.tensors.len())
        .filter(lost_some)
        .map(|tensor| (TensorId(tensor as u32), kept[tensor].clone()))
        .collect();
    (!removed.is_empty()).then(|| (without(graph, &filters, &kept), removed))
}

/// What a convolution or dense layer needs of the channels of its input.
struct FilterUse {
    /// For each output channel the input channels that it depends on.
    needs: Vec<Vec<usize>>,
    /// For each output channel the bias with the shares of all channels that it does not depend on.
    biases: Vec<i32>,
}

impl FilterUse {
    fn of(graph: &Graph, op: &Op, bounds: &[Bounds]) -> Option<FilterUse> {
        let activation = match op.kind {
            OpKind::Conv2d(conv) => conv.activation,
            OpKind::Dense(activation) => activation,
            _ => return None,
        };
        let windows = Windows::of(graph, op)?;
        let (source, output) = (graph.tensor(op.inputs[0]), graph.tensor(op.output));
        let weights = filter_values(graph.tensor(op.inputs[1]));
        let (channels, outputs) = (usize::from(source.shape[3]), usize::from(output.shape[3]));
        let row_len = windows.taps() * channels;
        let numbers = Channels::of(graph, op, &vec![0; outputs]);
        let (zero_point, limits) = (quantization(output).1, clamp(activation, output));

        let made = &bounds[op.output.0 as usize];
        let constant_biases: Vec<Option<i32>> = (0..outputs)
            .map(|output| {
                let values = made.fixed(output, outputs)?;
                let value = values.iter().all(|&value| value == values[0]);
                let value = value.then_some(values[0])?;
                bias_for(value, numbers.multiplier(output), zero_point, limits)
            })
            .collect();
        let mut used = FilterUse {
            needs: vec![Vec::new(); outputs],
            biases: numbers.biases.clone(),
        };
        let read = &bounds[op.inputs[0].0 as usize];
        for channel in 0..channels {
            let zero = quantization(source).1;
            let patches = read
                .fixed(channel, channels)
                .map(|values| patches(&windows, &values, zero));
            for (output, row) in weights.chunks_exact(row_len).enumerate() {
                if constant_biases[output].is_some() {
                    continue;
                }
                let taps = row.iter().skip(channel).step_by(channels);
                if taps.clone().all(|&weight| weight == 0) {
                    continue;
                }
                match patches
                    .as_ref()
                    .and_then(|patches| same_share(patches, taps))
                {
                    Some(share) => used.biases[output] = used.biases[output].wrapping_add(share),
                    None => used.needs[output].push(channel),
                }
            }
        }
        for (bias, constant) in used.biases.iter_mut().zip(&constant_biases) {
            *bias = constant.unwrap_or(*bias);
        }
        Some(used)
    }
}

/// A bias that gives `value` where all weights are 0: the least accumulator that does.
fn bias_for(
    value: i8,
    multiplier: tinyops_nn::Multiplier,
    zero_point: i8,
    [low, high]: [i8; 2],
) -> Option<i32> {
    let result = |accumulator: i32| {
        let rescaled = multiplier.apply(accumulator);
        rescaled
            .saturating_add(i32::from(zero_point))
            .clamp(i32::from(low), i32::from(high.max(low)))
    };
    // Rescaling never falls in a range that does not wrap.
    let limit = i64::from(i32::MAX >> multiplier.shift.max(0));
    let (mut below, mut reached) = (-limit - 1, limit);
    while reached - below > 1 {
        let middle = below + (reached - below) / 2;
        if result(middle as i32) >= i32::from(value) {
            reached = middle;
        } else {
            below = middle;
        }
    }
    (result(reached as i32) == i32::from(value)).then_some(reached as i32)
}

/// The different windows over a channel of known values, each as the differences to the zero point.
fn patches(windows: &Windows, values: &[i8], zero_point: i8) -> HashSet<Vec<i32>> {
    let difference =
        |place: Option<usize>| place.map_or(0, |at| i32::from(values[at]) - i32::from(zero_point));
    let patch = |pixel| windows.sources(pixel).map(difference).collect();
    windows.pixels().map(patch).collect()
}

/// The share of the sum that a channel of known values has, if it is the same in every window.
fn same_share<'w>(
    patches: &HashSet<Vec<i32>>,
    taps: impl Iterator<Item = &'w i8> + Clone,
) -> Option<i32> {
    let share = |patch: &Vec<i32>| {
        let products = taps.clone().zip(patch);
        products.fold(0i32, |sum, (&weight, &value)| {
            sum.wrapping_add(i32::from(weight).wrapping_mul(value))
        })
    };
    let mut shares = patches.iter().map(share);
    let first = shares.next()?;
    shares.all(|share| share == first).then_some(first)
}

/// Finds the channels that something needed depends on.
struct Search<'g> {
    graph: &'g Graph,
    filters: &'g [Option<FilterUse>],
    /// Where the channels of each tensor begin in `class`.
    first: Vec<usize>,
    /// Channels that stay or go together have one class, named by one of them.
    class: Vec<usize>,
    needed: Vec<bool>,
}

impl<'g> Search<'g> {
    fn new(graph: &'g Graph, filters: &'g [Option<FilterUse>]) -> Search<'g> {
        let mut first = Vec::with_capacity(graph.tensors.len());
        let mut count = 0;
        for tensor in &graph.tensors {
            first.push(count);
            count += if tensor.data.is_none() {
                usize::from(tensor.shape[3])
            } else {
                0
            };
        }
        let mut search = Search {
            graph,
            filters,
            first,
            class: (0..count).collect(),
            needed: vec![false; count],
        };
        search.couple();
        search
    }

    /// The channels to keep of each tensor; none for constants.
    fn kept(mut self) -> Vec<Vec<usize>> {
        let graph = self.graph;
        let ends = graph.inputs.iter().chain(&graph.outputs);
        for &tensor in ends.chain(&graph.embedding) {
            self.need_all(tensor);
        }
        for tensor in super::of_states(graph) {
            self.need_all(tensor);
        }
        for op in &graph.ops {
            if Carries::of(graph, op) == Carries::Unknown {
                let activations = op.inputs.iter().chain([&op.output]);
                activations.for_each(|&tensor| self.need_all(tensor));
            }
        }
        loop {
            self.spread();
            if !self.keep_quads() {
                break;
            }
        }
        let is_needed = |tensor: usize| {
            let channels = usize::from(graph.tensors[tensor].shape[3]);
            let needed = |&channel: &usize| self.is_needed(TensorId(tensor as u32), channel);
            (0..channels).filter(needed).collect()
        };
        (0..graph.tensors.len())
            .map(|tensor| {
                let is_constant = graph.tensors[tensor].data.is_some();
                if is_constant {
                    Vec::new()
                } else {
                    is_needed(tensor)
                }
            })
            .collect()
    }

    fn couple(&mut self) {
        let graph = self.graph;
        for op in &graph.ops {
            let Carries::Channels { per_input } = Carries::of(graph, op) else {
                continue;
            };
            let outputs = usize::from(graph.tensor(op.output).shape[3]);
            let activations = op
                .inputs
                .iter()
                .filter(|&&input| graph.tensor(input).data.is_none());
            for &input in activations {
                for output in 0..outputs {
                    let a = self.class_of(self.first[input.0 as usize] + output / per_input);
                    let b = self.class_of(self.first[op.output.0 as usize] + output);
                    self.class[a] = b;
                }
            }
        }
    }

    /// Every tensor keeps whole quads of channels, or all: kernels take four at a time, so fewer
    /// would cost as much. A dense layer with a scale for each channel keeps two at least: with
    /// one scale it would round otherwise. Returns whether anything was added.
    fn keep_quads(&mut self) -> bool {
        let graph = self.graph;
        let mut added = false;
        for (index, tensor) in graph.tensors.iter().enumerate() {
            if tensor.data.is_some() {
                continue;
            }
            let id = TensorId(index as u32);
            let channels = usize::from(tensor.shape[3]);
            let mut kept = (0..channels).filter(|&c| self.is_needed(id, c)).count();
            let least = kept.max(1).next_multiple_of(QUAD);
            for channel in 0..channels {
                if kept < least && !self.is_needed(id, channel) {
                    self.need(id, channel);
                    added = true;
                    kept += 1;
                }
            }
        }
        added
    }

    /// What needed channels depend on is needed too.
    fn spread(&mut self) {
        let graph = self.graph;
        let mut changed = true;
        while changed {
            changed = false;
            // Backwards, so that a chain takes one round.
            for (op, used) in graph.ops.iter().zip(self.filters).rev() {
                let Some(used) = used else { continue };
                for (output, channels) in used.needs.iter().enumerate() {
                    if !self.is_needed(op.output, output) {
                        continue;
                    }
                    for &channel in channels {
                        if !self.is_needed(op.inputs[0], channel) {
                            self.need(op.inputs[0], channel);
                            changed = true;
                        }
                    }
                }
            }
        }
    }

    fn need_all(&mut self, tensor: TensorId) {
        let tensor_of = self.graph.tensor(tensor);
        if tensor_of.data.is_none() {
            (0..usize::from(tensor_of.shape[3])).for_each(|channel| self.need(tensor, channel));
        }
    }

    fn need(&mut self, tensor: TensorId, channel: usize) {
        let class = self.class_of(self.first[tensor.0 as usize] + channel);
        self.needed[class] = true;
    }

    fn is_needed(&self, tensor: TensorId, channel: usize) -> bool {
        self.needed[self.class_of(self.first[tensor.0 as usize] + channel)]
    }

    fn class_of(&self, mut channel: usize) -> usize {
        while self.class[channel] != channel {
            channel = self.class[channel];
        }
        channel
    }
}

/// How an op's output channels come from those of its inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carries {
    /// Every one may come from every one, as the filter tells.
    Filter,
    /// So many from each one.
    Channels { per_input: usize },
    /// Nobody has said.
    Unknown,
}

impl Carries {
    fn of(graph: &Graph, op: &Op) -> Carries {
        let input = graph.tensor(op.inputs[0]).shape;
        let output = graph.tensor(op.output).shape;
        let filters = matches!(
            op.kind,
            OpKind::Conv2d(_) | OpKind::Dense(_) | OpKind::DepthwiseConv2d(_)
        );
        let is_constant = |&id: &TensorId| graph.tensor(id).data.is_some();
        if !filters && op.inputs.iter().any(is_constant) {
            return Carries::Unknown;
        }
        match op.kind {
            OpKind::Conv2d(_) | OpKind::Dense(_) => Carries::Filter,
            OpKind::DepthwiseConv2d(_) => Carries::Channels {
                per_input: usize::from(output[3] / input[3]),
            },
            OpKind::Reshape if input[3] != output[3] => Carries::Unknown,
            OpKind::MaxPool2d(_)
            | OpKind::AveragePool2d(_)
            | OpKind::Mean
            | OpKind::Add(_)
            | OpKind::Logistic
            | OpKind::Activate(_)
            | OpKind::Reshape
            | OpKind::Pad(_) => Carries::Channels { per_input: 1 },
            _ => Carries::Unknown,
        }
    }
}

/// The graph with the kept channels alone.
fn without(graph: &Graph, filters: &[Option<FilterUse>], kept: &[Vec<usize>]) -> Graph {
    let mut made = graph.clone();
    for (tensor, kept) in made.tensors.iter_mut().zip(kept) {
        if tensor.data.is_none() {
            tensor.shape[3] = kept.len() as u16;
        }
    }
    for (op, used) in graph.ops.iter().zip(filters) {
        let is_depthwise = matches!(op.kind, OpKind::DepthwiseConv2d(_));
        if used.is_none() && !is_depthwise {
            continue;
        }
        let inputs = &kept[op.inputs[0].0 as usize];
        let outputs = &kept[op.output.0 as usize];
        let channels = usize::from(graph.tensor(op.inputs[0]).shape[3]);
        let outputs_before = usize::from(graph.tensor(op.output).shape[3]);
        let whole = inputs.len() == channels && outputs.len() == outputs_before;
        if whole {
            continue;
        }
        let filter = graph.tensor(op.inputs[1]);
        let weights = filter_values(filter);
        let (shape, values) = match used {
            Some(used) => {
                let taps = weights.len() / outputs_before / channels;
                let row = |&output: &usize| {
                    // The share of any other channel is in the bias, whether it stays or goes.
                    let mut counts = vec![false; channels];
                    used.needs[output].iter().for_each(|&c| counts[c] = true);
                    let weight = |tap: usize, channel: usize| {
                        let weight = weights[(output * taps + tap) * channels + channel];
                        if counts[channel] { weight } else { 0 }
                    };
                    let places = (0..taps).flat_map(|tap| inputs.iter().map(move |&c| (tap, c)));
                    places.map(|(tap, c)| weight(tap, c)).collect::<Vec<i8>>()
                };
                let values: Vec<i8> = outputs.iter().flat_map(row).collect();
                let [_, height, width, _] = filter.shape;
                let shape = if matches!(op.kind, OpKind::Dense(_)) {
                    [outputs.len() as u16, 1, 1, (taps * inputs.len()) as u16]
                } else {
                    [outputs.len() as u16, height, width, inputs.len() as u16]
                };
                (shape, values)
            }
            None => {
                let taps = weights.chunks_exact(outputs_before);
                let values = taps.flat_map(|tap| outputs.iter().map(|&output| tap[output]));
                let shape = [1, filter.shape[1], filter.shape[2], outputs.len() as u16];
                (shape, values.collect())
            }
        };
        let picked = |quantization: &Quantization| Quantization {
            scales: if quantization.scales.len() > 1 {
                let scales = &quantization.scales;
                outputs.iter().map(|&output| scales[output]).collect()
            } else {
                quantization.scales.clone()
            },
            zero_point: quantization.zero_point,
            element: quantization.element,
        };
        let biases = match used {
            Some(used) => used.biases.clone(),
            None => Channels::of(graph, op, &vec![0; outputs_before]).biases,
        };
        let bias = op.inputs.get(2).map(|&bias| graph.tensor(bias));
        let constants = [
            Tensor {
                name: filter.name.clone(),
                shape,
                quantization: filter.quantization.as_ref().map(picked),
                data: Some(Data::Int8(values)),
            },
            Tensor {
                name: bias.map_or_else(|| "bias".to_owned(), |bias| bias.name.clone()),
                shape: [1, 1, 1, outputs.len() as u16],
                // A bias has the scale of the products; only its numbers are read.
                quantization: bias.unwrap_or(filter).quantization.as_ref().map(picked),
                data: Some(Data::Int32(
                    outputs.iter().map(|&output| biases[output]).collect(),
                )),
            },
        ];
        let index = graph.ops.iter().position(|other| std::ptr::eq(other, op));
        let index = index.expect("the op is one of the graph's");
        let mut list = vec![op.inputs[0]];
        for tensor in constants {
            list.push(TensorId(made.tensors.len() as u32));
            made.tensors.push(tensor);
        }
        made.ops[index].inputs = list;
    }
    prune(made)
}
