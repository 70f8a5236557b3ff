//! In which order a plan runs its ops, and which of them it runs band by band.
//!
//! What lies between two window ops is often the largest tensor of a network. Run in bands of
//! rows, first some rows of the one, then the rows of the other that they suffice for, it never
//! exists whole. A row that two bands need is made twice.

use std::ops::Range;

use tinyops_model::graph::{Graph, Op, OpKind, TensorId};
use tinyops_nn::record::Element;

use crate::constants::{add_numbers, quantization, suits_sum};
use crate::geometry::Windows;

/// Two ops, `first` and the one after it, that run in so many bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) first: usize,
    pub(crate) bands: usize,
}

/// An op of the graph, some of its rows, or a convolution and the sum that it goes into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) op: usize,
    pub(crate) band: Option<Band>,
    /// The `ADD` that takes what the op makes, piece after piece.
    pub(crate) sum: Option<usize>,
}

impl Step {
    /// The ops of the graph that the step runs.
    pub(crate) fn ops(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.op), self.sum].into_iter().flatten()
    }

    /// The op that makes what the step leaves.
    pub(crate) fn last_op(&self) -> usize {
        self.sum.unwrap_or(self.op)
    }
}

/// Some rows of an op's output, and what they need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    /// Which band of its pair.
    pub(crate) index: usize,
    /// Whether the op is the first of its pair.
    pub(crate) is_first: bool,
    /// Rows of the input that lie under the band's windows.
    pub(crate) reads: Range<usize>,
    /// Rows of the output.
    pub(crate) makes: Range<usize>,
    /// Rows of padding above what is read.
    pub(crate) pad_top: usize,
}

/// All steps of a graph, with some pairs in bands, and with sums as parts of convolutions if so.
pub(crate) fn steps(graph: &Graph, pairs: &[Pair], with_sums: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let is_paired = |op: usize| {
        pairs
            .iter()
            .any(|pair| op.abs_diff(pair.first) <= 1 && op >= pair.first)
    };
    let mut sums: Vec<(usize, usize)> = Vec::new();
    if with_sums {
        let found = (0..graph.ops.len()).filter_map(|sum| Some((conv_of_sum(graph, sum)?, sum)));
        sums.extend(found.filter(|&(conv, _)| !is_paired(conv)));
    }
    let mut op = 0;
    while op < graph.ops.len() {
        let pair = pairs.iter().find(|pair| pair.first == op);
        match pair.and_then(|pair| bands(graph, *pair)) {
            Some(bands) => {
                for (first, second) in bands {
                    for (op, band) in [(op, first), (op + 1, second)] {
                        let band = Some(band);
                        let sum = None;
                        steps.push(Step { op, band, sum });
                    }
                }
                op += 2;
            }
            None => {
                let goes_on = sums.iter().find(|&&(conv, _)| conv == op);
                let sum = goes_on.map(|&(_, sum)| sum);
                let band = None;
                // A sum runs with its convolution.
                if !sums.iter().any(|&(_, sum)| sum == op) {
                    steps.push(Step { op, band, sum });
                }
                op += 1;
            }
        }
    }
    steps
}

/// The convolution that an op, a sum, can run with: the op that makes the later of its operands,
/// which nobody else reads.
fn conv_of_sum(graph: &Graph, sum: usize) -> Option<usize> {
    let op = &graph.ops[sum];
    if !matches!(op.kind, OpKind::Add(_)) {
        return None;
    }
    // Values of 16 bits stay as they are written.
    let is_int8 = |&tensor: &TensorId| graph.tensor(tensor).element() == Element::Int8;
    if !op.inputs.iter().chain([&op.output]).all(is_int8) {
        return None;
    }
    let scale = |&tensor: &TensorId| quantization(graph.tensor(tensor)).0;
    let [first, second] = [&op.inputs[0], &op.inputs[1]].map(scale);
    if !add_numbers(first, second, scale(&op.output)).is_some_and(|numbers| suits_sum(&numbers)) {
        return None;
    }
    let made_by = |tensor: TensorId| graph.ops.iter().position(|op| op.output == tensor);
    let last = op.inputs.iter().copied().max_by_key(|&id| made_by(id))?;
    let conv = made_by(last)?;
    let makes = graph.tensor(last);
    let is_alone = crate::rewrite::only_reader(graph, last) == Some(sum);
    let has_pixels = makes.shape[1] > 1 || makes.shape[2] > 1;
    let is_conv = matches!(graph.ops[conv].kind, OpKind::Conv2d(_));
    let is_int8 = is_int8(&graph.ops[conv].inputs[0]);
    (is_alone && has_pixels && is_conv && is_int8).then_some(conv)
}

