//! What the planner may count on, written out slowly: `docs/formats/plan.md`, "Order, and what may
//! overlap". The host's kernels may be kinder than another core's.

use proptest::prelude::*;
use tinyops_compile::{compile_graph, compile_graph_with};
use tinyops_nn::record::{FLAG_BACKWARD, NONE, OpCode, OpRecord};
use tinyops_nn::{Plan, TensorView};

use crate::graphs::options;
use crate::networks::{network, residual, tall};
use crate::rewrites::references;

/// How many of its outputs an op may have written when it still needs an input byte.
struct Needs {
    /// For each byte of the input the last unit of output that needs it; `None` if none does.
    last: Vec<Option<usize>>,
    /// Bytes of output in one unit: a pixel, a row, or all.
    unit_bytes: usize,
    /// Whether a unit may overwrite what it itself needs.
    copies_first: bool,
    /// Units are counted in the order in which they are made.
    units: usize,
    backward: bool,
}

impl Needs {
    fn of(op: &OpRecord, input: &TensorView, output: &TensorView) -> Needs {
        let [_, _, columns, outputs] = output.shape.map(usize::from);
        let is_dense = op.is_dense(output.shape);
        let (unit_bytes, copies_first) = match op.code {
            OpCode::Conv2d if !is_dense => (outputs, true),
            OpCode::DepthwiseConv2d | OpCode::MaxPool2d | OpCode::AveragePool2d => {
                (columns * outputs, false)
            }
            OpCode::Add | OpCode::Softmax | OpCode::Lookup => (1, true),
            _ => (output.len, false),
        };
        let mut needs = Needs {
            last: vec![None; input.len],
            unit_bytes,
            copies_first,
            units: output.len / unit_bytes,
            backward: op.flags & FLAG_BACKWARD != 0,
        };
        match op.code {
            OpCode::Conv2d
            | OpCode::DepthwiseConv2d
            | OpCode::MaxPool2d
            | OpCode::AveragePool2d
                if !is_dense =>
            {
                needs.windows(op, input, output);
            }
            // Elementwise ops read what they write; all others read everything to the end.
            OpCode::Add | OpCode::Softmax | OpCode::Lookup => {
                (0..input.len).for_each(|byte| needs.last[byte] = Some(byte));
            }
            _ => needs.last.fill(Some(0)),
        }
        needs
    }

    fn windows(&mut self, op: &OpRecord, input: &TensorView, output: &TensorView) {
        let [_, height, width, channels] = input.shape.map(i64::from);
        let [_, rows, columns, outputs] = output.shape.map(i64::from);
        for y in 0..rows {
            for x in 0..columns {
                let mut unit = ((y * columns + x) * outputs) as usize / self.unit_bytes;
                if self.backward {
                    unit = self.units - 1 - unit;
                }
                for tap_y in 0..i64::from(op.kernel[0]) {
                    for tap_x in 0..i64::from(op.kernel[1]) {
                        let [at_y, at_x] = [(y, tap_y, 0), (x, tap_x, 1)].map(|(at, tap, axis)| {
                            at * i64::from(op.stride[axis]) + tap * i64::from(op.dilation[axis])
                                - i64::from(op.pad[axis])
                        });
                        if (0..height).contains(&at_y) && (0..width).contains(&at_x) {
                            let first = ((at_y * width + at_x) * channels) as usize;
                            let pixel = &mut self.last[first..first + channels as usize];
                            pixel
                                .iter_mut()
                                .for_each(|last| *last = (*last).max(Some(unit)));
                        }
                    }
                }
            }
        }
    }

    /// The first output byte that would overwrite something needed.
    fn broken_by(&self, input: &TensorView, output: &TensorView) -> Option<usize> {
        (0..output.len).find(|byte| {
            let Some(at) = (output.offset + byte).checked_sub(input.offset) else {
                return false;
            };
            let mut unit = byte / self.unit_bytes;
            if self.backward {
                unit = self.units - 1 - unit;
            }
            match self.last.get(at).copied().flatten() {
                Some(last) if self.copies_first => last > unit,
                Some(last) => last >= unit,
                None => false,
            }
        })
    }
}

/// Where the other operand of a sum that runs with the convolution before it is overwritten before
/// it is added: byte `b` of the output is written when its piece begins to be made, and byte `a` of
/// the operand read when its piece has been made.
fn broken_sum(op: &OpRecord, made: u16, view: impl Fn(u16) -> TensorView) -> Option<usize> {
    let output = view(op.output);
    let other = op.inputs.into_iter().find(|&input| input != made)?;
    let other = view(other);
    let block = 4 * usize::from(output.shape[3]);
    let distance = other.offset as i64 - output.offset as i64;
    let is_apart = distance.unsigned_abs() as usize >= output.len;
    let piece = if is_apart {
        output.len
    } else {
        (distance.max(0) as usize / block * block).max(1)
    };
    (0..other.len).find(|a| {
        let written = (other.offset + a).checked_sub(output.offset);
        written.is_some_and(|b| b < output.len && b / piece <= a / piece)
    })
}

fn broken(program: &[u8]) -> Option<String> {
    let plan = Plan::load(program).expect("what the compiler writes loads");
    (0..plan.op_count()).find_map(|index| {
        let op = plan.op(index).expect("in range");
        let view = |tensor| plan.tensor(tensor).expect("in range");
        let output = view(op.output);
        if op.is_merged_sum() {
            let conv = plan.op(index - 1).expect("in range");
            let byte = broken_sum(&op, conv.output, view)?;
            return Some(format!("op {index} SUM: byte {byte} over {output:?}"));
        }
        let inputs = op.inputs.into_iter().filter(|&input| input != NONE);
        let mut broken = inputs.filter_map(|input| {
            let input = view(input);
            let byte = Needs::of(&op, &input, &output).broken_by(&input, &output)?;
            Some(format!(
                "op {index} {:?}: byte {byte} of {output:?} over {input:?}",
                op.code
            ))
        });
        broken.next()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_sum_overwrites_what_it_needs(seed: u64, keep_input: bool) {
        let graph = residual(seed);
        prop_assume!(graph.check().is_ok());
        let compiled = compile_graph(&graph, keep_input).expect("compiles");
        prop_assert_eq!(broken(&compiled.program), None);
    }

    #[test]
    fn no_op_overwrites_what_it_needs(seed: u64, keep_input: bool, in_bands: bool) {
        let graph = if in_bands { tall(seed) } else { network(seed) };
        prop_assume!(graph.check().is_ok());
        let options = options(keep_input, in_bands);
        let compiled = compile_graph_with(&graph, &options).expect("compiles");
        prop_assert_eq!(broken(&compiled.program), None);
    }
}

#[test]
fn no_op_of_the_reference_networks_overwrites_what_it_needs() {
    for (key, graph) in references() {
        let compiled = compile_graph(&graph, false).expect("compiles");
        assert_eq!(broken(&compiled.program), None, "{key}");
    }
}
