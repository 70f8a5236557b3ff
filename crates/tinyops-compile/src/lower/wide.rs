//! Ops that read or make int16 values.
//!
//! Each has one number before its others: the least and the greatest result.

use tinyops_model::graph::{
    Activation, Conv, Data, Graph, Op, OpKind, Padding, Reduction, Tensor, Unary,
};
use tinyops_nn::lookup::int16 as lookup;
use tinyops_nn::record::{
    BinaryFunction, Element, FLAG_FILL, FLAG_NARROW_SUM, FLAG_ONE_MULTIPLIER, FLAG_WIDE_BIAS,
    OpCode, OpRecord,
};
use tinyops_nn::{Multiplier, quantize_int16};

use super::general::{no_kernel, reduce_numbers};
use super::places::copies;
use super::{Lowering, elements, pads};
use crate::compiled::CompileError;
use crate::constants::{filter_values, multipliers, operand_bytes, quantization};
use crate::storages::Place;

/// Sums of 64 bits are rescaled by less than this power of two.
const SHIFT_MAX: i8 = 7;
/// A sum of two values keeps 15 bits below the point, 5 fewer than one of int8.
const SUM_BITS_LESS: i32 = 5;

/// A difference is squared as it is, without the 7 bits below the point that one of int8 has.
const SQUARE_BITS_LESS: i32 = 14;

/// Whether an op reads or makes int16 values.
pub(super) fn is_wide(graph: &Graph, op: &Op) -> bool {
    let mut all = op.inputs.iter().chain([&op.output]);
    all.any(|&id| graph.tensor(id).element() == Element::Int16)
}