/// Whether an op and the next can run in bands: window ops over images, the second the only reader
/// of what the first makes.
pub(crate) fn can_pair(graph: &Graph, first: usize) -> bool {
    let (Some(a), Some(b)) = (graph.ops.get(first), graph.ops.get(first + 1)) else {
        return false;
    };
    let has_rows = |op: &Op| {
        let [_, rows, columns, _] = graph.tensor(op.output).shape;
        let has_windows = matches!(
            op.kind,
            OpKind::Conv2d(_)
                | OpKind::DepthwiseConv2d(_)
                | OpKind::MaxPool2d(_)
                | OpKind::AveragePool2d(_)
        );
        has_windows && rows > 1 && columns > 1
    };
    let reads = graph.ops.iter().flat_map(|op| &op.inputs);
    let ends = graph.outputs.iter().chain(&graph.embedding);
    has_rows(a)
        && has_rows(b)
        && b.inputs[0] == a.output
        && reads.chain(ends).filter(|&&id| id == a.output).count() == 1
}

/// Multiply-accumulate operations of all steps.
pub(crate) fn macs(graph: &Graph, steps: &[Step]) -> u64 {
    let of_step = |step: &Step| {
        let op = &graph.ops[step.op];
        let whole = step
            .ops()
            .map(|op| graph.op_macs(&graph.ops[op]))
            .sum::<u64>();
        step.band.as_ref().map_or(whole, |band| {
            let rows = u64::from(graph.tensor(op.output).shape[1]);
            whole / rows * band.makes.len() as u64
        })
    };
    steps.iter().map(of_step).sum()
}

/// The bands of a pair; `None` if they would not have whole rows to work with.
fn bands(graph: &Graph, pair: Pair) -> Option<Vec<(Band, Band)>> {
    let [a, b] = [pair.first, pair.first + 1].map(|op| Windows::of(graph, &graph.ops[op]));
    let (a, b) = (a?, b?);
    let rows = b.output[0];
    if pair.bands < 2 || pair.bands > rows {
        return None;
    }
    let band = |index: usize| {
        let makes = rows * index / pair.bands..rows * (index + 1) / pair.bands;
        let (between, second_pad) = under(&b, &makes)?;
        let (reads, first_pad) = under(&a, &between)?;
        let first = Band {
            index,
            is_first: true,
            reads,
            makes: between.clone(),
            pad_top: first_pad,
        };
        let second = Band {
            index,
            is_first: false,
            reads: between,
            makes,
            pad_top: second_pad,
        };
        Some((first, second))
    };
    (0..pair.bands).map(band).collect()
}

/// The rows of the input under some rows of windows, and the rows of padding above them.
fn under(windows: &Windows, makes: &Range<usize>) -> Option<(Range<usize>, usize)> {
    let top = makes.start * windows.stride[0];
    let reach = (windows.kernel[0] - 1) * windows.dilation[0] + 1;
    let bottom = (makes.end - 1) * windows.stride[0] + reach;
    let pad = windows.pad[0];
    let rows = top.saturating_sub(pad)..bottom.saturating_sub(pad).min(windows.input[0]);
    (!rows.is_empty()).then_some((rows, pad.saturating_sub(top)))
}