impl Lowering<'_> {
    /// Lowers an op into its record; `places` are those of what it reads and makes.
    pub(super) fn lower_wide(
        &mut self,
        record: &mut OpRecord,
        op: &Op,
        index: usize,
        places: [Place; 2],
    ) -> Result<(), CompileError> {
        let graph = self.graph;
        let (input, output) = (graph.tensor(op.inputs[0]), graph.tensor(op.output));
        let scales = || CompileError::Scales {
            op: index,
            kind: op.kind.name(),
        };
        match op.kind {
            OpKind::Conv2d(conv) | OpKind::DepthwiseConv2d(conv) => {
                let filter = graph.tensor(op.inputs[1]);
                record.kernel = [filter.shape[1], filter.shape[2]];
                if matches!(op.kind, OpKind::DepthwiseConv2d(_)) {
                    record.code = OpCode::DepthwiseConv2d;
                }
                record.stride = conv.stride;
                record.dilation = conv.dilation;
                record.pad = pads(conv.padding, record, input);
                self.lower_wide_filter(record, op, &conv)
                    .ok_or_else(scales)?;
            }
            OpKind::Dense(activation) | OpKind::DenseRows(activation) => {
                let filter = graph.tensor(op.inputs[1]);
                let values = elements(filter) / u64::from(filter.shape[0]);
                let rows = u16::try_from(elements(input) / values);
                let (Ok(rows), Ok(values)) = (rows, u16::try_from(values)) else {
                    return Err(CompileError::TooLarge {
                        what: "the input of a dense layer",
                        bytes: elements(input),
                    });
                };
                let [reads_at, makes_at] = places;
                record.inputs[0] = self.record_at(op.inputs[0], reads_at, [1, 1, rows, values])?;
                let result = [1, 1, rows, filter.shape[0]];
                record.output = self.record_at(op.output, makes_at, result)?;
                let conv = Conv::valid(activation);
                self.lower_wide_filter(record, op, &conv)
                    .ok_or_else(scales)?;
            }
            OpKind::MaxPool2d(pool) | OpKind::AveragePool2d(pool) => {
                let is_max = matches!(op.kind, OpKind::MaxPool2d(_));
                let code = match is_max {
                    true => OpCode::MaxPool2d,
                    false => OpCode::AveragePool2d,
                };
                super::lower_pool(record, code, &pool, input);
                record.clamp = [i8::MIN, i8::MAX];
                self.put(record, clamp(pool.activation, output), &[]);
            }
            OpKind::Mean | OpKind::Reduce { .. } => {
                record.code = OpCode::Reduce;
                let (function, axes) = match op.kind {
                    OpKind::Reduce { function, axes } => (function, axes),
                    _ => (Reduction::Mean, [true, true, false]),
                };
                let numbers = reduce_numbers(function, axes, input, output);
                let numbers = numbers.ok_or_else(|| no_kernel(op, index))?;
                self.put(record, whole(output), &numbers);
            }
            OpKind::Add(activation) => {
                self.lower_wide_binary(record, op, BinaryFunction::Add, activation)?
                    .ok_or_else(scales)?;
            }
            OpKind::Binary {
                function,
                activation,
            } => {
                self.lower_wide_binary(record, op, function, activation)?
                    .ok_or_else(scales)?;
            }
            OpKind::Softmax { beta } => {
                record.code = OpCode::Softmax;
                let tables = lookup::softmax_tables().concat();
                self.lower_wide_table(record, tables.iter().flat_map(|v| v.to_le_bytes()));
                let multiplier = lookup::softmax_multiplier(quantization(input).0, beta);
                let numbers = [multiplier.value, i32::from(multiplier.shift)];
                self.put(record, whole(output), &numbers);
            }
            OpKind::Logistic | OpKind::Unary(Unary::Tanh) => {
                record.code = OpCode::Lookup;
                let is_tanh = op.kind != OpKind::Logistic;
                let table = lookup::sigmoid_table();
                self.lower_wide_table(record, table.iter().flat_map(|v| v.to_le_bytes()));
                let numbers = lookup::sigmoid_numbers(quantization(input).0, is_tanh);
                let [multiplier, shift] = numbers.ok_or_else(scales)?;
                let function = if is_tanh { 2 } else { 1 };
                let numbers = [function, multiplier, shift, 0, 0, 0, 0];
                self.put(record, whole(output), &numbers);
            }
            OpKind::Activate(activation) => {
                let [from, to] = [input, output].map(|tensor| quantization(tensor).0);
                let factor = match activation {
                    Activation::None => f64::from(from) / f64::from(to),
                    _ => f64::from(from / to),
                };
                let factor = Multiplier::from_real(factor);
                self.lower_rescale(record, [input, output], activation, [(factor, false); 2]);
            }
            OpKind::Unary(Unary::LeakyRelu { alpha }) => {
                let [from, to] = [input, output].map(|tensor| quantization(tensor).0);
                let above = Multiplier::from_real(f64::from(from / to));
                let steep = from * alpha / to;
                let below = Multiplier::from_real(f64::from(steep.abs()));
                let factors = [(above, false), (below, steep < 0.0)];
                self.lower_rescale(record, [input, output], Activation::None, factors);
            }
            OpKind::Pad(Padding::Explicit { top, left, .. }) => {
                record.code = OpCode::Copy;
                record.flags = FLAG_FILL;
                let [_, height, width, channels] = input.shape.map(i32::from);
                let row = i32::from(output.shape[2]) * channels;
                let start = i32::from(top) * row + i32::from(left) * channels;
                let [rows, columns] =
                    [[height, row, width * channels], [width, channels, channels]];
                let numbers = [&[0, start][..], &rows, &columns, &[channels, 1, 1]].concat();
                self.put(record, [0, whole(output)[1]], &numbers);
            }
            OpKind::Rearrange { fill } => {
                let places = match &graph.tensor(op.inputs[1]).data {
                    Some(Data::Int32(places)) => places,
                    _ => return Err(no_kernel(op, index)),
                };
                let copies = copies(places, output.shape).ok_or_else(|| no_kernel(op, index))?;
                record.code = OpCode::Copy;
                let mut parts = Vec::new();
                for (number, numbers) in copies.all.iter().enumerate() {
                    let mut one = *record;
                    let mut clamp = whole(output);
                    if number == 0 && !copies.are_whole {
                        one.flags = FLAG_FILL;
                        clamp[0] = i32::from(fill);
                    }
                    self.put(&mut one, clamp, numbers);
                    parts.push(one);
                }
                self.put_parts(record, parts);
            }
            OpKind::Concat { outer } => {
                let places = |tensor: &Tensor| elements(tensor) / u64::from(outer);
                let made = places(output) as i32;
                let mut start = 0;
                let mut parts = Vec::new();
                for &id in &op.inputs {
                    let inner = places(graph.tensor(id)) as i32;
                    for numbers in self.concat_numbers(outer, made, start, inner) {
                        let mut one = *record;
                        one.code = OpCode::Copy;
                        one.inputs[0] = self.record(id)?;
                        self.put(&mut one, whole(output), &numbers);
                        parts.push(one);
                    }
                    start += inner;
                }
                self.put_parts(record, parts);
            }
            _ => return Err(no_kernel(op, index)),
        }
        Ok(())
    }

    /// Puts the numbers of an op after its least and greatest result.
    fn put(&mut self, record: &mut OpRecord, clamp: [i32; 2], numbers: &[i32]) {
        let numbers = [&[clamp_word(clamp)], numbers].concat();
        record.channels_offset = self.constants.put_numbers(&numbers);
    }

    /// Ops that make one tensor together: the last is the one that the caller puts.
    fn put_parts(&mut self, record: &mut OpRecord, mut parts: Vec<OpRecord>) {
        if let Some(last) = parts.pop() {
            *record = last;
        }
        self.ops.extend(parts.into_iter().map(|part| (part, None)));
    }

    fn lower_wide_table(&mut self, record: &mut OpRecord, table: impl Iterator<Item = u8>) {
        let table: Vec<u8> = table.collect();
        let constants = &mut self.constants;
        let known = self.tables.entry(table);
        record.weights_offset = match known {
            std::collections::hash_map::Entry::Occupied(known) => *known.get(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let offset = constants.put_array(new.key());
                *new.insert(offset)
            }
        };
    }

    /// Another scale; the second factor, below 0 where it says so, is that of values below 0.
    fn lower_rescale(
        &mut self,
        record: &mut OpRecord,
        tensors: [&Tensor; 2],
        activation: Activation,
        factors: [(Multiplier, bool); 2],
    ) {
        record.code = OpCode::Lookup;
        let [zero_in, zero_out] = tensors.map(|tensor| i32::from(quantization(tensor).1));
        let mut numbers = vec![0, zero_in, zero_out];
        for (factor, is_negative) in factors {
            let value = if is_negative {
                -factor.value
            } else {
                factor.value
            };
            numbers.extend([value, i32::from(factor.shift)]);
        }
        self.put(record, clamp(activation, tensors[1]), &numbers);
    }

    /// `None` if the scales are too far apart.
    fn lower_wide_binary(
        &mut self,
        record: &mut OpRecord,
        op: &Op,
        function: BinaryFunction,
        activation: Activation,
    ) -> Result<Option<()>, CompileError> {
        let graph = self.graph;
        record.code = OpCode::Binary;
        let Some(mut numbers) = self.binary_numbers(op, function) else {
            return Ok(None);
        };
        let is_sum = matches!(
            function,
            BinaryFunction::Add | BinaryFunction::Subtract | BinaryFunction::SubtractFrom
        );
        // The last factor divides by the power of two that both terms were multiplied by.
        let (bits_less, most) = match function {
            _ if is_sum => (SUM_BITS_LESS, 0),
            BinaryFunction::SquaredDifference => (SQUARE_BITS_LESS, 30),
            _ => (0, 30),
        };
        if numbers[7] != 0 {
            numbers[8] += bits_less;
        }
        if numbers[8] > most {
            return Ok(None);
        }
        let second = graph.tensor(op.inputs[1]);
        if second.data.is_some() {
            record.weights_offset = self.constants.put_array(&operand_bytes(second));
        } else {
            record.inputs[1] = self.record(op.inputs[1])?;
        }
        self.put(record, clamp(activation, graph.tensor(op.output)), &numbers);
        Ok(Some(()))
    }

    /// `None` if a factor is greater than the arithmetic knows.
    fn lower_wide_filter(&mut self, record: &mut OpRecord, op: &Op, conv: &Conv) -> Option<()> {
        let graph = self.graph;
        let output = graph.tensor(op.output);
        let factors = multipliers(graph, op);
        let bias = op
            .inputs
            .get(2)
            .and_then(|&bias| graph.tensor(bias).data.as_ref());
        let outputs = usize::from(output.shape[3]);
        let biases: Vec<i64> = match bias {
            Some(Data::Int64(values)) => values.clone(),
            Some(Data::Int32(values)) => values.iter().map(|&bias| i64::from(bias)).collect(),
            _ => vec![0; outputs],
        };
        if matches!(bias, Some(Data::Int32(_))) {
            record.flags |= FLAG_NARROW_SUM;
        } else if factors.iter().any(|factor| factor.shift > SHIFT_MAX) {
            return None;
        }
        let is_wide = biases.iter().any(|&bias| i32::try_from(bias).is_err());
        if is_wide {
            record.flags |= FLAG_WIDE_BIAS;
        }
        if factors.len() == 1 {
            record.flags |= FLAG_ONE_MULTIPLIER;
        }
        if let Some(&known) = self.filters.get(&op.output) {
            [record.weights_offset, record.channels_offset] = known;
            return Some(());
        }
        let mut block = clamp_word(clamp(conv.activation, output))
            .to_le_bytes()
            .to_vec();
        for bias in biases {
            match is_wide {
                true => block.extend(bias.to_le_bytes()),
                false => block.extend((bias as i32).to_le_bytes()),
            }
        }
        block.extend(factors.iter().flat_map(|factor| factor.value.to_le_bytes()));
        block.extend(factors.iter().map(|factor| factor.shift as u8));
        let filter = self.filter_bytes(record, filter_values(graph.tensor(op.inputs[1])));
        let offsets = [
            self.constants.put_array(&filter),
            self.constants.put_block(&block),
        ];
        self.filters.insert(op.output, offsets);
        [record.weights_offset, record.channels_offset] = offsets;
        Some(())
    }
}

fn clamp_word([least, greatest]: [i32; 2]) -> i32 {
    greatest << 16 | least & 0xFFFF
}

fn whole(output: &Tensor) -> [i32; 2] {
    output.element().range()
}

/// The least and the greatest value that an op with this activation makes.
fn clamp(activation: Activation, output: &Tensor) -> [i32; 2] {
    let [least, greatest] = whole(output);
    if output.element() == Element::Int8 {
        return [least, greatest];
    }
    let six = i32::from(quantize_int16(6.0, quantization(output).0));
    match activation {
        Activation::None => [least, greatest],
        Activation::Relu => [0, greatest],
        Activation::Relu6 => [0, six],
    }
}
